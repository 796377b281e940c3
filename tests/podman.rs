//! nsl-init in podman's containers, in both ways that it gets there: as the init that `--init --init-path` adds, and
//! as the image's ENTRYPOINT. All that podman and runc keep lies in the test's own directory.

use crate::harness::{DIR, Host, Invocation, Output};
use crate::pty::{CTRL_C, Pty};
use std::fs;
use std::time::{Duration, Instant};

/// Far below the grace times that must not be waited for.
const SOON: Duration = Duration::from_secs(5);

/// Nothing of the machine's: no storage, no configuration, no journal.
const PLACES: &str = "--root /tmp/test/podman/root --runroot /tmp/test/podman/run --tmpdir /tmp/test/podman/tmp \
    --network-config-dir /tmp/test/podman/networks --storage-driver vfs --events-backend none \
    --cgroup-manager cgroupfs --runtime runc";
/// What a test needs of a container; limits that may be set everywhere.
const LIMITS: &str = "--network none --log-driver none --cgroups no-conmon --pids-limit -1 --ulimit nofile=1024:1024 \
    --ulimit nproc=1024:1024";
/// The two ways.
const INIT: [&str; 3] = ["--init", "--init-path", "/tmp/test/nsl-init"];
const ENTRYPOINT: [&str; 2] = ["--entrypoint", r#"["/nsl-init", "--"]"#];
const WAYS: [&[&str]; 2] = [&INIT, &ENTRYPOINT];

/// Containers of a host, with one root directory for all: a busybox, and nsl-init. They end with it.
pub struct Podman<'a> {
    pub host: &'a Host,
    /// Control groups are the whole machine's; those of the containers have this one above them.
    cgroup: String,
}

impl<'a> Podman<'a> {
    pub fn new(host: &'a mut Host) -> Self {
        host.sh(&format!(
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup
             for name in cache lib tmp; do mount -t tmpfs tmpfs /var/$name; done
             cd {DIR}; /run/bin/nsl init; mkdir -p root/bin root/dev root/etc root/proc root/run root/sys root/tmp
             cp nsl-init root; cp $(command -v busybox) root/bin/busybox; chroot root /bin/busybox --install -s /bin"
        ));
        host.accept();
        Self { cgroup: format!("/nsl-test-{}", host.pid()), host }
    }

    fn podman<'b>(&self, words: impl IntoIterator<Item = &'b str>) -> Invocation<'a> {
        self.host.command("podman", PLACES.split_ascii_whitespace().chain(words))
    }

    /// `podman run` with more options, and what to run.
    pub fn run(&self, options: &[&str], words: &[&str]) -> Invocation<'a> {
        let own = ["run", "--rm", "--name", "test", "--cgroup-parent", &self.cgroup];
        let root = ["--rootfs", "/tmp/test/root"];
        let limits = LIMITS.split_ascii_whitespace();
        let options = own.into_iter().chain(limits).chain(options.iter().copied()).chain(root);
        self.podman(options.chain(words.iter().copied()))
    }

    /// Makes the root directory an image with this name.
    pub fn import(&self, name: &str) {
        self.host.sh(&format!("cd {DIR}; tar -C root -cf root.tar ."));
        self.podman(["import", "--quiet", "/tmp/test/root.tar", name]).run().assert_code(0);
    }

    /// A program in podman's place, so that commands as people type them use nothing of the machine's.
    pub fn script(&self) -> String {
        format!(
            "#!/bin/sh
            PATH=/usr/sbin:/usr/bin:/sbin:/bin
            case $1 in
            run) shift; exec podman {PLACES} run --cgroup-parent {} {LIMITS} \"$@\" ;;
            build) shift; exec podman {PLACES} build --pull=never \"$@\" ;;
            *) exec podman {PLACES} \"$@\" ;;
            esac\n",
            self.cgroup
        )
    }

    /// Runs a script for sh(1) in both ways, to the same effect.
    #[track_caller]
    fn both(&self, script: &str, check: impl Fn(&Output)) {
        for way in WAYS {
            check(&self.run(way, &["sh", "-c", script]).run());
        }
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        // What fails here leaves something, which the host's own check then shows.
        let _ = self.podman(["rm", "--force", "--all", "--time", "0"]).run();
        let cgroup = format!("/sys/fs/cgroup{}", self.cgroup);
        // Which of them there are depends on what podman has for networks. A container in one keeps it.
        let directories = format!("/run/runc /run/containers/networks /run/containers {cgroup}");
        let script =
            format!("rm -f /dev/shm/libpod_lock; for d in {directories}; do if [ -d $d ]; then rmdir $d; fi; done");
        let output = self.host.command("sh", ["-c", &script]).run();
        if !std::thread::panicking() {
            output.assert_code(0).assert_quiet();
        }
    }
}

#[test]
fn init_that_podman_adds_is_nsl_init() {
    let mut host = crate::host!("podman", "runc", "busybox");
    let podman = Podman::new(&mut host);
    let words = ["sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline; cat /proc/1/comm; readlink /proc/1/exe; echo $PPID"];
    let shown = podman.run(&INIT, &words).run();
    let start = "/run/podman-init -- sh -c ";
    assert!(shown.assert_code(0).assert_quiet().stdout().starts_with(start), "{shown}");
    assert!(shown.stdout().ends_with(" podman-init\n/run/podman-init\n1\n"), "{shown}");
    let program = podman.run(&INIT, &["cat", "/proc/1/exe"]).run();
    assert!(program.assert_code(0).assert_quiet().stdout == fs::read(env!("NSL_INIT")).expect("read nsl-init"));
    let shown = podman.run(&ENTRYPOINT, &words).run();
    assert!(shown.assert_code(0).assert_quiet().stdout().ends_with(" nsl-init\n/nsl-init\n1\n"), "{shown}");
}

