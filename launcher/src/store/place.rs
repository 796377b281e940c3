//! The store itself: where it is, who may use it, and how a directory comes into it, as a whole or not at all.
//!
//!     roots/DIGEST     a root, complete
//!     new/DIGEST/root  one that is being unpacked, by who holds the lock (flock(2)) of new/DIGEST
//!     index/FILE       which digest a file has: see `index`

use super::fault::{Fault, Result};
use super::tree;
use super::watch::Watch;
use crate::error::{self, Error};
use rustix::fs::{AtFlags, CWD, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::{debug, info};

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Nobody else: what is in it may be set-user-ID, and come from anybody.
const OWN: Mode = Mode::from_raw_mode(0o700);
const ROOTS: &str = "roots";
const NEW: &str = "new";
/// How long to wait before the lock of another is tried again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Where entries of the index are.
pub const INDEX: &str = "index";

/// Where the caller's store is.
pub fn location() -> error::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    if let Some(path) = std::env::var_os("NSL_STORE").map(PathBuf::from) {
        let relative = || Error::new("use the store that NSL_STORE names", "it is not an absolute path");
        return if path.is_absolute() { Ok(path) } else { Err(relative()) };
    }
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/nsl/store".into());
    }
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("nsl/store")).ok_or_else(|| {
        Error::new("find the store for archives", "neither XDG_CACHE_HOME nor HOME is set")
            .hint("NSL_STORE can name a directory")
    })
}

/// The directory of a root in the store at `store`.
pub fn root(store: &Path, digest: &str) -> PathBuf {
    store.join(ROOTS).join(digest)
}

/// Is the store the caller's own? Another's may hold anything.
pub fn is_own(store: &Path) -> bool {
    std::fs::metadata(store).is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw())
}

/// A store that can be written to.
pub struct Store {
    path: PathBuf,
    roots: OwnedFd,
    new: OwnedFd,
    pub index: OwnedFd,
}

impl Store {
    /// Opens the store, made where it is missing.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |errno| Fault::os(path.as_os_str().as_encoded_bytes(), errno);
        let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
        made.map_err(|error| Fault::read(&path.display().to_string(), &error))?;
        // The last part may be a link: to a larger disk, for example.
        let store = rustix::fs::open(path, OPEN - OFlags::NOFOLLOW, Mode::empty()).map_err(failed)?;
        let found = rustix::fs::fstat(&store).map_err(failed)?;
        if found.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Fault::content(format!("the store {} belongs to another user", path.display())));
        }
        rustix::fs::fchmod(&store, OWN).map_err(failed)?;
        let part = |name: &str| {
            match rustix::fs::mkdirat(&store, name, OWN) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
            rustix::fs::openat(&store, name, OPEN, Mode::empty()).map_err(failed)
        };
        Ok(Self { path: path.to_path_buf(), roots: part(ROOTS)?, new: part(NEW)?, index: part(INDEX)? })
    }

    /// The root with this digest, if it is there.
    pub fn find(&self, digest: &str) -> Option<PathBuf> {
        let found = tree::look(self.roots.as_fd(), OsStr::new(digest));
        matches!(found, Ok(Some(found)) if tree::is_directory(&found)).then(|| self.root(digest))
    }

    /// A place to unpack the root with this digest in; None if another nsl has done it meanwhile. `watch` holds signals
    /// back from before there is one, and ends the waiting for another.
    pub fn begin(&self, digest: &str, watch: &Watch) -> Result<Option<New<'_>>> {
        let failed = |errno| Fault::os(self.path.as_os_str().as_encoded_bytes(), errno);
        let name = OsStr::new(digest);
        loop {
            match rustix::fs::mkdirat(&self.new, name, OWN) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
            let lock = match rustix::fs::openat(&self.new, name, OPEN, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                lock => lock.map_err(failed)?,
            };
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => {
                    info!("another nsl is unpacking the same; waiting for it");
                    while rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
                        watch.check()?;
                        std::thread::sleep(LOOK_AGAIN);
                    }
                    continue;
                }
                result => result.map_err(failed)?,
            }
            // Removed, and made again, between the two calls: then this is a lock of nothing.
            if !self.is_at(name, &lock) {
                continue;
            }
            let new = New { store: self, digest: digest.to_owned(), lock };
            // What a killed one has left.
            tree::empty(&new.lock).map_err(failed)?;
            return Ok(if self.find(digest).is_some() { None } else { Some(new) });
        }
    }

    /// Removes what nsl could not clean up, since it was killed: whatever nobody holds the lock of.
    /// Returns how many.
    pub fn sweep(&self) -> usize {
        let Ok(entries) = Dir::read_from(&self.new) else { return 0 };
        let mut removed = 0;
        for entry in entries.flatten() {
            let name = OsStr::new(entry.file_name().to_str().unwrap_or("."));
            if matches!(name.to_str(), Some("." | "..")) {
                continue;
            }
            let Ok(lock) = rustix::fs::openat(&self.new, name, OPEN, Mode::empty()) else {
                removed += usize::from(tree::remove(self.new.as_fd(), name).is_ok());
                continue;
            };
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && self.is_at(name, &lock) {
                debug!("removing what was left of {}", name.display());
                removed += usize::from(tree::remove(self.new.as_fd(), name).is_ok());
            }
        }
        removed
    }

    /// Where the root with this digest is, or will be.
    pub fn root(&self, digest: &str) -> PathBuf {
        root(&self.path, digest)
    }

    /// Gives `name` in `directory` these contents, at once.
    pub fn write(&self, directory: &OwnedFd, name: &str, contents: &[u8]) -> std::result::Result<(), Errno> {
        let temporary = format!("{name}.{}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.new, &temporary, flags, Mode::from_raw_mode(0o600))?;
        let written = match rustix::io::write(&file, contents) {
            Ok(length) if length == contents.len() => rustix::fs::renameat(&self.new, &temporary, directory, name),
            Ok(_) => Err(Errno::NOSPC),
            Err(errno) => Err(errno),
        };
        if written.is_err() {
            let _ = tree::remove(self.new.as_fd(), OsStr::new(&temporary));
        }
        written
    }

    fn is_at(&self, name: &OsStr, lock: &OwnedFd) -> bool {
        match (tree::look(self.new.as_fd(), name), rustix::fs::fstat(lock)) {
            (Ok(Some(there)), Ok(held)) => (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino),
            _ => false,
        }
    }
}

