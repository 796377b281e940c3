//! nsl-init alone, as an image's ENTRYPOINT has it: as PID 1 of a PID namespace, and as an ordinary process.

use crate::harness::{Host, Invocation, NSL_INIT, Output, Running, only_child, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// The init that nsl has inside.
pub const INIT: &str = NSL_INIT;
/// Far below the grace times that must not be waited for.
pub const SOON: Duration = Duration::from_secs(5);

/// As PID 1.
pub fn first<'a>(host: &'a Host, args: &[&'a str]) -> Invocation<'a> {
    let words = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", INIT];
    host.command("unshare", words.iter().chain(args))
}

/// As an ordinary process.
pub fn ordinary<'a>(host: &'a Host, args: &[&'a str]) -> Invocation<'a> {
    host.command(INIT, args)
}

/// Runs it both ways, to the same effect.
#[track_caller]
pub fn both(host: &Host, args: &[&str], check: impl Fn(&Output)) {
    check(&ordinary(host, args).run());
    check(&first(host, args).run());
}

/// Sends a signal to the init of a `first`.
pub fn signal(running: &Running, signal: Signal) {
    let init = only_child(running.pid(), "nsl-init");
    kill(Pid::from_raw(init.cast_signed()), signal).expect("send the signal");
}

#[test]
fn program_is_static_and_small() {
    let bytes = fs::read(env!("NSL_INIT")).expect("read nsl-init");
    assert!(bytes.len() <= 32768, "{} bytes", bytes.len());
    let number = |at: usize, length: usize| {
        bytes[at..at + length].iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    // elf(5): e_phoff, e_phentsize, e_phnum; of each program header, p_type.
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let types: Vec<_> = (0..count).map(|index| number(start + index * size, 4)).collect();
    let (dynamic, interpreter) = (2, 3);
    assert!(!types.is_empty() && !types.contains(&dynamic) && !types.contains(&interpreter), "{types:?}");
}

#[test]
fn memory_of_a_waiting_init_is_a_few_pages() {
    let host = crate::host!();
    let mut running = first(&host, &["sh", "-c", "echo up; exec sleep 1000"]).start();
    assert_eq!(running.line(), "up");
    let init = only_child(running.pid(), "nsl-init");
    only_child(init, "sleep");
    wait_until("the init waits for signals", || {
        fs::read_to_string(format!("/proc/{init}/wchan")).is_ok_and(|place| place.contains("sigtimedwait"))
    });
    let rollup = fs::read_to_string(format!("/proc/{init}/smaps_rollup")).expect("read smaps_rollup");
    let sum = |names: &[&str]| -> u32 {
        let lines = rollup.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
        lines.filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<u32>().ok()).sum()
    };
    let (resident, own) = (sum(&["Rss:"]), sum(&["Private_Clean:", "Private_Dirty:"]));
    println!("nsl-init as PID 1: {resident} kB resident, {own} kB of them its own");
    assert!((1..=40).contains(&resident) && own <= 16, "{rollup}");
}

#[test]
fn exit_code_and_signal_of_the_command_are_the_inits() {
    let host = crate::host!();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill -64 $$", 192)] {
        both(&host, &["bash", "-c", script], |output| {
            output.assert_code(code).assert_quiet();
        });
    }
}

#[test]
fn options_end_at_the_first_word_that_is_none() {
    let host = crate::host!();
    for args in [
        &["sh", "-c", "echo -g $0", "-e"][..],
        &["--", "sh", "-c", "echo -g $0", "-e"],
        &["-g", "sh", "-c", "echo -g $0", "-e"],
    ] {
        both(&host, args, |output| {
            output.assert_prints("-g -e");
        });
    }
}

#[test]
fn codes_given_with_e_become_0() {
    let host = crate::host!();
    for (exit, code) in [("143", 0), ("7", 0), ("8", 8)] {
        both(&host, &["-e", "143", "-e7", "sh", "-c", &format!("exit {exit}")], |output| {
            output.assert_code(code);
        });
    }
}

#[test]
fn help_version_and_licence_go_to_stdout() {
    let host = crate::host!();
    for (args, start) in [
        ("-h", "Usage: nsl-init "),
        ("--help", "Usage: nsl-init "),
        ("--version", "nsl-init "),
        ("-l", "nsl-init is licensed"),
    ] {
        both(&host, &[args, "no-such-command"], |output| {
            assert!(output.assert_code(0).assert_quiet().stdout().starts_with(start), "{output}");
        });
    }
}

#[test]
fn wrong_usage_is_one_line_and_125() {
    let host = crate::host!();
    for (args, line) in [
        (&["--nope", "true"][..], "cannot read the options: unknown option: --nope (hint: see nsl-init --help)"),
        (&["-x", "true"], "cannot read the options: unknown option: -x (hint: see nsl-init --help)"),
        (&["-e", "256", "true"], "cannot read the options: no exit code: 256 (hint: see nsl-init --help)"),
        (&["-p"], "cannot read the options: a value is missing behind: -p (hint: see nsl-init --help)"),
        (
            &["--grace", "1h", "true"],
            "cannot read the options: no duration (such as 10s or 500ms): 1h (hint: see nsl-init --help)",
        ),
        (&[], "cannot start: no command given (hint: nsl-init COMMAND [ARG]...)"),
        (&["-g", "--"], "cannot start: no command given (hint: nsl-init COMMAND [ARG]...)"),
    ] {
        both(&host, args, |output| {
            output.assert_code(125).assert_stdout("");
            assert_eq!(output.stderr(), format!("nsl-init: {line}\n"), "{output}");
        });
    }
}

#[test]
fn what_cannot_be_executed_is_told_in_one_line() {
    let host = crate::host!();
    host.sh("cd /tmp/test; echo '#!/no/such' > orphaned; printf '\\177ELF\\0' > alien; echo 'exit 4$#' > script; \
        touch plain; chmod +x orphaned alien script");
    for (name, code, line) in [
        ("no-such-command", 127, "cannot execute no-such-command: No such file or directory"),
        ("/tmp/test/plain", 126, "cannot execute /tmp/test/plain: Permission denied"),
        ("/tmp/test", 126, "cannot execute /tmp/test: Permission denied"),
        ("/tmp/test/plain/x", 126, "cannot execute /tmp/test/plain/x: Not a directory"),
        ("/tmp/test/alien", 126, "cannot execute /tmp/test/alien: Exec format error"),
        ("/tmp/test/orphaned", 127, "cannot execute the interpreter of /tmp/test/orphaned: No such file or directory"),
    ] {
        both(&host, &[name, "x"], |output| {
            output.assert_code(code).assert_stdout("");
            assert_eq!(output.stderr(), format!("nsl-init: {line}\n"), "{output}");
        });
    }
    both(&host, &["/tmp/test/script", "x"], |output| {
        output.assert_code(41).assert_quiet();
    });
    host.sh("rm /tmp/test/*");
}

#[test]
fn sigchld_inherited_as_ignored_hangs_nothing() {
    let host = crate::host!();
    for words in [&[INIT][..], &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", INIT]] {
        // unshare itself sees no end of its child then; what counts is that both end.
        let words = ["--ignore-signal=CHLD"].iter().chain(words).chain(&["sh", "-c", "echo ran; exit 5"]);
        let output = host.command("env", words).run();
        output.assert_stdout("ran");
        assert!(output.code == 5 || output.stderr().contains("unshare"), "{output}");
    }
}

#[test]
fn command_gets_the_mask_as_inherited_and_default_dispositions() {
    let host = crate::host!();
    let status = |words: &[&str]| {
        let words = words.iter().chain(&[INIT, "grep", "-E", "SigBlk|SigIgn", "/proc/self/status"]);
        host.command("env", words).run().assert_code(0).assert_quiet().stdout()
    };
    let expected = |mask: u64| format!("SigBlk:\t{mask:016x}\nSigIgn:\t{:016x}\n", 0);
    assert_eq!(status(&["--default-signal"]), expected(0));
    assert_eq!(status(&["--ignore-signal=PIPE,CHLD,INT"]), expected(0));
    assert_eq!(status(&["--block-signal=USR1,TERM,CHLD,RTMIN"]), expected(1 << 9 | 1 << 14 | 1 << 16 | 1 << 33));
}

#[test]
fn closed_streams_do_no_harm() {
    let host = crate::host!();
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let script = format!("exec \"$0\" sh -c 'exit 6' {closed}");
        host.command("sh", ["-c", &script, INIT]).run().assert_code(6);
    }
}

#[test]
fn no_descriptor_stays_in_the_init_and_those_given_reach_the_command() {
    let host = crate::host!();
    // The init closes its copies once the command has been executed, which may look before.
    let script = "exec 7</dev/null; exec unshare --pid --fork --kill-child --mount --mount-proc \"$0\" \
        sh -c 'for n in $(seq 500); do test $(ls /proc/1/fd | wc -w) = 3 && break; sleep 0.01; done; ls /proc/1/fd | tr \"\\n\" \" \"; readlink /proc/1/cwd /proc/self/fd/7'";
    host.command("sh", ["-c", script, INIT]).cwd("/usr").run().assert_prints("0 1 2 /\n/dev/null");
}

#[test]
fn orphans_are_reaped() {
    let host = crate::host!("perl");
    let script = "for (1..5000) { my $child = fork // die; unless ($child) { fork // die; exit } waitpid $child, 0 }
        for (1..1000) {
            my $left = grep { /^PPid:\\t1$/m && !/^Pid:\\t$$$/m } map { open(my $file, '<', $_) ? join('', <$file>) : '' }
                glob '/proc/[0-9]*/status';
            unless ($left) { print \"none left\\n\"; exit }
            select undef, undef, undef, 0.005;
        }";
    first(&host, &["perl", "-e", script]).run().assert_prints("none left");
}

#[test]
fn not_as_pid_1_it_reaps_as_a_subreaper() {
    let host = crate::host!();
    let mut running = ordinary(&host, &["sh", "-c", "(sleep 1000 & echo $!); read line; exit 3"]).start();
    let orphan = running.line();
    let init = running.pid();
    wait_until("the orphan is the init's", || {
        fs::read_to_string(format!("/proc/{orphan}/status"))
            .is_ok_and(|text| text.contains(&format!("PPid:\t{init}\n")))
    });
    kill(Pid::from_raw(orphan.parse().expect("a process ID")), Signal::SIGKILL).expect("kill the orphan");
    wait_until("the orphan is reaped", || !fs::exists(format!("/proc/{orphan}")).unwrap_or(true));
    running.write("go\n");
    running.finish().assert_code(3).assert_quiet();
}

#[test]
fn signals_go_to_the_command_and_with_g_to_its_group() {
    let host = crate::host!();
    let script = "(trap 'echo child USR1' USR1; echo up; while :; do sleep 0.01; done) &
        trap 'echo command USR1' USR1; trap 'exit 3' TERM; echo up; while :; do sleep 0.01; done";
    let mut running = first(&host, &["--grace", "0", "sh", "-c", script]).start();
    assert_eq!([running.line(), running.line()], ["up", "up"]);
    for _ in 0..3 {
        signal(&running, Signal::SIGUSR1);
        assert_eq!(running.line(), "command USR1");
    }
    signal(&running, Signal::SIGTERM);
    running.finish().assert_code(3).assert_stdout("");

    let mut running = first(&host, &["-g", "--grace", "0", "sh", "-c", script]).start();
    assert_eq!([running.line(), running.line()], ["up", "up"]);
    signal(&running, Signal::SIGUSR1);
    let mut lines = [running.line(), running.line()];
    lines.sort_unstable();
    assert_eq!(lines, ["child USR1", "command USR1"]);
}

#[test]
fn real_time_signals_are_forwarded() {
    let host = crate::host!();
    let script = "trap 'echo got' RTMIN+3; echo up; while :; do sleep 0.01; done";
    let mut running = first(&host, &["bash", "-c", script]).start();
    assert_eq!(running.line(), "up");
    let init = only_child(running.pid(), "nsl-init");
    host.sh(&format!("kill -37 {init}"));
    assert_eq!(running.line(), "got");
}

#[test]
fn a_stopped_command_is_continued_when_it_is_asked_to_end() {
    let host = crate::host!();
    let mut running = first(&host, &["sh", "-c", "trap 'exit 3' TERM; echo up; kill -STOP $$; exit 4"]).start();
    assert_eq!(running.line(), "up");
    let command = only_child(only_child(running.pid(), "nsl-init"), "sh");
    wait_until("the command is stopped", || {
        fs::read_to_string(format!("/proc/{command}/status")).is_ok_and(|text| text.contains("State:\tT"))
    });
    signal(&running, Signal::SIGTERM);
    running.finish().assert_code(3).assert_quiet();
}

#[test]
fn a_command_that_may_not_be_signalled_does_not_end_the_init() {
    let host = crate::host!();
    // An init of an ordinary user, with a command that is root's by a set-user-ID program: EPERM for every signal.
    host.sh("cp /usr/bin/setpriv /tmp/test/setpriv; chmod u+s /tmp/test/setpriv");
    let script = "echo up; exec /tmp/test/setpriv --reuid 0 sleep 1";
    let mut running = ordinary(&host, &["sh", "-c", script]).as_user().start();
    assert_eq!(running.line(), "up");
    only_child(running.pid(), "sleep");
    for signal in [Signal::SIGWINCH, Signal::SIGUSR1, Signal::SIGTERM] {
        running.signal(signal);
    }
    host.sh("rm /tmp/test/setpriv");
    running.finish().assert_code(0).assert_quiet();
}

#[test]
fn what_is_left_is_ended_in_order() {
    let host = crate::host!();
    let start = Instant::now();
    // Stopped, in a session of its own, in the background: asked, and gone at once.
    let script = "sleep 1000 & kill -STOP $!; setsid -f sleep 1000; sleep 1000 & exit 4";
    first(&host, &["--grace", "30s", "sh", "-c", script]).run().assert_code(4).assert_quiet();
    // Nothing left.
    first(&host, &["--grace", "30s", "true"]).run().assert_code(0);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());

    let start = Instant::now();
    let script = "trap '' TERM; sleep 1000 & exit 4";
    first(&host, &["--grace", "300ms", "sh", "-c", script]).run().assert_code(4).assert_quiet();
    assert!((Duration::from_millis(300)..SOON).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn warnings_and_words_come_when_asked_for() {
    let host = crate::host!();
    let orphan = ["-w", "sh", "-c", "sleep 1000 & exit 0"];
    let output = first(&host, &orphan).run();
    assert_eq!(output.assert_code(0).stderr(), "nsl-init: warning: reaped an orphan, process 3\n");
    let output = first(&host, &["-vv", "sh", "-c", "kill -QUIT $$"]).run();
    let lines = ["running as PID 1", "started sh as process 2", "the command was ended by SIGQUIT"];
    assert_eq!(output.stderr(), lines.map(|line| format!("nsl-init: {line}\n")).concat());
    let said = ordinary(&host, &["-vv", "true"]).run().stderr();
    assert!(said.starts_with("nsl-init: running as child subreaper\n"), "{said}");
    assert_eq!(ordinary(&host, &["true"]).run().stderr(), "");
}

#[test]
fn end_of_the_parent_is_the_signal_asked_for() {
    let host = crate::host!();
    let script = "\"$0\" -p USR1 sh -c 'trap \"echo got; exit\" USR1; echo up; while :; do sleep 0.01; done' & wait";
    let mut running = host.command("sh", ["-c", script, INIT]).start();
    assert_eq!(running.line(), "up");
    running.signal(Signal::SIGKILL);
    assert_eq!(running.line(), "got");
}
