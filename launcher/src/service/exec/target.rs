//! The sandbox that a command is to join, as it is found: its init, by a pidfd, and what that has which the boot message
//! does not say.

use crate::cgroup::Joined;
use crate::error::{Error, Result};
use crate::hints;
use crate::service::entry::Entry;
use nix::errno::Errno;
use nsl_shared::boot::{self, Setup};
use procfs::process::{LimitValue, Process};
use procfs::{ProcError, ProcResult};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{PidfdGetfdFlags, Resource, Rlimit};
use rustix::thread::ThreadNameSpaceType;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

/// By their names in /proc/PID/ns.
const NAMESPACES: [(&str, ThreadNameSpaceType); 7] = [
    ("user", ThreadNameSpaceType::USER),
    ("mnt", ThreadNameSpaceType::MOUNT),
    ("pid", ThreadNameSpaceType::PROCESS_ID),
    ("net", ThreadNameSpaceType::NETWORK),
    ("ipc", ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION),
    ("uts", ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME),
    ("cgroup", ThreadNameSpaceType::CONTROL_GROUP),
];
/// `PF_EXITING` (proc_pid_stat(5), "flags").
const EXITING: u32 = 4;

pub struct Target {
    pub name: String,
    pub pid: u32,
    pidfd: OwnedFd,
    /// The boot message of its init.
    pub boot: Vec<u8>,
    /// Those that are not nsl's own as well.
    pub namespaces: ThreadNameSpaceType,
    pub cgroup: Option<Joined>,
    /// Those that its init has, which were its caller's.
    pub limits: Vec<(Resource, Rlimit)>,
    pub umask: Option<u32>,
}

impl Target {
    pub fn find(name: &str) -> Result<Self> {
        let entry = Entry::find_living(name)?;
        let cause = "it has not started yet, or is between two starts";
        let starts = || Error::new(step(name), cause).hint("nsl run -d returns when it has started");
        let init = entry.state.init.ok_or_else(starts)?;
        let pidfd = init.open().ok_or_else(|| ended(name))?;
        let pid = init.pid;
        // What is found by number is the init's while that lives, which is asked at the end.
        let found = facts(pid).and_then(|facts| Ok((facts, namespaces(pid)?)));
        let found = found.map_err(|error| Error::new(step(name), error.to_string()).hint(hints::PROC));
        let found = found.and_then(|found| Ok((found, Joined::find(pid)?, entry.boot()?)));
        let ((((limits, umask), namespaces), cgroup, boot), true) = (match found {
            Ok(found) => (found, !has_ended(pidfd.as_fd())),
            Err(_) if has_ended(pidfd.as_fd()) => return Err(ended(name)),
            Err(error) => return Err(error),
        }) else {
            return Err(ended(name));
        };
        Ok(Self { name: name.to_owned(), pid, pidfd, boot, namespaces, cgroup, limits, umask })
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The ruleset that its command is under. Made of paths as they were at the start, which mean what they meant.
    pub fn landlock(&self, setup: Setup) -> Result<Option<OwnedFd>> {
        if !setup.contains(Setup::LANDLOCK) {
            return Ok(None);
        }
        let ruleset = rustix::process::pidfd_getfd(&self.pidfd, boot::LANDLOCK_FD, PidfdGetfdFlags::empty());
        ruleset.map(Some).map_err(|errno| {
            let error = Error::os("take over the Landlock rules", Errno::from_raw(errno.raw_os_error()));
            self.unless_ended(error.hint("a security module, such as Yama, may forbid it"))
        })
    }

    /// Has its init ended, or begun to?
    pub fn has_ended(&self) -> bool {
        let is_exiting = || {
            let stat = Process::new(self.pid.cast_signed()).and_then(|process| process.stat());
            stat.is_ok_and(|stat| stat.flags & EXITING != 0)
        };
        has_ended(self.pidfd()) || is_exiting()
    }

    /// Whatever failed, if the sandbox has ended, that is the reason.
    pub fn unless_ended(&self, error: Error) -> Error {
        if self.has_ended() { ended(&self.name) } else { error }
    }
}

fn step(name: &str) -> String {
    format!("execute a command in {name}")
}

fn ended(name: &str) -> Error {
    Error::new(step(name), "the sandbox has ended")
}

fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&at_once)) != Ok(0)
}

fn namespaces(pid: u32) -> ProcResult<ThreadNameSpaceType> {
    let place = |pid: &str, name| -> std::io::Result<(u64, u64)> {
        let found = fs::metadata(format!("/proc/{pid}/ns/{name}"))?;
        Ok((found.dev(), found.ino()))
    };
    let pid = pid.to_string();
    let mut others = ThreadNameSpaceType::empty();
    for (name, flag) in NAMESPACES {
        // A kernel may lack one.
        let Ok(own) = place("self", name) else { continue };
        if place(&pid, name)? != own {
            others |= flag;
        }
    }
    if others.contains(ThreadNameSpaceType::PROCESS_ID) {
        Ok(others)
    } else {
        Err(ProcError::Other("its init is in the PID namespace of this nsl".to_owned()))
    }
}

/// The resource limits of a process, and its umask.
fn facts(pid: u32) -> ProcResult<(Vec<(Resource, Rlimit)>, Option<u32>)> {
    let process = Process::new(pid.cast_signed())?;
    let status = process.status()?;
    if status.nspid.is_none_or(|pids| pids.last() != Some(&1)) {
        return Err(ProcError::Other("its init is no PID 1".to_owned()));
    }
    let limits = process.limits()?;
    let limits = [
        (Resource::As, limits.max_address_space),
        (Resource::Core, limits.max_core_file_size),
        (Resource::Cpu, limits.max_cpu_time),
        (Resource::Data, limits.max_data_size),
        (Resource::Fsize, limits.max_file_size),
        (Resource::Locks, limits.max_file_locks),
        (Resource::Memlock, limits.max_locked_memory),
        (Resource::Msgqueue, limits.max_msgqueue_size),
        (Resource::Nice, limits.max_nice_priority),
        (Resource::Nofile, limits.max_open_files),
        (Resource::Nproc, limits.max_processes),
        (Resource::Rss, limits.max_resident_set),
        (Resource::Rtprio, limits.max_realtime_priority),
        (Resource::Rttime, limits.max_realtime_timeout),
        (Resource::Sigpending, limits.max_pending_signals),
        (Resource::Stack, limits.max_stack_size),
    ];
    let value = |value| match value {
        LimitValue::Unlimited => None,
        LimitValue::Value(value) => Some(value),
    };
    let limits = limits.map(|(resource, limit)| {
        (resource, Rlimit { current: value(limit.soft_limit), maximum: value(limit.hard_limit) })
    });
    Ok((limits.into(), status.umask))
}
