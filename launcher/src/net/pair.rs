//! The pair itself: its two devices, their addresses, the route between them, and its end.
//!
//! One request makes both ends, the inner one in its namespace already: a device that is moved afterwards is slow,
//! and is left over when nsl is killed in between.

use super::host;
use super::members;
use super::plan::{Addresses, POOLS, VethPlan, Wanted};
use super::rtnl::{Answer, errno, failed, step};
use super::socket;
use crate::error::{Error, Result};
use futures_util::{Stream, StreamExt};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nix::errno::Errno;
use rtnetlink::packet_core::{DefaultNla, NLA_F_NESTED};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoVeth, LinkAttribute, LinkExtentMask,
    LinkFlags, LinkHeader, LinkMessage, State,
};
use rtnetlink::{Handle, LinkGetRequest, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use rustix::net::netdevice::name_to_index;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::pin;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// The name of the end inside.
const INSIDE: &str = "eth0";
/// Slots in one of nsl's own pools.
const SLOTS: u32 = 1 << 15;
const CHOOSE: &str = "choose addresses for the network";
/// After so many slots in a row whose addresses are routed elsewhere, every pool is taken to be.
const BLOCKED_MAX: u32 = 64;
/// The kernel drops the pair of an earlier start within this time.
const DROPPED: Duration = Duration::from_secs(2);
/// A device whose peer is up comes up itself within this time, or the sandbox starts without waiting for it.
const UP_WAIT: Duration = Duration::from_millis(200);

/// `IFLA_INET_CONF`, and in it `IPV4_DEVCONF_RP_FILTER`.
const IPV4_SETTINGS: u16 = 1;
const CHECK_SOURCE: u16 = 8;

/// A pair that exists, seen from the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pair {
    pub(super) name: String,
    /// The kernel gives an index once only, unlike a name.
    pub(super) index: u32,
    pub(super) addresses: Addresses,
    /// The index of eth0, in its namespace.
    peer: u32,
}

impl Pair {
    /// Where nothing checks what comes by IPv6, an advertisement could make the sandbox the host's way out.
    pub(super) fn without_ipv6(&mut self) {
        self.addresses.ipv6 = None;
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", self.name), "1");
    }
}

/// Makes the devices, those of an earlier start again. Without a `namespace` the end inside is born in that of `pid`;
/// `inside` is a socket that was opened there.
pub(super) async fn make(
    host: &Handle,
    plan: &VethPlan,
    again: Option<(String, Addresses)>,
    pid: u32,
    namespace: Option<&OwnedFd>,
    inside: &OwnedFd,
) -> Result<Pair> {
    let maker = Maker { host, pid, namespace: namespace.map(AsRawFd::as_raw_fd), group: plan.group() };
    let earlier = match again {
        Some((name, addresses)) => maker.make_again(name, addresses).await?,
        None => None,
    };
    let (name, addresses) = match (earlier, plan.wanted) {
        (Some(earlier), _) => earlier,
        (None, Wanted::Pool { ipv4: None, ipv6 }) => maker.make_of_pools(ipv6).await?,
        (None, Wanted::Pool { ipv4: Some(ipv4), ipv6 }) => maker.make_of_pool(ipv4, ipv6).await?,
        (None, Wanted::Fixed(addresses)) => maker.make_fixed(addresses).await?,
    };
    let outside = socket::open(None).map_err(|error| Error::io("open a netlink socket", &error))?;
    let (index, peer) = (index(&outside, &name)?, index(inside, INSIDE)?);
    Ok(Pair { name, index, addresses, peer })
}

/// netdevice(7): unlike rtnetlink, this call waits for nobody who changes the network just now.
fn index(socket: &OwnedFd, name: &str) -> Result<u32> {
    name_to_index(socket, name)
        .map_err(|errno| Error::os(format!("find {name}"), Errno::from_raw(errno.raw_os_error())))
}

/// What is the same for every try.
struct Maker<'a> {
    host: &'a Handle,
    pid: u32,
    namespace: Option<RawFd>,
    group: u32,
}

