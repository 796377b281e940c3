//! A record of a log, one line of it, in the form that Kubernetes has for the logs of containers (CRI):
//! `2026-11-24T10:00:00.123456789Z stdout F text`. F ends a line of the command's; P is a part of one, and the next
//! record of the same stream goes on with it.

use super::{Dropped, Source, Tally};
use std::io::Write;
use std::time::SystemTime;

/// Bytes of text in a record.
pub const LONGEST: usize = 16 << 10;
/// Bytes before the text: the time, the stream, the mark, and a space after each.
pub const HEAD: usize = TIME + 10;
const TIME: usize = 30;
const MARK: usize = HEAD - 2;

/// What is before the text.
pub type Head = [u8; HEAD];

/// The heads of records that end a line, for each stream.
pub fn heads(now: SystemTime) -> [Head; 2] {
    Source::ALL.map(|source| {
        let mut head = [0; HEAD];
        // It fits until the year 10000.
        let _ = write!(&mut head[..], "{} {} F ", humantime::format_rfc3339_nanos(now), source.word());
        head
    })
}

/// Puts a record behind others.
pub fn put(to: &mut Vec<u8>, head: &Head, is_whole: bool, text: [&[u8]; 2]) {
    let start = to.len();
    to.extend_from_slice(head);
    if !is_whole {
        to[start + MARK] = b'P';
    }
    to.extend_from_slice(text[0]);
    to.extend_from_slice(text[1]);
    to.push(b'\n');
}

/// A record as it is read.
pub struct Record<'a> {
    /// Without the space.
    pub time: &'a [u8],
    pub source: Source,
    /// Does the line end here?
    pub is_whole: bool,
    pub text: &'a [u8],
}

impl<'a> Record<'a> {
    /// Gives a line, without its end, its meaning; none if it is no record, or the beginning of one that was cut off.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (head, text) = line.split_at_checked(HEAD)?;
        let (time, rest) = head.split_at(TIME);
        let (source, is_whole) = match rest {
            b" stdout F " => (Source::Stdout, true),
            b" stdout P " => (Source::Stdout, false),
            b" stderr F " => (Source::Stderr, true),
            b" stderr P " => (Source::Stderr, false),
            _ => return None,
        };
        let mut forms = time.iter().zip(b"0000-00-00T00:00:00.000000000Z");
        let is_time = forms.all(|(byte, form)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form });
        is_time.then_some(Self { time, source, is_whole, text })
    }
}

/// The lines of records, each with its end.
pub fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest)?;
        let (line, after) = rest.split_at(end + 1);
        rest = after;
        Some(line)
    })
}

/// What is lost with these records.
pub fn tally(records: &[u8]) -> Dropped {
    let mut dropped = Dropped::default();
    let mut open = [false; 2];
    for record in split(records).filter_map(|line| Record::parse(&line[..line.len() - 1])) {
        let whole = u64::from(record.is_whole);
        dropped.add(record.source, Tally { lines: whole, bytes: record.text.len() as u64 + whole });
        open[record.source as usize] = !record.is_whole;
    }
    for source in Source::ALL.into_iter().filter(|source| open[*source as usize]) {
        dropped.add(source, Tally { lines: 1, bytes: 0 });
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_record_is_read_as_it_was_put() {
        let now = SystemTime::UNIX_EPOCH + Duration::new(1_795_514_400, 123_456_789);
        let [stdout, stderr] = heads(now);
        let mut log = Vec::new();
        put(&mut log, &stdout, true, [b"a \0", b"\xff"]);
        put(&mut log, &stderr, false, [b"", b""]);
        assert_eq!(
            log,
            b"2026-11-24T10:00:00.123456789Z stdout F a \0\xff\n2026-11-24T10:00:00.123456789Z stderr P \n"
        );
        let lines: Vec<_> = split(&log).collect();
        let record = Record::parse(&lines[0][..lines[0].len() - 1]).unwrap();
        assert_eq!((record.source, record.is_whole, record.text), (Source::Stdout, true, &b"a \0\xff"[..]));
        assert_eq!(tally(&log), Dropped { stdout: Tally { lines: 1, bytes: 5 }, stderr: Tally { lines: 1, bytes: 0 } });
        // Cut anywhere before the text, it is none.
        assert!((0..HEAD).all(|length| Record::parse(&log[..length]).is_none()));
        assert!(Record::parse(b"2026-11-24T10:00:00.123456789Z stdout X text").is_none());
        assert!(Record::parse(b"2026-11-24 10:00:00.123456789Z stdout F text").is_none());
    }
}
