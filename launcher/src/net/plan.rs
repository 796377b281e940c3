//! What the user asks of the network, and what nsl makes of it: pure checks, no look at the host.

use super::cidr::Ipv4Cidr;
use super::egress::{self, Permission};
use super::publish::Publication;
use crate::error::{Error, Result};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The pools out of which a slot's two addresses come, tried in this order: slot N has the /31 at base + 2N.
pub(super) const POOLS: [Ipv4Cidr; 4] = [pool(10, 221), pool(172, 29), pool(10, 83), pool(198, 18)];
/// Slots in a pool of 16 bits.
pub(super) const SLOTS: u32 = 1 << 15;
/// Both ends of a pool's pair alone fill a network (RFC 3021).
const POINT_TO_POINT: u8 = 31;
/// A route or network wider than this is as good as a default route: every address lies in it.
pub(super) const WIDEST: u8 = 8;

const fn pool(high: u8, low: u8) -> Ipv4Cidr {
    match Ipv4Cidr::new(Ipv4Addr::new(high, low, 0, 0), 16) {
        Some(pool) => pool,
        None => unreachable!(),
    }
}

/// `--ip` and `--gateway` as they were given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// The sandbox's own address.
    pub ip: Option<Ipv4Cidr>,
    /// The host's end of the pair, the sandbox's default route.
    pub gateway: Option<Ipv4Addr>,
}

/// The addresses of both ends of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    pub host: Ipv4Cidr,
    pub inside: Ipv4Cidr,
}

impl Addresses {
    /// The pair of `slot` out of `pool`.
    pub(super) fn of_slot(pool: Ipv4Cidr, slot: u32) -> Option<Self> {
        let end = |offset| Ipv4Cidr::new(pool.nth(offset), POINT_TO_POINT);
        Some(Self { host: end(2 * slot)?, inside: end(2 * slot + 1)? })
    }

    /// The sandbox's address of IPv6.
    #[expect(clippy::unused_self, reason = "there is none yet")]
    pub(super) fn inside_v6(&self) -> Option<Ipv6Addr> {
        None
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on the host, {} on eth0 inside", self.host, self.inside)
    }
}

/// A network of the sandbox's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VethPlan {
    pub wanted: Wanted,
    /// Ports of the host that lead to the sandbox.
    pub publications: Vec<Publication>,
    /// What the sandbox may reach; none: all that the host does.
    pub egress: Option<Vec<Permission>>,
}

impl From<Wanted> for VethPlan {
    fn from(wanted: Wanted) -> Self {
        Self { wanted, publications: Vec::new(), egress: None }
    }
}

impl VethPlan {
    /// The group of the host's end, by which the static table knows what holds for the sandbox.
    pub(super) fn group(&self) -> u32 {
        if self.egress.is_some() { egress::BIT } else { 0 }
    }
}

/// Where the addresses of a pair come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// From the first pool that the host's routes leave free; which pair, the kernel says at creation.
    Pool,
    /// Asked for by the user.
    Fixed(Addresses),
}

impl fmt::Display for VethPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wanted {
            Wanted::Pool => write!(f, "make a veth pair, addresses from the pool {}", POOLS[0])?,
            Wanted::Fixed(addresses) => write!(f, "make a veth pair, {addresses}")?,
        }
        for (word, publication) in std::iter::once("; publish").chain(std::iter::repeat(",")).zip(&self.publications) {
            write!(f, "{word} {publication}")?;
        }
        match self.egress.as_deref() {
            None => Ok(()),
            Some([]) => f.write_str("; let nothing out"),
            Some(permissions) => {
                f.write_str("; let out only to")?;
                permissions.iter().try_for_each(|permission| write!(f, " {permission}"))
            }
        }
    }
}

/// Decides the addresses, or says why they cannot be.
pub fn plan(request: &Request) -> Result<VethPlan> {
    let fail = |cause: String| Error::new("plan the network", cause);
    let inside = match (request.ip, request.gateway) {
        (Some(inside), _) => inside,
        (None, None) => return Ok(Wanted::Pool.into()),
        (None, Some(_)) => {
            return Err(fail("--gateway needs --ip".into()).hint("add --ip ADDRESS/PREFIX of the same network"));
        }
    };
    check_host_address("--ip", inside, inside.address())?;
    if !(WIDEST..=POINT_TO_POINT).contains(&inside.prefix()) {
        return Err(fail(format!("a network of /{} has no room for two ends or is too wide", inside.prefix()))
            .hint("use a prefix from /8 to /31"));
    }
    let gateway = request.gateway.unwrap_or_else(|| default_gateway(inside));
    if !inside.contains(gateway) {
        return Err(fail(format!("the gateway {gateway} is outside {}", inside.network())));
    }
    check_host_address("--gateway", inside, gateway)?;
    if gateway == inside.address() {
        return Err(fail(format!("--ip and --gateway are both {gateway}")).hint("the gateway is the host's end"));
    }
    let host = Ipv4Cidr::new(gateway, inside.prefix()).ok_or_else(|| fail("the prefix is too long".into()))?;
    Ok(Wanted::Fixed(Addresses { host, inside }).into())
}

