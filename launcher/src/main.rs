//! nsl: parse, run, exit. The only place where errors are printed.

#![cfg_attr(not(test), no_main)]

mod cgroup;
mod changes;
mod clean;
mod cli;
mod confined;
mod deadline;
mod environment;
mod error;
mod events;
mod export;
mod health;
mod hints;
mod image;
mod log;
mod logs;
mod mounts;
#[cfg(test)]
#[path = "../../shared/tests/mutation/mod.rs"]
mod mutation;
mod net;
mod notify;
mod pidfile;
mod plan;
mod preserve;
mod profile;
mod replace;
mod restart;
mod rlimit;
mod root;
mod run;
mod seccomp;
mod security;
mod service;
mod signals;
mod spawn;
mod spec;
mod status;
mod store;
mod sys;
mod terminal;
mod timings;
mod unit;
mod units;
mod user;
mod userns;

use clap::CommandFactory;
use clap::error::ErrorKind;
use cli::{Cli, Command, LogLevel, Misread};
use error::Error;
use rustix::fs::{Mode, OFlags};
use std::io::Write;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::time::Instant;

/// Where the C library's `main` leads; returns the exit code.
fn nsl() -> u8 {
    let begun = Instant::now();
    let stdout_is_open = match open_standard_streams() {
        Ok(opened) => !opened.contains(&1),
        Err(error) => return fail(&Error::io("open /dev/null for a stream that is closed", &error.into())),
    };
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(Misread::Words(error)) => return misread(&error),
        Err(Misread::Profile(error)) => return fail(&error),
    };
    let result = match cli.command {
        Command::Run(arguments) if arguments.print_profile => {
            profile::print(arguments.merged.as_deref().unwrap_or_default())
        }
        Command::Run(arguments) => timings::start(&arguments, begun).and_then(|()| {
            log::start(arguments.log_level);
            run::run(&arguments)
        }),
        Command::Ps(arguments) => service::ps(&arguments),
        Command::Logs(arguments) => service::logs(&arguments),
        Command::Top(arguments) => service::top(&arguments),
        Command::Exec(arguments) => {
            log::start(arguments.log_level);
            service::exec(&arguments)
        }
        Command::Inspect(arguments) => service::inspect(&arguments),
        Command::Stop(arguments) => service::stop(&arguments),
        Command::Kill(arguments) => service::kill(&arguments),
        Command::Wait(arguments) => service::wait(&arguments),
        Command::Rm(arguments) => service::rm(&arguments),
        Command::Unit(arguments) => unit::unit(&arguments),
        Command::Diff(arguments) => {
            log::start(LogLevel::Warn);
            changes::diff(&arguments)
        }
        Command::Apply(arguments) => {
            log::start(LogLevel::Warn);
            changes::apply(&arguments)
        }
        Command::Init(arguments) => export::export(&arguments, stdout_is_open).map(|()| 0),
        Command::Clean(_) => {
            log::start(LogLevel::Warn);
            clean::clean().map(|()| 0)
        }
    };
    let code = result.as_ref().map_or_else(fail, |code| *code);
    timings::tell(result.as_ref().err());
    code
}

/// The test harness takes this one's place; it keeps the rest from being dead code there.
#[cfg(test)]
fn main() {
    std::process::exit(nsl().into());
}

/// A stream that the caller has closed becomes /dev/null: another file in its place would be taken for it. Returns the
/// numbers of those that were closed.
fn open_standard_streams() -> rustix::io::Result<Vec<RawFd>> {
    let mut opened = Vec::new();
    loop {
        let file = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
        if file.as_raw_fd() > 2 {
            return Ok(opened);
        }
        opened.push(file.into_raw_fd());
    }
}

fn fail(error: &Error) -> u8 {
    // Where nobody can be told, the exit code says it.
    let _ = writeln!(std::io::stderr(), "nsl: {error}");
    error.exit_code()
}

/// Help and version are answers; everything else is one line like any other failure.
fn misread(error: &clap::Error) -> u8 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return 0;
    }
    let cause = cli::cause(error);
    let hint = match (cli::suggestion(error), error.kind()) {
        (Some(suggestion), _) => format!("did you mean {suggestion}?"),
        (None, kind) => {
            let word = std::env::args_os().nth(1).and_then(|word| word.into_string().ok());
            let known = |word: &String| Cli::command().find_subcommand(word).is_some();
            match word.filter(|word| *word != "run" && known(word)) {
                Some(subcommand) => format!("see nsl {subcommand} --help"),
                None if kind == ErrorKind::MissingRequiredArgument => "nsl run -- bash".to_owned(),
                None => "see nsl run --help".to_owned(),
            }
        }
    };
    fail(&Error::new("read the command line", cause).hint(hint))
}
