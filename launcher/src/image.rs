//! Sealed files in memory: the embedded init, and the boot message.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nsl_shared::boot::Boot;
use std::ffi::CStr;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;

/// The program nsl-init; build.rs builds it.
pub const INIT: &[u8] = include_bytes!(env!("NSL_INIT"));

/// `MFD_NOEXEC_SEAL` and `MFD_EXEC`: memfd_create(2), since Linux 6.3.
const NOEXEC_SEAL: u32 = 0x8;
const EXEC: u32 = 0x10;

/// A sealed executable file with the init in it: no root needs a file of nsl's, and nothing can overwrite this one.
pub fn init() -> Result<OwnedFd, Errno> {
    sealed(c"nsl-init", EXEC, |file| file.write_all(INIT))
}

/// A sealed file with a boot message.
pub fn message(boot: &Boot<'_>) -> Result<OwnedFd, Errno> {
    sealed(c"nsl-boot", NOEXEC_SEAL, |file| {
        let mut file = BufWriter::new(file);
        boot.encode(|bytes| file.write_all(bytes))?;
        file.flush()
    })
}

fn sealed(name: &CStr, kind: u32, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<OwnedFd, Errno> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = match memfd_create(name, flags | MFdFlags::from_bits_retain(kind)) {
        // A kernel that does not know the flag makes every such file executable.
        Err(Errno::EINVAL) => memfd_create(name, flags)?,
        result => result?,
    };
    let mut file = File::from(file);
    write(&mut file).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}
