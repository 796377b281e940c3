//! A sandbox from the clone to its end: its start, in step with what happens inside, and what its end means.

use super::hosts::HostsFile;
use crate::cgroup::Group;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::health::{Checks, Schedule};
use crate::log;
use crate::logs::Output;
use crate::net::{self, Pasta, PastaPlan, VethPlan};
use crate::pidfile::Pidfile;
use crate::plan::{Plan, Step};
use crate::service::Check;
use crate::signals::Signals;
use crate::spawn::{Ended, Init};
use crate::spec::{Network, Spec};
use crate::status::{self, Received};
use crate::terminal::{Relay, Terminal};
use crate::timings;
use crate::userns::{self, Held};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::Signal;
use nsl_shared::boot::Report;
use nsl_shared::exit;
use std::os::fd::{AsFd, OwnedFd};
use tracing::{debug, debug_span, warn};

const START: &str = "start the sandbox";
/// How long after pasta has failed one looks for a reason inside, in milliseconds.
const PATIENCE: u16 = 100;

fn killed_by(step: &'static str, signal: i32) -> Error {
    let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
    Error::new(step, format!("its init was killed by {name}")).code(exit::of_signal(signal))
}

/// A sandbox from the clone to its end.
pub struct Sandbox<'a> {
    pub(super) spec: Spec,
    pub(super) plan: Plan,
    pub(super) init: Init,
    pub(super) signals: &'a mut Signals,
    pub(super) terminal: Option<Terminal>,
    pub(super) relays: Vec<Relay>,
    /// Where the output goes if the caller is gone.
    pub(super) output: Option<Output>,
    /// What keeps its ids from others.
    pub(super) held: Option<Held>,
    /// The status socket has nothing more to say.
    pub(super) hung_up: bool,
    /// The command runs, or has run.
    pub(super) started: bool,
    /// The network that was made for it.
    pub(super) network: Option<net::Made>,
    /// The program that carries its packets instead, while that lives.
    pub(super) pasta: Option<Pasta>,
    /// Its /etc/hosts, where that changes.
    pub(super) hosts: Option<HostsFile>,
    pub(super) events: &'a mut Events,
    pub(super) deadline: Option<Deadline>,
    /// What is to be known of its health.
    pub checks: Option<Checks>,
    /// The checks, once the command runs.
    pub(super) schedule: Option<Schedule>,
    /// The one that runs.
    pub(super) check: Option<Check>,
    /// It is to end because it is not well.
    pub(super) ending: Option<Deadline>,
    /// Goes after the init.
    pub(super) pidfile: Option<Pidfile>,
    /// Goes last: its end is that of all who are in it.
    pub(super) group: Option<Group>,
}

impl<'a> Sandbox<'a> {
    /// One whose child has just been started.
    pub fn new(
        spec: Spec,
        plan: Plan,
        init: Init,
        signals: &'a mut Signals,
        (relays, output): (Vec<Relay>, Option<Output>),
        group: Option<Group>,
        events: &'a mut Events,
    ) -> Self {
        let deadline = spec.timeout_ms().map(|time| Deadline::new(time, spec.grace_ms()));
        Self {
            spec,
            plan,
            init,
            signals,
            terminal: None,
            relays,
            output,
            held: None,
            hung_up: false,
            started: false,
            network: None,
            pasta: None,
            hosts: None,
            events,
            deadline,
            checks: None,
            schedule: None,
            check: None,
            ending: None,
            pidfile: None,
            group,
        }
    }

    /// All of it is gone behind this, but what is given: the network, of which the next start may have something.
    pub fn end(mut self) -> Option<net::Made> {
        self.network.take()
    }

    /// Carries it to its end, and gives the exit code. Whatever comes of it: dropping the sandbox restores the terminal
    /// and kills an init that has not ended, and with that goes all the rest.
    ///
    /// `network` is the network namespace, where nsl has made it.
    pub fn run(&mut self, prepared: net::Prepared, network: Option<net::Namespace>) -> Result<u8> {
        let result = self.carry_on(prepared, network);
        self.check = None;
        if let Some(mut pasta) = self.pasta.take_if(|_| self.group.is_some()) {
            // It may be in a cgroup that nsl made for itself, and is about to remove.
            pasta.end();
        }
        self.events.refused = self.network.as_mut().and_then(net::Made::settle);
        self.blame_memory(result)
    }

    fn carry_on(&mut self, prepared: net::Prepared, network: Option<net::Namespace>) -> Result<u8> {
        let established = userns::establish(&self.plan, self.init.pid, self.init.status.as_fd());
        self.held = established.map_err(|error| self.cause_of(error))?;
        match self.plan.network.clone() {
            Network::Veth(veth) => self.make_network(&veth, prepared, network)?,
            Network::Pasta(pasta) => self.connect(&pasta, prepared)?,
            // Its processes hold it from now on.
            Network::None | Network::Host | Network::Join(_) => drop(network),
        }
        if self.spec.terminal() {
            let master = self.expect(Report::Terminal)?;
            let _step = log::step("join the terminal to the pty");
            let (mut terminal, relays) =
                Terminal::new(master).map_err(|errno| Error::os("join the terminal to the pty", errno))?;
            terminal.enter();
            self.terminal = Some(terminal);
            self.relays.extend(relays);
        }
        let pid = self.init.pid;
        self.pidfile = self.spec.pidfile().map(|path| Pidfile::write(path, pid)).transpose()?;
        timings::go();
        status::go(self.init.status.as_fd());
        let _span = debug_span!("wait", command = %self.spec.name().display()).entered();
        while !self.serve()? {}
        let ended = self.init.wait()?;
        timings::ended();
        // What was said at the very end is still in the socket.
        self.take_reports()?;
        self.relays.iter_mut().for_each(Relay::drain);
        if let Some(output) = &mut self.output {
            output.drain();
            self.events.dropped(output.dropped());
        }
        match ended {
            _ if self.deadline.as_ref().is_some_and(Deadline::has_passed) => {
                self.events.timed_out = true;
                Ok(exit::TIMED_OUT)
            }
            Ended::Exited(code) => Ok(code),
            Ended::Killed(signal) => Err(killed_by("keep the sandbox running", signal)),
        }
    }

