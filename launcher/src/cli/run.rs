//! The options of `nsl run`, in the order and under the headings in which its help shows them.

use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is one option of the command line")]
#[expect(clippy::struct_field_names, reason = "the option is called so")]
#[command(after_help = "\
Without --rootfs or --empty the command sees the host's own files and may change them as it likes: what it writes \
stays in memory and is gone at the end, or is kept with --changes.

Exit status: the command's own; 128+N if signal N ended it; 127 if it was not found, 126 if it could not be executed, \
125 if nsl itself failed, 124 if --timeout ended it.")]
pub struct Run {
    /// Use this directory, archive (.tar, .gz, .zst) or OCI layout as the root [default: a view of /]
    #[arg(long, value_name = "PATH", conflicts_with = "empty", help_heading = "Root")]
    pub rootfs: Option<PathBuf>,

    /// Keep nothing of what is written to the directory of --rootfs, as with an archive
    #[arg(short = 'x', long, requires = "rootfs", help_heading = "Root")]
    pub ephemeral: bool,

    /// Start from an empty root in memory; fill it with -v
    #[arg(long, help_heading = "Root")]
    pub empty: bool,

    /// Let nobody write to the root; /run and /tmp are in memory, volumes as they are
    #[arg(long, help_heading = "Root")]
    pub read_only: bool,

    /// Keep what the command changes in DIR, for nsl diff and nsl apply
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rootfs", "empty", "read_only"], help_heading = "Root")]
    pub changes: Option<PathBuf>,

    /// Make SRC of the host visible at DST [repeatable]
    #[arg(short, long = "volume", value_name = "SRC:DST[:ro]", help_heading = "Root")]
    pub volumes: Vec<OsString>,

    /// Mount an empty file system in memory at DST; OPTIONS are size=64m, mode=1777, uid=, gid=, ro, exec
    /// [repeatable]
    #[arg(long, value_name = "DST[:OPTIONS]", help_heading = "Root")]
    pub tmpfs: Vec<OsString>,

    /// Mount in the long form: type=bind, tmpfs or overlay (a copy-on-write view), src=SRC, dst=DST, readonly,
    /// tmpfs-size=, tmpfs-mode= [repeatable]
    #[arg(long = "mount", value_name = "type=TYPE,...", help_heading = "Root")]
    pub mounts: Vec<OsString>,

    /// veth, a pair of devices with NAT (veth:NAME: together with all others of NAME, which are found by their
    /// hostnames); pasta, which needs no root; none, nothing but lo; the network of the host, of a file such as
    /// /run/netns/NAME (ns:FILE) or of a process (container:PID) [default: veth as root, else pasta if installed]
    #[arg(long, value_name = "KIND", value_parser = NetworkKind::parse, help_heading = "Network")]
    pub network: Option<NetworkKind>,

    /// Leave the veth pair no way out, and none to the host: only others of the same veth:NAME are reached
    #[arg(long, help_heading = "Network")]
    pub internal: bool,

    /// Address of the command's end of the veth pair, IPv4 or IPv6 or one of each [default: a free pair]
    #[arg(long, value_name = "ADDRESS/PREFIX", help_heading = "Network")]
    pub ip: Vec<String>,

    /// Address of the host's end, the way out [default: the first of the net of --ip]
    #[arg(long, value_name = "ADDRESS", requires = "ip", help_heading = "Network")]
    pub gateway: Vec<String>,

    /// Network that the pairs' addresses come from [default: 10.221.0.0/16 and fd6e:736c::/96, or the like]
    #[arg(long, value_name = "NETWORK/PREFIX", conflicts_with = "ip", help_heading = "Network")]
    pub pool: Vec<String>,

    /// Let a port of this host, at one address IP or all, lead to one inside; CONTAINER alone: any free port of this
    /// host; ranges as in 8000-8010:80-90 [repeatable]
    #[arg(short, long, value_name = "[IP:]HOST:CONTAINER[/udp]", help_heading = "Network")]
    pub publish: Vec<String>,

    /// Let the command reach only this: none, ADDRESS[/PREFIX][:PORT[/udp]] or NAME:PORT, resolved at the start
    /// [repeatable]
    #[arg(long, value_name = "DESTINATION", help_heading = "Network")]
    pub egress: Vec<String>,

    /// Hostname inside [default: nsl]
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub hostname: Option<OsString>,

    /// Ask this name server, an address, instead of the host's [repeatable]
    #[arg(long, value_name = "ADDRESS", help_heading = "Network")]
    pub dns: Vec<String>,

    /// Complete short names by DOMAIN instead of the host's list; by none with . alone [repeatable]
    #[arg(long, value_name = "DOMAIN", help_heading = "Network")]
    pub dns_search: Vec<String>,

    /// Put a name into /etc/hosts; the address host-gateway is that of the host's end of the pair [repeatable]
    #[arg(long, value_name = "NAME:ADDRESS", help_heading = "Network")]
    pub add_host: Vec<String>,

    /// Run as this user: numbers, or names of the /etc/passwd and /etc/group inside [default: you]
    #[arg(short, long, value_name = "USER[:GROUP]", help_heading = "Process")]
    pub user: Option<String>,

