//! Archives of any bytes: each is unpacked as a whole, or refused in one line; nothing is written anywhere else, and
//! nothing half-done stays. As root all of it happens where nothing but a tmpfs can be written to.

#[path = "../../../tests/archives/writer.rs"]
#[expect(dead_code, reason = "the end-to-end tests use all of it")]
mod writer;

use super::{Source, place, unpacked_in};
use crate::mutation;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::mount::MountAttrFlags;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use writer::{Archive, gzip, zstd};

/// Calls `work` with an empty directory, in a thread that can write to no other.
fn in_a_jail(work: impl FnOnce(&Path) + Send) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let place = std::env::temp_dir().join(format!("nsl-store-{}-{number}", std::process::id()));
    fs::create_dir(&place).expect("make a directory");
    let inside = || {
        if nix::unistd::geteuid().is_root() {
            const NONE: Option<&str> = None;
            unshare(CloneFlags::CLONE_NEWNS).expect("make a mount namespace");
            mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE).expect("make the mounts private");
            let root = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).expect("open /");
            let (set, clear) = (MountAttrFlags::MOUNT_ATTR_RDONLY, MountAttrFlags::empty());
            crate::sys::set_attributes(root.as_fd(), set, clear, true).expect("make all read-only");
            mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).expect("mount a tmpfs");
            assert!(fs::write(std::env::temp_dir().join("nsl-escaped"), "").is_err(), "this is no jail");
        }
        work(&place);
    };
    let result = std::thread::scope(|scope| scope.spawn(inside).join());
    fs::remove_dir_all(&place).expect("remove the directory");
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Unpacks these bytes; the root, or the one line that refuses them. What must hold in any case is checked.
fn unpack(jail: &Path, bytes: &[u8]) -> Result<PathBuf, String> {
    let (file, store) = (jail.join("archive"), jail.join("store"));
    fs::write(&file, bytes).expect("write the archive");
    let result = match Source::recognise(&file).expect("read the archive") {
        None => Err("it is no archive".to_owned()),
        Some(source) => unpacked_in(&store, &source).map_err(|error| error.to_string()),
    };
    let entries = |path: &Path| fs::read_dir(path).map_or(0, Iterator::count);
    assert!(entries(jail) <= 2, "something is beside the store");
    assert_eq!(entries(&store.join("new")), 0, "something was left half-done");
    match &result {
        Ok(root) => assert!(root.is_dir()),
        Err(line) => assert!(!line.chars().any(char::is_control) && line.len() < 1000, "{line:?}"),
    }
    let roots = entries(&store.join("roots"));
    assert_eq!(roots, usize::from(result.is_ok()), "the store has {roots} roots");
    result
}

