//! Builds nsl-init, so that `launcher` can embed it: `cargo build` and `cargo install --path launcher` alone yield
//! a complete nsl.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let workspace = manifest.parent().expect("the launcher lies in the workspace");
    for path in ["init", "shared", "Cargo.lock", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }

    let built = out.join("init");
    let status = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"))
        .args(["build", "--release", "--locked", "--package", "nsl-init", "--target", &target, "--target-dir"])
        .arg(&built)
        .current_dir(workspace)
        // The flags of this build are the launcher's (a static libc, a coverage run …); the init has none.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env("RUSTFLAGS", "-C relocation-model=static")
        .status()
        .expect("cannot run cargo for nsl-init");
    assert!(status.success(), "cannot build nsl-init: cargo says why above");
    println!("cargo:rustc-env=NSL_INIT={}", built.join(&target).join("release/nsl-init").display());
}
