//! What the kernel does with a filter: the check when it is loaded, and the run at a call. And what a policy says of a
//! call, read off it without a program.

use crate::seccomp::compiler::{Action, Compare, Policy, Test, X32};

/// A system call, as the filter sees it: `struct seccomp_data` without the address it came from.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub arch: u32,
    pub number: u32,
    pub args: [u64; 6],
}

/// What the filter answers. Panics where the kernel would not have taken the program: `seccomp_check_filter` and
/// `bpf_check_classic` allow more than this.
pub fn run(program: &[u8], call: &Call) -> Action {
    let (mut accumulator, mut at) = (0, 0);
    loop {
        let (code, if_true, if_false, value) = instruction(program, at);
        at += 1;
        let (next, condition) = match code {
            0x20 => {
                accumulator = word(call, value);
                continue;
            }
            0x54 => {
                accumulator &= value;
                continue;
            }
            0x05 => {
                at += value as usize;
                continue;
            }
            0x06 => return Action(value),
            0x15 => (at, accumulator == value),
            0x25 => (at, accumulator > value),
            0x35 => (at, accumulator >= value),
            0x45 => (at, accumulator & value != 0),
            _ => panic!("no instruction of a filter: {code:#x}"),
        };
        at = next + usize::from(if condition { if_true } else { if_false });
    }
}

/// Panics unless the kernel takes the program: its length, every instruction and every jump, the end.
pub fn verify(program: &[u8]) {
    assert_eq!(program.len() % 8, 0);
    let length = program.len() / 8;
    assert!((1..=4096).contains(&length), "{length} instructions");
    for at in 0..length {
        let (code, if_true, if_false, value) = instruction(program, at);
        let farthest = match code {
            0x20 => {
                assert!(value < 64 && value % 4 == 0, "a load from {value}");
                0
            }
            0x05 => value as usize,
            0x54 | 0x06 => 0,
            0x15 | 0x25 | 0x35 | 0x45 => usize::from(if_true.max(if_false)),
            _ => panic!("no instruction of a filter: {code:#x}"),
        };
        assert!(code == 0x06 || at + 1 + farthest < length, "{at} leads behind the end");
    }
}

fn instruction(program: &[u8], at: usize) -> (u16, u8, u8, u32) {
    let bytes = &program[at * 8..][..8];
    let value = u32::from_ne_bytes(bytes[4..].try_into().expect("four bytes"));
    (u16::from_ne_bytes([bytes[0], bytes[1]]), bytes[2], bytes[3], value)
}

fn word(call: &Call, offset: u32) -> u32 {
    match offset {
        0 => call.number,
        4 => call.arch,
        16..64 => {
            let argument = call.args[(offset as usize - 16) / 8].to_ne_bytes();
            u32::from_ne_bytes(argument[offset as usize % 8..][..4].try_into().expect("four bytes"))
        }
        _ => panic!("nothing is loaded from {offset}"),
    }
}

/// What the policy says.
pub fn meant(policy: &Policy, call: &Call) -> Action {
    if call.arch != policy.arch || call.number >= X32 {
        return policy.foreign;
    }
    let Some(rule) = policy.calls.get(&call.number) else {
        let is_between = policy.calls.last_key_value().is_some_and(|(highest, _)| *highest > call.number);
        return if is_between { policy.between } else { policy.beyond };
    };
    let fits = rule.clauses.iter().find(|clause| clause.tests.iter().all(|test| holds(test, call)));
    fits.map_or(rule.otherwise, |clause| clause.action)
}

pub fn holds(test: &Test, call: &Call) -> bool {
    let argument = call.args[usize::from(test.argument)] & test.mask;
    match test.compare {
        Compare::Equal => argument == test.value,
        Compare::NotEqual => argument != test.value,
        Compare::Less => argument < test.value,
        Compare::LessOrEqual => argument <= test.value,
        Compare::Greater => argument > test.value,
        Compare::GreaterOrEqual => argument >= test.value,
    }
}

/// Values at which the answer to a call may turn: each that the tests know, with its neighbours, its mask, and what
/// differs from it in one half only.
pub fn turning_points(policy: &Policy, number: u32) -> Vec<u64> {
    let mut values = Vec::new();
    for test in policy.calls.get(&number).iter().flat_map(|rule| &rule.clauses).flat_map(|clause| &clause.tests) {
        for value in [test.value, test.mask, !test.mask, test.value | !test.mask] {
            values.extend([value, value.wrapping_add(1), value.wrapping_sub(1), value.swap_bytes()]);
            values.extend([value ^ 1 << 32, value | 0xffff_ffff << 32, value & 0xffff_ffff, value.rotate_left(32)]);
        }
    }
    values.sort_unstable();
    values.dedup();
    values
}

/// A xorshift generator.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    pub fn of<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.below(things.len() as u64) as usize]
    }
}
