//! How a command says that it is ready: a datagram with `READY=1` on the socket that NOTIFY_SOCKET names
//! (`sd_notify(3)`).

use super::directory::{Directory, os};
use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, bind, recv, socket};
use rustix::fs::{AtFlags, Mode};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

const NAME: &str = "notify";
/// As much as a message may have; of more the end is missing.
const LONGEST: usize = 4096;

pub struct Ready {
    socket: OwnedFd,
    path: PathBuf,
}

impl Ready {
    /// Makes the socket in a sandbox's directory. Whoever is in the sandbox may write to it, and nobody else gets there.
    pub fn new(directory: &Directory) -> Result<Self> {
        let path = directory.path().join(NAME);
        let step = || format!("make the socket {}", path.display());
        let failed = |errno| Error::os(step(), errno);
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None).map_err(failed)?;
        // Its own path may be longer than an address takes.
        let short = format!("/proc/self/fd/{}/{NAME}", directory.as_fd().as_raw_fd());
        let address = UnixAddr::new(short.as_str()).map_err(failed)?;
        bind(socket.as_raw_fd(), &address).map_err(failed)?;
        let everybody = Mode::from_raw_mode(0o666);
        rustix::fs::chmodat(directory, NAME, everybody, AtFlags::empty()).map_err(|errno| os(step(), errno))?;
        Ok(Self { socket, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next message that has come.
    pub fn hear(&self) -> Option<String> {
        let mut message = [0; LONGEST];
        loop {
            match recv(self.socket.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => return Some(String::from_utf8_lossy(&message[..length]).into_owned()),
                Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }
}

/// Does a message say that the command is ready?
pub fn says_so(message: &str) -> bool {
    message.split('\n').any(|line| line == "READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_message_says_it() {
        assert!(says_so("READY=1") && says_so("STATUS=up\nREADY=1\n"));
        assert!(!says_so("") && !says_so("READY=0") && !says_so("STATUS=READY=1") && !says_so("READY=10"));
    }
}
