//! nsl-init in the place of tini, dumb-init and catatonit, side by side with the programs themselves: what a case
//! expects is expected of both. Where nsl-init is better on purpose, the defect of the other is a test too, if it can
//! be had at will.

use crate::harness::{Host, Invocation, NSL_INIT, Output, PATIENCE, Running, is_stopped, only_child, wait_until};
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

mod lines;
mod processes;
mod signals;
mod terminal;

/// The init that nsl has inside.
const INIT: &str = NSL_INIT;
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

fn parent(pid: &str) -> String {
    pid.parse().map(|pid| stat(pid, 4)).unwrap_or_default()
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
