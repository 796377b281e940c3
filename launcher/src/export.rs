//! `nsl init`: writes the embedded nsl-init out, as a whole or not at all. No part of `nsl run`.

use crate::cli::Init;
use crate::error::{Error, Result};
use crate::image::INIT;
use crate::{hints, sys};
use nix::sys::signal::{SigSet, SigmaskHow};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What the file is called in a directory that is given.
const NAME: &str = "nsl-init";

/// Writes the init to where the options say; the name of the file that got it goes to stdout.
pub fn export(options: &Init, stdout_is_open: bool) -> Result<()> {
    sys::ignore_signals_of_writes();
    if options.output.as_os_str() == "-" {
        return to_stdout(stdout_is_open);
    }
    let file = if options.output.is_dir() { options.output.join(NAME) } else { options.output.clone() };
    to_file(&file).map_err(|error| hints::output(&file, &error))?;
    print(&[file.as_os_str().as_bytes(), b"\n"].concat())
}

fn to_stdout(is_open: bool) -> Result<()> {
    if !is_open {
        // /dev/null stands in for it, and would take anything.
        return Err(Error::new("write to stdout", "it is closed"));
    }
    if io::stdout().is_terminal() {
        return Err(Error::new("write to stdout", "it is a terminal").hint("name a file: nsl init --output FILE"));
    }
    print(INIT)
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(bytes).and_then(|()| stdout.flush());
    printed.map_err(|error| Error::io("write to stdout", &error))
}

fn to_file(file: &Path) -> io::Result<()> {
    match (fs::canonicalize(file), fs::metadata(file)) {
        // Not a link to it: that would have to be made again.
        (Ok(path), Ok(found)) if found.is_file() => replace(&path),
        // A device or a pipe, or what /proc leads to and no path does: nothing that could be replaced.
        (_, Ok(_)) => OpenOptions::new().write(true).truncate(true).open(file)?.write_all(INIT),
        (_, Err(error)) if error.kind() == ErrorKind::NotFound => replace(file),
        (_, Err(error)) => Err(error),
    }
}

/// Writes another file, then gives it this one's name: who executes or reads the old one keeps it, and nobody ever
/// finds half of the new one.
fn replace(path: &Path) -> io::Result<()> {
    // Nor is half of it left behind: no signal ends this process before it is done.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let (temporary, file) = create_beside(path)?;
    let replaced = fill(file).and_then(|()| fs::rename(&temporary, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    mask.thread_set_mask()?;
    replaced
}

fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let process = std::process::id();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut number = 0;
    loop {
        let temporary = path.with_file_name(format!(".{NAME}.{process}.{number}"));
        match options.open(&temporary) {
            // Of a process with this number that was killed.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            file => return Ok((temporary, file?)),
        }
    }
}

fn fill(mut file: File) -> io::Result<()> {
    file.write_all(INIT)?;
    // For every user of an image, whatever the umask is.
    file.set_permissions(Permissions::from_mode(0o755))?;
    // Some file systems notice only now that they are full.
    file.sync_all()
}
