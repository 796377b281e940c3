//! Directories that nobody but their owner can have put in the place where they are found: by descriptor, without
//! links, of this user's, closed to others.

use crate::error::{Error, Result};
use nix::errno::Errno;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, Stat};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

pub fn os(step: impl Into<std::borrow::Cow<'static, str>>, errno: rustix::io::Errno) -> Error {
    Error::os(step, Errno::from_raw(errno.raw_os_error()))
}

/// A directory of this user's, and the path by which it is spoken of.
pub struct Directory {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// A directory that a path leads to, by links too, and that somebody else made: this user's or root's.
    pub fn given(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| os(format!("use {}", path.display()), errno))?;
        Ok(Self { descriptor, path: path.to_owned() })
    }

    /// The directory `name` in this one; none if it is not there.
    pub fn open(&self, name: &str) -> Result<Option<Self>> {
        let path = self.path.join(name);
        let step = || format!("use {}", path.display());
        let descriptor = match rustix::fs::openat(&self.descriptor, name, FLAGS, Mode::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
                return Err(Error::new(step(), "it is a link or a file, and must be a directory of yours")
                    .hint("remove it, nsl makes it anew"));
            }
            Err(errno) => return Err(os(step(), errno)),
        };
        let found = rustix::fs::fstat(&descriptor).map_err(|errno| os(step(), errno))?;
        check(&found).map_err(|cause| Error::new(step(), cause).hint("remove it, nsl makes it anew"))?;
        Ok(Some(Self { descriptor, path }))
    }

    /// The same, made if it is not there. One that is removed meanwhile is made again.
    pub fn make(&self, name: &str) -> Result<Self> {
        loop {
            self.create(name)?;
            if let Some(directory) = self.open(name)? {
                return Ok(directory);
            }
        }
    }

    /// Makes a directory; false if something of that name is there.
    pub fn create(&self, name: &str) -> Result<bool> {
        match rustix::fs::mkdirat(&self.descriptor, name, Mode::RWXU) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(errno) => Err(os(format!("make {}", self.path.join(name).display()), errno)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file, never by a link.
    pub fn file(&self, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        rustix::fs::openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR)
    }

    /// Does `name` lead to the file that `descriptor` is?
    pub fn holds(&self, name: &str, descriptor: BorrowedFd<'_>) -> bool {
        let found = rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW);
        let is_same = |known: Stat, found: Stat| (known.st_dev, known.st_ino) == (found.st_dev, found.st_ino);
        rustix::fs::fstat(descriptor).is_ok_and(|known| found.is_ok_and(|found| is_same(known, found)))
    }

    /// The names in it.
    pub fn names(&self) -> rustix::io::Result<Vec<String>> {
        // By a description of its own: where a reader is in a directory belongs to that.
        let directory = rustix::fs::openat(&self.descriptor, c".", FLAGS, Mode::empty())?;
        let mut names = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(directory, &mut buffer);
        while let Some(entry) = entries.next() {
            match entry?.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        Ok(names)
    }

    /// Removes the files in it, but for the one named.
    pub fn clear(&self, but: &str) -> rustix::io::Result<()> {
        for name in self.names()?.iter().filter(|name| *name != but) {
            unless_gone(rustix::fs::unlinkat(&self.descriptor, name, AtFlags::empty()))?;
        }
        Ok(())
    }

    pub fn remove_file(&self, name: &str) -> rustix::io::Result<()> {
        unless_gone(rustix::fs::unlinkat(&self.descriptor, name, AtFlags::empty()))
    }

    pub fn remove_directory(&self, name: &str) -> rustix::io::Result<()> {
        unless_gone(rustix::fs::unlinkat(&self.descriptor, name, AtFlags::REMOVEDIR))
    }

    pub fn rename(&self, from: &str, to: &str) -> rustix::io::Result<()> {
        rustix::fs::renameat(&self.descriptor, from, &self.descriptor, to)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn unless_gone(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    if result == Err(rustix::io::Errno::NOENT) { Ok(()) } else { result }
}

/// Whoever else can write to a directory can say what he likes of the sandboxes in it.
fn check(found: &Stat) -> std::result::Result<(), &'static str> {
    if found.st_uid != nix::unistd::geteuid().as_raw() {
        return Err("it belongs to another user");
    }
    if found.st_mode & 0o022 != 0 { Err("others can write to it") } else { Ok(()) }
}