#[test]
fn exit_codes_reach_podman() {
    let mut host = crate::host!("podman", "runc", "busybox");
    let podman = Podman::new(&mut host);
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        podman.both(script, |output| {
            output.assert_code(code).assert_quiet();
        });
    }
    let output = podman.run(&ENTRYPOINT, &["no-such-command"]).run();
    output.assert_code(127);
    assert_eq!(output.stderr(), "nsl-init: cannot execute no-such-command: No such file or directory\n");
    // By the name that podman gives it, it has catatonit's code and words.
    let output = podman.run(&INIT, &["no-such-command"]).run();
    assert!(output.assert_code(1).stderr().contains("failed to exec pid1: No such file or directory"), "{output}");
}

#[test]
fn orphans_in_a_container_are_reaped() {
    let mut host = crate::host!("podman", "runc", "busybox");
    let podman = Podman::new(&mut host);
    let script = "for n in $(seq 200); do (true &); done
        for n in $(seq 500); do
            if ! ps -o stat | grep -q Z; then echo none left; exit; fi
            sleep 0.01
        done; ps -o pid,ppid,stat,args";
    podman.both(script, |output| {
        output.assert_prints("none left");
    });
}

#[test]
fn signals_that_podman_sends_reach_the_command() {
    let mut host = crate::host!("podman", "runc", "busybox");
    let podman = Podman::new(&mut host);
    let script = "trap 'echo got USR1' USR1; trap 'echo got WINCH' WINCH; trap 'echo got TERM; exit 3' TERM
        echo up; while :; do sleep 0.01; done";
    for way in WAYS {
        let mut running = podman.run(way, &["sh", "-c", script]).start();
        assert_eq!(running.line(), "up");
        podman.podman(["kill", "--signal", "USR1", "test"]).run().assert_prints("test");
        assert_eq!(running.line(), "got USR1");
        podman.podman(["kill", "--signal", "SIGWINCH", "test"]).run().assert_prints("test");
        assert_eq!(running.line(), "got WINCH");
        let start = Instant::now();
        podman.podman(["stop", "--time", "30", "test"]).run().assert_prints("test");
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        running.finish().assert_code(3).assert_stdout("got TERM").assert_quiet();
    }
}

#[test]
fn a_command_that_does_not_end_is_killed_with_all_that_it_started() {
    let mut host = crate::host!("podman", "runc", "busybox");
    let podman = Podman::new(&mut host);
    let script = "trap '' TERM; setsid sleep 1000 & sleep 1000 & echo up; while :; do sleep 0.01; done";
    for way in WAYS {
        let mut running = podman.run(way, &["sh", "-c", script]).start();
        assert_eq!(running.line(), "up");
        let output = podman.podman(["stop", "--time", "1", "test"]).run();
        output.assert_code(0).assert_stdout("test");
        running.finish().assert_code(137);
        podman.podman(["ps", "--all", "--quiet"]).run().assert_prints("");
    }
}

#[test]
fn what_a_command_leaves_in_a_container_is_ended_in_order() {
    let mut host = crate::host!("podman", "runc", "busybox");
    let podman = Podman::new(&mut host);
    // The command ends when what it leaves behind has set its trap.
    let leaves = |trap: &str| {
        let rest = format!("{trap}; echo > /tmp/up; while :; do sleep 0.01; done");
        format!("mkfifo /tmp/up; ({rest}) & read up < /tmp/up; rm /tmp/up; exit 4")
    };
    let ends = leaves("trap 'echo asked; exit' TERM");
    let start = Instant::now();
    podman.run(&ENTRYPOINT, &["sh", "-c", &ends]).run().assert_code(4).assert_stdout("asked");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    let stays = leaves("trap '' TERM");
    let entrypoint = r#"["/nsl-init", "--grace", "500ms", "--"]"#;
    let start = Instant::now();
    podman.run(&["--entrypoint", entrypoint], &["sh", "-c", &stays]).run().assert_code(4);
    assert!((Duration::from_millis(500)..SOON).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn a_container_with_a_terminal_has_job_control() {
    let mut host = crate::host!("podman", "runc", "busybox");
    let podman = Podman::new(&mut host);
    // podman gives the terminal its size once the command runs.
    let script = "trap 'echo got INT; exit 5' INT; until stty size 2>&1 | grep '40 100'; do sleep 0.01; done
        while :; do sleep 0.01; done";
    for way in WAYS {
        let options = [&["-it"], way].concat();
        let mut pty = Pty::start(podman.run(&options, &["sh", "-c", script]));
        pty.until("40 100");
        pty.keys(CTRL_C);
        pty.until("got INT");
        assert_eq!(pty.end(), 5);
        let mut pty = Pty::start(podman.run(&options, &["sh"]));
        pty.until("# ");
        // Not the shell's own echo: the child that is in the foreground says so.
        pty.line("sh -c 'echo $((20 + 3)); exec sleep 1000'");
        pty.until("23");
        pty.keys(CTRL_C);
        pty.until("# ");
        pty.line("exit 6");
        assert_eq!(pty.end(), 6);
        assert!(!pty.all().contains("job control turned off"), "{}", pty.all());
    }
}
