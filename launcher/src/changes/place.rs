//! Puts one change onto the host, so that whoever looks sees the old or the new: what comes is made complete under a
//! name of nsl's own beside its place, and then renamed. What is decided, asked and told is not known here.
//!
//! Every path is opened from `/` without following a link on the way, so that none leads a change astray.

use crate::changes::entry::{self, Entry};
use crate::changes::put::{dress, exchange, is_as_seen, itself, make, remove_all};
use crate::changes::record::Key;
use crate::changes::walk::Change;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

type Result<T> = rustix::io::Result<T>;

/// Files that are made before they are renamed together: what it takes to have them on the disk is paid once.
const BATCH_FILES: usize = 128;
const BATCH_BYTES: u64 = 256 << 20;
/// So few are better written one by one than with all else that the file system has to write.
const FEW: usize = 4;

/// The names of what is not finished yet: `.nsl-apply-ID.N`.
pub struct Leftovers {
    prefix: String,
}

impl Leftovers {
    /// `id` is that of the directory of changes.
    pub fn new(id: &str) -> Self {
        Self { prefix: format!(".nsl-apply-{id}.") }
    }

    pub fn contain(&self, name: &OsStr) -> bool {
        name.as_bytes().starts_with(self.prefix.as_bytes())
    }

    /// Removes them from these directories, where they are there.
    pub fn remove(&self, root: BorrowedFd<'_>, directories: &[PathBuf]) -> Result<()> {
        for path in directories {
            let directory = match entry::open_directory(root, path) {
                Ok(directory) => directory,
                // Nothing of nsl's can be where nsl can't go.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::ACCESS) => continue,
                Err(errno) => return Err(errno),
            };
            for name in entry::names(directory.as_fd())?.iter().filter(|name| self.contain(name)) {
                remove_all(directory.as_fd(), name)?;
            }
        }
        Ok(())
    }
}

/// A file that is complete under its temporary name.
struct Made {
    index: usize,
    parent: Rc<OwnedFd>,
    temporary: OsString,
    file: Option<File>,
}

pub struct Placer<'a> {
    root: BorrowedFd<'a>,
    upper: BorrowedFd<'a>,
    changes: &'a [Change],
    leftovers: &'a Leftovers,
    /// Told before a directory is removed file by file.
    begin: &'a dyn Fn(&Path) -> Result<()>,
    /// Whoever is not root needs the owner's rights in a directory for as long as it works there.
    is_root: bool,
    count: u64,
    /// The directory that was used last.
    parent: Option<(PathBuf, Rc<OwnedFd>)>,
    batch: Vec<Made>,
    bytes: u64,
    /// A name that the host has of each file of several.
    links: BTreeMap<usize, PathBuf>,
    /// Directories whose mode is set once all is in them.
    open: Vec<usize>,
    /// What is done, by the numbers of the changes.
    pub done: BTreeSet<usize>,
}

