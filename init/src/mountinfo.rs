//! The mount points in /proc/self/mountinfo (proc(5)), taken byte by byte: it may be longer than any buffer.

use crate::path;
use core::ffi::CStr;

/// Which field of a line is the mount point, counted from 0.
const MOUNT_POINT: u8 = 4;

/// What has been read of a line.
pub struct MountPoints {
    field: u8,
    /// Digits still to come of an escaped byte (`\040`), and its value so far.
    digits: u8,
    value: u8,
    length: usize,
    path: [u8; path::MAX],
}

impl Default for MountPoints {
    fn default() -> Self {
        Self { field: 0, digits: 0, value: 0, length: 0, path: [0; path::MAX] }
    }
}

impl MountPoints {
    /// Takes the next byte, and gives the line's mount point if it ends there. One that is longer than a system call
    /// takes is passed over.
    pub fn take(&mut self, byte: u8) -> Option<&CStr> {
        match byte {
            b'\n' => {
                self.field = 0;
                self.length = 0;
            }
            b' ' => {
                self.field = self.field.saturating_add(1);
                if self.field == MOUNT_POINT + 1 {
                    *self.path.get_mut(self.length)? = 0;
                    return CStr::from_bytes_until_nul(&self.path).ok();
                }
            }
            _ if self.field != MOUNT_POINT => {}
            b'\\' => (self.digits, self.value) = (3, 0),
            _ if self.digits == 0 => self.push(byte),
            _ => {
                self.digits -= 1;
                self.value = self.value << 3 | byte & 7;
                if self.digits == 0 {
                    self.push(self.value);
                }
            }
        }
        None
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.path.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        let mut points = MountPoints::default();
        text.bytes().filter_map(|byte| points.take(byte).map(|point| point.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn the_fifth_field_is_the_mount_point() {
        let text = "21 1 0:2 / / rw - rootfs none rw\n\
                    22 21 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n\
                    23 21 259:0 /a/b /mnt/disk ro - ext4 /dev/nvme0n1 rw\n";
        assert_eq!(all(text), ["/", "/proc", "/mnt/disk"]);
    }

    #[test]
    fn escaped_bytes_are_read_back() {
        assert_eq!(all("1 1 0:1 / /a\\040b\\011c\\012d\\134e rw - tmpfs x rw\n"), ["/a b\tc\nd\\e"]);
        // Only what would be taken for a separator is escaped.
        assert_eq!(all("1 1 0:1 / /é#x rw - tmpfs x rw\n"), ["/é#x"]);
    }

    #[test]
    fn a_path_that_is_too_long_is_passed_over() {
        let line = |length| format!("1 1 0:1 / /{} rw - tmpfs x rw\n", "x".repeat(length));
        assert_eq!(all(&line(path::MAX - 2))[0].len(), path::MAX - 1);
        assert_eq!(all(&format!("{}{}", line(path::MAX - 1), line(1))), ["/x"]);
        assert_eq!(all(&format!("{}{}", line(3 * path::MAX), line(2))), ["/xx"]);
    }

    #[test]
    fn nonsense_is_no_mount_point() {
        assert!(all("\n\n \n1 2\n\\\\\\\n").is_empty());
    }
}
