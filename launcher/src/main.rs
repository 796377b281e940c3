//! nsl: parse, run, exit. The only place where errors are printed.

mod cli;
mod error;
mod hints;
mod image;
mod log;
mod net;
mod plan;
mod root;
mod run;
mod signals;
mod spawn;
mod spec;
mod status;
mod sys;
mod terminal;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use cli::{Cli, Command};
use error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misread(&error),
    };
    let Command::Run(arguments) = cli.command;
    log::start(arguments.log_level);
    match run::run(&arguments) {
        Ok(code) => code.into(),
        Err(error) => fail(&error),
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("nsl: {error}");
    error.exit_code().into()
}

/// Help and version are answers; everything else is one line like any other failure.
fn misread(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    let cause = lines.map(|line| line.trim_start_matches("error: ")).collect::<Vec<_>>().join(" ");
    let suggestion = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| error.get(kind))
        .and_then(|value| match value {
            ContextValue::String(one) => Some(one.clone()),
            ContextValue::Strings(many) => many.first().cloned(),
            _ => None,
        });
    let hint = match (suggestion, error.kind()) {
        (Some(suggestion), _) => format!("did you mean {suggestion}?"),
        (None, ErrorKind::MissingRequiredArgument) => "nsl run -- bash".to_owned(),
        (None, _) => "see nsl run --help".to_owned(),
    };
    fail(&Error::new("read the command line", cause).hint(hint))
}
