//! What is said of a sandbox is so, whoever is killed, whatever is full, and whoever else is at it at the same time.

use crate::harness::{Host, NSL, Output, Running, wait_until};
use crate::leaks::{child_of, kill_hard, wait_until_past};
use crate::services::{detached, inspect, line, log, process, remove, start};
use serde_json::Value;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Kills per victim, from at once to past the start.
const KILLS: u32 = 40;
const LONGEST: Duration = Duration::from_millis(16);

/// Starts one, kills something at a later and later moment, and looks at what is said then.
fn kill_at_many_moments(host: &Host, mut kill: impl FnMut(&Running)) {
    for number in 0..KILLS {
        let running = detached(host, "web", &["--", "sleep", "1000"]).start();
        wait_until("there is a monitor", || child_of(running.pid()).is_some() || line(host, "web").is_some());
        wait_until_past(Instant::now() + LONGEST * number / KILLS);
        kill(&running);
        let output = running.finish();
        assert!([0, 125, 137, 143].contains(&output.code), "{output}");
        agrees(host, &output);
        host.nsl(["rm", "-f", "web"]).run().assert_code(0).assert_quiet();
        assert_eq!(line(host, "web"), None);
        if number % 10 == 9 {
            host.assert_clean();
        }
    }
}

/// Whoever is said to live does, whoever is not does not.
#[track_caller]
fn agrees(host: &Host, output: &Output) {
    let is_up = || line(host, "web").is_some_and(|line| line.contains(" Up "));
    wait_until("it is up, or nothing of it lives", || is_up() || host.processes().is_empty());
    let shown = line(host, "web").unwrap_or_default();
    if host.processes().is_empty() {
        wait_until("it is not said to be up", || !is_up());
        let shown = line(host, "web").unwrap_or_default();
        assert!(shown.is_empty() || shown.contains(" Dead ") || shown.contains(" Exited "), "{shown}\n{output}");
    } else {
        assert!(shown.contains(" Up "), "{shown}\n{output}");
    }
}

#[test]
fn the_truth_is_told_whenever_the_monitor_is_killed() {
    let host = crate::host!();
    kill_at_many_moments(&host, |running| child_of(running.pid()).into_iter().for_each(kill_hard));
}

#[test]
fn the_truth_is_told_whenever_the_caller_is_killed() {
    let host = crate::host!();
    kill_at_many_moments(&host, |running| kill_hard(running.pid()));
}

#[test]
fn the_truth_is_told_whenever_the_init_or_the_command_is_killed() {
    let host = crate::host!();
    let init = |running: &Running| child_of(running.pid()).and_then(child_of);
    kill_at_many_moments(&host, |running| init(running).into_iter().for_each(kill_hard));
    kill_at_many_moments(&host, |running| init(running).and_then(child_of).into_iter().for_each(kill_hard));
}

#[test]
fn one_that_runs_can_lose_any_of_its_processes() {
    let host = crate::host!();
    for (which, code) in [("monitor", None), ("init", Some(137)), ("command", Some(137))] {
        start(&host, "web", &["--", "sleep", "1000"]);
        let init = process(&host, "web", "init");
        kill_hard(match which {
            "command" => child_of(init).expect("the command"),
            which => process(&host, "web", which),
        });
        wait_until("nothing of it lives", || host.processes().is_empty());
        let state = inspect(&host, "web");
        match code {
            None => assert_eq!((&state["status"], &state["exit"]), (&"dead".into(), &Value::Null)),
            Some(code) => assert_eq!((&state["status"], &state["exit"]["code"]), (&"exited".into(), &code.into())),
        }
        remove(&host, "web");
        host.assert_clean();
    }
}

#[test]
fn it_can_be_removed_by_force_while_it_starts() {
    let host = crate::host!();
    for number in 0..KILLS {
        let running = detached(&host, "web", &["--", "sleep", "1000"]).start();
        wait_until("there is a monitor", || child_of(running.pid()).is_some() || line(&host, "web").is_some());
        wait_until_past(Instant::now() + LONGEST * number / KILLS);
        host.nsl(["rm", "-f", "web"]).run().assert_code(0).assert_quiet();
        let output = running.finish();
        // It was removed, or came later.
        agrees(&host, &output);
        host.nsl(["rm", "-f", "web"]).run().assert_code(0).assert_quiet();
        host.assert_clean();
    }
}

