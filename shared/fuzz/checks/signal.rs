//! What holds of signal names for any text, and of exit codes for any wait status.

use nsl_shared::exit;
use nsl_shared::signal::{MAX, Signal, SignalSet};

pub fn check(text: &[u8]) {
    let signal = Signal::parse(text);
    assert_eq!(Signal::parse(&text.to_ascii_lowercase()), signal);
    assert_eq!(Signal::parse(&text.to_ascii_uppercase()), signal);
    if let Some(signal) = signal {
        named(signal, text);
    }
    if let Some(status) = text.first_chunk().map(|bytes| i32::from_le_bytes(*bytes)) {
        ended(status);
    }
}

fn named(signal: Signal, text: &[u8]) {
    let number = signal.number();
    assert!((1..=MAX).contains(&number));
    assert_eq!(Signal::new(number), Some(signal));
    assert_eq!(Signal::parse(number.to_string().as_bytes()), Some(signal));
    // 32 and 33 are the C library's own: they have a number and no name.
    if !(32..34).contains(&number) {
        assert_eq!(Signal::parse(signal.to_string().as_bytes()), Some(signal));
    }
    let is_number = text.iter().all(u8::is_ascii_digit);
    let has_prefix = text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"SIG"));
    if !is_number && !has_prefix {
        assert_eq!(Signal::parse(&[b"SIG", text].concat()), Some(signal));
    }
    assert!(SignalSet::ALL.contains(signal) && !SignalSet::NONE.contains(signal));
}

fn ended(status: i32) {
    let code = exit::of_wait_status(status);
    match status & 0x7f {
        0 => assert_eq!(i32::from(code), status >> 8 & 0xff),
        signal => assert_eq!(i32::from(code), 128 + signal),
    }
}
