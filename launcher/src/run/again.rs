//! One start after another: what lives on between them, and the wait. All in one process: what a start makes is gone when
//! its sandbox is dropped, and what is to stay is here.

use crate::cli;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::net;
use crate::restart::{Policy, Restarts};
use crate::service::Caller;
use crate::signals::Signals;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What outlives a start.
pub struct Lasting {
    /// There may be another one.
    pub restarts: bool,
    preserved: Vec<OwnedFd>,
    /// Caught from the first start on.
    pub signals: Option<Signals>,
    /// Ports, and the addresses of the last start.
    pub network: net::Lasting,
}

impl Lasting {
    /// Descriptors of the caller's, for one start.
    pub fn preserved(&mut self) -> Result<Vec<OwnedFd>> {
        if !self.restarts {
            return Ok(std::mem::take(&mut self.preserved));
        }
        let copies = self.preserved.iter().map(OwnedFd::try_clone).collect::<std::io::Result<_>>();
        copies.map_err(|error| Error::io("hand on descriptors", &error))
    }
}

/// Starts the command, again and again if that is asked for; returns the exit code of the last start.
pub fn carry_out(run: &cli::Run, preserved: Vec<OwnedFd>, caller: Option<Caller>, events: &mut Events) -> Result<u8> {
    let policy = run.restart.as_deref().map_or(Ok(Policy::No), Policy::parse)?;
    let restarts = policy != Policy::No;
    let mut lasting = Lasting { restarts, preserved, signals: None, network: net::Lasting::default() };
    if !restarts {
        return super::start(run, caller, events, &mut lasting);
    }
    // Relative paths mean the same each time. Meanwhile nsl is in no directory that somebody could want to unmount.
    let directory = std::env::current_dir();
    let mut caller = caller;
    let mut runs = Restarts::new(policy);
    loop {
        let began = Instant::now();
        let result = return_to(caller.is_some(), &directory)
            .and_then(|()| super::start(run, caller.take(), events, &mut lasting));
        let _ = std::env::set_current_dir("/");
        if !events.may_restart() {
            return result;
        }
        let has_failed = !matches!(result, Ok(0)) || events.is_unwell;
        let Some(pause) = runs.next(began.elapsed(), has_failed) else { return result };
        events.pause(&result, pause);
        lasting.network.hold();
        if !wait(&mut lasting, pause)? || !events.may_restart() {
            return result;
        }
        events.begin_anew();
    }
}

fn return_to(is_first: bool, directory: &std::io::Result<PathBuf>) -> Result<()> {
    let Ok(directory) = directory else { return Ok(()) };
    if is_first {
        return Ok(());
    }
    std::env::set_current_dir(directory)
        .map_err(|error| Error::io(format!("go back to the directory {}", directory.display()), &error))
}

/// Waits; false if somebody wants no further start.
fn wait(lasting: &mut Lasting, pause: Duration) -> Result<bool> {
    let Some(signals) = &mut lasting.signals else { return Ok(true) };
    signals.let_in()?;
    let until = Instant::now() + pause;
    loop {
        let pending = signals.pending();
        if pending.iter().copied().any(is_final) {
            return Ok(false);
        }
        let left = until.saturating_duration_since(Instant::now());
        // Whoever does not want to wait any longer says: go on.
        if left.is_zero() || pending.contains(&libc::SIGCONT) {
            return Ok(true);
        }
        let left = PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
        match nix::poll::poll(&mut [PollFd::new(signals.descriptor(), PollFlags::POLLIN)], left) {
            Err(Errno::EINTR) | Ok(_) => {}
            Err(errno) => return Err(Error::os("wait for the next start", errno)),
        }
    }
}

/// Whoever sends one of these to nsl wants the command to end for good.
pub fn is_final(signal: i32) -> bool {
    matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT)
}
