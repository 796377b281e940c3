//! What is asked for inside the root: directories and files of the host, bound or copy-on-write, and file systems in
//! memory.

use super::Assembly;
use super::inside::{DIRECTORY, is_directory};
use super::mount::{NODEV, NOSUID_NODEV, READ_ONLY, Result, SCRATCH};
use crate::mounts::{Kind, Mount, Tmpfs};
use crate::plan::Step;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use std::os::fd::OwnedFd;
use std::path::Path;

impl Assembly<'_> {
    /// Takes hold of the sources in the host, in the order of their steps, before anything is mounted over them. What
    /// is mounted in them can't reach the host any more.
    pub(super) fn open_sources(&mut self) {
        if !self.shifted.is_empty() {
            return;
        }
        let steps = self.steps.iter();
        let mounts = steps.filter_map(|step| if let Step::Mount(mount) = step { Some(&mount.kind) } else { None });
        self.sources = mounts
            .filter_map(|kind| match kind {
                Kind::Bind(source) => Some(self.mounts.tree(source)),
                Kind::Overlay(source) => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    Some(rustix::fs::open(source, flags, Mode::empty()))
                }
                Kind::Tmpfs(_) => None,
            })
            .collect();
    }

    pub(super) fn mount(&mut self, Mount { target, kind, read_only }: &Mount) -> Result<()> {
        let target = target.strip_prefix("/").unwrap_or(target);
        let read_only = if *read_only { READ_ONLY } else { MountAttrFlags::empty() };
        match kind {
            Kind::Bind(_) => {
                let tree = self.source()?;
                // A device that was asked for by its own name is to work.
                let own = if is_device(&tree)? { self.foreign - NODEV } else { self.foreign };
                self.bind_tree(&tree, target, own | read_only)
            }
            Kind::Tmpfs(options) => {
                let mount = self.create_tmpfs(options, read_only)?;
                self.cover(&self.directory(target)?, &mount)
            }
            Kind::Overlay(_) => {
                let is_shifted = !self.shifted.is_empty();
                let lower = self.source()?;
                let mount = self.overlay_of(&lower, is_shifted, self.foreign | read_only)?;
                self.cover(&self.directory(target)?, &mount)
            }
        }
    }

    /// The next of those that are held.
    fn source(&mut self) -> Result<OwnedFd> {
        match self.shifted.pop_front() {
            Some(tree) => Ok(tree),
            None => self.sources.pop_front().ok_or(Errno::NOENT)?,
        }
    }

    /// Binds `source` of the host, with all that is mounted below it, on `target` in the new root.
    pub(super) fn bind(&self, source: &Path, target: &Path, attributes: MountAttrFlags) -> Result<()> {
        self.bind_tree(&self.mounts.tree(source)?, target, attributes)
    }

    fn bind_tree(&self, tree: &OwnedFd, target: &Path, attributes: MountAttrFlags) -> Result<()> {
        if !attributes.is_empty() {
            self.mounts.restrict_tree(tree, attributes)?;
        }
        let target = if is_directory(tree)? { self.directory(target)? } else { self.file(target)? };
        self.cover(&target, tree)
    }

    pub(super) fn create_tmpfs(&self, tmpfs: &Tmpfs, attributes: MountAttrFlags) -> Result<OwnedFd> {
        let words = tmpfs.options();
        let options: Vec<_> = words.iter().map(|(key, value)| (*key, value.as_bytes())).collect();
        let noexec = if tmpfs.exec { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_NOEXEC };
        self.mounts.create("tmpfs", &options, NOSUID_NODEV | noexec | attributes)
    }

    /// A copy-on-write view of a directory. From its working directory the lower layer has the shortest of names: one
    /// without characters that mean something to overlay, or too many of them.
    fn overlay_of(&mut self, lower: &OwnedFd, is_shifted: bool, attributes: MountAttrFlags) -> Result<OwnedFd> {
        let scratch = self.scratch.as_ref().ok_or(Errno::NOENT)?;
        let layers = format!("view{}", self.views);
        self.views += 1;
        let name = |layer: &str| format!("{layers}/{layer}");
        for directory in [layers.clone(), name("upper"), name("work")] {
            rustix::fs::mkdirat(scratch, directory, DIRECTORY)?;
        }
        if is_shifted {
            rustix::fs::mkdirat(scratch, name("lower"), DIRECTORY)?;
            self.mounts.attach(lower, scratch, name("lower"))?;
        }
        // The root of the view is its upper layer's.
        let like = rustix::fs::fstat(lower)?;
        let (uid, gid) = (rustix::fs::Uid::from_raw(like.st_uid), rustix::fs::Gid::from_raw(like.st_gid));
        if !self.user_namespace || is_shifted {
            rustix::fs::chownat(scratch, name("upper"), Some(uid), Some(gid), rustix::fs::AtFlags::empty())?;
        }
        let mode = Mode::from_raw_mode(like.st_mode & 0o7777);
        rustix::fs::chmodat(scratch, name("upper"), mode, rustix::fs::AtFlags::empty())?;
        let [upper, work] = ["upper", "work"].map(|layer| format!("{SCRATCH}/{}", name(layer)));
        let mut options: Vec<(&str, &[u8])> =
            vec![("lowerdir", b"."), ("upperdir", upper.as_bytes()), ("workdir", work.as_bytes())];
        if self.user_namespace {
            options.push(("userxattr", b""));
        }
        rustix::process::fchdir(lower)?;
        let view = self.mounts.create("overlay", &options, attributes);
        rustix::process::fchdir(scratch)?;
        view
    }
}

fn is_device(file: &OwnedFd) -> Result<bool> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    Ok(matches!(kind, FileType::CharacterDevice | FileType::BlockDevice))
}
