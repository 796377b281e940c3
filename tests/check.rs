//! `nsl check`: what it says is what `nsl run` does, wherever it is asked, and it leaves nothing.

use crate::harness::{DIR, Host, Invocation, NSL, Output, USER, wait_until};
use crate::nested::{NESTED, filtered, run};
use crate::podman::Podman;
use crate::pty::Pty;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// The lines, by their names.
struct Report(Value);

impl Report {
    /// Of `nsl check --json`, whose exit code must agree.
    #[track_caller]
    fn of(output: &Output) -> Self {
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{output}"));
        output.assert_code(i32::from(report["works"] != true)).assert_quiet();
        let lines = report["lines"].as_array().expect("lines");
        assert!(lines.len() <= 25, "{output}");
        Self(report)
    }

    fn line(&self, name: &str) -> &Value {
        let lines = self.0["lines"].as_array().expect("lines");
        lines.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("no line {name}: {:#}", self.0))
    }

    /// A line has this verdict, and all of these words in what it says and what mends it.
    #[track_caller]
    fn assert(&self, name: &str, verdict: &str, words: &[&str]) -> &Self {
        let line = self.line(name);
        let text = format!("{} (hint: {})", line["finding"].as_str().expect("a text"), line["mend"]);
        assert!(line["verdict"] == verdict, "{name} is not {verdict}: {line:#}");
        assert!(words.iter().all(|word| text.contains(word)), "{name} says not all of {words:?}: {line:#}");
        self
    }

    fn names_of(&self, verdict: &str) -> Vec<&str> {
        let lines = self.0["lines"].as_array().expect("lines");
        lines.iter().filter(|line| line["verdict"] == verdict).filter_map(|line| line["name"].as_str()).collect()
    }

    fn works(&self) -> bool {
        self.0["works"] == true
    }
}

/// What it says, and what `nsl run` does in the same place: the two agree.
#[track_caller]
fn check<'a>(invoke: impl Fn(&[&str]) -> Invocation<'a>) -> Report {
    let report = Report::of(&invoke(&[NSL, "check", "--json"]).run());
    let output = invoke(&[NSL, "run", "--", "true"]).run();
    assert!((output.code == 0) == report.works(), "nsl run does not do what nsl check says: {output}\n{:#}", report.0);
    report
}

/// An ordinary user, with the directories that a session has.
fn user<'a>(host: &'a Host, words: &[&str]) -> Invocation<'a> {
    let invocation = host.command(words[0], &words[1..]).as_user();
    invocation.env("XDG_RUNTIME_DIR", format!("{DIR}/run")).env("HOME", DIR)
}

fn root<'a>(host: &'a Host, words: &[&str]) -> Invocation<'a> {
    host.command(words[0], &words[1..])
}

#[test]
fn a_host_of_roots_has_all_and_is_left_as_it_was() {
    let mut host = crate::host!("nft");
    host.uplink();
    let output = host.nsl(["check", "--json"]).run();
    host.assert_unchanged();
    assert_eq!(host.sh("nft list ruleset; cat /proc/sys/net/ipv4/ip_forward"), "0\n");
    let report = Report::of(&output);
    assert!(report.works());
    for name in ["kernel", "namespaces", "root", "proc", "terminal", "memfd", "seccomp", "sandbox", "ids"] {
        report.assert(name, "ok", &[]);
    }
    report.assert("user", "ok", &["root"]).assert("network", "ok", &["veth"]).assert("nftables", "ok", &["NAT"]);
    report.assert("forwarding", "ok", &["switches net.ipv4.ip_forward on"]).assert(
        "firewall",
        "ok",
        &["nothing stops"],
    );
    report.assert("ipv6", "absent", &["no way out"]).assert("names", "ok", &[]);
    report.assert("states", "ok", &["/run/nsl"]).assert("logs", "ok", &["/var/log/nsl"]);
    // What a start changes is another thing then.
    host.nsl(["run", "--", "true"]).run().assert_prints("");
    check(|words| root(&host, words)).assert("forwarding", "ok", &["is forwarded"]);
}

