//! The command line as clap reads it: words, no decisions, no I/O. `spec` gives them their meaning.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Give a command its own Linux world: namespaces, root, network and a real init.
#[derive(Parser)]
#[command(name = "nsl", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a command in a world of its own
    Run(Box<Run>),
    /// Show what nsl run --changes kept
    Diff(Diff),
    /// Bring what nsl run --changes kept onto this host
    Apply(Apply),
    /// Write nsl-init to a file, as the init of an image or a machine
    Init(Init),
}

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is one option of the command line")]
#[expect(clippy::struct_field_names, reason = "the option is called so")]
#[command(after_help = "\
Without --rootfs or --empty the command sees the host's own files and may change them as it likes: what it
writes stays in memory and is gone at the end, or is kept with --changes.

Exit status: the command's own; 128+N if signal N ended it; 127 if it was not found, 126 if it could not be
executed, 125 if nsl itself failed, 124 if --timeout ended it.")]
pub struct Run {
    /// Use this directory, archive (.tar, .gz, .zst) or OCI layout as the root
    #[arg(long, value_name = "PATH", conflicts_with = "empty", help_heading = "Root")]
    pub rootfs: Option<PathBuf>,

    /// Keep nothing of what the command writes to the directory of --rootfs, as with an archive
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

    /// An empty file system in memory at DST; options are size=64m, mode=1777, uid=, gid=, ro, exec [repeatable]
    #[arg(long, value_name = "DST[:OPTIONS]", help_heading = "Root")]
    pub tmpfs: Vec<OsString>,

    /// Mount type=bind, tmpfs or overlay, a copy-on-write view: type=overlay,src=SRC,dst=DST; with readonly,
    /// tmpfs-size=, tmpfs-mode= [repeatable]
    #[arg(long = "mount", value_name = "type=TYPE,...", help_heading = "Root")]
    pub mounts: Vec<OsString>,

    /// What the network is: a pair of virtual devices with NAT, nothing but lo, or the host's own
    /// [default: veth as root, else none]
    #[arg(long, value_enum, hide_default_value = true, hide_possible_values = false, help_heading = "Network")]
    pub network: Option<NetworkKind>,

    /// Address of the command's end of the veth pair [default: a free pair]
    #[arg(long, value_name = "ADDRESS/PREFIX", help_heading = "Network")]
    pub ip: Option<String>,

    /// Address of the host's end of the veth pair, the way out [default: the first of the net of --ip]
    #[arg(long, value_name = "ADDRESS", requires = "ip", help_heading = "Network")]
    pub gateway: Option<String>,

    /// Hostname inside
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub hostname: Option<OsString>,

    /// Set the environment variable NAME, or hand on the caller's [repeatable]
    #[arg(short, long = "env", value_name = "NAME[=VALUE]", help_heading = "Process")]
    pub env: Vec<OsString>,

    /// Set what FILE says: a line each NAME=VALUE, or NAME to hand on the caller's [repeatable]
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    pub env_file: Vec<PathBuf>,

    /// Start from no environment, not from the caller's
    #[arg(long, help_heading = "Process")]
    pub clear_env: bool,

    /// Working directory [default: the caller's if it exists inside, else /]
    #[arg(short, long, value_name = "DIR", help_heading = "Process")]
    pub workdir: Option<PathBuf>,

    /// Run as this user and group: numbers, or names of the root's own /etc/passwd and /etc/group
    #[arg(short, long, value_name = "USER[:GROUP]", help_heading = "Process")]
    pub user: Option<String>,

    /// Give the command a terminal of its own [default: if stdin and stdout are one]
    #[arg(short, long, overrides_with = "no_tty", help_heading = "Process")]
    pub tty: bool,

    /// Give the command the streams as they are
    #[arg(short = 'T', long, overrides_with = "tty", help_heading = "Process")]
    pub no_tty: bool,

    /// How long what the command leaves behind may take to end, before it is killed
    #[arg(long, value_name = "DURATION", default_value = "10s", help_heading = "Process")]
    pub stop_timeout: String,

    /// How long the command may run: then it gets SIGTERM, after --stop-timeout everything is killed, and the exit
    /// status is 124; as in 500ms, 10s, 2m or 1h
    #[arg(long, value_name = "DURATION", help_heading = "Process")]
    pub timeout: Option<String>,

    /// Memory for all inside, files in memory included, with k, m or g
    #[arg(short, long, value_name = "SIZE", help_heading = "Limits")]
    pub memory: Option<String>,

    /// CPU time for all inside, as a number of CPUs such as 1.5
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub cpus: Option<String>,

    /// Processes and threads inside, nsl-init not counted
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Limits")]
    pub pids_limit: Option<i64>,

