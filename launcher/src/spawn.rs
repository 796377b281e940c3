//! The one clone3, and all that its child does until it has become nsl-init.

use crate::error::{Error, Result};
use crate::hints;
use crate::log;
use crate::net::Visit;
use crate::plan::{HostStep, Plan, Step};
use crate::root::{Assembly, Names};
use crate::spec::Network;
use crate::status;
use crate::sys::{self, Side};
use crate::timings;
use crate::userns;
use nsl_shared::boot::{self, Report};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions};
use rustix::thread::LinkNameSpaceType;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Everything that the child takes along.
pub struct Luggage<'a> {
    pub files: Files,
    pub names: &'a Names,
    /// The directory that keeps what the command changes.
    pub kept: Option<BorrowedFd<'a>>,
    /// The directory of the cgroup that the init is born in, if not nsl's own.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// What an init finds open, and what its command does.
pub struct Files {
    pub init: OwnedFd,
    pub boot: OwnedFd,
    /// What the standard streams become where they are not the launcher's own, or the pty's.
    pub streams: [Stream; 3],
    /// Descriptors of the caller's for the command: in their places, the numbers from 3 on.
    pub preserved: Vec<OwnedFd>,
}

impl Files {
    /// The first number that is no descriptor's place.
    fn past_places(&self) -> i32 {
        boot::KEPT_FD + self.preserved.len() as i32
    }
}

/// What one of the command's standard streams is.
pub enum Stream {
    /// The launcher's own.
    Inherited,
    /// The slave of the sandbox's pty.
    Terminal,
    /// One end of a pipe.
    Pipe(OwnedFd),
}

/// The init of a sandbox, seen from outside. Dropped before it has ended, it is killed, and its sandbox with it.
pub struct Init {
    pub pid: u32,
    pidfd: OwnedFd,
    pub status: OwnedFd,
    ended: bool,
}

/// Starts the child. The caller has blocked every signal.
#[expect(clippy::needless_pass_by_value, reason = "the parent lets go of what the child took along")]
pub fn spawn(plan: &Plan, luggage: Luggage<'_>) -> Result<Init> {
    let flag = |namespace| match namespace {
        "mount" => libc::CLONE_NEWNS,
        "pid" => libc::CLONE_NEWPID,
        "ipc" => libc::CLONE_NEWIPC,
        "uts" => libc::CLONE_NEWUTS,
        "cgroup" => libc::CLONE_NEWCGROUP,
        "net" => libc::CLONE_NEWNET,
        "user" => libc::CLONE_NEWUSER,
        _ => 0,
    };
    let flags = plan.cloned().map(flag).fold(0, |flags, flag| flags | flag as u64);
    let (status, inside) = status::pair().map_err(|errno| Error::os("make the status socket", errno))?;
    // Born in it, the child never was in another.
    let joined = match &plan.network {
        Network::Join(join) => {
            let _step = log::step(join);
            Some(join.enter()?)
        }
        _ => None,
    };
    timings::connect(plan, &status);
    let cloning = log::step(HostStep::CreateNamespaces(plan));
    match sys::clone3(flags, luggage.cgroup).map_err(|errno| hints::namespaces(plan, errno))? {
        Side::Parent { pid, pidfd } => {
            drop(cloning);
            let init = Init::new(pid, pidfd, status);
            joined.map_or(Ok(()), Visit::leave)?;
            Ok(init)
        }
        Side::Child => {
            drop(status);
            // It is the launcher's to end.
            std::mem::forget(cloning.exit());
            timings::enter_child();
            child(plan, &luggage, &inside)
        }
    }
}

