//! `--profile`: options of `nsl run` that are kept in files. What they say becomes words, as if they had been typed before
//! those of the command line, which clap reads as ever: so a profile can hold any option, and none has a second meaning.
//!
//! Without `--profile` nothing of this is looked at.

mod file;
mod find;
mod layer;
mod paths;
mod table;
mod toml;
mod write;

use crate::cli::Run;
use crate::error::{Error, Result};
use clap::{Args, Command, FromArgMatches};
use layer::Layer;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use table::Table;

/// Where the relative paths of a place begin, and which of them may be relative.
pub struct Base {
    pub directory: PathBuf,
    /// What `~` is; on the command line that is the shell's to know.
    pub home: Option<PathBuf>,
    /// Those of the inside as well.
    pub inside: bool,
}

/// The words of a command line and of the profiles that it names, as one.
pub struct Merged {
    /// Options in the order of the help, `--` and the command.
    pub words: Vec<OsString>,
    pub has_command: bool,
    /// It is to be printed and not to be run.
    pub print: bool,
}

/// The same for the options of `nsl run`; none if they name no profile, or cannot be read.
pub fn merged(words: &[OsString]) -> Result<Option<Merged>> {
    let mut table = Table::new();
    let Some(given) = table.read(words) else { return Ok(None) };
    if given.profiles.is_empty() && !given.print {
        return Ok(None);
    }
    // Where there is no such directory any more, relative paths stay what they are.
    let here = std::env::current_dir().unwrap_or_default();
    let mut all = Layer::default();
    for name in &given.profiles {
        let source = find::find(name, &here)?;
        let step = format!("use the profile {}", source.shown);
        for layer in file::read(&source.text, &mut table).map_err(|fault| fault.into_error(step))? {
            layer::put(&mut all, resolved(layer, &table, &source.base), &table);
        }
    }
    let typed = resolved(given.layer, &table, &Base { directory: here, home: None, inside: false });
    let own: Vec<_> = typed.iter().map(|(index, _)| *index).collect();
    layer::put(&mut all, typed, &table);
    layer::leave_what_waits(&mut all, &own, &table);
    let has_command = layer::holds(&all, table.command());
    Ok(Some(Merged { words: table.words(&all), has_command, print: given.print }))
}

/// Why a command line cannot be read.
pub enum Misread {
    Words(clap::Error),
    Profile(Error),
}

impl From<clap::Error> for Misread {
    fn from(error: clap::Error) -> Self {
        Self::Words(error)
    }
}

/// The options of the `nsl run` that was called; none if its words name no profile.
pub fn run() -> std::result::Result<Option<Run>, Misread> {
    let words: Vec<_> = std::env::args_os().skip(2).collect();
    let Some(merged) = merged(&words).map_err(Misread::Profile)? else { return Ok(None) };
    let mut all = [vec![OsString::from("nsl run")], merged.words.clone()].concat();
    if merged.print && !merged.has_command {
        // A profile may do without.
        all.push("true".into());
    }
    let mut matches = Run::augment_args(Command::new("nsl run")).try_get_matches_from(all)?;
    let run = Run::from_arg_matches_mut(&mut matches)?;
    Ok(Some(Run { merged: Some(merged.words), print_profile: merged.print, ..run }))
}

fn resolved(mut layer: Layer, table: &Table, base: &Base) -> Layer {
    for (index, values) in &mut layer {
        for value in values {
            if let Some(path) = paths::resolved(table.long(*index), value.as_bytes(), base) {
                *value = path;
            }
        }
    }
    layer
}

/// Writes what was merged to stdout, as a profile.
pub fn print(words: &[OsString]) -> Result<u8> {
    let mut table = Table::new();
    let layer = table.read(words).map(|given| given.layer).unwrap_or_default();
    let text = write::toml(&layer, &table)?;
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map(|()| 0).map_err(|error| Error::io("write the profile", &error))
}

/// A path of the host or of the inside, from `base` on.
fn at(base: &Path, path: &Path) -> PathBuf {
    use std::path::Component::{CurDir, ParentDir};
    let mut at = base.to_owned();
    let mut parts = path.components().peekable();
    // In `base` there are no links; behind a name of the path, `..` is the kernel's to follow.
    while let Some(part) = parts.next_if(|part| matches!(part, CurDir | ParentDir)) {
        if part == ParentDir {
            at.pop();
        }
    }
    at.extend(parts);
    at
}

#[cfg(test)]
mod tests;
