//! Row 12, which has no goal: what it takes to start `true` in a root of its own, against the programs that do so from
//! an OCI bundle, and podman on top of one of them. All have the same root, a directory with two static programs, and
//! no network but lo. The bundle's settings are those of `runc spec`, without its shared memory and mqueue; as it has
//! no limits, the runtimes make an empty cgroup, and nsl none.

use crate::Result;
use crate::measure::{Arena, Commands, Contender, words};
use crate::programs::{Programs, installed};
use crate::proof::Proof;
use crate::report::{Line, Panel, Report, Side};
use crate::world::World;
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const PANEL: Panel = Panel { title: "Start of true in a root of its own", note: "ms, no network" };
/// runc and podman take so long that they have a turn in every fifth round only.
const SELDOM: usize = 5;
const CGROUPS: &str = "/sys/fs/cgroup";

/// Runs in a world of its own, where cgroups are as the runtimes want them; leaves this process in `home`.
pub fn run(programs: &Programs, home: &World, rounds: usize, report: &mut Report) -> Result<()> {
    World::create(&programs.floor)?;
    // crun refuses the hierarchies of old in their places. Where this fails, it says so itself.
    let _ = mount(Some("cgroup2"), CGROUPS, Some("cgroup2"), MsFlags::empty(), None::<&str>);
    let place = Place::prepare(programs).map_err(|error| format!("cannot prepare bundles: {error}"))?;
    let contenders = place.contenders(programs);
    let outcomes = Arena::new(&programs.folder).compete(&contenders, rounds);
    for (index, contender) in contenders.iter().enumerate() {
        let side = if index == 0 { Side::Ours } else { Side::Peer };
        let line = Line::new(12, contender.name, outcomes[index].clone(), side).panel(PANEL);
        report.add(if index == 0 { line } else { line.against(("nsl", &outcomes[0])) });
    }
    report.remark(format!("row 12: runc and podman start in every {SELDOM}th round"));
    drop(place);
    home.enter()
}

/// A root, the bundles of those that are told their command by a file, and what they note. It goes with this value.
struct Place {
    folder: PathBuf,
    root: PathBuf,
    /// Of podman's containers; conmon leaves it.
    cgroup: String,
}

impl Place {
    fn prepare(programs: &Programs) -> std::io::Result<Self> {
        // Beside `true`: what is under /tmp or another file system is not seen by all.
        let folder = programs.command.with_file_name("runtimes");
        let place = Self { root: folder.join("root"), folder, cgroup: format!("nsl-bench-{}", std::process::id()) };
        for name in ["dev", "etc", "proc", "run", "sys", "tmp"] {
            fs::create_dir_all(place.root.join(name))?;
        }
        fs::copy(&programs.command, place.root.join("true"))?;
        fs::copy(&programs.task, place.root.join("task"))?;
        for (bundle, words) in [("measured", vec!["/true"]), ("proving", vec!["/task", "prove"])] {
            fs::create_dir_all(place.folder.join(bundle))?;
            let config = config(&place.root, &words).to_string();
            fs::write(place.folder.join(bundle).join("config.json"), config)?;
        }
        Ok(place)
    }

    fn contenders(&self, programs: &Programs) -> [Contender; 5] {
        let (root, folder, cgroup) = (self.root.display(), self.folder.display(), &self.cgroup);
        let inside = Commands { measured: Path::new("/true"), task: Path::new("/task") };
        let one = |name, program: &Path, options: &str| {
            Contender::new(name, &words(program, options), inside, Proof::Sandbox)
        };
        let nsl = format!("run --network none --rootfs {root} --");
        let bwrap = format!("--unshare-all --bind {root} / --proc /proc --dev /dev");
        let podman = format!(
            "--root {folder}/podman --runroot {folder}/podman-run --tmpdir {folder}/podman-tmp \
             --network-config-dir {folder}/podman-networks --storage-driver vfs --events-backend none \
             --cgroup-manager cgroupfs --runtime runc \
             run --rm --network none --log-driver none --cgroups no-conmon --cgroup-parent /{cgroup} --pids-limit -1 \
             --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --rootfs {root}"
        );
        [
            one("nsl run --rootfs", &programs.nsl, &nsl),
            one("bwrap --unshare-all --bind", &installed("bwrap"), &bwrap),
            self.runtime("crun run", "crun"),
            self.runtime("runc run", "runc").every(SELDOM),
            one("podman run, with runc", &installed("podman"), &podman).every(SELDOM),
        ]
    }

    fn runtime(&self, name: &'static str, program: &str) -> Contender {
        let (folder, id) = (self.folder.display(), &self.cgroup);
        let run = |bundle: &str| {
            words(
                &installed(program),
                &format!("--root {folder}/{program} run --bundle {folder}/{bundle} {id}-{program}"),
            )
        };
        Contender::of(name, run("measured"), run("proving"), Proof::Sandbox)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let cgroup = Path::new(CGROUPS).join(&self.cgroup);
        if cgroup.is_dir()
            && let Err(error) = fs::remove_dir(&cgroup)
        {
            eprintln!("bench: cannot remove {}: {error}", cgroup.display());
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("bench: cannot remove {}: {error}", self.folder.display());
        }
    }
}

fn config(root: &Path, command: &[&str]) -> Value {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": command,
            "env": ["PATH=/"],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        },
        "root": { "path": root },
        "hostname": "bench",
        "mounts": [
            mount("/proc", "proc", &[]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "namespaces": namespaces,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
