//! `nsl run` with the few options that most starts have, read without clap: to describe some seventy options to it, and
//! to have it check them, takes half as long as the child's mounts. Whatever is out of the ordinary is left to clap, which
//! reads it, or says what is wrong.
//!
//! Nothing is defined here: a test holds that what is read here, clap reads the same.

use super::run::{NetworkKind, Run};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The words behind `nsl run`; nothing if clap is to read them.
pub fn read(words: impl Iterator<Item = OsString>) -> Option<Run> {
    // It is an option, too.
    if std::env::var_os("NSL_LOG").is_some() {
        return None;
    }
    let mut run = untouched();
    let mut words = Words(words);
    loop {
        let word = words.0.next()?;
        match word.to_str() {
            Some("--") => break,
            Some("--network") => once(&mut run.network, NetworkKind::parse(words.value()?.to_str()?).ok()?)?,
            Some("-e" | "--env") => run.env.push(words.value()?),
            Some("-v" | "--volume") => run.volumes.push(words.value()?),
            Some("-w" | "--workdir") => once(&mut run.workdir, words.value()?.into())?,
            Some("--hostname") => once(&mut run.hostname, words.value()?)?,
            Some("--rootfs") => once(&mut run.rootfs, words.value()?.into())?,
            Some("--dry-run") if !run.dry_run => run.dry_run = true,
            _ if word.as_bytes().starts_with(b"-") => return None,
            _ => {
                run.command.push(word);
                break;
            }
        }
    }
    run.command.extend(words.0);
    (!run.command.is_empty()).then_some(run)
}

/// What clap makes of a command alone.
fn untouched() -> Run {
    Run {
        health_interval: "30s".to_owned(),
        health_timeout: "30s".to_owned(),
        health_retries: 3,
        health_start_period: "0s".to_owned(),
        stop_timeout: "10s".to_owned(),
        ..Run::default()
    }
}

/// An option that is given twice is a mistake.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

struct Words<I>(I);

impl<I: Iterator<Item = OsString>> Words<I> {
    /// The next one, unless it is empty or looks like an option.
    fn value(&mut self) -> Option<OsString> {
        self.0.next().filter(|value| !value.is_empty() && !value.as_bytes().starts_with(b"-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    const WORDS: [&str; 18] = [
        "--",
        "-",
        "",
        "sh",
        "a=b",
        "a:b",
        "none",
        "veth:x",
        "-e",
        "--env",
        "-v",
        "-w",
        "--workdir",
        "--network",
        "--hostname",
        "--rootfs",
        "--dry-run",
        "--empty",
    ];

    /// False if it was left to clap.
    #[track_caller]
    fn is_read_the_same(words: &[&str]) -> bool {
        let Some(quick) = read(words.iter().map(OsString::from)) else { return false };
        let full = Cli::try_parse_from(["nsl", "run"].iter().chain(words));
        match full.map(|cli| cli.command) {
            Ok(Command::Run(full)) => assert_eq!(*full, quick, "{words:?}"),
            Ok(_) => panic!("{words:?} is no run"),
            Err(error) => panic!("{words:?} was read, and clap says: {error}"),
        }
        true
    }

    #[test]
    fn what_is_read_without_clap_clap_reads_the_same() {
        for words in [
            &["true"][..],
            &["--", "-x", "--", "y"],
            &["sh", "-c", "x", "--", "-e"],
            &["--network", "none", "--", "true"],
            &["-e", "a=b", "--env", "c", "-v", "a:b", "-w", "/", "--hostname", "x", "--rootfs", "r", "sh"],
        ] {
            assert!(is_read_the_same(words), "{words:?}");
        }
        let mut number = 1_u64;
        let mut read = 0;
        for _ in 0..4_000 {
            let mut next = |bound: usize| {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (number >> 33) as usize % bound
            };
            let words: Vec<_> = (0..=next(6)).map(|_| WORDS[next(WORDS.len())]).collect();
            read += u32::from(is_read_the_same(&words));
        }
        assert!(read > 300, "{read}");
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_left_to_clap() {
        for words in [
            &[][..],
            &["--"],
            &["--network", "none"],
            &["--network", "none", "--network", "none", "true"],
            &["--network=none", "true"],
            &["--network", "nonsense", "true"],
            &["-ea=b", "true"],
            &["-w", "", "true"],
            &["-e", "--", "true"],
            &["--empty", "true"],
            &["--help"],
        ] {
            assert!(!is_read_the_same(words), "{words:?}");
        }
    }
}
