//! The init's own command line, for when it runs without nsl. It reads words and decides nothing.

use nsl_shared::signal::Signal;

/// What the options ask for.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// `-g`: forward signals to the command's process group.
    pub group: bool,
    /// `-s`: become a child subreaper even if that is all that can be done.
    pub subreaper: bool,
    /// `-w`: warn about each process that is reaped.
    pub warn: bool,
    /// `-v`, repeatable.
    pub verbosity: u8,
    /// `-p SIGNAL`: get this signal when the parent ends.
    pub parent_death: Option<Signal>,
    /// `--grace DURATION`, in milliseconds.
    pub grace_ms: u32,
    /// `-e CODE`, repeatable: bit n of the set stands for code n, which becomes 0.
    pub success: [u64; 4],
    /// How many words the options took; the command stands behind them.
    pub words: usize,
}

/// How long what the command left behind may take to end, unless said otherwise: Docker's ten seconds.
pub const GRACE_MS: u32 = 10_000;

impl Default for Options {
    fn default() -> Self {
        Self {
            group: false,
            subreaper: false,
            warn: false,
            verbosity: 0,
            parent_death: None,
            grace_ms: GRACE_MS,
            success: [0; 4],
            words: 0,
        }
    }
}

/// What the command line comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    Run(Options),
    Help,
    Version,
    License,
}

/// Why a command line is refused: the reason, and the word that is at fault.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused<'a>(pub &'static str, pub &'a [u8]);

/// Reads the options in front of the command; `words` are all arguments behind the program's name.
pub fn parse<'a>(words: impl Iterator<Item = &'a [u8]>) -> Result<Parsed, Refused<'a>> {
    let mut options = Options::default();
    let mut words = words.peekable();
    while let Some(word) = words.next_if(|word| word.first() == Some(&b'-') && word.len() > 1) {
        options.words += 1;
        match word {
            b"--" => break,
            b"-h" | b"--help" => return Ok(Parsed::Help),
            b"--version" => return Ok(Parsed::Version),
            b"-l" => return Ok(Parsed::License),
            b"--grace" => {
                let value = words.next().ok_or(Refused("a duration is missing behind", word))?;
                options.words += 1;
                options.grace_ms = milliseconds(value).ok_or(Refused("no duration (such as 10s or 500ms)", value))?;
            }
            [b'-', b'-', ..] => return Err(Refused("unknown option", word)),
            [_, flags @ ..] => {
                let mut rest = flags;
                while let [flag, behind @ ..] = rest {
                    rest = behind;
                    match flag {
                        b'g' => options.group = true,
                        b's' => options.subreaper = true,
                        b'w' => options.warn = true,
                        b'v' => options.verbosity = options.verbosity.saturating_add(1),
                        b'p' | b'e' => {
                            let value = if behind.is_empty() {
                                options.words += 1;
                                words.next().ok_or(Refused("a value is missing behind", word))?
                            } else {
                                behind
                            };
                            rest = b"";
                            options.set(*flag, value)?;
                        }
                        _ => return Err(Refused("unknown option", word)),
                    }
                }
            }
            [] => break,
        }
    }
    Ok(Parsed::Run(options))
}

impl Options {
    fn set<'a>(&mut self, flag: u8, value: &'a [u8]) -> Result<(), Refused<'a>> {
        if flag == b'p' {
            self.parent_death = Some(Signal::parse(value).ok_or(Refused("no signal", value))?);
        } else {
            let code = number(value).and_then(|code| u8::try_from(code).ok()).ok_or(Refused("no exit code", value))?;
            self.success[usize::from(code >> 6)] |= 1 << (code & 63);
        }
        Ok(())
    }

    /// The exit code to give for a command that ended with `code`.
    #[must_use]
    pub fn exit_code(&self, code: u8) -> u8 {
        if self.success[usize::from(code >> 6)] & (1 << (code & 63)) == 0 { code } else { 0 }
    }
}

/// A duration in milliseconds: `500ms`, `10s`, `2m`; a bare number is seconds.
fn milliseconds(text: &[u8]) -> Option<u32> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let factor = match &text[digits..] {
        b"ms" => 1,
        b"" | b"s" => 1000,
        b"m" => 60_000,
        _ => return None,
    };
    number(&text[..digits])?.checked_mul(factor)
}

fn number(text: &[u8]) -> Option<u32> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<'a>(words: &[&'a str]) -> Result<Parsed, Refused<'a>> {
        parse(words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>().into_iter())
    }

    fn options(words: &[&str]) -> Options {
        match parsed(words) {
            Ok(Parsed::Run(options)) => options,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn options_end_at_the_first_word_that_is_none() {
        assert_eq!(options(&["sh", "-c", "x"]).words, 0);
        assert_eq!(options(&["-g", "sh", "-s"]).words, 1);
        assert_eq!(options(&["-g", "--", "-s"]).words, 2);
        assert_eq!(options(&["-", "x"]).words, 0);
    }

    #[test]
    fn short_options_can_be_bundled_and_carry_their_value() {
        let given = options(&["-gvvp", "TERM", "-e143", "-e", "0", "cmd"]);
        assert!(given.group);
        assert_eq!(given.verbosity, 2);
        assert_eq!(given.parent_death, Some(Signal::TERM));
        assert_eq!(given.words, 5);
        assert_eq!(given.exit_code(143), 0);
        assert_eq!(given.exit_code(142), 142);
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(options(&["--grace", "500ms"]).grace_ms, 500);
        assert_eq!(options(&["--grace", "3"]).grace_ms, 3000);
        assert_eq!(options(&["--grace", "2m"]).grace_ms, 120_000);
        for bad in ["", "ms", "1h", "-1", "99999999999"] {
            assert_eq!(parsed(&["--grace", bad]), Err(Refused("no duration (such as 10s or 500ms)", bad.as_bytes())));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parsed(&["-x"]), Err(Refused("unknown option", b"-x")));
        assert_eq!(parsed(&["--nope"]), Err(Refused("unknown option", b"--nope")));
        assert_eq!(parsed(&["-p"]), Err(Refused("a value is missing behind", b"-p")));
        assert_eq!(parsed(&["-p", "NOPE"]), Err(Refused("no signal", b"NOPE")));
        assert_eq!(parsed(&["-e", "256"]), Err(Refused("no exit code", b"256")));
    }
}
