//! What nsl does while a command runs: hands on signals and bytes, hears what the init reports, minds the time.

use super::again::is_final;
use super::hosts::HostsFile;
use super::sandbox::Sandbox;
use crate::deadline::{Deadline, Due};
use crate::error::{Error, Result};
use crate::events::Network;
use crate::health::{Health, Schedule};
use crate::hints;
use crate::log;
use crate::logs::Output;
use crate::status::{self, Received};
use crate::terminal::{self, PAUSE, Relay};
use crate::timings;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use nsl_shared::boot::Report;
use std::os::fd::AsFd;
use std::time::Instant;
use tracing::{debug, info};

/// Where something happens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Init,
    Signals,
    Reports,
    /// Other sandboxes of its network have come or gone.
    News,
    /// The command says how it is.
    Notifications,
    Pasta,
    /// A check of its health has ended.
    Check,
    Relay(usize),
    Output,
}

impl Sandbox<'_> {
    /// One round of waiting; true when the init has ended.
    pub(super) fn serve(&mut self) -> Result<bool> {
        let paused: Vec<bool> = self.relays.iter().map(Relay::is_paused).collect();
        let (sources, mut waiting): (Vec<_>, Vec<_>) = self.sources(&paused).unzip();
        match nix::poll::poll(&mut waiting, self.patience(paused.contains(&true))) {
            Err(Errno::EINTR) | Ok(_) => {}
            Err(errno) => return Err(Error::os("wait for the command", errno)),
        }
        let ready = sources.into_iter().zip(&waiting).filter(|(_, poll)| poll.any().unwrap_or(false));
        let ready: Vec<Source> = ready.map(|(source, _)| source).collect();
        let (ended, has_output) = (ready.contains(&Source::Init), ready.contains(&Source::Output));
        for source in ready {
            self.attend(source, ended)?;
        }
        self.take_output(has_output);
        if !ended {
            self.events.beat();
            self.mind_the_deadlines();
            self.mind_the_health();
        }
        Ok(ended)
    }

    /// What there is to wait for, in the order in which it is attended to.
    fn sources(&self, paused: &[bool]) -> impl Iterator<Item = (Source, PollFd<'_>)> {
        let reports = (!self.hung_up).then_some((Source::Reports, self.init.status.as_fd()));
        let news = self.hosts.as_ref().and_then(HostsFile::descriptor).map(|news| (Source::News, news));
        let notifications = self.events.notifications().map(|socket| (Source::Notifications, socket));
        let pasta = self.pasta.as_ref().map(|pasta| (Source::Pasta, pasta.descriptor()));
        let check = self.check.as_ref().map(|check| (Source::Check, check.descriptor()));
        let relays = self.relays.iter().enumerate().filter(|(index, _)| !paused[*index]);
        let relays = relays.filter_map(|(index, relay)| Some((Source::Relay(index), relay.interest()?)));
        let output = self.output.iter().flat_map(Output::interests).map(|poll| (Source::Output, poll));
        let readable = |(source, descriptor)| (source, PollFd::new(descriptor, PollFlags::POLLIN));
        [(Source::Init, self.init.descriptor()), (Source::Signals, self.signals.descriptor())]
            .into_iter()
            .chain(reports)
            .chain(news)
            .chain(notifications)
            .chain(pasta)
            .chain(check)
            .map(readable)
            .chain(relays)
            .chain(output)
    }

    fn attend(&mut self, source: Source, ended: bool) -> Result<()> {
        match source {
            Source::Signals => self.take_signals(),
            Source::Reports => self.take_reports()?,
            Source::News => {
                if let (Some(hosts), Some(made)) = (&mut self.hosts, &self.network) {
                    hosts.refresh(made);
                }
            }
            Source::Notifications => self.events.notified(),
            Source::Pasta if !ended => {
                let end = self.pasta.take().map(|mut pasta| pasta.end()).unwrap_or_default();
                log::tell(&format!("the network of the sandbox is gone, it goes on without: pasta ended ({end})"));
            }
            Source::Check => self.checked(),
            Source::Relay(index) => self.relays[index].step(),
            Source::Init | Source::Pasta | Source::Output => {}
        }
        Ok(())
    }

    /// Hands output on to the log, if there is some or if it has waited for long enough.
    fn take_output(&mut self, has_output: bool) {
        let Some(output) = &mut self.output else { return };
        if has_output || output.due().is_some_and(|due| due <= Instant::now()) {
            output.step();
        }
        if let Some(dropped) = output.news() {
            self.events.dropped(dropped);
        }
    }

    /// How long to wait for something to happen.
    fn patience(&self, is_paused: bool) -> PollTimeout {
        let pause = if is_paused { PollTimeout::from(PAUSE) } else { PollTimeout::NONE };
        let now = Instant::now();
        let deadlines = self.deadline.iter().chain(&self.ending).filter_map(|deadline| deadline.left(now));
        let checks = self.schedule.as_ref().and_then(|schedule| schedule.left(now));
        let watchdog = self.events.left(now);
        let due = self.output.as_ref().and_then(Output::due).map(|due| due.saturating_duration_since(now));
        let Some(left) = deadlines.chain(checks).chain(watchdog).chain(due).min() else { return pause };
        let left = PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
        if is_paused { left.min(pause) } else { left }
    }

    fn mind_the_deadlines(&mut self) {
        let due = |deadline: &mut Option<Deadline>| deadline.as_mut()?.due(Instant::now());
        match due(&mut self.ending) {
            None => {}
            Some(Due::Ask) => self.init.signal(libc::SIGTERM),
            Some(Due::Kill) => self.init.signal(libc::SIGKILL),
        }
        // As if SIGTERM had been sent to nsl; later there is no more patience.
        match due(&mut self.deadline) {
            None => {}
            Some(Due::Ask) => {
                info!("the command has run for as long as --timeout allows: it is asked to end");
                self.init.signal(libc::SIGTERM);
            }
            Some(Due::Kill) => {
                info!("the command did not end in time: it is killed");
                self.init.signal(libc::SIGKILL);
            }
        }
    }

    pub(super) fn take_reports(&mut self) -> Result<()> {
        while !self.hung_up {
            match status::pending(self.init.status.as_fd())? {
                Some(Received::Report(report, _)) => self.heard(report)?,
                Some(Received::End) => self.hung_up = true,
                None => break,
            }
        }
        Ok(())
    }

    pub(super) fn heard(&mut self, report: Report) -> Result<()> {
        debug!(?report, "heard from inside");
        timings::heard(report);
        if let Report::Stopped { signal } = report {
            self.events.stopped(signal);
        }
        match report {
            Report::ChildFailed { step, errno } => match self.plan.child.get(usize::from(step)) {
                Some(step) => return Err(hints::child_step(&self.plan, step, errno)),
                None => return Err(Error::os("assemble the sandbox", Errno::from_raw(errno))),
            },
            Report::InitFailed { step, errno } => return Err(hints::init_step(&self.spec.subject(), step, errno)),
            // Under a terminal, the stop is the whole job's: the shell that started nsl takes over.
            Report::Stopped { signal } if self.terminal.is_some() && signal != libc::SIGSTOP => {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(0), Signal::SIGTSTP);
            }
            // What is left may take its time; Ctrl-C is a signal to nsl again.
            Report::Exited { signal, .. } => {
                self.events.ended_by = (signal != 0).then_some(signal.into());
                if let Some(deadline) = &mut self.deadline {
                    deadline.command_ended();
                }
                if let Some(terminal) = &mut self.terminal {
                    terminal.leave();
                }
            }
            Report::Started => {
                self.started = true;
                if let Some(deadline) = &mut self.deadline {
                    deadline.start(Instant::now());
                }
                let network = self.network.as_ref().map(Network::from).or(self.pasta.as_ref().map(Network::from));
                self.events.started(self.init.pid, &self.plan.hostname, network);
                if let Some(checks) = self.checks.take() {
                    self.schedule = Some(Schedule::new(checks, Instant::now()));
                    self.events.health(Health::Starting.word());
                }
            }
            Report::Continued => self.events.continued(),
            Report::Stopped { .. } | Report::Ready | Report::Netlink | Report::Terminal | Report::Hosts => {}
        }
        Ok(())
    }

    fn take_signals(&mut self) {
        for signal in self.signals.pending() {
            debug!(signal, "forwarding");
            match (signal, &mut self.terminal) {
                (libc::SIGWINCH, Some(terminal)) => terminal.copy_size(),
                (libc::SIGTSTP, _) => terminal::suspend(&self.init, &mut self.terminal),
                _ if is_final(signal) => {
                    self.events.stopping(signal);
                    self.init.signal(signal);
                }
                _ => self.init.signal(signal),
            }
        }
    }
}
