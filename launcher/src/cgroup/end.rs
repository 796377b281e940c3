//! The end of a sandbox's cgroup: who is in it is killed, and it is removed. It can begin at any point of the making,
//! and can be repeated: nsl does it, or its guard, or another nsl that comes later.

use super::place::Controllers;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Access, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

type Result<T> = rustix::io::Result<T>;

/// How long a round of waiting for the killed takes at most; where there is no cgroup.kill, each kills again.
const ROUND: Duration = Duration::from_millis(50);
/// How long others may hold the lock of a place. Anybody who can read the directory can take it: it orders what
/// several nsl do at once, and nothing more.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// How long what an earlier nsl left may take to end.
const SWEEP_PATIENCE: Duration = Duration::from_secs(2);
/// Cgroups below a sandbox's, made by a privileged command, are removed down to this depth.
const DEPTH: u32 = 100;
/// The extended attribute of a place that names the controllers which nsl enabled there.
const MARK: &CStr = c"user.nsl.enabled";
/// The end of the name of the cgroup into which nsl stepped aside.
const ASIDE: &str = "-self";

/// What a sandbox needs in the hierarchy; known before any of it is made.
pub struct Remains {
    place: OwnedFd,
    /// The cgroup of the sandbox, in `place`.
    name: String,
    /// The one that nsl itself is in meanwhile.
    aside: Option<String>,
}

impl Remains {
    /// Those of this process in the directory `place`: the first name that is free.
    pub fn new(place: OwnedFd, step_aside: bool) -> Self {
        let own = std::process::id();
        let names = (1_u32..).map(|number| format!("nsl-{own}-{number}"));
        let is_free =
            |name: &String| rustix::fs::accessat(&place, name, Access::EXISTS, AtFlags::empty()) == Err(Errno::NOENT);
        let name = std::iter::once(format!("nsl-{own}")).chain(names.take(100)).find(is_free);
        let name = name.unwrap_or_else(|| format!("nsl-{own}"));
        let aside = step_aside.then(|| format!("{name}{ASIDE}"));
        Self { place, name, aside }
    }

    pub fn place(&self) -> BorrowedFd<'_> {
        self.place.as_fd()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn aside(&self) -> Option<&str> {
        self.aside.as_deref()
    }

    /// Ends and removes it all; those who are killed may take so long.
    pub fn end(&self, patience: Duration) -> Result<()> {
        let removed = remove(self.place(), &self.name, patience);
        let lock = Lock::take(self.place());
        if lock.is_some() {
            disable(self.place(), self.aside());
        }
        let came_back = self.aside().map_or(Ok(()), |aside| leave(self.place(), aside));
        removed.and(came_back)
    }
}

/// The lock of a place: whoever makes or removes cgroups of nsl's in it has it, for a moment.
pub struct Lock(#[expect(dead_code, reason = "the lock is let go with the descriptor")] OwnedFd);

impl Lock {
    /// None if somebody does not let go of it.
    pub fn take(place: BorrowedFd<'_>) -> Option<Self> {
        // A descriptor of its own: one that a fork has copied would keep the lock.
        let directory = open_directory(place, ".").ok()?;
        let began = Instant::now();
        loop {
            match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Some(Self(directory)),
                Err(Errno::WOULDBLOCK) if began.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(_) => return None,
            }
        }
    }
}

/// Removes what others of nsl's left that were killed together with their guards: cgroups whose lock is free. The
/// caller has the lock of the place. Returns how many.
pub fn sweep(place: BorrowedFd<'_>) -> usize {
    let mut removed = 0;
    for name in children(place).unwrap_or_default() {
        if let Some(group) = name.strip_suffix(ASIDE) {
            // It goes if nobody is in it.
            if is_sandbox(group) {
                removed += usize::from(rustix::fs::unlinkat(place, &name, AtFlags::REMOVEDIR).is_ok());
            }
        } else if is_sandbox(&name)
            && let Ok(directory) = open_directory(place, &name)
            && rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            removed += usize::from(remove(place, &name, SWEEP_PATIENCE).is_ok());
        }
    }
    removed
}

/// The same without a sandbox to come: what nsl enabled goes too, unless others use it.
pub fn sweep_alone(place: BorrowedFd<'_>) -> usize {
    let Some(_lock) = Lock::take(place) else { return 0 };
    let removed = sweep(place);
    disable(place, None);
    removed
}

/// Is this the name of a sandbox's cgroup?
pub fn is_sandbox(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix("nsl-").is_some_and(|rest| match rest.split_once('-') {
        None => is_number(rest),
        Some((pid, number)) => is_number(pid) && is_number(number),
    })
}

/// Enables those of `wanted` that are not, and notes them. The caller has the lock of the place.
pub fn enable(place: BorrowedFd<'_>, wanted: Controllers) -> Result<()> {
    let missing = wanted.without(Controllers::parse(&read(place, "cgroup.subtree_control")?));
    if missing.is_empty() {
        return Ok(());
    }
    let mark = mark(place).and(missing).to_string();
    let _ = rustix::fs::fsetxattr(place, MARK, mark.as_bytes(), XattrFlags::empty());
    write(place, "cgroup.subtree_control", &signed('+', missing))
}

