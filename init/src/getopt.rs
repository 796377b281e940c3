//! Option words as getopt(3) reads them: bundled short options, long ones that may be abbreviated, values in the
//! same word or the next, `--`, and words that are none moved behind the options where a program wants that.

/// A word of the command line; it can be moved about.
pub trait Word: Copy {
    fn bytes(&self) -> &'static [u8];
}

/// The options that a program knows.
pub struct Syntax {
    /// Short options, each followed by `:` if it takes a value.
    pub short: &'static [u8],
    /// Long options, each with the letter that it stands for; that letter's entry in `short` says if it takes a value.
    /// With none, a word that begins with `--` is a bundle of short options, the first of which is `-`.
    pub long: &'static [(&'static str, u8)],
    /// May long options be abbreviated?
    pub abbreviated: bool,
    /// May options stand behind words that are none?
    pub permuted: bool,
}

/// What is wrong with an option word.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Fault {
    Unknown,
    Ambiguous,
    NoValue,
    UnwantedValue,
}

/// An option word that is wrong: how, with the option's dashes and its name.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Wrong {
    pub fault: Fault,
    pub dashes: &'static [u8],
    pub name: &'static [u8],
}

/// Goes through the option words of `words`, the first of which is the program's name. Read so far are, in this order:
/// the options with their values up to `first`, then up to `next` words that are no options.
pub struct Options<'w, W> {
    words: &'w mut [W],
    first: usize,
    next: usize,
    /// Letters of a bundle that are still to come.
    bundle: &'static [u8],
    syntax: &'static Syntax,
    permuted: bool,
}

impl<'w, W: Word> Options<'w, W> {
    /// `strict`: not even a program that permutes takes options behind a word that is none (POSIXLY_CORRECT).
    pub fn new(words: &'w mut [W], syntax: &'static Syntax, strict: bool) -> Self {
        Self { words, first: 1, next: 1, bundle: b"", syntax, permuted: syntax.permuted && !strict }
    }

    /// The next option's letter and its value, empty for one that takes none.
    pub fn following(&mut self) -> Result<Option<(u8, &'static [u8])>, Wrong> {
        while self.bundle.is_empty() {
            let Some(word) = self.words.get(self.next) else { return Ok(None) };
            match word.bytes() {
                b"--" => {
                    self.take();
                    self.next = self.words.len();
                }
                [b'-', b'-', long @ ..] if !self.syntax.long.is_empty() => {
                    self.take();
                    return self.long(long).map(Some);
                }
                [b'-', letters @ ..] if !letters.is_empty() => {
                    self.take();
                    self.bundle = letters;
                }
                _ if self.permuted => self.next += 1,
                _ => return Ok(None),
            }
        }
        self.letter().map(Some)
    }

    /// Once there is no next option: the index of the first word that is none.
    #[must_use]
    pub fn command(&self) -> usize {
        self.first
    }

