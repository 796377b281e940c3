//! The rtnetlink messages of the floor: lo, a veth pair with addresses and a default route, the bench's own uplink.
//! One batch a side and one acknowledgement a batch; no NAT, no look at what is there and no barrier, which nsl has.

use crate::sys;
use std::ffi::c_int;

const NEW_LINK: u16 = 16;
const SET_LINK: u16 = 19;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const CREATE: u16 = 0x600;
const UP: u32 = 1;
/// Nothing is resolved on such a device, and no duplicate address is looked for.
const NO_ARP: u32 = 0x80;
const LO: u32 = 1;
/// The index of eth0 in its namespace: chosen, so that nobody has to ask for it.
const ETH0: u32 = 1000;

/// netlink(7) messages one after the other, each padded to four bytes.
struct Batch {
    bytes: Vec<u8>,
    message: usize,
}

impl Batch {
    fn new() -> Self {
        Self { bytes: Vec::with_capacity(1024), message: 0 }
    }

    fn start(&mut self, kind: u16, flags: u16) {
        self.message = self.bytes.len();
        // struct nlmsghdr: length (set by each put), type, flags, sequence, port.
        self.put(&[[0; 2], [0; 2], kind.to_ne_bytes(), (REQUEST | flags).to_ne_bytes()].concat());
        self.put(&[0; 8]);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let length = (self.bytes.len() - self.message) as u32;
        self.bytes[self.message..self.message + 4].copy_from_slice(&length.to_ne_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.put(&[(value.len() as u16 + 4).to_ne_bytes(), kind.to_ne_bytes()].concat());
        self.put(value);
    }

    /// An attribute that holds what `fill` adds.
    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.attribute(kind, &[]);
        fill(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    /// `struct ifinfomsg` of a link that is to have `flags`.
    fn link_header(&mut self, index: u32, flags: u32) {
        self.put(&[[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), flags.to_ne_bytes()].concat());
    }

    fn up(&mut self, index: u32) {
        self.start(NEW_LINK, 0);
        self.link_header(index, UP);
    }

    /// A veth pair: `near` (index and name) here and up, `far` in the namespace that the descriptor is, or here when
    /// that is 0. Both have one hardware address, and one queue.
    fn pair(&mut self, near: (u32, &str), far: (u32, &str), namespace: c_int) {
        self.start(NEW_LINK, CREATE);
        self.link_header(near.0, UP | NO_ARP);
        self.end_of_pair(near.1, near.0);
        self.nest(18, |info| {
            info.attribute(1, b"veth");
            info.nest(2, |data| {
                data.nest(1, |peer| {
                    peer.link_header(far.0, NO_ARP);
                    peer.end_of_pair(far.1, near.0);
                    if namespace != 0 {
                        peer.attribute(28, &namespace.to_ne_bytes());
                    }
                });
            });
        });
    }

    fn end_of_pair(&mut self, name: &str, number: u32) {
        self.attribute(3, format!("{name}\0").as_bytes());
        let [a, b, c, d] = number.to_be_bytes();
        self.attribute(1, &[2, 0, a, b, c, d]);
        self.attribute(31, &1_u32.to_ne_bytes());
        self.attribute(32, &1_u32.to_ne_bytes());
    }

    /// IPv4 that is forwarded, and no link-local address of IPv6.
    fn forward(&mut self, index: u32) {
        self.start(SET_LINK, 0);
        self.link_header(index, 0);
        self.nest(26, |families| {
            families.nest(2, |inet| inet.nest(1, |conf| conf.attribute(1, &1_u32.to_ne_bytes())));
            families.nest(10, |inet6| inet6.attribute(8, &[1]));
        });
    }

    /// An address of the family that its length tells.
    fn address(&mut self, index: u32, address: &[u8], prefix: u8) {
        self.start(NEW_ADDRESS, CREATE);
        let family = if address.len() == 4 { 2 } else { 10 };
        self.put(&[[family, prefix, 0, 0], index.to_ne_bytes()].concat());
        self.attribute(2, address);
        self.attribute(1, address);
    }

    fn default_route(&mut self, index: u32, gateway: [u8; 4]) {
        self.start(NEW_ROUTE, CREATE);
        // struct rtmsg: AF_INET, main table, protocol boot, scope universe, unicast.
        self.put(&[2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]);
        self.attribute(5, &gateway);
        self.attribute(4, &index.to_ne_bytes());
    }

    /// Asks for an answer to the last message: an error of any other is answered unasked.
    fn send(mut self) {
        self.bytes[self.message + 6] |= ACKNOWLEDGE as u8;
        sys::netlink(&self.bytes);
    }
}

/// The two ends of a start's /31: the host's and the inner one.
fn ends(slot: u32) -> ([u8; 4], [u8; 4]) {
    let [_, _, high, low] = (slot << 1).to_be_bytes();
    ([10, 213, high, low], [10, 213, high, low | 1])
}

/// The same in IPv6, a /127.
fn with_prefix([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0xfd, 0x6e, 0x73, 0x6d, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
}

pub fn lo_up() {
    let mut batch = Batch::new();
    batch.up(LO);
    batch.send();
}

/// The host's side of one start.
pub fn host_side(slot: u32, namespace: c_int, ipv6: bool) {
    let index = slot + 100_000;
    let host = ends(slot).0;
    let mut batch = Batch::new();
    batch.pair((index, &format!("floor{slot}")), (ETH0, "eth0"), namespace);
    batch.forward(index);
    batch.address(index, &host, 31);
    if ipv6 {
        batch.address(index, &with_prefix(host), 127);
    }
    batch.send();
}

/// The inner side of one start, once the pair is there.
pub fn inner_side(slot: u32, ipv6: bool) {
    let (host, inner) = ends(slot);
    let mut batch = Batch::new();
    batch.address(ETH0, &inner, 31);
    if ipv6 {
        batch.address(ETH0, &with_prefix(inner), 127);
    }
    batch.up(ETH0);
    batch.default_route(ETH0, host);
    batch.send();
}

/// Not measured: what the bench's own network namespace needs to look like a host with a way out.
pub fn world() {
    let mut batch = Batch::new();
    batch.up(LO);
    batch.pair((2000, "uplink"), (2001, "beyond"), 0);
    batch.up(2001);
    batch.address(2000, &[192, 0, 2, 2], 24);
    batch.default_route(2000, [192, 0, 2, 1]);
    batch.send();
}
