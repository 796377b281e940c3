//! The network of a sandbox that has one of its own: a veth pair, its addresses, NAT, and the files of names.
//!
//! Planning is pure, checking reads the host, creating changes it. What creating makes for one sandbox is dropped by
//! the kernel when the sandbox's namespace ends; there is no file of state.

mod cidr;
mod forward;
mod host;
pub mod names;
mod nat;
mod nftables;
mod pair;
mod plan;
mod rtnl;
mod socket;

pub use plan::{Addresses, Request, VethPlan, plan};

use crate::error::Result;
use std::os::fd::OwnedFd;

/// Says why the plan cannot be carried out on this host, if it cannot. Changes nothing.
pub fn check(plan: &VethPlan) -> Result<()> {
    match plan {
        VethPlan::Pool => Ok(()),
        VethPlan::Fixed(addresses) => host::check(addresses),
    }
}

/// A veth pair that exists.
#[derive(Debug)]
pub struct Veth {
    pair: pair::Pair,
}

/// Makes the pair and opens the way out. `pid` is a process in the new network namespace, `inside` a
/// `NETLINK_ROUTE` socket that was opened there.
///
/// The calling process should have one thread: the runtime lives in it, and is gone on return.
pub fn create(plan: &VethPlan, pid: u32, inside: OwnedFd) -> Result<Veth> {
    let _span = tracing::debug_span!("create_network", %plan).entered();
    let pair = rtnl::run(async {
        let (host, inside) = (rtnl::connect()?, rtnl::connect_over(inside));
        let pair = pair::make(&host, plan, pid).await?;
        // They keep sandboxes apart, so they must stand before a packet can come out of this one.
        nat::ensure();
        if let Err(error) = pair::configure(&host, &inside, &pair).await {
            // The first failure is the one to tell; the kernel drops the pair with the namespace in any case.
            let _ = pair::remove(&host, &pair).await;
            return Err(error);
        }
        Ok(pair)
    })?;
    forward::ensure();
    tracing::debug!(name = pair.name, addresses = %pair.addresses, "the network stands");
    Ok(Veth { pair })
}

impl Veth {
    /// The name of the end on the host.
    pub fn host_name(&self) -> &str {
        &self.pair.name
    }

    pub fn addresses(&self) -> &Addresses {
        &self.pair.addresses
    }

    /// Removes the pair and returns when it is gone; fine if it is gone already.
    ///
    /// Costs several milliseconds, in which the kernel waits for its own readers. Without it, the kernel drops the
    /// pair some time after the sandbox's namespace has ended.
    pub fn remove(self) -> Result<()> {
        let _span = tracing::debug_span!("remove_network", name = self.pair.name).entered();
        rtnl::run(async { pair::remove(&rtnl::connect()?, &self.pair).await })
    }
}