    /// Makes the veth pair, in step with the child.
    fn make_network(
        &mut self,
        veth: &VethPlan,
        prepared: net::Prepared,
        network: Option<net::Namespace>,
    ) -> Result<()> {
        let cloned = || self.expect(Report::Netlink).map(net::Inside::Cloned);
        let inside = network.map(net::Inside::Made).map_or_else(cloned, Ok)?;
        let members = veth.network.as_deref().map(net::Members::watch).transpose();
        let members = members.map_err(|error| Error::io("watch who is in the network", &error))?;
        let created = net::create(veth, prepared, self.init.pid, inside, &self.plan.hostname);
        let network = created.map_err(|error| self.cause_of(error))?;
        debug!(addresses = %network.addresses, "the network stands");
        if self.plan.child.contains(&Step::Hosts) {
            self.complete_hosts(&network, members)?;
        }
        self.network = Some(network);
        Ok(())
    }

    /// Has pasta connect it. Where nobody asked for that, the sandbox does without if need be.
    fn connect(&mut self, plan: &PastaPlan, prepared: net::Prepared) -> Result<()> {
        let socket = self.expect(Report::Netlink)?;
        match Pasta::start(plan, prepared, self.init.pid, self.init.descriptor()) {
            Ok(pasta) => self.pasta = Some(pasta),
            // Who kills the init also keeps pasta from entering; the rest of its end takes a moment.
            Err(error) if plan.is_required => return Err(self.cause_within(PATIENCE, error)),
            Err(error) => {
                self.take_reports()?;
                warn!("no network inside but lo: {error}");
            }
        }
        if let Some(pasta) = self.pasta.as_mut().filter(|_| self.spec.is_watched()) {
            pasta.look_up_addresses(socket)?;
        }
        Ok(())
    }

    /// Tells of a SIGKILL that came for want of memory.
    fn blame_memory(&mut self, result: Result<u8>) -> Result<u8> {
        let code = result.as_ref().map_or_else(Error::exit_code, |code| *code);
        match &self.group {
            Some(group) if code == exit::of_signal(libc::SIGKILL) && group.oom_kills() > 0 => {
                let cause = format!("it {}", group.oom_cause());
                if !self.started {
                    return Err(Error::new(START, cause).code(code));
                }
                self.events.oom = true;
                log::tell(&format!("the command was killed: {cause}"));
                Ok(code)
            }
            _ => result,
        }
    }

    /// What stands behind a failure on the host's side: what failed inside at the same time, or who killed the init. A
    /// process that is not found any more has yet to end in full.
    fn cause_of(&mut self, error: Error) -> Error {
        let patience = if error.errno() == Some(Errno::ESRCH) { 1000 } else { 0 };
        self.cause_within(patience, error)
    }

    /// The same for an init whose end may show so many milliseconds later.
    fn cause_within(&mut self, patience: u16, error: Error) -> Error {
        let mut ended = [PollFd::new(self.init.descriptor(), PollFlags::POLLIN)];
        let has_ended = nix::poll::poll(&mut ended, patience) == Ok(1);
        if let Err(inside) = self.take_reports() {
            return inside;
        }
        match has_ended.then(|| self.init.wait()) {
            Some(Ok(Ended::Killed(signal))) => killed_by(START, signal),
            _ => error,
        }
    }

    /// Has /etc/hosts say what is known now; and go on saying it, where others come and go.
    fn complete_hosts(&mut self, made: &net::Made, members: Option<net::Members>) -> Result<()> {
        let Some(file) = self.await_report(Report::Hosts)? else {
            warn!(
                "/etc/hosts of this root cannot be replaced: other sandboxes, and this host, are not found by name \
                 (hint: -x leaves the directory of --rootfs as it is, and puts a layer over it)"
            );
            return Ok(());
        };
        let hosts = HostsFile::complete(file, self.spec.hosts().clone(), made, members)?;
        self.hosts = hosts.descriptor().is_some().then_some(hosts);
        Ok(())
    }

    /// Waits for a report that carries a descriptor.
    fn expect(&mut self, expected: Report) -> Result<OwnedFd> {
        self.await_report(expected)?.ok_or_else(|| status::unread(Errno::EBADMSG))
    }

    /// Waits for a report, and takes the descriptor that it carries.
    fn await_report(&mut self, expected: Report) -> Result<Option<OwnedFd>> {
        let _wait = log::wait(format_args!(
            "wait for {} from inside",
            match expected {
                Report::Netlink => "a netlink socket",
                Report::Hosts => "/etc/hosts",
                _ => "a pty",
            }
        ));
        loop {
            match status::next(self.init.status.as_fd())? {
                Received::Report(report, descriptor) if report == expected => return Ok(descriptor),
                Received::Report(report, _) => self.heard(report)?,
                Received::End => {
                    return Err(match self.init.wait()? {
                        Ended::Killed(signal) => killed_by(START, signal),
                        Ended::Exited(code) => Error::new(START, format!("its init exited with {code}")),
                    });
                }
            }
        }
    }
}
