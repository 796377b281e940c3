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
    let metadata = metadata()?;
    let packages = by_id(&metadata["packages"]);
    let nodes = by_id(&metadata["resolve"]["nodes"]);
    let is_linked = |id: &str| packages.get(id).is_some_and(|package| !is_for_the_compiler(package));
    let mut linked = BTreeSet::new();
    for (id, _) in packages.iter().filter(|(_, package)| package["source"].is_null()) {
        follow(id, &nodes, &is_linked, &mut linked);
    }
    // A text that is the same for many is there once.
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in linked.iter().filter_map(|id| packages.get(*id)).filter(|package| !package["source"].is_null()) {
        let word = |key: &str| package[key].as_str().unwrap_or_default();
        let directory = Path::new(word("manifest_path")).parent().ok_or("a manifest lies in a directory")?;
        let name = format!("{} {} ({})", word("name"), word("version"), word("license"));
        let text = licence(directory).ok_or_else(|| format!("{name} has no licence in {}", directory.display()))?;
        texts.entry(text).or_default().push(name);
    }
    let mut texts: Vec<_> = texts.into_iter().map(|(text, names)| (names.join("\n"), text)).collect();
    texts.sort();
    let lgpl = fs::read_to_string(LGPL).unwrap_or_else(|_| "https://www.gnu.org/licenses/lgpl-2.1.txt".to_owned());
    texts.push(("The GNU C library".to_owned(), lgpl.trim().to_owned()));
    let parts = texts.iter().map(|(names, text)| format!("{RULE}{names}\n\n{text}"));
    Ok(vec![("NOTICES".to_owned(), HEAD.to_owned() + &parts.collect::<String>() + "\n")])
}

fn metadata() -> Result<Value, Box<dyn Error>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").ok_or("cargo runs this: make pages")?);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "host-tuple"]);
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn by_id(list: &Value) -> BTreeMap<&str, &Value> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|entry| Some((entry["id"].as_str()?, entry))).collect()
}

/// A procedural macro: the compiler runs it.
fn is_for_the_compiler(package: &Value) -> bool {
    let mut targets = package["targets"].as_array().into_iter().flatten();
    targets.any(|target| target["kind"][0] == "proc-macro")
}

/// A package and all that it is linked with: what builds or tests it is not in the program.
fn follow<'a>(
    id: &'a str,
    nodes: &BTreeMap<&str, &'a Value>,
    is_linked: &impl Fn(&str) -> bool,
    linked: &mut BTreeSet<&'a str>,
) {
    let Some(node) = nodes.get(id).filter(|_| is_linked(id) && linked.insert(id)) else { return };
    for dependency in node["deps"].as_array().into_iter().flatten() {
        let mut kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
        if let Some(id) = dependency["pkg"].as_str().filter(|_| kinds.any(|kind| kind["kind"].is_null())) {
            follow(id, nodes, is_linked, linked);
        }
    }
}

/// The text of the licence that is taken of those which a crate offers: MIT's, or else the one that there is.
fn licence(directory: &Path) -> Option<String> {
    let texts = ["LICENSE-MIT", "LICENSE", "LICENSE.txt", "LICENSE.md"].map(|name| directory.join(name));
    let text = texts.iter().find_map(|path| fs::read_to_string(path).ok())?;
    Some(text.replace('\r', "").trim().to_owned())
}
