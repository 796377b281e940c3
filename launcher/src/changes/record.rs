//! What nsl notes beside the changes: `changes.json`, written by the first run; `known`, what the host had in the
//! places of the changes when they were last looked at; `applying`, what an apply has begun. No decisions.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub const RECORD: &str = "changes.json";
const KNOWN: &str = "known";
const APPLYING: &str = "applying";
const VERSION: u64 = 1;

/// How the layers of a directory are put over the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layers {
    /// One over `/`: root's.
    Root,
    /// One over each directory in `/`: a user's.
    Directories,
}

/// changes.json: `{"version": 1, "started": …, "user": …, "layers": "root", "id": "…"}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Nanoseconds since the epoch, before the first run's command started and after all that the host did before.
    pub started: i64,
    /// Who ran it.
    pub user: u32,
    pub layers: Layers,
    /// 16 hexadecimal digits that no other directory has.
    pub id: String,
}

impl Record {
    /// The record of a directory; None if it has none.
    pub fn read(directory: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let Some(text) = read(directory, RECORD)? else { return Ok(None) };
        let malformed = || io::Error::other(format!("its {RECORD} is not one of nsl's, or of a newer nsl"));
        let value: Value = serde_json::from_slice(&text).map_err(|_| malformed())?;
        let record = Self {
            started: value["started"].as_i64().ok_or_else(malformed)?,
            user: value["user"].as_u64().and_then(|user| u32::try_from(user).ok()).ok_or_else(malformed)?,
            layers: match value["layers"].as_str() {
                Some("root") => Layers::Root,
                Some("directories") => Layers::Directories,
                _ => return Err(malformed()),
            },
            id: value["id"].as_str().ok_or_else(malformed)?.to_owned(),
        };
        let is_id = record.id.len() == 16 && record.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if value["version"].as_u64() != Some(VERSION) || !is_id { Err(malformed()) } else { Ok(Some(record)) }
    }

    pub fn write(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        let layers = match self.layers {
            Layers::Root => "root",
            Layers::Directories => "directories",
        };
        let value = json!({
            "version": VERSION, "started": self.started, "user": self.user, "layers": layers, "id": self.id
        });
        write(directory, RECORD, format!("{value}\n").as_bytes())
    }
}

/// What tells an entry of the host's from another one, or from itself after a change. Of a directory neither size nor
/// time, which follow from what is done in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    inode: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    size: i64,
    seconds: i64,
    nanoseconds: u64,
}

impl Key {
    pub fn of(stat: &Stat) -> Self {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let (size, seconds, nanoseconds) =
            if is_directory { (0, 0, 0) } else { (stat.st_size, stat.st_mtime, stat.st_mtime_nsec) };
        let (mode, uid, gid) = (stat.st_mode, stat.st_uid, stat.st_gid);
        Self { inode: stat.st_ino, mode, uid, gid, size, seconds, nanoseconds }
    }

    /// Is it the same one, with the same contents?
    pub fn is_same_object(&self, other: &Self) -> bool {
        (self.inode, self.mode >> 12, self.size, self.seconds, self.nanoseconds)
            == (other.inode, other.mode >> 12, other.size, other.seconds, other.nanoseconds)
    }
}

/// What the host had, by paths relative to `/`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known(pub BTreeMap<PathBuf, Key>);

impl Known {
    /// A directory without has an empty one.
    pub fn read(directory: BorrowedFd<'_>) -> io::Result<Self> {
        let text = read(directory, KNOWN)?.unwrap_or_default();
        let malformed = || io::Error::other(format!("its file '{KNOWN}' is not one of nsl's"));
        let lines = text.split(|byte| *byte == 0).filter(|line| !line.is_empty());
        lines.map(|line| parse(line).ok_or_else(malformed)).collect::<io::Result<_>>().map(Self)
    }

    /// Entries end with a NUL: the numbers of the key, then the path, with spaces between.
    pub fn write(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        let mut text = Vec::new();
        for (path, Key { inode, mode, uid, gid, size, seconds, nanoseconds }) in &self.0 {
            write!(text, "{inode} {mode} {uid} {gid} {size} {seconds} {nanoseconds} ")?;
            text.extend_from_slice(path.as_os_str().as_bytes());
            text.push(0);
        }
        write(directory, KNOWN, &text)
    }
}

