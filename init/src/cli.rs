//! The command lines of the init: its own, and those of the programs in whose place it may stand. It reads words and
//! the environment, and decides nothing else.

use crate::getopt::{self, Fault, Syntax, Word, Wrong};
use crate::help;
use crate::message::{Line, Marks};
use crate::number;
use nsl_shared::exit;
use nsl_shared::signal::{self, Signal};

/// The program whose name the init was called by, and whose ways it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    NslInit,
    Tini,
    DumbInit,
    Catatonit,
}

impl Program {
    /// The program that goes by the last part of `path`, the word that a process finds as its argument 0.
    #[must_use]
    pub fn called(path: &[u8]) -> Self {
        let name = base_name(path);
        NAMES.iter().find(|(known, _)| known.as_bytes() == name).map_or(Self::NslInit, |(_, program)| *program)
    }

    /// The exit code of the program's own failure, wrong usage included.
    #[must_use]
    pub fn failed(self) -> u8 {
        match self {
            Self::NslInit => exit::NSL_FAILED,
            _ => 1,
        }
    }

    /// The exit code for a command whose execution failed with `errno`.
    #[must_use]
    pub fn exec_failed(self, errno: i32) -> u8 {
        const ENOENT: i32 = 2;
        const EACCES: i32 = 13;
        match (self, errno) {
            (Self::NslInit, _) | (Self::Tini, ENOENT | EACCES) => exit::of_exec_error(errno),
            (Self::DumbInit, _) => 2,
            (Self::Tini | Self::Catatonit, _) => 1,
        }
    }

    /// Does the command keep the dispositions that the init inherited? Else it gets the defaults.
    #[must_use]
    pub fn keeps_dispositions(self) -> bool {
        matches!(self, Self::Tini | Self::Catatonit)
    }

    /// Does the command get the signal mask that the init inherited? Else it gets an empty one.
    #[must_use]
    pub fn keeps_mask(self) -> bool {
        self != Self::DumbInit
    }
}

/// The names that programs are called by.
static NAMES: [(&str, Program); 6] = [
    ("tini", Program::Tini),
    ("tini-static", Program::Tini),
    ("docker-init", Program::Tini),
    ("dumb-init", Program::DumbInit),
    ("catatonit", Program::Catatonit),
    ("podman-init", Program::Catatonit),
];

/// Who gets a signal that the init got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// The command.
    Command,
    /// The command's process group.
    Group,
    /// As if the init were not there: what terminals send goes to the group, the rest to the command.
    AsTerminals,
}

/// Where the command lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In a process group of its own, in the init's session.
    Group,
    /// In a session of its own, to which the terminal on stdin goes.
    Session,
    /// In the init's process group.
    Shared,
}

/// What becomes of the processes that the command leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// They are asked to end, then killed.
    End,
    /// The init waits for them, and ends them when it is asked to end.
    Await,
    /// The init does not care.
    Leave,
    /// Those in the command's process group are asked to end, and the init goes.
    Farewell,
}

/// What each signal becomes before it is forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrites([u8; signal::MAX as usize + 1]);

impl Rewrites {
    /// Forwards `from` as the signal with number `to`, or with 0 not at all.
    pub fn set(&mut self, from: Signal, to: u8) {
        self.0[from.number() as usize] = to;
    }

    /// What `signal` is forwarded as.
    #[must_use]
    pub fn get(&self, signal: Signal) -> Option<Signal> {
        Signal::new(self.0[signal.number() as usize].into())
    }
}

impl Default for Rewrites {
    fn default() -> Self {
        Self(core::array::from_fn(|number| number as u8))
    }
}

