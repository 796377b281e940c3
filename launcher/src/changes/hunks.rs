//! What differs between two texts, as the hunks of a unified patch. Bytes in, bytes out: a line need not be UTF-8.

use similar::DiffOp;
use similar::algorithms::{Capture, Replace, myers};
use std::collections::HashMap;
use std::io::{self, Write};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How many lines around a difference are shown.
const CONTEXT: usize = 3;
/// How long the shortest patch is looked for, before a longer one will do.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes the hunks; none if the two are the same.
pub fn write(out: &mut impl Write, old: &[u8], new: &[u8]) -> io::Result<()> {
    let (old, new) = (lines(old), lines(new));
    // Numbers are compared faster than lines.
    let mut numbers = HashMap::new();
    let mut numbered = |lines: &[&'_ [u8]]| -> Vec<usize> {
        let number = |line: &&[u8]| {
            let next = numbers.len();
            *numbers.entry(line.to_vec()).or_insert(next)
        };
        lines.iter().map(number).collect()
    };
    let (before, after) = (numbered(&old), numbered(&new));
    let mut found = Replace::new(Capture::new());
    let deadline = Some(Instant::now() + PATIENCE);
    // It never fails: what it finds is put into memory.
    let _ = myers::diff_deadline(&mut found, &before[..], 0..old.len(), &after[..], 0..new.len(), deadline);
    for hunk in similar::group_diff_ops(found.into_inner().into_ops(), CONTEXT) {
        write_hunk(out, &hunk, &old, &new)?;
    }
    Ok(())
}

/// Lines with their ends, which the last one may lack.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

fn write_hunk(out: &mut impl Write, hunk: &[DiffOp], old: &[&[u8]], new: &[&[u8]]) -> io::Result<()> {
    let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { return Ok(()) };
    let of = |first: Range<usize>, last: Range<usize>| -> (usize, usize) {
        let count = last.end - first.start;
        // Of no lines, the one before.
        (first.start + usize::from(count > 0), count)
    };
    let (from, count) = of(first.old_range(), last.old_range());
    let (to, others) = of(first.new_range(), last.new_range());
    writeln!(out, "@@ -{from},{count} +{to},{others} @@")?;
    for op in hunk {
        let is_equal = matches!(op, DiffOp::Equal { .. });
        let (gone, come) = (&old[op.old_range()], &new[op.new_range()]);
        gone.iter().try_for_each(|line| write_line(out, if is_equal { b' ' } else { b'-' }, line))?;
        if !is_equal {
            come.iter().try_for_each(|line| write_line(out, b'+', line))?;
        }
    }
    Ok(())
}

fn write_line(out: &mut impl Write, sign: u8, line: &[u8]) -> io::Result<()> {
    out.write_all(&[sign])?;
    out.write_all(line)?;
    if line.ends_with(b"\n") { Ok(()) } else { out.write_all(b"\n\\ No newline at end of file\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunks(old: &[u8], new: &[u8]) -> String {
        let mut out = Vec::new();
        write(&mut out, old, new).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn hunks_are_those_of_a_unified_patch() {
        assert_eq!(hunks(b"a\nb\n", b"a\nb\n"), "");
        assert_eq!(hunks(b"", b"a\n"), "@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(hunks(b"a\n", b""), "@@ -1,1 +0,0 @@\n-a\n");
        assert_eq!(
            hunks(b"1\n2\n3\n4\n5\n6\n7\n8\n9", b"1\n2\n3\n4\nfive\n6\n7\n8\n9\n"),
            "@@ -2,8 +2,8 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n-9\n\\ No newline at end of file\n+9\n"
        );
        let long = |odd: &str| {
            (0..30).map(|n| if n == 2 || n == 27 { odd.to_owned() } else { format!("{n}\n") }).collect::<String>()
        };
        let two = hunks(long("x\n").as_bytes(), long("y\n").as_bytes());
        assert!(two.contains("@@ -1,6 +1,6 @@\n") && two.contains("@@ -25,6 +25,6 @@\n"), "{two}");
    }
}
