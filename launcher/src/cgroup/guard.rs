//! The guard: a process that outlives an nsl that was killed, for as long as the end of the sandbox's cgroup takes. The
//! kernel drops all else with the init, but no cgroup. It is there only where a sandbox has limits.

use super::end::Remains;
use crate::error::{Error, Result};
use crate::sys::{self, Side};
use nix::errno::Errno;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{PidfdFlags, Signal, WaitId, WaitIdOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long those that the guard kills may take; nobody waits for it.
const PATIENCE: Duration = Duration::from_mins(1);

/// The guard of this process. Dropped, it is gone.
pub struct Guard(OwnedFd);

impl Guard {
    /// Starts it, before anything of `remains` is made. The caller has blocked every signal.
    pub fn start(remains: &Remains) -> Result<Self> {
        let failed =
            |errno: rustix::io::Errno| Error::os("start a guard for the cgroup", Errno::from_raw(errno.raw_os_error()));
        let nsl = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).map_err(failed)?;
        match sys::clone3(0, None).map_err(failed)? {
            Side::Parent { pidfd, .. } => Ok(Self(pidfd)),
            Side::Child => watch(remains, nsl.as_fd()),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.0, Signal::KILL);
        while let Err(rustix::io::Errno::INTR) =
            rustix::process::waitid(WaitId::PidFd(self.0.as_fd()), WaitIdOptions::EXITED)
        {}
    }
}

/// The guard's whole life. It keeps nothing of the caller's: no stream, no terminal, no directory.
fn watch(remains: &Remains, nsl: BorrowedFd<'_>) -> ! {
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"nsl-guard");
    let _ = rustix::process::chdir("/");
    sys::close_all_but(&[remains.place(), nsl]);
    let ended = loop {
        match rustix::event::poll(&mut [PollFd::new(&nsl, PollFlags::IN)], None) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result,
        }
    };
    if ended.is_ok() {
        let _ = remains.end(PATIENCE);
    }
    sys::exit_child(0)
}
