//! What the user asks of the network, and what nsl makes of it: pure checks, no look at the host.

use super::egress::Permission;
use super::group;
use super::publish::Publication;
use crate::error::{Error, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The pools out of which a pair's addresses come, tried in this order: slot N has the /31 at base + 2N.
pub(super) const POOLS: [Ipv4Net; 4] = [pool(10, 221), pool(172, 29), pool(10, 83), pool(198, 18)];
/// The first 96 bits of a pair's IPv6 addresses; the others are its IPv4 addresses. No address of it leaves the host.
pub(super) const PREFIX: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfd6e, 0x736c, 0, 0, 0, 0, 0, 0), 96);
/// Both ends of a pool's pair alone fill a network (RFC 3021, RFC 6164).
const POINT_TO_POINT: [u8; 2] = [31, 127];
/// A route or network wider than this is as good as a default route: every address lies in it.
pub(super) const WIDEST: u8 = 8;

const fn pool(high: u8, low: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(high, low, 0, 0), 16)
}

/// The options of a network of the sandbox's own, as they were given.
#[derive(Clone, Default)]
pub struct Request<'a> {
    /// --ip: the sandbox's own addresses, at most one of each family.
    pub ip: &'a [String],
    /// --gateway: the host's end of the pair, the sandbox's default route.
    pub gateway: &'a [String],
    /// --pool: where the addresses come from instead.
    pub pool: &'a [String],
    /// The network that other sandboxes are in, too.
    pub network: Option<&'a str>,
    pub internal: bool,
}

/// The two ends of a pair, in one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    pub host: IpNet,
    pub inside: IpNet,
}

/// The addresses of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    pub ipv4: Option<Ends>,
    pub ipv6: Option<Ends>,
}

impl Addresses {
    /// The pair of `slot` out of `pool`.
    pub(super) fn of_slot(pool: Ipv4Net, prefix: Ipv6Net, slot: u32) -> Self {
        let v4 = |offset| Ipv4Addr::from_bits(pool.network().to_bits().wrapping_add(2 * slot + offset));
        let v6 = |offset| Ipv6Addr::from_bits(prefix.network().to_bits() | u128::from(v4(offset).to_bits()));
        let ends = |address: &dyn Fn(u32) -> IpAddr, length| {
            let end = |offset| IpNet::new(address(offset), length).ok();
            Some(Ends { host: end(0)?, inside: end(1)? })
        };
        Self {
            ipv4: ends(&|offset| v4(offset).into(), POINT_TO_POINT[0]),
            ipv6: ends(&|offset| v6(offset).into(), POINT_TO_POINT[1]),
        }
    }

    /// The sandbox's own.
    pub fn own(self) -> Vec<IpAddr> {
        self.ends().map(|ends| ends.inside.addr()).collect()
    }

    /// Where it finds this host.
    pub fn of_host(self) -> Option<IpAddr> {
        self.ends().next().map(|ends| ends.host.addr())
    }

    /// Those of IPv4 come first.
    pub fn ends(self) -> impl Iterator<Item = Ends> {
        self.ipv4.into_iter().chain(self.ipv6)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |end: fn(Ends) -> IpNet| -> String {
            self.ends().map(|ends| end(ends).to_string()).collect::<Vec<_>>().join(" and ")
        };
        write!(f, "{} on the host, {} on eth0 inside", list(|ends| ends.host), list(|ends| ends.inside))
    }
}

/// A network of the sandbox's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VethPlan {
    pub wanted: Wanted,
    /// The named network: its members reach each other.
    pub network: Option<String>,
    /// There is no way out, nor to the host.
    pub internal: bool,
    /// Ports of the host that lead to the sandbox.
    pub publications: Vec<Publication>,
    /// What the sandbox may reach; none: all that the host does.
    pub egress: Option<Vec<Permission>>,
}

impl VethPlan {
    /// The group of the host's device, by which the rules know what holds for it.
    pub(super) fn group(&self) -> u32 {
        let network = self.network.as_deref().map_or(0, group::of_network);
        let bit = |is_set, bit| if is_set { bit } else { 0 };
        network | bit(self.internal, group::INTERNAL) | bit(self.egress.is_some(), group::LISTED)
    }

    /// Something is forwarded from it, or to it.
    pub(super) fn is_forwarded(&self) -> bool {
        !self.internal || self.has_peers()
    }

    /// Some of that comes from this host itself.
    pub(super) fn has_peers(&self) -> bool {
        self.network.is_some() || !self.publications.is_empty()
    }
}

