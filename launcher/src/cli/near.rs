//! Did you mean …? The name of a list that a word was meant to be.

use super::Cli;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, Error};

/// The name that `word` is but a slip or two away from, whatever its case: letters left out, added, exchanged or changed.
/// clap's own suggestions miss those of three letters.
pub fn nearest<'a>(word: &str, names: &mut dyn Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut most = match word.len() {
        0 | 1 => return None,
        2..=5 => 1,
        _ => 2,
    };
    let mut nearest = None;
    for name in names {
        let slips = slips(word.as_bytes(), name.as_bytes());
        if slips < most || slips == most && nearest.is_none() {
            (most, nearest) = (slips, Some(name));
        }
    }
    nearest
}

/// How many lead from one word to the other (the optimal string alignment distance).
fn slips(from: &[u8], to: &[u8]) -> usize {
    // Of the beginnings of `from` with none, one and two letters less.
    let (mut old, mut new) = (Vec::new(), (0..=to.len()).collect::<Vec<_>>());
    for row in 0..from.len() {
        let older = old;
        (old, new) = (new, vec![row + 1]);
        for column in 0..to.len() {
            let is_same = |a: usize, b: usize| from[a].eq_ignore_ascii_case(&to[b]);
            let changed = old[column] + usize::from(!is_same(row, column));
            let mut least = changed.min(old[column + 1] + 1).min(new[column] + 1);
            if row > 0 && column > 0 && is_same(row, column - 1) && is_same(row - 1, column) {
                least = least.min(older[column - 1] + 1);
            }
            new.push(least);
        }
    }
    new[to.len()]
}

/// A hint of that name; else of what there is.
pub fn hint(word: &str, names: &mut dyn Iterator<Item = &str>, otherwise: &str) -> String {
    match nearest(word, names) {
        Some(name) => format!("did you mean {name}?"),
        None => otherwise.to_owned(),
    }
}

/// The one name of which `word` is the beginning.
fn begun<'a>(word: &str, names: &mut dyn Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut begun = names.filter(|name| word.len() > 2 && name.starts_with(word));
    begun.next().filter(|_| begun.next().is_none())
}

/// What clap says that an error is about.
fn text(error: &Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(one)) => Some(one),
        Some(ContextValue::Strings(many)) => many.first().map(String::as_str),
        _ => None,
    }
}

/// What a word of the command line was meant to be: a subcommand, an option of `subcommand`, a value. clap's own idea
/// comes before the nearest name, and a beginning before both.
pub fn meant(error: &Error, subcommand: &str) -> Option<String> {
    let text = |kind| text(error, kind);
    let cli = Cli::command();
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(word) = text(ContextKind::InvalidArg)?.strip_prefix("--")
        && let Some(command) = cli.find_subcommand(subcommand)
        && let Some(long) = begun(word, &mut shown(command))
    {
        return Some(format!("--{long}"));
    }
    let clap_s = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    if let Some(name) = clap_s.into_iter().find_map(text) {
        return Some(name.to_owned());
    }
    match (error.kind(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidSubcommand, _) => {
            let mut names = cli.get_subcommands().map(Command::get_name);
            nearest(text(ContextKind::InvalidSubcommand)?, &mut names).map(str::to_owned)
        }
        (ErrorKind::UnknownArgument, _) => {
            let word = text(ContextKind::InvalidArg)?.trim_start_matches('-');
            nearest(word, &mut shown(cli.find_subcommand(subcommand)?)).map(|long| format!("--{long}"))
        }
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(valid))) => {
            nearest(text(ContextKind::InvalidValue)?, &mut valid.iter().map(String::as_str)).map(str::to_owned)
        }
        _ => None,
    }
}

/// The long options that the help lists.
fn shown(command: &Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long)
}

/// What to do instead of what is a habit from elsewhere, or stands in the wrong place.
pub fn habit(error: &Error, subcommand: &str) -> Option<String> {
    let word = text(error, ContextKind::InvalidArg).or_else(|| text(error, ContextKind::InvalidSubcommand))?;
    let is_of_run = |word: &str| {
        let option = word.split('=').next()?.strip_prefix("--")?;
        shown(Cli::command().find_subcommand("run")?).any(|long| long == option).then_some(())
    };
    match (subcommand, word) {
        ("run", "--rm") => Some("leave it out: only with -d or --name does anything stay, for nsl rm".to_owned()),
        ("run", "-i" | "--interactive") => Some("leave it out: stdin is always passed on".to_owned()),
        ("version" | "-v", _) => Some("nsl --version".to_owned()),
        (first, word) if first.starts_with("--") && is_of_run(word).is_some() => {
            Some(format!("an option stands behind its subcommand: nsl run {word}"))
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
        let near = |word| nearest(word, &mut names.into_iter());
        assert_eq!(near("NET_ADMN"), Some("NET_ADMIN"));
        assert_eq!(near("sys-admin"), Some("SYS_ADMIN"));
        assert_eq!(near("KLIL"), Some("KILL"));
        assert_eq!(near("netraw"), Some("NET_RAW"));
        assert_eq!((near("FLY"), near(""), near("x")), (None, None, None));
        assert_eq!(nearest("rnu", &mut ["rm", "run"].into_iter()), Some("run"));
        assert_eq!(nearest("ls", &mut ["ps"].into_iter()), Some("ps"));
        assert_eq!(hint("FLY", &mut names.into_iter(), "such as KILL"), "such as KILL");
        assert_eq!(hint("KIL", &mut names.into_iter(), "such as KILL"), "did you mean KILL?");
    }

    #[test]
    fn slips_are_counted() {
        let slips = |from: &str, to: &str| super::slips(from.as_bytes(), to.as_bytes());
        for (from, to, count) in [("", "", 0), ("", "ab", 2), ("ab", "", 2), ("ab", "BA", 1), ("abc", "axc", 1)] {
            assert_eq!(slips(from, to), count, "{from} {to}");
        }
        assert_eq!((slips("kitten", "sitting"), slips("ca", "abc")), (3, 3));
    }
}
