//! The one clone3 of `nsl exec`, and its child until that is the nsl-init which starts the command inside.
//!
//! The child stays outside of the PID namespace: while it has more power than the sandbox, nobody inside can see it. It
//! takes nothing of the host's along: its directory and root become the sandbox's, every descriptor but the streams is
//! closed, and the memory with the caller's secrets goes with the exec, before a process is born inside.

use super::message::Message;
use super::target::Target;
use crate::error::{Error, Result};
use crate::spawn::{Files, Init, Made};
use crate::status;
use crate::sys::{self, Side};
use crate::userns;
use nix::errno::Errno;
use nsl_shared::boot::{Credentials, Report, Setup};
use nsl_shared::exit;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::process::{DumpableBehavior, Gid, Resource, Rlimit, Signal, Uid};
use rustix::pty::OpenptFlags;
use rustix::thread::ThreadNameSpaceType;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tracing::info;

/// Magic number of a devpts: statfs(2).
const DEVPTS: i64 = 0x1cd1;

/// A step of the child that can fail. `Display` gives the words that complete "cannot …".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    TakeLimits,
    Enter,
    BecomeRoot,
    OpenTerminal,
    Execute,
}

impl Step {
    pub const ALL: [Self; 5] = [Self::TakeLimits, Self::Enter, Self::BecomeRoot, Self::OpenTerminal, Self::Execute];
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TakeLimits => "take over the resource limits of the sandbox",
            Self::Enter => "enter the namespaces of the sandbox",
            Self::BecomeRoot => "become root inside",
            Self::OpenTerminal => "open a terminal inside",
            Self::Execute => "execute nsl-init",
        })
    }
}

/// What else the child needs.
struct Luggage<'a> {
    target: &'a Target,
    files: Files,
    landlock: Option<OwnedFd>,
    has_terminal: bool,
    /// Who the command runs as, if not as whom the sandbox was made for.
    owner: Option<Credentials>,
    /// Root exists in the sandbox.
    has_root: bool,
}

/// Starts the child. The caller has blocked every signal.
pub fn start(target: &Target, message: &Message<'_>, files: Files) -> Result<Init> {
    let landlock = target.landlock(message.setup())?;
    let maps = userns::Maps::of(target.pid).map_err(|error| Error::io("read the maps of the sandbox", &error))?;
    let has_terminal = message.setup().contains(Setup::TERMINAL);
    let luggage =
        Luggage { target, files, landlock, has_terminal, owner: message.credentials(), has_root: maps.have_root() };
    let (status, inside) = status::pair().map_err(|errno| Error::os("make the status socket", errno))?;
    match clone(target)? {
        Side::Parent { pid, pidfd } => Ok(Init::new(pid, pidfd, status)),
        Side::Child => {
            drop(status);
            child(&luggage, &inside)
        }
    }
}

/// Into the sandbox's cgroup: who is moved there later makes all others wait for it.
fn clone(target: &Target) -> Result<Side> {
    let failed = |errno: rustix::io::Errno| Errno::from_raw(errno.raw_os_error());
    let result = match &target.cgroup {
        None => sys::clone3(0, None),
        Some(cgroup) => match sys::clone3(0, Some(cgroup.descriptor())) {
            Err(errno) if cgroup.is_optional() => {
                info!("the command is not in the cgroup of the sandbox, which has no limits: {errno}");
                sys::clone3(0, None)
            }
            Err(errno) => return Err(cgroup.refusal(failed(errno))),
            side => side,
        },
    };
    result.map_err(|errno| Error::os("start a process", failed(errno)).hint("a limit of processes is reached"))
}

/// Runs the steps; the first that fails is reported, and ends the child.
fn child(luggage: &Luggage<'_>, status: &OwnedFd) -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let (mut step, mut moved) = (Step::TakeLimits, None);
    if let Err(errno) = enter(luggage, status.as_fd(), &mut moved, &mut step) {
        let failed = Report::ChildFailed { step: step as u16, errno: errno.raw_os_error() };
        let _ = status::report(moved.as_ref().unwrap_or(status).as_fd(), failed, None);
    }
    sys::exit_child(exit::NSL_FAILED)
}

/// All of them; comes back only with an error.
fn enter(
    luggage: &Luggage<'_>,
    status: BorrowedFd<'_>,
    moved: &mut Option<OwnedFd>,
    step: &mut Step,
) -> rustix::io::Result<()> {
    let facts = &luggage.target.facts;
    // While it may raise them: in a user namespace nobody can.
    facts.limits.iter().try_for_each(|(resource, limit)| take_limit(*resource, limit))?;
    if let Some(umask) = facts.umask {
        rustix::process::umask(Mode::from_raw_mode(umask));
    }
    *step = Step::Enter;
    rustix::thread::move_into_thread_name_spaces(luggage.target.pidfd(), facts.namespaces)?;
    *step = Step::BecomeRoot;
    let is_new = facts.namespaces.contains(ThreadNameSpaceType::USER);
    if is_new && luggage.has_root {
        userns::become_root()?;
    }
    *step = Step::OpenTerminal;
    let pty = if luggage.has_terminal { Some(open_pty(luggage.owner)?) } else { None };
    if let Some((master, _)) = &pty {
        status::report(status, Report::Terminal, Some(master.as_fd()))
            .map_err(|errno| rustix::io::Errno::from_raw_os_error(errno as i32))?;
    }
    *step = Step::Execute;
    let slave = pty.as_ref().map(|(_, slave)| slave);
    let made = Made { slave, landlock: luggage.landlock.as_ref(), proc: None };
    luggage.files.become_init(status, moved, &made, !is_new || luggage.has_root)
}

/// Who may not raise a hard limit keeps his own, which is the lower one.
fn take_limit(resource: Resource, wanted: &Rlimit) -> rustix::io::Result<()> {
    let own = rustix::process::getrlimit(resource);
    if own == *wanted {
        return Ok(());
    }
    match rustix::process::setrlimit(resource, *wanted) {
        Err(rustix::io::Errno::PERM) => {
            let lower = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
            let current = lower(wanted.current, own.maximum);
            rustix::process::setrlimit(resource, Rlimit { current, maximum: own.maximum })
        }
        result => result,
    }
}

/// Opens a pty of the sandbox's. What lies in its place may be anything by now: nothing but a devpts is taken for one,
/// and nothing that is mounted in it.
fn open_pty(owner: Option<Credentials>) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let no_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat2(CWD, "/dev/pts", flags, Mode::empty(), no_links)?;
    if rustix::fs::fstatfs(&directory)?.f_type != DEVPTS {
        return Err(rustix::io::Errno::NODEV);
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = no_links | ResolveFlags::NO_XDEV;
    let master = rustix::fs::openat2(&directory, "ptmx", flags, Mode::empty(), resolve)?;
    rustix::pty::unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    // So that the command can open it by its name, too.
    if let Some(owner) = owner {
        rustix::fs::fchown(&slave, Some(Uid::from_raw(owner.uid)), None::<Gid>)?;
    }
    Ok((master, slave))
}
