//! nsl: parse, run, exit. The only place where errors are printed.

#![cfg_attr(not(test), no_main)]

mod cgroup;
mod changes;
mod check;
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
use cli::{Cli, Command, LogLevel};
use error::Error;
use nsl_shared::exit;
use profile::Misread;
use rustix::fs::{Mode, OFlags};
use std::error::Error as _;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::time::Instant;

/// Where the C library's `main` leads; returns the exit code.
fn nsl() -> u8 {
    let begun = Instant::now();
    let stdout_is_open = match open_standard_streams() {
        Ok(opened) => !opened.contains(&1),
        Err(error) => return fail(&Error::io("open /dev/null for a stream that is closed", &error.into())),
    };
    let cli = match Cli::read(profile::run) {
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
        Command::Check(arguments) => check::check(&arguments),
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
    log::tell(&error.to_string());
    error.exit_code()
}

/// Help and version are answers, and nsl without a word is told how it is used; everything else is one line like any other
/// failure.
fn misread(error: &clap::Error) -> u8 {
    let exit_code = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => exit::NSL_FAILED,
        _ => return fail(&Error::new("read the command line", cli::cause(error)).hint(how_to_mend(error))),
    };
    let _ = error.print();
    exit_code
}

fn how_to_mend(error: &clap::Error) -> String {
    let word = std::env::args_os().nth(1).and_then(|word| word.into_string().ok()).unwrap_or_default();
    if let Some(hint) = cli::near::habit(error, &word) {
        return hint;
    }
    if let Some(name) = cli::near::meant(error, &word) {
        return format!("did you mean {name}?");
    }
    if let Some(refused) = error.source().and_then(|source| source.downcast_ref::<cli::Refused>()) {
        return refused.hint.clone();
    }
    match (error.kind(), &*word) {
        (ErrorKind::InvalidSubcommand, _) => "a command is run by nsl run -- COMMAND; see nsl --help".to_owned(),
        (ErrorKind::MissingRequiredArgument, "run") if cli::lacks_command(error) => "nsl run -- bash".to_owned(),
        (ErrorKind::UnknownArgument, "unit") => "nsl unit NAME, or nsl unit -- OPTIONS -- COMMAND".to_owned(),
        (_, known) if Cli::command().find_subcommand(known).is_some() => format!("see nsl {known} --help"),
        _ => "see nsl --help".to_owned(),
    }
}
