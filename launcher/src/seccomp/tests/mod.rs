//! Each program is run, by a machine of the tests' own, for every number and for the arguments that matter, and must
//! answer what its policy says; and each policy must say what it was made for.

mod default;
mod machine;
mod profile;

use super::compiler::{Action, Clause, Compare, Policy, Rule, Test, TooLong, X32};
use machine::{Call, Random, meant, run, turning_points, verify};
use std::collections::BTreeMap;

const I386: u32 = 0x4000_0003;

/// Numbers of every kind: known, unknown, the second table of x86_64, none.
fn numbers() -> impl Iterator<Item = u32> {
    let far = [4096, 0x7fff, X32 - 1, u32::MAX, u32::MAX - 1, 1 << 31];
    (0..600).chain(X32..X32 + 600).chain(far)
}

/// Fails unless the program does what the policy says; returns how many calls were tried.
fn assert_same(policy: &Policy, program: &[u8]) -> usize {
    verify(program);
    let mut count = 0;
    let mut check = |call: Call| {
        assert_eq!(run(program, &call), meant(policy, &call), "{call:x?}");
        count += 1;
    };
    for number in numbers() {
        check(Call { arch: I386, number, args: [0; 6] });
        check(Call { arch: policy.arch, number, args: [0; 6] });
        check(Call { arch: policy.arch, number, args: [u64::MAX; 6] });
        let values = turning_points(policy, number);
        for (index, value) in values.iter().enumerate() {
            // One argument alone, all together, and each with a neighbour's value.
            for argument in 0..6 {
                let mut args = [0; 6];
                args[argument] = *value;
                check(Call { arch: policy.arch, number, args });
            }
            check(Call { arch: policy.arch, number, args: [*value; 6] });
            let args = std::array::from_fn(|argument| values[(index + argument) % values.len()]);
            check(Call { arch: policy.arch, number, args });
        }
    }
    count
}

fn random_test(random: &mut Random) -> Test {
    let edges = [0, 1, 2, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 32, (1 << 32) + 5, u64::MAX - 1, u64::MAX];
    let masks = [u64::MAX, u64::MAX, 0xffff_ffff, 0xffff_ffff << 32, 0xff, 0xff00_0000_0000, 0x7e02_0000, 0];
    let compares = [
        Compare::Equal,
        Compare::NotEqual,
        Compare::Less,
        Compare::LessOrEqual,
        Compare::Greater,
        Compare::GreaterOrEqual,
    ];
    let value = if random.below(4) == 0 { random.next() } else { random.of(&edges) };
    let mask = if random.below(8) == 0 { random.next() } else { random.of(&masks) };
    Test { argument: random.below(6) as u8, mask, compare: random.of(&compares), value }
}

fn random_policy(random: &mut Random) -> Policy {
    let actions = [
        Action::ALLOW,
        Action::ALLOW,
        Action::LOG,
        Action::KILL_PROCESS,
        Action::KILL_THREAD,
        Action::errno(1),
        Action::errno(38),
    ];
    let spread = random.of(&[20, 500, 1024]);
    let deepest = random.of(&[1, 1, 4]);
    let mut calls = BTreeMap::new();
    for _ in 0..random.below(400) {
        let mut clauses = Vec::new();
        while random.below(3) == 0 && clauses.len() < deepest {
            let tests = (0..=random.below(3)).map(|_| random_test(random)).collect();
            clauses.push(Clause { tests, action: random.of(&actions) });
        }
        calls.insert(random.below(spread) as u32, Rule { clauses, otherwise: random.of(&actions) });
    }
    let [between, beyond, foreign] = [(); 3].map(|()| random.of(&actions));
    Policy { arch: super::native_arch(), calls, between, beyond, foreign }
}

#[test]
fn programs_do_what_their_policies_say() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut longest = 0;
    for _ in 0..60 {
        let policy = random_policy(&mut random);
        let program = policy.compile().unwrap();
        assert_same(&policy, &program);
        longest = longest.max(program.len() / 8);
    }
    // Long enough for jumps that no conditional one reaches.
    assert!(longest > 1000, "{longest}");
}

#[test]
fn programs_that_the_kernel_would_not_take_are_not_made() {
    let different = |number: u32| Rule {
        clauses: (0..9)
            .map(|argument| Clause {
                tests: vec![Test {
                    argument: argument % 6,
                    mask: u64::MAX,
                    compare: Compare::Equal,
                    value: (u64::from(number) << 32) + u64::from(argument) + 7,
                }],
                action: Action::errno(number as u16),
            })
            .collect(),
        otherwise: Action::ALLOW,
    };
    let policy = |count: u32| Policy {
        arch: super::native_arch(),
        calls: (0..count).map(|number| (number, different(number))).collect(),
        between: Action::ALLOW,
        beyond: Action::ALLOW,
        foreign: Action::ALLOW,
    };
    assert_same(&policy(60), &policy(60).compile().unwrap());
    assert_eq!(policy(1000).compile(), Err(TooLong));
}

#[test]
fn an_empty_policy_makes_a_program() {
    let policy = Policy {
        arch: super::native_arch(),
        calls: BTreeMap::new(),
        between: Action::KILL_PROCESS,
        beyond: Action::ALLOW,
        foreign: Action::errno(38),
    };
    assert_same(&policy, &policy.compile().unwrap());
}
