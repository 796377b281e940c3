//! The output of a command that was left by its caller: two pipes, which are read whatever becomes of what comes.

use super::lines::Lines;
use super::{Dropped, Source, Target};
use crate::error::{Error, Result};
use crate::spawn::Stream;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Bytes that are read at once: a page, and up to as many as a pipe has while it is found full.
const LEAST: usize = 4 << 10;
const MOST: usize = 64 << 10;
/// So often that takes all that a pipe can hold (`pipe-max-size`, proc_sys_fs(5)), and comes to an end.
const ROUNDS: usize = (1 << 20) / LEAST;
/// How often it is noted at most that something was dropped; and how long nothing comes until memory is given back.
const PAUSE: Duration = Duration::from_secs(1);

/// The pipes' ends of the monitor's.
pub struct Output {
    ends: [(Source, Option<OwnedFd>); 2],
    /// The ends of the command's, and its stdin, until it is born.
    streams: Option<[Stream; 3]>,
    /// What was read, whose it is, and from where to where it has not been taken yet.
    buffer: Vec<u8>,
    source: Source,
    held: (usize, usize),
    lines: Option<Lines>,
    /// Since when there is more memory than is needed.
    idle_since: Option<Instant>,
    /// What was noted of what was dropped, and when.
    noted: (Dropped, Option<Instant>),
}

impl Output {
    /// Makes the pipes.
    pub(super) fn new(target: Box<dyn Target>) -> Result<Self> {
        let failed = |errno| Error::os("make pipes for the command", errno);
        let pipe = || {
            let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
            // Of these ends alone: the command's are other descriptions.
            fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            Ok((read, write))
        };
        let (stdout, stderr) = (pipe().map_err(failed)?, pipe().map_err(failed)?);
        let streams = [Stream::Pipe(null()?.into()), Stream::Pipe(stdout.1), Stream::Pipe(stderr.1)];
        let mut output = Self::without_pipes(streams);
        output.lines = Some(Lines::new(target).map_err(|errno| Error::os("make a queue for the log", errno))?);
        output.ends = [(Source::Stdout, Some(stdout.0)), (Source::Stderr, Some(stderr.0))];
        Ok(output)
    }

    /// Has the command write to /dev/null.
    pub(super) fn to_nowhere() -> Result<Self> {
        let stream = || Ok(Stream::Pipe(null()?.into()));
        Ok(Self::without_pipes([stream()?, stream()?, stream()?]))
    }

    fn without_pipes(streams: [Stream; 3]) -> Self {
        Self {
            ends: [(Source::Stdout, None), (Source::Stderr, None)],
            streams: Some(streams),
            buffer: Vec::new(),
            source: Source::Stdout,
            held: (0, 0),
            lines: None,
            idle_since: None,
            noted: (Dropped::default(), None),
        }
    }

    /// What the command's standard streams are, once.
    pub fn streams(&mut self) -> Option<[Stream; 3]> {
        self.streams.take()
    }

    /// What to wait for: nothing more is read while there is no room for what was.
    pub fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        let reads = !self.is_held();
        let ends = self.ends.iter().filter_map(|(_, end)| end.as_ref()).filter(move |_| reads).map(AsFd::as_fd);
        let all = ends.chain(self.lines.as_ref().and_then(Lines::event));
        all.map(|from| PollFd::new(from, PollFlags::POLLIN))
    }

    /// When it is to go on even if nothing happens.
    pub fn due(&self) -> Option<Instant> {
        let full = self.lines.as_ref().filter(|_| self.is_held()).and_then(Lines::due);
        let (noted, when) = &self.noted;
        let news = when.filter(|_| self.dropped() != *noted).map(|when| when + PAUSE);
        let idle = self.idle_since.map(|since| since + PAUSE);
        [full, news, idle].into_iter().flatten().min()
    }

    pub fn dropped(&self) -> Dropped {
        self.lines.as_ref().map(Lines::dropped).unwrap_or_default()
    }

    /// What was dropped, if that is to be noted.
    pub fn news(&mut self) -> Option<Dropped> {
        let dropped = self.dropped();
        let (noted, when) = &self.noted;
        if dropped == *noted || when.is_some_and(|when| when.elapsed() < PAUSE) {
            return None;
        }
        self.noted = (dropped, Some(Instant::now()));
        Some(dropped)
    }

    /// Takes of each stream what there is, if it is not too much for once.
    pub fn step(&mut self) {
        let is_large = self.lines.as_mut().is_some_and(Lines::tend);
        if self.take() || !is_large {
            self.idle_since = None;
        } else if self.idle_since.get_or_insert_with(Instant::now).elapsed() >= PAUSE {
            self.buffer = Vec::new();
            self.lines.iter().for_each(Lines::shrink);
            self.idle_since = None;
        }
    }

    /// Takes the rest, when all that could write has ended. Who got an end from the command and lives elsewhere is not
    /// waited for.
    pub fn drain(&mut self) {
        let mut rounds = 0;
        while rounds < ROUNDS && self.take() {
            let is_held = self.is_held();
            let Some(lines) = self.lines.as_mut().filter(|_| is_held) else {
                rounds += 1;
                continue;
            };
            let left = lines.due().map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()));
            let left = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            let mut event: Vec<_> =
                lines.event().map(|event| PollFd::new(event, PollFlags::POLLIN)).into_iter().collect();
            let _ = nix::poll::poll(&mut event, left);
            lines.tend();
        }
        self.ends.iter_mut().for_each(|(_, end)| *end = None);
        self.lines.iter_mut().for_each(Lines::close);
    }

    /// True if there may be more.
    fn take(&mut self) -> bool {
        if !self.hand_on() {
            return true;
        }
        let mut taken = false;
        for index in 0..self.ends.len() {
            taken |= self.read(index);
            if !self.hand_on() {
                return true;
            }
        }
        taken
    }

    /// Reads from a stream; true if there was something.
    fn read(&mut self, index: usize) -> bool {
        let (source, end) = &mut self.ends[index];
        let Some(from) = end else { return false };
        self.buffer.resize(self.buffer.len().max(LEAST), 0);
        match nix::unistd::read(from, &mut self.buffer) {
            Err(Errno::EAGAIN | Errno::EINTR) => false,
            Ok(0) | Err(_) => {
                *end = None;
                false
            }
            Ok(length) => {
                (self.source, self.held) = (*source, (0, length));
                true
            }
        }
    }

    fn is_held(&self) -> bool {
        self.held.0 < self.held.1
    }

    /// Hands on what was read; true if nothing of it is left.
    fn hand_on(&mut self) -> bool {
        if !self.is_held() {
            return true;
        }
        let (start, end) = self.held;
        let taken = self.lines.as_mut().map_or(end - start, |lines| lines.take(self.source, &self.buffer[start..end]));
        self.held.0 += taken;
        if self.is_held() {
            return false;
        }
        self.fit(end);
        true
    }

    /// Has the buffer be as large as what comes.
    fn fit(&mut self, length: usize) {
        if length == self.buffer.len() {
            self.buffer.resize((2 * length).min(MOST), 0);
        } else if length < LEAST && self.buffer.len() > LEAST {
            self.buffer = vec![0; LEAST];
        }
    }
}

impl Drop for Output {
    /// Not drained where something failed.
    fn drop(&mut self) {
        self.drain();
    }
}

fn null() -> Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/null").map_err(|error| Error::io("open /dev/null", &error))
}