    /// Working directory [default: the caller's if it exists inside, else /]
    #[arg(short, long, value_name = "DIR", help_heading = "Process")]
    pub workdir: Option<PathBuf>,

    /// Set the environment variable NAME, or hand on the caller's [repeatable]
    #[arg(short, long = "env", value_name = "NAME[=VALUE]", help_heading = "Process")]
    pub env: Vec<OsString>,

    /// Set the variables of FILE, a line each: NAME=VALUE, or NAME alone [repeatable]
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    pub env_file: Vec<PathBuf>,

    /// Start from an empty environment instead of the caller's
    #[arg(long, help_heading = "Process")]
    pub clear_env: bool,

    /// Give the command a terminal of its own [default: if stdin and stdout are one]
    #[arg(short, long, overrides_with = "no_tty", help_heading = "Process")]
    pub tty: bool,

    /// Give the command the streams as they are
    #[arg(short = 'T', long, overrides_with = "tty", help_heading = "Process")]
    pub no_tty: bool,

    /// Hand on the N file descriptors from 3 on [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = "Process")]
    pub preserve_fds: u32,

    /// Return when the command has started, and print the name; nsl ps, logs and stop find it by that
    #[arg(short, long, conflicts_with = "tty", help_heading = "Life")]
    pub detach: bool,

    /// Count the command as started only when it says that it is ready, as sd_notify(3) has it: --detach returns then,
    /// and a service manager is told
    #[arg(long, help_heading = "Life")]
    pub ready: bool,

    /// Name of the sandbox for nsl ps, stop and the like [default: none; with --detach one is made up]
    #[arg(long, value_name = "NAME", help_heading = "Life")]
    pub name: Option<String>,

    /// Start the command again when it has ended: no, on-failure, on-failure:N (at most N times in a row), always or
    /// unless-stopped; after 100 ms, then twice as long each time, up to a minute [default: no]
    #[arg(long, value_name = "POLICY", requires = "detach", help_heading = "Life")]
    pub restart: Option<String>,

    /// Have sh inside execute CMD now and then: the sandbox is healthy if it exits with 0, and started again if it is
    /// not and --restart says so
    #[arg(long, value_name = "CMD", help_heading = "Life")]
    pub health_cmd: Option<String>,

    /// Time from a check's end, or the start, to the next
    #[arg(long, value_name = "DURATION", default_value = "30s", requires = "health_cmd", help_heading = "Life")]
    pub health_interval: String,

    /// How long a check may take before it is killed, and has failed
    #[arg(long, value_name = "DURATION", default_value = "30s", requires = "health_cmd", help_heading = "Life")]
    pub health_timeout: String,

