//! Processes as they are noted: by number and start time, so that another one of the same number is not taken for it.

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
        let stat = procfs::process::Process::new(pid.cast_signed()).and_then(|process| process.stat()).ok()?;
        Some(Self { pid, start_time: stat.starttime })
    }

    /// This very process, if it has not ended in full. Opened before it is looked at: what has the number later cannot
    /// slip in between.
    pub fn open(self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        (Self::of(self.pid) == Some(self)).then_some(pidfd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_of_the_same_number_is_not_taken_for_it() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.open().is_some());
        assert!(Process { start_time: own.start_time + 1, ..own }.open().is_none());
        assert!(Process::default().open().is_none() && Process { pid: u32::MAX, start_time: 1 }.open().is_none());
    }
}
