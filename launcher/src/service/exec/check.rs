//! A check of a sandbox's health: a command in it, whose words nobody reads, and whose end says all.

use super::target::Target;
use super::{join, message, orphans};
use crate::cli::{Exec, LogLevel};
use crate::error::{Error, Result};
use crate::image;
use crate::signals::Signals;
use crate::spawn::{Ended, Files, Init, Stream};
use crate::status;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd};

/// One that runs. Dropped, it is killed.
pub struct Check(Init);

impl Check {
    /// Has `sh` in the sandbox execute a command. The signals are the caller's own, which are held back meanwhile.
    pub fn start(name: &str, command: &str, signals: &Signals) -> Result<Self> {
        let exec = Exec {
            interactive: false,
            tty: false,
            no_tty: true,
            user: None,
            workdir: None,
            env: Vec::new(),
            log_level: LogLevel::Warn,
            name: name.to_owned(),
            command: ["sh", "-c", command].map(Into::into).to_vec(),
        };
        let target = Target::find(name)?;
        let message = message::Message::new(&exec, &target, false)?;
        let blocked = signals.block()?;
        let started = message.file(blocked.mask()).and_then(|boot| {
            let init = image::init().map_err(crate::hints::memory_file)?;
            let files = Files { init, boot, streams: null_streams()?, preserved: Vec::new() };
            join::start(&target, &message, files)
        });
        signals.let_in()?;
        let init = started?;
        status::go(init.status.as_fd());
        Ok(Self(init))
    }

    /// Readable when it has ended.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.descriptor()
    }

    pub fn kill(&self) {
        self.0.signal(libc::SIGKILL);
    }

    /// It has ended; says if it did so well. What it left behind goes too, so that nothing piles up.
    pub fn finish(mut self) -> bool {
        self.clear();
        matches!(self.0.wait(), Ok(Ended::Exited(0)))
    }

    fn clear(&self) {
        orphans::kill(self.0.pid);
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        if !self.0.has_ended() {
            self.kill();
            // Not reaped yet, it keeps its number, by which those of its session are known.
            let _ = nix::poll::poll(&mut [PollFd::new(self.descriptor(), PollFlags::POLLIN)], PollTimeout::NONE);
            self.clear();
        }
    }
}

fn null_streams() -> Result<[Stream; 3]> {
    let null = || OpenOptions::new().read(true).write(true).open("/dev/null").map(|file| Stream::Pipe(file.into()));
    let all = null().and_then(|one| Ok([one, null()?, null()?]));
    all.map_err(|error| Error::io("open /dev/null", &error))
}
