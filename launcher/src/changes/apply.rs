//! The story of `nsl apply`: what is to be done, what stands against it, the question, the changes one by one, and
//! what came of them.

use crate::changes::check::{self, Caller};
use crate::changes::entry::Entry;
use crate::changes::list::{line, quoted};
use crate::changes::place::{Leftovers, Placer};
use crate::changes::record::{Interrupted, Key};
use crate::changes::select::Selection;
use crate::changes::walk::{Change, Found, Kind};
use crate::changes::{Directory, put};
use crate::cli::Apply;
use crate::error::{Error, Result, told};
use crate::hints;
use nix::errno::Errno;
use rustix::fs::AtFlags;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What something that stands against it makes of the exit code, and a no.
const NOT_APPLIED: u8 = 1;

pub fn apply(mut directory: Directory, arguments: &Apply) -> Result<u8> {
    crate::sys::ignore_signals_of_writes();
    let step = || format!("apply the changes in {}", arguments.directory.display());
    is_own(&directory).map_err(|errno| {
        Error::os(step(), errno)
            .hint("the directory is another user's, who could change it meanwhile: apply as that user")
    })?;
    let all = directory.walk(&[])?;
    let leftovers = Leftovers::new(&directory.record.id);
    clean(&directory, &leftovers, &all)
        .map_err(|errno| Error::io("remove what an apply left that was killed", &errno.into()))?;
    let pending = all.changes.clone();
    let mut found = all;
    Selection::new(&arguments.paths)?.apply(&mut found)?;
    if found.changes.is_empty() {
        if pending.is_empty() {
            directory.interrupted.removing.clear();
            finish_the_last(&mut directory).map_err(|error| Error::io(step(), &error))?;
        }
        say("nothing to apply\n")?;
        return Ok(0);
    }
    say(&found.changes.iter().fold(String::new(), |text, change| text + &line(change, &found) + "\n"))?;
    refuse(&directory, &found, &step)?;
    if !arguments.yes {
        if !is_wanted(found.changes.len(), &step)? {
            return Ok(NOT_APPLIED);
        }
        // The answer may have taken its time.
        refuse(&directory, &found, &step)?;
    }
    // From here on the host is changed; what it had is noted before.
    directory.remember(&pending);
    note(&mut directory, &found.changes).map_err(|error| Error::io(step(), &error))?;
    let outcome = place_all(&directory, &found, &leftovers);
    settle(&mut directory, &found.changes, &outcome);
    report(&found, &outcome)?;
    Ok(0)
}

fn is_own(directory: &Directory) -> std::result::Result<(), Errno> {
    for descriptor in [&directory.descriptor, &directory.upper] {
        let stat = rustix::fs::fstat(descriptor).map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Errno::EPERM);
        }
    }
    Ok(())
}

fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    told(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Only what was killed leaves something.
fn clean(directory: &Directory, leftovers: &Leftovers, found: &Found) -> rustix::io::Result<()> {
    if directory.was_interrupted {
        leftovers.remove(directory.root.as_fd(), &found.directories)?;
    }
    Ok(())
}

/// Notes what the host has, and what is about to be begun.
fn note(directory: &mut Directory, changes: &[Change]) -> io::Result<()> {
    directory.known.write(directory.descriptor.as_fd())?;
    let made = changes.iter().filter(|change| change.makes_directory()).map(|change| change.path.clone());
    directory.interrupted.making.extend(made);
    directory.interrupted.write(directory.descriptor.as_fd())
}

/// Sets the times that could not be set before all was in its place.
fn finish_the_last(directory: &mut Directory) -> io::Result<()> {
    for path in std::mem::take(&mut directory.interrupted.making) {
        put::set_times(directory.root.as_fd(), directory.upper.as_fd(), &path)?;
    }
    if directory.interrupted.removing.is_empty() {
        return Ok(Interrupted::clear(directory.descriptor.as_fd())?);
    }
    directory.interrupted.write(directory.descriptor.as_fd())
}

/// Tells all that stands against the changes, if anything does.
fn refuse(directory: &Directory, found: &Found, step: &impl Fn() -> String) -> Result<()> {
    let caller = Caller::current();
    let ways: BTreeSet<&Path> = found
        .changes
        .iter()
        .filter(|change| change.new.as_ref().is_some_and(Entry::is_directory))
        .map(|change| &*change.path)
        .collect();
    let mut text = String::new();
    let (mut conflicts, mut refusals) = (0, 0);
    for change in &found.changes {
        let path = quoted(&change.path);
        if let Some(why) = caller.refusal(directory, change, &|path| ways.contains(path)) {
            refusals += 1;
            let _ = writeln!(text, "refused   /{path}: {why}");
        } else if let Some(why) = check::conflict(directory, change) {
            conflicts += 1;
            let _ = writeln!(text, "conflict  /{path}: {why}");
        }
    }
    if conflicts + refusals == 0 {
        return Ok(());
    }
    say(&text)?;
    let counts = match (conflicts, refusals) {
        (0, refusals) => format!("{refusals} refused"),
        (1, 0) => "1 conflict".to_owned(),
        (conflicts, 0) => format!("{conflicts} conflicts"),
        (conflicts, refusals) => format!("{} in conflict or refused", conflicts + refusals),
    };
    let error = Error::new(step(), format!("{counts}; nothing was applied"));
    Err(error.hint("name the PATHs to apply without these").code(NOT_APPLIED))
}

fn is_wanted(count: usize, step: &impl Fn() -> String) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Error::new(step(), "stdin is no terminal, so nobody can be asked").hint("use --yes"));
    }
    let what = if count == 1 { "this change".to_owned() } else { format!("these {count} changes") };
    let mut answer = String::new();
    let question = format!("apply {what}? [y/N] ");
    let asked = io::stderr().write_all(question.as_bytes()).and_then(|()| io::stdin().read_line(&mut answer));
    asked.map_err(|error| Error::io("read the answer", &error))?;
    Ok(matches!(&*answer.trim().to_ascii_lowercase(), "y" | "yes"))
}

