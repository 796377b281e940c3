//! Descriptors of the caller's that the command gets: those of `--preserve-fds`, and the sockets of a service manager
//! (`sd_listen_fds(3)`).

use crate::cli::Run;
use crate::error::{Error, Result};
use crate::hints;
use crate::sys;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

/// The number of the first one, outside and inside.
const FIRST: i32 = 3;
/// Open files that nsl needs beside them.
const OWN: u64 = 24;

/// Takes over what the command is to get, from number 3 on. Files that nsl opens before this may be mistaken for it.
pub fn adopt(run: &Run) -> Result<Vec<OwnedFd>> {
    let count = run.preserve_fds.max(listening()?.unwrap_or(0));
    if count == 0 {
        return Ok(Vec::new());
    }
    let step = if count > run.preserve_fds { "hand on the sockets of LISTEN_FDS" } else { "use --preserve-fds" };
    let end = FIRST.saturating_add_unsigned(count);
    if let Some(status) = run.status_fd.filter(|status| (FIRST..end).contains(status)) {
        let cause = format!("descriptor {status} is that of --status-fd, which the command does not get");
        return Err(Error::new(step, cause).hint(format!("take one from {end} on for --status-fd")));
    }
    let mut adopted = Vec::new();
    for number in FIRST..end {
        let cause = || Error::new(step, format!("descriptor {number} is not open"));
        let last = end - 1;
        adopted.push(sys::adopt(number).ok_or_else(|| cause().hint(format!("it takes all from {FIRST} to {last}")))?);
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if limit.is_some_and(|limit| limit < u64::from(count) + OWN) {
        return Err(Error::new(step, "too few other files could be opened").hint(hints::FILES));
    }
    debug_assert!(adopted.iter().zip(FIRST..).all(|(file, number)| file.as_raw_fd() == number));
    Ok(adopted)
}

/// How many sockets a service manager has handed to this very process; or, once that is known, to its caller.
pub fn listening() -> Result<Option<u32>> {
    static COUNT: OnceLock<Option<u32>> = OnceLock::new();
    match COUNT.get() {
        Some(count) => Ok(*count),
        None => handed_over().map(|count| *COUNT.get_or_init(|| count)),
    }
}

fn handed_over() -> Result<Option<u32>> {
    let Some(pid) = std::env::var_os("LISTEN_PID") else { return Ok(None) };
    if pid.to_str().and_then(|pid| pid.parse().ok()) != Some(std::process::id()) {
        return Ok(None);
    }
    let count = std::env::var_os("LISTEN_FDS").unwrap_or_default();
    let number = count.to_str().and_then(|count| count.parse().ok());
    let cause = || Error::new("hand on the sockets of LISTEN_FDS", format!("'{}' is no number", count.display()));
    number.map(Some).ok_or_else(cause)
}
