//! What to run, valid in itself and against this host: made from the command line, with fields that nobody can
//! set wrong afterwards. Making it reads the host and changes nothing.

mod names;
mod words;

use crate::cgroup::Limits;
use crate::cli::{LogDriver, Namespace, Proc, Run};
use crate::error::{Error, Result};
use crate::hints::Subject;
use crate::mounts::{self, Mount};
use crate::net::names::{Dns, Entry, Hosts, Target};
use crate::net::{Join, Known, PastaPlan, VethPlan};
use crate::pidfile;
use crate::rlimit::{self, Rlimit};
use crate::security::Security;
use crate::service;
use crate::signals;
use crate::store::Source;
use crate::units;
use crate::user::User;
use crate::userns::Identities;
use nsl_shared::boot::Credentials;
use nsl_shared::signal::Signal;
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::ffi::{CString, OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use words::View;

/// What a user namespace that nobody asked for comes from.
const NESTED_AS_ROOT: &str =
    "as root, --nested comes with --userns auto: --userns host does without, and trusts the command";

/// Where the command finds the socket on which it is to say that it is ready.
const NOTIFY_SOCKET: &str = "/run/host/notify";

/// What the command's root directory is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Root {
    /// The host's own, copy-on-write.
    Host,
    /// A directory of the host.
    Directory(PathBuf),
    /// A directory of the host, copy-on-write.
    Layer(PathBuf),
    /// What is unpacked into the store, copy-on-write.
    Unpacked(Source),
    /// An empty file system in memory.
    Empty,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Network {
    Veth(VethPlan),
    /// Without root.
    Pasta(PastaPlan),
    None,
    Host,
    /// One that is there already.
    Join(Join),
}

/// Which of the host's namespaces the command stays in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shared {
    pub ipc: bool,
    pub uts: bool,
    pub cgroup: bool,
}

/// The directory that the command starts in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workdir {
    pub path: CString,
    /// It must exist inside; else `/` will do.
    pub required: bool,
}

/// Who runs nsl: with all privileges, or with those that a user namespace gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
    /// It may make namespaces without one for users.
    pub privileged: bool,
}

impl Caller {
    pub fn current() -> Self {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let may = |sets: CapabilitySets| sets.effective.contains(CapabilitySet::SYS_ADMIN);
        Self { uid, gid, privileged: uid == 0 && rustix::thread::capabilities(None).is_ok_and(may) }
    }

    /// Has it root's privileges? Root in a container often has not.
    pub fn is_privileged(self) -> bool {
        self.privileged
    }
}

pub struct Spec {
    caller: Caller,
    identities: Identities,
    root: Root,
    proc: Proc,
    network: Network,
    shared: Shared,
    /// Where what the command changes is kept.
    changes: Option<PathBuf>,
    read_only: bool,
    mounts: Vec<Mount>,
    hostname: String,
    dns: Dns,
    hosts: Hosts,
    workdir: Workdir,
    user: Option<User>,
    terminal: bool,
    grace_ms: u32,
    stop_signal: Option<Signal>,
    timeout_ms: Option<u32>,
    limits: Limits,
    rlimits: Vec<Rlimit>,
    security: Security,
    args: Vec<u8>,
    env: Vec<u8>,
    /// The command's first word, for messages.
    name: OsString,
    pidfile: Option<PathBuf>,
    /// Somebody wants to be told of the command's end.
    is_watched: bool,
}

impl Spec {
    /// Gives the words of the command line their meaning, or says what is wrong with them.
    pub fn new(run: &Run) -> Result<Self> {
        Self::for_caller(run, Caller::current())
    }

