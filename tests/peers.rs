//! nsl-init in the place of tini, dumb-init and catatonit, side by side with the programs themselves: what a case
//! expects is expected of both. Where nsl-init is better on purpose, the defect of the other is a test too, if it can
//! be had at will.

use crate::harness::{Host, Invocation, Output, PATIENCE, Running, only_child, wait_until};
use crate::pty::{CTRL_C, CTRL_Z, Pty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Ends the test here unless it can have a host, with the programs that nsl-init stands for. In it, every name leads
/// to the program itself in `theirs`, and to nsl-init in `ours`: by a symbolic link, a hard link or a copy.
macro_rules! peers {
    () => {{
        let host = crate::host!("tini", "tini-static", "dumb-init", "catatonit", "bash", "perl", "setpriv", "setsid");
        let script = format!(
            "mkdir /tmp/test/theirs /tmp/test/ours
             cd /tmp/test/theirs
             ln -s /usr/bin/tini /usr/bin/tini-static /usr/bin/dumb-init /usr/bin/catatonit .
             ln -s /usr/bin/tini docker-init
             ln -s /usr/bin/catatonit podman-init
             cd /tmp/test/ours
             ln -s {INIT} tini
             ln -s {INIT} dumb-init
             cp {INIT} tini-static
             cp {INIT} catatonit
             cp {INIT} nsl-init
             ln nsl-init docker-init
             ln nsl-init podman-init"
        );
        host.sh(&script);
        host
    }};
}

/// The init that nsl has inside.
const INIT: &str = env!("NSL_INIT");
const TINI: &[&str] = &["tini", "tini-static", "docker-init"];
const DUMB_INIT: &[&str] = &["dumb-init"];
const CATATONIT: &[&str] = &["catatonit", "podman-init"];
/// A name of each.
const EACH: &[&str] = &["tini", "dumb-init", "catatonit"];
/// How long something that must not happen is waited for.
const A_WHILE: Duration = Duration::from_millis(300);

/// Whose program a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Theirs,
    Ours,
}

use Whose::{Ours, Theirs};

const BOTH: [Whose; 2] = [Theirs, Ours];

/// A command of which one of `EACH` or their like is the first word, as that finds it in PATH.
struct Called<'a> {
    host: &'a Host,
    whose: Whose,
    words: Vec<&'a str>,
    environment: Vec<(&'a str, &'a str)>,
}

impl<'a> Called<'a> {
    fn new(host: &'a Host, whose: Whose, words: &[&'a str]) -> Self {
        Self { host, whose, words: words.to_vec(), environment: Vec::new() }
    }

    fn environment(mut self, variables: &[(&'a str, &'a str)]) -> Self {
        self.environment = variables.to_vec();
        self
    }

    /// In front of the words, words of another program.
    fn behind(mut self, words: &[&'a str]) -> Self {
        self.words.splice(..0, words.iter().copied());
        self
    }

    fn invocation(&self, words: &[&'a str]) -> Invocation<'a> {
        let folder = if self.whose == Ours { "ours" } else { "theirs" };
        let path = format!("/tmp/test/{folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let words = words.iter().chain(&self.words);
        let invocation = self.host.command("env", ["--"].iter().chain(words)).env("PATH", path);
        self.environment.iter().fold(invocation, |invocation, (name, value)| invocation.env(name, value))
    }

    /// As an ordinary process.
    fn ordinary(&self) -> Invocation<'a> {
        self.invocation(&[])
    }

    /// As PID 1.
    fn first(&self) -> Invocation<'a> {
        self.invocation(&["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
    }
}

/// What a program is to do, whoever's it is.
struct Case {
    names: &'static [&'static str],
    words: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    code: i32,
    stdout: &'static str,
    stderr: &'static str,
}

/// Texts may hold `…` for any text, and `NAME` for the name that the program was called by. Unless told otherwise, it
/// succeeds and prints nothing.
const fn case(names: &'static [&'static str], words: &'static [&'static str]) -> Case {
    Case { names, words, environment: &[], code: 0, stdout: "", stderr: "" }
}

impl Case {
    const fn with(mut self, environment: &'static [(&'static str, &'static str)]) -> Self {
        self.environment = environment;
        self
    }

