//! The network of a sandbox that is made without root: pasta, a program of the host's, makes eth0 inside and carries
//! what goes through it over sockets of its own, as the user that runs it.
//!
//! It is nsl's child for as long as the sandbox lives, and ends with nsl, however that ends. Only who has ports
//! published waits for it: the kernel takes some 40 ms to drop eth0, as it does with a veth pair.

mod fault;

use super::Prepared;
use super::publish::{Port, Protocol, Publication};
use super::reserve::Reserved;
use super::rtnl;
use crate::error::{Error, Result};
use crate::log;
use crate::sys::{self, Side};
use futures_util::StreamExt;
use ipnet::IpNet;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::unistd::{AccessFlags, access, pipe2};
use rtnetlink::packet_route::address::{AddressAttribute, AddressScope};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to make the network.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the kernel may take to close its ports, in milliseconds.
const PORTS_PATIENCE: u16 = 1000;
/// What it says is kept up to this length.
const LONGEST: usize = 4096;
/// `-q -f`: no word unless something is wrong, and no process behind nsl's back. `--no-map-gw`, and nothing forwarded
/// to the host (`-T`, `-U`): what listens on the host's loopback is not for the sandbox. The pid file says that it is
/// ready; it is a pipe to nsl. Debian 12's build of March 2023 knows them all, and so do newer ones.
const OPTIONS: &str = "--config-net --no-map-gw --no-dhcp --no-dhcpv6 --no-ra -q -f -I eth0 -P /proc/self/fd/1 -T none \
    -U none";

/// A network by pasta.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PastaPlan {
    program: PathBuf,
    /// Ports of the host that lead to the sandbox.
    pub(super) publications: Vec<Publication>,
    /// Asked for by name. Where it comes by itself, a sandbox without a way out is better than none.
    pub is_required: bool,
}

impl PastaPlan {
    /// With the first pasta in PATH, as a shell finds it; nothing if there is none.
    pub fn find(is_required: bool, publications: Vec<Publication>) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
        let files = directories.map(|directory| directory.join("pasta")).filter(|file| file.is_file());
        let files: Vec<_> = files.collect();
        // Where none can be executed, the error tells of the first.
        let is_executable = |file: &&PathBuf| access(*file, AccessFlags::X_OK).is_ok();
        let program = files.iter().find(is_executable).or(files.first())?.clone();
        Some(Self { program, publications, is_required })
    }
}

/// The words of its command line. An option that is left out means all ports that somebody listens on.
fn arguments(ports: &[Port], pid: u32) -> impl Iterator<Item = String> {
    let of = |option: &'static str, protocol| {
        let specs =
            runs(ports).filter(move |(first, _)| first.protocol == protocol).map(|(first, last)| spec(first, last));
        let specs: Vec<_> = specs.collect();
        let specs = if specs.is_empty() { vec!["none".to_owned()] } else { specs };
        specs.into_iter().flat_map(move |spec| [option.to_owned(), spec])
    };
    let ports = of("-t", Protocol::Tcp).chain(of("-u", Protocol::Udp));
    OPTIONS.split(' ').map(str::to_owned).chain(ports).chain([pid.to_string()])
}

/// Ports that follow each other on both sides, as the first and the last of them.
fn runs(ports: &[Port]) -> impl Iterator<Item = (&Port, &Port)> {
    let follows = |one: &Port, next: &Port| {
        let is_next = |before: u16, after: u16| before.checked_add(1) == Some(after);
        (one.address, one.protocol) == (next.address, next.protocol)
            && is_next(one.host, next.host)
            && is_next(one.inside, next.inside)
    };
    ports.chunk_by(follows).filter_map(|run| Some((run.first()?, run.last()?)))
}

/// `[ADDRESS/]HOST:CONTAINER`, both as ranges if there are several.
fn spec(first: &Port, last: &Port) -> String {
    let address = first.address.map(|address| format!("{address}/")).unwrap_or_default();
    if first == last {
        return format!("{address}{}:{}", first.host, first.inside);
    }
    format!("{address}{}-{}:{}-{}", first.host, last.host, first.inside, last.inside)
}

/// What `--dry-run` tells.
impl fmt::Display for PastaPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make eth0 by {}, with the host's addresses", self.program.display())?;
        for (word, publication) in std::iter::once("; publish").chain(std::iter::repeat(",")).zip(&self.publications) {
            write!(f, "{word} {publication}")?;
        }
        Ok(())
    }
}

