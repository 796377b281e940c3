//! The checks of the fuzz targets (../fuzz), on seeds that are changed at random: bounded, and the same each time.

#[path = "../../shared/tests/mutation/mod.rs"]
mod mutation;

#[path = "../fuzz/checks/command_line.rs"]
mod command_line;
#[path = "../fuzz/checks/path.rs"]
mod path;

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/");

#[test]
fn no_words_break_the_command_line() {
    let words: [&[u8]; 8] = [b"\0", b"\0-", b"\0--", b"\0--grace\0", b"\0-p\0", b"\0-e\0", b"TERM", b"-gsvw"];
    mutation::check_many(&format!("{SEEDS}command_line"), &words, 200_000, command_line::check);
}

#[test]
fn no_name_and_no_path_break_the_search() {
    let long = [b'x'; nsl_init::path::MAX - 8];
    let words: [&[u8]; 4] = [b":", b"\n", b"/usr/bin", &long];
    mutation::check_many(&format!("{SEEDS}path"), &words, 20_000, path::check);
}
