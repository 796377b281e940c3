//! The network of a sandbox, as events and its notes tell of it.

use crate::net::{self, Made, Pasta, Port};
use ipnet::IpNet;
use serde::Serialize;
use std::net::IpAddr;

/// The network of a sandbox.
#[derive(Serialize)]
pub struct Network<'a> {
    /// What --network says.
    kind: &'a str,
    /// Of a named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// That of IPv4, or of IPv6 if there is no other.
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    /// All of them.
    addresses: Vec<Ends>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    ports: Vec<Lead>,
}

/// A port of the host, and what it leads to.
#[derive(Serialize)]
struct Lead {
    /// None: all of the host's.
    host_ip: Option<IpAddr>,
    host_port: u16,
    container_port: u16,
    protocol: String,
}

impl From<&Port> for Lead {
    fn from(port: &Port) -> Self {
        let Port { address, host, inside, protocol } = *port;
        Self { host_ip: address, host_port: host, container_port: inside, protocol: protocol.to_string() }
    }
}

#[derive(Serialize)]
struct Ends {
    address: IpAddr,
    prefix: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

impl<'a> From<&'a Made> for Network<'a> {
    fn from(made: &'a Made) -> Self {
        let ends = |ends: net::Ends| Ends::new(ends.inside, Some(ends.host.addr()));
        let addresses = made.addresses.ends().map(ends).collect();
        let name = made.network.as_deref();
        Self { name, ..Self::new("veth", addresses, Some(&made.device), made.ports()) }
    }
}

impl<'a> From<&'a Pasta> for Network<'a> {
    fn from(pasta: &'a Pasta) -> Self {
        let ends = pasta.addresses().iter().map(|inside| Ends::new(*inside, None));
        Self::new("pasta", ends.collect(), None, pasta.ports())
    }
}

impl<'a> Network<'a> {
    fn new(kind: &'a str, addresses: Vec<Ends>, device: Option<&'a str>, ports: &[Port]) -> Self {
        let first = addresses.first();
        Self {
            kind,
            name: None,
            address: first.map(|ends| ends.address),
            gateway: first.and_then(|ends| ends.gateway),
            addresses,
            device,
            ports: ports.iter().map(Lead::from).collect(),
        }
    }
}

impl Ends {
    fn new(inside: IpNet, gateway: Option<IpAddr>) -> Self {
        Self { address: inside.addr(), prefix: inside.prefix_len(), gateway }
    }
}
