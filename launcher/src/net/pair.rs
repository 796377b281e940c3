//! The pair itself: its two devices, their addresses, the route between them, and its end.
//!
//! One request makes both ends, the inner one in its namespace already: a device that is moved afterwards is slow,
//! and is left over when nsl is killed in between.

use super::cidr::Ipv4Cidr;
use super::host;
use super::plan::{Addresses, SLOTS, VethPlan, Wanted};
use super::rtnl::{Answer, errno, failed, step};
use crate::error::{Error, Result};
use futures_util::future::try_join5;
use futures_util::{Stream, StreamExt};
use nix::errno::Errno;
use rtnetlink::packet_core::{DefaultNla, NLA_F_NESTED};
use rtnetlink::packet_route::link::{AfSpecInet, AfSpecUnspec, InfoData, InfoVeth, LinkAttribute, LinkMessage, State};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::net::Ipv4Addr;
use std::pin::pin;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// The name of the end inside.
const INSIDE: &str = "eth0";
/// After so many slots in a row whose addresses are routed elsewhere, every pool is taken to be.
const BLOCKED_MAX: u32 = 64;
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

/// Makes the devices; `pid` is any process inside.
pub(super) async fn make(host: &Handle, plan: &VethPlan, pid: u32) -> Result<Pair> {
    let (name, addresses) = match plan.wanted {
        Wanted::Pool => make_of_pool(host, pid).await?,
        Wanted::Fixed(addresses) => make_fixed(host, addresses, pid).await?,
    };
    // Without an index there is no end to undo: only a foreign hand can have taken the device away.
    let link = step(format_args!("find {name}"), link_by_name(host, &name)).await?;
    let peer = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => Some(*index),
        _ => None,
    });
    let peer = peer.ok_or_else(|| Error::new(format!("find the peer of {name}"), "the kernel does not name it"))?;
    Ok(Pair { name, index: link.header.index, addresses, peer })
}

/// Slot N is the device `nslN`. The first slot to try is the pid, which the kernel rotates.
async fn make_of_pool(host: &Handle, pid: u32) -> Result<(String, Addresses)> {
    let mut blocked = 0;
    for slot in (0..SLOTS).map(|offset| pid.wrapping_add(offset) % SLOTS) {
        let Some(addresses) = host::free_addresses(host, slot).await? else {
            blocked += 1;
            if blocked == BLOCKED_MAX {
                return Err(Error::new("choose addresses for the network", "the host routes every pool elsewhere")
                    .hint("give a free network with --ip ADDRESS/PREFIX"));
            }
            continue;
        };
        let name = format!("nsl{slot}");
        match new_link(host, &name, &addresses, pid).await {
            Err(error) if errno(&error) == Some(Errno::EEXIST) => tracing::debug!("{name} is taken"),
            Err(error) => return Err(failed(format_args!("make the veth pair {name}"), &error)),
            Ok(()) => return Ok((name, addresses)),
        }
    }
    Err(Error::new("make a veth pair", format!("all {SLOTS} names from nsl0 on are taken")))
}

/// The device is named after the host's address, so that two nsl cannot both take it.
async fn make_fixed(host: &Handle, addresses: Addresses, pid: u32) -> Result<(String, Addresses)> {
    let name = fixed_name(addresses.host.address());
    let start = Instant::now();
    loop {
        match new_link(host, &name, &addresses, pid).await {
            Ok(()) => return Ok((name, addresses)),
            Err(error) if errno(&error) == Some(Errno::EEXIST) => {}
            Err(error) => return Err(failed(format_args!("make the veth pair {name}"), &error)),
        }
        let holder = host::holder(host, &name).await?;
        if !holder.wait(start) {
            return Err(host::taken(addresses.host.address(), &name, holder));
        }
    }
}

pub(super) fn fixed_name(address: Ipv4Addr) -> String {
    format!("nsl-{:08x}", address.to_bits())
}

