//! docs/reference.md: its parts that say what the definitions say are theirs, and the pages that it names are there.

use crate::documents::ROOT;
use crate::pages::pages;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Has these parts written anew.
const REWRITE: &str = "NSL_TESTS_REWRITE_REFERENCE";
const END: &str = "<!-- end -->";

fn path() -> PathBuf {
    Path::new(ROOT).join("docs/reference.md")
}

/// The document with `text` in the part of this name.
fn with_part(document: &str, name: &str, text: &str) -> String {
    let mark = format!("<!-- {name}: from the definitions -->\n");
    let (before, rest) = document.split_once(&mark).unwrap_or_else(|| panic!("there is no {mark}"));
    let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("{mark} has no end"));
    format!("{before}{mark}\n{text}\n{END}{after}")
}

#[test]
fn the_reference_says_what_the_definitions_say() {
    let written = fs::read_to_string(path()).expect("read the reference");
    let mut expected = written.clone();
    let parts = fs::read_dir(pages().join("reference")).expect("the parts are there");
    for part in parts.map(|part| part.expect("a part").path()) {
        let name = part.file_stem().and_then(|name| name.to_str()).expect("it has a name");
        expected = with_part(&expected, name, &fs::read_to_string(&part).expect("read a part"));
    }
    if std::env::var_os(REWRITE).is_some() {
        return fs::write(path(), expected).expect("write the reference");
    }
    let old = written.lines().zip(expected.lines()).find(|(written, expected)| written != expected);
    assert!(
        written == expected,
        "docs/reference.md is out of date: {old:?}\n{REWRITE}=1 cargo test --test e2e reference:: writes it anew"
    );
}

/// What stands in quotes behind one of these is the name of a variable that nsl reads.
const READS: [&str; 3] = ["var_os(\"", "variable(\"", "env = \""];

fn variables(directory: &Path, found: &mut BTreeSet<String>) {
    for path in fs::read_dir(directory).expect("read the sources").map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            variables(&path, found);
            continue;
        }
        let source = fs::read_to_string(&path).expect("read a source");
        let (source, _) = source.split_once("#[cfg(test)]").unwrap_or((&source, ""));
        for reads in READS {
            found.extend(source.split(reads).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
}

#[test]
fn the_reference_has_every_variable_that_is_read() {
    let mut read = BTreeSet::new();
    variables(&Path::new(ROOT).join("launcher/src"), &mut read);
    read.retain(|name| !name.starts_with("NSL_TESTS_"));
    assert!(read.len() > 10, "only {read:?} are known as such");
    let reference = fs::read_to_string(path()).expect("read the reference");
    let missing: Vec<_> = read.iter().filter(|name| !reference.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "the reference lacks {missing:?}");
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The links of all documents lead to files and headings that are there.
#[test]
fn links_between_documents_lead_somewhere() {
    let mut count = 0;
    for document in crate::documents::documents() {
        let text = fs::read_to_string(Path::new(ROOT).join(&document)).expect("read a document");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            count += 1;
            let own = Path::new(ROOT).join(&document);
            let target = if file.is_empty() { own } else { own.with_file_name(file) };
            assert!(target.exists(), "{}: there is no {link}", document.display());
            if !fragment.is_empty() {
                let target = fs::read_to_string(&target).expect("read what a link names");
                let mut headings = target.lines().filter(|line| line.starts_with('#'));
                let found = headings.any(|line| anchor(line.trim_start_matches('#').trim()) == fragment);
                assert!(found, "{}: no heading is {link}", document.display());
            }
        }
    }
    assert!(count > 20, "only {count} links are known as such");
}
