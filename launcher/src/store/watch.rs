//! What goes on beside unpacking: signals that ask nsl to end, and a line that tells how far it is.

use super::fault::{Fault, Result, shown};
use crate::sys;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use std::cell::Cell;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What ends a process and is sent by people: handled between two writes, so that nothing is left half-done.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];
/// What takes no longer is not worth a line.
const PATIENCE: Duration = Duration::from_millis(500);
const REDRAW: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;

/// Holds the signals back while it lives; then they act as they always do.
pub struct Watch {
    before: SigSet,
    ending: u64,
    verb: &'static str,
    name: String,
    begun: Instant,
    drawn: Cell<Option<Instant>>,
    total: Cell<u64>,
    done: Rc<Cell<u64>>,
    on_terminal: bool,
}

impl Watch {
    /// `verb` says what is done with `path`: "unpacking".
    pub fn new(path: &Path, verb: &'static str) -> Result<Self> {
        let mut held = SigSet::empty();
        let mut ending = 0;
        for signal in ENDING.into_iter().filter(|signal| !sys::ignores(*signal)) {
            held.add(signal);
            ending |= 1 << (signal as u64 - 1);
        }
        let before = held
            .thread_swap_mask(SigmaskHow::SIG_BLOCK)
            .map_err(|errno| Fault::System { what: "signals".into(), errno })?;
        // A limit of file sizes, and a terminal that is gone, are errors of a write.
        sys::ignore_signals_of_writes();
        Ok(Self {
            before,
            ending,
            verb,
            name: shown(path.file_name().unwrap_or(path.as_os_str()).as_encoded_bytes()).chars().take(40).collect(),
            begun: Instant::now(),
            drawn: Cell::new(None),
            total: Cell::new(0),
            done: Rc::default(),
            on_terminal: io::stderr().is_terminal(),
        })
    }

    /// That many bytes more are to be read.
    pub fn expect(&self, bytes: u64) {
        self.total.set(self.total.get().saturating_add(bytes));
    }

    /// A reader whose bytes count.
    pub fn counted<R: Read>(&self, input: R) -> Counted<R> {
        Counted { input, done: Rc::clone(&self.done) }
    }

    /// To be called between any two longer steps.
    pub fn check(&self) -> Result<()> {
        if sys::pending_signals() & self.ending != 0 {
            return Err(Fault::Interrupted);
        }
        if self.on_terminal {
            self.draw(Instant::now());
        }
        Ok(())
    }

    fn draw(&self, now: Instant) {
        let due = self.drawn.get().map_or(self.begun + PATIENCE, |drawn| drawn + REDRAW);
        if now < due {
            return;
        }
        self.drawn.set(Some(now));
        let line = format!("\r{}", line(self.verb, &self.name, self.done.get(), self.total.get()));
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

fn line(verb: &str, name: &str, done: u64, total: u64) -> String {
    let part = |whole: u64| u128::from(done.min(total)) * u128::from(whole) / u128::from(total.max(1));
    let filled = part(WIDTH) as usize;
    let rest = WIDTH as usize - filled;
    format!("nsl: {verb} {name} [{}{}] {:3} %", "#".repeat(filled), " ".repeat(rest), part(100))
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.drawn.get().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        let _ = self.before.thread_set_mask();
    }
}

/// Counts what is read through it.
pub struct Counted<R> {
    input: R,
    done: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.done.set(self.done.get() + length as u64);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_full_at_the_end_and_never_longer() {
        assert_eq!(line("unpacking", "x", 0, 0), format!("nsl: unpacking x [{}]   0 %", " ".repeat(30)));
        assert_eq!(
            line("unpacking", "x", 1, 2),
            format!("nsl: unpacking x [{}{}]  50 %", "#".repeat(15), " ".repeat(15))
        );
        assert_eq!(line("unpacking", "x", 9, 2), format!("nsl: unpacking x [{}] 100 %", "#".repeat(30)));
        assert_eq!(line("unpacking", "x", u64::MAX, u64::MAX).len(), line("unpacking", "x", 0, 0).len());
    }
}
