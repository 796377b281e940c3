//! What nsl-init's own options do, one by one, and how it lives at a terminal.

use crate::harness::{DIR, Host, is_stopped, only_child, wait_until};
use crate::init::{INIT, SOON, both, first, ordinary, signal};
use crate::pty::{CTRL_C, CTRL_Z, Pty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// A script that says which of these signals come, until TERM ends it with 3.
fn listener(signals: &str) -> String {
    let traps: Vec<_> = signals.split(' ').map(|name| format!("trap 'echo {name}' {name};")).collect();
    format!("{} trap 'exit 3' TERM; echo up; while :; do sleep 0.01; done", traps.concat())
}

/// Process, group, session, and foreground group of its terminal, as the command prints them of itself.
const PLACE: &str = "read -r stat < /proc/self/stat; set -- ${stat##*) }; echo pgrp $3 session $4 foreground $6 pid $$";

fn place(line: &str) -> [i32; 4] {
    let number = |word: &str| {
        let mut words = line.split_ascii_whitespace().skip_while(|found| *found != word);
        words.nth(1).and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line:?}"))
    };
    [number("pgrp"), number("session"), number("foreground"), number("pid")]
}

#[test]
fn signals_are_rewritten_and_dropped() {
    let host = crate::host!();
    let script = listener("USR1 USR2 HUP RTMIN+3");
    let args = ["-r", "USR1:USR2", "-rHUP:0", "-r", "12:RTMIN+3", "bash", "-c", &script];
    let mut running = first(&host, &args).start();
    assert_eq!(running.line(), "up");
    signal(&running, Signal::SIGHUP);
    signal(&running, Signal::SIGUSR1);
    assert_eq!(running.line(), "USR2");
    signal(&running, Signal::SIGUSR2);
    assert_eq!(running.line(), "RTMIN+3");
    signal(&running, Signal::SIGTERM);
    running.finish().assert_code(3).assert_stdout("");
}

#[test]
fn stop_signal_asks_the_command_and_what_it_leaves() {
    let host = crate::host!();
    let script = "(trap 'echo rest; exit' USR1; echo up; while :; do sleep 0.01; done) &
        trap 'echo command; exit 4' USR1; trap '' TERM; echo up; while :; do sleep 0.01; done";
    let start = Instant::now();
    let mut running = first(&host, &["--stop-signal", "USR1", "sh", "-c", script]).start();
    assert_eq!([running.line(), running.line()], ["up", "up"]);
    signal(&running, Signal::SIGTERM);
    assert_eq!([running.line(), running.line()], ["command", "rest"]);
    // The `sleep` of the rest is asked as well, of which its shell tells.
    running.finish().assert_code(4).assert_stdout("");
    assert!(start.elapsed() < SOON);
}

#[test]
fn a_second_request_during_the_grace_time_ends_it() {
    let host = crate::host!();
    let script = "(trap '' TERM INT; echo up; while :; do sleep 0.01; done) & echo up; exec sleep 1000";
    for (first_signal, second) in [(Signal::SIGTERM, Signal::SIGTERM), (Signal::SIGINT, Signal::SIGINT)] {
        for as_first in [true, false] {
            let args = ["--grace", "60s", "sh", "-c", script];
            let start = Instant::now();
            let mut running = if as_first { first(&host, &args).start() } else { ordinary(&host, &args).start() };
            assert_eq!([running.line(), running.line()], ["up", "up"]);
            let init = if as_first { only_child(running.pid(), "nsl-init") } else { running.pid() };
            let children = || fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap_or_default();
            let send = |signal| kill(Pid::from_raw(init.cast_signed()), signal).expect("signal the init");
            only_child(init, "sleep");
            let command = children();
            send(first_signal);
            wait_until("the command has ended", || !children().contains(command.trim()));
            send(second);
            running.finish().assert_code(128 + first_signal as i32);
            assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        }
    }
}

