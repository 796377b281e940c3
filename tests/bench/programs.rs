//! The programs that take part: builds the floor and `true`, finds nsl, nsl-init and the peers.

use crate::Result;
use crate::measure::{Commands, PATH};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

pub struct Programs {
    /// The workspace.
    pub root: PathBuf,
    /// target/bench of the workspace: what the bench builds and writes.
    pub folder: PathBuf,
    pub floor: PathBuf,
    /// On the file system of `/`, as an overlay of `/` shows no other.
    pub command: PathBuf,
    /// Beside it, as the next.
    pub task: PathBuf,
    /// The command of a sandbox that is to stay.
    pub wait: PathBuf,
    pub nsl: PathBuf,
    /// The very file that `nsl` embeds: launcher/build.rs says where it is.
    pub init: PathBuf,
    /// Made for `command` outside of the workspace, gone with this value.
    borrowed: Option<PathBuf>,
}

impl Programs {
    pub fn prepare() -> Result<Self> {
        let root = fs::canonicalize(ROOT).map_err(|error| format!("cannot find {ROOT}: {error}"))?;
        let folder = root.join("target/bench");
        create(&folder)?;
        let floor = folder.join("floor");
        let fast = ["-Copt-level=3", "-Clto=fat", "-Ctarget-feature=+crt-static"];
        compile(&root.join("tests/bench/floor/main.rs"), &floor, &fast)?;
        let (home, borrowed) = home_of_command(&folder)?;
        let command = home.join("true");
        let bare = ["-Clink-args=-nostartfiles -nostdlib -static -Wl,--build-id=none -Wl,-z,noseparate-code"];
        compile(&root.join("tests/bench/true.rs"), &command, &bare)?;
        let wait = home.join("wait");
        compile(&root.join("tests/bench/wait.rs"), &wait, &bare)?;
        let task = home.join("task");
        compile(&root.join("tests/bench/task/main.rs"), &task, &fast)?;
        let ours = |name, built: &str| std::env::var_os(name).map_or_else(|| PathBuf::from(built), PathBuf::from);
        let nsl = ours("NSL_BENCH_LAUNCHER", env!("CARGO_BIN_EXE_nsl"));
        let init = ours("NSL_BENCH_INIT", env!("NSL_INIT"));
        Ok(Self { root, folder, floor, command, task, wait, nsl, init, borrowed })
    }
}

impl Programs {
    /// What a contender runs that sees the host's files.
    pub fn commands(&self) -> Commands<'_> {
        Commands { measured: &self.command, task: &self.task }
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        if let Some(folder) = &self.borrowed
            && let Err(error) = fs::remove_dir_all(folder)
        {
            eprintln!("bench: cannot remove {}: {error}", folder.display());
        }
    }
}

/// Where a program of this name is installed, or else its name alone, which is no file.
pub fn installed(name: &str) -> PathBuf {
    std::env::split_paths(PATH)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| name.into())
}

/// Runs a program that must succeed.
pub fn finish(command: &mut Command) -> Result<()> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("cannot go on: {} ended with {status}", command.get_program().display())),
        Err(error) => Err(format!("cannot start {}: {error}", command.get_program().display())),
    }
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))
}

/// The bench's folder, if it shows in an overlay of `/` and is not under a directory that a sandbox has of its own.
fn home_of_command(folder: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
    let device = |path: &Path| fs::metadata(path).map(|data| data.dev()).ok();
    let hidden = ["/dev", "/proc", "/run", "/sys", "/tmp"].iter().any(|own| folder.starts_with(own));
    if !hidden && device(folder) == device(Path::new("/")) {
        return Ok((folder.to_owned(), None));
    }
    let other = PathBuf::from(format!("/var/tmp/nsl-bench-{}", std::process::id()));
    create(&other)?;
    Ok((other.clone(), Some(other)))
}

fn compile(source: &Path, program: &Path, flags: &[&str]) -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let common = ["--edition=2024", "--crate-name=bench_part", "-Cpanic=abort", "-Cstrip=symbols"];
    let place = ["-Crelocation-model=static", "-o"];
    let mut command = Command::new(rustc);
    // The floor loads the same filter as nsl.
    command.env("NSL_FILTER", concat!(env!("OUT_DIR"), "/default.bpf"));
    finish(command.args(common).args(flags).args(place).arg(program).arg(source))
}
