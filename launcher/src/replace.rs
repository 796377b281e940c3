//! Files that are replaced as a whole or not at all.

use nix::sys::signal::{SigSet, SigmaskHow};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Writes another file, then gives it this one's name: who has the old one open keeps it, and nobody ever finds half of
/// the new one. A link of that name is replaced, not followed. Returns the new file.
pub fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<File> {
    // Nor is half of it left behind: no signal ends this process before it is done.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let (temporary, mut file) = create_beside(path)?;
    let replaced = write(&mut file).and_then(|()| fs::rename(&temporary, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    mask.thread_set_mask()?;
    replaced.map(|()| file)
}

fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let process = std::process::id();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut number = 0;
    loop {
        let temporary = path.with_file_name(format!(".nsl.{process}.{number}"));
        match options.open(&temporary) {
            // Of a process with this number that was killed.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            file => return Ok((temporary, file?)),
        }
    }
}
