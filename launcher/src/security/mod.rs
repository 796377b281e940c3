//! What the command may do: capabilities, privileges behind an exec, what of /proc and /sys it sees. Made from the
//! command line; the init carries it out.

mod capabilities;
pub mod landlock;

pub use capabilities::NAMES;

use crate::cli::{Run, near};
use crate::error::{Error, Result};
use crate::seccomp;
use std::borrow::Cow;
use std::path::Path;

/// The capabilities of root inside, unless others are asked for: of what OCI runtimes give, all but making devices,
/// packets of any kind, and writing to the audit log.
const DEFAULT: u64 = bits(&[
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "SETFCAP",
]);

/// Every capability that has a name here.
const ALL: u64 = (1 << NAMES.len()) - 1;

/// What is hidden of /proc and /sys, by names relative to /proc: it tells of the whole machine, or reaches its hardware.
/// Those of OCI runtimes. A slash at the end says that it is a directory.
const MASKED: [&str; 13] = [
    "acpi/",
    "asound/",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi/",
    "timer_list",
    "timer_stats",
    "/sys/devices/virtual/powercap/",
    "/sys/firmware/",
    "/sys/fs/selinux/",
];

/// What root can change of the whole machine in /proc, without any capability; relative to it.
const READ_ONLY: [&str; 6] = ["bus", "dynamic_debug", "fs", "irq", "sys", "sysrq-trigger"];

/// What the command may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Security {
    /// What it may have at most, bit n for capability n; all bits set leave it what the init has.
    pub capabilities: u64,
    /// Those of them that an ordinary user has as well.
    pub ambient: u64,
    pub no_new_privs: bool,
    /// It may make namespaces.
    pub nested: bool,
    /// Parts of /proc and /sys are hidden or read-only.
    pub guarded: bool,
    /// What the command may reach; empty for everything.
    pub landlock: Vec<landlock::Rule>,
    /// The seccomp filter that it runs under, an array of `struct sock_filter`; empty for none.
    pub filter: Cow<'static, [u8]>,
}

impl Security {
    /// `uid` is the user that the command runs as, seen inside; `has_root` says if root exists there, beside others.
    pub fn new(run: &Run, has_root: bool, uid: u32) -> Result<Self> {
        let added = set(&run.cap_add, "--cap-add")?;
        let dropped = set(&run.cap_drop, "--cap-drop")?;
        let base = match (run.privileged, has_root) {
            (true, _) => ALL,
            // With one identity nobody has capabilities but who asks for them. Root can map itself in a user namespace
            // below with this one only (`user_namespaces(7)`, since Linux 5.12).
            (false, false) if run.nested && uid == 0 => bits(&["SETFCAP"]),
            (false, false) => 0,
            (false, true) => DEFAULT,
        };
        // What is added one by one counts more than a whole that is dropped, and the other way round.
        let capabilities = if dropped == ALL { added } else { (base | added) & !dropped };
        let untouched = run.privileged && added | dropped == 0;
        let nested = run.nested || run.privileged;
        let filter = seccomp::filter(&seccomp::Request { choice: choice(run), capabilities, nested })?;
        Ok(Self {
            capabilities: if untouched { u64::MAX } else { capabilities },
            ambient: match (uid == 0 || untouched, run.privileged) {
                (true, _) => 0,
                (false, true) => capabilities,
                (false, false) => added & capabilities,
            },
            no_new_privs: run.no_new_privs.unwrap_or(!run.privileged),
            landlock: landlock::rules(&run.landlock)?,
            nested,
            guarded: !nested,
            filter: filter.unwrap_or_default(),
        })
    }

    /// Paths to hide, each ended by a NUL.
    pub fn masked(&self) -> Vec<u8> {
        if self.guarded { ended(&MASKED) } else { Vec::new() }
    }

    /// Paths to make read-only, each ended by a NUL.
    pub fn read_only(&self) -> Vec<u8> {
        if self.guarded { ended(&READ_ONLY) } else { Vec::new() }
    }
}

/// The filter that is asked for.
fn choice(run: &Run) -> seccomp::Choice {
    match run.seccomp.as_deref() {
        None if run.privileged => seccomp::Choice::Unconfined,
        None => seccomp::Choice::Default,
        Some(word) if word == Path::new("default") => seccomp::Choice::Default,
        Some(word) if word == Path::new("unconfined") => seccomp::Choice::Unconfined,
        Some(file) => seccomp::Choice::File(file.to_path_buf()),
    }
}

fn ended(paths: &[&str]) -> Vec<u8> {
    paths.iter().flat_map(|path| [path.as_bytes(), b"\0"].concat()).collect()
}

