//! What an nsl notes of its own sandbox, from the moment on when the name is its.

use super::claim::Claim;
use super::directory::os;
use super::entry::BOOT;
use super::monitor::Caller;
use super::place;
use super::process::Process;
use super::ready::{self, Ready};
use super::state::{self, Exit, Log, State, Status, VERSION};
use crate::cli::{LogDriver, Run};
use crate::error::{Error, Result};
use crate::logs::{self, Dropped, Output};
use crate::{hints, log};
use rustix::fs::OFlags;
use serde_json::Value;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;
use tracing::warn;

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Service {
    claim: Claim,
    state: State,
    /// Who waits for the start.
    caller: Option<Caller>,
    /// How the command says that it is ready.
    ready: Option<Ready>,
    /// It has not said so yet, and somebody waits for that.
    is_awaited: bool,
    /// It is to start again when it has ended.
    restarts: bool,
    /// Somebody wants it to end for good.
    is_final: bool,
    /// What is known of it stays behind its end. One that has got its name for other reasons leaves nothing.
    is_kept: bool,
}

/// A file that says that the command is to start again. Whoever ends a sandbox for good takes it away: that can be done
/// in a full file system, too.
pub const RESTART: &str = "restart";

impl Service {
    /// Takes the name, and notes that the sandbox is about to start.
    pub fn register(run: &Run, stop_timeout_ms: u32, restarts: bool, caller: Option<Caller>) -> Result<Self> {
        let words = |words: &mut dyn Iterator<Item = &std::ffi::OsStr>| -> Vec<String> {
            words.map(|word| word.to_string_lossy().into_owned()).collect()
        };
        let claim = Claim::take(run.name.as_deref()).map_err(hints::states)?;
        let mut options: Vec<_> = std::env::args_os().collect();
        if let Some(merged) = &run.merged {
            // A profile may say something else tomorrow.
            options.splice(2.., merged.iter().cloned());
        }
        let state = State {
            version: VERSION,
            name: claim.name().to_owned(),
            created: state::now(),
            command: words(&mut run.command.iter().map(AsRef::as_ref)),
            options: words(&mut options.iter().map(AsRef::as_ref)),
            directory: std::env::current_dir().ok().map(|path| path.to_string_lossy().into_owned()),
            monitor: Process::of(std::process::id()).unwrap_or_default(),
            stop_timeout_ms,
            ..State::default()
        };
        let (is_awaited, is_kept) = (run.ready, run.detach || run.name.is_some());
        let service = Self { claim, state, caller, ready: None, is_awaited, restarts, is_final: false, is_kept };
        let noted = service.claim.write(&service.state).and_then(|()| service.mark());
        let noted = noted.map_err(|error| Error::io(format!("note the state of {}", service.state.name), &error));
        let ready = noted.and_then(|()| run.ready.then(|| Ready::new(service.claim.directory())).transpose());
        match ready {
            Ok(ready) => Ok(Self { ready, ..service }),
            Err(error) => {
                service.forget();
                Err(hints::states(error))
            }
        }
    }

    /// The socket on which the command is to say that it is ready.
    pub fn notify_socket(&self) -> Option<&Path> {
        self.ready.as_ref().map(Ready::path)
    }

    /// What to wait for while the command is not ready.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.ready.as_ref().map(Ready::descriptor)
    }

    /// A message that has come there.
    pub fn hear(&mut self) -> Option<String> {
        let message = self.ready.as_ref().and_then(Ready::hear)?;
        if self.is_awaited && ready::says_so(&message) {
            self.is_awaited = false;
            // Who starts again says it again; and a service manager may hear more.
            self.ready.take_if(|_| self.caller.is_some() && !self.restarts);
            self.let_the_caller_go();
        }
        Some(message)
    }

    /// Has the command yet to say that it is ready?
    pub fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    fn mark(&self) -> std::io::Result<()> {
        if self.restarts {
            self.claim.directory().file(RESTART, OFlags::WRONLY | OFlags::CREATE)?;
        }
        Ok(())
    }

    /// Is it to start again? It is not if it never came so far that its caller was let go, or was ended for good.
    pub fn may_restart(&self) -> bool {
        let is_marked = || self.claim.directory().file(RESTART, OFlags::RDONLY).is_ok();
        self.restarts && self.state.started.is_some() && !self.is_awaited && !self.is_final && is_marked()
    }

    /// It has ended, and starts again after a pause.
    pub fn pause(&mut self, exit: Exit, pause: Duration) {
        self.state.pause(exit, pause);
        self.note();
    }

    /// What its checks say of it.
    pub fn health(&mut self, word: &str) {
        self.state.health = Some(word.to_owned());
        self.note();
    }

    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Opens what the output of the command goes to; nothing if that is what nsl's own goes to.
    pub fn output(&mut self, log: &logs::Options) -> Result<Option<Output>> {
        let name = self.claim.name();
        let mut path = None;
        let output = log.open(name, || {
            let directory = place::make_logs(name)?;
            path = Some(directory.path().join(logs::LOG).to_string_lossy().into_owned());
            Ok(directory)
        })?;
        self.state.log = Some(Log { driver: log.driver.word().to_owned(), path, dropped: Dropped::default() });
        Ok(output)
    }

    /// Not all of the output is in the log.
    pub fn dropped(&mut self, dropped: Dropped) {
        if let Some(log) = self.state.log.as_mut().filter(|log| log.dropped != dropped) {
            log.dropped = dropped;
            self.note();
        }
    }

    /// Keeps the boot message: by it whoever joins later has the same rights.
    pub fn keep_boot(&self, message: BorrowedFd<'_>) -> Result<()> {
        let directory = self.claim.directory();
        let copy = || {
            let copy = directory.file(BOOT, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
            let mut offset = 0;
            while rustix::fs::sendfile(copy.as_fd(), message, Some(&mut offset), 1 << 30)? > 0 {}
            Ok(())
        };
        copy().map_err(|errno| hints::states(os(format!("keep the boot message of {}", self.state.name), errno)))
    }

    /// The command runs.
    pub fn started(&mut self, init: u32, network: Option<Value>) {
        self.state.begin(Process::of(init), network);
        self.note();
        if !self.is_awaited {
            self.let_the_caller_go();
        }
    }

    fn let_the_caller_go(&mut self) {
        if let Some(caller) = self.caller.take() {
            caller.started(&self.state.name);
        }
    }

    /// It was asked to end.
    pub fn stopping(&mut self, is_asked: bool) {
        self.is_final = true;
        if is_asked && self.state.status == Status::Running {
            self.state.status = Status::Stopping;
            self.note();
        }
    }

    /// It has ended. One that has never run leaves nothing: whoever asked for it is told why.
    pub fn ended(mut self, exit: Exit) {
        if self.state.started.is_none() || !self.is_kept {
            return self.forget();
        }
        if self.is_awaited && self.caller.is_some() {
            let name = &self.state.name;
            log::tell(&format!(
                "cannot wait until {name} is ready: it ended before it said so (hint: nsl logs {name})"
            ));
        }
        self.state.end(exit);
        self.note();
    }

    fn note(&self) {
        if let Err(error) = self.claim.write(&self.state) {
            warn!("cannot note the state of {}: {error}", self.state.name);
        }
    }

    fn forget(self) {
        if self.state.log.as_ref().is_some_and(|log| log.driver == LogDriver::File.word()) {
            place::remove_empty_log(self.claim.name());
        }
        if let Err(error) = self.claim.remove() {
            warn!("{error}");
        }
    }
}
