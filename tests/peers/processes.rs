//! Where the command lives, what it inherits, and what becomes of orphans and of what is left behind.

use super::*;

#[test]
fn command_has_the_group_and_session_that_the_peers_give_it() {
    let host = peers!();
    let script = "set -- $(cat /proc/$$/stat); own() { if [ $1 = $$ ]; then echo own; else echo other; fi; }; \
        echo $(own $5) $(own $6)";
    for (words, expected) in [
        (&["tini", "-s"][..], "own other"),
        (&["tini", "-gs"], "own other"),
        (&["dumb-init"], "own own"),
        (&["dumb-init", "-c"], "other other"),
        (&["catatonit"], "own other"),
        (&["catatonit", "-g"], "own other"),
    ] {
        for whose in BOTH {
            let words: Vec<_> = words.iter().chain(&["--", "sh", "-c", script]).copied().collect();
            let called = Called::new(&host, whose, &words);
            called.first().run().assert_prints(expected);
            called.ordinary().run().assert_prints(expected);
        }
    }
    for (value, expected) in [("0", "other other"), ("1", "own own"), ("", "own own")] {
        for whose in BOTH {
            let called = Called::new(&host, whose, &["dumb-init", "sh", "-c", script]);
            called.environment(&[("DUMB_INIT_SETSID", value)]).first().run().assert_prints(expected);
        }
    }
}

#[test]
fn mask_and_dispositions_are_handed_on_as_the_peers_do() {
    let host = peers!();
    let status = |whose, name| {
        let called = Called::new(&host, whose, &[name, "--", "grep", "-E", "SigBlk|SigIgn", "/proc/self/status"]);
        let called =
            called.behind(&["env", "--ignore-signal=PIPE,INT,HUP,TSTP,TTIN", "--block-signal=USR1,TERM,RTMIN"]);
        let output = called.environment(&[("TINI_SUBREAPER", "")]).ordinary().run();
        let text = output.assert_code(0).assert_quiet().stdout();
        let sets = text.lines().filter_map(|line| u64::from_str_radix(line.split_once('\t')?.1, 16).ok());
        // The C library has 32 and 33 for itself: env(1) changes nothing of them.
        sets.map(|set| set & !(3 << 31)).collect::<Vec<_>>()
    };
    let lines = |mask: &[u32], ignored: &[u32]| {
        [mask, ignored].map(|signals| signals.iter().fold(0_u64, |set, number| set | 1 << (number - 1))).to_vec()
    };
    let (mask, ignored) = ([10, 15, 34], [13, 2, 1, 20, 21]);
    for whose in BOTH {
        assert_eq!(status(whose, "tini"), lines(&mask, &ignored), "{whose:?}");
        assert_eq!(status(whose, "dumb-init"), lines(&[], &[]), "{whose:?}");
    }
    assert_eq!(status(Ours, "catatonit"), lines(&mask, &ignored));
    // catatonit leaves these blocked: under it, Ctrl-Z stops nothing.
    assert_eq!(status(Theirs, "catatonit"), lines(&[10, 15, 34, 20, 21, 22], &ignored));
}

#[test]
fn dumb_init_asks_the_group_to_end_when_the_command_has() {
    let host = peers!();
    let left = "(trap 'echo TERM; exit' TERM; trap 'echo USR1; exit' USR1; echo up; \
        for n in $(seq 20); do sleep 0.02; done; echo neither) & while ! read line; do :; done; exit 5";
    for (words, expected) in [
        (&["dumb-init"][..], "TERM"),
        (&["dumb-init", "-c"], "neither"),
        (&["dumb-init", "-r", "15:10"], "USR1"),
        (&["dumb-init", "-r", "15:0"], "neither"),
        (&["tini", "-sg"], "neither"),
        (&["catatonit", "-g"], "neither"),
    ] {
        for whose in BOTH {
            let words: Vec<_> = words.iter().chain(&["--", "sh", "-c", left]).copied().collect();
            let mut running = Called::new(&host, whose, &words).ordinary().start();
            assert_eq!(running.line(), "up");
            running.write("end\n");
            assert_eq!(running.line(), expected, "{whose:?} {words:?}");
            running.finish().assert_code(5);
        }
    }
}

#[test]
fn nobody_waits_for_what_is_left() {
    let host = peers!();
    for name in EACH {
        for whose in BOTH {
            let script = "setsid -f sh -c \"trap '' TERM; sleep 1000\"; exit 4";
            let start = Instant::now();
            let output = Called::new(&host, whose, &[name, "--", "sh", "-c", script]).first().run();
            output.assert_code(4).assert_quiet();
            assert!(start.elapsed() < Duration::from_secs(5), "{whose:?} {name}: {:?}", start.elapsed());
        }
    }
}

#[test]
fn catatonit_pauses_without_a_command() {
    let host = peers!();
    for (words, end) in [
        (&["catatonit", "-P"][..], Signal::SIGTERM),
        (&["podman-init", "-P"], Signal::SIGINT),
        (&["catatonit", "-gP", "no-such-command"], Signal::SIGTERM),
    ] {
        for whose in BOTH {
            let running = Called::new(&host, whose, words).first().start();
            let init = init(&running, words[0]);
            for ignored in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGQUIT, Signal::SIGTSTP] {
                signal(init, ignored);
            }
            // An orphan is reaped.
            let entered = format!("nsenter -t {init} -p -m sh -c 'sleep 0.02 & echo $!' >/dev/null");
            host.sh(&entered);
            wait_until("no child is left", || {
                fs::read_to_string(format!("/proc/{init}/task/{init}/children")).is_ok_and(|list| list.is_empty())
            });
            assert!(!is_stopped(init));
            signal(init, end);
            running.finish().assert_code(0).assert_stdout("").assert_quiet();
        }
    }
}

