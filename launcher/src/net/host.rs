//! What the host already has: which addresses are free, and who holds those that are not. Reads only.

use super::pair::{link_by_name, one};
use super::plan::{Addresses, Ends, WIDEST};
use super::rtnl::{Answer, connect, errno, failed, run, step};
use crate::error::{Error, Result};
use futures_util::StreamExt;
use futures_util::future::join3;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nix::errno::Errno;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::time::{Duration, Instant};

/// How often to look again at a device that should vanish.
const POLL: Duration = Duration::from_millis(5);

/// What stands behind a device on the host that is in the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    /// It is no device of nsl's.
    Host,
    /// A sandbox that runs, as far as the kernel tells.
    Sandbox,
    /// A namespace that has ended; the kernel is about to drop the device.
    Dying,
    /// Nothing any more.
    Gone,
}

impl Holder {
    /// Waits a little for the device to vanish, or says that it is not worth the wait any more.
    pub(super) fn wait(self, since: Instant) -> bool {
        let patience = match self {
            Self::Host => Duration::ZERO,
            // A socket that was closed keeps its namespace alive until all processors have passed by (RCU).
            Self::Sandbox => Duration::from_millis(100),
            Self::Dying | Self::Gone => Duration::from_secs(1),
        };
        let worthwhile = since.elapsed() < patience;
        if worthwhile {
            std::thread::sleep(POLL);
        }
        worthwhile
    }
}

/// The slot's pair out of the first pool in which the host has no route to it but a default one. Without IPv6 on the
/// host, or where its prefix is routed, there is IPv4 alone.
///
/// The kernel looks the routes up, so the cost does not grow with their number.
pub(super) async fn free_addresses(
    host: &Handle,
    pools: &[Ipv4Net],
    prefix: Ipv6Net,
    slot: u32,
) -> Result<Option<Addresses>> {
    for pool in pools {
        let mut addresses = Addresses::of_slot(*pool, prefix, slot);
        let (Some(ipv4), Some(ipv6)) = (addresses.ipv4, addresses.ipv6) else { continue };
        let lookups = (is_routed(host, ipv4.host), is_routed(host, ipv4.inside), is_routed(host, ipv6.host));
        let (first, second, third) = join3(lookups.0, lookups.1, lookups.2).await;
        if third?.unwrap_or(true) {
            addresses.ipv6 = None;
        }
        if first? != Some(true) && second? != Some(true) {
            return Ok(Some(addresses));
        }
        tracing::debug!("the host routes {} elsewhere", ipv4.host.trunc());
    }
    Ok(None)
}

/// Nothing if the host does not have the address's family.
async fn is_routed(host: &Handle, address: IpNet) -> Result<Option<bool>> {
    let what = format_args!("look up the route to {}", address.addr());
    let route = step(what, lookup(host, address.addr())).await?;
    Ok(route.map(|route| route.is_some_and(|route| route.header.destination_prefix_length >= WIDEST)))
}

/// The host's route to an address: the route that matches, not the way a packet would take. Nothing within, if there is
/// none or one that refuses; nothing at all without the address's family.
pub(super) async fn lookup(host: &Handle, address: IpAddr) -> Answer<Option<Option<RouteMessage>>> {
    let mut route = match address {
        IpAddr::V4(address) => RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build(),
        IpAddr::V6(address) => RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(address, 128).build(),
    };
    route.header.flags |= RouteFlags::FibMatch;
    match one(host.route().get(route).execute()).await {
        Ok(route) => Ok(Some(Some(route))),
        Err(error) => match errno(&error) {
            Some(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) => Ok(None),
            Some(_) => Ok(Some(None)),
            None => Err(error),
        },
    }
}

/// Says why a fixed pair cannot be, if it cannot. Waits a little for what a sandbox that has ended leaves behind.
pub(super) fn check(addresses: &Addresses) -> Result<()> {
    let start = Instant::now();
    loop {
        let conflict = run(async {
            let host = connect()?;
            for ends in addresses.ends() {
                if let Some(conflict) = conflict(&host, &ends).await?
                    && let Some(verdict) = conflict.judge(&host, &ends).await?
                {
                    return Ok(Some(verdict));
                }
            }
            Ok(None)
        })?;
        match conflict {
            None => return Ok(()),
            Some((_, holder)) if holder.wait(start) => {}
            Some((error, _)) => return Err(error),
        }
    }
}

