//! What is done on the host, as far as its words are not those of the network or of the ids.

use super::{MAKE_NETWORK, Plan};
use crate::cgroup::Limits;
use nsl_shared::boot::InitStep;
use std::fmt;
use std::path::Path;

/// A step of nsl's own. `Display` is its phrase, for `--dry-run` and spans.
pub enum HostStep<'a> {
    MakeCgroup(&'a Limits),
    Unpack(&'a Path),
    CreateNamespaces(&'a Plan),
    /// The network namespace, beside the child.
    MakeNetwork,
}

impl fmt::Display for HostStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeCgroup(limits) => write!(f, "make a cgroup with at most {limits}"),
            Self::Unpack(path) => write!(f, "unpack {} into the store", path.display()),
            Self::CreateNamespaces(plan) => {
                f.write_str("create namespaces:")?;
                plan.cloned().try_for_each(|name| write!(f, " {name}"))
            }
            Self::MakeNetwork => write!(f, "{MAKE_NETWORK}, and {}", InitStep::RaiseLoopback),
        }
    }
}
