//! The network of a sandbox that has one of its own: a veth pair, its addresses, NAT, and the files of names.
//!
//! Planning is pure, checking reads the host, preparing takes ports of it, creating changes it. What is made for one
//! sandbox is dropped by the kernel when its namespace ends, or nsl does; there is no file of state.

mod clean;
mod conntrack;
mod dump;
mod egress;
mod firewall;
mod forward;
mod group;
mod host;
mod join;
mod lasting;
mod loopback;
mod members;
pub mod names;
mod namespace;
mod nat;
mod nftables;
mod own;
mod pair;
mod pasta;
mod plan;
mod publish;
mod reserve;
mod resolve;
mod rtnl;
mod socket;

pub use clean::remove_table;
pub use egress::parse_all as permissions;
pub use firewall::{Obstacles, has_legacy_filter, look as obstacles};
pub use forward::{Outlook, outlook_ipv4, settings_that_are_on};
pub use join::{Join, Source, Visit};
pub use lasting::Lasting;
pub use members::Members;
pub use namespace::{Home, Namespace};
pub use pasta::{Pasta, PastaPlan};
pub use plan::{Addresses, Ends, Request, VethPlan, Wanted, plan};
pub use publish::{Port, parse_all as publications};
pub use resolve::Known;

use crate::error::{Error, Result};
use crate::rlimit::Rlimit;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

/// What the rules do for a veth pair, in the words of `--dry-run`.
pub const MASQUERADE: &str = "forward and masquerade what comes from it";

/// What a network needs of the host before anything is made.
#[derive(Default)]
pub struct Prepared {
    reserved: reserve::Reserved,
    /// Names of the egress list.
    pub known: Vec<Known>,
    /// Those whom the sandbox will ask for names.
    pub servers: Vec<IpAddr>,
    /// The pair of an earlier start, to be made again.
    again: Option<(String, Addresses)>,
    /// There may be another start.
    lasts: bool,
}

/// What was made, seen from the host.
pub struct Made {
    /// The name of the host's end.
    pub device: String,
    pub addresses: Addresses,
    /// The named network that it is in.
    pub network: Option<String>,
    reserved: reserve::Reserved,
    table: Option<own::Table>,
    /// Holds the namespace, where there may be another start.
    inside: Option<OwnedFd>,
}

impl Prepared {
    /// What the limit of open files was, if it had to be raised for nsl.
    pub fn limit(&self) -> Option<Rlimit> {
        self.reserved.limit
    }
}

impl Made {
    /// The ports that lead to the sandbox.
    pub fn ports(&self) -> &[Port] {
        &self.reserved.ports
    }

    /// The sandbox has ended. Says how many connections were refused, if there was a list of those that were not.
    pub fn settle(&mut self) -> Option<u64> {
        let refused = self.table.take().and_then(|table| table.refused());
        // By now nothing leads there anew.
        conntrack::forget_after(self.ports(), self.addresses);
        refused
    }
}

/// Says why the plan cannot be carried out on this host, if it cannot. Changes nothing.
pub fn check(plan: &VethPlan) -> Result<()> {
    match &plan.wanted {
        Wanted::Pool { .. } => Ok(()),
        Wanted::Fixed(addresses) => host::check(addresses),
    }
}

/// What comes of IPv6 for a sandbox.
pub fn outlook_ipv6() -> Result<Outlook> {
    rtnl::run(async { forward::outlook_ipv6(&rtnl::connect()?).await })
}

/// Takes the ports of the host that are to lead to the sandbox, and resolves the names that it may reach.
pub fn prepare(plan: &VethPlan, lasting: Option<&mut Lasting>) -> Result<Prepared> {
    let known = plan.egress.as_deref().map(resolve::resolve_all).transpose()?.unwrap_or_default();
    let prepared = Prepared { known, ..Prepared::default() };
    match lasting {
        None => Ok(Prepared { reserved: reserve::reserve(&plan.publications)?, ..prepared }),
        Some(lasting) => {
            let (reserved, again) = (lasting.reserve(&plan.publications)?, lasting.let_go());
            Ok(Prepared { reserved, again, lasts: true, ..prepared })
        }
    }
}

