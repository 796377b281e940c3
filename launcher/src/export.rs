//! `nsl init`: writes the embedded nsl-init out, as a whole or not at all. No part of `nsl run`.

use crate::cli::Init;
use crate::error::{Error, Result};
use crate::image::INIT;
use crate::replace::replace;
use crate::{hints, sys};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
        (Ok(path), Ok(found)) if found.is_file() => replace(&path, fill).map(drop),
        // A device or a pipe, or what /proc leads to and no path does: nothing that could be replaced.
        (_, Ok(_)) => OpenOptions::new().write(true).truncate(true).open(file)?.write_all(INIT),
        (_, Err(error)) if error.kind() == ErrorKind::NotFound => replace(file, fill).map(drop),
        (_, Err(error)) => Err(error),
    }
}

fn fill(file: &mut File) -> io::Result<()> {
    file.write_all(INIT)?;
    // For every user of an image, whatever the umask is.
    file.set_permissions(Permissions::from_mode(0o755))?;
    // Some file systems notice only now that they are full.
    file.sync_all()
}
