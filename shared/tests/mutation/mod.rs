//! A small fuzzer for stable Rust: changes committed seeds at random, always the same way, and hands each result to
//! a check. It sees no coverage; `make fuzz` runs the same checks with libFuzzer, which does.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longer inputs find nothing that these do not.
const LONGEST: usize = 5000;
/// The most that one call may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hands every seed in `folder`, then `count` inputs made from them, to `check`; a check that panics names its input.
/// `words` are put into inputs as they are. Says on stderr how many inputs there were.
pub fn check_many(folder: &str, words: &[&[u8]], count: usize, check: impl Fn(&[u8])) {
    let seeds = read_seeds(Path::new(folder));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let begin = Instant::now();
    let mut done = 0;
    for seed in &seeds {
        run(seed, &check);
        done += 1;
    }
    while done < seeds.len() + count && begin.elapsed() < PATIENCE {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(6) {
            random.change(&mut input, &seeds, words);
        }
        input.truncate(LONGEST);
        run(&input, &check);
        done += 1;
    }
    let name = folder.rsplit('/').next().unwrap_or(folder);
    // Not by println, which the harness keeps to itself.
    let _ = writeln!(std::io::stderr(), "{name}: {done} inputs in {} ms", begin.elapsed().as_millis());
}

fn read_seeds(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a folder that is there").path()).collect();
    files.sort();
    let seeds: Vec<_> = files.iter().map(|file| std::fs::read(file).expect("a seed that is there")).collect();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    seeds
}

fn run(input: &[u8], check: impl Fn(&[u8])) {
    let shown = Shown(input);
    check(shown.0);
}

/// Shows the input when the check panics.
struct Shown<'a>(&'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut text = String::new();
            for byte in self.0 {
                let _ = write!(text, "{}", byte.escape_ascii());
            }
            eprintln!("the input was b\"{text}\"");
        }
    }
}

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`, 0 if that is 0.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit.max(1)
    }

    /// Changes `input` once: a bit, a byte, an edge value, a piece taken out, doubled, or put in from elsewhere.
    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&[u8]]) {
        let at = self.below(input.len());
        let length = 1 + self.below((input.len() - at.min(input.len())).min(32));
        let end = (at + length).min(input.len());
        match self.below(8) {
            0 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            1 if !input.is_empty() => input[at] = self.next() as u8,
            2 if !input.is_empty() => input[at] = [0, 1, 0x7f, 0x80, 0xff, b'-', b'='][self.below(7)],
            3 => drop(input.drain(at..end)),
            4 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len());
                let to = (from + 1 + self.below(32)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            6 if !words.is_empty() => {
                let word = words[self.below(words.len())];
                input.splice(at..at, word.iter().copied());
            }
            _ => input.insert(at, self.next() as u8),
        }
    }
}
