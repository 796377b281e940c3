//! A SIGTERM early in the life of an init. What follows it tells without a guess at time whether it was lost: SIGWINCH,
//! which no init takes first, because of two pending signals the lower number comes first.

use crate::sys::{self, Started};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(5);
const READY: u8 = b'r';

/// None if `how` is none of the ways.
pub fn run(how: &str, delay: Duration, command: &[&str]) -> Option<ExitCode> {
    let new_namespace = match how {
        "plain" => true,
        "blocked" => {
            sys::block_signals();
            true
        }
        "same" => false,
        _ => return None,
    };
    let (mut answers, theirs) = UnixStream::pair().expect("a pair of sockets");
    answers.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    let started = sys::start(command, new_namespace, theirs);
    let begin = Instant::now();
    while begin.elapsed() < delay {
        std::hint::spin_loop();
    }
    started.send(sys::SIGTERM);
    let result = fate(&mut answers, &started);
    started.send(sys::SIGKILL);
    started.wait();
    Some(match result {
        Ok(lost) => ExitCode::from(u8::from(lost)),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(3)
        }
    })
}

/// Whether the signal was lost.
fn fate(answers: &mut UnixStream, started: &Started) -> Result<bool, String> {
    loop {
        match next(answers)? {
            Some(READY) => started.send(sys::SIGWINCH),
            Some(sys::SIGTERM) => return Ok(false),
            Some(sys::SIGWINCH) => return Ok(true),
            Some(_) => {}
            // SIGTERM ended the command, or what was to become it.
            None => match started.wait() {
                status if status == 128 + i32::from(sys::SIGTERM) => return Ok(false),
                status => return Err(format!("ended with status {status} after SIGTERM")),
            },
        }
    }
}

/// What the command says next; none when nobody is left to say anything.
fn next(answers: &mut UnixStream) -> Result<Option<u8>, String> {
    let mut byte = [0];
    match answers.read(&mut byte) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(byte[0])),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
