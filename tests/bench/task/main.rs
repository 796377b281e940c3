//! The commands that do or show something, and the starter of row 10. Built static by the bench.
//!
//! - `task prove` prints its PID, its namespaces, its network devices and its mounts, and exits with status 42.
//! - `task flood BYTES` writes that many bytes, as lines.
//! - `task orphans COUNT` makes orphans one after the other by a double fork, waits until PID 1 has reaped them all,
//!   prints a dot, the nanoseconds that it took and how many it made, and stays until its input ends.
//! - `task answer` says `r` when it is ready, then the number of each signal that it gets, a byte each.
//! - `task early plain|blocked|same MICROSECONDS -- COMMAND…` starts COMMAND, as PID 1 of a new PID namespace (with
//!   every signal blocked, if so said) or without one, and sends it SIGTERM so much later. Exit code 0: `answer`,
//!   which COMMAND has to run, got the signal or was ended by it; 1: it got none; 3: something else is wrong.

#![deny(unsafe_op_in_unsafe_fn)]

mod early;
mod sys;

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long PID 1 may go without reaping anything before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_micros(100);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["orphans", count] => count.parse().ok().map(orphans),
        ["prove"] => Some(prove()),
        ["flood", bytes] => bytes.parse().ok().map(flood),
        ["answer"] => Some(answer()),
        ["early", how, delay, "--", ref command @ ..] if !command.is_empty() => {
            delay.parse().ok().and_then(|delay| early::run(how, Duration::from_micros(delay), command))
        }
        _ => None,
    };
    done.unwrap_or_else(|| {
        eprintln!("usage: task prove | flood BYTES | orphans COUNT | answer | early plain|blocked|same MICROSECONDS -- COMMAND…");
        ExitCode::from(125)
    })
}

fn prove() -> ExitCode {
    println!("{}", std::process::id());
    for name in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let namespace = std::fs::read_link(format!("/proc/self/ns/{name}"));
        println!("{}", namespace.map_or_else(|error| error.to_string(), |link| link.display().to_string()));
    }
    for file in ["/proc/self/net/dev", "/proc/self/mountinfo"] {
        print!("{}", std::fs::read_to_string(file).unwrap_or_default());
    }
    ExitCode::from(42)
}

/// What a terminal gets of a build or a `cat`: lines of 63 letters, in writes of 32 KiB.
fn flood(bytes: usize) -> ExitCode {
    let block: Vec<u8> = (0..32 * 1024).map(|place| if place % 64 == 63 { b'\n' } else { b'x' }).collect();
    let mut left = bytes;
    while left > 0 {
        let length = left.min(block.len());
        if std::io::stdout().lock().write_all(&block[..length]).is_err() {
            return ExitCode::FAILURE;
        }
        left -= length;
    }
    ExitCode::SUCCESS
}

fn orphans(count: u32) -> ExitCode {
    let begin = Instant::now();
    let (mut made, mut progress) = (0, begin);
    while made < count && progress.elapsed() < PATIENCE {
        // The table of processes is full until PID 1 comes round to reaping.
        if sys::make_orphan() {
            made += 1;
            progress = Instant::now();
        } else {
            std::thread::sleep(PAUSE);
        }
    }
    while sys::others_are_there() && progress.elapsed() < PATIENCE {
        std::thread::sleep(PAUSE);
    }
    println!(".{} {made}", begin.elapsed().as_nanos());
    let _ = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

fn answer() -> ExitCode {
    sys::block_signals();
    let mut said = b'r';
    while std::io::stdout().write_all(&[said]).and_then(|()| std::io::stdout().flush()).is_ok() {
        said = sys::wait_for_signal();
    }
    ExitCode::FAILURE
}
