//! The cgroup of a sandbox that runs already, which one more command of it is to be in.

use super::{end, hierarchy, memory_event};
use crate::error::{Error, Result};
use crate::hints;
use nix::errno::Errno;
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

pub struct Joined {
    directory: OwnedFd,
    /// Its path in the hierarchy.
    name: PathBuf,
    /// It is the sandbox's own, for its limits; else that of the nsl which started it.
    is_limited: bool,
    /// How many of its processes had been killed for want of memory before.
    kills: u64,
}

impl Joined {
    /// That of the process `pid`; none if nsl is in the same one. One without limits is left out where it cannot be
    /// entered.
    pub fn find(pid: u32) -> Result<Option<Self>> {
        const STEP: &str = "enter the cgroup of the sandbox";
        let found = hierarchy::other(pid).map_err(|error| Error::new(STEP, error.to_string()).hint(hints::PROC))?;
        let Some(hierarchy::Other { name, directory }) = found else { return Ok(None) };
        let is_limited = name.file_name().and_then(|name| name.to_str()).is_some_and(end::is_sandbox);
        let Some(path) = directory else {
            return if is_limited { Err(hints::cgroup_out_of_sight(STEP, true)) } else { Ok(None) };
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match rustix::fs::openat(CWD, &path, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(_) if !is_limited => return Ok(None),
            Err(errno) => return Err(Error::os(STEP, Errno::from_raw(errno.raw_os_error()))),
        };
        let kills = if is_limited { memory_event(directory.as_fd(), "oom_kill") } else { 0 };
        Ok(Some(Self { directory, name, is_limited, kills }))
    }

    /// Where clone3 is to put the process.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Can a process be started outside of it, where this one may not put it there? In the sandbox's own it must be.
    pub fn is_optional(&self) -> bool {
        !self.is_limited
    }

    /// Was a process of it killed for want of memory since it was found?
    pub fn has_killed(&self) -> bool {
        self.is_limited && memory_event(self.directory.as_fd(), "oom_kill") > self.kills
    }

    /// Why no process could be started in it.
    pub fn refusal(&self, errno: Errno) -> Error {
        let error = Error::os(format!("start a process in the cgroup {}", self.name.display()), errno);
        match errno {
            Errno::EACCES | Errno::EPERM | Errno::ENOENT => {
                error.hint("you may not move from your cgroup to this one: use nsl exec where nsl run was started")
            }
            Errno::EAGAIN if self.is_limited => error.hint(PROCESSES),
            Errno::ENOMEM if self.is_limited => error.hint("the sandbox has used up what --memory allows it"),
            _ => error,
        }
    }

    /// What mends it that the command itself could not be started.
    pub fn hint(&self) -> Option<&'static str> {
        self.is_limited.then_some(PROCESSES)
    }
}

const PROCESSES: &str = "the sandbox has as many processes as its --pids-limit allows: nsl exec needs room for two, its \
     command and the nsl-init that watches over it";
