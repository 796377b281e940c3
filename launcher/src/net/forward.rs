//! Forwarding of IPv4 on the host: switched on when it is off, and never off again, since others may rely on it.

use crate::error::Error;
use std::fs;
use std::io;

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// A host that cannot forward still has sandboxes that reach the host itself: so this warns and goes on.
pub(super) fn ensure() {
    let _span = tracing::debug_span!("forward").entered();
    match switch_on() {
        Ok(false) => {}
        Ok(true) => tracing::info!("switched on forwarding of IPv4 (net.ipv4.ip_forward=1); it stays on"),
        Err(error) => {
            let error = Error::io("switch on forwarding of IPv4", &error).hint("sysctl net.ipv4.ip_forward=1");
            tracing::warn!("{error}; the sandbox reaches this host only");
        }
    }
}

/// Whether something was changed.
fn switch_on() -> io::Result<bool> {
    if fs::read(IP_FORWARD)?.trim_ascii() == b"0" {
        fs::write(IP_FORWARD, "1")?;
        return Ok(true);
    }
    Ok(false)
}
