//! Limits of a sandbox: of its time and of its command's resources. Those that need a cgroup are tested in the virtual
//! machine (tests/vm/limits); here it is refused.

use crate::harness::{Host, Invocation, NSL, Output};
use nix::sys::signal::Signal;
use std::fs;
use std::time::{Duration, Instant};

/// A script for sh, run with these options.
fn sandbox<'a>(host: &'a Host, options: &[&'a str], script: &'a str) -> Invocation<'a> {
    host.nsl([&["run", "--network", "none"], options, &["--", "sh", "-c", script]].concat())
}

/// Far below the times that must not be waited for, far above what a busy machine makes of an instant.
const SOON: Duration = Duration::from_secs(5);

/// Runs it; what came of it, and how long it took.
#[track_caller]
fn timed(command: Invocation<'_>) -> (Output, Duration) {
    let start = Instant::now();
    (command.run(), start.elapsed())
}

/// The same with `--timeout`: as long as the script needs, on a busy machine, for what must be done in time. Gives the
/// timeout as well.
fn timed_out(
    host: &Host,
    options: &[&str],
    script: &str,
    is_in_time: impl Fn(&Output) -> bool,
) -> (Output, Duration, Duration) {
    let mut timeout = Duration::from_millis(200);
    loop {
        let text = format!("{}ms", timeout.as_millis());
        let (output, took) = timed(sandbox(host, &[&["--timeout", &text], options].concat(), script));
        if is_in_time(&output) || timeout > SOON {
            return (output, took, timeout);
        }
        timeout *= 2;
    }
}

/// Its traps are set.
fn is_up(output: &Output) -> bool {
    output.stdout().starts_with("up\n")
}

/// In the harness's hosts there is no cgroup2, and where cgroup v1 has the controllers, a mount would not help.
#[test]
fn limits_that_need_a_cgroup_are_refused_where_there_is_none() {
    let host = crate::host!();
    let own = fs::read_to_string("/proc/self/cgroup").expect("read /proc/self/cgroup");
    let is_in_v1 = |name: &str| own.lines().any(|line| line.split(':').nth(1) == Some(name));
    for (options, step, controller) in [
        (["-m", "64m"], "limit the memory", "memory"),
        (["--cpus", "1.5"], "limit the CPUs", "cpu"),
        (["--pids-limit", "100"], "limit the processes", "pids"),
    ] {
        let words = if is_in_v1(controller) {
            ["this host has cgroup v1 for", "hint: boot with systemd.unified_cgroup_hierarchy=1"]
        } else {
            ["cgroup2 is not mounted", "hint: mount -t cgroup2 cgroup2 /sys/fs/cgroup"]
        };
        let output = sandbox(&host, &options, "true").run();
        output.assert_refused(125, &[step, words[0], words[1]]);
        host.assert_unchanged();
    }
    // What is not asked for needs none.
    sandbox(&host, &["--pids-limit", "-1"], "true").run().assert_prints("");
}

#[test]
fn limits_that_make_no_sense_are_refused_with_an_example() {
    let host = crate::host!();
    let cases: &[(&[&str], &[&str])] = &[
        (&["-m", "lots"], &["use --memory: 'lots' is no size", "hint: such as 64m"]),
        (&["--memory", "0"], &["'0'", "no limit"]),
        (&["--cpus", "two"], &["use --cpus: 'two' is no number of CPUs", "0.5"]),
        (&["--cpus", "0"], &["0.01"]),
        (&["--pids-limit", "0"], &["use --pids-limit: 0 is not from 1", "hint: -1 is no limit"]),
        (&["--pids-limit", "few"], &["'few'"]),
        (&["--ulimit", "nofile"], &["use --ulimit nofile", "hint: such as nofile=1024:4096"]),
        (&["--ulimit", "files=1"], &["no limit 'files'", "nofile"]),
        (&["--ulimit", "nofile=2:1"], &["above its hard one"]),
        (&["--ulimit", "nofile=unlimited"], &["the most here", "hint"]),
        (&["--timeout", "soon"], &["use --timeout: 'soon' is no time", "hint: such as 10s, 500ms, 2m or 1h"]),
        (&["--timeout", "100d"], &["too long", "49 days"]),
        (&["--stop-timeout", "1x"], &["use --stop-timeout: '1x' is no time"]),
    ];
    for (options, words) in cases {
        sandbox(&host, options, "true").run().assert_refused(125, words);
    }
}