/// pasta at work for a sandbox. Dropped, it ends.
pub struct Pasta {
    pid: u32,
    pidfd: OwnedFd,
    /// The only end for writing of a pipe: when it closes, as it does when nsl is killed, the kernel kills pasta.
    _lifeline: OwnedFd,
    /// Ports of the host that it has.
    reserved: Reserved,
    /// Those of eth0 inside, once they have been looked up.
    addresses: Vec<IpNet>,
    has_ended: bool,
}

impl Pasta {
    /// Starts it for the network namespace of the process `pid`, whose maps of users and groups stand, and waits until
    /// all is made, or until `sandbox` is readable, the end of that process.
    pub fn start(plan: &PastaPlan, prepared: Prepared, pid: u32, sandbox: BorrowedFd<'_>) -> Result<Self> {
        let _span = tracing::debug_span!("start_pasta", step = %plan).entered();
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|errno| Error::os("make a pipe for pasta", errno));
        let ((held, lifeline), (words, says)) = (pipe()?, pipe()?);
        let reserved = prepared.reserved;
        let side =
            sys::clone3(0, None).map_err(|errno| Error::os("start pasta", Errno::from_raw(errno.raw_os_error())))?;
        match side {
            Side::Child => become_pasta(plan, arguments(&reserved.ports, pid), held, &says),
            Side::Parent { pid, pidfd } => {
                drop((held, says));
                let mut pasta =
                    Self { pid, pidfd, _lifeline: lifeline, reserved, addresses: Vec::new(), has_ended: false };
                let mut said = Vec::new();
                match pasta.wait_until_ready(words.as_fd(), sandbox, &mut said) {
                    Ok(()) => {
                        pasta.reserved.tell();
                        Ok(pasta)
                    }
                    Err(wait) => {
                        let end = pasta.end();
                        Err(fault::describe(plan, &String::from_utf8_lossy(&said), wait.as_deref().unwrap_or(&end)))
                    }
                }
            }
        }
    }

    /// Reads what it says until that is its own number: the content of a pid file. An error is why the wait came to an
    /// end, unless pasta's own end is the reason.
    fn wait_until_ready(
        &self,
        words: BorrowedFd<'_>,
        sandbox: BorrowedFd<'_>,
        said: &mut Vec<u8>,
    ) -> std::result::Result<(), Option<String>> {
        let _wait = log::wait("wait until pasta is ready");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            let mut waiting =
                [words, self.pidfd.as_fd(), sandbox].map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
            match nix::poll::poll(&mut waiting, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(0) => return Err(Some(format!("it was not ready within {} s", PATIENCE.as_secs()))),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Some(errno.desc().to_owned())),
                Ok(_) => {}
            }
            let is_ready = |index: usize| waiting[index].any() == Some(true);
            if !is_ready(0) {
                // All that it said has been read by now.
                return Err((!is_ready(1)).then(|| "the sandbox has ended".to_owned()));
            }
            let mut bytes = [0; 1024];
            match nix::unistd::read(words, &mut bytes) {
                Ok(0) => return Err(None),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Some(errno.desc().to_owned())),
                Ok(length) => said.extend(&bytes[..length.min(LONGEST.saturating_sub(said.len()))]),
            }
            let ready = format!("{}\n", self.pid);
            if said.split_inclusive(|byte| *byte == b'\n').any(|line| line == ready.as_bytes()) {
                tracing::debug!(said = %String::from_utf8_lossy(said).trim_end(), "pasta is ready");
                return Ok(());
            }
        }
    }

    /// Has its addresses told, by a netlink socket that was opened inside.
    pub fn look_up_addresses(&mut self, inside: OwnedFd) -> Result<()> {
        self.addresses = addresses(inside)?;
        Ok(())
    }

    /// Those of eth0 inside, where they have been looked up.
    pub fn addresses(&self) -> &[IpNet] {
        &self.addresses
    }

    /// Ports of the host that lead to the sandbox.
    pub fn ports(&self) -> &[Port] {
        &self.reserved.ports
    }

    /// Readable when it has ended.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Ends it, if it has not ended, and says how it ended.
    pub fn end(&mut self) -> String {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        self.has_ended = true;
        loop {
            match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(Some(status)) => return words_of(&status),
                Ok(None) | Err(_) => return "it ended".to_owned(),
            }
        }
    }
}

