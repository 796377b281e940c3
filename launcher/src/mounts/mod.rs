//! What is to be mounted inside the root: the words of -v, --tmpfs and --mount, and in which order. Reads the host,
//! changes nothing.

mod words;

pub use words::rewritten;

use crate::cli::Run;
use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::unistd::AccessFlags;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// One mount inside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Absolute, inside the root; without `.`, `..` and slashes that mean nothing.
    pub target: PathBuf,
    pub kind: Kind,
    pub read_only: bool,
}

/// What is mounted; paths are absolute, of the host, and without links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A directory or file of the host, with what is mounted below it.
    Bind(PathBuf),
    /// A copy-on-write view of a directory of the host.
    Overlay(PathBuf),
    /// An empty file system in memory.
    Tmpfs(Tmpfs),
}

/// Options of a tmpfs: tmpfs(5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tmpfs {
    /// In bytes, or in percent of the memory as `10%`; without it, half of the memory.
    pub size: Option<String>,
    pub mode: u32,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Programs in it may be executed.
    pub exec: bool,
}

impl Tmpfs {
    /// What --tmpfs makes, unless it is asked for something else.
    pub const DEFAULT: Self = Self { size: None, mode: 0o1777, uid: None, gid: None, exec: false };
    /// What a root that is read-only has at /run and /tmp.
    pub const RUN: Self = Self { mode: 0o755, exec: true, ..Self::DEFAULT };
    pub const TMP: Self = Self { exec: true, ..Self::DEFAULT };

    /// As the kernel is to have them.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        let number = |key, value: Option<u32>| value.map(|value| (key, value.to_string()));
        let size = self.size.clone().map(|size| ("size", size));
        [size, Some(("mode", format!("{:o}", self.mode))), number("uid", self.uid), number("gid", self.gid)]
            .into_iter()
            .flatten()
            .collect()
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Bind(source) => write!(f, "bind {} on ", source.display())?,
            Kind::Overlay(source) => write!(f, "mount an overlay of {} on ", source.display())?,
            Kind::Tmpfs(tmpfs) => {
                let size = tmpfs.size.as_ref().map_or_else(String::new, |size| format!(" of size {size}"));
                write!(f, "mount a tmpfs{size} on ")?;
            }
        }
        let mode = if self.read_only { ", read-only" } else { "" };
        write!(f, "{}{mode}", self.target.display())
    }
}

/// All that is asked for, what is mounted below another behind it, whatever the order of the options.
pub fn mounts(run: &Run) -> Result<Vec<Mount>> {
    let volumes = run.volumes.iter().map(|text| words::volume(text));
    let tmpfs = run.tmpfs.iter().map(|text| words::tmpfs(text));
    let mut mounts = volumes.chain(tmpfs).chain(run.mounts.iter().map(|text| words::mount(text)));
    let mut mounts = mounts.by_ref().collect::<Result<Vec<_>>>()?;
    if run.read_only {
        for (target, tmpfs) in [("/run", Tmpfs::RUN), ("/tmp", Tmpfs::TMP)] {
            if !mounts.iter().any(|mount| mount.target == Path::new(target)) {
                mounts.push(Mount { target: target.into(), kind: Kind::Tmpfs(tmpfs), read_only: false });
            }
        }
    }
    mounts.sort_by_key(|mount| mount.target.components().count());
    for (index, mount) in mounts.iter().enumerate() {
        if mounts[..index].iter().any(|other| other.target == mount.target) {
            let step = format!("mount on {}", mount.target.display());
            return Err(Error::new(step, "two mounts have this target")
                .hint("leave one of them out; where a profile has it, start in another directory"));
        }
    }
    Ok(mounts)
}

/// A target, checked. `step` is what fails otherwise.
fn target(bytes: &[u8], step: impl Fn() -> String) -> Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(bytes));
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) || bytes.contains(&0) {
        return Err(Error::new(step(), "its target is not an absolute path without '..'"));
    }
    let path: PathBuf = path.components().collect();
    if path == Path::new("/") {
        return Err(
            Error::new(step(), "its target is the root itself").hint("start in a directory below it, or use --rootfs")
        );
    }
    if path == Path::new("/dev") {
        let error = Error::new(step(), "nsl makes /dev itself");
        return Err(error.hint("name what is to be seen in it, such as -v /dev/kvm:/dev/kvm"));
    }
    if let Some(taken) = ["/proc", "/sys"].into_iter().find(|taken| path.starts_with(taken)) {
        let error = Error::new(step(), format!("nsl mounts {taken} itself, when the rest is there"));
        return Err(error.hint("mount it elsewhere"));
    }
    Ok(path)
}

/// A file or directory of the host; a relative path is one from the working directory on.
fn source(bytes: &[u8], step: impl Fn() -> String) -> Result<PathBuf> {
    std::fs::canonicalize(OsStr::from_bytes(bytes)).map_err(|error| {
        let is_absent = error.kind() == std::io::ErrorKind::NotFound;
        let error = Error::io(step(), &error);
        // Docker makes a directory then, which is seldom what was meant.
        if is_absent { error.hint("its source is not on this host: mkdir makes a directory") } else { error }
    })
}

/// A directory that the caller may look into, as a layer.
fn layer(bytes: &[u8], step: impl Fn() -> String) -> Result<PathBuf> {
    let path = source(bytes, &step)?;
    if !path.is_dir() {
        return Err(Error::os(step(), Errno::ENOTDIR).hint("a file can be bound: type=bind"));
    }
    match nix::unistd::access(&path, AccessFlags::R_OK | AccessFlags::X_OK) {
        Err(errno) => Err(Error::os(step(), errno)),
        Ok(()) => Ok(path),
    }
}
