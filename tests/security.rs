//! What the command may do, seen from inside: each defence with it, and without it where an option takes it away.

use crate::harness::{Host, USER};

/// `nsl run --network none OPTIONS -- sh -c SCRIPT`.
fn sandbox<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["run", "--network", "none"], options, &["--", "sh", "-c", script]].concat()
}

/// What `/proc/self/status` says of these sets.
fn sets(host: &Host, options: &[&str]) -> String {
    let script = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -d '\\n' | tr '\\t' ' '";
    host.nsl(sandbox(options, script)).run().assert_code(0).stdout()
}

const DEFAULT: &str = "00000000800405fb";
const NONE: &str = "0000000000000000";

#[test]
fn all_five_sets_of_capabilities_are_given_exactly() {
    let host = crate::host!();
    let shown = |inherited: &str, permitted: &str, bounding: &str, ambient: &str, new_privs: u8| {
        format!(
            "CapInh: {inherited}CapPrm: {permitted}CapEff: {permitted}CapBnd: {bounding}CapAmb: {ambient}NoNewPrivs: {new_privs}"
        )
    };
    assert_eq!(sets(&host, &[]), shown(NONE, DEFAULT, DEFAULT, NONE, 1));
    let one = "0000000000001000";
    let only = ["--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--no-new-privs=false"];
    assert_eq!(sets(&host, &only), shown(NONE, one, one, NONE, 0));
    let other = ["--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "-u", "1000"];
    assert_eq!(sets(&host, &other), shown(one, one, one, one, 1));
    assert_eq!(sets(&host, &["-u", "1000"]), shown(NONE, NONE, DEFAULT, NONE, 1));
    let as_user = |options: &[&str]| {
        let script = "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2 | tr '\\n' ' '";
        host.nsl(sandbox(options, script)).as_user().run().assert_code(0).stdout()
    };
    assert_eq!(as_user(&[]), format!("{NONE} {NONE} {NONE} {NONE} {NONE} "));
    assert_eq!(as_user(&["--cap-add", "net_admin"]), format!("{one} {one} {one} {one} {one} "));
}

#[test]
fn what_tells_of_the_whole_machine_is_hidden_and_what_rules_it_is_read_only() {
    let host = crate::host!();
    let script = "exec 2>/dev/null; cd /proc; for file in keys timer_list interrupts kcore; do
            [ -z \"$(head -c 1 $file | tr -d '\\0')\" ] || echo $file; done
        ls acpi /sys/firmware 2>/dev/null | grep -v :
        for file in sys/kernel/hostname sys/kernel/core_pattern irq/default_smp_affinity; do
            (: >> $file) 2>/dev/null && echo $file
        done; echo 100 > self/oom_score_adj; cat self/oom_score_adj";
    host.nsl(sandbox(&[], script)).run().assert_prints("100");
    let script = "grep -q Timer /proc/timer_list && (: >> /proc/sys/kernel/hostname) && echo open";
    host.nsl(sandbox(&["--nested", "--userns", "host"], script)).run().assert_prints("open");
    host.nsl(sandbox(&["--privileged"], script)).run().assert_prints("open");
}

#[test]
fn the_command_can_not_look_into_its_init() {
    let host = crate::host!();
    let script = "cd /proc/1; for file in mem environ maps auxv; do head -c 1 $file 2>/dev/null && echo $file; done
        for link in exe root cwd fd/0 fd/4 ns/mnt; do readlink $link; done; ls root/ 2>/dev/null; echo done";
    host.nsl(sandbox(&[], script)).run().assert_prints("done");
    host.nsl(sandbox(&[], script)).as_user().run().assert_prints("done");
}

#[test]
fn no_exec_gives_privileges() {
    let host = crate::host!();
    let script = |then: &str| {
        format!("cp /bin/dash /tmp/dash 2>/dev/null || cp /bin/sh /tmp/dash; chmod 4755 /tmp/dash; mount -o remount,suid / 2>/dev/null
            setpriv --reuid={USER} --clear-groups {then} /tmp/dash -pc 'id -u'")
    };
    host.nsl(sandbox(&[], &script(""))).run().assert_prints(&USER.to_string());
    host.nsl(sandbox(&["--no-new-privs=false"], &script(""))).run().assert_prints("0");
}

#[test]
fn landlock_leaves_the_paths_that_it_names() {
    let host = crate::host!();
    let script = "exec 2>/dev/null; cat /etc/passwd; ls /; echo x > /usr/x; echo x > /tmp/x && cat /tmp/x
        echo y > /dev/null && cat /proc/self/comm; ln /tmp/x /tmp/y && echo linked; mv /tmp/x /usr/x; echo done";
    let rules = ["--landlock", "ro=/usr,ro=/proc", "--landlock", "rw=/tmp"];
    let expected = "x\ncat\nlinked\ndone";
    host.nsl(sandbox(&rules, script)).run().assert_prints(expected);
    host.nsl(sandbox(&rules, script)).as_user().run().assert_prints(expected);
    let privileged = [&rules[..], &["--privileged"]].concat();
    host.nsl(sandbox(&privileged, script)).run().assert_prints(expected);
    // Without the rules all of it can be done.
    let open = host.nsl(sandbox(&[], script)).run();
    assert!(open.stdout().contains("root:") && open.stdout().lines().count() > 20, "{open}");
}

#[test]
fn landlock_rules_that_cannot_be_are_refused() {
    let host = crate::host!();
    let run = |rules: &'static str| host.nsl(sandbox(&["--landlock", rules], "true")).run();
    run("ro=usr").assert_refused(125, &["the Landlock rule 'ro=usr'", "not absolute"]);
    run("/usr").assert_refused(125, &["ro=PATH"]);
    run("ro=/no/where").assert_refused(125, &["ro=/no/where: No such file", "inside the sandbox"]);
    run("ro=/usr,ro=-/no/where").assert_prints("");
    run("rw=/tmp").assert_refused(126, &["execute sh: Permission denied", "ro=/usr"]);
}
