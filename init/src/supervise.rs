//! The life of PID 1 once the command runs: forward, reap, and at the command's end the ordered end of the rest.
//! From here on no step can fail in a way that ends the init.

use crate::sys;
use core::time::Duration;
use nsl_shared::boot::Report;
use nsl_shared::exit;
use nsl_shared::signal::Signal;
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::WaitOptions;

/// Who gets a signal that the init got.
#[derive(Clone, Copy)]
pub enum Forwarding {
    /// The command.
    Command,
    /// The command's process group.
    Group,
    /// As if the init were not there: what terminals send goes to the group, the rest to the command.
    AsTerminals,
}

/// The one command, and what is known of it.
pub struct Supervisor {
    pub command: i32,
    pub forwarding: Forwarding,
    pub grace_ms: u32,
    /// Where nsl hears of the command.
    pub status: Option<OwnedFd>,
    /// Warn about each orphan that is reaped.
    pub warn: bool,
    /// Is the command stopped?
    pub stopped: bool,
}

/// What one round of reaping found.
enum Reaped {
    /// The command lives on.
    Nothing,
    /// It ended with this exit code.
    Command(u8),
    /// No child is left at all.
    All,
}

impl Supervisor {
    /// Serves until the command and all that it left behind have ended; returns the exit code to end with.
    pub fn run(&mut self) -> u8 {
        let code = self.serve();
        // Reaped: its number may come again as another process's.
        self.command = 0;
        // With nothing left, which is the rule, no time is spent on telling of the rest.
        if !matches!(self.reap(), Reaped::All) {
            self.report(Report::Exited { code });
            if rustix::process::getpid().is_init() {
                self.end_rest();
            }
        }
        code
    }

    fn serve(&mut self) -> u8 {
        loop {
            let signal = sys::wait_for_signal(None);
            // Signals come in the order of their numbers: a SIGTERM overtakes the SIGCHLD that tells of a stop.
            match self.reap() {
                Reaped::Nothing => {}
                Reaped::Command(code) => return code,
                // Can't be while the command lives; if it is, nothing is left to wait for.
                Reaped::All => return exit::NSL_FAILED,
            }
            if let Some(signal) = signal.filter(|signal| *signal != Signal::CHLD) {
                self.forward(signal);
            }
        }
    }

    /// SIGCHLDs coalesce: one stands for any number of children. Stops at the command, so that its exit is never
    /// passed over; the rest is reaped by `end_rest`.
    fn reap(&mut self) -> Reaped {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED) {
                Ok(Some((pid, status))) => {
                    let is_command = pid.as_raw_pid() == self.command;
                    if status.stopped() || status.continued() {
                        if is_command {
                            self.stopped = status.stopped();
                            if let Some(signal) = status.stopping_signal() {
                                self.report(Report::Stopped { signal });
                            }
                        }
                    } else if is_command {
                        return Reaped::Command(exit::of_wait_status(status.as_raw()));
                    } else if self.warn {
                        crate::say(&[b"warning: reaped an orphan"]);
                    }
                }
                Ok(None) => return Reaped::Nothing,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Reaped::All,
            }
        }
    }

    fn forward(&self, signal: Signal) {
        let to_group = match self.forwarding {
            Forwarding::Command => false,
            Forwarding::Group => true,
            Forwarding::AsTerminals => signal.is_from_terminal(),
        };
        // A group that the command has left is no group any more; a command of another user may refuse (EPERM),
        // which is its business.
        if !to_group || sys::kill(-self.command, signal).is_err() {
            let _ = sys::kill(self.command, signal);
        }
        // What is stopped sees no signal before it goes on.
        if self.stopped && !signal.is_stop() && signal != Signal::CONT {
            let _ = sys::kill(self.command, Signal::CONT);
        }
    }

    /// Ends in order what the command left behind: SIGTERM, the grace time, SIGKILL.
    fn end_rest(&mut self) {
        let _ = sys::kill(-1, Signal::TERM);
        let _ = sys::kill(-1, Signal::CONT);
        let deadline = sys::now() + Duration::from_millis(u64::from(self.grace_ms));
        while let Some(left) = deadline.checked_sub(sys::now()) {
            match sys::wait_for_signal(Some(left)) {
                Some(Signal::CHLD) if matches!(self.reap(), Reaped::All) => return,
                // Asked once more: no more patience.
                Some(Signal::TERM | Signal::INT) => break,
                _ => {}
            }
        }
        let _ = sys::kill(-1, Signal::KILL);
        while !matches!(self.reap(), Reaped::All) {
            sys::wait_for_signal(None);
        }
    }

    fn report(&self, report: Report) {
        if let Some(status) = &self.status {
            crate::report(status.as_fd(), report);
        }
    }
}