/// The capabilities with these names, in any case, with or without CAP_.
fn set(names: &[String], option: &str) -> Result<u64> {
    names.iter().try_fold(0, |set, name| {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match (short, NAMES.iter().position(|known| *known == short)) {
            ("ALL", _) => Ok(ALL),
            (_, Some(number)) => Ok(set | 1 << number),
            _ => {
                let cause = format!("there is no capability '{name}'");
                let hint =
                    near::hint(short, &mut NAMES.iter().copied(), "such as NET_ADMIN; capabilities(7) lists them");
                Err(Error::new(format!("use {option}"), cause).hint(hint))
            }
        }
    })
}

/// The set of the capabilities `names`.
const fn bits(names: &[&str]) -> u64 {
    let mut set = 0;
    let mut index = 0;
    while index < names.len() {
        let mut number = 0;
        // A name that is none fails the build: its number is past the end.
        while !same(NAMES[number], names[index]) {
            number += 1;
        }
        set |= 1 << number;
        index += 1;
    }
    set
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    /// Is there a root, and who runs the command?
    const ROOT: (bool, u32) = (true, 0);
    const USER: (bool, u32) = (false, 1000);

    fn security(words: &[&str], (has_root, uid): (bool, u32)) -> Security {
        let cli = Cli::parse_from(["nsl", "run"].iter().chain(words).chain(&["true"]));
        let Command::Run(run) = cli.command else { panic!("no run") };
        Security::new(&run, has_root, uid).expect("valid options")
    }

    #[test]
    fn defaults_are_few_and_privileged_is_all() {
        let default = security(&[], ROOT);
        assert_eq!(default.capabilities, 0x8004_05fb);
        assert!(default.no_new_privs && default.guarded && !default.nested);
        let privileged = security(&["--privileged"], ROOT);
        assert_eq!(privileged.capabilities, u64::MAX);
        assert!(!privileged.no_new_privs && !privileged.guarded && privileged.nested);
    }

    #[test]
    fn each_defence_can_be_chosen_alone() {
        assert!(security(&["--privileged", "--no-new-privs"], ROOT).no_new_privs);
        assert!(!security(&["--no-new-privs=false"], ROOT).no_new_privs);
        assert!(!security(&["--nested"], ROOT).guarded);
        assert_eq!(security(&["--cap-drop", "all", "--cap-add", "CAP_KILL"], ROOT).capabilities, 1 << 5);
        assert_eq!(security(&["--privileged", "--cap-drop", "sys_admin"], ROOT).capabilities, ALL & !(1 << 21));
        assert_eq!(security(&["--cap-add", "net_admin"], ROOT).capabilities, DEFAULT | 1 << 12);
    }

    #[test]
    fn the_filter_is_nsls_own_unless_another_or_none_is_asked_for() {
        let default = security(&[], ROOT).filter;
        assert!(
            !default.is_empty() && default == security(&["--seccomp", "default", "--cap-add", "KILL"], USER).filter
        );
        for more in [["--privileged", "--seccomp=default"], ["--cap-add", "SYS_ADMIN"], ["--nested", "--cap-add=KILL"]]
        {
            let filter = security(&more, ROOT).filter;
            assert!(!filter.is_empty() && filter != default, "{more:?}");
        }
        for none in [&["--privileged"][..], &["--seccomp", "unconfined"]] {
            assert!(security(none, ROOT).filter.is_empty());
        }
        let cli = Cli::parse_from(["nsl", "run", "--seccomp", "./default", "true"]);
        let Command::Run(run) = cli.command else { panic!("no run") };
        assert!(Security::new(&run, true, 0).err().is_some_and(|error| error.to_string().contains("No such file")));
    }

    #[test]
    fn an_ordinary_user_has_none_but_those_asked_for() {
        assert_eq!(security(&[], USER).capabilities, 0);
        let asked = security(&["--cap-add", "NET_ADMIN"], USER);
        assert_eq!((asked.capabilities, asked.ambient), (1 << 12, 1 << 12));
        assert_eq!(security(&["--cap-add", "NET_ADMIN"], ROOT).ambient, 0);
        assert_eq!(security(&["--nested"], USER).capabilities, 0);
        assert_eq!(security(&["--nested"], (false, 0)).capabilities, 1 << 31);
    }

    #[test]
    fn what_is_no_capability_is_refused() {
        let cli = Cli::parse_from(["nsl", "run", "--cap-add", "FLY", "true"]);
        let Command::Run(run) = cli.command else { panic!("no run") };
        assert!(Security::new(&run, true, 0).err().is_some_and(|error| error.to_string().contains("'FLY'")));
    }
}
