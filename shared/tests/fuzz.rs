//! The checks of the fuzz targets (../fuzz), on seeds that are changed at random: bounded, and the same each time.

mod mutation;

#[path = "../fuzz/checks/boot.rs"]
mod boot;
#[path = "../fuzz/checks/report.rs"]
mod report;
#[path = "../fuzz/checks/signal.rs"]
mod signal;

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/");

fn seeds(name: &str) -> String {
    format!("{SEEDS}{name}")
}

#[test]
fn no_bytes_break_the_boot_message() {
    // Lengths and tags as they stand in a message.
    let words: [&[u8]; 6] = [&[0; 4], &[1, 0, 0, 0], &[8, 0, 0, 0], &[9, 0, 0, 0], &[0xff; 4], b"nslboot\0"];
    mutation::check_many(&seeds("boot"), &words, 200_000, boot::check);
}

#[test]
fn no_bytes_break_the_reports() {
    mutation::check_many(&seeds("report"), &[], 200_000, report::check);
}

#[test]
fn no_text_breaks_the_names_of_signals() {
    let words: [&[u8]; 6] = [b"SIG", b"RTMIN", b"RTMAX", b"+", b"-", b"TERM"];
    mutation::check_many(&seeds("signal"), &words, 200_000, signal::check);
}
