//! What nsl tells on stderr beside errors: events in nsl's own line format, steps with the time they took.

use crate::cli::LogLevel;
use crate::timings;
use std::fmt;
use std::io::Write;
use tracing::level_filters::LevelFilter;
use tracing::span::EnteredSpan;
use tracing::{Event, Level, Subscriber, debug_span};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FmtSpan, FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::util::SubscriberInitExt;

/// Tells what is at `level` or above it; the rest costs a comparison.
pub fn start(level: LogLevel) {
    let level = Level::from(level);
    // A span is told when it closes, with its time: that is the trace of the steps.
    let spans = if level >= Level::DEBUG { FmtSpan::CLOSE } else { FmtSpan::NONE };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .with_span_events(spans)
        .event_format(Line);
    let (level, all) = (LevelFilter::from_level(level), tracing_subscriber::registry());
    if timings::are_on() {
        let steps = timings::Steps.with_filter(filter_fn(timings::is_step));
        all.with(lines.with_filter(level)).with(steps).init();
    } else {
        all.with(lines).with(level).init();
    }
}

/// A step of nsl's or of its child's, until this is dropped. Its words are made only if somebody wants to know.
pub fn step(words: impl fmt::Display) -> EnteredSpan {
    debug_span!("step", step = %words).entered()
}

/// The same, where others are waited for.
pub fn wait(words: impl fmt::Display) -> EnteredSpan {
    debug_span!("wait", step = %words).entered()
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