/// A route of the host that stands in the way.
struct Conflict {
    route: IpNet,
    /// It is one of the two addresses themselves, which the host has already.
    address: bool,
    device: Option<u32>,
}

async fn conflict(host: &Handle, wanted: &Ends) -> Result<Option<Conflict>> {
    let mut found: Option<Conflict> = None;
    let all = match wanted.host {
        IpNet::V4(_) => RouteMessageBuilder::<Ipv4Addr>::new().build(),
        IpNet::V6(_) => RouteMessageBuilder::<Ipv6Addr>::new().build(),
    };
    let mut routes = pin!(host.route().get(all).execute());
    while let Some(route) = routes.next().await {
        let route = route.map_err(|error| failed("read the host's routes", &error))?;
        if let Some(conflict) = Conflict::of(&route, wanted) {
            // An address says more than the route to its network.
            if found.as_ref().is_none_or(|found| conflict.address && !found.address) {
                found = Some(conflict);
            }
        }
    }
    Ok(found)
}

impl Conflict {
    fn of(route: &RouteMessage, wanted: &Ends) -> Option<Self> {
        let RouteHeader { destination_prefix_length: prefix, table, kind, .. } = route.header;
        let local = kind == RouteType::Local;
        if !matches!(table, RouteHeader::RT_TABLE_MAIN | RT_TABLE_LOCAL)
            || !(local || kind == RouteType::Unicast)
            || prefix < WIDEST
        {
            return None;
        }
        let destination = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => IpNet::new((*address).into(), prefix).ok(),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => IpNet::new((*address).into(), prefix).ok(),
            _ => None,
        })?;
        let device = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        });
        let ends = [wanted.host.addr(), wanted.inside.addr()];
        let address = local && ends.contains(&destination.addr());
        let overlaps = destination.contains(&wanted.host.network()) || wanted.host.contains(&destination.network());
        overlaps.then_some(Self { route: destination, address, device })
    }

    /// The error that this conflict is and who holds the device, unless it has vanished.
    async fn judge(self, host: &Handle, wanted: &Ends) -> Result<Option<(Error, Holder)>> {
        let name = match self.device {
            Some(index) => match device_name(host, index).await {
                Ok(name) => name,
                Err(error) if errno(&error) == Some(Errno::ENODEV) => return Ok(None),
                Err(error) => return Err(failed("read the name of a device", &error)),
            },
            None => "no single device".to_owned(),
        };
        let holder = if is_ours(&name) { holder(host, &name).await? } else { Holder::Host };
        let error = if self.address {
            taken(self.route.addr(), &name, holder)
        } else {
            Error::new(
                format!("use the network {}", wanted.host.trunc()),
                format!("it overlaps {} on {name}", self.route.trunc()),
            )
            .hint("choose a network that the host has no route to, or leave --ip away")
        };
        Ok(Some((error, holder)))
    }
}

/// `RT_TABLE_LOCAL`, rtnetlink(7).
const RT_TABLE_LOCAL: u8 = 255;

/// The error for an address that stands on a device of the host already.
pub(super) fn taken(address: IpAddr, name: &str, holder: Holder) -> Error {
    let (cause, hint) = match holder {
        Holder::Host => (format!("the host has it on {name}"), "choose another address"),
        Holder::Sandbox => (format!("another sandbox has it, by {name}"), "choose another address"),
        Holder::Dying | Holder::Gone => {
            (format!("{name} of an ended sandbox still has it"), "the kernel is about to drop it: try again")
        }
    };
    Error::new(format!("use the address {address}"), cause).hint(hint)
}

/// Does a device have a name that nsl gives?
pub(super) fn is_ours(name: &str) -> bool {
    name.strip_prefix("nsl").is_some_and(|rest| rest.starts_with('-') || rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The name of the device with this index.
pub(super) async fn device_name(host: &Handle, index: u32) -> Answer<String> {
    let link = one(host.link().get().match_index(index).execute()).await?;
    Ok(link
        .attributes
        .into_iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        })
        .unwrap_or_default())
}

