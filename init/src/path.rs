//! Where a command is looked for: the search that `execvp(3)` makes, over borrowed bytes.

use core::ffi::CStr;

/// Where to look when the environment has no PATH.
pub const DEFAULT: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The longest path that the kernel takes, its NUL included (`PATH_MAX`).
pub const MAX: usize = 4096;

/// The files that `name` may mean, in order: itself when it has a slash, else one for each directory of `path`
/// (an empty one is the working directory). What would be longer than the kernel takes is passed over.
pub struct Candidates<'a> {
    name: &'a CStr,
    rest: Option<&'a [u8]>,
}

impl<'a> Candidates<'a> {
    #[must_use]
    pub fn new(name: &'a CStr, path: Option<&'a [u8]>) -> Self {
        // A directory of "" stands for the name as it is.
        let search = if name.to_bytes().iter().any(|byte| *byte == b'/') { b"" } else { path.unwrap_or(DEFAULT) };
        Self { name, rest: if name.is_empty() { None } else { Some(search) } }
    }

    /// Is the name looked for in directories, and not taken as it is?
    #[must_use]
    pub fn searches_path(&self) -> bool {
        !self.name.to_bytes().iter().any(|byte| *byte == b'/')
    }

    /// Writes the next candidate into `buffer` and returns it, with the NUL that ends it.
    pub fn next_into<'b>(&mut self, buffer: &'b mut [u8; MAX]) -> Option<&'b [u8]> {
        let name = self.name.to_bytes_with_nul();
        loop {
            let rest = self.rest?;
            let end = rest.iter().position(|byte| *byte == b':');
            let directory = end.map_or(rest, |end| &rest[..end]);
            self.rest = end.map(|end| &rest[end + 1..]);
            let slash = usize::from(!directory.is_empty());
            let length = directory.len() + slash + name.len();
            if length > MAX {
                continue;
            }
            buffer[..directory.len()].copy_from_slice(directory);
            buffer[directory.len()..directory.len() + slash].fill(b'/');
            buffer[directory.len() + slash..length].copy_from_slice(name);
            return Some(&buffer[..length]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(name: &CStr, path: Option<&[u8]>) -> Vec<String> {
        let (mut candidates, mut buffer, mut found) = (Candidates::new(name, path), [0; MAX], Vec::new());
        while let Some(path) = candidates.next_into(&mut buffer) {
            found.push(CStr::from_bytes_with_nul(path).unwrap().to_str().unwrap().to_owned());
        }
        found
    }

    #[test]
    fn a_name_is_looked_for_in_each_directory() {
        assert_eq!(all(c"sh", Some(b"/bin:/usr/bin")), ["/bin/sh", "/usr/bin/sh"]);
        assert_eq!(all(c"sh", Some(b":/bin:")), ["sh", "/bin/sh", "sh"]);
    }

    #[test]
    fn a_name_with_a_slash_is_taken_as_it_is() {
        assert_eq!(all(c"./sh", Some(b"/bin")), ["./sh"]);
        assert_eq!(all(c"/bin/sh", None), ["/bin/sh"]);
    }

    #[test]
    fn without_path_the_usual_directories_are_searched() {
        assert_eq!(all(c"sh", None).len(), 6);
    }

    #[test]
    fn nothing_is_found_for_an_empty_name_and_what_is_too_long_is_passed_over() {
        assert!(all(c"", Some(b"/bin")).is_empty());
        let long = [b'x'; MAX];
        assert!(all(c"sh", Some(&long)).is_empty());
        assert_eq!(all(c"sh", Some(&[&long[..], b":/bin"].concat())), ["/bin/sh"]);
    }
}
