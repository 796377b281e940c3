//! Hears of each step as a span, and keeps when it began and ended; in the child, writes that to the pipe.

use super::rows::{Row, Side};
use super::{Pipe, with};
use std::fmt::{Debug, Write};
use std::os::fd::AsFd;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Is it one that is told?
pub fn is_step(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.fields().field("step").is_some()
}

/// The layer that hears of them.
pub struct Steps;

/// Where a span's row is.
struct Index(usize);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Steps {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut step = Words(None);
        attributes.record(&mut step);
        let (Words(Some(step)), Some(span)) = (step, context.span(id)) else { return };
        let outer = span.scope().skip(1).filter(|span| span.extensions().get::<Index>().is_some());
        let (depth, waits) = (outer.count(), attributes.metadata().name() == "wait");
        with(|timings| {
            let at = timings.begun.elapsed();
            let (index, row) = (timings.steps.len(), Row { depth, waits, at, ..Row::new(Side::Nsl, step) });
            if let Pipe::Child(pipe) = &timings.pipe {
                // What finds no room is not told.
                let _ = rustix::io::write(pipe.as_fd(), &row.begin(index));
            }
            timings.steps.push(row);
            span.extensions_mut().insert(Index(index));
        });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(index) = span.extensions().get::<Index>().map(|index| index.0) else { return };
        with(|timings| {
            let end = timings.begun.elapsed();
            if let Pipe::Child(pipe) = &timings.pipe {
                let _ = rustix::io::write(pipe.as_fd(), &Row::end(index, end));
            }
            if let Some(row) = timings.steps.get_mut(index) {
                row.end = Some(end);
            }
        });
    }
}

/// The words of a field `step`, if there is one.
struct Words(Option<String>);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "step" {
            let words = self.0.get_or_insert_default();
            let _ = write!(words, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "step" {
            self.0 = Some(value.to_owned());
        }
    }
}
