//! The kernel's command line: how many words behind its `--` are init's. Splits as the kernel does (next_arg of its
//! lib/cmdline.c), and takes the line in pieces of any size.

/// What has been seen of the word that the line is in.
struct Word {
    /// It began with a double quote, which does not belong to it, and neither does one at its end.
    quoted: bool,
    /// White space is part of it for now.
    open: bool,
    dashes: u8,
    /// It holds something other than dashes.
    other: bool,
}

/// Whose words come.
#[derive(Clone, Copy)]
enum Part {
    Kernel,
    Init,
    /// A second `--` ends init's words; the kernel throws away what stands behind it.
    Nobody,
}

/// Counts the words that the kernel hands to init from behind `--`.
pub struct InitWords {
    word: Option<Word>,
    part: Part,
    count: usize,
}

impl Default for InitWords {
    fn default() -> Self {
        Self { word: None, part: Part::Kernel, count: 0 }
    }
}

impl InitWords {
    /// Takes the next piece of the line.
    pub fn take(&mut self, piece: &[u8]) {
        for byte in piece {
            // The kernel's isspace, with Latin-1's no-break space.
            let is_space = matches!(byte, b' ' | b'\t'..=b'\r' | 0xa0);
            match &mut self.word {
                None if is_space => {}
                None => {
                    let quoted = *byte == b'"';
                    let dash = *byte == b'-';
                    self.word = Some(Word { quoted, open: quoted, dashes: u8::from(dash), other: !quoted && !dash });
                }
                Some(word) if is_space && !word.open => self.end_word(),
                Some(word) => match byte {
                    b'"' => {
                        word.open = !word.open;
                        word.other |= !word.quoted;
                    }
                    b'-' => word.dashes = word.dashes.saturating_add(1),
                    _ => word.other = true,
                },
            }
        }
    }

    /// The number of init's words, at the end of the line.
    #[must_use]
    pub fn count(mut self) -> usize {
        self.end_word();
        self.count
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        let is_separator = word.dashes == 2 && !word.other;
        match self.part {
            Part::Kernel if is_separator => self.part = Part::Init,
            Part::Init if is_separator => self.part = Part::Nobody,
            Part::Init => self.count += 1,
            Part::Kernel | Part::Nobody => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(line: &str) -> usize {
        let whole = {
            let mut words = InitWords::default();
            words.take(line.as_bytes());
            words.count()
        };
        let mut words = InitWords::default();
        for byte in line.bytes() {
            words.take(&[byte]);
        }
        assert_eq!(words.count(), whole, "{line:?} in pieces");
        whole
    }

    #[test]
    fn words_behind_the_dashes_are_counted() {
        assert_eq!(count("console=ttyS0 quiet splash -- /bin/sh -c true\n"), 3);
        assert_eq!(count("quiet   --   one  \t two  \n"), 2);
        assert_eq!(count("-- one"), 1);
    }

    #[test]
    fn without_dashes_there_are_none() {
        for line in
            ["", "\n", "quiet splash\n", "quiet --\n", "a--b c\n", "--- x\n", "- - x\n", "--x y\n", "root=-- x\n"]
        {
            assert_eq!(count(line), 0, "{line:?}");
        }
    }

    #[test]
    fn double_quotes_keep_a_word_together() {
        assert_eq!(count("-- sh -c \"echo a b; exit 7\"\n"), 3);
        assert_eq!(count("-- env A=\"b c\" d\n"), 3);
        assert_eq!(count("-- a\"b c\"d e\n"), 2);
        assert_eq!(count("-- \"\" x\n"), 2);
        assert_eq!(count("dyndbg=\"file a.c -- x\" -- y\n"), 1);
        assert_eq!(count("\"a -- b\" c\n"), 0);
        assert_eq!(count("-- \"never closed  at all\n"), 1);
        assert_eq!(count("quiet \"--\" x y\n"), 2);
    }

    #[test]
    fn a_second_pair_of_dashes_ends_them() {
        assert_eq!(count("-- -g -- sh -c x\n"), 1);
        assert_eq!(count("-- a -- b -- c\n"), 1);
    }

    #[test]
    fn long_words_do_not_overflow() {
        assert_eq!(count(&format!("{} -- {}", "-".repeat(258), "-".repeat(514))), 1);
    }
}