    /// So many failures in a row make the sandbox unhealthy
    #[arg(long, value_name = "N", default_value_t = 3, requires = "health_cmd",
        value_parser = clap::value_parser!(u32).range(1..), help_heading = "Life")]
    pub health_retries: u32,

    /// How long after the start failures do not count
    #[arg(long, value_name = "DURATION", default_value = "0s", requires = "health_cmd", help_heading = "Life")]
    pub health_start_period: String,

    /// Keep the output of a sandbox with a name: file, for nsl logs, journald, none, or stdout, which keeps nothing
    /// and writes it to nsl's own [default: stdout, with --detach file]
    #[arg(long, value_enum, value_name = "DRIVER", hide_possible_values = true, help_heading = "Life")]
    pub log: Option<LogDriver>,

    /// Size at which a file of the log is renamed, and a new one begun [default: 10m]
    #[arg(long, value_name = "SIZE", help_heading = "Life")]
    pub log_size: Option<String>,

    /// How many files of the log there are at most; the oldest is removed [default: 3]
    #[arg(long, value_name = "N", help_heading = "Life")]
    pub log_files: Option<u32>,

    /// End the command after this time, such as 500ms, 10s, 2m or 1h: by SIGTERM, and by SIGKILL --stop-timeout
    /// later; the exit status is 124
    #[arg(long, value_name = "DURATION", help_heading = "Life")]
    pub timeout: Option<String>,

    /// How long what the command leaves behind may take to end before it is killed
    #[arg(long, value_name = "DURATION", default_value = "10s", help_heading = "Life")]
    pub stop_timeout: String,

    /// Signal that asks the command, and what it leaves behind, to end [default: SIGTERM]
    #[arg(long, value_name = "SIGNAL", help_heading = "Life")]
    pub stop_signal: Option<String>,

    /// Write the process ID of the init inside to FILE, and remove it at the end
    #[arg(long, value_name = "FILE", help_heading = "Life")]
    pub pidfile: Option<PathBuf>,

    /// Write what happens to file descriptor N, one JSON object a line
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Life")]
    pub status_fd: Option<i32>,

    /// Most memory for all inside, files in memory included, such as 512m or 2g
    #[arg(short, long, value_name = "SIZE", help_heading = "Limits")]
    pub memory: Option<String>,

    /// Most CPU time for all inside, as a number of CPUs such as 1.5
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub cpus: Option<String>,

    /// Most processes and threads inside, nsl-init not counted
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Limits")]
    pub pids_limit: Option<i64>,

    /// Resource limit of the command, as setrlimit(2) counts it: nofile=1024:4096 [repeatable]
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]", help_heading = "Limits")]
    pub ulimits: Vec<String>,

    /// Who exists inside: auto maps root to you (or, as root, to unused ids), keep-id maps you to yourself, both
    /// with your ranges of /etc/subuid; host maps nothing [default: host as root, with --nested auto; else only you]
    #[arg(long, value_name = "auto[:SIZE]|keep-id[:SIZE]|host", help_heading = "Security")]
    pub userns: Option<String>,

    /// Add a capability, or ALL, to those of the command [repeatable]
    #[arg(long, value_name = "NAME", help_heading = "Security")]
    pub cap_add: Vec<String>,

    /// Take a capability, or ALL, from the command [repeatable]
    #[arg(long, value_name = "NAME", help_heading = "Security")]
    pub cap_drop: Vec<String>,

    /// Forbid that an exec gives privileges, as that of sudo does [default: true]
    #[arg(long, value_name = "BOOL", require_equals = true, num_args = 0..=1, default_missing_value = "true",
        help_heading = "Security")]
    pub no_new_privs: Option<bool>,

    /// Let the command reach only these paths, to read and execute, or to write too; ro=-PATH may be missing, and /dev is
    /// always there [repeatable]
    #[arg(long, value_name = "ro=PATH,rw=PATH,…", help_heading = "Security")]
    pub landlock: Vec<String>,

    /// Let the command make namespaces and sandboxes of its own; as root with --userns auto, unless you say otherwise
    #[arg(long, help_heading = "Security")]
    pub nested: bool,

    /// Take every defence away that has no option of its own on the command line
    #[arg(long, help_heading = "Security")]
    pub privileged: bool,

    /// System calls the command may use: nsl's list, all, or a profile in docker's format [default: default,
    /// unconfined with --privileged]
    #[arg(long, value_name = "default|unconfined|FILE", help_heading = "Security")]
    pub seccomp: Option<PathBuf>,

    /// Give the command a new /proc, or the host's where a container around nsl forbids a new one
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Proc::New, help_heading = "Security")]
    pub proc: Proc,

    /// Use System V IPC and message queues of its own, or the host's
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Namespace::Private, help_heading = "Security")]
    pub ipc: Namespace,

    /// Use a hostname of its own, or the host's
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Namespace::Private, help_heading = "Security")]
    pub uts: Namespace,

    /// See its own control group as the root of all, or the host's tree
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Namespace::Private, help_heading = "Security")]
    pub cgroupns: Namespace,

    /// Show what would be done, and do nothing
    #[arg(long, help_heading = "Insight")]
    pub dry_run: bool,

    /// How much to tell on stderr
    #[arg(long, value_enum, value_name = "LEVEL", env = "NSL_LOG", default_value_t = LogLevel::Warn,
        help_heading = "Insight")]
    pub log_level: LogLevel,

    /// Tell on stderr, when all has ended, how long each step of the start took, inside and outside, and who waited for
    /// whom: text, a table, or json [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", require_equals = true, num_args = 0..=1,
        default_missing_value = "text", hide_possible_values = true, help_heading = "Insight")]
    pub timings: Option<TimingsFormat>,

    /// Take options from this file, or from the profile of this name: agent, browser, build, service, shell, or one of
    /// yours; what the command line says wins [repeatable]
    #[arg(long = "profile", value_name = "FILE|NAME", help_heading = "Profiles")]
    pub profiles: Vec<OsString>,

    /// Write these options, with those of the profiles, as one profile to stdout, and do nothing
    #[arg(long, help_heading = "Profiles")]
    pub print_profile: bool,

    /// All words behind `nsl run`, where some of them come from profiles
    #[arg(skip)]
    pub merged: Option<Vec<OsString>>,

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
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "veth" => Ok(Self::Veth(None)),
            None if text == "pasta" => Ok(Self::Pasta),
            None if text == "none" => Ok(Self::None),
            None if text == "host" => Ok(Self::Host),
            Some(("veth", name)) => Self::name(name).map(|name| Self::Veth(Some(name))),
            Some(("ns", "")) => Err("ns: takes a file, such as ns:/run/netns/NAME".to_owned()),
            Some(("ns", path)) => Ok(Self::Namespace(path.into())),
            Some(("container", pid)) => match pid.parse() {
                Ok(pid @ 1..=0x7fff_ffff) => Ok(Self::Process(pid)),
                _ => Err("container: takes the ID of a process, as --pidfile writes it".to_owned()),
            },
            _ => Err("it is veth, veth:NAME, pasta, none, host, ns:FILE or container:PID".to_owned()),
        }
    }

    fn name(name: &str) -> Result<String, String> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
        if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(fits) {
            return Ok(name.to_owned());
        }
        Err(format!("the name of a network has 1 to {NAME_MAX} of the characters a-z, 0-9, '_', '.' and '-'"))
    }
}

/// The words are podman's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Namespace {
    Private,
    Host,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Proc {
    New,
    Host,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TimingsFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogLevel {
    Error,
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