    fn for_caller(run: &Run, caller: Caller) -> Result<Self> {
        let identities = Identities::new(userns(run, caller), caller)?;
        check_ids(run, &identities)?;
        let root = words::root(run)?;
        let changes = run.changes.as_deref().map(words::changes).transpose()?;
        let network = words::network(run, caller)?;
        let mut mounts = mounts::mounts(run)?;
        let view = View { mounts: &mounts, by_directory: identities.is_new() && !identities.are_shifted() };
        let workdir = words::workdir(run.workdir.as_deref(), &root, &view)?;
        let hostname = words::hostname(run)?;
        let is_host = |namespace| namespace == Namespace::Host;
        let shared = Shared { ipc: is_host(run.ipc), uts: is_host(run.uts), cgroup: is_host(run.cgroupns) };
        // In an archive nobody can be looked up before it is unpacked.
        let deferred = matches!(root, Root::Unpacked(_));
        let user = run.user.as_deref().filter(|text| !deferred || !User::is_named(text));
        let user = user.map(|text| User::find(text, caller, &identities, &root)).transpose()?;
        run.pidfile.as_deref().map_or(Ok(()), pidfile::check)?;
        let grace_ms = units::milliseconds("--stop-timeout", &run.stop_timeout)?;
        let timeout_ms = run.timeout.as_deref().map(|text| units::milliseconds("--timeout", text)).transpose()?;
        run.name.as_deref().map_or(Ok(()), service::check_name)?;
        let terminal = has_terminal(run)?;
        // Seen inside.
        let uid = if identities.has_root() { 0 } else { caller.uid };
        let environment = words::environment(run, user.as_ref(), terminal, &network)?;
        mounts.extend(environment.notify);
        Ok(Self {
            caller,
            root,
            proc: run.proc,
            shared,
            changes,
            read_only: run.read_only,
            mounts,
            dns: names::dns(run, &network)?,
            hosts: names::hosts(run, &network, &hostname)?,
            network,
            hostname,
            workdir,
            terminal,
            grace_ms,
            stop_signal: run.stop_signal.as_deref().map(|text| signals::named("--stop-signal", text)).transpose()?,
            // As timeout(1) has it, no time at all is no limit.
            timeout_ms: timeout_ms.filter(|time| *time > 0),
            limits: words::limits(run)?,
            rlimits: rlimit::parse_all(&run.ulimits)?,
            security: Security::new(
                run,
                identities.are_many(),
                user.as_ref().map_or(uid, |user| user.credentials.uid),
            )?,
            identities,
            user,
            env: environment.entries,
            name: run.command[0].clone(),
            args: words::strings(&run.command)?,
            pidfile: run.pidfile.clone(),
            is_watched: run.status_fd.is_some() || run.is_registered(),
        })
    }

    /// Has the command say to this socket of the host's that it is ready, whomever the caller's environment names.
    pub fn notify_by(&mut self, socket: &Path) {
        let kind = mounts::Kind::Bind(socket.to_owned());
        self.mounts.push(Mount { target: NOTIFY_SOCKET.into(), kind, read_only: true });
        self.name_the_socket();
    }

    fn name_the_socket(&mut self) {
        const VARIABLE: &[u8] = b"NOTIFY_SOCKET=";
        let entries = self.env.split_inclusive(|byte| *byte == 0);
        let others = entries.filter(|entry| !entry.starts_with(VARIABLE));
        self.env = others.chain([VARIABLE, NOTIFY_SOCKET.as_bytes(), b"\0"]).flatten().copied().collect();
    }

    /// The root has been unpacked: who the command runs as can be looked up in it.
    pub fn found(&mut self, run: &Run, root: &Path) -> Result<()> {
        let Some(text) = run.user.as_deref().filter(|_| self.user.is_none()) else { return Ok(()) };
        let user = User::find(text, self.caller, &self.identities, &Root::Directory(root.to_owned()))?;
        self.security = Security::new(run, self.identities.are_many(), user.credentials.uid)?;
        self.env = words::environment(run, Some(&user), self.terminal, &self.network)?.entries;
        if self.mounts.iter().any(|mount| mount.target == Path::new(NOTIFY_SOCKET)) {
            self.name_the_socket();
        }
        self.user = Some(user);
        Ok(())
    }

    pub fn caller(&self) -> Caller {
        self.caller
    }

    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    pub fn root(&self) -> &Root {
        &self.root
    }

    pub fn proc(&self) -> Proc {
        self.proc
    }

    pub fn shared(&self) -> Shared {
        self.shared
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The directory that keeps what the command changes, absolute and without links; it may not be there yet.
    pub fn changes(&self) -> Option<&Path> {
        self.changes.as_deref()
    }

    /// The root is read-only, once all is mounted in it.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// In the order in which they are mounted.
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// What was asked for of name servers.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// These names keep the addresses that they have now.
    pub fn know(&mut self, known: &[Known]) {
        let entries = known.iter().flat_map(|(name, addresses)| {
            addresses.iter().map(|address| Entry { name: name.clone(), target: Target::Address(*address) })
        });
        self.hosts.entries.extend(entries);
    }

    /// What /etc/hosts says inside.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    pub fn workdir(&self) -> &Workdir {
        &self.workdir
    }

    pub fn credentials(&self) -> Option<Credentials> {
        self.user.as_ref().map(|user| user.credentials)
    }

    /// Supplementary groups.
    pub fn groups(&self) -> &[u32] {
        self.user.as_ref().map_or(&[], |user| &user.groups)
    }

