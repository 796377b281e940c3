//! Did you mean …? The name of a list that a word was meant to be.

use super::Cli;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, Error};

/// The name that `word` is but a slip or two away from, whatever its case: letters left out, added, exchanged or changed.
/// clap's own suggestions miss those of three letters.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let slips = |name: &'a str| (strsim::osa_distance(&word, &name.to_ascii_lowercase()), name);
    let nearest = names.into_iter().map(slips).min_by_key(|(slips, _)| *slips);
    let most = match word.len() {
        0 | 1 => 0,
        2..=5 => 1,
        _ => 2,
    };
    nearest.filter(|(slips, _)| *slips <= most).map(|(_, name)| name)
}

/// A hint of that name; else of what there is.
pub fn hint<'a>(word: &str, names: impl IntoIterator<Item = &'a str>, otherwise: impl Into<String>) -> String {
    match nearest(word, names) {
        Some(name) => format!("did you mean {name}?"),
        None => otherwise.into(),
    }
}

/// What a word of the command line was meant to be: a subcommand, an option of `subcommand`, a value. clap's own idea
/// comes first.
pub fn meant(error: &Error, subcommand: &str) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(one)) => Some(one.as_str()),
        Some(ContextValue::Strings(many)) => many.first().map(String::as_str),
        _ => None,
    };
    let clap_s = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    if let Some(name) = clap_s.into_iter().find_map(text) {
        return Some(name.to_owned());
    }
    let cli = Cli::command();
    match (error.kind(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidSubcommand, _) => {
            let names = cli.get_subcommands().map(Command::get_name);
            nearest(text(ContextKind::InvalidSubcommand)?, names).map(str::to_owned)
        }
        (ErrorKind::UnknownArgument, _) => {
            let word = text(ContextKind::InvalidArg)?.trim_start_matches('-');
            let options = cli.find_subcommand(subcommand)?.get_arguments().filter(|arg| !arg.is_hide_set());
            nearest(word, options.filter_map(Arg::get_long)).map(|long| format!("--{long}"))
        }
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(valid))) => {
            nearest(text(ContextKind::InvalidValue)?, valid.iter().map(String::as_str)).map(str::to_owned)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_another_word_is_not() {
        let names = ["NET_ADMIN", "NET_RAW", "SYS_ADMIN", "KILL"];
        let near = |word| nearest(word, names);
        assert_eq!(near("NET_ADMN"), Some("NET_ADMIN"));
        assert_eq!(near("sys-admin"), Some("SYS_ADMIN"));
        assert_eq!(near("KLIL"), Some("KILL"));
        assert_eq!(near("netraw"), Some("NET_RAW"));
        assert_eq!((nearest("rnu", ["rm", "run"]), nearest("ls", ["ps"])), (Some("run"), Some("ps")));
        assert_eq!((near("FLY"), near(""), nearest("x", [])), (None, None, None));
        assert_eq!(hint("FLY", names, "such as KILL"), "such as KILL");
        assert_eq!(hint("KIL", names, "such as KILL"), "did you mean KILL?");
    }
}
