//! The options of what works on sandboxes with a name.

use clap::Args;
use std::ffi::OsString;

#[derive(Args)]
pub struct Ps {
    /// Show also those that have ended
    #[arg(short, long)]
    pub all: bool,

    /// Show nothing but names
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,

    /// Write one JSON array. docs/services.md has its schema
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Logs {
    /// Go on until the sandbox ends
    #[arg(short, long)]
    pub follow: bool,

    /// Begin with the last N lines
    #[arg(short = 'n', long, value_name = "N")]
    pub tail: Option<u64>,

    /// Only what is newer than this. A time such as 2026-11-24T10:00:00Z, or a duration such as 10m
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// Put the time before each line
    #[arg(short, long)]
    pub timestamps: bool,

    /// The sandbox, as nsl ps -a names it
    #[arg(value_name = "NAME")]
    pub name: String,
}

#[derive(Args)]
pub struct Top {
    /// The sandbox, as nsl ps names it
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Of nsl inspect and nsl wait.
#[derive(Args)]
pub struct Names {
    /// The sandboxes, as nsl ps -a names them
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Args)]
pub struct Stop {
    /// Time to end before it is killed [default: its --stop-timeout]
    #[arg(short, long, value_name = "TIME")]
    pub time: Option<String>,

    /// The sandboxes, as nsl ps names them
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Args)]
pub struct Kill {
    /// Signal that the command gets
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    pub signal: String,

    /// The sandboxes, as nsl ps names them
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Args)]
pub struct Rm {
    /// Kill one that runs before, and do not mind if there is none
    #[arg(short, long)]
    pub force: bool,

    /// The sandboxes, as nsl ps -a names them
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Args)]
pub struct Unit {
    /// The sandbox, as nsl ps -a names it
    #[arg(value_name = "NAME", required_unless_present = "words", conflicts_with = "words")]
    pub name: Option<String>,

    /// Options of nsl run, then -- and the command
    #[arg(last = true, value_name = "OPTIONS -- COMMAND")]
    pub words: Vec<OsString>,
}
