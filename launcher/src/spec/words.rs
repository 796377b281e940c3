//! The words of the command line that mean one thing each, given that meaning: the root, the network, a hostname, a
//! directory. What several of them mean together is the spec's.

use super::{Caller, Network, Root, Workdir};
use crate::cgroup::Limits;
use crate::cli::{Namespace, NetworkKind, Run};
use crate::environment::{Circumstances, Environment};
use crate::error::{Error, Result};
use crate::mounts::{Kind, Mount};
use crate::net::names::{HOSTNAME_MAX, is_hostname};
use crate::net::{self, Join, PastaPlan, Request, VethPlan};
use crate::preserve;
use crate::store;
use crate::units;
use crate::user::User;
use nix::errno::Errno;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tracing::warn;

const NO_PASTA: &str = "there is no pasta in PATH";
/// The hostname inside, unless another is asked for.
const HOSTNAME: &str = "nsl";

pub fn environment(run: &Run, user: Option<&User>, terminal: bool, network: &Network) -> Result<Environment> {
    let circumstances = Circumstances {
        user: user.map(|user| user.variables.clone()).unwrap_or_default(),
        terminal,
        host_network: *network == Network::Host,
        listening: preserve::listening()?.is_some(),
    };
    Environment::new(run, &circumstances)
}

pub fn limits(run: &Run) -> Result<Limits> {
    Ok(Limits {
        memory: run.memory.as_deref().map(|text| units::bytes("--memory", text)).transpose()?,
        cpu: run.cpus.as_deref().map(|text| units::cpus("--cpus", text)).transpose()?,
        processes: run.pids_limit.map(|number| units::processes("--pids-limit", number)).transpose()?.flatten(),
    })
}

pub fn root(run: &Run) -> Result<Root> {
    let Some(directory) = &run.rootfs else {
        return Ok(if run.empty { Root::Empty } else { Root::Host });
    };
    let step = || format!("use {} as the root", directory.display());
    let path = std::fs::canonicalize(directory).map_err(|error| Error::io(step(), &error))?;
    let metadata = std::fs::metadata(&path).map_err(|error| Error::io(step(), &error))?;
    if metadata.is_dir() || metadata.is_file() {
        match store::Source::recognise(&path).map_err(|error| Error::io(step(), &error))? {
            Some(source) => return Ok(Root::Unpacked(source)),
            None if metadata.is_dir() => {}
            None => {
                return Err(Error::new(step(), "it is neither a directory nor an archive that nsl knows")
                    .hint("--rootfs takes a tar archive, plain or compressed by gzip or zstd"));
            }
        }
    } else {
        return Err(Error::os(step(), Errno::ENOTDIR));
    }
    if path == Path::new("/") {
        return Err(Error::new(step(), "it is the host's own").hint("leave --rootfs out for a view of the host"));
    }
    if let Err(errno) = nix::unistd::access(&path, nix::unistd::AccessFlags::R_OK | nix::unistd::AccessFlags::X_OK) {
        return Err(Error::os(step(), errno));
    }
    Ok(if run.ephemeral { Root::Layer(path) } else { Root::Directory(path) })
}

/// The path of a directory that may be about to be made, in a directory that is there.
pub fn changes(directory: &Path) -> Result<PathBuf> {
    let step = || format!("keep changes in {}", directory.display());
    match std::fs::canonicalize(directory) {
        Ok(path) => return Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io(step(), &error)),
    }
    let Some(name) = directory.file_name() else {
        return Err(Error::os(step(), Errno::ENOENT));
    };
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = std::fs::canonicalize(parent)
        .map_err(|error| Error::io(step(), &error).hint("the directory that it is made in must be there"))?;
    Ok(parent.join(name))
}

pub fn network(run: &Run, caller: Caller) -> Result<Network> {
    let kind = run.network.clone().or(caller.is_privileged().then_some(NetworkKind::Veth(None)));
    if !matches!(kind, Some(NetworkKind::Veth(_))) {
        let asked = [
            ("--ip", !run.ip.is_empty()),
            ("--pool", !run.pool.is_empty()),
            ("--internal", run.internal),
            ("--egress", !run.egress.is_empty()),
        ];
        if let Some((option, _)) = asked.into_iter().find(|(_, is_asked)| *is_asked) {
            let step = format!("use {option}");
            return Err(match kind {
                None => Error::new(step, "it is about a veth pair, which needs root")
                    .hint("run nsl as root, or leave it out"),
                Some(_) => {
                    Error::new(step, "only --network veth has what it is about").hint("leave one of the two out")
                }
            });
        }
    }
    let can_publish = matches!(kind, None | Some(NetworkKind::Veth(_) | NetworkKind::Pasta));
    if !can_publish && !run.publish.is_empty() {
        return Err(Error::new("use --publish", "a port leads only to --network veth or pasta")
            .hint("leave one of the two out"));
    }
    let Some(kind) = kind else { return rootless_network(run, caller) };
    match kind {
        NetworkKind::None => Ok(Network::None),
        NetworkKind::Host => Ok(Network::Host),
        NetworkKind::Pasta if caller.uid == 0 => {
            Err(Error::new("use --network pasta", "as root it gives up all privileges, and may not join the sandbox")
                .hint("--network veth is root's"))
        }
        NetworkKind::Pasta => match PastaPlan::find(true, net::publications(&run.publish)?) {
            Some(pasta) => Ok(Network::Pasta(pasta)),
            None => Err(Error::new("use --network pasta", NO_PASTA).hint("apt install passt")),
        },
        NetworkKind::Namespace(path) => join(net::Source::File(path), caller),
        NetworkKind::Process(pid) => join(net::Source::Process(pid), caller),
        NetworkKind::Veth(_) if !caller.is_privileged() => {
            Err(Error::os("make a veth pair", Errno::EPERM).hint("that needs root; --network none or host do not"))
        }
        NetworkKind::Veth(network) => {
            let request = Request {
                ip: &run.ip,
                gateway: &run.gateway,
                pool: &run.pool,
                network: network.as_deref(),
                internal: run.internal,
            };
            let (publications, egress) = (net::publications(&run.publish)?, net::permissions(&run.egress)?);
            Ok(Network::Veth(VethPlan { publications, egress, ..net::plan(&request)? }))
        }
    }
}