impl Maker<'_> {
    /// Slot N is the device `nslN`.
    async fn make_of_pools(&self, prefix: Ipv6Net) -> Result<(String, Addresses)> {
        let mut blocked = 0;
        for slot in self.slots(SLOTS) {
            let Some(addresses) = host::free_addresses(self.host, &POOLS, prefix, slot).await? else {
                blocked += 1;
                if blocked == BLOCKED_MAX {
                    return Err(Error::new(CHOOSE, "the host routes every pool elsewhere")
                        .hint("give a free network with --pool NETWORK/PREFIX"));
                }
                continue;
            };
            let name = format!("nsl{slot}");
            if self.try_link(&name, &addresses).await? {
                return Ok((name, addresses));
            }
        }
        Err(Error::new("make a veth pair", format!("all {SLOTS} names from nsl0 on are taken")))
    }

    /// Where the user says the pool, the device is named after its address: slots of two pools could be the same.
    async fn make_of_pool(&self, pool: Ipv4Net, prefix: Ipv6Net) -> Result<(String, Addresses)> {
        for slot in self.slots(1 << (31 - pool.prefix_len())) {
            let Some(addresses) = host::free_addresses(self.host, &[pool], prefix, slot).await? else { continue };
            let Some(ipv4) = addresses.ipv4 else { continue };
            let name = fixed_name(ipv4.host.addr());
            if self.try_link(&name, &addresses).await? {
                return Ok((name, addresses));
            }
        }
        Err(Error::new(CHOOSE, format!("every pair of {pool} is taken, or routed elsewhere"))
            .hint("give a larger network, or one that the host has no route to, with --pool"))
    }

    /// The first slot to try is the pid, which the kernel rotates.
    fn slots(&self, count: u32) -> impl Iterator<Item = u32> + use<> {
        let first = self.pid;
        (0..count).map(move |offset| first.wrapping_add(offset) % count)
    }

    /// False if the name is taken.
    async fn try_link(&self, name: &str, addresses: &Addresses) -> Result<bool> {
        match self.new_link(name, addresses).await {
            Ok(()) => Ok(true),
            Err(error) if errno(&error) == Some(Errno::EEXIST) => {
                tracing::debug!("{name} is taken");
                Ok(false)
            }
            Err(error) => Err(failed(format_args!("make the veth pair {name}"), &error)),
        }
    }

    /// The pair of an earlier start, once the kernel has dropped that. None in the rare case that another sandbox was
    /// quicker: one that goes on with other addresses is better than none, unless they were asked for.
    async fn make_again(&self, name: String, addresses: Addresses) -> Result<Option<(String, Addresses)>> {
        let deadline = Instant::now() + DROPPED;
        while !self.try_link(&name, &addresses).await? {
            if Instant::now() > deadline {
                tracing::warn!("{name} is another's now: the sandbox gets other addresses");
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(Some((name, addresses)))
    }

    /// The device is named after the host's address, so that two nsl cannot both take it.
    async fn make_fixed(&self, addresses: Addresses) -> Result<(String, Addresses)> {
        let address = host_address(&addresses);
        let name = fixed_name(address);
        let start = Instant::now();
        loop {
            if self.try_link(&name, &addresses).await? {
                return Ok((name, addresses));
            }
            let holder = host::holder(self.host, &name).await?;
            if !holder.wait(start) {
                return Err(host::taken(address, &name, holder));
            }
        }
    }

    async fn new_link(&self, name: &str, addresses: &Addresses) -> Answer<()> {
        let mac = mac(host_address(addresses));
        let peer = end(LinkMessageBuilder::<LinkUnspec>::new(), INSIDE, mac.clone());
        let peer = match self.namespace {
            Some(namespace) => peer.setns_by_fd(namespace),
            None => peer.setns_by_pid(self.pid),
        };
        let mut message = end(LinkMessageBuilder::<LinkVeth>::new(name, INSIDE), name, mac)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build())))
            .up();
        if self.group != 0 {
            message = message.append_extra_attribute(LinkAttribute::Group(self.group));
        }
        let span = tracing::debug_span!("netlink", step = %"make the veth pair", name, %addresses);
        // The peer cannot be brought up here (ENOTCONN): the pair is joined only after both ends exist.
        self.host.link().add(message.build()).execute().instrument(span).await
    }
}

