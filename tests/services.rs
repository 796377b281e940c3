//! Sandboxes that live on: started, found, told of, ended and removed by their names.

use crate::harness::{DIR, Host, Invocation, NSL, Output, USER, wait_until};
use crate::leaks::kill_hard;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// `nsl run -d --network none --name NAME OPTIONS`, and what to run.
pub fn detached<'a>(host: &'a Host, name: &str, options: &[&str]) -> Invocation<'a> {
    host.nsl([&["run", "-d", "--network", "none", "--name", name], options].concat())
}

/// Starts one that prints its name and nothing else.
#[track_caller]
pub fn start(host: &Host, name: &str, options: &[&str]) {
    detached(host, name, options).run().assert_prints(name);
}

/// What `nsl inspect` has of one.
#[track_caller]
pub fn inspect(host: &Host, name: &str) -> Value {
    let output = host.nsl(["inspect", name]).run();
    output.assert_code(0).assert_quiet();
    let mut all: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array of objects");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// The number of a process of its: `monitor` or `init`.
#[track_caller]
pub fn process(host: &Host, name: &str, which: &str) -> u32 {
    inspect(host, name)[which]["pid"].as_u64().expect("a number") as u32
}

/// Its line in `nsl ps -a`, without that of the command; none if it is not there.
pub fn line(host: &Host, name: &str) -> Option<String> {
    let output = host.nsl(["ps", "-a"]).run();
    output.assert_code(0).assert_quiet();
    output.stdout().lines().skip(1).find(|line| line.split(' ').next() == Some(name)).map(str::to_owned)
}

#[track_caller]
pub fn remove(host: &Host, name: &str) {
    host.nsl(["rm", "-f", name]).run().assert_prints(name);
    assert_eq!(line(host, name), None);
}

pub fn log(host: &Host, name: &str) -> String {
    fs::read_to_string(host.path(format!("/var/log/nsl/{name}/log"))).unwrap_or_default()
}

#[test]
fn a_detached_command_lives_on_and_is_found_by_its_name() {
    let host = crate::host!();
    start(&host, "web", &["--", "sh", "-c", "echo out; echo err >&2; sleep 1000"]);
    let shown = line(&host, "web").expect("a line");
    assert!(shown.contains(" Up ") && shown.ends_with("sh -c echo out; echo err >&2; sleep 1000"), "{shown}");
    host.nsl(["ps", "-q"]).run().assert_prints("web");
    let state = inspect(&host, "web");
    assert_eq!((&state["status"], &state["alive"], &state["name"]), (&"running".into(), &true.into(), &"web".into()));
    assert_eq!(state["command"][0], "sh");
    wait_until("both streams are in the log", || {
        log(&host, "web").contains("out") && log(&host, "web").contains("err")
    });
    let init = process(&host, "web", "init");
    let parent = fs::read_to_string(format!("/proc/{init}/stat")).expect("the init's stat");
    assert_eq!(parent.split(' ').nth(3), Some(&*process(&host, "web", "monitor").to_string()));
    host.nsl(["stop", "web"]).run().assert_prints("web");
    assert_eq!(host.processes(), [0; 0]);
    host.nsl(["ps"]).run().assert_code(0);
    assert!(line(&host, "web").expect("a line").contains(" Exited (143) "));
    let state = inspect(&host, "web");
    assert_eq!((&state["status"], &state["alive"], &state["init"]), (&"exited".into(), &false.into(), &Value::Null));
    assert_eq!((&state["exit"]["code"], &state["exit"]["signal"]), (&143.into(), &"SIGTERM".into()));
    remove(&host, "web");
    host.assert_clean();
}

#[test]
fn names_are_made_up_and_given_to_one_alone() {
    let host = crate::host!();
    let start = || host.nsl(["run", "-d", "--network", "none", "--", "sleep", "1000"]).run();
    let names: Vec<String> =
        (0..10).map(|_| start().assert_code(0).assert_quiet().stdout().trim().to_owned()).collect();
    assert!(names.iter().all(|name| name.split('-').count() == 2), "{names:?}");
    let listed = host.nsl(["ps", "-q"]).run().stdout();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(listed.lines().collect::<Vec<_>>(), sorted);
    let taken = detached(&host, &names[0], &["--", "true"]).run();
    taken.assert_refused(125, &[&names[0], "is running", "nsl rm -f"]);
    host.nsl(["rm"].into_iter().chain(names.iter().map(String::as_str))).run().assert_code(125);
    let all: Vec<_> = names.iter().map(String::as_str).collect();
    host.nsl(["rm", "-f"].iter().chain(&all)).run().assert_prints(&names.join("\n"));
}

#[test]
fn what_keeps_a_command_from_starting_is_told_and_nothing_is_left() {
    let host = crate::host!();
    detached(&host, "web", &["--", "no-such-command"]).run().assert_refused(127, &["execute no-such-command"]);
    detached(&host, "web", &["-w", "/nowhere", "--", "true"]).run().assert_refused(125, &["/nowhere"]);
    detached(&host, "web", &["--rootfs", "/nowhere", "--", "true"]).run().assert_refused(125, &["/nowhere"]);
    detached(&host, "../web", &["--", "true"]).run().assert_refused(125, &["../web", "letters"]);
    detached(&host, "web", &["--tty", "--", "true"]).run().assert_refused(125, &["--tty"]);
    assert_eq!(line(&host, "web"), None);
    host.assert_clean();
}

#[test]
fn who_is_not_there_is_told_apart_from_who_has_ended() {
    let host = crate::host!();
    for words in [&["stop", "no"][..], &["kill", "no"], &["wait", "no"], &["inspect", "no"], &["rm", "no"]] {
        let output = host.nsl(words).run();
        assert!(output.stderr().contains("there is no such sandbox (hint: nsl ps -a"), "{output}");
        output.assert_code(125);
    }
    host.nsl(["rm", "-f", "no"]).run().assert_prints("");
    start(&host, "web", &["--", "true"]);
    host.nsl(["wait", "web"]).run().assert_prints("0");
    for command in ["stop", "kill"] {
        host.nsl([command, "web"]).run().assert_refused(125, &["web", "it has ended"]);
    }
    // The others are done all the same.
    let output = host.nsl(["rm", "no", "web"]).run();
    output.assert_code(125).assert_stdout("web");
}

#[test]
fn the_end_is_waited_for_and_told() {
    let host = crate::host!();
    start(&host, "web", &["--", "sh", "-c", "read line; exit 7"]);
    start(&host, "db", &["--", "sh", "-c", "trap 'exit 9' USR1; echo up; while :; do sleep 0.01; done"]);
    wait_until("it is up", || log(&host, "db").contains("up"));
    let waiting = host.nsl(["wait", "web", "db"]).start();
    host.nsl(["kill", "-s", "USR1", "db"]).run().assert_prints("");
    waiting.finish().assert_prints("7\n9");
    remove(&host, "web");
    remove(&host, "db");
}

#[test]
fn a_signal_that_stops_goes_to_the_command_and_not_to_nsl() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    let command = crate::leaks::child_of(process(&host, "web", "init")).expect("the command");
    host.nsl(["kill", "-s", "STOP", "web"]).run().assert_prints("");
    wait_until("it stands still", || crate::harness::is_stopped(command));
    host.nsl(["kill", "-s", "CONT", "web"]).run().assert_prints("");
    wait_until("it goes on", || !crate::harness::is_stopped(command));
    host.nsl(["kill", "web"]).run().assert_prints("");
    host.nsl(["wait", "web"]).run().assert_prints("137");
    host.nsl(["rm", "web"]).run().assert_prints("web");
}