/// Runs the steps; the first that fails is reported, and ends the child.
fn child(plan: &Plan, luggage: &Luggage<'_>, status: &OwnedFd) -> ! {
    // From here on the child ends when nsl does; until it has ended, nothing of it is seen from outside.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    // Modes are given exactly; the command gets the caller's mask back.
    let umask = rustix::process::umask(rustix::fs::Mode::empty());
    let mut assembly = Assembly::new(plan, luggage.names, luggage.kept);
    let mut slave = None;
    let mut moved = None;
    for (index, step) in plan.child.iter().enumerate() {
        let waits = matches!(step, Step::AwaitIdentities { .. } | Step::EnterNetwork);
        let span = if waits { log::wait(step) } else { log::step(step) };
        let result = match step {
            Step::Netlink => hand_over_netlink(status.as_fd()),
            Step::EnterNetwork => enter_network(status.as_fd()),
            Step::AwaitIdentities { root } => userns::wait(status.as_fd()).and_then(|trees| {
                assembly.give(trees);
                if *root { userns::become_root() } else { Ok(()) }
            }),
            Step::Hosts => hand_over_hosts(status.as_fd(), &assembly),
            Step::Execute => {
                rustix::process::umask(umask);
                timings::leave_child();
                let Assembly { landlock, proc, .. } = &assembly;
                // Who need not protect it would have it open still when the command starts.
                let proc = proc.as_ref().filter(|_| plan.guarded);
                let made = Made { slave: slave.as_ref(), landlock: landlock.as_ref(), proc };
                let by_root = !plan.identities.is_new() || plan.identities.has_root();
                luggage.files.become_init(status.as_fd(), &mut moved, &made, by_root)
            }
            _ => assembly.carry_out(step).and_then(|pty| match pty {
                None => Ok(()),
                Some(pty) => {
                    slave = Some(pty.slave);
                    send(status.as_fd(), Report::Terminal, pty.master.as_fd())
                }
            }),
        };
        drop(span);
        if let Err(errno) = result {
            let failed = Report::ChildFailed { step: index as u16, errno: errno.raw_os_error() };
            let _ = status::report(moved.as_ref().unwrap_or(status).as_fd(), failed, None);
            break;
        }
    }
    sys::exit_child(nsl_shared::exit::NSL_FAILED)
}

fn send(status: BorrowedFd<'_>, report: Report, descriptor: BorrowedFd<'_>) -> rustix::io::Result<()> {
    status::report(status, report, Some(descriptor)).map_err(|errno| Errno::from_raw_os_error(errno as i32))
}

/// A netlink socket belongs to the network namespace that it was opened in: this one makes the launcher's requests
/// land inside. (Protocol 0 is `NETLINK_ROUTE`.)
fn hand_over_netlink(status: BorrowedFd<'_>) -> rustix::io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(status, Report::Netlink, socket.as_fd())
}

fn enter_network(status: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let order = status::take_order(status).map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
    let (Some(boot::NETWORK), Some(namespace)) = order else { return Err(Errno::PIPE) };
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
}

/// Where the file can't be had, the sandbox is as good without.
fn hand_over_hosts(status: BorrowedFd<'_>, assembly: &Assembly<'_>) -> rustix::io::Result<()> {
    let file = assembly.hosts().inspect_err(|errno| tracing::debug!("/etc/hosts stays as it is: {errno}")).ok();
    status::report(status, Report::Hosts, file.as_ref().map(AsFd::as_fd))
        .map_err(|errno| Errno::from_raw_os_error(errno as i32))
}

/// What came of the steps, for the init.
#[derive(Default)]
pub struct Made<'a> {
    /// The command's side of the pty.
    pub slave: Option<&'a OwnedFd>,
    /// A Landlock ruleset.
    pub landlock: Option<&'a OwnedFd>,
    /// The procfs on /proc.
    pub proc: Option<&'a OwnedFd>,
}

impl Files {
    /// Puts the descriptors in their places and becomes nsl-init; comes back only with an error, which is to be reported
    /// on `moved`. `by_root` says if an exec leaves this process its capabilities.
    pub fn become_init(
        &self,
        status: BorrowedFd<'_>,
        moved: &mut Option<OwnedFd>,
        made: &Made<'_>,
        by_root: bool,
    ) -> rustix::io::Result<()> {
        // Out of the way of the places, so that a failure can still be reported.
        let status = moved.insert(rustix::io::fcntl_dupfd_cloexec(status, self.past_places())?);
        let init = self.place(status.as_fd(), made)?;
        if !by_root {
            raise_ambient_capabilities()?;
        }
        Err(sys::execute(init.as_fd(), c"nsl-init", boot::BOOT_OPTION))
    }