/// Disables what nsl has enabled there, unless others are there who may use it. The caller has the lock of the place.
fn disable(place: BorrowedFd<'_>, aside: Option<&str>) {
    let mark = mark(place);
    let is_used = || children(place).map_or(true, |names| names.iter().any(|name| Some(name.as_str()) != aside));
    if !mark.is_empty() && !is_used() && write(place, "cgroup.subtree_control", &signed('-', mark)).is_ok() {
        let _ = rustix::fs::fremovexattr(place, MARK);
    }
}

fn mark(place: BorrowedFd<'_>) -> Controllers {
    let mut text = [0; 64];
    let length = rustix::fs::fgetxattr(place, MARK, &mut text[..]).unwrap_or(0);
    Controllers::parse(&String::from_utf8_lossy(&text[..length]))
}

/// "+memory +cpu"
fn signed(sign: char, controllers: Controllers) -> String {
    controllers.names().map(|name| format!("{sign}{name}")).collect::<Vec<_>>().join(" ")
}

/// Moves who is in `place` itself into the cgroup `aside` in it, which is made.
pub fn step_aside(place: BorrowedFd<'_>, aside: &str) -> Result<()> {
    rustix::fs::mkdirat(place, aside, Mode::RWXU)?;
    let aside = open_directory(place, aside)?;
    move_all(place, aside.as_fd())
}

/// The way back.
fn leave(place: BorrowedFd<'_>, aside: &str) -> Result<()> {
    match open_directory(place, aside) {
        Err(Errno::NOENT) => return Ok(()),
        directory => move_all(directory?.as_fd(), place)?,
    }
    rustix::fs::unlinkat(place, aside, AtFlags::REMOVEDIR)
}

fn move_all(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    for pid in read(from, "cgroup.procs")?.lines() {
        match write(to, "cgroup.procs", pid) {
            // It has ended.
            Err(Errno::SRCH) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Ends who is in a cgroup, and removes it with those below.
fn remove(place: BorrowedFd<'_>, name: &str, patience: Duration) -> Result<()> {
    // As it is when the sandbox's PID namespace has ended.
    match rustix::fs::unlinkat(place, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::BUSY) => {}
        result => return result,
    }
    let began = Instant::now();
    loop {
        let removed = open_directory(place, name).and_then(|directory| {
            // What can't be killed keeps the directory from being removed, and that is told.
            let _ = kill(directory.as_fd(), DEPTH).and_then(|()| wait_for_the_end(directory.as_fd()));
            remove_tree(place, name, DEPTH)
        });
        match removed {
            // Another was quicker.
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(Errno::BUSY) if began.elapsed() < patience => {}
            result => return result,
        }
    }
}

fn remove_tree(place: BorrowedFd<'_>, name: &str, depth: u32) -> Result<()> {
    let directory = open_directory(place, name)?;
    if depth > 0 {
        for child in children(directory.as_fd())? {
            remove_tree(directory.as_fd(), &child, depth - 1)?;
        }
    }
    rustix::fs::unlinkat(place, name, AtFlags::REMOVEDIR)
}

/// Kills all that is in a cgroup and in those below; before Linux 5.14 one by one.
fn kill(directory: BorrowedFd<'_>, depth: u32) -> Result<()> {
    match write(directory, "cgroup.kill", "1") {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    for pid in read(directory, "cgroup.procs")?.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    if depth > 0 {
        for child in children(directory)? {
            kill(open_directory(directory, &child)?.as_fd(), depth - 1)?;
        }
    }
    Ok(())
}

/// Waits until nobody lives in a cgroup, or for one round.
fn wait_for_the_end(directory: BorrowedFd<'_>) -> Result<()> {
    let events = open(directory, "cgroup.events", OFlags::RDONLY)?;
    let began = Instant::now();
    let mut text = [0; 256];
    while let Some(left) = ROUND.checked_sub(began.elapsed()) {
        // It tells of a change after it was read on the same descriptor.
        let length = rustix::io::pread(&events, &mut text[..], 0)?;
        if text[..length].split(|byte| *byte == b'\n').any(|line| line == b"populated 0") {
            break;
        }
        let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        match rustix::event::poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The names of the cgroups in a cgroup.
fn children(directory: BorrowedFd<'_>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if entry.file_type() == FileType::Directory && ![c".", c".."].contains(&entry.file_name()) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

pub fn open_directory(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    open(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
}

fn open(directory: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::openat(directory, name, flags | OFlags::CLOEXEC, Mode::empty())
}

/// The contents of a file of a cgroup.
pub fn read(directory: BorrowedFd<'_>, file: &str) -> Result<String> {
    let mut text = String::new();
    let mut file = File::from(open(directory, file, OFlags::RDONLY)?);
    file.read_to_string(&mut text).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(text)
}

/// Writes one word or line to a file of a cgroup.
pub fn write(directory: BorrowedFd<'_>, file: &str, text: &str) -> Result<()> {
    let mut file = File::from(open(directory, file, OFlags::WRONLY)?);
    file.write_all(text.as_bytes()).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nsl_makes_is_taken_for_its_own() {
        for own in ["nsl-1", "nsl-4194304", "nsl-12-1", "nsl-12-100"] {
            assert!(is_sandbox(own), "{own}");
        }
        for other in ["nsl", "nsl-", "nsl-x", "nsl-1-", "nsl--1", "nsl-1-2-3", "nsl-1.scope", "my-nsl-1", "nsl-1-self"]
        {
            assert!(!is_sandbox(other), "{other}");
        }
    }
}
