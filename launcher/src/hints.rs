//! The one table of hints: what an errno means where its words mislead, and what mends it.

use crate::cgroup::{Controllers, Refusal};
use crate::error::Error;
use crate::mounts::{Kind, Mount};
use crate::plan::{MAKE_NETWORK, Plan, Step};
use crate::store::Fault;
use nix::errno::Errno;
use nsl_shared::boot::InitStep;
use nsl_shared::exit;
use rustix::thread::CapabilitySet;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Why the namespaces could not be made.
pub fn namespaces(plan: &Plan, errno: rustix::io::Errno) -> Error {
    let errno = Errno::from_raw(errno.raw_os_error());
    let names: Vec<_> = plan.cloned().collect();
    namespace(plan, Error::os(format!("create namespaces ({})", names.join(" ")), errno), errno)
}

/// Why the launcher could not make that of the network.
pub fn network_namespace(plan: &Plan, errno: rustix::io::Errno) -> Error {
    let errno = Errno::from_raw(errno.raw_os_error());
    let error = Error::os(MAKE_NETWORK, errno);
    match errno {
        Errno::EPERM if !may_bring_up_links() => error.hint(NO_NET_ADMIN),
        _ => namespace(plan, error, errno),
    }
}

const NO_NET_ADMIN: &str = "this root lacks CAP_NET_ADMIN, by which lo comes up: start the container around nsl with \
     --cap-add NET_ADMIN, or use --network host";

fn may_bring_up_links() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}

fn namespace(plan: &Plan, error: Error, errno: Errno) -> Error {
    match errno {
        Errno::EPERM if plan.identities.is_new() => error.hint(user_namespace_refused()),
        Errno::EPERM | Errno::ENOSYS if is_filtered() => error.hint(FILTERED),
        Errno::EPERM => {
            error.hint("this root lacks CAP_SYS_ADMIN, as in most containers: run nsl outside, or as an ordinary user")
        }
        Errno::ENOSPC | Errno::EUSERS => error.hint(
            "a limit of namespaces is reached: one of the sysctls user.max_*_namespaces is 0 or used up, or user \
             namespaces are nested 32 deep",
        ),
        Errno::EACCES | Errno::EBUSY | Errno::EOPNOTSUPP if plan.limits.is_some() => error
            .hint("nobody may be put into the sandbox's cgroup: see cgroup.type and cgroup.procs of those above it"),
        Errno::EAGAIN => error.hint("a limit of processes is reached: see ulimit -u and kernel.pid_max"),
        Errno::ENOSYS => error.hint("nsl needs Linux 5.11 or newer"),
        Errno::EINVAL => error.hint("the kernel was built without one of these namespaces: nsl check tells more"),
        _ => error,
    }
}

/// Who forbids user namespaces to ordinary users.
fn user_namespace_refused() -> &'static str {
    forbidden_by(is_set, is_filtered())
}

/// The same of what the sysctls say: `is_set` compares one with a value.
fn forbidden_by(is_set: impl Fn(&str, &str) -> bool, is_filtered: bool) -> &'static str {
    if is_set("kernel/apparmor_restrict_unprivileged_userns", "1") {
        APPARMOR
    } else if is_set("kernel/unprivileged_userns_clone", "0") {
        "this kernel forbids user namespaces to ordinary users: sudo sysctl kernel.unprivileged_userns_clone=1"
    } else if is_filtered {
        FILTERED
    } else {
        "user namespaces are forbidden here, by a security module, or because nsl runs in a chroot; nsl check tells more"
    }
}

const APPARMOR: &str =
    "AppArmor forbids user namespaces to ordinary users: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0";
pub const FILTERED: &str = "a seccomp filter forbids it, as that of a container around nsl: start the container with another, \
     as by --security-opt seccomp=unconfined, or the sandbox around nsl with --nested";

fn is_set(sysctl: &str, value: &str) -> bool {
    std::fs::read_to_string(format!("/proc/sys/{sysctl}")).is_ok_and(|text| text.trim() == value)
}