#[test]
fn a_command_that_does_not_end_is_killed_when_its_time_is_up() {
    let host = crate::host!();
    let names = ["a", "b", "c"];
    for name in names {
        start(&host, name, &["--", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"]);
        wait_until("it is up", || log(&host, name).contains("up"));
    }
    let start = std::time::Instant::now();
    host.nsl(["stop", "-t", "300ms", "a", "b", "c"]).run().assert_prints("a\nb\nc");
    let elapsed = start.elapsed().as_millis();
    assert!((300..2000).contains(&elapsed), "at once, not one after the other: {elapsed} ms");
    for name in names {
        assert_eq!(inspect(&host, name)["exit"]["code"], 137);
        remove(&host, name);
    }
}

#[test]
fn a_sandbox_in_the_foreground_can_have_a_name_too() {
    let host = crate::host!();
    let mut running =
        host.nsl(["run", "--name", "web", "--network", "none", "--", "sh", "-c", "echo up; read line; exit 3"]).start();
    assert_eq!(running.line(), "up");
    wait_until("it is noted", || inspect(&host, "web")["status"] == "running");
    assert_eq!(process(&host, "web", "monitor"), running.pid());
    detached(&host, "web", &["--", "true"]).run().assert_refused(125, &["is running"]);
    running.finish().assert_code(3).assert_quiet();
    assert!(line(&host, "web").expect("a line").contains(" Exited (3) "));
    // What has ended gives its name away.
    start(&host, "web", &["--", "sleep", "1000"]);
    remove(&host, "web");
}

#[test]
fn nothing_of_the_callers_stays_open() {
    let host = crate::host!();
    // A substitution returns when nobody has its pipe any more.
    let script = format!(
        "cd {DIR}; mkfifo x; exec 7>file 8<>x; n=$({NSL} run -d -w / --network none --name web -- sleep 1000 2>&1) && echo $n"
    );
    host.command("bash", ["-c", &script]).run().assert_prints("web");
    for which in ["monitor", "init"] {
        let pid = process(&host, "web", which);
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("its files").flatten();
        let open: Vec<_> = open.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
        assert!(!open.iter().any(|file| file.starts_with(DIR)), "{open:?}");
        assert_ne!(fs::read_link(format!("/proc/{pid}/cwd")).expect("its directory"), std::path::Path::new(DIR));
    }
    let pid = process(&host, "web", "monitor");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its stat");
    let fields: Vec<_> = stat.rsplit(')').next().expect("fields").split_ascii_whitespace().collect();
    assert_eq!((fields[3], fields[4]), (&*pid.to_string(), "0"), "a session of its own, without a terminal");
    remove(&host, "web");
    host.sh(&format!("rm {DIR}/x {DIR}/file"));
}

/// An ordinary user's directories.
pub fn as_user<'a>(host: &'a Host, words: &[&str]) -> Invocation<'a> {
    host.nsl(words).as_user().env("XDG_RUNTIME_DIR", format!("{DIR}/run")).env("HOME", format!("{DIR}/home"))
}

