//! A sandbox's directory in the hands of its owner: who has the name, writes its state, and removes it.
//!
//! Whoever has the byte `Name` of its lock may change the directory. A living nsl has the byte `Life` too; what an
//! earlier one left is removed before that is taken, so that nobody sees an old state and a new life together.

use super::directory::{Directory, os};
use super::entry::{Entry, STATE};
use super::lock::{self, Byte};
use super::state::State;
use super::{name, place};
use crate::error::{Error, Result};
use nix::errno::Errno;
use rustix::fs::{FallocateFlags, OFlags};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

pub const LOCK: &str = "lock";
/// What becomes the next state. It has its place in memory beforehand: a full /run keeps no end from being noted.
const NEXT: &str = "state.next";
/// Who removes a directory has its name for less than this.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);

pub struct Claim {
    place: Directory,
    directory: Directory,
    name: String,
    lock: OwnedFd,
}

/// Whom a name was found with.
enum Found {
    Nobody(Claim),
    /// A sandbox that lives; or, if it must be new, one that has lived.
    Taken,
    /// Somebody who is about to make or to remove it.
    Busy,
}

impl Claim {
    /// Takes a name for a new sandbox; what a dead one of this name left is removed. Without one, a name is made up that
    /// no other has had.
    pub fn take(wanted: Option<&str>) -> Result<Self> {
        let claim = match wanted {
            Some(name) => {
                let taken = || Error::new(format!("use the name {name}"), "a sandbox of this name is running");
                Self::remains(name)?.ok_or_else(|| taken().hint(format!("nsl rm -f {name}, or another name")))?
            }
            None => made_up()?,
        };
        let failed = |errno| os(format!("remove what is left of {}", claim.name), errno);
        claim.directory.clear(LOCK).map_err(failed)?;
        // Nobody else can have it: the other byte is taken first.
        match lock::take(claim.lock.as_fd(), Byte::Life) {
            Ok(true) => Ok(claim),
            result => Err(Error::os(format!("lock {}", claim.name), result.err().unwrap_or(Errno::EAGAIN))),
        }
    }

    /// Takes a name that no living sandbox has, with what is left of an earlier one; none if one lives. Waits for those
    /// who are about to make or to remove it.
    pub fn remains(name: &str) -> Result<Option<Self>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match attempt(name, false)? {
                Found::Nobody(claim) => return Ok(Some(claim)),
                Found::Busy if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Found::Taken | Found::Busy => return Ok(None),
            }
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Notes a state, in the place of the one before and as a whole. The first one makes sure that there is room for the
    /// others.
    pub fn write(&self, state: &State) -> std::io::Result<()> {
        let bytes = state.encode()?;
        let mut next = File::from(self.directory.file(NEXT, OFlags::WRONLY | OFlags::CREATE)?);
        next.write_all(&bytes)?;
        next.set_len(bytes.len() as u64)?;
        self.directory.rename(NEXT, STATE)?;
        self.reserve(bytes.len() as u64)
    }

    /// A state grows by what happens, which is less than it is long, or than a page.
    fn reserve(&self, length: u64) -> std::io::Result<()> {
        let next = self.directory.file(NEXT, OFlags::WRONLY | OFlags::CREATE)?;
        match rustix::fs::fallocate(&next, FallocateFlags::KEEP_SIZE, 0, length + 4096) {
            // Then without.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes the directory; the name is free then.
    pub fn remove(self) -> Result<()> {
        let failed = |errno| os(format!("remove {}", self.directory.path().display()), errno);
        self.directory.clear(LOCK).map_err(failed)?;
        // The lock goes at last. Who has it open already finds that it is nobody's any more.
        self.directory.remove_file(LOCK).map_err(failed)?;
        self.place.remove_directory(&self.name).map_err(failed)
    }
}

/// Removes the directory of a sandbox that has never run, if it is nobody's: its nsl was killed before.
pub fn sweep(states: Directory, name: &str) {
    let Ok(Some(directory)) = states.open(name) else { return };
    match directory.file(LOCK, OFlags::RDWR) {
        Ok(lock) => {
            let is_free = lock::take(lock.as_fd(), Byte::Name).is_ok_and(|taken| taken);
            let never_ran = || Entry::read(&states, name).is_ok_and(|entry| entry.is_none());
            if is_free && directory.holds(LOCK, lock.as_fd()) && never_ran() {
                place::remove_empty_log(name);
                let _ = Claim { place: states, directory, name: name.to_owned(), lock }.remove();
            }
        }
        // Whoever is about to make one finds the directory gone, and makes it again.
        Err(_) => drop(states.remove_directory(name)),
    }
}

fn made_up() -> Result<Claim> {
    for name in name::made_up() {
        if let Found::Nobody(claim) = attempt(&name, true)? {
            return Ok(claim);
        }
    }
    unreachable!("names have no end")
}

fn attempt(name: &str, new: bool) -> Result<Found> {
    let place = place::make_states()?;
    if !place.create(name)? && new {
        return Ok(Found::Taken);
    }
    let Some(directory) = place.open(name)? else { return Ok(Found::Busy) };
    let failed = |errno| os(format!("lock {}", directory.path().display()), errno);
    let lock = match directory.file(LOCK, OFlags::RDWR | OFlags::CREATE) {
        Ok(lock) => lock,
        // It was removed meanwhile.
        Err(rustix::io::Errno::NOENT) => return Ok(Found::Busy),
        Err(errno) => {
            // One that was made now, on a disk that is full.
            let _ = place.remove_directory(name);
            return Err(failed(errno));
        }
    };
    let locked = |errno| Error::os(format!("lock {}", directory.path().display()), errno);
    if !lock::take(lock.as_fd(), Byte::Name).map_err(locked)? {
        let lives = lock::is_held(lock.as_fd(), Byte::Life).map_err(locked)?;
        return Ok(if lives { Found::Taken } else { Found::Busy });
    }
    // Whoever had the lock may have removed both, and another made them again.
    if !place.holds(name, directory.as_fd()) || !directory.holds(LOCK, lock.as_fd()) {
        return Ok(Found::Busy);
    }
    Ok(Found::Nobody(Claim { place, directory, name: name.to_owned(), lock }))
}
