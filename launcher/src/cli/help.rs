//! The help texts as they are shown: nsl's own on one screen, and each subcommand's, in brief for -h and in full for
//! --help. Made only where somebody reads them; what they say is said by the options themselves and by `texts`.

use super::texts::{self, Text};
use clap::{Arg, ArgAction, Command};
use std::fmt::Write as _;

/// -h tells the first sentence of each option, --help all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Brief,
    Full,
}

const ABOUT: &str = "\
nsl gives a command its own Linux world: namespaces, root, network, a real init.

  nsl run -- bash    a shell on a view of this host, of which nothing stays

Usage: nsl COMMAND [OPTIONS] [ARG]...
";

/// What nsl's help shows under headings. Whatever else there is concerns the host.
const GROUPS: [(&str, &[&str]); 3] = [
    ("", &["run"]),
    (
        "Sandboxes with a name (nsl run -d or --name NAME)",
        &["ps", "logs", "top", "exec", "inspect", "stop", "kill", "wait", "rm"],
    ),
    ("What nsl run --changes kept", &["diff", "apply"]),
];

/// The heading that -h and --help are under where there are headings.
const LAST: &str = "Insight";

const MORE: &str = "
nsl COMMAND -h lists its options, --help explains them; man nsl; nsl --version
";

/// The definitions with their help.
pub fn dress(cli: Command, form: Form) -> Command {
    let overview = overview(&cli);
    cli.bin_name("nsl").override_help(overview).mut_subcommands(|subcommand| of_subcommand(subcommand, form))
}

fn overview(cli: &Command) -> String {
    let mut shown = ABOUT.to_owned();
    for (heading, subcommands) in groups(cli) {
        shown += "\n";
        if !heading.is_empty() {
            let _ = writeln!(shown, "{heading}:");
        }
        for subcommand in subcommands {
            let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(shown, "  {:<9}{about}", subcommand.get_name());
        }
    }
    shown + MORE
}

/// The subcommands under their headings.
pub fn groups(cli: &Command) -> Vec<(&'static str, Vec<&Command>)> {
    let mut rest: Vec<&Command> = cli.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()).collect();
    let mut groups = Vec::new();
    for (heading, names) in GROUPS {
        groups.push((heading, names.iter().filter_map(|name| cli.find_subcommand(name)).collect()));
        rest.retain(|subcommand| !names.contains(&subcommand.get_name()));
    }
    rest.sort_unstable_by_key(|subcommand| subcommand.get_name());
    groups.push(("This host", rest));
    groups
}

fn of_subcommand(command: Command, form: Form) -> Command {
    let text = texts::of(command.get_name());
    let has_headings = command.get_arguments().any(|arg| arg.get_help_heading() == Some(LAST));
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help);
    let help = help.help_heading(has_headings.then_some(LAST));
    let command = match text.usage {
        Some(usage) => command.override_usage(usage),
        None => command,
    };
    let help = help.help(if form == Form::Brief { "Show this; --help shows more" } else { "Show this; -h shows less" });
    let more = if form == Form::Brief { String::new() } else { more(text) };
    command.disable_help_flag(true).arg(help).mut_args(|arg| in_form(arg, form)).after_help(more)
}

/// The first sentence of an option's text, or all of it.
fn in_form(arg: Arg, form: Form) -> Arg {
    let Some(text) = arg.get_help().filter(|_| form == Form::Brief).map(ToString::to_string) else { return arg };
    let first = text.split_once(". ").map_or(&*text, |(first, _)| first).to_owned();
    arg.help(first)
}

/// What comes behind the options.
fn more(text: &Text) -> String {
    let mut more = text.notes.join("\n\n");
    if !text.examples.is_empty() {
        more += "\n\nExamples:";
    }
    for (line, what) in text.examples {
        let _ = write!(more, "\n  {line}\n      {what}");
    }
    more + "\n\nExit status: " + text.status
}
