//! The child's side of the plan: assembles the new root, step by step, up to pivot_root.
//!
//! Nothing here runs outside a mount namespace of its own. What lies in the new root is reached by `inside` alone.

mod devices;
mod inside;
mod mount;
mod mounts;
mod names;
mod old;

pub use names::Names;

use crate::mounts::Tmpfs;
use crate::plan::{NamesIn, Step};
use crate::security::landlock;
use inside::{ALL_USERS, DIRECTORY, make_directory};
use mount::{Mounts, NODEV, NOSUID_NODEV, READ_ONLY, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatVfsMountFlags, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tracing::{debug, warn};

/// A pty: the master is the launcher's, the slave the command's.
pub struct Pty {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// The layers of the root; the last option is for a user namespace alone.
const LAYERS_OF_USER: [(&str, &[u8]); 4] =
    [("lowerdir", b"lower"), ("upperdir", b"upper"), ("workdir", b"work"), ("userxattr", b"")];

/// A root in the making.
pub struct Assembly<'a> {
    steps: &'a [Step],
    names: &'a Names,
    user_namespace: bool,
    mounts: Mounts,
    /// Trees from the launcher, with shifted owners, for the root and the mounts in the order of their steps.
    shifted: VecDeque<OwnedFd>,
    /// The host's /proc, if it is asked for: opened before it is covered.
    proc: Option<OwnedFd>,
    /// Of the mounts that were asked for, in the order of their steps.
    sources: VecDeque<Result<OwnedFd>>,
    scratch: Option<OwnedFd>,
    root: Option<OwnedFd>,
    /// For the init: what the command may reach.
    pub landlock: Option<OwnedFd>,
    /// Mounts that are the root as well, and at last read-only with it.
    parts: Vec<OwnedFd>,
    /// The lower layer's /etc is a link: the names go where it leads, once there is a root in which it leads anywhere.
    names_through_link: bool,
    /// How many copy-on-write views there are.
    views: u32,
    has_warned: bool,
}

impl<'a> Assembly<'a> {
    pub fn new(steps: &'a [Step], names: &'a Names, user_namespace: bool) -> Self {
        Self {
            steps,
            names,
            user_namespace,
            mounts: Mounts::default(),
            shifted: VecDeque::new(),
            proc: None,
            sources: VecDeque::new(),
            scratch: None,
            root: None,
            landlock: None,
            parts: Vec::new(),
            names_through_link: false,
            views: 0,
            has_warned: false,
        }
    }

    /// Uses these trees, which the launcher has opened, instead of opening them.
    pub fn give(&mut self, shifted: VecDeque<OwnedFd>) {
        self.shifted = shifted;
    }

    /// Carries out one step; `Terminal` alone has something to give back.
    pub fn carry_out(&mut self, step: &Step) -> Result<Option<Pty>> {
        match step {
            Step::MapIdentity { uid, gid } => map_identity(*uid, *gid)?,
            Step::PrivateMounts => {
                rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
                self.open_sources();
                if self.steps.contains(&Step::HostProc) {
                    self.proc = Some(self.mounts.tree(Path::new("/proc"))?);
                }
            }
            Step::Scratch => self.make_scratch()?,
            Step::HostOverlay { shifted: false } => self.overlay_host()?,
            Step::HostOverlay { shifted: true } => self.overlay_shifted_host()?,
            Step::EmptyRoot => self.make_empty_root()?,
            Step::DirectoryRoot(path) => self.bind_root(path)?,
            Step::Overlay(path) => self.overlay_root(path)?,
            Step::DirectoryOverlay(name) => self.overlay_directory(name)?,
            Step::ReadOnlyBind(name) => self.bind_read_only(name)?,
            Step::Link { name, target } => rustix::fs::symlinkat(target, self.root()?, name)?,
            Step::Names(NamesIn::Layer) => self.write_names_in_layer()?,
            Step::Names(NamesIn::Root) => self.write_names(&self.directory("etc")?)?,
            Step::Names(NamesIn::Binds) => {
                let scratch = self.scratch.as_ref().ok_or(Errno::NOENT)?;
                self.write_names(scratch)?;
                self.bind_names(scratch)?;
            }
            Step::Devices { bound, tty_group } => self.make_devices(*bound, *tty_group)?,
            Step::Sys { bound: true } => self.bind(Path::new("/sys"), Path::new("sys"), READ_ONLY)?,
            Step::Sys { bound: false } => self.mount_sys()?,
            Step::HostProc => self.attach_proc()?,
            Step::Mount(mount) => self.mount(mount)?,
            Step::Proc => self.mount_proc()?,
            Step::Landlock(rules) => {
                let open = |path: &Path| self.open(path, OFlags::PATH, Mode::empty());
                self.landlock = Some(landlock::ruleset(rules, open)?);
            }
            Step::Terminal => return self.open_pty().map(Some),
            Step::ReadOnlyRoot => self.make_read_only()?,
            Step::PivotRoot => {
                rustix::process::fchdir(self.root()?)?;
                rustix::process::pivot_root(".", ".")?;
            }
            // The spawner's own.
            Step::Netlink | Step::AwaitIdentities { .. } | Step::Execute => {}
        }
        Ok(None)
    }

    /// What is to be done in it is done relative to the working directory.
    fn make_scratch(&mut self) -> Result<()> {
        let scratch = self.mounts.scratch()?;
        rustix::process::fchdir(&scratch)?;
        for name in ["upper", "work"] {
            rustix::fs::mkdirat(CWD, name, DIRECTORY)?;
        }
        self.scratch = Some(scratch);
        Ok(())
    }

    /// One overlay, whose upper layer already holds what is fresh: an empty /run and /tmp cost no mount of theirs.
    fn overlay_host(&mut self) -> Result<()> {
        for (name, mode) in [("upper/run", DIRECTORY), ("upper/tmp", ALL_USERS)] {
            rustix::fs::mkdirat(CWD, name, mode)?;
            rustix::fs::setxattr(name, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
        }
        let layers: [(&str, &[u8]); 3] = [("lowerdir", b"/"), ("upperdir", b"upper"), ("workdir", b"work")];
        match self.mounts.create("overlay", &layers, NODEV) {
            Err(Errno::INVAL) => self.bind_host(Path::new("/")),
            mount => self.set_root(mount?),
        }
    }

    /// The same in a user namespace, over a mount of the host's root that shows other owners.
    fn overlay_shifted_host(&mut self) -> Result<()> {
        let mut covered = Vec::new();
        for (name, mode, tmpfs) in [("run", DIRECTORY, Tmpfs::RUN), ("tmp", ALL_USERS, Tmpfs::TMP)] {
            let upper = Path::new("upper").join(name);
            rustix::fs::mkdirat(CWD, &upper, mode)?;
            match rustix::fs::setxattr(&upper, "user.overlay.opaque", b"y", XattrFlags::empty()) {
                // Before Linux 6.6 a tmpfs has no attributes of users.
                Err(Errno::OPNOTSUPP) => covered.push((name, tmpfs)),
                result => result?,
            }
        }
        rustix::fs::mkdirat(CWD, "lower", DIRECTORY)?;
        let lower = self.shifted.pop_front().ok_or(Errno::NOENT)?;
        self.mounts.attach(&lower, CWD, "lower")?;
        match self.mounts.create("overlay", &LAYERS_OF_USER, NODEV) {
            Err(Errno::INVAL) => return self.bind_host(Path::new("lower")),
            mount => self.set_root(mount?)?,
        }
        for (name, tmpfs) in covered {
            let mount = self.create_tmpfs(&tmpfs, MountAttrFlags::empty())?;
            self.mounts.attach(&mount, self.mount_point(name)?, "")?;
        }
        Ok(())
    }

    /// Where the host's root is an overlay of overlays, and no more can be stacked. It is read-only from the start, so
    /// that nothing is made in it.
    fn bind_host(&mut self, host: &Path) -> Result<()> {
        self.warn_of_layers();
        let root = self.mounts.copy(CWD, host, false)?;
        self.mounts.change(&root, NODEV | READ_ONLY, MountAttrFlags::empty())?;
        self.set_root(root)?;
        self.bind_names_of_layer()?;
        for (name, tmpfs) in [("run", Tmpfs::RUN), ("tmp", Tmpfs::TMP)] {
            let mount = self.create_tmpfs(&tmpfs, MountAttrFlags::empty())?;
            self.mounts.attach(&mount, self.mount_point(name)?, "")?;
        }
        Ok(())
    }

    /// Said once, however many directories it is true of.
    fn warn_of_layers(&mut self) {
        if !std::mem::replace(&mut self.has_warned, true) {
            warn!(
                "the host's root can be no lower layer here: it is read-only inside (hint: -v DIR:DIR makes a \
                 directory writable, --rootfs and --empty give another root)"
            );
        }
    }

    /// An overlay of a directory that is somebody's. What nsl mounts on is in the upper layer, where no link of the
    /// lower one can be in its place.
    fn overlay_root(&mut self, lower: &Path) -> Result<()> {
        for name in ["upper/dev", "upper/proc", "upper/sys"] {
            rustix::fs::mkdirat(CWD, name, DIRECTORY)?;
        }
        // Overlay takes a name of at most 255 bytes, in which some have a meaning.
        if let Some(shifted) = self.shifted.pop_front() {
            rustix::fs::mkdirat(CWD, "lower", DIRECTORY)?;
            self.mounts.attach(&shifted, CWD, "lower")?;
        } else {
            rustix::fs::symlinkat(lower, CWD, "lower")?;
        }
        let options = if self.user_namespace { &LAYERS_OF_USER[..] } else { &LAYERS_OF_USER[..3] };
        self.set_root(self.mounts.create("overlay", options, NODEV)?)?;
        if self.names_through_link
            && let Err(errno) = self.write_names_through_link()
        {
            debug!("resolv.conf, hosts and hostname stay as they are: {errno}");
        }
        Ok(())
    }

    fn make_empty_root(&mut self) -> Result<()> {
        self.set_root(self.mounts.create("tmpfs", &[("mode", b"755")], NOSUID_NODEV)?)?;
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
        let tree = self.shifted.pop_front().map_or_else(|| self.mounts.tree(path), Ok)?;
        let was_read_only = rustix::fs::fstatvfs(&tree)?.f_flag.contains(StatVfsMountFlags::RDONLY);
        // A device in somebody's directory is none inside.
        let read_only = if self.is_read_only() { READ_ONLY } else { MountAttrFlags::empty() };
        self.mounts.restrict_tree(&tree, NODEV | read_only)?;
        if self.is_read_only() && !was_read_only {
            // Until all is made that other things are mounted on; what came mounted below stays so.
            self.mounts.change(&tree, MountAttrFlags::empty(), READ_ONLY)?;
        }
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
        self.mounts.attach(&mount, CWD, "/")?;
        self.root = Some(mount);
        Ok(())
    }

    fn overlay_directory(&mut self, name: &OsStr) -> Result<()> {
        let paths = ["upper", "work"].map(|layer| Path::new(layer).join(name));
        let lower = Path::new("/").join(name);
        let mode = Mode::from_raw_mode(rustix::fs::stat(&lower)?.st_mode & 0o7777);
        // /etc is there already, with the names.
        make_directory(CWD, &paths[0], mode)?;
        make_directory(CWD, &paths[1], DIRECTORY)?;
        make_directory(self.root()?, Path::new(name), mode)?;
        let [upper, work] = paths;
        let values = [escaped(&lower), escaped(&upper), escaped(&work)];
        let options: [(&str, &[u8]); 4] =
            [("lowerdir", &values[0]), ("upperdir", &values[1]), ("workdir", &values[2]), ("userxattr", b"")];
        match self.mounts.create("overlay", &options, NODEV) {
            Ok(mount) => {
                self.mounts.attach(&mount, self.root()?, name)?;
                if self.is_read_only() {
                    self.parts.push(mount);
                }
                Ok(())
            }
            // What can't be overlaid can be looked at.
            Err(errno) => {
                debug!("no overlay of /{}: {errno}; bound read-only", name.display());
                if errno == Errno::INVAL {
                    self.warn_of_layers();
                }
                self.bind_read_only(name)
            }
        }
    }

    fn bind_read_only(&self, name: &OsStr) -> Result<()> {
        self.bind(&Path::new("/").join(name), Path::new(name), NODEV | READ_ONLY)?;
        if name == "etc" { self.bind_names_of_layer() } else { Ok(()) }
    }

    fn is_read_only(&self) -> bool {
        self.steps.contains(&Step::ReadOnlyRoot)
    }

    /// The root itself and, where it is put together from several mounts, those.
    fn make_read_only(&self) -> Result<()> {
        let root = self.root.as_ref().ok_or(Errno::NOENT)?;
        let mut mounts = self.parts.iter().chain([root]);
        mounts.try_for_each(|mount| self.mounts.change(mount, READ_ONLY, MountAttrFlags::empty()))
    }
}

/// A path as a value of overlay's options, where some characters have a meaning.
fn escaped(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().iter().fold(Vec::new(), |mut out, byte| {
        if matches!(byte, b'\\' | b':' | b',') {
            out.push(b'\\');
        }
        out.push(*byte);
        out
    })
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