/// Where nothing is asked for: what there is. Ports are of use with pasta alone.
fn rootless_network(run: &Run, caller: Caller) -> Result<Network> {
    let publications = net::publications(&run.publish)?;
    let must_be = !publications.is_empty();
    let package = if caller.uid == 0 { "" } else { "apt install passt, " };
    match PastaPlan::find(must_be, publications).filter(|_| caller.uid != 0) {
        Some(pasta) => Ok(Network::Pasta(pasta)),
        None if must_be => {
            Err(Error::new("use --publish", NO_PASTA).hint(format!("{package}or root's --network veth")))
        }
        None => {
            warn!(
                "no network inside but lo: a veth pair needs root, and {NO_PASTA} (hint: {package}--network host, or \
                 --network none to be silent)"
            );
            Ok(Network::None)
        }
    }
}

/// The host's own, wherever it was found, is what --network host gives.
fn join(source: net::Source, caller: Caller) -> Result<Network> {
    let step = source.to_string();
    match Join::open(source)? {
        None => Ok(Network::Host),
        Some(_) if !caller.is_privileged() => {
            Err(Error::os(step, Errno::EPERM).hint("that needs root; --network none or host do not"))
        }
        Some(join) => Ok(Network::Join(join)),
    }
}

pub fn hostname(run: &Run) -> Result<String> {
    let Some(name) = run.hostname.as_deref() else {
        return Ok(match run.uts {
            Namespace::Private => HOSTNAME.to_owned(),
            Namespace::Host => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        });
    };
    if run.uts == Namespace::Host {
        return Err(Error::new("use --hostname", "by --uts host it is the host's").hint("leave one of the two out"));
    }
    let step = || format!("use the hostname {}", name.display());
    match name.to_str() {
        Some(text) if text.is_empty() || text.len() > HOSTNAME_MAX => {
            Err(Error::new(step(), format!("it must have 1 to {HOSTNAME_MAX} characters")))
        }
        Some(text) if is_hostname(text) => Ok(text.to_owned()),
        _ => Err(Error::new(step(), "only letters, digits, '-' and '.' can stand in it")),
    }
}

/// Without `-w` the caller's directory, which is `/` where it does not exist inside.
pub fn workdir(asked: Option<&Path>, root: &Root, view: &View<'_>) -> Result<Workdir> {
    let (path, required) = match asked {
        Some(path) if !path.is_absolute() => {
            let step = format!("use the working directory {}", path.display());
            return Err(Error::new(step, "it is not an absolute path"));
        }
        Some(path) => (path.to_path_buf(), true),
        None => {
            let path = std::env::current_dir().map_err(|error| {
                let error = Error::io("read the working directory", &error);
                if error.errno() == Some(Errno::ENOENT) {
                    error.hint("it was deleted: cd elsewhere, or use -w")
                } else {
                    error
                }
            })?;
            if *root == Root::Host && !view.shows(&path) {
                let shown = path.display();
                warn!("{shown} is not seen inside, the command starts in / (hint: -v {shown}:{shown})");
            }
            (path, false)
        }
    };
    Ok(Workdir {
        path: CString::new(path.into_os_string().into_vec()).map_err(|_| nul("the working directory"))?,
        required,
    })
}

/// What is seen of the host in the view of it.
pub struct View<'a> {
    pub mounts: &'a [Mount],
    /// Each directory of the root is seen by itself, with all that is mounted below; else that one file system alone.
    pub by_directory: bool,
}

impl View<'_> {
    /// Is a directory of the host seen? What nsl makes anew is not.
    fn shows(&self, path: &Path) -> bool {
        let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
        let is_new = ["/dev", "/proc", "/run", "/sys", "/tmp"].iter().any(|new| path.starts_with(new));
        let holds = |mount: &Mount| path.starts_with(&mount.target) && !matches!(mount.kind, Kind::Tmpfs(_));
        self.mounts.iter().any(holds) || !is_new && (self.by_directory || device(path) == device(Path::new("/")))
    }
}

pub fn strings(words: &[OsString]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(words.iter().map(|word| word.len() + 1).sum());
    for word in words {
        if word.as_bytes().contains(&0) {
            return Err(nul("an argument"));
        }
        out.extend_from_slice(word.as_bytes());
        out.push(0);
    }
    Ok(out)
}

fn nul(what: &str) -> Error {
    Error::new(format!("use {what}"), "it holds a NUL byte")
}
