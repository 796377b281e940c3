//! The host's own loopback addresses as a way to published ports: what the device must allow for that. Both settings are
//! the device's, and go with it.

use super::rtnl::step;
use crate::error::Error;
use rtnetlink::packet_route::route::{RouteAttribute, RouteProtocol, RouteScope, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};
use std::fs;
use std::net::Ipv6Addr;

/// Behind every route of the kernel's own: to itself, the host goes by lo. Each device adds its index, since two routes
/// to one address may not be of the same rank.
const LAST: u32 = 4096;
/// `RT_TABLE_LOCAL`, rtnetlink(7).
const RT_TABLE_LOCAL: u8 = 255;

/// Lets packets from 127.0.0.1 leave by the device, and answers to them in. The tables see to it that nothing else of
/// the kind comes in. A port is reached by the other addresses without, so this warns and goes on.
pub(super) fn open(device: &str) {
    let file = format!("/proc/sys/net/ipv4/conf/{device}/route_localnet");
    if let Err(error) = fs::write(&file, "1") {
        let error = Error::io(format!("write to {file}"), &error);
        tracing::warn!("{error}; published ports are not reached by 127.0.0.1");
    }
}

/// The same for ::1. The kernel looks a loopback address up by the device on the answer's way back, and finds it there
/// only by a route of this device's.
pub(super) async fn open_v6(host: &Handle, index: u32, device: &str) {
    let mut route = RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(Ipv6Addr::LOCALHOST, 128)
        .output_interface(index)
        .kind(RouteType::Local)
        .protocol(RouteProtocol::Boot)
        .scope(RouteScope::Universe)
        .build();
    route.header.table = RT_TABLE_LOCAL;
    route.attributes.push(RouteAttribute::Priority(LAST.saturating_add(index)));
    if let Err(error) = step(format_args!("route ::1 by {device} too"), host.route().add(route).execute()).await {
        tracing::warn!("{error}; published ports are not reached by ::1");
    }
}
