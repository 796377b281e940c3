//! A host whose own firewall stops what it does not know: nsl says so, with the command that opens the way, and that
//! command does.

use crate::harness::{Host, Output, in_network_of};
use crate::network::{ASK, greet};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// What a sandbox gets to hear beyond the host, and what nsl says meanwhile.
fn ask_beyond(host: &Host, port: u16) -> Output {
    let script = format!("{ASK}ask 198.51.100.1 {port}");
    host.nsl(["run", "--", "timeout", "0.5", "bash", "-c", &script]).run()
}

/// The command in the hint of a warning.
fn hint(output: &Output) -> String {
    let stderr = output.stderr();
    assert!(stderr.starts_with("nsl: warning: ") && stderr.lines().count() == 1, "{output}");
    let hint = stderr.split_once("(hint: ").and_then(|(_, hint)| hint.trim_end().strip_suffix(')'));
    hint.unwrap_or_else(|| panic!("no hint: {output}")).to_owned()
}

/// Sets a firewall up; nsl warns with exactly this mend, which opens the way and ends the warning.
fn mended_by(firewall: &str, chain: &str, mend: &str) {
    let mut host = crate::host!("ip", "nft", "iptables", "timeout", "bash");
    let outside = host.uplink();
    let port = greet(outside, "198.51.100.1", "from beyond");
    ask_beyond(&host, port).assert_prints("from beyond");
    // What the kernel is about to drop is nothing to come back to.
    host.assert_clean();
    host.sh(firewall);
    host.accept();
    let output = ask_beyond(&host, port);
    assert!(!output.stdout().contains("from beyond"), "the firewall stops nothing: {output}");
    assert!(output.stderr().contains(&format!("({chain})")), "{output}");
    assert_eq!(hint(&output), mend);
    host.sh(mend);
    ask_beyond(&host, port).assert_prints("from beyond");
}

/// As dockerd leaves it.
const DOCKER: &str = "iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN
    iptables -A FORWARD -j DOCKER-USER";

#[test]
fn the_way_through_dockers_policy_is_told_and_works() {
    let mend = "iptables -I DOCKER-USER -i 'nsl+' -j ACCEPT && iptables -I DOCKER-USER -o 'nsl+' -m conntrack \
        --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT";
    mended_by(DOCKER, "ip filter FORWARD", mend);
}

#[test]
fn published_ports_need_the_same_way_and_get_it() {
    let mut host = crate::host!("ip", "nft", "iptables", "timeout", "bash");
    let outside = host.uplink();
    let by_hand = "nft 'table ip mine { chain way { type filter hook forward priority 10; policy drop; }; }'";
    for firewall in [DOCKER, by_hand] {
        host.sh(firewall);
        host.accept();
        let ask = || {
            let mut sandbox = host.nsl(["run", "-p", "8080:7000", "--", "sh", "-c", "echo up; cat"]).start();
            assert_eq!(sandbox.line(), "up");
            let listener = in_network_of(sandbox.init(), || TcpListener::bind("0.0.0.0:7000").expect("bind"));
            let to = "198.51.100.2:8080".parse().expect("an address");
            let called = in_network_of(outside, || TcpStream::connect_timeout(&to, Duration::from_millis(500)).is_ok());
            drop(listener);
            (called, sandbox.finish())
        };
        let (called, output) = ask();
        assert!(!called, "the firewall stops nothing");
        host.sh(&hint(&output));
        let (called, output) = ask();
        assert!(called, "{output}");
        output.assert_prints("");
        host.assert_clean();
        host.sh("nft delete table ip filter 2>/dev/null || nft delete table ip mine");
        host.accept();
    }
}

#[test]
fn the_way_through_a_policy_of_iptables_is_told_and_works() {
    let mend = "nft insert rule ip filter FORWARD iifname 'nsl*' accept && \
        nft insert rule ip filter FORWARD oifname 'nsl*' accept";
    mended_by("iptables -P FORWARD DROP", "ip filter FORWARD", mend);
}

#[test]
fn the_way_through_a_last_rule_is_told_and_works() {
    let mend =
        "nft insert rule inet mine way iifname 'nsl*' accept && nft insert rule inet mine way oifname 'nsl*' accept";
    for last in ["drop", "counter drop", "log counter reject with icmpx admin-prohibited"] {
        let rules = "ct state established accept; tcp dport 1 accept";
        let chain = "{ type filter hook forward priority 10;";
        let table = format!("table inet mine {{ chain way {chain} {rules}; {last}; }}; }}");
        mended_by(&format!("nft '{table}'"), "inet mine way", mend);
    }
    let mend = "nft insert rule ip filter FORWARD iifname 'nsl*' accept && \
        nft insert rule ip filter FORWARD oifname 'nsl*' accept";
    for last in ["DROP", "REJECT"] {
        mended_by(&format!("iptables -A FORWARD -j {last}"), "ip filter FORWARD", mend);
    }
}

