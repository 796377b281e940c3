//! The network of a sandbox that has one of its own: a veth pair, its addresses, NAT, and the files of names.
//!
//! Planning is pure, checking reads the host, creating changes it. What creating makes for one sandbox is dropped by
//! the kernel when the sandbox's namespace ends; there is no file of state.

mod forward;
mod group;
mod host;
pub mod names;
mod nat;
mod nftables;
mod pair;
mod pasta;
mod plan;
mod rtnl;
mod socket;

pub use pasta::{Pasta, PastaPlan};
pub use plan::{Addresses, Request, VethPlan, Wanted, plan};

use crate::error::Result;
use ipnet::IpNet;
use std::os::fd::OwnedFd;

/// What was made.
pub enum Made {
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

impl Made {
    /// What pasta made, by a `NETLINK_ROUTE` socket that was opened inside.
    pub fn by_pasta(inside: OwnedFd) -> Result<Self> {
        Ok(Self::Pasta { addresses: pasta::addresses(inside)? })
    }
}

/// Says why the plan cannot be carried out on this host, if it cannot. Changes nothing.
pub fn check(plan: &VethPlan) -> Result<()> {
    match &plan.wanted {
        Wanted::Pool { .. } => Ok(()),
        Wanted::Fixed(addresses) => host::check(addresses),
    }
}

/// Makes the pair and opens the way out. `pid` is a process in the new network namespace, `inside` a
/// `NETLINK_ROUTE` socket that was opened there.
///
/// Nothing is undone if this fails, nor at the end: the kernel drops the pair with the namespace, some 40 ms after
/// its last process. Removing it by hand would keep the caller waiting for as long.
///
/// The calling process should have one thread: the runtime lives in it, and is gone on return.
pub fn create(plan: &VethPlan, pid: u32, inside: OwnedFd) -> Result<Made> {
    let _span = tracing::debug_span!("create_network", %plan).entered();
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
        Ok(pair)
    })?;
    if plan.is_forwarded() && pair.addresses.ipv4.is_some() {
        forward::ensure_ipv4();
    }
    tracing::debug!(addresses = %pair.addresses, "the network stands");
    Ok(Made::Veth { device: pair.name, addresses: pair.addresses })
}