impl Drop for Pasta {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        if !self.ports().is_empty() {
            // Whoever starts the same again finds them free.
            let _ = nix::poll::poll(&mut [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)], PORTS_PATIENCE);
        }
    }
}

fn words_of(status: &WaitIdStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (_, Some(signal)) => {
            let name = nix::sys::signal::Signal::try_from(signal).map_or("a signal", |signal| signal.as_str());
            format!("it was killed by {name}")
        }
        (Some(code), None) => format!("it exited with {code}"),
        (None, None) => "it ended".to_owned(),
    }
}

/// The child's side. PR_SET_PDEATHSIG would not do: an exec that enters a profile of AppArmor or a domain of SELinux,
/// as that of pasta does where it has one, takes it away, and so does a file capability.
fn become_pasta(plan: &PastaPlan, arguments: impl Iterator<Item = String>, held: OwnedFd, says: &OwnedFd) -> ! {
    // Away from the signals of the caller's terminal.
    let _ = rustix::process::setsid();
    // Its copy of the other end closes with the exec: if nsl is gone by then, so is pasta.
    let armed = sys::kill_when_unwritable(held.as_fd()).and_then(|()| sys::close_on_exec_from(3));
    let stream = || says.try_clone().map(Stdio::from);
    let executed = armed.map_err(std::io::Error::from).and_then(|()| {
        let mut command = Command::new(&plan.program);
        command.arg0("pasta").args(arguments).env_clear().current_dir("/");
        Err(command.stdin(held).stdout(stream()?).stderr(stream()?).exec())
    });
    if let Err::<(), _>(error) = executed {
        let _ = rustix::io::write(says, format!("{}: {error}\n", plan.program.display()).as_bytes());
    }
    sys::exit_child(nsl_shared::exit::NSL_FAILED)
}

/// The addresses that pasta has given to eth0, by a netlink socket that was opened inside.
fn addresses(inside: OwnedFd) -> Result<Vec<IpNet>> {
    rtnl::run(async {
        let inside = rtnl::connect_over(inside);
        let mut found: Vec<IpNet> = Vec::new();
        let mut all = pin!(inside.address().get().execute());
        while let Some(message) = all.next().await {
            let message = message.map_err(|error| rtnl::failed("read the addresses inside", &error))?;
            if message.header.scope == AddressScope::Universe {
                let prefix = message.header.prefix_len;
                found.extend(message.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Address(address) => IpNet::new(*address, prefix).ok(),
                    _ => None,
                }));
            }
        }
        Ok(found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports_of(publications: &[(Option<&str>, u16, u16, Protocol)]) -> String {
        let port = |&(address, host, inside, protocol): &(Option<&str>, u16, u16, Protocol)| Port {
            address: address.map(|address| address.parse().unwrap()),
            host,
            inside,
            protocol,
        };
        let ports: Vec<_> = publications.iter().map(port).collect();
        let words: Vec<_> = arguments(&ports, 7).collect();
        words[OPTIONS.split(' ').count()..].join(" ")
    }

    #[test]
    fn nothing_is_published_unasked() {
        assert_eq!(ports_of(&[]), "-t none -u none 7");
        assert!(["-T none", "-U none", "--no-map-gw"].iter().all(|words| OPTIONS.contains(words)));
    }

    #[test]
    fn ports_that_follow_each_other_are_a_range() {
        use Protocol::{Tcp, Udp};
        assert_eq!(ports_of(&[(None, 8080, 80, Tcp)]), "-t 8080:80 -u none 7");
        let both = [(Some("127.0.0.1"), 8080, 80, Tcp), (Some("::1"), 53, 53, Udp)];
        assert_eq!(ports_of(&both), "-t 127.0.0.1/8080:80 -u ::1/53:53 7");
        let range =
            [(None, 1, 11, Tcp), (None, 2, 12, Tcp), (None, 3, 13, Tcp), (None, 5, 14, Tcp), (None, 6, 14, Tcp)];
        assert_eq!(ports_of(&range), "-t 1-3:11-13 -t 5:14 -t 6:14 -u none 7");
        assert_eq!(ports_of(&[(None, 1, 1, Tcp), (None, 2, 2, Udp)]), "-t 1:1 -u 2:2 7");
    }
}
