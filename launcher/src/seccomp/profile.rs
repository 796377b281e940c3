//! Profiles from files: the JSON of docker and podman, and that of OCI's config.json, which is its plain half
//! (runtime-spec, config-linux.md, "Seccomp"). Read strictly, since a misspelt key would change in silence what is
//! allowed; understood as runc and libseccomp do, so that a profile means what it means there.
//!
//! Ready-made programs in BPF are not taken: nobody could tell if they let the command start, or what they allow.

use super::compiler::{Action, Clause, Compare, Policy, Rule, Test};
use super::{native_arch, native_calls};
use crate::error::{Error, Result};
use crate::security;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use syscalls::Sysno;
use tracing::debug;

/// Profiles have some 20 kB.
const LARGEST: u64 = 1 << 20;
const EPERM: u16 = 1;
const ENOSYS: Action = Action::errno(38);

/// Reads a profile; `capabilities` are those that the command may have, bit n for capability n.
pub fn read(path: &Path, capabilities: u64) -> Result<Vec<u8>> {
    let step = || format!("use the seccomp profile {}", path.display());
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| Error::io(step(), &error))?;
    file.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| Error::io(step(), &error))?;
    if text.len() as u64 > LARGEST {
        return Err(Error::new(step(), "it is larger than 1 MiB").hint("a profile is JSON, as docker takes it"));
    }
    policy(&text, capabilities).and_then(|policy| program(&policy)).map_err(|refusal| match refusal {
        Refusal::Json(error) => Error::new(step(), with_place(&error)),
        Refusal::NoExecve => Error::new(step(), "it does not allow execve, or not in every case")
            .hint("the filter is there when the command is executed: allow execve without conditions"),
        Refusal::NoExit => Error::new(step(), "it lets exit_group fail").hint("allow it, or kill what calls it"),
        Refusal::TooLong => Error::new(step(), "its conditions make a longer program than the kernel takes"),
    })
}

/// Why a profile can't be used.
#[derive(Debug)]
pub enum Refusal {
    Json(serde_json::Error),
    NoExecve,
    NoExit,
    TooLong,
}

/// What a profile's text means.
pub fn policy(text: &[u8], capabilities: u64) -> std::result::Result<Policy, Refusal> {
    let profile: Profile = serde_json::from_slice(text).map_err(Refusal::Json)?;
    Ok(profile.policy(capabilities))
}

/// Its program, if the command can start under it.
pub fn program(policy: &Policy) -> std::result::Result<Vec<u8>, Refusal> {
    let of = |call: Sysno| policy.calls.get(&(call as u32)).cloned().unwrap_or_else(|| policy.between.into());
    if !actions(&of(Sysno::execve)).all(lets_through) {
        return Err(Refusal::NoExecve);
    }
    // Where the command can't be executed, the process that was to become it has to end.
    if actions(&of(Sysno::exit_group)).any(|action| action.0 & 0xffff_0000 == Action::errno(0).0) {
        return Err(Refusal::NoExit);
    }
    policy.compile().map_err(|_| Refusal::TooLong)
}

fn actions(rule: &Rule) -> impl Iterator<Item = Action> {
    rule.clauses.iter().map(|clause| clause.action).chain([rule.otherwise])
}

fn lets_through(action: Action) -> bool {
    action == Action::ALLOW || action == Action::LOG
}

/// The place first, as behind a long sentence nobody finds it.
fn with_place(error: &serde_json::Error) -> String {
    let (line, column, text) = (error.line(), error.column(), error.to_string());
    let words = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    format!("line {line}, column {column}: {}", one_line(words))
}

