//! Finds the last lines of a log from its end, without reading what is before them.

use super::record::{HEAD, Record};
use super::sequence::Part;
use std::collections::VecDeque;
use std::io::Result;
use std::os::unix::fs::FileExt;

/// Bytes that are read at once.
const BLOCK: u64 = 64 << 10;

/// Puts the files' offsets to the beginning of the last `lines` lines. Files before that are left out.
pub fn seek(parts: &mut VecDeque<Part>, lines: u64) -> Result<()> {
    let mut left = lines;
    let mut is_last = true;
    for index in (0..parts.len()).rev() {
        let part = &parts[index];
        let mut records = Backwards::new(part)?;
        let mut start = records.end;
        while let Some((before, is_whole)) = records.next()? {
            // The last record is that of a line in any case. Parts of a line are before its end.
            if is_whole || is_last {
                if left == 0 {
                    parts[index].offset = start;
                    parts.drain(..index);
                    return Ok(());
                }
                left -= 1;
            }
            is_last = false;
            start = before;
        }
    }
    Ok(())
}

/// The records of a file, the last one first.
struct Backwards<'a> {
    part: &'a Part,
    /// Behind the record that comes next.
    end: u64,
    block: Vec<u8>,
    /// Where the block is in the file.
    at: u64,
}

impl<'a> Backwards<'a> {
    fn new(part: &'a Part) -> Result<Self> {
        let end = part.size()?;
        let mut records = Self { part, end, block: Vec::new(), at: end };
        // What is behind the last end is no record yet.
        records.end = records.line_end(end)?;
        Ok(records)
    }

    /// Where the next record begins, and whether a line ends with it.
    fn next(&mut self) -> Result<Option<(u64, bool)>> {
        if self.end == 0 {
            return Ok(None);
        }
        let start = self.line_end(self.end - 1)?;
        let mut head = [0; HEAD];
        let length = (self.end - 1 - start).min(HEAD as u64) as usize;
        self.read(start, &mut head[..length])?;
        self.end = start;
        Ok(Some((start, Record::parse(&head[..length]).is_some_and(|record| record.is_whole))))
    }

    /// Behind the last end of a line before `end`.
    fn line_end(&mut self, mut end: u64) -> Result<u64> {
        while end > 0 {
            if end <= self.at {
                let start = end.saturating_sub(BLOCK);
                self.block.resize((end - start) as usize, 0);
                self.part.file.read_exact_at(&mut self.block, start)?;
                self.at = start;
            }
            let block = &self.block[..(end - self.at) as usize];
            if let Some(found) = memchr::memrchr(b'\n', block) {
                return Ok(self.at + found as u64 + 1);
            }
            end = self.at;
        }
        Ok(0)
    }

    /// From the block if it has it.
    fn read(&self, start: u64, to: &mut [u8]) -> Result<()> {
        let from = start.checked_sub(self.at).and_then(|start| self.block.get(start as usize..)?.get(..to.len()));
        match from {
            Some(from) => to.copy_from_slice(from),
            None => self.part.file.read_exact_at(to, start)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::record;
    use crate::logs::sequence::Sequence;
    use crate::service::Directory;
    use std::time::SystemTime;

    /// The text that is left of two files.
    fn tail(files: [&[(bool, String)]; 2], lines: u64) -> String {
        let path = std::env::temp_dir().join(format!("nsl-tail-{}-{lines}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let heads = record::heads(SystemTime::now());
        for (name, records) in ["log.1", "log"].iter().zip(files) {
            let mut bytes = Vec::new();
            for (whole, text) in records {
                record::put(&mut bytes, &heads[0], *whole, [text.as_bytes(), b""]);
            }
            if *name == "log" {
                bytes.extend_from_slice(b"2026-11");
            }
            std::fs::write(path.join(name), bytes).unwrap();
        }
        let mut sequence = Sequence::new(Directory::given(&path).unwrap()).unwrap();
        seek(&mut sequence.parts, lines).unwrap();
        let mut text = String::new();
        for part in &sequence.parts {
            let mut bytes = vec![0; (part.size().unwrap() - part.offset) as usize];
            part.file.read_exact_at(&mut bytes, part.offset).unwrap();
            for record in record::split(&bytes).filter_map(|line| Record::parse(&line[..line.len() - 1])) {
                text.extend([&*String::from_utf8_lossy(record.text), if record.is_whole { "|" } else { "+" }]);
            }
        }
        std::fs::remove_dir_all(path).unwrap();
        text
    }

    #[test]
    fn the_last_lines_are_found_across_files_and_blocks() {
        let line = |text: &str| (true, text.to_owned());
        let part = |text: &str| (false, text.to_owned());
        let files = [&[line("a"), part("b1"), part("b2"), line("b3")][..], &[line("c"), line("d")]];
        for (lines, text) in
            [(0, ""), (1, "d|"), (2, "c|d|"), (3, "b1+b2+b3|c|d|"), (4, "a|b1+b2+b3|c|d|"), (9, "a|b1+b2+b3|c|d|")]
        {
            assert_eq!(tail(files, lines), text, "{lines}");
        }
        // A line that has not ended counts as well.
        assert_eq!(tail([&[line("a")], &[line("b"), part("c")]], 11), "a|b|c+");
        assert_eq!(tail([&[line("a")], &[line("b"), part("c")]], 12), "a|b|c+");
        let long: Vec<_> = (0..5000).map(|number| line(&format!("{number}-{}", "x".repeat(number % 300)))).collect();
        let text = tail([&long, &[]], 1000);
        assert!(text.starts_with("4000-") && text.matches('|').count() == 1000);
    }
}
