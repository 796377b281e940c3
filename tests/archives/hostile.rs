//! Archives and layouts that lie, lead out, or make no sense: each is refused in one line that says why, and leaves
//! nothing in the store, nor anywhere else.

use super::layout::{ARCHITECTURE, CONFIG, INDEX, LAYER, Layout, descriptor, digest, index, platform};
use super::writer::{self, Archive, DIRECTORY, FILE, SYMLINK, gzip, zstd};
use super::{STORE, USERS_STORE, as_user, put, roots, run};
use crate::harness::{DIR, Host};

/// What an archive is, and what its refusal says.
type Case = (&'static str, Vec<u8>, &'static [&'static str]);

const OUTSIDE: &str = "/tmp/test/outside";

fn good() -> Archive {
    Archive::new().directory("./").directory("bin").file("bin/x", "x")
}

fn of(change: impl FnOnce(Archive) -> Archive) -> Vec<u8> {
    change(good()).end()
}

/// Names and links that lead out, or nowhere.
fn ways() -> Vec<Case> {
    let climbing = "../../../../../../../../../../tmp/test/outside";
    vec![
        ("'..' in a name", of(|a| a.file("bin/../../outside/x", "x")), &["bin/../../outside/x: its name leads out"]),
        ("'..' alone", of(|a| a.directory("..")), &["..: its name leads out"]),
        ("an absolute name with '..'", of(|a| a.file("/../x", "x")), &["/../x: its name leads out"]),
        (
            "a file behind a link out",
            of(|a| a.symlink("out", OUTSIDE).file("out/x", "x")),
            &["out: something stands below"],
        ),
        (
            "behind one that climbs",
            of(|a| a.symlink("out", climbing).file("out/x", "x")),
            &["out: something stands below"],
        ),
        (
            "a directory behind a link out",
            of(|a| a.symlink("out", OUTSIDE).directory("out/deep/er")),
            &["out/deep: something stands below"],
        ),
        (
            "behind two links",
            of(|a| a.symlink("one", "two").symlink("two", OUTSIDE).file("one/x", "x")),
            &["one: something stands below"],
        ),
        ("behind a link to /proc", of(|a| a.symlink("out", "/proc/self/root").file("out/x", "x")), &["out: something"]),
        ("a loop of links", of(|a| a.symlink("l", "l").file("l/x", "x")), &["l: something stands below"]),
        ("a hard link out", of(|a| a.link("h", "../outside/secret")), &["h: it links out of the root"]),
        (
            "a hard link by an absolute name",
            of(|a| a.link("h", "/tmp/test/outside/secret")),
            &["h: it is a hard link to what is not in the archive"],
        ),
        (
            "a hard link through a link out",
            of(|a| a.symlink("out", OUTSIDE).link("h", "out/secret")),
            &["h: it is a hard link to what is not in the archive"],
        ),
        ("a hard link to a directory", of(|a| a.link("h", "bin")), &["h: it is a hard link to a directory"]),
        ("a hard link to the root", of(|a| a.link("h", ".")), &["h: it is a hard link to what is not"]),
        (
            "a hard link below a file",
            of(|a| a.link("h", "bin/x/y")),
            &["h: it is a hard link to what is in no directory"],
        ),
        ("a hard link to what comes later", of(|a| a.link("h", "z").file("z", "z")), &["h: it is a hard link"]),
        ("a file below a file", of(|a| a.file("bin/x/y", "y")), &["bin/x: something stands below it"]),
        (
            "a directory below a fifo",
            of(|a| a.member(writer::FIFO, "f", "", b"", |_| ()).directory("f/d")),
            &["f: something"],
        ),
        ("no name", of(|a| a.file("", "x")), &["it has no name"]),
        ("the root as a link", of(|a| a.symlink("./", OUTSIDE)), &["./: it is the root itself"]),
        ("the root as a file", of(|a| a.file(".", "x")), &["the root itself"]),
        ("a link to nothing", of(|a| a.symlink("s", "")), &["s: what it links to is no name"]),
        ("a full directory replaced", of(|a| a.file("bin", "x")), &["bin: a directory is in its place"]),
        ("a NUL in a long name", of(|a| a.member(b'L', "", "", b"a\0b\0", |_| ()).file("x", "x")), &["holds a NUL"]),
        ("a NUL in a record", of(|a| a.records(&[("path", b"a\0b")]).file("x", "x")), &["holds a NUL"]),
        ("a NUL in a link", of(|a| a.records(&[("linkpath", b"a\0b")]).symlink("x", "x")), &["x: what it links to"]),
        ("a NUL in a hard link", of(|a| a.records(&[("linkpath", b"bin/x\0")]).link("h", "x")), &["h: it links out"]),
        (
            "'..' in a long name",
            of(|a| a.member(b'L', "", "", b"a/../b", |_| ()).file("x", "x")),
            &["a/../b: its name"],
        ),
        ("'..' in a record", of(|a| a.records(&[("path", b"../b")]).file("x", "x")), &["../b: its name leads out"]),
        ("controls in a name", of(|a| a.file("a\n\x1b[2J/..", "x")), &["a\\n\\u{1b}[2J/..: its name leads out"]),
        ("a name that is too long", of(|a| a.member(b'L', "", "", &[b'n'; 300], |_| ()).file("x", "x")), &["too long"]),
        (
            "a path that is too long",
            of(|a| a.member(b'L', "", "", &b"n/".repeat(4000), |_| ()).file("x", "x")),
            &["too long"],
        ),
    ]
}

/// Numbers that lie, and bytes that are damaged.
fn lies() -> Vec<Case> {
    let sized = |size: u64| of(|a| a.member(FILE, "lie", "", b"x", move |header| header.set_size(size)));
    let sparse = |map: &'static str, size: &'static str, data: &'static [u8]| {
        let records = [("GNU.sparse.map", map.as_bytes()), ("GNU.sparse.realsize", size.as_bytes())];
        of(|a| a.records(&records).member(FILE, "holes", "", data, |_| ()))
    };
    let ahead = |numbers: &'static str| {
        let data = Archive::new().data(numbers.as_bytes()).bytes();
        let records: [(&str, &[u8]); 3] =
            [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"99")];
        of(|a| a.records(&records).member(FILE, "holes", "", &data, |_| ()))
    };
    let mut damaged = gzip(&of(|a| a));
    let sum = damaged.len() - 6;
    damaged[sum] ^= 1;
    let with = |mut bytes: Vec<u8>, more: &[u8]| {
        bytes.extend_from_slice(more);
        bytes
    };
    vec![
        ("a size beyond the end", sized(1 << 20), &["it ends too early"]),
        ("the largest size", sized(u64::MAX), &["it ends too early"]),
        ("a size in a record", of(|a| a.records(&[("size", b"99999999")]).file("x", "x")), &["it ends too early"]),
        (
            "a size that is no number",
            of(|a| a.member(FILE, "x", "", b"", |h| h.as_old_mut().size = *b"12345678x\0\0\0")),
            &["size"],
        ),
        (
            "an owner that nobody can be",
            of(|a| a.records(&[("uid", b"4294967295")]).file("x", "x")),
            &["x: nobody can"],
        ),
        ("an owner beyond all", of(|a| a.records(&[("gid", b"4294967296")]).file("x", "x")), &["x: nobody can"]),
        (
            "a mode that is none",
            of(|a| a.member(FILE, "x", "", b"", |h| h.as_old_mut().mode = *b"rwxr-xr-")),
            &["x: its mode"],
        ),
        (
            "a record that is none",
            of(|a| a.member(b'x', "r", "", b"9999 path=x\n", |_| ()).file("x", "x")),
            &["r: its extended header"],
        ),
        ("a long name of a gigabyte", of(|a| a.member(b'L', "", "", b"x", |h| h.set_size(1 << 30))), &["is too long"]),
        ("holes that overlap", sparse("0,2,1,2", "9", b"abcd"), &["holes: its map of holes lies"]),
        ("holes beyond the size", sparse("8,2", "9", b"ab"), &["holes: its map of holes lies"]),
        ("holes beyond all sizes", sparse("18446744073709551615,2", "9", b"ab"), &["its map of holes lies"]),
        ("more data than the map has", sparse("0,2", "9", b"abcd"), &["holes: its map of holes lies"]),
        ("half of a pair", sparse("0,2,4", "9", b"ab"), &["holes: its map of holes is malformed"]),
        ("a map without an end", ahead("5\n1\n2\n"), &["holes: its map of holes is malformed"]),
        ("a map that is none", ahead("x\n"), &["holes: its map of holes is malformed"]),
        ("a map without bounds", ahead("99999999\n"), &["holes: its map of holes is malformed"]),
        ("a size that no file can have", sparse("0,1", "18446744073709551615", b"x"), &["holes: "]),
        ("a kind that nobody knows", of(|a| a.member(b'Q', "q", "", b"", |_| ())), &["q: it is of the kind 'Q'"]),
        ("a header that is damaged", with(good().bytes(), &[b'x'; 512]), &["checksum"]),
        ("something behind the end", with(of(|a| a), &[b'x'; 512]), &["something stands behind its end"]),
        ("an archive behind the end", with(of(|a| a), &of(|a| a)), &["something stands behind its end"]),
        ("no end", good().bytes(), &["it ends too early"]),
        ("a name without its member", good().member(b'L', "", "", b"x", |_| ()).end(), &["it ends too early"]),
        ("a gzip stream with a wrong sum", damaged, &["it is damaged"]),
        ("something behind gzip", with(gzip(&of(|a| a)), b"garbage, and more of it"), &["it is damaged"]),
        ("something behind zstd", with(zstd(&of(|a| a)), b"garbage"), &["it is damaged"]),
        ("half of a gzip stream", gzip(&of(|a| a))[..90].to_vec(), &["it ends too early"]),
        ("half of a zstd stream", zstd(&of(|a| a))[..90].to_vec(), &["it ends too early"]),
        ("something else in gzip", gzip(b"no archive at all"), &["it ends too early"]),
        ("something else in zstd", zstd(&[b'x'; 600]), &["checksum"]),
        ("gzip in gzip", gzip(&gzip(&of(|a| a.file("y", &"y".repeat(600))))), &["it"]),
        ("nothing", Archive::new().end(), &["it holds nothing"]),
        ("nothing in gzip", gzip(&Archive::new().end()), &["it holds nothing"]),
        ("nothing at all in zstd", zstd(b""), &["it holds nothing"]),
        (
            "a comment alone",
            Archive::new().member(b'g', "g", "", b"12 comment=x\n", |_| ()).end(),
            &["it holds nothing"],
        ),
    ]
}

