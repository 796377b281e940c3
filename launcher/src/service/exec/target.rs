//! The sandbox that a command is to join, as it is found: its init, by a pidfd, and what that has which the boot message
//! does not say.

use crate::cgroup::Joined;
use crate::error::{Error, Result};
use crate::hints;
use crate::service::entry::Entry;
use nix::errno::Errno;
use nsl_shared::boot::{self, Setup};
use procfs::process::{LimitValue, Limits, Process};
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
    pub cgroup: Option<Joined>,
    pub facts: Facts,
}

impl Target {
    pub fn find(name: &str) -> Result<Self> {
        let entry = Entry::find_living(name)?;
        let cause = "it has not started yet, or is between two starts";
        let starts = || Error::new(step(name), cause).hint("nsl run -d returns when it has started");
        let init = entry.state.init.ok_or_else(starts)?;
        let pidfd = init.open().ok_or_else(|| ended(name))?;
        let pid = init.pid;
        let facts = Facts::of(pid).map_err(|error| Error::new(step(name), error.to_string()).hint(hints::PROC));
        let found = facts.and_then(|facts| Ok((facts, Joined::find(pid)?, entry.boot()?)));
        // What is found by number is the init's while that lives.
        if has_ended(pid, pidfd.as_fd()) {
            return Err(ended(name));
        }
        let (facts, cgroup, boot) = found?;
        Ok(Self { name: name.to_owned(), pid, pidfd, boot, cgroup, facts })
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

    pub fn has_ended(&self) -> bool {
        has_ended(self.pid, self.pidfd())
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

/// Has an init ended, or begun to?
fn has_ended(pid: u32, pidfd: BorrowedFd<'_>) -> bool {
    let stat = Process::new(pid.cast_signed()).and_then(|process| process.stat());
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    stat.is_ok_and(|stat| stat.flags & EXITING != 0)
        || rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&at_once)) != Ok(0)
}

/// What /proc tells of the init.
pub struct Facts {
    /// Those that are not nsl's own as well.
    pub namespaces: ThreadNameSpaceType,
    /// Those that its caller had.
    pub limits: [(Resource, Rlimit); 16],
    pub umask: Option<u32>,
}

impl Facts {
    fn of(pid: u32) -> ProcResult<Self> {
        let process = Process::new(pid.cast_signed())?;
        let status = process.status()?;
        let namespaces = namespaces(pid)?;
        let is_first = status.nspid.is_some_and(|pids| pids.last() == Some(&1));
        if !is_first || !namespaces.contains(ThreadNameSpaceType::PROCESS_ID) {
            return Err(ProcError::Other("its init is no PID 1 of a PID namespace of its own".to_owned()));
        }
        Ok(Self { namespaces, limits: limits(&process.limits()?), umask: status.umask })
    }
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
    Ok(others)
}

fn limits(limits: &Limits) -> [(Resource, Rlimit); 16] {
    let value = |value| match value {
        LimitValue::Unlimited => None,
        LimitValue::Value(value) => Some(value),
    };
    let all = [
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
    all.map(|(resource, limit)| {
        (resource, Rlimit { current: value(limit.soft_limit), maximum: value(limit.hard_limit) })
    })
}
