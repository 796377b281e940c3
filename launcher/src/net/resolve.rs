//! Names of an egress list, resolved once. The host's getent(1) does that: a static program cannot load the modules that
//! nsswitch.conf(5) names.

use super::egress::{Permission, Place};
use crate::error::{Error, Result};
use std::net::IpAddr;
use std::process::{Command, Stdio};

/// A name, and the addresses that it had when the sandbox started.
pub type Known = (String, Vec<IpAddr>);

/// The names that these permissions have, each once.
pub(super) fn resolve_all(permissions: &[Permission]) -> Result<Vec<Known>> {
    let mut known: Vec<Known> = Vec::new();
    for permission in permissions {
        let Place::Name(name) = &permission.to else { continue };
        if !known.iter().any(|(known, _)| known == name) {
            let addresses = resolve(name)?;
            let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            tracing::info!("{name} is {} for as long as the sandbox runs", shown.join(", "));
            known.push((name.clone(), addresses));
        }
    }
    Ok(known)
}

fn resolve(name: &str) -> Result<Vec<IpAddr>> {
    let step = || format!("use --egress {name}");
    let mut getent = Command::new("getent");
    getent.args(["ahosts", name]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    let output = getent.output().map_err(|error| {
        let error = Error::new(step(), format!("getent, by which nsl resolves names, cannot be executed: {error}"));
        error.hint("install it (package libc-bin), or give an address")
    })?;
    let addresses = addresses_in(&String::from_utf8_lossy(&output.stdout));
    if addresses.is_empty() {
        return Err(Error::new(step(), format!("the name {name} does not resolve on this host"))
            .hint(format!("`getent ahosts {name}` shows what it resolves to; or give an address")));
    }
    let others: Vec<_> = addresses.into_iter().filter(|address| !address.is_loopback()).collect();
    if others.is_empty() {
        return Err(Error::new(step(), format!("{name} is on this host's loopback, which no sandbox reaches")));
    }
    Ok(others)
}

/// The addresses at the beginning of lines, each once; those of one link only (`fe80::1%eth0`) are none.
fn addresses_in(text: &str) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for word in text.lines().filter_map(|line| line.split_ascii_whitespace().next()) {
        if let Ok(address) = word.parse::<IpAddr>().map(|address| address.to_canonical())
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    addresses
}

/// The list without names: what they are known as stands in their place, and their name servers behind it.
pub(super) fn replace(permissions: &[Permission], known: &[Known], servers: &[IpAddr]) -> Vec<Permission> {
    let mut all = Vec::new();
    for permission in permissions {
        match &permission.to {
            Place::Network(_) => all.push(permission.clone()),
            Place::Name(name) => {
                let addresses = known.iter().filter(|(known, _)| known == name).flat_map(|(_, addresses)| addresses);
                all.extend(addresses.map(|address| Permission::of(*address, permission.ports.clone())));
            }
        }
    }
    if !known.is_empty() {
        all.extend(servers.iter().flat_map(|server| Permission::of_name_server(*server)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_of_getents_answer_counts_once() {
        let answer = "192.0.2.1       STREAM one.example\n192.0.2.1       DGRAM\n2001:db8::1     STREAM\n\
            fe80::1%eth0    STREAM\n::ffff:192.0.2.1 RAW\n";
        assert_eq!(addresses_in(answer), ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap()));
        assert_eq!(addresses_in(""), [] as [IpAddr; 0]);
    }
}
