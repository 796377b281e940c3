//! What holds of the search of PATH for any name and any list of directories: it tries what a plain reading of
//! `execvp(3)` tries, in the same order, and nothing that the kernel would not take.

use nsl_init::path::{Candidates, DEFAULT, MAX};
use std::ffi::CString;

/// The first line is the name, the second the list; without a second there is no PATH.
pub fn check(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let without_nul = |line: &[u8]| line.iter().copied().filter(|byte| *byte != 0).collect::<Vec<u8>>();
    let name = CString::new(without_nul(lines.next().unwrap_or_default())).expect("its NULs were taken out");
    let list = lines.next().map(without_nul);

    let mut candidates = Candidates::new(&name, list.as_deref());
    assert_eq!(candidates.searches_path(), !name.as_bytes().contains(&b'/'));
    let mut buffer = [0xff; MAX];
    for expected in plainly(name.as_bytes(), list.as_deref()) {
        let tried = candidates.next_into(&mut buffer).map(|path| path.to_bytes().to_vec());
        assert_eq!(tried, Some(expected));
    }
    assert_eq!(candidates.next_into(&mut buffer), None);
}

fn plainly(name: &[u8], list: Option<&[u8]>) -> Vec<Vec<u8>> {
    let all: Vec<Vec<u8>> = match name {
        [] => Vec::new(),
        name if name.contains(&b'/') => vec![name.to_vec()],
        name => list.unwrap_or(DEFAULT).split(|byte| *byte == b':').map(|directory| joined(directory, name)).collect(),
    };
    all.into_iter().filter(|path| path.len() < MAX).collect()
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}
