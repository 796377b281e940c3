//! `nsl rm`: removes what is left of sandboxes that have ended, their logs too; with `--force` ends them before.

use super::claim::Claim;
use super::directory::os;
use super::entry::Entry;
use super::process::Process;
use super::{each, name, place, print};
use crate::cli::Rm;
use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long the end of one that is killed may take: of all that is in it, then of its nsl.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn rm(options: &Rm) -> Result<u8> {
    each(&options.names, |name| {
        name::check(name)?;
        let known = place::states()?.map(|states| states.open(name)).transpose()?.flatten();
        match known {
            Some(_) => remove(name, options.force),
            None if options.force => Ok(()),
            None => {
                let unknown = Error::new(format!("remove {name}"), "there is no such sandbox");
                Err(unknown.hint("nsl ps -a shows those that there are"))
            }
        }
    })
}

fn remove(name: &str, by_force: bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(claim) = Claim::remains(name)? {
            remove_log(name)?;
            claim.remove()?;
            return print(&format!("{name}\n"));
        }
        let failed = |cause| Error::new(format!("remove {name}"), cause);
        if !by_force {
            return Err(failed("it is running").hint("nsl stop it before, or use -f"));
        }
        if Instant::now() >= deadline {
            return Err(failed("it does not end, though it was killed"));
        }
        end(name, deadline)?;
    }
}

/// Kills a sandbox: what is in it, so that its nsl, which is to start nothing more, can end in order; or its nsl.
fn end(name: &str, deadline: Instant) -> Result<()> {
    let states = place::make_states()?;
    let Some(Entry { state, .. }) = Entry::read(&states, name)? else { return Ok(()) };
    let Some(monitor) = state.monitor.open()? else { return Ok(()) };
    let half = deadline.saturating_duration_since(Instant::now()) / 2;
    if let Some(init) = state.init.map(Process::open).transpose()?.flatten() {
        let _ = rustix::process::pidfd_send_signal(&monitor, Signal::TERM);
        let _ = rustix::process::pidfd_send_signal(&init, Signal::KILL);
        if has_ended(&monitor, half) {
            return Ok(());
        }
    }
    let _ = rustix::process::pidfd_send_signal(&monitor, Signal::KILL);
    has_ended(&monitor, half);
    Ok(())
}

fn has_ended(process: &OwnedFd, patience: Duration) -> bool {
    let patience = Timespec::try_from(patience).ok();
    rustix::event::poll(&mut [PollFd::new(process, PollFlags::IN)], patience.as_ref()) == Ok(1)
}

fn remove_log(name: &str) -> Result<()> {
    let Some(logs) = place::logs() else { return Ok(()) };
    let Some(log) = logs.open(name)? else { return Ok(()) };
    let failed = |errno| os(format!("remove {}", log.path().display()), errno);
    log.clear("").map_err(failed)?;
    logs.remove_directory(name).map_err(failed)
}