#[test]
fn an_ordinary_user_is_told_what_others_must_give() {
    let mut host = crate::host!("pasta");
    host.sh(&format!("mkdir -m 700 {DIR}/run; chown {USER} {DIR}/run"));
    host.accept();
    let report = check(|words| user(&host, words));
    report.assert("user", "ok", &["1000", "without root"]).assert("namespaces", "ok", &[]).assert("sandbox", "ok", &[]);
    report.assert("network", "limited", &["no network inside but lo", "default route"]);
    report.assert("states", "ok", &[&format!("{DIR}/run/nsl")]).assert("logs", "ok", &[]).assert("store", "ok", &[]);
    crate::pasta::connect(&mut host);
    let report = check(|words| user(&host, words));
    report.assert("network", "ok", &["pasta"]).assert("names", "ok", &[]);
    host.sh("rm /dev/net/tun");
    host.accept();
    check(|words| user(&host, words)).assert("network", "limited", &["modprobe tun"]);
    // Where he may write to nothing.
    let report = Report::of(&host.nsl(["check", "--json"]).as_user().run());
    report.assert("states", "limited", &["XDG_RUNTIME_DIR"]).assert("logs", "limited", &["/root", "XDG_STATE_HOME"]);
    host.sh(&format!("rmdir {DIR}/run"));
}

#[test]
fn ids_are_had_once_there_are_ranges() {
    let mut host = crate::own_host!("newuidmap");
    let user = |host: &Host| {
        let output = host.nsl(["check", "--json"]).as_user().run();
        Report::of(&output)
    };
    host.sh(": > /etc/subuid; : > /etc/subgid");
    host.accept();
    user(&host).assert("ids", "limited", &["/etc/subuid has none", "usermod --add-subuids"]);
    host.sh("echo 1000:100000:65536 | tee /etc/subuid > /etc/subgid");
    user(&host).assert("ids", "ok", &["--userns auto"]);
}

/// Behind a filter that forbids user namespaces.
fn denied<'a>(host: &'a Host, words: &[&str]) -> Invocation<'a> {
    filtered(host, words).env("DENY", "1")
}

