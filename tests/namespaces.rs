//! Which namespaces the command has, by their numbers, and which it shares with the host.

use crate::harness::{Host, Invocation};

/// What `nsl run OPTIONS` runs, as root and as an ordinary user.
fn both<'a>(host: &'a Host, options: &[&str], script: &str) -> [Invocation<'a>; 2] {
    let words = [&["run", "--network", "none"], options, &["--", "sh", "-c", script]].concat();
    [host.nsl(&words), host.nsl(&words).as_user()]
}

const NUMBERS: &str = "cd /proc/self/ns; for name in cgroup ipc mnt net pid user uts; do readlink $name; done";

#[test]
fn every_namespace_is_the_commands_own_but_those_asked_for() {
    let host = crate::host!();
    let outside = host.sh(NUMBERS);
    let shared_by = |invocation: Invocation| {
        let inside = invocation.run().assert_code(0).stdout();
        let shared = inside.lines().filter(|line| outside.lines().any(|other| other == *line));
        shared.map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let shared = |options: &[&str]| both(&host, options, NUMBERS).map(shared_by);
    assert_eq!(shared(&[]), ["user", ""]);
    assert_eq!(shared(&["--ipc", "host"]), ["ipc user", "ipc"]);
    assert_eq!(shared(&["--uts", "host"]), ["user uts", "uts"]);
    assert_eq!(shared(&["--cgroupns", "host"]), ["cgroup user", "cgroup"]);
    let [as_root, _] = both(&host, &["--userns", "auto"], NUMBERS);
    assert_eq!(shared_by(as_root), "");
}

#[test]
fn the_hosts_name_stays_as_it_is_where_it_is_shared() {
    let host = crate::host!("hostname");
    let name = host.sh("hostname");
    let name = name.trim();
    for invocation in both(&host, &["--uts", "host"], "hostname; cat /etc/hostname") {
        invocation.run().assert_prints(&format!("{name}\n{name}"));
    }
    assert_eq!(host.sh("hostname").trim(), name);
    for invocation in both(&host, &["--uts", "host", "--hostname", "other"], "true") {
        invocation.run().assert_refused(125, &["--hostname", "--uts host", "hint"]);
    }
}
