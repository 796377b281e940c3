//! The launcher's side: writes the maps of a child that waits for them, or has newuidmap and newgidmap do it, and hands
//! it the host's files with owners shifted.

use super::pool::Slot;
use super::ranges::Map;
use super::{By, Identities};
use crate::error::{Error, Result};
use crate::hints;
use crate::log;
use crate::mounts::Kind;
use crate::plan::{Plan, Step};
use crate::status;
use crate::sys;
use nix::errno::Errno;
use nsl_shared::boot;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::OpenTreeFlags;
use rustix::process::{Gid, Uid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tracing::debug;

/// What must be kept as long as the sandbox lives.
pub struct Held {
    _slot: Option<Slot>,
}

/// Gives the child `pid` its ids, and lets it go on; nothing if it needs none of nsl's.
pub fn establish(plan: &Plan, pid: u32, status: BorrowedFd<'_>) -> Result<Option<Held>> {
    let slot = match &plan.identities {
        Identities::Host | Identities::Own => return Ok(None),
        Identities::Granted { users, groups, .. } => {
            run(&By::newuidmap(users), pid)?;
            run(&By::newgidmap(groups), pid)?;
            None
        }
        Identities::Free(pool) => {
            let _step = log::step(pool);
            let slot = pool.take(pid)?;
            write(pid, "uid_map", &slot.users)?;
            write(pid, "gid_map", &slot.groups)?;
            debug!(users = %slot.users, groups = %slot.groups, "the ids are mapped");
            give_pipes(&slot);
            hand_over_trees(plan, pid, status)?;
            Some(slot)
        }
    };
    // A child that is gone has reported why.
    let _ = status::order(status, boot::MAPPED, None);
    Ok(Some(Held { _slot: slot }))
}

fn write(pid: u32, file: &str, map: &Map) -> Result<()> {
    let lines: Vec<_> = map.numbers().map(|numbers| numbers.map(|number| number.to_string()).join(" ")).collect();
    std::fs::write(format!("/proc/{pid}/{file}"), lines.join("\n")).map_err(|error| hints::map(file, &error))
}

/// Lets root inside open the standard streams again, as by /dev/stdout: those that are pipes without a name become its
/// own. Whatever else they are belongs to others too.
fn give_pipes(slot: &Slot) {
    const PIPEFS: u64 = 0x5049_5045;
    let owner = (slot.users.root().map(Uid::from_raw), slot.groups.root().map(Gid::from_raw));
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        if rustix::fs::fstatfs(stream).is_ok_and(|filesystem| filesystem.f_type as u64 == PIPEFS) {
            let _ = rustix::fs::fchown(stream, owner.0, owner.1);
        }
    }
}

/// Runs one of the two programs.
fn run(by: &By<'_>, pid: u32) -> Result<()> {
    let _wait = log::wait(by);
    let By { program, whose, map } = *by;
    let step = || format!("map the {whose} of the sandbox");
    let Some(path) = find(program) else {
        return Err(Error::new(step(), format!("there is no {program}")).hint("apt-get install uidmap"));
    };
    let numbers = map.numbers().flatten().map(|number| number.to_string());
    let output = Command::new(path)
        .args([pid.to_string()].into_iter().chain(numbers))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| Error::io(format!("execute {program}"), &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(hints::map_program(step(), program, &said))
}

/// Where the program is: in the usual places, whatever PATH says, or in PATH.
fn find(program: &str) -> Option<PathBuf> {
    let usual = ["/usr/bin", "/bin", "/usr/local/bin"].map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
    usual.into_iter().chain(others).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// Sends the mounts that the plan needs of the host, with the ids of the sandbox, in the order of their steps.
fn hand_over_trees(plan: &Plan, pid: u32, status: BorrowedFd<'_>) -> Result<()> {
    let file = format!("/proc/{pid}/ns/user");
    let namespace = rustix::fs::open(&*file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::os(format!("open {file}"), Errno::from_raw(errno.raw_os_error())))?;
    for step in &plan.child {
        let (path, flags) = match step {
            Step::HostOverlay { shifted: true } => (Path::new("/"), OpenTreeFlags::empty()),
            Step::DirectoryRoot(path) => (&**path, OpenTreeFlags::AT_RECURSIVE),
            Step::Overlay(path) => (&**path, OpenTreeFlags::empty()),
            Step::Mount(mount) => match &mount.kind {
                Kind::Bind(source) => (&**source, OpenTreeFlags::AT_RECURSIVE),
                Kind::Overlay(source) => (&**source, OpenTreeFlags::empty()),
                Kind::Tmpfs(_) => continue,
            },
            _ => continue,
        };
        let tree = shifted(path, flags, &namespace).map_err(|errno| hints::shifted(path, errno))?;
        if status::order(status, boot::TREE, Some(tree.as_fd())).is_err() {
            break;
        }
    }
    Ok(())
}

fn shifted(path: &Path, flags: OpenTreeFlags, namespace: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, path.as_os_str().as_bytes(), clone | flags)?;
    sys::shift_ids(tree.as_fd(), namespace.as_fd())?;
    Ok(tree)
}
