//! What `nsl exec` does while its command runs: hands on signals and bytes, hears what the nsl-init reports, and makes
//! words of the end.

use super::join::Step;
use super::orphans;
use super::target::Target;
use crate::cgroup::Joined;
use crate::error::{Error, Result};
use crate::hints::{self, Subject};
use crate::log;
use crate::signals::Signals;
use crate::spawn::{Ended, Init};
use crate::status::{self, Received};
use crate::terminal::{self, PAUSE, Relay, Terminal};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use nsl_shared::boot::{InitStep, Report};
use nsl_shared::exit;
use std::os::fd::{AsFd, OwnedFd};
use tracing::debug;

/// Where something happens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Init,
    Signals,
    Reports,
    Relay(usize),
}

pub struct Session<'a> {
    target: &'a Target,
    subject: Subject<'a>,
    init: Init,
    signals: Signals,
    terminal: Option<Terminal>,
    relays: Vec<Relay>,
    /// The status socket has nothing more to say.
    hung_up: bool,
    /// It is to be gone without a trace.
    pub is_check: bool,
}

impl<'a> Session<'a> {
    /// One whose child has just been started.
    pub fn new(target: &'a Target, subject: Subject<'a>, init: Init, signals: Signals, relays: Vec<Relay>) -> Self {
        Self { target, subject, init, signals, terminal: None, relays, hung_up: false, is_check: false }
    }

    /// Carries it to its end, and gives the exit code. Dropped, it restores the terminal and kills the command.
    pub fn run(mut self, has_terminal: bool) -> Result<u8> {
        self.carry_on(has_terminal).map_err(|error| self.target.unless_ended(error))
    }

    fn carry_on(&mut self, has_terminal: bool) -> Result<u8> {
        if has_terminal {
            let master = self.expect_terminal()?;
            let (mut terminal, relays) =
                Terminal::new(master).map_err(|errno| Error::os("join the terminal to the pty", errno))?;
            terminal.enter();
            self.terminal = Some(terminal);
            self.relays.extend(relays);
        }
        status::go(self.init.status.as_fd());
        while !self.serve()? {}
        if self.is_check || self.init.is_killed() {
            orphans::kill(self.init.pid);
        }
        let ended = self.init.wait()?;
        self.take_reports()?;
        self.relays.iter_mut().for_each(Relay::empty);
        let code = match ended {
            Ended::Exited(code) => code,
            // With the cgroup of the sandbox.
            Ended::Killed(libc::SIGKILL) if self.target.has_ended() => exit::of_signal(libc::SIGKILL),
            Ended::Killed(signal) => return Err(self.unwatched(signal)),
        };
        if code == exit::of_signal(libc::SIGKILL) {
            self.blame();
        }
        Ok(code)
    }

    fn unwatched(&self, signal: i32) -> Error {
        let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
        let cause = format!("the nsl-init that watches over it was killed by {name}");
        Error::new(format!("go on with {}", self.subject.name.display()), cause).code(exit::of_signal(signal))
    }

    /// Tells of a SIGKILL that the command did not get by itself.
    fn blame(&self) {
        if self.target.cgroup.as_ref().is_some_and(Joined::has_killed) {
            log::tell("the command was killed: the sandbox has used more memory than --memory allows");
        } else if self.target.has_ended() {
            log::tell(&format!("the command was killed: the sandbox {} has ended", self.target.name));
        }
    }

    /// Waits for the master of the pty.
    fn expect_terminal(&mut self) -> Result<OwnedFd> {
        loop {
            match status::next(self.init.status.as_fd())? {
                Received::Report(Report::Terminal, Some(master)) => return Ok(master),
                Received::Report(report, _) => self.heard(report)?,
                Received::End => return Err(Error::os(Step::OpenTerminal.to_string(), Errno::EPIPE)),
            }
        }
    }

