//! The words for an errno, as `strerror(3)` has them: the init has no libc to ask.

use crate::number;

/// Those that the init's own calls give: a number and its words each.
const WORDS: &str = "\
1 Operation not permitted
2 No such file or directory
5 Input/output error
6 No such device or address
7 Argument list too long
8 Exec format error
9 Bad file descriptor
11 Resource temporarily unavailable
12 Cannot allocate memory
13 Permission denied
16 Device or resource busy
19 No such device
20 Not a directory
21 Is a directory
22 Invalid argument
23 Too many open files in system
24 Too many open files
26 Text file busy
28 No space left on device
30 Read-only file system
36 File name too long
38 Function not implemented
40 Too many levels of symbolic links
80 Accessing a corrupted shared library";

/// The words for `errno`, where it is one that the init's own calls give.
#[must_use]
pub fn words(errno: i32) -> &'static [u8] {
    for line in WORDS.as_bytes().split(|byte| *byte == b'\n') {
        let digits = line.iter().take_while(|byte| **byte != b' ').count();
        if number::read(&line[..digits]) == u32::try_from(errno).ok() {
            return &line[digits + 1..];
        }
    }
    b"Unknown error"
}

#[cfg(test)]
mod tests {
    fn words(errno: i32) -> &'static str {
        str::from_utf8(super::words(errno)).unwrap()
    }

    #[test]
    fn errors_have_the_words_of_the_c_library() {
        for errno in (1..134).filter(|errno| words(*errno) != "Unknown error") {
            let libc = std::io::Error::from_raw_os_error(errno).to_string();
            assert_eq!(libc, format!("{} (os error {errno})", words(errno)));
        }
        assert_eq!(words(2), "No such file or directory");
        assert_eq!(words(80), "Accessing a corrupted shared library");
        assert_eq!([0, 21_000, -2].map(words), ["Unknown error"; 3]);
    }
}