/// The address that stands for the pair. A pair has one at least.
fn host_address(addresses: &Addresses) -> IpAddr {
    addresses.ends().next().map_or(Ipv4Addr::UNSPECIFIED.into(), |ends| ends.host.addr())
}

pub(super) fn fixed_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("nsl-{:08x}", address.to_bits()),
        IpAddr::V6(address) => format!("nsl-6-{:08x}", address.to_bits() as u32),
    }
}

/// 02: administered locally, no multicast. No two pairs share one.
fn mac(address: IpAddr) -> Vec<u8> {
    let bits = match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => address.to_bits() as u32,
    };
    [&[0x02, b'n'], &bits.to_be_bytes()[..]].concat()
}

/// What both ends have: a MAC address, which udev would otherwise replace, and one queue, where the default is one
/// for every processor and makes the creation slow on large machines.
///
/// Nobody is to be found behind a pair but its other end. Without ARP and neighbour discovery (`IFF_NOARP`) a device
/// sends to its own MAC address: both have the same. So no first packet waits for an answer, an IPv6 address is valid
/// at once, and the kernel's table of neighbours (1,024 of them, for all namespaces together) does not overflow. Nor is
/// there a group of them to speak to (`IFF_MULTICAST`).
fn end<T>(message: LinkMessageBuilder<T>, name: &str, mac: Vec<u8>) -> LinkMessageBuilder<T> {
    let (flags, change_mask) = (LinkFlags::Noarp, LinkFlags::Noarp | LinkFlags::Multicast);
    message
        .set_header(LinkHeader { flags, change_mask, ..LinkHeader::default() })
        .name(name)
        .address(mac)
        .append_extra_attribute(LinkAttribute::NumTxQueues(1))
        .append_extra_attribute(LinkAttribute::NumRxQueues(1))
}

pub(super) async fn link_by_name(host: &Handle, name: &str) -> Answer<LinkMessage> {
    one(brief(host.link().get().match_name(name)).execute()).await
}

/// Without the counters, which make up most of the answer.
fn brief(request: LinkGetRequest) -> LinkGetRequest {
    request.set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats])
}

/// The only message of an answer.
pub(super) async fn one<T>(answer: impl Stream<Item = Answer<T>>) -> Answer<T> {
    pin!(answer).next().await.unwrap_or(Err(rtnetlink::Error::RequestFailed))
}

