//! The options of `nsl run`, in the order and under the headings in which its help shows them.

use super::near;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

#[derive(Args, Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
#[expect(clippy::struct_excessive_bools, reason = "each is one option of the command line")]
#[expect(clippy::struct_field_names, reason = "the option is called so")]
pub struct Run {
    /// Directory, archive or OCI layout as the root [default: a view of /]. An archive is a tar, plain or compressed by
    /// gzip or zstd; it is unpacked once, and what is written to it is gone at the end
    #[arg(long, value_name = "PATH", conflicts_with = "empty", help_heading = "Root")]
    pub rootfs: Option<PathBuf>,

    /// Keep nothing of what is written to the directory of --rootfs. With an archive it is always so
    #[arg(short = 'x', long, requires = "rootfs", help_heading = "Root")]
    pub ephemeral: bool,

    /// Start from an empty root in memory, and fill it with -v
    #[arg(long, help_heading = "Root")]
    pub empty: bool,

    /// Let nobody write to the root. /run and /tmp are in memory, volumes as they are
    #[arg(long, help_heading = "Root")]
    pub read_only: bool,

    /// Keep what the command changes in DIR, for nsl diff and apply
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rootfs", "empty", "read_only"], help_heading = "Root")]
    pub changes: Option<PathBuf>,

    /// Make SRC of the host visible at DST [repeatable]
    #[arg(short, long = "volume", value_name = "SRC:DST[:ro]", help_heading = "Root")]
    pub volumes: Vec<OsString>,

    /// Mount an empty file system in memory at DST [repeatable]. OPTIONS are size=64m, mode=1777, uid=, gid=, ro, exec,
    /// with commas between
    #[arg(long, value_name = "DST[:OPTIONS]", help_heading = "Root")]
    pub tmpfs: Vec<OsString>,

    /// Mount in the long form [repeatable]. TYPE is bind, tmpfs or overlay (a copy-on-write view); behind it come
    /// src=SRC, dst=DST, readonly, tmpfs-size=, tmpfs-mode=
    #[arg(long = "mount", value_name = "type=TYPE,...", help_heading = "Root")]
    pub mounts: Vec<OsString>,

    /// veth[:NAME], pasta, none, host, ns:FILE or container:PID. veth is a pair of devices with NAT, for root;
    /// veth:NAME the same together with all others of NAME, which are found by their hostnames; pasta needs no root;
    /// none is nothing but lo. The other three are networks that are there: the host's, that of a file such as
    /// /run/netns/NAME, that of a process [default: veth as root, else pasta if installed]
    #[arg(long, value_name = "KIND", value_parser = NetworkKind::parse, help_heading = "Network")]
    pub network: Option<NetworkKind>,

    /// Leave the veth pair no way out. Only others of the same veth:NAME are reached, not the host either
    #[arg(long, help_heading = "Network")]
    pub internal: bool,

    /// Address of the command's end of the veth pair. IPv4 or IPv6, or one of each [default: a free pair]
    #[arg(long, value_name = "ADDRESS/PREFIX", help_heading = "Network")]
    pub ip: Vec<String>,

    /// Address of the host's end [default: the first of --ip's net]. It is the way out
    #[arg(long, value_name = "ADDRESS", requires = "ip", help_heading = "Network")]
    pub gateway: Vec<String>,

    /// Network that the pairs' addresses come from. Each sandbox takes a free pair of it [default: 10.221.0.0/16 and
    /// fd6e:736c::/96, or the like]
    #[arg(long, value_name = "NETWORK/PREFIX", conflicts_with = "ip", help_heading = "Network")]
    pub pool: Vec<String>,

    /// Let a port of this host lead to one inside [repeatable]. IP is the one address of this host, else it is all;
    /// INSIDE alone takes any free port of this host; /udp at the end is for UDP; ranges are as in 8000-8010:80-90
    #[arg(short, long, value_name = "[IP:]HOST:INSIDE", help_heading = "Network")]
    pub publish: Vec<String>,

    /// Let the command reach only this [repeatable]. DESTINATION is none, ADDRESS[/PREFIX][:PORT[/udp]] or NAME:PORT,
    /// resolved at the start
    #[arg(long, value_name = "DESTINATION", help_heading = "Network")]
    pub egress: Vec<String>,

    /// Hostname inside [default: nsl]
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub hostname: Option<OsString>,

    /// Ask the name server ADDRESS, not the host's [repeatable]
    #[arg(long, value_name = "ADDRESS", help_heading = "Network")]
    pub dns: Vec<String>,

