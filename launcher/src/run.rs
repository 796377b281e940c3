//! The story of `nsl run`: plan, spawn, network, go, wait. There is nothing to undo: the kernel drops it all with
//! the init.

use crate::cgroup::Group;
use crate::changes::Kept;
use crate::cli;
use crate::deadline::{Deadline, Due};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::hints;
use crate::image;
use crate::log;
use crate::net::{self, names};
use crate::pidfile::Pidfile;
use crate::plan::{HostEntry, Plan};
use crate::preserve;
use crate::root::Names;
use crate::signals::{Blocked, Signals, stop_self};
use crate::spawn::{self, Ended, Init, Luggage};
use crate::spec::{Network, Spec};
use crate::status::{self, Received};
use crate::store;
use crate::terminal::{self, Relay, Terminal};
use crate::userns::{self, Held};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use nix::sys::socket::MsgFlags;
use nsl_shared::boot::{Boot, Credentials, Report, Setup, Strings};
use nsl_shared::exit;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tracing::{debug, debug_span, info};

/// How often a terminal that others read is looked at again, in milliseconds.
const PAUSE: u8 = 100;

/// Runs the command; returns its exit code.
pub fn run(run: &cli::Run) -> Result<u8> {
    // First of all: later these numbers could be those of files of nsl's own.
    let preserved = preserve::adopt(run);
    let watched = run.status_fd.filter(|_| !run.dry_run);
    let mut events = watched.map_or(Ok(Events::NONE), Events::open)?;
    let result = preserved.and_then(|preserved| carry_out(run, preserved, &mut events));
    events.ended(&result);
    result
}

fn carry_out(run: &cli::Run, preserved: Vec<OwnedFd>, events: &mut Events) -> Result<u8> {
    let mut spec = Spec::new(run)?;
    let mut plan = Plan::new(&spec, host_entries);
    if run.dry_run {
        return show(&plan);
    }
    if let Network::Veth(veth) = &plan.network {
        net::check(veth)?;
    }
    let kept = spec.changes().map(|directory| Kept::new(directory, plan.identities.is_new())).transpose()?;
    let names = names(&plan)?;
    if let Some(source) = &plan.unpack {
        let root = store::unpacked(source)?;
        spec.found(run, &root)?;
        plan.found(root);
    }
    let blocked = Blocked::new()?;
    let boot = boot_message(&spec, &plan, &blocked, preserved.len() as u32)?;
    let init = image::init().map_err(hints::memory_file)?;
    let (streams, relays) = if spec.terminal() {
        (terminal::pty_streams(), Vec::new())
    } else {
        terminal::plain_streams().map_err(|errno| Error::os("make pipes for the command", errno))?
    };

    let group = plan.limits.map(Group::new).transpose()?;
    let cgroup = group.as_ref().map(Group::descriptor);
    let kept_directory = kept.as_ref().map(AsFd::as_fd);
    let luggage = Luggage { init, boot, names: &names, kept: kept_directory, streams, cgroup, preserved };
    let init = spawn::spawn(&plan, luggage)?;
    if let Some(kept) = &kept {
        kept.started(init.pid)?;
    }
    let signals = blocked.catch()?;
    let deadline = spec.timeout_ms().map(|time| Deadline::new(time, spec.grace_ms()));
    let mut sandbox = Sandbox {
        spec,
        plan,
        init,
        signals,
        terminal: None,
        relays,
        held: None,
        hung_up: false,
        started: false,
        network: None,
        events,
        deadline,
        pidfile: None,
        group,
    };
    // Whatever comes of it: dropping the sandbox restores the terminal and kills an init that has not ended, and with
    // that goes all the rest.
    let result = sandbox.run();
    let result = sandbox.blame_memory(result);
    if let Some(kept) = kept {
        drop(sandbox);
        kept.settle();
    }
    result
}

fn show(plan: &Plan) -> Result<u8> {
    let mut out = std::io::stdout();
    write!(out, "{plan}").and_then(|()| out.flush()).map_err(|error| Error::io("write the plan", &error))?;
    Ok(0)
}

/// The entries of the host's root directory, with what is mounted below them.
fn host_entries() -> Vec<HostEntry> {
    let mounts: Vec<PathBuf> = procfs::process::Process::myself()
        .and_then(|me| me.mountinfo())
        .map(|mounts| mounts.into_iter().map(|mount| mount.mount_point).collect())
        .unwrap_or_default();
    let Ok(entries) = std::fs::read_dir("/") else { return Vec::new() };
    let mut entries: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let (name, path) = (entry.file_name(), Path::new("/").join(entry.file_name()));
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    let has_mounts = mounts.iter().any(|mount| *mount != path && mount.starts_with(&path));
                    Some(HostEntry::Directory { name, has_mounts })
                }
                Ok(kind) if kind.is_symlink() => {
                    std::fs::read_link(path).ok().map(|target| HostEntry::Link { name, target })
                }
                _ => None,
            }
        })
        .collect();
    entries.sort_by(|a, b| a.name().cmp(b.name()));
    entries
}

