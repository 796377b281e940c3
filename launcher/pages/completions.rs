//! Completions of bash, zsh and fish: clap_complete's, with the values that the definitions do not tell, the names of
//! sandboxes, and in bash the command inside.

use crate::Files;
use crate::capabilities;
use crate::cli::help::{Form, dress};
use crate::cli::{Cli, NetworkKind};
use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_complete::{Generator, Shell};
use nsl_shared::signal::{MAX, Signal};

pub fn all() -> Files {
    [(Shell::Bash, "nsl.bash"), (Shell::Zsh, "_nsl"), (Shell::Fish, "nsl.fish")]
        .map(|(shell, file)| (file.to_owned(), script(shell)))
        .into()
}

fn script(shell: Shell) -> String {
    let mut nsl = dress(Cli::command(), Form::Brief).mut_subcommands(|subcommand| subcommand.mut_args(with_values));
    nsl.set_bin_name("nsl");
    nsl.build();
    let mut bytes = Vec::new();
    shell.generate(&nsl, &mut bytes);
    let script = String::from_utf8_lossy(&bytes).into_owned();
    match shell {
        Shell::Bash => script + &include_str!("nsl.bash").replace("NAMED", &named(&nsl).join(" | ")),
        Shell::Zsh => zsh(&script),
        _ => script + &include_str!("nsl.fish").replace("NAMED", &named(&nsl).join(" ")),
    }
}

/// The subcommands whose NAME is that of a sandbox.
fn named(nsl: &Command) -> Vec<&str> {
    let takes_name = |subcommand: &&Command| subcommand.get_positionals().any(is_name);
    nsl.get_subcommands().filter(takes_name).map(Command::get_name).collect()
}

fn is_name(arg: &Arg) -> bool {
    arg.is_positional() && arg.get_value_names().is_some_and(|names| names[0] == "NAME")
}

/// zsh asks a function for names where the definition has a NAME.
fn zsh(script: &str) -> String {
    let lines = script.lines().map(|line| {
        let name = ["':name -- ", "'*::names -- ", "'::name -- "].iter().any(|start| line.starts_with(start));
        if name { line.replace(":_default'", ":_nsl_names'") + "\n" } else { line.to_owned() + "\n" }
    });
    let script: String = lines.collect();
    match script.rfind("\nif [ \"$funcstack[1]\"") {
        Some(end) => format!("{}{}{}", &script[..end], include_str!("nsl.zsh"), &script[end..]),
        None => script,
    }
}

/// What can be said of an option's value.
fn with_values(arg: Arg) -> Arg {
    let value = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default();
    // A colon ends the name in zsh's specifications.
    let arg = if value.contains(':') { arg.value_name("VALUE") } else { arg };
    let words = |arg: Arg, words: Vec<&'static str>| arg.value_parser(PossibleValuesParser::new(words));
    match (arg.get_id().as_str(), &*value) {
        ("network", _) => words(arg, NetworkKind::WORDS.into()),
        ("cap_add" | "cap_drop", _) => words(arg, [&["ALL"][..], &capabilities::NAMES].concat()),
        ("restart", _) => words(arg, vec!["no", "on-failure", "always", "unless-stopped"]),
        ("userns", _) => words(arg, vec!["auto", "keep-id", "host"]),
        ("user", _) => arg.value_hint(ValueHint::Username),
        (_, "SIGNAL") => words(arg, (1..=MAX).filter_map(Signal::new).filter_map(named_signal).collect()),
        (_, "DIR") => arg.value_hint(ValueHint::DirPath),
        (_, "FILE" | "PATH") => arg.value_hint(ValueHint::FilePath),
        (_, "PROFILE" | "SRC:DST[:ro]" | "ro=PATH,...") => arg.value_hint(ValueHint::AnyPath),
        (_, "COMMAND") => arg.value_hint(ValueHint::CommandWithArguments),
        _ if arg.is_positional() || !arg.get_action().takes_values() => arg,
        _ if arg.get_value_parser().possible_values().is_some() => arg,
        _ => arg.value_hint(ValueHint::Other),
    }
}

/// Real-time signals have no names that one would look for.
fn named_signal(signal: Signal) -> Option<&'static str> {
    let (name, above) = signal.name();
    std::str::from_utf8(name).ok().filter(|_| above.is_none())
}
