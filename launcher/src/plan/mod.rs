//! From a Spec to the ordered steps that carry it out, as data. Pure: what it must know of the host is handed in.

mod host;
mod step;

pub use host::HostStep;
pub use step::{NamesIn, Step};

use crate::cgroup::Limits;
use crate::cli::Proc;
use crate::mounts::{Kind, Mount};
use crate::net::{self, Addresses, Wanted};
use crate::rlimit::Rlimit;
use crate::spec::{Network, Root, Shared, Spec};
use crate::store::Source;
use crate::userns::Identities;
use nsl_shared::boot::{InitStep, Setup};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// An entry of the host's root directory, as far as a user namespace cares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostEntry {
    /// A directory; other file systems may be mounted below it.
    Directory {
        name: OsString,
        has_mounts: bool,
    },
    Link {
        name: OsString,
        target: PathBuf,
    },
}

impl HostEntry {
    pub fn name(&self) -> &OsString {
        match self {
            Self::Directory { name, .. } | Self::Link { name, .. } => name,
        }
    }
}

/// All that happens, in order: on the host, in the child, in the init.
pub struct Plan {
    /// What is to be in the store; the overlay is one of it, until `found` tells where it is.
    pub unpack: Option<Source>,
    /// A user namespace comes with the others, unless it is the host's.
    pub identities: Identities,
    pub network: Network,
    pub shared: Shared,
    /// Those of a cgroup of the sandbox's own.
    pub limits: Option<Limits>,
    pub child: Vec<Step>,
    pub setup: Setup,
    /// Parts of /proc and /sys are hidden or read-only.
    pub guarded: bool,
    /// No exec gives the command privileges.
    pub no_new_privs: bool,
    /// Those of the command's process.
    pub rlimits: Vec<Rlimit>,
    pub hostname: String,
}

/// What the launcher does where `Plan::enters_network`.
pub const MAKE_NETWORK: &str = "make the network namespace";
/// The group "tty" of every distribution, which owns terminals.
pub const TTY_GROUP: u32 = 5;
/// Directories of the host's root that nsl makes anew.
pub const FRESH: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

impl Plan {
    /// `entries` are those of the host's root directory; they are asked for only where they matter.
    pub fn new(spec: &Spec, entries: impl FnOnce() -> Vec<HostEntry>) -> Self {
        let identities = spec.identities();
        let user_namespace = identities.is_new();
        let shifted = identities.are_shifted();
        let has_own_network = is_own(spec.network());
        let mut child = first_steps(spec);
        child.push(Step::PrivateMounts);
        let mut unpack = None;
        match spec.root() {
            Root::Host if spec.changes().is_some() => {
                child.push(Step::Scratch);
                child.extend(spec.changes().map(|directory| Step::Changes(directory.to_owned())));
                if user_namespace {
                    child.push(Step::EmptyRoot);
                    child.extend(entries().into_iter().filter_map(host_entry));
                } else {
                    child.extend([Step::HostOverlay { shifted: false }, Step::Fresh("run"), Step::Fresh("tmp")]);
                }
                child.push(Step::Names(NamesIn::Binds));
            }
            Root::Host if user_namespace && !shifted => {
                child.extend([Step::Scratch, Step::Names(NamesIn::Layer), Step::EmptyRoot]);
                child.extend(entries().into_iter().filter_map(host_entry));
            }
            Root::Host => child.extend([Step::Scratch, Step::Names(NamesIn::Layer), Step::HostOverlay { shifted }]),
            Root::Empty => {
                let is_overlay = |mount: &Mount| matches!(mount.kind, Kind::Overlay(_));
                child.extend(spec.mounts().iter().any(is_overlay).then_some(Step::Scratch));
                child.extend([Step::EmptyRoot, Step::Names(NamesIn::Root)]);
            }
            Root::Layer(path) => child.extend(layer(path)),
            Root::Unpacked(source) => {
                child.extend(layer(source.path()));
                unpack = Some(source.clone());
            }
            Root::Directory(path) => {
                child.extend([Step::Scratch, Step::DirectoryRoot(path.clone()), Step::Names(NamesIn::Binds)]);
            }
        }
        if is_hosts_completed(spec) {
            child.push(Step::Hosts);
        }
        child.push(Step::Devices { bound: user_namespace, tty_group: identities.contain(spec.caller(), 0, TTY_GROUP) });
        // A sysfs shows the network that it was mounted in. Until here the launcher has time.
        child.extend(is_entered(spec).then_some(Step::EnterNetwork));
        child.push(Step::Sys { bound: user_namespace && !has_own_network });
        if spec.proc() == Proc::Host {
            child.push(Step::HostProc);
        }
        child.extend(spec.mounts().iter().cloned().map(Step::Mount));
        if spec.terminal() {
            child.push(Step::Terminal);
        }
        let landlock = &spec.security().landlock;
        if spec.proc() == Proc::New {
            child.push(Step::Proc);
        }
        if let Network::Veth(_) | Network::Pasta(_) = spec.network() {
            let (first, last) = identities.groups(spec.caller());
            child.push(Step::Ping { first, last });
        }
        if !landlock.is_empty() {
            child.push(Step::Landlock(landlock.clone()));
        }
        if spec.read_only() {
            child.push(Step::ReadOnlyRoot);
        }
        child.extend([Step::PivotRoot, Step::Execute]);
        Self {
            unpack,
            identities: identities.clone(),
            network: spec.network().clone(),
            shared: spec.shared(),
            limits: Some(spec.limits()).filter(|limits| *limits != Limits::default()),
            child,
            setup: setup(spec),
            guarded: spec.security().guarded,
            no_new_privs: spec.security().no_new_privs,
            rlimits: spec.rlimits().to_vec(),
            hostname: spec.hostname().to_owned(),
        }
    }

