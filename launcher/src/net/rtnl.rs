//! rtnetlink as nsl uses it: a runtime for the time of one task, connections, and errors in nsl's words.

use super::socket::Socket;
use crate::error::{Error, Result};
use nix::errno::Errno;
use rtnetlink::Handle;
use std::fmt::Display;
use std::os::fd::OwnedFd;
use tracing::Instrument;

pub(super) type Answer<T> = std::result::Result<T, rtnetlink::Error>;

/// Runs `work` to its end on a runtime of its own, in this thread; connections made on the way end with it.
pub(super) fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.map_err(|error| Error::io("start the runtime for netlink", &error))?.block_on(work)
}

/// A connection to the network namespace of this thread.
pub(super) fn connect() -> Result<Handle> {
    let (connection, handle, _) = rtnetlink::new_connection_with_socket::<Socket>()
        .map_err(|error| Error::io("open a netlink socket", &error))?;
    tokio::spawn(connection);
    Ok(handle)
}

/// A connection to the network namespace in which `socket` was opened.
pub(super) fn connect_over(socket: OwnedFd) -> Handle {
    let (connection, handle, _) = rtnetlink::from_socket(Socket::new(socket));
    tokio::spawn(connection);
    handle
}

/// One request, in a span of its own. `what` completes "cannot …".
pub(super) async fn step<T>(what: impl Display, request: impl Future<Output = Answer<T>>) -> Result<T> {
    let span = tracing::debug_span!("netlink", step = %what);
    request.instrument(span).await.map_err(|error| failed(&what, &error))
}

/// The errno with which the kernel refused a request.
pub(super) fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().raw_os_error().map(Errno::from_raw),
        _ => None,
    }
}

pub(super) fn failed(what: impl Display, error: &rtnetlink::Error) -> Error {
    match errno(error) {
        Some(Errno::EPERM) => Error::os(what.to_string(), Errno::EPERM)
            .hint("a network of its own needs root (CAP_NET_ADMIN); --network none and host do not"),
        Some(Errno::EOPNOTSUPP) => Error::os(what.to_string(), Errno::EOPNOTSUPP)
            .hint("the kernel has no veth devices: try modprobe veth, or --network none"),
        Some(errno) => Error::os(what.to_string(), errno),
        None => Error::new(what.to_string(), error.to_string()),
    }
}
