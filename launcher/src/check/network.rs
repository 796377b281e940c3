//! The network of a sandbox: the device, the rules, the way out. For root a pair is made in a network namespace of the
//! trial's own; what the host's has to say, which forwards, is read.

use super::trial::{self, Trial};
use super::{Line, Told, not_tried};
use crate::error::Result;
use crate::net::names::{Dns, Reach, resolv_conf, servers};
use crate::net::{self, Obstacles, Outlook};
use crate::spec::Caller;
use std::io;
use std::path::Path;

const WAY_OUT: &str = "the way out";

/// A sandbox as it comes by itself.
pub fn trial(caller: Caller) -> Result<Trial> {
    trial::run(&[], caller.is_privileged())
}

/// `whole` is that trial, if there was one.
pub fn lines(caller: Caller, whole: Option<&Trial>) -> Result<Vec<Line>> {
    let Some(whole) = whole else { return Ok(vec![not_tried("network")]) };
    if !caller.is_privileged() {
        let line = judge_rootless(whole);
        let names = line.is_ok().then(|| judge_names(has_server()));
        return Ok([line].into_iter().chain(names).collect());
    }
    let mut lines = vec![judge_pair(whole)];
    if whole.failure.is_none() {
        // What may go nowhere must have the rules: where they can't be made it is refused.
        lines.push(judge_rules(trial::run(&["--internal"], true)?.failure));
        lines.push(judge_ipv4(net::outlook_ipv4()));
        let ipv6 = net::outlook_ipv6();
        let is_forwarded = matches!(ipv6, Ok(Outlook::On | Outlook::Off));
        lines.push(judge_firewall(net::obstacles(true, is_forwarded), net::has_legacy_filter()));
        lines.push(judge_ipv6(ipv6));
        lines.push(judge_names(has_server()));
    }
    Ok(lines)
}

fn judge_pair(whole: &Trial) -> Line {
    match &whole.failure {
        None => Line::ok("network", "veth pairs can be made"),
        Some(told) => Line::missing("network", told.clone()),
    }
}

/// Without root the sandbox does without a network where there is none, and says so.
fn judge_rootless(whole: &Trial) -> Line {
    const NAME: &str = "network";
    let is_about_it = |told: &&Told| told.finding.starts_with("no network inside but lo");
    match (&whole.failure, whole.warnings.iter().find(is_about_it)) {
        (Some(told), _) => Line::missing(NAME, told.clone()),
        (None, Some(told)) => Line::limited(NAME, "a network", told.clone()),
        (None, None) => Line::ok(NAME, "by pasta"),
    }
}

fn judge_rules(failure: Option<Told>) -> Line {
    const NAME: &str = "nftables";
    match failure {
        None => Line::ok(NAME, "NAT, and what keeps sandboxes apart"),
        Some(told) => Line::limited(NAME, "the way out, -p, --egress, named networks", told),
    }
}

fn judge_ipv4(outlook: Outlook) -> Line {
    const NAME: &str = "forwarding";
    match outlook {
        Outlook::Refused(mend) => {
            let told = Told::new("net.ipv4.ip_forward is 0, and may not be changed from here");
            Line::limited(NAME, WAY_OUT, told.mend(mend))
        }
        Outlook::On => Line::ok(NAME, "IPv4 is forwarded"),
        _ => Line::ok(NAME, "off: the first sandbox with a network switches net.ipv4.ip_forward on, and it stays on"),
    }
}

fn judge_firewall(found: io::Result<Option<Obstacles>>, has_legacy: bool) -> Line {
    const NAME: &str = "firewall";
    let legacy = if has_legacy { "; the filter of iptables-legacy is not looked into" } else { "" };
    match found {
        Ok(None) => Line::ok(NAME, format!("nothing stops what is forwarded for sandboxes{legacy}")),
        Ok(Some(Obstacles { names, mend })) => {
            let told = Told::new(format!("{names} stops forwarded packets that it does not know{legacy}"));
            Line::limited(NAME, WAY_OUT, told.mend(mend))
        }
        Err(error) => Line::unknown(NAME, format!("its rules cannot be read: {error}{legacy}")),
    }
}

