//! libFuzzer on the boot message.
#![no_main]

#[path = "../checks/boot.rs"]
mod boot;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| boot::check(bytes));
