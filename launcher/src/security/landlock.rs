//! `--landlock`: the paths that the command may reach, whoever it runs as. The rules are made here, on paths of the new
//! root; the init puts them into force (landlock(7)).

use crate::error::{Error, Result};
use ::landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::io::Errno;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use tracing::warn;

/// The newest kernel interface that is made use of (Linux 6.15); an older kernel restricts what it knows.
const NEWEST: ABI = ABI::V7;

/// What may be done below a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// As it is seen inside.
    pub path: PathBuf,
    pub writable: bool,
    /// Without the path, the rule is left out.
    pub optional: bool,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = if self.optional { "-" } else { "" };
        write!(f, "{}={optional}{}", if self.writable { "rw" } else { "ro" }, self.path.display())
    }
}

/// Reads lists such as `ro=/usr,rw=/tmp`. Whatever they name, /dev is there to be used: all in it is the sandbox's own.
/// As in units of systemd, a path behind `-` may be missing.
pub fn rules(lists: &[String]) -> Result<Vec<Rule>> {
    if lists.is_empty() {
        return Ok(Vec::new());
    }
    let mut rules = vec![Rule { path: "/dev".into(), writable: true, optional: false }];
    for text in lists.iter().flat_map(|list| list.split(',')) {
        let step = || format!("use the Landlock rule '{text}'");
        let (writable, path) = match text.split_once('=') {
            Some(("ro", path)) => (false, path),
            Some(("rw", path)) => (true, path),
            _ => return Err(Error::new(step(), "it is neither ro=PATH nor rw=PATH")),
        };
        let (optional, path) = path.strip_prefix('-').map_or((false, path), |path| (true, path));
        if !Path::new(path).is_absolute() {
            return Err(Error::new(step(), "its path is not absolute"));
        }
        rules.push(Rule { path: path.into(), writable, optional });
    }
    check_kernel()?;
    Ok(rules)
}

/// No Landlock at all is an error; of one that is older than the rules can express, one is told.
fn check_kernel() -> Result<()> {
    if let Some(unrestricted) = unrestricted()? {
        warn!("this kernel's Landlock is older: {unrestricted} are not restricted by it");
    }
    Ok(())
}

/// What this kernel's Landlock leaves alone of what the newest restricts.
pub fn unrestricted() -> Result<Option<&'static str>> {
    if empty(CompatLevel::HardRequirement, ABI::V1).is_err() {
        let error = Error::new("use --landlock", "this kernel has no Landlock, or it is switched off");
        return Err(error.hint("boot with landlock in the list lsm=, or leave --landlock out"));
    }
    let lacks = |abi| empty(CompatLevel::HardRequirement, abi).is_err();
    Ok(match (lacks(ABI::V3), lacks(ABI::V5), lacks(ABI::V6)) {
        (true, ..) => Some("truncating files, requests to devices, signals and abstract sockets"),
        (_, true, _) => Some("requests to devices, signals and abstract sockets"),
        (.., true) => Some("signals and abstract sockets"),
        _ => None,
    })
}

fn empty(level: CompatLevel, abi: ABI) -> std::result::Result<RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default().set_compatibility(level).handle_access(AccessFs::from_all(abi))?;
    if abi >= ABI::V6 {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    ruleset.create()
}

/// The rules as the kernel takes them. `open` finds a path in the new root.
pub fn ruleset(rules: &[Rule], open: impl Fn(&Path) -> rustix::io::Result<OwnedFd>) -> rustix::io::Result<OwnedFd> {
    let mut ruleset = empty(CompatLevel::BestEffort, NEWEST).map_err(|_| Errno::OPNOTSUPP)?;
    for rule in rules {
        let access = if rule.writable { AccessFs::from_all(NEWEST) } else { AccessFs::from_read(NEWEST) };
        let path = match open(&rule.path) {
            Err(Errno::NOENT) if rule.optional => continue,
            path => path?,
        };
        ruleset = ruleset.add_rule(PathBeneath::new(path, access)).map_err(|_| Errno::INVAL)?;
    }
    Option::<OwnedFd>::from(ruleset).ok_or(Errno::OPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lists: &[&str]) -> Result<Vec<String>> {
        let lists: Vec<_> = lists.iter().map(|list| (*list).to_owned()).collect();
        rules(&lists).map(|rules| rules.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn lists_add_up_and_dev_is_always_there() {
        assert_eq!(shown(&["ro=/usr,rw=/tmp", "ro=/etc"]).unwrap(), ["rw=/dev", "ro=/usr", "rw=/tmp", "ro=/etc"]);
        assert_eq!(shown(&["ro=-/opt"]).unwrap(), ["rw=/dev", "ro=-/opt"]);
        assert!(shown(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for bad in ["", "/usr", "rx=/usr", "ro=usr", "ro=", "ro=-", "ro=-usr", "ro=/usr,"] {
            assert!(shown(&[bad]).is_err(), "{bad}");
        }
    }
}
