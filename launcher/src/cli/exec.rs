//! The options of `nsl exec`: docker's words.

use super::LogLevel;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "\
The command gets what the sandbox's own has: namespaces, cgroup, capabilities, system calls, limits and environment. It \
ends with the sandbox, or when nsl exec is killed; what it leaves behind stays in the sandbox.

Exit status: the command's own; 128+N if signal N ended it; 127 if it was not found, 126 if it could not be executed, \
125 if nsl itself failed.")]
#[expect(clippy::struct_excessive_bools, reason = "each is one option of the command line")]
pub struct Exec {
    /// Accepted for docker's sake: stdin is always passed on
    #[arg(short, long)]
    #[allow(dead_code, reason = "it changes nothing")]
    pub interactive: bool,

    /// Give the command a terminal of its own [default: if stdin and stdout are one]
    #[arg(short, long, overrides_with = "no_tty")]
    pub tty: bool,

    /// Give the command the streams as they are
    #[arg(short = 'T', long, overrides_with = "tty")]
    pub no_tty: bool,

    /// Run as this user: numbers, or names of the /etc/passwd and /etc/group inside [default: the sandbox's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,

    /// Working directory [default: the sandbox's]
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,

    /// Set the environment variable NAME, or hand on the caller's [repeatable]
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub env: Vec<OsString>,

    /// For a check of health: SIGTERM kills the command, and nothing that it leaves behind stays
    #[arg(long, hide = true)]
    pub check: bool,

    /// How much to tell on stderr
    #[arg(long, value_enum, value_name = "LEVEL", env = "NSL_LOG", default_value_t = LogLevel::Warn)]
    pub log_level: LogLevel,

    /// The sandbox, by the name of nsl run --name
    #[arg(value_name = "NAME")]
    pub name: String,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}
