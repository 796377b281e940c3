//! The child's side of the plan: assembles the new root, step by step, up to pivot_root.
//!
//! Nothing here runs outside a mount namespace of its own. What lies in the new root is reached by `inside` alone.

mod devices;
mod host;
mod inside;
mod mount;
mod mounts;
mod names;
mod old;

pub use mount::has_calls as has_mount_calls;
pub use names::Names;

use crate::mounts::Tmpfs;
use crate::plan::{NamesIn, Plan, Step};
use crate::security::landlock;
use inside::{ALL_USERS, DIRECTORY};
use mount::{Mounts, NODEV, NOSUID_NODEV, READ_ONLY, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MountAttrFlags, MountPropagationFlags};
use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use tracing::debug;

/// A pty: the master is the launcher's, the slave the command's.
pub struct Pty {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// The layers of the root; the last option is for a user namespace alone.
const LAYERS_OF_USER: [(&str, &[u8]); 4] =
    [("lowerdir", b"lower"), ("upperdir", b"upper"), ("workdir", b"work"), ("userxattr", b"")];

/// What a start does first in its new namespaces: be who one is outside, where a user namespace is among them, and let no
/// mount reach the host.
pub fn enter(identity: Option<(u32, u32)>) -> Result<()> {
    identity.map_or(Ok(()), |(uid, gid)| map_identity(uid, gid))?;
    make_private()
}

/// Whether a file system of this kind can be mounted, in new namespaces that were entered.
pub fn try_mount(kind: &str) -> Result<()> {
    Mounts::default().create(kind, &[], NOSUID_NODEV).map(drop)
}

/// Whether the kernel has file systems of this kind, or modules for them: ENODEV if not. Where fsopen(2) is missing, it
/// does not tell.
pub fn ask_for(kind: &str) -> Result<()> {
    rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map(drop)
}

/// A root in the making.
pub struct Assembly<'a> {
    steps: &'a [Step],
    names: &'a Names,
    user_namespace: bool,
    /// Of mounts whose files are not nsl's own: a device there is none. Where no exec gives privileges, no file does:
    /// else the kernel would not execute one at all that has more capabilities than the command may have, as Debian's
    /// ping.
    foreign: MountAttrFlags,
    /// The directory of the host's that keeps what is written, held by the launcher. Then nothing of nsl's own may be
    /// written over the host's files.
    kept: Option<BorrowedFd<'a>>,
    mounts: Mounts,
    /// Trees from the launcher, with shifted owners, for the root and the mounts in the order of their steps.
    shifted: VecDeque<OwnedFd>,
    /// Of the mounts that were asked for, in the order of their steps.
    sources: VecDeque<Result<OwnedFd>>,
    scratch: Option<OwnedFd>,
    root: Option<OwnedFd>,
    /// For the init: what the command may reach.
    pub landlock: Option<OwnedFd>,
    /// For the init: the procfs on /proc. The host's, if that is asked for, is opened before it is covered.
    pub proc: Option<OwnedFd>,
    /// Mounts that are the root as well, and at last read-only with it.
    parts: Vec<OwnedFd>,
    /// The lower layer's /etc is a link: the names go where it leads, once there is a root in which it leads anywhere.
    names_through_link: bool,
    /// How many copy-on-write views there are.
    views: u32,
    has_warned: bool,
}

impl<'a> Assembly<'a> {
    pub fn new(plan: &'a Plan, names: &'a Names, kept: Option<BorrowedFd<'a>>) -> Self {
        Self {
            steps: &plan.child,
            names,
            user_namespace: plan.identities.is_new(),
            foreign: if plan.no_new_privs { NOSUID_NODEV } else { NODEV },
            kept,
            mounts: Mounts::default(),
            shifted: VecDeque::new(),
            sources: VecDeque::new(),
            scratch: None,
            root: None,
            landlock: None,
            proc: None,
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
                make_private()?;
                self.open_sources();
                if self.steps.contains(&Step::HostProc) {
                    self.proc = Some(self.mounts.tree(Path::new("/proc"))?);
                }
            }
            Step::Scratch => self.make_scratch()?,
            Step::Changes(path) => self.enter_changes(path)?,
            Step::HostOverlay { shifted: false } => self.overlay_host()?,
            Step::HostOverlay { shifted: true } => self.overlay_shifted_host()?,
            Step::Fresh(name) => self.mount_fresh(name)?,
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
                // Where changes are kept it was their directory.
                rustix::process::fchdir(scratch)?;
                self.write_names(scratch)?;
                self.bind_names(scratch, self.is_read_only())?;
            }
            Step::Devices { bound, tty_group } => self.make_devices(*bound, *tty_group)?,
            Step::Sys { bound: true } => self.bind(Path::new("/sys"), Path::new("sys"), READ_ONLY)?,
            Step::Sys { bound: false } => self.mount_sys()?,
            Step::HostProc => self.attach_proc()?,
            Step::Mount(mount) => self.mount(mount)?,
            Step::Proc => self.mount_proc()?,
            Step::Ping { first, last } => {
                if let Err(errno) = self.let_groups_ping(*first, *last) {
                    debug!("ping takes CAP_NET_RAW: {errno}");
                }
            }
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
            Step::EnterNetwork | Step::Netlink | Step::AwaitIdentities { .. } | Step::Hosts | Step::Execute => {}
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

    /// Opened anew, since the mount that the launcher's descriptor belongs to is in another namespace.
    fn enter_changes(&self, path: &Path) -> Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        let (found, held) = (rustix::fs::fstat(&directory)?, rustix::fs::fstat(self.kept.ok_or(Errno::NOENT)?)?);
        if (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino) {
            return Err(Errno::STALE);
        }
        rustix::process::fchdir(&directory)
    }

    /// What is not on the host, or is a link there, stays so.
    fn mount_fresh(&self, name: &str) -> Result<()> {
        let target = match self.mount_point(name) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            result => result?,
        };
        let tmpfs = if name == "tmp" { Tmpfs::TMP } else { Tmpfs::RUN };
        self.mounts.attach(&self.create_tmpfs(&tmpfs, MountAttrFlags::empty())?, target, "")
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
        self.set_root(self.mounts.create("overlay", options, self.foreign)?)?;
        if self.names_through_link
            && let Err(errno) = self.write_names_through_link()
        {
            debug!("resolv.conf, hosts and hostname stay as they are: {errno}");
            self.names_through_link = false;
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
        let read_only = if self.is_read_only() { READ_ONLY } else { MountAttrFlags::empty() };
        self.mounts.restrict_tree(&tree, self.foreign | read_only)?;
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

fn make_private() -> Result<()> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
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