    /// What was to be in the store is there, as this directory.
    pub fn found(&mut self, root: PathBuf) {
        self.unpack = None;
        if let Some(step) = self.child.iter_mut().find(|step| matches!(step, Step::Overlay(_))) {
            *step = Step::Overlay(root);
        }
    }

    /// A limit that nsl has changed for itself is the command's as it was, unless it has another.
    pub fn keep_limit(&mut self, limit: Option<Rlimit>) {
        let is_set = |limit: &Rlimit| self.rlimits.iter().any(|known| known.resource == limit.resource);
        if let Some(limit) = limit.filter(|limit| !is_set(limit)) {
            self.rlimits.push(limit);
        }
    }

    /// The addresses of the pair, where they are known before the network is made.
    pub fn addresses(&self) -> Option<Addresses> {
        match &self.network {
            Network::Veth(veth) => match veth.wanted {
                Wanted::Fixed(addresses) => Some(addresses),
                Wanted::Pool { .. } => None,
            },
            _ => None,
        }
    }

    /// What the init does, in words: until nsl lets the command start, and from there on, but for its exec.
    pub fn by_init(&self) -> [Vec<String>; 2] {
        let has = |step| self.setup.contains(step);
        let before = [
            (true, InitStep::DetachOldRoot.to_string()),
            (self.guarded, InitStep::ProtectProc.to_string()),
            (!self.shared.uts, format!("{} to {}", InitStep::SetHostname, self.hostname)),
            (has(Setup::LOOPBACK), InitStep::RaiseLoopback.to_string()),
            (has(Setup::TERMINAL), InitStep::SetTerminal.to_string()),
        ];
        let limits: Vec<_> = self.rlimits.iter().map(ToString::to_string).collect();
        let after = [(!limits.is_empty(), format!("{}: {}", InitStep::SetLimits, limits.join(" ")))];
        let those = |steps: &[(bool, String)]| {
            steps.iter().filter(|(is_done, _)| *is_done).map(|(_, words)| words.clone()).collect()
        };
        [those(&before), those(&after)]
    }

    /// Does the launcher make the network namespace, beside the child?
    pub fn enters_network(&self) -> bool {
        self.child.contains(&Step::EnterNetwork)
    }

    /// Leaves the network namespace to clone3 if it was to be the launcher's.
    pub fn clone_network(&mut self) {
        let Some(place) = self.child.iter().position(|step| *step == Step::EnterNetwork) else { return };
        self.child.remove(place);
        self.setup = self.setup.with(Setup::LOOPBACK);
        if matches!(self.network, Network::Veth(_)) {
            self.child.insert(0, Step::Netlink);
        }
    }

    /// Those of the new namespaces that clone3 makes.
    pub fn cloned(&self) -> impl Iterator<Item = &'static str> {
        self.namespaces().filter(|name| *name != "net" || !self.enters_network())
    }

    /// The new namespaces, by their names in `namespaces(7)`.
    pub fn namespaces(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("mount", true),
            ("pid", true),
            ("ipc", !self.shared.ipc),
            ("uts", !self.shared.uts),
            ("cgroup", !self.shared.cgroup),
            ("net", is_own(&self.network)),
            ("user", self.identities.is_new()),
        ];
        all.into_iter().filter(|(_, is_new)| *is_new).map(|(name, _)| name)
    }
}