/// What the options ask for.
#[expect(clippy::struct_excessive_bools, reason = "each is one option of the command line")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub program: Program,
    pub home: Home,
    pub forwarding: Forwarding,
    pub rewrites: Rewrites,
    /// Become a child subreaper, unless PID 1.
    pub subreaper: bool,
    /// Get this signal when the parent ends.
    pub parent_death: Option<Signal>,
    /// Bit n stands for exit code n, which becomes 0.
    pub success: [u64; 4],
    /// Warn about each orphan that is reaped.
    pub warn: bool,
    pub verbosity: u8,
    /// What the command, and what it leaves behind, is asked to end with.
    pub stop_signal: Signal,
    pub rest: Rest,
    /// How long what is left may take to end, in milliseconds.
    pub grace_ms: u32,
    /// Run no command: wait until a signal asks to end.
    pub pause: bool,
    /// Tell on this descriptor when the command runs.
    pub ready: Option<i32>,
    /// Be the init of a machine.
    pub machine: bool,
}

/// How long what the command left behind may take to end, unless said otherwise: Docker's ten seconds.
pub const GRACE_MS: u32 = 10_000;

impl Options {
    /// What `program` does without any options.
    #[must_use]
    pub fn of(program: Program) -> Self {
        let mut options = Self {
            program,
            home: Home::Group,
            forwarding: Forwarding::Command,
            rewrites: Rewrites::default(),
            subreaper: false,
            parent_death: None,
            success: [0; 4],
            warn: false,
            verbosity: 0,
            stop_signal: Signal::TERM,
            rest: Rest::Leave,
            grace_ms: GRACE_MS,
            pause: false,
            ready: None,
            machine: false,
        };
        match program {
            Program::NslInit => {
                options.subreaper = true;
                options.rest = Rest::End;
            }
            Program::Tini => {
                options.verbosity = 1;
                options.rewrites.set(Signal::TTIN, 0);
                options.rewrites.set(Signal::TTOU, 0);
            }
            Program::DumbInit => {
                options.rest = Rest::Farewell;
                options.home = Home::Session;
            }
            Program::Catatonit => {
                options.subreaper = true;
                for signal in [Signal::TSTP, Signal::TTIN, Signal::TTOU] {
                    options.rewrites.set(signal, 0);
                }
            }
        }
        options
    }

    /// The exit code to give for a command that ended with `code`.
    #[must_use]
    pub fn exit_code(&self, code: u8) -> u8 {
        if self.success[usize::from(code >> 6)] & (1 << (code & 63)) == 0 { code } else { 0 }
    }

    fn apply(&mut self, letter: u8, value: &'static [u8]) -> Result<(), &'static str> {
        match (letter, self.program) {
            (b'g', _) => {
                self.forwarding = Forwarding::Group;
                self.home = Home::Group;
            }
            (b'c', _) => {
                self.forwarding = Forwarding::Command;
                self.home = Home::Shared;
            }
            (b's', _) => self.subreaper = true,
            (b'w', _) => self.warn = true,
            (b'v', Program::DumbInit) => self.verbosity = 1,
            (b'v', _) => self.verbosity = self.verbosity.saturating_add(1),
            (b'P', _) => self.pause = true,
            (b'p', _) => self.parent_death = Some(Signal::parse(value).ok_or("no signal")?),
            (b'e', _) => {
                let code = number::read(value).and_then(|code| u8::try_from(code).ok()).ok_or("no exit code")?;
                self.success[usize::from(code >> 6)] |= 1 << (code & 63);
            }
            (b'r', program) => self.rewrite(value, program == Program::DumbInit)?,
            (b'G', _) => self.grace_ms = milliseconds(value).ok_or("no duration (such as 10s or 500ms)")?,
            (b'S', _) => {
                self.stop_signal = Signal::parse(value).ok_or("no signal")?;
                self.rewrites.set(Signal::TERM, self.stop_signal.number() as u8);
            }
            (b'K', _) => self.rest = Rest::Leave,
            (b'W', _) => self.rest = Rest::Await,
            (b'F', _) => {
                let fd = number::read(value).and_then(|fd| i32::try_from(fd).ok()).filter(|fd| *fd > 2);
                self.ready = Some(fd.ok_or("no descriptor from 3 on")?);
            }
            _ => self.machine = true,
        }
        Ok(())
    }

    /// `FROM:TO`. dumb-init's are numbers of standard signals.
    fn rewrite(&mut self, rule: &[u8], only_numbers: bool) -> Result<(), &'static str> {
        const WRONG: &str = "no rewriting of a signal that can be caught (such as TERM:QUIT or HUP:0)";
        let colon = rule.iter().position(|byte| *byte == b':').ok_or(WRONG)?;
        let (from, to) = (&rule[..colon], &rule[colon + 1..]);
        if only_numbers && [from, to].iter().any(|text| number::read(text).is_none_or(|number| number > 31)) {
            return Err(WRONG);
        }
        let to = if number::read(to) == Some(0) { 0 } else { Signal::parse(to).ok_or(WRONG)?.number() as u8 };
        match Signal::parse(from) {
            Some(Signal::KILL | Signal::STOP | Signal::CHLD) if !only_numbers => Err(WRONG),
            Some(from) => {
                self.rewrites.set(from, to);
                Ok(())
            }
            None => Err(WRONG),
        }
    }