pub fn make_home(host: &Host) {
    host.sh(&format!("mkdir -m 700 {DIR}/run {DIR}/home; chown {USER} {DIR}/run {DIR}/home"));
}

#[test]
fn an_ordinary_user_has_sandboxes_of_his_own() {
    let host = crate::host!();
    make_home(&host);
    as_user(&host, &["run", "-d", "--network", "none", "--name", "web", "--", "sh", "-c", "echo up; sleep 1000"])
        .run()
        .assert_prints("web");
    as_user(&host, &["ps", "-q"]).run().assert_prints("web");
    host.nsl(["ps", "-q"]).run().assert_prints("");
    let log = host.path(format!("{DIR}/home/.local/state/nsl/log/web/log"));
    wait_until("the log is there", || fs::read_to_string(&log).is_ok_and(|log| log.contains("up")));
    let mode =
        fs::metadata(host.path(format!("{DIR}/run/nsl/web/state.json"))).expect("the state").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    as_user(&host, &["stop", "web"]).run().assert_prints("web");
    as_user(&host, &["rm", "web"]).run().assert_prints("web");
    assert!(!log.exists());
    host.nsl(["ps"]).as_user().run().assert_refused(125, &["XDG_RUNTIME_DIR, and it is not set", "hint: "]);
}

#[test]
fn an_ordinary_users_sandboxes_tell_the_truth_too() {
    let host = crate::host!();
    make_home(&host);
    let start = || {
        let words = ["run", "-d", "--network", "none", "--name", "web", "--", "sleep", "1000"];
        as_user(&host, &words).run().assert_prints("web");
    };
    let inspect = || {
        let output = as_user(&host, &["inspect", "web"]).run();
        output.assert_code(0);
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")[0].clone()
    };
    for (which, status) in [("monitor", "dead"), ("init", "exited")] {
        start();
        kill_hard(inspect()[which]["pid"].as_u64().expect("a number") as u32);
        wait_until("nothing of it lives", || host.processes().is_empty());
        assert_eq!(inspect()["status"], status);
        // The name is free again.
        start();
        assert_eq!(inspect()["status"], "running");
        as_user(&host, &["rm", "-f", "web"]).run().assert_prints("web");
        host.assert_clean();
    }
    assert_eq!(host.sh(&format!("ls -A {DIR}/run/nsl {DIR}/home/.local/state/nsl/log")).matches("web").count(), 0);
}

