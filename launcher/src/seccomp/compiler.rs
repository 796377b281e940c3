//! From a policy to the program that the kernel runs, in classic BPF (`struct sock_filter`). Knows nothing of what is
//! good or bad, nor of names: numbers in, bytes out. build.rs uses this file too, so that it refers to no other.
//!
//! Why not a crate: when a filter is loaded, the kernel runs it for every system call's number, to learn which are
//! always allowed (`seccomp_cache_prepare`, since 5.11). A list of comparisons, one call behind the other, costs that
//! on every start. Here neighbours with one answer are one range, and a range is found by halving. Loaded on 6.18, the
//! default policy takes 27 µs in 90 instructions, seccompiler's list for it 630 µs in 1,674; an empty filter takes 7.
//! (And that crate has two answers to a policy, where this one has three: allowed, EPERM, ENOSYS.)

use std::collections::{BTreeMap, HashMap};

/// Longer programs are refused by the kernel (`BPF_MAXINSNS`).
const LONGEST: usize = 4096;
/// As far as a conditional jump gets: 255, less the long jumps that may come between.
const NEAR: usize = 250;
/// Numbers from here on belong to x86_64's second table, x32, or mean "no call".
pub const X32: u32 = 1 << 30;

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_AARCH64` (linux/audit.h).
pub const X86_64: u32 = 0xc000_003e;
pub const AARCH64: u32 = 0xc000_00b7;

/// `SECCOMP_RET_…`: what becomes of a call, as the filter returns it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Action(pub u32);

impl Action {
    pub const KILL_PROCESS: Self = Self(0x8000_0000);
    pub const KILL_THREAD: Self = Self(0);
    pub const TRAP: Self = Self(0x0003_0000);
    pub const LOG: Self = Self(0x7ffc_0000);
    pub const ALLOW: Self = Self(0x7fff_0000);

    /// The call fails with this errno.
    pub const fn errno(errno: u16) -> Self {
        Self(0x0005_0000 | errno as u32)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Does the argument, cut by the mask, compare so with the value? Unsigned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Test {
    /// 0 to 5.
    pub argument: u8,
    pub mask: u64,
    pub compare: Compare,
    pub value: u64,
}

/// Where all the tests hold, this becomes of the call.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Clause {
    pub tests: Vec<Test>,
    pub action: Action,
}

/// What becomes of one call: the first clause that fits decides.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rule {
    pub clauses: Vec<Clause>,
    pub otherwise: Action,
}

impl From<Action> for Rule {
    fn from(otherwise: Action) -> Self {
        Self { clauses: Vec::new(), otherwise }
    }
}

/// What becomes of every call that there can be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The one architecture that `calls` is for: `AUDIT_ARCH_…`.
    pub arch: u32,
    /// By number, below [`X32`].
    pub calls: BTreeMap<u32, Rule>,
    /// Calls that are not listed, up to the highest number that is.
    pub between: Action,
    /// Calls with higher numbers: the kernel may have learned them since.
    pub beyond: Action,
    /// Calls by other architectures' tables.
    pub foreign: Action,
}

/// The program has more instructions than the kernel takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong;

impl Policy {
    /// The program, eight bytes an instruction, little-endian as all machines that nsl runs on.
    pub fn compile(&self) -> Result<Vec<u8>, TooLong> {
        let mut program = Program::default();
        let tree = program.tree(&self.ranges());
        let number = program.load(NUMBER, tree);
        let foreign = program.answer(self.foreign);
        let arch = program.branch(JUMP_EQUAL, self.arch, number, foreign);
        program.load(ARCH, arch);
        if program.code.len() > LONGEST { Err(TooLong) } else { Ok(program.bytes()) }
    }

    /// First numbers of ranges, ascending, each with what holds up to the next.
    fn ranges(&self) -> Vec<(u32, Rule)> {
        let (between, beyond) = (Rule::from(self.between), Rule::from(self.beyond));
        let mut ranges: Vec<(u32, Rule)> = Vec::new();
        let mut add = |start: u32, rule: &Rule| {
            if ranges.last().is_none_or(|(_, last)| last != rule) {
                ranges.push((start, rule.clone()));
            }
        };
        let mut next = 0;
        for (number, rule) in self.calls.range(..X32) {
            if *number > next {
                add(next, &between);
            }
            add(*number, rule);
            next = number + 1;
        }
        if next < X32 {
            add(next, &beyond);
        }
        add(X32, &Rule::from(self.foreign));
        ranges
    }
}

/// Codes of instructions (linux/bpf_common.h), and offsets in `struct seccomp_data`.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

/// A program that is written from its end: jumps go forward only, so that a target is there before what jumps to it.
/// An instruction's place is its distance from the end.
#[derive(Default)]
struct Program {
    code: Vec<Instruction>,
    answers: HashMap<Action, usize>,
    rules: HashMap<Rule, usize>,
}

/// Where to halve ranges: so that the kernel, which tries the numbers of all calls that it has, takes as many to the
/// one side as to the other.
fn middle(ranges: &[(u32, Rule)]) -> usize {
    const CALLS: u32 = 512;
    let place = |index: usize| ranges[index].0.min(CALLS);
    let (first, last) = (place(0), place(ranges.len() - 1));
    let half = first.midpoint(last);
    let index = ranges.partition_point(|(start, _)| *start < half);
    index.clamp(1, ranges.len() - 1)
}

impl Program {
    /// Finds the range that the number is in, and does what holds there.
    fn tree(&mut self, ranges: &[(u32, Rule)]) -> usize {
        match ranges {
            [] => self.answer(Action::KILL_PROCESS),
            [(_, rule)] => self.rule(rule),
            // One number among others of one kind.
            [(_, around), (number, rule), (after, last)] if around == last && *after == number + 1 => {
                let (rule, around) = (self.rule(rule), self.rule(around));
                self.branch(JUMP_EQUAL, *number, rule, around)
            }
            _ => {
                let (below, above) = ranges.split_at(middle(ranges));
                let (right, left) = (self.tree(above), self.tree(below));
                self.branch(JUMP_GREATER_OR_EQUAL, above[0].0, right, left)
            }
        }
    }

    fn rule(&mut self, rule: &Rule) -> usize {
        if rule.clauses.is_empty() {
            return self.answer(rule.otherwise);
        }
        if let Some(place) = self.rules.get(rule) {
            return *place;
        }
        let mut place = self.answer(rule.otherwise);
        for clause in rule.clauses.iter().rev() {
            let fails = place;
            place = self.answer(clause.action);
            for test in clause.tests.iter().rev() {
                place = self.test(test, place, fails);
            }
        }
        self.rules.insert(rule.clone(), place);
        place
    }

    /// Goes on at `yes` or at `no`. A 64-bit argument is two words, of which what the mask leaves out is not looked at.
    fn test(&mut self, test: &Test, yes: usize, no: usize) -> usize {
        let halves = |number: u64| ((number >> 32) as u32, number as u32);
        let ((mask_high, mask_low), (high, low)) = (halves(test.mask), halves(test.value));
        let low_word = ARGUMENTS + 8 * u32::from(test.argument);
        let high_word = low_word + 4;
        let (code, yes, no) = match test.compare {
            Compare::Equal => (JUMP_EQUAL, yes, no),
            Compare::NotEqual => (JUMP_EQUAL, no, yes),
            Compare::Greater => (JUMP_GREATER, yes, no),
            Compare::LessOrEqual => (JUMP_GREATER, no, yes),
            Compare::GreaterOrEqual => (JUMP_GREATER_OR_EQUAL, yes, no),
            Compare::Less => (JUMP_GREATER_OR_EQUAL, no, yes),
        };
        let lower = self.word(low_word, mask_low, code, low, yes, no);
        if mask_high == 0 && high == 0 {
            return lower;
        }
        // The high halves decide, unless they are the same.
        let same = self.branch(JUMP_EQUAL, high, lower, no);
        let first = if code == JUMP_EQUAL { same } else { self.branch(JUMP_GREATER, high, yes, same) };
        self.masked(high_word, mask_high, first)
    }

    fn word(&mut self, word: u32, mask: u32, code: u16, value: u32, yes: usize, no: usize) -> usize {
        if code == JUMP_EQUAL && value == 0 && mask != u32::MAX {
            let any = self.branch(JUMP_SET, mask, no, yes);
            return self.load(word, any);
        }
        let compared = self.branch(code, value, yes, no);
        self.masked(word, mask, compared)
    }

    fn masked(&mut self, word: u32, mask: u32, then: usize) -> usize {
        if mask == u32::MAX {
            return self.load(word, then);
        }
        self.next_is(then);
        self.push(AND, mask, 0, 0);
        self.load(word, self.code.len() - 1)
    }

    fn load(&mut self, word: u32, then: usize) -> usize {
        self.next_is(then);
        self.push(LOAD, word, 0, 0)
    }

    /// Sees to it that what is written next goes on at `place`.
    fn next_is(&mut self, place: usize) {
        let between = self.code.len() - 1 - place;
        if between > 0 {
            self.push(JUMP, between as u32, 0, 0);
        }
    }

    /// The end of the call, with one instruction for all that are near.
    fn answer(&mut self, action: Action) -> usize {
        match self.answers.get(&action) {
            Some(place) if self.code.len() - place <= NEAR => *place,
            _ => {
                let place = self.push(RETURN, action.0, 0, 0);
                self.answers.insert(action, place);
                place
            }
        }
    }

    fn branch(&mut self, code: u16, value: u32, yes: usize, no: usize) -> usize {
        if yes == no {
            return yes;
        }
        let (yes, no) = (self.near(yes), self.near(no));
        let offset = |place| (self.code.len() - 1 - place) as u8;
        self.push(code, value, offset(yes), offset(no))
    }

    /// The place itself, or a long jump to it.
    fn near(&mut self, place: usize) -> usize {
        let between = self.code.len() - 1 - place;
        if between <= NEAR { place } else { self.push(JUMP, between as u32, 0, 0) }
    }

    fn push(&mut self, code: u16, value: u32, if_true: u8, if_false: u8) -> usize {
        self.code.push(Instruction { code, if_true, if_false, value });
        self.code.len() - 1
    }

    fn bytes(&self) -> Vec<u8> {
        let bytes = |one: &Instruction| {
            let [code, value] = [u32::from(one.code), one.value].map(u32::to_le_bytes);
            [code[0], code[1], one.if_true, one.if_false, value[0], value[1], value[2], value[3]]
        };
        self.code.iter().rev().flat_map(bytes).collect()
    }
}
