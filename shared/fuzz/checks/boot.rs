//! What holds of the boot message for any bytes: the decoder refuses them or has read all of them, and what is
//! encoded is decoded.

use nsl_shared::boot::{Boot, Credentials, Setup, Strings};
use nsl_shared::signal::SignalSet;
use std::ffi::CString;

const HEADER: usize = 16;

/// The bytes as they are, as the records of a message with a fitting header, and as the contents of one.
pub fn check(bytes: &[u8]) {
    decoded_is_encoded_again(bytes);
    decoded_is_encoded_again(&with_header(bytes));
    encoded_is_decoded(bytes);
}

/// Damaged lengths and records get past the header only if it is right.
fn with_header(bytes: &[u8]) -> Vec<u8> {
    let records = bytes.get(HEADER..).unwrap_or_default();
    let length = (HEADER + records.len()) as u32;
    [b"nslboot\0", &1_u32.to_le_bytes()[..], &length.to_le_bytes(), records].concat()
}

fn decoded_is_encoded_again(bytes: &[u8]) {
    let Ok(boot) = Boot::decode(bytes) else { return };
    assert!(!boot.args.is_empty(), "there is no command");
    for strings in [boot.args, boot.env] {
        assert_eq!(strings.iter().count(), strings.len());
        assert_eq!(
            strings.iter().map(|string| string.to_bytes_with_nul().len()).sum::<usize>(),
            strings.as_bytes().len()
        );
    }
    // The records' order may differ, what they say and how long they are may not.
    let again = encoded(&boot);
    assert_eq!(again.len(), bytes.len());
    assert_eq!(Boot::decode(&again), Ok(boot));
    assert_eq!(encoded(&Boot::decode(&again).expect("it was decoded above")), again);
}

fn encoded_is_decoded(bytes: &[u8]) {
    let mut rest = bytes;
    let mut number = |length: usize| {
        let (taken, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        taken.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let (setup, mask, grace, capabilities) = (number(1) & 31, number(8), number(4), number(8));
    let (flags, uid, gid) = (number(1), number(4), number(4));
    // What is left, a line each: the arguments, the environment, the working directory, the host name.
    let lines: Vec<Vec<u8>> = rest.splitn(4, |byte| *byte == b'\n').map(|line| [line, b"\0"].concat()).collect();
    let list = |index: usize| lines.get(index).map_or(&b"\0"[..], Vec::as_slice);
    let workdir: Vec<u8> = list(2).iter().copied().filter(|byte| *byte != 0).collect();
    let workdir = CString::new(workdir).expect("its NULs were taken out");
    let boot = Boot {
        setup: Setup(setup as u32),
        mask: SignalSet(mask),
        grace_ms: grace as u32,
        capabilities,
        hostname: (flags & 1 != 0).then(|| list(3)),
        workdir: &workdir,
        credentials: (flags & 2 != 0).then_some(Credentials { uid: uid as u32, gid: gid as u32 }),
        args: Strings::new(list(0)).expect("it ends with a NUL"),
        env: Strings::new(list(1)).expect("it ends with a NUL"),
    };
    let message = encoded(&boot);
    assert_eq!(Boot::decode(&message), Ok(boot));
    let short = (mask as usize) % message.len();
    assert!(Boot::decode(&message[..short]).is_err(), "cut off at {short} it was read");
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
