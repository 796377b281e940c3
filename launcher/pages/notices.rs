//! NOTICES: who wrote what is linked into nsl and nsl-init, and the licences that want to be passed on with it. From
//! what cargo knows, and the files that are in each crate.

use crate::Files;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Debian has it on every machine.
const LGPL: &str = "/usr/share/common-licenses/LGPL-2.1";
const HEAD: &str = "nsl is free software, by its own licence: MIT or Apache-2.0. Linked into it are, beside the crates \
below:\n\n  the Rust standard library, by the Rust Project's contributors: MIT or Apache-2.0\n  the GNU C library, by the \
Free Software Foundation and others: LGPL-2.1 or later, at the end\n";
const RULE: &str = "\n\n----------------------------------------------------------------------\n\n";

pub fn all() -> Result<Files, Box<dyn Error>> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--filter-platform", "host-tuple"])?)?;
    let packages = metadata["packages"].as_array().ok_or("cargo knows no packages")?;
    let linked = linked()?;
    // A text that is the same for many is there once.
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages.iter().filter(|package| !package["source"].is_null()) {
        let word = |key: &str| package[key].as_str().unwrap_or_default();
        let name = format!("{} {}", word("name"), word("version"));
        if linked.contains(&name) {
            let directory = Path::new(word("manifest_path")).parent().ok_or("a manifest lies in a directory")?;
            let text = licence(directory).ok_or_else(|| format!("{name} has no licence in {}", directory.display()))?;
            texts.entry(text).or_default().push(format!("{name} ({})", word("license")));
        }
    }
    let mut texts: Vec<_> = texts.into_iter().map(|(text, names)| (names.join("\n"), text)).collect();
    texts.sort();
    let lgpl = fs::read_to_string(LGPL).unwrap_or_else(|_| "https://www.gnu.org/licenses/lgpl-2.1.txt".to_owned());
    texts.push(("The GNU C library".to_owned(), lgpl.trim().to_owned()));
    let parts = texts.iter().map(|(names, text)| format!("{RULE}{names}\n\n{text}"));
    Ok(vec![("NOTICES".to_owned(), HEAD.to_owned() + &parts.collect::<String>() + "\n")])
}

/// NAME VERSION of each crate that is in the programs: what builds or tests them is not, nor are procedural macros. The
/// metadata would not tell: to them a feature that is off for this program may be on.
fn linked() -> Result<BTreeSet<String>, Box<dyn Error>> {
    let programs = ["tree", "--package", "nsl", "--package", "nsl-init", "--edges", "normal,no-proc-macro"];
    let tree = cargo(&[&programs[..], &["--prefix", "none", "--no-dedupe", "--format", "{p}"]].concat())?;
    Ok(tree.lines().map(|line| line.replace(" v", " ")).collect())
}

fn cargo(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").ok_or("cargo runs this: make pages")?);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).arg("--locked").output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The text of the licence that is taken of those which a crate offers: MIT's, or else the one that there is.
fn licence(directory: &Path) -> Option<String> {
    let texts = ["LICENSE-MIT", "LICENSE", "LICENSE.txt", "LICENSE.md"].map(|name| directory.join(name));
    let text = texts.iter().find_map(|path| fs::read_to_string(path).ok())?;
    Some(text.replace('\r', "").trim().to_owned())
}
