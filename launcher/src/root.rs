//! The child's side of the plan: assembles the new root, step by step, up to pivot_root.
//!
//! Nothing here runs outside a mount namespace of its own. What lies in the new root is reached through
//! descriptors, with resolution confined to it: no link in a hostile root leads out.

use crate::plan::{NamesIn, Step, TTY_GROUP};
use crate::security::landlock;
use crate::spec::Volume;
use crate::sys;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use rustix::pty::OpenptFlags;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use tracing::debug;

type Result<T> = rustix::io::Result<T>;

/// Contents for files in /etc.
pub struct Names {
    pub resolv_conf: Vec<u8>,
    pub hosts: Vec<u8>,
    pub hostname: Vec<u8>,
}

impl Names {
    fn files(&self) -> [(&'static str, &[u8]); 3] {
        [("resolv.conf", &self.resolv_conf), ("hosts", &self.hosts), ("hostname", &self.hostname)]
    }
}

/// A pty: the master is the launcher's, the slave the command's.
pub struct Pty {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// A root in the making.
pub struct Assembly<'a> {
    steps: &'a [Step],
    names: &'a Names,
    /// The sources of the volumes, in the order of their steps: opened before anything is mounted over them.
    volumes: VecDeque<Result<OwnedFd>>,
    /// The host's /proc, if it is asked for: opened before it is covered.
    proc: Option<OwnedFd>,
    /// Trees from the launcher, with shifted owners, for the root and the volumes in the order of their steps.
    shifted: VecDeque<OwnedFd>,
    scratch: Option<OwnedFd>,
    root: Option<OwnedFd>,
    /// For the init: what the command may reach.
    pub landlock: Option<OwnedFd>,
}

const NOSUID_NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
const NOSUID_NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
const ALL_USERS: Mode = Mode::from_raw_mode(0o1777);
const DIRECTORY: Mode = Mode::from_raw_mode(0o755);
const FILE: Mode = Mode::from_raw_mode(0o644);
const DEVICE: Mode = Mode::from_raw_mode(0o666);

/// Device nodes by major and minor number (Linux "admin-guide/devices.txt").
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

impl<'a> Assembly<'a> {
    pub fn new(steps: &'a [Step], names: &'a Names) -> Self {
        let (volumes, shifted) = (VecDeque::new(), VecDeque::new());
        Self { steps, names, volumes, proc: None, shifted, scratch: None, root: None, landlock: None }
    }

    /// Uses these trees, which the launcher has opened, instead of opening them.
    pub fn give(&mut self, shifted: VecDeque<OwnedFd>) {
        self.shifted = shifted;
    }