#[test]
fn many_can_stop_and_remove_the_same_one() {
    let host = crate::host!();
    for number in 0..10 {
        let script = "trap 'sleep 0.05; exit 4' TERM; echo up; while :; do sleep 0.01; done";
        start(&host, "web", &["--", "sh", "-c", script]);
        wait_until("it is up", || log(&host, "web").contains("up"));
        let command = if number % 2 == 0 { &["stop"][..] } else { &["rm", "-f"] };
        let words = [command, &["web"]].concat();
        let all: Vec<Running> = (0..5).map(|_| host.nsl(&words).start()).collect();
        for output in all.into_iter().map(Running::finish) {
            assert!(output.code == 0 || output.stderr().contains("it has ended"), "{output}");
        }
        if command == ["stop"] {
            assert_eq!(inspect(&host, "web")["exit"]["code"], 4);
        }
        host.nsl(["rm", "-f", "web"]).run().assert_code(0);
        assert_eq!(line(&host, "web"), None);
        host.assert_clean();
    }
}

#[test]
fn a_full_place_for_states_is_a_refusal_and_hides_no_end() {
    let host = crate::host!();
    host.sh("mount -t tmpfs -o size=64k,mode=700 tmpfs /run/nsl");
    start(&host, "web", &["--", "sleep", "1000"]);
    start(&host, "db", &["--", "true"]);
    host.nsl(["wait", "db"]).run().assert_prints("0");
    host.sh("dd if=/dev/zero of=/run/nsl/.full bs=4k 2>/dev/null || :");
    detached(&host, "other", &["--", "true"]).run().assert_refused(125, &["other", "No space left", "df -h"]);
    assert_eq!(line(&host, "other"), None);
    host.nsl(["stop", "web"]).run().assert_prints("web");
    assert_eq!(inspect(&host, "web")["exit"]["code"], 143);
    host.nsl(["rm", "web", "db"]).run().assert_prints("web\ndb");
    // Nor more names.
    host.sh("umount /run/nsl; mount -t tmpfs -o nr_inodes=4,mode=700 tmpfs /run/nsl");
    detached(&host, "web", &["--", "true"]).run().assert_refused(125, &["web", "No space left", "df -i"]);
    assert_eq!(host.sh("ls -A /run/nsl"), "");
    host.sh("umount /run/nsl");
}

#[test]
fn a_place_that_cannot_be_written_to_is_a_refusal() {
    let host = crate::host!();
    for (place, words) in
        [("/run/nsl", "states are kept in /run/nsl"), ("/var/log/nsl", "logs are kept in /var/log/nsl")]
    {
        host.sh(&format!("mount -t tmpfs -o ro,mode=700 tmpfs {place}"));
        detached(&host, "web", &["--", "true"]).run().assert_refused(125, &["Read-only file system", words]);
        host.sh(&format!("umount {place}"));
        host.assert_clean();
    }
}

#[test]
fn a_full_disk_for_the_log_is_a_refusal() {
    let host = crate::host!();
    host.sh("mount -t tmpfs -o nr_inodes=3,mode=700 tmpfs /var/log/nsl; touch /var/log/nsl/a");
    detached(&host, "web", &["--", "true"]).run().assert_refused(125, &["log", "No space left"]);
    assert_eq!(line(&host, "web"), None);
    host.sh("umount /var/log/nsl");
}

/// Changes what is noted of one that runs, as another version may have noted it.
fn rewrite(host: &Host, name: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let path = host.path(format!("/run/nsl/{name}/state.json"));
    let before = fs::read(&path).expect("read the state");
    let mut state: Value = serde_json::from_slice(&before).expect("JSON");
    change(&mut state);
    fs::write(&path, state.to_string()).expect("write the state");
    before
}

#[test]
fn what_another_version_noted_is_read_or_refused() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    start(&host, "db", &["--", "sleep", "1000"]);
    // An older one knew less.
    let before = rewrite(&host, "web", |state| {
        for name in ["starts", "restarts", "health", "network", "log", "stop_timeout_ms", "exit", "ended"] {
            state.as_object_mut().expect("an object").remove(name);
        }
        state["more"] = "of it".into();
    });
    assert!(line(&host, "web").expect("a line").contains(" Up "));
    fs::write(host.path("/run/nsl/web/state.json"), &before).expect("write the state");
    // A newer one may mean anything.
    rewrite(&host, "web", |state| state["version"] = 99.into());
    for command in ["inspect", "stop", "kill", "wait"] {
        let output = host.nsl([command, "web"]).run();
        assert!(output.stderr().contains("a newer nsl: version 99") && output.code == 125, "{output}");
    }
    // The others are shown all the same.
    let output = host.nsl(["ps", "-q"]).run();
    output.assert_code(125).assert_stdout("db");
    assert!(output.stderr().contains("a newer nsl"), "{output}");
    detached(&host, "web", &["--", "true"]).run().assert_refused(125, &["is running"]);
    fs::write(host.path("/run/nsl/web/state.json"), "{").expect("write the state");
    host.nsl(["inspect", "db", "web"]).run().assert_code(125);
    fs::write(host.path("/run/nsl/web/state.json"), before).expect("write the state");
    host.nsl(["stop", "web", "db"]).run().assert_prints("web\ndb");
    // What does not live is removed, whoever wrote it.
    rewrite(&host, "web", |state| state["version"] = 99.into());
    host.nsl(["rm", "web", "db"]).run().assert_prints("web\ndb");
}

