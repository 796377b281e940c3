//! A host of a test's own: mount and network namespaces in which nsl can do what it likes, commands run in it, and
//! the check that nothing stays. Nothing here changes the machine's links, routes, firewall, sysctls, mounts or files:
//! what a host has not mounted for itself is read-only there.

mod command;
mod uplinks;

pub use command::{Invocation, Output, Running};
pub use uplinks::Beyond;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// nsl as a host sees it; every user may execute it.
pub const NSL: &str = "/run/bin/nsl";
/// nsl-init likewise. Where the sources lie, others than who built it may not get to: /root is closed.
pub const NSL_INIT: &str = "/run/bin/nsl-init";
/// A directory of the test's own in its host; every user may write to it.
pub const DIR: &str = "/tmp/test";
/// An ordinary user.
pub const USER: u32 = 1000;
/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long the kernel may take to drop what it drops by itself.
const DROPPED: Duration = Duration::from_secs(2);

/// Ends the test here unless it can have a host: root, and the programs named.
#[macro_export]
macro_rules! host {
    ($($tool:expr),*) => {
        match $crate::harness::Host::new(&[$($tool),*]) {
            Some(host) => host,
            None => return,
        }
    };
}

/// The same, and the host's root directory is the test's own: a view of the machine's that can be written to as one
/// likes.
#[macro_export]
macro_rules! own_host {
    ($($tool:expr),*) => {
        match $crate::harness::Host::with_root(&[$($tool),*], $crate::harness::VIEW) {
            Some(host) => host,
            None => return,
        }
    };
}

/// The root of `own_host!`: an overlay of the machine's.
pub const VIEW: &str = r"
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
cd /mnt/root";

/// A root with a file system of its own that holds next to nothing, and one static program; /usr is another.
pub const TINY: &str = r#"
mount -t tmpfs -o mode=755 tmpfs /mnt
cd /mnt
mkdir dev etc home mnt opt proc root run srv sys tmp usr var
for name in bin lib lib64 sbin; do cp -d /$name $name; done
cp "$(command -v busybox)" opt/busybox
mount --rbind /usr usr
mount -o remount,bind,ro usr
mkdir home/user
chown 1000:1000 home/user"#;

/// Behind one of these.
const PIVOT: &str = r"
for name in dev proc run sys tmp; do mount --rbind /$name $name; done
pivot_root . .
umount -l .
cd /";

/// A host: namespaces held by one process, which ends with the test.
pub struct Host {
    holder: Child,
    mark: u64,
    before: State,
    /// Namespaces beyond the host.
    outside: Vec<Child>,
}

/// All of a host that nsl must leave as it was.
#[derive(Default)]
struct State {
    /// Named parts, each a set of lines.
    parts: Vec<(&'static str, BTreeSet<String>)>,
}

const SETUP: &str = r#"
set -e
ip link set lo up
echo 0 > /proc/sys/net/ipv4/ip_forward
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/bin
touch /run/bin/nsl /run/bin/nsl-init
mount --bind "$1" /run/bin/nsl
mount --bind "$2" /run/bin/nsl-init
# Where states and logs are: whoever leaves one in them is seen.
mkdir -m 700 /run/nsl
mount -t tmpfs -o mode=755 tmpfs /var/log
mkdir -m 700 /var/log/nsl
built=$(dirname "$1")
mkdir /run/built
mount --bind "$built" /run/built
mkdir -p /run/systemd/resolve
echo nameserver 192.0.2.53 | tee /run/systemd/resolve/resolv.conf > /run/systemd/resolve/stub-resolv.conf
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -m 1777 /tmp/test
if [ ! -d "$built" ]; then mkdir -p "$built"; mount --bind /run/built "$built"; fi
# The rest is the machine's own.
for directory in / /dev; do mount -o remount,bind,ro $directory; done"#;

const READY: &str = "\necho ready\nexec cat";

const NETWORK: &str = "ip -br link; ip -br addr; ip route show table all; ip -6 route show table all; ip neigh show \
    nud permanent; ip rule";

impl Host {
    /// Makes one; use the macro `host!`. None, with the reason on stderr, if that can't be here.
    pub fn new(tools: &[&str]) -> Option<Self> {
        Self::with_script(tools, READY)
    }

