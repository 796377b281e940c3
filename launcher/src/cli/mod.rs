//! The command line as clap reads it: words, no decisions, no I/O. `profile` adds those of profiles, `spec` gives them
//! their meaning.

mod exec;
mod run;
mod service;

pub use exec::Exec;
pub use run::{LogDriver, LogLevel, Namespace, NetworkKind, Proc, Run, TimingsFormat};
pub use service::{Kill, Logs, Names, Ps, Rm, Stop, Top, Unit};

use crate::error::Error;
use crate::profile;
use clap::error::{ContextKind, ContextValue};
use clap::{Args, FromArgMatches, Parser, Subcommand};
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
    /// starts are waited for, make their own and leave it; what cannot be read so is read again for the message.
    pub fn read() -> Result<Self, Misread> {
        let mut words = std::env::args_os().skip(1).peekable();
        let command = match words.peek().and_then(|word| word.to_str()) {
            Some("run") => match alone(words) {
                Some(run) if !Run::has_profile(&run) => Some(Command::Run(Box::new(run))),
                _ => Run::with_profiles()?.map(|run| Command::Run(Box::new(run))),
            },
            Some("exec") => alone(words).map(Command::Exec),
            _ => None,
        };
        if let Some(command) = command {
            return Ok(Self { command });
        }
        Self::try_parse().map_err(Misread::Words)
    }
}

/// Why the command line cannot be read.
pub enum Misread {
    Words(clap::Error),
    Profile(Error),
}

impl From<Error> for Misread {
    fn from(error: Error) -> Self {
        Self::Profile(error)
    }
}

impl Run {
    fn has_profile(&self) -> bool {
        self.print_profile || !self.profiles.is_empty()
    }

    /// The words that nsl was called with, behind those of the profiles that they name. None if they name none.
    fn with_profiles() -> Result<Option<Self>, Misread> {
        let words: Vec<_> = std::env::args_os().skip(2).collect();
        let Some(merged) = profile::merged(&words)? else { return Ok(None) };
        let mut all = [vec![OsString::from("nsl run")], merged.words.clone()].concat();
        if merged.print && !merged.has_command {
            // A profile may do without.
            all.push("true".into());
        }
        let read = Self::augment_args(clap::Command::new("nsl run")).try_get_matches_from(all);
        let run = read.and_then(|mut matches| Self::from_arg_matches_mut(&mut matches)).map_err(Misread::Words)?;
        Ok(Some(Self { merged: Some(merged.words), print_profile: merged.print, ..run }))
    }
}

/// What is wrong, in one line.
pub fn cause(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.map(|line| line.trim_start_matches("error: ")).collect::<Vec<_>>().join(" ")
}

/// The word that may be meant.
pub fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| error.get(kind)).and_then(|value| match value {
        ContextValue::String(one) => Some(one.clone()),
        ContextValue::Strings(many) => many.first().cloned(),
        _ => None,
    })
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
    /// Remove what nsl leaves on this host
    Clean(Clean),
}

#[derive(Args)]
#[command(after_help = "\
Each line is a change against the host as it is now: added, changed, removed, or metadata where only the mode, the \
owner, the time or extended attributes differ. A directory's name ends with a slash; what comes or goes with setuid, \
setgid or file capabilities says so.

Exit status: 0; with --exit-code 1 if there are changes; 125 if nsl itself failed.")]
pub struct Diff {
    /// Write one JSON object (docs/changes.md has its schema)
    #[arg(long, conflicts_with = "content")]
    pub json: bool,

    /// Write what changed in the files too, as a patch
    #[arg(long)]
    pub content: bool,

    /// Exit with 1 if there are changes
    #[arg(long)]
    pub exit_code: bool,

    /// The directory of nsl run --changes
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,

    /// Only these, with all that is below them; relative paths begin at /
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "\
The changes are shown before anything is asked or done. If one of them cannot be applied, because the file was \
changed on this host since the command ran or is not yours to change, nothing is: name the PATHs that you want. A \
file is replaced at once, so nobody ever sees half of it.

Exit status: 0 if all is applied or there was nothing to do; 1 if the answer was no, or something stands against it; \
125 if nsl itself failed, also half-way: it says how far it came, and can be run again.")]
pub struct Apply {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,

    /// The directory of nsl run --changes
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,

    /// Only these, with all that is below them; relative paths begin at /
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "\
The file is static, executable for everybody, and needs nothing else: as the ENTRYPOINT of an image, for podman run \
--init --init-path FILE, for dockerd --init-path FILE, or as the /init of a machine. FILE --help tells what it can \
do.

Its name goes to stdout. A file that is there already is replaced at once, also while it is executed.")]
pub struct Init {
    /// A file, a directory that gets the file nsl-init, or - for stdout
    #[arg(short, long, value_name = "FILE", default_value = "./nsl-init")]
    pub output: PathBuf,
}

#[derive(Args)]
#[command(after_help = "\
A sandbox leaves nothing but what is the same for all: the nftables table inet nsl, which is removed here, unless there \
are sandboxes that it keeps apart. The next one makes it anew. With it go the cgroups and the half-unpacked roots of \
nsl that were killed.

That this host forwards is left as it is, since others may rely on it; the settings are named. Roots that were \
unpacked stay in their store.

Exit status: 0 if nothing is left; 125 if something had to stay, or nsl itself failed.")]
pub struct Clean {}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_into_100_columns_and_is_in_order() {
        let mut cli = Cli::command();
        cli.build();
        for command in cli.get_subcommands_mut() {
            let help = format!("{}\n{}", command.render_help(), command.render_long_help());
            assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        }
        let run = cli.find_subcommand("run").unwrap();
        let mut headings: Vec<_> = run.get_arguments().filter_map(clap::Arg::get_help_heading).collect();
        headings.dedup();
        assert_eq!(headings, ["Root", "Network", "Process", "Life", "Limits", "Security", "Insight", "Profiles"]);
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
