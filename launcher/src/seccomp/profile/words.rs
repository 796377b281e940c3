//! The words of a profile as they stand in the file. What is wrong with one is said where it stands.

use crate::seccomp::compiler::Action;
use serde::Deserialize;

const EPERM: u16 = 1;

/// Lists and objects may be null, as Go writes what is empty.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    pub default_action: Kind,
    pub default_errno_ret: Option<Errno>,
    pub default_errno: Option<ErrnoName>,
    /// Other tables than the machine's own are never allowed, so that it does not matter which are named.
    pub architectures: Option<Vec<String>>,
    pub arch_map: Option<Vec<ArchMap>>,
    /// Ways to load the filter, which is the init's business.
    pub flags: Option<Vec<String>>,
    #[serde(rename = "listenerPath")]
    _listener_path: Option<String>,
    #[serde(rename = "listenerMetadata")]
    _listener_metadata: Option<String>,
    pub syscalls: Option<Vec<Calls>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchMap {
    pub architecture: String,
    pub sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Calls {
    pub names: Option<Vec<String>>,
    /// One, in profiles of old.
    pub name: Option<String>,
    pub action: Kind,
    pub errno_ret: Option<Errno>,
    pub errno: Option<ErrnoName>,
    pub args: Option<Vec<Arg>>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    pub includes: Option<Filter>,
    pub excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arg {
    pub index: Index,
    pub value: u64,
    #[serde(default)]
    pub value_two: u64,
    pub op: Operator,
}

#[derive(Clone, Copy, Deserialize)]
pub enum Operator {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// When an entry counts: all that `includes` says must hold, and nothing that `excludes` says.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filter {
    pub caps: Option<Vec<String>>,
    /// By their names in Go.
    pub arches: Option<Vec<String>>,
    pub min_kernel: Option<Version>,
}

/// An action, yet without its errno.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub enum Kind {
    Errno,
    Other(Action),
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(name: String) -> std::result::Result<Self, String> {
        Ok(Self::Other(match name.as_str() {
            "SCMP_ACT_ERRNO" => return Ok(Self::Errno),
            "SCMP_ACT_ALLOW" => Action::ALLOW,
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KILL_THREAD,
            "SCMP_ACT_KILL_PROCESS" => Action::KILL_PROCESS,
            "SCMP_ACT_LOG" => Action::LOG,
            "SCMP_ACT_TRAP" => Action::TRAP,
            "SCMP_ACT_NOTIFY" => return Err("SCMP_ACT_NOTIFY needs a program that answers, and nsl has none".into()),
            "SCMP_ACT_TRACE" => return Err("SCMP_ACT_TRACE needs a tracer, and nsl is none".into()),
            _ => return Err(format!("there is no action '{name}'")),
        }))
    }
}

impl Kind {
    /// With the errno by number or by name, EPERM if there is none.
    pub fn action(self, number: Option<Errno>, name: Option<ErrnoName>) -> Action {
        match self {
            Self::Errno => Action::errno(number.map(|one| one.0).or(name.map(|one| one.0)).unwrap_or(EPERM)),
            Self::Other(action) => action,
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
pub struct Errno(u16);

impl TryFrom<u64> for Errno {
    type Error = &'static str;

    fn try_from(number: u64) -> std::result::Result<Self, Self::Error> {
        match u16::try_from(number) {
            Ok(number) if number < 4096 => Ok(Self(number)),
            _ => Err("an errno is less than 4096"),
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct ErrnoName(u16);

impl TryFrom<String> for ErrnoName {
    type Error = String;

    fn try_from(name: String) -> std::result::Result<Self, String> {
        let known = (1..=133).find(|number| syscalls::Errno::new(i32::from(*number)).name() == Some(&name));
        known.map(Self).ok_or_else(|| format!("there is no errno '{name}'"))
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
pub struct Index(pub u8);

impl TryFrom<u64> for Index {
    type Error = &'static str;

    fn try_from(number: u64) -> std::result::Result<Self, Self::Error> {
        if number < 6 { Ok(Self(number as u8)) } else { Err("a system call has the arguments 0 to 5") }
    }
}

/// `4.8`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Version(u32, u32);

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        Self::of(&text).ok_or_else(|| format!("'{text}' is no version of a kernel, such as 5.12"))
    }
}

impl Version {
    /// The first two numbers of a release.
    fn of(release: &str) -> Option<Self> {
        let (major, rest) = release.split_once('.')?;
        let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        Some(Self(major.parse().ok()?, rest[..end].parse().ok()?))
    }

    pub fn running() -> Self {
        let release = rustix::system::uname().release().to_str().ok().and_then(Self::of);
        release.unwrap_or(Self(0, 0))
    }
}
