//! What nsl tells on stderr beside errors: events in nsl's own line format, steps with the time they took.

use crate::cli::LogLevel;
use crate::timings;
use std::fmt;
use std::io::Write;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, EnteredSpan, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber, debug_span};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{DefaultFields, FmtSpan, FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::util::SubscriberInitExt;

/// Tells what is at `level` or above it; the rest costs a comparison.
pub fn start(level: LogLevel) {
    let level = Level::from(level);
    if level < Level::DEBUG && !timings::are_on() {
        // A second one would say the same.
        let _ = tracing::subscriber::set_global_default(Plain(level));
        return;
    }
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

/// Tells, whatever the level, what has failed, or how the command came to its end where its exit code alone would mislead.
pub fn tell(line: &str) {
    // In one write(2): what others write to the same stderr comes before it or behind it, not between.
    let line = format!("nsl: {line}\n");
    // Where nobody can be told, the exit code is left.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// How every line begins.
fn label(level: Level) -> &'static str {
    match level {
        Level::ERROR => "nsl: error: ",
        Level::WARN => "nsl: warning: ",
        Level::INFO => "nsl: ",
        Level::DEBUG => "nsl: debug: ",
        Level::TRACE => "nsl: trace: ",
    }
}

/// What tells events alone. Without steps there are no spans to keep, for which tracing-subscriber makes a registry: 28,000
/// instructions and 32 KiB of every start.
struct Plain(Level);

impl Subscriber for Plain {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.0
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.0))
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = label(*event.metadata().level()).to_owned();
        // Memory takes whatever is written.
        let _ = DefaultFields::new().format_fields(Writer::new(&mut line), event);
        line.push('\n');
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// `nsl: warning: …`, like every other line of nsl's.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        to.write_str(label(*event.metadata().level()))?;
        if *event.metadata().level() >= Level::DEBUG {
            let mut step = None;
            for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
                let fields = span.extensions();
                let fields = fields.get::<tracing_subscriber::fmt::FormattedFields<N>>();
                match fields.filter(|fields| !fields.is_empty()) {
                    // A step is what its words are, and says enough without those that it is a part of.
                    Some(fields) => match fields.fields.strip_prefix("step=") {
                        Some(words) => step = Some(words.to_owned()),
                        None => write!(to, "{}{{{fields}}}: ", span.name())?,
                    },
                    None => write!(to, "{}: ", span.name())?,
                }
            }
            step.map_or(Ok(()), |step| write!(to, "{step}: "))?;
        }
        let mut end = End(None);
        event.record(&mut end);
        match end.0 {
            Some(took) => to.write_str(&took)?,
            None => context.field_format().format_fields(to.by_ref(), event)?,
        }
        writeln!(to)
    }
}

/// The time that a span took, if an event tells its end.
struct End(Option<String>);

impl Visit for End {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "time.busy" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}
