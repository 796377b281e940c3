//! What the init says while it works, in the words of the program that it stands for: one line for each event, on
//! stderr, from the level of verbosity on that the program has for it.

use crate::cli::{Program, base_name};
use crate::errno;
use nsl_shared::signal::Signal;

/// What happened. Named are the text and the numbers that go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Event {
    /// The command `text` runs as a process.
    Started,
    /// No process could be made for the command `text`, for this errno.
    ForkFailed,
    /// A process could not execute the command `text`, for this errno.
    ExecFailed,
    /// The same, where `text` is there but its interpreter is not.
    InterpreterMissing,
    /// A signal came, and goes on as another.
    Forwarding,
    /// A signal came, and goes no further.
    Dropping,
    /// A process exited with this code.
    OrphanExited,
    /// A process was ended by this signal.
    OrphanKilled,
    /// A process was reaped, and one asked to be told.
    OrphanReaped,
    /// The command's process exited with this code.
    Exited,
    /// The command's process was ended by this signal, which becomes another number as the exit code.
    Killed,
    /// Orphans will not become children of the init.
    NoReaper,
    /// The init is PID 1.
    First,
    /// The init is a child subreaper.
    Subreaper,
    /// What is left is asked to end.
    EndingRest,
    /// What is left is killed.
    KillingRest,
    /// What is left can't be found.
    RestNotFound,
}

/// What every line of a program begins with.
static PREFIXES: [&str; 4] = ["nsl-init: ", "", "[dumb-init] ", ""];

/// For each program and event, in the order of [`Event`], a line: a digit, the least verbosity, and the words. It is
/// empty, or missing at the end, where the program says nothing.
static WORDS: [&str; 4] = [
    "\
1started %t as process %c%|
0cannot start a process for %t: %e%|
0cannot execute %t: %e%|
0cannot execute the interpreter of %t: %e%|
2forwarding %s%|
2dropping %s%|
2orphan %c exited with code %n%|
2orphan %c was ended by %s%|
0warning: reaped an orphan, process %c%|
1the command exited with code %n%|
1the command was ended by %s%|
0warning: not PID 1 and no child subreaper: orphans will not be reaped%|
2running as PID 1%|
2running as child subreaper%|
1asking what is left to end%|
1killing what is left%|
0warning: cannot end what is left: /proc does not show this PID namespace%|",
    "\
2[INFO  tini (%p)] Spawned child process '%t' with pid '%c'%|
0[FATAL tini (%p)] fork failed: %e%|
0[FATAL tini (%c)] exec %t failed: %e%|
0[FATAL tini (%c)] exec %t failed: %e%|
3[DEBUG tini (%p)] Passing signal: '%s'%|

3[DEBUG tini (%p)] Reaped child with pid: '%c'%|
3[DEBUG tini (%p)] Reaped child with pid: '%c'%|
1[WARN  tini (%p)] Reaped zombie process with pid=%c%|
2[INFO  tini (%p)] Main child exited normally (with status '%n')%|
2[INFO  tini (%p)] Main child exited with signal (with signal '%s')%|
1[WARN  tini (%p)] Tini is not running as PID 1 and isn't registered as a child subreaper.%|Orphans will not be reaped: use -s, set TINI_SUBREAPER, or run it as PID 1.%|",
    "\
1Child spawned with PID %c.%|
0Unable to fork. Exiting.%|
0%t: %e%|
0%t: %e%|
1Received signal %n.%|[dumb-init] Forwarded signal %o to children.%|
1Received signal %n.%|[dumb-init] Not forwarding signal 0 to children (ignored).%|
1A child with PID %c exited with exit status %n.%|
1A child with PID %c was terminated by signal %n.%|

1A child with PID %c exited with exit status %n.%|[dumb-init] Child exited with status %n. Goodbye.%|
1A child with PID %c was terminated by signal %n.%|[dumb-init] Child exited with status %o. Goodbye.%|",
    "\
1DEBUG (catatonit:%p): pid1 (%c) spawned: %t%|
0ERROR (catatonit:%p): failed to fork child: %e%|ERROR (catatonit:%p): failed to spawn pid1: %e%|
0ERROR (catatonit:%c): failed to exec pid1: %e%|
0ERROR (catatonit:%c): failed to exec pid1: %e%|


1DEBUG (catatonit:%p): child process %c exited with code %n%|
1DEBUG (catatonit:%p): child process %c exited due to signal %n%|",
];

/// What fills the marks in words: `%t` the text, `%r` a reason, `%a` the name that the init was called by, `%b` that
/// without directories, `%p` the init's process ID, `%c` the process concerned, `%n` the number, `%s` and `%e` the name
/// of the signal and the words of the errno that it is, `%o` the other number, and `%|` the end of a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks<'a> {
    pub text: &'a [u8],
    pub reason: &'a [u8],
    pub name: &'a [u8],
    pub own: i32,
    pub pid: i32,
    pub number: i32,
    pub other: i32,
}

/// The words for `event` and what stands before them, if `program` says something of it at this verbosity.
#[must_use]
pub fn words(program: Program, verbosity: u8, event: Event) -> Option<[&'static [u8]; 2]> {
    let line = WORDS[program as usize].as_bytes().split(|byte| *byte == b'\n').nth(event as usize)?;
    let (level, words) = line.split_first()?;
    (level - b'0' <= verbosity).then_some([PREFIXES[program as usize].as_bytes(), words])
}

