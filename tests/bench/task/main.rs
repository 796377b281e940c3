//! The commands of rows 8 to 10, and the starter of row 10. Built static by the bench.
//!
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
        ["answer"] => Some(answer()),
        ["early", how, delay, "--", ref command @ ..] if !command.is_empty() => {
            delay.parse().ok().and_then(|delay| early::run(how, Duration::from_micros(delay), command))
        }
        _ => None,
    };
    done.unwrap_or_else(|| {
        eprintln!("usage: task orphans COUNT | answer | early plain|blocked|same MICROSECONDS -- COMMAND…");
        ExitCode::from(125)
    })
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
