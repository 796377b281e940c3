//! OCI image layouts for tests, hostile ones too.

use crate::harness::{DIR, Host};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// A layout in a directory of the host.
pub struct Layout {
    directory: PathBuf,
    pub path: String,
}

pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A descriptor, as JSON.
pub fn descriptor(kind: &str, digest: &str, size: usize, more: &str) -> String {
    format!(r#"{{"mediaType":"{kind}","digest":"sha256:{digest}","size":{size}{more}}}"#)
}

pub fn platform(architecture: &str) -> String {
    format!(r#","platform":{{"os":"linux","architecture":"{architecture}"}}"#)
}

impl Layout {
    pub fn new(host: &Host, name: &str) -> Self {
        let directory = host.path(DIR).join(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("blobs/sha256")).expect("make a layout");
        let layout = Self { directory, path: format!("{DIR}/{name}") };
        layout.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        layout
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.directory.join(name), bytes).expect("write a file of a layout");
    }

    /// Adds a blob; its descriptor, with `more` behind the size.
    pub fn blob(&self, kind: &str, bytes: &[u8], more: &str) -> String {
        let digest = digest(bytes);
        self.write(&format!("blobs/sha256/{digest}"), bytes);
        descriptor(kind, &digest, bytes.len(), more)
    }

    pub fn config(&self, architecture: &str) -> String {
        let text = format!(r#"{{"os":"linux","architecture":"{architecture}","rootfs":{{"type":"layers"}}}}"#);
        self.blob(CONFIG, text.as_bytes(), "")
    }

    /// Adds a manifest of a config and layers, given as descriptors.
    pub fn manifest(&self, config: &str, layers: &[String], more: &str) -> String {
        let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, layers.join(","));
        self.blob(MANIFEST, text.as_bytes(), more)
    }

    /// An image for this machine of these layers; its descriptor.
    pub fn image(&self, layers: &[Vec<u8>]) -> String {
        let layers: Vec<_> = layers.iter().map(|layer| self.blob(&kind_of(layer), layer, "")).collect();
        self.manifest(&self.config(ARCHITECTURE), &layers, "")
    }

    pub fn index(&self, manifests: &[String]) {
        self.write("index.json", index(manifests).as_bytes());
    }
}

pub fn index(manifests: &[String]) -> String {
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, manifests.join(","))
}

fn kind_of(layer: &[u8]) -> String {
    match layer.get(..2) {
        Some([0x1f, 0x8b]) => format!("{LAYER}+gzip"),
        Some([0x28, 0xb5]) => format!("{LAYER}+zstd"),
        _ => LAYER.to_owned(),
    }
}