/// A root that is being unpacked; dropped before it is kept, it is removed.
pub struct New<'a> {
    store: &'a Store,
    digest: String,
    lock: OwnedFd,
}

impl New<'_> {
    /// An empty directory for the root.
    pub fn root(&self) -> Result<OwnedFd> {
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(&self.lock, "root", mode)
            .and_then(|()| rustix::fs::openat(&self.lock, "root", OPEN, Mode::empty()))
            .and_then(|root| rustix::fs::fchmod(&root, mode).map(|()| root))
            .map_err(|errno| Fault::os(self.store.path.as_os_str().as_encoded_bytes(), errno))
    }

    /// An empty file that has no name.
    pub fn nameless(&self) -> Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        // Not by O_TMPFILE, which some file systems don't have.
        rustix::fs::openat(&self.lock, "times", flags, Mode::from_raw_mode(0o600))
            .and_then(|file| rustix::fs::unlinkat(&self.lock, "times", AtFlags::empty()).map(|()| file.into()))
            .map_err(|errno| Fault::os(self.store.path.as_os_str().as_encoded_bytes(), errno))
    }

    /// Puts the root into the store, once all of it is on the disk.
    pub fn keep(self) -> Result<PathBuf> {
        rustix::fs::syncfs(&self.lock)
            .and_then(|()| rustix::fs::renameat(&self.lock, "root", &self.store.roots, self.digest.as_str()))
            .and_then(|()| rustix::fs::fsync(&self.store.roots))
            .map_err(|errno| Fault::os(self.store.path.as_os_str().as_encoded_bytes(), errno))?;
        Ok(self.store.root(&self.digest))
    }
}

impl Drop for New<'_> {
    fn drop(&mut self) {
        let _ = tree::remove(self.store.new.as_fd(), OsStr::new(&self.digest));
    }
}

/// Opens a regular file below `directory`, and nothing else: a fifo would be waited for.
pub fn open_file(path: &Path) -> Result<File> {
    let name = path.as_os_str().as_encoded_bytes();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| Fault::os(name, errno))?;
    let file = File::from(file);
    match file.metadata() {
        Ok(found) if found.is_file() => Ok(file),
        Ok(_) => Err(Fault::entry(name, "it is no file")),
        Err(error) => Err(Fault::read(&path.display().to_string(), &error)),
    }
}