/// Nothing was unpacked, and what is outside is as it was.
#[track_caller]
fn assert_nothing(host: &Host, store: &str, before: &str) {
    assert!(roots(host, store).is_empty(), "something was unpacked");
    assert_eq!(outside(host), before);
    host.assert_clean();
}

/// All that is not in a store.
fn outside(host: &Host) -> String {
    let files = host.sh(&format!("find {OUTSIDE} -printf '%p %y %m %U %n %s %T@ %l\\n'; ls {DIR} | grep -v store"));
    files + &host.sh(&format!("cat {OUTSIDE}/secret"))
}

#[test]
fn archives_that_lead_out_or_nowhere_are_refused() {
    refuse_all(ways());
}

#[test]
fn archives_that_lie_or_are_damaged_are_refused() {
    refuse_all(lies());
}

fn refuse_all(cases: Vec<Case>) {
    let host = crate::host!();
    host.sh(&format!("mkdir {OUTSIDE}; echo secret > {OUTSIDE}/secret; chmod 777 {OUTSIDE}; touch {DIR}/hostile"));
    let before = outside(&host);
    for (what, bytes, words) in cases {
        println!("{what}");
        let archive = put(&host, "hostile", &bytes);
        let words = [&["unpack /tmp/test/hostile: "], words].concat();
        run(&host, &[], &archive, "true").run().assert_refused(125, &words);
        assert_nothing(&host, STORE, &before);
        as_user(run(&host, &[], &archive, "true")).run().assert_refused(125, &words);
        assert_nothing(&host, USERS_STORE, &before);
    }
}

