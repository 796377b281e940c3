//! The files of a log in the order in which they were written, while a monitor renames and removes them: each is known
//! by its inode, and stays open until it is read.

use super::files;
use crate::service::Directory;
use rustix::fs::OFlags;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};

/// How often to look until nothing is renamed meanwhile. Without a newest one, after a crash, nothing is.
const LOOKS: u32 = 1000;
/// Files that a reader which is slower than the command may be behind.
const MOST: usize = 256;

/// A file, and how far it was read.
pub struct Part {
    pub file: File,
    pub offset: u64,
    id: (u64, u64),
}

impl Part {
    fn new(file: File) -> Result<Self> {
        let found = file.metadata()?;
        Ok(Self { file, offset: 0, id: (found.dev(), found.ino()) })
    }

    pub fn size(&self) -> Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Reads what comes next, as much as there is and fits.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.file.read_at(buffer, self.offset) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

pub struct Sequence {
    directory: Directory,
    /// The oldest first; the last one is, or was, the one that is written to.
    pub parts: VecDeque<Part>,
}

impl Sequence {
    /// All that is there.
    pub fn new(directory: Directory) -> Result<Self> {
        let mut sequence = Self { directory, parts: VecDeque::new() };
        sequence.extend()?;
        Ok(sequence)
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Opens the files that have come since. False if others came and went between the last one that is known and them.
    pub fn extend(&mut self) -> Result<bool> {
        if self.parts.len() > MOST {
            return Ok(true);
        }
        let known = self.parts.back().map(|part| part.id);
        let mut looked = self.look(known)?;
        for _ in 1..LOOKS {
            // While the newest is the newest, each file has had at most one more name: they are in order.
            let is_so = |newest: &Part| self.directory.holds(files::LOG, newest.file.as_fd());
            if looked.0.first().is_none_or(is_so) {
                break;
            }
            looked = self.look(known)?;
        }
        let (mut new, is_known) = looked;
        let is_gapless = is_known || known.is_none() || new.is_empty();
        new.reverse();
        self.parts.extend(new);
        Ok(is_gapless)
    }

    /// The files that are there, up to the one that is `known`, the newest first; and whether that was found.
    ///
    /// A file only ever gets older names. Looked for from the newest name on, it has not been seen yet when it gets the
    /// next one, or it has: none is missed, and one that is seen twice is the same.
    fn look(&self, known: Option<(u64, u64)>) -> Result<(Vec<Part>, bool)> {
        let mut found: Vec<Part> = Vec::new();
        let mut oldest = self.oldest()?;
        for age in 0.. {
            // There may be more of them by now.
            if age > oldest {
                oldest = self.oldest()?;
                if age > oldest {
                    break;
                }
            }
            let part = match self.directory.file(&files::name(age), OFlags::RDONLY) {
                Ok(file) => Part::new(file.into())?,
                Err(rustix::io::Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if Some(part.id) == known {
                return Ok((found, true));
            }
            if found.iter().all(|before| before.id != part.id) {
                found.push(part);
            }
        }
        Ok((found, false))
    }

    /// The age of the oldest one; or a bit more, since they may get older while they are listed.
    fn oldest(&self) -> Result<u32> {
        let names = self.directory.names().map_err(Error::from)?;
        Ok(names.iter().filter_map(|name| files::age(name)).max().unwrap_or_default() + 2)
    }
}
