//! Whether a sandbox can have limits: read only, since what is tried in a cgroup others would notice.

use super::{Line, Told};
use crate::cgroup;
use crate::error::Result;
use crate::hints;
use crate::sys;

pub fn line() -> Line {
    judge(cgroup::place(), sys::has_clone3())
}

/// `place` is the cgroup that sandboxes' are made in.
fn judge(place: Result<String>, has_clone3: bool) -> Line {
    const NAME: &str = "limits";
    const WITHOUT: &str = "limits of memory, CPUs and processes";
    match place {
        Err(error) => Line::limited(NAME, WITHOUT, Told::from(&error)),
        Ok(_) if !has_clone3 => Line::limited(
            NAME,
            WITHOUT,
            Told::new("without clone3 no process is born in a cgroup").mend(hints::FILTERED),
        ),
        Ok(name) => Line::ok(NAME, format!("memory, CPUs and processes, in cgroups below {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn limits_take_a_cgroup_and_clone3() {
        assert!(judge(Ok("/user.slice".to_owned()), true).shown().starts_with("ok "));
        assert!(judge(Ok("/".to_owned()), false).shown().starts_with("limited "));
        let refused = Error::new("limit the memory", "this host has no cgroup v2").hint("boot anew");
        let shown = judge(Err(refused), true).shown();
        assert!(shown.ends_with("cannot limit the memory: this host has no cgroup v2 (hint: boot anew)"), "{shown}");
    }
}
