//! Signals by number and name, and sets of them, as the kernel of every 64-bit Linux target here has them.

use core::fmt;

/// Names of the standard signals, in the order of their numbers from 1 on (`signal(7)`, x86 and ARM). As one string
/// they take a third of the memory that a table takes.
const NAMES: &str = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP \
                     TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS";
/// Second names that users know.
const ALIASES: [(&[u8], i32); 3] = [(b"CLD", 17), (b"IOT", 6), (b"POLL", 29)];

/// SIGRTMIN as the C library counts: it keeps the kernel's 32 and 33 for itself.
const RTMIN: i32 = 34;
/// The last signal.
pub const MAX: i32 = 64;

/// A signal's number, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signal(i32);

impl Signal {
    pub const HUP: Self = Self(1);
    pub const INT: Self = Self(2);
    pub const QUIT: Self = Self(3);
    pub const KILL: Self = Self(9);
    pub const USR1: Self = Self(10);
    pub const USR2: Self = Self(12);
    pub const TERM: Self = Self(15);
    pub const CHLD: Self = Self(17);
    pub const CONT: Self = Self(18);
    pub const STOP: Self = Self(19);
    pub const TSTP: Self = Self(20);
    pub const TTIN: Self = Self(21);
    pub const TTOU: Self = Self(22);
    pub const WINCH: Self = Self(28);
    pub const PWR: Self = Self(30);

    /// The signal with this number, if there is one.
    #[must_use]
    pub const fn new(number: i32) -> Option<Self> {
        if number >= 1 && number <= MAX { Some(Self(number)) } else { None }
    }

    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The signal that `text` names: `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`, `RTMAX-1`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if let Some(number) = decimal(text) {
            return Self::new(number);
        }
        let name = match text {
            [s, i, g, rest @ ..] if is_name(&[*s, *i, *g], b"SIG") => rest,
            _ => text,
        };
        if let Some(index) = names().position(|known| is_name(name, known)) {
            return Self::new(index as i32 + 1);
        }
        if let Some((_, number)) = ALIASES.iter().find(|(known, _)| is_name(name, known)) {
            return Self::new(*number);
        }
        let (edge, offset) = name.split_at_checked(5)?;
        let offset = match offset {
            [] => 0,
            [b'+', digits @ ..] if is_name(edge, b"RTMIN") => decimal(digits)?,
            [b'-', digits @ ..] if is_name(edge, b"RTMAX") => -decimal(digits)?,
            _ => return None,
        };
        let base = match edge {
            _ if is_name(edge, b"RTMIN") => RTMIN,
            _ if is_name(edge, b"RTMAX") => MAX,
            _ => return None,
        };
        Self::new(base + offset).filter(|signal| signal.0 >= RTMIN)
    }

    /// The signal's name without `SIG`, and for a real-time one how far it lies above `RTMIN`.
    #[must_use]
    pub fn name(self) -> (&'static [u8], Option<i32>) {
        match names().nth(self.0 as usize - 1) {
            Some(name) => (name, None),
            None if self.0 == RTMIN => (b"RTMIN", None),
            None => (b"RTMIN", Some(self.0 - RTMIN)),
        }
    }

    /// Does a terminal send this signal, to a whole process group at once? Such a signal is forwarded to the
    /// command's group, every other one to the command alone.
    #[must_use]
    pub const fn is_from_terminal(self) -> bool {
        matches!(
            self,
            Self::HUP | Self::INT | Self::QUIT | Self::CONT | Self::TSTP | Self::TTIN | Self::TTOU | Self::WINCH
        )
    }

    /// Is this signal sent to have a process end in order?
    #[must_use]
    pub const fn is_to_end(self) -> bool {
        matches!(self, Self::HUP | Self::INT | Self::QUIT | Self::TERM)
    }

    /// Does this signal, at its default, stop a process?
    #[must_use]
    pub const fn is_stop(self) -> bool {
        matches!(self, Self::STOP | Self::TSTP | Self::TTIN | Self::TTOU)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, above) = self.name();
        write!(f, "SIG{}", name.escape_ascii())?;
        above.map_or(Ok(()), |above| write!(f, "{above:+}"))
    }
}

/// Is `text`, in any case, this name in capitals?
fn is_name(text: &[u8], name: &[u8]) -> bool {
    text.len() == name.len() && text.iter().zip(name).all(|(byte, of)| byte.to_ascii_uppercase() == *of)
}

fn names() -> impl Iterator<Item = &'static [u8]> {
    NAMES.as_bytes().split(|byte| *byte == b' ')
}

/// A number of one to three decimal digits: no signal needs more.
fn decimal(text: &[u8]) -> Option<i32> {
    if text.is_empty() || text.len() > 3 {
        return None;
    }
    text.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i32::from(digit - b'0')))
}

/// A set of signals: bit n-1 stands for signal n, as in the kernel's `sigset_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// Every signal; the kernel leaves SIGKILL and SIGSTOP out by itself.
    pub const ALL: Self = Self(u64::MAX);
    pub const NONE: Self = Self(0);

    #[must_use]
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | 1 << (signal.0 - 1))
    }

    #[must_use]
    pub const fn without(self, signal: Signal) -> Self {
        Self(self.0 & !(1 << (signal.0 - 1)))
    }

    #[must_use]
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & (1 << (signal.0 - 1)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::string::ToString;

    fn number(text: &str) -> Option<i32> {
        Signal::parse(text.as_bytes()).map(Signal::number)
    }

    #[test]
    fn names_are_read_with_and_without_their_prefix_in_any_case() {
        for text in ["TERM", "SIGTERM", "sigterm", "Term", "15", "015"] {
            assert_eq!(number(text), Some(15), "{text}");
        }
        assert_eq!(number("CLD"), Some(17));
        assert_eq!(number("SIGIOT"), Some(6));
    }

    #[test]
    fn real_time_signals_count_from_both_ends() {
        assert_eq!(number("RTMIN"), Some(34));
        assert_eq!(number("SIGRTMIN+3"), Some(37));
        assert_eq!(number("rtmax-1"), Some(63));
        assert_eq!(number("RTMAX"), Some(64));
        for text in ["RTMIN-1", "RTMAX+1", "RTMIN+31", "RTMAX-31", "RTMIN+", "RTMIN3"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn nonsense_is_no_signal() {
        for text in ["", "0", "65", "-1", "SIG", "SIGNOPE", "1x", "9999999999", "é"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn every_signal_is_shown_by_a_name_that_reads_back() {
        for n in (1..=MAX).filter(|n| !(32..34).contains(n)) {
            let signal = Signal::new(n).unwrap();
            assert_eq!(number(&signal.to_string()), Some(n), "{signal}");
        }
        assert_eq!(Signal::new(15).unwrap().to_string(), "SIGTERM");
        assert_eq!(Signal::new(34).unwrap().to_string(), "SIGRTMIN");
        assert_eq!(Signal::new(37).unwrap().to_string(), "SIGRTMIN+3");
        assert_eq!(Signal::new(32).unwrap().to_string(), "SIGRTMIN-2");
    }
}
