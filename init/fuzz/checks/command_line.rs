//! What holds of the init's command line for any words.

use nsl_init::cli::{self, Parsed, Refused};

/// The words are ended by NULs, as in `/proc/PID/cmdline`.
pub fn check(bytes: &[u8]) {
    let words: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    let parsed = cli::parse(words.iter().copied());
    assert_eq!(cli::parse(words.iter().copied()), parsed);
    match parsed {
        Ok(Parsed::Run(options)) => {
            assert!(options.words <= words.len());
            for code in 0..=u8::MAX {
                let given = options.exit_code(code);
                assert!(given == code || given == 0);
            }
        }
        Ok(Parsed::Help | Parsed::Version | Parsed::License) => {}
        Err(Refused(why, word)) => {
            assert!(!why.is_empty());
            assert!(words.iter().any(|given| given.ends_with(word)), "what is refused was not given");
        }
    }
}