/// Those that the launcher waits for, to make the network.
fn first_steps(spec: &Spec) -> Vec<Step> {
    let identities = spec.identities();
    let identity = match identities {
        Identities::Host => None,
        Identities::Own => Some(Step::MapIdentity { uid: spec.caller().uid, gid: spec.caller().gid }),
        _ => Some(Step::AwaitIdentities { root: identities.has_root() }),
    };
    let socket = |is_due| Some(Step::Netlink).filter(|_| is_due);
    let before = socket(matches!(spec.network(), Network::Veth(_)) && !is_entered(spec));
    // It also tells that the maps stand, by which pasta can enter.
    let behind = socket(matches!(spec.network(), Network::Pasta(_)));
    before.into_iter().chain(identity).chain(behind).collect()
}

/// What the init is to do beside starting the command.
fn setup(spec: &Spec) -> Setup {
    let wanted = [
        (Setup::PROC, spec.security().guarded),
        (Setup::LANDLOCK, !spec.security().landlock.is_empty()),
        (Setup::LOOPBACK, is_own(spec.network()) && !is_entered(spec)),
        (Setup::TERMINAL, spec.terminal()),
        (Setup::ANY_WORKDIR, !spec.workdir().required),
    ];
    wanted.into_iter().filter(|(_, is_wanted)| *is_wanted).fold(Setup::OLD_ROOT, |setup, (step, _)| setup.with(step))
}

/// Is it made for the sandbox?
fn is_own(network: &Network) -> bool {
    match network {
        Network::Veth(_) | Network::Pasta(_) | Network::None => true,
        Network::Host | Network::Join(_) => false,
    }
}

/// Is the network namespace one that the launcher makes? That of a user namespace belongs to it, and pasta enters it by
/// the child.
fn is_entered(spec: &Spec) -> bool {
    !spec.identities().is_new() && matches!(spec.network(), Network::Veth(_) | Network::None)
}

/// Does /etc/hosts say what is known only when the network is made?
fn is_hosts_completed(spec: &Spec) -> bool {
    match spec.network() {
        Network::Veth(veth) => {
            veth.network.is_some() || matches!(veth.wanted, Wanted::Pool { .. }) && spec.hosts().name_the_host()
        }
        _ => false,
    }
}

/// A directory as the lower layer of the root.
fn layer(path: &Path) -> [Step; 3] {
    [Step::Scratch, Step::Names(NamesIn::Layer), Step::Overlay(path.to_path_buf())]
}

fn host_entry(entry: HostEntry) -> Option<Step> {
    match entry {
        HostEntry::Directory { name, .. } | HostEntry::Link { name, .. }
            if FRESH.iter().any(|fresh| name == *fresh) =>
        {
            None
        }
        HostEntry::Directory { name, has_mounts: true } => Some(Step::ReadOnlyBind(name)),
        HostEntry::Directory { name, has_mounts: false } => Some(Step::DirectoryOverlay(name)),
        HostEntry::Link { name, target } => Some(Step::Link { name, target }),
    }
}

/// What `--dry-run` prints.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "on the host:")?;
        if let Some(limits) = &self.limits {
            writeln!(f, "  {}", HostStep::MakeCgroup(limits))?;
        }
        if let Some(source) = &self.unpack {
            writeln!(f, "  {}", HostStep::Unpack(source.path()))?;
        }
        writeln!(f, "  {}", HostStep::CreateNamespaces(self))?;
        write!(f, "{}", self.identities)?;
        if self.enters_network() {
            writeln!(f, "  {}", HostStep::MakeNetwork)?;
        }
        match &self.network {
            Network::Veth(veth) => {
                writeln!(f, "  {veth}")?;
                writeln!(f, "  {}", net::MASQUERADE)?;
            }
            Network::Pasta(pasta) => writeln!(f, "  {pasta}")?,
            Network::Join(join) => writeln!(f, "  {join}")?,
            Network::None | Network::Host => {}
        }
        writeln!(f, "inside, before the init:")?;
        self.child.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        writeln!(f, "inside, by the init:")?;
        self.by_init().iter().flatten().try_for_each(|step| writeln!(f, "  {step}"))?;
        writeln!(f, "  {}", InitStep::Execute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str, has_mounts: bool) -> HostEntry {
        HostEntry::Directory { name: name.into(), has_mounts }
    }

    #[test]
    fn what_nsl_makes_anew_is_not_taken_from_the_host() {
        for name in FRESH {
            assert_eq!(host_entry(directory(name, false)), None);
        }
        assert_eq!(host_entry(directory("usr", false)), Some(Step::DirectoryOverlay("usr".into())));
    }

    #[test]
    fn directories_with_mounts_are_bound_read_only() {
        assert_eq!(host_entry(directory("boot", true)), Some(Step::ReadOnlyBind("boot".into())));
    }

    #[test]
    fn links_are_made_again() {
        let link = HostEntry::Link { name: "bin".into(), target: "usr/bin".into() };
        assert_eq!(host_entry(link), Some(Step::Link { name: "bin".into(), target: "usr/bin".into() }));
    }
}
