//! resolv.conf, hosts and hostname: written into the root's /etc, or bound over those of a root that is not nsl's.

use super::Assembly;
use super::inside::{DIRECTORY, FILE};
use super::mount::{READ_ONLY, Result};
use crate::plan::Step;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
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
            let target = self.file(&Path::new("etc").join(name));
            if let Err(errno) = target.and_then(|target| self.mounts.attach(&source, &target, "")) {
                debug!("/etc/{name} stays as it is: {errno}");
            }
        }
        Ok(())
    }
}

fn open_layer() -> Result<OwnedFd> {
    rustix::fs::openat(CWD, LAYER, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}
