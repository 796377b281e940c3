//! Builds what `launcher` embeds: nsl-init, and the programs of the default seccomp filter. `cargo build` and
//! `cargo install --path launcher` alone yield a complete nsl.

// They refer to each other as `super::`, which is this file here.
#[allow(dead_code, reason = "the launcher uses all of it")]
#[path = "src/seccomp/compiler.rs"]
mod compiler;
#[allow(dead_code, reason = "the launcher uses all of it")]
#[path = "src/seccomp/default.rs"]
mod default;

use default::table;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use syscalls::{aarch64, x86_64};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    build_init(&out);
    build_filters(&out);
    pack_relocations();
    leave_out_unwinding();
}

/// 360 kB that only a panic which unwinds, and the trace of one that aborts, would read.
fn leave_out_unwinding() {
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
        let script = manifest.join("link.ld");
        println!("cargo:rerun-if-changed={}", script.display());
        println!("cargo:rustc-link-arg-bin=nsl=-Wl,--no-eh-frame-hdr,-T,{}", script.display());
    }
}

/// A static program relocates itself: its list of where takes 150 kB, or packed 2 kB, which the C library of the machine
/// that it is linked on must know (glibc 2.36).
fn pack_relocations() {
    let is_native = env::var_os("HOST") == env::var_os("TARGET");
    let version = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok().filter(|_| is_native);
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let minor = version.trim().strip_prefix("glibc 2.").and_then(|minor| minor.split('.').next()?.parse::<u32>().ok());
    if minor.is_some_and(|minor| minor >= 36) {
        println!("cargo:rustc-link-arg-bin=nsl=-Wl,-z,pack-relative-relocs");
    }
}

/// Those that need no capability: for a sandbox, and for one that may hold others.
fn build_filters(out: &Path) {
    println!("cargo:rerun-if-changed=src/seccomp");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    for (name, open) in [("default", 0), ("nested", default::NESTED)] {
        let policy = match arch.as_str() {
            "x86_64" => default::policy(compiler::X86_64, table!(x86_64::Sysno), open),
            "aarch64" => default::policy(compiler::AARCH64, table!(aarch64::Sysno), open),
            other => panic!("there is no table of system calls for {other}"),
        };
        let program = policy.compile().expect("the default policy fits into one program");
        std::fs::write(out.join(format!("{name}.bpf")), program).expect("cannot write a filter");
    }
}

fn build_init(out: &Path) {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
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
    let init = built.join(&target).join("release/nsl-init");
    trim(&init);
    println!("cargo:rustc-env=NSL_INIT={}", init.display());
}

/// Cuts off what the linker leaves room for behind the last segment: headers of sections, of which there are none.
fn trim(init: &Path) {
    let bytes = std::fs::read(init).expect("cannot read nsl-init");
    // Elf64_Ehdr and Elf64_Phdr of elf(5), little-endian.
    let number =
        |at: usize, size: usize| bytes[at..at + size].iter().rev().fold(0, |sum, byte| sum << 8 | *byte as usize);
    let (first, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let ends =
        (0..count).map(|index| first + index * size).map(|header| number(header + 8, 8) + number(header + 32, 8));
    let end = ends.max().expect("nsl-init has segments");
    let file = std::fs::File::options().write(true).open(init).expect("cannot open nsl-init");
    file.set_len(end as u64).expect("cannot trim nsl-init");
}
