//! Who is who: the user namespace of a sandbox, and the ids that exist in it. `--userns` is read here; the launcher
//! writes the maps while the child waits for them.

mod establish;
mod pool;
mod ranges;
mod wait;

pub use establish::{Held, establish};
pub use wait::{become_root, wait};

use crate::error::{Error, Result};
use crate::spec::Caller;
use nix::errno::Errno;
use pool::Pool;
use ranges::{Map, Range};
use std::fmt;
use std::path::Path;

/// As many ids as a system needs: users, and `nobody` as 65534.
const SIZE: u32 = 65536;

/// Who exists inside, and who that is outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identities {
    /// The host's: no user namespace.
    Host,
    /// One, the caller, who maps itself.
    Own,
    /// The caller and its ranges of /etc/subuid and /etc/subgid, mapped by newuidmap and newgidmap.
    Granted { users: Map, groups: Map, root: bool },
    /// A range that nobody else has; root gives it to the sandbox.
    Free(Pool),
}

impl Identities {
    /// What `--userns` asks for. Reads the files that grant ranges only if they are needed.
    pub fn new(asked: Option<&str>, caller: Caller) -> Result<Self> {
        let Some(text) = asked else {
            return Ok(if caller.is_privileged() { Self::Host } else { Self::Own });
        };
        let step = || format!("use --userns {text}");
        match (Mode::new(text)?, caller.is_privileged()) {
            (Mode::Host, true) => Ok(Self::Host),
            (Mode::Host, false) => {
                Err(Error::os(step(), Errno::EPERM).hint("without root no namespace is made but in one for users"))
            }
            (Mode::Auto(size), true) => Ok(Self::Free(Pool::new(size.unwrap_or(SIZE))?)),
            // In a user namespace below, where it has no more power than anybody.
            (Mode::KeepId(None), true) => Ok(Self::Own),
            (Mode::KeepId(_), true) => {
                Err(Error::new(step(), "there is nobody beside root").hint("use --userns auto:SIZE, or keep-id alone"))
            }
            (Mode::Auto(size), false) => Self::granted(caller, true, size),
            (Mode::KeepId(size), false) => Self::granted(caller, false, size),
        }
    }

    fn granted(caller: Caller, root: bool, size: Option<u32>) -> Result<Self> {
        let map = |file: &str, own: u32| {
            let ranges = granted(file, caller, own)?;
            Ok(Map::around(own, if root { 0 } else { own }, &ranges, size.unwrap_or(SIZE)))
        };
        Ok(Self::Granted { users: map("/etc/subuid", caller.uid)?, groups: map("/etc/subgid", caller.gid)?, root })
    }

    /// Does the command run in a user namespace of its own?
    pub fn is_new(&self) -> bool {
        *self != Self::Host
    }

    /// Are there others than the caller, so that root inside can do what root does?
    pub fn are_many(&self) -> bool {
        *self != Self::Own
    }

    /// Does the child have to become root inside once it can?
    pub fn has_root(&self) -> bool {
        matches!(self, Self::Granted { root: true, .. } | Self::Free(_))
    }

    /// Are the host's files seen with other owners?
    pub fn are_shifted(&self) -> bool {
        matches!(self, Self::Free(_))
    }

    /// Do this user and this group exist inside?
    pub fn contain(&self, caller: Caller, uid: u32, gid: u32) -> bool {
        match self {
            Self::Host => true,
            Self::Own => (uid, gid) == (caller.uid, caller.gid),
            Self::Granted { users, groups, .. } => users.contains(uid) && groups.contains(gid),
            Self::Free(pool) => uid < pool.size() && gid < pool.size(),
        }
    }

    /// The first and the last of the groups inside, as far as the kernel takes them for a range (`icmp(7)`).
    pub fn groups(&self, caller: Caller) -> (u32, u32) {
        match self {
            Self::Host | Self::Granted { .. } => (0, i32::MAX.cast_unsigned()),
            Self::Own => (caller.gid, caller.gid),
            Self::Free(pool) => (0, pool.size() - 1),
        }
    }
}

/// Who exists in the user namespace of a process.
pub struct Maps {
    users: Map,
    groups: Map,
}

impl Maps {
    pub fn of(pid: u32) -> std::io::Result<Self> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
        Ok(Self { users: Map::read(&read("uid_map")?), groups: Map::read(&read("gid_map")?) })
    }

    pub fn contain(&self, uid: u32, gid: u32) -> bool {
        self.users.contains(uid) && self.groups.contains(gid)
    }

    /// Are there others than one user?
    pub fn are_many(&self) -> bool {
        self.users.size() > 1
    }

    /// Does root exist?
    pub fn have_root(&self) -> bool {
        self.contain(0, 0)
    }
}

