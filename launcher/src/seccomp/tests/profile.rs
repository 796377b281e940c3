//! Profiles from files mean what they mean to runc, and those that can't be used are refused with the place.

use super::machine::{Call, meant, run, verify};
use super::{I386, assert_same};
use crate::mutation;
use crate::seccomp::compiler::{Action, X32};
use crate::seccomp::profile::{self, Refusal, policy, read};
use crate::seccomp::{native_arch, native_calls};
use std::path::Path;

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/seccomp/tests/seeds");
const ALLOW: Action = Action::ALLOW;
const EPERM: Action = Action::errno(1);
const ENOSYS: Action = Action::errno(38);
const SYS_ADMIN: u64 = 1 << 21;

fn seed(name: &str) -> Vec<u8> {
    std::fs::read(format!("{SEEDS}/{name}.json")).unwrap()
}

fn program(text: &[u8], capabilities: u64) -> Result<Vec<u8>, Refusal> {
    policy(text, capabilities).and_then(|policy| profile::program(&policy))
}

/// A profile that allows what a start needs, with these entries besides.
fn with_entries(entries: &str) -> String {
    let start = r#"{"names": ["execve", "exit_group"], "action": "SCMP_ACT_ALLOW"}"#;
    format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{start}, {entries}]}}"#)
}

#[track_caller]
fn answer(program: &[u8], name: &str, args: &[u64]) -> Action {
    let number = native_calls().find(|(call, _)| *call == name).unwrap().1;
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    run(program, &Call { arch: native_arch(), number, args: all })
}

