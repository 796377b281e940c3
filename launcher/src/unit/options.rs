//! The options of `nsl run` as they were typed, one by one, without those that a unit does not need.

use crate::cli::Run;
use clap::{Arg, Args, Command};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What systemd does, and the name, which the unit says itself.
const LEFT_OUT: [&str; 3] = ["detach", "restart", "name"];

pub struct Options {
    pub words: Vec<OsString>,
}

impl Options {
    /// `words` are what `run` was read from: options, and the command behind them.
    pub fn new(words: &[OsString], run: &Run) -> Self {
        let table = Run::augment_args(Command::new("nsl"));
        let mut rest = words[..words.len() - run.command.len()].iter();
        let mut kept = Vec::new();
        while let Some(word) = rest.next() {
            let bytes = word.as_bytes();
            if bytes == b"--" {
                break;
            }
            if let Some(long) = bytes.strip_prefix(b"--") {
                let name = long.split(|byte| *byte == b'=').next().unwrap_or_default();
                let arg = find(&table, |arg| arg.get_long().is_some_and(|long| long.as_bytes() == name));
                let value = if takes_value(arg) && name.len() == long.len() { rest.next() } else { None };
                keep(&mut kept, arg, word.clone(), value.cloned());
                continue;
            }
            for (index, letter) in bytes[1..].iter().enumerate() {
                let arg = find(&table, |arg| arg.get_short() == Some(char::from(*letter)));
                let option = OsString::from_vec(vec![b'-', *letter]);
                if takes_value(arg) {
                    let inline = &bytes[index + 2..];
                    let inline = inline.strip_prefix(b"=").unwrap_or(inline);
                    let value = if inline.is_empty() {
                        rest.next().cloned()
                    } else {
                        Some(OsStr::from_bytes(inline).to_owned())
                    };
                    keep(&mut kept, arg, option, value);
                    break;
                }
                keep(&mut kept, arg, option, None);
            }
        }
        Self { words: kept }
    }
}

fn find(table: &Command, is_it: impl Fn(&&Arg) -> bool) -> Option<&Arg> {
    table.get_arguments().find(is_it)
}

fn takes_value(arg: Option<&Arg>) -> bool {
    arg.is_some_and(|arg| arg.get_action().takes_values())
}

fn keep(kept: &mut Vec<OsString>, arg: Option<&Arg>, option: OsString, value: Option<OsString>) {
    if !arg.is_some_and(|arg| LEFT_OUT.contains(&arg.get_id().as_str())) {
        kept.push(option);
        kept.extend(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(words: &str) -> String {
        let words: Vec<OsString> = words.split(' ').map(Into::into).collect();
        let run = crate::cli::read_run(&words).unwrap();
        Options::new(&words, &run).words.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn options_stay_as_they_were_typed_but_for_those_of_a_life_without_systemd() {
        assert_eq!(kept("-d --name web -m 64m -- sleep 9"), "-m 64m");
        assert_eq!(kept("-dm64m -e A=-d --restart=always -v /a:/b sleep -d"), "-m 64m -e A=-d -v /a:/b");
        assert_eq!(kept("--restart on-failure:3 -dp 80:80 --name=x --env=--name -- x"), "-p 80:80 --env=--name");
        assert_eq!(kept("--network none --read-only true --name x"), "--network none --read-only");
    }
}
