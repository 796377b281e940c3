//! resolv.conf, hosts and hostname: written into the root's /etc, or bound over those of a root that is not nsl's.

use super::Assembly;
use super::inside::{DIRECTORY, FILE, is_same};
use super::mount::{READ_ONLY, Result};
use crate::confined;
use crate::plan::{NamesIn, Step};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tracing::debug;

/// Contents for files in /etc.
pub struct Names {
    pub resolv_conf: Vec<u8>,
    pub hosts: Vec<u8>,
    pub hostname: Vec<u8>,
}

/// The overlay's upper layer of /etc, from the scratch tmpfs on.
const LAYER: &str = "upper/etc";

impl Names {
    fn files(&self) -> [(&'static str, &[u8]); 3] {
        [("resolv.conf", &self.resolv_conf), ("hosts", &self.hosts), ("hostname", &self.hostname)]
    }
}

impl Assembly<'_> {
    pub(super) fn write_names_in_layer(&mut self) -> Result<()> {
        let lower = self.steps.iter().find_map(|step| match step {
            Step::Overlay(path) => Some(&**path),
            _ => None,
        });
        let etc = lower.map_or_else(|| rustix::fs::stat("/etc"), |lower| rustix::fs::lstat(lower.join("etc")));
        let mode = match etc {
            Ok(etc) if lower.is_some() && FileType::from_raw_mode(etc.st_mode) != FileType::Directory => {
                self.names_through_link = true;
                return Ok(());
            }
            Ok(etc) => Mode::from_raw_mode(etc.st_mode & 0o7777),
            Err(_) => DIRECTORY,
        };
        rustix::fs::mkdirat(CWD, LAYER, mode)?;
        self.write_names(&open_layer()?)
    }

    /// Puts the names where the root's /etc leads inside the root. Where that is nowhere, all stays as it is.
    pub(super) fn write_names_through_link(&self) -> Result<()> {
        let directory = self.open(Path::new("etc"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        for (name, _) in self.names.files() {
            match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.write_names(&directory)
    }

    pub(super) fn write_names(&self, directory: &OwnedFd) -> Result<()> {
        for (name, contents) in self.names.files() {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::openat(directory, name, flags, FILE)?;
            rustix::io::write(&file, contents)?;
        }
        Ok(())
    }

    /// /etc/hosts of the new root, for somebody outside to write to while the command runs.
    pub fn hosts(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if self.names_through_link || self.steps.contains(&Step::Names(NamesIn::Root)) {
            // By a mount of its own: the root's cannot be made read-only while somebody may write through it.
            let mount = self.mounts.copy(self.root()?, Path::new(""), false)?;
            return confined::open(&mount, "etc/hosts", flags, Mode::empty());
        }
        let scratch = self.scratch.as_ref().ok_or(Errno::NOENT)?;
        if self.steps.contains(&Step::Names(NamesIn::Layer)) {
            return rustix::fs::openat(scratch, "upper/etc/hosts", flags, Mode::empty());
        }
        let file = rustix::fs::openat(scratch, "hosts", flags, Mode::empty())?;
        let seen = self.open(Path::new("etc/hosts"), OFlags::PATH, Mode::empty())?;
        if is_same(&seen, &file)? { Ok(file) } else { Err(Errno::NOENT) }
    }

    /// Where the layer with the names can be none: binds them from there, read-only as all around them.
    pub(super) fn bind_names_of_layer(&self) -> Result<()> {
        self.bind_names(&open_layer()?, true)
    }

    /// Binds the files of `directory` over those of a root that is somebody's own. Where one can't be, it stays as it
    /// is.
    pub(super) fn bind_names(&self, directory: &OwnedFd, read_only: bool) -> Result<()> {
        for (name, _) in self.names.files() {
            let source = self.mounts.copy(directory.as_fd(), Path::new(name), false)?;
            if read_only {
                self.mounts.restrict_tree(&source, READ_ONLY)?;
            }
            let target = self.file(&self.target_of_name(name));
            if let Err(errno) = target.and_then(|target| self.mounts.attach(&source, &target, "")) {
                debug!("/etc/{name} stays as it is: {errno}");
            }
        }
        Ok(())
    }

    /// Where a file in /etc leads: on many hosts resolv.conf is a link into /run, which is empty inside and may be
    /// filled.
    fn target_of_name(&self, name: &str) -> PathBuf {
        let path = Path::new("etc").join(name);
        if self.kept.is_none() {
            return path;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let link =
            self.open(&path, flags, Mode::empty()).and_then(|file| rustix::fs::readlinkat(file, c"", Vec::new()));
        let Ok(link) = link else { return path };
        let link = PathBuf::from(OsStr::from_bytes(link.as_bytes()));
        let mut target = if link.is_absolute() { PathBuf::new() } else { PathBuf::from("etc") };
        for part in link.components() {
            match part {
                Component::ParentDir => drop(target.pop()),
                Component::Normal(part) => target.push(part),
                _ => {}
            }
        }
        if target.starts_with("run") { target } else { path }
    }
}

fn open_layer() -> Result<OwnedFd> {
    rustix::fs::openat(CWD, LAYER, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}
