//! What cannot be: one line that says so, the right exit code, and a host that is as it was.

use crate::harness::{DIR, Host, NSL, USER};

/// Runs `nsl run OPTIONS -- true` as root, which must be refused with these words, and change nothing.
#[track_caller]
fn refused(host: &Host, options: &[&str], words: &[&str]) {
    let output = host.nsl(["run"].iter().chain(options).chain(&["--", "true"])).run();
    output.assert_refused(125, words);
    assert_nothing_was_changed(host);
}

/// Neither something left, nor the things that nsl lets stay.
#[track_caller]
fn assert_nothing_was_changed(host: &Host) {
    host.assert_clean();
    assert_eq!(host.sh("nft list ruleset; cat /proc/sys/net/ipv4/ip_forward"), "0\n");
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused_in_one_line() {
    let host = crate::host!();
    let cases: &[(&[&str], &[&str])] = &[
        (&["walk"], &["'walk'", "hint"]),
        (&["run"], &["COMMAND", "hint: nsl run -- bash"]),
        (&["apply"], &["DIR", "hint: see nsl apply --help"]),
        (&["unit", "--name", "web", "--", "true"], &["'--name'", "hint: nsl unit NAME, or nsl unit -- OPTIONS"]),
        (&["diff", "--json", "--content", "/"], &["--json", "--content", "hint: see nsl diff --help"]),
        (&["diff", "/no/where"], &["read the changes in /no/where", "No such file"]),
        (&["diff", "/usr"], &["there are none", "nsl run --changes DIR"]),
        (&["run", "--emty", "true"], &["'--emty'", "did you mean --empty?"]),
        (&["run", "--no-such-thing", "true"], &["'--no-such-thing'", "hint"]),
        (&["run", "--network", "wifi", "true"], &["'wifi'"]),
        (&["run", "--rootfs"], &["--rootfs"]),
        (&["run", "--rootfs", "/usr", "--empty", "true"], &["--rootfs", "--empty"]),
        (&["run", "--gateway", "10.0.0.1", "true"], &["--ip"]),
        (&["run", "--stop-timeout", "soon", "true"], &["'soon'"]),
        (&["run", "--stop-timeout", "4294967295", "true"], &["too long"]),
        (&["run", "--log-level", "loud", "true"], &["'loud'"]),
        (&["run", "--tty", "true"], &["use --tty", "stdin is no terminal", "hint"]),
        (&["run", "-e", "=x", "true"], &["no name"]),
        (&["run", "-w", "usr", "true"], &["working directory usr", "absolute"]),
        (&["run", "-u", "me", "true"], &["run as user me"]),
        (&["run", "--hostname", "a b", "true"], &["hostname a b"]),
    ];
    for (args, words) in cases {
        host.nsl(*args).run().assert_refused(125, words);
    }
    assert_nothing_was_changed(&host);
}

#[test]
fn a_command_that_is_not_there_gives_127() {
    let host = crate::host!();
    for network in ["none", "veth"] {
        let output = host.nsl(["run", "--network", network, "--", "no-such-command", "arg"]).run();
        output.assert_refused(127, &["execute no-such-command: No such file or directory", "hint", "PATH"]);
    }
    host.nsl(["run", "--", "/no/such/file"]).run().assert_refused(127, &["/no/such/file", "No such file"]);
    host.nsl(["run", "--", ""]).run().assert_refused(127, &["No such file"]);
    host.nsl(["run", "echo hi"]).run().assert_refused(127, &["execute echo hi: No such file", "or sh -c 'echo hi'"]);
}

#[test]
fn a_command_that_cannot_be_executed_gives_126() {
    let host = crate::host!();
    host.sh(&format!("cd {DIR}; printf '\\177ELF\\000junk' > junk; echo x > plain; mkdir dir; chmod +x junk"));
    host.sh(&format!("cd {DIR}; printf '#!/no/such/interpreter\\n' > script; chmod +x script"));
    let run = |command: &str| host.nsl(["run", "-v", &format!("{DIR}:/mnt"), "--", command]).run();
    run("/mnt/plain").assert_refused(126, &["execute /mnt/plain: Permission denied"]);
    run("/mnt/dir").assert_refused(126, &["execute /mnt/dir: Permission denied"]);
    run("/etc/passwd/x").assert_refused(126, &["execute /etc/passwd/x: Not a directory"]);
    run("/mnt/junk").assert_refused(126, &["Exec format error", "no program for this machine"]);
    run("/mnt/script").assert_refused(127, &["the interpreter of /mnt/script", "No such file", "hint"]);
}

#[test]
fn a_rootfs_that_cannot_be_one_is_refused() {
    let host = crate::host!();
    host.sh(&format!("cd {DIR}; touch file; mkdir empty closed; chmod 700 closed; ln -s loop loop"));
    let case = |name: &str, words: &[&str]| refused(&host, &["--rootfs", &format!("{DIR}/{name}")], words);
    case("absent", &["absent as the root: No such file or directory"]);
    case("file", &["file as the root: it is neither a directory nor an archive", "hint"]);
    case("loop", &["Too many"]);
    refused(&host, &["--rootfs", "/"], &["the host's own", "hint"]);
    refused(&host, &["--rootfs", ""], &["--rootfs", "hint"]);
    let words = ["run", "--network", "none", "--rootfs", &format!("{DIR}/closed"), "--", "true"];
    host.nsl(words).as_user().run().assert_refused(125, &["closed as the root: Permission denied"]);
    assert_nothing_was_changed(&host);
}

#[test]
fn a_rootfs_without_the_command_gives_127() {
    let host = crate::host!();
    host.sh(&format!("mkdir {DIR}/root"));
    for network in ["none", "veth"] {
        let output = host.nsl(["run", "--network", network, "--rootfs", &format!("{DIR}/root"), "--", "bash"]).run();
        output.assert_refused(127, &["execute bash: No such file or directory", "looked for inside"]);
    }
    host.nsl(["run", "--empty", "--", "/bin/true"]).run().assert_refused(127, &["/bin/true"]);
}

#[test]
fn a_rootfs_that_lacks_directories_and_cannot_get_them_is_refused() {
    let host = crate::host!();
    host.sh(&format!("mkdir {DIR}/root; chmod 755 {DIR}/root"));
    let words = ["run", "--network", "none", "--rootfs", &format!("{DIR}/root"), "--", "true"];
    let output = host.nsl(words).as_user().run();
    output.assert_refused(125, &[&format!("bind {DIR}/root on /: "), "hint: the root needs the directories"]);
}

#[test]
fn a_volume_that_cannot_be_is_refused() {
    let host = crate::host!();
    host.sh(&format!("touch {DIR}/file"));
    refused(
        &host,
        &["-v", "/no/where:/mnt"],
        &["the volume /no/where:/mnt: No such file or directory", "hint", "mkdir"],
    );
    refused(&host, &["-v", "/usr"], &["the volume /usr", "SRC:DST"]);
    refused(&host, &["-v", "/usr:mnt"], &["absolute"]);
    refused(&host, &["-v", "/usr:/mnt:rx"], &["ro or rw"]);
    refused(&host, &["-v", "/usr:/"], &["the root itself", "hint"]);
    let on_directory = format!("{DIR}/file:/usr");
    refused(&host, &["--network", "none", "-v", &on_directory], &["on /usr: Is a directory", "hint"]);
    refused(&host, &["--network", "none", "-v", "/usr:/etc/passwd"], &["on /etc/passwd: Not a directory", "hint"]);
}

#[test]
fn an_address_that_cannot_be_is_refused() {
    let mut host = crate::host!("ip");
    refused(&host, &["--ip", "192.168.1.2/24", "--gateway", "192.168.2.1"], &["192.168.2.1 is outside 192.168.1.0/24"]);
    refused(&host, &["--ip", "192.168.1.2"], &["192.168.1.2"]);
    refused(&host, &["--ip", "192.168.1.300/24"], &["192.168.1.300/24"]);
    refused(&host, &["--ip", "192.168.1.0/24"], &["network or broadcast"]);
    refused(&host, &["--ip", "127.0.0.2/24"], &["no address that a host can have"]);
    refused(&host, &["--ip", "10.0.0.2/33"], &["10.0.0.2/33"]);
    refused(&host, &["--network", "none", "--ip", "10.0.0.2/24"], &["--network veth", "hint"]);
    // What the host has already.
    host.sh("ip link add own0 type veth peer name own1; ip link set own0 addrgenmode none
        ip link set own0 up; ip addr add 192.168.50.1/24 dev own0");
    host.accept();
    refused(&host, &["--ip", "192.168.50.2/24"], &["192.168.50.1: the host has it on own0", "hint"]);
    refused(&host, &["--ip", "192.168.50.1/24"], &["192.168.50.1", "own0"]);
    refused(&host, &["--ip", "192.168.50.130/25"], &["192.168.50.128/25", "own0", "hint"]);
}

#[test]
fn an_address_that_a_sandbox_has_is_refused_to_another() {
    let host = crate::host!("ip");
    let mut first = host.nsl(["run", "--ip", "192.168.51.2/24", "--", "sh", "-c", "echo ready; cat"]).start();
    assert_eq!(first.line(), "ready");
    let second = host.nsl(["run", "--ip", "192.168.51.2/24", "--", "true"]).run();
    second.assert_refused(125, &["192.168.51.1", "another sandbox has it", "hint"]);
    assert!(host.sh("ip -br -4 addr").contains("192.168.51.1/24"));
    first.finish().assert_code(0);
}

#[test]
fn taken_names_of_devices_are_left_alone() {
    let mut host = crate::host!("ip");
    // That of a fixed pair is the host's address, in hexadecimal: 192.168.52.1.
    host.sh("ip link add nsl-c0a83401 type veth peer name own1");
    host.accept();
    refused(&host, &["--ip", "192.168.52.2/24"], &["192.168.52.1", "nsl-c0a83401"]);
    // Of a slot's the next that is free is taken.
    host.sh("for n in $(seq 0 40); do ip link add nsl$n type veth peer name o$n; done");
    host.accept();
    host.nsl(["run", "--", "true"]).run().assert_code(0).assert_quiet();
    host.assert_clean();
}

#[test]
fn a_host_whose_routes_leave_no_pool_free_is_told() {
    let mut host = crate::host!("ip");
    host.sh("ip link add own0 type veth peer name own1; ip link set own0 addrgenmode none; ip link set own0 up
        for net in 10.221.0.0 172.29.0.0 10.83.0.0 198.18.0.0; do ip route add $net/16 dev own0; done");
    host.accept();
    refused(&host, &[], &["choose addresses", "hint: give a free network with --pool"]);
    host.sh("ip route del 172.29.0.0/16 dev own0");
    host.accept();
    let output = host.nsl(["run", "--", "sh", "-c", "ip route show default | cut -d. -f1-2"]).run();
    output.assert_prints("default via 172.29");
}

#[test]
fn an_ordinary_user_is_told_what_needs_root() {
    let host = crate::host!();
    let run = |options: &[&str]| host.nsl(["run"].iter().chain(options).chain(&["--", "true"])).as_user().run();
    run(&["--network", "veth"]).assert_refused(125, &["veth", "Operation not permitted", "needs root"]);
    run(&["--network", "none", "-u", "0"]).assert_refused(125, &["run as user 0", "without root"]);
    run(&["--network", "none", "-u", &USER.to_string()]).assert_code(0).assert_quiet();
}

#[test]
fn no_root_and_no_user_namespaces_is_told() {
    let host = crate::host!();
    // A limit of this new user namespace alone, and of those below it.
    let script = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces
         exec setpriv --inh-caps=-all --ambient-caps=-all {NSL} run --network none -- true"
    );
    let user = ["--user", "--map-user=1000", "--map-group=1000", "--keep-caps"];
    let output = host.command("unshare", user.into_iter().chain(["sh", "-ec", &script])).run();
    output.assert_refused(125, &["create namespaces (mount pid ipc uts cgroup net user)", "user.max_"]);
}

#[test]
fn root_without_its_privileges_makes_do_with_a_user_namespace() {
    let host = crate::host!();
    let run = |options: &'static [&'static str]| {
        let words = ["--bounding-set=-sys_admin", "--inh-caps=-sys_admin", NSL, "run"].iter().chain(options);
        host.command("setpriv", words.chain(&["--", "id", "-u"])).run()
    };
    run(&["--network", "none"]).assert_prints("0");
    run(&["--network", "veth"]).assert_refused(125, &["veth", "Operation not permitted", "needs root"]);
}

#[test]
fn root_that_cannot_bring_lo_up_is_told_what_it_lacks() {
    let host = crate::host!();
    for network in ["none", "veth"] {
        let words = ["--bounding-set=-net_admin", "--inh-caps=-net_admin", NSL, "run", "--network", network];
        let output = host.command("setpriv", words.iter().chain(&["--", "true"])).run();
        output.assert_refused(125, &["Operation not permitted", "hint: this root lacks CAP_NET_ADMIN"]);
        host.assert_clean();
    }
}

#[test]
fn each_line_that_is_told_is_one_write() {
    let host = crate::host!("strace");
    for (words, told) in [
        ("run --emty -- true", "did you mean"),
        ("run --network none -- no-such-command", "cannot execute"),
        ("run --network none -v /no/where:/mnt -- true", "/no/where"),
        ("run --profile no-such -- true", "no-such"),
        ("rm no-such", "no-such"),
        // A warning, and one that stands beside an error.
        ("run --network none -- true", "is not seen inside"),
        ("run --network none -- no-such-command", "is not seen inside"),
    ] {
        let script =
            format!("cd {DIR}; strace -qq -f -s 4096 -e trace=write -e write=none -o trace {NSL} {words}; cat trace");
        let trace = host.command("sh", ["-c", &script]).run().stdout();
        let lines: Vec<_> =
            trace.lines().filter_map(|line| line.split_once("write(2, \"")).map(|(_, line)| line).collect();
        assert!(lines.iter().any(|line| line.contains(told)), "{words}: {trace}");
        for line in lines {
            assert!(line.starts_with("nsl: ") && line.contains("\\n\","), "{words}: {line}");
        }
    }
}

#[test]
fn a_missing_proc_is_told_or_does_without() {
    let host = crate::host!();
    let script = |user: &str| {
        let words = format!("umount -l /proc; exec {user} {NSL} run --network none -- cat /proc/1/comm");
        host.command("unshare", ["--mount", "--propagation", "private", "sh", "-ec", &words]).run()
    };
    script("").assert_prints("nsl-init");
    let user = format!("setpriv --reuid={USER} --regid={USER} --clear-groups");
    script(&user).assert_refused(125, &["/proc", "hint"]);
}

#[test]
fn a_deleted_working_directory_is_told() {
    let host = crate::host!();
    let run = |options: &str| {
        let script = format!("mkdir {DIR}/d; cd {DIR}/d; rmdir {DIR}/d; exec {NSL} run {options} -- pwd");
        host.command("sh", ["-ec", &script]).run()
    };
    run("").assert_refused(125, &["read the working directory: No such file or directory", "hint", "-w"]);
    run("-w /usr").assert_prints("/usr");
}

#[test]
fn arguments_past_the_limit_are_told() {
    let host = crate::host!("bash");
    host.sh(&format!("printf '#!/bin/sh {}\\n' > {DIR}/script; chmod +x {DIR}/script", "x".repeat(200)));
    // As many as nsl itself can be given: the script's interpreter adds to them.
    let script = format!(
        "ulimit -s 1024; low=0; high=131072
         try() {{ printf -v pad %0$1d 0; {NSL} run --dry-run -v {DIR}:/mnt -- /mnt/script $pad $pad $pad; }}
         while [ $((high - low)) -gt 1 ]; do
             middle=$(((low + high) / 2)); if try $middle >/dev/null 2>&1; then low=$middle; else high=$middle; fi
         done
         printf -v pad %0${{low}}d 0; exec {NSL} run -v {DIR}:/mnt -- /mnt/script $pad $pad $pad"
    );
    let output = host.command("bash", ["-c", &script]).run();
    output.assert_refused(126, &["execute /mnt/script: Argument list too long", "hint"]);
}

/// The setting belongs to a PID namespace: the test has one of its own.
#[test]
fn a_kernel_that_executes_no_memory_files_is_told() {
    let host = crate::host!();
    let words = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c"];
    let run = |value: u32| {
        let script = format!("echo {value} > /proc/sys/vm/memfd_noexec; exec {NSL} run --network none -- true");
        host.command("unshare", words.iter().copied().chain([script.as_str()])).run()
    };
    run(2).assert_refused(125, &["memory file", "Permission denied", "vm.memfd_noexec"]);
    run(1).assert_prints("");
}

#[test]
fn too_few_descriptors_are_told() {
    let host = crate::host!();
    for network in ["none", "veth"] {
        let run = |count: u32| {
            let script = format!("exec prlimit --nofile={count} {NSL} run --network {network} -- true");
            host.command("sh", ["-c", &script]).run()
        };
        // Each of the places where one is missing, up to where there are enough.
        let enough = (4..24).find(|count| {
            let output = run(*count);
            // A network without NAT is warned of first.
            let stderr = output.stderr();
            let last = stderr.lines().last().unwrap_or_default();
            let is_told = last.starts_with("nsl: cannot ") && last.contains("Too many open files");
            assert!(output.code == 0 || output.code == 125 && is_told, "{output}");
            output.code == 0
        });
        assert!(enough.is_some_and(|count| count > 8), "{enough:?}");
        host.assert_clean();
    }
}
