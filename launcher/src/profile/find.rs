//! Which profile a word names: a file, or one that is looked up by its name where its owner, the machine's administrator
//! and nsl itself have theirs. A file of the working directory is never taken for a name.

use super::Base;
use crate::error::{Error, Result};
use rustix::fs::Mode;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Those that come with nsl.
pub const OWN: [(&str, &str); 5] = [
    ("agent", include_str!("../../profiles/agent.toml")),
    ("browser", include_str!("../../profiles/browser.toml")),
    ("build", include_str!("../../profiles/build.toml")),
    ("service", include_str!("../../profiles/service.toml")),
    ("shell", include_str!("../../profiles/shell.toml")),
];
/// The machine's.
const SYSTEM: &str = "/etc/nsl/profiles";
/// One's own, in the home directory.
const HOME: &str = ".config/nsl/profiles";
/// Bytes that a file may have.
const LONGEST: u64 = 1 << 20;

pub struct Source {
    pub text: String,
    /// As messages name it.
    pub shown: String,
    pub base: Base,
}

/// `here` is the working directory.
pub fn find(name: &OsStr, here: &Path) -> Result<Source> {
    if name.as_bytes().contains(&b'/') {
        let path = Path::new(name);
        let file = File::open(path).map_err(|error| Error::io(step(path), &error))?;
        return read(file, path);
    }
    let mut file_name = name.to_owned();
    file_name.push(".toml");
    for directory in home().map(|home| home.join(HOME)).into_iter().chain([PathBuf::from(SYSTEM)]) {
        let path = directory.join(&file_name);
        // One that is a FIFO, which a path may well name, would be waited for before anybody saw whose it is.
        match File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path) {
            Ok(file) => {
                check_file(&file, &path)?;
                return read(file, &path);
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            // A home directory that one may not look into is somebody else's.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && directory != Path::new(SYSTEM) => {}
            // Another of the same name could promise less.
            Err(error) => return Err(Error::io(step(&path), &error)),
        }
    }
    if let Some((own, text)) = OWN.iter().find(|(own, _)| *own == name) {
        // It lies nowhere: what is relative in it is the caller's.
        let base = Base { directory: here.to_owned(), home: home(), inside: true };
        return Ok(Source { text: (*text).to_owned(), shown: (*own).to_owned(), base });
    }
    let known = OWN.map(|(own, _)| own).join(", ");
    let cause = format!("there is none in ~/{HOME} or {SYSTEM}, and nsl has {known}");
    Err(Error::new(step(Path::new(name)), cause).hint(format!("a file is named with a slash: ./{}", name.display())))
}

/// Without links, as the working directory is: the two are to be told apart.
fn home() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())?;
    Some(std::fs::canonicalize(&home).unwrap_or(home))
}

fn step(path: &Path) -> String {
    format!("use the profile {}", path.display())
}

/// A file that was not named by its path: nobody else may decide what it says.
fn check_file(file: &File, path: &Path) -> Result<()> {
    let found = file.metadata().map_err(|error| Error::io(step(path), &error))?;
    if !found.is_file() {
        return Err(
            Error::new(step(path), "it is no regular file").hint("name it by its path if it is the one you mean")
        );
    }
    let is_own = found.uid() == 0 || found.uid() == nix::unistd::geteuid().as_raw();
    if is_own && !Mode::from_raw_mode(found.mode()).contains(Mode::WOTH) {
        return Ok(());
    }
    let cause = "it belongs to somebody else, or everybody may write to it";
    Err(Error::new(step(path), cause).hint("name it by its path if you trust it"))
}

fn read(file: File, path: &Path) -> Result<Source> {
    let failed = |error: &std::io::Error| Error::io(step(path), error);
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Error::new(step(path), "it is longer than 1 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| Error::new(step(path), "it is not UTF-8"))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = std::fs::canonicalize(parent).map_err(|error| failed(&error))?;
    Ok(Source { text, shown: path.display().to_string(), base: Base { directory, home: home(), inside: true } })
}
