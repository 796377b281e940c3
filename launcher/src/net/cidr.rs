//! An IPv4 address with the length of its network's prefix, and the questions nsl asks about such networks.

use crate::error::Error;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An interface address: `192.168.1.2/24` is one host of 192.168.1.0/24.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Cidr {
    address: Ipv4Addr,
    prefix: u8,
}

impl Ipv4Cidr {
    /// Nothing for a prefix of more than 32 bits.
    pub const fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        if prefix > 32 { None } else { Some(Self { address, prefix }) }
    }

    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    const fn mask(self) -> u32 {
        match self.prefix {
            0 => 0,
            bits => u32::MAX << (32 - bits),
        }
    }

    /// The same address's network: its lowest address, same prefix.
    pub const fn network(self) -> Self {
        Self { address: self.first(), prefix: self.prefix }
    }

    /// The lowest address of the network.
    pub const fn first(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() & self.mask())
    }

    /// The highest address of the network.
    pub const fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !self.mask())
    }

    pub const fn contains(self, address: Ipv4Addr) -> bool {
        self.first().to_bits() == address.to_bits() & self.mask()
    }

    pub const fn overlaps(self, other: Self) -> bool {
        self.contains(other.first()) || other.contains(self.first())
    }

    /// Whether `address` names the network itself or its broadcast. A /31 has neither (RFC 3021).
    pub const fn reserves(self, address: Ipv4Addr) -> bool {
        let bits = address.to_bits();
        self.prefix < 31 && (bits == self.first().to_bits() || bits == self.last().to_bits())
    }

    /// The address `offset` places above the first one.
    pub const fn nth(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first().to_bits().wrapping_add(offset))
    }
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Ipv4Cidr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = |cause: &'static str| Error::new(format!("read '{text}' as an address"), cause);
        let (address, prefix) =
            text.split_once('/').ok_or_else(|| fail("the prefix is missing").hint("write it like 192.168.1.2/24"))?;
        let address = address.parse().map_err(|_| fail("what stands before the slash is no IPv4 address"))?;
        prefix
            .parse()
            .ok()
            .and_then(|prefix| Self::new(address, prefix))
            .ok_or_else(|| fail("the prefix is no number from 0 to 32"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Ipv4Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_read_and_shown_alike() {
        assert_eq!(cidr("192.168.1.2/24").to_string(), "192.168.1.2/24");
        assert_eq!(cidr("0.0.0.0/0").last(), Ipv4Addr::BROADCAST);
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        let message = |text: &str| text.parse::<Ipv4Cidr>().unwrap_err().to_string();
        assert_eq!(
            message("10.0.0.1"),
            "cannot read '10.0.0.1' as an address: the prefix is missing (hint: write it like 192.168.1.2/24)"
        );
        assert!(message("10.0.1/8").ends_with("is no IPv4 address"));
        assert!(message("10.0.0.1/33").ends_with("from 0 to 32"));
        assert!(message("fd00::1/64").ends_with("is no IPv4 address"));
    }

    #[test]
    fn networks_know_their_bounds() {
        let net = cidr("192.168.1.77/26");
        assert_eq!(net.network().to_string(), "192.168.1.64/26");
        assert_eq!(net.last(), Ipv4Addr::new(192, 168, 1, 127));
        assert!(net.contains(net.nth(1)) && !net.contains(net.nth(64)));
        assert!(net.reserves(net.first()) && net.reserves(net.last()) && !net.reserves(net.nth(1)));
        assert!(!cidr("10.0.0.0/31").reserves(Ipv4Addr::new(10, 0, 0, 0)));
    }

    #[test]
    fn networks_overlap_when_one_holds_the_other() {
        assert!(cidr("10.0.0.0/8").overlaps(cidr("10.1.2.3/31")));
        assert!(cidr("10.1.2.3/31").overlaps(cidr("10.0.0.0/8")));
        assert!(!cidr("10.1.0.0/16").overlaps(cidr("10.2.0.0/16")));
    }
}