fn parse(line: &[u8]) -> Option<(PathBuf, Key)> {
    let mut words = line.splitn(8, |byte| *byte == b' ');
    let mut number = || str::from_utf8(words.next()?).ok()?.parse::<i128>().ok();
    let key = Key {
        inode: number()?.try_into().ok()?,
        mode: number()?.try_into().ok()?,
        uid: number()?.try_into().ok()?,
        gid: number()?.try_into().ok()?,
        size: number()?.try_into().ok()?,
        seconds: number()?.try_into().ok()?,
        nanoseconds: number()?.try_into().ok()?,
    };
    Some((Path::new(OsStr::from_bytes(words.next()?)).to_owned(), key))
}

/// What an apply had begun when it was stopped, in the file `applying`, which is there until one comes to its end: the
/// directories that it was removing file by file, and those that it made and whose times it had not set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interrupted {
    pub removing: BTreeSet<PathBuf>,
    pub making: BTreeSet<PathBuf>,
}

impl Interrupted {
    /// None if no apply was stopped.
    pub fn read(directory: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let Some(text) = read(directory, APPLYING)? else { return Ok(None) };
        let mut interrupted = Self::default();
        for line in text.split(|byte| *byte == 0) {
            match line.split_first() {
                Some((b'-', path)) => drop(interrupted.removing.insert(PathBuf::from(OsStr::from_bytes(path)))),
                Some((b'+', path)) => drop(interrupted.making.insert(PathBuf::from(OsStr::from_bytes(path)))),
                _ => {}
            }
        }
        Ok(Some(interrupted))
    }

    /// Entries end with a NUL: a sign, then the path.
    pub fn write(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        let paths = |sign: u8, paths: &BTreeSet<PathBuf>| -> Vec<u8> {
            paths.iter().flat_map(|path| [&[sign], path.as_os_str().as_bytes(), b"\0"].concat()).collect()
        };
        write(directory, APPLYING, &[paths(b'-', &self.removing), paths(b'+', &self.making)].concat())
    }

    /// Notes one directory more that is to be removed file by file.
    pub fn removes(directory: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, APPLYING, flags, Mode::empty())?;
        rustix::io::write(&file, &[b"-", path.as_os_str().as_bytes(), b"\0"].concat())?;
        rustix::fs::fsync(&file)
    }

    /// An apply has come to its end.
    pub fn clear(directory: BorrowedFd<'_>) -> rustix::io::Result<()> {
        match rustix::fs::unlinkat(directory, APPLYING, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            result => result,
        }
    }
}

/// A file of nsl's own beside the layers; None if it is not there.
pub fn read(directory: BorrowedFd<'_>, name: &str) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut text = Vec::new();
    match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => Ok(None),
        file => File::from(file?).read_to_end(&mut text).map(|_| Some(text)),
    }
}

/// Replaces such a file at once.
pub fn write(directory: BorrowedFd<'_>, name: &str, text: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}.new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(directory, &temporary, flags, Mode::from_raw_mode(0o600))?);
    file.write_all(text)?;
    file.sync_all()?;
    Ok(rustix::fs::renameat(directory, &temporary, directory, name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_had_is_read_as_it_was_written_whatever_the_names_are() {
        let key = Key { inode: u64::MAX, mode: 0o100_644, uid: 1, gid: 2, size: i64::MAX, seconds: -1, nanoseconds: 9 };
        for path in ["a", "a b\nc", " ", "1 2 3"].map(str::as_bytes).into_iter().chain([&b"\xff/\xfe"[..]]) {
            let numbers = "18446744073709551615 33188 1 2 9223372036854775807 -1 9 ";
            let line = [numbers.as_bytes(), path].concat();
            assert_eq!(parse(&line), Some((PathBuf::from(OsStr::from_bytes(path)), key)));
        }
        for bad in ["", "1", "1 2 3 4 5 6 7", "1 2 3 4 5 6 x a", "-1 2 3 4 5 6 7 a"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
