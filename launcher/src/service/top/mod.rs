//! `nsl top`: what a sandbox and its processes use, again and again, until somebody has seen enough or it has ended.

mod sample;
mod screen;

use super::entry::Entry;
use super::print;
use crate::cli::Top;
use crate::error::{Error, Result};
use crate::log;
use crate::signals::{Blocked, Signals, stop_self};
use nsl_shared::exit;
use rustix::event::{PollFd, PollFlags, Timespec};
use sample::Sample;
use screen::Screen;
use signal_hook::consts::{SIGCONT, SIGINT, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH};
use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);
/// Until the first figures.
const FIRST: Duration = Duration::from_millis(200);
/// Lines where nobody has a screen.
const ALL: usize = usize::MAX;

pub fn top(options: &Top) -> Result<u8> {
    let name = &options.name;
    let entry = Entry::find_living(name)?;
    let monitor = entry.state.monitor.open()?;
    let monitor = monitor.ok_or_else(|| Error::new(format!("reach {name}"), "it has ended just now"))?;
    let first = Sample::take(&entry);
    if std::io::stdout().is_terminal() {
        return watch(name, &monitor, first);
    }
    wait(&[monitor.as_fd()], Instant::now() + INTERVAL);
    let entry = Entry::find_living(name)?;
    print(&sample::lines(&entry, &first, &Sample::take(&entry), ALL).join("\n")).and_then(|()| print("\n")).map(|()| 0)
}

/// What ends it.
enum End {
    Enough(u8),
    OfTheSandbox,
}

fn watch(name: &str, monitor: &OwnedFd, first: Sample) -> Result<u8> {
    let mut signals = Blocked::new()?.catch()?;
    let mut screen = Screen::new();
    screen.enter();
    let end = show(name, monitor, first, &mut signals, &mut screen);
    screen.leave();
    match end? {
        End::Enough(code) => Ok(code),
        End::OfTheSandbox => {
            log::tell(&format!("{name} has ended"));
            Ok(0)
        }
    }
}

fn show(name: &str, monitor: &OwnedFd, first: Sample, signals: &mut Signals, screen: &mut Screen) -> Result<End> {
    let mut before = first;
    let mut next = Instant::now() + FIRST;
    let mut shown: Option<(Entry, Sample, Sample)> = None;
    loop {
        let stdin = std::io::stdin();
        let keys = screen.has_keys().then(|| stdin.as_fd());
        let waiting: Vec<_> = [monitor.as_fd(), signals.descriptor()].into_iter().chain(keys).collect();
        let ready = wait(&waiting, next);
        if ready[0] {
            return Ok(End::OfTheSandbox);
        }
        if ready.get(2) == Some(&true) && Screen::is_quit() {
            return Ok(End::Enough(0));
        }
        for signal in signals.pending() {
            match signal {
                SIGINT => return Ok(End::Enough(0)),
                SIGTSTP => {
                    screen.leave();
                    stop_self();
                    screen.enter();
                }
                SIGWINCH | SIGCONT | SIGUSR1 | SIGUSR2 => {}
                signal => return Ok(End::Enough(exit::of_signal(signal))),
            }
        }
        if Instant::now() >= next {
            let Ok(entry) = Entry::find_living(name) else { return Ok(End::OfTheSandbox) };
            let now = Sample::take(&entry);
            shown = Some((entry, std::mem::replace(&mut before, now.clone()), now));
            next = Instant::now() + INTERVAL;
        }
        if let Some((entry, before, now)) = &shown {
            let (rows, _) = screen::size();
            Screen::draw(&sample::lines(entry, before, now, rows))?;
        }
    }
}

/// Which of these are ready; none at `deadline`.
fn wait(descriptors: &[BorrowedFd<'_>], deadline: Instant) -> Vec<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut waiting: Vec<_> = descriptors.iter().map(|from| PollFd::new(from, PollFlags::IN)).collect();
    match rustix::event::poll(&mut waiting, Timespec::try_from(left).ok().as_ref()) {
        Ok(_) => waiting.iter().map(|poll| !poll.revents().is_empty()).collect(),
        Err(_) => vec![false; descriptors.len()],
    }
}
