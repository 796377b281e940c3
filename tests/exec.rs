//! `nsl exec`: one more command in a sandbox that runs, with what the sandbox's own has, and nothing more.

mod ends;
mod hostile;
mod terminal;

use crate::harness::{DIR, Host, Invocation, Running, USER, only_child};
use crate::services::{as_user, make_home, process, remove, start};
use std::fs;
use std::path::Path;

/// `nsl exec OPTIONS web COMMAND`.
fn exec<'a>(host: &'a Host, options: &[&str], command: &[&str]) -> Invocation<'a> {
    host.nsl(["exec"].iter().chain(options).chain(&["web"]).chain(command))
}

/// The command of an `nsl exec`, once it runs: that is the child of its nsl-init.
#[track_caller]
fn command_of(exec: &Running, name: &str) -> u32 {
    only_child(only_child(exec.pid(), "nsl-init"), name)
}

/// All that the kernel holds of a process and that a sandbox decides, seen from the host.
fn facts(pid: u32) -> Vec<String> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).expect("read a file of the process's");
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).expect("read a link of the process's");
    let kept = ["Uid:", "Gid:", "Groups:", "Umask:", "Cap", "NoNewPrivs:", "Seccomp", "SigBlk:", "SigIgn:", "Cpus_"];
    let status = read("status");
    let status = status.lines().filter(|line| kept.iter().any(|key| line.starts_with(key))).map(str::to_owned);
    let names = ["cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "user", "uts"];
    let links = names.map(|name| link(&format!("ns/{name}"))).into_iter().chain([link("root"), link("cwd")]);
    let files = ["limits", "cgroup", "mountinfo", "environ", "oom_score_adj", "personality"].map(read);
    status.chain(links.map(|link| link.display().to_string())).chain(files).collect()
}

/// Compares a command that joins with the sandbox's own.
#[track_caller]
fn assert_alike(options: &[&str], first: u32, joined: u32) {
    let (first, joined) = (facts(first), facts(joined));
    for (first, joined) in first.iter().zip(&joined) {
        assert_eq!(first, joined, "{options:?}");
    }
    assert_eq!(first.len(), joined.len());
}

#[test]
fn it_has_what_the_sandboxs_own_command_has() {
    let host = crate::host!();
    for options in [
        &[][..],
        &["--privileged"],
        &["--nested"],
        &["--cap-drop", "ALL", "--cap-add", "CHOWN", "--hostname", "other"],
        &["--cap-add", "NET_ADMIN", "-u", "nobody"],
        &["-u", "1000:27", "-w", "/usr", "-e", "A=1 2", "--clear-env"],
        &["--userns", "auto:60000", "--no-new-privs=false"],
        &["--userns", "keep-id"],
        &["--landlock", "ro=/usr,ro=/etc,rw=/tmp"],
        &["--seccomp", "unconfined", "--ulimit", "nofile=99:100", "--ulimit", "core=0"],
        &["--network", "host", "--ipc", "host", "--uts", "host", "--cgroupns", "host"],
        &["--network", "veth", "--read-only", "--tmpfs", "/mnt"],
    ] {
        let network: &[_] = if options.contains(&"--network") { &[] } else { &["--network", "none"] };
        let words = [&["run", "-d", "--name", "web"], network, options, &["--", "sleep", "1000"]].concat();
        host.nsl(words).run().assert_prints("web");
        let own = only_child(process(&host, "web", "init"), "sleep");
        // Whoever executes has other limits, and another umask and directory.
        let script = "cd /tmp; umask 077; ulimit -Sn 500; exec \"$@\"";
        let words = ["-c", script, "sh", crate::harness::NSL, "exec", "web", "sleep", "1000"];
        let joined = host.command("sh", words).env("MORE", "of the caller's").start();
        assert_alike(options, own, command_of(&joined, "sleep"));
        remove(&host, "web");
        joined.finish().assert_code(137);
    }
}

/// The rules of Landlock are bound to what their paths meant at the start, whatever lies there by now.
#[test]
fn landlock_rules_are_those_of_the_start() {
    let host = crate::host!();
    let rules = ["--landlock", "ro=/usr,rw=/tmp,ro=/var/tmp", "--", "sleep", "1000"];
    start(&host, "web", &rules);
    let read = |path: &str| exec(&host, &[], &["cat", path]).run().code;
    assert_eq!((read("/etc/passwd"), read("/usr/lib/os-release")), (1, 0));
    exec(&host, &[], &["sh", "-c", "echo x > /tmp/x && ! echo x > /var/tmp/x"]).run().assert_code(0);
    remove(&host, "web");
    host.sh(&format!("mkdir -p {DIR}/volume/a"));
    let volume = format!("{DIR}/volume:/mnt");
    start(&host, "web", &["--landlock", "ro=/usr,rw=/mnt,ro=/mnt/a", "-v", &volume, "--", "sleep", "1000"]);
    exec(&host, &[], &["sh", "-c", "mv /mnt/a /mnt/b && ln -s /etc /mnt/a"]).run().assert_code(0);
    assert_eq!(read("/mnt/a/passwd"), 1);
    remove(&host, "web");
}