    /// Complete short names by DOMAIN [repeatable]. The host's list counts no more; . alone stands for no list
    #[arg(long, value_name = "DOMAIN", help_heading = "Network")]
    pub dns_search: Vec<String>,

    /// Put a name into /etc/hosts [repeatable]. The address host-gateway is that of the host's end of the pair
    #[arg(long, value_name = "NAME:ADDRESS", help_heading = "Network")]
    pub add_host: Vec<String>,

    /// Run as this user, numbers or names [default: you]. Names are those of the /etc/passwd and /etc/group inside
    #[arg(short, long, value_name = "USER[:GROUP]", help_heading = "Process")]
    pub user: Option<String>,

    /// Start in DIR [default: where you are if it is inside, else /]
    #[arg(short, long, value_name = "DIR", help_heading = "Process")]
    pub workdir: Option<PathBuf>,

    /// Set a variable, or with NAME alone hand on yours [repeatable]
    #[arg(short, long = "env", value_name = "NAME[=VALUE]", help_heading = "Process")]
    pub env: Vec<OsString>,

    /// Set the variables of FILE [repeatable]. It has one a line: NAME=VALUE, or NAME alone
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    pub env_file: Vec<PathBuf>,

    /// Start from an empty environment instead of yours
    #[arg(long, help_heading = "Process")]
    pub clear_env: bool,

    /// Give the command a terminal [default: if you are at one]. It is one of its own; you are at one if stdin and
    /// stdout are
    #[arg(short, long, overrides_with = "no_tty", help_heading = "Process")]
    pub tty: bool,

    /// Give the command the streams as they are
    #[arg(short = 'T', long, overrides_with = "tty", help_heading = "Process")]
    pub no_tty: bool,

    /// Hand on the N file descriptors from 3 on [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = "Process")]
    pub preserve_fds: u32,

    /// Return when the command has started, and print the name. nsl ps, logs and stop find it by that
    #[arg(short, long, conflicts_with = "tty", help_heading = "Life")]
    pub detach: bool,

    /// Wait until the command says that it is ready. It does so as sd_notify(3) has it; --detach returns then, and a
    /// service manager is told
    #[arg(long, help_heading = "Life")]
    pub ready: bool,

    /// Name for nsl ps, stop and the like [default: none]. With --detach one is made up
    #[arg(long, value_name = "NAME", help_heading = "Life")]
    pub name: Option<String>,

    /// Start the command again when it has ended [default: no]. POLICY is no, on-failure, on-failure:N (at most N times
    /// in a row), always or unless-stopped; after 100 ms, then twice as long each time, up to a minute
    #[arg(long, value_name = "POLICY", requires = "detach", help_heading = "Life")]
    pub restart: Option<String>,

    /// Have sh inside execute CMD now and then, as a check. The sandbox is healthy if it exits with 0, and started
    /// again if it is not and --restart says so
    #[arg(long, value_name = "CMD", help_heading = "Life")]
    pub health_cmd: Option<String>,

    /// Time from a check's end to the next
    #[arg(long, value_name = "TIME", default_value = "30s", requires = "health_cmd", help_heading = "Life")]
    pub health_interval: String,

    /// Time after which a check is killed and fails
    #[arg(long, value_name = "TIME", default_value = "30s", requires = "health_cmd", help_heading = "Life")]
    pub health_timeout: String,

