//! The root's /dev, /sys and, if need be, /proc, which are nsl's own from the first entry on: nothing that lies in a
//! root is taken for a device. (No /dev/mqueue: mounting one more file system costs every start, and hardly anybody
//! opens it by a path.)

use super::inside::{ALL_USERS, DIRECTORY};
use super::mount::{NODEV, NOSUID_NOEXEC, READ_ONLY, Result};
use super::{Assembly, Pty};
use crate::plan::TTY_GROUP;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use tracing::debug;

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

impl Assembly<'_> {
    pub(super) fn make_devices(&self, bound: bool, tty_group: bool) -> Result<()> {
        let target = self.mount_point("dev")?;
        let devices = self.mounts.create("tmpfs", &[("mode", b"755")], NOSUID_NOEXEC)?;
        for (name, target) in DEVICE_LINKS {
            rustix::fs::symlinkat(target, &devices, name)?;
        }
        // What is in shm counts as /dev's: a tmpfs of its own, with a size, is there for the asking.
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
        self.mounts.attach(&devices, &target, "")?;
        if bound {
            for (name, major, minor) in DEVICES {
                self.mounts.attach(&self.device_of_host(name, major, minor)?, &devices, name)?;
            }
        }
        let group = TTY_GROUP.to_string();
        let mut options: Vec<(&str, &[u8])> = vec![("newinstance", b""), ("ptmxmode", b"666"), ("mode", b"620")];
        if tty_group {
            options.push(("gid", group.as_bytes()));
        }
        self.mounts.attach(&self.mounts.create("devpts", &options, NOSUID_NOEXEC)?, &devices, "pts")
    }

    /// A device node of the host's, if that is what lies in its place: a file there would be written to instead.
    fn device_of_host(&self, name: &str, major: u32, minor: u32) -> Result<OwnedFd> {
        let device = self.mounts.tree(&Path::new("/dev").join(name))?;
        let found = rustix::fs::fstat(&device)?;
        let is_device = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
        if is_device && found.st_rdev == rustix::fs::makedev(major, minor) { Ok(device) } else { Err(Errno::NODEV) }
    }

    pub(super) fn mount_proc(&mut self) -> Result<()> {
        let target = self.mount_point("proc")?;
        let proc = self.mounts.create("proc", &[], NOSUID_NOEXEC | NODEV)?;
        self.mounts.attach(&proc, &target, "")?;
        self.proc = Some(proc);
        Ok(())
    }

    pub(super) fn mount_sys(&self) -> Result<()> {
        let target = self.mount_point("sys")?;
        match self.mounts.create("sysfs", &[], NOSUID_NOEXEC | NODEV | READ_ONLY) {
            Ok(sys) => self.mounts.attach(&sys, &target, ""),
            // In a user namespace, where a container around nsl hides parts of its own: that one, then.
            Err(Errno::PERM) => {
                debug!("no new sysfs; the host's is bound");
                self.bind(Path::new("/sys"), Path::new("sys"), READ_ONLY)
            }
            Err(errno) => Err(errno),
        }
    }

    /// The host's /proc.
    pub(super) fn attach_proc(&self) -> Result<()> {
        let tree = self.proc.as_ref().ok_or(Errno::NOENT)?;
        self.mounts.attach(tree, self.mount_point("proc")?, "")
    }

    /// What is mounted over the file, as by a container around nsl, is not written to.
    pub(super) fn let_groups_ping(&self, first: u32, last: u32) -> Result<()> {
        let proc = self.proc.as_ref().ok_or(Errno::NOENT)?;
        let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(proc, "sys/net/ipv4/ping_group_range", flags, Mode::empty(), resolve)?;
        rustix::io::write(file, format!("{first} {last}").as_bytes()).map(drop)
    }

    /// A pty, whose slave is the console as well.
    pub(super) fn open_pty(&self) -> Result<Pty> {
        let master = self.open(Path::new("dev/pts/ptmx"), OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        rustix::pty::unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        let console = self.mounts.copy(slave.as_fd(), Path::new(""), false)?;
        self.mounts.attach(&console, self.file(Path::new("dev/console"))?, "")?;
        Ok(Pty { master, slave })
    }
}
