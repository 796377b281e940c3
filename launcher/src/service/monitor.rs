//! How an nsl leaves its caller: the one that was called waits until the command has started, and the one that goes on,
//! the monitor, has nothing of the caller's any more, neither session nor directory nor open file.

use super::print;
use crate::error::{Error, Result};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nsl_shared::exit;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const STEP: &str = "start the sandbox";

/// Which of the two goes on.
pub enum Side {
    /// The one that was called, with its exit code: all is done.
    Caller(u8),
    Monitor(Caller),
}

/// Whom the monitor tells of the start. Dropped before that, it has the caller wait for the exit code.
pub struct Caller(OwnedFd);

/// Becomes two. In the monitor only `kept` stay open, and for now the standard streams, for what keeps it from
/// starting. The process must have one thread.
pub fn detach(kept: &[BorrowedFd<'_>]) -> Result<Side> {
    let failed = |errno| Error::os("start a monitor", errno);
    // Nobody else may take the monitor's status.
    sys::set_dispositions();
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    let caller = nix::unistd::getpid();
    match sys::clone3(0, None).map_err(|errno| failed(Errno::from_raw(errno.raw_os_error())))? {
        sys::Side::Parent { pidfd, .. } => {
            drop(write);
            wait(read, &pidfd).map(Side::Caller)
        }
        sys::Side::Child => {
            drop(read);
            let _ = rustix::process::setsid();
            // Until then who interrupts the caller means this one.
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
            if nix::unistd::getppid() != caller {
                sys::exit_child(exit::NSL_FAILED);
            }
            let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
            let own = [write.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
            sys::close_all_but(&[&own, kept].concat());
            Ok(Side::Monitor(Caller(write)))
        }
    }
}

/// Waits for the name, which is printed, or for the end of a monitor that has said why.
fn wait(from: OwnedFd, monitor: &OwnedFd) -> Result<u8> {
    let mut name = String::new();
    File::from(from).read_to_string(&mut name).map_err(|error| Error::io("hear from the monitor", &error))?;
    if !name.is_empty() {
        return print(&name).map(|()| 0);
    }
    loop {
        match rustix::process::waitid(WaitId::PidFd(monitor.as_fd()), WaitIdOptions::EXITED) {
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::os(STEP, Errno::from_raw(errno.raw_os_error()))),
            Ok(status) => {
                let status = status.as_ref();
                let killed = status.and_then(WaitIdStatus::terminating_signal);
                return match (status.and_then(WaitIdStatus::exit_status), killed) {
                    (_, Some(signal)) => {
                        let name =
                            nix::sys::signal::Signal::try_from(signal).map_or("a signal", |signal| signal.as_str());
                        Err(Error::new(STEP, format!("its monitor was killed by {name}")).code(exit::of_signal(signal)))
                    }
                    // One that ended before it was ready has failed in any case.
                    (code, None) => Ok(code.map_or(0, |code| code as u8).max(1)),
                };
            }
        }
    }
}

impl Caller {
    /// Lets go of all that is the caller's, then has it go on.
    pub fn started(self, name: &str) {
        let _ = rustix::process::chdir("/");
        if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdin(&null);
            let _ = rustix::stdio::dup2_stdout(&null);
            let _ = rustix::stdio::dup2_stderr(&null);
        }
        let _ = rustix::process::set_parent_process_death_signal(None);
        // One that is gone has been killed.
        let _ = writeln!(File::from(self.0), "{name}");
    }
}