/// Is a seccomp filter in force (proc_pid_status(5), "Seccomp")?
pub fn is_filtered() -> bool {
    has_status("Seccomp:", "2")
}

fn has_status(key: &str, value: &str) -> bool {
    let status = std::fs::read_to_string("/proc/self/status");
    status.is_ok_and(|status| status.lines().any(|line| line.split_whitespace().eq([key, value])))
}

/// Why a map could not be written by nsl itself, which is root.
pub fn map(file: &str, error: &std::io::Error) -> Error {
    let error = Error::io(format!("write the {file} of the sandbox"), error);
    match error.errno() {
        Some(Errno::EPERM | Errno::EINVAL) => error.hint(
            "this root lacks CAP_SETUID or CAP_SETGID, or is in a user namespace without these ids: see \
             /proc/self/uid_map, or use --userns host",
        ),
        _ => error,
    }
}

/// Why newuidmap or newgidmap did not write a map; `said` are its words.
pub fn map_program(step: String, program: &'static str, said: &str) -> Error {
    let said = if said.is_empty() { "it does not say why" } else { said };
    let error = Error::new(step, said.to_owned());
    if has_status("NoNewPrivs:", "1") {
        error.hint(format!("no_new_privs is set here, so that {program} gets no privileges: leave --userns out"))
    } else if said.contains("Operation not permitted") {
        error.hint(format!(
            "{program} must be setuid root, on a file system without nosuid: apt-get install --reinstall uidmap"
        ))
    } else {
        error.hint("see /etc/subuid and /etc/subgid")
    }
}

/// Why the files at `path` can't be seen with other owners.
pub fn shifted(path: &Path, errno: rustix::io::Errno) -> Error {
    let error = Error::os(format!("shift the owners in {}", path.display()), Errno::from_raw(errno.raw_os_error()));
    match errno {
        rustix::io::Errno::INVAL => error
            .hint("the file system, or one mounted below, has no ID-mapped mounts in this kernel: use --userns host"),
        rustix::io::Errno::PERM => {
            error.hint("its owners are shifted already, or it belongs to another user namespace: use --userns host")
        }
        _ => error,
    }
}

/// Why there is no memory file to execute the init from.
pub fn memory_file(errno: Errno) -> Error {
    let error = Error::os("make a memory file for nsl-init", errno);
    match errno {
        Errno::EACCES => error.hint("sysctl vm.memfd_noexec is 2, which forbids it: nsl needs 0 or 1"),
        Errno::EMFILE => error.hint(FILES),
        _ => error,
    }
}

pub const PROC: &str = "/proc is not mounted: mount -t proc proc /proc";

/// Where cgroup v1 has the controllers `taken`, or cgroup v2 is absent.
pub fn cgroup_v1(step: &'static str, taken: Controllers) -> Error {
    let cause = if taken.is_empty() {
        "this host has no cgroup v2".to_owned()
    } else {
        format!("this host has cgroup v1 for {taken}")
    };
    Error::new(step, cause).hint("boot with systemd.unified_cgroup_hierarchy=1")
}

