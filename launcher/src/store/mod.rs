//! Roots from archives and OCI layouts: each is unpacked once, into a store with a directory for each digest, and is
//! found there from then on. What a root is used for is not known here, and nothing in the store is ever changed.

mod fault;
mod index;
mod layers;
mod members;
mod oci;
mod pax;
mod place;
mod stream;
#[cfg(test)]
mod tests;
mod tree;
mod unpack;
mod watch;

pub use fault::Fault;
pub use place::location;

use crate::error::Result;
use crate::hints;
use index::Identity;
use oci::Image;
use place::{New, Store, open_file};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};
use stream::Format;
use tracing::info;
use unpack::Counts;
use watch::Watch;

/// Something that can be unpacked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A tar archive, which may be compressed by gzip or zstd.
    Archive(PathBuf),
    /// A directory that is an OCI image layout.
    Layout(PathBuf),
}

impl Source {
    /// What is at `path`, a file or a directory: None for what is neither an archive nor a layout.
    pub fn recognise(path: &Path) -> std::io::Result<Option<Self>> {
        if path.is_dir() {
            return Ok(oci::is_layout(path).then(|| Self::Layout(path.to_path_buf())));
        }
        let mut head = Vec::new();
        File::open(path)?.take(Format::HEAD as u64).read_to_end(&mut head)?;
        Ok(Format::of(&head).map(|_| Self::Archive(path.to_path_buf())))
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Archive(path) | Self::Layout(path) => path,
        }
    }

    /// The file that changes whenever what is unpacked does.
    fn key(&self) -> PathBuf {
        match self {
            Self::Archive(path) => path.clone(),
            Self::Layout(path) => path.join("index.json"),
        }
    }
}

/// The directory with the root in the store, where it is put now unless it is there.
pub fn unpacked(source: &Source) -> Result<PathBuf> {
    unpacked_in(&place::location()?, source)
}

/// Removes from the caller's store, if there is one, what a killed nsl had not unpacked to the end. Returns how many.
pub fn sweep() -> usize {
    let location = place::location().ok().filter(|path| path.is_dir());
    location.and_then(|path| Store::open(&path).ok()).map_or(0, |store| store.sweep())
}

fn unpacked_in(store: &Path, source: &Source) -> Result<PathBuf> {
    let step = |fault| hints::unpack(source.path(), fault);
    let file = open_file(&source.key()).map_err(step)?;
    let found = identity(&file).map_err(step)?;
    match index::find(store, &found) {
        Some(root) => Ok(root),
        None => added(store, source, file, &found).map_err(step),
    }
}

fn identity(file: &File) -> fault::Result<Identity> {
    file.metadata().map(|found| Identity::of(&found)).map_err(|error| Fault::read("it", &error))
}

/// What is unpacked, opened.
enum Content {
    Archive(File),
    Image(Image),
}

/// Reads the source, and unpacks it unless the store has the same already.
fn added(store: &Path, source: &Source, file: File, found: &Identity) -> fault::Result<PathBuf> {
    let begun = SystemTime::now();
    let store = Store::open(store)?;
    store.sweep();
    let (content, digest) = opened(source, file)?;
    let root = if let Some(root) = store.find(&digest) {
        root
    } else {
        let watch = Watch::new(source.path(), "unpacking")?;
        match store.begin(&digest, &watch)? {
            Some(new) => unpack(source, content, found, new, &watch)?,
            None => store.root(&digest),
        }
    };
    index::note(&store, found, begun, &digest);
    Ok(root)
}

fn opened(source: &Source, mut file: File) -> fault::Result<(Content, String)> {
    match source {
        Source::Archive(path) => {
            let watch = Watch::new(path, "reading")?;
            watch.expect(file.metadata().map_or(0, |found| found.len()));
            let (digest, _) = stream::digest(&mut watch.counted(&mut file), &watch)?;
            Ok((Content::Archive(file), digest))
        }
        Source::Layout(path) => {
            let image = Image::find(path)?;
            let digest = image.digest.clone();
            Ok((Content::Image(image), digest))
        }
    }
}

/// What fails is removed, before the watch lets the signals in that may end nsl.
fn unpack(source: &Source, content: Content, found: &Identity, new: New<'_>, watch: &Watch) -> fault::Result<PathBuf> {
    let begun = Instant::now();
    let (root, times) = (new.root()?, new.nameless()?);
    let counts = match content {
        Content::Archive(mut file) => {
            let counts = layers::unpack_archive(&mut file, root, times, watch)?;
            if identity(&file)? != *found {
                return Err(Fault::content("it changed while it was read"));
            }
            counts
        }
        Content::Image(image) => layers::unpack_image(&image, root, times, watch)?,
    };
    watch.check()?;
    let root = new.keep()?;
    tell(source.path(), counts, begun);
    Ok(root)
}

fn tell(path: &Path, counts: Counts, begun: Instant) {
    let left_out = [(counts.devices, "devices"), (counts.owners, "owners"), (counts.attributes, "extended attributes")];
    let left_out = left_out.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let left_out = left_out.collect::<Vec<_>>().join(", ");
    let without = if left_out.is_empty() { "" } else { ", without " };
    info!(
        "unpacked {} in {} ms: {} entries{without}{left_out}",
        path.display(),
        begun.elapsed().as_millis(),
        counts.entries
    );
}
