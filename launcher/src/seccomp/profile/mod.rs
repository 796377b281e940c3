//! Profiles from files: the JSON of docker and podman, and that of OCI's config.json, which is its plain half
//! (runtime-spec, config-linux.md, "Seccomp"). Read strictly, since a misspelt key would change in silence what is
//! allowed; understood as runc and libseccomp do, so that a profile means what it means there.
//!
//! Ready-made programs in BPF are not taken: nobody could tell if they let the command start, or what they allow.

mod words;

use super::compiler::{Action, Clause, Compare, Policy, Rule, Test};
use super::{native_arch, native_calls};
use crate::error::{Error, Result};
use crate::security;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use syscalls::Sysno;
use tracing::debug;
use words::{Arg, Calls, Operator, Profile, Version};

/// Profiles have some 20 kB.
const LARGEST: u64 = 1 << 20;
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
