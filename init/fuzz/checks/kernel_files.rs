//! What holds of the kernel's command line and mountinfo: pieces of any size count as the whole does, and a mount point
//! is read as the path that was escaped.

use nsl_init::kernel_line::InitWords;
use nsl_init::mountinfo::MountPoints;
use nsl_init::path;

pub fn check(bytes: &[u8]) {
    let Some((size, text)) = bytes.split_first() else { return };
    let count = |size: usize| {
        let mut words = InitWords::default();
        text.chunks(size).for_each(|piece| words.take(piece));
        words.count()
    };
    let words = count(text.len().max(1));
    assert_eq!(count(usize::from(*size).max(1)), words);
    assert!(words <= text.len(), "more words than bytes");

    let mut points = MountPoints::default();
    let given: Vec<Vec<u8>> =
        text.iter().filter_map(|byte| points.take(*byte).map(|point| point[..point.len() - 1].to_vec())).collect();
    assert!(given.iter().all(|point| point.len() < path::MAX));
    assert!(given.len() <= text.split(|byte| *byte == b'\n').count(), "more mount points than lines");

    // As the kernel writes it, behind a line of anything.
    let path: Vec<u8> = text.iter().copied().filter(|byte| *byte != 0).take(path::MAX - 1).collect();
    let escape = |byte: &u8| match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
        other => vec![*other],
    };
    let escaped: Vec<u8> = path.iter().flat_map(escape).collect();
    let line = [b"22 21 0:21 / ", &escaped[..], b" rw - tmpfs none rw\n"].concat();
    let mut fresh = MountPoints::default();
    let given: Vec<Vec<u8>> =
        line.iter().filter_map(|byte| fresh.take(*byte).map(|point| point[..point.len() - 1].to_vec())).collect();
    assert_eq!(given, [path]);
}
