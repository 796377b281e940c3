//! The journal as a log: a datagram a record, as "Native Journal Protocol" of systemd's documentation has it. A record
//! is so short that it fits into one, so that none has to be handed over as a file.

use super::record::{Record, split};
use super::{Failure, Source, Target};
use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};

const SOCKET: &str = "/run/systemd/journal/socket";

pub struct Journal {
    socket: OwnedFd,
    address: UnixAddr,
    /// What is before the text, for each stream.
    fields: [String; 2],
}

/// Does somebody listen?
pub fn is_there() -> bool {
    Journal::open("").is_ok()
}

impl Journal {
    pub fn open(name: &str) -> Result<Self> {
        let failed = |errno| {
            Error::os(format!("write to the journal by {SOCKET}"), errno)
                .hint("is systemd-journald running? --log file needs nothing")
        };
        let make = || socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
        let address = UnixAddr::new(SOCKET).map_err(failed)?;
        // Only to see whether somebody is there: a socket that is connected would not find one that comes later.
        connect(make().map_err(failed)?.as_raw_fd(), &address).map_err(failed)?;
        // Priorities are those of syslog(3).
        let fields = Source::ALL.map(|source| {
            let priority = if source == Source::Stdout { 6 } else { 3 };
            format!(
                "PRIORITY={priority}\nSYSLOG_IDENTIFIER={name}\nNSL_NAME={name}\nNSL_STREAM={}\nMESSAGE=",
                source.word()
            )
        });
        Ok(Self { socket: make().map_err(failed)?, address, fields })
    }

    fn send(&self, record: &Record<'_>) -> nix::Result<()> {
        let end: &[u8] = if record.is_whole { b"\n" } else { b"\nNSL_PARTIAL=1\n" };
        let parts = [self.fields[record.source as usize].as_bytes(), record.text, end].map(IoSlice::new);
        loop {
            match sendmsg(self.socket.as_raw_fd(), &parts, &[], MsgFlags::MSG_NOSIGNAL, Some(&self.address)) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Target for Journal {
    fn write(&mut self, records: &[u8]) -> std::result::Result<(), Failure> {
        let mut done = 0;
        for line in split(records) {
            if let Some(record) = Record::parse(&line[..line.len() - 1]) {
                self.send(&record).map_err(|errno| Failure { done, errno })?;
            }
            done += line.len();
        }
        Ok(())
    }
}
