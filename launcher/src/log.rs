//! What nsl tells on stderr beside errors: events in nsl's own line format, steps with the time they took.

use crate::cli::LogLevel;
use std::fmt;
use std::io::Write;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FmtSpan, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, fmt};
use tracing_subscriber::registry::{LookupSpan, Scope};

/// Tells what is at `level` or above it; the rest costs a comparison.
pub fn start(level: LogLevel) {
    let level = Level::from(level);
    // A span is told when it closes, with its time: that is the trace of the steps.
    let spans = if level >= Level::DEBUG { FmtSpan::CLOSE } else { FmtSpan::NONE };
    fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .with_span_events(spans)
        .event_format(Line)
        .init();
}

/// Tells, whatever the level, how the command came to its end where its exit code alone would mislead.
pub fn tell(line: &str) {
    // Where nobody can be told, the exit code is left.
    let _ = writeln!(std::io::stderr(), "nsl: {line}");
}

/// `nsl: warning: …`, like every other line of nsl's.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        to.write_str(match *event.metadata().level() {
            Level::ERROR => "nsl: error: ",
            Level::WARN => "nsl: warning: ",
            Level::INFO => "nsl: ",
            Level::DEBUG => "nsl: debug: ",
            Level::TRACE => "nsl: trace: ",
        })?;
        if *event.metadata().level() >= Level::DEBUG {
            for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
                let fields = span.extensions();
                let fields = fields.get::<tracing_subscriber::fmt::FormattedFields<N>>();
                match fields.filter(|fields| !fields.is_empty()) {
                    Some(fields) => write!(to, "{}{{{fields}}}: ", span.name())?,
                    None => write!(to, "{}: ", span.name())?,
                }
            }
        }
        context.field_format().format_fields(to.by_ref(), event)?;
        writeln!(to)
    }
}