    pub fn terminal(&self) -> bool {
        self.terminal
    }

    pub fn grace_ms(&self) -> u32 {
        self.grace_ms
    }

    /// What asks the command to end, and what it leaves behind; SIGTERM, unless another is asked for.
    pub fn stop_signal(&self) -> Option<Signal> {
        self.stop_signal
    }

    /// How long the command may run, in milliseconds.
    pub fn timeout_ms(&self) -> Option<u32> {
        self.timeout_ms
    }

    /// Limits of all that is inside.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Resource limits of the command's process.
    pub fn rlimits(&self) -> &[Rlimit] {
        &self.rlimits
    }

    pub fn security(&self) -> &Security {
        &self.security
    }

    /// The command and its arguments, each ended by a NUL.
    pub fn args(&self) -> &[u8] {
        &self.args
    }

    /// The command's environment, each entry ended by a NUL.
    pub fn env(&self) -> &[u8] {
        &self.env
    }

    /// The command's name, as it was given.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// What a failed start speaks of.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            name: &self.name,
            workdir: &self.workdir.path,
            has_landlock: !self.security.landlock.is_empty(),
            has_filter: !self.security.filter.is_empty(),
        }
    }

    /// Where the process ID of the init is to be written.
    pub fn pidfile(&self) -> Option<&Path> {
        self.pidfile.as_deref()
    }

    pub fn is_watched(&self) -> bool {
        self.is_watched
    }
}

/// What goes only with ids of the sandbox's own, and what does not go with them.
fn check_ids(run: &Run, identities: &Identities) -> Result<()> {
    if run.proc == Proc::Host && !identities.is_new() {
        // Through /proc/PID/root of a process with fewer capabilities, root would be out.
        return Err(Error::new("use --proc host", "root would reach the host's files through it")
            .hint("only in a user namespace, as of --userns auto, it is safe"));
    }
    if run.changes.is_some() && identities.is_new() && identities.are_many() {
        return Err(Error::new("use --changes with --userns", "the owners that exist inside alone would be kept")
            .hint(if run.userns.is_some() { "leave one of the two out" } else { NESTED_AS_ROOT }));
    }
    Ok(())
}

/// Has the command a pty of its own: on request, or at a terminal whose streams it would have?
fn has_terminal(run: &Run) -> Result<bool> {
    let is_at_one = std::io::stdin().is_terminal();
    if run.tty && !is_at_one {
        return Err(Error::new("use --tty", "stdin is no terminal").hint("leave --tty out"));
    }
    let is_possible = !run.no_tty && run.log_driver() == LogDriver::Stdout;
    Ok(is_possible && (run.tty || is_at_one && std::io::stdout().is_terminal()))
}