fn judge_ipv6(outlook: Result<Outlook>) -> Line {
    const NAME: &str = "ipv6";
    const WITHOUT: &str = "the way out of IPv6";
    match outlook {
        Ok(Outlook::On) => Line::ok(NAME, "is forwarded"),
        Ok(Outlook::Off) => Line::ok(NAME, "the first sandbox with a network switches forwarding on, and it stays on"),
        Ok(Outlook::Refused(mend)) => {
            Line::limited(NAME, WITHOUT, Told::new("forwarding is off, and may not be changed from here").mend(mend))
        }
        Ok(Outlook::Learner(device, mend)) => {
            let told = Told::new(format!("with forwarding, {device} would no longer learn its routes: it stays off"));
            Line::limited(NAME, WITHOUT, told.mend(mend))
        }
        Ok(Outlook::Nowhere) => Line::absent(NAME, "this host has no way out of IPv6; sandboxes reach it by IPv6"),
        Ok(Outlook::Absent) => Line::absent(NAME, "this host has no IPv6: sandboxes have IPv4 alone"),
        Err(error) => Line::limited(NAME, WITHOUT, Told::from(&error)),
    }
}

fn has_server() -> bool {
    !servers(&resolv_conf(Path::new("/"), Reach::Outside, &Dns::default())).is_empty()
}

fn judge_names(has_server: bool) -> Line {
    if has_server {
        return Line::ok("names", "a name server can be reached from inside");
    }
    let told = Told::new("no name server of this host can be reached from inside");
    Line::limited("names", "names", told.mend("--dns ADDRESS names one"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::time::Duration;

    fn whole(failure: Option<&str>, warnings: &[&str]) -> Trial {
        let warnings = warnings.iter().map(|warning| Told::parse(warning)).collect();
        Trial { failure: failure.map(Told::parse), warnings, took: Duration::ZERO }
    }

    #[test]
    fn without_root_no_network_is_a_lack_and_no_failure() {
        assert_eq!(judge_rootless(&whole(None, &["another"])).shown(), "ok       network     by pasta");
        let none = judge_rootless(&whole(None, &["no network inside but lo: none (hint: apt install passt)"])).shown();
        assert!(none.starts_with("limited ") && none.ends_with("(hint: apt install passt)"), "{none}");
        assert!(judge_rootless(&whole(Some("cannot start"), &[])).shown().starts_with("missing "));
        assert!(judge_pair(&whole(Some("cannot make the veth pair"), &[])).shown().starts_with("missing "));
        assert!(judge_rules(Some(Told::new("no nf_tables"))).shown().starts_with("limited "));
    }

    #[test]
    fn forwarding_that_a_start_switches_on_is_no_lack() {
        for outlook in [Outlook::On, Outlook::Off] {
            assert!(judge_ipv4(outlook.clone()).shown().starts_with("ok "));
            assert!(judge_ipv6(Ok(outlook)).shown().starts_with("ok "));
        }
        let refused = || Outlook::Refused("sysctl x=1".to_owned());
        for line in [judge_ipv4(refused()), judge_ipv6(Ok(refused()))] {
            assert!(line.shown().starts_with("limited ") && line.shown().ends_with("(hint: sysctl x=1)"));
        }
        let learner = judge_ipv6(Ok(Outlook::Learner("eth0".to_owned(), "sysctl y=2".to_owned()))).shown();
        assert!(learner.contains("eth0 would no longer learn") && learner.contains("sysctl y=2"), "{learner}");
        for outlook in [Outlook::Nowhere, Outlook::Absent] {
            assert!(judge_ipv6(Ok(outlook)).shown().starts_with("absent "));
        }
        assert!(judge_ipv6(Err(Error::new("look", "no"))).shown().starts_with("limited "));
    }

    #[test]
    fn a_firewall_is_told_with_what_opens_it() {
        let obstacles = || Obstacles { names: "ip filter FORWARD".to_owned(), mend: "iptables -I".to_owned() };
        let told = judge_firewall(Ok(Some(obstacles())), true).shown();
        assert!(
            told.contains("ip filter FORWARD stops") && told.contains("legacy") && told.contains("(hint: iptables -I)")
        );
        assert!(judge_firewall(Ok(None), false).shown().starts_with("ok "));
        assert!(judge_firewall(Err(io::ErrorKind::PermissionDenied.into()), false).shown().starts_with("unknown "));
        assert!(judge_names(false).shown().contains("--dns"));
        assert!(judge_names(true).shown().starts_with("ok "));
    }
}
