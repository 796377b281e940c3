//! Signals on their way to the command, to its group, or nowhere.

use super::*;

/// Tells of every USR1 that arrives, in the command and in a child of it.
const TELLS: &str = "(trap 'echo child' USR1; echo up; while :; do sleep 0.01; done) &
    trap 'echo command' USR1; trap 'exit 3' TERM; echo up; while :; do sleep 0.01; done";

#[test]
fn signals_go_to_the_command_or_to_its_group() {
    let host = peers!();
    let group = "TINI_KILL_PROCESS_GROUP";
    for (words, variable, expected) in [
        (&["tini", "-s"][..], "NONE", &["command"][..]),
        (&["tini", "-sg"], "NONE", &["child", "command"]),
        (&["tini", "-s"], group, &["child", "command"]),
        (&["dumb-init"], "NONE", &["child", "command"]),
        (&["dumb-init"], "DUMB_INIT_SETSID", &["command"]),
        (&["dumb-init", "-c"], "NONE", &["command"]),
        (&["catatonit"], "NONE", &["command"]),
        (&["catatonit", "-g"], "NONE", &["child", "command"]),
    ] {
        for whose in BOTH {
            let all: Vec<_> = words.iter().chain(&["--", "sh", "-c", TELLS]).copied().collect();
            let called = Called::new(&host, whose, &all).environment(&[(variable, "0")]);
            let mut running = called.first().start();
            assert_eq!([running.line(), running.line()], ["up", "up"]);
            let init = init(&running, words[0]);
            for _ in 0..2 {
                signal(init, Signal::SIGUSR1);
                let mut lines: Vec<_> = expected.iter().map(|_| running.line()).collect();
                lines.sort_unstable();
                assert_eq!(lines, expected, "{whose:?} {words:?}");
            }
            signal(init, Signal::SIGTERM);
            // A child that got none of them gets none late either.
            let output = running.finish();
            assert!(output.code == 3 || expected.len() == 2, "{output}");
            output.assert_stdout("");
        }
    }
}

/// Tells the number of every signal that arrives; ends at an end of file.
const ALL_SIGNALS: &str = "use Config; $| = 1; my @names = split ' ', $Config{sig_name}; \
    for my $number (1..64) { my $name = $names[$number]; next if $name =~ /^(KILL|STOP|CHLD|NUM32|NUM33)$/; \
    $SIG{$name} = sub { syswrite STDOUT, \"$number\\n\" } } \
    syswrite STDOUT, \"up\\n\"; while (1) { my $read = sysread STDIN, my $byte, 1; last if defined $read }";

#[test]
fn every_signal_is_forwarded_that_the_peers_forward() {
    let host = peers!();
    // Faults: sent to the peers themselves, and as ordinary processes they die of them.
    let faults = [4, 5, 6, 7, 8, 11, 31];
    let (stops, real_time): (Vec<_>, Vec<_>) = ((20..=22).collect(), (34..=64).collect());
    let standard = (1..=31).filter(|number| ![9, 17, 19].contains(number) && !stops.contains(number));
    let standard: Vec<_> = standard.filter(|number| !faults.contains(number)).collect();
    let tini: Vec<_> = standard.iter().chain(&real_time).chain(&[20]).copied().collect();
    let dumb_init: Vec<_> = standard.iter().chain(&faults).chain(&real_time).copied().collect();
    let catatonit: Vec<_> = standard.iter().chain(&real_time).copied().collect();
    let more = |own: &[i32], more: &[i32]| own.iter().chain(more).copied().collect::<Vec<_>>();
    for (whose, name, expected) in [
        (Theirs, "tini", tini.clone()),
        (Ours, "tini", more(&tini, &faults)),
        (Theirs, "dumb-init", dumb_init.clone()),
        (Ours, "dumb-init", dumb_init),
        (Theirs, "catatonit", catatonit.clone()),
        (Ours, "catatonit", more(&catatonit, &faults)),
    ] {
        let called = Called::new(&host, whose, &[name, "--", "perl", "-e", ALL_SIGNALS]);
        let mut running = called.environment(&[("TINI_SUBREAPER", "")]).ordinary().start();
        assert_eq!(running.line(), "up");
        for number in expected {
            // kill(1) knows real-time signals, nix does not.
            host.sh(&format!("kill -{number} {}", running.pid()));
            assert_eq!(running.line(), number.to_string(), "{whose:?} {name}");
        }
        running.finish().assert_code(0).assert_stdout("").assert_quiet();
    }
}