#[test]
fn files_that_are_no_archives_are_refused_before_anything_is_done() {
    let host = crate::host!();
    let cases: [(&[u8], &str); 5] = [
        (b"", "neither a directory nor an archive"),
        (b"x", "neither a directory nor an archive"),
        (b"\xfd7zXZ\0 is another way to compress", "gzip or zstd"),
        (b"PK\x03\x04", "neither a directory nor an archive"),
        (&[b'x'; 2000], "neither a directory nor an archive"),
    ];
    for (bytes, words) in cases {
        let file = put(&host, "file", bytes);
        run(&host, &[], &file, "true").run().assert_refused(125, &["use /tmp/test/file as the root", words]);
    }
    host.sh(&format!("mkfifo {DIR}/fifo; ! test -e {STORE}"));
    run(&host, &[], &format!("{DIR}/fifo"), "true").run().assert_refused(125, &["fifo as the root"]);
}

/// A layout whose image is whole, but for what `change` makes of its manifest's parts.
fn layout_with(host: &Host, layer: &str, config: Option<String>) -> Layout {
    let layout = Layout::new(host, "layout");
    layout.blob(LAYER, &of(|a| a), "");
    let config = config.unwrap_or_else(|| layout.config(ARCHITECTURE));
    layout.index(&[layout.manifest(&config, &[layer.to_owned()], "")]);
    layout
}

