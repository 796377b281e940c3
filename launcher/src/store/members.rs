//! The members of a tar archive, one by one, in bounded memory: headers, long names, extended headers, maps of holes.
//! The fields of a header are the `tar` crate's affair. Nothing is written here, and no name is judged.

use super::fault::{Fault, Result, shown};
use super::pax::{self, Records};
use super::watch::Watch;
use std::io::Read;
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

const BLOCK: usize = 512;
/// The most that a long name or an extended header may have; what is longer than a path can be is none.
const LONGEST_HEADER: u64 = 1 << 20;
/// The most pieces of data that a file with holes may have.
const MOST_PIECES: usize = 1 << 18;
/// What is read at once where nobody wants it.
const CHUNK: usize = 64 * 1024;

/// Seconds since 1970, and nanoseconds from there on.
pub type Time = (i64, u32);

/// What a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    Device,
}

/// A piece of a file's data: where it belongs in the file, and its length, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    pub offset: u64,
    pub length: u64,
}

#[derive(Debug)]
pub struct Member {
    /// As it stands in the archive.
    pub path: Vec<u8>,
    /// What a link of either kind leads to, as it stands there.
    pub link: Vec<u8>,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The size of the file, holes included.
    pub size: u64,
    /// Where its data belong: in order, not overlapping, within `size`.
    pub pieces: Vec<Piece>,
}

/// Reads an archive from its start to its end.
pub struct Members<'a, R> {
    input: R,
    watch: &'a Watch,
    /// Data of the present member that are still to be read, and the padding behind them.
    left: u64,
    padding: u64,
    /// An archive must end with a block of zeros; without, nobody knows if it is whole.
    must_end: bool,
    ended: bool,
}

impl<'a, R: Read> Members<'a, R> {
    /// `must_end`: nothing else tells that the input is complete.
    pub fn new(input: R, watch: &'a Watch, must_end: bool) -> Self {
        Self { input, watch, left: 0, padding: 0, must_end, ended: false }
    }