    const fn prints(mut self, stdout: &'static str) -> Self {
        self.stdout = stdout;
        self
    }

    /// Says this on stderr.
    const fn says(mut self, stderr: &'static str) -> Self {
        self.stderr = stderr;
        self
    }

    const fn exits(mut self, code: i32) -> Self {
        self.code = code;
        self
    }

    /// What is not as it should be.
    fn check(&self, whose: Whose, name: &str, output: &Output, normal: impl Fn(&str) -> String) -> Option<String> {
        let fits =
            |printed: String, expected: &str| is_like(&normal(&printed), &normal(&expected.replace("NAME", name)));
        let is_right =
            output.code == self.code && fits(output.stdout(), self.stdout) && fits(output.stderr(), self.stderr);
        (!is_right).then(|| {
            format!(
                "{whose:?} {name} {:?} {:?}: expected {} {:?} {:?}, not {} {:?} {:?}\n",
                self.words,
                self.environment,
                self.code,
                self.stdout,
                self.stderr,
                output.code,
                output.stdout(),
                output.stderr()
            )
        })
    }
}

/// Is a text as expected, where `…` stands for any text?
fn is_like(text: &str, expected: &str) -> bool {
    match expected.split_once('…') {
        None => text == expected,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|at| is_like(&text[at..], rest))
        }),
    }
}

/// Process IDs in messages, made the same.
fn without_pids(text: &str) -> String {
    let mut text = text.to_owned();
    for mark in ["tini (", "catatonit:", "pid=", "pid '", "pid: '", "PID "] {
        let parts = text.split(mark).enumerate().map(|(index, part)| {
            if index == 0 { part } else { part.trim_start_matches(|letter: char| letter.is_ascii_digit()) }
        });
        text = parts.collect::<Vec<_>>().join(&format!("{mark}N"));
    }
    text
}