#[test]
fn a_directory_that_somebody_else_can_write_to_is_not_believed() {
    let host = crate::host!();
    make_home(&host);
    let refused = |words: &str| {
        let run = as_user(&host, &["run", "-d", "--network", "none", "--name", "web", "--", "true"]).run();
        for output in [run, as_user(&host, &["ps"]).run()] {
            output.assert_refused(125, &[&format!("{DIR}/run/nsl"), words, "hint: remove it"]);
        }
    };
    host.sh(&format!("mkdir -m 700 {DIR}/other; chown {USER} {DIR}/other; ln -s {DIR}/other {DIR}/run/nsl"));
    refused("link");
    assert_eq!(host.sh(&format!("ls -A {DIR}/other")), "");
    host.sh(&format!("rm {DIR}/run/nsl; mkdir {DIR}/run/nsl"));
    refused("another user");
    host.sh(&format!("chown {USER} {DIR}/run/nsl; chmod 777 {DIR}/run/nsl"));
    refused("others can write");
    host.sh(&format!(
        "chmod 700 {DIR}/run/nsl; ln -s {DIR}/other {DIR}/run/nsl/web; chown -h {USER} {DIR}/run/nsl/web"
    ));
    as_user(&host, &["run", "-d", "--network", "none", "--name", "web", "--", "true"])
        .run()
        .assert_refused(125, &["link"]);
    // Links in the place of its files are not followed either.
    host.sh(&format!(
        "rm {DIR}/run/nsl/web; mkdir -m 700 {DIR}/run/nsl/web; echo precious > {DIR}/other/file
         for name in lock state.json state.next boot; do ln -s {DIR}/other/file {DIR}/run/nsl/web/$name; done
         chown -hR {USER} {DIR}/run/nsl/web {DIR}/other"
    ));
    as_user(&host, &["run", "-d", "--network", "none", "--name", "web", "--", "true"]).run().assert_code(125);
    assert_eq!(host.sh(&format!("cat {DIR}/other/file")), "precious\n");
}

#[test]
fn a_monitor_that_is_killed_is_seen_and_its_name_is_free() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    kill_hard(process(&host, "web", "monitor"));
    wait_until("nothing of it lives", || host.processes().is_empty());
    assert!(line(&host, "web").expect("a line").contains(" Dead "));
    host.nsl(["ps", "-q"]).run().assert_prints("");
    let state = inspect(&host, "web");
    assert_eq!((&state["status"], &state["alive"]), (&"dead".into(), &false.into()));
    for command in ["stop", "kill", "wait"] {
        host.nsl([command, "web"]).run().assert_refused(125, &["web", "its nsl was killed"]);
    }
    start(&host, "web", &["--", "sleep", "1000"]);
    assert!(line(&host, "web").expect("a line").contains(" Up "));
    remove(&host, "web");
    host.assert_clean();
}

#[test]
fn an_init_that_is_killed_is_noted() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    kill_hard(process(&host, "web", "init"));
    host.nsl(["wait", "web"]).run().assert_prints("137");
    let exit = inspect(&host, "web")["exit"].clone();
    assert!(exit["error"].as_str().is_some_and(|error| error.contains("killed by SIGKILL")), "{exit}");
    remove(&host, "web");
}

/// What became of several that were started at once.
fn codes(all: Vec<crate::harness::Running>) -> Vec<Output> {
    all.into_iter().map(crate::harness::Running::finish).collect()
}

#[test]
fn of_many_at_once_one_has_the_name() {
    let host = crate::host!();
    for _ in 0..5 {
        let all = (0..8).map(|_| detached(&host, "web", &["--", "sleep", "1000"]).start()).collect();
        let outputs = codes(all);
        let (won, lost): (Vec<_>, Vec<_>) = outputs.iter().partition(|output| output.code == 0);
        assert_eq!(won.len(), 1, "{}", lost.iter().map(ToString::to_string).collect::<String>());
        won[0].assert_prints("web");
        for output in lost {
            output.assert_refused(125, &["a sandbox of this name is running"]);
        }
        remove(&host, "web");
    }
    host.assert_clean();
}