fn names(plan: &Plan) -> Result<Names> {
    let reach = match plan.network {
        Network::Host => names::Reach::Host,
        Network::None => names::Reach::Nothing,
        Network::Veth(_) => names::Reach::Outside,
    };
    Ok(Names {
        resolv_conf: names::resolv_conf(Path::new("/"), reach)?,
        hosts: names::hosts(&plan.hostname, plan.address()),
        hostname: format!("{}\n", plan.hostname).into_bytes(),
    })
}

fn boot_message(spec: &Spec, plan: &Plan, blocked: &Blocked, kept: u32) -> Result<OwnedFd> {
    let strings =
        |bytes| Strings::new(bytes).map_err(|malformed| Error::new("write the boot message", malformed.to_string()));
    let security = spec.security();
    let (masked, read_only) = (security.masked(), security.read_only());
    let limits: Vec<u8> = plan.rlimits.iter().flat_map(|limit| limit.encode()).collect();
    let mut setup = plan.setup;
    if security.no_new_privs {
        setup = setup.with(Setup::NO_NEW_PRIVS);
    }
    if spec.credentials().is_some() {
        setup = setup.with(Setup::CREDENTIALS);
    }
    if spec.is_watched() {
        setup = setup.with(Setup::TELL_END);
    }
    let groups: Vec<u8> = spec.groups().iter().flat_map(|group| group.to_ne_bytes()).collect();
    let boot = Boot {
        setup,
        mask: blocked.mask(),
        grace_ms: spec.grace_ms(),
        stop_signal: spec.stop_signal().map_or(0, |signal| signal.number() as u32),
        capabilities: security.capabilities,
        ambient: security.ambient,
        credentials: spec.credentials().unwrap_or(Credentials { uid: 0, gid: 0 }),
        kept,
        hostname: if plan.shared.uts { b"" } else { plan.hostname.as_bytes() },
        workdir: strings(spec.workdir().path.as_bytes_with_nul())?,
        args: strings(spec.args())?,
        env: strings(spec.env())?,
        masked: strings(&masked)?,
        read_only: strings(&read_only)?,
        groups: &groups,
        limits: &limits,
        filter: &security.filter,
    };
    image::message(|file| {
        let mut file = std::io::BufWriter::new(file);
        boot.encode(|bytes| file.write_all(bytes))?;
        file.flush()
    })
    .map_err(|errno| Error::os("write the boot message", errno))
}

const START: &str = "start the sandbox";

fn killed_by(step: &'static str, signal: i32) -> Error {
    let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
    Error::new(step, format!("its init was killed by {name}")).code(exit::of_signal(signal))
}

/// A sandbox from the clone to its end.
struct Sandbox<'a> {
    spec: Spec,
    plan: Plan,
    init: Init,
    signals: Signals,
    terminal: Option<Terminal>,
    relays: Vec<Relay>,
    /// What keeps its ids from others.
    held: Option<Held>,
    /// The status socket has nothing more to say.
    hung_up: bool,
    /// The command runs, or has run.
    started: bool,
    /// The network that was made for it.
    network: Option<net::Made>,
    events: &'a mut Events,
    deadline: Option<Deadline>,
    /// Goes after the init.
    pidfile: Option<Pidfile>,
    /// Goes last: its end is that of all who are in it.
    group: Option<Group>,
}