/// Runs all cases as PID 1, where process IDs are known, and as ordinary processes. tini is told there to be a
/// subreaper, without which it warns.
#[track_caller]
fn check(host: &Host, cases: &[Case]) {
    let mut wrong = String::new();
    for case in cases {
        for (name, whose) in case.names.iter().flat_map(|name| BOTH.map(|whose| (*name, whose))) {
            let words: Vec<_> = [name].iter().chain(case.words).copied().collect();
            let mut called = Called::new(host, whose, &words).environment(case.environment);
            let output = called.first().run();
            wrong.extend(case.check(whose, name, &output, str::to_owned));
            called.environment.push(("TINI_SUBREAPER", ""));
            let output = called.ordinary().run();
            wrong.extend(case.check(whose, name, &output, without_pids));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The init of something started as PID 1.
#[track_caller]
fn init(running: &Running, name: &str) -> u32 {
    only_child(running.pid(), name)
}

#[track_caller]
fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("send the signal");
}

/// A field of proc_pid_stat(5), by its number there.
fn stat(pid: u32, number: usize) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    fields.split_ascii_whitespace().nth(number - 3).unwrap_or_default().to_owned()
}

fn is_stopped(pid: u32) -> bool {
    stat(pid, 3) == "T"
}

fn parent(pid: &str) -> String {
    pid.parse().map(|pid| stat(pid, 4)).unwrap_or_default()
}

#[test]
fn version_help_and_licence_are_where_the_peers_have_them() {
    let host = peers!();
    check(
        &host,
        &[
            case(TINI, &["--version"]).prints("tini version 0.19.0\n"),
            case(TINI, &["-h"]).prints("…tini version 0.19.0…\nUsage: NAME …"),
            case(TINI, &["-gh", "--nope"]).prints("…tini version 0.19.0…\nUsage: NAME …"),
            case(TINI, &["-l"]).prints("…icense…"),
            case(DUMB_INIT, &["--version"]).says("dumb-init v1.2.5\n"),
            case(DUMB_INIT, &["-V", "no-such-command"]).says("dumb-init v1.2.5\n"),
            case(DUMB_INIT, &["--vers"]).says("dumb-init v1.2.5\n"),
            case(DUMB_INIT, &["-h"]).says("dumb-init v1.2.5\nUsage: dumb-init [option] command …"),
            case(DUMB_INIT, &["-c", "--help"]).says("dumb-init v1.2.5\nUsage: dumb-init [option] command …"),
            case(CATATONIT, &["--version"]).prints("tini version 0.1.7_catatonit\n"),
            case(CATATONIT, &["-gV", "no-such-command"]).prints("tini version 0.1.7_catatonit\n"),
            case(CATATONIT, &["--v"]).prints("tini version 0.1.7_catatonit\n"),
            case(CATATONIT, &["-h"]).says("usage: catatonit [-ghLPV] [--] …"),
            case(CATATONIT, &["-L"]).prints("…icense…"),
        ],
    );
}

#[test]
fn options_of_tini_are_read_as_tini_does() {
    let host = peers!();
    let refused = |words| case(&["tini"], words).exits(1);
    check(
        &host,
        &[
            case(TINI, &["true"]),
            case(TINI, &["-gsw", "--", "sh", "-c", "exit 3"]).exits(3),
            case(TINI, &["-g", "--", "echo", "-g", "--", "-x"]).prints("-g -- -x\n"),
            // Options may stand behind the command …
            case(TINI, &["echo", "-g", "a", "-s", "b"]).prints("a b\n"),
            case(TINI, &["echo", "-e", "7", "--", "-z"]).prints("-z\n"),
            case(TINI, &["true", "-h"]).prints("…tini version 0.19.0…\nUsage: …"),
            case(TINI, &["sh", "-c", "true"])
                .exits(1)
                .says("NAME: invalid option -- 'c'\n…tini version 0.19.0…\nUsage: …"),
            // … unless that is not wanted.
            case(TINI, &["echo", "-g", "a"]).with(&[("POSIXLY_CORRECT", "")]).prints("-g a\n"),
            case(TINI, &["-g", "sh", "-c", "exit 3"]).with(&[("POSIXLY_CORRECT", "1")]).exits(3),
            refused(&[]).says("…tini version 0.19.0…\nUsage: NAME …"),
            refused(&["--"]).says("…tini version 0.19.0…\nUsage: NAME …"),
            refused(&["-g"]).says("…tini version 0.19.0…\nUsage: NAME …"),
            refused(&["-gx", "true"]).says("NAME: invalid option -- 'x'\n…tini version 0.19.0…\nUsage: NAME …"),
            refused(&["-V"]).says("NAME: invalid option -- 'V'\n…tini version 0.19.0…\nUsage: NAME …"),
            refused(&["--help"]).says("NAME: invalid option -- '-'\n…tini version 0.19.0…\nUsage: NAME …"),
            refused(&["--version", "true"]).says("NAME: invalid option -- '-'\n…tini version 0.19.0…\nUsage: …"),
            refused(&["-p"]).says("NAME: option requires an argument -- 'p'\n…tini version 0.19.0…\nUsage: …"),
            refused(&["true", "-e"]).says("NAME: option requires an argument -- 'e'\n…tini version 0.19.0…\nUsage: …"),
            refused(&["-p", "SIGNOPE", "true"]).says("[FATAL tini (1)] Not a valid option for -p: SIGNOPE\n"),
            refused(&["-p", "", "true"]).says("[FATAL tini (1)] Not a valid option for -p: \n"),
            refused(&["-e", "256", "true"]).says("[FATAL tini (1)] Not a valid option for -e: 256\n"),
            refused(&["-e-1", "true"]).says("[FATAL tini (1)] Not a valid option for -e: -1\n"),
            refused(&["-e", "1x", "true"]).says("[FATAL tini (1)] Not a valid option for -e: 1x\n"),
            case(TINI, &["-"]).exits(127).says("[FATAL tini (2)] exec - failed: No such file or directory\n"),
            case(TINI, &["-pSIGTERM", "-p", "SIGKILL", "true"]),
            case(TINI, &["-e", "143", "-ge7", "--", "sh", "-c", "exit 7"]),
            case(TINI, &["-e", "143", "-e7", "--", "sh", "-c", "exit 8"]).exits(8),
            case(TINI, &["-e", "143", "--", "sh", "-c", "kill $$"]),
            case(TINI, &["-e", "192", "--", "bash", "-c", "kill -64 $$"]),
            case(TINI, &["-e", "0", "-e", "255", "--", "sh", "-c", "exit 255"]),
            // It says nothing of what it does before it is asked to.
            case(TINI, &["true"]).with(&[("TINI_VERBOSITY", "0")]),
            case(TINI, &["true"]).with(&[("TINI_VERBOSITY", "x")]),
            case(TINI, &["-vvv", "true"]).with(&[("TINI_VERBOSITY", "1")]),
            case(TINI, &["true"]).with(&[("TINI_SUBREAPER", ""), ("TINI_KILL_PROCESS_GROUP", "")]),
        ],
    );
}

#[test]
fn options_of_dumb_init_are_read_as_dumb_init_does() {
    let host = peers!();
    let refused = |words| case(DUMB_INIT, words).exits(1);
    check(
        &host,
        &[
            case(DUMB_INIT, &["true"]),
            case(DUMB_INIT, &["sh", "-c", "exit 3"]).exits(3),
            case(DUMB_INIT, &["echo", "-h", "--", "-c"]).prints("-h -- -c\n"),
            case(DUMB_INIT, &["-c", "--", "echo", "-h"]).prints("-h\n"),
            case(DUMB_INIT, &["--single-child", "sh", "-c", "exit 3"]).exits(3),
            case(DUMB_INIT, &["--s", "--rew", "15:2", "true"]),
            case(DUMB_INIT, &["-cr15:0", "-r", "31:1", "--rewrite=2:3", "--rewrite", "1:2", "true"]),
            refused(&[]).says("Usage: dumb-init [option] …--help…"),
            refused(&["--"]).says("Usage: dumb-init [option] …--help…"),
            refused(&["-x", "true"]).says("dumb-init: invalid option -- 'x'\n"),
            refused(&["-cg", "true"]).says("dumb-init: invalid option -- 'g'\n"),
            refused(&["--nope", "true"]).says("dumb-init: unrecognized option '--nope'\n"),
            refused(&["--ver"]).says("dumb-init: option '--ver' is ambiguous…\n"),
            refused(&["--version=3"]).says("dumb-init: option '--version' doesn't allow an argument\n"),
            refused(&["-r"]).says("dumb-init: option requires an argument -- 'r'\n"),
            refused(&["-c", "--rewrite"]).says("dumb-init: option '--rewrite' requires an argument\n"),
            refused(&["-r", "15", "true"]).says("Usage: -r …"),
            refused(&["-r", "TERM:INT", "true"]).says("Usage: -r …"),
            refused(&["-r", "0:2", "true"]).says("Usage: -r …"),
            refused(&["-r", "15:32", "true"]).says("Usage: -r …"),
            refused(&["-r", "32:15", "true"]).says("Usage: -r …"),
            refused(&["--rewrite=", "true"]).says("Usage: -r …"),
            case(DUMB_INIT, &["-"]).exits(2).says("[dumb-init] -: No such file or directory\n"),
            case(DUMB_INIT, &["true"]).with(&[("DUMB_INIT_DEBUG", "0")]),
            case(DUMB_INIT, &["true"]).with(&[("DUMB_INIT_DEBUG", "yes"), ("DUMB_INIT_SETSID", "0")]),
        ],
    );
}

#[test]
fn options_of_catatonit_are_read_as_catatonit_does() {
    let host = peers!();
    let refused = |words| case(CATATONIT, words).exits(1);
    check(
        &host,
        &[
            case(CATATONIT, &["true"]),
            case(CATATONIT, &["-g", "--", "sh", "-c", "exit 3"]).exits(3),
            case(CATATONIT, &["echo", "-g", "a", "--", "-b"]).prints("a -b\n"),
            case(CATATONIT, &["echo", "-g", "a"]).with(&[("POSIXLY_CORRECT", "")]).prints("-g a\n"),
            refused(&[]).says("ERROR (catatonit:1): missing program name\nusage: catatonit …"),
            refused(&["-g", "--"]).says("ERROR (catatonit:1): missing program name\nusage: catatonit …"),
            refused(&["-x", "true"]).says("NAME: invalid option -- 'x'\nusage: catatonit …"),
            refused(&["sh", "-c", "true"]).says("NAME: invalid option -- 'c'\nusage: catatonit …"),
            refused(&["--help"]).says("NAME: unrecognized option '--help'\nusage: catatonit …"),
            refused(&["--version=3"]).says("NAME: option '--version' doesn't allow an argument\nusage: catatonit …"),
            refused(&["-"]).says("ERROR (catatonit:2): failed to exec pid1: No such file or directory\n"),
            refused(&["true"])
                .with(&[("CATATONIT_LOG", "")])
                .says("ERROR (catatonit:1): CATATONIT_LOG is reserved for future use\n"),
        ],
    );
}

#[test]
fn what_cannot_be_executed_is_told_in_the_peers_words_and_codes() {
    let host = peers!();
    host.sh("cd /tmp/test; echo '#!/no/such' > orphaned; echo 'exit 4$#' > script; touch plain; \
        chmod +x orphaned script");
    check(
        &host,
        &[
            case(TINI, &["no-such-command"])
                .exits(127)
                .says("[FATAL tini (2)] exec no-such-command failed: No such file or directory\n"),
            case(TINI, &["/no/such"])
                .exits(127)
                .says("[FATAL tini (2)] exec /no/such failed: No such file or directory\n"),
            case(TINI, &[""]).exits(127).says("[FATAL tini (2)] exec  failed: No such file or directory\n"),
            case(TINI, &["/tmp/test/orphaned"])
                .exits(127)
                .says("[FATAL tini (2)] exec /tmp/test/orphaned failed: No such file or directory\n"),
            case(TINI, &["/tmp/test/plain"])
                .exits(126)
                .says("[FATAL tini (2)] exec /tmp/test/plain failed: Permission denied\n"),
            case(TINI, &["/tmp/test"]).exits(126).says("[FATAL tini (2)] exec /tmp/test failed: Permission denied\n"),
            case(TINI, &["/tmp/test/plain/x"])
                .exits(1)
                .says("[FATAL tini (2)] exec /tmp/test/plain/x failed: Not a directory\n"),
            case(TINI, &["/tmp/test/script", "x"]).exits(41),
            case(DUMB_INIT, &["no-such-command"])
                .exits(2)
                .says("[dumb-init] no-such-command: No such file or directory\n"),
            case(DUMB_INIT, &["/tmp/test/orphaned"])
                .exits(2)
                .says("[dumb-init] /tmp/test/orphaned: No such file or directory\n"),
            case(DUMB_INIT, &["/tmp/test/plain"]).exits(2).says("[dumb-init] /tmp/test/plain: Permission denied\n"),
            case(DUMB_INIT, &["-c", "/tmp/test"]).exits(2).says("[dumb-init] /tmp/test: Permission denied\n"),
            case(DUMB_INIT, &["/tmp/test/plain/x"]).exits(2).says("[dumb-init] /tmp/test/plain/x: Not a directory\n"),
            case(DUMB_INIT, &["/tmp/test/script", "x"]).exits(41),
            case(CATATONIT, &["no-such-command"])
                .exits(1)
                .says("ERROR (catatonit:2): failed to exec pid1: No such file or directory\n"),
            case(CATATONIT, &["/tmp/test/orphaned"])
                .exits(1)
                .says("ERROR (catatonit:2): failed to exec pid1: No such file or directory\n"),
            case(CATATONIT, &["/tmp/test/plain"])
                .exits(1)
                .says("ERROR (catatonit:2): failed to exec pid1: Permission denied\n"),
            case(CATATONIT, &["/tmp/test/plain/x"])
                .exits(1)
                .says("ERROR (catatonit:2): failed to exec pid1: Not a directory\n"),
            case(CATATONIT, &["/tmp/test/script", "x"]).exits(41),
        ],
    );
}

#[test]
fn binary_of_another_machine_is_refused_and_not_given_to_a_shell() {
    let host = peers!();
    host.sh("printf '\\177ELF\\0' > /tmp/test/alien; chmod +x /tmp/test/alien");
    for (name, code, line) in [
        ("tini", 1, "[FATAL tini (2)] exec /tmp/test/alien failed: Exec format error\n"),
        ("dumb-init", 2, "[dumb-init] /tmp/test/alien: Exec format error\n"),
        ("catatonit", 1, "ERROR (catatonit:2): failed to exec pid1: Exec format error\n"),
    ] {
        let run = |whose| Called::new(&host, whose, &[name, "/tmp/test/alien"]).first().run();
        let output = run(Ours);
        output.assert_code(code);
        assert_eq!(output.stderr(), line, "{output}");
        // The shell takes the first bytes for a command.
        let output = run(Theirs);
        assert!(output.code == 127 && output.stderr().contains("not found"), "{output}");
    }
}

#[test]
fn exit_codes_are_the_commands_and_128_with_the_signal() {
    let host = peers!();
    let all = &["tini", "dumb-init", "catatonit"];
    let script = |script: &'static [&'static str]| case(all, script);
    check(
        &host,
        &[
            script(&["--", "sh", "-c", "exit 0"]),
            script(&["--", "sh", "-c", "exit 1"]).exits(1),
            script(&["--", "sh", "-c", "exit 255"]).exits(255),
            script(&["--", "sh", "-c", "kill -KILL $$"]).exits(137),
            script(&["--", "sh", "-c", "kill -TERM $$"]).exits(143),
            script(&["--", "sh", "-c", "kill -PIPE $$"]).exits(141),
            script(&["--", "sh", "-c", "ulimit -c 0; kill -SEGV $$"]).exits(139),
            script(&["--", "bash", "-c", "kill -64 $$"]).exits(192),
        ],
    );
}

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