#[test]
fn so_it_has_for_an_ordinary_user() {
    let host = crate::host!();
    make_home(&host);
    for options in [&[][..], &["--cap-add", "NET_ADMIN"], &["--privileged"], &["--landlock", "ro=/usr"]] {
        let words = ["run", "-d", "--network", "none", "--name", "web"];
        as_user(&host, &[&words, options, &["--", "sleep", "1000"]].concat()).run().assert_prints("web");
        let state = as_user(&host, &["inspect", "web"]).run().stdout();
        let state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
        let init = state[0]["init"]["pid"].as_u64().expect("a number") as u32;
        let joined = as_user(&host, &["exec", "web", "sleep", "1000"]).start();
        assert_alike(options, only_child(init, "sleep"), command_of(&joined, "sleep"));
        as_user(&host, &["exec", "web", "id", "-u"]).run().assert_prints(&USER.to_string());
        as_user(&host, &["exec", "-u", "0", "web", "true"])
            .run()
            .assert_refused(125, &["run as user 0", "your own user"]);
        // Root's are others.
        host.nsl(["exec", "web", "true"]).run().assert_refused(125, &["there is no such sandbox"]);
        as_user(&host, &["rm", "-f", "web"]).run().assert_prints("web");
        joined.finish().assert_code(137);
    }
}

#[test]
fn streams_and_exit_codes_are_the_commands() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    let output = exec(&host, &["-i"], &["sh", "-c", "tr a-z A-Z; echo err >&2; exit 7"]).stdin("some bytes").run();
    assert_eq!((output.code, output.stdout().as_str(), output.stderr().as_str()), (7, "SOME BYTES", "err\n"));
    // As with docker, and behind two dashes wherever they are.
    for words in [&["exec", "web", "--", "echo", "-n", "x"][..], &["exec", "--", "web", "echo", "-n", "x"]] {
        host.nsl(words).run().assert_prints("x");
    }
    exec(&host, &[], &["sh", "-c", "kill -USR1 $$"]).run().assert_code(138).assert_quiet();
    exec(&host, &[], &["no-such-command"])
        .run()
        .assert_refused(127, &["execute no-such-command", "inside the sandbox"]);
    exec(&host, &[], &["/etc/passwd"]).run().assert_refused(126, &["execute /etc/passwd", "Permission denied"]);
    exec(&host, &["-w", "/no/where"], &["true"]).run().assert_refused(125, &["working directory to /no/where"]);
    exec(&host, &["-t"], &["true"]).run().assert_refused(125, &["use --tty", "stdin is no terminal"]);
    let megabytes = exec(&host, &[], &["head", "-c", "30000000", "/dev/zero"]).run();
    assert_eq!((megabytes.code, megabytes.stdout.len()), (0, 30_000_000));
    remove(&host, "web");
}

#[test]
fn user_directory_and_environment_can_be_others() {
    let host = crate::host!();
    let options = ["--userns", "auto", "-e", "A=1", "-e", "B=2", "-w", "/usr", "--", "sleep", "1000"];
    start(&host, "web", &options);
    let script = "echo $(id -u):$(id -g) $PWD $A-$B $HOME $USER";
    exec(&host, &[], &["sh", "-c", script]).run().assert_prints("0:0 /usr 1-2 /root");
    let all = exec(&host, &["-u", "nobody", "-w", "/tmp", "-e", "A=x", "-e", "C", "-e", "B="], &["sh", "-c", script]);
    all.env("A", "no").run().assert_prints("65534:65534 /tmp x- /nonexistent nobody");
    exec(&host, &["-e", "C"], &["sh", "-c", "echo $C"]).env("C", "the caller's").run().assert_prints("the caller's");
    exec(&host, &["-u", "7:8"], &["sh", "-c", "id -u; id -g; id -G; grep Cap[PE] /proc/self/status | sort -u -k2"])
        .run()
        .assert_prints("7\n8\n8\nCapPrm:\t0000000000000000");
    exec(&host, &["-u", "nobody"], &["touch", "/etc/x"]).run().assert_code(1);
    exec(&host, &["-u", "70000"], &["true"]).run().assert_refused(125, &["run as user 70000", "does not exist inside"]);
    exec(&host, &["-u", "no-such"], &["true"]).run().assert_refused(125, &["no user no-such"]);
    exec(&host, &["-w", "tmp"], &["true"]).run().assert_refused(125, &["tmp", "not an absolute path"]);
    exec(&host, &["-e", "=1"], &["true"]).run().assert_refused(125, &["=1", "no name"]);
    remove(&host, "web");
}

