//! Long answers of `nf_tables`: read in bounds, message by message, decoded only where somebody cares.

use super::nftables::{Message, connect};
use super::socket::MESSAGE_MAX;
use rtnetlink::packet_core::{NLM_F_DUMP_INTR, NetlinkBuffer, NlasIterator};
use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io;
use std::ops::ControlFlow;

/// `NLMSG_MIN_TYPE`: below are messages of netlink itself, as the one that ends a dump.
const FIRST_OF_SUBSYSTEM: u16 = 16;
/// `struct nfgenmsg`, before the attributes.
const HEADER: usize = 4;

/// How a dump came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// All of it was read.
    Complete,
    /// Somebody had enough, or the bound was reached.
    Early,
}

/// One message of a dump, not decoded yet.
pub(super) struct Raw<'a>(&'a [u8]);

impl Raw<'_> {
    /// Is there an attribute of this number? Costs a fraction of what decoding does.
    pub(super) fn has(&self, attribute: u16) -> bool {
        let payload = NetlinkBuffer::new_checked(self.0).ok().and_then(|message| message.payload().get(HEADER..));
        payload.is_some_and(|payload| NlasIterator::new(payload).flatten().any(|found| found.kind() == attribute))
    }

    pub(super) fn contains(&self, bytes: &[u8]) -> bool {
        self.0.windows(bytes.len()).any(|window| window == bytes)
    }

    /// For one that may turn out to be the last.
    pub(super) fn copy_to(&self, kept: &mut Vec<u8>) {
        kept.clear();
        kept.extend_from_slice(self.0);
    }

    /// None for what this version of the protocol's words does not know.
    pub(super) fn decode(&self) -> Option<Message> {
        Message::deserialize(self.0).ok()
    }
}

/// Sends a request for a dump and hands on what comes, up to `datagrams` of 32 KiB at most.
///
/// It has a socket of its own, which costs 2 µs: on one whose dump was not read to its end the next would be refused.
pub(super) fn dump(
    mut request: Message,
    datagrams: usize,
    mut each: impl FnMut(Raw<'_>) -> ControlFlow<()>,
) -> io::Result<End> {
    let socket = connect()?;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    send(&socket, &bytes, SendFlags::empty())?;
    let mut datagram = Vec::with_capacity(MESSAGE_MAX);
    for _ in 0..datagrams {
        datagram.clear();
        match recv(&socket, spare_capacity(&mut datagram), RecvFlags::DONTWAIT) {
            Err(rustix::io::Errno::AGAIN) => return Ok(End::Complete),
            result => result?,
        };
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
            let (kind, flags, length) = (message.message_type(), message.flags(), message.length() as usize);
            // The rules were changed meanwhile: what was read fits nothing that ever stood.
            if flags & NLM_F_DUMP_INTR != 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if kind >= FIRST_OF_SUBSYSTEM {
                if each(Raw(&rest[..length])).is_break() {
                    return Ok(End::Early);
                }
            } else if let Some(error) = error_of(rest) {
                return Err(error);
            } else {
                return Ok(End::Complete);
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
    Ok(End::Early)
}

fn error_of(bytes: &[u8]) -> Option<io::Error> {
    use rtnetlink::packet_core::NetlinkPayload::{Done, Error};
    match Message::deserialize(bytes) {
        Ok(message) => match message.payload {
            Error(error) if error.code.is_some() => Some(error.to_io()),
            Done(done) if done.code != 0 => Some(io::Error::from_raw_os_error(-done.code)),
            _ => None,
        },
        Err(error) => Some(io::Error::other(error)),
    }
}