/// Where no mount of cgroup2 shows nsl's own cgroup.
pub fn cgroup_out_of_sight(step: &'static str, is_mounted: bool) -> Error {
    if is_mounted {
        Error::new(step, "the mounted cgroup2 does not show the cgroup that nsl is in")
            .hint("mount a new one: mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    } else {
        Error::new(step, "cgroup2 is not mounted").hint("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    }
}

pub fn cgroup_read_only(step: &'static str, mount_point: &Path) -> Error {
    Error::new(step, format!("cgroup2 is mounted read-only on {}", mount_point.display()))
        .hint("containers have it so, unless they are privileged: limit the outer one, or run nsl outside")
}

/// Where no cgroup is fit to hold the sandbox's; `step` completes "cannot …" for a controller, `name` has the cgroup of a
/// level.
pub fn no_cgroup(
    step: impl Fn(Controllers) -> &'static str,
    wanted: Controllers,
    refusal: Refusal,
    name: impl Fn(usize) -> String,
) -> Error {
    let user = if nix::unistd::geteuid().is_root() { "" } else { "--user " };
    let delegate = if Path::new("/run/systemd/system").exists() {
        format!("systemd-run {user}--scope -p Delegate=yes nsl …")
    } else if user.is_empty() {
        "move nsl into a cgroup that holds nothing else".to_owned()
    } else {
        "root can give you a cgroup: mkdir, chown -R, and start nsl alone in it".to_owned()
    };
    let first = step(wanted.first());
    match refusal {
        Refusal::Absent(controller) => {
            Error::new(step(controller), format!("there is no cgroup controller {controller} here")).hint(
                "a container may lack it; else see cgroup_disable= and cgroup_enable= of the kernel's command line",
            )
        }
        Refusal::NotEnabled(controller, level) => {
            let cause = format!("the controller {controller} is not enabled for {}", name(level));
            Error::new(step(controller), cause).hint(delegate)
        }
        Refusal::NotWritable(level) => {
            Error::new(first, format!("the cgroup {} is not yours to change", name(level))).hint(delegate)
        }
        Refusal::HoldsOthers(level) => {
            Error::new(first, format!("the cgroup {} holds other processes as well", name(level))).hint(delegate)
        }
    }
}

pub const FILES: &str = "nsl needs some fifteen open files: see ulimit -n";
pub const NO_OVERLAY: &str = "the kernel has no overlay: modprobe overlay, or use --rootfs or --empty";

/// Why `nsl init` could not write its file.
pub fn output(file: &Path, error: &std::io::Error) -> Error {
    let error = Error::io(format!("write {}", file.display()), error);
    match error.errno() {
        Some(Errno::ENOENT) => error.hint("its directory must be there"),
        Some(Errno::EACCES | Errno::EPERM) => {
            error.hint("its directory must be writable for you: the file is made there, and then renamed")
        }
        Some(Errno::EBUSY) => error.hint("something is mounted there: unmount it, or write elsewhere"),
        _ => error,
    }
}

/// Why nothing could be noted of a sandbox.
pub fn states(error: Error) -> Error {
    match error.errno() {
        Some(Errno::ENOSPC | Errno::EDQUOT) => error.hint("/run, or XDG_RUNTIME_DIR, is full: see df -h and df -i"),
        Some(Errno::EROFS | Errno::EACCES) => error.hint("states are kept in /run/nsl, or in XDG_RUNTIME_DIR"),
        _ => error,
    }
}

/// Why there can be no log.
pub fn logs(error: Error) -> Error {
    match error.errno() {
        Some(Errno::ENOSPC | Errno::EDQUOT) => error.hint("the disk is full: see df -h and df -i"),
        Some(Errno::EROFS | Errno::EACCES) => error.hint("logs are kept in /var/log/nsl, or in XDG_STATE_HOME"),
        _ => error,
    }
}

/// Why an archive or a layout could not be unpacked.
pub fn unpack(path: &Path, fault: Fault) -> Error {
    let step = format!("unpack {}", path.display());
    match fault {
        Fault::Content(words) => Error::new(step, words),
        Fault::Interrupted => Error::new(step, "a signal came"),
        Fault::System { what, errno } => {
            let error = Error::new(step, format!("{what}: {}", errno.desc()));
            match errno {
                Errno::ENOSPC | Errno::EDQUOT => {
                    error.hint("the store needs more room: remove what is in it, or name another place in NSL_STORE")
                }
                Errno::EROFS | Errno::EACCES => error.hint("NSL_STORE can name a place that is writable for you"),
                Errno::ENOSYS => error.hint("nsl needs Linux 5.12 or newer"),
                _ => error,
            }
        }
    }
}

/// Why a directory cannot keep what is written.
pub fn layer(step: String, errno: rustix::io::Errno) -> Error {
    let errno = Errno::from_raw(errno.raw_os_error());
    let error = Error::os(step, errno);
    match errno {
        Errno::EINVAL => {
            error.hint("it lies on an overlay, as in containers: take a directory on ext4, xfs, btrfs or a tmpfs")
        }
        Errno::EOPNOTSUPP | Errno::EPERM => {
            error.hint("its file system has no extended attributes for overlay: take a directory on ext4, xfs or btrfs")
        }
        _ => error,
    }
}

/// Why not all changes were applied; `progress` is how many were, and of how many.
pub fn half_applied(path: &str, errno: Errno, progress: (usize, usize), is_interrupted: bool) -> Error {
    let (done, all) = progress;
    let step = format!("apply {path}");
    let error = match errno {
        Errno::EINTR if is_interrupted => Error::new(step, "a signal came"),
        Errno::ESTALE => Error::new(step, "it was changed just now"),
        Errno::ELOOP => Error::new(step, "a link leads there now"),
        _ => Error::os(step, errno),
    };
    error.hint(format!("{done} of {all} changes are applied; nsl apply goes on with the rest"))
}

/// A step of the child that failed.
pub fn child_step(plan: &Plan, step: &Step, errno: i32) -> Error {
    let has_changes = plan.child.iter().any(|step| matches!(step, Step::Changes(_)));
    let errno = Errno::from_raw(errno);
    let error = Error::os(step.to_string(), errno);
    match (step, errno) {
        (Step::HostOverlay { .. } | Step::DirectoryOverlay(_) | Step::Overlay(_), Errno::ENODEV) => {
            error.hint(NO_OVERLAY)
        }
        (Step::HostOverlay { shifted: true }, Errno::EPERM) => {
            error.hint("an overlay with shifted owners needs Linux 5.19: use --rootfs or --empty, or --userns host")
        }
        (Step::HostOverlay { .. }, Errno::EPERM) => {
            error.hint("this root is one of a user namespace: use --userns keep-id, or --rootfs or --empty")
        }
        (Step::Overlay(_), Errno::EINVAL) => error
            .hint("this directory can be no lower layer: it lies on an overlay of overlays, or has mounts below it"),
        (Step::HostOverlay { .. }, Errno::EINVAL) if has_changes => error.hint(
            "this root can be no lower layer, or DIR of --changes no upper one: put it on ext4, xfs, btrfs or a tmpfs, \
             not on an overlay, as in containers",
        ),
        (Step::Changes(_), Errno::ESTALE) => error.hint("somebody put another directory in its place just now"),
        (Step::Mount(_), Errno::ENOENT) if has_changes => {
            error.hint("with --changes its target must be there: what nsl made would be kept as the command's")
        }
        (Step::Scratch, Errno::ENOENT) => error.hint("the host has no directory /proc: mkdir /proc"),
        // It lets the namespace be made, and denies what is done in it.
        (
            Step::MapIdentity { .. } | Step::AwaitIdentities { .. } | Step::PrivateMounts | Step::Scratch,
            Errno::EPERM | Errno::EACCES,
        ) if is_set("kernel/apparmor_restrict_unprivileged_userns", "1") => error.hint(APPARMOR),
        (Step::MapIdentity { uid: 0, .. }, Errno::EPERM) => {
            error.hint("root without CAP_SETFCAP may not map itself: the sandbox or container around nsl must give it")
        }
        (Step::MapIdentity { .. }, Errno::ENOENT) => error.hint("/proc is not mounted: mount -t proc proc /proc"),
        (Step::DirectoryRoot(_), Errno::EROFS | Errno::EACCES | Errno::EPERM) => {
            error.hint("the root needs the directories dev, proc and sys; make them first")
        }
        (Step::DirectoryRoot(_), Errno::ENOENT) => error.hint("it was there a moment ago: it was moved or deleted"),
        (Step::DirectoryRoot(_), Errno::ENOTDIR) => {
            error.hint("dev, proc and sys in it must be directories, not links")
        }
        (Step::Devices { .. } | Step::Sys { .. } | Step::Proc, Errno::ENOTDIR | Errno::ELOOP) => {
            error.hint("in the root this must be a directory, not a link")
        }
        (Step::Devices { bound: true, .. }, Errno::ENODEV) => {
            error.hint("one of null, zero, full, random, urandom and tty in the host's /dev is not that device")
        }
        (Step::Landlock(_), Errno::ENOENT) => error.hint("each of these paths must exist inside the sandbox"),
        (Step::Proc, Errno::EPERM) => error.hint(HIDDEN_PROC),
        (Step::Mount(mount), errno) => mount_step(error, mount, errno),
        (Step::PivotRoot, Errno::EINVAL) => {
            error.hint("the first root of a machine, an initramfs, can be no old root: switch_root(8) to another")
        }
        (
            Step::PrivateMounts
            | Step::Scratch
            | Step::HostOverlay { .. }
            | Step::EmptyRoot
            | Step::Devices { .. }
            | Step::Sys { .. }
            | Step::Proc
            | Step::PivotRoot,
            Errno::EPERM | Errno::EACCES | Errno::ENODEV | Errno::EINVAL,
        ) => error.hint(CHECK),
        _ => any_step(error, errno),
    }
}

/// What may befall every step.
fn any_step(error: Error, errno: Errno) -> Error {
    match errno {
        Errno::EMFILE => error.hint(FILES),
        Errno::EAGAIN | Errno::EXDEV => error.hint("somebody renames what lies in the root at this time"),
        Errno::ENOSYS => error
            .hint("nsl needs openat2: Linux 5.11 or newer, and no container around it whose filter forbids the call"),
        Errno::ENOSPC => error.hint("a limit is reached: see the sysctls fs.mount-max and user.max_mnt_namespaces"),
        _ => error,
    }
}

/// Where nothing better is known of a step that no option is about.
const CHECK: &str = "nsl check tells what this host allows";
pub const HIDDEN_PROC: &str = "a container around nsl hides parts of its /proc: start that without (nsl run --nested, or docker \
     run --security-opt systempaths=unconfined), or use --proc host, which shows the processes of the container";

/// A mount that was asked for.
fn mount_step(error: Error, mount: &Mount, errno: Errno) -> Error {
    match (&mount.kind, errno) {
        (_, Errno::EROFS) => error.hint("the target is not in the root, which is read-only there: make it first"),
        (_, Errno::EACCES | Errno::EOVERFLOW) => {
            error.hint("the target is not in the root, and you may not make it there: take one below /run or /tmp")
        }
        (Kind::Bind(_), Errno::ENOTDIR | Errno::EISDIR) => {
            error.hint("one of source and target is a file, the other a directory")
        }
        (_, Errno::ENOTDIR) => error.hint("in the root the target, or what leads there, is no directory"),
        (_, Errno::ENOENT) => error.hint("the source is gone, or a link in the root leads the target to nowhere"),
        (_, Errno::ELOOP) => error.hint("links in the root lead the target around in circles, or through /proc"),
        (_, Errno::EBUSY) => error.hint("in this root the target is a link to the root itself"),
        (Kind::Tmpfs(_), Errno::EINVAL) => {
            error.hint("without root, uid= and gid= can be your own user and group alone")
        }
        (Kind::Overlay(_), Errno::EINVAL) => error.hint(
            "this directory can be no lower layer: it is an overlay of overlays or, without root, other file systems \
             are mounted below it",
        ),
        (Kind::Overlay(_), Errno::ENODEV) => error.hint(NO_OVERLAY),
        _ => any_step(error, errno),
    }
}

/// What of a command the hints to a failed start speak of.
pub struct Subject<'a> {
    pub name: &'a OsStr,
    pub workdir: &'a CStr,
    pub has_landlock: bool,
    pub has_filter: bool,
}

/// A step of the init that failed.
pub fn init_step(subject: &Subject<'_>, step: InitStep, errno: i32) -> Error {
    let errno = Errno::from_raw(errno);
    let name = subject.name.display();
    match step {
        InitStep::Execute => {
            let error = Error::os(format!("execute {name}"), errno).code(exit::of_exec_error(errno as i32));
            match errno {
                Errno::ENOENT if subject.name.as_bytes().contains(&b' ') => {
                    error.hint(format!("its name is all of these words: leave the quotes out, or sh -c '{name}'"))
                }
                Errno::ENOENT => error.hint("it is looked for inside the sandbox, in PATH"),
                Errno::EACCES if subject.has_landlock => {
                    error.hint("--landlock must let it reach the command and its libraries: ro=/usr for most")
                }
                Errno::E2BIG => {
                    error.hint("the arguments and the environment together are longer than the kernel takes")
                }
                Errno::ENOEXEC => error.hint("it is no program for this machine"),
                Errno::EPERM => {
                    error.hint("its file has a capability that the command may not have: see getcap, --cap-add")
                }
                Errno::EACCES => error.hint("it, or the file system that it lies on, may not be executed"),
                _ => error,
            }
        }
        InitStep::ExecuteInterpreter => Error::os(format!("execute the interpreter of {name}"), errno)
            .code(exit::of_exec_error(errno as i32))
            .hint("the file is there; what its first line or its ELF header names is not"),
        InitStep::EnterWorkdir => {
            let path = subject.workdir.to_string_lossy();
            Error::os(format!("change the working directory to {path}"), errno).hint("it must exist inside the sandbox")
        }
        InitStep::Restrict => match errno {
            Errno::ENOSYS | Errno::EINVAL | Errno::EPERM if subject.has_filter => Error::os(
                step.to_string(),
                errno,
            )
            .hint(
                "this kernel, or the sandbox around nsl, lets no filter be loaded: --seccomp unconfined does without",
            ),
            _ => Error::os(step.to_string(), errno),
        },
        InitStep::Fork => Error::os(step.to_string(), errno).hint("a limit of processes is reached"),
        InitStep::SetLimits if errno == Errno::EPERM => Error::os(step.to_string(), errno)
            .hint("to raise a hard limit takes CAP_SYS_RESOURCE, outside of any user namespace"),
        InitStep::SetCredentials => {
            Error::os(step.to_string(), errno).hint("the user or group is not mapped in this user namespace")
        }
        InitStep::RaiseLoopback if errno == Errno::EPERM && !may_bring_up_links() => {
            Error::os(step.to_string(), errno).hint(NO_NET_ADMIN)
        }
        // That of podman forbids sethostname, say, to whom it does not know CAP_SYS_ADMIN of.
        _ if matches!(errno, Errno::EPERM | Errno::ENOSYS) && is_filtered() => {
            Error::os(step.to_string(), errno).hint(FILTERED)
        }
        _ => Error::os(step.to_string(), errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_forbids_user_namespaces_is_read_from_the_sysctls() {
        let says = |sysctls: &[(&str, &str)], is_filtered| {
            forbidden_by(|name, value| sysctls.contains(&(name, value)), is_filtered)
        };
        let apparmor = ("kernel/apparmor_restrict_unprivileged_userns", "1");
        let clone = ("kernel/unprivileged_userns_clone", "0");
        assert_eq!(says(&[apparmor, clone], true), APPARMOR);
        assert!(says(&[clone], true).contains("kernel.unprivileged_userns_clone=1"));
        // What is on allows it: somebody else forbids.
        let allowed = [(apparmor.0, "0"), (clone.0, "1")];
        assert_eq!(says(&allowed, true), FILTERED);
        assert!(says(&allowed, false).contains("in a chroot"));
    }
}