    /// The same, with a root of its own; `root` is a script that goes into the directory which is to be it.
    pub fn with_root(tools: &[&str], root: &str) -> Option<Self> {
        needs(&["pivot_root"])?;
        Self::with_script(tools, &format!("{root}{PIVOT}{READY}"))
    }

    fn with_script(tools: &[&str], script: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            return skip("it needs root, to make a host of its own");
        }
        needs(&["ip", "nft", "nsenter", "unshare", "prlimit", "setpriv", "mount"])?;
        needs(tools)?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = 1_000_000_000_000 + u64::from(std::process::id()) * 10_000 + u64::from(number);
        let holder = hold(
            &["--mount", "--net", "--propagation", "private"],
            &[SETUP, script].concat(),
            &[env!("CARGO_BIN_EXE_nsl"), env!("NSL_INIT")],
        );
        let mut host = Self { holder, mark, before: State::default(), outside: Vec::new() };
        host.accept();
        Some(host)
    }

    /// Takes the present state as the one to come back to: after a test has changed something itself.
    pub fn accept(&mut self) {
        self.before = self.state();
    }

    /// `nsl` with arguments; the caller's directory is `/`.
    pub fn nsl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Invocation<'_> {
        self.command(NSL, args)
    }

    /// Any program of the host.
    pub fn command<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
    ) -> Invocation<'_> {
        let words = [program.as_ref().to_owned()].into_iter();
        let words = words.chain(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        Invocation::new(self, words.collect())
    }

    /// A script for sh(1), run as root; its output, once it has succeeded.
    pub fn sh(&self, script: &str) -> String {
        let output = self.command("sh", ["-ec", script]).run();
        output.assert_code(0);
        output.stdout()
    }

    /// Lets a test write to a directory of the machine's, where it needs one on the file system of the root.
    pub fn unlock(&mut self, directory: &str) {
        self.sh(&format!("mount --bind {directory} {directory}; mount -o remount,bind,rw {directory}"));
        self.accept();
    }

    /// Where this process finds an absolute path of the host.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        PathBuf::from(format!("/proc/{}/root", self.pid())).join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The process that holds the namespaces.
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// Does `work` in the host's network: sockets made there stay there.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_network_of(self.pid(), work)
    }

    /// A network beyond the host, as 198.51.100.1, to which the host, as 198.51.100.2, has its default route. It
    /// knows no way back but to the host's own address. Returns a process in it.
    pub fn uplink(&mut self) -> u32 {
        let outside = hold(&["--net"], "ip link set lo up && echo ready && exec cat", &[]);
        let pid = outside.id();
        self.outside.push(outside);
        self.sh(&format!(
            "ip link add up0 type veth peer name out0 netns {pid}
             ip link set up0 addrgenmode none
             nsenter -t {pid} -n ip link set out0 addrgenmode none
             ip addr add 198.51.100.2/24 dev up0
             ip link set up0 up
             nsenter -t {pid} -n ip addr add 198.51.100.1/24 dev out0
             nsenter -t {pid} -n ip link set out0 up
             ip route add default via 198.51.100.1"
        ));
        wait_until("the uplink is up", || self.sh("ip -br link show up0").contains(" UP "));
        self.accept();
        pid
    }

    /// Fails unless the host is as it was, or becomes so within the time that the kernel may take.
    #[track_caller]
    pub fn assert_clean(&self) {
        let start = Instant::now();
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(start.elapsed() < DROPPED, "the host is not as it was:\n{left}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Fails if anything but processes is new or lost, now.
    #[track_caller]
    pub fn assert_unchanged(&self) {
        let left = self.before.difference(&self.state());
        assert!(left.is_empty(), "the host is not as it was:\n{left}");
    }

    /// What is there that was not, and the other way round.
    fn left(&self) -> String {
        let mut left = String::new();
        for pid in self.processes() {
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
            let _ = writeln!(left, "  process {pid}: {command}");
        }
        if left.is_empty() {
            left = self.before.difference(&self.state());
        }
        left
    }

    /// Every living process that was started in this host, or comes from one that was, wherever it is now.
    pub fn processes(&self) -> Vec<u32> {
        let mark = self.mark.to_string();
        let is_marked = |pid: &u32| {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let limits = read("limits");
            let limit = limits.lines().find(|line| line.starts_with("Max realtime timeout"));
            limit.is_some_and(|line| line.split_ascii_whitespace().nth(3) == Some(&mark))
                && !read("stat").rsplit(')').next().unwrap_or_default().starts_with(" Z")
        };
        let pids = fs::read_dir("/proc").expect("read /proc").flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_marked).collect()
    }

    fn state(&self) -> State {
        let lines = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect();
        let names = |directory: &str| {
            let entries = fs::read_dir(self.path(directory)).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let tables = self.sh("nft list ruleset");
        let tables = tables.lines().filter(|line| line.starts_with("table ") && *line != "table inet nsl {");
        State {
            parts: vec![
                ("mount", lines(&fs::read_to_string(format!("/proc/{}/mountinfo", self.pid())).unwrap_or_default())),
                ("network", lines(&self.sh(NETWORK))),
                ("nftables", tables.map(str::to_owned).collect()),
                ("file in /", names("/")),
                ("file in /dev", names("/dev")),
                ("file in /dev/shm", names("/dev/shm")),
                ("file in /run", names("/run")),
                ("sandbox in /run/nsl", names("/run/nsl")),
                ("log in /var/log/nsl", names("/var/log/nsl")),
                ("file in /tmp", names("/tmp")),
            ],
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if !thread::panicking() {
                self.assert_clean();
            }
        }));
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        for child in [&mut self.holder].into_iter().chain(&mut self.outside) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    }
}