    /// One round of waiting; true when the nsl-init has ended.
    fn serve(&mut self) -> Result<bool> {
        let paused: Vec<bool> = self.relays.iter().map(Relay::is_paused).collect();
        let (sources, mut waiting): (Vec<_>, Vec<_>) = self.sources(&paused).unzip();
        let patience = if paused.contains(&true) { PollTimeout::from(PAUSE) } else { PollTimeout::NONE };
        match nix::poll::poll(&mut waiting, patience) {
            Err(Errno::EINTR) | Ok(_) => {}
            Err(errno) => return Err(Error::os("wait for the command", errno)),
        }
        let ready = sources.into_iter().zip(&waiting).filter(|(_, poll)| poll.any().unwrap_or(false));
        let ready: Vec<Source> = ready.map(|(source, _)| source).collect();
        for source in &ready {
            match source {
                Source::Init => {}
                Source::Signals => self.take_signals(),
                Source::Reports => self.take_reports()?,
                Source::Relay(number) => self.relays[*number].step(),
            }
        }
        Ok(ready.contains(&Source::Init))
    }

    /// What there is to wait for, in the order in which it is attended to.
    fn sources(&self, paused: &[bool]) -> impl Iterator<Item = (Source, PollFd<'_>)> {
        let reports = (!self.hung_up).then_some((Source::Reports, self.init.status.as_fd()));
        let relays = self.relays.iter().enumerate().filter(|(number, _)| !paused[*number]);
        let relays = relays.filter_map(|(number, relay)| Some((Source::Relay(number), relay.interest()?)));
        [(Source::Init, self.init.descriptor()), (Source::Signals, self.signals.descriptor())]
            .into_iter()
            .chain(reports)
            .map(|(source, descriptor)| (source, PollFd::new(descriptor, PollFlags::POLLIN)))
            .chain(relays)
    }

    fn take_reports(&mut self) -> Result<()> {
        while !self.hung_up {
            match status::pending(self.init.status.as_fd())? {
                Some(Received::Report(report, _)) => self.heard(report)?,
                Some(Received::End) => self.hung_up = true,
                None => break,
            }
        }
        Ok(())
    }

    fn heard(&self, report: Report) -> Result<()> {
        debug!(?report, "heard from inside");
        match report {
            Report::ChildFailed { step, errno } => {
                let step = Step::ALL.get(usize::from(step));
                let error = Error::os(step.map_or_else(String::new, ToString::to_string), Errno::from_raw(errno));
                Err(match step {
                    Some(Step::OpenTerminal) => error.hint(NO_TERMINAL),
                    _ if errno == libc::EPERM => error.hint(NOT_YOURS),
                    _ => error,
                })
            }
            Report::InitFailed { step, errno } => {
                let error = hints::init_step(&self.subject, step, errno);
                let cgroup = self.target.cgroup.as_ref().filter(|_| step == InitStep::Fork && errno == libc::EAGAIN);
                Err(match cgroup.and_then(Joined::hint) {
                    Some(hint) => error.hint(hint),
                    None => error,
                })
            }
            // The stop is the whole job's: the shell that started nsl takes over.
            Report::Stopped { signal } if self.terminal.is_some() && signal != libc::SIGSTOP => {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(0), Signal::SIGTSTP);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take_signals(&mut self) {
        for signal in self.signals.pending() {
            debug!(signal, "forwarding");
            match (signal, &mut self.terminal) {
                (libc::SIGWINCH, Some(terminal)) => terminal.copy_size(),
                (libc::SIGTSTP, _) => terminal::suspend(&self.init, &mut self.terminal),
                (libc::SIGTERM, _) if self.is_check => self.init.signal(libc::SIGKILL),
                _ => self.init.signal(signal),
            }
        }
    }
}

const NO_TERMINAL: &str = "its /dev/pts is no longer what nsl made: -T does without a terminal";
const NOT_YOURS: &str = "use nsl exec as the user, and with the privileges, that nsl run had";