#[test]
fn signals_that_end_an_ordinary_peer_do_not_end_this_init() {
    let host = peers!();
    for (name, number) in [("tini", 6), ("tini", 11), ("catatonit", 6)] {
        for whose in BOTH {
            let called = Called::new(&host, whose, &[name, "--", "perl", "-e", ALL_SIGNALS]);
            let called = called.behind(&["prlimit", "--core=0"]).environment(&[("TINI_SUBREAPER", "")]);
            let mut running = called.ordinary().start();
            assert_eq!(running.line(), "up");
            host.sh(&format!("kill -{number} {}", running.pid()));
            if whose == Ours {
                assert_eq!(running.line(), number.to_string());
                running.finish().assert_code(0);
            } else {
                running.finish().assert_code(128 + number);
            }
        }
    }
}

#[test]
fn dumb_init_rewrites_signals() {
    let host = peers!();
    // What is dropped does not arrive; the last rule for a signal counts; rules are not applied one after the other.
    let rules = ["-r", "10:12", "-r12:1", "--rewrite", "2:0", "-r", "1:3", "-r", "1:15", "-r", "15:10"];
    for single in [&[][..], &["-c"]] {
        for whose in BOTH {
            let words = ["dumb-init"].iter().chain(single).chain(&rules).chain(&["perl", "-e", ALL_SIGNALS]);
            let mut running = Called::new(&host, whose, &words.copied().collect::<Vec<_>>()).first().start();
            assert_eq!(running.line(), "up");
            let init = init(&running, "dumb-init");
            for (sent, arrives) in [
                (Signal::SIGUSR1, "12"),
                (Signal::SIGINT, ""),
                (Signal::SIGUSR2, "1"),
                (Signal::SIGHUP, "15"),
                (Signal::SIGTERM, "10"),
                (Signal::SIGWINCH, "28"),
            ] {
                signal(init, sent);
                if !arrives.is_empty() {
                    assert_eq!(running.line(), arrives, "{whose:?} {single:?} {sent}");
                }
            }
            running.finish().assert_code(0).assert_stdout("").assert_quiet();
        }
    }
}

/// Waits for signals in one process: a shell that starts others may be stopped in the middle of that, where it cannot be.
const WAITS: &str = "$| = 1; $SIG{TERM} = sub { exit 3 }; print \"up\\n\"; sleep 1 while 1";

#[test]
fn stop_signals_are_forwarded_or_not_as_by_the_peers() {
    let host = peers!();
    for (words, sent, init_stops, command_stops) in [
        (&["tini", "-s"][..], Signal::SIGTTIN, false, false),
        (&["tini", "-s"], Signal::SIGTTOU, false, false),
        (&["catatonit"], Signal::SIGTSTP, false, false),
        (&["catatonit"], Signal::SIGTTIN, false, false),
        (&["catatonit"], Signal::SIGTTOU, false, false),
        (&["dumb-init"], Signal::SIGTSTP, true, true),
        (&["dumb-init"], Signal::SIGTTIN, true, true),
        (&["dumb-init"], Signal::SIGTTOU, true, true),
        (&["dumb-init", "-c"], Signal::SIGTSTP, true, true),
        // It stops itself whatever becomes of the signal.
        (&["dumb-init", "-r", "20:0"], Signal::SIGTSTP, true, false),
        (&["dumb-init", "-r", "20:28"], Signal::SIGTSTP, true, false),
    ] {
        for whose in BOTH {
            stop_and_go_on(&host, whose, words, sent, (init_stops, command_stops));
        }
    }
    // Stopped with its command, it is a job that a shell sees stop; tini goes on alone.
    stop_and_go_on(&host, Theirs, &["tini", "-s"], Signal::SIGTSTP, (false, true));
    stop_and_go_on(&host, Ours, &["tini", "-s"], Signal::SIGTSTP, (true, true));
}

