//! libFuzzer on the names of signals, and exit codes.
#![no_main]

#[path = "../checks/signal.rs"]
mod signal;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| signal::check(bytes));