#[test]
fn whoever_forbids_user_namespaces_is_named() {
    let mut host = crate::host!("perl");
    let report = check(|words| denied(&host, words).as_user());
    report.assert("namespaces", "missing", &["a seccomp filter", "seccomp=unconfined"]);
    report.assert("seccomp", "ok", &["around nsl already"]).assert("root", "unknown", &["not tried"]);
    report.assert("kernel", "limited", &["without clone3"]);
    // Root goes without.
    let report = check(|words| denied(&host, words));
    assert!(report.works());
    report.assert("namespaces", "limited", &["a seccomp filter"]).assert("ids", "limited", &["a seccomp filter"]);
    // Devices that the kernel is about to drop are nothing to come back to.
    host.assert_clean();
    // Neither this kernel nor this machine has this setting: another file stands for it.
    host.sh("mount -t tmpfs tmpfs /proc/sys/kernel; echo 1 > /proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    host.accept();
    let report = check(|words| denied(&host, words).as_user());
    let mend = "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0";
    report.assert("namespaces", "missing", &["AppArmor", mend]).assert("sandbox", "missing", &["AppArmor", mend]);
    // In its other mode it lets them be made, and denies what is done in them.
    let bounded = ["--bounding-set=-sys_admin,-setfcap", "--inh-caps=-sys_admin,-setfcap"];
    let report = check(|words| host.command("setpriv", [&bounded, words].concat()));
    report.assert("namespaces", "missing", &["AppArmor"]).assert("user", "ok", &["without CAP_SYS_ADMIN"]);
}

#[test]
fn a_masked_proc_is_found_where_it_matters() {
    let mut host = crate::host!();
    host.sh("mount --bind /dev/null /proc/interrupts; mount -t tmpfs -o ro tmpfs /sys/firmware");
    host.accept();
    let report = check(|words| root(&host, words));
    assert!(report.works());
    report.assert("proc", "ok", &[]);
    let report = check(|words| host.command(words[0], &words[1..]).as_user());
    report.assert("proc", "missing", &["Operation not permitted", "--proc host"]);
    assert_eq!(report.names_of("missing"), ["proc", "sandbox"]);
    assert_eq!(report.names_of("unknown"), ["ids", "network"]);
}

#[test]
fn memory_files_that_may_not_be_executed_are_told() {
    let host = crate::host!("unshare");
    // The setting is one of the PID namespace.
    let script = "echo 2 > /proc/sys/vm/memfd_noexec; exec \"$@\"";
    let set = ["--mount", "--pid", "--fork", "--mount-proc", "sh", "-ec", script, "sh"];
    let report = check(|words| host.command("unshare", [&set, words].concat()));
    report.assert("memfd", "missing", &["vm.memfd_noexec"]).assert("sandbox", "missing", &["vm.memfd_noexec"]);
}

#[test]
fn calls_that_are_missing_are_named() {
    let host = crate::host!("python3");
    let without = |calls: &[&str]| Report::of(&host.nsl(["check", "--json"]).without(libc::ENOSYS, calls).run());
    let report = without(&["openat2"]);
    assert!(!report.works());
    report.assert("kernel", "missing", &["without openat2"]).assert("sandbox", "missing", &["openat2"]);
    let report = without(&["fsopen", "fsmount", "open_tree", "move_mount", "mount_setattr"]);
    report.assert("kernel", "ok", &["without fsopen", "mount(2)"]).assert("sandbox", "ok", &[]);
}

#[test]
fn a_failure_that_nothing_better_is_known_of_leads_here() {
    let host = crate::host!("python3");
    let refused = |words: &[&str]| host.nsl(words).without(libc::EINVAL, &["fsconfig"]).run();
    let step = "cannot mount a tmpfs for what the command writes: Invalid argument";
    refused(&run(&[], &["true"])).assert_refused(125, &[step, "(hint: nsl check tells what this host allows)"]);
    let report = Report::of(&refused(&["check", "--json"]));
    report.assert("proc", "missing", &["Invalid argument"]).assert("terminal", "missing", &["Invalid argument"]);
    report.assert("sandbox", "missing", &[step]).assert("namespaces", "ok", &[]);
}

#[test]
fn a_firewall_is_told_with_the_command_that_opens_it() {
    let mut host = crate::host!("nft", "iptables");
    host.sh("iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER");
    host.accept();
    let report = check(|words| root(&host, words));
    assert!(report.works());
    report.assert("firewall", "limited", &["ip filter FORWARD", "iptables -I DOCKER-USER"]);
    host.sh(report.line("firewall")["mend"].as_str().expect("a mend"));
    check(|words| root(&host, words)).assert("firewall", "ok", &[]);
}

#[test]
fn forwarding_that_may_not_be_switched_on_is_told() {
    let mut host = crate::host!();
    host.sh("mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys");
    host.accept();
    let report = Report::of(&host.nsl(["check", "--json"]).run());
    report.assert("forwarding", "limited", &["net.ipv4.ip_forward is 0", "sysctl net.ipv4.ip_forward=1"]);
    host.sh("umount /proc/sys; echo 1 > /proc/sys/net/ipv4/ip_forward");
    host.sh("mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys");
    host.accept();
    Report::of(&host.nsl(["check", "--json"]).run()).assert("forwarding", "ok", &[]);
}

#[test]
fn in_a_sandbox_of_nsls_it_says_what_the_outer_one_gives() {
    let host = crate::host!();
    let within = |options: &[&str], words: &[&str]| host.nsl(run(&[&NESTED[1..], options].concat(), words));
    let report = check(|words| within(&["--nested"], words));
    assert!(report.works());
    report.assert("user", "ok", &["in a user namespace", "without CAP_SYS_ADMIN"]).assert(
        "network",
        "limited",
        &["lo"],
    );
    let report = check(|words| within(&["--nested"], words).as_user());
    assert!(report.works());
    report.assert("user", "ok", &["1000 in a user namespace"]);
    let report = check(|words| within(&[], words));
    assert!(!report.works());
    report.assert("namespaces", "missing", &["--nested"]);
    check(|words| within(&[], words).as_user()).assert("namespaces", "missing", &["--nested"]);
    // As deep as overlays can be stacked.
    let words = [&[NSL][..], &run(&NESTED, &[NSL, "check", "--json"])].concat();
    Report::of(&within(&["--nested"], &words).run()).assert("root", "limited", &["read-only", "--rootfs"]);
}

#[test]
fn in_a_container_it_says_what_that_one_forbids() {
    let mut host = crate::host!("podman", "runc", "busybox");
    let podman = Podman::new(&mut host);
    host_nsl(&podman);
    let within = |options: &[&str], words: &[&str]| {
        let words: Vec<_> = words.iter().map(|word| if *word == NSL { "/nsl" } else { word }).collect();
        podman.run(options, &words)
    };
    let report = check(|words| within(&[], words));
    assert!(!report.works());
    report.assert("user", "ok", &["root without CAP_SYS_ADMIN"]).assert("proc", "missing", &["systempaths=unconfined"]);
    let unmasked = ["--security-opt", "unmask=all"];
    let report = check(|words| within(&unmasked, words));
    assert!(!report.works());
    report.assert("proc", "ok", &[]).assert("sandbox", "missing", &["hostname", "seccomp=unconfined"]);
    let unconfined = [&unmasked[..], &["--security-opt", "seccomp=unconfined"]].concat();
    let report = check(|words| within(&unconfined, words));
    assert!(report.works(), "{:#}", report.0);
    report.assert("network", "limited", &["a veth pair needs root"]);
    let report = check(|words| within(&["--privileged"], words));
    assert!(report.works(), "{:#}", report.0);
    report.assert("user", "ok", &["root"]).assert("network", "ok", &["veth"]);
}

/// The program, in the root of the containers.
fn host_nsl(podman: &Podman<'_>) {
    podman.host.sh(&format!("cp {NSL} {DIR}/root/nsl"));
}

#[test]
fn the_word_is_coloured_on_a_terminal_alone() {
    let host = crate::host!();
    let text = host.nsl(["check"]).run();
    assert!(text.assert_code(0).assert_quiet().stdout().starts_with("ok       kernel      Linux "), "{text}");
    assert!(text.stdout().lines().last().is_some_and(|sum| sum.starts_with("nsl run works here")), "{text}");
    let coloured = |variable: &str, value: &str| {
        // The terminal of these tests is a dumb one.
        let script = format!("TERM=linux; export TERM; {variable}={value} exec {NSL} check");
        let mut pty = Pty::start(host.command("sh", ["-c", &script]));
        assert_eq!(pty.end(), 0);
        pty.all().contains("\x1b[32mok")
    };
    assert!(coloured("OTHER", "1") && coloured("NO_COLOR", ""));
    assert!(!coloured("NO_COLOR", "1") && !coloured("TERM", "dumb"));
}

#[test]
fn killed_it_leaves_nothing() {
    let host = crate::host!();
    for is_user in [false, true] {
        for trials in 0..6 {
            let invocation = host.nsl(["check"]);
            let running = if is_user { invocation.as_user() } else { invocation }.start();
            // In one of its trials, or behind them all.
            let (mut seen, pid) = (BTreeSet::new(), running.pid());
            let children = format!("/proc/{pid}/task/{pid}/children");
            wait_until("it is in its trials", || {
                let found = fs::read_to_string(&children).unwrap_or_default();
                seen.extend(found.split_ascii_whitespace().map(str::to_owned));
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                seen.len() > trials || stat.contains(") Z ")
            });
            running.signal(Signal::SIGKILL);
            running.finish();
            host.assert_clean();
        }
    }
}

#[test]
fn nobody_to_tell_is_a_failure() {
    let host = crate::host!();
    let output = host.sh(&format!("{NSL} check > /dev/full 2> {DIR}/said || echo $?; cat {DIR}/said; rm {DIR}/said"));
    assert_eq!(output, "125\nnsl: cannot write to stdout: No space left on device\n");
    host.nsl(["check", "all"]).run().assert_refused(125, &["read the command line", "nsl check --help"]);
}