#[track_caller]
fn refusal(text: &str) -> String {
    match program(text.as_bytes(), 0) {
        Err(Refusal::Json(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn programs_do_what_the_profiles_say() {
    for name in ["allow", "deny", "small"] {
        for capabilities in [0, SYS_ADMIN, u64::MAX] {
            assert_same(&policy(&seed(name), capabilities).unwrap(), &program(&seed(name), capabilities).unwrap());
        }
    }
}

#[test]
fn a_list_of_what_is_allowed_is_read() {
    let plain = program(&seed("allow"), 0).unwrap();
    for name in ["read", "execve", "ptrace"] {
        assert_eq!(answer(&plain, name, &[]), ALLOW, "{name}");
    }
    assert_eq!(answer(&plain, "mount", &[]), EPERM);
    assert_eq!(answer(&plain, "getpid", &[]), ENOSYS);
    assert_eq!(answer(&program(&seed("allow"), SYS_ADMIN).unwrap(), "mount", &[]), ALLOW);
    assert_eq!(answer(&plain, "clone", &[17]), ALLOW);
    assert_eq!(answer(&plain, "clone", &[0x1000_0011]), ENOSYS);
    for (value, expected) in [(0, ALLOW), (8, ALLOW), (1, ENOSYS), (8 | 1 << 40, ENOSYS)] {
        assert_eq!(answer(&plain, "personality", &[value]), expected, "{value:x}");
    }
}

#[test]
fn a_list_of_what_is_forbidden_is_read() {
    let program = program(&seed("deny"), 0).unwrap();
    assert_eq!(answer(&program, "getpid", &[]), ALLOW);
    assert_eq!(answer(&program, "getcwd", &[]), EPERM);
    assert_eq!(answer(&program, "reboot", &[]), Action::KILL_PROCESS);
    assert_eq!(answer(&program, "swapon", &[]), Action::TRAP);
    assert_eq!(answer(&program, "socket", &[16, 3, 0]), Action::LOG);
    assert_eq!(answer(&program, "socket", &[16, 3, 9]), ALLOW);
    assert_eq!(answer(&program, "kill", &[5, u64::MAX]), Action::errno(3));
    assert_eq!(answer(&program, "kill", &[5, 9]), ALLOW);
    // Not by another table's numbers either.
    assert_eq!(run(&program, &Call { arch: I386, number: 183, args: [0; 6] }), ENOSYS);
    assert_eq!(run(&program, &Call { arch: native_arch(), number: X32 + 79, args: [0; 6] }), ENOSYS);
}

#[test]
fn calls_newer_than_the_profile_are_not_there() {
    let profile = with_entries(r#"{"names": ["openat2"], "action": "SCMP_ACT_ERRNO"}"#);
    let program = program(profile.as_bytes(), 0).unwrap();
    assert_eq!(answer(&program, "openat2", &[]), EPERM);
    assert_eq!(answer(&program, "getcwd", &[]), EPERM);
    assert_eq!(answer(&program, "futex_waitv", &[]), ENOSYS);
}

#[test]
fn of_two_entries_for_a_call_the_unconditional_one_counts_and_of_those_the_first() {
    let condition = r#""args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]"#;
    let profile = with_entries(&format!(
        r#"{{"names": ["getpgid", "getsid"], "action": "SCMP_ACT_KILL", {condition}}},
           {{"names": ["getpgid"], "action": "SCMP_ACT_ALLOW"}},
           {{"names": ["getpgid"], "action": "SCMP_ACT_LOG"}}"#
    ));
    let program = program(profile.as_bytes(), 0).unwrap();
    assert_eq!(answer(&program, "getpgid", &[1]), ALLOW);
    assert_eq!(answer(&program, "getsid", &[1]), Action::KILL_THREAD);
    assert_eq!(answer(&program, "getsid", &[2]), EPERM);
}

#[test]
fn conditions_on_one_argument_are_alternatives_and_on_several_go_together() {
    let test = |index: u8, value: u8| format!(r#"{{"index": {index}, "value": {value}, "op": "SCMP_CMP_EQ"}}"#);
    let profile = with_entries(&format!(
        r#"{{"names": ["getpgid"], "action": "SCMP_ACT_ALLOW", "args": [{}, {}]}},
           {{"names": ["getsid"], "action": "SCMP_ACT_ALLOW", "args": [{}, {}]}}"#,
        test(0, 1),
        test(0, 2),
        test(0, 1),
        test(1, 2)
    ));
    let program = program(profile.as_bytes(), 0).unwrap();
    for (value, expected) in [(1, ALLOW), (2, ALLOW), (3, EPERM)] {
        assert_eq!(answer(&program, "getpgid", &[value]), expected);
    }
    for (args, expected) in [([1, 2], ALLOW), ([1, 3], EPERM), ([2, 2], EPERM)] {
        assert_eq!(answer(&program, "getsid", &args), expected);
    }
}

#[test]
fn an_entry_counts_where_all_that_it_includes_and_nothing_that_it_excludes_is() {
    let own = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let cases = [
        ("", true),
        (r#", "includes": {}, "excludes": {}"#, true),
        (r#", "includes": {"caps": ["CAP_SYS_ADMIN"]}"#, true),
        (r#", "includes": {"caps": ["CAP_SYS_ADMIN", "CAP_KILL"]}"#, false),
        (r#", "includes": {"caps": ["CAP_OF_NEXT_YEAR"]}"#, false),
        (r#", "excludes": {"caps": ["CAP_KILL", "CAP_SYS_ADMIN"]}"#, false),
        (r#", "excludes": {"caps": ["CAP_KILL"]}"#, true),
        (r#", "includes": {"arches": ["s390x", "OWN"]}"#, true),
        (r#", "includes": {"arches": ["s390x"]}"#, false),
        (r#", "excludes": {"arches": ["OWN"]}"#, false),
        (r#", "includes": {"minKernel": "4.8"}"#, true),
        (r#", "includes": {"minKernel": "4000.1"}"#, false),
        (r#", "excludes": {"minKernel": "4.8"}"#, false),
        (r#", "excludes": {"minKernel": "4000.1"}"#, true),
    ];
    for (filter, counts) in cases {
        let entry = format!(r#"{{"names": ["getpgid"], "action": "SCMP_ACT_ALLOW"{}}}"#, filter.replace("OWN", own));
        let program = program(with_entries(&entry).as_bytes(), SYS_ADMIN).unwrap();
        assert_eq!(answer(&program, "getpgid", &[]) == ALLOW, counts, "{filter}");
    }
}

/// As libseccomp has it: 400 random profiles were compared with what it makes of them.
#[test]
fn the_mask_of_a_condition_cuts_both_sides() {
    let args = r#""args": [{"index": 1, "value": 15, "valueTwo": 18, "op": "SCMP_CMP_MASKED_EQ"}]"#;
    let profile = with_entries(&format!(r#"{{"names": ["getpgid"], "action": "SCMP_ACT_ALLOW", {args}}}"#));
    let program = program(profile.as_bytes(), 0).unwrap();
    for (value, expected) in [(2, ALLOW), (0xf2, ALLOW), (1 << 32 | 2, ALLOW), (18, ALLOW), (3, EPERM)] {
        assert_eq!(answer(&program, "getpgid", &[0, value]), expected, "{value:x}");
    }
}

#[test]
fn what_a_profile_cannot_say_is_refused_with_its_place() {
    let cases = [
        ("", "EOF", "line 1 column 0"),
        ("{}", "defaultAction", "line 1"),
        ("[]", "", "line 1"),
        ("{\"defaultAction\": \"SCMP_ACT_ALOW\"}", "no action 'SCMP_ACT_ALOW'", "line 1 column"),
        ("{\n\"defaultAction\": \"SCMP_ACT_NOTIFY\"}", "a program that answers", "line 2 column"),
        ("{\n\"defaultAction\": \"SCMP_ACT_TRACE\"}", "a tracer", "line 2 column"),
        ("{\n\n\"defaultActoin\": \"SCMP_ACT_ALLOW\"}", "`defaultActoin`", "line 3 column"),
        ("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"defaultErrnoRet\": 4096}", "less than 4096", "line 1 column"),
        ("{\"defaultAction\": \"SCMP_ACT_ALLOW\"} x", "trailing", "line 1 column 37"),
    ];
    for (text, words, place) in cases {
        let message = refusal(text);
        assert!(message.contains(words) && message.contains(place), "{message}");
    }
    let entries = [
        (r#"{"names": ["read"]}"#, "`action`"),
        (r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW", "exclude": {}}"#, "`exclude`"),
        (r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errno": "EWHAT"}"#, "no errno 'EWHAT'"),
        (
            r#"{"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}"#,
            "0 to 5",
        ),
        (
            r#"{"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]}"#,
            "-1",
        ),
        (
            r#"{"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EO"}]}"#,
            "SCMP_CMP_EO",
        ),
        (r#"{"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "new"}}"#, "'new' is no version"),
    ];
    for (entry, words) in entries {
        let message = refusal(&with_entries(entry));
        assert!(message.contains(words) && message.contains("line 1 column"), "{message}");
    }
}

#[test]
fn a_profile_that_lets_nothing_start_is_refused() {
    let entry = |rest: &str| {
        format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["execve", "exit_group"], {rest}}}]}}"#)
    };
    let is_refused = |text: &str| matches!(program(text.as_bytes(), 0), Err(Refusal::NoExecve));
    assert!(is_refused(r#"{"defaultAction": "SCMP_ACT_KILL", "syscalls": null}"#));
    assert!(is_refused(&entry(r#""action": "SCMP_ACT_KILL""#)));
    let condition = r#""args": [{"index": 0, "value": 1, "op": "SCMP_CMP_GE"}]"#;
    assert!(is_refused(&entry(&format!(r#""action": "SCMP_ACT_ALLOW", {condition}"#))));
    assert!(is_refused(&entry(r#""action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}"#)));
    assert!(program(entry(r#""action": "SCMP_ACT_LOG""#).as_bytes(), 0).is_ok());
    let no_exit =
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["exit_group"], "action": "SCMP_ACT_ERRNO"}]}"#;
    assert!(matches!(program(no_exit.as_bytes(), 0), Err(Refusal::NoExit)));
}

#[test]
fn files_that_are_no_profiles_are_refused_by_their_path() {
    let refusal = |path: &str| read(Path::new(path), 0).unwrap_err().to_string();
    assert!(refusal("/no/such/profile").contains("the seccomp profile /no/such/profile: No such file"));
    assert!(refusal("/dev/zero").contains("larger than 1 MiB"));
    assert!(refusal("/proc").contains("Is a directory"));
    assert!(refusal("/dev/null").ends_with("line 1, column 0: EOF while parsing a value"));
}

/// A profile whose words are right, and chosen by these bytes.
fn made_of(bytes: &[u8]) -> String {
    let mut rest = bytes.iter().copied();
    let mut byte = || rest.next().unwrap_or_default();
    let mut of = |words: &[&str]| words[usize::from(byte()) % words.len()].to_owned();
    let actions = ["ALLOW", "ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "TRAP", "LOG"];
    let calls = ["execve", "clone", "getpgid", "openat", "ioctl", "socket", "futex_waitv", "no_such_call"];
    let default = of(&actions);
    let mut entries = vec![r#"{"names": ["execve", "exit_group"], "action": "SCMP_ACT_ALLOW"}"#.to_owned()];
    for _ in 0..of(&["0", "1", "4", "9"]).parse().unwrap() {
        let mut args = Vec::new();
        for _ in 0..of(&["0", "0", "1", "2", "3"]).parse().unwrap() {
            let numbers = ["0", "1", "7", "4294967295", "4294967296", "268435456", "18446744073709551615"];
            let op = of(&["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"]);
            let (index, value, second) = (of(&["0", "1", "2", "5"]), of(&numbers), of(&numbers));
            args.push(format!(r#"{{"index":{index},"value":{value},"valueTwo":{second},"op":"SCMP_CMP_{op}"}}"#));
        }
        let (names, action, errno) = ([of(&calls), of(&calls)], of(&actions), of(&["1", "38", "0"]));
        let filter = of(&["{}", r#"{"caps":["CAP_SYS_ADMIN"]}"#, r#"{"arches":["amd64"]}"#, r#"{"minKernel":"9.9"}"#]);
        entries.push(format!(
            r#"{{"names":{names:?},"action":"SCMP_ACT_{action}","errnoRet":{errno},"args":[{}],"{}":{filter}}}"#,
            args.join(","),
            of(&["includes", "excludes"]),
        ));
    }
    format!(r#"{{"defaultAction":"SCMP_ACT_{default}","syscalls":[{}]}}"#, entries.join(","))
}

/// docker's own default, where podman's package has put a relative of it.
#[test]
fn the_profile_of_podman_is_read() {
    let path = Path::new("/usr/share/containers/seccomp.json");
    if !path.exists() {
        eprintln!("skipped: {} is not installed", path.display());
        return;
    }
    let program = read(path, 0).unwrap();
    for (call, args, expected) in [
        ("openat", [0; 3], ALLOW),
        ("bpf", [0; 3], EPERM),
        // It stands among the allowed first, and among the forbidden then.
        ("setns", [0; 3], ALLOW),
        ("socket", [16, 3, 9], Action::errno(22)),
        ("socket", [16, 3, 0], ALLOW),
        ("listmount", [0; 3], ENOSYS),
    ] {
        assert_eq!(answer(&program, call, &args), expected, "{call}");
    }
    assert_same(&policy(&std::fs::read(path).unwrap(), 0).unwrap(), &program);
}

#[test]
fn no_text_breaks_the_reader_of_profiles() {
    let words: [&[u8]; 12] = [
        b"\"SCMP_ACT_ALLOW\"",
        b"\"SCMP_ACT_ERRNO\"",
        b"\"SCMP_CMP_NE\"",
        b"\"SCMP_CMP_MASKED_EQ\"",
        b"\"execve\",",
        b"\"clone\",",
        b"\"names\": [\"mount\"],",
        b"{\"index\": 1, \"value\": 5, \"op\": \"SCMP_CMP_LE\"},",
        b"18446744073709551615",
        b"null",
        b"[[[[[[[[",
        b"{\"a\":",
    ];
    let taken = std::cell::Cell::new(0);
    let check = |text: &[u8]| {
        let Ok(policy) = policy(text, SYS_ADMIN) else { return };
        let Ok(program) = profile::program(&policy) else { return };
        taken.set(taken.get() + 1);
        verify(&program);
        for number in (0..460).step_by(7).chain([59, 221, 1000, X32, X32 | 1]) {
            for argument in [0, 7, 1 << 28, 1 << 32, 0xffff_ffff, u64::MAX] {
                let call = Call { arch: native_arch(), number, args: [argument; 6] };
                assert_eq!(run(&program, &call), meant(&policy, &call), "{call:x?}");
            }
        }
    };
    mutation::check_many(SEEDS, &words, 4_000, |bytes| {
        check(bytes);
        check(made_of(bytes).as_bytes());
    });
    assert!(taken.get() > 1000, "only {} were profiles", taken.get());
}
