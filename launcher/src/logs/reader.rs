//! Prints a log: what is in its files, and what comes, whatever is renamed meanwhile.

use super::Source;
use super::record::Record;
use super::sequence::Sequence;
use super::tail;
use crate::cli::Logs;
use crate::error::{Error, Result};
use crate::service::Directory;
use crate::{log, units};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{CreateFlags, WatchFlags};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, SystemTime};

/// Bytes that are read and written at once.
const BUFFER: usize = 256 << 10;
/// Between two looks.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
const GONE: &str = "some lines were removed before they could be read (hint: a larger --log-size, or more --log-files)";

/// What is to be printed of it.
pub struct Wanted {
    follow: bool,
    tail: Option<u64>,
    /// As records have it, which makes words that one can compare.
    since: Option<String>,
    timestamps: bool,
}

impl Wanted {
    pub fn new(options: &Logs) -> Result<Self> {
        let since = options.since.as_deref().map(since).transpose()?;
        let since = since.map(|time| humantime::format_rfc3339_nanos(time).to_string());
        Ok(Self { follow: options.follow, tail: options.tail, since, timestamps: options.timestamps })
    }
}

/// A time, or that long ago.
fn since(text: &str) -> Result<SystemTime> {
    if let Some(time) = time(text) {
        return Ok(time);
    }
    let failed = |_| {
        Error::new("use --since", format!("'{text}' is neither a time nor a duration"))
            .hint("such as 2026-11-24T10:00:00Z or 10m")
    };
    let ago = Duration::from_millis(units::milliseconds("--since", text).map_err(failed)?.into());
    Ok(SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// RFC 3339, in UTC or with an offset.
fn time(text: &str) -> Option<SystemTime> {
    let parse = |text| humantime::parse_rfc3339_weak(text).ok();
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    if !offset.starts_with(['+', '-']) {
        return parse(text);
    }
    let (hours, minutes) = offset[1..].split_once(':')?;
    let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok().filter(|minutes| *minutes < 60)?);
    let by = Duration::from_secs(u64::from(hours * 60 + minutes) * 60);
    if offset.starts_with('+') { parse(local)?.checked_sub(by) } else { parse(local)?.checked_add(by) }
}

pub struct Reader {
    sequence: Sequence,
    wanted: Wanted,
    printer: Printer,
    buffer: Vec<u8>,
}

type Step<T> = std::result::Result<T, Stop>;

/// Why not all is printed.
enum Stop {
    /// Whoever reads it wants no more.
    Closed,
    Failed(std::io::Error),
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Reader {
    pub fn new(directory: Directory, wanted: Wanted) -> Result<Self> {
        let path = directory.path().to_owned();
        let failed = |error: std::io::Error| Error::io(format!("read the log in {}", path.display()), &error);
        let mut sequence = Sequence::new(directory).map_err(failed)?;
        if let Some(lines) = wanted.tail {
            tail::seek(&mut sequence.parts, lines).map_err(failed)?;
        }
        let printer = Printer { since: wanted.since.clone(), timestamps: wanted.timestamps, ..Printer::default() };
        Ok(Self { sequence, wanted, printer, buffer: vec![0; BUFFER] })
    }

    /// Prints what is there; and what comes until `monitor`, who writes it, has ended.
    pub fn print(mut self, monitor: Option<&OwnedFd>) -> Result<()> {
        let result = if self.wanted.follow { self.follow(monitor) } else { self.read(true) };
        match result.and_then(|()| self.printer.flush()) {
            Ok(()) | Err(Stop::Closed) => Ok(()),
            Err(Stop::Failed(error)) => {
                let path = self.sequence.directory().path().display();
                Err(Error::io(format!("read the log in {path}"), &error))
            }
        }
    }

    fn follow(&mut self, monitor: Option<&OwnedFd>) -> Step<()> {
        let watch = self.watch().ok();
        // A user has only so many watches; without one it looks now and then.
        let pause = watch.is_none().then_some(PAUSE);
        loop {
            // Before what it wrote is read: all of that is there then.
            let has_ended = monitor.is_none_or(|monitor| is_ready(monitor, PollFlags::IN));
            while watch.as_ref().is_some_and(|watch| rustix::io::read(watch, &mut self.buffer[..]).is_ok()) {}
            self.extend()?;
            self.read(has_ended)?;
            self.printer.flush()?;
            if has_ended {
                return Ok(());
            }
            let stdout = std::io::stdout();
            let mut waiting = vec![PollFd::new(&stdout, PollFlags::empty())];
            waiting.extend(watch.iter().chain(monitor).map(|from| PollFd::new(from, PollFlags::IN)));
            let _ = rustix::event::poll(&mut waiting, pause.as_ref());
            if waiting[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
                return Err(Stop::Closed);
            }
        }
    }

    /// Readable when something is written to a file of the log, or one gets another name.
    fn watch(&self) -> rustix::io::Result<OwnedFd> {
        let watch = rustix::fs::inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let path = format!("/proc/self/fd/{}", self.sequence.directory().as_fd().as_raw_fd());
        let events = WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        rustix::fs::inotify::add_watch(&watch, path, events)?;
        Ok(watch)
    }

    /// Opens what has come. What comes while it is read must be seen before it is gone.
    fn extend(&mut self) -> Step<()> {
        if !self.sequence.extend()? {
            self.printer.flush()?;
            log::tell(GONE);
        }
        Ok(())
    }

    /// Reads the files, all but the last of which are complete; that one as far as it is now, and if it `is_complete`
    /// to the very end.
    fn read(&mut self, is_complete: bool) -> Step<()> {
        loop {
            let is_last = self.sequence.parts.len() <= 1;
            let Some(part) = self.sequence.parts.front() else { return Ok(()) };
            let end = part.size()?;
            self.read_to(end)?;
            let Some(part) = self.sequence.parts.front() else { return Ok(()) };
            if !is_last || is_complete {
                self.read_rest()?;
            } else if part.offset > end {
                // It was cut to nothing, by somebody who keeps logs short.
                self.sequence.parts[0].offset = end;
            }
            if is_last {
                return Ok(());
            }
            self.sequence.parts.pop_front();
        }
    }

    /// Reads whole records of the first file, up to `end`.
    fn read_to(&mut self, end: u64) -> Step<()> {
        loop {
            let part = &mut self.sequence.parts[0];
            let left = usize::try_from(end.saturating_sub(part.offset)).unwrap_or(usize::MAX).min(BUFFER);
            let length = part.read(&mut self.buffer[..left])?;
            // The rest of what begins there is read again with its end: until then it may be taken back.
            let Some(whole) = memchr::memrchr(b'\n', &self.buffer[..length]) else { return Ok(()) };
            part.offset += whole as u64 + 1;
            self.printer.records(&self.buffer[..=whole])?;
            if self.wanted.follow {
                self.extend()?;
            }
        }
    }

    /// Reads what has no end, since its monitor was killed.
    fn read_rest(&mut self) -> Step<()> {
        let part = &mut self.sequence.parts[0];
        let length = part.read(&mut self.buffer)?;
        if self.wanted.follow || memchr::memchr(b'\n', &self.buffer[..length]).is_none() {
            part.offset += length as u64;
            self.buffer[length.min(BUFFER - 1)] = b'\n';
            self.printer.records(&self.buffer[..=length.min(BUFFER - 1)])?;
        }
        Ok(())
    }
}

fn is_ready(descriptor: &OwnedFd, flags: PollFlags) -> bool {
    rustix::event::poll(&mut [PollFd::new(descriptor, flags)], Some(&Timespec::default())) == Ok(1)
}

/// Writes text to the stream that it came from.
struct Printer {
    since: Option<String>,
    timestamps: bool,
    /// In the middle of a line.
    open: [bool; 2],
    /// Text of one stream that is yet to be written: both may lead to the same place, where the order matters.
    text: Vec<u8>,
    source: Source,
}

impl Default for Printer {
    fn default() -> Self {
        Self { since: None, timestamps: false, open: [false; 2], text: Vec::new(), source: Source::Stdout }
    }
}

impl Printer {
    fn records(&mut self, bytes: &[u8]) -> Step<()> {
        for line in super::record::split(bytes) {
            let Some(record) = Record::parse(&line[..line.len() - 1]) else { continue };
            if self.since.as_ref().is_some_and(|since| record.time < since.as_bytes()) {
                continue;
            }
            if record.source != self.source || self.text.len() >= BUFFER {
                self.flush()?;
                self.source = record.source;
            }
            let open = &mut self.open[record.source as usize];
            if self.timestamps && !*open {
                self.text.extend_from_slice(record.time);
                self.text.push(b' ');
            }
            self.text.extend_from_slice(record.text);
            if record.is_whole {
                self.text.push(b'\n');
            }
            *open = !record.is_whole;
        }
        Ok(())
    }

    fn flush(&mut self) -> Step<()> {
        let written = match self.source {
            _ if self.text.is_empty() => return Ok(()),
            Source::Stdout => {
                // Not by std's own buffer, which searches for ends of lines.
                let mut stdout = std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
                stdout.write_all(&self.text)
            }
            Source::Stderr => std::io::stderr().write_all(&self.text),
        };
        self.text.clear();
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Stop::Closed),
            result => Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_ago() {
        let at = |text| time(text).map(|time| humantime::format_rfc3339(time).to_string());
        assert_eq!(at("2026-11-24T10:00:00Z").as_deref(), Some("2026-11-24T10:00:00Z"));
        assert_eq!(at("2026-11-24 10:00:00").as_deref(), Some("2026-11-24T10:00:00Z"));
        assert_eq!(at("2026-11-24T10:00:00.5+02:00").as_deref(), Some("2026-11-24T08:00:00.500000000Z"));
        assert_eq!(at("2026-11-24T10:00:00-00:30").as_deref(), Some("2026-11-24T10:30:00Z"));
        for bad in ["", "10", "2026", "2026-11-24", "2026-11-24T10:00:00+0200", "2026-11-24T10:00:00+02:60", "ä:00:00"]
        {
            assert_eq!(time(bad), None, "{bad}");
        }
        let ago = since("10m").unwrap().elapsed().unwrap();
        assert!((600..602).contains(&ago.as_secs()));
        assert!(since("soon").unwrap_err().to_string().contains("neither a time nor a duration"));
    }
}
