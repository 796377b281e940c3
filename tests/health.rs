//! Checks of a sandbox's health: what they see, what comes of them, and that they never pile up.

use crate::harness::{DIR, Host, wait_until};
use crate::services::{detached, inspect, line, process, remove, start};
use std::fs;

const OFTEN: [&str; 4] = ["--health-interval", "50ms", "--health-retries", "2"];

fn health(host: &Host, name: &str) -> String {
    inspect(host, name)["health"].as_str().unwrap_or_default().to_owned()
}

/// How many processes of the host have this command line.
fn count(host: &Host, command: &str) -> usize {
    let lines = host.processes().into_iter().map(|pid| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default());
    lines.filter(|line| String::from_utf8_lossy(line).replace('\0', " ").trim() == command).count()
}

#[test]
fn health_turns_with_what_the_command_inside_says() {
    let host = crate::host!();
    let file = host.path(format!("{DIR}/well"));
    let volume = format!("{DIR}:/data");
    let check = ["--health-cmd", "test -e /data/well", "-v", &volume];
    start(&host, "web", &[&check, &OFTEN[..], &["--health-start-period", "1h", "--", "sleep", "1000"]].concat());
    // Failures at the start do not count.
    assert_eq!(health(&host, "web"), "starting");
    assert!(line(&host, "web").expect("a line").contains(" (starting) "));
    for (word, is_well) in [("healthy", true), ("unhealthy", false), ("healthy", true)] {
        if is_well {
            fs::write(&file, "").expect("write");
        } else {
            fs::remove_file(&file).expect("remove");
        }
        wait_until("its health turns", || health(&host, "web") == word);
        assert!(line(&host, "web").expect("a line").contains(&format!(" ({word}) ")));
    }
    // Nobody has asked for more than to be told.
    assert_eq!((&inspect(&host, "web")["restarts"], &inspect(&host, "web")["status"]), (&0.into(), &"running".into()));
    host.nsl(["stop", "web"]).run().assert_prints("web");
    assert_eq!(inspect(&host, "web")["health"], serde_json::Value::Null);
    remove(&host, "web");
    host.assert_clean();
}

#[test]
fn one_that_is_not_well_is_ended_in_order_and_starts_again() {
    let host = crate::host!();
    let command = "trap 'echo asked; exit 0' TERM; echo start; sleep 0.3; touch /tmp/ill; while :; do sleep 0.1; done";
    let check = ["--restart", "on-failure", "--health-cmd", "! test -e /tmp/ill"];
    start(&host, "web", &[&check, &OFTEN[..], &["--", "sh", "-c", command]].concat());
    // Its own code is that of success: it starts again all the same.
    wait_until("it starts again", || inspect(&host, "web")["restarts"].as_u64() >= Some(2));
    wait_until("it runs", || inspect(&host, "web")["status"] == "running");
    let log = host.nsl(["logs", "web"]).run().stdout();
    assert!(log.starts_with("start\nasked\nstart\nasked\nstart\n"), "{log}");
    remove(&host, "web");
    host.assert_clean();
}

#[test]
fn one_that_ignores_the_signal_is_killed_when_its_time_is_up() {
    let host = crate::host!();
    let command = "trap '' TERM; while :; do sleep 0.1; done";
    let check = ["--restart", "always", "--stop-timeout", "200ms", "--health-cmd", "false"];
    start(&host, "web", &[&check, &OFTEN[..], &["--", "sh", "-c", command]].concat());
    wait_until("it starts again", || inspect(&host, "web")["restarts"] == 1);
    assert_eq!(inspect(&host, "web")["starts"][0]["code"], 137);
    remove(&host, "web");
}

#[test]
fn checks_are_killed_in_time_and_never_pile_up() {
    let host = crate::host!();
    let checks = ["--health-timeout", "100ms", "--health-cmd", "trap '' TERM; sleep 4321 & sleep 1234"];
    start(&host, "web", &[&checks, &OFTEN[..], &["--", "sleep", "1000"]].concat());
    let mut most = 0;
    wait_until("it is found not to be well", || {
        most = most.max(count(&host, "sleep 1234")).max(count(&host, "sleep 4321"));
        health(&host, "web") == "unhealthy"
    });
    assert!(most <= 1, "{most} at once");
    remove(&host, "web");
    // What a check leaves behind goes with it.
    start(&host, "web", &[&["--health-cmd", "sleep 4321 & true"], &OFTEN[..], &["--", "sleep", "1000"]].concat());
    wait_until("it is well", || health(&host, "web") == "healthy");
    wait_until("nothing is left", || count(&host, "sleep 4321") == 0);
    // A check that runs ends with the sandbox.
    remove(&host, "web");
    start(&host, "web", &[&["--health-cmd", "sleep 4321"], &OFTEN[..], &["--", "sleep", "1000"]].concat());
    wait_until("a check runs", || count(&host, "sleep 4321") == 1);
    crate::leaks::kill_hard(process(&host, "web", "monitor"));
    wait_until("all is gone", || host.processes().is_empty());
    remove(&host, "web");
    host.assert_clean();
}

#[test]
fn what_cannot_be_checked_is_not_well_and_wrong_words_are_refused() {
    let host = crate::host!();
    let bare = ["--health-cmd", "true", "--empty", "-v", "/usr/bin/busybox:/busybox"];
    start(&host, "web", &[&bare, &OFTEN[..], &["--", "/busybox", "sleep", "1000"]].concat());
    wait_until("without sh, no check succeeds", || health(&host, "web") == "unhealthy");
    remove(&host, "web");
    for bad in [&["--health-interval", "0"][..], &["--health-timeout", "0s"], &["--health-interval", "soon"]] {
        let words = [&["--health-cmd", "true"], bad, &["--", "true"]].concat();
        detached(&host, "web", &words).run().assert_refused(125, &[bad[0]]);
    }
    detached(&host, "web", &["--health-retries", "3", "--", "true"]).run().assert_refused(125, &["--health-cmd"]);
    detached(&host, "web", &["--health-cmd", "true", "--health-retries", "0", "--", "true"]).run().assert_code(125);
    assert_eq!(line(&host, "web"), None);
}
