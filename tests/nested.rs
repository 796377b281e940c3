//! nsl inside nsl, and inside what others made: what works there, and what is said where it does not.

use crate::harness::{DIR, Host, Invocation, NSL, USER};

/// `nsl run --network none OPTIONS -- COMMAND`.
pub fn run<'a>(options: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--network", "none"], options, &["--"], command].concat()
}

/// A sandbox in which nsl is found, and which lets it make another.
pub const NESTED: [&str; 3] = ["--nested", "-v", "/run/bin/nsl:/run/bin/nsl"];

/// Loads a seccomp filter, then executes its arguments. It answers as the default filters of containers do: ENOSYS to
/// clone3(2), whose arguments it cannot read, and with `DENY` EPERM to a clone(2) that makes a user namespace.
const FILTERED: &str = r#"
use strict;
my ($prctl, $clone) = `uname -m` =~ /aarch64/ ? (167, 220) : (157, 56);
my @code = ([0x20, 0, 0, 0], [0x15, 0, 1, 435], [0x06, 0, 0, 0x50026]);
push @code, [0x15, 0, 3, $clone], [0x20, 0, 0, 16], [0x45, 0, 1, 0x10000000], [0x06, 0, 0, 0x50001] if $ENV{DENY};
push @code, [0x06, 0, 0, 0x7fff0000];
my $code = join "", map { pack "SCCL", @$_ } @code;
my $program = pack "Sx6P", scalar @code, $code;
syscall($prctl, 38, 1, 0, 0, 0) == 0 && syscall($prctl, 22, 2, $program) == 0 or die "no filter: $!";
exec @ARGV or die "$!";
"#;

pub fn filtered<'a>(host: &'a Host, words: &[&str]) -> Invocation<'a> {
    host.command("perl", [&["-e", FILTERED, "--"], words].concat())
}

#[test]
fn sandboxes_are_nested_three_deep() {
    let host = crate::host!();
    let script = "id -u; sed 's/.*:\t//' /proc/1/comm; set -- /proc/[0-9]*; echo $#; echo x > /tmp/x; hostname";
    let inner = [&[NSL][..], &run(&["--hostname", "third"], &["sh", "-c", script])].concat();
    let middle = [&[NSL][..], &run(&NESTED, &inner)].concat();
    let outer = run(&NESTED, &middle);
    // The third view on a view is read-only, which is told.
    let is = |invocation: Invocation, expected: &str| {
        let output = invocation.run();
        output.assert_code(0).assert_stdout(expected);
        assert!(output.stderr().lines().all(|line| line.contains("warning: the host's root can be no lower layer")));
    };
    is(host.nsl(&outer), "0\nnsl-init\n2\nthird");
    is(host.nsl(&outer).as_user(), "1000\nnsl-init\n2\nthird");
    let mut with_network = outer.clone();
    with_network.drain(1..3);
    is(host.nsl(&with_network), "0\nnsl-init\n2\nthird");
    let without_ids = [&["run", "--network", "none", "--userns", "host"], &outer[3..]].concat();
    is(host.nsl(&without_ids), "0\nnsl-init\n2\nthird");
}

/// As root it has ids of its own, also with all the rest that can be asked for.
#[test]
fn root_that_nests_is_nobody_outside() {
    let host = crate::host!();
    let script = "read -r _ first _ < /proc/self/uid_map; test $first -gt 0 && echo nobody || echo root";
    let is = |options: &[&str], expected| {
        host.nsl(run(options, &["sh", "-c", script])).run().assert_prints(expected);
    };
    is(&["--nested"], "nobody");
    is(
        &["--nested", "--empty", "-v", "/usr:/usr:ro", "-v", "/bin:/bin", "-v", "/lib:/lib", "-v", "/lib64:/lib64"],
        "nobody",
    );
    is(&["--nested", "--userns", "host"], "root");
    is(&["--nested", "--privileged"], "root");
    is(&[], "root");
    let output = host.nsl(run(&["--nested", "--changes", &format!("{DIR}/kept")], &["true"])).run();
    output.assert_refused(125, &["owners", "--nested comes with --userns auto", "--userns host"]);
}

#[test]
fn where_root_can_have_no_ids_of_its_own_to_nest_another_way_is_told() {
    let host = crate::host!();
    // The kernel has no ID-mapped mounts of a procfs.
    let root = format!("/proc/self/fdinfo:{DIR}/x");
    let output = host.nsl(run(&["--nested", "-v", &root], &["true"])).run();
    output.assert_refused(125, &["shift the owners in /proc/", "Invalid argument", "use --userns host"]);
}

#[test]
fn what_the_innermost_changes_no_other_sees() {
    let host = crate::host!();
    let script = format!(
        "echo outer > /etc/nsl-test; {NSL} run --network none -- sh -c 'echo inner > /etc/nsl-test; cat /etc/nsl-test'
         cat /etc/nsl-test"
    );
    host.nsl(run(&NESTED, &["sh", "-c", &script])).run().assert_prints("inner\nouter");
    host.sh("test ! -e /etc/nsl-test");
}

