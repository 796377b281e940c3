//! Forwarding on the host: switched on where it is off and needed, and never off again, since others may rely on it.

use super::host::{device_name, lookup};
use super::rtnl::{failed, step};
use crate::error::{Error, Result};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::{Handle, RouteMessageBuilder};
use std::fs;
use std::io;
use std::net::Ipv6Addr;
use std::path::Path;

const IPV4: &str = "/proc/sys/net/ipv4/ip_forward";
const IPV6: &str = "/proc/sys/net/ipv6/conf";
/// Where the internet of IPv6 is.
const OUTSIDE: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 1);

/// A host that cannot forward still has sandboxes that reach the host itself: so this warns and goes on.
pub(super) fn ensure_ipv4() {
    let _span = tracing::debug_span!("forward", step = %"switch on forwarding of IPv4").entered();
    match switch_on(IPV4) {
        Ok(false) => {}
        Ok(true) => tracing::info!("switched on forwarding of IPv4 (net.ipv4.ip_forward=1); it stays on"),
        Err(error) => {
            let error = Error::io("switch on forwarding of IPv4", &error).hint("sysctl net.ipv4.ip_forward=1");
            tracing::warn!("{error}; the sandbox reaches this host only");
        }
    }
}

/// Whether IPv6 is forwarded for `device`; it is switched on if there is somewhere to go.
///
/// With `all.forwarding` a host no longer learns its own way out from the advertisements of routers, unless `accept_ra`
/// is 2. So the two devices alone are switched on, where the kernel can do that (`force_forwarding`, Linux 6.17).
pub(super) async fn ensure_ipv6(host: &Handle, device: &str, has_peers: bool) -> Result<bool> {
    if is_on(&format!("{IPV6}/all/forwarding")) {
        return Ok(true);
    }
    let route = way_out(host).await?;
    let uplink = match route.as_ref().and_then(output) {
        Some(index) => device_name(host, index).await.ok(),
        None if has_peers => None,
        None => return Ok(false),
    };
    let mut devices = vec![device.to_owned()];
    devices.extend(uplink);
    let forced = devices.iter().map(|device| switch_on(&format!("{IPV6}/{device}/force_forwarding")));
    match forced.collect::<io::Result<Vec<bool>>>() {
        Ok(changed) => {
            for (device, _) in devices.iter().zip(changed).skip(1).filter(|(_, changed)| *changed) {
                tracing::info!(
                    "switched on forwarding of IPv6 (net.ipv6.conf.{device}.force_forwarding=1); it stays on"
                );
            }
            return Ok(true);
        }
        Err(error) => tracing::debug!("forwarding of IPv6 by device: {error}"),
    }
    if let Some(learner) = learner(host).await? {
        let mend = mend(&learner);
        tracing::info!(
            "the sandbox gets no way out of IPv6: with forwarding, {learner} would no longer learn its routes (hint: {mend})"
        );
        return Ok(false);
    }
    match switch_on(&format!("{IPV6}/all/forwarding")) {
        Ok(_) => tracing::info!("switched on forwarding of IPv6 (net.ipv6.conf.all.forwarding=1); it stays on"),
        Err(error) => {
            tracing::debug!("forwarding of IPv6: {error}");
            return Ok(false);
        }
    }
    Ok(true)
}

/// What comes of a start's wish to forward.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outlook {
    /// It is on already.
    On,
    /// It is off, and a start switches it on.
    Off,
    /// It is off, and a start may not switch it on; what would.
    Refused(String),
    /// There is nowhere to go.
    Nowhere,
    /// This host has no such addresses, or gives none to new devices.
    Absent,
    /// This device would lose its routes; what mends it.
    Learner(String, String),
}

/// What `ensure_ipv4` will come to. Changes nothing.
pub fn outlook_ipv4() -> Outlook {
    match () {
        () if is_on(IPV4) => Outlook::On,
        () if may_write(IPV4) => Outlook::Off,
        () => Outlook::Refused("sysctl net.ipv4.ip_forward=1".to_owned()),
    }
}

/// What `ensure_ipv6` will come to. Changes nothing.
pub(super) async fn outlook_ipv6(host: &Handle) -> Result<Outlook> {
    let all = format!("{IPV6}/all/forwarding");
    if !Path::new(&all).exists() || is_on(&format!("{IPV6}/default/disable_ipv6")) {
        return Ok(Outlook::Absent);
    }
    if is_on(&all) {
        return Ok(Outlook::On);
    }
    let Some(uplink) = way_out(host).await?.as_ref().and_then(output) else { return Ok(Outlook::Nowhere) };
    let forced = device_name(host, uplink).await.map(|uplink| format!("{IPV6}/{uplink}/force_forwarding"));
    if forced.is_ok_and(|file| may_write(&file)) {
        return Ok(Outlook::Off);
    }
    Ok(match learner(host).await? {
        Some(learner) => {
            let mend = mend(&learner);
            Outlook::Learner(learner, mend)
        }
        None if may_write(&all) => Outlook::Off,
        None => Outlook::Refused("sysctl net.ipv6.conf.all.forwarding=1".to_owned()),
    })
}

/// The route that leads to where the internet of IPv6 is.
async fn way_out(host: &Handle) -> Result<Option<RouteMessage>> {
    Ok(step("look up the way out of IPv6", lookup(host, OUTSIDE.into())).await?.flatten())
}

/// What lets a device that learns its routes go on learning them.
fn mend(learner: &str) -> String {
    format!("sysctl net.ipv6.conf.{learner}.accept_ra=2 net.ipv6.conf.all.forwarding=1")
}

fn may_write(file: &str) -> bool {
    rustix::fs::access(file, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The settings of this host that forward, as sysctl(8) names them: nsl's doing or others', which nobody can tell.
pub fn settings_that_are_on() -> Vec<String> {
    let mut on = Vec::new();
    if is_on(IPV4) {
        on.push("net.ipv4.ip_forward".to_owned());
    }
    if is_on(&format!("{IPV6}/all/forwarding")) {
        on.push("net.ipv6.conf.all.forwarding".to_owned());
    }
    for device in fs::read_dir(IPV6).into_iter().flatten().flatten() {
        let name = device.file_name().to_string_lossy().into_owned();
        if is_on(&format!("{IPV6}/{name}/force_forwarding")) {
            // A dot in a name is a slash to sysctl(8).
            on.push(format!("net.ipv6.conf.{}.force_forwarding", name.replace('.', "/")));
        }
    }
    on
}

/// A device that has routes from the advertisements of a router, and would lose them.
async fn learner(host: &Handle) -> Result<Option<String>> {
    let all = host.route().get(RouteMessageBuilder::<Ipv6Addr>::new().build()).execute();
    let routes: Vec<_> = all.try_collect().await.map_err(|error| failed("read the host's routes", &error))?;
    for route in routes.iter().filter(|route| route.header.protocol == RouteProtocol::Ra) {
        let Some(index) = output(route) else { continue };
        let Ok(device) = device_name(host, index).await else { continue };
        let accepts = fs::read_to_string(format!("{IPV6}/{device}/accept_ra")).unwrap_or_default();
        if accepts.trim() != "2" {
            return Ok(Some(device));
        }
    }
    Ok(None)
}

fn output(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

fn is_on(file: &str) -> bool {
    fs::read(file).is_ok_and(|value| value.trim_ascii() == b"1")
}

/// Whether something was changed.
fn switch_on(file: &str) -> io::Result<bool> {
    if fs::read(file)?.trim_ascii() == b"0" {
        fs::write(file, "1")?;
        return Ok(true);
    }
    Ok(false)
}