    /// A resource limit of the command, in the units of setrlimit(2), such as nofile=1024:4096 [repeatable]
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]", help_heading = "Limits")]
    pub ulimits: Vec<String>,

    /// Signal that asks the command to end, in the place of SIGTERM, and what it leaves behind
    #[arg(long, value_name = "SIGNAL", help_heading = "Process")]
    pub stop_signal: Option<String>,

    /// Hand on the N descriptors from 3 on
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = "Driving")]
    pub preserve_fds: u32,

    /// Write what happens to descriptor N, a JSON object a line
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Driving")]
    pub status_fd: Option<i32>,

    /// Write the process ID of the sandbox's init to FILE, which is removed at the end
    #[arg(long, value_name = "FILE", help_heading = "Driving")]
    pub pidfile: Option<PathBuf>,

    /// Who exists inside: with auto, root is you, or as root a range of ids that nobody else has, with keep-id you are
    /// yourself, and in both the others are your ranges of /etc/subuid and /etc/subgid; host makes no user namespace
    /// [default: host as root, but auto with --nested; else nobody but you]
    #[arg(long, value_name = "auto[:SIZE]|keep-id[:SIZE]|host", help_heading = "Namespaces")]
    pub userns: Option<String>,

    /// System V IPC and message queues of the sandbox's own, or the host's
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Namespace::Private, help_heading = "Namespaces")]
    pub ipc: Namespace,

    /// A hostname of the sandbox's own, or the host's
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Namespace::Private, help_heading = "Namespaces")]
    pub uts: Namespace,

    /// The sandbox's own control group as the root of those that are seen, or the host's
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Namespace::Private, help_heading = "Namespaces")]
    pub cgroupns: Namespace,

    /// /proc is a new one, with the processes inside alone, or the host's, for where a container around nsl forbids a
    /// new one: the processes of that are seen
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Proc::New, help_heading = "Security")]
    pub proc: Proc,

    /// Add a capability, or ALL, to those of the command [repeatable]
    #[arg(long, value_name = "NAME", help_heading = "Security")]
    pub cap_add: Vec<String>,

    /// Take a capability, or ALL, from the command [repeatable]
    #[arg(long, value_name = "NAME", help_heading = "Security")]
    pub cap_drop: Vec<String>,

    /// May an exec give privileges, as that of sudo does? [default: true, which forbids it]
    #[arg(long, value_name = "BOOL", require_equals = true, num_args = 0..=1, default_missing_value = "true",
        help_heading = "Security")]
    pub no_new_privs: Option<bool>,

    /// Let the command reach these paths only, to read and execute or to write as well; /dev is always there
    /// [repeatable]
    #[arg(long, value_name = "ro=PATH,rw=PATH,…", help_heading = "Security")]
    pub landlock: Vec<String>,

    /// Let the command make namespaces and sandboxes of its own; as root it gets --userns auto, unless --userns says
    /// otherwise
    #[arg(long, help_heading = "Security")]
    pub nested: bool,

    /// Take every defence away that has no option of its own on the command line
    #[arg(long, help_heading = "Security")]
    pub privileged: bool,

    /// Which system calls the command may use: by nsl's own list, all, or by a profile as docker takes it
    /// [default: default, unconfined with --privileged]
    #[arg(long, value_name = "default|unconfined|FILE", help_heading = "Security")]
    pub seccomp: Option<PathBuf>,

    /// Show what would be done, and do nothing
    #[arg(long, help_heading = "Insight")]
    pub dry_run: bool,

    /// How much to tell on stderr
    #[arg(long, value_enum, value_name = "LEVEL", env = "NSL_LOG", default_value_t = LogLevel::Warn,
        help_heading = "Insight")]
    pub log_level: LogLevel,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

#[derive(Args)]
#[command(after_help = "\
Each line is a change against the host as it is now: added, changed, removed, or metadata where only the mode, the
owner, the time or extended attributes differ. A directory's name ends with a slash; what comes or goes with setuid,
setgid or file capabilities says so.

Exit status: 0; with --exit-code 1 if there are changes; 125 if nsl itself failed.")]
pub struct Diff {
    /// Write one JSON object (docs/changes.md has its schema)
    #[arg(long, conflicts_with = "content")]
    pub json: bool,

    /// Write what changed in the files too, as a patch
    #[arg(long)]
    pub content: bool,

    /// Exit with 1 if there are changes
    #[arg(long)]
    pub exit_code: bool,

    /// The directory of nsl run --changes
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,

    /// Only these, with all that is below them; relative paths begin at /
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "\
The changes are shown before anything is asked or done. If one of them cannot be applied, because the file was changed
on this host since the command ran or is not yours to change, nothing is: name the PATHs that you want. A file is
replaced at once, so nobody ever sees half of it.

Exit status: 0 if all is applied or there was nothing to do; 1 if the answer was no, or something stands against it;
125 if nsl itself failed, also half-way: it says how far it came, and can be run again.")]
pub struct Apply {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,

    /// The directory of nsl run --changes
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,

    /// Only these, with all that is below them; relative paths begin at /
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "\
The file is static, executable for everybody, and needs nothing else: as the ENTRYPOINT of an image, for podman run
--init --init-path FILE, for dockerd --init-path FILE, or as the /init of a machine. FILE --help tells what it can do.

Its name goes to stdout. A file that is there already is replaced at once, also while it is executed.")]
pub struct Init {
    /// A file, a directory that gets the file nsl-init, or - for stdout
    #[arg(short, long, value_name = "FILE", default_value = "./nsl-init")]
    pub output: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum NetworkKind {
    /// A pair of virtual devices, one end inside, with NAT to where the host gets (needs root)
    Veth,
    /// Nothing but lo
    None,
    /// The host's network as it is
    Host,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    fn run(words: &[&str]) -> Run {
        let Command::Run(run) = Cli::parse_from(["nsl", "run"].iter().chain(words)).command else { panic!("no run") };
        *run
    }

    #[test]
    fn everything_behind_the_command_belongs_to_it() {
        assert_eq!(run(&["--", "bash", "--empty"]).command, ["bash", "--empty"]);
        let given = run(&["--empty", "bash", "--rootfs", "-e"]);
        assert!(given.empty && given.rootfs.is_none());
        assert_eq!(given.command, ["bash", "--rootfs", "-e"]);
    }
}
