//! Parts of docs/reference.md: exit status, variables, files and options, as Markdown. What is not in the definitions is
//! written there by hand, around them.

use crate::Files;
use crate::cli::texts;
use crate::init::{self, Help};
use crate::man;
use crate::sections;
use clap::{Arg, Command};
use std::fmt::Write as _;

pub fn parts(nsl: &Command, init: &Help) -> Files {
    let part = |name: &str, text: String| (format!("{name}.md"), text);
    vec![
        part("exit status", exit_status(nsl)),
        part("variables", entries(nsl, "variable", |page| sections::of(page).environment)),
        part("files", entries(nsl, "path", |page| sections::of(page).files)),
        part("options", options(nsl, init)),
    ]
}

/// Subcommands that people see, in the order of the definitions.
fn subcommands(nsl: &Command) -> impl Iterator<Item = &Command> {
    nsl.get_subcommands().filter(|subcommand| !subcommand.is_hide_set())
}

/// Things in order, those that have the same together with all who have it.
fn grouped<T: PartialEq>(entries: impl IntoIterator<Item = (T, String)>) -> Vec<(T, Vec<String>)> {
    let mut groups: Vec<(T, Vec<String>)> = Vec::new();
    for (thing, whose) in entries {
        match groups.iter_mut().find(|(known, _)| *known == thing) {
            Some((_, all)) => all.push(whose),
            None => groups.push((thing, vec![whose])),
        }
    }
    groups
}

fn exit_status(nsl: &Command) -> String {
    let of = |command: &Command| (texts::of(command.get_name()).status, format!("`nsl {}`", command.get_name()));
    let all = subcommands(nsl).map(of).chain([(init::STATUS, "`nsl-init`".to_owned())]);
    let rows = grouped(all).into_iter().map(|(status, whose)| [whose.join(", "), marked(status)]);
    table(["program", "exit status"], rows)
}

type Entries = &'static [(&'static str, &'static str)];

/// What the man pages have in a section, each once, with those who use it.
fn entries(nsl: &Command, what: &str, of: impl Fn(&str) -> Entries) -> String {
    let of_page = |command: &Command| {
        let name = command.get_name().to_owned();
        of(&format!("nsl-{name}")).iter().map(move |entry| (*entry, name.clone()))
    };
    let rows = grouped(subcommands(nsl).flat_map(of_page)).into_iter().map(|((terms, text), whose)| {
        let terms: Vec<_> = terms.split(", ").map(|term| format!("`{term}`")).collect();
        [terms.join(", "), marked(text), whose.join(", ")]
    });
    table([what, "what it is for", "used by nsl …"], rows)
}

fn options(nsl: &Command, init: &Help) -> String {
    let mut text = String::new();
    for command in subcommands(nsl) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let (name, usage) = (command.get_name(), man::usage(command));
        let usage = usage.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        let _ = write!(text, "### nsl {name}\n\n{about}.\n\n```text\n{usage}\n```\n\n");
        let shown: Vec<_> =
            command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "help").collect();
        let by_heading = |arg: &&Arg| (arg.get_help_heading().unwrap_or_default().to_owned(), row(arg));
        let mut headings: Vec<(String, Vec<[String; 2]>)> = Vec::new();
        for (heading, row) in shown.iter().map(by_heading) {
            match headings.iter_mut().find(|(known, _)| *known == heading) {
                Some((_, rows)) => rows.push(row),
                None => headings.push((heading, vec![row])),
            }
        }
        // What has no heading comes first, in the help too.
        headings.sort_by_key(|(heading, _)| !heading.is_empty());
        for (heading, rows) in headings {
            let first = if heading.is_empty() { "option" } else { &*heading };
            text += &(table([first, ""], rows) + "\n");
        }
    }
    let _ = write!(text, "### nsl-init\n\nThe init, by itself.\n\n```text\n{}\n```\n\n", init.usage);
    let rows = init.options.iter().map(|(option, said)| [format!("`{option}`"), marked(said)]);
    text + &table(["option", ""], rows)
}

fn row(arg: &Arg) -> [String; 2] {
    let mut said = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if arg.get_action().takes_values() && !arg.is_hide_default_value_set() {
        for value in arg.get_default_values() {
            let _ = write!(said, " [default: {}]", value.to_string_lossy());
        }
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(said, " [variable: {}]", variable.to_string_lossy());
    }
    [format!("`{}`", label(arg)), marked(&said)]
}

/// The option as it is typed.
fn label(arg: &Arg) -> String {
    let takes_value = arg.is_positional() || arg.get_action().takes_values();
    let value = arg.get_value_names().filter(|_| takes_value).map(|names| names.join(" ")).unwrap_or_default();
    let (short, long) =
        (arg.get_short().map(|short| format!("-{short}")), arg.get_long().map(|long| format!("--{long}")));
    let names = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    match (names.is_empty(), value.is_empty(), arg.is_require_equals_set()) {
        (true, _, _) => value,
        (_, true, _) => names,
        (_, _, true) => format!("{names}[={value}]"),
        (_, _, false) => format!("{names} {value}"),
    }
}

/// Options in the text as code.
fn marked(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let end = word.find(|letter: char| letter != '-' && !letter.is_ascii_alphanumeric()).unwrap_or(word.len());
        let (bare, rest) = word.split_at(end);
        let is_option = bare.starts_with('-') && !bare.trim_start_matches('-').is_empty();
        if is_option { format!("`{bare}`{rest}") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | ")).replace("  ", " ");
    let mut text = line(&head.map(str::to_owned)) + &"|---".repeat(N) + "|\n";
    for row in rows {
        text += &line(&row.map(|cell| cell.replace('|', "\\|")));
    }
    text
}
