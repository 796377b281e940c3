//! Names of sandboxes: those that are given, and those that are made up.

use crate::error::{Error, Result};
use std::hash::{BuildHasher, Hasher, RandomState};

/// Characters of a name: as many as a label of a host's name may have.
const LONGEST: usize = 63;

const ADJECTIVES: [&str; 48] = [
    "agile", "amber", "azure", "bold", "brave", "breezy", "bright", "brisk", "calm", "cheery", "clear", "clever",
    "coral", "cosy", "crisp", "eager", "early", "fair", "fleet", "fresh", "gentle", "golden", "grand", "happy",
    "hardy", "honest", "humble", "jolly", "keen", "kind", "lively", "lucky", "mellow", "merry", "misty", "noble",
    "patient", "polite", "quick", "quiet", "rosy", "silent", "silver", "steady", "sunny", "swift", "warm", "witty",
];

const NOUNS: [&str; 48] = [
    "acorn", "badger", "beacon", "birch", "bison", "brook", "cedar", "cliff", "comet", "crane", "delta", "dune",
    "ember", "falcon", "fern", "finch", "fjord", "garnet", "grove", "harbor", "heron", "hill", "island", "lagoon",
    "lark", "lily", "lynx", "maple", "marten", "meadow", "mill", "oak", "orchid", "otter", "pebble", "pine", "plover",
    "quartz", "raven", "reef", "river", "robin", "sparrow", "spring", "stone", "thistle", "valley", "willow",
];

/// Says why a name can't be one. It is a directory's, a word of a command line, and may be a part of a host's name.
pub fn check(name: &str) -> Result<()> {
    let step = || format!("use the name '{}'", name.escape_default());
    if name.is_empty() || name.len() > LONGEST {
        return Err(Error::new(step(), format!("it must have 1 to {LONGEST} characters")));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.bytes().all(fits) {
        return Err(Error::new(step(), "only letters, digits, '-', '_' and '.' can stand in it"));
    }
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Err(Error::new(step(), "it must begin with a letter or a digit"));
    }
    Ok(())
}

/// Names to try, without end; where many are taken, longer ones.
pub fn made_up() -> impl Iterator<Item = String> {
    // Each state is keyed by the kernel's random numbers.
    let random = |below: usize| RandomState::new().build_hasher().finish() as usize % below;
    (0_usize..).map(move |attempt| {
        let words = format!("{}-{}", ADJECTIVES[random(ADJECTIVES.len())], NOUNS[random(NOUNS.len())]);
        if attempt < 8 { words } else { format!("{words}-{}", random(10_000)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_of_a_path() {
        for good in ["web", "a", "9", "web-1.example_x", &"a".repeat(63)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-x", "_x", ".web", "a/b", "a b", "ä", "a\n", "a\0", &"a".repeat(64)] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_that_are_made_up_are_names_and_differ() {
        let names: std::collections::BTreeSet<_> = made_up().take(200).collect();
        assert!(names.len() > 180 && names.iter().all(|name| check(name).is_ok()));
        let words: std::collections::BTreeSet<_> = ADJECTIVES.iter().chain(&NOUNS).collect();
        assert_eq!(words.len(), ADJECTIVES.len() + NOUNS.len());
    }
}