/// Makes an orphan, tells its process ID, and waits for a line.
const ORPHAN: &str = "(sleep 1000 & echo $!); read line; exit 3";

#[test]
fn orphans_of_an_ordinary_process_are_adopted_where_the_peers_adopt_them() {
    let host = peers!();
    for (words, variable, adopts) in [
        (&["tini"][..], "NONE", false),
        (&["tini", "-s"], "NONE", true),
        (&["tini"], "TINI_SUBREAPER", true),
        (&["dumb-init"], "NONE", false),
        (&["dumb-init", "-c"], "NONE", false),
        (&["catatonit"], "NONE", true),
    ] {
        for whose in BOTH {
            let all: Vec<_> = words.iter().chain(&["--", "sh", "-c", ORPHAN]).copied().collect();
            let called = Called::new(&host, whose, &all).environment(&[(variable, "")]);
            let mut running = called.ordinary().start();
            let orphan = running.line();
            let (init, command) = (running.pid().to_string(), only_child_among(running.pid(), "sh"));
            let shown = format!("{whose:?} {words:?}");
            // The subshell that is its parent at first ends at once.
            wait_until("it is an orphan", || {
                let parent = parent(&orphan);
                parent == init
                    || parent == "1"
                    || fs::read_to_string(format!("/proc/{parent}/comm")).is_ok_and(|comm| comm != "sh\n")
            });
            assert_eq!(parent(&orphan) == init, adopts, "{shown}");
            signal(orphan.parse().expect("a process ID"), Signal::SIGKILL);
            if adopts {
                wait_until("the orphan is reaped", || !fs::exists(format!("/proc/{orphan}")).unwrap_or(true));
            }
            assert!(command != 0);
            running.write("go\n");
            let output = running.finish();
            output.assert_code(3);
            let warns = words == ["tini"] && variable == "NONE";
            assert_eq!(output.stderr().starts_with("[WARN  tini ("), warns, "{output}");
            assert_eq!(output.stderr().is_empty(), !warns, "{output}");
        }
    }
}

#[test]
fn listen_pid_that_names_the_init_becomes_the_commands() {
    let host = peers!();
    for (whose, name, expected) in [
        (Theirs, "catatonit", "2"),
        (Ours, "catatonit", "2"),
        (Theirs, "tini", "1"),
        (Ours, "tini", "2"),
        (Theirs, "dumb-init", "1"),
        (Ours, "dumb-init", "2"),
    ] {
        let run = |listen_pid| {
            let called = Called::new(
                &host,
                whose,
                &[name, "--", "sh", "-c", "echo $LISTEN_PID $LISTEN_FDS $(env | grep -c LISTEN_PID)"],
            );
            called.environment(&[("LISTEN_PID", listen_pid), ("LISTEN_FDS", "1")]).first().run()
        };
        run("1").assert_prints(&format!("{expected} 1 1"));
        run("7").assert_prints("7 1 1");
    }
}

#[test]
fn init_holds_no_descriptor_and_no_directory() {
    let host = peers!();
    let script = "for n in $(seq 100); do test \"$(readlink /proc/1/cwd) $(ls /proc/1/fd | grep -cx 7)\" = '/ 0' && break; \
        sleep 0.003; done; readlink /proc/1/cwd; ls /proc/1/fd | grep -cx 7; readlink /proc/self/fd/7";
    for (whose, name, expected) in [
        (Theirs, "tini", "/usr\n1\n/dev/null"),
        (Theirs, "dumb-init", "/\n1\n/dev/null"),
        (Theirs, "catatonit", "/usr\n0\n/dev/null"),
        (Ours, "tini", "/\n0\n/dev/null"),
        (Ours, "dumb-init", "/\n0\n/dev/null"),
        (Ours, "catatonit", "/\n0\n/dev/null"),
    ] {
        let called = Called::new(&host, whose, &[name, "--", "sh", "-c", script]);
        let called = called.behind(&["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--"]);
        let called = called.behind(&["sh", "-c", "exec 7</dev/null; exec \"$@\"", "sh"]);
        called.ordinary().cwd("/usr").run().assert_prints(expected);
    }
}

#[test]
fn sigchld_inherited_as_ignored_hangs_nothing() {
    let host = peers!();
    let called = |whose, name| {
        let called = Called::new(&host, whose, &[name, "--", "sh", "-c", "echo ran; exit 5"]);
        called.behind(&["env", "--ignore-signal=CHLD"]).environment(&[("TINI_SUBREAPER", "")])
    };
    for name in EACH {
        called(Ours, name).ordinary().run().assert_code(5).assert_stdout("ran");
    }
    called(Theirs, "dumb-init").ordinary().run().assert_code(5).assert_stdout("ran");
    let mut running = called(Theirs, "tini").ordinary().start();
    let init = running.pid();
    assert_eq!(running.line(), "ran");
    wait_until("the command has ended", || {
        fs::read_to_string(format!("/proc/{init}/task/{init}/children")).is_ok_and(|list| list.is_empty())
    });
    // Its next look is after a second at most.
    thread::sleep(Duration::from_millis(1300));
    assert!(fs::exists(format!("/proc/{init}/fd/0")).unwrap_or(false), "tini ends with SIGCHLD ignored");
    signal(init, Signal::SIGKILL);
    running.finish().assert_code(137);
}
