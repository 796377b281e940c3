//! `nsl stop`: asks sandboxes to end, all at once; those that do not in time are killed.

use super::entry::Entry;
use super::process::Process;
use super::{each, print};
use crate::cli::Stop;
use crate::error::{Error, Result};
use crate::units;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Resource, Rlimit, Signal};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long the end may take that nobody can put off.
const PATIENCE: Duration = Duration::from_secs(5);

/// A sandbox on its way to its end.
struct Stopping {
    monitor: OwnedFd,
    init: Option<Process>,
    deadline: Instant,
    stage: Stage,
}

/// What has been done about it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asked,
    /// All that is in it was killed.
    Killed,
    /// Its nsl was killed too.
    Orphaned,
    GivenUp,
}

pub fn stop(options: &Stop) -> Result<u8> {
    let grace = options.time.as_deref().map(|text| units::milliseconds("--time", text)).transpose()?;
    allow_many_files();
    let mut all = BTreeMap::new();
    let mut failed = BTreeMap::new();
    for name in &options.names {
        match Stopping::ask(name, grace) {
            Ok(stopping) => drop(all.insert(name.as_str(), stopping)),
            Err(error) => drop(failed.insert(name.as_str(), error)),
        }
    }
    wait_for_all(&mut all);
    each(&options.names, |name| match failed.remove(name) {
        Some(error) => Err(error),
        None if all.contains_key(name) => {
            Err(Error::new(format!("stop {name}"), "it does not end, though it was killed")
                .hint("see the state of its processes: one in D waits for a device"))
        }
        None => print(&format!("{name}\n")),
    })
}

/// One is open for each sandbox: as many as this process may have, not as it has unless it asks.
fn allow_many_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Takes those away that have ended, and kills those whose time is up, until none is left that can be helped.
fn wait_for_all(all: &mut BTreeMap<&str, Stopping>) {
    let next = |all: &BTreeMap<&str, Stopping>| {
        all.values().filter(|one| one.stage != Stage::GivenUp).map(|one| one.deadline).min()
    };
    while let Some(next) = next(all) {
        let left = next.saturating_duration_since(Instant::now());
        let mut waiting: Vec<_> = all.values().map(|one| PollFd::new(&one.monitor, PollFlags::IN)).collect();
        let _ = rustix::event::poll(&mut waiting, Timespec::try_from(left).ok().as_ref());
        let mut ended = waiting.iter().map(|poll| !poll.revents().is_empty()).collect::<Vec<_>>().into_iter();
        all.retain(|_, _| !ended.next().unwrap_or(false));
        let now = Instant::now();
        all.values_mut().filter(|one| one.deadline <= now).for_each(Stopping::press);
    }
}

impl Stopping {
    /// The same way as if somebody had sent SIGTERM to its nsl, or the service manager had.
    fn ask(name: &str, grace_ms: Option<u32>) -> Result<Self> {
        let Entry { state, .. } = Entry::find_living(name)?;
        let ended = || Error::new(format!("stop {name}"), "it has ended just now");
        let monitor = state.monitor.open()?.ok_or_else(ended)?;
        let _ = rustix::process::pidfd_send_signal(&monitor, Signal::TERM);
        let grace = Duration::from_millis(grace_ms.unwrap_or(state.stop_timeout_ms).into());
        Ok(Self { monitor, init: state.init, deadline: Instant::now() + grace, stage: Stage::Asked })
    }

    /// Kills what is in it, so that its nsl notes an end; where that does not help, or before there is anything, its nsl,
    /// whose end is that of all.
    fn press(&mut self) {
        let init = self.init.and_then(|init| init.open().ok().flatten());
        let (victim, stage) = match (self.stage, &init) {
            (Stage::Asked, Some(init)) => (init, Stage::Killed),
            (Stage::Asked | Stage::Killed, _) => (&self.monitor, Stage::Orphaned),
            _ => (&self.monitor, Stage::GivenUp),
        };
        let _ = rustix::process::pidfd_send_signal(victim, Signal::KILL);
        self.deadline = Instant::now() + PATIENCE;
        self.stage = stage;
    }
}