#[test]
fn another_process_with_its_number_is_left_alone() {
    let host = crate::host!();
    let other = host.command("sleep", ["1000"]).start();
    start(&host, "web", &["--", "sleep", "1000"]);
    let before = rewrite(&host, "web", |state| {
        for which in ["init", "monitor"] {
            state[which]["pid"] = other.pid().into();
            // Both may have started in the same tick.
            state[which]["start_time"] = 1.into();
        }
    });
    for command in ["kill", "stop"] {
        host.nsl([command, "web"]).run().assert_refused(125, &["it has ended just now"]);
    }
    fs::write(host.path("/run/nsl/web/state.json"), before).expect("write the state");
    remove(&host, "web");
    assert!(fs::metadata(format!("/proc/{}", other.pid())).is_ok());
    other.signal(nix::sys::signal::Signal::SIGTERM);
    other.finish().assert_code(143);
}

#[test]
fn the_end_of_the_callers_terminal_is_none_of_its() {
    let host = crate::host!("python3");
    let script = "import os, pty, signal
pid, master = pty.fork()
if pid == 0:
    os.execv('/bin/sh', ['sh', '-c', 'trap \"\" HUP; trap - HUP; /run/bin/nsl run -d --network none --name web -- sleep 1000'])
out = b''
while True:
    try: data = os.read(master, 999)
    except OSError: break
    if not data: break
    out += data
os.close(master)
os.waitpid(pid, 0)
print(out.decode().strip())";
    host.command("python3", ["-c", script]).run().assert_prints("web");
    let pid = process(&host, "web", "monitor");
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("its files").flatten();
    let open: Vec<_> = open.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
    assert!(!open.iter().any(|file| file.starts_with("/dev/pts")), "{open:?}");
    assert!(line(&host, "web").expect("a line").contains(" Up "));
    remove(&host, "web");
}

#[test]
fn what_was_killed_before_it_noted_anything_is_swept() {
    let host = crate::host!();
    host.sh("cd /run/nsl; mkdir -m 700 a b c; touch b/lock c/lock c/state.next");
    host.nsl(["ps"]).run().assert_code(0).assert_quiet();
    assert_eq!(host.sh("ls /run/nsl"), "");
}

#[test]
fn the_list_is_right_while_many_start_and_stop() {
    let host = crate::host!();
    let fixed = ["fixed-a", "fixed-b", "fixed-c"];
    for name in fixed {
        start(&host, name, &["--", "sleep", "1000"]);
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let lister = scope.spawn(|| {
            let mut lists = 0;
            while !done.load(Ordering::Relaxed) {
                let output = host.nsl(["ps", "-a", "--json"]).run();
                output.assert_code(0).assert_quiet();
                let rows: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array");
                let is_up = |name: &&str| rows.iter().any(|row| row["name"] == *name && row["status"] == "running");
                assert!(fixed.iter().all(is_up), "{output}");
                // Each of the others ends in order.
                assert!(rows.iter().all(|row| row["status"] != "dead"), "{output}");
                assert!(
                    rows.iter()
                        .all(|row| (row["status"] == "exited") == row["pid"].is_null() || row["status"] == "starting"),
                    "{output}"
                );
                lists += 1;
            }
            lists
        });
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let host = &host;
                scope.spawn(move || {
                    let script = format!(
                        "for n in $(seq 50); do
                             {NSL} run -d --network none --name w{worker}-$n -- sleep 1000 >/dev/null
                             {NSL} stop w{worker}-$n >/dev/null; {NSL} rm w{worker}-$n >/dev/null
                         done"
                    );
                    host.sh(&script)
                })
            })
            .collect();
        let ended: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.into_iter().all(|result| result.is_ok()));
        assert!(lister.join().expect("the lists are right") > 10);
    });
    for name in fixed {
        remove(&host, name);
    }
}

#[test]
fn a_monitor_that_does_nothing_any_more_is_killed_at_last() {
    let host = crate::host!();
    for command in [&["stop", "-t", "100ms"][..], &["rm", "-f"]] {
        start(&host, "web", &["--", "sleep", "1000"]);
        let monitor = nix::unistd::Pid::from_raw(process(&host, "web", "monitor").cast_signed());
        nix::sys::signal::kill(monitor, nix::sys::signal::Signal::SIGSTOP).expect("stop the monitor");
        host.nsl([command, &["web"]].concat()).run().assert_prints("web");
        assert_eq!(host.processes(), [0; 0]);
        assert_eq!(line(&host, "web").is_some_and(|line| line.contains(" Dead ")), command[0] == "stop");
        host.nsl(["rm", "-f", "web"]).run().assert_code(0);
    }
}
