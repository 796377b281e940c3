//! A sandbox as it is found: what is noted of it, held against what the kernel says. Reading changes nothing and takes no
//! lock, so that nobody who starts one is disturbed.

use super::claim::LOCK;
use super::directory::{Directory, os};
use super::lock::{self, Byte};
use super::place;
use super::state::{self, State, Status};
use crate::error::{Error, Result};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

pub const STATE: &str = "state.json";
/// A copy of the boot message, for who joins later.
pub const BOOT: &str = "boot";
const HINT: &str = "nsl ps -a shows those that there are";

/// What is known of a sandbox.
pub struct Entry {
    pub state: State,
    /// The nsl that carries it out is there.
    pub alive: bool,
}

impl Entry {
    /// The sandbox of this name.
    pub fn find(name: &str) -> Result<Self> {
        let unknown = || Error::new(format!("find {name}"), "there is no such sandbox").hint(HINT);
        super::name::check(name)?;
        let states = place::states()?.ok_or_else(unknown)?;
        Self::read(&states, name)?.ok_or_else(unknown)
    }

    /// The same, if it has not ended.
    pub fn find_living(name: &str) -> Result<Self> {
        let entry = Self::find(name)?;
        let ended =
            || Error::new(format!("reach {name}"), entry.words_for_its_end()).hint("nsl run -d --name starts one");
        if entry.alive && entry.state.status != Status::Exited { Ok(entry) } else { Err(ended()) }
    }

    /// What `states` has of this name; none if there is no such sandbox, or none yet.
    pub fn read(states: &Directory, name: &str) -> Result<Option<Self>> {
        let Some(directory) = states.open(name)? else { return Ok(None) };
        let failed = |errno| os(format!("read the state of {name}"), errno);
        let lock = match directory.file(LOCK, OFlags::RDONLY) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            lock => lock.map_err(failed)?,
        };
        loop {
            let mut file = match directory.file(STATE, OFlags::RDONLY) {
                Err(rustix::io::Errno::NOENT) => return Ok(None),
                file => File::from(file.map_err(failed)?),
            };
            let mut bytes = Vec::new();
            let step = || format!("read the state of {name}");
            file.read_to_end(&mut bytes).map_err(|error| Error::io(step(), &error))?;
            let alive = lock::is_held(lock.as_fd(), Byte::Life).map_err(|errno| Error::os(step(), errno))?;
            // Between the two it may have noted its end, or another may have taken the name. Each state is a file of
            // its own, and this one is still open: while it has its name, both are of one moment.
            if directory.holds(STATE, file.as_fd()) {
                return State::parse(name, &bytes).map(|state| Some(Self { state, alive }).filter(Self::has_begun));
            }
        }
    }

    /// Has it begun, or is it about to? Of one whose nsl was killed before there is nothing to tell.
    fn has_begun(&self) -> bool {
        self.alive || self.state.status != Status::Starting
    }

    /// The boot message of its init.
    pub fn boot(&self) -> Result<Vec<u8>> {
        let name = &self.state.name;
        let failed = |error| Error::io(format!("read the boot message of {name}"), &error);
        let mut bytes = Vec::new();
        if let Some(directory) = place::states()?.map(|states| states.open(name)).transpose()?.flatten() {
            let file = directory.file(BOOT, OFlags::RDONLY).map_err(|errno| failed(errno.into()))?;
            File::from(file).read_to_end(&mut bytes).map_err(failed)?;
        }
        // Another may have taken the name meanwhile.
        if Self::find_living(name)?.state.monitor == self.state.monitor {
            return Ok(bytes);
        }
        Err(Error::new(format!("reach {name}"), "it has ended just now, and there is another of this name"))
    }

    /// What is so now: nothing that is noted is believed without a living nsl behind it, but the end.
    pub fn status(&self) -> Status {
        match self.state.status {
            Status::Exited => Status::Exited,
            _ if !self.alive => Status::Dead,
            status => status,
        }
    }

    /// How long its command has run, by a clock that nobody sets.
    pub fn uptime_ms(&self) -> Option<u64> {
        let is_up = matches!(self.status(), Status::Running | Status::Stopping);
        let init = self.state.init.filter(|_| is_up)?;
        let started = init.start_time * 1000 / procfs::ticks_per_second().max(1);
        Some(state::since_boot_ms().saturating_sub(started))
    }

    fn words_for_its_end(&self) -> &'static str {
        if self.status() == Status::Dead { "its nsl was killed, and it with it" } else { "it has ended" }
    }
}