/// The same, and empties the store.
fn tried(jail: &Path, bytes: &[u8]) -> Result<(), String> {
    let result = unpack(jail, bytes);
    let store = rustix::fs::open(jail.join("store/roots"), rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
    if let Ok(roots) = store {
        super::tree::empty(&roots).expect("empty the store");
    }
    result.map(drop)
}

/// One of everything, in a few blocks.
fn of_all_kinds() -> Archive {
    let old_sparse = |header: &mut tar::Header| {
        header.as_old_mut().linkflag = *b"S";
        let gnu = header.as_gnu_mut().expect("a GNU header");
        gnu.sparse[0].set_offset(512);
        gnu.sparse[0].set_length(3);
        gnu.set_real_size(2000);
    };
    Archive::new()
        .directory("./")
        .directory("etc")
        .file("etc/name", "tiny\n")
        .symlink("etc/link", "/etc/name")
        .link("etc/hard", "etc/name")
        .member(writer::FIFO, "fifo", "", b"", |_| ())
        .member(writer::CHARACTER, "null", "", b"", |_| ())
        .member(b'L', "././@LongLink", "", b"a/long/name\0", |_| ())
        .file("a", "x")
        .member(b'K', "././@LongLink", "", b"a/long/target\0", |_| ())
        .symlink("b", "x")
        .records(&[("path", b"pax/path"), ("mtime", b"12.5"), ("SCHILY.xattr.user.x", b"y")])
        .file("c", "pax")
        .member(writer::FILE, "holes", "", b"abc", old_sparse)
        .records(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9999")])
        .member(writer::FILE, "more", "", &[&b"1\n600\n3\n"[..], &[0; 504], b"xyz"].concat(), |_| ())
}

#[test]
fn every_kind_of_member_is_unpacked_from_every_format() {
    in_a_jail(|jail| {
        let bytes = of_all_kinds().end();
        for bytes in [gzip(&bytes), zstd(&bytes), bytes] {
            let root = unpack(jail, &bytes).expect("it is unpacked");
            let read = |name: &str| fs::read(root.join(name)).expect("read a file");
            assert_eq!(read("etc/name"), b"tiny\n");
            assert_eq!(read("etc/hard"), b"tiny\n");
            assert_eq!(fs::read_link(root.join("etc/link")).unwrap(), Path::new("/etc/name"));
            assert_eq!(read("a/long/name"), b"x");
            assert_eq!(fs::read_link(root.join("b")).unwrap(), Path::new("a/long/target"));
            assert_eq!(read("pax/path"), b"pax");
            assert_eq!(read("holes"), [&[0; 512][..], b"abc", &[0; 1485]].concat());
            assert_eq!(read("more"), [&[0; 600][..], b"xyz", &[0; 9396]].concat());
            assert!(!root.join("null").exists());
            fs::remove_dir_all(jail.join("store/roots").join(root.file_name().unwrap())).unwrap();
        }
    });
}

#[test]
fn an_archive_that_is_cut_short_is_refused_wherever_it_is_cut() {
    in_a_jail(|jail| {
        let bytes = of_all_kinds().end();
        let whole = bytes.len() - 512;
        let mut count = 0;
        for length in (0..bytes.len()).step_by(512).chain((1..bytes.len()).step_by(97)) {
            let result = tried(jail, &bytes[..length]);
            assert_eq!(result.is_ok(), length >= whole, "{length}: {result:?}");
            count += 1;
        }
        for bytes in [gzip(&bytes), zstd(&bytes)] {
            for length in 0..bytes.len() {
                assert!(tried(jail, &bytes[..length]).is_err(), "{length} of {}", bytes.len());
                count += 1;
            }
        }
        let _ = writeln!(std::io::stderr(), "cut archives: {count}");
    });
}

#[test]
fn streams_may_have_parts_and_each_is_checked() {
    in_a_jail(|jail| {
        let bytes = of_all_kinds().end();
        let (first, rest) = bytes.split_at(bytes.len() / 3);
        let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let streams = [
            [gzip(first), gzip(b""), gzip(rest)].concat(),
            [zstd(first), skippable.clone(), zstd(rest)].concat(),
            [skippable.clone(), zstd(&bytes), skippable].concat(),
        ];
        for stream in streams {
            tried(jail, &stream).expect("it is unpacked");
        }
        // The last four bytes of a frame are its checksum.
        let mut damaged = zstd(first);
        *damaged.last_mut().expect("it is not empty") ^= 0x80;
        damaged.extend(zstd(rest));
        let refusal = tried(jail, &damaged).expect_err("it is refused");
        assert!(refusal.ends_with("the checksum of a zstd frame is wrong"), "{refusal}");
    });
}

/// Changed bytes make a header invalid, and that is that: here the checksums are made right again.
fn with_right_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        let header: &mut [u8; 512] = block.try_into().expect("512 bytes");
        let sum = super::members::checksum(header);
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

#[test]
fn no_bytes_make_unpacking_write_elsewhere_or_leave_half_of_it() {
    in_a_jail(|jail| {
        let seeds = jail.join("seeds");
        fs::create_dir(&seeds).unwrap();
        let seed = |name: &str, bytes: Vec<u8>| fs::write(seeds.join(name), bytes).unwrap();
        let parts = [
            Archive::new().directory("d").file("d/f", "text").symlink("l", "d").file("l/g", "x").link("h", "d/f"),
            Archive::new().records(&[("path", b"p"), ("size", b"3"), ("mtime", b"1.5")]).file("c", "pax"),
            of_all_kinds(),
        ];
        for (number, part) in parts.into_iter().enumerate() {
            let bytes = part.end();
            seed(&format!("{number}.gz"), gzip(&bytes));
            seed(&format!("{number}.zst"), zstd(&bytes));
            seed(&format!("{number}.tar"), bytes);
        }
        // Not beside the store, where nothing else may be.
        let elsewhere = jail.join("store");
        fs::create_dir(&elsewhere).unwrap();
        fs::rename(&seeds, elsewhere.join("seeds")).unwrap();
        let words: [&[u8]; 9] =
            [b"../", b"/", b"\0", b"./", b"ustar", b"l/", b"0000000", b"\x80\0\0\0\0\0\0\xff", b"00000001000\0"];
        let unpacked = AtomicUsize::new(0);
        mutation::check_many(&elsewhere.join("seeds").display().to_string(), &words, 8000, |bytes| {
            for bytes in [bytes, &with_right_checksums(bytes)] {
                unpacked.fetch_add(usize::from(tried(jail, bytes).is_ok()), Ordering::Relaxed);
            }
        });
        let _ = writeln!(std::io::stderr(), "each was tried twice; {} were unpacked", unpacked.into_inner());
    });
}

#[test]
fn a_tree_deeper_than_paths_can_be_is_removed() {
    in_a_jail(|jail| {
        let store = place::Store::open(&jail.join("store")).expect("make a store");
        let top = jail.join("store/new/deep");
        fs::create_dir(&top).unwrap();
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        let mut at = rustix::fs::open(&top, flags, rustix::fs::Mode::empty()).unwrap();
        for _ in 0..5000 {
            rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&at, ".nsl-7", rustix::fs::Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", flags, rustix::fs::Mode::empty()).unwrap();
        }
        drop(at);
        store.sweep();
        assert_eq!(fs::read_dir(jail.join("store/new")).unwrap().count(), 0);
    });
}
