//! The removal of what the network leaves on a host when its last sandbox has ended: the static table. What belongs to
//! the host, and may be in use by others, is named only.

use super::host::{self, Holder};
use super::nat::{self, TABLE, TRIES, WITHDRAWN};
use super::nftables::{commit, connect};
use super::rtnl;
use crate::error::{Error, Result};
use futures_util::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::Handle;
use rtnetlink::packet_route::link::LinkAttribute;
use std::io;
use std::time::Instant;

const LIST: &str = "list the devices of this host";
/// So many devices are named; of more there is the number.
const NAMED: usize = 3;

/// Removes the table; false if there was none, an error while there are sandboxes that it keeps apart.
///
/// A sandbox has its device before it looks for the table, and the table may go only where there is no device. Between
/// the look for devices and the removal one could come, find the table, and lose it. So the rules are replaced first,
/// by the same with a version that no starting sandbox relies on: one that comes from then on makes its own, and what
/// was withdrawn is not there any more to be removed.
pub fn remove_table() -> Result<bool> {
    let socket = match connect() {
        // The kernel has no netfilter at all, or, below, no nf_tables.
        Err(error) if nat::errno(&error) == Some(Errno::EPROTONOSUPPORT) => return Ok(false),
        socket => socket.map_err(|error| failed(&error))?,
    };
    let look = || match nat::standing(&socket) {
        Err(error) if matches!(nat::errno(&error), Some(Errno::EINVAL | Errno::EOPNOTSUPP)) => Ok(None),
        found => found.map_err(|error| failed(&error)),
    };
    for _ in 0..TRIES {
        let Some(table) = look()? else { return Ok(false) };
        check_unused()?;
        match nat::replace(&socket, Some(&table), WITHDRAWN) {
            Err(error) if nat::is_outrun(&error) => continue,
            replaced => replaced.map_err(|error| failed(&error))?,
        }
        let Some(withdrawn) = look()?.filter(|table| table.version == WITHDRAWN) else { continue };
        check_unused()?;
        match commit(&socket, [nat::removal(&withdrawn)]) {
            Err(error) if nat::is_outrun(&error) => {}
            removed => return removed.map_err(|error| failed(&error)).map(|()| true),
        }
    }
    Err(Error::new(step(), "other nsl keep making it").hint("try again"))
}

fn step() -> String {
    format!("remove the nftables table inet {TABLE}")
}

fn failed(error: &io::Error) -> Error {
    let hint = "it takes root (CAP_NET_ADMIN)";
    let is_refused = nat::errno(error) == Some(Errno::EPERM);
    let error = Error::io(step(), error);
    if is_refused { error.hint(hint) } else { error }
}

/// Fails if there are devices of sandboxes; those that the kernel is about to drop are waited for.
fn check_unused() -> Result<()> {
    let start = Instant::now();
    loop {
        let devices = rtnl::run(async { devices(&rtnl::connect()?).await })?;
        let Some((_, worst)) = devices.iter().max_by_key(|(_, holder)| *holder == Holder::Sandbox) else {
            return Ok(());
        };
        if !worst.wait(start) {
            let names: Vec<_> = devices.iter().take(NAMED).map(|(name, _)| name.as_str()).collect();
            let more = devices.len() - names.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let cause = format!("sandboxes are there that it keeps apart, behind {}{more}", names.join(", "));
            return Err(Error::new(step(), cause).hint("end them first"));
        }
    }
}

/// The devices of nsl's on this host, and what is behind them.
async fn devices(host: &Handle) -> Result<Vec<(String, Holder)>> {
    let links: Vec<_> = host.link().get().execute().try_collect().await.map_err(|error| rtnl::failed(LIST, &error))?;
    let mut devices = Vec::new();
    for attribute in links.into_iter().flat_map(|link| link.attributes) {
        if let LinkAttribute::IfName(name) = attribute
            && host::is_ours(&name)
        {
            let holder = host::holder(host, &name).await?;
            devices.push((name, holder));
        }
    }
    devices.retain(|(_, holder)| *holder != Holder::Gone);
    Ok(devices)
}
