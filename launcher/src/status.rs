//! The status socket: packets between nsl and its child, later the init. The words are those of `nsl_shared::boot`.

use crate::error::Error;
use crate::timings;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use nix::sys::time::TimeSpec;
use nsl_shared::boot::{GO, Report};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The two ends: the launcher's, the child's.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// What came over the socket.
pub enum Received {
    Report(Report, Option<OwnedFd>),
    /// Nobody holds the other end any more.
    End,
}

/// Waits for the next report.
pub fn next(socket: BorrowedFd<'_>) -> Result<Received, Error> {
    receive(socket, MsgFlags::empty()).map_err(unread)
}

/// The next report, if it has come already.
pub fn pending(socket: BorrowedFd<'_>) -> Result<Option<Received>, Error> {
    match receive(socket, MsgFlags::MSG_DONTWAIT) {
        Err(Errno::EAGAIN) => Ok(None),
        received => received.map(Some).map_err(unread),
    }
}

/// What came is no report, or none could be read.
pub fn unread(errno: Errno) -> Error {
    Error::os("read the status socket", errno)
}

fn receive(socket: BorrowedFd<'_>, flags: MsgFlags) -> Result<Received, Errno> {
    let mut bytes = [0; Report::SIZE];
    let (length, descriptor) = packet(socket, &mut bytes, flags)?;
    if length == 0 {
        return Ok(Received::End);
    }
    let report = Report::decode(&bytes[..length]).ok_or(Errno::EBADMSG)?;
    Ok(Received::Report(report, descriptor))
}

/// The next packet: how long it is, and the descriptor that came with it.
fn packet(socket: BorrowedFd<'_>, bytes: &mut [u8], flags: MsgFlags) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut control = cmsg_space!(RawFd, TimeSpec);
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    loop {
        let mut buffers = [IoSliceMut::new(bytes)];
        match recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut control), flags) {
            // A peer that ended without reading its orders: told once, ahead of what the peer had still said.
            Err(Errno::EINTR | Errno::ECONNRESET) => {}
            Err(error) => return Err(error),
            Ok(message) => return Ok((message.bytes, message.cmsgs().ok().and_then(descriptor_in))),
        }
    }
}

fn descriptor_in(messages: impl Iterator<Item = ControlMessageOwned>) -> Option<OwnedFd> {
    let number = messages.into_iter().find_map(|message| match message {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
        // Asked for with --timings only; it comes ahead of a descriptor.
        ControlMessageOwned::ScmTimestampns(time) => {
            timings::sent(time);
            None
        }
        _ => None,
    })?;
    Some(crate::sys::own(number))
}

/// Sends a report, with a descriptor if it carries one.
pub fn report(socket: BorrowedFd<'_>, report: Report, descriptor: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    send(socket, &report.encode(), descriptor)
}

/// Gives the child an order, with a descriptor if it carries one.
pub fn order(socket: BorrowedFd<'_>, order: u8, descriptor: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    send(socket, &[order], descriptor)
}

/// Waits for the next order; nothing if nobody can give one any more.
pub fn take_order(socket: BorrowedFd<'_>) -> Result<(Option<u8>, Option<OwnedFd>), Errno> {
    let mut order = [0];
    let (length, descriptor) = packet(socket, &mut order, MsgFlags::empty())?;
    Ok(((length == 1).then_some(order[0]), descriptor))
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let number = descriptor.map(|descriptor| [descriptor.as_raw_fd()]);
    let rights = number.as_ref().map(|number| ControlMessage::ScmRights(number));
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], rights.as_slice(), MsgFlags::MSG_NOSIGNAL, None).map(drop)
}

/// Lets the init start the command. An init that is gone has reported why.
pub fn go(socket: BorrowedFd<'_>) {
    let _ = nix::sys::socket::send(socket.as_raw_fd(), &GO, MsgFlags::MSG_NOSIGNAL);
}
