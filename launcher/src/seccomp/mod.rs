//! The seccomp filter that the command runs under: which one was asked for, as the bytes that the init loads. What the
//! default allows is in `default`, what a profile's words mean in `profile`, how programs are made in `compiler`.

mod compiler;
mod default;
mod profile;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use default::table;
use std::borrow::Cow;
use std::path::PathBuf;

pub use default::NESTED;

/// Which filter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Choice {
    /// nsl's own.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in JSON, as docker and OCI runtimes take it.
    File(PathBuf),
}

/// What decides on the filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub choice: Choice,
    /// Capabilities that the command may have, bit n for capability n: with some, more is allowed.
    pub capabilities: u64,
    /// The command may make sandboxes of its own.
    pub nested: bool,
}

/// The programs that build.rs made of the default policy, for no capability that it asks for.
static DEFAULT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/default.bpf"));
static NESTED_DEFAULT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nested.bpf"));

/// The filter as the kernel takes it, an array of `struct sock_filter` (seccomp(2)); none for none.
///
/// A profile says itself what it allows, so that `nested` does not change it.
pub fn filter(request: &Request) -> Result<Option<Cow<'static, [u8]>>> {
    let nested = if request.nested { NESTED } else { 0 };
    let program = match &request.choice {
        Choice::Unconfined => return Ok(None),
        Choice::File(path) => profile::read(path, request.capabilities)?.into(),
        Choice::Default => match default::openings(request.capabilities & !NESTED | nested) {
            0 => DEFAULT.into(),
            NESTED => NESTED_DEFAULT.into(),
            open => default::policy(native_arch(), native_calls(), open)
                .compile()
                .map_err(|_| Error::new("make the seccomp filter", "it is longer than the kernel takes"))?
                .into(),
        },
    };
    Ok(Some(program))
}

/// `AUDIT_ARCH_…` of this machine.
fn native_arch() -> u32 {
    if cfg!(target_arch = "x86_64") { compiler::X86_64 } else { compiler::AARCH64 }
}

/// The names and numbers of this machine's system calls.
fn native_calls() -> impl Iterator<Item = (&'static str, u32)> {
    table!(syscalls::Sysno)
}
