//! What nsl does while a command runs: hands on signals and bytes, hears what the init reports, minds the time.

use super::hosts::HostsFile;
use super::sandbox::Sandbox;
use crate::deadline::Due;
use crate::error::{Error, Result};
use crate::hints;
use crate::logs::Output;
use crate::signals::stop_self;
use crate::status::{self, Received};
use crate::terminal::Relay;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use nix::sys::socket::MsgFlags;
use nsl_shared::boot::Report;
use std::os::fd::AsFd;
use std::time::Instant;
use tracing::{debug, info};

/// How often a terminal that others read is looked at again, in milliseconds.
const PAUSE: u8 = 100;

impl Sandbox<'_> {
    /// One round of waiting; true when the init has ended.
    pub(super) fn serve(&mut self) -> Result<bool> {
        let paused: Vec<bool> = self.relays.iter().map(Relay::is_paused).collect();
        let mut waiting = vec![
            PollFd::new(self.init.descriptor(), PollFlags::POLLIN),
            PollFd::new(self.signals.descriptor(), PollFlags::POLLIN),
        ];
        if !self.hung_up {
            waiting.push(PollFd::new(self.init.status.as_fd(), PollFlags::POLLIN));
        }
        let news = self.hosts.as_ref().and_then(HostsFile::descriptor);
        waiting.extend(news.map(|news| PollFd::new(news, PollFlags::POLLIN)));
        let fixed = waiting.len();
        let interests = self.relays.iter().zip(&paused).enumerate();
        let interests: Vec<_> = interests
            .filter_map(|(index, (relay, paused))| if *paused { None } else { Some((index, relay.interest()?)) })
            .collect();
        waiting.extend(interests.iter().map(|(_, interest)| interest.clone()));
        waiting.extend(self.output.iter().flat_map(Output::interests));
        let outputs = waiting.len();
        waiting.extend(self.events.notifications().map(|socket| PollFd::new(socket, PollFlags::POLLIN)));
        match nix::poll::poll(&mut waiting, self.patience(paused.contains(&true))) {
            Err(Errno::EINTR) | Ok(_) => {}
            Err(errno) => return Err(Error::os("wait for the command", errno)),
        }
        let is_ready = |poll: &PollFd<'_>| poll.any().unwrap_or(false);
        let (ended, signalled) = (is_ready(&waiting[0]), is_ready(&waiting[1]));
        let reported = !self.hung_up && is_ready(&waiting[2]);
        let has_news = news.is_some() && is_ready(&waiting[fixed - 1]);
        let ready: Vec<usize> = interests
            .iter()
            .zip(&waiting[fixed..])
            .filter(|(_, poll)| is_ready(poll))
            .map(|((index, _), _)| *index)
            .collect();
        let written = waiting[fixed + interests.len()..outputs].iter().any(is_ready);
        let notified = waiting[outputs..].iter().any(is_ready);
        if signalled {
            self.take_signals();
        }
        if reported {
            self.take_reports()?;
        }
        if let (true, Some(hosts), Some(made)) = (has_news, &mut self.hosts, &self.network) {
            hosts.refresh(made);
        }
        for index in ready {
            self.relays[index].step();
        }
        if let Some(output) = &mut self.output {
            if written || output.due().is_some_and(|due| due <= Instant::now()) {
                output.step();
            }
            if let Some(dropped) = output.news() {
                self.events.dropped(dropped);
            }
        }
        if notified {
            self.events.notified();
        }
        if !ended {
            self.mind_the_deadline();
        }
        Ok(ended)
    }

    /// How long to wait for something to happen.
    fn patience(&self, is_paused: bool) -> PollTimeout {
        let pause = if is_paused { PollTimeout::from(PAUSE) } else { PollTimeout::NONE };
        let now = Instant::now();
        let due = self.output.as_ref().and_then(Output::due).map(|due| due.saturating_duration_since(now));
        let left = self.deadline.as_ref().and_then(|deadline| deadline.left(now));
        let Some(left) = left.into_iter().chain(due).min() else { return pause };
        let left = PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
        if is_paused { left.min(pause) } else { left }
    }

    /// As if SIGTERM had been sent to nsl; later there is no more patience.
    fn mind_the_deadline(&mut self) {
        match self.deadline.as_mut().and_then(|deadline| deadline.due(Instant::now())) {
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
            match status::receive(self.init.status.as_fd(), MsgFlags::MSG_DONTWAIT) {
                Ok(Received::Report(report, _)) => self.heard(report)?,
                Ok(Received::End) => self.hung_up = true,
                Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(Error::os("read the status socket", errno)),
            }
        }
        Ok(())
    }

    pub(super) fn heard(&mut self, report: Report) -> Result<()> {
        debug!(?report, "heard from inside");
        if let Report::Stopped { signal } = report {
            self.events.stopped(signal);
        }
        match report {
            Report::ChildFailed { step, errno } => match self.plan.child.get(usize::from(step)) {
                Some(step) => return Err(hints::child_step(&self.plan, step, errno)),
                None => return Err(Error::os("assemble the sandbox", Errno::from_raw(errno))),
            },
            Report::InitFailed { step, errno } => return Err(hints::init_step(&self.spec, step, errno)),
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
                self.events.started(self.init.pid, &self.plan.hostname, self.network.as_ref());
            }
            Report::Continued => self.events.continued(),
            Report::Stopped { .. } | Report::Netlink | Report::Terminal | Report::Hosts => {}
        }
        Ok(())
    }

    fn take_signals(&mut self) {
        for signal in self.signals.pending() {
            debug!(signal, "forwarding");
            match (signal, &mut self.terminal) {
                (libc::SIGWINCH, Some(terminal)) => terminal.copy_size(),
                (libc::SIGTSTP, _) => self.suspend(),
                (libc::SIGTERM, _) => {
                    self.events.stopping();
                    self.init.signal(signal);
                }
                _ => self.init.signal(signal),
            }
        }
    }

    /// Stops the command, gives the terminal back, stops; and the other way round when continued.
    fn suspend(&mut self) {
        self.init.signal(libc::SIGTSTP);
        if let Some(terminal) = &mut self.terminal {
            terminal.leave();
        }
        stop_self();
        if let Some(terminal) = &mut self.terminal {
            terminal.enter();
            terminal.copy_size();
        }
        self.init.signal(libc::SIGCONT);
    }
}
