//! Named networks: sandboxes that reach each other, and who they are.
//!
//! The kernel keeps the list: a member's device on the host is in the group with the network's number, and its alias
//! says by which name and addresses it is found. It goes with the device, however the member ends. Who watches
//! the list is told of each change of a device, of which only those count.

use super::group;
use super::names::{is_hostname, line};
use super::plan::Addresses;
use super::socket::{self, MESSAGE_MAX};
use rtnetlink::packet_core::{NetlinkBuffer, NlasIterator};
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SendFlags, bind, recvfrom, send};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// rtnetlink(7), netlink(7).
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// `RTMGRP_LINK`: news of devices.
const NEWS_OF_LINKS: u32 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFLA_EXT_MASK: u16 = 29;
/// `RTEXT_FILTER_SKIP_STATS`
const WITHOUT_COUNTERS: u32 = 1 << 3;
/// Bytes of a struct ifinfomsg.
const HEADER: usize = 16;

/// What the alias of a member's device says; none if its hostname cannot stand in a list of names.
pub(super) fn alias(hostname: &str, addresses: Addresses) -> Option<String> {
    is_hostname(hostname).then(|| {
        let words = addresses.own().into_iter().map(|address| format!(" {address}"));
        [hostname.to_owned()].into_iter().chain(words).collect()
    })
}

/// Those who are in a network now.
pub struct Members {
    socket: OwnedFd,
    group: u32,
    /// By the index of the device, which the kernel gives once only.
    found: BTreeMap<u32, Member>,
    /// News were lost.
    stale: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Member {
    device: String,
    /// Its lines in /etc/hosts.
    lines: Vec<String>,
}

impl Members {
    /// From now on no news of them is missed.
    pub fn watch(network: &str) -> io::Result<Self> {
        let socket = socket::open(None)?;
        bind(&socket, &SocketAddrNetlink::new(0, NEWS_OF_LINKS))?;
        Ok(Self { socket, group: group::of_network(network), found: BTreeMap::new(), stale: true })
    }

