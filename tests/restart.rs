//! Commands that start again: how often, after which pauses, with what; and how they end for good.

use crate::harness::{DIR, Host, wait_until};
use crate::leaks::{child_of, kill_hard};
use crate::ports::{SERVE, tcp};
use crate::services::{detached, inspect, line, process, remove, start};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

fn log(host: &Host, name: &str) -> String {
    host.nsl(["logs", name]).run().stdout()
}

/// How much later than due a start may be, on a machine that is busy.
const SLACK: Duration = Duration::from_millis(400);
/// One that fails at once.
const CRASHES: [&str; 4] = ["--", "sh", "-c", "echo start; exit 3"];

fn restarts(host: &Host, name: &str) -> u64 {
    inspect(host, name)["restarts"].as_u64().expect("a number")
}

fn status(host: &Host, name: &str) -> String {
    inspect(host, name)["status"].as_str().expect("a word").to_owned()
}

fn time(value: &Value) -> SystemTime {
    humantime(value.as_str().expect("a time"))
}

/// RFC 3339 with milliseconds, in UTC; the day does not matter.
fn humantime(text: &str) -> SystemTime {
    let clock = text.split(['T', 'Z']).nth(1).expect("a time of day");
    let parts: Vec<f64> = clock.split(':').map(|part| part.parse().expect("a number")).collect();
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(parts[0] * 3600.0 + parts[1] * 60.0 + parts[2])
}

/// Starts one, and waits until it has failed so often.
fn crashing(host: &Host, name: &str, options: &[&str], count: u64) {
    start(host, name, &[&["--restart", "always"], options, &CRASHES].concat());
    wait_until("it has failed", || restarts(host, name) >= count && status(host, name) == "restarting");
}

/// Sends it a signal by name.
fn send(host: &Host, name: &str, signal: &str) {
    host.nsl(["kill", "-s", signal, name]).run().assert_prints("");
}

fn is_running(host: &Host, name: &str) -> bool {
    status(host, name) == "running"
}

/// Kills the command, and waits until it runs anew.
fn crash(host: &Host, name: &str) {
    let (init, before) = (process(host, name, "init"), restarts(host, name));
    kill_hard(child_of(init).expect("a command"));
    wait_until("it runs again", || restarts(host, name) == before + 1 && is_running(host, name));
}

#[test]
fn pauses_double_and_each_start_is_noted() {
    let host = crate::host!();
    crashing(&host, "web", &[], 5);
    let state = inspect(&host, "web");
    let starts = state["starts"].as_array().expect("a list");
    assert_eq!((starts.len(), log(&host, "web").lines().count()), (5, 5), "{state}");
    for (number, pair) in starts.windows(2).enumerate() {
        let pause = time(&pair[1]["started"]).duration_since(time(&pair[0]["ended"])).expect("in order");
        let due = Duration::from_millis(100 << number);
        assert!(pause + Duration::from_millis(2) >= due && pause < due + SLACK, "pause {number}: {pause:?}");
        assert_eq!(pair[0]["code"], 3);
    }
    let next = time(&state["next_start"]).duration_since(time(&state["ended"])).expect("later");
    assert!(next.abs_diff(Duration::from_millis(1600)) < Duration::from_millis(50), "{next:?}");
    assert!(line(&host, "web").expect("a line").contains(" Restarting (5) "));
    remove(&host, "web");
    host.assert_clean();
}

#[test]
fn failures_are_counted_and_the_last_code_is_the_end() {
    let host = crate::host!();
    start(&host, "web", &["--restart", "on-failure:3", "--", "sh", "-c", "echo start; exit 7"]);
    host.nsl(["wait", "web"]).run().assert_prints("7");
    let state = inspect(&host, "web");
    let codes: Vec<_> = state["starts"].as_array().expect("a list").iter().map(|start| start["code"].clone()).collect();
    assert_eq!((&state["restarts"], &state["status"], codes), (&3.into(), &"exited".into(), vec![7.into(); 4]));
    assert_eq!(log(&host, "web"), "start\n".repeat(4));
    remove(&host, "web");
    // Success is the end, for who starts again after failures only.
    start(&host, "web", &["--restart", "on-failure", "--", "sh", "-c", "echo start"]);
    host.nsl(["wait", "web"]).run().assert_prints("0");
    assert_eq!((restarts(&host, "web"), log(&host, "web").as_str()), (0, "start\n"));
    remove(&host, "web");
    start(&host, "web", &["--restart", "unless-stopped", "--", "true"]);
    wait_until("it starts again after success too", || restarts(&host, "web") > 1);
    remove(&host, "web");
    start(&host, "web", &["--restart", "no", "--", "false"]);
    host.nsl(["wait", "web"]).run().assert_prints("1");
    assert_eq!(restarts(&host, "web"), 0);
    remove(&host, "web");
}

