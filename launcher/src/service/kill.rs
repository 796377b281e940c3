//! `nsl kill`: sends a signal to the commands of sandboxes, by their init, which hands it on.

use super::each;
use super::entry::Entry;
use super::process::Process;
use super::state::Status;
use crate::cli::Kill;
use crate::error::{Error, Result};
use crate::signals;
use nix::errno::Errno;
use std::os::fd::OwnedFd;

/// Whoever sends one of these wants it to end, and not to start again.
const FINAL: [i32; 5] = [libc::SIGKILL, libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGABRT];

pub fn kill(options: &Kill) -> Result<u8> {
    let signal = signals::named("--signal", &options.signal)?;
    each(&options.names, |name| {
        let entry = Entry::find_living(name)?;
        let step = || format!("send {signal} to {name}");
        if FINAL.contains(&signal.number()) {
            entry.end_restarts()?;
        }
        if entry.status() == Status::Restarting {
            return tell_who_waits(&entry, signal.number());
        }
        let state = entry.state;
        let init = state.init.ok_or_else(|| Error::new(step(), "it is about to start").hint("try again"))?;
        let target = target(init, signal.number())?.ok_or_else(|| Error::new(step(), "it has ended just now"))?;
        let number = rustix::process::Signal::from_named_raw(signal.number());
        let number = number.ok_or_else(|| Error::new(step(), "the kernel keeps this signal for itself"))?;
        rustix::process::pidfd_send_signal(&target, number)
            .map_err(|errno| Error::os(step(), Errno::from_raw(errno.raw_os_error())))
    })
}

/// Between two starts there is nobody but the nsl that waits for the next: SIGCONT ends the wait, and what is final ends it
/// for good.
fn tell_who_waits(entry: &Entry, signal: i32) -> Result<()> {
    let signal = match signal {
        libc::SIGCONT => rustix::process::Signal::CONT,
        _ if FINAL.contains(&signal) => rustix::process::Signal::TERM,
        _ => {
            let step = format!("send a signal to {}", entry.state.name);
            return Err(Error::new(step, "it is between two starts").hint("CONT starts it now, TERM ends it for good"));
        }
    };
    if let Some(monitor) = entry.state.monitor.open()? {
        let _ = rustix::process::pidfd_send_signal(&monitor, signal);
    }
    Ok(())
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
