//! The sandbox that a command is to join, as it is found: its init, by a pidfd, and what that has which the boot message
//! does not say.

use crate::cgroup::Joined;
use crate::error::{Error, Result};
use crate::service::entry::Entry;
use nix::errno::Errno;
use nsl_shared::boot::{self, Setup};
use procfs::process::Process;
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
const LIMITS: [(&str, Resource); 16] = [
    ("Max cpu time", Resource::Cpu),
    ("Max file size", Resource::Fsize),
    ("Max data size", Resource::Data),
    ("Max stack size", Resource::Stack),
    ("Max core file size", Resource::Core),
    ("Max resident set", Resource::Rss),
    ("Max processes", Resource::Nproc),
    ("Max open files", Resource::Nofile),
    ("Max locked memory", Resource::Memlock),
    ("Max address space", Resource::As),
    ("Max file locks", Resource::Locks),
    ("Max pending signals", Resource::Sigpending),
    ("Max msgqueue size", Resource::Msgqueue),
    ("Max nice priority", Resource::Nice),
    ("Max realtime priority", Resource::Rtprio),
    ("Max realtime timeout", Resource::Rttime),
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
        let pidfd = init.open()?.ok_or_else(|| ended(name))?;
        let pid = init.pid;
        let facts = Facts::of(pid).map_err(|error| Error::io(step(name), &error));
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
    pub limits: Vec<(Resource, Rlimit)>,
    pub umask: Option<u32>,
}

impl Facts {
    fn of(pid: u32) -> std::io::Result<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
        let status = read("status")?;
        let value = |key| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let namespaces = namespaces(pid)?;
        let is_first = value("NSpid:").is_some_and(|pids| pids.ends_with("\t1"));
        if !is_first || !namespaces.contains(ThreadNameSpaceType::PROCESS_ID) {
            return Err(std::io::Error::other("its init is no PID 1 of a PID namespace of its own"));
        }
        let umask = value("Umask:").and_then(|umask| u32::from_str_radix(umask, 8).ok());
        Ok(Self { namespaces, limits: limits(&read("limits")?), umask })
    }
}

fn namespaces(pid: u32) -> std::io::Result<ThreadNameSpaceType> {
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

/// The soft and the hard limits, by their names in /proc/PID/limits.
fn limits(text: &str) -> Vec<(Resource, Rlimit)> {
    let limit = |(name, resource)| {
        let mut values = text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace();
        // One that is none is "unlimited".
        let mut value = || Some(values.next()?.parse().ok());
        Some((resource, Rlimit { current: value()?, maximum: value()? }))
    };
    LIMITS.into_iter().filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = fs::read_to_string("/proc/self/limits").unwrap();
        let read = limits(&text);
        assert_eq!(read.len(), LIMITS.len());
        for (resource, limit) in read {
            assert_eq!(rustix::process::getrlimit(resource), limit, "{resource:?}");
        }
    }
}
