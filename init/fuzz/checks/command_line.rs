//! What holds of the init's command lines for any words and environment, whatever name it is called by.

use nsl_init::cli::{self, Answer, Options, Program};
use nsl_init::getopt::Word;
use nsl_init::message::Line;
use nsl_shared::signal::{self, Signal};

const NAMES: [&[u8]; 6] = [b"nsl-init", b"tini", b"dumb-init", b"catatonit", b"/sbin/docker-init", b"./podman-init"];
/// What bit n of an input's first byte puts into the environment.
const VARIABLES: [(&[u8], &[u8]); 8] = [
    (b"POSIXLY_CORRECT", b""),
    (b"TINI_SUBREAPER", b""),
    (b"TINI_KILL_PROCESS_GROUP", b"1"),
    (b"TINI_VERBOSITY", b"12x"),
    (b"DUMB_INIT_DEBUG", b"1"),
    (b"DUMB_INIT_SETSID", b"0"),
    (b"CATATONIT_DEBUG", b""),
    (b"TINI_VERBOSITY", b"99999999999"),
];

/// A word, and its place on the command line.
#[derive(Clone, Copy)]
struct Placed(usize, &'static [u8]);

impl Word for Placed {
    fn bytes(&self) -> &'static [u8] {
        self.1
    }
}

/// The first byte is the environment; the words behind it are ended by NULs, as in `/proc/PID/cmdline`, and stand
/// behind each of the names, and for themselves. `lasting` makes a word one that lasts as long as the init's do.
pub fn check(bytes: &[u8], lasting: impl Fn(&[u8]) -> &'static [u8]) {
    let Some((environment, words)) = bytes.split_first() else { return };
    let words: Vec<&'static [u8]> = words.split(|byte| *byte == 0).map(lasting).collect();
    read(*environment, &words);
    for name in NAMES {
        read(*environment, &[&[name], &words[..]].concat());
    }
}

fn read(environment: u8, words: &[&'static [u8]]) {
    let variable = |name: &[u8]| {
        let mut set = VARIABLES.iter().enumerate().filter(|(bit, _)| environment >> bit & 1 == 1);
        set.find(|(_, (known, _))| *known == name).map(|(_, (_, value))| *value)
    };
    let given: Vec<Placed> = words.iter().enumerate().map(|(place, word)| Placed(place, word)).collect();
    let (mut moved, mut again) = (given.clone(), given.clone());
    let result = cli::parse(&mut moved, variable);
    let second = cli::parse(&mut again, variable);
    assert_eq!(format!("{result:?}"), format!("{second:?}"), "read twice, it says two things");
    assert!(places(&moved).eq(places(&again)));

    let mut sorted: Vec<usize> = places(&moved).collect();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..given.len()), "a word was lost or doubled");
    let program = Program::called(words[0]);
    match result {
        Ok((options, command)) => {
            assert!(command >= 1 && command <= moved.len());
            assert!(command < moved.len() || options.pause || options.machine, "there is nothing to run");
            assert!(moved[0].0 == 0 && places(&moved[..command]).is_sorted() && places(&moved[command..]).is_sorted());
            let permutes = matches!(program, Program::Tini | Program::Catatonit) && environment & 1 == 0;
            assert!(permutes || places(&moved).is_sorted(), "words were moved");
            make_sense(program, &options);
            behind_two_dashes_it_is_the_same(&moved, command, variable);
        }
        Err(answer) => is_said(program, &answer),
    }
}

fn places(words: &[Placed]) -> impl Iterator<Item = usize> {
    words.iter().map(|word| word.0)
}

fn make_sense(program: Program, options: &Options) {
    assert_eq!(options.program, program);
    assert!(options.ready.is_none_or(|descriptor| descriptor > 2));
    for code in 0..=u8::MAX {
        assert!([0, code].contains(&options.exit_code(code)));
    }
    for signal in (1..=signal::MAX).filter_map(Signal::new) {
        let becomes = options.rewrites.get(signal);
        assert!(program != Program::NslInit || signal != Signal::KILL || becomes == Some(signal));
    }
    // No program takes the options of another.
    assert!(program == Program::NslInit || !options.machine && options.ready.is_none());
    assert!(program == Program::Tini || program == Program::NslInit || options.parent_death.is_none());
}

/// A command is one wherever its options come from.
fn behind_two_dashes_it_is_the_same(
    words: &[Placed],
    command: usize,
    variable: impl Fn(&[u8]) -> Option<&'static [u8]>,
) {
    if command < words.len() {
        let mut plain: Vec<Placed> = [&words[..1], &[Placed(0, b"--")], &words[command..]].concat();
        let (_, again) = cli::parse(&mut plain, variable).expect("a command without any option");
        assert_eq!(again, 2);
        assert!(places(&plain[2..]).eq(places(&words[command..])));
    }
}

fn is_said(program: Program, answer: &Answer) {
    assert!(answer.code == 0 || answer.code == program.failed() && answer.to_stderr);
    let mut buffer = [0; 512];
    let mut line = Line::new(&mut buffer);
    for words in answer.words {
        line.fill(words.as_bytes(), &answer.facts, i32::MAX);
    }
    assert!(!line.as_bytes().is_empty(), "nothing is said");
}