/// Both of these were tried with the real programs too; here are the chains that they make.
#[test]
fn ufw_and_firewalld_are_told_of_in_their_own_words() {
    let host = crate::host!("nft", "iptables");
    host.sh("iptables -P FORWARD DROP; iptables -N ufw-user-forward; iptables -A FORWARD -j ufw-user-forward");
    let output = host.nsl(["run", "--", "true"]).run();
    assert_eq!(hint(&output), "ufw route allow in on nsl+ && ufw route allow out on nsl+");
    host.sh("iptables -A ufw-user-forward -i nsl+ -j ACCEPT; iptables -A ufw-user-forward -o nsl+ -j ACCEPT");
    host.nsl(["run", "--", "true"]).run().assert_prints("");
    host.sh("nft 'table inet firewalld { chain zones { }; chain filter_FORWARD {
        type filter hook forward priority 10; ct status dnat accept; jump zones; reject with icmpx admin-prohibited; }; }'");
    let output = host.nsl(["run", "--", "true"]).run();
    let mend = "firewall-cmd --permanent --zone=trusted --add-interface=nsl+ && firewall-cmd --reload";
    assert_eq!(hint(&output), mend);
    host.sh("nft add rule inet firewalld zones iifname '\"nsl*\"' accept");
    host.nsl(["run", "--", "true"]).run().assert_prints("");
    host.sh("nft delete table inet firewalld; nft delete table ip filter");
}

#[test]
fn two_firewalls_are_told_of_in_one_line() {
    let host = crate::host!("nft", "iptables");
    host.sh(&format!(
        "{DOCKER}; nft 'table inet mine {{ chain way {{ type filter hook forward priority 10; policy drop; }}; }}'"
    ));
    let output = host.nsl(["run", "--", "true"]).run();
    assert!(output.stderr().contains("(ip filter FORWARD and inet mine way)"), "{output}");
    host.sh(&hint(&output));
    host.nsl(["run", "--", "true"]).run().assert_prints("");
    host.sh("nft delete table inet mine; nft delete table ip filter");
}

#[test]
fn a_firewall_that_stops_nothing_of_ours_is_not_told_of() {
    let host = crate::host!("nft", "iptables");
    // Rules with a condition, chains at other hooks or at none, a verdict that is not the last, another family, and one
    // of addresses that the sandbox does not have.
    host.sh("iptables -A FORWARD -s 192.0.2.1 -j DROP; iptables -P INPUT DROP; ip6tables -P FORWARD DROP
        nft 'table inet mine { chain unused { drop; }; chain in { type filter hook input priority 0; policy drop; }
            chain way { type filter hook forward priority 5; tcp dport 1 drop; accept; }; }
        table bridge mine { chain way { type filter hook forward priority 5; policy drop; }; }'");
    host.nsl(["run", "--", "true"]).run().assert_prints("");
    // Nor does who has no way out hear of one that does.
    host.sh("iptables -P FORWARD DROP");
    host.nsl(["run", "--network", "none", "--", "true"]).run().assert_prints("");
    host.nsl(["run", "--network", "host", "--", "true"]).run().assert_prints("");
    host.sh("nft flush ruleset");
}

#[test]
fn a_chain_behind_thousands_of_others_is_found_by_its_name() {
    let mut host = crate::host!("nft", "iptables");
    let chains: Vec<_> = (0..8000).map(|number| format!("chain of-somebody-elses-{number:05} {{ }}\n")).collect();
    let write = host.command("sh", ["-c", "cat > /tmp/many; nft -f /tmp/many; rm /tmp/many"]);
    write.stdin(format!("table ip many {{\n{}}}\n", chains.concat())).run().assert_code(0);
    host.sh("iptables -P FORWARD DROP");
    host.accept();
    let output = host.nsl(["run", "--", "true"]).run();
    assert!(output.stderr().contains("(ip filter FORWARD)"), "{output}");
    host.sh(&hint(&output));
    host.nsl(["run", "--", "true"]).run().assert_prints("");
}
