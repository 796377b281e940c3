//! Properties of the boot message: what is encoded is decoded, and no bytes make the decoder panic.

use nsl_shared::boot::{Boot, Credentials, INSTRUCTION, InitStep, LIMIT, Message, Report, Setup, Strings};
use nsl_shared::signal::SignalSet;
use proptest::collection::vec;
use proptest::prelude::*;
use std::ffi::CString;

/// Owned parts of a message.
#[derive(Debug, Clone)]
struct Parts {
    setup: u32,
    mask: u64,
    numbers: (u32, u32, u32),
    capabilities: (u64, u64),
    hostname: Vec<u8>,
    workdir: CString,
    credentials: (u32, u32),
    args: Vec<CString>,
    env: Vec<CString>,
    paths: (Vec<CString>, Vec<CString>),
    groups: Vec<[u8; 4]>,
    limits: Vec<[u8; LIMIT]>,
    filter: Vec<[u8; INSTRUCTION]>,
}

fn string() -> impl Strategy<Value = CString> {
    vec(1_u8..=255, 0..40).prop_map(|bytes| CString::new(bytes).expect("no NUL is generated"))
}

prop_compose! {
    fn parts()(
        setup in 0..=Setup::ALL.0,
        mask: u64,
        numbers: (u32, u32, u32),
        capabilities: (u64, u64),
        hostname in vec(any::<u8>(), 0..64),
        workdir in string(),
        credentials: (u32, u32),
        (args, env, paths) in (vec(string(), 1..20), vec(string(), 0..20), (vec(string(), 0..5), vec(string(), 0..5))),
        groups in vec(any::<[u8; 4]>(), 0..5),
        limits in vec(any::<[u8; LIMIT]>(), 0..4),
        filter in vec(any::<[u8; INSTRUCTION]>(), 0..40),
    ) -> Parts {
        Parts { setup, mask, numbers, capabilities, hostname, workdir, credentials, args, env, paths, groups, limits, filter }
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
    let lists = [&parts.args, &parts.env, &parts.paths.0, &parts.paths.1].map(|list| joined(list));
    let [args, env, masked, read_only] =
        lists.each_ref().map(|list| Strings::new(list).expect("each string ends with a NUL"));
    let (grace_ms, stop_signal, kept) = parts.numbers;
    check(Boot {
        setup: Setup(parts.setup),
        mask: SignalSet(parts.mask),
        grace_ms,
        stop_signal,
        capabilities: parts.capabilities.0,
        ambient: parts.capabilities.1,
        credentials: Credentials { uid: parts.credentials.0, gid: parts.credentials.1 },
        kept,
        hostname: &parts.hostname,
        workdir: Strings::new(parts.workdir.as_bytes_with_nul()).expect("a string ends with a NUL"),
        args,
        env,
        masked,
        read_only,
        groups: parts.groups.as_flattened(),
        limits: parts.limits.as_flattened(),
        filter: parts.filter.as_flattened(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_encoded_is_decoded(parts in parts()) {
        with_boot(&parts, |boot| {
            let bytes = encoded(&boot);
            let read = Message::decode(&bytes).map(|message| message.contents()).expect("a message of our own");
            prop_assert_eq!(read, boot);
            prop_assert!(read.args.iter().eq(parts.args.iter().map(CString::as_bytes_with_nul)));
            prop_assert_eq!(read.env.iter().count(), parts.env.len());
            Ok(())
        })?;
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = Message::decode(&bytes);
        let _ = Report::decode(&bytes);
    }

    #[test]
    fn a_damaged_message_is_refused_or_is_another_message(parts in parts(), at: prop::sample::Index, value: u8) {
        let mut bytes = with_boot(&parts, |boot| encoded(&boot));
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert!(message.args().iter().count() > 0);
            prop_assert_eq!(encoded(&message.contents()), bytes);
        }
    }

    #[test]
    fn a_message_cut_off_is_refused(parts in parts(), at: prop::sample::Index) {
        let bytes = with_boot(&parts, |boot| encoded(&boot));
        prop_assert!(Message::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn reports_are_read_as_they_were_written(step: u16, value: i32, code: u8, signal: u8) {
        for report in [
            Report::Netlink,
            Report::Terminal,
            Report::ChildFailed { step, errno: value },
            Report::InitFailed { step: InitStep::Execute, errno: value },
            Report::Started,
            Report::Stopped { signal: value },
            Report::Continued,
            Report::Hosts,
            Report::Ready,
            Report::Exited { code, signal },
        ] {
            prop_assert_eq!(Report::decode(&report.encode()), Some(report));
        }
    }
}
