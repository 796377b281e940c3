//! libFuzzer on the init's command lines.
#![no_main]

#[path = "../checks/command_line.rs"]
mod command_line;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| command_line::check(bytes));
