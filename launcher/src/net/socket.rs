//! The socket below rtnetlink: a netlink socket of any namespace, without a reactor.
//!
//! The kernel carries a request out, and queues the whole answer, before `send` returns. So there is nothing to
//! poll for: a receive that follows a send finds the answer, and one that finds none means that it was read to its
//! end. This saves epoll and its descriptors, and takes a socket that was opened elsewhere without unsafe code.

use bytes::BufMut;
use rtnetlink::sys::{self, AsyncSocket, SocketAddr};
use rustix::buffer::spare_capacity;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recvfrom, send, socket_with};
use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

/// The kernel never makes a netlink message larger than this.
pub(super) const MESSAGE_MAX: usize = 32 * 1024;

pub(super) struct Socket {
    fd: OwnedFd,
    /// A request was sent and its answer is not read to the end.
    answering: Cell<bool>,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, answering: Cell::new(false) }
    }

    fn receive(&self, buffer: &mut impl BufMut) -> Poll<io::Result<SocketAddr>> {
        if !self.answering.get() {
            return Poll::Pending;
        }
        let mut message = Vec::with_capacity(MESSAGE_MAX);
        match recvfrom(&self.fd, spare_capacity(&mut message), RecvFlags::DONTWAIT) {
            Ok((_, _, source)) => {
                buffer.put_slice(&message);
                let port = source.and_then(|source| SocketAddrNetlink::try_from(source).ok()).map_or(0, |nl| nl.pid());
                Poll::Ready(Ok(SocketAddr::new(port, 0)))
            }
            Err(rustix::io::Errno::AGAIN) => {
                self.answering.set(false);
                Poll::Pending
            }
            Err(errno) => Poll::Ready(Err(errno.into())),
        }
    }

    fn transmit(&self, cx: &Context<'_>, message: &[u8]) -> Poll<io::Result<usize>> {
        let sent = send(&self.fd, message, SendFlags::empty())?;
        self.answering.set(true);
        // Have the connection polled once more: it reads before it sends.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(sent))
    }
}

/// Opens a netlink socket of this protocol (none: `NETLINK_ROUTE`, whose number is 0).
pub(super) fn open(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?)
}

impl AsyncSocket for Socket {
    fn socket_ref(&self) -> &sys::Socket {
        unreachable!("rtnetlink asks for this to join multicast groups only")
    }

    fn socket_mut(&mut self) -> &mut sys::Socket {
        unreachable!("rtnetlink asks for this to join multicast groups only")
    }

    fn new(_protocol: isize) -> io::Result<Self> {
        open(None).map(Self::new)
    }

    fn poll_send(&self, cx: &mut Context<'_>, message: &[u8]) -> Poll<io::Result<usize>> {
        self.transmit(cx, message)
    }

    /// The destination is always the kernel, to which an unconnected netlink socket sends.
    fn poll_send_to(&self, cx: &mut Context<'_>, message: &[u8], _to: &SocketAddr) -> Poll<io::Result<usize>> {
        self.transmit(cx, message)
    }

    fn poll_recv<B: BufMut>(&self, _cx: &mut Context<'_>, buffer: &mut B) -> Poll<io::Result<()>> {
        self.receive(buffer).map_ok(|_| ())
    }

    fn poll_recv_from<B: BufMut>(&self, _cx: &mut Context<'_>, buffer: &mut B) -> Poll<io::Result<SocketAddr>> {
        self.receive(buffer)
    }

    fn poll_recv_from_full(&self, _cx: &mut Context<'_>) -> Poll<io::Result<(Vec<u8>, SocketAddr)>> {
        let mut buffer = Vec::with_capacity(MESSAGE_MAX);
        self.receive(&mut buffer).map_ok(|source| (buffer, source))
    }
}
