//! The life of the init once the command runs: forward, reap, and at the command's end the ordered end of the rest.
//! From here on no step can fail in a way that ends the init.

use crate::rest;
use crate::sys;
use crate::tell;
use crate::terminal;
use core::time::Duration;
use nsl_init::cli::{Forwarding, Options, Program, Rest};
use nsl_init::message::{Event, Facts};
use nsl_shared::boot::Report;
use nsl_shared::exit;
use nsl_shared::signal::{Signal, SignalSet};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Pid, WaitOptions};

/// How often what is to die is looked for again where it can't be met at once.
const ROUND: Duration = Duration::from_millis(20);

/// The one command, and what is known of it.
pub struct Supervisor<'a> {
    pub options: &'a Options,
    /// The command's process ID, which is its group's as well; 0 if there is none.
    pub command: i32,
    /// The command got the foreground of the session's terminal from the init.
    pub foreground: bool,
    /// Where nsl hears of the command.
    pub status: Option<OwnedFd>,
    /// Is the command stopped?
    stopped: bool,
    /// The init handed on a signal that stops.
    asked_to_stop: bool,
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

impl<'a> Supervisor<'a> {
    pub fn new(options: &'a Options, command: i32) -> Self {
        Self { options, command, foreground: false, status: None, stopped: false, asked_to_stop: false }
    }

    /// Serves until the command has ended, and what it left behind as the options have it; returns the exit code to
    /// end with.
    #[inline(never)]
    pub fn run(&mut self) -> u8 {
        sys::forget_start();
        let code = self.serve();
        // Reaped: its number may come again as another process's.
        let command = core::mem::take(&mut self.command);
        if self.options.rest == Rest::Farewell
            && let Some(signal) = self.options.rewrites.get(Signal::TERM)
        {
            let _ = sys::kill(-command, signal);
        }
        // With nothing left, which is the rule, no time is spent on telling of the rest.
        if !matches!(self.reap(), Reaped::All) {
            self.report(Report::Exited { code });
            match self.options.rest {
                Rest::End => self.end_rest(),
                Rest::Await => self.await_rest(),
                Rest::Leave | Rest::Farewell => {}
            }
        }
        if self.foreground
            && let Some(command) = Pid::from_raw(command)
        {
            terminal::take_back(command, rustix::process::getpgrp());
        }
        self.options.exit_code(code)
    }

    fn serve(&mut self) -> u8 {
        loop {
            let signal = sys::wait_for_signal(None);
            // Signals come in the order of their numbers: a SIGTERM overtakes the SIGCHLD that tells of a stop.
            match self.reap() {
                Reaped::Command(code) => return code,
                // Can't be while the command lives; if it is, nothing is left to wait for.
                Reaped::All if self.command != 0 => return exit::NSL_FAILED,
                Reaped::Nothing | Reaped::All => {}
            }
            match signal {
                None | Some(Signal::CHLD) => {}
                Some(Signal::TERM | Signal::INT) if self.command == 0 => return 0,
                Some(signal) => self.forward(signal),
            }
        }
    }

