//! The output of a command that was left by its caller: through two pipes to a sink, which is the log.

use super::directory::{Directory, os};
use crate::error::{Error, Result};
use crate::hints;
use crate::spawn::Stream;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

pub const LOG: &str = "log";
/// Bytes that are taken at once; they are the monitor's for its life.
const BUFFER: usize = 16 * 1024;

/// So often that takes all that a pipe can hold (`pipe-max-size`, proc_sys_fs(5)), and comes to an end.
const ROUNDS: usize = (1 << 20) / BUFFER;

/// Which of its streams the command wrote to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Stdout,
    Stderr,
}

/// Where output goes.
pub trait Sink {
    /// Takes bytes as they came. The command waits meanwhile, so it must not wait for anybody.
    fn take(&mut self, source: Source, bytes: &[u8]);
    /// No more will come.
    fn close(&mut self);
}

/// The pipes' ends of the monitor's.
pub struct Output {
    ends: [(Source, Option<OwnedFd>); 2],
    /// The ends of the command's, and its stdin, until it is born.
    streams: Option<[Stream; 3]>,
    sink: Box<dyn Sink>,
}

impl Output {
    /// Makes the pipes.
    pub fn new(sink: Box<dyn Sink>) -> Result<Self> {
        let failed = |errno| Error::os("make pipes for the command", errno);
        let pipe = || {
            let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
            // Of these ends alone: the command's are other descriptions.
            fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            Ok((read, write))
        };
        let null =
            OpenOptions::new().read(true).open("/dev/null").map_err(|error| Error::io("open /dev/null", &error))?;
        let (stdout, stderr) = (pipe().map_err(failed)?, pipe().map_err(failed)?);
        Ok(Self {
            ends: [(Source::Stdout, Some(stdout.0)), (Source::Stderr, Some(stderr.0))],
            streams: Some([Stream::Pipe(null.into()), Stream::Pipe(stdout.1), Stream::Pipe(stderr.1)]),
            sink,
        })
    }

    /// What the command's standard streams are, once.
    pub fn streams(&mut self) -> Option<[Stream; 3]> {
        self.streams.take()
    }

    /// What to wait for.
    pub fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        let ends = self.ends.iter().filter_map(|(_, end)| end.as_ref());
        ends.map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN))
    }

    /// Takes of each stream what there is, if it is not too much for once.
    pub fn step(&mut self) {
        self.take();
    }

    /// Takes the rest, when all that could write has ended. Who got an end from the command and lives elsewhere is not
    /// waited for.
    pub fn drain(&mut self) {
        for _ in 0..ROUNDS {
            if !self.take() {
                break;
            }
        }
        self.sink.close();
    }

    /// True if there was something.
    fn take(&mut self) -> bool {
        let mut buffer = [0; BUFFER];
        let mut taken = false;
        for (source, end) in &mut self.ends {
            let Some(from) = end else { continue };
            match nix::unistd::read(from, &mut buffer) {
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Ok(0) | Err(_) => *end = None,
                Ok(length) => {
                    self.sink.take(*source, &buffer[..length]);
                    taken = true;
                }
            }
        }
        taken
    }
}

/// Both streams into one file, as they are.
pub struct Plain(File);

impl Plain {
    pub fn open(directory: &Directory) -> Result<Self> {
        let file = directory.file(LOG, OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND);
        let failed = |errno| hints::logs(os(format!("open the log {}", directory.path().join(LOG).display()), errno));
        file.map(|file| Self(file.into())).map_err(failed)
    }
}

impl Sink for Plain {
    fn take(&mut self, _: Source, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    fn close(&mut self) {}
}
