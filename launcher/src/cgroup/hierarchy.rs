//! What is in sight of the cgroup hierarchy: where it is mounted, which cgroup is nsl's own, what that one and those
//! above it allow (the kernel's cgroup-v2 document). Reads, and changes nothing.

use super::place::{self, Controllers, Holds, Level};
use crate::error::{Error, Result};
use crate::hints;
use procfs::ProcResult;
use procfs::process::{MountInfo, Process};
use rustix::fs::Access;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The directory to make the sandbox's cgroup in.
pub struct Place {
    pub directory: PathBuf,
    /// Its path in the hierarchy, for messages.
    pub name: String,
    /// nsl must leave it, for a cgroup below.
    pub step_aside: bool,
}

/// Finds it, or says what is missing, and the mend.
pub fn find(wanted: Controllers) -> Result<Place> {
    let step = step(wanted.first());
    let (own, in_v1) = own_cgroup().map_err(|error| Error::new(step, error.to_string()).hint(hints::PROC))?;
    let in_v1 = wanted.without(wanted.without(in_v1));
    let own = match own {
        Some(own) if in_v1.is_empty() => own,
        _ if in_v1.is_empty() => return Err(hints::cgroup_v1(step, in_v1)),
        _ => return Err(hints::cgroup_v1(self::step(in_v1.first()), in_v1)),
    };
    let mounts = mounts().map_err(|error| Error::new(step, error.to_string()).hint(hints::PROC))?;
    let Some((mount, directory)) = in_sight(&mounts, &own) else {
        return Err(hints::cgroup_out_of_sight(step, !mounts.is_empty()));
    };
    if [&mount.mount_options, &mount.super_options].iter().any(|options| options.contains_key("ro")) {
        return Err(hints::cgroup_read_only(step, &mount.mount_point));
    }
    let directories: Vec<_> = directory.ancestors().take_while(|path| path.starts_with(&mount.mount_point)).collect();
    let levels = directories.iter().map(|path| level(path)).collect::<std::io::Result<Vec<_>>>();
    let levels = levels.map_err(|error| Error::io(step, &error))?;
    let name = |index: usize| {
        let name = own.ancestors().nth(index).unwrap_or(Path::new("/"));
        name.display().to_string()
    };
    match place::choose(&levels, wanted) {
        Ok(choice) => Ok(Place {
            directory: directories[choice.level].to_path_buf(),
            name: name(choice.level),
            step_aside: choice.step_aside,
        }),
        Err(refusal) => Err(hints::no_cgroup(self::step, wanted, refusal, name)),
    }
}

/// Completes "cannot …" where a limit by this controller cannot be set.
fn step(controller: Controllers) -> &'static str {
    match controller {
        Controllers::MEMORY => "limit the memory",
        Controllers::CPU => "limit the CPUs",
        Controllers::PIDS => "limit the processes",
        _ => "limit the sandbox",
    }
}

/// Where the cgroup of another process lies, if it is not nsl's own as well.
pub struct Other {
    /// Its path in the hierarchy.
    pub name: PathBuf,
    /// None where no mount shows it.
    pub directory: Option<PathBuf>,
}

pub fn other(pid: u32) -> ProcResult<Option<Other>> {
    let (own, _) = cgroup_of(&Process::myself()?)?;
    match cgroup_of(&Process::new(pid.cast_signed())?)? {
        (Some(name), _) if own.as_ref() != Some(&name) => {
            let directory = in_sight(&mounts()?, &name).map(|(_, directory)| directory);
            Ok(Some(Other { name, directory }))
        }
        _ => Ok(None),
    }
}

fn own_cgroup() -> ProcResult<(Option<PathBuf>, Controllers)> {
    cgroup_of(&Process::myself()?)
}

/// The path of the cgroup of a process, none without cgroup v2; and the controllers that cgroup v1 has taken.
fn cgroup_of(process: &Process) -> ProcResult<(Option<PathBuf>, Controllers)> {
    let (mut own, mut in_v1) = (None, Controllers::default());
    for cgroup in process.cgroups()? {
        if cgroup.hierarchy == 0 {
            own = Some(PathBuf::from(cgroup.pathname));
        } else {
            in_v1 = cgroup.controllers.iter().map(|name| Controllers::named(name)).fold(in_v1, Controllers::and);
        }
    }
    Ok((own, in_v1))
}

/// The mounts of cgroup v2, the latest first, which hides others; those that are hidden themselves left out.
fn mounts() -> ProcResult<Vec<MountInfo>> {
    let device = |path: &Path| {
        let device = fs::metadata(path).ok()?.dev();
        Some(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
    };
    let mounts = Process::myself()?
        .mountinfo()?
        .into_iter()
        .filter(|mount| mount.fs_type == "cgroup2" && device(&mount.mount_point).as_ref() == Some(&mount.majmin));
    let mut mounts: Vec<_> = mounts.collect();
    mounts.reverse();
    Ok(mounts)
}

/// A mount that shows the cgroup `own`, and where.
fn in_sight<'a>(mounts: &'a [MountInfo], own: &Path) -> Option<(&'a MountInfo, PathBuf)> {
    mounts.iter().find_map(|mount| {
        // Beyond the root of a cgroup namespace there are paths that begin with "/..", which mean another's.
        let below = own.strip_prefix(&mount.root).ok().filter(|_| !own.starts_with("/.."))?;
        let directory = mount.mount_point.join(below);
        directory.is_dir().then_some((mount, directory))
    })
}

fn level(path: &Path) -> std::io::Result<Level> {
    let read = |file: &str| fs::read_to_string(path.join(file));
    let may_write = |file: &str| rustix::fs::access(path.join(file), Access::WRITE_OK).is_ok();
    // Only the root of all has no such file.
    let kind = read("cgroup.type").ok();
    let is_root = kind.is_none();
    Ok(Level {
        available: Controllers::parse(&read("cgroup.controllers")?),
        enabled: Controllers::parse(&read("cgroup.subtree_control")?),
        is_writable: ["", "cgroup.procs", "cgroup.subtree_control"].into_iter().all(may_write),
        is_root,
        is_domain: kind.is_none_or(|kind| kind.trim() == "domain"),
        holds: if is_root { Holds::Others } else { holds(&read("cgroup.procs").unwrap_or("?".to_owned())) },
    })
}

/// Of the contents of cgroup.procs; a process of another PID namespace is a 0 there.
fn holds(processes: &str) -> Holds {
    let own = std::process::id().to_string();
    match processes.lines().next() {
        None => Holds::Nobody,
        Some(_) if processes.lines().all(|pid| pid == own) => Holds::NslAlone,
        Some(_) => Holds::Others,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_a_cgroup_is_told_by_number() {
        let own = std::process::id();
        assert_eq!(holds(""), Holds::Nobody);
        assert_eq!(holds(&format!("{own}\n")), Holds::NslAlone);
        assert_eq!(holds(&format!("{own}\n1\n")), Holds::Others);
        assert_eq!(holds("0\n"), Holds::Others);
    }
}
