//! OCI image layouts (image-spec, "image-layout.md", "manifest.md", "image-index.md"): from a directory to the one
//! manifest for this machine and its layers. Each blob's size and digest are checked before it is used.

use super::fault::{Fault, Result, shown};
use super::index::is_digest;
use super::place::open_file;
use super::stream;
use serde::Deserialize;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The most that a JSON document may have, in bytes.
const LONGEST: u64 = 4 << 20;
/// How deep indexes may be nested.
const DEEPEST: u32 = 4;
/// The most layers that an image may have: more than any can be made with.
const MOST_LAYERS: usize = 1000;

const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const LAYERS: [&str; 9] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

/// This machine, in Go's words, which are OCI's.
const ARCHITECTURE: &str = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => "amd64",
    b"aarch64" => "arm64",
    b"x86" => "386",
    b"powerpc64" => "ppc64le",
    _ => std::env::consts::ARCH,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Deserialize)]
struct Config {
    #[serde(flatten)]
    platform: Platform,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    media_type: String,
    digest: String,
    pub size: u64,
    platform: Option<Platform>,
}

/// An image for this machine, in a layout.
pub struct Image {
    layout: PathBuf,
    /// Of its manifest: 64 hexadecimal digits.
    pub digest: String,
    /// From the lowest to the topmost.
    pub layers: Vec<Descriptor>,
}

/// Does a directory look like a layout?
pub fn is_layout(path: &Path) -> bool {
    path.join("oci-layout").is_file() && path.join("index.json").is_file()
}

impl Image {
    /// Finds the image for this machine in a layout.
    pub fn find(layout: &Path) -> Result<Self> {
        let marker: Marker = parsed("oci-layout", &document(&layout.join("oci-layout"), "oci-layout")?)?;
        if !marker.image_layout_version.starts_with("1.") {
            let version = shown(marker.image_layout_version.as_bytes());
            return Err(Fault::content(format!("its layout is of version {version}, nsl knows 1")));
        }
        let index: Index = parsed("index.json", &document(&layout.join("index.json"), "index.json")?)?;
        let mut found = Vec::new();
        collect(layout, &index, 0, &mut found)?;
        found.dedup_by(|a, b| a.digest == b.digest);
        let [manifest] = &found[..] else {
            return Err(Fault::content(match found.len() {
                0 => format!("it holds no image for linux/{ARCHITECTURE}"),
                count => format!("it holds {count} images for this machine, nsl takes one"),
            }));
        };
        let Manifest { config, layers } = parsed("the manifest", &blob(layout, manifest)?)?;
        known(&config, &CONFIGS, "the config")?;
        let Config { platform } = parsed("the config", &blob(layout, &config)?)?;
        if !platform.is_here() {
            let (os, architecture) = (shown(platform.os.as_bytes()), shown(platform.architecture.as_bytes()));
            return Err(Fault::content(format!("its image is for {os}/{architecture}, not for linux/{ARCHITECTURE}")));
        }
        if layers.len() > MOST_LAYERS {
            return Err(Fault::content(format!("{} layers are too many", layers.len())));
        }
        for layer in &layers {
            known(layer, &LAYERS, "a layer")?;
            layer.hex()?;
        }
        Ok(Self { layout: layout.to_path_buf(), digest: manifest.hex()?.to_owned(), layers })
    }

    /// Where a layer's file is.
    pub fn file(&self, layer: &Descriptor) -> Result<PathBuf> {
        Ok(blob_path(&self.layout, layer.hex()?))
    }
}

impl Platform {
    fn is_here(&self) -> bool {
        self.os == "linux" && self.architecture == ARCHITECTURE
    }
}

impl Descriptor {
    /// The digits of its SHA-256: another algorithm's would have to be checked too.
    pub fn hex(&self) -> Result<&str> {
        let hex = self.digest.strip_prefix("sha256:").filter(|hex| is_digest(hex));
        hex.ok_or_else(|| Fault::content(format!("'{}' is no SHA-256", shown(self.digest.as_bytes()))))
    }
}

/// The manifests for this machine in an index: of each index in it, the first that fits, as the specification has it.
fn collect(layout: &Path, index: &Index, depth: u32, found: &mut Vec<Descriptor>) -> Result<()> {
    for one in &index.manifests {
        if one.platform.as_ref().is_some_and(|platform| !platform.is_here()) {
            continue;
        }
        if INDEXES.contains(&&*one.media_type) {
            if depth == DEEPEST {
                return Err(Fault::content("its indexes are nested too deeply"));
            }
            let inner = parsed("an index", &blob(layout, one)?)?;
            collect(layout, &inner, depth + 1, found)?;
        } else if MANIFESTS.contains(&&*one.media_type) {
            one.hex()?;
            found.push(Descriptor {
                media_type: one.media_type.clone(),
                digest: one.digest.clone(),
                size: one.size,
                platform: None,
            });
        }
        if depth > 0 && !found.is_empty() {
            return Ok(());
        }
    }
    Ok(())
}

fn known(descriptor: &Descriptor, types: &[&str], what: &str) -> Result<()> {
    if types.contains(&&*descriptor.media_type) {
        return Ok(());
    }
    let kind = shown(descriptor.media_type.as_bytes());
    Err(Fault::content(format!("{what} is of the type {kind}, which nsl does not know")))
}

fn blob_path(layout: &Path, hex: &str) -> PathBuf {
    layout.join("blobs/sha256").join(hex)
}

/// A document among the blobs, checked.
fn blob(layout: &Path, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let hex = descriptor.hex()?;
    let bytes = document(&blob_path(layout, hex), &format!("blob {hex}"))?;
    check(hex, descriptor.size, &stream::digest_of(&bytes), bytes.len() as u64)?;
    Ok(bytes)
}

/// A blob must have the size and the digest that it is known by.
pub fn check(hex: &str, size: u64, found: &str, found_size: u64) -> Result<()> {
    if found_size != size {
        return Err(Fault::content(format!("blob {hex} has {found_size} bytes, not {size}")));
    }
    if found != hex {
        return Err(Fault::content(format!("blob {hex} is not what its digest says")));
    }
    Ok(())
}

fn document(path: &Path, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open_file(path)?.take(LONGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| Fault::read(what, &error))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Fault::content(format!("{what} is longer than {LONGEST} bytes")));
    }
    Ok(bytes)
}

fn parsed<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Fault::content(format!("{what} makes no sense: {}", shown(error.to_string().as_bytes()))))
}
