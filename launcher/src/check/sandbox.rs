//! What a sandbox is made of: namespaces, file systems, the init's memory file, what restricts the command.

use super::trial::{self, Trial};
use super::{Line, Told, not_tried};
use crate::error::Result;
use crate::hints;
use crate::image;
use crate::root;
use crate::security::landlock;
use crate::spec::Caller;
use rustix::io::Errno;
use std::path::Path;

/// Does `work` in mount and PID namespaces of its own, as a start does.
pub fn in_new_namespaces(caller: Caller, work: impl FnOnce() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    let identity = (!caller.is_privileged()).then_some((caller.uid, caller.gid));
    let user = if identity.is_some() { libc::CLONE_NEWUSER } else { 0 };
    trial::step(libc::CLONE_NEWNS | libc::CLONE_NEWPID | user, || {
        root::enter(identity)?;
        work()
    })
}

/// `start` is the trial of a whole one.
pub fn parts(caller: Caller, start: &Trial) -> Result<Vec<Line>> {
    let namespaces =
        trial::step(libc::CLONE_NEWNS | libc::CLONE_NEWUSER, || root::enter(Some((caller.uid, caller.gid))));
    // Who forbids it, a start says best.
    let told = match namespaces {
        Ok(()) => None,
        Err(_) if caller.is_privileged() => trial::run(&["--network", "none", "--userns", "keep-id"], false)?.failure,
        Err(_) => start.failure.clone(),
    };
    let inside = |work: fn() -> rustix::io::Result<()>| in_new_namespaces(caller, work);
    let mounts = (namespaces.is_ok() || caller.is_privileged()).then(|| {
        // Of an overlay that is not whole the kernel complains in its log.
        [|| root::ask_for("overlay"), || root::try_mount("proc"), || root::try_mount("devpts")].map(inside)
    });
    let mut lines = vec![judge_namespaces(namespaces, told, caller)];
    match mounts {
        None => lines.extend(["root", "proc", "terminal"].map(not_tried)),
        Some([overlay, proc, devpts]) => lines.extend([
            judge_overlay(overlay, start),
            judge_proc(Path::new("/proc/self").exists(), proc),
            judge_terminal(devpts),
        ]),
    }
    lines.push(match image::init() {
        Ok(_) => Line::ok("memfd", "nsl-init can be executed from memory"),
        Err(errno) => Line::missing("memfd", Told::from(&hints::memory_file(errno))),
    });
    lines.push(judge_seccomp(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()));
    lines.push(judge_landlock(landlock::unrestricted()));
    Ok(lines)
}

fn judge_namespaces(made: rustix::io::Result<()>, told: Option<Told>, caller: Caller) -> Line {
    const NAME: &str = "namespaces";
    let Err(errno) = made else { return Line::ok(NAME, "user namespaces can be made") };
    let told = told.unwrap_or_else(|| failed("make a user namespace", errno));
    if caller.is_privileged() { Line::limited(NAME, "--userns, --nested", told) } else { Line::missing(NAME, told) }
}

/// `asked` is the kernel's answer; what is wrong with the layers, a start knows.
fn judge_overlay(asked: rustix::io::Result<()>, start: &Trial) -> Line {
    const NAME: &str = "root";
    let failure = start.failure.as_ref().filter(|told| told.finding.contains("overlay"));
    match (failure, start.warnings.first()) {
        _ if asked == Err(Errno::NODEV) => {
            Line::missing(NAME, failed("mount an overlay", Errno::NODEV).mend(hints::NO_OVERLAY))
        }
        (Some(told), _) => Line::missing(NAME, told.clone()),
        (None, Some(warning)) => Line::limited(NAME, "a root to write to", warning.clone()),
        (None, None) => Line::ok(NAME, "the host's, copy-on-write (overlay)"),
    }
}

fn judge_proc(is_there: bool, mount: rustix::io::Result<()>) -> Line {
    const NAME: &str = "proc";
    match mount {
        _ if !is_there => Line::missing(NAME, Told::new("/proc is not mounted").mend("mount -t proc proc /proc")),
        Ok(()) => Line::ok(NAME, "a new one can be mounted"),
        Err(Errno::PERM) => Line::missing(NAME, failed("mount proc", Errno::PERM).mend(hints::HIDDEN_PROC)),
        Err(errno) => Line::missing(NAME, failed("mount proc", errno)),
    }
}

fn judge_terminal(mount: rustix::io::Result<()>) -> Line {
    match mount {
        Ok(()) => Line::ok("terminal", "a sandbox has ptys of its own (devpts)"),
        Err(errno) => Line::missing("terminal", failed("mount devpts", errno)),
    }
}

/// `status` is /proc/self/status, in which a kernel without seccomp has no line of it.
fn judge_seccomp(status: &str) -> Line {
    const NAME: &str = "seccomp";
    match status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map(str::trim) {
        Some("2") => Line::ok(NAME, "filters can be loaded; one is in force around nsl already"),
        None if !status.is_empty() => Line::missing(
            NAME,
            Told::new("this kernel has no seccomp filters").mend("--seccomp unconfined does without"),
        ),
        _ => Line::ok(NAME, "filters can be loaded"),
    }
}

