//! The checks of the fuzz targets, on seeds that are changed at random: bounded, and the same each time. It is a part
//! of the library's own tests, because cargo would link the init for others, in a profile in which it does not link.

#[path = "../../shared/tests/mutation/mod.rs"]
mod mutation;

#[path = "checks/command_line.rs"]
mod command_line;
#[path = "checks/message.rs"]
mod message;
#[path = "checks/path.rs"]
mod path;

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/");

#[test]
fn no_words_break_the_command_line() {
    let words: [&[u8]; 16] = [
        b"\0",
        b"\0-",
        b"\0--",
        b"=",
        b":0",
        b"TERM",
        b"RTMIN+1",
        b"\0-r\0",
        b"\0-p\0",
        b"\0-e\0",
        b"\0--grace\0",
        b"\0--stop-signal\0",
        b"\0--ready-fd\0",
        b"--wait-all",
        b"--rewrite",
        b"-ghlswvcPV",
    ];
    mutation::check_many(&format!("{SEEDS}command_line"), &words, 20_000, |bytes| {
        // As much as the init's words last.
        command_line::check(bytes, |word| word.to_vec().leak());
    });
}

#[test]
fn no_facts_break_the_messages() {
    let words: [&[u8]; 4] = [b"%", b"%t", b"%n", &[0x80, 0, 0, 0]];
    mutation::check_many(&format!("{SEEDS}message"), &words, 60_000, message::check);
}

#[test]
fn no_name_and_no_path_break_the_search() {
    let long = [b'x'; nsl_init::path::MAX - 8];
    let words: [&[u8]; 4] = [b":", b"\n", b"/usr/bin", &long];
    mutation::check_many(&format!("{SEEDS}path"), &words, 20_000, path::check);
}
