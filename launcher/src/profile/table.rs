//! The options that there are, from the definitions that clap has of them; no list of them is kept here but what clap does
//! not tell.

use super::layer::Layer;
use crate::cli::{Run, near};
use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, value_parser};
use std::ffi::{OsStr, OsString};

/// What is of the command line alone.
const OF_NO_PROFILE: [&str; 2] = ["profile", "print-profile"];
/// An option, and the one without which it means nothing: the `requires` of the definitions.
pub const WAITING: [(&str, &str); 7] = [
    ("ephemeral", "rootfs"),
    ("gateway", "ip"),
    ("restart", "detach"),
    ("health-interval", "health-cmd"),
    ("health-timeout", "health-cmd"),
    ("health-retries", "health-cmd"),
    ("health-start-period", "health-cmd"),
];
/// They override each other on the command line.
const OVERRIDING: [&str; 2] = ["tty", "no-tty"];

/// What an option takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// Nothing: it is there or not.
    Nothing,
    One,
    /// One each time, and all of them count.
    Many,
    /// Not an option, but the command.
    Command,
}

pub struct Table {
    /// As the command line has them.
    defined: Command,
    /// The same without what is said of several at once, to look at one alone.
    alone: Command,
    /// The same with values of any kind.
    open: Command,
}

/// What a command line says, by itself.
pub struct Given {
    pub layer: Layer,
    pub profiles: Vec<OsString>,
    pub print: bool,
}

impl Table {
    pub fn new() -> Self {
        let all = || Run::augment_args(Command::new("nsl run"));
        // A copy would be as long to make, and more code.
        let alone =
            || all().mut_args(|arg| arg.required(false).conflicts_with(Resettable::Reset).requires(Resettable::Reset));
        let open = alone().mut_args(|arg| {
            let takes = takes(&arg);
            let arg = arg.value_parser(value_parser!(OsString));
            if takes != Takes::Nothing {
                return arg;
            }
            // `--read-only=false` takes back what a profile says.
            arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true")
        });
        let (defined, alone) = (all(), alone());
        Self { defined, alone, open }
    }

    fn arg(&self, index: usize) -> Option<&Arg> {
        self.defined.get_arguments().nth(index)
    }

    /// The number of the option of this name.
    pub fn find(&self, long: &str) -> Option<usize> {
        let is_it = |arg: &Arg| name(arg) == long && !OF_NO_PROFILE.contains(&long);
        self.defined.get_arguments().position(is_it)
    }

    pub fn command(&self) -> usize {
        self.find("command").unwrap_or(usize::MAX)
    }

    pub fn long(&self, index: usize) -> &str {
        self.arg(index).map_or("", name)
    }

    pub fn takes(&self, index: usize) -> Takes {
        self.arg(index).map_or(Takes::Nothing, takes)
    }

    pub fn len(&self) -> usize {
        self.defined.get_arguments().count()
    }

    /// May these two not stand together?
    pub fn conflict(&self, one: usize, other: usize) -> bool {
        let (Some(first), Some(second)) = (self.arg(one), self.arg(other)) else { return false };
        let excludes = |arg, other: &Arg| {
            self.defined.get_arg_conflicts_with(arg).iter().any(|found| found.get_id() == other.get_id())
        };
        let override_each_other = one != other && [first, second].iter().all(|arg| OVERRIDING.contains(&name(arg)));
        excludes(first, second) || excludes(second, first) || override_each_other
    }

    /// Takes words apart; none if that cannot be done.
    pub fn read(&mut self, words: &[OsString]) -> Option<Given> {
        let matches = parse(&mut self.open, words.to_vec()).ok()?;
        let take = |arg: &Arg| {
            let id = arg.get_id().as_str();
            let is_typed = matches.value_source(id) == Some(ValueSource::CommandLine);
            let values = matches.get_raw(id).filter(|_| is_typed)?;
            Some(values.map(OsStr::to_owned).collect::<Vec<_>>())
        };
        let mut given = Given { layer: Layer::default(), profiles: Vec::new(), print: false };
        for (index, arg) in self.defined.get_arguments().enumerate() {
            match (name(arg), take(arg)) {
                (_, None) => {}
                (_, Some(values)) if takes(arg) == Takes::Nothing && !is_boolean(&values) => return None,
                ("profile", Some(values)) => given.profiles = values,
                ("print-profile", Some(values)) => given.print = values == ["true"],
                (_, Some(values)) => given.layer.push((index, values)),
            }
        }
        Some(given)
    }

    /// Says what is wrong with the values of one option, as clap does.
    pub fn check(&mut self, index: usize, values: &[OsString]) -> Result<(), String> {
        let words = self.option(index, values);
        parse(&mut self.alone, words).map(drop).map_err(|error| crate::cli::cause(&error))
    }

    /// Why there is no option of this name, and which one may be meant.
    pub fn unknown(&self, key: &str) -> (String, Option<String>) {
        if OF_NO_PROFILE.contains(&key) {
            return (format!("{key} is for the command line alone"), None);
        }
        let mut names = self.defined.get_arguments().filter_map(Arg::get_long);
        (format!("there is no option '{key}'"), near::nearest(key, &mut names).map(str::to_owned))
    }

    /// One option as words.
    fn option(&self, index: usize, values: &[OsString]) -> Vec<OsString> {
        let long = self.long(index);
        let with = |value: &OsString| {
            let mut word = OsString::from(format!("--{long}="));
            word.push(value);
            word
        };
        match self.takes(index) {
            Takes::Nothing => vec![format!("--{long}").into()],
            Takes::Command => [OsString::from("--")].into_iter().chain(values.iter().cloned()).collect(),
            Takes::One | Takes::Many => values.iter().map(with).collect(),
        }
    }

    /// All of them in the order of the help, the command last.
    pub fn words(&self, layer: &Layer) -> Vec<OsString> {
        let mut words = Vec::new();
        for index in 0..self.len() {
            for (_, values) in layer.iter().filter(|(found, _)| *found == index) {
                words.extend(self.option(index, values));
            }
        }
        words
    }
}

fn name(arg: &Arg) -> &str {
    arg.get_long().unwrap_or(arg.get_id().as_str())
}

fn parse(table: &mut Command, mut words: Vec<OsString>) -> Result<ArgMatches, clap::Error> {
    words.insert(0, "nsl run".into());
    table.try_get_matches_from_mut(words)
}

fn is_boolean(values: &[OsString]) -> bool {
    values == ["true"] || values == ["false"]
}

fn takes(arg: &Arg) -> Takes {
    match arg.get_action() {
        _ if arg.is_positional() => Takes::Command,
        ArgAction::Append => Takes::Many,
        action if action.takes_values() => Takes::One,
        _ => Takes::Nothing,
    }
}