    /// The next member; what is left of the one before is skipped. None at the end, when all has been read.
    pub fn next(&mut self) -> Result<Option<Member>> {
        let mut long = Records::default();
        let mut local = Records::default();
        let mut is_pending = false;
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return if is_pending { Err(truncated()) } else { Ok(None) };
            };
            let kind = header.entry_type();
            let size = header.entry_size().map_err(|_| Fault::content("the size of an entry is no number"))?;
            match kind {
                EntryType::GNULongName => long.path = Some(self.text(size)?),
                EntryType::GNULongLink => long.link = Some(self.text(size)?),
                EntryType::XHeader => {
                    let bytes = self.bytes(size)?;
                    local = Records::parse(&bytes).map_err(|words| Fault::entry(&header.path_bytes(), words))?;
                }
                // Comments, for the most part; what they say of all members, no archive of a root needs.
                EntryType::XGlobalHeader => drop(self.bytes(size)?),
                _ if kind.as_byte() == b'V' => self.begin(size),
                _ => return self.member(&header, size, long, local).map(Some),
            }
            is_pending |= !matches!(kind, EntryType::XGlobalHeader) && kind.as_byte() != b'V';
        }
    }

    /// Data of the present member, as much as there is at once; 0 at its end.
    pub fn data(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let length = self.some(&mut buffer[..most])?;
        if length == 0 {
            return Err(truncated());
        }
        self.left -= length as u64;
        Ok(length)
    }

    fn member(&mut self, header: &Header, size: u64, long: Records, local: Records) -> Result<Member> {
        let path = local.path.or(long.path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = local.link.or(long.link);
        let link = link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let refused = |words: &str| Fault::entry(&path, words);
        let kind = kind_of(header.entry_type(), &path).ok_or_else(|| {
            refused(&format!(
                "it is of the kind '{}', which nsl does not know",
                header.entry_type().as_byte().escape_ascii()
            ))
        })?;
        let field = |bytes: &[u8], value: std::io::Result<u64>, words: &str| match value {
            Ok(value) => Ok(value),
            Err(_) if bytes.iter().all(|byte| matches!(byte, 0 | b' ')) => Ok(0),
            Err(_) => Err(refused(words)),
        };
        let old = header.as_old();
        let id = |value: u64| u32::try_from(value).ok().filter(|id| *id != u32::MAX);
        let owner = local.uid.map_or_else(|| field(&old.uid, header.uid(), "its owner is no number"), Ok)?;
        let group = local.gid.map_or_else(|| field(&old.gid, header.gid(), "its group is no number"), Ok)?;
        let mode = field(&old.mode, header.mode().map(u64::from), "its mode is no number")? as u32;
        let mtime = field(&old.mtime, header.mtime(), "its time is no number")?.cast_signed();
        let (uid, gid) = (id(owner), id(group));
        let (Some(uid), Some(gid)) = (uid, gid) else { return Err(refused("nobody can be its owner")) };
        // What has no data has no size either, whatever its header says: so do GNU tar and all others.
        let size = if kind == Kind::File { local.size.unwrap_or(size) } else { 0 };
        let (size, pieces) = if kind != Kind::File {
            (0, Vec::new())
        } else if local.sparse.is_used() {
            self.begin(size);
            self.sparse_of_records(&path, &local.sparse)?
        } else if header.entry_type().is_gnu_sparse() {
            let holes = self.sparse_of_header(&path, header)?;
            self.begin(size);
            holes
        } else {
            self.begin(size);
            (size, vec![Piece { offset: 0, length: size }])
        };
        check_pieces(&path, size, &pieces, self.left)?;
        let mtime = local.mtime.unwrap_or((mtime, 0));
        Ok(Member { path, link, kind, mode: mode & 0o7777, uid, gid, mtime, xattrs: local.xattrs, size, pieces })
    }

    /// Old GNU format: four pieces in the header, 21 in each block behind it.
    fn sparse_of_header(&mut self, path: &[u8], header: &Header) -> Result<(u64, Vec<Piece>)> {
        let malformed = || Fault::entry(path, "its map of holes is malformed");
        let gnu = header.as_gnu().ok_or_else(malformed)?;
        let mut pieces = Vec::new();
        let mut take = |entries: &[GnuSparseHeader]| {
            for entry in entries.iter().filter(|entry| !entry.is_empty()) {
                let (Ok(offset), Ok(length)) = (entry.offset(), entry.length()) else { return Err(malformed()) };
                pieces.push(Piece { offset, length });
            }
            if pieces.len() > MOST_PIECES { Err(malformed()) } else { Ok(()) }
        };
        take(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut extension = GnuExtSparseHeader::new();
            self.exactly(extension.as_mut_bytes())?;
            take(extension.sparse())?;
            more = extension.is_extended();
        }
        Ok((gnu.real_size().map_err(|_| malformed())?, pieces))
    }

    /// The formats in extended headers; that of version 1.0 has its map ahead of the data.
    fn sparse_of_records(&mut self, path: &[u8], sparse: &pax::Sparse) -> Result<(u64, Vec<Piece>)> {
        let malformed = || Fault::entry(path, "its map of holes is malformed");
        let numbers = match (sparse.major, sparse.minor) {
            (0, 0 | 1) => sparse.map.clone(),
            (1, 0) => self.numbers_ahead().map_err(|fault| fault.unwrap_or_else(malformed))?,
            _ => return Err(Fault::entry(path, "its map of holes is of a version that nsl does not know")),
        };
        let size = sparse.real_size.ok_or_else(malformed)?;
        if numbers.len() % 2 != 0 {
            return Err(malformed());
        }
        Ok((size, numbers.chunks(2).map(|pair| Piece { offset: pair[0], length: pair[1] }).collect()))
    }

    /// A number of pairs and the pairs, a line each, up to the end of a block. `Err(None)`: they are malformed.
    fn numbers_ahead(&mut self) -> std::result::Result<Vec<u64>, Option<Fault>> {
        let mut numbers = Vec::new();
        let mut wanted = None;
        let mut digits = Vec::new();
        loop {
            let mut block = [0; BLOCK];
            if self.left < BLOCK as u64 {
                return Err(None);
            }
            self.exactly(&mut block)?;
            self.left -= BLOCK as u64;
            for byte in block {
                if byte != b'\n' {
                    digits.push(byte);
                    continue;
                }
                let number = pax::number(&digits).ok_or(None)?;
                digits.clear();
                match wanted {
                    None if number > MOST_PIECES as u64 => return Err(None),
                    None => wanted = Some(2 * number as usize),
                    Some(_) => numbers.push(number),
                }
                if wanted == Some(numbers.len()) {
                    return Ok(numbers);
                }
            }
            if digits.len() > 20 {
                return Err(None);
            }
        }
    }

    /// The next header; None once the end of the archive is read, to the end of the input.
    fn header(&mut self) -> Result<Option<Header>> {
        if self.ended {
            return Ok(None);
        }
        let mut header = Header::new_old();
        match self.fill(header.as_mut_bytes())? {
            0 if self.must_end => return Err(truncated()),
            0 => {
                self.ended = true;
                return Ok(None);
            }
            BLOCK => {}
            _ => return Err(truncated()),
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            self.ended = true;
            self.drain()?;
            return Ok(None);
        }
        let sum = checksum(header.as_bytes());
        if header.cksum().ok() != Some(sum) {
            return Err(Fault::content("the header of an entry is damaged: its checksum is wrong"));
        }
        Ok(Some(header))
    }

    /// Behind the end there may be zeros, and nothing else: what is read by nobody has no place in an archive.
    fn drain(&mut self) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = self.some(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            if buffer[..length].iter().any(|byte| *byte != 0) {
                return Err(Fault::content("something stands behind its end"));
            }
        }
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn skip(&mut self) -> Result<()> {
        if self.left == 0 && self.padding == 0 {
            return Ok(());
        }
        let mut buffer = vec![0; CHUNK];
        while self.data(&mut buffer)? > 0 {}
        let padding = std::mem::take(&mut self.padding) as usize;
        self.exactly(&mut buffer[..padding])
    }

    /// The data of a header that is a member itself.
    fn bytes(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > LONGEST_HEADER {
            return Err(Fault::content(format!("a name or header of {size} bytes is too long")));
        }
        self.begin(size);
        let mut bytes = vec![0; size as usize];
        self.exactly(&mut bytes)?;
        self.left = 0;
        Ok(bytes)
    }

    /// A long name, which ends with a NUL.
    fn text(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut bytes = self.bytes(size)?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    fn exactly(&mut self, buffer: &mut [u8]) -> Result<()> {
        if self.fill(buffer)? < buffer.len() { Err(truncated()) } else { Ok(()) }
    }

    /// As much as there is, up to the whole buffer.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.some(&mut buffer[filled..])? {
                0 => break,
                length => filled += length,
            }
        }
        Ok(filled)
    }

    fn some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.watch.check()?;
        loop {
            match self.input.read(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => return result.map_err(|error| Fault::read("it", &error)),
            }
        }
    }
}

fn truncated() -> Fault {
    Fault::content("it ends too early")
}

/// The sum of a header's bytes, with those of the sum itself taken as spaces.
pub fn checksum(header: &[u8; BLOCK]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(&header[..148]) + 8 * u32::from(b' ') + sum(&header[156..])
}

fn kind_of(kind: EntryType, path: &[u8]) -> Option<Kind> {
    Some(match kind {
        // Of the time when there was no kind for directories.
        EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Link => Kind::HardLink,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Char | EntryType::Block => Kind::Device,
        EntryType::Directory => Kind::Directory,
        EntryType::Fifo => Kind::Fifo,
        _ => return None,
    })
}

fn check_pieces(path: &[u8], size: u64, pieces: &[Piece], data: u64) -> Result<()> {
    let mut end = 0;
    let mut sum = 0;
    for piece in pieces {
        let fits = piece.offset >= end && piece.offset.checked_add(piece.length).is_some_and(|end| end <= size);
        if !fits {
            return Err(Fault::entry(path, "its map of holes lies"));
        }
        end = piece.offset + piece.length;
        sum += piece.length;
    }
    if sum == data { Ok(()) } else { Err(Fault::content(format!("{}: its map of holes lies", shown(path)))) }
}
