//! What holds of the boot message for any bytes: the decoder refuses them or has read all of them, and what is
//! encoded is decoded.

use nsl_shared::boot::{Boot, Credentials, HEADER, INSTRUCTION, LIMIT, Message, Setup, Strings};
use nsl_shared::signal::SignalSet;
use std::ffi::CString;

/// The word of the header for what is asked for, and those of lengths.
const SETUP: usize = 8;
const LENGTHS: std::ops::Range<usize> = 14..23;

/// The bytes as they are, as a message whose header fits, and as the contents of one.
pub fn check(bytes: &[u8]) {
    decoded_is_encoded_again(bytes);
    decoded_is_encoded_again(&with_fitting_header(bytes));
    encoded_is_decoded(bytes);
}

/// What follows the header is reached only if the header is right: flags that are known, lengths that fill the rest.
fn with_fitting_header(bytes: &[u8]) -> Vec<u8> {
    let mut message = bytes.to_vec();
    message.resize(bytes.len().max(HEADER), 0);
    let mut left = message.len() - HEADER;
    let word = |message: &[u8], index: usize| {
        u32::from_le_bytes(message[index * 4..][..4].try_into().expect("four bytes are a word"))
    };
    let set =
        |message: &mut [u8], index: usize, word: u32| message[index * 4..][..4].copy_from_slice(&word.to_le_bytes());
    message[..8].copy_from_slice(b"nslboot\0");
    let known = word(&message, SETUP) & Setup::ALL.0;
    set(&mut message, SETUP, known);
    for index in LENGTHS {
        let mut length = word(&message, index) as usize % (left + 1);
        // Groups, limits and instructions have a size; what is left over is the environment's.
        length -= length % [1, 1, 1, 1, 1, 1, 4, LIMIT, INSTRUCTION][index - LENGTHS.start];
        set(&mut message, index, length as u32);
        left -= length;
    }
    let env = word(&message, LENGTHS.start + 3) as usize + left;
    set(&mut message, LENGTHS.start + 3, env as u32);
    message
}

fn decoded_is_encoded_again(bytes: &[u8]) {
    let Ok(message) = Message::decode(bytes) else { return };
    let boot = message.contents();
    assert!(boot.args.iter().count() > 0, "there is no command");
    assert!(boot.workdir.iter().count() > 0, "there is no working directory");
    for strings in [boot.args, boot.env, boot.masked, boot.read_only] {
        assert_eq!(strings.iter().flatten().count(), strings.as_bytes().len());
    }
    assert_eq!(encoded(&boot), bytes, "one message can be written in two ways");
}

fn encoded_is_decoded(bytes: &[u8]) {
    let mut rest = bytes;
    let mut number = |length: usize| {
        let (taken, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        taken.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let (setup, mask, grace, capabilities) = (number(1), number(8), number(4), number(8));
    let (uid, gid) = (number(4), number(4));
    // What is left, a line each: the arguments, the environment, the working directory, the host name, two lists of
    // paths, numbers.
    let lines: Vec<Vec<u8>> = rest.splitn(7, |byte| *byte == b'\n').map(|line| [line, b"\0"].concat()).collect();
    let list = |index: usize| lines.get(index).map_or(&b"\0"[..], Vec::as_slice);
    let workdir: Vec<u8> = list(2).iter().copied().filter(|byte| *byte != 0).collect();
    let workdir = CString::new(workdir).expect("its NULs were taken out");
    let numbers = list(6);
    let boot = Boot {
        setup: Setup(setup as u32 & Setup::ALL.0),
        mask: SignalSet(mask),
        grace_ms: grace as u32,
        stop_signal: uid as u32,
        capabilities,
        ambient: capabilities ^ mask,
        kept: gid as u32,
        hostname: list(3),
        workdir: Strings::new(workdir.as_bytes_with_nul()).expect("it ends with a NUL"),
        credentials: Credentials { uid: uid as u32, gid: gid as u32 },
        args: Strings::new(list(0)).expect("it ends with a NUL"),
        env: Strings::new(list(1)).expect("it ends with a NUL"),
        masked: Strings::new(list(4)).expect("it ends with a NUL"),
        read_only: Strings::new(list(5)).expect("it ends with a NUL"),
        groups: &numbers[..numbers.len() / 4 * 4],
        limits: &numbers[..numbers.len() / LIMIT * LIMIT],
        filter: &numbers[..numbers.len() / INSTRUCTION * INSTRUCTION],
    };
    let message = encoded(&boot);
    assert_eq!(Message::decode(&message).map(|message| message.contents()), Ok(boot));
    let short = (mask as usize) % message.len();
    assert!(Message::decode(&message[..short]).is_err(), "cut off at {short} it was read");
}

fn encoded(boot: &Boot<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let take = |piece: &[u8]| -> Result<(), std::convert::Infallible> {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    let Ok(()) = boot.encode(take);
    bytes
}