/// Says which of the ports that pasta is to have cannot be had, and chooses those that any will do for. They are let go
/// again at once: the sandbox's child would have a copy of the sockets until its exec, and pasta could not bind.
pub fn prepare_pasta(plan: &PastaPlan, lasting: Option<&mut Lasting>) -> Result<Prepared> {
    let mut reserved = match lasting {
        None => reserve::reserve(&plan.publications)?,
        Some(lasting) => {
            let reserved = lasting.reserve(&plan.publications)?;
            lasting.let_the_ports_go();
            reserved
        }
    };
    reserved.let_go();
    Ok(Prepared { reserved, ..Prepared::default() })
}

/// The network namespace that the pair leads into.
pub enum Inside {
    Made(Namespace),
    /// That of the child, which has opened this `NETLINK_ROUTE` socket there.
    Cloned(OwnedFd),
}

/// Makes the pair and opens the ways out and in. `pid` is the sandbox's init.
///
/// Nothing is undone if this fails, nor at the end: the kernel drops the pair with the namespace, some 40 ms after
/// its last process. Removing it by hand would keep the caller waiting for as long.
///
/// The calling process should have one thread: the runtime lives in it, and is gone on return.
/// A member of a named network is found there by `hostname`.
pub fn create(plan: &VethPlan, prepared: Prepared, pid: u32, inside: Inside, hostname: &str) -> Result<Made> {
    let _span = tracing::debug_span!("create_network", step = %plan).entered();
    let Prepared { reserved, known, servers, again, lasts } = prepared;
    let (namespace, socket) = match inside {
        Inside::Made(Namespace { descriptor, socket }) => (Some(descriptor), socket),
        Inside::Cloned(socket) => (None, socket),
    };
    let held = socket.try_clone().map_err(|error| Error::io("hold the network", &error))?;
    let (pair, ipv6) = rtnl::run(async {
        let (host, inside) = (rtnl::connect()?, rtnl::connect_over(socket));
        let mut pair = pair::make(&host, plan, again, pid, namespace.as_ref(), &held).await?;
        // They keep sandboxes apart, so they must stand before a packet can come out of this one; and who removes them
        // looks for devices first.
        let stands = nat::ensure(plan)?;
        if !stands {
            pair.without_ipv6();
        }
        let ipv6 = pair.addresses.ipv6.is_some()
            && plan.is_forwarded()
            && forward::ensure_ipv6(&host, &pair.name, plan.has_peers()).await?;
        pair::configure(&host, &inside, &mut pair, ipv6, plan.network.as_ref().map(|_| hostname)).await?;
        check_wish(plan, &pair.addresses, stands)?;
        reserved.check(pair.addresses)?;
        if pair.addresses.ipv6.is_some() && reserved.is_on_loopback(Port::is_of_ipv6) {
            loopback::open_v6(&host, pair.index, &pair.name).await;
        }
        Ok((pair, ipv6))
    })?;
    if plan.is_forwarded() {
        if pair.addresses.ipv4.is_some() {
            forward::ensure_ipv4();
        }
        firewall::check(pair.addresses.ipv4.is_some(), ipv6);
    }
    let permissions = plan.egress.as_ref().map(|permissions| resolve::replace(permissions, &known, &servers));
    let table = own::make(&pair.name, pair.addresses, &reserved.ports, permissions.as_deref())?;
    if reserved.is_on_loopback(Port::is_of_ipv4) {
        loopback::open(&pair.name);
    }
    conntrack::forget_before(&reserved.ports);
    reserved.tell();
    let network = plan.network.clone();
    Ok(Made { device: pair.name, addresses: pair.addresses, network, reserved, table, inside: lasts.then_some(held) })
}

/// A pair of the pool's does without IPv6 where the host has none; what was asked for is not left out in silence.
fn check_wish(plan: &VethPlan, made: &Addresses, rules_stand: bool) -> Result<()> {
    let Wanted::Fixed(Addresses { ipv6: Some(wish), .. }) = plan.wanted else { return Ok(()) };
    if made.ipv6.is_some() {
        return Ok(());
    }
    let step = format!("give eth0 the address {}", wish.inside);
    Err(if rules_stand {
        Error::new(step, "this host has no IPv6").hint("look for net.ipv6.conf.*.disable_ipv6 and ipv6.disable")
    } else {
        Error::new(step, "IPv6 takes nftables, so that nobody forges addresses").hint("try modprobe nf_tables")
    })
}
