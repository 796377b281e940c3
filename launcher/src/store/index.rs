//! Which digest a file has, without reading it again: an entry for each device and inode, which holds as long as size
//! and times are the same.

use super::place::{self, Store};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tracing::debug;

/// A file changed as lately as this may be changed again without its times telling: the kernel's clock for them ticks.
const TICK: Duration = Duration::from_millis(50);

/// A file as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    name: String,
    state: String,
    changed: SystemTime,
}

impl Identity {
    pub fn of(found: &Metadata) -> Self {
        let changed = u64::try_from(found.ctime()).unwrap_or_default();
        Self {
            name: format!("{:x}-{:x}", found.dev(), found.ino()),
            state: format!(
                "{} {}.{:09} {}.{:09}",
                found.len(),
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec()
            ),
            changed: SystemTime::UNIX_EPOCH + Duration::new(changed, found.ctime_nsec() as u32),
        }
    }

    /// Was the file left alone long enough before `time` for its times to tell of any change after it?
    fn is_settled(&self, time: SystemTime) -> bool {
        time.duration_since(self.changed).is_ok_and(|age| age > TICK)
    }
}

/// The root of this file in the store at `store`, if the index has it and it is there.
pub fn find(store: &Path, identity: &Identity) -> Option<PathBuf> {
    let entry = std::fs::read_to_string(store.join(place::INDEX).join(&identity.name)).ok()?;
    let digest = entry.strip_prefix(&identity.state)?.strip_prefix(' ')?.strip_suffix('\n')?;
    let root = place::root(store, digest);
    (is_digest(digest) && place::is_own(store) && root.symlink_metadata().is_ok_and(|found| found.is_dir()))
        .then_some(root)
}

/// Notes that a file that was found so, and read from `time` on, has this digest.
pub fn note(store: &Store, identity: &Identity, time: SystemTime, digest: &str) {
    if !identity.is_settled(time) {
        return;
    }
    let entry = format!("{} {digest}\n", identity.state);
    if let Err(errno) = store.write(&store.index, &identity.name, entry.as_bytes()) {
        // Then the file is read again at the next start.
        debug!("no entry in the index: {errno}");
    }
}

/// Is this a SHA-256 in hexadecimal digits, so that it can be a name?
pub fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_still_change_unseen_is_not_noted() {
        let now = SystemTime::now();
        let identity = |changed| Identity { name: "1-2".into(), state: "0".into(), changed };
        assert!(identity(now - Duration::from_secs(1)).is_settled(now));
        assert!(!identity(now).is_settled(now));
        assert!(!identity(now + Duration::from_secs(9)).is_settled(now));
    }

    #[test]
    fn digests_are_64_digits() {
        assert!(is_digest(&"0f".repeat(32)));
        for bad in ["", "..", &"0F".repeat(32), &"0f".repeat(31), &format!("../{}", "0".repeat(61))] {
            assert!(!is_digest(bad), "{bad}");
        }
    }
}