/// Gives both ends their addresses, brings eth0 up, routes everything to the host's end, and waits until it carries.
/// Of IPv6 it takes what the kernel gives, and says in the pair what that was. Only with `leads_on` there is a route:
/// what goes nowhere would be dropped without a word, where IPv4 gets an answer.
///
/// A `member` of a named network is known to the others by this hostname.
pub(super) async fn configure(
    host: &Handle,
    inside: &Handle,
    pair: &mut Pair,
    leads_on: bool,
    member: Option<&str>,
) -> Result<()> {
    let Pair { name, index, addresses, peer } = pair;
    let set = |has_ipv6| host.link().set(settings(*index, has_ipv6)).execute();
    let checking = async {
        match set(addresses.ipv6.is_some()).await {
            // The kernel has no IPv6, though an address was asked for.
            Err(error) if errno(&error) == Some(Errno::EAFNOSUPPORT) => {
                addresses.ipv6 = None;
                set(false).await
            }
            result => result,
        }
    };
    step(format_args!("have {name} check sources"), checking).await?;
    if let Some(ends) = addresses.ipv4 {
        step(format_args!("give {name} the address {}", ends.host), add_address(host, *index, ends.host)).await?;
        step(format_args!("give eth0 the address {}", ends.inside), add_address(inside, *peer, ends.inside)).await?;
    }
    if let Some(ends) = addresses.ipv6
        && !add_ipv6(host, *index, ends.host, inside, *peer, ends.inside).await?
    {
        addresses.ipv6 = None;
    }
    let up = LinkUnspec::new_with_index(*peer).up().build();
    step("bring eth0 up", inside.link().set(up).execute()).await?;
    for ends in addresses.ends() {
        let gateway = ends.host.addr();
        let route = match gateway {
            IpAddr::V4(gateway) => {
                RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(*peer).build()
            }
            IpAddr::V6(_) if !leads_on => continue,
            // The device does not carry yet, so the gateway is not found on it.
            IpAddr::V6(gateway) => {
                RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).output_interface(*peer).onlink().build()
            }
        };
        step(format_args!("route eth0 to {gateway}"), inside.route().add(route).execute()).await?;
    }
    if let Some(alias) = member.and_then(|hostname| members::alias(hostname, *addresses)) {
        let alias = LinkUnspec::new_with_index(*index).append_extra_attribute(LinkAttribute::IfAlias(alias)).build();
        step(format_args!("tell by {name} who is behind it"), host.link().set(alias).execute()).await?;
    }
    await_carrier(host, *index, name).await?;
    await_carrier(inside, *peer, INSIDE).await
}

/// Both ends, or none: either namespace may have IPv6 switched off.
async fn add_ipv6(host: &Handle, index: u32, outer: IpNet, inside: &Handle, peer: u32, inner: IpNet) -> Result<bool> {
    for (handle, index, address) in [(host, index, outer), (inside, peer, inner)] {
        match add_address(handle, index, address).await {
            Ok(()) => {}
            Err(error) if matches!(errno(&error), Some(Errno::EACCES | Errno::EPERM | Errno::EOPNOTSUPP)) => {
                tracing::debug!("no IPv6 here: {error}");
                return Ok(false);
            }
            Err(error) => return Err(failed(format_args!("give an end the address {address}"), &error)),
        }
    }
    Ok(true)
}

/// Strict: a source is right if an answer to it would leave by this device. Root inside can write what it likes there.
///
/// And no address of IPv6 but those that are given: each is some routes more on the host, all of which the kernel goes
/// through, with all other changes of the network waiting, whenever one of its devices goes.
fn settings(index: u32, has_ipv6: bool) -> LinkMessage {
    let setting = [8_u16.to_ne_bytes(), CHECK_SOURCE.to_ne_bytes()].concat();
    let setting = [setting, 1_u32.to_ne_bytes().to_vec()].concat();
    let settings = AfSpecInet::Other(DefaultNla::new(IPV4_SETTINGS | NLA_F_NESTED, setting));
    let ipv6 = has_ipv6.then(|| AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]));
    let settings = [AfSpecUnspec::Inet(vec![settings])].into_iter().chain(ipv6).collect();
    let attribute = LinkAttribute::AfSpecUnspec(settings);
    LinkUnspec::new_with_index(index).append_extra_attribute(attribute).build()
}

fn add_address(handle: &Handle, index: u32, address: IpNet) -> impl Future<Output = Answer<()>> {
    handle.address().add(index, address.addr(), address.prefix_len()).execute()
}

/// Asking for a device makes the kernel (≥ 6.8) act on the news that its peer is up; without it, some first
/// connections lose a packet and wait for a second. Older kernels act by themselves, a little later.
async fn await_carrier(handle: &Handle, index: u32, name: &str) -> Result<()> {
    let deadline = Instant::now() + UP_WAIT;
    loop {
        let link = one(brief(handle.link().get().match_index(index)).execute());
        let link = step(format_args!("see {name} come up"), link).await?;
        if link.attributes.contains(&LinkAttribute::OperState(State::Up)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            tracing::debug!("{name} is slow to come up");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
