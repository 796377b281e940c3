//! Ports of the host that are a sandbox's for as long as it lives: a socket on each, on which nobody listens, keeps every
//! other program away, other sandboxes too, and goes with nsl, however nsl ends.

use super::plan::Addresses;
use super::publish::{Port, Protocol, Publication};
use crate::error::{Error, Result};
use crate::log;
use crate::rlimit::Rlimit;
use nix::errno::Errno;
use rustix::net::{
    AddressFamily, Ipv4Addr, Ipv6Addr, SocketAddr, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::IpAddr;
use std::os::fd::OwnedFd;

/// Files that nsl has open beside these sockets, at the most.
const OTHERS: u64 = 200;

/// The ports, with the numbers that they have got.
#[derive(Default)]
pub(super) struct Reserved {
    pub(super) ports: Vec<Port>,
    /// So many of them were asked for by number; the others the kernel has chosen.
    fixed: usize,
    /// What nsl's own limit of open files was, where it had to be raised: the command is to have that.
    pub(super) limit: Option<Rlimit>,
    sockets: Vec<OwnedFd>,
}

impl Reserved {
    /// Says which port leads where: aloud, where nobody could know.
    pub(super) fn tell(&self) {
        for (index, port) in self.ports.iter().enumerate() {
            let owner = if port.bound().is_none() { " of this host" } else { "" };
            let line = format!("{port}{owner} leads to {}/{} inside", port.inside, port.protocol);
            if index < self.fixed { tracing::info!("{line}") } else { log::tell(&line) }
        }
    }

    /// Refuses a port of a version of IP that the sandbox has no address of.
    pub(super) fn check(&self, addresses: Addresses) -> Result<()> {
        let own = addresses.own();
        let is_led = |port: &Port| {
            own.iter().any(|address| if address.is_ipv4() { port.is_of_ipv4() } else { port.is_of_ipv6() })
        };
        match self.ports.iter().find(|port| !is_led(port)) {
            None => Ok(()),
            Some(port) => {
                let version = if port.is_of_ipv4() { 4 } else { 6 };
                Err(Error::new(format!("publish {port}"), format!("the sandbox has no address of IPv{version}")))
            }
        }
    }

    /// Leaves the ports to another, which is to take them now.
    pub(super) fn let_go(&mut self) {
        self.sockets.clear();
    }

    /// Can one of those ports that `is_of` picks out be reached by loopback?
    pub(super) fn is_on_loopback(&self, is_of: impl Fn(&Port) -> bool) -> bool {
        self.ports.iter().any(|port| is_of(port) && port.is_on_loopback())
    }
}

/// Takes all of them, or says which it cannot have, and why.
pub(super) fn reserve(publications: &[Publication]) -> Result<Reserved> {
    let count: usize = publications.iter().map(|publication| usize::from(publication.count)).sum();
    let mut reserved = Reserved { limit: make_room(count as u64)?, ..Reserved::default() };
    // Those that are asked for by number go first: one that any will do for must not be one of them.
    let (any, fixed): (Vec<_>, Vec<_>) = publications.iter().partition(|publication| publication.host == 0);
    reserved.fixed = fixed.iter().map(|publication| usize::from(publication.count)).sum();
    for port in fixed.into_iter().chain(any).flat_map(Publication::ports) {
        let (socket, host) = take(port).map_err(|errno| refused(port, Errno::from_raw(errno.raw_os_error())))?;
        reserved.ports.push(Port { host, ..port });
        reserved.sockets.push(socket);
    }
    Ok(reserved)
}

/// Raises the limit of open files where it is too low for so many; gives what it was.
fn make_room(count: u64) -> Result<Option<Rlimit>> {
    if count == 0 {
        return Ok(None);
    }
    let own = getrlimit(Resource::Nofile);
    let wanted = count + OTHERS;
    let (Some(soft), hard) = (own.current, own.maximum.unwrap_or(u64::MAX)) else { return Ok(None) };
    if wanted <= soft {
        return Ok(None);
    }
    let raised = rustix::process::Rlimit { current: Some(wanted), maximum: own.maximum.map(|most| most.max(wanted)) };
    setrlimit(Resource::Nofile, raised).map_err(|_| {
        Error::new(format!("publish {count} ports"), format!("nsl may have {hard} files open, and each takes one"))
            .hint(format!("raise the limit: ulimit -n {wanted}"))
    })?;
    tracing::debug!("raised the limit of open files from {soft} to {wanted}, for nsl alone");
    Ok(Some(Rlimit { resource: Resource::Nofile, soft, hard }))
}

/// A socket on the port, which nobody will read from, and the port's number.
fn take(port: Port) -> rustix::io::Result<(OwnedFd, u16)> {
    match port.address {
        Some(address) => bound(port, address),
        None => match bound(port, Ipv6Addr::UNSPECIFIED.into()) {
            // No IPv6 on this host.
            Err(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL) => {
                bound(port, Ipv4Addr::UNSPECIFIED.into())
            }
            result => result,
        },
    }
}

fn bound(port: Port, address: IpAddr) -> rustix::io::Result<(OwnedFd, u16)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match port.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        // On all addresses of both versions at once: nobody can come between.
        sockopt::set_ipv6_v6only(&socket, port.address.is_some())?;
    }
    if port.protocol == Protocol::Udp {
        // What comes before the rules stand is not to be kept: this is the least there can be.
        sockopt::set_socket_recv_buffer_size(&socket, 0)?;
    }
    bind(&socket, &SocketAddr::new(address, port.host))?;
    let number = SocketAddr::try_from(getsockname(&socket)?)?.port();
    Ok((socket, number))
}

/// Why a port cannot be had.
fn refused(port: Port, errno: Errno) -> Error {
    let step = format!("publish {port}");
    match errno {
        Errno::EADDRINUSE if port.host == 0 => Error::new(step, "no port of this host is free")
            .hint("see the sysctl net.ipv4.ip_local_port_range, or choose a port"),
        Errno::EADDRINUSE => {
            let (letter, number) = (if port.protocol == Protocol::Tcp { 't' } else { 'u' }, port.host);
            Error::os(step, errno).cause("something on this host already listens there").hint(format!(
                "`ss -{letter}anp 'sport = :{number}'` tells what, unless another sandbox publishes it; or choose another \
                 port"
            ))
        }
        Errno::EADDRNOTAVAIL => {
            let address = port.address.map(|address| address.to_string()).unwrap_or_default();
            Error::os(step, errno)
                .cause(format!("this host has no address {address}"))
                .hint("`ip -br addr` shows those that it has; without an address all of them are meant")
        }
        Errno::EACCES => Error::os(step, errno)
            .hint("ports below the sysctl net.ipv4.ip_unprivileged_port_start take CAP_NET_BIND_SERVICE"),
        _ => Error::os(step, errno),
    }
}