/// Where the addresses of a pair come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// From the pool, or the first of nsl's own that the host's routes leave free; which pair, the kernel says at
    /// creation.
    Pool { ipv4: Option<Ipv4Net>, ipv6: Ipv6Net },
    /// Asked for by the user.
    Fixed(Addresses),
}

impl fmt::Display for VethPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wanted {
            Wanted::Pool { ipv4, ipv6 } => {
                let ipv4 = ipv4.unwrap_or(POOLS[0]);
                write!(f, "make a veth pair, addresses from the pools {ipv4} and {ipv6}")?;
            }
            Wanted::Fixed(addresses) => write!(f, "make a veth pair, {addresses}")?,
        }
        self.network.iter().try_for_each(|name| write!(f, ", in the network {name}"))?;
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

fn fail(cause: impl Into<Cow<'static, str>>) -> Error {
    Error::new("plan the network", cause)
}

/// Decides the addresses, or says why they cannot be.
pub fn plan(request: &Request<'_>) -> Result<VethPlan> {
    let wanted = if request.ip.is_empty() {
        if !request.gateway.is_empty() {
            return Err(fail("--gateway needs --ip").hint("add --ip ADDRESS/PREFIX of the same network"));
        }
        pools(request.pool)?
    } else {
        if !request.pool.is_empty() {
            return Err(fail("--ip says the address, --pool leaves it open").hint("leave one of the two out"));
        }
        Wanted::Fixed(fixed(request)?)
    };
    let network = request.network.map(str::to_owned);
    Ok(VethPlan { wanted, network, internal: request.internal, publications: Vec::new(), egress: None })
}

fn pools(words: &[String]) -> Result<Wanted> {
    let (mut ipv4, mut ipv6) = (None, None);
    for word in words {
        let pool = network("--pool", word)?;
        if pool.addr() != pool.network() {
            return Err(fail(format!("--pool {pool} is no network")).hint(format!("such as {}", pool.trunc())));
        }
        check_host_address("--pool", pool, pool.addr(), false)?;
        let is_second = match pool {
            IpNet::V4(pool) if (WIDEST..=30).contains(&pool.prefix_len()) => ipv4.replace(pool).is_some(),
            IpNet::V6(pool) if (WIDEST..=96).contains(&pool.prefix_len()) => ipv6.replace(pool).is_some(),
            IpNet::V4(_) => return Err(fail(format!("--pool {pool} must have a prefix from /8 to /30"))),
            IpNet::V6(_) => return Err(fail(format!("--pool {pool} must have a prefix from /8 to /96"))),
        };
        if is_second {
            return Err(fail(format!("--pool {pool} is the second of its family")).hint("give one of each"));
        }
    }
    Ok(Wanted::Pool { ipv4, ipv6: ipv6.unwrap_or(PREFIX) })
}

fn fixed(request: &Request<'_>) -> Result<Addresses> {
    let mut gateways = Vec::new();
    for word in request.gateway {
        let gateway: IpAddr = word.parse().map_err(|_| {
            Error::new("use --gateway", format!("'{word}' is no IP address")).hint("such as 192.168.1.1")
        })?;
        gateways.push(gateway);
    }
    let mut addresses = Addresses { ipv4: None, ipv6: None };
    for word in request.ip {
        let inside = network("--ip", word)?;
        let of_family = |gateway: &IpAddr| gateway.is_ipv4() == inside.addr().is_ipv4();
        let gateway = gateways.iter().position(of_family).map(|index| gateways.remove(index));
        let ends = fixed_ends(inside, gateway)?;
        let place = if inside.addr().is_ipv4() { &mut addresses.ipv4 } else { &mut addresses.ipv6 };
        if place.replace(ends).is_some() {
            return Err(fail(format!("--ip {inside} is the second of its family")).hint("give one of each at most"));
        }
    }
    match gateways.first() {
        None => Ok(addresses),
        Some(gateway) => Err(fail(format!("--gateway {gateway} has no --ip of its family"))),
    }
}

