//! The output of sandboxes that have a name: where it goes, how it gets there whatever the disk does, and how it is
//! read again.
//!
//! The monitor's loop reads the command's pipes ([`Output`]), makes records of lines ([`Lines`]) and queues them
//! ([`Queue`]); a thread of its own, which may wait for a disk or for the journal, writes them ([`Target`]).

mod files;
mod journald;
mod lines;
mod output;
mod queue;
mod reader;
mod record;
mod sequence;
mod tail;

pub use files::LOG;
pub use journald::is_there as has_journal;
pub use output::Output;
pub use reader::{Reader, Wanted};

use crate::cli::{LogDriver, Run};
use crate::error::{Error, Result};
use crate::service::Directory;
use crate::units;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Bytes of a file, and how many there are, the present one included.
const SIZE: u64 = 10 << 20;
const FILES: u32 = 3;
/// The largest record fits in any case.
const SIZE_MIN: u64 = 32 << 10;
const FILES_MAX: u32 = 1000;

/// Which of its streams the command wrote to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Stdout,
    Stderr,
}

impl Source {
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    pub fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Lines that are not in the log, and their bytes. A line of which a part was kept counts with its bytes alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    pub lines: u64,
    pub bytes: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
    }
}

/// The same of both streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dropped {
    pub stdout: Tally,
    pub stderr: Tally,
}

impl Dropped {
    pub fn of(self, source: Source) -> Tally {
        match source {
            Source::Stdout => self.stdout,
            Source::Stderr => self.stderr,
        }
    }

    fn add(&mut self, source: Source, tally: Tally) {
        match source {
            Source::Stdout => self.stdout += tally,
            Source::Stderr => self.stderr += tally,
        }
    }

    pub fn lines(self) -> u64 {
        self.stdout.lines + self.stderr.lines
    }
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, other: Self) {
        self.stdout += other.stdout;
        self.stderr += other.stderr;
    }
}

/// Where records go. Called by a thread that may wait, and that takes no memory: see [`queue`].
trait Target: Send {
    /// Writes records, each whole or not at all.
    fn write(&mut self, records: &[u8]) -> std::result::Result<(), Failure>;
}

/// Why not all could be written, and how many bytes of whole records were.
struct Failure {
    done: usize,
    errno: Errno,
}

/// Where the output of a sandbox goes, as the command line has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    pub driver: LogDriver,
    size: u64,
    files: u32,
}

impl Options {
    pub fn new(run: &Run) -> Result<Self> {
        let driver = run.log_driver();
        let word = driver.word();
        if run.log.is_some() && !run.is_registered() {
            return Err(
                Error::new(format!("use --log {word}"), "the sandbox has no name").hint("give it one with --name")
            );
        }
        if run.detach && driver == LogDriver::Stdout {
            return Err(Error::new("use --log stdout", "with --detach nobody is there to read it")
                .hint("file, journald or none; or leave --detach out"));
        }
        if run.tty && driver != LogDriver::Stdout {
            return Err(Error::new(format!("use --log {word}"), "the command has a terminal").hint("leave --tty out"));
        }
        if driver != LogDriver::File && (run.log_size.is_some() || run.log_files.is_some()) {
            let option = if run.log_size.is_some() { "--log-size" } else { "--log-files" };
            return Err(Error::new(format!("use {option}"), format!("with --log {word} there are no files"))
                .hint("use --log file"));
        }
        let size = run.log_size.as_deref().map_or(Ok(SIZE), |text| units::bytes("--log-size", text))?;
        if size < SIZE_MIN {
            return Err(Error::new("use --log-size", format!("{size} bytes are less than 32k")));
        }
        let files = run.log_files.unwrap_or(FILES);
        if !(1..=FILES_MAX).contains(&files) {
            return Err(Error::new("use --log-files", format!("{files} is not from 1 to {FILES_MAX}")));
        }
        Ok(Self { driver, size, files })
    }

    /// Opens what it needs; nothing if the command gets the streams as they are. `directory` is that for the files.
    pub fn open(&self, name: &str, directory: impl FnOnce() -> Result<Directory>) -> Result<Option<Output>> {
        let target: Box<dyn Target> = match self.driver {
            LogDriver::Stdout => return Ok(None),
            LogDriver::None => return Output::to_nowhere().map(Some),
            LogDriver::Journald => Box::new(journald::Journal::open(name)?),
            LogDriver::File => Box::new(files::Files::open(directory()?, self.size, self.files)?),
        };
        Output::new(target).map(Some)
    }
}
