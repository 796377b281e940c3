//! One entry of a file system as far as changes are concerned: what it is, its metadata and extended attributes, and
//! whether another one is the same. Reads only; nothing here follows a link.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

type Result<T> = rustix::io::Result<T>;

/// What overlay notes for itself at the files of its upper layer, as root and in a user namespace.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
/// Labels that the host's own policy gives to each file.
const LABELS: [&[u8]; 3] = [b"security.evm", b"security.ima", b"security.selinux"];
/// The capabilities that a program gets when it is executed.
pub const CAPABILITY: &[u8] = b"security.capability";

/// The largest extended attribute, and the longest list of their names (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const XATTR_MAX: usize = 65536;
const BUFFER: usize = 1 << 16;

/// Confines a path to the mount that it begins in, with no link on the way.
pub const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

#[derive(Clone, Debug)]
pub struct Entry {
    pub stat: Stat,
    /// Where a symbolic link leads.
    pub target: Option<Vec<u8>>,
    /// All but overlay's own and the labels of security modules.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// A directory of an upper layer that hides all of the one below it.
    pub opaque: bool,
}

impl Entry {
    /// Reads the entry `name` of a directory; None if there is none. EXDEV if another file system is mounted there.
    pub fn read(directory: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Self>> {
        let file = match rustix::fs::openat2(directory, name, PATH, Mode::empty(), BENEATH) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let stat = rustix::fs::fstat(&file)?;
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let target = if is_link { Some(rustix::fs::readlinkat(&file, c"", Vec::new())?.into_bytes()) } else { None };
        let mut all = xattrs(&path_of(directory, name))?;
        let opaque =
            OVERLAY.iter().any(|prefix| all.get(&[prefix, &b"opaque"[..]].concat()).is_some_and(|y| y == b"y"));
        all.retain(|name, _| !is_foreign(name));
        Ok(Some(Self { stat, target, xattrs: all, opaque }))
    }

    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub fn is_directory(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    pub fn is_file(&self) -> bool {
        self.file_type() == FileType::RegularFile
    }

    /// Overlay's mark for what was removed.
    pub fn is_whiteout(&self) -> bool {
        self.file_type() == FileType::CharacterDevice && self.stat.st_rdev == 0
    }

    /// The permissions, with setuid, setgid and sticky.
    pub fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }

    /// What gives whoever executes it somebody else's rights.
    pub fn powers(&self) -> Vec<&'static str> {
        let mut powers = Vec::new();
        if self.is_file() && self.mode() & 0o4000 != 0 {
            powers.push("setuid");
        }
        if self.is_file() && self.mode() & 0o2000 != 0 {
            powers.push("setgid");
        }
        if self.xattrs.contains_key(CAPABILITY) {
            powers.push("capabilities");
        }
        powers
    }

    /// In what of its metadata it differs from an entry of the same type.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let mut found = Vec::new();
        if self.file_type() != FileType::Symlink && self.mode() != other.mode() {
            found.push("mode");
        }
        if (self.stat.st_uid, self.stat.st_gid) != (other.stat.st_uid, other.stat.st_gid) {
            found.push("owner");
        }
        if self.xattrs != other.xattrs {
            found.push("attributes");
        }
        // The time of a directory follows from what is done in it.
        if self.is_file() && !is_same_time(&self.stat, &other.stat) {
            found.push("time");
        }
        found
    }

    /// Nanoseconds since the epoch of the last change to it, its metadata included.
    pub fn changed(&self) -> i128 {
        i128::from(self.stat.st_ctime) * 1_000_000_000 + i128::from(self.stat.st_ctime_nsec)
    }
}

/// Some file systems have whole seconds only.
fn is_same_time(a: &Stat, b: &Stat) -> bool {
    a.st_mtime == b.st_mtime && (a.st_mtime_nsec == b.st_mtime_nsec || a.st_mtime_nsec == 0 || b.st_mtime_nsec == 0)
}

const PATH: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// The directory `path` below another one, for reading.
pub fn open_directory(directory: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    rustix::fs::openat2(directory, path, DIRECTORY, Mode::empty(), BENEATH)
}

/// The same for work in it: whoever may not list a directory may still use it.
pub fn enter_directory(directory: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    rustix::fs::openat2(directory, path, PATH | OFlags::DIRECTORY, Mode::empty(), BENEATH)
}

/// The regular file `name` of a directory, for reading.
pub fn open_file(directory: BorrowedFd<'_>, name: &OsStr) -> Result<File> {
    let file = rustix::fs::openat2(directory, name, FILE, Mode::empty(), BENEATH)?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file.into()),
        _ => Err(Errno::INVAL),
    }
}

/// The names in a directory, sorted.
pub fn names(directory: BorrowedFd<'_>) -> Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(std::os::unix::ffi::OsStringExt::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

/// Are the contents of two files the same? One that cannot be read is not.
pub fn is_same_content(a: (BorrowedFd<'_>, &OsStr), b: (BorrowedFd<'_>, &OsStr)) -> Result<bool> {
    let mut kept = open_file(a.0, a.1)?;
    let Ok(mut host) = open_file(b.0, b.1) else { return Ok(false) };
    let (mut left, mut right) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let (one, other) = (fill(&mut kept, &mut left)?, fill(&mut host, &mut right)?);
        if left[..one] != right[..other] {
            return Ok(false);
        }
        if one < BUFFER {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
    Ok(length)
}

/// A path for calls that know no descriptors: the directory is the one held, whatever its name is by now.
fn path_of(directory: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name)
}

pub fn is_foreign(xattr: &[u8]) -> bool {
    OVERLAY.iter().any(|prefix| xattr.starts_with(prefix)) || LABELS.contains(&xattr)
}

/// All extended attributes of what a path leads to that this process may see; the path's own last part is followed
/// in `xattrs_of` alone, for a path of a descriptor.
fn xattrs(path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    collect(
        |list| if list.is_empty() { rustix::fs::llistxattr_query(path) } else { rustix::fs::llistxattr(path, list) },
        |name, value| rustix::fs::lgetxattr(path, name, value),
    )
}

pub fn xattrs_of(path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    collect(
        |list| if list.is_empty() { rustix::fs::listxattr_query(path) } else { rustix::fs::listxattr(path, list) },
        |name, value| rustix::fs::getxattr(path, name, value),
    )
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize>,
    get: impl Fn(&OsStr, &mut [u8]) -> Result<usize>,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let length = match list(&mut []) {
        Ok(0) | Err(Errno::OPNOTSUPP | Errno::ACCESS) => return Ok(found),
        result => result?,
    };
    // Others may add some meanwhile.
    let mut names = vec![0_u8; (length + 4096).min(XATTR_MAX)];
    let length = list(&mut names)?;
    let mut value = vec![0_u8; XATTR_MAX];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match get(OsStr::from_bytes(name), &mut value) {
            Ok(length) => drop(found.insert(name.to_vec(), value[..length].to_vec())),
            // Gone meanwhile, or not for this user to see.
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(found)
}

/// Does another file system hide what is there?
pub fn is_hidden(errno: Errno) -> bool {
    errno == Errno::XDEV
}

/// May this user make and remove entries in a directory?
pub fn accessible(directory: BorrowedFd<'_>) -> bool {
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::accessat(directory, ".", access, AtFlags::EACCESS).is_ok()
}
