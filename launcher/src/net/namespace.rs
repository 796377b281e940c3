//! A network namespace that nsl makes by itself, while its child makes the mounts: with the others in clone3 it would be
//! waited for, which is a tenth of a start.
//!
//! Where the sandbox has a user namespace of its own, that has to own it: there clone3 makes it.

use super::join::{OWN, Visit};
use super::socket;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A new one.
pub struct Namespace {
    pub(super) descriptor: OwnedFd,
    /// A `NETLINK_ROUTE` socket that was opened inside.
    pub(super) socket: OwnedFd,
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Where nsl comes back to. There may be no way back, without a /proc, or for root of a user namespace that the network
/// does not belong to: then the namespace is clone3's to make.
pub struct Home(OwnedFd);

impl Home {
    pub fn open() -> Option<Self> {
        let home = open_own().ok()?;
        Visit::may_go_back(&home).then_some(Self(home))
    }

    /// Makes a network with nothing but lo, which is up. nsl is in it for this time only.
    pub fn make_another(self) -> Result<Namespace, Errno> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
        let made = furnish();
        Visit::of(self.0).go_back()?;
        made
    }
}

fn open_own() -> Result<OwnedFd, Errno> {
    rustix::fs::open(OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn furnish() -> Result<Namespace, Errno> {
    let socket = socket::open(None).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    raise_loopback(socket.as_fd())?;
    Ok(Namespace { descriptor: open_own()?, socket })
}

/// `RTM_NEWLINK` of the device 1, which is always lo, with `IFF_UP`: rtnetlink(7). For this one request a runtime would
/// be much.
fn raise_loopback(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    const REQUEST: usize = 32;
    let (loopback, up) = (1_u32, libc::IFF_UP as u32);
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    let mut request = [0; REQUEST];
    // struct nlmsghdr, then struct ifinfomsg: index, flags, and which of these count.
    request[0..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&libc::RTM_NEWLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    request[20..24].copy_from_slice(&loopback.to_ne_bytes());
    request[24..28].copy_from_slice(&up.to_ne_bytes());
    request[28..32].copy_from_slice(&up.to_ne_bytes());
    send(socket, &request, SendFlags::empty())?;
    let mut answer = [0; 64];
    let (length, _) = recv(socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    // struct nlmsgerr, behind a header, begins with the negated errno.
    match answer[..length].get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(errno) => Err(Errno::from_raw_os_error(-errno)),
        None => Err(Errno::BADMSG),
    }
}