    fn read_environment(&mut self, variable: impl Fn(&[u8]) -> Option<&'static [u8]>) {
        match self.program {
            Program::NslInit | Program::Tini => {
                self.subreaper |= variable(b"TINI_SUBREAPER").is_some();
                if variable(b"TINI_KILL_PROCESS_GROUP").is_some() {
                    self.forwarding = Forwarding::Group;
                }
                if let Some(level) = variable(b"TINI_VERBOSITY") {
                    let digits = level.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let level = number::read(&level[..digits]).unwrap_or(0).min(9) as u8;
                    // Where tini warns, nsl-init says nothing more than it does anyway.
                    self.verbosity = if self.program == Program::Tini { level } else { level.saturating_sub(1) };
                }
            }
            Program::DumbInit => {
                if variable(b"DUMB_INIT_DEBUG") == Some(b"1") {
                    self.verbosity = 1;
                }
                if variable(b"DUMB_INIT_SETSID") == Some(b"0") {
                    self.home = Home::Shared;
                }
                if self.home == Home::Session {
                    self.forwarding = Forwarding::Group;
                    // A session of its own has nobody who could stop it from its terminal.
                    for signal in [Signal::TSTP, Signal::TTIN, Signal::TTOU] {
                        if self.rewrites.get(signal) == Some(signal) {
                            self.rewrites.set(signal, Signal::STOP.number() as u8);
                        }
                    }
                }
            }
            Program::Catatonit => self.verbosity = u8::from(variable(b"CATATONIT_DEBUG").is_some()),
        }
    }
}

