//! A check of a sandbox's health: a command in it, whose words nobody reads, and whose end says all.
//!
//! It is an `nsl exec` of its own, executed as a program: the nsl that carries the sandbox out may have a thread that
//! writes the log, and a process with threads cannot be cloned as a start needs it.

use crate::error::{Error, Result};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};

/// One that runs. Dropped, it is killed.
pub struct Check {
    nsl: Child,
    pidfd: OwnedFd,
}

impl Check {
    /// Has `sh` in the sandbox execute a command.
    pub fn start(name: &str, command: &str) -> Result<Self> {
        let failed = |error| Error::io("check the health of the sandbox", &error);
        let mut nsl = Command::new("/proc/self/exe");
        nsl.args(["exec", "--check", "--no-tty", "--", name, "sh", "-c", command]);
        nsl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let nsl = nsl.spawn().map_err(failed)?;
        // Its number is its own until it is waited for.
        let pid = Pid::from_child(&nsl);
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed(errno.into()))?;
        Ok(Self { nsl, pidfd })
    }

    /// Readable when it has ended.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Has it end at once, with all that it has started.
    pub fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::TERM);
    }

    /// It has ended; says if it did so well.
    pub fn finish(mut self) -> bool {
        self.nsl.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        let _ = self.nsl.kill();
        let _ = self.nsl.wait();
    }
}