/// Whether the namespace behind a device of nsl's still lives.
///
/// The kernel answers for a peer's namespace, named by its id, only as long as something holds that namespace.
pub(super) async fn holder(host: &Handle, name: &str) -> Result<Holder> {
    let link = match link_by_name(host, name).await {
        Ok(link) => link,
        Err(error) if errno(&error) == Some(Errno::ENODEV) => return Ok(Holder::Gone),
        Err(error) => return Err(failed(format_args!("find {name}"), &error)),
    };
    let (mut peer, mut namespace) = (None, None);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Link(index) => peer = Some(*index),
            LinkAttribute::LinkNetNsId(id) if *id >= 0 => namespace = Some(*id),
            _ => {}
        }
    }
    let (Some(peer), Some(namespace)) = (peer, namespace) else { return Ok(Holder::Dying) };
    let mut request = host.link().get().match_index(peer);
    request.message_mut().attributes.push(LinkAttribute::IfNetnsId(namespace));
    match one(request.execute()).await {
        Err(error) if matches!(errno(&error), Some(Errno::EINVAL | Errno::ENODEV)) => Ok(Holder::Dying),
        // Not allowed to look inside: something lives there.
        Ok(_) | Err(_) => Ok(Holder::Sandbox),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::pair::fixed_name;

    fn route(table: u8, kind: RouteType, destination: Ipv4Addr, prefix: u8) -> RouteMessage {
        let mut route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(destination, prefix).kind(kind);
        route.get_mut().header.table = table;
        route.output_interface(7).build()
    }

    fn conflicts(route: &RouteMessage) -> bool {
        let [host, inside] = ["192.168.1.1/24", "192.168.1.2/24"].map(|end| end.parse().unwrap());
        Conflict::of(route, &Ends { host, inside }).is_some()
    }

    #[test]
    fn routes_that_overlap_are_in_the_way_and_default_routes_are_not() {
        let main = RouteHeader::RT_TABLE_MAIN;
        assert!(conflicts(&route(main, RouteType::Unicast, Ipv4Addr::new(192, 168, 0, 0), 16)));
        assert!(conflicts(&route(main, RouteType::Unicast, Ipv4Addr::new(192, 168, 1, 128), 25)));
        assert!(conflicts(&route(RT_TABLE_LOCAL, RouteType::Local, Ipv4Addr::new(192, 168, 1, 1), 32)));
        assert!(!conflicts(&route(main, RouteType::Unicast, Ipv4Addr::new(192, 168, 2, 0), 24)));
        assert!(!conflicts(&route(main, RouteType::Unicast, Ipv4Addr::new(128, 0, 0, 0), 1)));
        assert!(!conflicts(&route(main, RouteType::BlackHole, Ipv4Addr::new(192, 168, 0, 0), 16)));
        assert!(!conflicts(&route(100, RouteType::Unicast, Ipv4Addr::new(192, 168, 1, 0), 24)));
    }

    #[test]
    fn devices_of_nsl_are_known_by_their_names() {
        let ipv4 = fixed_name(Ipv4Addr::new(192, 168, 1, 1).into());
        let ipv6 = fixed_name(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0xab, 1).into());
        assert_eq!((&*ipv4, &*ipv6), ("nsl-c0a80101", "nsl-6-00ab0001"));
        assert!(is_ours("nsl0") && is_ours(&ipv4) && is_ours(&ipv6));
        assert!(!is_ours("nslookup") && !is_ours("eth0"));
    }

    #[test]
    fn a_taken_address_names_its_holder() {
        let address = Ipv4Addr::new(192, 168, 1, 1).into();
        assert_eq!(
            taken(address, "nsl-c0a80101", Holder::Sandbox).to_string(),
            "cannot use the address 192.168.1.1: another sandbox has it, by nsl-c0a80101 \
             (hint: choose another address)"
        );
        assert!(taken(address, "eth0", Holder::Host).to_string().contains("the host has it on eth0"));
    }
}