#[test]
fn as_a_subreaper_it_ends_what_is_left_as_well() {
    let host = crate::host!();
    let start = Instant::now();
    // Orphans in sessions of their own, stopped, and children of children.
    let script = "setsid -f sleep 1000; mkfifo born; (sleep 1000 & sleep 1000 & echo > born; wait) & read line < born;
        sleep 1000 & kill -STOP $!; exit 4";
    ordinary(&host, &["--grace", "30s", "sh", "-c", script]).cwd(DIR).run().assert_code(4).assert_quiet();
    // Each is asked once.
    let script = "mkfifo up; bash -c 'trap \"echo asked\" TERM; echo > up; while sleep 0.02; do :; done' & read line < up; exit 5";
    let output = ordinary(&host, &["--grace", "1s", "sh", "-c", script]).cwd(DIR).run();
    output.assert_code(5).assert_stdout("asked");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    // Those that fork as fast as they can are met as well.
    let script = "sh -c 'trap \"\" TERM; f() { (f) & (f) & sleep 0.3; }; f' & exec perl -e 'select undef, undef, undef, 0.05; exit 6'";
    let limited = ["prlimit", "--nproc=200", INIT, "--grace", "50ms", "sh", "-c", script];
    let output = host.command("setpriv", ["--reuid=1234", "--clear-groups"].iter().chain(&limited)).run();
    output.assert_code(6);
}

#[test]
fn what_may_not_be_killed_is_not_waited_for() {
    let host = crate::host!();
    host.sh("cp /usr/bin/setpriv /tmp/test/setpriv; chmod u+s /tmp/test/setpriv");
    let start = Instant::now();
    let script = "/tmp/test/setpriv --reuid 0 sleep 20 </dev/null >/dev/null 2>&1 &
        until grep -q sleep /proc/$!/comm; do sleep 0.01; done; exit 4";
    ordinary(&host, &["--grace", "50ms", "sh", "-c", script]).as_user().run().assert_code(4).assert_quiet();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    host.sh("rm /tmp/test/setpriv");
    for pid in host.processes() {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if comm.trim() == "sleep" {
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("kill what was left");
        }
    }
}

#[test]
fn without_a_proc_of_its_own_the_rest_is_left_and_that_is_said() {
    let host = crate::host!();
    for script in [
        "mount -t tmpfs none /proc; exec \"$0\" sh -c 'sleep 0.2 & exit 4'",
        "exec unshare --pid --fork sh -c '\"$0\" sh -c \"sleep 0.2 & exit 4\"; exit $?' \"$0\"",
    ] {
        let output = host.command("unshare", ["--mount", "sh", "-c", script, INIT]).run();
        output.assert_code(4);
        let line = "nsl-init: warning: cannot end what is left: /proc does not show this PID namespace";
        assert_eq!(output.stderr().trim(), line, "{output}");
    }
}