    /// Failures in a row that make it unhealthy
    #[arg(long, value_name = "N", default_value_t = 3, requires = "health_cmd",
        value_parser = clap::value_parser!(u32).range(1..), help_heading = "Life")]
    pub health_retries: u32,

    /// Time from the start in which no failure counts
    #[arg(long, value_name = "TIME", default_value = "0s", requires = "health_cmd", help_heading = "Life")]
    pub health_start_period: String,

    /// Where the output goes: file, journald, none or stdout. That of a sandbox with a name: file keeps it for nsl
    /// logs, journald gives it to systemd's journal, none keeps nothing, stdout only writes it to nsl's own
    /// [default: stdout, with --detach file]
    #[arg(long, value_enum, value_name = "DRIVER", hide_possible_values = true, help_heading = "Life")]
    pub log: Option<LogDriver>,

    /// Size at which a new file of the log begins [default: 10m]
    #[arg(long, value_name = "SIZE", help_heading = "Life")]
    pub log_size: Option<String>,

    /// Most files of the log; the oldest goes [default: 3]
    #[arg(long, value_name = "N", help_heading = "Life")]
    pub log_files: Option<u32>,

    /// End the command after this time, such as 500ms, 10s or 1h. By SIGTERM, and by SIGKILL --stop-timeout later; the
    /// exit status is 124
    #[arg(long, value_name = "TIME", help_heading = "Life")]
    pub timeout: Option<String>,

    /// Time for what is left to end before it is killed
    #[arg(long, value_name = "TIME", default_value = "10s", help_heading = "Life")]
    pub stop_timeout: String,

    /// Signal that asks to end [default: SIGTERM]. The command gets it, and what it leaves behind
    #[arg(long, value_name = "SIGNAL", help_heading = "Life")]
    pub stop_signal: Option<String>,

    /// Write the init's process ID to FILE, until the end
    #[arg(long, value_name = "FILE", help_heading = "Life")]
    pub pidfile: Option<PathBuf>,

    /// Write events to descriptor N, one JSON object a line
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Life")]
    pub status_fd: Option<i32>,

    /// Most memory for all inside, such as 512m or 2g. Files in memory are counted too
    #[arg(short, long, value_name = "SIZE", help_heading = "Limits")]
    pub memory: Option<String>,

    /// Most CPU time for all inside, in CPUs such as 1.5
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub cpus: Option<String>,

    /// Most processes and threads inside. nsl-init is not counted
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Limits")]
    pub pids_limit: Option<i64>,

    /// Resource limit, such as nofile=1024:4096 [repeatable]. The command's, as setrlimit(2) counts it
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]", help_heading = "Limits")]
    pub ulimits: Vec<String>,

    /// Give the command a capability more, or ALL [repeatable]
    #[arg(long, value_name = "NAME", help_heading = "Security")]
    pub cap_add: Vec<String>,

    /// Take a capability, or ALL, from the command [repeatable]
    #[arg(long, value_name = "NAME", help_heading = "Security")]
    pub cap_drop: Vec<String>,

    /// Let no exec give privileges, as sudo's does [default: true]
    #[arg(long, value_name = "true|false", hide_possible_values = true, require_equals = true, num_args = 0..=1, default_missing_value = "true",
        help_heading = "Security")]
    pub no_new_privs: Option<bool>,

    /// Let the command reach only these paths [repeatable]. ro= is to read and execute, rw= to write too; ro=-PATH may be
    /// missing, and /dev is always there
    #[arg(long, value_name = "ro=PATH,...", help_heading = "Security")]
    pub landlock: Vec<String>,

    /// Let the command make namespaces and sandboxes of its own. As root with --userns auto, unless you say otherwise
    #[arg(long, help_heading = "Security")]
    pub nested: bool,

    /// Take every defence away that is not asked for
    #[arg(long, help_heading = "Security")]
    pub privileged: bool,

    /// System calls it may use: default, unconfined or FILE. default is nsl's list, unconfined all, FILE a profile in
    /// docker's format [default: default, unconfined with --privileged]
    #[arg(long, value_name = "PROFILE", help_heading = "Security")]
    pub seccomp: Option<PathBuf>,

    /// Who exists inside: auto[:SIZE], keep-id[:SIZE] or host. auto maps root to you (or, as root, to unused ids),
    /// keep-id maps you to yourself, both with your ranges of /etc/subuid; host maps nothing [default: host as root,
    /// with --nested auto; else only you]
    #[arg(long, value_name = "MODE", help_heading = "Namespaces")]
    pub userns: Option<String>,

    /// A new /proc, or the host's. The latter is for where a container around nsl forbids a new one
    #[arg(long, value_enum, value_name = "new|host", hide_possible_values = true, default_value_t = Proc::New, help_heading = "Namespaces")]
    pub proc: Proc,

    /// IPC of its own, or the host's. That is System V's, and message queues
    #[arg(long, value_enum, value_name = "private|host", hide_possible_values = true, default_value_t = Namespace::Private, help_heading = "Namespaces")]
    pub ipc: Namespace,

    /// A hostname of its own, or the host's
    #[arg(long, value_enum, value_name = "private|host", hide_possible_values = true, default_value_t = Namespace::Private, help_heading = "Namespaces")]
    pub uts: Namespace,

    /// Control groups from its own on, or the host's. What the command sees as the root of their tree, that is
    #[arg(long, value_enum, value_name = "private|host", hide_possible_values = true, default_value_t = Namespace::Private, help_heading = "Namespaces")]
    pub cgroupns: Namespace,

    /// Take options from a file, or by NAME [repeatable]. A file is named with a slash; NAME is agent, browser, build,
    /// service, shell or one of yours (docs/profiles.md). What comes later wins, and the command line always
    #[arg(long = "profile", value_name = "FILE|NAME", help_heading = "Profiles")]
    pub profiles: Vec<OsString>,

    /// Write these options as one profile, and do nothing. With those of the profiles that are named, to stdout
    #[arg(long, help_heading = "Profiles")]
    pub print_profile: bool,

    /// All words behind `nsl run`, where some of them come from profiles
    #[arg(skip)]
    pub merged: Option<Vec<OsString>>,

    /// Show what would be done, and do nothing
    #[arg(long, help_heading = "Insight")]
    pub dry_run: bool,

    /// What to tell on stderr. error, warn, info, debug or trace, each with all before it
    #[arg(long, value_enum, value_name = "LEVEL", env = "NSL_LOG", hide_env_values = true, hide_possible_values = true,
        default_value_t = LogLevel::Warn, help_heading = "Insight")]
    pub log_level: LogLevel,

    /// Tell how long each step of the start took: text or json. It is told on stderr when all has ended, of the inside and
    /// the outside, and who waited for whom; text is a table [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", require_equals = true, num_args = 0..=1,
        default_missing_value = "text", hide_possible_values = true, help_heading = "Insight")]
    pub timings: Option<TimingsFormat>,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