/// The names of users are those of the sandbox's root as it is now.
#[test]
fn users_are_looked_up_inside() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    exec(&host, &[], &["sh", "-c", "echo new:x:4321:1234::/new: >> /etc/passwd"]).run().assert_prints("");
    exec(&host, &["-u", "new"], &["sh", "-c", "id -u; id -g; echo $HOME"]).run().assert_prints("4321\n1234\n/new");
    remove(&host, "web");
}

#[test]
fn a_sandbox_in_the_foreground_can_be_joined_and_others_are_told_why_not() {
    let host = crate::host!();
    let refused = |code, words: &[&str]| {
        exec(&host, &[], &["true"]).run().assert_refused(code, words);
    };
    refused(125, &["there is no such sandbox", "nsl ps -a"]);
    let words = ["run", "--network", "none", "--name", "web", "--", "sh", "-c", "echo up; read line"];
    let mut running = host.nsl(words).start();
    assert_eq!(running.line(), "up");
    crate::harness::wait_until("it is noted", || crate::services::inspect(&host, "web")["status"] == "running");
    exec(&host, &[], &["hostname"]).run().assert_prints("nsl");
    running.finish().assert_code(1);
    refused(125, &["web", "it has ended"]);
    host.nsl(["exec", "../web", "true"]).run().assert_refused(125, &["../web"]);
    host.nsl(["exec", "web"]).run().assert_refused(125, &["read the command line", "nsl exec --help"]);
    remove(&host, "web");
}

#[test]
fn what_another_nsl_has_written_or_another_process_has_become_is_not_entered() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    let state = host.path("/run/nsl/web/state.json");
    let before = fs::read_to_string(&state).expect("the state");
    let init = process(&host, "web", "init");
    let with = |from: &str, to: &str| {
        assert!(before.contains(from), "{before}");
        fs::write(&state, before.replacen(from, to, 1)).expect("write the state");
        exec(&host, &[], &["true"]).run()
    };
    // Another process of that number, and one that is no init: the host's own.
    let stat = fs::read_to_string(format!("/proc/{init}/stat")).expect("its stat");
    let start_time = |stat: &str| stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(20)).map(str::to_owned);
    let time = format!("\"start_time\":{}", start_time(&stat).expect("its start time"));
    let (pid, none) =
        (format!("\"init\":{{\"pid\":{init},{time}"), "\"init\":{\"pid\":4000000,\"start_time\":1".to_owned());
    with(&pid, &format!("\"init\":{{\"pid\":{init},\"start_time\":1")).assert_refused(125, &["the sandbox has ended"]);
    with(&pid, &none).assert_refused(125, &["the sandbox has ended"]);
    let holder = host.pid();
    let stat = fs::read_to_string(format!("/proc/{holder}/stat")).expect("its stat");
    let others = format!("\"init\":{{\"pid\":{holder},\"start_time\":{}", start_time(&stat).expect("its start time"));
    with(&pid, &others).assert_refused(125, &["its init is no PID 1 of"]);
    fs::write(&state, &before).expect("write the state");
    let boot = host.path("/run/nsl/web/boot");
    let message = fs::read(&boot).expect("the boot message");
    for wrong in [&b""[..], b"nonsense", &message[..message.len() - 1]] {
        fs::write(&boot, wrong).expect("write the boot message");
        exec(&host, &[], &["true"]).run().assert_refused(125, &["boot message is that of another nsl", "hint: "]);
    }
    fs::write(&boot, &message).expect("write the boot message");
    exec(&host, &[], &["true"]).run().assert_prints("");
    remove(&host, "web");
}

/// Where no group can be entered that has no limits, it does without; where nsl sees one, it enters it.
#[test]
fn it_lives_in_the_cgroup_of_the_sandbox() {
    let host = crate::host!();
    let groups = host.path(format!("{DIR}/groups"));
    let mounted =
        host.command("sh", ["-ec", &format!("mkdir {DIR}/groups; mount -t cgroup2 cgroup2 {DIR}/groups")]).run();
    mounted.assert_code(0);
    let group = format!("nsl-test-{}", std::process::id());
    let own = groups.join(&group);
    fs::create_dir(&own).expect("make a cgroup");
    let script = format!(
        "echo $$ > {DIR}/groups/{group}/cgroup.procs; exec {} run -d --network none --name web -- sleep 1000",
        crate::harness::NSL
    );
    host.command("sh", ["-c", &script]).run().assert_prints("web");
    let joined = exec(&host, &[], &["sleep", "1000"]).start();
    let cgroup = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroup");
        text.lines().find_map(|line| line.strip_prefix("0::").map(str::to_owned)).expect("that of v2")
    };
    let command = command_of(&joined, "sleep");
    let (found, of_init) = (cgroup(command), cgroup(process(&host, "web", "init")));
    remove(&host, "web");
    joined.finish().assert_code(137);
    crate::harness::wait_until("the cgroup is empty", || fs::remove_dir(&own).is_ok());
    host.sh(&format!("umount {DIR}/groups; rmdir {DIR}/groups"));
    assert!(found == of_init && Path::new(&found).ends_with(&group), "{found}, {of_init}");
}