/// The child of that name, which may have siblings.
#[track_caller]
fn only_child_among(pid: u32, comm: &str) -> u32 {
    let mut found = 0;
    wait_until(&format!("{pid} has a child {comm}"), || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let named =
            |child: &u32| fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == comm);
        found = children.split_ascii_whitespace().filter_map(|child| child.parse().ok()).find(named).unwrap_or(0);
        found != 0
    });
    found
}

#[test]
fn tini_warns_when_it_cannot_reap() {
    let host = peers!();
    for whose in BOTH {
        let output = Called::new(&host, whose, &["tini", "true"]).ordinary().run();
        output.assert_code(0).assert_stdout("");
        let line = output.stderr().lines().next().map(without_pids);
        let expected = "[WARN  tini (N)] Tini is not running as PID N and isn't registered as a child subreaper.";
        assert_eq!(line.as_deref(), Some(expected), "{output}");
        assert!(output.stderr().contains("-s") && output.stderr().contains("TINI_SUBREAPER"), "{output}");
        let called = Called::new(&host, whose, &["tini", "true"]).environment(&[("TINI_VERBOSITY", "0")]);
        called.ordinary().run().assert_prints("");
    }
}

#[test]
fn tini_warns_of_orphans_that_it_reaps() {
    let host = peers!();
    let script = "(sleep 0.05 & echo $!); sleep 0.2; exit 3";
    for whose in BOTH {
        let words = ["tini", "-w", "--", "sh", "-c", script];
        let output = Called::new(&host, whose, &words).first().run();
        let orphan = output.assert_code(3).stdout();
        let line = format!("[WARN  tini (1)] Reaped zombie process with pid={orphan}");
        assert_eq!(output.stderr(), line, "{output}");
        let called = Called::new(&host, whose, &words).environment(&[("TINI_VERBOSITY", "0")]);
        called.first().run().assert_code(3).assert_quiet();
    }
}

