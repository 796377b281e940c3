//! System calls from inside: what the default filter answers, how it opens, what profiles do; and that programs run.
//! That each filter answers every call as its policy says is tested beside the compiler.

use crate::harness::{DIR, Host, Output};
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::fmt::Write;
use syscalls::Sysno;

/// Calls what its lines name, `NAME NUMBER ARGUMENT…`, and tells the errno of each.
const PROBE: &str = r#"while (<STDIN>) {
    my ($name, @words) = split;
    $! = 0;
    my $result = syscall($words[0] + 0, map { $_ + 0 } @words[1 .. $#words]);
    printf "%s %d\n", $name, $result == -1 ? $! : 0;
}"#;

type Call = (Sysno, &'static [u64]);

/// What the calls come to in `nsl run --network none OPTIONS`.
fn errnos(host: &Host, options: &[&str], calls: &[Call]) -> Vec<Errno> {
    let mut lines = String::new();
    for (call, args) in calls {
        let args: Vec<_> = args.iter().map(u64::to_string).collect();
        let _ = writeln!(lines, "{call} {} {}", *call as i32, args.join(" "));
    }
    let words = ["run", "--network", "none"].iter().chain(options).chain(&["--", "perl", "-e", PROBE]);
    let output = host.nsl(words).stdin(lines).run();
    output.assert_code(0).assert_quiet();
    let errno =
        |line: &str| Errno::from_raw(line.split(' ').next_back().and_then(|word| word.parse().ok()).expect("an errno"));
    let errnos: Vec<_> = output.stdout().lines().map(errno).collect();
    assert_eq!(errnos.len(), calls.len(), "{output}");
    errnos
}

#[track_caller]
fn assert_all(host: &Host, options: &[&str], calls: &[Call], expected: Errno) {
    for ((call, args), errno) in calls.iter().zip(errnos(host, options, calls)) {
        assert_eq!(errno, expected, "{call}({args:x?}) with {options:?}");
    }
}

/// Fails if the kernel itself answers as the filter does, so that nothing is learned from the call.
#[track_caller]
fn assert_none(host: &Host, options: &[&str], calls: &[Call], unexpected: Errno) {
    for ((call, args), errno) in calls.iter().zip(errnos(host, options, calls)) {
        assert_ne!(errno, unexpected, "{call}({args:x?}) with {options:?}");
    }
}

const NEW_USER: u64 = 0x1000_0000;
const UNCONFINED: [&str; 2] = ["--seccomp", "unconfined"];

/// Without the filter, the kernel answers otherwise to these: bad descriptors, addresses and numbers are looked at
/// before privileges.
const FORBIDDEN: &[Call] = &[
    (Sysno::mount, &[1, 1, 1, 0, 0]),
    (Sysno::umount2, &[1, 0]),
    (Sysno::open_tree, &[u32::MAX as u64, 1, 0]),
    (Sysno::fsconfig, &[u32::MAX as u64, 0, 0, 0, 0]),
    (Sysno::setns, &[u32::MAX as u64, 0]),
    (Sysno::add_key, &[1, 1, 0, 0, 0]),
    (Sysno::request_key, &[1, 1, 0, 0]),
    (Sysno::keyctl, &[9999, 0, 0, 0, 0]),
    (Sysno::io_uring_setup, &[0, 0]),
    (Sysno::io_uring_enter, &[u32::MAX as u64, 0, 0, 0, 0, 0]),
    (Sysno::io_uring_register, &[u32::MAX as u64, 0, 0, 0]),
    (Sysno::perf_event_open, &[1, 0, 0, 0, 0]),
    (Sysno::userfaultfd, &[3]),
    (Sysno::clock_settime, &[99, 0]),
    (Sysno::quotactl_fd, &[u32::MAX as u64, 0, 0, 0]),
    (Sysno::name_to_handle_at, &[u32::MAX as u64, 1, 0, 0, 0]),
    (Sysno::move_pages, &[0, 0, 0, 0, 0, 0]),
    (Sysno::fanotify_mark, &[u32::MAX as u64, 0, 0, 0, 0]),
    (Sysno::personality, &[0x40_0000]),
    (Sysno::unshare, &[NEW_USER]),
    // TIOCSTI and TIOCLINUX on what is no terminal; the same with bits that the kernel drops (CVE-2019-10063).
    (Sysno::ioctl, &[0, 0x5412, 0]),
    (Sysno::ioctl, &[0, 0x541c, 0]),
    (Sysno::ioctl, &[0, 1 << 32 | 0x5412, 0]),
    (Sysno::ioctl, &[0, 0xdead_beef_0000_541c, 0]),
];

/// The kernel asks for a privilege first.
const FORBIDDEN_TWICE: &[Call] = &[
    (Sysno::pivot_root, &[1, 1]),
    (Sysno::fsopen, &[1, 0]),
    (Sysno::fsmount, &[0, 0, 0]),
    (Sysno::fspick, &[0, 1, 0]),
    (Sysno::move_mount, &[0, 1, 0, 1, 0]),
    (Sysno::mount_setattr, &[0, 1, 0, 0, 0]),
    (Sysno::sethostname, &[1, 1]),
    (Sysno::setdomainname, &[1, 1]),
    (Sysno::bpf, &[0, 0, 0]),
    (Sysno::syslog, &[3, 0, 0]),
    (Sysno::open_by_handle_at, &[0, 0, 0]),
    (Sysno::init_module, &[0, 0, 0]),
    (Sysno::finit_module, &[0, 0, 0]),
    (Sysno::delete_module, &[1, 0]),
    (Sysno::kexec_load, &[0, 0, 0, 0]),
    (Sysno::kexec_file_load, &[0, 0, 0, 0, 0]),
    (Sysno::reboot, &[0, 0, 0, 0]),
    (Sysno::swapon, &[1, 0]),
    (Sysno::swapoff, &[1]),
    (Sysno::settimeofday, &[0, 0]),
    (Sysno::acct, &[1]),
    (Sysno::quotactl, &[0, 1, 0, 0]),
    (Sysno::vhangup, &[]),
    (Sysno::lookup_dcookie, &[0, 0, 0]),
    (Sysno::migrate_pages, &[0, 0, 0, 0]),
    (Sysno::fanotify_init, &[0, 0]),
    (Sysno::clone, &[NEW_USER + 17, 0, 0, 0, 0]),
];

#[test]
fn what_is_forbidden_fails_with_eperm() {
    let host = crate::host!("perl");
    assert_all(&host, &[], FORBIDDEN, Errno::EPERM);
    assert_all(&host, &[], FORBIDDEN_TWICE, Errno::EPERM);
    assert_none(&host, &UNCONFINED, FORBIDDEN, Errno::EPERM);
    #[cfg(target_arch = "x86_64")]
    {
        let calls: &[Call] =
            &[(Sysno::iopl, &[7]), (Sysno::ioperm, &[1 << 20, 1, 0]), (Sysno::modify_ldt, &[99, 0, 0])];
        assert_all(&host, &[], calls, Errno::EPERM);
        assert_none(&host, &UNCONFINED, calls, Errno::EPERM);
    }
}

#[test]
fn an_ordinary_user_has_the_same_filter() {
    let host = crate::host!("perl");
    let script = "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | tr -d '\\n'; unshare -U true";
    let output = host.nsl(["run", "--network", "none", "--", "sh", "-c", script]).as_user().run();
    output.assert_stdout("NoNewPrivs:\t1Seccomp:\t2");
    assert!(output.stderr().contains("Operation not permitted"), "{output}");
}

#[test]
fn what_is_not_known_is_not_there() {
    let host = crate::host!("perl");
    let words = ["run", "--network", "none", "--", "perl", "-e", PROBE];
    // The next numbers, numbers of x32, and of nothing at all.
    let lines: String =
        [480, 512, 600, 0x4000_0000, 0x4000_0027, 0x7fff_ffff].map(|number| format!("n {number} 0\n")).concat();
    let output = host.nsl(words).stdin(lines).run();
    output.assert_prints(&["n 38"; 6].join("\n"));
    assert_all(&host, &[], &[(Sysno::clone3, &[0, 0])], Errno::ENOSYS);
    assert_none(&host, &UNCONFINED, &[(Sysno::clone3, &[0, 0])], Errno::ENOSYS);
}

/// A program that asks for its process ID by the table of i386.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_table_of_another_architecture_is_not_there() {
    let host = crate::host!("gcc");
    let program = r#"int main(void) { int result; __asm__ volatile("int $0x80" : "=a"(result) : "a"(20)); return result < 0 ? -result : 0; }"#;
    host.command("gcc", ["-x", "c", "-o", "/tmp/test/compat", "-"]).stdin(program).run().assert_code(0);
    let run = |options: &[&str]| {
        let words =
            ["run", "--network", "none", "-v", "/tmp/test:/mnt"].iter().chain(options).chain(&["--", "/mnt/compat"]);
        host.nsl(words).run().code
    };
    assert_eq!(run(&[]), Errno::ENOSYS as i32);
    // Unless the kernel was built without that table.
    assert!([0, 139].contains(&run(&UNCONFINED)));
}

#[test]
fn sockets_of_families_that_nobody_uses_are_not_there() {
    let host = crate::host!("perl");
    // AF_ALG, AF_VSOCK, AF_TIPC, AF_XDP; once with bits that the kernel drops.
    let calls: &[Call] = &[
        (Sysno::socket, &[38, 5, 0]),
        (Sysno::socket, &[40, 1, 0]),
        (Sysno::socket, &[30, 1, 0]),
        (Sysno::socket, &[44, 3, 0]),
        (Sysno::socket, &[(1 << 32) + 40, 1, 0]),
        (Sysno::socketpair, &[30, 1, 0, 0]),
    ];
    assert_all(&host, &[], calls, Errno::EAFNOSUPPORT);
    // These are there on every kernel that nsl works on; then one for who may read packets.
    let calls: &[Call] = &[(Sysno::socket, &[1, 1, 0]), (Sysno::socket, &[2, 1, 0]), (Sysno::socket, &[16, 3, 0])];
    assert_all(&host, &[], calls, Errno::UnknownErrno);
    let packets: &[Call] = &[(Sysno::socket, &[17, 3, 0])];
    assert_all(&host, &["--cap-add", "NET_RAW"], packets, Errno::UnknownErrno);
    assert_all(&host, &[], packets, Errno::EPERM);
}

#[test]
fn capabilities_open_what_goes_with_them() {
    let host = crate::host!("perl");
    let cases: &[(&[&str], Call)] = &[
        (&["--cap-add", "SYS_ADMIN"], (Sysno::setns, &[u32::MAX as u64, 0])),
        (&["--cap-add", "SYS_ADMIN"], (Sysno::fsopen, &[1, 0])),
        (&["--cap-add", "SYSLOG"], (Sysno::syslog, &[99, 0, 0])),
        (&["--cap-add", "SYS_TIME"], (Sysno::settimeofday, &[1, 0])),
        (&["--cap-add", "SYS_BOOT"], (Sysno::reboot, &[0, 0, 0, 0])),
        (&["--cap-add", "SYS_PTRACE"], (Sysno::userfaultfd, &[3])),
        (&["--cap-add", "DAC_READ_SEARCH"], (Sysno::open_by_handle_at, &[u32::MAX as u64, 1, 0])),
        (&["--cap-add", "SYS_NICE"], (Sysno::move_pages, &[0, 0, 0, 0, 0, 0])),
        (&["--cap-add", "PERFMON"], (Sysno::perf_event_open, &[1, 0, 0, 0, 0])),
        (&["--privileged", "--seccomp", "default"], (Sysno::bpf, &[99, 0, 0])),
        (&["--privileged"], (Sysno::keyctl, &[9999, 0, 0, 0, 0])),
    ];
    for (options, call) in cases {
        assert_none(&host, options, &[*call], Errno::EPERM);
    }
    assert_all(&host, &["--privileged", "--seccomp", "default"], &[(Sysno::keyctl, &[9999, 0, 0, 0, 0])], Errno::EPERM);
}

#[test]
fn namespaces_can_be_made_where_sandboxes_nest_and_nowhere_else() {
    let host = crate::host!();
    let script = "unshare --user --map-root-user --mount sh -c 'mount -t tmpfs tmpfs /mnt && echo made'";
    let run = |options: &[&str]| {
        host.nsl(["run", "--network", "none"].iter().chain(options).chain(&["--", "sh", "-c", script])).run()
    };
    for options in [&["--nested"][..], &["--nested", "--userns", "host"], &["--privileged"]] {
        run(options).assert_prints("made");
    }
    let refused = run(&[]);
    assert!(refused.code != 0 && refused.stderr().contains("Operation not permitted"), "{refused}");
}

#[test]
fn the_filter_is_there_without_no_new_privs_too() {
    let host = crate::host!();
    let words = [
        "run",
        "--network",
        "none",
        "--no-new-privs=false",
        "-u",
        "1000",
        "--",
        "grep",
        "^Seccomp:",
        "/proc/self/status",
    ];
    host.nsl(words).run().assert_prints("Seccomp:\t2");
    let words = ["run", "--network", "none", "--seccomp", "unconfined", "--", "grep", "^Seccomp:", "/proc/self/status"];
    host.nsl(words).run().assert_prints("Seccomp:\t0");
}

/// `nsl run --seccomp PROFILE OPTIONS -- sh -c SCRIPT`.
fn with_profile(host: &Host, profile: &str, options: &[&str], script: &str) -> Output {
    std::fs::write(host.path(format!("{DIR}/profile.json")), profile).expect("write the profile");
    let words = ["run", "--network", "none", "--seccomp", "/tmp/test/profile.json"];
    host.nsl(words.iter().chain(options).chain(&["--", "sh", "-c", script])).run()
}

#[test]
fn a_profile_decides_in_the_place_of_the_default() {
    let host = crate::host!();
    let profile = |action: &str, filter: &str| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["mkdir", "mkdirat"], {action} {filter}}}]}}"#
        )
    };
    let script = "mkdir /tmp/x; unshare --user true && echo unshared";
    let errno = r#""action": "SCMP_ACT_ERRNO", "errnoRet": 28"#;
    let output = with_profile(&host, &profile(errno, ""), &[], script);
    assert!(output.stderr().contains("No space left"), "{output}");
    output.assert_stdout("unshared");
    let killed = with_profile(&host, &profile(r#""action": "SCMP_ACT_KILL_PROCESS""#, ""), &[], "exec mkdir /tmp/x");
    killed.assert_code(128 + 31);
    let unless = r#", "excludes": {"caps": ["CAP_NET_ADMIN"]}"#;
    let output = with_profile(&host, &profile(errno, unless), &["--cap-add", "NET_ADMIN"], script);
    output.assert_prints("unshared");
}

#[test]
fn a_profile_that_cannot_be_used_is_refused_before_anything_happens() {
    let host = crate::host!();
    let refused = |profile: &str, words: &[&str]| {
        let words = [&["/tmp/test/profile.json"], words].concat();
        with_profile(&host, profile, &[], "echo started").assert_refused(125, &words);
        with_profile(&host, profile, &["--dry-run"], "true").assert_refused(125, &words);
    };
    refused("{\n  \"defaultAction\": 5\n}", &["line 2, column 20: invalid type"]);
    refused("{\n  \"default\tAction\": \"\"\n}", &["line 2, column"]);
    refused(r#"{"defaultAction": "SCMP_ACT_ERRNO"}"#, &["does not allow execve", "hint"]);
    refused(
        r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#,
        &["line 1, column 36: SCMP_ACT_NOTIFY", "a program that answers"],
    );
    host.nsl(["run", "--seccomp", "/no/profile", "--", "true"])
        .run()
        .assert_refused(125, &["/no/profile: No such file"]);
    host.assert_clean();
}

#[test]
fn a_sandbox_in_which_no_filter_can_be_loaded_is_told() {
    let host = crate::host!();
    let profile =
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["seccomp"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let inner = |options: &str| {
        let script = format!("exec nsl run --network none {options} -- echo started");
        with_profile(&host, profile, &["--nested", "-v", "/run/bin/nsl:/usr/local/bin/nsl"], &script)
    };
    inner("").assert_refused(125, &["load the seccomp filter", "Operation not permitted", "--seccomp unconfined"]);
    inner("--seccomp unconfined").assert_prints("started");
}

/// Programs that are installed, a line each: what they print last.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("perl", "perl -e 'fork // die; wait; print qq(done\\n)'", "done"),
    ("bash", "bash -c 'set -o pipefail; printf x | tee >(cat >/dev/null) | wc -c'", "1"),
    ("gcc", "cd /tmp && printf 'int main(){return 7;}' > a.c && gcc -o a a.c; ./a; echo $?", "7"),
    ("make", "cd /tmp && printf 'all: a b c\\na b c:\\n\\t@true\\n' > Makefile && make -j3 && echo made", "made"),
    (
        "git",
        "cd /tmp && git init -q g && cd g && git -c user.name=x -c user.email=x commit -q --allow-empty -m one && git log --format=%s",
        "one",
    ),
    ("strace", "strace -f -o /tmp/log sh -c 'ls / | cat' >/dev/null && grep -c 'exited with 0' /tmp/log", "3"),
    ("gdb", "gdb -batch -ex run -ex 'info inferiors' --args /bin/true 2>&1 | grep -c 'exited normally'", "1"),
    ("setarch", "setarch -R true && setarch linux32 uname -s", "Linux"),
    (
        "node",
        "node -e 'const w=require(\"worker_threads\"); require(\"fs\").readFile(\"/etc/passwd\", e => console.log(e ? e : \"read\"))'",
        "read",
    ),
    ("apt-get", "apt-get --version >/dev/null && dpkg --version > /dev/null && echo installed", "installed"),
    (
        "sqlite3",
        "sqlite3 /tmp/db 'pragma journal_mode=wal; create table t(x); insert into t values(5); select x from t'",
        "5",
    ),
    ("java", "java -version 2>/dev/null && echo ran", "ran"),
    ("busybox", "busybox sh -c 'busybox ls / | busybox wc -l >/dev/null; echo ran'", "ran"),
];

const PYTHON: &str = "
import ctypes, mmap, multiprocessing, os, select, signal, socket, subprocess, tempfile, threading, time
threading.Thread(target=time.sleep, args=(0,)).start()
assert subprocess.check_output(['echo', 'x']) == b'x\\n'
assert multiprocessing.get_context('fork').Pool(2).map(abs, [-1, 2]) == [1, 2]
with socket.create_server(('127.0.0.1', 0)) as s: socket.create_connection(s.getsockname()).close()
m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
select.epoll().close(); os.sched_yield(); tempfile.TemporaryFile().close(); time.clock_gettime(0)
os.posix_spawn('/bin/true', ['true'], os.environ); os.wait()
print('done')";

#[test]
fn programs_run_as_they_do_outside() {
    let host = crate::host!();
    let is_there = |tool: &str| host.command("sh", ["-c", &format!("command -v {tool}")]).run().code == 0;
    let mut ran = BTreeMap::new();
    for (tool, script, expected) in PROGRAMS.iter().filter(|(tool, ..)| is_there(tool)) {
        let output = host.nsl(["run", "--", "sh", "-c", script]).run();
        output.assert_code(0);
        ran.insert(tool, output.stdout().lines().next_back().unwrap_or_default() == *expected);
        assert!(ran[tool], "{output}");
    }
    if is_there("python3") {
        host.nsl(["run", "--", "python3", "-c", PYTHON]).run().assert_prints("done");
    }
    assert!(ran.len() > 1, "no programs to run");
}
