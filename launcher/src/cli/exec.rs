//! The options of `nsl exec`: docker's words.

use super::LogLevel;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is one option of the command line")]
pub struct Exec {
    /// Accepted for docker's sake. stdin is always passed on
    #[arg(short, long)]
    #[allow(dead_code, reason = "it changes nothing")]
    pub interactive: bool,

    /// Give the command a terminal [default: if you are at one]. It is one of its own; you are at one if stdin and stdout are
    #[arg(short, long, overrides_with = "no_tty")]
    pub tty: bool,

    /// Give the command the streams as they are
    #[arg(short = 'T', long, overrides_with = "tty")]
    pub no_tty: bool,

    /// Run as this user, numbers or names [default: the sandbox's]. Names are those of the /etc/passwd and /etc/group inside
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,

    /// Start in DIR [default: the sandbox's]
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,

    /// Set a variable, or with NAME alone hand on yours [repeatable]
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub env: Vec<OsString>,

    /// For a check of health: SIGTERM kills the command, and nothing that it leaves behind stays
    #[arg(long, hide = true)]
    pub check: bool,

    /// What to tell on stderr. error, warn, info, debug or trace, each with all before it
    #[arg(long, value_enum, value_name = "LEVEL", env = "NSL_LOG", hide_env_values = true, hide_possible_values = true,
        default_value_t = LogLevel::Warn)]
    pub log_level: LogLevel,

    /// The sandbox, by the name of nsl run --name
    #[arg(value_name = "NAME")]
    pub name: String,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}