#[test]
fn a_masked_proc_is_told_and_the_hosts_will_do() {
    let mut host = crate::host!();
    host.sh("mount --bind /dev/null /proc/interrupts; mount -t tmpfs -o ro tmpfs /sys/firmware");
    host.accept();
    let output = host.nsl(run(&[], &["true"])).as_user().run();
    output.assert_refused(125, &["mount proc on /proc: Operation not permitted", "hides parts", "--proc host"]);
    let script = "cat /proc/self/comm; test $(readlink /proc/self) != 2 && echo the outer number; head -c 1 /proc/interrupts 2>&-
        ls -A /sys/firmware /proc/acpi 2>/dev/null | grep -v :; ls /sys/class/net; (: >> /proc/sys/kernel/hostname) 2>/dev/null || echo safe
        ls /proc/1/root/ 2>/dev/null; true";
    let output = host.nsl(run(&["--proc", "host"], &["sh", "-c", script])).as_user().run();
    output.assert_prints("cat\nthe outer number\n\nlo\nsafe");
    // Root of the host would find a way out there.
    host.nsl(run(&["--proc", "host"], &["true"])).run().assert_refused(125, &["--proc host", "--userns auto"]);
    let options = ["--proc", "host", "--userns", "auto"];
    let script = "cat /proc/self/comm; ls /proc/1/root/ 2>/dev/null; echo done";
    host.nsl(run(&options, &["sh", "-c", script])).run().assert_prints("cat\ndone");
}

#[test]
fn a_sandbox_that_does_not_let_nsl_make_another_says_what_would() {
    let host = crate::host!();
    let inner = [&[NSL][..], &run(&[], &["true"])].concat();
    let options = ["-v", "/run/bin/nsl:/run/bin/nsl"];
    for output in [host.nsl(run(&options, &inner)).run(), host.nsl(run(&options, &inner)).as_user().run()] {
        output.assert_refused(125, &["--nested"]);
    }
}

#[test]
fn without_clone3_another_call_makes_the_namespaces() {
    let host = crate::host!("perl");
    let words = [&[NSL][..], &run(&[], &["cat", "/proc/1/comm"])].concat();
    filtered(&host, &words).run().assert_prints("nsl-init");
    filtered(&host, &words).as_user().run().assert_prints("nsl-init");
}

#[test]
fn whoever_refuses_a_user_namespace_is_named() {
    let mut host = crate::host!("perl");
    let words = [&[NSL][..], &run(&[], &["true"])].concat();
    let denied = |host: &Host| filtered(host, &words).env("DENY", "1").as_user().run();
    let step = "create namespaces (mount pid ipc uts cgroup net user): Operation not permitted";
    denied(&host).assert_refused(125, &[step, "a seccomp filter", "seccomp=unconfined"]);
    // Neither this kernel nor this machine has these settings: another file stands for each.
    host.sh("mount -t tmpfs tmpfs /proc/sys/kernel; echo 0 > /proc/sys/kernel/unprivileged_userns_clone");
    host.accept();
    denied(&host).assert_refused(125, &[step, "sudo sysctl kernel.unprivileged_userns_clone=1"]);
    host.sh("echo 1 > /proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    denied(&host).assert_refused(125, &[step, "AppArmor", "kernel.apparmor_restrict_unprivileged_userns=0"]);
    // It can also let the namespace be made, and what is done in it be denied.
    let bounded = [&["--bounding-set=-sys_admin,-setfcap", "--inh-caps=-sys_admin,-setfcap"][..], &words].concat();
    let bounded = |host: &Host| host.command("setpriv", &bounded).run();
    let step = "map user 0 and group 0 to themselves: Operation not permitted";
    bounded(&host).assert_refused(125, &[step, "AppArmor"]);
    host.sh("umount /proc/sys/kernel");
    host.accept();
    bounded(&host).assert_refused(125, &[step, "CAP_SETFCAP"]);
}

#[test]
fn user_namespaces_as_deep_as_they_can_be_are_told() {
    let host = crate::host!();
    // Each goes one deeper; where that can't be, nsl can't either.
    let words = format!(
        "unshare --user --map-root-user true 2>/dev/null && exec unshare --user --map-root-user sh {DIR}/deeper
         exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin {NSL} run --network none -- true"
    );
    std::fs::write(host.path(format!("{DIR}/deeper")), words).expect("write the script");
    let output = host.command("sh", [format!("{DIR}/deeper")]).run();
    output.assert_refused(125, &["No space left on device", "nested 32 deep"]);
}

#[test]
fn a_chroot_around_nsl_is_told() {
    let host = crate::host!();
    let script = format!(
        "mkdir {DIR}/j; mount --rbind / {DIR}/j
         exec chroot --userspec={USER}:{USER} {DIR}/j {NSL} run --network none -- true"
    );
    let output = host.command("unshare", ["--mount", "--propagation", "private", "sh", "-ec", &script]).run();
    output.assert_refused(125, &["create namespaces", "Operation not permitted", "in a chroot"]);
}