/// What is printed instead of running anything, and the exit code behind it.
#[derive(Debug)]
pub struct Answer {
    pub code: u8,
    pub to_stderr: bool,
    /// One behind the other; their marks are text, reason, name and the init's process ID.
    words: [&'static str; 2],
    text: &'static [u8],
    reason: &'static str,
}

impl Answer {
    pub(crate) fn new(code: u8, to_stderr: bool, words: [&'static str; 2]) -> Self {
        Self { code, to_stderr, words, text: b"", reason: "" }
    }

    /// Writes it for an init that was called `name` and is process `own`.
    pub fn write(&self, line: &mut Line<'_>, name: &[u8], own: i32) {
        let marks = Marks { text: self.text, reason: self.reason.as_bytes(), name, own, ..Marks::default() };
        for words in self.words {
            line.fill(words.as_bytes(), &marks);
        }
    }
}

static NSL_INIT: Syntax = Syntax {
    short: b"ghlswvcPp:e:r:VG:S:KWF:M",
    long: &[
        ("help", b'h'),
        ("version", b'V'),
        ("grace", b'G'),
        ("stop-signal", b'S'),
        ("no-kill-rest", b'K'),
        ("wait-all", b'W'),
        ("ready-fd", b'F'),
        ("machine", b'M'),
    ],
    abbreviated: false,
    permuted: false,
};
static TINI: Syntax = Syntax { short: b"p:hvwgle:s", long: &[], abbreviated: false, permuted: true };
static DUMB_INIT: Syntax = Syntax {
    short: b"hvVcr:",
    long: &[("help", b'h'), ("single-child", b'c'), ("rewrite", b'r'), ("verbose", b'v'), ("version", b'V')],
    abbreviated: true,
    permuted: false,
};
static CATATONIT: Syntax = Syntax { short: b"ghLPV", long: &[("version", b'V')], abbreviated: true, permuted: true };

const NO_MACHINE: &str = "nsl-init: cannot be the init of a machine: this is not its PID 1%|";

/// Reads the command line `words`, whose first is the name that the init was called by, and the environment. Gives the
/// options and the index of the first word behind them, which may be missing for the init of a machine; words may have
/// changed their places.
pub fn parse<W: Word>(
    words: &mut [W],
    machine: bool,
    variable: impl Fn(&[u8]) -> Option<&'static [u8]>,
) -> Result<(Options, usize), Answer> {
    let program = Program::called(words.first().map_or(b"", Word::bytes));
    let syntax = match program {
        Program::NslInit => &NSL_INIT,
        Program::Tini => &TINI,
        Program::DumbInit => &DUMB_INIT,
        Program::Catatonit => &CATATONIT,
    };
    if program == Program::Tini && words.len() == 2 && words[1].bytes() == b"--version" {
        return Err(help::version(program));
    }
    if program == Program::Catatonit && variable(b"CATATONIT_LOG").is_some() {
        let words = ["ERROR (catatonit:%p): CATATONIT_LOG is reserved for future use%|", ""];
        return Err(Answer::new(program.failed(), true, words));
    }
    let mut options = Options::of(program);
    let mut read = getopt::Options::new(words, syntax, variable(b"POSIXLY_CORRECT").is_some());
    while let Some((letter, value)) = read.following().map_err(|wrong| misread(program, wrong))? {
        match letter {
            b'h' => return Err(help::help(program)),
            b'V' => return Err(help::version(program)),
            b'l' | b'L' => return Err(Answer::new(0, false, [help::LICENSE, ""])),
            _ => options.apply(letter, value).map_err(|why| bad_value(program, letter, why, value))?,
        }
    }
    let command = read.command();
    options.read_environment(variable);
    if options.machine && !machine {
        return Err(Answer::new(exit::NSL_FAILED, true, [NO_MACHINE, ""]));
    }
    if machine {
        options.machine = true;
        // Nobody else could end it.
        options.rest = Rest::End;
    }
    if command >= words.len() && !options.pause && !options.machine {
        return Err(Answer::new(program.failed(), true, help::no_command(program)));
    }
    Ok((options, command))
}

fn misread(program: Program, Wrong { fault, dashes, name }: Wrong) -> Answer {
    let long = dashes.len() > 1;
    let mut reason = "";
    let words = if program == Program::NslInit {
        reason = match fault {
            Fault::Unknown | Fault::Ambiguous => "unknown option",
            Fault::NoValue => "a value is missing behind",
            Fault::UnwantedValue => "no value is wanted behind",
        };
        [
            if long {
                "nsl-init: cannot read the options: %r: --%t"
            } else {
                "nsl-init: cannot read the options: %r: -%t"
            },
            help::SEE_HELP,
        ]
    } else {
        let words = match (fault, long) {
            (Fault::NoValue, false) => "%a: option requires an argument -- '%t'%|",
            (_, false) => "%a: invalid option -- '%t'%|",
            (Fault::Unknown, _) => "%a: unrecognized option '--%t'%|",
            (Fault::Ambiguous, _) => "%a: option '--%t' is ambiguous%|",
            (Fault::NoValue, _) => "%a: option '--%t' requires an argument%|",
            (Fault::UnwantedValue, _) => "%a: option '--%t' doesn't allow an argument%|",
        };
        [words, help::usage(program)]
    };
    Answer { text: name, reason, ..Answer::new(program.failed(), true, words) }
}

fn bad_value(program: Program, letter: u8, reason: &'static str, value: &'static [u8]) -> Answer {
    let words = match (program, letter) {
        (Program::NslInit, _) => ["nsl-init: cannot read the options: %r: %t", help::SEE_HELP],
        (Program::DumbInit, _) => ["Usage: -r takes SIGNAL:SIGNAL, numbers from 1 to 31, the second also 0%|", ""],
        (_, b'p') => ["[FATAL tini (%p)] Not a valid option for -p: %t%|", ""],
        _ => ["[FATAL tini (%p)] Not a valid option for -e: %t%|", ""],
    };
    Answer { text: value, reason, ..Answer::new(program.failed(), true, words) }
}

/// What is said when the descriptor of `--ready-fd` is not there.
#[must_use]
pub fn not_open() -> Answer {
    let why = "nsl-init: cannot start: the descriptor of --ready-fd is not open (hint: 3>FILE)%|";
    Answer::new(exit::NSL_FAILED, true, [why, ""])
}

/// What stands behind the last slash.
#[must_use]
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// A duration in milliseconds: `500ms`, `10s`, `2m`; a bare number is seconds.
fn milliseconds(text: &[u8]) -> Option<u32> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let factor = match &text[digits..] {
        b"ms" => 1,
        b"" | b"s" => 1000,
        b"m" => 60_000,
        _ => return None,
    };
    number::read(&text[..digits])?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Result<(Options, Vec<&'static str>), Answer>;

    fn read(line: &'static str, environment: &[(&str, &'static str)]) -> Read {
        read_in(false, line, environment)
    }