#[test]
fn a_dry_run_shows_the_limits() {
    let host = crate::host!();
    let options =
        ["-m", "64m", "--cpus", "1.5", "--pids-limit", "100", "--ulimit", "nofile=64", "--ulimit", "core=0:-1"];
    let words = ["run", "--dry-run"].iter().chain(&options).chain(&["--", "true"]);
    let output = host.nsl(words).run();
    output.assert_code(0).assert_quiet();
    let stdout = output.stdout();
    let first: Vec<_> = stdout.lines().take(3).collect();
    assert_eq!(
        first[..2],
        ["on the host:", "  make a cgroup with at most 64 MiB of memory, 1.5 CPUs, 100 processes"],
        "{output}"
    );
    assert!(stdout.contains("\n  set the resource limits: nofile=64 core=0:unlimited\n"), "{output}");
}

// --- resource limits ---

#[test]
fn ulimits_are_the_commands() {
    let host = crate::host!("bash", "prlimit");
    let limits = ["nofile=100:200", "core=0", "nproc=1234", "stack=unlimited", "memlock=65536", "nofile=101:201"];
    let options: Vec<_> = limits.iter().flat_map(|limit| ["--ulimit", limit]).collect();
    let run = |user: bool, script: &str| {
        let command = host.nsl([&["run", "--network", "none"], &options[..], &["--", "bash", "-c", script]].concat());
        if user { command.as_user().run() } else { command.run() }
    };
    for user in [false, true] {
        let script = "echo $(ulimit -n) $(ulimit -Hn) $(ulimit -c) $(ulimit -u) $(ulimit -s) $(ulimit -l)";
        run(user, script).assert_prints("101 201 0 1234 unlimited 64");
    }
    let script = "prlimit --raw --noheadings --output SOFT,HARD --nofile --nproc --pid $$";
    assert_eq!(
        run(false, script).stdout().split_ascii_whitespace().collect::<Vec<_>>(),
        ["101", "201", "1234", "1234"]
    );
    // They hold.
    run(false, "exec 101>/dev/null").assert_code(1);
}

#[test]
fn ulimits_are_not_the_inits() {
    let host = crate::host!("bash");
    let script = "grep -c 'Max open files  *77 ' /proc/1/limits /proc/self/limits | cut -d : -f 2";
    let options = ["--ulimit", "nofile=77"];
    sandbox(&host, &options, script).run().assert_prints("0\n1");
}

#[test]
fn no_ulimit_goes_above_ones_own_hard_limit() {
    let host = crate::host!("prlimit");
    let run = |user: bool, limit: &str| {
        let limit = format!("--ulimit={limit}");
        let words = ["--nofile=300:400", NSL, "run", "--network", "none", &limit, "--", "sh", "-c", "ulimit -Hn"];
        let command = host.command("prlimit", words);
        if user { command.as_user().run() } else { command.run() }
    };
    run(true, "nofile=350").assert_prints("350");
    run(true, "nofile=400").assert_prints("400");
    let words = ["use --ulimit nofile=300:401: 400 is the most", "your own hard limit"];
    run(true, "nofile=300:401").assert_refused(125, &words);
    // Root may, unless it has been taken from it.
    let sets = fs::read_to_string("/proc/self/status").expect("read the capabilities");
    let effective = sets.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a set of capabilities");
    let may_raise = u64::from_str_radix(effective.trim(), 16).expect("a number") >> 24 & 1 == 1;
    if may_raise {
        run(false, "nofile=401").assert_prints("401");
    } else {
        run(false, "nofile=300:401").assert_refused(125, &words);
    }
}

// --- time ---

#[test]
fn a_command_that_ends_in_time_keeps_its_status() {
    let host = crate::host!();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143)] {
        let (output, took) = timed(sandbox(&host, &["--timeout", "1h"], script));
        output.assert_code(code).assert_quiet();
        assert!(took < SOON, "{took:?}");
    }
    sandbox(&host, &["--timeout", "1h"], "exec no-such-command").run().assert_code(127);
    host.nsl(["run", "--timeout", "1h", "--", "no-such-command"]).run().assert_refused(127, &["no-such-command"]);
    // As timeout(1) has it.
    sandbox(&host, &["--timeout", "0"], "sleep 0.2; exit 6").run().assert_code(6).assert_quiet();
}

