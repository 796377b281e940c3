//! `nsl clean`: what nsl leaves on a host goes, and never what a sandbox needs, however close its start is.

use crate::harness::{DIR, NSL, wait_until};
use std::fs;
use std::time::{Duration, Instant};

const GONE: &str = "removed the nftables table inet nsl\n";
const NONE: &str = "there is no nftables table inet nsl\n";
const STAYS: &str = "net.ipv4.ip_forward is on and stays so, since others may rely on it: \
    sysctl net.ipv4.ip_forward=0 switches it off\n";

#[test]
fn the_table_goes_and_forwarding_is_named() {
    let host = crate::host!("nft");
    host.nsl(["clean"]).run().assert_prints(NONE.trim());
    host.nsl(["run", "--", "true"]).run().assert_prints("");
    host.nsl(["clean"]).run().assert_prints(format!("{GONE}{STAYS}").trim());
    assert_eq!(host.sh("nft list ruleset"), "");
    host.sh("sysctl -q net.ipv4.ip_forward=0");
    host.nsl(["clean"]).run().assert_prints(NONE.trim());
    host.nsl(["run", "--", "true"]).run().assert_prints("");
    assert!(host.sh("nft list ruleset").contains("masquerade"));
}

#[test]
fn the_table_stays_while_there_are_sandboxes() {
    let host = crate::host!("ip", "nft");
    let mut all: Vec<_> = ["veth", "veth", "veth", "veth", "none"]
        .map(|network| host.nsl(["run", "--network", network, "--", "sh", "-c", "echo up; cat"]).start())
        .into();
    for running in &mut all {
        assert_eq!(running.line(), "up");
    }
    let before = host.sh("nft list ruleset");
    let output = host.nsl(["clean"]).run();
    output.assert_refused(125, &["remove the nftables table inet nsl", "behind nsl", " and 1 more", "end them first"]);
    assert_eq!(host.sh("nft list ruleset"), before);
    for running in all {
        running.finish().assert_prints("");
    }
    // At once: what ended sandboxes leave for a moment is waited for.
    assert!(host.nsl(["clean"]).run().stdout().starts_with(GONE));
    // A device that only looks like one of nsl's is none.
    host.nsl(["run", "--", "true"]).run().assert_prints("");
    host.sh("ip link add nslookup type veth peer name nslookdown");
    assert!(host.nsl(["clean"]).run().stdout().starts_with(GONE));
    host.sh("ip link del nslookup");
}

#[test]
fn users_are_refused() {
    let host = crate::host!();
    host.nsl(["clean"]).as_user().run().assert_refused(125, &["clean up", "root's", "sudo nsl clean"]);
    host.nsl(["clean", "all"]).run().assert_refused(125, &["read the command line", "nsl clean --help"]);
}

#[test]
fn what_a_killed_nsl_was_unpacking_goes() {
    let host = crate::host!();
    let store = format!("{DIR}/store");
    host.sh(&format!("mkdir -p {store}/roots/whole {store}/new/half/root/bin {store}/index"));
    let output = host.nsl(["clean"]).env("NSL_STORE", &store).run();
    output.assert_prints(&format!("removed 1 half-unpacked root of nsl that was killed\n{}", NONE.trim()));
    assert!(host.path(format!("{store}/roots/whole")).exists() && !host.path(format!("{store}/new/half")).exists());
    // None is made where there is none.
    host.nsl(["clean"]).env("NSL_STORE", format!("{DIR}/none")).run().assert_prints(NONE.trim());
    assert!(!host.path(format!("{DIR}/none")).exists());
    fs::remove_dir_all(host.path(&store)).expect("remove the store");
}

/// A sandbox that is there has its rules from its first packet on. Were they lost, nobody would make them again.
#[test]
fn a_sandbox_that_starts_meanwhile_has_its_rules() {
    let host = crate::host!("nft");
    let cleaning = format!("trap 'exit 0' TERM; echo up; while :; do {NSL} clean >>{DIR}/said 2>>{DIR}/refused; done");
    let mut cleaners = [&cleaning; 2].map(|script| host.command("sh", ["-c", script]).start());
    for cleaner in &mut cleaners {
        assert_eq!(cleaner.line(), "up");
    }
    let said = |file: &str, what: &str| {
        fs::read_to_string(host.path(format!("{DIR}/{file}"))).unwrap_or_default().matches(what).count()
    };
    let start = Instant::now();
    let mut runs = 0;
    // Until it has really been close.
    while start.elapsed() < Duration::from_secs(2) || said("said", GONE) < 20 || said("refused", "end them") < 10 {
        assert!(start.elapsed() < Duration::from_secs(30), "the table went {} times only", said("said", GONE));
        let mut running = host.nsl(["run", "--", "sh", "-c", "echo up; cat"]).start();
        assert_eq!(running.line(), "up");
        let rules = host.sh("nft list ruleset");
        assert!(rules.contains("masquerade") && rules.contains("oifname \"nsl*\" drop"), "run {runs}: {rules}");
        running.finish().assert_prints("");
        runs += 1;
    }
    for cleaner in cleaners {
        cleaner.signal(nix::sys::signal::Signal::SIGTERM);
        cleaner.finish().assert_code(0);
    }
    let refused = fs::read_to_string(host.path(format!("{DIR}/refused"))).unwrap_or_default();
    let others: Vec<_> = refused.lines().filter(|line| !line.contains("end them first")).collect();
    assert!(others.is_empty(), "something else was refused: {others:?}");
    wait_until("the table is gone", || host.nsl(["clean"]).run().code == 0);
    host.sh(&format!("rm {DIR}/said {DIR}/refused"));
}
