//! The boot message: what of the spec and the plan is for the init to do.

use crate::error::{Error, Result};
use crate::image;
use crate::plan::Plan;
use crate::signals::Blocked;
use crate::spec::Spec;
use crate::timings;
use nsl_shared::boot::{Boot, Credentials, Setup, Strings};
use std::os::fd::OwnedFd;

/// A sealed file with the message; `kept` is the number of the caller's descriptors that the command gets.
pub fn message(spec: &Spec, plan: &Plan, blocked: &Blocked, kept: u32) -> Result<OwnedFd> {
    let strings =
        |bytes| Strings::new(bytes).map_err(|malformed| Error::new("write the boot message", malformed.to_string()));
    let security = spec.security();
    let (masked, read_only) = (security.masked(), security.read_only());
    let limits: Vec<u8> = plan.rlimits.iter().flat_map(|limit| limit.encode()).collect();
    let mut setup = plan.setup;
    if security.no_new_privs {
        setup = setup.with(Setup::NO_NEW_PRIVS);
    }
    if spec.credentials().is_some() {
        setup = setup.with(Setup::CREDENTIALS);
    }
    if spec.is_watched() {
        setup = setup.with(Setup::TELL_END);
    }
    if timings::are_on() {
        setup = setup.with(Setup::TELL_READY);
    }
    let groups: Vec<u8> = spec.groups().iter().flat_map(|group| group.to_ne_bytes()).collect();
    let boot = Boot {
        setup,
        mask: blocked.mask(),
        grace_ms: spec.grace_ms(),
        stop_signal: spec.stop_signal().map_or(0, |signal| signal.number() as u32),
        capabilities: security.capabilities,
        ambient: security.ambient,
        credentials: spec.credentials().unwrap_or(Credentials { uid: 0, gid: 0 }),
        kept,
        hostname: if plan.shared.uts { b"" } else { plan.hostname.as_bytes() },
        workdir: strings(spec.workdir().path.as_bytes_with_nul())?,
        args: strings(spec.args())?,
        env: strings(spec.env())?,
        masked: strings(&masked)?,
        read_only: strings(&read_only)?,
        groups: &groups,
        limits: &limits,
        filter: &security.filter,
    };
    image::message(&boot).map_err(|errno| Error::os("write the boot message", errno))
}
