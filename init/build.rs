//! Links the init without libc: its own `_start`, nothing dynamic, the layout of `link.ld`.

use std::env;

fn main() {
    let layout = format!("-Wl,-T,{}/link.ld", env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let options =
        "-Wl,-z,max-page-size=4096,-z,norelro,-z,nosectionheader,--build-id=none,--no-eh-frame-hdr,--strip-all";
    for arg in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", options, &layout] {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=link.ld");
}