impl State {
    fn difference(&self, now: &Self) -> String {
        let mut out = String::new();
        for ((part, before), (_, now)) in self.parts.iter().zip(&now.parts) {
            for (word, lines) in [("new", now.difference(before)), ("lost", before.difference(now))] {
                for line in lines {
                    let _ = writeln!(out, "  {word} {part}: {line}");
                }
            }
        }
        out
    }
}

/// Does `work` in the network namespace of a process.
pub fn in_network_of<T: Send>(pid: u32, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/proc/{pid}/ns/net")).expect("open the network namespace");
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("enter the network namespace");
            work()
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The only child of a process, once its name is `comm`.
#[track_caller]
pub fn only_child(pid: u32, comm: &str) -> u32 {
    let mut found = 0;
    wait_until(&format!("{pid} has a child {comm}"), || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found = children.trim().parse().unwrap_or(0);
        fs::read_to_string(format!("/proc/{found}/comm")).is_ok_and(|name| name.trim() == comm)
    });
    found
}

/// Is a process stopped?
pub fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().unwrap_or_default().starts_with(" T")
}

/// Waits, within bounds, until something holds.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// None, with the reason on stderr, unless all these programs are installed: `needs(&["tmux"])?`.
pub fn needs(tools: &[&str]) -> Option<()> {
    let directories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let is_there = |tool: &str| directories.iter().any(|directory| Path::new(directory).join(tool).exists());
    match tools.iter().find(|tool| !is_there(tool)) {
        None => Some(()),
        Some(tool) => skip(&format!("it needs {tool}, which is not installed")),
    }
}

/// Says, past the capture of the output, why a test is skipped; where all must run, fails.
pub fn skip<T>(reason: &str) -> Option<T> {
    let name = thread::current().name().unwrap_or_default().to_owned();
    assert!(std::env::var_os("NSL_TESTS_MUST_RUN").is_none(), "{name} cannot run: {reason}");
    let _ = writeln!(std::io::stderr(), "skipped: {name}: {reason}");
    None
}

/// A process that holds new namespaces, once `script` has said that it is ready.
fn hold(namespaces: &[&str], script: &str, args: &[&str]) -> Child {
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["--", "sh", "-c", script, "sh"]).args(args);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = command.spawn().expect("start unshare");
    let mut line = String::new();
    let stdout = holder.stdout.take().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut line).expect("read from the holder");
    assert_eq!(line, "ready\n", "the namespaces for a host cannot be made");
    holder
}

#[test]
fn the_machines_files_are_read_only_in_a_host() {
    let host = crate::host!();
    for directory in ["/", "/dev", "/etc", "/home", "/opt", "/root", "/srv", "/usr", "/usr/local", "/var", "/var/tmp"] {
        let script = format!("! touch {directory}/nsl-test 2>&1");
        assert!(host.sh(&script).contains("Read-only file system"), "{directory}");
    }
    host.sh("! chmod 644 /etc/passwd 2>&1; touch /run/x /tmp/x /tmp/test/x /dev/shm/x; rm /run/x /tmp/x /tmp/test/x /dev/shm/x; echo > /dev/null");
}