/// Both ends, of which the user gave the inner one.
fn fixed_ends(inside: IpNet, gateway: Option<IpAddr>) -> Result<Ends> {
    check_host_address("--ip", inside, inside.addr(), true)?;
    let longest = if inside.addr().is_ipv4() { POINT_TO_POINT[0] } else { POINT_TO_POINT[1] };
    if !(WIDEST..=longest).contains(&inside.prefix_len()) {
        let length = inside.prefix_len();
        return Err(fail(format!("a network of /{length} has no room for two ends or is too wide"))
            .hint(format!("use a prefix from /8 to /{longest}")));
    }
    let gateway = gateway.unwrap_or_else(|| default_gateway(inside));
    if !inside.contains(&gateway) {
        return Err(fail(format!("the gateway {gateway} is outside {}", inside.trunc())));
    }
    check_host_address("--gateway", inside, gateway, true)?;
    if gateway == inside.addr() {
        return Err(fail(format!("--ip and --gateway are both {gateway}")).hint("the gateway is the host's end"));
    }
    let host = IpNet::new(gateway, inside.prefix_len()).map_err(|_| fail("the prefix is too long"))?;
    Ok(Ends { host, inside })
}

/// An address with the length of its network's prefix.
fn network(option: &str, text: &str) -> Result<IpNet> {
    let fail = |cause: &'static str| Error::new(format!("use {option} {text}"), cause);
    let Some((address, length)) = text.split_once('/') else {
        return Err(fail("the prefix is missing").hint("write it like 192.168.1.2/24"));
    };
    let address: IpAddr = address.parse().map_err(|_| fail("what stands before the slash is no IP address"))?;
    let range = if address.is_ipv4() {
        "the prefix is no number from 0 to 32"
    } else {
        "the prefix is no number from 0 to 128"
    };
    length.parse().ok().and_then(|length| IpNet::new(address, length).ok()).ok_or_else(|| fail(range))
}

/// The address `offset` places above the network's first one.
fn nth(network: IpNet, offset: u8) -> IpAddr {
    match network.network() {
        IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits().wrapping_add(offset.into())).into(),
        IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits().wrapping_add(offset.into())).into(),
    }
}

/// The network's first host address, or the second where the sandbox itself has the first.
fn default_gateway(inside: IpNet) -> IpAddr {
    let first = u8::from(inside.max_prefix_len() - inside.prefix_len() > 1);
    match nth(inside, first) {
        address if address == inside.addr() => nth(inside, first + 1),
        address => address,
    }
}