/// How far it came.
struct Outcome {
    done: BTreeSet<usize>,
    failure: Option<(rustix::io::Errno, usize)>,
    /// Nothing unfinished stayed.
    is_clean: bool,
    is_interrupted: bool,
}

fn place_all(directory: &Directory, found: &Found, leftovers: &Leftovers) -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        let _ = signal_hook::flag::register(signal, Arc::clone(&stop));
    }
    let (root, upper, links) = (directory.root.as_fd(), directory.upper.as_fd(), found.anchors.clone());
    let begin = |path: &Path| Interrupted::removes(directory.descriptor.as_fd(), path);
    let mut placer = Placer::new(root, upper, &found.changes, links, leftovers, &begin);
    let mut at = 0;
    let mut is_interrupted = false;
    let mut work = || {
        let removed = |change: &Change| change.kind == Kind::Removed;
        let numbered = || found.changes.iter().enumerate();
        for (index, _) in numbered().filter(|(_, change)| !removed(change)) {
            at = index;
            is_interrupted = stop.load(Ordering::Relaxed);
            if is_interrupted {
                return Err(rustix::io::Errno::INTR);
            }
            placer.place(index)?;
        }
        placer.flush()?;
        // The deepest first.
        for (index, _) in numbered().rev().filter(|(_, change)| removed(change)) {
            at = index;
            is_interrupted = stop.load(Ordering::Relaxed);
            if is_interrupted {
                return Err(rustix::io::Errno::INTR);
            }
            placer.remove(index)?;
        }
        placer.finish()
    };
    let failure = work().err();
    let is_clean = failure.is_none() || placer.give_up().is_ok();
    // A file of a batch that failed is the first that has no name yet.
    let first = (0..found.changes.len()).find(|index| !placer.done.contains(index));
    let failure = failure.map(|errno| (errno, first.filter(|first| *first < at).unwrap_or(at)));
    Outcome { done: placer.done, failure, is_clean, is_interrupted }
}

/// Notes what the host has now.
fn settle(directory: &mut Directory, changes: &[Change], outcome: &Outcome) {
    for index in &outcome.done {
        let path = &changes[*index].path;
        match rustix::fs::statat(&directory.root, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => drop(directory.known.0.insert(path.clone(), Key::of(&stat))),
            Err(_) => drop(directory.known.0.remove(path)),
        }
    }
    let noted = directory.known.write(directory.descriptor.as_fd());
    // Else the next apply must know what this one has begun.
    if noted.is_err() || !outcome.is_clean || outcome.failure.is_some() {
        return;
    }
    let Ok(interrupted) = Interrupted::read(directory.descriptor.as_fd()).map(Option::unwrap_or_default) else {
        return;
    };
    directory.interrupted = interrupted;
    for index in &outcome.done {
        directory.interrupted.removing.remove(&changes[*index].path);
    }
    let _ = finish_the_last(directory);
}

fn report(found: &Found, outcome: &Outcome) -> Result<()> {
    let count = found.changes.len();
    let Some((errno, at)) = outcome.failure else {
        let plural = if count == 1 { "" } else { "s" };
        return say(&format!("{count} change{plural} applied\n"));
    };
    let lines = found.changes.iter().enumerate().map(|(index, change)| {
        let word = if outcome.done.contains(&index) { "applied" } else { "not applied" };
        format!("{word:<11} /{}\n", quoted(&change.path))
    });
    say(&lines.collect::<String>())?;
    let path = format!("/{}", quoted(&found.changes[at].path));
    let progress = (outcome.done.len(), count);
    Err(hints::half_applied(&path, Errno::from_raw(errno.raw_os_error()), progress, outcome.is_interrupted))
}