#[test]
fn who_waits_uses_no_time_and_is_stopped_at_once() {
    let host = crate::host!();
    for end in [&["stop", "web"][..], &["kill", "web"], &["kill", "-s", "INT", "web"]] {
        crashing(&host, "web", &[], 5);
        let monitor = process(&host, "web", "monitor");
        let switches = || {
            let status = fs::read_to_string(format!("/proc/{monitor}/status")).expect("the monitor's status");
            status.lines().filter(|line| line.contains("ctxt_switches")).collect::<String>()
        };
        let before = switches();
        // They take their time, and none of it is the monitor's.
        (0..5).for_each(|_| drop(host.nsl(["ps"]).run()));
        assert_eq!((switches(), restarts(&host, "web")), (before, 5));
        let asked = Instant::now();
        host.nsl(end).run().assert_code(0);
        wait_until("it has ended", || status(&host, "web") == "exited");
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        let state = inspect(&host, "web");
        assert_eq!(
            (&state["exit"]["code"], &state["next_start"], &state["restarts"]),
            (&3.into(), &Value::Null, &5.into())
        );
        assert_eq!(time(&state["starts"][4]["ended"]).max(time(&state["ended"])), time(&state["ended"]));
        assert_eq!(host.processes(), [0; 0]);
        remove(&host, "web");
    }
    crashing(&host, "web", &[], 5);
    let refused = host.nsl(["kill", "-s", "HUP", "web"]).run();
    refused.assert_refused(125, &["between two starts", "CONT starts it now"]);
    host.nsl(["exec", "web", "true"]).run().assert_refused(125, &["between two starts"]);
    remove(&host, "web");
    assert_eq!(host.processes(), [0; 0]);
}

#[test]
fn what_a_user_ends_does_not_start_again_and_other_signals_are_no_end() {
    let host = crate::host!();
    let sleeps = ["--restart", "always", "--", "sleep", "1000"];
    for (end, code) in [(&["stop", "web"][..], 143), (&["kill", "web"], 137), (&["kill", "-s", "TERM", "web"], 143)] {
        start(&host, "web", &sleeps);
        host.nsl(end).run().assert_code(0);
        wait_until("it has ended", || host.processes().is_empty());
        let state = inspect(&host, "web");
        assert_eq!(
            (&state["status"], &state["exit"]["code"], &state["restarts"]),
            (&"exited".into(), &code.into(), &0.into())
        );
        remove(&host, "web");
    }
    start(&host, "web", &sleeps);
    send(&host, "web", "HUP");
    wait_until("it runs again", || restarts(&host, "web") == 1 && is_running(&host, "web"));
    host.nsl(["rm", "-f", "web"]).run().assert_prints("web");
    assert_eq!(host.processes(), [0; 0]);
    host.assert_clean();
}

#[test]
fn fifty_crashes_leave_nothing_behind_in_the_monitor() {
    let host = crate::host!("ip", "nft");
    host.nsl(["run", "-d", "--name", "web", "--restart", "always", "-p", "8080:80"].iter().chain(&CRASHES))
        .run()
        .assert_code(0);
    let monitor = process(&host, "web", "monitor");
    let files = || fs::read_dir(format!("/proc/{monitor}/fd")).expect("the monitor's files").count();
    let memory = || {
        let rollup = fs::read_to_string(format!("/proc/{monitor}/smaps_rollup")).expect("the monitor's memory");
        let private = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).expect("a line");
        private.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    };
    let mut before = None;
    for count in 1..=50 {
        wait_until("it has failed", || restarts(&host, "web") == count && status(&host, "web") == "restarting");
        if count == 10 {
            before = Some((files(), memory()));
        }
        if count < 50 {
            // Nobody has to wait for the pause.
            send(&host, "web", "CONT");
        }
    }
    let (files_before, memory_before) = before.expect("more than ten starts");
    assert_eq!(files(), files_before);
    assert!(memory() < memory_before + 200, "{memory_before} kB, then {} kB", memory());
    let state = inspect(&host, "web");
    assert_eq!((state["starts"].as_array().map(Vec::len), log(&host, "web").lines().count()), (Some(10), 50));
    assert!(host.processes().len() == 1, "the monitor alone: {:?}", host.processes());
    remove(&host, "web");
    host.assert_clean();
}

#[test]
fn many_that_fail_start_again_each_for_itself() {
    let host = crate::host!();
    let names: Vec<String> = (0..20).map(|number| format!("web{number}")).collect();
    for name in &names {
        start(&host, name, &["--restart", "on-failure:3", "--", "sh", "-c", "echo start; exit 9"]);
    }
    let words = ["wait"].into_iter().chain(names.iter().map(String::as_str));
    host.nsl(words).run().assert_prints(&["9"; 20].join("\n"));
    for name in &names {
        assert_eq!((restarts(&host, name), log(&host, name).lines().count()), (3, 4), "{name}");
    }
    host.nsl(["rm"].into_iter().chain(names.iter().map(String::as_str))).run().assert_code(0);
    host.assert_clean();
}