#[test]
fn tini_tells_more_on_stderr_not_on_stdout() {
    let host = peers!();
    let lines = "[INFO  tini (1)] Spawned child process 'sh' with pid '2'\n\
        [INFO  tini (1)] Main child exited normally (with status '7')\n";
    for (whose, stdout, stderr) in [(Theirs, lines, ""), (Ours, "", lines)] {
        let words = ["tini", "-v", "--", "sh", "-c", "exit 7"];
        let output = Called::new(&host, whose, &words).first().run();
        assert_eq!((output.code, &*output.stdout(), &*output.stderr()), (7, stdout, stderr), "{output}");
        let words = ["tini", "--", "sh", "-c", "exit 7"];
        let output = Called::new(&host, whose, &words).environment(&[("TINI_VERBOSITY", "2")]).first().run();
        assert_eq!((output.code, &*output.stdout(), &*output.stderr()), (7, stdout, stderr), "{output}");
        let words = ["tini", "-vv", "--", "sh", "-c", "kill -WINCH 1; sleep 0.1; kill -KILL $$"];
        let output = Called::new(&host, whose, &words).first().run();
        let told = if whose == Theirs { output.stdout() } else { output.stderr() };
        assert!(told.contains("[DEBUG tini (1)] Passing signal: '"), "{output}");
        assert!(told.contains("[INFO  tini (1)] Main child exited with signal (with signal '"), "{output}");
    }
}