    /// Moves the next word to the options.
    fn take(&mut self) -> Option<&'static [u8]> {
        let word = *self.words.get(self.next)?;
        self.words.copy_within(self.first..self.next, self.first + 1);
        self.words[self.first] = word;
        self.first += 1;
        self.next += 1;
        Some(word.bytes())
    }

    fn letter(&mut self) -> Result<(u8, &'static [u8]), Wrong> {
        let (name, behind) = self.bundle.split_at(1);
        let wrong = |fault| Wrong { fault, dashes: b"-", name };
        self.bundle = behind;
        if !self.takes_value(name[0]).ok_or(wrong(Fault::Unknown))? {
            return Ok((name[0], b""));
        }
        self.bundle = b"";
        let value = if behind.is_empty() { self.take().ok_or(wrong(Fault::NoValue))? } else { behind };
        Ok((name[0], value))
    }

    fn long(&mut self, word: &'static [u8]) -> Result<(u8, &'static [u8]), Wrong> {
        let equals = word.iter().position(|byte| *byte == b'=');
        let (name, value) = equals.map_or((word, None), |at| (&word[..at], Some(&word[at + 1..])));
        let wrong = |fault, name| Wrong { fault, dashes: b"--", name };
        let mut fitting = self.syntax.long.iter().filter(|(known, _)| known.as_bytes().starts_with(name));
        let exact = self.syntax.long.iter().find(|(known, _)| known.as_bytes() == name);
        let (known, letter) = match (exact, fitting.next(), fitting.next()) {
            (Some(one), ..) => *one,
            (None, Some(one), None) if self.syntax.abbreviated => *one,
            (None, Some(_), Some(_)) if self.syntax.abbreviated => return Err(wrong(Fault::Ambiguous, word)),
            _ => return Err(wrong(Fault::Unknown, word)),
        };
        match (self.takes_value(letter), value) {
            (Some(true), Some(value)) => Ok((letter, value)),
            (Some(true), None) => {
                self.take().map(|value| (letter, value)).ok_or(wrong(Fault::NoValue, known.as_bytes()))
            }
            (_, None) => Ok((letter, b"")),
            (_, Some(_)) => Err(wrong(Fault::UnwantedValue, known.as_bytes())),
        }
    }

    /// Does `letter` take a value? Nothing if there is no such option.
    fn takes_value(&self, letter: u8) -> Option<bool> {
        let short = self.syntax.short;
        let at = short.iter().position(|known| *known == letter && letter != b':')?;
        Some(short.get(at + 1) == Some(&b':'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Word for &'static [u8] {
        fn bytes(&self) -> &'static [u8] {
            self
        }
    }

    static SYNTAX: Syntax = Syntax {
        short: b"ab:c",
        long: &[("alpha", b'a'), ("beta", b'b'), ("bet", b'c')],
        abbreviated: true,
        permuted: true,
    };
    static PLAIN: Syntax = Syntax { short: b"ab:", long: &[], abbreviated: false, permuted: false };

    type Read = (Vec<(char, String)>, Result<Vec<String>, Wrong>);

    /// The options of a line, and the command behind them.
    fn read(line: &'static str, syntax: &'static Syntax) -> Read {
        let mut words: Vec<&'static [u8]> = line.split(' ').map(str::as_bytes).collect();
        words.insert(0, b"program");
        let mut options = Options::new(&mut words, syntax, false);
        let mut read = Vec::new();
        loop {
            match options.following() {
                Ok(Some((letter, value))) => read.push((letter.into(), String::from_utf8_lossy(value).into_owned())),
                Ok(None) => break,
                Err(wrong) => return (read, Err(wrong)),
            }
        }
        let command = options.command();
        (read, Ok(words[command..].iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()))
    }

    #[track_caller]
    fn gives(line: &'static str, syntax: &'static Syntax, options: &[(char, &str)], command: &[&str]) {
        let (read, rest) = read(line, syntax);
        let read: Vec<_> = read.iter().map(|(letter, value)| (*letter, value.as_str())).collect();
        assert_eq!(read, options, "{line}");
        assert_eq!(rest.unwrap(), command, "{line}");
    }

    #[track_caller]
    fn refused(line: &'static str, syntax: &'static Syntax, fault: Fault, name: &str) {
        let (_, rest) = read(line, syntax);
        let wrong = rest.unwrap_err();
        assert_eq!((wrong.fault, wrong.name), (fault, name.as_bytes()), "{line}");
    }

    #[test]
    fn short_options_are_bundled_and_carry_their_value() {
        gives("-acb3 x", &SYNTAX, &[('a', ""), ('c', ""), ('b', "3")], &["x"]);
        gives("-ab 3 x", &SYNTAX, &[('a', ""), ('b', "3")], &["x"]);
        gives("-b -- x", &SYNTAX, &[('b', "--")], &["x"]);
        gives("- x", &SYNTAX, &[], &["-", "x"]);
    }

    #[test]
    fn long_options_are_abbreviated_and_carry_their_value() {
        gives("--al --beta=3 --beta 4 x", &SYNTAX, &[('a', ""), ('b', "3"), ('b', "4")], &["x"]);
        gives("--bet x", &SYNTAX, &[('c', "")], &["x"]);
        gives("--beta= x", &SYNTAX, &[('b', "")], &["x"]);
        refused("--be x", &SYNTAX, Fault::Ambiguous, "be");
        refused("--alpha=1 x", &SYNTAX, Fault::UnwantedValue, "alpha");
        refused("--beta", &SYNTAX, Fault::NoValue, "beta");
        refused("--gamma=1 x", &SYNTAX, Fault::Unknown, "gamma=1");
    }

    #[test]
    fn words_that_are_no_options_move_behind_them() {
        gives("x -a y -b 1 z", &SYNTAX, &[('a', ""), ('b', "1")], &["x", "y", "z"]);
        gives("x -a y -- -c z", &SYNTAX, &[('a', "")], &["x", "y", "-c", "z"]);
        gives("-a x -b 1", &PLAIN, &[('a', "")], &["x", "-b", "1"]);
        gives("-a -- -b", &PLAIN, &[('a', "")], &["-b"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        refused("-ax x", &PLAIN, Fault::Unknown, "x");
        refused("--alpha x", &PLAIN, Fault::Unknown, "-");
        refused("-ab", &PLAIN, Fault::NoValue, "b");
        refused("-: x", &PLAIN, Fault::Unknown, ":");
    }
}
