//! The network of a sandbox that has one of its own: a veth pair, its addresses, NAT, and the files of names.
//!
//! Planning is pure, checking reads the host, creating changes it. What creating makes for one sandbox is dropped by
//! the kernel when the sandbox's namespace ends; there is no file of state.

mod clean;
mod dump;
mod firewall;
mod forward;
mod group;
mod host;
mod join;
mod members;
pub mod names;
mod nat;
mod nftables;
mod pair;
mod plan;
mod rtnl;
mod socket;

pub use clean::remove_table;
pub use forward::settings_that_are_on;
pub use join::{Inside, Join, Source};
pub use members::Members;
pub use plan::{Addresses, Ends, Request, VethPlan, Wanted, plan};

use crate::error::{Error, Result};
use std::os::fd::OwnedFd;

/// What was made, seen from the host.
pub struct Made {
    /// The name of the host's end.
    pub device: String,
    pub addresses: Addresses,
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
/// A member of a named network is found there by `hostname`.
pub fn create(plan: &VethPlan, pid: u32, inside: OwnedFd, hostname: &str) -> Result<Made> {
    let _span = tracing::debug_span!("create_network", %plan).entered();
    let (pair, ipv6) = rtnl::run(async {
        let (host, inside) = (rtnl::connect()?, rtnl::connect_over(inside));
        let mut pair = pair::make(&host, plan, pid).await?;
        // They keep sandboxes apart, so they must stand before a packet can come out of this one.
        let stands = nat::ensure(plan)?;
        if !stands {
            pair.without_ipv6();
        }
        let ipv6 = pair.addresses.ipv6.is_some()
            && plan.is_forwarded()
            && forward::ensure_ipv6(&host, &pair.name, plan.network.is_some()).await?;
        pair::configure(&host, &inside, &mut pair, ipv6, plan.network.as_ref().map(|_| hostname)).await?;
        check_wish(plan, &pair.addresses, stands)?;
        Ok((pair, ipv6))
    })?;
    if plan.is_forwarded() {
        if pair.addresses.ipv4.is_some() {
            forward::ensure_ipv4();
        }
        firewall::check(pair.addresses.ipv4.is_some(), ipv6);
    }
    Ok(Made { device: pair.name, addresses: pair.addresses })
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