#[test]
fn rest_is_left_alone_or_waited_for_when_asked() {
    let host = crate::host!();
    let start = Instant::now();
    let output = ordinary(&host, &["--no-kill-rest", "sh", "-c", "(sleep 0.3; echo later) & exit 4"]).run();
    // The harness reads to the end of the output, which the one that was left holds.
    output.assert_code(4).assert_stdout("later");
    both(&host, &["--wait-all", "sh", "-c", "(sleep 0.3; echo later) & exit 4"], |output| {
        output.assert_code(4).assert_stdout("later");
    });
    let mut running = first(&host, &["--wait-all", "sh", "-c", "sleep 1000 & echo up; exit 4"]).start();
    assert_eq!(running.line(), "up");
    let init = only_child(running.pid(), "nsl-init");
    only_child(init, "sleep");
    signal(&running, Signal::SIGTERM);
    running.finish().assert_code(4);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn ready_descriptor_tells_of_the_command_and_stays_the_inits() {
    let host = crate::host!();
    let run =
        |words: &str| host.sh(&format!("exec 5>/tmp/test/ready; {INIT} --ready-fd 5 {words}; cat /tmp/test/ready"));
    let output = run("sh -c 'echo $$; test -e /proc/self/fd/5 || echo closed'");
    let lines: Vec<_> = output.lines().collect();
    assert!(lines.len() == 3 && lines[0] == lines[2] && lines[1] == "closed", "{output}");
    assert_eq!(run("no-such-command 2>/dev/null || true"), "");
    host.sh("rm /tmp/test/ready");
    let output = ordinary(&host, &["--ready-fd", "9", "true"]).run();
    assert!(output.assert_code(125).stderr().contains("the descriptor of --ready-fd is not open"), "{output}");
}

#[test]
fn pause_reaps_until_it_is_asked_to_end() {
    let host = crate::host!();
    for (signal, as_first) in [(Signal::SIGTERM, true), (Signal::SIGINT, false)] {
        let running = if as_first { first(&host, &["-P"]).start() } else { ordinary(&host, &["-P"]).start() };
        let init = if as_first { only_child(running.pid(), "nsl-init") } else { running.pid() };
        let send = |signal| kill(Pid::from_raw(init.cast_signed()), signal).expect("signal the init");
        wait_until("it waits", || {
            fs::read_to_string(format!("/proc/{init}/wchan")).is_ok_and(|wchan| wchan.contains("sigtimedwait"))
        });
        for ignored in [Signal::SIGUSR1, Signal::SIGHUP, Signal::SIGCHLD] {
            send(ignored);
        }
        send(signal);
        running.finish().assert_code(0).assert_quiet();
    }
}

#[test]
fn sockets_that_were_handed_to_the_init_are_the_commands() {
    let host = crate::host!();
    let script = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" sh -c 'test $LISTEN_PID = $$ && echo ours'";
    host.command("sh", ["-c", script, INIT]).run().assert_prints("ours");
    let script = "LISTEN_FDS=1 LISTEN_PID=1 exec \"$0\" sh -c 'echo $LISTEN_PID'";
    host.command("sh", ["-c", script, INIT]).run().assert_prints("1");
}

#[test]
fn environment_of_tini_counts() {
    let host = crate::host!();
    let script = "(trap 'echo child' USR1; echo up; while :; do sleep 0.01; done) & trap 'exit 3' TERM;
        trap : USR1; echo up; while :; do sleep 0.01; done";
    let mut running = first(&host, &["--grace=0", "sh", "-c", script]).env("TINI_KILL_PROCESS_GROUP", "1").start();
    assert_eq!([running.line(), running.line()], ["up", "up"]);
    signal(&running, Signal::SIGUSR1);
    assert_eq!(running.line(), "child");
    signal(&running, Signal::SIGTERM);
    running.finish().assert_code(3);
    let output = ordinary(&host, &["true"]).env("TINI_VERBOSITY", "3").run();
    assert!(output.stderr().contains("nsl-init: running as child subreaper"), "{output}");
}

#[test]
fn command_has_a_group_of_its_own_or_the_inits() {
    let host = crate::host!();
    let [group, session, _, pid] = place(&ordinary(&host, &["sh", "-c", PLACE]).run().stdout());
    assert!(group == pid && session != pid);
    let [group, _, _, pid] = place(&ordinary(&host, &["-c", "sh", "-c", PLACE]).run().stdout());
    assert_ne!(group, pid);
}

#[test]
fn a_full_process_table_is_one_line_and_125() {
    let host = crate::host!();
    let words = ["--reuid=4321", "--clear-groups", "prlimit", "--nproc=1", INIT, "true"];
    let output = host.command("setpriv", words).run();
    output.assert_code(125).assert_stdout("");
    assert_eq!(output.stderr(), "nsl-init: cannot start a process for true: Resource temporarily unavailable\n");
}

#[test]
fn a_process_that_gets_the_commands_number_is_not_taken_for_it() {
    let host = crate::host!();
    // What is left makes a process with the number that the command had, which is to get no signal of the command's. In
    // a session of its own: a number is not free as long as a group has it.
    host.sh("cat >/tmp/test/left <<'LEFT'
trap '' TERM
echo up
while kill -0 2 2>/dev/null; do sleep 0.01; done
echo 1 >/proc/sys/kernel/ns_last_pid
sh -c 'trap \"echo got USR1\" USR1; echo number $$; sleep 0.5; echo not signalled' &
wait
LEFT");
    let script = "setsid sh /tmp/test/left & read line; exit 4";
    let mut running = first(&host, &["--grace", "20s", "-g", "sh", "-c", script]).start();
    assert_eq!(running.line(), "up");
    running.write("go\n");
    assert_eq!(running.line(), "number 2");
    for _ in 0..20 {
        signal(&running, Signal::SIGUSR1);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(running.line(), "not signalled");
    running.finish().assert_code(4).assert_stdout("");
    host.sh("rm /tmp/test/left");
}

#[test]
fn a_bare_root_without_proc_and_dev_will_do() {
    let host = crate::host!("busybox");
    host.sh(&format!("mkdir /tmp/test/root; cp /bin/busybox {INIT} /tmp/test/root"));
    let run = |words: &[&str]| {
        let chroot = ["--pid", "--fork", "--kill-child", "chroot", "/tmp/test/root", "/nsl-init"];
        host.command("unshare", chroot.iter().chain(words)).run()
    };
    // The shell itself misses /dev/null, for what it starts in the background.
    let output = run(&["/busybox", "sh", "-c", "/busybox sleep 1000 & exit 3"]);
    assert!(!output.assert_code(3).stderr().contains("nsl-init"), "{output}");
    run(&["no-such-command"]).assert_code(127);
    run(&["-vv", "/busybox", "false"]).assert_code(1);
    let output = host.command("chroot", ["/tmp/test/root", "/nsl-init", "/busybox", "sh", "-c", "exit 3"]).run();
    output.assert_code(3).assert_quiet();
    host.sh("rm -r /tmp/test/root");
}

#[test]
fn stderr_that_nobody_reads_holds_nothing_up() {
    let host = crate::host!();
    // A pipe that is full, and whose reader sleeps.
    let script = "mkfifo /tmp/test/full; sleep 1000 0</tmp/test/full & reader=$!; exec 2>/tmp/test/full; \
        dd if=/dev/zero of=/dev/stderr bs=65536 count=1 status=none; \
        \"$0\" -vvv -w sh -c 'for n in 1 2 3; do (sleep 0.01 &); done; sleep 0.2; exit 3'; echo $?; kill $reader";
    host.command("sh", ["-c", script, INIT]).run().assert_stdout("3");
    host.sh("rm /tmp/test/full");
}

#[test]
fn an_empty_command_and_an_empty_argument_vector_are_refused() {
    let host = crate::host!("perl");
    both(&host, &[""], |output| {
        output.assert_code(127);
        assert_eq!(output.stderr(), "nsl-init: cannot execute : No such file or directory\n");
    });
    // The kernel makes an empty argument of none at all.
    let output = host.command("perl", ["-e", "my $init = shift; exec {$init} ''", INIT]).run();
    output.assert_code(125);
}

/// A shell with job control outside, as the leader of a session at a terminal.
fn outer(host: &Host) -> Pty {
    let shell = ["--noprofile", "--norc", "--noediting", "-i"];
    Pty::start(host.command("bash", shell).env("PS1", "outer> ").env("INIT", INIT))
}

#[test]
fn at_a_terminal_the_command_has_the_foreground_and_gives_it_back() {
    let host = crate::host!();
    let mut pty = outer(&host);
    pty.until("outer> ");
    pty.line(&format!("$INIT bash -c '{PLACE}'"));
    let [group, _, foreground, _] = place(&{
        pty.until("\npgrp");
        format!("pgrp{}", pty.until("\r"))
    });
    assert_eq!(group, foreground);
    pty.until("outer> ");
    // The script that goes on behind it reads from the terminal: in the background it could not.
    pty.line("sh -c '$INIT true; read line; echo got $line'");
    pty.line("a-line");
    pty.until("got a-line");
    pty.until("outer> ");
    // In the background it takes nothing.
    pty.line("$INIT sleep 0.3 & read line; wait; echo read $line");
    pty.line("another");
    pty.until("read another");
    pty.line("exit 0");
    assert_eq!(pty.end(), 0);
}

#[test]
fn keys_reach_the_command_and_stop_the_job() {
    let host = crate::host!();
    let mut pty = outer(&host);
    pty.until("outer> ");
    pty.line("$INIT sh -c 'trap \"echo inter\"\"rupted; exit 5\" INT; echo u\"\"p; while :; do sleep 0.01; done'; echo code=$?");
    pty.until("up\r\n");
    pty.keys(CTRL_C);
    pty.until("interrupted");
    pty.until("code=5");
    pty.until("outer> ");
    // Stopped with the init as a job of the shell, with everything in its group; continued by it.
    pty.line("$INIT bash -c 'echo u\"\"p; sleep 0.5; cat | cat; echo on again'; echo code=$?");
    pty.until("up\r\n");
    pty.keys(CTRL_Z);
    pty.until("Stopped");
    pty.line("jobs");
    pty.until("Stopped");
    pty.line("fg");
    pty.line("through the pipe");
    pty.until("through the pipe");
    pty.until("through the pipe");
    pty.keys("\x04");
    pty.until("on again");
    pty.line("exit 0");
    pty.until("exit");
}

#[test]
fn alone_at_a_terminal_ctrl_z_stops_nothing_for_good() {
    let host = crate::host!();
    // As a container's PID 1 has it: leader of the session, nobody above who could continue anything.
    let words = ["--pid", "--fork", "--kill-child", "--mount-proc", "setsid", "--ctty", "--wait"];
    let script = ["sh", "-c", "echo up; read line; echo got $line"];
    for setsid in [&words[..4], &words[..]] {
        let mut pty = Pty::start(host.command("unshare", setsid.iter().chain(&[INIT]).chain(&script)));
        pty.until("up");
        pty.keys(CTRL_Z);
        pty.line("a-line");
        pty.until("got a-line");
        assert_eq!(pty.end(), 0);
    }
}

#[test]
fn a_command_that_another_process_stops_and_continues_leaves_the_init_running() {
    let host = crate::host!();
    let mut running = ordinary(&host, &["sh", "-c", &listener("USR1")]).start();
    assert_eq!(running.line(), "up");
    let command = only_child(running.pid(), "sh");
    let send = |signal| kill(Pid::from_raw(command.cast_signed()), signal).expect("signal the command");
    for stop in [Signal::SIGSTOP, Signal::SIGTSTP] {
        send(stop);
        wait_until("the command is stopped", || is_stopped(command));
        // A signal that is not sent to end it does not wake it.
        running.signal(Signal::SIGUSR1);
        running.signal(Signal::SIGWINCH);
        std::thread::sleep(Duration::from_millis(50));
        assert!(is_stopped(command) && !is_stopped(running.pid()));
        send(Signal::SIGCONT);
        assert_eq!(running.line(), "USR1");
    }
    running.signal(Signal::SIGTERM);
    running.finish().assert_code(3);
}

#[test]
fn every_signal_that_can_be_caught_is_forwarded() {
    let host = crate::host!("perl");
    // One after the other: a signal that continues takes those that stop off the list of the pending, and they it.
    let script = r#"use POSIX; $| = 1; my @all = grep { !/^(0|9|17|19|32|33)$/ } 0 .. 64;
        my $set = POSIX::SigSet->new; $set->addset($_) for @all; sigprocmask(SIG_BLOCK, $set);
        print "up\n"; my %seen;
        while (keys %seen < @all) {
            my $now = POSIX::SigSet->new; sigpending($now);
            for (grep { !$seen{$_} && $now->ismember($_) } @all) { $seen{$_} = 1; print "$_\n" }
            select undef, undef, undef, 0.002;
        }
        exit 0;"#;
    for as_first in [true, false] {
        let args = ["perl", "-e", script];
        let mut running = if as_first { first(&host, &args).start() } else { ordinary(&host, &args).start() };
        assert_eq!(running.line(), "up");
        let init = if as_first { only_child(running.pid(), "nsl-init") } else { running.pid() };
        for number in (1..=64).filter(|number| ![9, 17, 19, 32, 33].contains(number)) {
            host.command("bash", ["-c", &format!("kill -{number} {init}")]).run().assert_code(0);
            assert_eq!(running.line(), number.to_string());
        }
        running.finish().assert_code(0);
    }
}
