//! Properties of the boot message: what is encoded is decoded, and no bytes make the decoder panic.

use nsl_shared::boot::{Boot, Credentials, InitStep, Report, Setup, Strings};
use nsl_shared::signal::SignalSet;
use proptest::collection::vec;
use proptest::prelude::*;
use std::ffi::CString;

/// Owned parts of a message.
#[derive(Debug, Clone)]
struct Parts {
    setup: u32,
    mask: u64,
    grace_ms: u32,
    capabilities: u64,
    hostname: Option<Vec<u8>>,
    workdir: CString,
    credentials: Option<(u32, u32)>,
    args: Vec<CString>,
    env: Vec<CString>,
}

fn string() -> impl Strategy<Value = CString> {
    vec(1_u8..=255, 0..40).prop_map(|bytes| CString::new(bytes).expect("no NUL is generated"))
}

prop_compose! {
    fn parts()(
        setup in 0_u32..32,
        mask: u64,
        grace_ms: u32,
        capabilities: u64,
        hostname in proptest::option::of(vec(any::<u8>(), 0..64)),
        workdir in string(),
        credentials in proptest::option::of(any::<(u32, u32)>()),
        args in vec(string(), 1..20),
        env in vec(string(), 0..20),
    ) -> Parts {
        Parts { setup, mask, grace_ms, capabilities, hostname, workdir, credentials, args, env }
    }
}

fn joined(strings: &[CString]) -> Vec<u8> {
    strings.iter().flat_map(CString::as_bytes_with_nul).copied().collect()
}

fn encoded(boot: &Boot<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    boot.encode(|piece| {
        bytes.extend_from_slice(piece);
        Ok::<(), ()>(())
    })
    .expect("the sink takes everything");
    bytes
}

/// Calls `check` with the message that the parts make.
fn with_boot<T>(parts: &Parts, check: impl FnOnce(Boot<'_>) -> T) -> T {
    let (args, env) = (joined(&parts.args), joined(&parts.env));
    check(Boot {
        setup: Setup(parts.setup),
        mask: SignalSet(parts.mask),
        grace_ms: parts.grace_ms,
        capabilities: parts.capabilities,
        hostname: parts.hostname.as_deref(),
        workdir: Strings::new(parts.workdir.as_bytes_with_nul()).expect("a string ends with a NUL"),
        credentials: parts.credentials.map(|(uid, gid)| Credentials { uid, gid }),
        args: Strings::new(&args).expect("each string ends with a NUL"),
        env: Strings::new(&env).expect("each string ends with a NUL"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_encoded_is_decoded(parts in parts()) {
        with_boot(&parts, |boot| {
            let bytes = encoded(&boot);
            let read = Boot::decode(&bytes).expect("a message of our own");
            prop_assert_eq!(read, boot);
            prop_assert!(read.args.iter().eq(parts.args.iter().map(CString::as_bytes_with_nul)));
            prop_assert_eq!(read.env.len(), parts.env.len());
            Ok(())
        })?;
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = Boot::decode(&bytes);
        let _ = Report::decode(&bytes);
    }

    #[test]
    fn a_damaged_message_is_refused_or_is_another_message(parts in parts(), at: prop::sample::Index, value: u8) {
        let mut bytes = with_boot(&parts, |boot| encoded(&boot));
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(boot) = Boot::decode(&bytes) {
            prop_assert!(boot.args.iter().count() == boot.args.len() && !boot.args.is_empty());
            prop_assert_eq!(encoded(&boot).len(), bytes.len());
        }
    }

    #[test]
    fn a_message_cut_off_is_refused(parts in parts(), at: prop::sample::Index) {
        let bytes = with_boot(&parts, |boot| encoded(&boot));
        prop_assert!(Boot::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn reports_are_read_as_they_were_written(step: u16, value: i32, code: u8) {
        for report in [
            Report::Netlink,
            Report::Terminal,
            Report::ChildFailed { step, errno: value },
            Report::InitFailed { step: InitStep::Execute, errno: value },
            Report::Started,
            Report::Stopped { signal: value },
            Report::Exited { code },
        ] {
            prop_assert_eq!(Report::decode(&report.encode()), Some(report));
        }
    }
}
