//! `--ulimit`: the resource limits of the command (getrlimit(2)), by docker's names. The init sets them.

use crate::cli::near;
use crate::error::{Error, Result};
use nsl_shared::boot;
use rustix::process::Resource;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The names, in alphabetical order.
const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// No limit (`RLIM_INFINITY`).
const UNLIMITED: u64 = u64::MAX;

/// One resource limit, in the units of setrlimit(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rlimit {
    pub resource: Resource,
    pub soft: u64,
    pub hard: u64,
}

impl Rlimit {
    /// Reads `NAME=SOFT[:HARD]`; the hard limit is the soft one unless it is given.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |cause: String| Error::new(format!("use --ulimit {text}"), cause);
        let malformed = || wrong("it is not NAME=SOFT or NAME=SOFT:HARD".to_owned()).hint("such as nofile=1024:4096");
        let (name, limits) = text.split_once('=').ok_or_else(malformed)?;
        let known = NAMES.iter().find(|(known, _)| *known == name);
        let (_, resource) = known.ok_or_else(|| {
            let names = NAMES.map(|(name, _)| name);
            let hint = near::hint(name, &mut names.into_iter(), &format!("one of {}", names.join(", ")));
            wrong(format!("there is no limit '{name}'")).hint(hint)
        })?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let (soft, hard) = value(soft).zip(value(hard)).ok_or_else(malformed)?;
        if soft > hard {
            return Err(wrong("its soft limit is above its hard one".to_owned()));
        }
        Ok(Self { resource: *resource, soft, hard })
    }

    /// An entry of the boot message's list.
    pub fn encode(self) -> [u8; boot::LIMIT] {
        let mut bytes = [0; boot::LIMIT];
        let words = [u64::from(self.resource as u32), self.soft, self.hard];
        for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_ne_bytes();
        }
        bytes
    }

    /// Refuses what the kernel would refuse: above one's own hard limit unless that may be raised, above `nr_open` for
    /// anybody.
    fn check(self, may_raise: bool, own: Option<u64>, nr_open: Option<u64>) -> Result<Self> {
        let refused = |most: u64| Error::new(format!("use --ulimit {self}"), format!("{most} is the most here"));
        match (own, nr_open) {
            (Some(own), _) if !may_raise && self.hard > own => {
                Err(refused(own).hint("that is your own hard limit, and to raise it takes CAP_SYS_RESOURCE"))
            }
            (_, Some(most)) if self.resource == Resource::Nofile && self.hard > most => {
                Err(refused(most).hint("see the sysctl fs.nr_open"))
            }
            _ => Ok(self),
        }
    }
}

impl std::fmt::Display for Rlimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = NAMES.iter().find(|(_, resource)| *resource == self.resource).map_or("?", |(name, _)| name);
        let shown = |value: u64| if value == UNLIMITED { "unlimited".to_owned() } else { value.to_string() };
        write!(f, "{name}={}", shown(self.soft))?;
        if self.hard == self.soft { Ok(()) } else { write!(f, ":{}", shown(self.hard)) }
    }
}

/// The limits that `texts` ask for and that nsl may set; the last of a resource counts.
pub fn parse_all(texts: &[String]) -> Result<Vec<Rlimit>> {
    let mut limits: Vec<Rlimit> = Vec::new();
    if texts.is_empty() {
        return Ok(limits);
    }
    let may = |sets: CapabilitySets| sets.effective.contains(CapabilitySet::SYS_RESOURCE);
    let may_raise = rustix::thread::capabilities(None).is_ok_and(may);
    for text in texts {
        let limit = Rlimit::parse(text)?;
        let own = rustix::process::getrlimit(limit.resource).maximum;
        let nr_open = std::fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
        let limit = limit.check(may_raise, own, nr_open)?;
        limits.retain(|known| known.resource != limit.resource);
        limits.push(limit);
    }
    Ok(limits)
}

fn value(text: &str) -> Option<u64> {
    match text {
        "unlimited" | "-1" => Some(UNLIMITED),
        _ if text.starts_with('+') => None,
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(result: Result<Rlimit>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn soft_is_hard_unless_both_are_given() {
        let limit = |text: &str| Rlimit::parse(text).map(|limit| (limit.resource, limit.soft, limit.hard)).ok();
        assert_eq!(limit("nofile=1024"), Some((Resource::Nofile, 1024, 1024)));
        assert_eq!(limit("nofile=1024:2048"), Some((Resource::Nofile, 1024, 2048)));
        assert_eq!(limit("core=0:unlimited"), Some((Resource::Core, 0, UNLIMITED)));
        assert_eq!(limit("stack=-1"), Some((Resource::Stack, UNLIMITED, UNLIMITED)));
        for (name, resource) in NAMES {
            assert_eq!(limit(&format!("{name}=7")), Some((resource, 7, 7)));
        }
    }

    #[test]
    fn numbers_of_resources_are_the_kernels() {
        for (name, number) in [("cpu", 0), ("nproc", 6), ("nofile", 7), ("memlock", 8), ("rttime", 15)] {
            assert_eq!(Rlimit::parse(&format!("{name}=1")).unwrap().resource as u32, number, "{name}");
        }
    }

    #[test]
    fn what_is_no_limit_is_refused_with_an_example() {
        for bad in ["", "nofile", "nofile=", "nofile=x", "nofile=1:", "nofile=1:2:3", "nofile=-2", "nofile=+1", "=1"] {
            let refusal = refusal(Rlimit::parse(bad));
            assert!(refusal.contains("hint: such as nofile=1024:4096") || refusal.contains("no limit ''"), "{refusal}");
        }
        assert!(refusal(Rlimit::parse("files=1")).contains("no limit 'files' (hint: one of as, core, cpu"));
        assert!(refusal(Rlimit::parse("nofiles=1")).contains("no limit 'nofiles' (hint: did you mean nofile?)"));
        assert!(refusal(Rlimit::parse("nofile=unlimited:5")).contains("above its hard one"));
    }

    #[test]
    fn a_hard_limit_is_raised_by_who_may_and_not_above_nr_open() {
        let check =
            |text: &str, may_raise, own, nr_open| refusal(Rlimit::parse(text).unwrap().check(may_raise, own, nr_open));
        assert_eq!(check("nofile=5:10", false, Some(10), Some(10)), "");
        assert_eq!(
            check("nofile=5:11", false, Some(10), Some(20)),
            "cannot use --ulimit nofile=5:11: 10 is the most here (hint: that is your own hard limit, and to raise it \
             takes CAP_SYS_RESOURCE)"
        );
        assert_eq!(check("nofile=5:11", true, Some(10), Some(20)), "");
        assert!(check("nofile=unlimited", true, None, Some(20)).contains("nofile=unlimited: 20 is the most"));
        assert!(check("core=unlimited", false, Some(0), None).contains("0 is the most"));
        assert_eq!(check("core=unlimited", false, None, Some(20)), "");
    }

    #[test]
    fn the_last_limit_of_a_resource_counts() {
        let texts = ["nofile=5".to_owned(), "core=1".to_owned(), "nofile=6".to_owned()];
        let limits: Vec<_> = parse_all(&texts).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(limits, ["core=1", "nofile=6"]);
    }
}
