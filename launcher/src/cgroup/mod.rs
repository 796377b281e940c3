//! Limits of a sandbox as a whole: a cgroup of its own (v2), in which its init is born. Made after everything that can
//! be refused has been, removed always: by nsl, or by its guard if nsl is killed, or by the next nsl if both are.

mod end;
mod guard;
mod hierarchy;
mod joined;
mod limits;
mod place;

pub use joined::Joined;
pub use limits::Limits;
pub use place::{Controllers, Refusal};

use crate::error::{Error, Result};
use end::{Lock, Remains};
use guard::Guard;
use nix::errno::Errno;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use tracing::{debug, warn};

/// How long the killed may take to end, while the caller waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// The cgroup, as it is called in the hierarchy, that the sandboxes' would be made in for all limits; or why there is
/// none. Changes nothing.
pub fn place() -> Result<String> {
    hierarchy::find(Controllers::each().fold(Controllers::default(), Controllers::and)).map(|place| place.name)
}

/// The cgroup of a sandbox. Dropped, it is removed, and who is still in it is killed.
pub struct Group {
    /// Holds the lock that tells others that this one is alive.
    directory: OwnedFd,
    limits: Limits,
    _making: Making,
}

/// What ends, whatever has been made of it.
struct Making {
    remains: Remains,
    /// The path of the sandbox's cgroup in the hierarchy.
    path: String,
    /// Goes last, when there is nothing left to guard.
    _guard: Guard,
}

impl Group {
    /// Makes it. The caller has blocked every signal, and has one thread.
    pub fn new(limits: Limits) -> Result<Self> {
        let place = hierarchy::find(limits.controllers())?;
        let step = || format!("use the cgroup {}", place.name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, &place.directory, flags, Mode::empty());
        let remains = Remains::new(directory.map_err(|errno| os(step(), errno))?, place.step_aside);
        let path = format!("{}/{}", place.name.trim_end_matches('/'), remains.name());
        let guard = Guard::start(&remains)?;
        let making = Making { remains, path, _guard: guard };
        let directory = making.make(&limits)?;
        debug!(path = making.path, %limits, "made the cgroup");
        Ok(Self { directory, limits, _making: making })
    }

    /// Where clone3 is to put the init.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// How many of its processes were killed for want of memory.
    pub fn oom_kills(&self) -> u64 {
        self.memory_event("oom_kill")
    }

    /// Why they were, in words that complete "killed: it …".
    pub fn oom_cause(&self) -> String {
        // It counts only if this limit, not another's or the machine's, was the one reached.
        if self.limits.memory.is_some() && self.memory_event("oom") > 0 {
            format!("used more memory than {} allows", self.limits.memory_option())
        } else {
            "was chosen when memory ran out outside of the sandbox".to_owned()
        }
    }

    fn memory_event(&self, name: &str) -> u64 {
        memory_event(self.directory.as_fd(), name)
    }
}

fn memory_event(directory: BorrowedFd<'_>, name: &str) -> u64 {
    let events = end::read(directory, "memory.events").unwrap_or_default();
    let words = events.lines().filter_map(|line| line.split_once(' '));
    words.filter(|(key, _)| *key == name).find_map(|(_, count)| count.parse().ok()).unwrap_or_default()
}

/// Removes the cgroups of sandboxes whose nsl was killed together with its guard, wherever this nsl would make one.
/// Returns how many.
pub fn sweep() -> usize {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut places: Vec<_> = Controllers::each().filter_map(|one| hierarchy::find(one).ok()).collect();
    places.dedup_by(|one, other| one.directory == other.directory);
    let directories =
        places.iter().filter_map(|place| rustix::fs::openat(CWD, &place.directory, flags, Mode::empty()).ok());
    directories.map(|directory| end::sweep_alone(directory.as_fd())).sum()
}

impl Making {
    /// Returns the directory of the cgroup, with its lock.
    fn make(&self, limits: &Limits) -> Result<OwnedFd> {
        let (place, controllers) = (self.remains.place(), limits.controllers());
        let step = || format!("make the cgroup {}", self.path);
        let lock = Lock::take(place);
        if lock.is_some() {
            end::sweep(place);
        }
        if let Some(aside) = self.remains.aside() {
            end::step_aside(place, aside)
                .map_err(|errno| os("leave the cgroup that is to hold the sandbox's", errno))?;
        }
        end::enable(place, controllers).map_err(|errno| {
            let error = os(format!("enable the controllers {controllers} for {}", self.path), errno);
            match error.errno() {
                Some(Errno::EBUSY) => error.hint("a process has entered the cgroup above it: try again"),
                Some(Errno::EINVAL) => error.hint("real-time processes must not be in cgroups with the controller cpu"),
                _ => error,
            }
        })?;
        // Nobody else may take its lock.
        rustix::fs::mkdirat(place, self.remains.name(), Mode::RWXU).map_err(|errno| os(step(), errno))?;
        let directory = end::open_directory(place, self.remains.name()).map_err(|errno| os(step(), errno))?;
        rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| os(format!("lock the cgroup {}", self.path), errno))?;
        drop(lock);
        for (file, content) in limits.files() {
            end::write(directory.as_fd(), file, &content)
                .map_err(|errno| os(format!("write {content} to {}/{file}", self.path), errno))?;
        }
        // Without swap there is no such file.
        if limits.memory.is_some() {
            let _ = end::write(directory.as_fd(), "memory.swap.max", "0");
        }
        Ok(directory)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if let Err(errno) = self.remains.end(PATIENCE) {
            warn!("cannot remove the cgroup {}: {}", self.path, Errno::from_raw(errno.raw_os_error()).desc());
        }
    }
}

fn os(step: impl Into<std::borrow::Cow<'static, str>>, errno: rustix::io::Errno) -> Error {
    Error::os(step, Errno::from_raw(errno.raw_os_error()))
}