/// What the file holds may be repeated in messages.
fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Lists and objects may be null, as Go writes what is empty.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    default_action: Kind,
    default_errno_ret: Option<Errno>,
    default_errno: Option<ErrnoName>,
    /// Other tables than the machine's own are never allowed, so that it does not matter which are named.
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchMap>>,
    /// Ways to load the filter, which is the init's business.
    flags: Option<Vec<String>>,
    #[serde(rename = "listenerPath")]
    _listener_path: Option<String>,
    #[serde(rename = "listenerMetadata")]
    _listener_metadata: Option<String>,
    syscalls: Option<Vec<Calls>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArchMap {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Calls {
    names: Option<Vec<String>>,
    /// One, in profiles of old.
    name: Option<String>,
    action: Kind,
    errno_ret: Option<Errno>,
    errno: Option<ErrnoName>,
    args: Option<Vec<Arg>>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Arg {
    index: Index,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: Operator,
}

#[derive(Clone, Copy, Deserialize)]
enum Operator {
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
struct Filter {
    caps: Option<Vec<String>>,
    /// By their names in Go.
    arches: Option<Vec<String>>,
    min_kernel: Option<Version>,
}

/// An action, yet without its errno.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
enum Kind {
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
    fn action(self, number: Option<Errno>, name: Option<ErrnoName>) -> Action {
        match self {
            Self::Errno => Action::errno(number.map(|one| one.0).or(name.map(|one| one.0)).unwrap_or(EPERM)),
            Self::Other(action) => action,
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
struct Errno(u16);

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
struct ErrnoName(u16);

impl TryFrom<String> for ErrnoName {
    type Error = String;

    fn try_from(name: String) -> std::result::Result<Self, String> {
        let known = (1..=133).find(|number| syscalls::Errno::new(i32::from(*number)).name() == Some(&name));
        known.map(Self).ok_or_else(|| format!("there is no errno '{name}'"))
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
struct Index(u8);

impl TryFrom<u64> for Index {
    type Error = &'static str;

    fn try_from(number: u64) -> std::result::Result<Self, Self::Error> {
        if number < 6 { Ok(Self(number as u8)) } else { Err("a system call has the arguments 0 to 5") }
    }
}

/// `4.8`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Version(u32, u32);

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

    fn running() -> Self {
        let release = nix::sys::utsname::uname().ok().and_then(|name| Self::of(name.release().to_str()?));
        release.unwrap_or(Self(0, 0))
    }
}

impl Profile {
    fn policy(self, capabilities: u64) -> Policy {
        self.say_what_is_ignored();
        let default = self.default_action.action(self.default_errno_ret, self.default_errno);
        let numbers: HashMap<&str, u32> = native_calls().collect();
        let mut known: BTreeMap<u32, Answers> = BTreeMap::new();
        for entry in self.syscalls.unwrap_or_default() {
            if !entry.counts(capabilities) {
                continue;
            }
            let action = entry.action.action(entry.errno_ret, entry.errno);
            let alternatives = alternatives(entry.args.as_deref().unwrap_or_default());
            for name in entry.names.iter().flatten().chain(&entry.name) {
                let Some(number) = numbers.get(current_name(name)) else {
                    debug!(name = %one_line(name), "the seccomp profile names a system call that is not known here");
                    continue;
                };
                // Named with what it would get anyway, a call is known still, and no other entry is changed by it.
                let answers = known.entry(*number).or_default();
                if action != default {
                    answers.add(&alternatives, action);
                }
            }
        }
        let calls = known.into_iter().map(|(number, answers)| (number, answers.rule(default))).collect();
        // Newer than the profile: programs do without a call that is not there, but not without one that fails.
        let beyond = if lets_through(default) { default } else { ENOSYS };
        Policy { arch: native_arch(), calls, between: default, beyond, foreign: ENOSYS }
    }

    fn say_what_is_ignored(&self) {
        let map = self.arch_map.iter().flatten();
        let mapped = map.flat_map(|map| [&map.architecture].into_iter().chain(map.sub_architectures.iter().flatten()));
        let others = self.architectures.iter().flatten().chain(mapped).filter(|name| *name != NATIVE);
        if others.count() > 0 {
            debug!("the seccomp profile is for other architectures too: their system calls fail with ENOSYS");
        }
        if let Some(flags) = &self.flags {
            debug!(count = flags.len(), "the flags of the seccomp profile are ignored");
        }
    }
}

#[cfg(target_arch = "x86_64")]
const NATIVE: &str = "SCMP_ARCH_X86_64";
#[cfg(target_arch = "x86_64")]
const NATIVE_IN_GO: &str = "amd64";
#[cfg(target_arch = "aarch64")]
const NATIVE: &str = "SCMP_ARCH_AARCH64";
#[cfg(target_arch = "aarch64")]
const NATIVE_IN_GO: &str = "arm64";

/// The table of aarch64 has one name that is not the kernel's.
fn current_name(name: &str) -> &str {
    match name {
        "newfstatat" if cfg!(target_arch = "aarch64") => "fstatat",
        _ => name,
    }
}

impl Calls {
    fn counts(&self, capabilities: u64) -> bool {
        let has = |name: &String| {
            let number = security::NAMES.iter().position(|known| name.strip_prefix("CAP_") == Some(*known));
            number.is_some_and(|number| capabilities & 1 << number != 0)
        };
        let is_native = |name: &String| name == NATIVE_IN_GO;
        let is_new_enough = |version: Version| Version::running() >= version;
        let included = self.includes.as_ref().is_none_or(|filter| {
            filter.caps.iter().flatten().all(has)
                && filter.arches.as_ref().is_none_or(|arches| arches.is_empty() || arches.iter().any(is_native))
                && filter.min_kernel.is_none_or(is_new_enough)
        });
        let excluded = self.excludes.as_ref().is_some_and(|filter| {
            filter.caps.iter().flatten().any(has)
                || filter.arches.iter().flatten().any(is_native)
                || filter.min_kernel.is_some_and(is_new_enough)
        });
        included && !excluded
    }
}

/// What entries say of one call.
#[derive(Default)]
struct Answers {
    /// Of an entry without conditions: it takes the call whole, and the first such is what counts.
    whole: Option<Action>,
    clauses: Vec<Clause>,
}

impl Answers {
    fn add(&mut self, alternatives: &[Vec<Test>], action: Action) {
        if alternatives.is_empty() {
            self.whole.get_or_insert(action);
        }
        self.clauses.extend(alternatives.iter().map(|tests| Clause { tests: tests.clone(), action }));
    }

    fn rule(self, default: Action) -> Rule {
        match self.whole {
            Some(action) => action.into(),
            None => Rule { clauses: self.clauses, otherwise: default },
        }
    }
}

/// All conditions of an entry must hold; but where one argument has two of them, each stands for itself, as in runc.
fn alternatives(args: &[Arg]) -> Vec<Vec<Test>> {
    let tests: Vec<Test> = args.iter().map(Arg::test).collect();
    let is_twice = |test: &Test| tests.iter().filter(|other| other.argument == test.argument).count() > 1;
    if tests.iter().any(is_twice) {
        tests.into_iter().map(|test| vec![test]).collect()
    } else if tests.is_empty() {
        Vec::new()
    } else {
        vec![tests]
    }
}

impl Arg {
    fn test(&self) -> Test {
        let (compare, mask, value) = match self.op {
            Operator::NotEqual => (Compare::NotEqual, u64::MAX, self.value),
            Operator::Less => (Compare::Less, u64::MAX, self.value),
            Operator::LessOrEqual => (Compare::LessOrEqual, u64::MAX, self.value),
            Operator::Equal => (Compare::Equal, u64::MAX, self.value),
            Operator::GreaterOrEqual => (Compare::GreaterOrEqual, u64::MAX, self.value),
            Operator::Greater => (Compare::Greater, u64::MAX, self.value),
            // The first is the mask, for both sides.
            Operator::MaskedEqual => (Compare::Equal, self.value, self.value_two & self.value),
        };
        Test { argument: self.index.0, mask, compare, value }
    }
}
