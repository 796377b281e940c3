//! Bytes of an archive: what compresses them is told by their first bytes, not by a name. gzip and zstd are undone,
//! their checksums checked, and what stands behind them is refused.

use super::fault::{Fault, Result};
use super::members::checksum;
use super::watch::Watch;
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Read, Seek};

const BUFFER: usize = 128 * 1024;
/// What is decoded of a zstd frame at once, in bytes.
const STEP: usize = 256 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Tar,
    Gzip,
    Zstd,
}

impl Format {
    /// How many bytes `of` wants to see: a header of tar.
    pub const HEAD: usize = 512;

    /// What begins like this; None if it is no archive that nsl reads.
    pub fn of(head: &[u8]) -> Option<Self> {
        let is_skippable = head.len() > 3 && head[0] & 0xf0 == 0x50 && head[1..4] == [0x2a, 0x4d, 0x18];
        if head.starts_with(&[0x1f, 0x8b, 8]) {
            Some(Self::Gzip)
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable {
            Some(Self::Zstd)
        } else {
            let header = head.first_chunk::<{ Self::HEAD }>()?;
            // The oldest archives have no magic, but each has a checksum; an empty one is zeros.
            let is_tar = &header[257..262] == b"ustar"
                || header.iter().all(|byte| *byte == 0)
                || tar::Header::from_byte_slice(header).cksum().ok() == Some(checksum(header));
            is_tar.then_some(Self::Tar)
        }
    }
}

/// The bytes of the archive in `input`, whatever compresses them, and if they tell themselves that they are complete.
pub fn decoded<'a>(mut input: impl Read + 'a) -> Result<(Box<dyn Read + 'a>, bool)> {
    let mut head = Vec::new();
    let read = input.by_ref().take(Format::HEAD as u64).read_to_end(&mut head);
    read.map_err(|error| Fault::read("it", &error))?;
    let format = Format::of(&head);
    let input = BufReader::with_capacity(BUFFER, io::Cursor::new(head).chain(input));
    Ok(match format {
        Some(Format::Tar) => (Box::new(input), false),
        Some(Format::Gzip) => (Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(input))), true),
        Some(Format::Zstd) => (Box::new(BufReader::with_capacity(BUFFER, Zstd::new(input))), true),
        None => return Err(Fault::content("it is no tar archive, plain or compressed by gzip or zstd")),
    })
}

/// zstd frames, one behind the other (RFC 8878): the decoder knows one.
struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    is_within: bool,
    produced: u64,
}

impl<R: BufRead> Zstd<R> {
    fn new(input: R) -> Self {
        Self { input, decoder: FrameDecoder::new(), is_within: false, produced: 0 }
    }

    /// Starts the next frame; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.input) {
                Ok(()) => {
                    (self.is_within, self.produced) = (true, 0);
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut self.input.by_ref().take(length.into()), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(damaged(&error)),
            }
        }
        Ok(false)
    }

    fn end(&mut self) -> io::Result<()> {
        self.is_within = false;
        let (told, counted) = (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
        let size = self.decoder.content_size();
        if told.is_some() && told != counted {
            return Err(io::Error::other("the checksum of a zstd frame is wrong"));
        }
        if size != 0 && size != self.produced {
            return Err(io::Error::other("the size of a zstd frame is wrong"));
        }
        Ok(())
    }
}

/// A frame that ends too early is damaged like any other; ruzstd's errors hide which it was.
fn damaged(error: &FrameDecoderError) -> io::Error {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
        }
        cause = error.source();
    }
    io::Error::other(error.to_string())
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_within && !self.begin()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let decoded = self.decoder.decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBytes(STEP));
                decoded.map_err(|error| damaged(&error))?;
            }
            match self.decoder.read(buffer)? {
                0 => self.end()?,
                length => {
                    self.produced += length as u64;
                    return Ok(length);
                }
            }
        }
    }
}

/// The SHA-256 of all that `input` has, in hexadecimal digits, and how many bytes that were.
pub fn digest(input: &mut impl Read, watch: &Watch) -> Result<(String, u64)> {
    let mut sum = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        watch.check()?;
        match input.read(&mut buffer) {
            Ok(0) => return Ok((hex(&sum.finalize()), size)),
            Ok(length) => {
                sum.update(&buffer[..length]);
                size += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::read("it", &error)),
        }
    }
}

/// The SHA-256 of `bytes`, in hexadecimal digits.
pub fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(digit.into(), 16).unwrap_or('?'));
        }
        out
    })
}

/// Back to the start of a file that has been read.
pub fn rewind(file: &mut (impl Read + Seek)) -> Result<()> {
    file.rewind().map_err(|error| Fault::read("it", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        assert_eq!(Format::of(&[0x1f, 0x8b, 8, 0]), Some(Format::Gzip));
        assert_eq!(Format::of(&[0x28, 0xb5, 0x2f, 0xfd, 0]), Some(Format::Zstd));
        assert_eq!(Format::of(&[0x5e, 0x2a, 0x4d, 0x18, 0]), Some(Format::Zstd));
        assert_eq!(Format::of(&[0; 512]), Some(Format::Tar));
        let mut header = tar::Header::new_old();
        header.set_cksum();
        assert_eq!(Format::of(header.as_bytes()), Some(Format::Tar));
        for other in [&b""[..], b"PK\x03\x04", b"\xfd7zXZ\0", &[b'x'; 512], &[0; 511]] {
            assert_eq!(Format::of(other), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn digests_are_those_of_sha256sum() {
        assert_eq!(digest_of(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