    /// Takes hold of the sources of the volumes, once what is mounted in them can't reach the host any more.
    fn open_volumes(&mut self) {
        if !self.shifted.is_empty() {
            return;
        }
        self.volumes = self
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Volume(volume) => Some(clone_tree(&volume.source)),
                _ => None,
            })
            .collect();
    }

    /// Carries out one step; `Terminal` alone has something to give back.
    pub fn carry_out(&mut self, step: &Step) -> Result<Option<Pty>> {
        match step {
            Step::MapIdentity { uid, gid } => map_identity(*uid, *gid)?,
            Step::PrivateMounts => {
                rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
                self.open_volumes();
                if self.steps.contains(&Step::HostProc) {
                    self.proc = Some(clone_tree(Path::new("/proc"))?);
                }
            }
            Step::Scratch => self.make_scratch()?,
            Step::HostOverlay { shifted } => self.overlay_host(*shifted)?,
            Step::EmptyRoot => self.make_empty_root()?,
            Step::DirectoryRoot(path) => self.bind_root(path)?,
            Step::DirectoryOverlay(name) => self.overlay_directory(name)?,
            Step::ReadOnlyBind(name) => self.bind(&Path::new("/").join(name), Path::new(name), true)?,
            Step::Link { name, target } => rustix::fs::symlinkat(target, self.root()?, name)?,
            Step::Names(NamesIn::Layer) => self.write_names_below("upper/etc")?,
            Step::Names(NamesIn::Root) => self.write_names_in(&self.directory("etc")?)?,
            Step::Names(NamesIn::Binds) => self.bind_names()?,
            Step::Devices { bound, tty_group } => self.make_devices(*bound, *tty_group)?,
            Step::Sys { bound: true } => self.bind(Path::new("/sys"), Path::new("sys"), true)?,
            Step::Sys { bound: false } => self.mount_sys()?,
            Step::HostProc => {
                let tree = self.proc.take().ok_or(Errno::NOENT)?;
                move_onto(&tree, &self.mount_point("proc")?)?;
            }
            Step::Volume(Volume { target, read_only, .. }) => {
                let tree = match self.shifted.pop_front() {
                    Some(tree) => tree,
                    None => self.volumes.pop_front().ok_or(Errno::NOENT)??,
                };
                self.bind_tree(&tree, target.strip_prefix("/").unwrap_or(target), *read_only)?;
            }
            Step::Proc => {
                let target = self.mount_point("proc")?;
                move_onto(&new_mount("proc", &[], NOSUID_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC)?, &target)?;
            }
            Step::Landlock(rules) => {
                let open = |path: &Path| self.open(path, OFlags::PATH, Mode::empty());
                self.landlock = Some(landlock::ruleset(rules, open)?);
            }
            Step::Terminal => return self.open_pty().map(Some),
            Step::PivotRoot => {
                rustix::process::fchdir(self.root()?)?;
                rustix::process::pivot_root(".", ".")?;
            }
            // The spawner's own.
            Step::Netlink | Step::AwaitIdentities { .. } | Step::Execute => {}
        }
        Ok(None)
    }

    fn root(&self) -> Result<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or(Errno::NOENT)
    }

    /// Over the host's /proc, which is there and of no use to the steps that follow; it goes with the old root. What is
    /// to be done in it is done relative to the working directory.
    fn make_scratch(&mut self) -> Result<()> {
        let scratch = new_mount("tmpfs", &[("mode", "755")], NOSUID_NODEV)?;
        attach(&scratch, CWD, "/proc")?;
        rustix::process::fchdir(&scratch)?;
        for name in ["upper", "work"] {
            rustix::fs::mkdirat(CWD, name, DIRECTORY)?;
        }
        self.scratch = Some(scratch);
        Ok(())
    }

    /// One overlay, whose upper layer already holds what is fresh: an empty /run and /tmp cost no mount of theirs.
    fn overlay_host(&mut self, shifted: bool) -> Result<()> {
        let opaque = if shifted { "user.overlay.opaque" } else { "trusted.overlay.opaque" };
        let mut covered = Vec::new();
        for (name, mode) in [("run", DIRECTORY), ("tmp", ALL_USERS)] {
            let upper = Path::new("upper").join(name);
            rustix::fs::mkdirat(CWD, &upper, mode)?;
            match rustix::fs::setxattr(&upper, opaque, b"y", XattrFlags::empty()) {
                // Before Linux 6.6 a tmpfs has no attributes of users.
                Err(Errno::OPNOTSUPP) if shifted => covered.push((name, mode)),
                result => result?,
            }
        }
        let layers = [("lowerdir", if shifted { "lower" } else { "/" }), ("upperdir", "upper"), ("workdir", "work")];
        let options = if shifted { [&layers[..], &[("userxattr", "")]].concat() } else { layers.to_vec() };
        if shifted {
            rustix::fs::mkdirat(CWD, "lower", DIRECTORY)?;
            attach(&self.shifted.pop_front().ok_or(Errno::NOENT)?, CWD, "lower")?;
        }
        self.set_root(new_mount("overlay", &options, MountAttrFlags::MOUNT_ATTR_NODEV)?)?;
        for (name, mode) in covered {
            let mode = format!("{:o}", mode.as_raw_mode());
            attach(&new_mount("tmpfs", &[("mode", &*mode)], NOSUID_NODEV)?, self.root()?, name)?;
        }
        Ok(())
    }

    fn make_empty_root(&mut self) -> Result<()> {
        self.set_root(new_mount("tmpfs", &[("mode", "755")], NOSUID_NODEV)?)?;
        for (name, mode) in [
            ("dev", DIRECTORY),
            ("etc", DIRECTORY),
            ("proc", DIRECTORY),
            ("run", DIRECTORY),
            ("sys", DIRECTORY),
            ("tmp", ALL_USERS),
        ] {
            rustix::fs::mkdirat(self.root()?, name, mode)?;
        }
        Ok(())
    }

    fn bind_root(&mut self, path: &Path) -> Result<()> {
        let tree = self.shifted.pop_front().map_or_else(|| clone_tree(path), Ok)?;
        self.set_root(tree)?;
        // Before a directory is made that is missing: a root that can be none stays as it is.
        for name in ["dev", "proc", "sys"] {
            match rustix::fs::statat(self.root()?, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(entry) if FileType::from_raw_mode(entry.st_mode) != FileType::Directory => {
                    return Err(Errno::NOTDIR);
                }
                _ => {}
            }
        }
        self.directory("proc").map(drop)
    }

    fn set_root(&mut self, mount: OwnedFd) -> Result<()> {
        attach(&mount, CWD, "/")?;
        self.root = Some(mount);
        Ok(())
    }

    fn overlay_directory(&self, name: &OsStr) -> Result<()> {
        let paths = ["upper", "work"].map(|layer| Path::new(layer).join(name));
        let lower = Path::new("/").join(name);
        let mode = Mode::from_raw_mode(rustix::fs::stat(&lower)?.st_mode & 0o7777);
        // /etc is there already, with the names.
        make_directory(CWD, &paths[0], mode)?;
        make_directory(CWD, &paths[1], DIRECTORY)?;
        make_directory(self.root()?, Path::new(name), mode)?;
        let [upper, work] = paths;
        let values = [escaped(&lower)?, escaped(&upper)?, escaped(&work)?];
        let options =
            [("lowerdir", &*values[0]), ("upperdir", &*values[1]), ("workdir", &*values[2]), ("userxattr", "")];
        match new_mount("overlay", &options, MountAttrFlags::MOUNT_ATTR_NODEV) {
            Ok(mount) => attach(&mount, self.root()?, name),
            // Locked mounts below, or a file system that can be no layer: what can't be overlaid can be looked at.
            Err(errno) => {
                debug!("no overlay of /{}: {errno}; bound read-only", name.display());
                self.bind(&lower, Path::new(name), true)
            }
        }
    }

    /// Binds `source` of the host, with all that is mounted below it, on `target` in the new root.
    fn bind(&self, source: &Path, target: &Path, read_only: bool) -> Result<()> {
        self.bind_tree(&clone_tree(source)?, target, read_only)
    }

    fn bind_tree(&self, tree: &OwnedFd, target: &Path, read_only: bool) -> Result<()> {
        if read_only {
            sys::make_read_only(tree.as_fd())?;
        }
        let target = if is_directory(tree)? { self.directory(target)? } else { self.file(target)? };
        move_onto(tree, &target)
    }

    /// Opens `path`, resolved inside the new root, whatever links lie on the way.
    fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(self.root()?, path, flags | OFlags::CLOEXEC, mode, resolve)
    }

    /// The directory `path` of the new root, made if it is not there, parents included.
    fn directory(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        let path = path.as_ref();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open(path, flags, Mode::empty()) {
            Err(Errno::NOENT) => {}
            result => return result,
        }
        let (parent, name) = split(path)?;
        make_directory(self.directory(parent)?, Path::new(name), DIRECTORY)?;
        self.open(path, flags, Mode::empty())
    }

    /// The file `path` of the new root, made empty if it is not there.
    fn file(&self, path: &Path) -> Result<OwnedFd> {
        match self.open(path, OFlags::PATH, Mode::empty()) {
            Err(Errno::NOENT) => {}
            Ok(found) if is_directory(&found)? => return Err(Errno::ISDIR),
            result => return result,
        }
        self.directory(split(path)?.0)?;
        self.open(path, OFlags::CREATE | OFlags::RDONLY, FILE)
    }

    fn write_names_below(&self, directory: &str) -> Result<()> {
        let mode = rustix::fs::stat("/etc").map_or(DIRECTORY, |etc| Mode::from_raw_mode(etc.st_mode & 0o7777));
        rustix::fs::mkdirat(CWD, directory, mode)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.write_names_in(&rustix::fs::openat(CWD, directory, flags, Mode::empty())?)
    }

    fn write_names_in(&self, directory: &OwnedFd) -> Result<()> {
        for (name, contents) in self.names.files() {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::openat(directory, name, flags, FILE)?;
            rustix::io::write(&file, contents)?;
        }
        Ok(())
    }

    /// Binds the files over those of a root that is somebody's own. Where one can't be, it stays as it is.
    fn bind_names(&self) -> Result<()> {
        let scratch = self.scratch.as_ref().ok_or(Errno::NOENT)?;
        self.write_names_in(scratch)?;
        for (name, _) in self.names.files() {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let source = rustix::mount::open_tree(scratch, name, flags)?;
            if let Err(errno) = self.file(&Path::new("etc").join(name)).and_then(|target| move_onto(&source, &target)) {
                debug!("/etc/{name} stays as it is: {errno}");
            }
        }
        Ok(())
    }

    fn make_devices(&self, bound: bool, tty_group: bool) -> Result<()> {
        let target = self.mount_point("dev")?;
        let devices = new_mount("tmpfs", &[("mode", "755")], NOSUID_NOEXEC)?;
        for (name, target) in DEVICE_LINKS {
            rustix::fs::symlinkat(target, &devices, name)?;
        }
        for (name, mode) in [("pts", DIRECTORY), ("shm", ALL_USERS)] {
            rustix::fs::mkdirat(&devices, name, mode)?;
        }
        for (name, major, minor) in DEVICES {
            if bound {
                rustix::fs::openat(&devices, name, OFlags::CREATE | OFlags::CLOEXEC, DEVICE)?;
            } else {
                let number = rustix::fs::makedev(major, minor);
                rustix::fs::mknodat(&devices, name, FileType::CharacterDevice, DEVICE, number)?;
            }
        }
        move_onto(&devices, &target)?;
        if bound {
            for (name, ..) in DEVICES {
                attach(&clone_tree(&Path::new("/dev").join(name))?, &devices, name)?;
            }
        }
        let group = TTY_GROUP.to_string();
        let mut options = vec![("newinstance", ""), ("ptmxmode", "666"), ("mode", "620")];
        if tty_group {
            options.push(("gid", &*group));
        }
        attach(&new_mount("devpts", &options, NOSUID_NOEXEC)?, &devices, "pts")
    }

    fn mount_sys(&self) -> Result<()> {
        let target = self.mount_point("sys")?;
        let read_only = NOSUID_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_RDONLY;
        match new_mount("sysfs", &[], read_only) {
            Ok(mount) => move_onto(&mount, &target),
            // In a user namespace, where a container around nsl hides parts of its own: that one, then.
            Err(Errno::PERM) => {
                debug!("no new sysfs; the host's is bound");
                self.bind(Path::new("/sys"), Path::new("sys"), true)
            }
            Err(errno) => Err(errno),
        }
    }

    /// A directory in the root itself that is really one: a link there would lead a mount astray.
    fn mount_point(&self, name: &str) -> Result<OwnedFd> {
        self.directory(name)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(self.root()?, name, flags, Mode::empty())
    }

    fn open_pty(&self) -> Result<Pty> {
        let master = self.open(Path::new("dev/pts/ptmx"), OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        rustix::pty::unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        Ok(Pty { master, slave })
    }
}

