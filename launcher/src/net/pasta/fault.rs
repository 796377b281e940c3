//! Why pasta did not start: its own words, without those that say nothing, and what mends it.

use super::PastaPlan;
use crate::error::Error;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use std::process::{Command, Stdio};

const TUN: &str = "/dev/net/tun";
/// Characters of its words that are shown.
const SHOWN: usize = 300;

/// An error of what it `said`, or, if that is nothing, of how it `ended`.
pub(super) fn describe(plan: &PastaPlan, said: &str, ended: &str) -> Error {
    let said = essence(said);
    let cause = if said.is_empty() { ended.to_owned() } else { said };
    let hint = hint(&cause, access(TUN, AccessFlags::R_OK | AccessFlags::W_OK).err());
    let cause = if cause.contains("nrecognized option") || cause.contains("nvalid option") {
        format!("{cause} ({})", version(plan))
    } else {
        cause
    };
    let error = Error::new("start pasta", cause);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// What it said, as one line: without its troubles with a system logger that is not there, without its usage, and
/// without what it says where nothing is wrong.
fn essence(said: &str) -> String {
    let is_usage = |line: &&str| line.starts_with("Usage: ");
    let tells = |line: &&str| {
        !line.is_empty()
            && !line.ends_with(" to syslog")
            && !line.starts_with("Don't run as root")
            && !line.bytes().all(|byte| byte.is_ascii_digit())
    };
    let lines: Vec<_> = said.lines().map(str::trim).take_while(|line| !is_usage(line)).filter(tells).collect();
    // An old build tells of each IP version that the host lacks, also where the other one does.
    let is_version = |line: &&&str| line.starts_with("No external routable interface for IPv");
    let others: Vec<_> = lines.iter().filter(|line| !is_version(line)).copied().collect();
    let words = if others.is_empty() { lines } else { others };
    words.join("; ").chars().take(SHOWN).collect()
}

/// What mends it; `tun` is why the device cannot be opened.
fn hint(words: &str, tun: Option<Errno>) -> Option<&'static str> {
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if has(&["xternal interface", "routable interface"]) {
        return Some("the host has no default route: --network none or host do without");
    }
    if has(&["tun", "tap"]) && tun.is_some() {
        return Some(match tun {
            Some(Errno::EACCES | Errno::EPERM) => "everybody must be able to write to /dev/net/tun: chmod 666 as root",
            _ => "there is no /dev/net/tun: modprobe tun as root; a container must be given this device",
        });
    }
    if has(&["bind"]) {
        return Some("the port is another's, or below 1024: see sysctl net.ipv4.ip_unprivileged_port_start");
    }
    if has(&["nrecognized option", "nvalid option"]) {
        return Some("nsl needs a pasta of March 2023 or newer: see the package passt");
    }
    if has(&["ermission denied", "not permitted", "namespace"]) {
        return Some("a profile of AppArmor or SELinux may keep pasta from it: see dmesg; --network none does without");
    }
    None
}

/// The version of a pasta that does not know an option; many builds do not tell theirs.
fn version(plan: &PastaPlan) -> String {
    let output = Command::new(&plan.program).arg("--version").env_clear().stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().filter(|line| !line.is_empty()).unwrap_or("pasta of an unknown version").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_ROUTE: &str = "Failed to send 46 bytes to syslog\nNo external routable interface for IPv4\n\
        Failed to send 46 bytes to syslog\nNo external routable interface for IPv6\nFailed to send 36 bytes to \
        syslog\nExternal interface not usable\n";

    #[test]
    fn what_it_says_is_one_line_of_what_matters() {
        assert_eq!(essence(NO_ROUTE), "External interface not usable");
        assert_eq!(essence("No external routable interface for IPv6\n"), "No external routable interface for IPv6");
        assert_eq!(essence("pasta: unrecognized option '--foo'\nUsage: pasta [OPTION]...\n -x\n"), {
            "pasta: unrecognized option '--foo'"
        });
        assert_eq!(essence("one\n  two \n77\n"), "one; two");
        assert_eq!(essence(&"x".repeat(5000)).len(), SHOWN);
    }

    #[test]
    fn each_need_that_is_missing_has_its_mend() {
        let hint = |words, tun| hint(words, tun).unwrap_or_default();
        assert!(hint("External interface not usable", None).contains("default route"));
        assert!(hint("Failed to open tun socket in namespace", Some(Errno::ENOENT)).contains("modprobe tun"));
        assert!(hint("Failed to open() /dev/net/tun: Permission denied", Some(Errno::EACCES)).contains("chmod 666"));
        assert!(hint("Failed to bind any port for '-t 80', exiting", None).contains("1024"));
        assert!(hint("Couldn't open user namespace /proc/1/ns/user: Permission denied", None).contains("AppArmor"));
        assert!(hint("it was killed by SIGSEGV", None).is_empty());
    }
}