#[test]
fn dumb_init_and_catatonit_tell_more_on_stderr() {
    let host = peers!();
    let script = "(true &); sleep 0.1; exit 7";
    for whose in BOTH {
        for (words, variable) in
            [(&["dumb-init", "-r", "28:1", "-v"][..], "NONE"), (&["dumb-init", "-r28:1"], "DUMB_INIT_DEBUG")]
        {
            let script = "trap : HUP; (true &); sleep 0.1; kill -WINCH 1; while ! sleep 0.1; do :; done; exit 7";
            let words: Vec<_> = words.iter().chain(&["sh", "-c", script]).copied().collect();
            let output = Called::new(&host, whose, &words).environment(&[(variable, "1")]).first().run();
            output.assert_code(7).assert_stdout("");
            for line in [
                "[dumb-init] Child spawned with PID 2.\n",
                "[dumb-init] A child with PID 4 exited with exit status 0.\n",
                "[dumb-init] Received signal 28.\n",
                "[dumb-init] Forwarded signal 1 to children.\n",
                "[dumb-init] A child with PID 2 exited with exit status 7.\n",
                "[dumb-init] Child exited with status 7. Goodbye.\n",
            ] {
                assert!(output.stderr().contains(line), "{line}\n{output}");
            }
        }
        let called = Called::new(&host, whose, &["catatonit", "--", "sh", "-c", script]);
        let output = called.environment(&[("CATATONIT_DEBUG", "")]).first().run();
        output.assert_code(7).assert_stdout("");
        for line in ["pid1 (2) spawned: sh\n", "child process 4 exited with code 0\n"] {
            assert!(output.stderr().contains(line), "{line}\n{output}");
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

#[test]
fn command_that_may_not_be_signalled_does_not_end_the_init() {
    let host = peers!();
    host.sh("cp /usr/bin/setpriv /tmp/test/setpriv; chmod u+s /tmp/test/setpriv");
    let script = "echo up; exec /tmp/test/setpriv --reuid 0 sh -c 'sleep 0.3; exit 6'";
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

/// A shell that runs a script as the leader of a session on a terminal, with a program in its PATH.
fn at_a_terminal(host: &Host, whose: Whose, words: &[&str]) -> Pty {
    Pty::start(Called::new(host, whose, words).environment(&[("PS1", "outer> "), ("TINI_SUBREAPER", "")]).ordinary())
}

#[test]
fn keys_reach_the_command_at_a_terminal() {
    let host = peers!();
    for name in EACH {
        for whose in BOTH {
            // As a session's leader, which an ENTRYPOINT with a terminal is.
            let script = "trap 'echo INT; exit 7' INT; tty; echo up; while :; do sleep 0.01; done";
            let mut pty = at_a_terminal(&host, whose, &[name, "--", "sh", "-c", script]);
            pty.until("up\r\n");
            assert!(pty.all().contains("/dev/pts/"), "{:?}", pty.all());
            pty.keys(CTRL_C);
            pty.until("INT\r\n");
            assert_eq!(pty.end(), 7, "{whose:?} {name}");
        }
    }
}

#[test]
fn shell_at_a_terminal_can_stop_its_jobs() {
    let host = peers!();
    for (whose, name) in
        [(Theirs, "tini"), (Ours, "tini"), (Theirs, "dumb-init"), (Ours, "dumb-init"), (Ours, "catatonit")]
    {
        let mut pty = at_a_terminal(&host, whose, &[name, "--", "bash", "--noprofile", "--norc", "--noediting", "-i"]);
        let greeting = pty.until("outer> ");
        assert!(!greeting.contains("job control"), "{greeting:?}");
        pty.line("sleep 100");
        pty.until("sleep 100\r\n");
        wait_until("the job is in the foreground", || {
            let group = stat(only_child_among(pty.pid(), "bash"), 8);
            fs::read_to_string(format!("/proc/{group}/comm")).is_ok_and(|comm| comm == "sleep\n")
        });
        pty.keys(CTRL_Z);
        pty.until("Stopped");
        pty.line("kill -KILL %1; while jobs %1; do sleep 0.01; done >/dev/null 2>&1; exit 5");
        assert_eq!(pty.end(), 5, "{whose:?} {name}");
    }
}

#[test]
fn foreground_is_given_back_to_the_script_that_called() {
    let host = peers!();
    let script = "\"$0\" -- sh -c 'exit 4'; echo code=$?; if read line; then echo line=$line; else echo lost; fi";
    for name in EACH {
        for whose in BOTH {
            let mut pty = at_a_terminal(&host, whose, &["sh", "-c", script, name]);
            pty.until("code=4\r\n");
            pty.line("hello");
            // Read by a process group in the background that nobody can stop: EIO. dumb-init leaves the foreground be.
            pty.until(if whose == Theirs && *name != "dumb-init" { "lost\r\n" } else { "line=hello\r\n" });
            assert_eq!(pty.end(), 0, "{whose:?} {name}");
        }
    }
}

#[test]
fn job_in_the_background_takes_no_foreground() {
    let host = peers!();
    for name in EACH {
        for whose in BOTH {
            let shell = ["bash", "--noprofile", "--norc", "--noediting", "-i"];
            let mut pty = at_a_terminal(&host, whose, &shell);
            pty.until("outer> ");
            pty.line(&format!("{name} -- sh -c 'echo run''ning; exec sleep 1000' &"));
            pty.until("running\r\n");
            let foreground = stat(pty.pid(), 8);
            let is_stolen = foreground != stat(pty.pid(), 5);
            assert_eq!(is_stolen, whose == Theirs && *name != "dumb-init", "{whose:?} {name}");
            if is_stolen {
                // The only way to the shell is to end the thief.
                signal(foreground.parse().expect("a process group"), Signal::SIGKILL);
                continue;
            }
            pty.line("kill %1; wait %1; echo code=$?");
            pty.until("code=143\r\n");
            pty.line("exit 0");
            assert_eq!(pty.end(), 0, "{whose:?} {name}");
        }
    }
}

#[test]
fn values_of_options_are_read_by_other_rules_in_few_cases() {
    let host = peers!();
    for (words, theirs, ours) in [
        (&["tini", "-p", "TERM", "true"][..], 1, 0),
        (&["tini", "-p", "15", "true"], 1, 0),
        (&["tini", "-p", "SIGPWR", "true"], 1, 0),
        (&["tini", "-e", "", "true"], 0, 1),
        (&["tini", "-e", "+1", "true"], 0, 1),
        (&["dumb-init", "-r", "15:2x", "true"], 0, 1),
        (&["dumb-init", "-r", "15:+2", "true"], 0, 1),
    ] {
        Called::new(&host, Theirs, words).first().run().assert_code(theirs);
        Called::new(&host, Ours, words).first().run().assert_code(ours);
    }
}

#[test]
fn texts_are_compared_with_any_text_left_open() {
    assert!(is_like("a b c", "a…c") && is_like("ab", "a…b…") && is_like("", "…") && is_like("x", "x"));
    assert!(!is_like("a b", "a") && !is_like("a", "a b") && !is_like("ab", "…a"));
    assert_eq!(
        without_pids("[WARN  tini (12)] pid=3, (catatonit:45): PID 6."),
        "[WARN  tini (N)] pid=N, (catatonit:N): PID N."
    );
    assert!(PATIENCE > A_WHILE);
}
