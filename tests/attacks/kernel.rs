//! On the kernel: what only matters to an attacker, and had its holes, is not there for the command.

use super::calls::perl;
use super::{held, sandbox, through};
use std::fmt::Write;

/// Attacks that are a system call, and the options with which it can be made.
const CALLS: [(&str, &[&str], &str); 17] = [
    // CVE-2022-0185 and many more: in a user namespace of its own the command would have every capability. CLONE_NEWUSER.
    ("a user namespace by unshare", &["--nested"], "told sys('unshare', 0x10000000) == 0"),
    (
        "a user namespace by clone",
        &["--nested"],
        "my $pid = sys('clone', 0x10000000 | 17, 0, 0, 0, 0); exit unless $pid; told $pid > 0; wait",
    ),
    (
        "a user namespace by clone3",
        &["--nested"],
        "my $args = pack 'Q8', 0x10000000, 0, 0, 0, 17, 0, 0, 0; my $pid = sys('clone3', $args, 64);
         exit unless $pid; told $pid > 0; wait",
    ),
    // CVE-2022-0185 was a mistake in the parser behind fsopen.
    ("a file system's context", &["--privileged"], "told sys('fsopen', 'tmpfs', 0) >= 0"),
    ("a mount", &["--privileged"], "told sys('mount', 'none', '/mnt', 'tmpfs', 0, 0) == 0"),
    // The namespace of its parent, as one who is let in could enter the host's.
    (
        "a namespace to enter",
        &["--privileged"],
        "open my $namespace, '<', '/proc/self/ns/mnt' or die; told sys('setns', fileno $namespace, 0) == 0",
    ),
    // Operations on a ring pass no filter.
    (
        "a ring of io_uring",
        &["--seccomp", "unconfined"],
        "my $p = chr(0) x 120; told sys('io_uring_setup', 4, $p) >= 0",
    ),
    ("a hypervisor's socket", &["--seccomp", "unconfined"], "told sys('socket', 40, 1, 0) >= 0"),
    ("faults to handle", &["--seccomp", "unconfined", "--cap-add", "SYS_PTRACE"], "told sys('userfaultfd', 0) >= 0"),
    (
        "a program for the kernel",
        &["--privileged"],
        "my $attributes = pack('LLLLL', 2, 4, 4, 1, 0) . chr(0) x 100; told sys('bpf', 0, $attributes, 72) >= 0",
    ),
    (
        "counters of the whole machine",
        &["--privileged"],
        "my $attributes = pack('LLQ', 1, 112, 0) . chr(0) x 96; told sys('perf_event_open', $attributes, -1, 0, -1, 0) >= 0",
    ),
    ("the kernel's log", &["--privileged"], "my $log = ' ' x 100; told sys('syslog', 3, $log, 100) >= 0"),
    // With nothing to load: who may gets another error than EPERM.
    (
        "a module",
        &["--privileged"],
        "sys('finit_module', -1, '', 0); $!{EPERM} or $! = 0 or print qq(through\\n); told 0",
    ),
    ("another kernel", &["--privileged"], "sys('kexec_load', 0, 99, 0, 0); $!{EPERM} or print qq(through\\n); told 0"),
    // CVE-2016-8655, CVE-2020-14386 and more were in packet sockets. AF_PACKET; AF_INET with IPPROTO_RAW.
    ("a packet socket", &["--cap-add", "NET_RAW"], "told sys('socket', 17, 3, 0) >= 0"),
    ("a raw socket", &["--cap-add", "NET_RAW"], "told sys('socket', 2, 3, 255) >= 0"),
    (
        "a device of the network",
        &["--privileged"],
        "my $up = pack 'a16s', 'lo', 0; use Socket; socket my $s, AF_INET,
         SOCK_DGRAM, 0; told sys('ioctl', fileno $s, 0x8914, $up) == 0",
    ),
];

#[test]
fn system_calls_that_only_attackers_need_are_refused() {
    let host = crate::host!("perl");
    let mut wrong = String::new();
    for (what, options, script) in CALLS {
        let script = perl(script);
        let command = ["perl", "-e", &script];
        let output = sandbox(&host, &[], &command).run();
        if super::verdict(&output) {
            let _ = writeln!(wrong, "{what}: it came through\n{output}");
        }
        let output = sandbox(&host, options, &command).run();
        if !super::verdict(&output) {
            let _ = writeln!(wrong, "{what}: it is no attack\n{output}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The same for an ordinary user, who has no privilege to lose, but whose kernel is everybody's.
#[test]
fn an_ordinary_users_sandbox_has_no_more_of_the_kernel() {
    let host = crate::host!("perl");
    for (what, options, script) in CALLS {
        let script = perl(script);
        let output = sandbox(&host, &[], &["perl", "-e", &script]).as_user().run();
        assert!(!super::verdict(&output), "{what}: it came through\n{output}");
        if options == ["--nested"] {
            through(sandbox(&host, options, &["perl", "-e", &script]).as_user());
        }
    }
}

/// CVE-2022-0492: a cgroup's `release_agent` is a program that the kernel executes on the host.
#[test]
fn no_control_group_can_be_mounted() {
    let host = crate::host!();
    let attack = "for hierarchy in devices memory pids freezer rdma none,name=systemd; do
            mount -t cgroup -o $hierarchy none /mnt && [ -w /mnt/release_agent ] && echo through && umount /mnt
        done 2>&-; mount -t cgroup2 none /mnt 2>&- && [ -w /mnt/cgroup.procs ] && echo through; echo held";
    held(sandbox(&host, &[], &["sh", "-c", attack]));
    let as_root_of_another = "unshare --user --map-root-user --mount --cgroup sh -c \"$1\" 2>&- || echo held";
    held(sandbox(&host, &[], &["sh", "-c", as_root_of_another, "sh", attack]));
    held(sandbox(&host, &[], &["sh", "-c", as_root_of_another, "sh", attack]).as_user());
    through(sandbox(&host, &["--privileged"], &["sh", "-c", attack]));
    held(sandbox(&host, &[], &["sh", "-c", attack]).as_user());
}

/// Keyrings belong to users, not to namespaces.
#[test]
fn keys_of_the_host_are_out_of_reach() {
    let host = crate::host!("perl");
    // KEYCTL_SEARCH, _READ and at the end _UNLINK; -4 is the keyring of the user.
    let name = format!("nsl-attack-{}", std::process::id());
    let add = perl(&format!("told sys('add_key', 'user', '{name}', 'secret', 6, -4) > 0"));
    through(host.command("perl", ["-e", &add]));
    let attack = perl(&format!(
        "my $key = sys('keyctl', 10, -4, 'user', '{name}', 0); my $secret = ' ' x 6;
         told $key > 0 && sys('keyctl', 11, $key, $secret, 6) == 6 && $secret eq 'secret'"
    ));
    let open = ["--seccomp", "unconfined"];
    let result = std::panic::catch_unwind(|| {
        through(sandbox(&host, &open, &["perl", "-e", &attack]));
        held(sandbox(&host, &[], &["perl", "-e", &attack]));
    });
    let remove = perl(&format!("sys('keyctl', 9, sys('keyctl', 10, -4, 'user', '{name}', 0), -4)"));
    host.command("perl", ["-e", &remove]).run();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}
