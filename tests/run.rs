//! What the command is given, and what comes back from it.

use crate::harness::{DIR, NSL};
use std::os::unix::ffi::OsStrExt;

/// The capabilities of root inside: see launcher/src/security/mod.rs.
const CAPABILITIES: &str = "00000000800405fb";

#[test]
fn exit_code_of_the_command_is_forwarded() {
    let host = crate::host!();
    for code in [0, 1, 7, 125, 255] {
        host.nsl(["run", "--", "sh", "-c", &format!("exit {code}")]).run().assert_code(code).assert_quiet();
    }
}

#[test]
fn a_signal_that_ends_the_command_becomes_128_plus_its_number() {
    let host = crate::host!();
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139), ("34", 162), ("64", 192)] {
        let script = format!("ulimit -c 0; kill -{signal} $$");
        host.nsl(["run", "--network", "none", "--", "bash", "-c", &script]).run().assert_code(code).assert_quiet();
    }
}

#[test]
fn command_has_an_init_of_its_own_as_pid_1() {
    let host = crate::host!();
    let script = "cat /proc/1/comm; echo $$; cat /proc/$$/status | grep PPid";
    host.nsl(["run", "--", "sh", "-c", script]).run().assert_prints("nsl-init\n2\nPPid:\t1");
}

#[test]
fn command_has_namespaces_of_its_own() {
    let host = crate::host!();
    let namespaces = |network: &str| {
        let script = "cd /proc/self/ns && readlink mnt pid ipc uts cgroup net user";
        let inside = host.nsl(["run", "--network", network, "--", "sh", "-c", script]).run();
        inside.assert_code(0).assert_quiet();
        let (inside, outside) = (inside.stdout(), host.sh(script));
        let same = inside.lines().zip(outside.lines()).filter(|(inside, outside)| inside == outside);
        same.filter_map(|(name, _)| Some(name.split_once(':')?.0.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(namespaces("veth"), ["user"]);
    assert_eq!(namespaces("none"), ["user"]);
    assert_eq!(namespaces("host"), ["net", "user"]);
}

#[test]
fn environment_is_the_callers_changed_by_e() {
    let host = crate::host!();
    let options = ["-e", "B=2", "-e", "A=3", "-e", "EMPTY=", "-e", "GIVEN", "-e", "NOT_THERE", "-e", "ODD=a=b\nc"];
    let args = ["run"].into_iter().chain(options).chain(["--", "env", "-0"]);
    let output = host.nsl(args).env("A", "1").env("GIVEN", "yes").run();
    output.assert_code(0).assert_quiet();
    let stdout = output.stdout();
    let mut entries: Vec<_> = stdout.split_terminator('\0').filter(|entry| !entry.starts_with("PATH=")).collect();
    entries.sort_unstable();
    assert_eq!(entries, ["A=3", "B=2", "EMPTY=", "GIVEN=yes", "HOME=/root", "LANG=C.UTF-8", "ODD=a=b\nc"], "{output}");
}

#[test]
fn command_starts_in_the_callers_directory_or_the_one_asked_for() {
    let host = crate::host!();
    host.nsl(["run", "--", "pwd"]).cwd("/usr/share").run().assert_prints("/usr/share");
    host.nsl(["run", "-w", "/usr/lib", "--", "pwd"]).cwd("/usr/share").run().assert_prints("/usr/lib");
    let missing = host.nsl(["run", "-w", "/nowhere", "--", "pwd"]).run();
    missing.assert_refused(125, &["change the working directory to /nowhere", "No such file", "hint"]);
}

#[test]
fn command_starts_in_the_root_where_the_callers_directory_is_not_seen() {
    let host = crate::host!();
    let output = host.nsl(["run", "--", "pwd"]).cwd(DIR).run();
    output.assert_code(0).assert_stdout("/");
    assert!(output.stderr().contains(&format!("{DIR} is not seen inside")), "{output}");
    host.nsl(["run", "-v", "/tmp:/tmp", "--", "pwd"]).cwd(DIR).run().assert_prints(DIR);
}

#[test]
fn hostname_is_the_sandboxs_own() {
    let host = crate::host!();
    let script = "cat /proc/sys/kernel/hostname /etc/hostname";
    host.nsl(["run", "--", "sh", "-c", script]).run().assert_prints("nsl\nnsl");
    let before = host.sh("uname -n");
    host.nsl(["run", "--hostname", "web-1", "--", "sh", "-c", script]).run().assert_prints("web-1\nweb-1");
    assert_eq!(host.sh("uname -n"), before);
    let hosts = host.nsl(["run", "--hostname", "web-1.lan", "--", "cat", "/etc/hosts"]).run();
    assert!(hosts.stdout().contains(" web-1.lan web-1\n"), "{hosts}");
}

#[test]
fn stdin_reaches_stdout_byte_by_byte() {
    let host = crate::host!();
    let bytes: Vec<u8> = (0..6_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let output = host.nsl(["run", "--", "cat"]).stdin(bytes.clone()).run();
    output.assert_code(0).assert_quiet();
    assert!(output.stdout == bytes, "{} bytes came back of {}", output.stdout.len(), bytes.len());
}

#[test]
fn stdout_and_stderr_stay_apart() {
    let host = crate::host!();
    let output = host.nsl(["run", "--", "sh", "-c", "echo out; echo err >&2; echo out; echo err >&2"]).run();
    output.assert_code(0).assert_stdout("out\nout");
    assert_eq!(output.stderr(), "err\nerr\n");
}

#[test]
fn a_closed_stdout_ends_the_command_as_it_would_outside() {
    let host = crate::host!();
    let script = format!("set -o pipefail; {NSL} run -- yes | head -n 1");
    let output = host.command("bash", ["-c", &script]).run();
    output.assert_code(141).assert_stdout("y");
}

#[test]
fn invariant_3_command_has_no_descriptors_but_the_standard_streams() {
    let host = crate::host!();
    let open = "exec 3</etc/passwd 4</ 5<>/dev/null 9</usr 63</etc 200</proc 1000</etc/group";
    for network in ["veth", "none"] {
        // 3 is the directory that ls reads.
        let script = format!("{open}; exec {NSL} run --network {network} -- ls /proc/self/fd");
        host.command("bash", ["-c", &script]).run().assert_prints("0\n1\n2\n3");
    }
}

#[test]
fn streams_that_the_caller_has_closed_are_survived() {
    let host = crate::host!();
    let script = format!("{NSL} run -- sh -c 'exit 3' <&- >&-");
    host.command("bash", ["-c", &script]).run().assert_code(3).assert_quiet();
    let script = format!("{NSL} run -- sh -c 'ls /proc/self/fd; exit 4' 2>&- </dev/null");
    host.command("bash", ["-c", &script]).run().assert_code(4);
}

#[test]
fn umask_of_the_caller_is_kept() {
    let host = crate::host!();
    for mask in ["0000", "0027", "0777"] {
        let script = format!("umask {mask}; exec {NSL} run -- bash -c umask");
        host.command("bash", ["-c", &script]).run().assert_prints(mask);
    }
}

#[test]
fn command_has_the_callers_signal_mask_and_default_dispositions() {
    let host = crate::host!();
    let status = ["run", "--", "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
    let expected = |blocked: &str| format!("SigBlk:\t{blocked}\nSigIgn:\t{}", "0".repeat(16));
    host.nsl(status).run().assert_prints(&expected("0000000000000000"));
    let inherited = ["--ignore-signal=HUP", "--ignore-signal=CHLD", "--block-signal=USR1", "--block-signal=40", NSL];
    let blocked = host.command("env", inherited.into_iter().chain(status)).run();
    // Bit 9 for SIGUSR1, 39 for signal 40.
    blocked.assert_prints(&expected("0000008000000200"));
}

#[test]
fn capabilities_are_bound_unless_privileged() {
    let host = crate::host!();
    let of = |options: &[&str]| {
        let command = ["--", "grep", "^Cap", "/proc/self/status"];
        let output = host.nsl(["run"].iter().chain(options).chain(&command)).run();
        output.assert_code(0).assert_quiet();
        let stdout = output.stdout();
        stdout.lines().filter_map(|line| Some(line.split_once('\t')?.1.to_owned())).collect::<Vec<_>>()
    };
    let none = "0".repeat(16);
    assert_eq!(of(&[]), [&none, CAPABILITIES, CAPABILITIES, CAPABILITIES, &none]);
    assert_eq!(of(&["-u", "5"]), [&none, &none, &none, CAPABILITIES, &none]);
    let outside = host.sh("grep ^CapEff /proc/self/status");
    assert_eq!(of(&["--privileged"])[2], outside.trim().trim_start_matches("CapEff:\t"));
}

#[test]
fn command_runs_as_the_user_asked_for() {
    let host = crate::host!();
    let script = "id -u; id -g; grep ^Groups /proc/self/status | tr -d '\\t '; touch /usr/x 2>/dev/null || echo no";
    host.nsl(["run", "-u", "1234:5678", "--", "sh", "-c", script]).run().assert_prints("1234\n5678\nGroups:\nno");
    host.nsl(["run", "-u", "7", "--", "sh", "-c", "id -u; id -g"]).run().assert_prints("7\n7");
}

#[test]
fn an_ordinary_user_stays_one_and_needs_no_root() {
    let host = crate::host!();
    let script = "id -u; id -g; cat /proc/1/comm; grep -E '^Cap(Eff|Prm|Amb)' /proc/self/status | cut -f2 | uniq; \
        (echo >> /usr/bin/env) 2>/dev/null || echo no; touch /tmp/x && ls /tmp; ls /sys/class/net";
    let output = host.nsl(["run", "--network", "none", "--", "bash", "-c", script]).as_user().run();
    output.assert_prints(&format!("1000\n1000\nnsl-init\n{}\nno\nx\nlo", "0".repeat(16)));
    let told = host.nsl(["run", "--", "true"]).as_user().run();
    told.assert_code(0);
    assert!(told.stderr().contains("no network inside but lo"), "{told}");
}

#[test]
fn arguments_are_handed_on_as_bytes() {
    let host = crate::host!();
    let odd: [&[u8]; 9] =
        [b"", b"a b", b"x\ny", b"\xff\xfe\x01", b"*", b"$HOME", b"-v", b"--help", "\u{1f980}".as_bytes()];
    let odd = odd.map(std::ffi::OsStr::from_bytes);
    let words = ["run", "--", "printf", "%s\\0"].map(std::ffi::OsStr::new);
    let output = host.nsl(words.into_iter().chain(odd)).run();
    output.assert_code(0).assert_quiet();
    let words: Vec<_> = output.stdout.split(|byte| *byte == 0).take(odd.len()).collect();
    assert_eq!(words, odd.map(OsStrExt::as_bytes), "{output}");
}

#[test]
fn two_hundred_thousand_arguments_arrive() {
    let host = crate::host!();
    let script = format!("ulimit -s unlimited; exec {NSL} run -- sh -c 'echo $# $200000' sh $(seq 200000)");
    let script = script.replace("$200000", "${200000}");
    host.command("bash", ["-c", &script]).run().assert_prints("200000 200000");
}

#[test]
fn a_huge_environment_arrives() {
    let host = crate::host!();
    let script = format!(
        "ulimit -s unlimited; value=$(printf %0100000d 0); for n in {{1..40}}; do export V$n=$value; done; \
         exec {NSL} run -- sh -c 'echo ${{#V1}} ${{#V40}}'"
    );
    host.command("bash", ["-c", &script]).run().assert_prints("100000 100000");
}

#[test]
fn scripts_without_a_first_line_run_as_in_a_shell() {
    let host = crate::host!();
    host.sh(&format!("echo 'exit 9' > {DIR}/script; chmod +x {DIR}/script"));
    host.nsl(["run", "-v", &format!("{DIR}:/mnt"), "--", "/mnt/script"]).run().assert_code(9).assert_quiet();
}

#[test]
fn nsl_runs_inside_nsl() {
    let host = crate::host!();
    let volume = format!("{NSL}:{NSL}");
    let inner = ["run", "--network", "none", "--empty", "-v", "/usr:/usr:ro", "-v", "/lib:/lib", "-v", "/lib64:/lib64"];
    let outer = ["run", "--privileged", "-v", &volume, "--", NSL];
    let output = host.nsl(outer.into_iter().chain(inner).chain(["--", "/usr/bin/cat", "/proc/1/comm"])).run();
    output.assert_prints("nsl-init");
}
