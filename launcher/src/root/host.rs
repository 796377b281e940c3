//! The host's own root, copy-on-write: one overlay or, in a user namespace, one for each of its directories. What can't be
//! overlaid is shown read-only; nothing is ever made in the host's root itself.

use super::inside::{ALL_USERS, DIRECTORY, make_directory};
use super::mount::{READ_ONLY, Result};
use super::{Assembly, LAYERS_OF_USER};
use crate::mounts::Tmpfs;
use rustix::fs::{CWD, Mode, XattrFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tracing::{debug, warn};

/// Has overlay keep the files of the upper layer whole, with no reference to the layer below.
const PLAIN_LAYER: [(&str, &[u8]); 3] = [("index", b"off"), ("metacopy", b"off"), ("xino", b"off")];
/// And directories. In a user namespace it is the rule, and may not be asked for.
const PLAIN_DIRECTORIES: (&str, &[u8]) = ("redirect_dir", b"off");

impl Assembly<'_> {
    /// One overlay, whose upper layer already holds what is fresh: an empty /run and /tmp cost no mount of theirs.
    pub(super) fn overlay_host(&mut self) -> Result<()> {
        let layers: [(&str, &[u8]); 3] = [("lowerdir", b"/"), ("upperdir", b"upper"), ("workdir", b"work")];
        if self.kept.is_some() {
            let options = [&layers[..], &PLAIN_LAYER, &[PLAIN_DIRECTORIES]].concat();
            return self.set_root(self.mounts.create("overlay", &options, self.foreign)?);
        }
        for (name, mode) in [("upper/run", DIRECTORY), ("upper/tmp", ALL_USERS)] {
            rustix::fs::mkdirat(CWD, name, mode)?;
            rustix::fs::setxattr(name, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
        }
        match self.mounts.create("overlay", &layers, self.foreign) {
            Err(Errno::INVAL) => self.bind_host(Path::new("/")),
            mount => self.set_root(mount?),
        }
    }

    /// The same in a user namespace, over a mount of the host's root that shows other owners.
    pub(super) fn overlay_shifted_host(&mut self) -> Result<()> {
        let mut covered = Vec::new();
        for (name, mode, tmpfs) in [("run", DIRECTORY, Tmpfs::RUN), ("tmp", ALL_USERS, Tmpfs::TMP)] {
            let upper = Path::new("upper").join(name);
            rustix::fs::mkdirat(CWD, &upper, mode)?;
            match rustix::fs::setxattr(&upper, "user.overlay.opaque", b"y", XattrFlags::empty()) {
                // Before Linux 6.6 a tmpfs has no attributes of users.
                Err(Errno::OPNOTSUPP) => covered.push((name, tmpfs)),
                result => result?,
            }
        }
        rustix::fs::mkdirat(CWD, "lower", DIRECTORY)?;
        let lower = self.shifted.pop_front().ok_or(Errno::NOENT)?;
        self.mounts.attach(&lower, CWD, "lower")?;
        match self.mounts.create("overlay", &LAYERS_OF_USER, self.foreign) {
            Err(Errno::INVAL) => return self.bind_host(Path::new("lower")),
            mount => self.set_root(mount?)?,
        }
        for (name, tmpfs) in covered {
            let mount = self.create_tmpfs(&tmpfs, MountAttrFlags::empty())?;
            self.mounts.attach(&mount, self.mount_point(name)?, "")?;
        }
        Ok(())
    }

    /// Where the host's root is an overlay of overlays, and no more can be stacked. It is read-only from the start, so
    /// that nothing is made in it.
    fn bind_host(&mut self, host: &Path) -> Result<()> {
        self.warn_of_layers();
        let root = self.mounts.copy(CWD, host, false)?;
        self.mounts.change(&root, self.foreign | READ_ONLY, MountAttrFlags::empty())?;
        self.set_root(root)?;
        self.bind_names_of_layer()?;
        for (name, tmpfs) in [("run", Tmpfs::RUN), ("tmp", Tmpfs::TMP)] {
            let mount = self.create_tmpfs(&tmpfs, MountAttrFlags::empty())?;
            self.mounts.attach(&mount, self.mount_point(name)?, "")?;
        }
        Ok(())
    }

    /// Said once, however many directories it is true of.
    fn warn_of_layers(&mut self) {
        if !std::mem::replace(&mut self.has_warned, true) {
            warn!(
                "the host's root can be no lower layer here: it is read-only inside (hint: -v DIR:DIR makes a \
                 directory writable, --rootfs and --empty give another root)"
            );
        }
    }

    pub(super) fn overlay_directory(&mut self, name: &OsStr) -> Result<()> {
        let paths = ["upper", "work"].map(|layer| Path::new(layer).join(name));
        let lower = Path::new("/").join(name);
        let mode = Mode::from_raw_mode(rustix::fs::stat(&lower)?.st_mode & 0o7777);
        // /etc is there already, with the names.
        make_directory(CWD, &paths[0], mode)?;
        make_directory(CWD, &paths[1], DIRECTORY)?;
        make_directory(self.root()?, Path::new(name), mode)?;
        let [upper, work] = paths;
        let values = [escaped(&lower), escaped(&upper), escaped(&work)];
        let mut options: Vec<(&str, &[u8])> =
            vec![("lowerdir", &values[0]), ("upperdir", &values[1]), ("workdir", &values[2]), ("userxattr", b"")];
        if self.kept.is_some() {
            options.extend(PLAIN_LAYER);
        }
        match self.mounts.create("overlay", &options, self.foreign) {
            Ok(mount) => {
                self.mounts.attach(&mount, self.root()?, name)?;
                if self.is_read_only() {
                    self.parts.push(mount);
                }
                Ok(())
            }
            // What can't be overlaid can be looked at.
            Err(errno) => {
                debug!("no overlay of /{}: {errno}; bound read-only", name.display());
                if errno == Errno::INVAL {
                    self.warn_of_layers();
                }
                self.bind_read_only(name)
            }
        }
    }

    pub(super) fn bind_read_only(&self, name: &OsStr) -> Result<()> {
        self.bind(&Path::new("/").join(name), Path::new(name), self.foreign | READ_ONLY)?;
        if name == "etc" && self.kept.is_none() { self.bind_names_of_layer() } else { Ok(()) }
    }
}

/// A path as a value of overlay's options, where some characters have a meaning.
fn escaped(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().iter().fold(Vec::new(), |mut out, byte| {
        if matches!(byte, b'\\' | b':' | b',') {
            out.push(b'\\');
        }
        out.push(*byte);
        out
    })
}