impl Run {
    /// Can the sandbox be found by a name?
    pub fn is_registered(&self) -> bool {
        self.detach || self.name.is_some() || self.ready || self.health_cmd.is_some()
    }

    /// Where its output goes.
    pub fn log_driver(&self) -> LogDriver {
        self.log.unwrap_or(if self.detach { LogDriver::File } else { LogDriver::Stdout })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogDriver {
    File,
    Journald,
    Stdout,
    None,
}

impl LogDriver {
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Journald => "journald",
            Self::Stdout => "stdout",
            Self::None => "none",
        }
    }
}

/// The longest name of a network.
const NAME_MAX: usize = 32;

/// Words of --network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetworkKind {
    /// A pair of virtual devices, one end inside, with NAT to where the host gets (needs root); in a named network, or
    /// apart from all others.
    Veth(Option<String>),
    /// A tap device inside, and a program that carries what goes through it (as an ordinary user).
    Pasta,
    /// Nothing but lo.
    None,
    /// The host's network as it is.
    Host,
    /// The network namespace that a file is.
    Namespace(PathBuf),
    /// The network of a process.
    Process(u32),
}

impl NetworkKind {
    /// What --network can begin with; the words before a colon are followed by a value.
    pub const WORDS: [&str; 7] = ["veth", "pasta", "none", "host", "veth:", "ns:", "container:"];

    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        match text.split_once(':') {
            None if text == "veth" => Ok(Self::Veth(None)),
            None if text == "pasta" => Ok(Self::Pasta),
            None if text == "none" => Ok(Self::None),
            None if text == "host" => Ok(Self::Host),
            Some(("veth", name)) => Self::name(name).map(|name| Self::Veth(Some(name))),
            Some(("ns", "")) => Err(Refused::new("ns: takes a file", "such as ns:/run/netns/NAME")),
            Some(("ns", path)) => Ok(Self::Namespace(path.into())),
            Some(("container", pid)) => match pid.parse() {
                Ok(pid @ 1..=0x7fff_ffff) => Ok(Self::Process(pid)),
                _ => Err(Refused::new(
                    "container: takes the ID of a process",
                    "--pidfile writes that of a sandbox's init",
                )),
            },
            _ => {
                let cause = "it is veth, veth:NAME, pasta, none, host, ns:FILE or container:PID";
                Err(Refused::new(cause, near::hint(text, &mut Self::WORDS.into_iter(), "see nsl run --help")))
            }
        }
    }

    fn name(name: &str) -> Result<String, Refused> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
        if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(fits) {
            return Ok(name.to_owned());
        }
        let cause = format!("the name of a network has 1 to {NAME_MAX} of the characters a-z, 0-9, '_', '.' and '-'");
        Err(Refused::new(cause, "such as veth:web"))
    }
}

/// Why a value is none that its option takes, and what to do.
#[derive(Debug)]
pub struct Refused {
    cause: String,
    pub hint: String,
}

impl Refused {
    fn new(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { cause: cause.into(), hint: hint.into() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Refused {}

/// The words are podman's.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, ValueEnum)]
pub enum Namespace {
    #[default]
    Private,
    Host,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, ValueEnum)]
pub enum Proc {
    #[default]
    New,
    Host,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TimingsFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogLevel {
    Error,
    #[default]
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}
