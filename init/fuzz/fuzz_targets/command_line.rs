//! libFuzzer on the init's command lines.
#![no_main]

#[path = "../checks/command_line.rs"]
mod command_line;

/// The init's words last as long as it does. These last as long as one check: leaked, they would fill the memory.
fn lasting(word: &[u8]) -> &'static [u8] {
    // SAFETY: the bytes are those of the input, which lives until the check returns, and neither that nor the library
    // keeps a word beyond it.
    unsafe { std::slice::from_raw_parts(word.as_ptr(), word.len()) }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| command_line::check(bytes, lasting));