impl<'a> Placer<'a> {
    pub fn new(
        root: BorrowedFd<'a>,
        upper: BorrowedFd<'a>,
        changes: &'a [Change],
        links: BTreeMap<usize, PathBuf>,
        leftovers: &'a Leftovers,
        begin: &'a dyn Fn(&Path) -> Result<()>,
    ) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let (parent, batch, open, done) = (None, Vec::new(), Vec::new(), BTreeSet::new());
        Self { root, upper, changes, leftovers, begin, is_root, count: 0, parent, batch, bytes: 0, links, open, done }
    }

    /// Places what comes; directories must come before what is in them.
    pub fn place(&mut self, index: usize) -> Result<()> {
        let change = &self.changes[index];
        let Some(new) = &change.new else { return Ok(()) };
        let (parent, name) = self.parent_of(&change.path)?;
        if new.is_directory() {
            self.flush()?;
            return self.directory(index, &parent, name);
        }
        if let Some(file) = change.link
            && let Some(first) = self.links.get(&file).cloned()
        {
            self.flush()?;
            let (from, first) = self.parent_of(&first)?;
            let temporary = self.temporary();
            rustix::fs::linkat(&*from, first, &*parent, &temporary, AtFlags::empty())?;
            self.batch.push(Made { index, parent, temporary, file: None });
            return self.flush();
        }
        let temporary = self.temporary();
        self.batch.push(Made { index, parent: Rc::clone(&parent), temporary: temporary.clone(), file: None });
        let file = if new.is_file() {
            Some(self.copy(change, new, parent.as_fd(), &temporary)?)
        } else {
            make(new, parent.as_fd(), &temporary)?;
            None
        };
        // Of more the file system is told as a whole.
        if self.batch.len() <= FEW
            && let Some(made) = self.batch.last_mut()
        {
            made.file = file;
        }
        if let Some(file) = change.link {
            self.flush()?;
            self.links.insert(file, change.path.clone());
        }
        if self.batch.len() >= BATCH_FILES || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Gives the files that are complete their names.
    pub fn flush(&mut self) -> Result<()> {
        if self.batch.len() > FEW {
            rustix::fs::syncfs(self.root)?;
        } else {
            self.batch.iter().filter_map(|made| made.file.as_ref()).try_for_each(rustix::fs::fsync)?;
        }
        self.bytes = 0;
        for made in &self.batch {
            exchange(&self.changes[made.index], made.parent.as_fd(), &made.temporary, self.begin)?;
            self.done.insert(made.index);
        }
        self.batch.clear();
        Ok(())
    }

    /// Removes what goes.
    pub fn remove(&mut self, index: usize) -> Result<()> {
        let change = &self.changes[index];
        let (parent, name) = self.parent_of(&change.path)?;
        let Some(old) = &change.old else { return Ok(()) };
        if !is_as_seen(parent.as_fd(), name, Some(old))? {
            return Err(Errno::STALE);
        }
        if old.is_directory() {
            let temporary = self.temporary();
            match rustix::fs::renameat(&*parent, name, &*parent, &temporary) {
                Err(Errno::XDEV) => {
                    (self.begin)(&change.path)?;
                    remove_all(parent.as_fd(), name)?;
                }
                renamed => {
                    renamed?;
                    self.done.insert(index);
                    return remove_all(parent.as_fd(), &temporary);
                }
            }
        } else {
            rustix::fs::unlinkat(&*parent, name, AtFlags::empty())?;
        }
        self.done.insert(index);
        Ok(())
    }

    /// Once all is in its place: no right that was lent stays, and all of it is on the disk.
    pub fn finish(&mut self) -> Result<()> {
        while let Some(index) = self.open.pop() {
            let change = &self.changes[index];
            let Some(new) = &change.new else { continue };
            let directory = entry::enter_directory(self.root, &change.path)?;
            rustix::fs::chmod(itself(directory.as_fd()), Mode::from_raw_mode(new.mode()))?;
        }
        rustix::fs::syncfs(self.root)
    }

    /// After a failure: nothing unfinished stays, and no right that was lent.
    pub fn give_up(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let removed =
            batch.iter().filter(|made| !self.done.contains(&made.index)).try_for_each(|made| {
                match remove_all(made.parent.as_fd(), &made.temporary) {
                    Err(Errno::NOENT) => Ok(()),
                    result => result,
                }
            });
        self.finish().and(removed)
    }

    fn temporary(&mut self) -> OsString {
        self.count += 1;
        format!("{}{}", self.leftovers.prefix, self.count).into()
    }

    fn parent_of<'p>(&mut self, path: &'p Path) -> Result<(Rc<OwnedFd>, &'p OsStr)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
        if let Some((known, directory)) = &self.parent
            && known == parent
        {
            return Ok((Rc::clone(directory), name));
        }
        let directory = Rc::new(entry::enter_directory(self.root, parent)?);
        self.parent = Some((parent.to_owned(), Rc::clone(&directory)));
        Ok((directory, name))
    }

    fn copy(&mut self, change: &Change, new: &Entry, parent: BorrowedFd<'_>, temporary: &OsStr) -> Result<File> {
        let mut from = entry::open_file(self.upper, change.path.as_os_str())?;
        if Key::of(&rustix::fs::fstat(&from)?) != Key::of(&new.stat) {
            return Err(Errno::STALE);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut to = File::from(rustix::fs::openat(parent, temporary, flags, Mode::RUSR | Mode::WUSR)?);
        let length =
            std::io::copy(&mut from, &mut to).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        self.bytes += length;
        dress(to.as_fd(), new, new.mode())?;
        Ok(to)
    }

    fn directory(&mut self, index: usize, parent: &OwnedFd, name: &OsStr) -> Result<()> {
        let change = &self.changes[index];
        let Some(new) = &change.new else { return Ok(()) };
        let lent = if self.is_root { 0 } else { 0o700 };
        let old = change.old.as_ref().filter(|old| old.is_directory());
        if let Some(old) = old {
            let directory = entry::enter_directory(parent.as_fd(), Path::new(name))?;
            // No right that neither the old nor the new owner gives, at no moment.
            let both = Mode::from_raw_mode(old.mode() & new.mode() | lent);
            rustix::fs::chmod(itself(directory.as_fd()), both)?;
            dress(directory.as_fd(), new, new.mode() | lent)?;
        } else {
            let temporary = self.temporary();
            rustix::fs::mkdirat(parent, &temporary, Mode::RWXU)?;
            let made = entry::enter_directory(parent.as_fd(), Path::new(&temporary))
                .and_then(|directory| dress(directory.as_fd(), new, new.mode() | lent))
                .and_then(|()| exchange(change, parent.as_fd(), &temporary, self.begin));
            if let Err(errno) = made {
                let _ = remove_all(parent.as_fd(), &temporary);
                return Err(errno);
            }
        }
        if new.mode() | lent != new.mode() {
            self.open.push(index);
        }
        self.done.insert(index);
        Ok(())
    }
}