    fn read_in(machine: bool, line: &'static str, environment: &[(&str, &'static str)]) -> Read {
        let mut words: Vec<&'static [u8]> = line.split(' ').map(str::as_bytes).collect();
        let variable = |name: &[u8]| {
            environment.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, value)| value.as_bytes())
        };
        let (options, command) = parse(&mut words, machine, variable)?;
        Ok((options, words[command..].iter().map(|word| str::from_utf8(word).unwrap()).collect()))
    }

    fn options(line: &'static str) -> Options {
        read(line, &[]).unwrap_or_else(|answer| panic!("{line}: {answer:?}")).0
    }

    #[track_caller]
    fn says(line: &'static str, code: u8, to_stderr: bool, text: &str) {
        let answer = read(line, &[]).unwrap_err();
        let mut buffer = [0; 4096];
        let mut said = Line::new(&mut buffer);
        answer.write(&mut said, line.split(' ').next().unwrap().as_bytes(), 7);
        let said = str::from_utf8(said.as_bytes()).unwrap();
        assert_eq!((answer.code, answer.to_stderr), (code, to_stderr), "{line}: {said}");
        assert!(said.starts_with(text), "{line}: {said}");
    }

    #[test]
    fn name_decides_whose_options_they_are() {
        for (name, program) in [
            ("nsl-init", Program::NslInit),
            ("/sbin/init", Program::NslInit),
            ("", Program::NslInit),
            ("/sbin/docker-init", Program::Tini),
            ("tini", Program::Tini),
            ("./tini-static", Program::Tini),
            ("dumb-init", Program::DumbInit),
            ("/run/podman-init", Program::Catatonit),
            ("catatonit", Program::Catatonit),
        ] {
            assert_eq!(Program::called(name.as_bytes()), program, "{name}");
        }
    }

    #[test]
    fn options_end_at_the_first_word_that_is_none_but_for_tini_and_catatonit() {
        let command = |line| read(line, &[]).unwrap().1;
        assert_eq!(command("nsl-init sh -c x"), ["sh", "-c", "x"]);
        assert_eq!(command("nsl-init -g -- -s"), ["-s"]);
        assert_eq!(command("dumb-init -v sh -c x"), ["sh", "-c", "x"]);
        assert_eq!(command("tini sh -g x -- -c y"), ["sh", "x", "-c", "y"]);
        assert_eq!(command("catatonit sh -g x"), ["sh", "x"]);
        let strict = read("tini sh -c x", &[("POSIXLY_CORRECT", "")]).unwrap().1;
        assert_eq!(strict, ["sh", "-c", "x"]);
    }

    #[test]
    fn own_options_are_read() {
        let given = options("nsl-init -gwvvpTERM -e 143 -e0 --grace 500ms --stop-signal RTMIN+3 --ready-fd 3 x");
        assert_eq!(given.forwarding, Forwarding::Group);
        assert!(given.warn && !given.pause && !given.machine && given.subreaper);
        assert_eq!(given.verbosity, 2);
        assert_eq!(given.parent_death, Some(Signal::TERM));
        assert_eq!([143, 0, 142].map(|code| given.exit_code(code)), [0, 0, 142]);
        assert_eq!((given.grace_ms, given.stop_signal.number(), given.ready), (500, 37, Some(3)));
        assert_eq!(options("nsl-init x").rest, Rest::End);
        assert_eq!(options("nsl-init --no-kill-rest x").rest, Rest::Leave);
        assert_eq!(options("nsl-init --wait-all x").rest, Rest::Await);
        assert_eq!(options("nsl-init -c x").home, Home::Shared);
        assert!(options("nsl-init -P").pause);
    }

    #[test]
    fn machines_need_no_command_and_leave_nothing() {
        for line in ["/init", "/init --machine --grace 1s", "tini", "dumb-init -c"] {
            let (options, command) = read_in(true, line, &[]).unwrap();
            assert!(options.machine && options.rest == Rest::End && command.is_empty(), "{line}");
        }
        assert_eq!(read_in(true, "/init -v sh -c x", &[]).unwrap().1, ["sh", "-c", "x"]);
        says("nsl-init --machine x", 125, true, "nsl-init: cannot be the init of a machine: this is not its PID 1\n");
    }

    #[test]
    fn signals_are_rewritten() {
        let given = options("nsl-init -r TERM:QUIT -r SIGHUP:0 -r 10:RTMIN x");
        let becomes = |number| given.rewrites.get(Signal::new(number).unwrap()).map(Signal::number);
        assert_eq!([15, 1, 10, 2].map(becomes), [Some(3), None, Some(34), Some(2)]);
        for bad in ["TERM", ":", "TERM:", ":TERM", "KILL:TERM", "CHLD:TERM", "TERM:NOPE", "TERM:-1", "65:1"] {
            let line: &'static str = format!("nsl-init -r {bad} x").leak();
            says(line, 125, true, "nsl-init: cannot read the options: no rewriting of a signal that can be caught (");
        }
        let given = options("dumb-init -r 15:2 --rewrite=1:0 -r20:9 x");
        let becomes = |number| given.rewrites.get(Signal::new(number).unwrap()).map(Signal::number);
        assert_eq!([15, 1, 20, 21].map(becomes), [Some(2), None, Some(9), Some(19)]);
        for bad in ["15", "TERM:2", "0:2", "32:2", "2:32", "2:"] {
            says(format!("dumb-init -r {bad} x").leak(), 1, true, "Usage: -r");
        }
    }

    #[test]
    fn durations_have_units() {
        for (text, ms) in [("500ms", 500), ("3", 3000), ("10s", 10_000), ("2m", 120_000), ("0", 0)] {
            assert_eq!(options(format!("nsl-init --grace={text} x").leak()).grace_ms, ms, "{text}");
        }
        for bad in ["", "ms", "1h", "-1", "99999999999", "4294968"] {
            let words = "nsl-init: cannot read the options: no duration (such as 10s or 500ms): ";
            says(format!("nsl-init --grace={bad} x").leak(), 125, true, words);
        }
    }

    #[test]
    fn environment_counts_as_the_program_has_it() {
        let read = |line, environment| read(line, environment).unwrap().0;
        let tini = read("tini x", &[("TINI_SUBREAPER", ""), ("TINI_KILL_PROCESS_GROUP", ""), ("TINI_VERBOSITY", "3")]);
        assert_eq!((tini.subreaper, tini.forwarding, tini.verbosity), (true, Forwarding::Group, 3));
        assert_eq!(read("tini -vv x", &[("TINI_VERBOSITY", "no")]).verbosity, 0);
        assert_eq!(read("tini -vv x", &[]).verbosity, 3);
        assert_eq!(read("nsl-init x", &[("TINI_VERBOSITY", "2")]).verbosity, 1);
        assert_eq!(read("dumb-init x", &[]).home, Home::Session);
        assert_eq!(read("dumb-init x", &[]).forwarding, Forwarding::Group);
        for quiet in [read("dumb-init x", &[("DUMB_INIT_SETSID", "0")]), read("dumb-init -c x", &[])] {
            assert_eq!((quiet.home, quiet.forwarding), (Home::Shared, Forwarding::Command));
            assert_eq!(quiet.rewrites, Rewrites::default());
        }
        assert_eq!(read("dumb-init x", &[("DUMB_INIT_DEBUG", "1")]).verbosity, 1);
        assert_eq!(read("catatonit x", &[("CATATONIT_DEBUG", "")]).verbosity, 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        says("nsl-init -gx", 125, true, "nsl-init: cannot read the options: unknown option: -x (hint: see");
        says("nsl-init --nope", 125, true, "nsl-init: cannot read the options: unknown option: --nope (hint: see");
        says("nsl-init -p", 125, true, "nsl-init: cannot read the options: a value is missing behind: -p (hint: see");
        says("nsl-init --version=1", 125, true, "nsl-init: cannot read the options: no value is wanted behind: --ver");
        says("nsl-init -e 256 x", 125, true, "nsl-init: cannot read the options: no exit code: 256 (hint: see");
        says(
            "nsl-init --ready-fd x x",
            125,
            true,
            "nsl-init: cannot read the options: no descriptor from 3 on: x (hint: see",
        );
        says(
            "/bin/tini sh -c x",
            1,
            true,
            "/bin/tini: invalid option -- 'c'\ntini (tini version 0.19.0)\nUsage: tini [",
        );
        says("tini --version x", 1, true, "tini: invalid option -- '-'\ntini (tini version");
        says("tini -p", 1, true, "tini: option requires an argument -- 'p'\n");
        says("tini -p NOPE x", 1, true, "[FATAL tini (7)] Not a valid option for -p: NOPE\n");
        says("dumb-init --nope x", 1, true, "dumb-init: unrecognized option '--nope'\n");
        says("dumb-init --ver x", 1, true, "dumb-init: option '--ver' is ambiguous");
        says("dumb-init --help=1 x", 1, true, "dumb-init: option '--help' doesn't allow an argument\n");
        says("nsl-init -g", 125, true, "nsl-init: cannot start: no command given (hint: ");
        says("tini", 1, true, "tini (tini version 0.19.0)\nUsage: tini [");
        says("./dumb-init -v", 1, true, "Usage: ./dumb-init [option]");
        says("catatonit --", 1, true, "ERROR (catatonit:7): missing program name\nusage: catatonit [-ghLPV]");
        says("catatonit -x", 1, true, "catatonit: invalid option -- 'x'\nusage: catatonit [-ghLPV]");
    }

    #[test]
    fn questions_are_answered_on_the_stream_that_the_program_uses() {
        says("nsl-init -h", 0, false, "Usage: nsl-init [OPTIONS] [--] COMMAND");
        says("nsl-init --version", 0, false, "nsl-init 0.");
        says("nsl-init -l", 0, false, "nsl-init is licensed under MIT OR Apache-2.0\n");
        says("docker-init --version", 0, false, "tini version 0.19.0\n");
        says("tini-static -h", 0, false, "tini-static (tini version 0.19.0)\nUsage: tini-static [OPTIONS]");
        says("dumb-init -V", 0, true, "dumb-init v1.2.5\n");
        says("dumb-init --he", 0, true, "dumb-init v1.2.5\nUsage: dumb-init [option]");
        says("podman-init --vers", 0, false, "tini version 0.1.7_catatonit\n");
        says("catatonit -h", 0, true, "usage: catatonit [-ghLPV]");
    }
}