/// The network's first host address, or the second where the sandbox itself has the first.
fn default_gateway(inside: Ipv4Cidr) -> Ipv4Addr {
    let first = u32::from(inside.prefix() < POINT_TO_POINT);
    match inside.nth(first) {
        address if address == inside.address() => inside.nth(first + 1),
        address => address,
    }
}

fn check_host_address(option: &str, network: Ipv4Cidr, address: Ipv4Addr) -> Result<()> {
    let cause = if network.reserves(address) {
        format!("{option} {address} is the network or broadcast address of {}", network.network())
    } else if address.is_loopback() || address.is_multicast() || matches!(address.octets()[0], 0 | 240..) {
        format!("{option} {address} is no address that a host can have")
    } else {
        return Ok(());
    };
    Err(Error::new("plan the network", cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(ip: &str, gateway: Option<&str>) -> Result<VethPlan> {
        plan(&Request { ip: Some(ip.parse()?), gateway: gateway.map(|gateway| gateway.parse().unwrap()) })
    }

    fn gateway(ip: &str) -> String {
        match planned(ip, None).unwrap().wanted {
            Wanted::Fixed(addresses) => addresses.host.to_string(),
            Wanted::Pool => unreachable!(),
        }
    }

    fn refusal(ip: &str, gateway: Option<&str>) -> String {
        planned(ip, gateway).unwrap_err().to_string()
    }

    #[test]
    fn without_a_wish_the_pool_decides() {
        let plan = plan(&Request::default()).unwrap();
        assert_eq!(plan.wanted, Wanted::Pool);
        assert_eq!(plan.to_string(), "make a veth pair, addresses from the pool 10.221.0.0/16");
    }

    #[test]
    fn a_fixed_pair_is_shown_with_both_ends() {
        assert_eq!(
            planned("192.168.1.2/24", Some("192.168.1.1")).unwrap().to_string(),
            "make a veth pair, 192.168.1.1/24 on the host, 192.168.1.2/24 on eth0 inside"
        );
    }

    #[test]
    fn the_gateway_is_the_first_address_that_is_free() {
        assert_eq!(gateway("192.168.1.2/24"), "192.168.1.1/24");
        assert_eq!(gateway("192.168.1.1/24"), "192.168.1.2/24");
        assert_eq!(gateway("10.0.0.4/31"), "10.0.0.5/31");
        assert_eq!(gateway("10.0.0.5/31"), "10.0.0.4/31");
        assert_eq!(gateway("10.0.0.1/30"), "10.0.0.2/30");
    }

    #[test]
    fn impossible_addresses_are_refused() {
        assert!(refusal("192.168.1.2/24", Some("192.168.2.1")).contains("is outside 192.168.1.0/24"));
        assert!(refusal("192.168.1.0/24", None).contains("--ip 192.168.1.0 is the network or broadcast address"));
        assert!(refusal("192.168.1.2/24", Some("192.168.1.255")).contains("--gateway 192.168.1.255 is the network"));
        assert!(refusal("192.168.1.2/24", Some("192.168.1.2")).contains("are both 192.168.1.2"));
        assert!(refusal("127.0.0.2/24", None).contains("no address that a host can have"));
        assert!(refusal("224.0.0.2/24", None).contains("no address that a host can have"));
        assert!(refusal("10.0.0.2/32", None).contains("no room"));
        assert!(refusal("10.0.0.2/7", None).contains("too wide"));
        let alone = Request { ip: None, gateway: Some(Ipv4Addr::new(10, 0, 0, 1)) };
        assert!(plan(&alone).unwrap_err().to_string().contains("--gateway needs --ip"));
    }

    #[test]
    fn every_slot_has_a_pair_of_its_own_within_the_pool() {
        let last = Addresses::of_slot(POOLS[0], SLOTS - 1).unwrap();
        assert_eq!(last.to_string(), "10.221.255.254/31 on the host, 10.221.255.255/31 on eth0 inside");
        assert_eq!(Addresses::of_slot(POOLS[0], 1).unwrap().inside.to_string(), "10.221.0.3/31");
        assert_eq!(last.host.network(), last.inside.network());
    }
}