impl Sandbox<'_> {
    fn run(&mut self) -> Result<u8> {
        let established = userns::establish(&self.plan, self.init.pid, self.init.status.as_fd());
        self.held = established.map_err(|error| self.cause_of(error))?;
        if let Network::Veth(veth) = self.plan.network {
            let socket = self.expect(Report::Netlink)?;
            let created = net::create(&veth, self.init.pid, socket);
            let network = created.map_err(|error| self.cause_of(error))?;
            debug!(addresses = %network.addresses, "the network stands");
            self.network = Some(network);
        }
        if self.spec.terminal() {
            let master = self.expect(Report::Terminal)?;
            let (mut terminal, relays) =
                Terminal::new(master).map_err(|errno| Error::os("join the terminal to the pty", errno))?;
            terminal.enter();
            self.terminal = Some(terminal);
            self.relays.extend(relays);
        }
        let pid = self.init.pid;
        self.pidfile = self.spec.pidfile().map(|path| Pidfile::write(path, pid)).transpose()?;
        status::go(self.init.status.as_fd());
        let _span = debug_span!("wait", command = %self.spec.name().display()).entered();
        while !self.serve()? {}
        let ended = self.init.wait()?;
        // What was said at the very end is still in the socket.
        self.take_reports()?;
        self.relays.iter_mut().for_each(Relay::drain);
        match ended {
            _ if self.deadline.as_ref().is_some_and(Deadline::has_passed) => {
                self.events.timed_out = true;
                Ok(exit::TIMED_OUT)
            }
            Ended::Exited(code) => Ok(code),
            Ended::Killed(signal) => Err(killed_by("keep the sandbox running", signal)),
        }
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
        let mut ended = [PollFd::new(self.init.descriptor(), PollFlags::POLLIN)];
        let patience = if error.errno() == Some(Errno::ESRCH) { 1000_u16 } else { 0 };
        let has_ended = nix::poll::poll(&mut ended, patience) == Ok(1);
        if let Err(inside) = self.take_reports() {
            return inside;
        }
        match has_ended.then(|| self.init.wait()) {
            Some(Ok(Ended::Killed(signal))) => killed_by(START, signal),
            _ => error,
        }
    }

    /// Waits for a report that carries a descriptor.
    fn expect(&mut self, expected: Report) -> Result<OwnedFd> {
        loop {
            match status::receive(self.init.status.as_fd(), MsgFlags::empty()) {
                Ok(Received::Report(report, Some(descriptor))) if report == expected => return Ok(descriptor),
                Ok(Received::Report(report, _)) => self.heard(report)?,
                Ok(Received::End) => {
                    return Err(match self.init.wait()? {
                        Ended::Killed(signal) => killed_by(START, signal),
                        Ended::Exited(code) => Error::new(START, format!("its init exited with {code}")),
                    });
                }
                Err(errno) => return Err(Error::os("read the status socket", errno)),
            }
        }
    }

    /// One round of waiting; true when the init has ended.
    fn serve(&mut self) -> Result<bool> {
        let paused: Vec<bool> = self.relays.iter().map(Relay::is_paused).collect();
        let mut waiting = vec![
            PollFd::new(self.init.descriptor(), PollFlags::POLLIN),
            PollFd::new(self.signals.descriptor(), PollFlags::POLLIN),
        ];
        if !self.hung_up {
            waiting.push(PollFd::new(self.init.status.as_fd(), PollFlags::POLLIN));
        }
        let fixed = waiting.len();
        let interests = self.relays.iter().zip(&paused).enumerate();
        let interests: Vec<_> = interests
            .filter_map(|(index, (relay, paused))| if *paused { None } else { Some((index, relay.interest()?)) })
            .collect();
        waiting.extend(interests.iter().map(|(_, interest)| interest.clone()));
        match nix::poll::poll(&mut waiting, self.patience(paused.contains(&true))) {
            Err(Errno::EINTR) | Ok(_) => {}
            Err(errno) => return Err(Error::os("wait for the command", errno)),
        }
        let is_ready = |poll: &PollFd<'_>| poll.any().unwrap_or(false);
        let (ended, signalled) = (is_ready(&waiting[0]), is_ready(&waiting[1]));
        let reported = !self.hung_up && is_ready(&waiting[2]);
        let ready: Vec<usize> = interests
            .iter()
            .zip(&waiting[fixed..])
            .filter(|(_, poll)| is_ready(poll))
            .map(|((index, _), _)| *index)
            .collect();
        if signalled {
            self.take_signals();
        }
        if reported {
            self.take_reports()?;
        }
        for index in ready {
            self.relays[index].step();
        }
        if !ended {
            self.mind_the_deadline();
        }
        Ok(ended)
    }

    /// How long to wait for something to happen.
    fn patience(&self, is_paused: bool) -> PollTimeout {
        let pause = if is_paused { PollTimeout::from(PAUSE) } else { PollTimeout::NONE };
        let Some(left) = self.deadline.as_ref().and_then(|deadline| deadline.left(Instant::now())) else {
            return pause;
        };
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

    fn take_reports(&mut self) -> Result<()> {
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

    fn heard(&mut self, report: Report) -> Result<()> {
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
            Report::Stopped { .. } | Report::Netlink | Report::Terminal => {}
        }
        Ok(())
    }

    fn take_signals(&mut self) {
        for signal in self.signals.pending() {
            debug!(signal, "forwarding");
            match (signal, &mut self.terminal) {
                (libc::SIGWINCH, Some(terminal)) => terminal.copy_size(),
                (libc::SIGTSTP, _) => self.suspend(),
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
