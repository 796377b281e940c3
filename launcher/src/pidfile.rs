//! The file of `--pidfile`: the process ID of a sandbox's init, there while the sandbox is.

use crate::error::{Error, Result};
use crate::replace::replace;
use nix::errno::Errno;
use nix::unistd::AccessFlags;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A written file; dropped, it is removed, unless another has taken its place.
pub struct Pidfile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Says why a file can't be written, as far as that can be told beforehand.
pub fn check(path: &Path) -> Result<()> {
    let failed = |errno| Err(Error::os(step(path), errno));
    let Some(parent) = path.parent().filter(|_| path.file_name().is_some()) else { return failed(Errno::EISDIR) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    if fs::metadata(parent).is_ok_and(|found| !found.is_dir()) {
        return failed(Errno::ENOTDIR);
    }
    if let Err(errno) = nix::unistd::access(parent, AccessFlags::W_OK | AccessFlags::X_OK) {
        return Err(Error::os(step(path), errno).hint("its directory must be there, and writable for you"));
    }
    // Not what a link leads to: the link is what is replaced.
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) { failed(Errno::EISDIR) } else { Ok(()) }
}

impl Pidfile {
    /// Writes `pid`, at once and in the place of what is there.
    pub fn write(path: &Path, pid: u32) -> Result<Self> {
        let found = replace(path, |file| {
            writeln!(file, "{pid}")?;
            file.set_permissions(Permissions::from_mode(0o644))
        })
        .and_then(|file| file.metadata())
        .map_err(|error| Error::io(step(path), &error))?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        let is_ours = |found: fs::Metadata| found.dev() == self.device && found.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn step(path: &Path) -> String {
    format!("write the pidfile {}", path.display())
}
