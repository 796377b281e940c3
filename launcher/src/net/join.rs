//! A network namespace that is there already, held open from before anything is made; and the moment in which nsl is in
//! it, so that its child is born there.

use super::names;
use crate::error::{Error, Result};
use crate::sys;
use nix::errno::Errno;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// `NSFS_MAGIC`: the file is a namespace.
const NSFS: u64 = 0x6e73_6673;
/// Where ip(8) keeps the namespaces that it gives names, and the files of /etc for each.
const NAMED: &str = "/run/netns";
const FILES_OF_NAMED: &str = "/etc/netns";
pub(super) const OWN: &str = "/proc/self/ns/net";

/// Whose network it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    File(PathBuf),
    Process(u32),
}

/// A network of others.
#[derive(Clone, Debug)]
pub struct Join {
    source: Source,
    namespace: Rc<OwnedFd>,
    /// What those who are in it read, if there is such a file.
    pub resolv_conf: Option<Vec<u8>>,
    pub hosts: Option<Vec<u8>>,
}

impl PartialEq for Join {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Join {}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "join the network {}", path.display()),
            Self::Process(pid) => write!(f, "join the network of process {pid}"),
        }
    }
}

impl fmt::Display for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Join {
    /// Opens it; none if it is nsl's own network, the host's.
    pub fn open(source: Source) -> Result<Option<Self>> {
        match source {
            Source::File(_) => Self::open_file(source),
            Source::Process(_) => Self::open_process(source),
        }
    }

    fn open_file(source: Source) -> Result<Option<Self>> {
        let Source::File(path) = &source else { return Ok(None) };
        let failed = |errno: rustix::io::Errno| {
            let error = failed(&source, errno);
            if errno == rustix::io::Errno::NOENT { error.hint("ip netns list shows those with names") } else { error }
        };
        let found = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let namespace = open_namespace(&source, &found)?;
        if is_own(&namespace).map_err(failed)? {
            return Ok(None);
        }
        let resolv_conf = named(path).and_then(|name| names::read_if_there(&name.join("resolv.conf")));
        Ok(Some(Self { source, namespace: Rc::new(namespace), resolv_conf, hosts: None }))
    }

    fn open_process(source: Source) -> Result<Option<Self>> {
        let Source::Process(pid) = &source else { return Ok(None) };
        let failed = |errno| match errno {
            rustix::io::Errno::NOENT | rustix::io::Errno::SRCH => {
                Error::new(source.to_string(), "there is no such process, or it has ended")
                    .hint("name one that runs, such as the init of a sandbox: --pidfile tells its ID")
            }
            _ => failed(&source, errno),
        };
        // By this directory it stays the same process: its number may be another's soon.
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let process = rustix::fs::openat(CWD, format!("/proc/{pid}"), directory, Mode::empty()).map_err(failed)?;
        let found = OFlags::PATH | OFlags::CLOEXEC;
        let found = rustix::fs::openat(&process, "ns/net", found, Mode::empty()).map_err(failed)?;
        let namespace = open_namespace(&source, &found)?;
        if is_own(&namespace).map_err(failed)? {
            return Ok(None);
        }
        let root = rustix::fs::openat(&process, "root", directory, Mode::empty());
        let read = |path: &str| match &root {
            Ok(root) => {
                names::read_in(root, path).inspect_err(|error| tracing::debug!("{path} of {pid}: {error}")).ok()
            }
            Err(_) => None,
        };
        let (resolv_conf, hosts) = (read("etc/resolv.conf"), read("etc/hosts"));
        Ok(Some(Self { source, namespace: Rc::new(namespace), resolv_conf, hosts }))
    }

    /// Says why nobody can be brought there, if so. Changes nothing.
    pub fn check(&self) -> Result<()> {
        self.enter()?.leave()
    }

    /// Goes there. A child that is made before `leave` stays there.
    pub fn enter(&self) -> Result<Visit> {
        let own = || format!("open {OWN}");
        let home = rustix::fs::open(OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::os(own(), Errno::from_raw(errno.raw_os_error())))?;
        let network = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(self.namespace.as_fd(), network).map_err(|errno| failed(&self.source, errno))?;
        Ok(Visit { home })
    }
}

/// That nsl is in a network of others.
pub struct Visit {
    home: OwnedFd,
}

impl Visit {
    pub(super) fn of(home: OwnedFd) -> Self {
        Self { home }
    }

    /// Locks that nsl takes by the names of sockets must be those of its own network.
    pub fn leave(self) -> Result<()> {
        self.go_back().map_err(|errno| Error::os("go back to nsl's own network", Errno::from_raw(errno.raw_os_error())))
    }

    /// Whoever may go where he is already may come back.
    pub(super) fn may_go_back(home: &OwnedFd) -> bool {
        move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network)).is_ok()
    }

    pub(super) fn go_back(self) -> rustix::io::Result<()> {
        move_into_link_name_space(self.home.as_fd(), Some(LinkNameSpaceType::Network))
    }
}

fn failed(source: &Source, errno: rustix::io::Errno) -> Error {
    let error = Error::os(source.to_string(), Errno::from_raw(errno.raw_os_error()));
    match errno {
        rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => {
            error.hint("it is another's: that needs root, with CAP_SYS_ADMIN where the network belongs to")
        }
        _ => error,
    }
}

/// Opens what was found, once it is known to be a network: a pipe or device is not even opened.
fn open_namespace(source: &Source, found: &OwnedFd) -> Result<OwnedFd> {
    let failed = |errno| failed(source, errno);
    let wrong = |cause| Error::new(source.to_string(), cause).hint("such as /run/netns/NAME or /proc/PID/ns/net");
    if rustix::fs::fstatfs(found).map_err(failed)?.f_type as u64 != NSFS {
        return Err(wrong("it is no network namespace"));
    }
    let link = format!("/proc/self/fd/{}", found.as_raw_fd());
    let namespace = rustix::fs::open(link, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    match sys::namespace_kind(namespace.as_fd()) {
        Ok(libc::CLONE_NEWNET) => Ok(namespace),
        Ok(_) => Err(wrong("it is a namespace of another kind")),
        Err(errno) => Err(failed(errno)),
    }
}

fn is_own(namespace: &OwnedFd) -> rustix::io::Result<bool> {
    let own = rustix::fs::statat(CWD, OWN, AtFlags::empty())?;
    let other = rustix::fs::fstat(namespace)?;
    Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
}

/// The directory with files for a namespace of this name: ip-netns(8).
fn named(path: &Path) -> Option<PathBuf> {
    let path = std::fs::canonicalize(path).ok()?;
    (path.parent() == Some(Path::new(NAMED)))
        .then(|| Path::new(FILES_OF_NAMED).join(path.file_name().unwrap_or_default()))
}
