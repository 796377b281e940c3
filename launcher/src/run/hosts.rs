//! A sandbox's /etc/hosts where it is complete only when the network is made, or changes with the members of a network.
//!
//! nsl writes to a descriptor of the file that its child made, never by a path: what the command puts there instead is
//! the command's own.

use crate::error::{Error, Result};
use crate::net::names::Hosts;
use crate::net::{Made, Members};
use rustix::io::Errno;
use std::os::fd::{BorrowedFd, OwnedFd};
use tracing::{debug, warn};

/// No file of nsl's is as long: what the command made longer is cut before it is written.
const LONGEST: u64 = 1 << 20;

pub struct HostsFile {
    file: OwnedFd,
    hosts: Hosts,
    members: Option<Members>,
}

impl HostsFile {
    /// Writes the file as it is now.
    pub fn complete(file: OwnedFd, hosts: Hosts, made: &Made, members: Option<Members>) -> Result<Self> {
        let mut hosts = Self { file, hosts, members };
        if let Some(members) = &mut hosts.members {
            members.refresh().map_err(|error| Error::io("read who is in the network", &error))?;
        }
        hosts
            .write(made)
            .map_err(|errno| Error::os("complete /etc/hosts", nix::errno::Errno::from_raw(errno.raw_os_error())))?;
        Ok(hosts)
    }

    /// Readable when there may be news.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.members.as_ref().map(Members::descriptor)
    }

    /// Brings the file up to date. What fails here is no reason to end a command.
    pub fn refresh(&mut self, made: &Made) {
        let Some(members) = &mut self.members else { return };
        match members.refresh() {
            Ok(false) => {}
            Ok(true) => {
                if let Err(errno) = self.write(made) {
                    debug!("/etc/hosts stays as it is: {errno}");
                }
            }
            Err(error) => {
                warn!("{}; /etc/hosts stays as it is", Error::io("read who is in the network", &error));
                self.members = None;
            }
        }
    }

    /// In place, and at no moment empty: whoever reads it has the file open, or bound.
    fn write(&self, made: &Made) -> rustix::io::Result<()> {
        let others = self.members.iter().flat_map(|members| members.lines(&made.device));
        let mut text = self.hosts.text(&made.addresses.own(), made.addresses.of_host(), others);
        let length = text.len();
        let before = rustix::fs::fstat(&self.file)?.st_size as u64;
        if before <= LONGEST {
            text.resize(length.max(before as usize), b'\n');
        }
        let mut written = 0;
        while written < text.len() {
            match rustix::io::pwrite(&self.file, &text[written..], written as u64) {
                Ok(0) => return Err(Errno::NOSPC),
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        rustix::fs::ftruncate(&self.file, length as u64)
    }
}
