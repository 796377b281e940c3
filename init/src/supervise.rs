//! The life of the init once the command runs: forward, reap, and at the command's end the ordered end of the rest.
//! From here on no step can fail in a way that ends the init.

use crate::machine::End;
use crate::rest;
use crate::sys;
use crate::tell;
use crate::terminal;
use core::time::Duration;
use nsl_init::cli::{Forwarding, Options, Program, Rest};
use nsl_init::message::Event;
use nsl_shared::boot::Report;
use nsl_shared::exit;
use nsl_shared::signal::{Signal, SignalSet};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Pid, WaitOptions};

/// What is to die is killed again after this time, for what was born meanwhile.
const ROUND: Duration = Duration::from_millis(20);
/// How often. What lives on then may not be killed, or is stuck in the kernel: nobody is served by waiting for it.
const ROUNDS: u32 = 100;

/// The one command, and what is known of it.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Supervisor<'a> {
    pub options: &'a Options,
    /// The command's process ID, which is its group's as well; 0 if there is none.
    pub command: i32,
    /// The command got the foreground of the session's terminal from the init.
    pub foreground: bool,
    /// Where nsl hears of the command.
    pub status: Option<OwnedFd>,
    /// It hears of its end in any case.
    pub tells_end: bool,
    /// How the machine is to end, if this is one and was asked to.
    pub end: Option<End>,
    /// The exit code of the command, once it has ended.
    ended: Option<u8>,
    /// The signal that ended it, if one did.
    ended_by: u8,
    /// How long what is to end may take.
    grace: Duration,
    /// Is the command stopped?
    stopped: bool,
    /// The init handed on a signal that stops.
    asked_to_stop: bool,
}

impl<'a> Supervisor<'a> {
    pub fn new(options: &'a Options, command: i32) -> Self {
        Self {
            options,
            command,
            foreground: false,
            status: None,
            tells_end: false,
            end: None,
            ended: None,
            ended_by: 0,
            grace: Duration::from_millis(options.grace_ms.into()),
            stopped: false,
            asked_to_stop: false,
        }
    }

    /// Serves until the command has ended, and what it left behind as the options have it; returns the exit code to
    /// end with.
    #[inline(never)]
    pub fn run(&mut self) -> u8 {
        sys::forget_start();
        let command = self.command;
        self.serve();
        if self.options.rest == Rest::Farewell
            && let Some(signal) = self.options.rewrites.get(Signal::TERM)
        {
            let _ = sys::kill(-command, signal);
        }
        // With nothing left, which is the rule, no time is spent on telling of the rest.
        let is_last = self.reap();
        if (!is_last || self.tells_end)
            && let Some(code) = self.ended
        {
            self.report(Report::Exited { code, signal: self.ended_by }.encode());
        }
        if !is_last {
            match self.options.rest {
                Rest::End => self.end_rest(),
                Rest::Await => self.await_rest(),
                Rest::Leave | Rest::Farewell => {}
            }
        }
        if self.foreground
            && let (Some(command), Some(own)) = (Pid::from_raw(command), sys::own_group())
        {
            terminal::take_back(command, own);
        }
        // Without one, it can't have ended while all others have.
        let code = if command == 0 { 0 } else { exit::NSL_FAILED };
        self.options.exit_code(self.ended.unwrap_or(code))
    }

    /// Returns when the command has ended; without a command, when asked to end; in a machine, when it has been asked
    /// to end for long enough.
    fn serve(&mut self) {
        let mut deadline = None;
        loop {
            let left = deadline.map(|deadline: Duration| deadline.checked_sub(sys::now()));
            if left == Some(None) {
                return;
            }
            let signal = sys::wait_for_signal(left.flatten());
            // Signals come in the order of their numbers: a SIGTERM overtakes the SIGCHLD that tells of a stop.
            let none_left = self.reap();
            // There is a child while the command lives; if there is none, nothing is left to wait for.
            if self.ended.is_some() || none_left && self.command != 0 {
                return;
            }
            match signal {
                None | Some(Signal::CHLD) => {}
                Some(signal) if self.is_asked_to_end(signal) => {
                    if self.command == 0 {
                        return;
                    }
                    deadline = Some(sys::now() + self.grace);
                    self.forward(Signal::TERM);
                }
                Some(Signal::TERM | Signal::INT) if self.command == 0 => return,
                Some(signal) => self.forward(signal),
            }
        }
    }

