//! `nsl kill`: sends a signal to the commands of sandboxes, by their init, which hands it on.

use super::each;
use super::entry::Entry;
use super::process::Process;
use crate::cli::Kill;
use crate::error::{Error, Result};
use nix::errno::Errno;
use nsl_shared::signal::Signal;
use std::os::fd::OwnedFd;

pub fn kill(options: &Kill) -> Result<u8> {
    let signal = Signal::parse(options.signal.as_bytes()).ok_or_else(|| {
        let cause = format!("there is no signal '{}'", options.signal.escape_default());
        Error::new("use --signal", cause).hint("such as HUP or USR1")
    })?;
    each(&options.names, |name| {
        let state = Entry::find_living(name)?.state;
        let step = || format!("send {signal} to {name}");
        let init = state.init.ok_or_else(|| Error::new(step(), "it is about to start").hint("try again"))?;
        let target = target(init, signal.number())?.ok_or_else(|| Error::new(step(), "it has ended just now"))?;
        let number = rustix::process::Signal::from_named_raw(signal.number());
        let number = number.ok_or_else(|| Error::new(step(), "the kernel keeps this signal for itself"))?;
        rustix::process::pidfd_send_signal(&target, number)
            .map_err(|errno| Error::os(step(), Errno::from_raw(errno.raw_os_error())))
    })
}

/// The init hands on what it can hear. What stops a process would stop the init: that goes to the command itself, which
/// is the oldest of its children.
fn target(init: Process, signal: i32) -> Result<Option<OwnedFd>> {
    if signal != libc::SIGSTOP {
        return init.open();
    }
    let tasks = procfs::process::Process::new(init.pid.cast_signed()).and_then(|init| init.task_main_thread());
    let children = tasks.and_then(|task| task.children()).unwrap_or_default();
    let command = children.first().and_then(|pid| Process::of(*pid));
    // They were the init's if that is still there.
    let command = command.map(Process::open).transpose()?.flatten();
    init.open().map(|init| init.and(command))
}