/// Text in the making, in a buffer: what has no room is left out.
pub struct Line<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Line<'a> {
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Adds `words`, with their marks filled.
    pub fn fill(&mut self, words: &[u8], marks: &Marks<'_>) {
        let mut words = words.iter();
        while let Some(byte) = words.next() {
            if *byte != b'%' {
                self.push(&[*byte]);
                continue;
            }
            match words.next() {
                Some(b'p') => self.push_number(marks.own),
                Some(b'c') => self.push_number(marks.pid),
                Some(b'n') => self.push_number(marks.number),
                Some(b'o') => self.push_number(marks.other),
                Some(b's') => self.push_signal(marks.number),
                Some(b'e') => self.push(errno::words(marks.number)),
                Some(b't') => self.push(marks.text),
                Some(b'a') => self.push(marks.name),
                Some(b'b') => self.push(base_name(marks.name)),
                Some(b'r') => self.push(marks.reason),
                _ => self.push(b"\n"),
            }
        }
    }

    pub fn push(&mut self, text: &[u8]) {
        for byte in text {
            if let Some(slot) = self.buffer.get_mut(self.length) {
                *slot = *byte;
                self.length += 1;
            }
        }
    }

    /// Decimal digits, without a sign.
    pub fn push_number(&mut self, number: i32) {
        let number = number.unsigned_abs();
        let mut scale = 1;
        while number / scale >= 10 {
            scale *= 10;
        }
        while scale > 0 {
            self.push(&[b'0' + (number / scale % 10) as u8]);
            scale /= 10;
        }
    }

    fn push_signal(&mut self, number: i32) {
        let Some(signal) = Signal::new(number) else { return };
        let (name, above) = signal.name();
        self.push(b"SIG");
        self.push(name);
        if let Some(above) = above {
            self.push(if above < 0 { b"-" } else { b"+" });
            self.push_number(above);
        }
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(program: Program, verbosity: u8, event: Event, marks: Marks<'_>) -> Option<String> {
        let mut buffer = [0; 4096];
        let mut line = Line::new(&mut buffer);
        for words in words(program, verbosity, event)? {
            line.fill(words, &marks);
        }
        Some(String::from_utf8_lossy(line.as_bytes()).into_owned())
    }

    #[test]
    fn words_are_filled_in() {
        let marks = Marks { text: b"no%p", pid: 7, number: 2, ..Marks::default() };
        let failed = |program| line(program, 0, Event::ExecFailed, marks).unwrap();
        assert_eq!(failed(Program::NslInit), "nsl-init: cannot execute no%p: No such file or directory\n");
        assert_eq!(failed(Program::Tini), "[FATAL tini (7)] exec no%p failed: No such file or directory\n");
        assert_eq!(failed(Program::DumbInit), "[dumb-init] no%p: No such file or directory\n");
        assert_eq!(failed(Program::Catatonit), "ERROR (catatonit:7): failed to exec pid1: No such file or directory\n");
    }

    #[test]
    fn signals_have_names_and_numbers() {
        let marks = |number| Marks { number, other: 15, ..Marks::default() };
        let forwarding = |program, number| line(program, 9, Event::Forwarding, marks(number)).unwrap();
        assert_eq!(forwarding(Program::NslInit, 1), "nsl-init: forwarding SIGHUP\n");
        assert_eq!(forwarding(Program::NslInit, 33), "nsl-init: forwarding SIGRTMIN-1\n");
        assert_eq!(forwarding(Program::NslInit, 34), "nsl-init: forwarding SIGRTMIN\n");
        assert_eq!(forwarding(Program::NslInit, 37), "nsl-init: forwarding SIGRTMIN+3\n");
        assert_eq!(
            forwarding(Program::DumbInit, 1),
            "[dumb-init] Received signal 1.\n[dumb-init] Forwarded signal 15 to children.\n"
        );
    }

    #[test]
    fn verbosity_decides() {
        let orphan = |verbosity| line(Program::Tini, verbosity, Event::OrphanReaped, Marks::default());
        assert_eq!(orphan(0), None);
        assert!(orphan(1).is_some());
        assert_eq!(line(Program::Catatonit, 9, Event::Forwarding, Marks::default()), None);
    }

    #[test]
    fn table_is_in_order_and_uses_no_mark_that_is_unknown() {
        for words in WORDS.iter().flat_map(|words| words.split('\n')).filter(|words| !words.is_empty()) {
            assert!(words.as_bytes()[0].is_ascii_digit(), "{words}");
            for mark in words.split('%').skip(1) {
                assert!("pcntesorab|".contains(&mark[..1]), "{words}");
            }
        }
        let last = WORDS[0].split('\n').nth(Event::RestNotFound as usize).unwrap();
        assert!(last.contains("cannot end what is left"), "{last}");
        assert_eq!(WORDS[0].split('\n').count(), Event::RestNotFound as usize + 1);
    }

    #[test]
    fn what_is_too_long_is_cut_off() {
        let mut buffer = [0; 8];
        let mut line = Line::new(&mut buffer);
        for number in [0, 9, 10, i32::MAX, 7] {
            line.push_number(number);
        }
        assert_eq!(line.as_bytes(), b"09102147");
    }
}