#[track_caller]
fn stop_and_go_on(host: &Host, whose: Whose, words: &[&str], sent: Signal, stops: (bool, bool)) {
    let all: Vec<_> = words.iter().chain(&["--", "perl", "-e", WAITS]).copied().collect();
    let mut running = Called::new(host, whose, &all).ordinary().start();
    let shown = format!("{whose:?} {words:?} {sent}");
    assert_eq!(running.line(), "up");
    let (init, command) = (running.pid(), only_child(running.pid(), "perl"));
    let both = || (is_stopped(init), is_stopped(command));
    signal(init, sent);
    wait_until(&format!("those are stopped that are to be: {shown}"), || {
        let now = both();
        now.0 >= stops.0 && now.1 >= stops.1
    });
    if stops != (true, true) {
        thread::sleep(Duration::from_millis(30));
    }
    assert_eq!(both(), stops, "{shown}");
    signal(init, Signal::SIGCONT);
    wait_until(&format!("both go on: {shown}"), || both() == (false, false));
    signal(init, Signal::SIGTERM);
    running.finish().assert_code(3).assert_stdout("");
}

#[test]
fn dumb_init_stops_its_group_by_a_signal_that_cannot_be_caught() {
    let host = peers!();
    let script = format!("$SIG{{TSTP}} = sub {{ syswrite STDOUT, \"caught\\n\" }}; {WAITS}");
    for (words, reaches) in [(&["dumb-init"][..], false), (&["dumb-init", "-c"], true)] {
        for whose in BOTH {
            let all: Vec<_> = words.iter().chain(&["--", "perl", "-e", &script]).copied().collect();
            let mut running = Called::new(&host, whose, &all).ordinary().start();
            assert_eq!(running.line(), "up");
            let command = only_child(running.pid(), "perl");
            running.signal(Signal::SIGTSTP);
            if reaches {
                assert_eq!(running.line(), "caught");
            } else {
                wait_until("the command is stopped", || is_stopped(command));
            }
            wait_until("the init is stopped", || is_stopped(running.pid()));
            running.signal(Signal::SIGCONT);
            running.signal(Signal::SIGTERM);
            running.finish().assert_code(3).assert_stdout("");
        }
    }
}

#[test]
fn tini_gets_a_signal_when_its_parent_ends() {
    let host = peers!();
    for whose in BOTH {
        let script =
            "tini -s -p SIGUSR1 -- sh -c 'trap \"echo got; exit\" USR1; echo up; while :; do sleep 0.01; done' & wait";
        let mut running = Called::new(&host, whose, &["sh", "-c", script]).ordinary().start();
        assert_eq!(running.line(), "up");
        running.signal(Signal::SIGKILL);
        assert_eq!(running.line(), "got", "{whose:?}");
    }
}

#[test]
fn command_that_may_not_be_signalled_does_not_end_the_init() {
    let host = peers!();
    host.sh("cp /usr/bin/setpriv /tmp/test/setpriv; chmod u+s /tmp/test/setpriv");
    let script = "echo up; exec /tmp/test/setpriv --reuid 0 sh -c 'cat; exit 6'";
    for (whose, name, code) in [
        (Theirs, "tini", 1),
        (Ours, "tini", 6),
        (Ours, "dumb-init", 6),
        (Ours, "catatonit", 6),
        (Theirs, "catatonit", 6),
    ] {
        let called = Called::new(&host, whose, &[name, "--", "sh", "-c", script]);
        let mut running = called.environment(&[("TINI_SUBREAPER", "")]).ordinary().as_user().start();
        assert_eq!(running.line(), "up");
        wait_until("the command is root's", || {
            let child = only_child_among(running.pid(), "sh");
            fs::read_to_string(format!("/proc/{child}/status")).is_ok_and(|text| text.contains("Uid:\t0\t0\t"))
        });
        running.signal(Signal::SIGWINCH);
        running.finish().assert_code(code);
    }
}