fn check_host_address(option: &str, network: IpNet, address: IpAddr, is_host: bool) -> Result<()> {
    // A /31 and a /127 have neither.
    let is_reserved = network.max_prefix_len() - network.prefix_len() > 1
        && (address == network.network() || address.is_ipv4() && address == network.broadcast());
    let is_unusable = match address {
        IpAddr::V4(address) => matches!(address.octets()[0], 0 | 240..),
        IpAddr::V6(address) => address.is_unspecified() || address.is_unicast_link_local(),
    };
    let cause = if address.is_loopback() || address.is_multicast() || is_unusable {
        format!("{option} {address} is no address that a host can have")
    } else if is_host && is_reserved {
        format!("{option} {address} is the network or broadcast address of {}", network.trunc())
    } else {
        return Ok(());
    };
    Err(fail(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(ip: &[&str], gateway: &[&str], pool: &[&str]) -> Result<VethPlan> {
        let [ip, gateway, pool] =
            [ip, gateway, pool].map(|words| words.iter().map(|word| (*word).into()).collect::<Vec<_>>());
        plan(&Request { ip: &ip, gateway: &gateway, pool: &pool, ..Request::default() })
    }

    fn gateway(ip: &str) -> String {
        match planned(&[ip], &[], &[]).unwrap().wanted {
            Wanted::Fixed(addresses) => addresses.ends().next().unwrap().host.to_string(),
            Wanted::Pool { .. } => unreachable!(),
        }
    }

    fn refusal(ip: &[&str], gateway: &[&str], pool: &[&str]) -> String {
        planned(ip, gateway, pool).unwrap_err().to_string()
    }

    #[test]
    fn without_a_wish_the_pools_decide() {
        let plan = plan(&Request::default()).unwrap();
        assert_eq!(plan.wanted, Wanted::Pool { ipv4: None, ipv6: PREFIX });
        assert_eq!(plan.to_string(), "make a veth pair, addresses from the pools 10.221.0.0/16 and fd6e:736c::/96");
    }

    #[test]
    fn a_fixed_pair_is_shown_with_both_ends() {
        assert_eq!(
            planned(&["192.168.1.2/24"], &["192.168.1.1"], &[]).unwrap().to_string(),
            "make a veth pair, 192.168.1.1/24 on the host, 192.168.1.2/24 on eth0 inside"
        );
        assert_eq!(
            planned(&["fd00::2/64", "10.0.0.2/24"], &["fd00::9"], &[]).unwrap().to_string(),
            "make a veth pair, 10.0.0.1/24 and fd00::9/64 on the host, 10.0.0.2/24 and fd00::2/64 on eth0 inside"
        );
    }

    #[test]
    fn the_gateway_is_the_first_address_that_is_free() {
        assert_eq!(gateway("192.168.1.2/24"), "192.168.1.1/24");
        assert_eq!(gateway("192.168.1.1/24"), "192.168.1.2/24");
        assert_eq!(gateway("10.0.0.4/31"), "10.0.0.5/31");
        assert_eq!(gateway("10.0.0.5/31"), "10.0.0.4/31");
        assert_eq!(gateway("10.0.0.1/30"), "10.0.0.2/30");
        assert_eq!(gateway("fd00::2/64"), "fd00::1/64");
        assert_eq!(gateway("fd00::5/127"), "fd00::4/127");
    }

    #[test]
    fn impossible_addresses_are_refused() {
        let ip = |text: &str| refusal(&[text], &[], &[]);
        assert!(refusal(&["192.168.1.2/24"], &["192.168.2.1"], &[]).contains("is outside 192.168.1.0/24"));
        assert!(ip("192.168.1.0/24").contains("--ip 192.168.1.0 is the network or broadcast address"));
        assert!(
            refusal(&["192.168.1.2/24"], &["192.168.1.255"], &[]).contains("--gateway 192.168.1.255 is the network")
        );
        assert!(refusal(&["192.168.1.2/24"], &["192.168.1.2"], &[]).contains("are both 192.168.1.2"));
        assert!(refusal(&["192.168.1.2/24"], &["fd00::1"], &[]).contains("no --ip of its family"));
        assert!(refusal(&["192.168.1.2/24", "10.0.0.2/24"], &[], &[]).contains("second of its family"));
        for no_host in ["127.0.0.2/24", "224.0.0.2/24", "0.0.0.0/24", "::1/64", "fe80::1/64", "ff02::1/64"] {
            assert!(ip(no_host).contains("no address that a host can have"), "{no_host}");
        }
        assert!(ip("10.0.0.2/32").contains("no room"));
        assert!(ip("10.0.0.2/7").contains("too wide"));
        assert!(refusal(&[], &["10.0.0.1"], &[]).contains("--gateway needs --ip"));
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        let ip = |text: &str| refusal(&[text], &[], &[]);
        assert_eq!(
            ip("10.0.0.1"),
            "cannot use --ip 10.0.0.1: the prefix is missing (hint: write it like 192.168.1.2/24)"
        );
        assert!(ip("10.0.1/8").ends_with("is no IP address"));
        assert!(ip("10.0.0.1/33").ends_with("from 0 to 32"));
        assert!(ip("fd00::1/129").ends_with("from 0 to 128"));
    }

    #[test]
    fn a_pool_is_a_network_with_room() {
        let pool = |text: &str| refusal(&[], &[], &[text]);
        assert!(planned(&[], &[], &["10.9.0.0/24", "fd12::/64"]).is_ok());
        assert!(pool("10.9.0.1/24").contains("hint: such as 10.9.0.0/24"));
        assert!(pool("10.9.0.0/31").contains("from /8 to /30"));
        assert!(pool("fd12::/112").contains("from /8 to /96"));
        assert!(pool("0.0.0.0/8").contains("no address"));
        assert!(refusal(&["10.0.0.2/24"], &[], &["10.9.0.0/24"]).contains("leave one of the two out"));
        assert!(refusal(&[], &[], &["10.9.0.0/24", "10.8.0.0/24"]).contains("give one of each"));
    }

    #[test]
    fn every_slot_has_a_pair_of_its_own_within_the_pool() {
        let last = Addresses::of_slot(POOLS[0], PREFIX, (1 << 15) - 1);
        assert_eq!(
            last.to_string(),
            "10.221.255.254/31 and fd6e:736c::add:fffe/127 on the host, 10.221.255.255/31 and fd6e:736c::add:ffff/127 on eth0 inside"
        );
        let second = Addresses::of_slot(POOLS[0], PREFIX, 1);
        assert_eq!(second.ipv4.unwrap().inside.to_string(), "10.221.0.3/31");
        assert_eq!(second.ipv6.unwrap().inside.to_string(), "fd6e:736c::add:3/127");
    }
}
