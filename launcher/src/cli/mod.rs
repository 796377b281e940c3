//! The command line as clap reads it: words, no decisions, no I/O. `profile` adds those of profiles, `spec` gives them
//! their meaning.

mod check;
mod exec;
pub mod help;
pub mod near;
mod quick;
mod run;
mod service;
pub mod texts;

pub use check::Check;
pub use exec::Exec;
pub use run::{LogDriver, LogLevel, Namespace, NetworkKind, Proc, Refused, Run, TimingsFormat};
pub use service::{Kill, Logs, Names, Ps, Rm, Stop, Top, Unit};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use help::Form;
use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::path::PathBuf;

/// Give a command its own Linux world: namespaces, root, network and a real init.
#[derive(Parser)]
#[command(name = "nsl", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The words that nsl was called with.
    ///
    /// clap makes a table of every option of every subcommand, and takes it apart again. `nsl run` and `nsl exec`, whose
    /// starts are waited for, do without, or make their own and leave it; what cannot be read so is read again for the
    /// message.
    ///
    /// `with_profiles` gives the options where some come from profiles, and none where the words name none.
    pub fn read<E: From<clap::Error>>(with_profiles: impl FnOnce() -> Result<Option<Run>, E>) -> Result<Self, E> {
        let mut words = std::env::args_os().skip(1).peekable();
        let command = match words.peek().and_then(|word| word.to_str()) {
            Some("run") => {
                let read = quick::read(std::env::args_os().skip(2)).or_else(|| alone(words));
                let run = match read.filter(|run| !run.has_profile()) {
                    None => with_profiles()?,
                    run => run,
                };
                run.map(|run| Command::Run(Box::new(run)))
            }
            Some("exec") => alone(words).map(Command::Exec),
            _ => None,
        };
        if let Some(command) = command {
            return Ok(Self { command });
        }
        let words = asked_for_help(std::env::args_os().collect());
        let read = Self::try_parse_from(words.clone()).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                let form = if words.iter().any(|word| word == "--help") { Form::Full } else { Form::Brief };
                help::dress(Self::command(), form).try_get_matches_from(words).err().unwrap_or(error)
            }
            _ => error,
        });
        read.map_err(E::from)
    }
}

impl Run {
    fn has_profile(&self) -> bool {
        self.print_profile || !self.profiles.is_empty()
    }
}

/// `nsl help run` is `nsl run --help`.
fn asked_for_help(mut words: Vec<OsString>) -> Vec<OsString> {
    if words.get(1).is_some_and(|word| word == "help") {
        words.remove(1);
        words.truncate(2);
        if words.last().is_some_and(|word| word == "help") {
            words.pop();
        }
        words.push("--help".into());
    }
    words
}

/// The options of `nsl run`, without that name; or what is wrong with them.
pub fn read_run(words: &[OsString]) -> Result<Run, String> {
    let read = |first: &[&str]| {
        let all = first.iter().map(OsString::from).chain(words.iter().cloned());
        let mut matches = Run::augment_args(clap::Command::new("nsl run")).try_get_matches_from(all)?;
        Run::from_arg_matches_mut(&mut matches)
    };
    // What takes --detach is of use without, where somebody else does that part.
    read(&["run"]).or_else(|error| read(&["run", "--detach"]).map_err(|_| error)).map_err(|error| cause(&error))
}

/// What is wrong, in one line, without clap's advice.
pub fn cause(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.map(|line| line.trim_start_matches("error: ")).collect::<Vec<_>>().join(" ")
}

/// Is it the command that is missing, not an option that another one needs?
pub fn lacks_command(error: &clap::Error) -> bool {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.iter().any(|name| name.starts_with('<')),
        _ => false,
    }
}

/// The options of one subcommand, whose name is the first word.
fn alone<T: Args>(words: impl Iterator<Item = OsString>) -> Option<T> {
    let mut table = ManuallyDrop::new(T::augment_args(clap::Command::new("nsl")));
    let matches = table.try_get_matches_from_mut(words).ok()?;
    T::from_arg_matches_mut(&mut ManuallyDrop::new(matches)).ok()
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a command in a world of its own
    Run(Box<Run>),
    /// List the sandboxes with a name
    Ps(Ps),
    /// Print what the command of a sandbox wrote
    Logs(Logs),
    /// Show what a sandbox and its processes use, again and again
    Top(Top),
    /// Execute one more command in a sandbox that runs
    Exec(Exec),
    /// Show all that is known of sandboxes
    Inspect(Names),
    /// Ask sandboxes to end, and kill those that do not in time
    Stop(Stop),
    /// Send a signal to the commands of sandboxes
    Kill(Kill),
    /// Wait until sandboxes have ended, and print their exit codes
    Wait(Names),
    /// Remove what is left of sandboxes that have ended
    Rm(Rm),
    /// Write a unit of systemd's for a sandbox
    Unit(Unit),
    /// Show what nsl run --changes kept
    Diff(Diff),
    /// Bring what nsl run --changes kept onto this host
    Apply(Apply),
    /// Write nsl-init to a file, as the init of an image or a machine
    Init(Init),
    /// Tell what this host allows, and what mends it
    Check(Check),
    /// Remove what nsl leaves on this host
    Clean(Clean),
}