#[test]
fn addresses_and_ports_stay_and_answer_again_under_load() {
    let host = crate::host!("ip", "nft", "perl");
    let options = ["run", "-d", "--name", "web", "--restart", "always", "-p", "8080:80", "-p", "127.0.0.1:0:80"];
    host.nsl(options.iter().chain(&["--", "perl", "-e", SERVE, "web", "tcp/80"])).run().assert_code(0);
    let network = inspect(&host, "web")["network"].clone();
    let device = network["device"].as_str().expect("a name").to_owned();
    let (pid, ended, answers) = (host.pid(), AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let heard = tcp(pid, "127.0.0.1:8080");
                    answers.fetch_add(u32::from(heard.starts_with("web to ")), Ordering::Relaxed);
                }
            });
        }
        for _ in 0..5 {
            crash(&host, "web");
            assert_eq!(inspect(&host, "web")["network"], network);
            let before = answers.load(Ordering::Relaxed);
            wait_until("the port answers again", || answers.load(Ordering::Relaxed) > before);
        }
        ended.store(true, Ordering::Relaxed);
    });
    // Between two starts, they are nobody else's.
    kill_hard(child_of(process(&host, "web", "init")).expect("a command"));
    wait_until("it waits", || status(&host, "web") == "restarting");
    let taken = host.nsl(["run", "-p", "8080:80", "--", "true"]).run();
    taken.assert_refused(125, &["publish", "already listens"]);
    assert!(host.sh("ip -o link").contains(&format!(" {device}@")), "{device} is held");
    assert_eq!(tcp(pid, "127.0.0.1:8080"), "refused");
    remove(&host, "web");
    host.assert_clean();
}

#[test]
fn kill_9_of_the_monitor_between_two_starts_leaves_nothing() {
    let host = crate::host!("ip", "nft");
    host.nsl(["run", "-d", "--name", "web", "--restart", "always", "-p", "8080:80"].iter().chain(&CRASHES))
        .run()
        .assert_code(0);
    wait_until("it waits", || restarts(&host, "web") >= 4 && status(&host, "web") == "restarting");
    kill_hard(process(&host, "web", "monitor"));
    wait_until("it is gone", || host.processes().is_empty());
    assert_eq!(status(&host, "web"), "dead");
    host.nsl(["rm", "web"]).run().assert_prints("web");
    host.assert_clean();
}

#[test]
fn kill_9_of_the_monitor_at_any_moment_leaves_nothing() {
    let host = crate::host!("ip", "nft");
    for delay in (0..300).step_by(23) {
        host.nsl(["run", "-d", "--name", "web", "--restart", "always", "-p", "8080:80"].iter().chain(&CRASHES))
            .run()
            .assert_code(0);
        let monitor = process(&host, "web", "monitor");
        crate::leaks::wait_until_past(Instant::now() + Duration::from_millis(delay));
        kill_hard(monitor);
        wait_until("it is gone", || host.processes().is_empty());
        host.nsl(["rm", "web"]).run().assert_prints("web");
    }
    host.assert_clean();
}

#[test]
fn a_start_that_fails_later_is_noted_and_tried_again() {
    let host = crate::host!();
    let program = host.path(format!("{DIR}/program"));
    fs::write(&program, "#!/bin/sh\necho start\nexit 3\n").expect("write a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it one");
    // A relative path means the same at each start.
    let options =
        ["--restart", "on-failure:4", "-w", "/", "--mount", "type=bind,src=.,dst=/data", "--", "/data/program"];
    detached(&host, "web", &options).cwd(DIR).run().assert_prints("web");
    wait_until("it starts again", || restarts(&host, "web") == 2);
    fs::remove_file(&program).expect("remove it");
    host.nsl(["wait", "web"]).run().assert_prints("127");
    let state = inspect(&host, "web");
    let codes: BTreeSet<_> =
        state["starts"].as_array().expect("a list").iter().map(|one| one["code"].as_u64()).collect();
    assert_eq!(codes, [Some(3), Some(127)].into());
    let error = state["exit"]["error"].as_str().expect("an error");
    assert!(error.contains("execute /data/program") && state["restarts"] == 4, "{state}");
    remove(&host, "web");
    host.assert_clean();
}

#[test]
fn one_that_never_was_ready_is_told_of_and_does_not_start_again() {
    let host = crate::host!();
    let options = ["--restart", "always", "--ready", "--", "sh", "-c", "echo start; exit 3"];
    detached(&host, "web", &options).run().assert_refused(3, &["web is ready", "ended before"]);
    assert_eq!((log(&host, "web").as_str(), restarts(&host, "web")), ("start\n", 0));
    remove(&host, "web");
    for (bad, words) in [("sometimes", "policy"), ("on-failure:0", "number"), ("always:2", "takes no number")] {
        detached(&host, "web", &["--restart", bad, "--", "true"]).run().assert_refused(125, &["--restart", words]);
    }
    host.nsl(["run", "--restart", "always", "--", "true"]).run().assert_refused(125, &["--detach"]);
    detached(&host, "web", &["--restart", "always", "--", "no-such-command"]).run().assert_refused(127, &["execute"]);
    assert_eq!(line(&host, "web"), None);
}