    /// Does `signal` ask for the end of the machine? From the second one on there is no more patience.
    fn is_asked_to_end(&mut self, signal: Signal) -> bool {
        let Some(end) = End::asked_by(signal).filter(|_| self.options.machine) else { return false };
        if self.end.replace(end).is_some() {
            self.grace = Duration::ZERO;
        }
        true
    }

    /// SIGCHLDs coalesce: one stands for any number of children. True if none is left at all.
    fn reap(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED) {
                Ok(Some((pid, status))) => {
                    let is_command = pid.as_raw_pid() == self.command;
                    if status.stopped() || status.continued() {
                        if is_command {
                            self.stopped = status.stopped();
                            if let Some(signal) = status.stopping_signal() {
                                self.report(Report::Stopped { signal }.encode());
                                self.suspend(signal);
                            } else {
                                self.report(Report::Continued.encode());
                            }
                        }
                        continue;
                    }
                    let code = exit::of_wait_status(status.as_raw());
                    self.tell_end(is_command, pid, code, status.terminating_signal());
                    if is_command {
                        self.ended = Some(code);
                        self.ended_by = status.terminating_signal().unwrap_or_default() as u8;
                        // Its number may come again as another process's.
                        self.command = 0;
                    }
                }
                Ok(None) => return false,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return true,
            }
        }
    }

    fn tell_end(&self, is_command: bool, pid: Pid, code: u8, signal: Option<i32>) {
        let event = match (is_command, signal) {
            (true, None) => Event::Exited,
            (true, Some(_)) => Event::Killed,
            (false, None) => Event::OrphanExited,
            (false, Some(_)) => Event::OrphanKilled,
        };
        let numbers = [pid.as_raw_pid(), signal.unwrap_or(code.into()), code.into()];
        self.tell(event, numbers);
        if self.options.warn && !is_command {
            self.tell(Event::OrphanReaped, numbers);
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
            self.tell(Event::Dropping, [0, signal.number(), 0]);
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
        self.tell(Event::Forwarding, [0, signal.number(), becomes.number()]);
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
        if by_terminal {
            if let (Some(command), Some(own)) = (Pid::from_raw(self.command), sys::own_group()) {
                terminal::pass_foreground(command, own);
            }
            // A make that waits for us in our group, and did not see the key.
            let _ = sys::kill(0, Signal::TSTP);
        } else if !rustix::process::getpid().is_init() {
            // A PID 1 is not stopped by it, but would lose a SIGCONT that has come meanwhile (signal(7): one undoes the
            // other).
            let _ = sys::kill(rustix::process::getpid().as_raw_pid(), Signal::TSTP);
        }
        // In a group that no shell looks after, the kernel takes no notice.
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
        if let (Some(own), Some(command)) = (sys::own_group(), Pid::from_raw(self.command)) {
            terminal::pass_foreground(own, command);
        }
    }

    /// Waits for the last process, or until asked to end.
    fn await_rest(&mut self) {
        loop {
            let signal = sys::wait_for_signal(None);
            if self.reap() {
                return;
            }
            if matches!(signal, Some(Signal::TERM | Signal::INT)) {
                return self.end_rest();
            }
        }
    }

    /// Ends in order what the command left behind: it is asked, has the grace time, and is killed.
    fn end_rest(&mut self) {
        self.tell(Event::EndingRest, [0; 3]);
        if !rest::signal_all(self.options.stop_signal) {
            self.tell(Event::RestNotFound, [0; 3]);
            return;
        }
        rest::signal_all(Signal::CONT);
        let began = sys::now();
        while let Some(left) = (began + self.grace).checked_sub(sys::now()) {
            match sys::wait_for_signal(Some(left)) {
                Some(Signal::CHLD) if self.reap() => return,
                Some(signal) if self.is_asked_to_end(signal) => {}
                // Asked once more: no more patience.
                Some(Signal::TERM | Signal::INT) => break,
                _ => {}
            }
        }
        self.tell(Event::KillingRest, [0; 3]);
        for _ in 0..ROUNDS {
            if self.reap() {
                return;
            }
            rest::signal_all(Signal::KILL);
            sys::wait_for_signal(Some(ROUND));
        }
    }

    /// With nothing to say, which is the rule, the words stay out of memory.
    fn tell(&self, event: Event, numbers: [i32; 3]) {
        if self.options.verbosity > 0 || self.options.warn || event == Event::RestNotFound {
            tell(self.options, event, b"", numbers);
        }
    }

    fn report(&self, report: [u8; Report::SIZE]) {
        if let Some(status) = &self.status {
            crate::report(status.as_fd(), report);
        }
    }
}