#[derive(Args)]
pub struct Diff {
    /// Write one JSON object. docs/changes.md has its schema
    #[arg(long, conflicts_with = "content")]
    pub json: bool,

    /// Write a patch: also what changed in the files
    #[arg(long)]
    pub content: bool,

    /// Exit with 1 if there are changes
    #[arg(long)]
    pub exit_code: bool,

    /// The directory of nsl run --changes
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,

    /// Only these, with all that is below them. Relative paths begin at /
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

#[derive(Args)]
pub struct Apply {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,

    /// The directory of nsl run --changes
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,

    /// Only these, with all that is below them. Relative paths begin at /
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

#[derive(Args)]
pub struct Init {
    /// File to write, or its directory, or - for stdout
    #[arg(short, long, value_name = "FILE", default_value = "./nsl-init")]
    pub output: PathBuf,
}

#[derive(Args)]
pub struct Clean {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    /// What is shown where there is no terminal, 100 columns wide.
    fn helps(form: Form) -> Vec<(String, String)> {
        let mut cli = help::dress(Cli::command(), form);
        cli.build();
        cli.get_subcommands_mut().map(|each| (each.get_name().to_owned(), each.render_help().to_string())).collect()
    }

    #[test]
    fn nsls_own_help_fits_a_screen() {
        let help = help::dress(Cli::command(), Form::Brief).render_help().to_string();
        assert!(help.lines().count() <= 30 && help.lines().all(|line| line.chars().count() <= 80), "{help}");
        for subcommand in Cli::command().get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
            assert!(help.contains(&format!("\n  {:<9}", subcommand.get_name())), "{help}");
        }
    }

    #[test]
    fn help_fits_into_100_columns_and_in_brief_has_one_line_for_each_option() {
        for (name, help) in [helps(Form::Brief), helps(Form::Full)].concat() {
            assert!(help.lines().all(|line| line.chars().count() <= 100), "{name}: {help}");
        }
        for (name, help) in helps(Form::Brief) {
            let second = help.lines().find(|line| line.starts_with("         "));
            assert_eq!(second, None, "{name}: {help}");
        }
    }

    #[test]
    fn options_of_run_have_headings_in_order() {
        let cli = help::dress(Cli::command(), Form::Full);
        let run = cli.find_subcommand("run").unwrap();
        let mut headings: Vec<_> = run.get_arguments().filter_map(clap::Arg::get_help_heading).collect();
        headings.dedup();
        let expected =
            ["Root", "Network", "Process", "Life", "Limits", "Security", "Namespaces", "Profiles", "Insight"];
        assert_eq!(headings, expected);
        assert!(run.get_opts().all(|option| option.get_help_heading().is_some()));
    }

    #[test]
    fn each_subcommand_has_a_text_and_its_examples_are_command_lines_of_it() {
        for subcommand in Cli::command().get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
            let name = subcommand.get_name();
            assert!(!texts::of(name).notes.is_empty(), "{name} has no text");
            for (line, _) in texts::of(name).examples {
                let words = line.split(' ').take_while(|word| !word.starts_with('>'));
                let parsed = Cli::try_parse_from(words).map(drop);
                assert!(parsed.is_ok() && line.starts_with(&format!("nsl {name} ")), "{line}: {parsed:?}");
            }
        }
    }

    #[test]
    fn help_is_a_word_too() {
        let asked = |words: &str| {
            let words = asked_for_help(words.split(' ').map(OsString::from).collect());
            words.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(asked("nsl help"), "nsl --help");
        assert_eq!(asked("nsl help run"), "nsl run --help");
        assert_eq!(asked("nsl help run -- x"), "nsl run --help");
        assert_eq!(asked("nsl help help"), "nsl --help");
        assert_eq!(asked("nsl run help x"), "nsl run help x");
        assert_eq!(asked("nsl"), "nsl");
    }

    fn run(words: &[&str]) -> Run {
        let Command::Run(run) = Cli::parse_from(["nsl", "run"].iter().chain(words)).command else { panic!("no run") };
        *run
    }

    #[test]
    fn everything_behind_the_command_belongs_to_it() {
        assert_eq!(run(&["--", "bash", "--empty"]).command, ["bash", "--empty"]);
        let given = run(&["--empty", "bash", "--rootfs", "-e"]);
        assert!(given.empty && given.rootfs.is_none());
        assert_eq!(given.command, ["bash", "--rootfs", "-e"]);
    }
}
