//! What the host already has: which addresses are free, and who holds those that are not. Reads only.

use super::cidr::Ipv4Cidr;
use super::pair::{link_by_name, one};
use super::plan::{Addresses, POOLS, WIDEST};
use super::rtnl::{Answer, connect, errno, failed, run, step};
use crate::error::{Error, Result};
use futures_util::{StreamExt, future::join};
use nix::errno::Errno;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};
use std::net::Ipv4Addr;
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

/// The slot's pair out of the first pool in which the host has no route to it but a default one.
///
/// The kernel looks the routes up, so the cost does not grow with their number.
pub(super) async fn free_addresses(host: &Handle, slot: u32) -> Result<Option<Addresses>> {
    for addresses in POOLS.into_iter().filter_map(|pool| Addresses::of_slot(pool, slot)) {
        let (first, second) =
            join(is_routed(host, addresses.host.address()), is_routed(host, addresses.inside.address())).await;
        if !first? && !second? {
            return Ok(Some(addresses));
        }
        tracing::debug!("the host routes {} elsewhere", addresses.host.network());
    }
    Ok(None)
}

async fn is_routed(host: &Handle, address: Ipv4Addr) -> Result<bool> {
    let mut route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build();
    // Answer with the route that matches, not with the way a packet would take.
    route.header.flags |= RouteFlags::FibMatch;
    let lookup = async {
        match one(host.route().get(route).execute()).await {
            Ok(route) => Ok(route.header.destination_prefix_length >= WIDEST),
            // No route at all, or one that refuses: a pair of addresses may stand there.
            Err(error) if errno(&error).is_some() => Ok(false),
            Err(error) => Err(error),
        }
    };
    step(format_args!("look up the route to {address}"), lookup).await
}

/// Says why a fixed pair cannot be, if it cannot. Waits a little for what a sandbox that has ended leaves behind.
pub(super) fn check(addresses: &Addresses) -> Result<()> {
    let start = Instant::now();
    loop {
        let conflict = run(async {
            let host = connect()?;
            match conflict(&host, addresses).await? {
                Some(conflict) => conflict.judge(&host, addresses).await,
                None => Ok(None),
            }
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
    route: Ipv4Cidr,
    /// It is one of the two addresses themselves, which the host has already.
    address: bool,
    device: Option<u32>,
}

async fn conflict(host: &Handle, addresses: &Addresses) -> Result<Option<Conflict>> {
    let mut found: Option<Conflict> = None;
    let mut routes = pin!(host.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute());
    while let Some(route) = routes.next().await {
        let route = route.map_err(|error| failed("read the host's routes", &error))?;
        if let Some(conflict) = Conflict::of(&route, addresses) {
            // An address says more than the route to its network.
            if found.as_ref().is_none_or(|found| conflict.address && !found.address) {
                found = Some(conflict);
            }
        }
    }
    Ok(found)
}

impl Conflict {
    fn of(route: &RouteMessage, wanted: &Addresses) -> Option<Self> {
        let RouteHeader { destination_prefix_length: prefix, table, kind, .. } = route.header;
        let local = kind == RouteType::Local;
        if !matches!(table, RouteHeader::RT_TABLE_MAIN | RT_TABLE_LOCAL)
            || !(local || kind == RouteType::Unicast)
            || prefix < WIDEST
        {
            return None;
        }
        let destination = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => Ipv4Cidr::new(*address, prefix),
            _ => None,
        })?;
        let device = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        });
        let ends = [wanted.host.address(), wanted.inside.address()];
        let address = local && ends.contains(&destination.address());
        destination.overlaps(wanted.host).then_some(Self { route: destination, address, device })
    }

    /// The error that this conflict is and who holds the device, unless it has vanished.
    async fn judge(self, host: &Handle, wanted: &Addresses) -> Result<Option<(Error, Holder)>> {
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
            taken(self.route.address(), &name, holder)
        } else {
            Error::new(
                format!("use the network {}", wanted.host.network()),
                format!("it overlaps {} on {name}", self.route.network()),
            )
            .hint("choose a network that the host has no route to, or leave --ip away")
        };
        Ok(Some((error, holder)))
    }
}

/// `RT_TABLE_LOCAL`, rtnetlink(7).
const RT_TABLE_LOCAL: u8 = 255;

/// The error for an address that stands on a device of the host already.
pub(super) fn taken(address: Ipv4Addr, name: &str, holder: Holder) -> Error {
    let (cause, hint) = match holder {
        Holder::Host => (format!("the host has it on {name}"), "choose another address"),
        Holder::Sandbox => (format!("another sandbox has it, by {name}"), "choose another address"),
        Holder::Dying | Holder::Gone => {
            (format!("{name} of an ended sandbox still has it"), "the kernel is about to drop it: try again")
        }
    };
    Error::new(format!("use the address {address}"), cause).hint(hint)
}

fn is_ours(name: &str) -> bool {
    name.strip_prefix("nsl").is_some_and(|rest| rest.starts_with('-') || rest.bytes().all(|byte| byte.is_ascii_digit()))
}

async fn device_name(host: &Handle, index: u32) -> Answer<String> {
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
        Conflict::of(route, &Addresses { host, inside }).is_some()
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
        assert!(is_ours("nsl0") && is_ours(&fixed_name(Ipv4Addr::new(192, 168, 1, 1))));
        assert_eq!(fixed_name(Ipv4Addr::new(192, 168, 1, 1)), "nsl-c0a80101");
        assert!(!is_ours("nslookup") && !is_ours("eth0"));
    }

    #[test]
    fn a_taken_address_names_its_holder() {
        let address = Ipv4Addr::new(192, 168, 1, 1);
        assert_eq!(
            taken(address, "nsl-c0a80101", Holder::Sandbox).to_string(),
            "cannot use the address 192.168.1.1: another sandbox has it, by nsl-c0a80101 \
             (hint: choose another address)"
        );
        assert!(taken(address, "eth0", Holder::Host).to_string().contains("the host has it on eth0"));
    }
}
