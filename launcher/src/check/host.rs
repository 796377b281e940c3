//! The kernel with the calls that nsl uses, and who asks it.

use super::sandbox::in_new_namespaces;
use super::{Line, Told};
use crate::confined;
use crate::hints;
use crate::root;
use crate::spec::Caller;
use crate::sys;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::PidfdFlags;

/// The oldest kernel that nsl runs on, and the oldest for all that it does: the owner of a table (Linux 5.12), mounts with
/// owners shifted of any kind that an overlay lies on (5.19).
const OLDEST: (u32, u32) = (5, 11);
const COMPLETE: (u32, u32) = (5, 19);

/// Of its calls those that a filter around nsl may forbid, or an old kernel lack.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Calls {
    openat2: bool,
    pidfd_open: bool,
    clone3: bool,
    /// fsopen(2) and its kin.
    mount: bool,
}

pub fn kernel(caller: Caller) -> Line {
    let calls = Calls {
        openat2: confined::open(CWD, ".", OFlags::PATH, Mode::empty()).err() != Some(Errno::NOSYS),
        pidfd_open: rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).is_ok(),
        clone3: sys::has_clone3(),
        // Where there are no namespaces, in which alone it can be asked, another line says so.
        mount: in_new_namespaces(caller, root::has_mount_calls) != Err(Errno::NOSYS),
    };
    judge_kernel(&rustix::system::uname().release().to_string_lossy(), &calls, hints::is_filtered())
}

fn judge_kernel(release: &str, calls: &Calls, is_filtered: bool) -> Line {
    const NAME: &str = "kernel";
    let told = |words: String| {
        let told = Told::new(words);
        if is_filtered { told.mend(hints::FILTERED) } else { told }
    };
    let lacks = |name: &str| told(format!("Linux {release} without {name}"));
    let version = version(release);
    match calls {
        _ if version < OLDEST => {
            Line::missing(NAME, Told::new(format!("Linux {release}")).mend("nsl needs Linux 5.11 or newer"))
        }
        Calls { openat2: false, .. } => Line::missing(NAME, lacks("openat2")),
        Calls { pidfd_open: false, .. } => Line::missing(NAME, lacks("pidfd_open")),
        Calls { clone3: false, .. } => Line::limited(NAME, "limits of memory, CPUs and processes", lacks("clone3")),
        _ if version < COMPLETE => {
            let told = Told::new(format!("Linux {release}: 5.12 has -p and --egress, 5.19 --userns auto of root's"));
            Line::limited(NAME, "what a newer kernel has", told.mend("a newer kernel"))
        }
        Calls { mount: false, .. } => {
            Line::ok(NAME, format!("Linux {release} without fsopen: mount(2) is used, a little slower"))
        }
        _ => Line::ok(NAME, format!("Linux {release}, with all calls that nsl uses")),
    }
}

/// The first two numbers.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

pub fn user(caller: Caller) -> Line {
    judge_user(caller, &std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default())
}

fn judge_user(caller: Caller, uid_map: &str) -> Line {
    // That of the first user namespace, with all ids.
    let is_first = uid_map.is_empty() || uid_map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    let within = if is_first { "" } else { " in a user namespace" };
    let Caller { uid, privileged, .. } = caller;
    Line::ok(
        "user",
        match (uid, privileged) {
            (0, true) => format!("root{within}"),
            (0, false) => format!("root{within} without CAP_SYS_ADMIN: sandboxes are as without root"),
            _ => format!("{uid}{within}, without root"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Calls = Calls { openat2: true, pidfd_open: true, clone3: true, mount: true };

    #[test]
    fn a_kernel_is_judged_by_its_age_and_its_calls() {
        let shown = |release, calls: &Calls, filtered| judge_kernel(release, calls, filtered).shown();
        assert!(shown("6.1.0-49-amd64", &ALL, false).starts_with("ok "));
        assert!(shown("5.19", &ALL, false).starts_with("ok "));
        assert!(shown("5.15.0-100-generic", &ALL, false).starts_with("limited  kernel"));
        assert!(shown("5.10.0", &ALL, false).starts_with("missing "));
        assert!(shown("4.18.0-513.el8", &ALL, false).contains("(hint: nsl needs Linux 5.11 or newer)"));
        let without_clone3 = shown("6.18.0", &Calls { clone3: false, ..ALL }, true);
        assert!(without_clone3.starts_with("limited ") && without_clone3.contains("seccomp=unconfined"));
        assert!(shown("6.18.0", &Calls { openat2: false, ..ALL }, false).ends_with("without openat2"));
        assert!(shown("6.18.0", &Calls { mount: false, ..ALL }, false).starts_with("ok "));
    }

    #[test]
    fn who_asks_is_told_as_seen_from_outside() {
        let shown = |uid, privileged, map| {
            let line = judge_user(Caller { uid, gid: uid, privileged }, map).shown();
            line.trim_start_matches("ok       user        ").to_owned()
        };
        let first = "         0          0 4294967295\n";
        assert_eq!(shown(0, true, first), "root");
        assert_eq!(shown(0, true, "0 1000 1\n"), "root in a user namespace");
        assert_eq!(shown(1000, false, first), "1000, without root");
        assert!(shown(0, false, first).starts_with("root without CAP_SYS_ADMIN"));
    }
}