#[test]
fn command_that_has_left_its_group_still_gets_its_signals() {
    let host = peers!();
    // A leader cannot leave its session, but its group.
    let script = "$| = 1; my $child = fork // die; unless ($child) { setpgrp 0, 0; sleep 1000 } \
        select undef, undef, undef, 0.001 until getpgrp($child) == $child; setpgrp 0, $child or die; \
        $SIG{USR1} = sub { print \"got\\n\" }; $SIG{TERM} = sub { kill 9, $child; exit 3 }; print \"up\\n\"; sleep 1 while 1";
    for (whose, name) in [(Theirs, "tini"), (Ours, "tini"), (Theirs, "catatonit"), (Ours, "catatonit")] {
        let mut running = Called::new(&host, whose, &[name, "-g", "--", "perl", "-e", script]).first().start();
        assert_eq!(running.line(), "up");
        let init = init(&running, name);
        signal(init, Signal::SIGUSR1);
        if whose == Ours {
            assert_eq!(running.line(), "got", "{name}");
            signal(init, Signal::SIGTERM);
            running.finish().assert_code(3).assert_quiet();
        } else {
            signal(init, Signal::SIGTERM);
            thread::sleep(A_WHILE);
            signal(only_child_among(init, "perl"), Signal::SIGKILL);
            let output = running.finish();
            output.assert_code(137).assert_stdout("");
            let warns = output.stderr().starts_with("[WARN  tini (1)] Child was dead when forwarding signal\n");
            assert_eq!(warns, name == "tini", "{output}");
        }
    }
}

#[test]
fn stopped_command_goes_on_when_it_is_asked_to_end() {
    let host = peers!();
    let script = "trap 'exit 3' TERM; echo up; kill -STOP $$; exit 4";
    for name in EACH {
        for whose in BOTH {
            let mut running = Called::new(&host, whose, &[name, "--", "sh", "-c", script]).first().start();
            assert_eq!(running.line(), "up");
            let init = init(&running, name);
            let command = only_child(init, "sh");
            wait_until("the command is stopped", || is_stopped(command));
            signal(init, Signal::SIGTERM);
            if whose == Theirs {
                thread::sleep(A_WHILE);
                assert!(is_stopped(command), "{name}");
                signal(command, Signal::SIGCONT);
            }
            running.finish().assert_code(3).assert_quiet();
        }
    }
}

#[test]
fn signals_that_wait_already_when_the_init_starts_reach_the_command() {
    let host = peers!();
    // Blocked and pending, as nsl hands them on. The command lets them through; under dumb-init they are.
    let script = "kill -TERM $$; kill -USR1 $$; exec \"$0\" -- perl -MPOSIX -e '$| = 1; $SIG{USR1} = sub { print \"USR1\\n\" }; \
        $SIG{TERM} = sub { print \"TERM\\n\" }; sigprocmask(SIG_SETMASK, POSIX::SigSet->new); sleep 1 for 1..2'";
    for name in ["tini", "catatonit"] {
        let called = Called::new(&host, Ours, &["env", "--block-signal=TERM,USR1", "sh", "-c", script, name]);
        let mut running = called.first().start();
        let mut lines = [running.line(), running.line()];
        lines.sort_unstable();
        assert_eq!(lines, ["TERM", "USR1"], "{name}");
        running.finish().assert_code(0).assert_quiet();
    }
}