#[test]
fn layouts_that_lie_are_refused() {
    let host = crate::host!();
    host.sh(&format!("mkdir {OUTSIDE} {DIR}/layout; echo secret > {OUTSIDE}/secret; chmod 777 {OUTSIDE}"));
    let before = outside(&host);
    let bytes = of(|a| a);
    let (hex, size) = (digest(&bytes), bytes.len());
    let refused = |layout: &Layout, words: &[&str]| {
        println!("{words:?}");
        let words = [&["unpack /tmp/test/layout: "], words].concat();
        run(&host, &[], &layout.path, "true").run().assert_refused(125, &words);
        assert_nothing(&host, STORE, &before);
    };
    let with = |layer: &str, words: &[&str]| refused(&layout_with(&host, layer, None), words);
    with(&descriptor(LAYER, &hex, size + 1, ""), &["bytes, not"]);
    with(
        &descriptor("application/vnd.oci.image.layer.v2.tar+xz", &hex, size, ""),
        &["tar+xz, which nsl does not know"],
    );
    with(&descriptor(LAYER, &"0".repeat(64), size, ""), &["No such file"]);
    with(
        &descriptor(LAYER, "../../../../outside/secret", 7, ""),
        &["'sha256:../../../../outside/secret' is no SHA-256"],
    );
    with(&descriptor(LAYER, &hex, size, "").replace("sha256", "sha512"), &["is no SHA-256"]);
    // The same, of a layer that is another than its digest says.
    let layout = layout_with(&host, &descriptor(LAYER, &hex, size, ""), None);
    layout.write(&format!("blobs/sha256/{hex}"), &vec![0; size]);
    refused(&layout, &["is not what its digest says"]);
    let path = format!("{DIR}/layout/blobs/sha256/{hex}");
    host.sh(&format!("rm {path}; mkfifo {path}"));
    refused(&layout, &["it is no file"]);
    // The config, the manifest and the index.
    let other = |architecture: &str| format!(r#"{{"os":"linux","architecture":"{architecture}"}}"#);
    let config = |text: &str, kind: &str| {
        let blob = Layout::new(&host, "layout").blob(kind, text.as_bytes(), "");
        let layout = layout_with(&host, &descriptor(LAYER, &hex, size, ""), Some(blob));
        layout.blob(kind, text.as_bytes(), "");
        layout
    };
    refused(&config(&other("s390x"), CONFIG), &["its image is for linux/s390x"]);
    refused(&config("{}", CONFIG), &["the config makes no sense"]);
    refused(&config("{}", "application/vnd.oci.empty.v1+json"), &["the config is of the type"]);
    let layout = Layout::new(&host, "layout");
    let good = layout.image(std::slice::from_ref(&bytes));
    layout.index(&[good.replace(r#""size":"#, r#""size":1"#)]);
    refused(&layout, &["bytes, not 1"]);
    layout.index(&[]);
    refused(&layout, &["it holds no image for linux/"]);
    layout.index(&[layout.manifest(&layout.config("s390x"), &[], &platform("s390x"))]);
    refused(&layout, &["it holds no image for linux/"]);
    layout.index(&[good.clone(), layout.image(&[of(|a| a.file("y", "y"))])]);
    refused(&layout, &["it holds 2 images"]);
    layout.index(&[layout.image(&[])]);
    refused(&layout, &["it holds nothing"]);
    let nested = (0..6).fold(good.clone(), |inner, _| layout.blob(INDEX, index(&[inner]).as_bytes(), ""));
    layout.index(&[nested]);
    refused(&layout, &["nested too deeply"]);
    layout.write("index.json", b"{\"manifests\": [\n\x1b");
    refused(&layout, &["index.json makes no sense"]);
    layout.write("index.json", &vec![b' '; 5 << 20]);
    refused(&layout, &["index.json is longer than"]);
    layout.index(&[good]);
    layout.write("oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#);
    refused(&layout, &["version 2.0.0"]);
}

#[test]
fn layers_that_lead_out_are_refused() {
    let host = crate::host!();
    host.sh(&format!("mkdir {OUTSIDE} {DIR}/layout; echo secret > {OUTSIDE}/secret; chmod 777 {OUTSIDE}"));
    let before = outside(&host);
    let out = || good().symlink("out", OUTSIDE).symlink("up", "../../../../../../../tmp/test/outside");
    let one = |path: &str| Archive::new().file(path, "").end();
    let cases: [(Vec<u8>, &[&str]); 7] = [
        (one("bin/.wh..."), &["layer 2: bin/.wh...: it hides nothing"]),
        (one(".wh.."), &["layer 2: .wh..: it hides nothing"]),
        (one(".wh."), &["layer 2: .wh.: it hides nothing"]),
        (one("../.wh.outside"), &["layer 2: ../.wh.outside: its name leads out"]),
        (one("out/x"), &["layer 2: out: something stands below"]),
        (one("up/x"), &["layer 2: up: something stands below"]),
        (good().file("bin/y", "y").bytes()[..900].to_vec(), &["layer 2: it ends too early"]),
    ];
    for (layer, words) in cases {
        println!("{words:?}");
        let layout = Layout::new(&host, "layout");
        layout.index(&[layout.image(&[out().end(), layer])]);
        run(&host, &[], &layout.path, "true").run().assert_refused(125, words);
        assert_nothing(&host, STORE, &before);
    }
    // What is hidden behind a link is not there, so that nothing is to be done.
    let layout = Layout::new(&host, "layout");
    let hiding = Archive::new().file("out/.wh.secret", "").file("up/.wh..wh..opq", "").end();
    layout.index(&[layout.image(&[out().end(), hiding])]);
    run(&host, &[], &layout.path, "true").run().assert_refused(127, &["execute sh"]);
    assert_eq!(outside(&host), before);
    let kinds = [(DIRECTORY, "d"), (SYMLINK, "s")];
    let replaced = kinds.iter().fold(Archive::new(), |a, (kind, name)| a.member(*kind, name, OUTSIDE, b"", |_| ()));
    layout.index(&[layout.image(&[out().end(), replaced.end()])]);
    run(&host, &[], &layout.path, "true").run().assert_refused(127, &["execute sh"]);
    assert_eq!(outside(&host), before);
}