#[test]
fn a_command_can_say_when_it_is_ready() {
    let host = crate::host!("python3");
    let ready = "import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
s.send(b'STATUS=soon')
sys.stdin.read()
open('/mnt/said', 'w').close()
s.send(b'STATUS=up\\nREADY=1\\n')
time.sleep(1000)";
    let volume = format!("{DIR}:/mnt");
    for user in ["0", "65534"] {
        let options = ["--ready", "-u", user, "-v", &volume, "--", "python3", "-c", ready];
        detached(&host, "web", &options).env("NOTIFY_SOCKET", "/run/other").run().assert_prints("web");
        assert!(host.path(format!("{DIR}/said")).exists(), "it said so before");
        host.sh(&format!("rm {DIR}/said"));
        remove(&host, "web");
    }
    // One that ends before has failed, whatever it says itself.
    for (script, code) in [("exit 0", 1), ("exit 3", 3)] {
        let output = detached(&host, "web", &["--ready", "--", "sh", "-c", script]).run();
        output.assert_refused(code, &["web is ready", "it ended before", "nsl logs web"]);
        assert!(line(&host, "web").expect("a line").contains("Exited"));
    }
    // Who interrupts the wait ends what is waited for.
    let waiting = detached(&host, "web", &["--ready", "--", "sleep", "1000"]).start();
    wait_until("it runs", || line(&host, "web").is_some_and(|line| line.contains(" Up ")));
    kill_hard(waiting.pid());
    host.nsl(["wait", "web"]).run().assert_prints("143");
    remove(&host, "web");
}

#[test]
fn sockets_of_a_service_manager_are_handed_to_a_detached_command() {
    let host = crate::host!("python3");
    let script = "import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); s.bind('/tmp/test/socket'); s.listen(); os.dup2(s.fileno(), 3); os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')
os.execv('/run/bin/nsl', ['nsl', 'run', '-d', '--network', 'none', '--name', 'web', '--', 'python3', '-c',
    'import os, socket; s = socket.socket(fileno=3); assert os.environ[\"LISTEN_PID\"] == str(os.getpid()); c, _ = s.accept(); c.send(b\"hello\"); c.recv(1)'])";
    host.command("python3", ["-c", script]).run().assert_prints("web");
    let ask =
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/tmp/test/socket'); print(s.recv(9).decode())";
    host.command("python3", ["-c", ask]).run().assert_prints("hello");
    host.nsl(["wait", "web"]).run().assert_prints("0");
    remove(&host, "web");
}

#[test]
fn what_makes_the_network_keeps_nothing_of_the_callers_either() {
    let mut host = crate::host!("pasta", "bash");
    host.uplink();
    host.sh("mount -t tmpfs -o mode=755 tmpfs /dev/net; mknod -m 666 /dev/net/tun c 10 200");
    host.accept();
    make_home(&host);
    // A substitution returns when nobody has its pipe any more.
    let script = format!("n=$({NSL} run -d -w / --network pasta -p 8080:80 --name web -- sleep 1000 2>&1) && echo $n");
    let as_user = |words: &[&str]| as_user(&host, words);
    host.command("bash", ["-c", &script])
        .as_user()
        .env("XDG_RUNTIME_DIR", format!("{DIR}/run"))
        .env("HOME", format!("{DIR}/home"))
        .run()
        .assert_prints("web");
    let listed = as_user(&["ps"]).run();
    assert!(listed.stdout().contains("8080->80/tcp"), "{listed}");
    as_user(&["rm", "-f", "web"]).run().assert_prints("web");
    host.assert_clean();
    let script = format!("n=$({NSL} run -d -p 127.0.0.1:8080:80 --name web -- sleep 1000 2>&1) && echo $n");
    host.command("bash", ["-c", &script]).run().assert_prints("web");
    assert!(line(&host, "web").expect("a line").contains(" 127.0.0.1:8080->80/tcp "));
    remove(&host, "web");
}

#[test]
fn more_are_listed_than_files_may_be_open() {
    let host = crate::host!();
    let names: Vec<String> = (0..12).map(|number| format!("web-{number:02}")).collect();
    for name in &names {
        start(&host, name, &["--", "sleep", "1000"]);
    }
    let limited = |words: &[&str]| host.command("prlimit", [&["--nofile=12", NSL], words].concat()).run();
    limited(&["ps", "-q"]).assert_prints(&names.join("\n"));
    let listed = limited(&["ps"]);
    listed.assert_code(0).assert_quiet();
    assert_eq!(listed.stdout().lines().count(), 1 + names.len());
    // One for each is open while they end.
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let words = [&["--nofile=12:100", NSL, "stop"], &names[..]].concat();
    host.command("prlimit", words).run().assert_prints(&names.join("\n"));
    host.nsl([&["rm"], &names[..]].concat()).run().assert_code(0);
}
