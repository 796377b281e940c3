//! The network of a sandbox that has one of its own: a veth pair, its addresses, NAT, and the files of names.
//!
//! Planning is pure, checking reads the host, preparing takes ports of it, creating changes it. What is made for one
//! sandbox is dropped by the kernel when its namespace ends, or nsl does; there is no file of state.

mod conntrack;
mod egress;
mod forward;
mod group;
mod host;
mod loopback;
pub mod names;
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

pub use egress::parse_all as permissions;
pub use pasta::{Pasta, PastaPlan};
pub use plan::{Addresses, Request, VethPlan, Wanted, plan};
pub use publish::{Port, parse_all as publications};
pub use resolve::Known;

use crate::error::Result;
use crate::rlimit::Rlimit;
use ipnet::IpNet;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What a network needs of the host before anything is made.
#[derive(Default)]
pub struct Prepared {
    reserved: reserve::Reserved,
    /// Names of the egress list.
    pub known: Vec<Known>,
    /// Those whom the sandbox will ask for names.
    pub servers: Vec<IpAddr>,
}

/// What was made.
pub struct Made {
    pub link: Link,
    reserved: reserve::Reserved,
    table: Option<own::Table>,
}

/// What connects the sandbox.
pub enum Link {
    Veth {
        /// The name of the host's end.
        device: String,
        addresses: Addresses,
    },
    Pasta {
        /// Those of eth0 inside.
        addresses: Vec<IpNet>,
    },
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
    pub fn settle(&self) -> Option<u64> {
        if let Link::Veth { addresses, .. } = self.link
            && !self.ports().is_empty()
        {
            conntrack::forget_after(addresses);
        }
        self.table.as_ref().and_then(own::Table::refused)
    }
}

/// Says why the plan cannot be carried out on this host, if it cannot. Changes nothing.
pub fn check(plan: &VethPlan) -> Result<()> {
    match &plan.wanted {
        Wanted::Pool { .. } => Ok(()),
        Wanted::Fixed(addresses) => host::check(addresses),
    }
}

/// Takes the ports of the host that are to lead to the sandbox, and resolves the names that it may reach.
pub fn prepare(plan: &VethPlan) -> Result<Prepared> {
    let known = plan.egress.as_deref().map(resolve::resolve_all).transpose()?.unwrap_or_default();
    Ok(Prepared { reserved: reserve::reserve(&plan.publications)?, known, servers: Vec::new() })
}

/// Takes the ports of the host that pasta is to have.
pub fn prepare_pasta(plan: &PastaPlan) -> Result<Prepared> {
    Ok(Prepared { reserved: reserve::reserve(&plan.publications)?, ..Prepared::default() })
}

/// Starts pasta for the process `pid` inside; `inside` is a `NETLINK_ROUTE` socket that was opened there, `ended` is
/// readable when that process has ended. Which addresses there are is looked up where somebody `asks`.
pub fn connect(
    plan: &PastaPlan,
    prepared: Prepared,
    pid: u32,
    inside: OwnedFd,
    ended: BorrowedFd<'_>,
    asks: bool,
) -> Result<(Pasta, Made)> {
    let mut reserved = prepared.reserved;
    // Its own sockets take their place; in between the ports are anybody's.
    reserved.let_go();
    let pasta = Pasta::start(plan, &reserved.ports, pid, ended)?;
    reserved.tell();
    let addresses = if asks { pasta::addresses(inside)? } else { Vec::new() };
    Ok((pasta, Made { link: Link::Pasta { addresses }, reserved, table: None }))
}

/// Makes the pair and opens the ways out and in. `pid` is a process in the new network namespace, `inside` a
/// `NETLINK_ROUTE` socket that was opened there.
///
/// Nothing is undone if this fails, nor at the end: the kernel drops the pair with the namespace, some 40 ms after
/// its last process. Removing it by hand would keep the caller waiting for as long.
///
/// The calling process should have one thread: the runtime lives in it, and is gone on return.
pub fn create(plan: &VethPlan, prepared: Prepared, pid: u32, inside: OwnedFd) -> Result<Made> {
    let _span = tracing::debug_span!("create_network", %plan).entered();
    let Prepared { reserved, known, servers } = prepared;
    let pair = rtnl::run(async {
        let (host, inside) = (rtnl::connect()?, rtnl::connect_over(inside));
        let mut pair = pair::make(&host, plan, pid).await?;
        // They keep sandboxes apart, so they must stand before a packet can come out of this one.
        if !nat::ensure(plan)? {
            pair.without_ipv6();
        }
        let ipv6 = pair.addresses.ipv6.is_some()
            && plan.is_forwarded()
            && forward::ensure_ipv6(&host, &pair.name, plan.network.is_some()).await?;
        pair::configure(&host, &inside, &mut pair, ipv6).await?;
        if pair.addresses.ipv6.is_some() && reserved.is_on_loopback(Port::is_of_ipv6) {
            loopback::open_v6(&host, pair.index, &pair.name).await;
        }
        Ok(pair)
    })?;
    if plan.is_forwarded() && pair.addresses.ipv4.is_some() {
        forward::ensure_ipv4();
    }
    tracing::debug!(addresses = %pair.addresses, "the network stands");
    let permissions = plan.egress.as_ref().map(|permissions| resolve::replace(permissions, &known, &servers));
    let table = own::make(&pair.name, pair.addresses, &reserved.ports, permissions.as_deref())?;
    if !reserved.ports.is_empty() {
        if reserved.is_on_loopback(Port::is_of_ipv4) {
            loopback::open(&pair.name);
        }
        conntrack::forget_before(&reserved.ports);
        reserved.tell();
    }
    Ok(Made { link: Link::Veth { device: pair.name, addresses: pair.addresses }, reserved, table })
}
