//! OCI layouts as roots: which image is taken, and how its layers lie on each other.

use super::layout::{ARCHITECTURE, INDEX, Layout, index, platform};
use super::writer::{Archive, gzip, zstd};
use super::{STORE, as_user, roots, run, tiny};

/// Layers that hide what is below them in every way there is.
#[test]
fn whiteouts_hide_what_is_in_the_layers_below_and_nothing_else() {
    let host = crate::host!("busybox");
    let one = tiny(&host)
        .directory("d")
        .file("d/gone", "1")
        .file("d/stays", "1")
        .directory("d/tree")
        .file("d/tree/deep", "1")
        .directory("opaque")
        .file("opaque/old", "1")
        .directory("opaque/dir")
        .file("again", "1")
        .symlink("link", "d")
        .directory("kind")
        .file("kind/x", "1")
        .end();
    let two = Archive::new()
        .file("d/.wh.gone", "")
        .file("d/.wh.tree", "")
        .file("d/.wh.never-there", "")
        .file("opaque/new", "2")
        .file("opaque/kept", "2")
        .file("opaque/.wh..wh..opq", "")
        .directory("opaque/own")
        .file("opaque/own/x", "2")
        .file(".wh.again", "")
        .file(".wh.link", "")
        .file(".wh..wh.plnk", "")
        .file("kind", "2")
        .end();
    let three = Archive::new()
        .file("again", "3")
        .file("d/gone", "3")
        .file("opaque/.wh.new", "")
        .file("opaque/third", "3")
        .file("opaque/own/.wh..wh..opq", "")
        .end();
    let layout = Layout::new(&host, "layout");
    layout.index(&[layout.image(&[one, gzip(&two), zstd(&three)])]);
    let script = "cd /; find again d kind link opaque 2>/dev/null; cat again d/gone kind; find / -xdev -name '.wh*'";
    let output = run(&host, &[], &layout.path, script).run();
    let stdout = output.assert_code(0).assert_quiet().stdout();
    let mut lines: Vec<_> = stdout.lines().collect();
    lines.sort_unstable();
    let expected =
        ["332", "again", "d", "d/gone", "d/stays", "kind", "opaque", "opaque/kept", "opaque/own", "opaque/third"];
    assert_eq!(lines, expected, "{output}");
    as_user(run(&host, &[], &layout.path, "cat /again /kind; ls /d")).run().assert_prints("32gone\nstays");
}

#[test]
fn the_image_for_this_machine_is_taken_from_among_others() {
    let host = crate::host!("busybox");
    let layout = Layout::new(&host, "layout");
    let layer = |text: &str| {
        layout.blob(
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            &gzip(&tiny(&host).file("which", text).end()),
            "",
        )
    };
    let other = layout.manifest(&layout.config("s390x"), &[layer("other")], &platform("s390x"));
    let mine = layout.manifest(&layout.config(ARCHITECTURE), &[layer("mine")], &platform(ARCHITECTURE));
    let second = layout.manifest(&layout.config(ARCHITECTURE), &[layer("second")], &platform(ARCHITECTURE));
    let attestation = layout.manifest(&layout.config("unknown"), &[], &platform("unknown"));
    let inner = index(&[other.clone(), attestation, mine.clone(), second]);
    let nested = layout.blob(INDEX, inner.as_bytes(), "");
    // As an index of platforms, within another as tools write it, and the image itself.
    for manifests in [vec![other, mine.clone()], vec![nested.clone()], vec![nested, mine.clone()], vec![mine]] {
        layout.index(&manifests);
        run(&host, &[], &layout.path, "cat /which").run().assert_prints("mine");
    }
    assert_eq!(roots(&host, STORE).len(), 1);
}

#[test]
fn an_entry_of_a_layer_takes_the_place_of_whatever_is_below() {
    let host = crate::host!("busybox");
    let one = tiny(&host)
        .directory("usr")
        .directory("usr/lib")
        .symlink("lib", "usr/lib")
        .directory("full")
        .file("full/x", "1");
    let two = Archive::new()
        .file("lib/new", "2")
        .file("full", "2")
        .symlink("usr/lib/up", "../../etc")
        .file("usr/lib/up/in", "2");
    let three = Archive::new().directory("full").file("full/y", "3").symlink("etc/name", "in");
    let layout = Layout::new(&host, "layout");
    layout.index(&[layout.image(&[one.end(), two.end(), three.end()])]);
    let script = "cd /; readlink lib; cat usr/lib/new full/y etc/in etc/name; ls full";
    run(&host, &[], &layout.path, script).run().assert_prints("usr/lib\n2322y");
}