/// What is done on the host, for `--dry-run`.
impl fmt::Display for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host | Self::Own => Ok(()),
            Self::Granted { users, groups, .. } => {
                writeln!(f, "  {}", By::newuidmap(users))?;
                writeln!(f, "  {}", By::newgidmap(groups))
            }
            Self::Free(pool) => writeln!(f, "  {pool}"),
        }
    }
}

/// A map that a program writes, which is setuid and checks by itself what the caller may map. `Display` is the phrase of
/// that step.
struct By<'a> {
    program: &'static str,
    whose: &'static str,
    map: &'a Map,
}

impl<'a> By<'a> {
    fn newuidmap(map: &'a Map) -> Self {
        Self { program: "newuidmap", whose: "users", map }
    }

    fn newgidmap(map: &'a Map) -> Self {
        Self { program: "newgidmap", whose: "groups", map }
    }
}

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "map {} by {}: {}", self.whose, self.program, self.map)
    }
}

/// The value of `--userns`; the words and `size=` are podman's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Host,
    Auto(Option<u32>),
    KeepId(Option<u32>),
}

impl Mode {
    fn new(text: &str) -> Result<Self> {
        let (word, size) = match text.split_once(':') {
            None => (text, None),
            Some((word, size)) => (word, Some(size)),
        };
        let fail = |cause: &'static str| Error::new(format!("use --userns {text}"), cause);
        let count = |size: &str| match size.strip_prefix("size=").unwrap_or(size).parse() {
            Ok(0) | Err(_) => Err(fail("behind the colon only a number of ids can stand, at least 1")),
            Ok(count) => Ok(count),
        };
        let size = size.map(count).transpose()?;
        match (word, size) {
            ("auto", size) => Ok(Self::Auto(size)),
            ("keep-id", size) => Ok(Self::KeepId(size)),
            ("host", None) => Ok(Self::Host),
            _ => Err(fail("it is not auto, auto:SIZE, keep-id, keep-id:SIZE or host")),
        }
    }
}

/// A file that need not be there.
fn read(file: &str) -> Result<Vec<u8>> {
    match std::fs::read(Path::new(file)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(|error| Error::io(format!("read {file}"), &error)),
    }
}

/// The caller's ranges, `own` being its user or group id.
fn granted(file: &str, caller: Caller, own: u32) -> Result<Vec<Range>> {
    let passwd = read("/etc/passwd")?;
    let name = ranges::name_of(&passwd, caller.uid);
    let ranges = ranges::granted(&read(file)?, name, caller.uid);
    let shown = name.map_or_else(|| caller.uid.to_string(), |name| String::from_utf8_lossy(name).into_owned());
    let step = || format!("give {shown} a range of ids");
    if ranges.is_empty() {
        let option = if file == "/etc/subuid" { "--add-subuids" } else { "--add-subgids" };
        return Err(Error::new(step(), format!("{file} has none for it"))
            .hint(format!("sudo usermod {option} 100000-165535 {shown}, if nobody else has these")));
    }
    match ranges.iter().find(|range| range.overlaps(Range { first: own, count: 1 })) {
        Some(range) => Err(Error::new(step(), format!("{range} in {file} holds its own id, {own}"))
            .hint("a range must be of ids that no user has: see subuid(5)")),
        None => Ok(ranges),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_podmans_words() {
        let mode = |text| Mode::new(text).ok();
        assert_eq!(mode("auto"), Some(Mode::Auto(None)));
        assert_eq!(mode("auto:1000"), Some(Mode::Auto(Some(1000))));
        assert_eq!(mode("auto:size=1000"), Some(Mode::Auto(Some(1000))));
        assert_eq!(mode("keep-id:2"), Some(Mode::KeepId(Some(2))));
        assert_eq!(mode("host"), Some(Mode::Host));
        for bad in ["", "none", "auto:", "auto:0", "auto:x", "auto:-1", "auto:4294967296", "host:1", "keep-id:uid=1"] {
            assert_eq!(mode(bad), None, "{bad}");
        }
    }

    #[test]
    fn without_the_option_only_root_has_no_user_namespace() {
        let caller = |privileged| Caller { uid: 0, gid: 0, privileged };
        assert_eq!(Identities::new(None, caller(true)).ok(), Some(Identities::Host));
        assert_eq!(Identities::new(None, caller(false)).ok(), Some(Identities::Own));
        assert_eq!(Identities::new(Some("host"), caller(true)).ok(), Some(Identities::Host));
        assert!(Identities::new(Some("host"), caller(false)).is_err());
        assert_eq!(Identities::new(Some("keep-id"), caller(true)).ok(), Some(Identities::Own));
        assert!(Identities::new(Some("keep-id:9"), caller(true)).is_err());
    }
}