/// The parent of a path relative to the root, and its last part.
fn split(path: &Path) -> Result<(PathBuf, &OsStr)> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")).to_path_buf(), name))
}

fn is_directory(file: &OwnedFd) -> Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::Directory)
}

/// Makes a directory, unless it is there.
fn make_directory(parent: impl AsFd, path: &Path, mode: Mode) -> Result<()> {
    match rustix::fs::mkdirat(parent, path, mode) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

/// A path as a value of overlay's options, where some characters have a meaning.
fn escaped(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or(Errno::ILSEQ)?;
    Ok(text.chars().fold(String::new(), |mut out, c| {
        if matches!(c, '\\' | ':' | ',') {
            out.push('\\');
        }
        out.push(c);
        out
    }))
}

/// A new file system, not attached anywhere: fsopen(2), fsconfig(2), fsmount(2). An option with an empty value is a
/// flag.
fn new_mount(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd> {
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

/// A copy of the mount tree at `path` of the host, not attached anywhere.
fn clone_tree(path: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(CWD, path, flags)
}

fn attach(mount: &OwnedFd, directory: impl AsFd, name: impl rustix::path::Arg) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(mount.as_fd(), "", directory.as_fd(), name, flags)
}

fn move_onto(mount: &OwnedFd, target: &OwnedFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount.as_fd(), "", target.as_fd(), "", flags)
}

/// `user_namespaces(7)`: without privileges outside, one may map oneself, after giving up setgroups(2).
fn map_identity(uid: u32, gid: u32) -> Result<()> {
    let write = |path: &str, text: &str| {
        std::fs::write(path, text).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    };
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("{uid} {uid} 1"))?;
    write("/proc/self/gid_map", &format!("{gid} {gid} 1"))
}
