//! An archive, or the layers of an image, written into one tree (OCI image-spec, "layer.md"): a layer's whiteouts
//! remove what the layers below it have put there, and nothing of its own.

use super::fault::{Fault, Result};
use super::identity;
use super::members::{Member, Members};
use super::oci::{self, Image};
use super::place::open_file;
use super::stream::{self, decoded};
use super::tree::{self, Name};
use super::unpack::{Counts, Unpacker};
use super::watch::Watch;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

const WHITEOUT: &[u8] = b".wh.";
/// Hides all that the layers below have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Of aufs, which invented them: they say something about the layer itself.
const RESERVED: &[u8] = b".wh..wh.";

/// Writes a plain archive into `root`; `times` is an empty file for the unpacker.
pub fn unpack_archive(file: &mut File, root: OwnedFd, times: File, watch: &Watch) -> Result<Counts> {
    stream::rewind(file)?;
    watch.expect(file.metadata().map_or(0, |found| found.len()));
    let mut unpacker = Unpacker::new(root, times, false, watch);
    read(watch.counted(file), false, watch, |member, members| unpacker.put(member, members))?;
    finish(unpacker)
}

/// Writes an image into `root`, layer by layer.
pub fn unpack_image(image: &Image, root: OwnedFd, times: File, watch: &Watch) -> Result<Counts> {
    watch.expect(image.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add));
    let mut unpacker = Unpacker::new(root, times, true, watch);
    for (number, layer) in image.layers.iter().enumerate() {
        let mut file = open_file(&image.file(layer)?)?;
        let found = identity(&file)?;
        let (digest, size) = stream::digest(&mut file, watch)?;
        oci::check(layer.hex()?, layer.size, &digest, size)?;
        stream::rewind(&mut file)?;
        let named = |fault| match fault {
            Fault::Content(words) => Fault::Content(format!("layer {}: {words}", number + 1)),
            fault => fault,
        };
        // Whiteouts first, wherever they stand in it: what the layer itself has stays.
        if number > 0 {
            let applied = read(&file, true, watch, |member, _| apply_whiteout(&mut unpacker, member));
            applied.map_err(named)?;
            stream::rewind(&mut file)?;
        }
        let put = read(watch.counted(&file), true, watch, |member, members| match whiteout(member)? {
            None => unpacker.put(member, members),
            Some(_) => Ok(()),
        });
        put.map_err(named)?;
        if identity(&file)? != found {
            return Err(named(Fault::content("it changed while it was read")));
        }
    }
    finish(unpacker)
}

fn finish(unpacker: Unpacker<'_>) -> Result<Counts> {
    match unpacker.finish()? {
        Counts { entries: 0, .. } => Err(Fault::content("it holds nothing")),
        counts => Ok(counts),
    }
}

/// Hands each member to `take`; `is_checked` if a digest has told that the file is complete.
fn read(
    file: impl Read,
    is_checked: bool,
    watch: &Watch,
    mut take: impl FnMut(&Member, &mut Members<'_, Box<dyn Read + '_>>) -> Result<()>,
) -> Result<()> {
    let (input, tells_its_end) = decoded(file)?;
    let mut members = Members::new(input, watch, !is_checked && !tells_its_end);
    while let Some(member) = members.next()? {
        take(&member, &mut members)?;
    }
    Ok(())
}

/// What a whiteout hides.
#[derive(PartialEq, Eq, Debug)]
enum Whiteout {
    All,
    One(Vec<u8>),
    Nothing,
}

/// Reads a member's name as a whiteout, which it may not be.
fn whiteout(member: &Member) -> Result<Option<Whiteout>> {
    let name = Name::new(&member.path)?;
    let last = name.split().1.as_bytes();
    Ok(match last.strip_prefix(WHITEOUT) {
        None => None,
        Some(_) if last == OPAQUE => Some(Whiteout::All),
        Some(_) if last.starts_with(RESERVED) => Some(Whiteout::Nothing),
        Some(b"" | b"." | b"..") => return Err(Fault::entry(&member.path, "it hides nothing that has a name")),
        Some(hidden) => Some(Whiteout::One(hidden.to_vec())),
    })
}

fn apply_whiteout(unpacker: &mut Unpacker<'_>, member: &Member) -> Result<()> {
    let Some(whiteout) = whiteout(member)? else { return Ok(()) };
    let name = Name::new(&member.path)?;
    let failed = |errno| Fault::os(&member.path, errno);
    let tree = unpacker.tree();
    let directory = match tree.find(name.split().0) {
        Ok(Some(directory)) => directory,
        // Nothing is there to be hidden.
        Ok(None) | Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
        Err(errno) => return Err(failed(errno)),
    };
    tree.forget();
    match whiteout {
        Whiteout::Nothing => Ok(()),
        Whiteout::One(hidden) => tree::remove(directory.as_fd(), OsStr::from_bytes(&hidden)),
        Whiteout::All => tree::open(directory.as_fd()).and_then(|directory| tree::empty(&directory)),
    }
    .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::members::Kind;

    #[test]
    fn whiteouts_are_known_by_their_names() {
        let read = |path: &str| {
            let path = path.as_bytes().to_vec();
            let (link, xattrs, pieces) = (Vec::new(), Vec::new(), Vec::new());
            let kind = Kind::File;
            whiteout(&Member { path, link, kind, mode: 0, uid: 0, gid: 0, mtime: (0, 0), xattrs, size: 0, pieces })
                .map_err(|_| ())
        };
        assert_eq!(read("a/.wh.b"), Ok(Some(Whiteout::One(b"b".to_vec()))));
        assert_eq!(read("a/.wh..wh..opq"), Ok(Some(Whiteout::All)));
        assert_eq!(read(".wh..wh.plnk/x"), Ok(None));
        assert_eq!(read(".wh..wh.aufs"), Ok(Some(Whiteout::Nothing)));
        assert_eq!(read(".wh.a/b"), Ok(None));
        for bad in [".wh.", "a/.wh..", "a/.wh...", "../.wh.a"] {
            assert_eq!(read(bad), Err(()), "{bad}");
        }
    }
}
