//! Archives for tests, hostile ones too: headers are written as they are given, whatever they say.

use std::io::Write;
use tar::Header;

pub const FILE: u8 = b'0';
pub const LINK: u8 = b'1';
pub const SYMLINK: u8 = b'2';
pub const CHARACTER: u8 = b'3';
pub const BLOCK: u8 = b'4';
pub const DIRECTORY: u8 = b'5';
pub const FIFO: u8 = b'6';

/// An archive in the making.
#[derive(Clone, Default)]
pub struct Archive(Vec<u8>);

impl Archive {
    pub fn new() -> Self {
        Self::default()
    }

    /// Any member, with a header that `change` has the last word about.
    pub fn member(
        mut self,
        kind: u8,
        path: impl AsRef<[u8]>,
        link: impl AsRef<[u8]>,
        data: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.as_ref().len()].copy_from_slice(path.as_ref());
        header.as_old_mut().linkname[..link.as_ref().len()].copy_from_slice(link.as_ref());
        header.as_old_mut().linkflag = [kind];
        header.set_mode(if kind == DIRECTORY { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.data(data)
    }

    /// Data as they follow a header: filled up to a whole block.
    pub fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, path: &str, text: &str) -> Self {
        self.member(FILE, path, "", text.as_bytes(), |_| ())
    }

    pub fn directory(self, path: &str) -> Self {
        self.member(DIRECTORY, path, "", b"", |_| ())
    }

    pub fn symlink(self, path: &str, to: &str) -> Self {
        self.member(SYMLINK, path, to, b"", |_| ())
    }

    pub fn link(self, path: &str, to: &str) -> Self {
        self.member(LINK, path, to, b"", |_| ())
    }

    /// Records of an extended header for the member behind it.
    pub fn records(self, records: &[(&str, &[u8])]) -> Self {
        let mut text = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (1..9).map(|digits| rest + digits).find(|all| all.to_string().len() + rest == *all);
            text.extend(format!("{} {key}=", length.expect("a length")).into_bytes());
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        self.member(b'x', "PaxHeaders/x", "", &text, |_| ())
    }

    /// With its end.
    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    /// Without.
    pub fn bytes(self) -> Vec<u8> {
        self.0
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("compress in memory");
    encoder.finish().expect("compress in memory")
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}
