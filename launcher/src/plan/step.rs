//! The steps of the child, as data. `Display` of a step is its one phrase, for `--dry-run`, spans and errors
//! ("cannot …") alike.

use crate::mounts::Mount;
use crate::security::landlock::Rule;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// A step of the child between clone3 and the init, in its new namespaces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Open a netlink socket in the new network namespace and hand it to the launcher.
    Netlink,
    /// Enter the network namespace that the launcher has made meanwhile.
    EnterNetwork,
    /// Be, in the new user namespace, who one is outside.
    MapIdentity { uid: u32, gid: u32 },
    /// Wait until the launcher has mapped users and groups; then be root, if there is one for the command.
    AwaitIdentities { root: bool },
    /// Let no mount made here reach the host.
    PrivateMounts,
    /// A tmpfs, over the host's /proc, for what the command writes.
    Scratch,
    /// A directory of the host's, instead of the scratch tmpfs, for what the command writes.
    Changes(PathBuf),
    /// The host's root with the layer that takes what is written over it.
    HostOverlay {
        /// With the owners that the launcher has shifted.
        shifted: bool,
    },
    /// A tmpfs over a directory of the host's root, where that may not be changed to get an empty one.
    Fresh(&'static str),
    /// An empty tmpfs as the root.
    EmptyRoot,
    /// A directory of the host as the root.
    DirectoryRoot(PathBuf),
    /// A directory of the host with the scratch tmpfs over it.
    Overlay(PathBuf),
    /// One directory of the host's root, copy-on-write: what a user namespace can do of `HostOverlay`.
    DirectoryOverlay(OsString),
    /// One entry of the host's root that cannot be overlaid, read-only.
    ReadOnlyBind(OsString),
    /// A symbolic link of the host's root, made again.
    Link { name: OsString, target: PathBuf },
    /// resolv.conf, hosts and hostname in /etc.
    Names(NamesIn),
    /// Hand /etc/hosts to the launcher, which completes it.
    Hosts,
    /// /dev: a tmpfs with the usual devices, made, or bound from the host's; with pts and shm.
    /// The group of terminals need not exist.
    Devices { bound: bool, tty_group: bool },
    /// /sys, read-only: a new sysfs, or the host's where none may be mounted.
    Sys { bound: bool },
    /// The host's /proc, where no new one may be mounted.
    HostProc,
    /// What was asked for by -v, --tmpfs or --mount.
    Mount(Mount),
    /// /proc, of the sandbox's processes. Before the old root goes: in a user namespace the kernel gives a procfs only
    /// while one is in sight.
    Proc,
    /// In the new network namespace, let the groups from `first` to `last` send echo requests, which take a capability
    /// otherwise. By the new /proc, before the init protects it; what comes of it stops nothing.
    Ping { first: u32, last: u32 },
    /// The paths that the command may reach.
    Landlock(Vec<Rule>),
    /// A pty of the new /dev/pts: its master for the launcher, its slave for the command.
    Terminal,
    /// Let nobody write to the root any more; what is mounted in it is as it is.
    ReadOnlyRoot,
    /// Make the new root the root; the old one lies on top until the init detaches it.
    PivotRoot,
    /// Execute nsl-init.
    Execute,
}

/// Where the files with names are put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamesIn {
    /// The overlay's upper layer.
    Layer,
    /// The root itself, which is nsl's own.
    Root,
    /// Files of nsl's, bound over those of a root that is somebody's.
    Binds,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Netlink => f.write_str("open a netlink socket in the new network namespace"),
            Self::EnterNetwork => f.write_str("enter the network namespace"),
            Self::MapIdentity { uid, gid } => write!(f, "map user {uid} and group {gid} to themselves"),
            Self::AwaitIdentities { root: false } => f.write_str("wait for the maps of users and groups"),
            Self::AwaitIdentities { root: true } => {
                f.write_str("wait for the maps of users and groups, and become root")
            }
            Self::PrivateMounts => f.write_str("make the mounts private"),
            Self::Scratch => f.write_str("mount a tmpfs for what the command writes"),
            Self::Changes(path) => write!(f, "keep what the command changes in {}", path.display()),
            Self::Fresh(name) => write!(f, "mount a tmpfs on /{name}"),
            Self::HostOverlay { shifted: false } => f.write_str("mount an overlay of the host's / on /"),
            Self::HostOverlay { shifted: true } => {
                f.write_str("mount an overlay of the host's / on /, with shifted owners")
            }
            Self::EmptyRoot => f.write_str("mount a tmpfs on /"),
            Self::DirectoryRoot(path) => write!(f, "bind {} on /", path.display()),
            Self::Overlay(path) => write!(f, "mount an overlay of {} on /", path.display()),
            Self::DirectoryOverlay(name) => {
                write!(f, "mount an overlay of the host's /{0} on /{0}", name.display())
            }
            Self::ReadOnlyBind(name) => write!(f, "bind the host's /{0} on /{0}, read-only", name.display()),
            Self::Link { name, target } => write!(f, "link /{} to {}", name.display(), target.display()),
            Self::Names(_) => f.write_str("write resolv.conf, hosts and hostname in /etc"),
            Self::Hosts => f.write_str("hand over /etc/hosts, to be kept up to date"),
            Self::Devices { bound: false, .. } => f.write_str("mount a tmpfs with devices, pts and shm on /dev"),
            Self::Devices { bound: true, .. } => {
                f.write_str("mount a tmpfs with the host's devices, pts and shm on /dev")
            }
            Self::Sys { bound: false } => f.write_str("mount sysfs on /sys, read-only"),
            Self::Sys { bound: true } => f.write_str("bind the host's /sys on /sys, read-only"),
            Self::HostProc => f.write_str("bind the host's /proc on /proc"),
            Self::Mount(mount) => mount.fmt(f),
            Self::Proc => f.write_str("mount proc on /proc"),
            Self::Ping { .. } => f.write_str("let every group ping"),
            Self::Landlock(rules) => {
                f.write_str("make Landlock rules:")?;
                rules.iter().try_for_each(|rule| write!(f, " {rule}"))
            }
            Self::Terminal => f.write_str("open a pty in /dev/pts"),
            Self::ReadOnlyRoot => f.write_str("make the root read-only"),
            Self::PivotRoot => f.write_str("pivot to the new root"),
            Self::Execute => f.write_str("execute nsl-init"),
        }
    }
}
