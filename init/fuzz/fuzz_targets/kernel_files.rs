//! libFuzzer on what the init reads of the kernel's files.
#![no_main]

#[path = "../checks/kernel_files.rs"]
mod kernel_files;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kernel_files::check(bytes));
