//! What holds of the init's messages for any facts: they fill their buffer and no more, and what is cut off is the
//! beginning of what is not.

use nsl_init::cli::Program;
use nsl_init::message::{Event, Facts, Line, words};
use nsl_shared::signal::Signal;

const PROGRAMS: [Program; 4] = [Program::NslInit, Program::Tini, Program::DumbInit, Program::Catatonit];
const EVENTS: [Event; 17] = [
    Event::Started,
    Event::ForkFailed,
    Event::ExecFailed,
    Event::InterpreterMissing,
    Event::Forwarding,
    Event::Dropping,
    Event::OrphanExited,
    Event::OrphanKilled,
    Event::OrphanReaped,
    Event::Exited,
    Event::Killed,
    Event::NoReaper,
    Event::First,
    Event::Subreaper,
    Event::EndingRest,
    Event::KillingRest,
    Event::RestNotFound,
];

/// Numbers first, then the text.
pub fn check(bytes: &[u8]) {
    let Some((numbers, text)) = bytes.split_at_checked(12) else { return };
    let number = |at: usize| i32::from_le_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]);
    let event = EVENTS[usize::from(numbers[0]) % EVENTS.len()];
    let facts = Facts {
        pid: number(1),
        number: number(5),
        signal: Signal::new(i32::from(numbers[9])),
        other: Signal::new(i32::from(numbers[10])),
        text,
        name: text,
        reason: text,
    };
    let room = usize::from(numbers[11]);
    for program in PROGRAMS {
        let Some(words) = words(program, numbers[9], event) else { continue };
        let (mut small, mut large) = (vec![0; room], vec![0; 64 * (text.len() + 64)]);
        let (mut cut, mut whole) = (Line::new(&mut small), Line::new(&mut large));
        cut.fill(words, &facts, number(1));
        whole.fill(words, &facts, number(1));
        let (cut, whole) = (cut.as_bytes(), whole.as_bytes());
        assert_eq!(cut, &whole[..room.min(whole.len())]);
        assert_eq!(whole.last(), Some(&b'\n'));
    }
    // The init's own words have marks that are known; others may have any.
    let mut buffer = vec![0; room];
    Line::new(&mut buffer).fill(text, &facts, number(1));
}
