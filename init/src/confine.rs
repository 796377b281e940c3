//! What a sandbox takes from its command, in the command's own process: descriptors, limits, privileges, system calls.
//! The order is the kernel's: each step still needs what a later one takes away.

use crate::sys;
use nsl_shared::boot::{self, InitStep, Message, Setup};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// All but the last step; `step` says at the end which it was that failed.
pub fn confine(boot: &Message<'_>, step: &mut InitStep) -> Result<(), Errno> {
    *step = InitStep::Restrict;
    if boot.setup().contains(Setup::NO_NEW_PRIVS) {
        rustix::thread::set_no_new_privs(true)?;
    }
    if boot.setup().contains(Setup::LANDLOCK) {
        sys::restrict_by_landlock(boot::LANDLOCK_FD)?;
    }
    if !boot.setup().contains(Setup::NO_NEW_PRIVS) {
        // Without that bit a filter takes CAP_SYS_ADMIN.
        load_filter(boot)?;
    }
    *step = InitStep::KeepDescriptors;
    keep_descriptors(boot.kept())?;
    *step = InitStep::SetLimits;
    boot.limits().iter().try_for_each(sys::set_limit)?;
    // All bits set leave capabilities alone.
    let limits_capabilities = boot.capabilities() != u64::MAX;
    *step = InitStep::SetCapabilities;
    if limits_capabilities {
        bound_capabilities(boot.capabilities())?;
    }
    if boot.ambient() != 0 {
        rustix::thread::set_keep_capabilities(true)?;
    }
    if boot.setup().contains(Setup::CREDENTIALS) {
        *step = InitStep::SetCredentials;
        let who = boot.credentials();
        sys::set_credentials(who.uid, who.gid, boot.groups())?;
    }
    if limits_capabilities {
        *step = InitStep::SetCapabilities;
        keep_capabilities(boot.capabilities(), boot.ambient())?;
    }
    // As the user that the command runs as: what that one may not enter is refused here.
    *step = InitStep::EnterWorkdir;
    let workdir = sys::c_str(boot.workdir().as_bytes()).ok_or(Errno::INVAL);
    match workdir.and_then(rustix::process::chdir) {
        Err(_) if boot.setup().contains(Setup::ANY_WORKDIR) => Ok(()),
        result => result,
    }
}

/// The last step before the exec, as a filter may forbid whatever the others need.
pub fn finish(boot: &Message<'_>) -> Result<(), Errno> {
    if boot.setup().contains(Setup::NO_NEW_PRIVS) { load_filter(boot) } else { Ok(()) }
}

#[inline(never)]
fn load_filter(boot: &Message<'_>) -> Result<(), Errno> {
    if boot.filter().is_empty() { Ok(()) } else { sys::load_filter(boot.filter()) }
}

/// Moves those that the command gets to 3 and up, and closes all others.
fn keep_descriptors(count: u32) -> Result<(), Errno> {
    for number in 0..count as i32 {
        sys::duplicate(boot::KEPT_FD + number, 3 + number)?;
    }
    // At the exec: until then a failure can be told.
    sys::close_on_exec_from(3 + count);
    Ok(())
}

/// Takes what is not in `allowed` out of the bounding set, for ever.
fn bound_capabilities(allowed: u64) -> Result<(), Errno> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if allowed & capability.bits() != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The first number that the kernel does not know.
            Err(Errno::INVAL) => break,
            result => result?,
        }
    }
    Ok(())
}

/// Keeps of the capabilities at hand those in `allowed`. What an ordinary user is to have behind an exec must be
/// inheritable and ambient; nothing else is.
fn keep_capabilities(allowed: u64, ambient: u64) -> Result<(), Errno> {
    let have = rustix::thread::capabilities(None)?.permitted & CapabilitySet::from_bits_retain(allowed);
    let inheritable = have & CapabilitySet::from_bits_retain(ambient);
    rustix::thread::set_capabilities(None, CapabilitySets { effective: have, permitted: have, inheritable })?;
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if inheritable.contains(capability) {
            rustix::thread::configure_capability_in_ambient_set(capability, true)?;
        }
    }
    Ok(())
}
