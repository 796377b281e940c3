//! Processes as they are noted: by number and start time, so that another one of the same number is not taken for it.

use super::directory::os;
use crate::error::Result;
use procfs::{ProcError, ProcResult};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    pub pid: u32,
    /// Clock ticks from the machine's boot: proc_pid_stat(5), "starttime".
    pub start_time: u64,
}

impl Process {
    /// The one that has this number now.
    pub fn of(pid: u32) -> Option<Self> {
        Self::look(pid).ok()
    }

    fn look(pid: u32) -> ProcResult<Self> {
        let stat = procfs::process::Process::new(pid.cast_signed()).and_then(|process| process.stat())?;
        Ok(Self { pid, start_time: stat.starttime })
    }

    /// This very process, if it has not ended in full. Opened before it is looked at: what has the number later cannot
    /// slip in between.
    pub fn open(self) -> Result<Option<OwnedFd>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let failed = |errno| os(format!("look at process {pid}"), errno).hint("see ulimit -n");
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // Nobody, or a thread.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        match Self::look(self.pid) {
            Ok(found) => Ok((found == self).then_some(pidfd)),
            Err(ProcError::Io(error, _)) if error.raw_os_error() == Some(libc::EMFILE) => Err(failed(Errno::MFILE)),
            Err(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_of_the_same_number_is_not_taken_for_it() {
        let own = Process::of(std::process::id()).unwrap();
        let is_there = |process: Process| process.open().unwrap().is_some();
        assert!(is_there(own) && !is_there(Process { start_time: own.start_time + 1, ..own }));
        assert!(!is_there(Process::default()) && !is_there(Process { pid: u32::MAX, start_time: 1 }));
    }
}
