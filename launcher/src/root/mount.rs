//! Mounts as things to hold, change and attach: by the kernel's newer calls (fsopen, fsmount, open_tree, move_mount,
//! mount_setattr), or by mount(2) where one of those is missing. Whoever asks does not know by which. Knows nothing of
//! roots: what is a safe target is its caller's affair.

use super::old::Old;
use crate::sys;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};
use std::cell::{Cell, OnceCell};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use tracing::debug;

pub type Result<T> = rustix::io::Result<T>;

/// Options of a file system, by name; one with an empty value is a flag.
pub type Options<'a> = [(&'a str, &'a [u8])];

pub const NOSUID_NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
pub const NOSUID_NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
pub const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
pub const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// Where the scratch tmpfs is, until the old root goes.
pub const SCRATCH: &str = "/proc";

/// Makes mounts, in one way from the first call on that is missing.
#[derive(Default)]
pub struct Mounts {
    old: OnceCell<Old>,
    has_scratch: Cell<bool>,
}

impl Mounts {
    /// Does it in the new way, or in the old one if the new is not there.
    fn either<T>(&self, new: impl FnOnce() -> Result<T>, old: impl FnOnce(&Old) -> Result<T>) -> Result<T> {
        if let Some(known) = self.old.get() {
            return old(known);
        }
        match new() {
            Err(errno) if is_missing(errno) => {
                debug!("a call to mount is missing ({errno}): from here on by mount(2)");
                let way = Old::new(self.has_scratch.get())?;
                old(self.old.get_or_init(|| way))
            }
            result => result,
        }
    }

    /// A tmpfs over the host's /proc, which is there and of no use to the steps that follow; it goes with the old root.
    pub fn scratch(&self) -> Result<OwnedFd> {
        let scratch = self.either(
            || {
                let mount = create("tmpfs", &[("mode", b"755")], NOSUID_NODEV)?;
                attach(&mount, CWD, Path::new(SCRATCH))?;
                Ok(mount)
            },
            // It has one of its own there.
            |_| rustix::fs::open(SCRATCH, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()),
        )?;
        self.has_scratch.set(true);
        Ok(scratch)
    }

    /// A new file system, not attached anywhere.
    pub fn create(&self, kind: &str, options: &Options<'_>, attributes: MountAttrFlags) -> Result<OwnedFd> {
        self.either(|| create(kind, options, attributes), |old| old.create(kind, options, attributes))
    }

    /// A copy of the mount at `path`, from `directory` on, or of the whole tree of mounts there; not attached anywhere.
    pub fn copy(&self, directory: impl AsFd, path: &Path, whole_tree: bool) -> Result<OwnedFd> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        flags.set(OpenTreeFlags::AT_RECURSIVE, whole_tree);
        flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.as_os_str().is_empty());
        self.either(
            || rustix::mount::open_tree(directory.as_fd(), path, flags),
            |old| old.copy(directory.as_fd(), path, whole_tree),
        )
    }

    /// A copy of the tree of mounts at `path` of the host.
    pub fn tree(&self, path: &Path) -> Result<OwnedFd> {
        self.copy(CWD, path, true)
    }

    /// Attaches a mount to `path`, from `directory` on: to the directory or file that `directory` is if that is empty.
    pub fn attach(&self, mount: &OwnedFd, directory: impl AsFd, path: impl AsRef<Path>) -> Result<()> {
        self.either(
            || attach(mount, directory.as_fd(), path.as_ref()),
            |old| old.attach(mount, directory.as_fd(), path.as_ref()),
        )
    }

    /// Sets attributes of a mount, and takes others from it.
    pub fn change(&self, mount: &OwnedFd, set: MountAttrFlags, clear: MountAttrFlags) -> Result<()> {
        self.either(|| sys::set_attributes(mount.as_fd(), set, clear, false), |old| old.change(mount, set, clear))
    }

    /// Sets attributes of every mount of a tree that is not attached yet.
    pub fn restrict_tree(&self, tree: &OwnedFd, attributes: MountAttrFlags) -> Result<()> {
        let none = MountAttrFlags::empty();
        self.either(
            || sys::set_attributes(tree.as_fd(), attributes, none, true),
            |old| old.restrict_tree(tree, attributes),
        )
    }
}

/// Is it that a call is not there? A filter that does not know one may answer EPERM as well; the kernel itself has
/// other words for flags that do not exist.
fn is_missing(errno: Errno) -> bool {
    errno == Errno::NOSYS || errno == Errno::PERM && one_answers(Errno::PERM)
}

/// Are all calls there? ENOSYS if they are not. Whoever asks must be in a position to mount.
pub fn has_calls() -> Result<()> {
    if one_answers(Errno::PERM) || one_answers(Errno::NOSYS) { Err(Errno::NOSYS) } else { Ok(()) }
}

/// Does one of the calls answer so to flags that do not exist?
fn one_answers(errno: Errno) -> bool {
    let none = || MountAttrFlags::from_bits_retain(u32::MAX);
    let is = |result: Result<()>| result == Err(errno);
    is(rustix::mount::fsopen("", FsOpenFlags::from_bits_retain(!0)).map(drop))
        || is(rustix::mount::fsmount(CWD, FsMountFlags::from_bits_retain(!0), MountAttrFlags::empty()).map(drop))
        || is(rustix::mount::open_tree(CWD, "", OpenTreeFlags::from_bits_retain(!0)).map(drop))
        || is(rustix::mount::move_mount(CWD, "", CWD, "", MoveMountFlags::from_bits_retain(!0)))
        || is(sys::set_attributes(CWD, none(), none(), false))
}

/// fsopen(2), fsconfig(2), fsmount(2).
fn create(kind: &str, options: &Options<'_>, attributes: MountAttrFlags) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(context.as_fd(), *key)?;
        } else {
            rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?;
        }
    }
    if let Err(error) = rustix::mount::fsconfig_create(context.as_fd()) {
        let mut said = [0; 256];
        if let Ok(length) = rustix::io::read(&context, &mut said[..]) {
            debug!("{kind}: {}", String::from_utf8_lossy(&said[..length]).trim_end());
        }
        return Err(error);
    }
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn attach(mount: &OwnedFd, directory: impl AsFd, path: &Path) -> Result<()> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    flags.set(MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH, path.as_os_str().is_empty());
    rustix::mount::move_mount(mount.as_fd(), "", directory.as_fd(), path, flags)
}