    /// SIGCHLDs coalesce: one stands for any number of children. Stops at the command, so that its exit is never
    /// passed over; the rest is reaped at the next call.
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
                                self.suspend(signal);
                            }
                        }
                        continue;
                    }
                    let code = exit::of_wait_status(status.as_raw());
                    self.tell_end(is_command, pid, code, status.terminating_signal());
                    if is_command {
                        return Reaped::Command(code);
                    }
                }
                Ok(None) => return Reaped::Nothing,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Reaped::All,
            }
        }
    }

    fn tell_end(&self, is_command: bool, pid: Pid, code: u8, signal: Option<i32>) {
        let facts = Facts {
            pid: pid.as_raw_pid(),
            number: code.into(),
            signal: signal.and_then(Signal::new),
            ..Facts::default()
        };
        let event = match (is_command, signal) {
            (true, None) => Event::Exited,
            (true, Some(_)) => Event::Killed,
            (false, None) => Event::OrphanExited,
            (false, Some(_)) => Event::OrphanKilled,
        };
        self.tell(event, facts);
        if self.options.warn && !is_command {
            self.tell(Event::OrphanReaped, facts);
        }
    }

    fn forward(&mut self, signal: Signal) {
        self.hand_on(signal);
        // dumb-init stops itself at once, whatever becomes of the signal.
        if self.options.program == Program::DumbInit && signal.is_stop() {
            self.asked_to_stop = false;
            let _ = sys::kill(rustix::process::getpid().as_raw_pid(), Signal::STOP);
        }
    }

    fn hand_on(&mut self, signal: Signal) {
        let Some(becomes) = self.options.rewrites.get(signal) else {
            self.tell(Event::Dropping, Facts { signal: Some(signal), ..Facts::default() });
            return;
        };
        let to_group = match self.options.forwarding {
            // What the terminal stopped is more than the command.
            _ if becomes == Signal::CONT && self.foreground => true,
            Forwarding::Command => false,
            Forwarding::Group => true,
            Forwarding::AsTerminals => signal.is_from_terminal(),
        };
        if becomes == Signal::CONT && self.foreground {
            self.pass_foreground();
        }
        // A group that the command has left is no group any more; a command of another user may refuse (EPERM),
        // which is its business.
        if self.command != 0 && (!to_group || sys::kill(-self.command, becomes).is_err()) {
            let _ = sys::kill(self.command, becomes);
        }
        self.tell(Event::Forwarding, Facts { signal: Some(signal), other: Some(becomes), ..Facts::default() });
        if becomes.is_stop() {
            self.asked_to_stop = true;
        } else if becomes == Signal::CONT {
            self.asked_to_stop = false;
        } else if self.stopped && (becomes.is_to_end() || becomes == self.options.stop_signal) {
            // What is stopped sees no signal before it goes on.
            let _ = sys::kill(self.command, Signal::CONT);
        }
    }

    /// Stops with the command, as whoever controls jobs expects it of the process that he started. Where there is none
    /// who could continue it, a command that its terminal stopped goes on.
    fn suspend(&mut self, signal: i32) {
        let by_terminal = self.foreground && Signal::new(signal).is_some_and(|signal| signal != Signal::STOP);
        if !by_terminal && !self.asked_to_stop {
            return;
        }
        let (Some(command), own) = (Pid::from_raw(self.command), rustix::process::getpgrp()) else { return };
        if by_terminal {
            terminal::pass_foreground(command, own);
            // A make that waits for us in our group, and did not see the key.
            let _ = sys::kill(0, Signal::TSTP);
        } else {
            let _ = sys::kill(rustix::process::getpid().as_raw_pid(), Signal::TSTP);
        }
        // As PID 1, or in a group that no shell looks after, the kernel takes no notice.
        sys::set_signal_mask(SignalSet::ALL.without(Signal::TSTP));
        sys::set_signal_mask(SignalSet::ALL);
        let continued = sys::is_pending(SignalSet::NONE.with(Signal::CONT));
        if !continued && by_terminal && !self.asked_to_stop {
            self.pass_foreground();
            if signal == Signal::TSTP.number() {
                let _ = sys::kill(-self.command, Signal::CONT);
            }
        }
    }

    /// To the command's group, if the init's has it.
    fn pass_foreground(&self) {
        if let Some(command) = Pid::from_raw(self.command) {
            terminal::pass_foreground(rustix::process::getpgrp(), command);
        }
    }

    /// Waits for the last process, or until asked to end.
    fn await_rest(&mut self) {
        loop {
            let signal = sys::wait_for_signal(None);
            if matches!(self.reap(), Reaped::All) {
                return;
            }
            if matches!(signal, Some(Signal::TERM | Signal::INT)) {
                return self.end_rest();
            }
        }
    }

    /// Ends in order what the command left behind: it is asked, has the grace time, and is killed.
    fn end_rest(&mut self) {
        self.tell(Event::EndingRest, Facts::default());
        if !rest::signal_all(self.options.stop_signal) {
            self.tell(Event::RestNotFound, Facts::default());
            return;
        }
        rest::signal_all(Signal::CONT);
        let deadline = sys::now() + Duration::from_millis(u64::from(self.options.grace_ms));
        while let Some(left) = deadline.checked_sub(sys::now()) {
            match sys::wait_for_signal(Some(left)) {
                Some(Signal::CHLD) if matches!(self.reap(), Reaped::All) => return,
                // Asked once more: no more patience.
                Some(Signal::TERM | Signal::INT) => break,
                _ => {}
            }
        }
        self.tell(Event::KillingRest, Facts::default());
        while !matches!(self.reap(), Reaped::All) {
            rest::signal_all(Signal::KILL);
            sys::wait_for_signal(Some(ROUND));
        }
    }

    /// With nothing to say, which is the rule, the words stay out of memory.
    fn tell(&self, event: Event, facts: Facts<'_>) {
        if self.options.verbosity > 0 || self.options.warn || event == Event::RestNotFound {
            tell(self.options, event, facts);
        }
    }

    fn report(&self, report: Report) {
        if let Some(status) = &self.status {
            crate::report(status.as_fd(), report);
        }
    }
}