    /// Leaves open behind the exec: the standard streams, the boot message, the status socket, what is the command's.
    /// `status` lies past the places already.
    fn place(&self, status: BorrowedFd<'_>, made: &Made<'_>) -> rustix::io::Result<OwnedFd> {
        // First out of the way of the places: one of these may have the number of another's place.
        let clear = self.past_places();
        let moved = |descriptor: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(descriptor, clear);
        let (init, boot) = (moved(&self.init)?, moved(&self.boot)?);
        let (slave, landlock) = (made.slave.map(moved).transpose()?, made.landlock.map(moved).transpose()?);
        let proc = made.proc.map(moved).transpose()?;
        let mut pipes = Vec::new();
        for (number, stream) in self.streams.iter().enumerate() {
            if let Stream::Pipe(end) = stream {
                pipes.push((number as i32, moved(end)?));
            }
        }
        for (number, end) in &pipes {
            sys::place(end.as_fd(), *number)?;
        }
        for (number, stream) in self.streams.iter().enumerate() {
            if let (Stream::Terminal, Some(slave)) = (stream, &slave) {
                sys::place(slave.as_fd(), number as i32)?;
            }
        }
        sys::close_on_exec_from(boot::BOOT_FD as u32)?;
        // From the last one on: each moves up, to where others of them were.
        for (index, file) in self.preserved.iter().enumerate().rev() {
            sys::place(file.as_fd(), boot::KEPT_FD + index as i32)?;
        }
        sys::place(boot.as_fd(), boot::BOOT_FD)?;
        sys::place(status, boot::STATUS_FD)?;
        if let Some(landlock) = landlock {
            sys::place(landlock.as_fd(), boot::LANDLOCK_FD)?;
        }
        if let Some(proc) = proc {
            sys::place(proc.as_fd(), boot::PROC_FD)?;
        }
        Ok(init)
    }
}

/// In a user namespace an exec takes an ordinary user's capabilities away, unless they are ambient; the init needs
/// them, and gives the command none.
fn raise_ambient_capabilities() -> rustix::io::Result<()> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable = sets.permitted;
    rustix::thread::set_capabilities(None, sets)?;
    sets.permitted.iter().try_for_each(|one| rustix::thread::configure_capability_in_ambient_set(one, true))
}

/// How an init ended.
pub enum Ended {
    Exited(u8),
    Killed(i32),
}

impl Init {
    pub fn new(pid: u32, pidfd: OwnedFd, status: OwnedFd) -> Self {
        Self { pid, pidfd, status, ended: false }
    }

    /// Readable when the init has ended.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends a signal; an init that has ended needs none.
    pub fn signal(&self, number: i32) {
        if let Some(signal) = Signal::from_named_raw(number) {
            let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
        }
    }

    /// Has it ended by a signal? Its status is not taken.
    pub fn is_killed(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let status = rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
        status.is_ok_and(|status| status.is_some_and(|status| status.killed() || status.dumped()))
    }

    /// Waits for the end and takes the status.
    pub fn wait(&mut self) -> Result<Ended> {
        let failed =
            |errno: Errno| Error::os("wait for the sandbox", nix::errno::Errno::from_raw(errno.raw_os_error()));
        loop {
            match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
                Ok(None) => return Err(failed(Errno::CHILD)),
                Ok(Some(status)) => {
                    self.ended = true;
                    return Ok(match status.exit_status() {
                        Some(code) => Ended::Exited(code as u8),
                        None => Ended::Killed(status.terminating_signal().unwrap_or_default()),
                    });
                }
            }
        }
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(libc::SIGKILL);
            let _ = self.wait();
        }
    }
}