/// Where sandboxes are made in it, /proc lies open, with settings that make root inside the host's: so that it is
/// another's.
fn userns(run: &Run, caller: Caller) -> Option<&str> {
    let is_open = run.nested && !run.privileged && caller.is_privileged();
    run.userns.as_deref().or(is_open.then_some("auto"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::net::Wanted;
    use clap::Parser;

    const ROOT: Caller = Caller { uid: 0, gid: 0, privileged: true };
    const USER: Caller = Caller { uid: 1000, gid: 1000, privileged: false };

    fn spec_of(words: &[&str], caller: Caller) -> Result<Spec> {
        let cli = Cli::parse_from(["nsl", "run"].iter().chain(words).chain(&["true"]));
        let Command::Run(run) = cli.command else { panic!("no run") };
        Spec::for_caller(&run, caller)
    }

    fn refusal(words: &[&str], caller: Caller) -> String {
        spec_of(words, caller).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn root_is_the_host_unless_another_is_asked_for() {
        assert_eq!(*spec_of(&[], ROOT).unwrap().root(), Root::Host);
        assert_eq!(*spec_of(&["--empty"], ROOT).unwrap().root(), Root::Empty);
        assert_eq!(*spec_of(&["--rootfs", "/usr"], ROOT).unwrap().root(), Root::Directory("/usr".into()));
        assert_eq!(*spec_of(&["-x", "--rootfs", "/usr"], ROOT).unwrap().root(), Root::Layer("/usr".into()));
    }

    #[test]
    fn a_rootfs_that_cannot_be_one_is_refused() {
        assert!(refusal(&["--rootfs", "/nowhere"], ROOT).contains("No such file or directory"));
        assert!(refusal(&["--rootfs", "/etc/passwd"], ROOT).contains("neither a directory nor an archive"));
        assert!(refusal(&["--rootfs", "/"], ROOT).contains("the host's own"));
    }

    #[test]
    fn mounts_are_sorted_by_depth_and_read_only_adds_its_own() {
        let targets = |words: &[&str]| -> Vec<String> {
            let spec = spec_of(words, ROOT).unwrap();
            spec.mounts().iter().map(|mount| mount.target.display().to_string()).collect()
        };
        let three = ["-v", "/usr:/a/b/c", "--tmpfs", "/a/b", "--mount", "type=overlay,src=/usr,dst=/a"];
        assert_eq!(targets(&three), ["/a", "/a/b", "/a/b/c"]);
        assert_eq!(targets(&["--read-only", "-v", "/usr:/tmp/x"]), ["/run", "/tmp", "/tmp/x"]);
        assert_eq!(targets(&["--read-only", "-v", "/usr:/tmp/"]), ["/tmp", "/run"]);
        assert!(refusal(&["-v", "/usr:/a", "--tmpfs", "//a/."], ROOT).contains("two mounts"));
    }

    #[test]
    fn network_is_veth_for_root_and_at_most_pasta_for_others() {
        assert!(
            matches!(spec_of(&[], ROOT).unwrap().network(), Network::Veth(veth) if matches!(veth.wanted, Wanted::Pool { .. }))
        );
        assert!(matches!(spec_of(&[], USER).unwrap().network(), Network::None | Network::Pasta(_)));
        assert!(refusal(&["--network", "veth"], USER).contains("needs root"));
        assert!(refusal(&["--network", "pasta"], ROOT).contains("--network veth"));
        assert!(refusal(&["--network", "none", "--ip", "10.0.0.2/24"], ROOT).contains("--ip"));
    }

    #[test]
    fn environment_is_the_callers_with_changes() {
        let spec = spec_of(&["-e", "A=1", "-e", "A=2", "-e", "HOME=/x", "-e", "EMPTY="], ROOT).unwrap();
        let entries: Vec<_> = spec.env().split(|byte| *byte == 0).collect();
        let count = |entry: &[u8]| entries.iter().filter(|known| **known == entry).count();
        assert_eq!((count(b"A=2"), count(b"A=1"), count(b"HOME=/x"), count(b"EMPTY=")), (1, 0, 1, 1));
        assert_eq!(entries.iter().filter(|entry| entry.starts_with(b"HOME=")).count(), 1);
        assert!(refusal(&["-e", "=x"], ROOT).contains("no name"));
    }

    #[test]
    fn users_are_numbers_and_need_root() {
        assert_eq!(spec_of(&["-u", "5"], ROOT).unwrap().credentials(), Some(Credentials { uid: 5, gid: 5 }));
        assert_eq!(spec_of(&["-u", "5:6"], ROOT).unwrap().credentials(), Some(Credentials { uid: 5, gid: 6 }));
        assert!(!refusal(&["-u", "me"], ROOT).is_empty());
        assert!(!refusal(&["-u", "4294967295"], ROOT).is_empty());
        assert!(refusal(&["-u", "5"], USER).contains("without root"));
    }

    #[test]
    fn the_hosts_proc_needs_a_user_namespace() {
        assert!(refusal(&["--proc", "host"], ROOT).contains("the host's files"));
        assert_eq!(spec_of(&["--proc", "host"], USER).unwrap().proc(), Proc::Host);
        assert_eq!(spec_of(&[], ROOT).unwrap().proc(), Proc::New);
    }

    #[test]
    fn root_with_nested_sandboxes_has_ids_of_its_own_unless_others_are_asked_for() {
        let is_shifted = |words: &[&str], caller| spec_of(words, caller).unwrap().identities().are_shifted();
        assert!(is_shifted(&["--nested"], ROOT));
        for words in [&["--nested", "--userns", "host"][..], &["--nested", "--privileged"], &["--privileged"], &[]] {
            assert_eq!(*spec_of(words, ROOT).unwrap().identities(), Identities::Host, "{words:?}");
        }
        assert_eq!(*spec_of(&["--nested"], USER).unwrap().identities(), Identities::Own);
        assert!(refusal(&["--nested", "--changes", "/tmp/kept"], ROOT).contains("--userns host"));
    }

    #[test]
    fn hostnames_are_checked() {
        assert_eq!(spec_of(&["--hostname", "web-1.local"], ROOT).unwrap().hostname(), "web-1.local");
        for bad in ["", "a b", "a/b", &"x".repeat(65)] {
            assert!(!refusal(&["--hostname", bad], ROOT).is_empty(), "{bad}");
        }
    }
}