#[test]
fn a_command_that_takes_too_long_is_asked_to_end_and_gives_124() {
    let host = crate::host!();
    let cases = [
        ("echo up; exec sleep 1000", "up"),
        ("trap 'echo asked; exit 3' TERM; echo up; sleep 1000 & wait", "up\nasked"),
        // What it leaves behind is asked as well.
        ("trap 'exit 3' TERM; (trap 'echo too; exit' TERM; echo up; sleep 1000 & wait) & wait", "up\ntoo"),
        ("echo up; kill -STOP $$", "up"),
        ("trap 'echo continued; exit' TERM; echo up; kill -STOP $$", "up\ncontinued"),
        ("sleep 1000 & echo up; kill -STOP $! $$", "up"),
    ];
    for (script, stdout) in cases {
        let (output, took, timeout) = timed_out(&host, &["--stop-timeout", "1h"], script, is_up);
        output.assert_code(124).assert_stdout(stdout).assert_quiet();
        assert!((timeout..timeout + SOON).contains(&took), "{script}: {took:?}");
    }
}

#[test]
fn what_does_not_end_when_asked_is_killed_and_gives_124() {
    let host = crate::host!();
    let cases = [
        "trap '' TERM; echo up; while :; do sleep 1000; done",
        "trap '' TERM; echo up; sleep 1000 & exec sleep 1000",
        // The command ends, the rest does not: all of it has the same time.
        "trap 'exit 3' TERM; (trap '' TERM; echo up; exec sleep 1000) & wait",
        "trap '' TERM; echo up; sleep 1000 & kill -STOP $! $$",
    ];
    for script in cases {
        let (output, took, timeout) = timed_out(&host, &["--stop-timeout", "300ms"], script, is_up);
        output.assert_code(124).assert_stdout("up").assert_quiet();
        let least = timeout + Duration::from_millis(300);
        assert!((least..least + SOON).contains(&took), "{script}: {took:?}");
        host.assert_clean();
    }
}

#[test]
fn what_a_command_leaves_behind_in_time_has_a_time_of_its_own() {
    let host = crate::host!();
    let script = "trap '' TERM; sleep 1000 & exit 5";
    let (output, took, _) = timed_out(&host, &["--stop-timeout", "1200ms"], script, |output| output.code == 5);
    output.assert_code(5).assert_quiet();
    assert!((Duration::from_millis(1200)..SOON).contains(&took), "{took:?}");
}

#[test]
fn time_that_is_up_is_told_to_who_asks() {
    let host = crate::host!();
    let options = ["--stop-timeout", "100ms", "--log-level", "info"];
    let script = "trap '' TERM; echo up; while :; do sleep 1000; done";
    let stderr = timed_out(&host, &options, script, is_up).0.stderr();
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    assert!(stderr.starts_with("nsl: the command has run for as long as --timeout allows"), "{stderr}");
}

#[test]
fn the_time_of_a_user_and_with_a_network_is_limited_as_well() {
    let host = crate::host!();
    sandbox(&host, &["--timeout", "100ms"], "sleep 1000").as_user().run().assert_code(124).assert_quiet();
    host.nsl(["run", "--timeout", "100ms", "--", "sleep", "1000"]).run().assert_code(124).assert_quiet();
    let output =
        host.command("script", ["-qec", &format!("{NSL} run --timeout 100ms -- sleep 1000"), "/dev/null"]).run();
    output.assert_code(124);
}

#[test]
fn signals_end_a_command_whose_time_runs() {
    let host = crate::host!();
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGKILL, 137)] {
        let mut running = sandbox(&host, &["--timeout", "1h"], "echo up; exec sleep 1000").start();
        assert_eq!(running.line(), "up");
        running.signal(signal);
        assert_eq!(running.finish().code, code);
        host.assert_clean();
    }
}

#[test]
fn a_launcher_killed_while_a_time_runs_out_leaves_nothing() {
    let host = crate::host!();
    let script = "trap '' TERM; setsid sleep 1000 & while :; do sleep 1000; done";
    for wait in (0..300).step_by(15) {
        let running = sandbox(&host, &["--timeout", "100ms", "--stop-timeout", "100ms"], script).start();
        std::thread::sleep(Duration::from_millis(wait));
        running.signal(Signal::SIGKILL);
        running.finish();
    }
    host.assert_clean();
}

#[test]
fn a_time_that_runs_out_fifty_times_leaves_nothing() {
    let host = crate::host!();
    for number in 0..50 {
        let network = if number % 5 == 0 { "veth" } else { "none" };
        let words = ["run", "--network", network, "--timeout", "100ms", "--", "sh", "-c", "sleep 1000 & sleep 1000"];
        host.nsl(words).run().assert_code(124).assert_quiet();
    }
    host.assert_clean();
}