    /// Readable when there may be news.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Hears what there is to be heard, at first all of it; says if that changes anything.
    pub fn refresh(&mut self) -> io::Result<bool> {
        let before = self.found.clone();
        let mut message = Vec::with_capacity(MESSAGE_MAX);
        loop {
            message.clear();
            match recvfrom(&self.socket, spare_capacity(&mut message), RecvFlags::DONTWAIT) {
                // Others than the kernel, whose number is 0, have nothing to say here.
                Ok((_, _, source)) => {
                    let source = source.and_then(|source| SocketAddrNetlink::try_from(source).ok());
                    if source.is_some_and(|source| source.pid() == 0) {
                        self.hear(&message);
                    }
                }
                Err(Errno::INTR) => {}
                // More happened than the socket holds: once that is read, all is asked for anew.
                Err(Errno::NOBUFS) => self.stale = true,
                Err(Errno::AGAIN) if self.stale => self.ask()?,
                Err(Errno::AGAIN) => return Ok(self.found != before),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Asks for all devices; the answer is there at once, among the news.
    fn ask(&mut self) -> io::Result<()> {
        self.stale = false;
        self.found.clear();
        let mut request = Vec::with_capacity(40);
        request.extend_from_slice(&40_u32.to_ne_bytes());
        request.extend_from_slice(&RTM_GETLINK.to_ne_bytes());
        request.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        request.extend_from_slice(&[0; 8 + HEADER]);
        request.extend_from_slice(&8_u16.to_ne_bytes());
        request.extend_from_slice(&IFLA_EXT_MASK.to_ne_bytes());
        request.extend_from_slice(&WITHOUT_COUNTERS.to_ne_bytes());
        send(&self.socket, &request, SendFlags::empty())?;
        Ok(())
    }

    fn hear(&mut self, mut packet: &[u8]) {
        while let Ok(message) = NetlinkBuffer::new_checked(packet) {
            let length = message.length() as usize;
            let kind = message.message_type();
            if let Some(payload) = packet.get(HEADER..length) {
                self.hear_of_device(kind, payload);
            }
            packet = packet.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }

    fn hear_of_device(&mut self, kind: u16, message: &[u8]) {
        // Of another family than 0 it is a bridge's, of which it says what only that knows.
        let Some(([0, _, _, _, i0, i1, i2, i3, ..], attributes)) = message.split_first_chunk::<HEADER>() else {
            return;
        };
        let index = u32::from_ne_bytes([*i0, *i1, *i2, *i3]);
        match kind {
            RTM_NEWLINK => match member(attributes, self.group) {
                Some(member) => drop(self.found.insert(index, member)),
                None => drop(self.found.remove(&index)),
            },
            RTM_DELLINK => drop(self.found.remove(&index)),
            _ => {}
        }
    }

    /// Lines for /etc/hosts, but for those of the device `own`.
    pub fn lines(&self, own: &str) -> impl Iterator<Item = String> {
        self.found.values().filter(move |member| member.device != own).flat_map(|member| member.lines.iter().cloned())
    }
}

/// The member of a network that a device with these attributes is.
fn member(attributes: &[u8], network: u32) -> Option<Member> {
    let (mut device, mut alias, mut found) = (None, None, None);
    for attribute in NlasIterator::new(attributes).map_while(Result::ok) {
        let text = |bytes: &[u8]| str::from_utf8(bytes).ok().map(|text| text.trim_end_matches('\0').to_owned());
        match attribute.kind() {
            IFLA_IFNAME => device = text(attribute.value()),
            IFLA_IFALIAS => alias = text(attribute.value()),
            IFLA_GROUP => found = attribute.value().try_into().ok().map(u32::from_ne_bytes),
            _ => {}
        }
    }
    let (device, alias) = (device?, alias?);
    if found? & group::NETWORK != network || !device.starts_with("nsl") {
        return None;
    }
    let mut words = alias.split(' ');
    let hostname = words.next().filter(|name| is_hostname(name))?;
    let addresses = words.map(str::parse).collect::<Result<Vec<IpAddr>, _>>().ok()?;
    Some(Member { device, lines: addresses.into_iter().map(|address| line(address, hostname)).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = [(value.len() as u16 + 4).to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn device(name: &str, alias: &str, group: u32) -> Vec<u8> {
        let [name, alias] = [name, alias].map(|text| format!("{text}\0").into_bytes());
        let group = attribute(IFLA_GROUP, &group.to_ne_bytes());
        [attribute(IFLA_IFNAME, &name), group, attribute(IFLA_IFALIAS, &alias)].concat()
    }

    #[test]
    fn a_member_is_a_device_of_nsls_whose_alias_tells_who_it_is() {
        let lines = |bytes: &[u8]| member(bytes, 7).map(|member| member.lines);
        let web = Some(vec!["10.221.0.3 web.example web".to_owned(), "fd00::3 web.example web".to_owned()]);
        assert_eq!(lines(&device("nsl1", "web.example 10.221.0.3 fd00::3", 7)), web);
        // Above the number are bits for other things.
        assert_eq!(lines(&device("nsl1", "web.example 10.221.0.3 fd00::3", 7 | 1 << 30 | 1 << 31)), web);
        assert_eq!(lines(&device("nsl1", "web 10.221.0.3", 8)), None);
        assert_eq!(lines(&device("eth0", "web 10.221.0.3", 7)), None);
        for alias in ["", "web x", "w/b 10.221.0.3", "web\n192.0.2.1 evil 10.221.0.3", "web  10.221.0.3"] {
            assert_eq!(lines(&device("nsl1", alias, 7)), None, "{alias:?}");
        }
    }

    #[test]
    fn news_are_heard_in_order_and_what_is_malformed_is_not() {
        let message = |kind: u16, family: u8, index: u32, attributes: &[u8]| {
            let header = [&[family, 0, 0, 0][..], &index.to_ne_bytes(), &[0; 8]].concat();
            let length = (16 + header.len() + attributes.len()) as u32;
            [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], &header, attributes].concat()
        };
        let mut members =
            Members { socket: socket::open(None).unwrap(), group: 7, found: BTreeMap::new(), stale: false };
        let [one, two] = ["one 10.0.0.1", "two 10.0.0.2"].map(|alias| device("nsl1", alias, 7));
        members.hear(&[message(RTM_NEWLINK, 0, 1, &one), message(RTM_NEWLINK, 0, 2, &two)].concat());
        assert_eq!(members.lines("").collect::<Vec<_>>(), ["10.0.0.1 one", "10.0.0.2 two"]);
        members.hear(&message(RTM_DELLINK, 7, 1, &one));
        assert_eq!(members.lines("").count(), 2);
        members.hear(&message(RTM_DELLINK, 0, 1, &one));
        members.hear(&message(RTM_NEWLINK, 0, 2, &device("nsl1", "two 10.0.0.2", 8)));
        assert_eq!(members.lines("").count(), 0);
        let whole = message(RTM_NEWLINK, 0, 1, &one);
        for length in 0..whole.len() {
            members.hear(&whole[..length]);
            assert_eq!(members.lines("").count(), 0, "{length}");
        }
    }
}