async fn new_link(host: &Handle, name: &str, addresses: &Addresses, pid: u32) -> Answer<()> {
    let peer = end(LinkMessageBuilder::<LinkUnspec>::new(), INSIDE, addresses.inside.address()).setns_by_pid(pid);
    // The peer cannot be brought up here (ENOTCONN): the pair is joined only after both ends exist.
    let message = end(LinkMessageBuilder::<LinkVeth>::new(name, INSIDE), name, addresses.host.address())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build())))
        .up()
        .build();
    let span = tracing::debug_span!("netlink", step = "make the veth pair", name, %addresses);
    host.link().add(message).execute().instrument(span).await
}

/// What both ends have: a MAC address, which udev would otherwise replace, and one queue, where the default is one
/// for every processor and makes the creation slow on large machines.
fn end<T>(message: LinkMessageBuilder<T>, name: &str, address: Ipv4Addr) -> LinkMessageBuilder<T> {
    // 02: administered locally, no multicast. Two ends never share an address, nor do two sandboxes.
    let [a, b, c, d] = address.octets();
    message
        .name(name)
        .address(vec![0x02, b'n', a, b, c, d])
        .append_extra_attribute(LinkAttribute::NumTxQueues(1))
        .append_extra_attribute(LinkAttribute::NumRxQueues(1))
}

pub(super) async fn link_by_name(host: &Handle, name: &str) -> Answer<LinkMessage> {
    one(host.link().get().match_name(name).execute()).await
}

/// The only message of an answer.
pub(super) async fn one<T>(answer: impl Stream<Item = Answer<T>>) -> Answer<T> {
    pin!(answer).next().await.unwrap_or(Err(rtnetlink::Error::RequestFailed))
}

/// Has the host's end let in what comes from the other end's address only, gives both their addresses, brings eth0 up, routes everything to the host's end, and waits until it carries.
pub(super) async fn configure(host: &Handle, inside: &Handle, pair: &Pair) -> Result<()> {
    let Pair { name, index, addresses, peer } = pair;
    let gateway = addresses.host.address();
    let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(*peer).build();
    let up = LinkUnspec::new_with_index(*peer).up().build();
    // They are sent in this order, and the kernel works on each as it is sent.
    try_join5(
        step(format_args!("have {name} check sources"), host.link().set(checking_sources(*index)).execute()),
        step(format_args!("give {name} the address {}", addresses.host), add_address(host, *index, addresses.host)),
        step(format_args!("give eth0 the address {}", addresses.inside), add_address(inside, *peer, addresses.inside)),
        step("bring eth0 up", inside.link().set(up).execute()),
        step(format_args!("route eth0 to {gateway}"), inside.route().add(route).execute()),
    )
    .await?;
    await_carrier(host, *index, name).await?;
    await_carrier(inside, *peer, INSIDE).await
}

/// Strict: a source is right if an answer to it would leave by this device. Root inside can write what it likes there.
fn checking_sources(index: u32) -> LinkMessage {
    let setting = [8_u16.to_ne_bytes(), CHECK_SOURCE.to_ne_bytes()].concat();
    let setting = [setting, 1_u32.to_ne_bytes().to_vec()].concat();
    let settings = AfSpecInet::Other(DefaultNla::new(IPV4_SETTINGS | NLA_F_NESTED, setting));
    let attribute = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![settings])]);
    LinkUnspec::new_with_index(index).append_extra_attribute(attribute).build()
}

fn add_address(handle: &Handle, index: u32, address: Ipv4Cidr) -> impl Future<Output = Answer<()>> {
    handle.address().add(index, address.address().into(), address.prefix()).execute()
}

/// Asking for a device makes the kernel (≥ 6.8) act on the news that its peer is up; without it, some first
/// connections lose a packet and wait for a second. Older kernels act by themselves, a little later.
async fn await_carrier(handle: &Handle, index: u32, name: &str) -> Result<()> {
    let deadline = Instant::now() + UP_WAIT;
    loop {
        let link = one(handle.link().get().match_index(index).execute());
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