/// `unrestricted` is what this kernel's Landlock leaves alone.
fn judge_landlock(unrestricted: Result<Option<&'static str>>) -> Line {
    const NAME: &str = "landlock";
    match unrestricted {
        Ok(None) => Line::ok(NAME, "all that --landlock restricts"),
        Ok(Some(what)) => {
            let told = Told::new(format!("--landlock does not restrict {what}")).mend("a newer kernel");
            Line::limited(NAME, "some of --landlock", told)
        }
        Err(error) => Line::limited(NAME, "--landlock", Told::from(&error)),
    }
}

/// A whole one.
pub fn start(trial: &Trial) -> Line {
    match &trial.failure {
        None => Line::ok("sandbox", format!("starts, and ends, within {:.1} ms", trial.took.as_secs_f64() * 1000.0)),
        Some(told) => Line::missing("sandbox", told.clone()),
    }
}

/// Whether more users than one can be inside.
pub fn ids(stands: bool) -> Result<Line> {
    const NAME: &str = "ids";
    if !stands {
        return Ok(not_tried(NAME));
    }
    Ok(match trial::run(&["--network", "none", "--userns", "auto"], false)?.failure {
        None => Line::ok(NAME, "root and others can be inside who are nobody outside (--userns auto)"),
        Some(told) => Line::limited(NAME, "--userns auto", told),
    })
}

fn failed(step: &str, errno: Errno) -> Told {
    Told::new(format!("cannot {step}: {}", nix::errno::Errno::from_raw(errno.raw_os_error()).desc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::time::Duration;

    fn caller(privileged: bool) -> Caller {
        Caller { uid: 0, gid: 0, privileged }
    }

    #[test]
    fn without_user_namespaces_root_lacks_little_and_others_all() {
        let told = || Some(Told::new("AppArmor"));
        assert!(judge_namespaces(Ok(()), None, caller(false)).shown().starts_with("ok "));
        assert_eq!(judge_namespaces(Err(Errno::PERM), told(), caller(false)).shown(), "missing  namespaces  AppArmor");
        assert_eq!(judge_namespaces(Err(Errno::PERM), told(), caller(true)).shown(), "limited  namespaces  AppArmor");
        let none = judge_namespaces(Err(Errno::NOSPC), None, caller(true)).shown();
        assert!(none.contains("No space left on device"), "{none}");
    }

    #[test]
    fn a_root_takes_overlay_and_what_a_start_said_of_it() {
        let told = |text: &str| Told::new(text.to_owned());
        let shown = |asked, failure: Option<&str>, warnings: &[&str]| {
            let warnings = warnings.iter().map(|text| told(text)).collect();
            judge_overlay(asked, &Trial { failure: failure.map(told), warnings, took: Duration::ZERO }).shown()
        };
        assert!(shown(Ok(()), None, &[]).starts_with("ok "));
        assert!(shown(Ok(()), Some("cannot mount proc"), &[]).starts_with("ok "));
        assert!(shown(Ok(()), None, &["read-only"]).starts_with("limited "));
        assert!(shown(Ok(()), Some("cannot mount an overlay of /"), &[]).starts_with("missing "));
        assert!(shown(Err(Errno::NODEV), None, &[]).contains("modprobe overlay"));
        // Without fsopen(2) it is the start that knows.
        assert!(shown(Err(Errno::NOSYS), None, &[]).starts_with("ok "));
    }

    #[test]
    fn a_proc_that_is_masked_or_absent_has_its_mend() {
        assert!(judge_proc(true, Ok(())).shown().starts_with("ok "));
        let masked = judge_proc(true, Err(Errno::PERM)).shown();
        assert!(masked.contains("Operation not permitted") && masked.contains("--proc host"), "{masked}");
        assert!(judge_proc(false, Ok(())).shown().contains("mount -t proc proc /proc"));
        assert!(judge_terminal(Ok(())).shown().starts_with("ok "));
        assert!(judge_terminal(Err(Errno::NODEV)).shown().contains("cannot mount devpts: No such device"));
    }

    #[test]
    fn filters_and_landlock_are_read_from_what_the_kernel_says() {
        assert!(judge_seccomp("Name:\tnsl\nSeccomp:\t0\nSeccomp_filters:\t0\n").shown().starts_with("ok "));
        assert!(judge_seccomp("Seccomp:\t2\n").shown().contains("around nsl"));
        assert!(judge_seccomp("Name:\tnsl\n").shown().contains("--seccomp unconfined"));
        // Without /proc nothing is known of it.
        assert!(judge_seccomp("").shown().starts_with("ok "));
        assert!(judge_landlock(Ok(None)).shown().starts_with("ok "));
        assert!(judge_landlock(Ok(Some("signals"))).shown().contains("does not restrict signals"));
        assert!(judge_landlock(Err(Error::new("use --landlock", "none"))).shown().starts_with("limited "));
    }
}
