//! The options of what works on sandboxes with a name.

use clap::Args;
use std::ffi::OsString;

#[derive(Args)]
#[command(after_help = "\
CPU is the time that all its processes have used since the start, in percent of one CPU; MEM is what they have in memory, \
each counted for itself; PROCS leaves nsl-init out. Dead is one whose nsl was killed: nobody knows how it ended.")]
pub struct Ps {
    /// Show those too that have ended
    #[arg(short, long)]
    pub all: bool,

    /// Show names alone
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,

    /// Write one JSON array (docs/services.md has its schema)
    #[arg(long)]
    pub json: bool,
}

/// Of nsl inspect and nsl wait.
#[derive(Args)]
pub struct Names {
    /// Sandboxes, as nsl ps -a names them
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Args)]
#[command(after_help = "\
Each command gets its stop signal, and what it leaves behind after that; whatever has not ended in time is killed.")]
pub struct Stop {
    /// How long each may take to end before it is killed [default: its --stop-timeout]
    #[arg(short, long, value_name = "DURATION")]
    pub time: Option<String>,

    /// Sandboxes, as nsl ps names them
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Args)]
pub struct Kill {
    /// Signal that the command gets
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    pub signal: String,

    /// Sandboxes, as nsl ps names them
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Args)]
pub struct Rm {
    /// Kill it if it runs, and do not mind if there is none
    #[arg(short, long)]
    pub force: bool,

    /// Sandboxes, as nsl ps -a names them
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Args)]
#[command(after_help = "\
The unit goes to stdout: nsl unit web >/etc/systemd/system/web.service, or ~/.config/systemd/user without root. systemd \
starts and restarts it then, in the place of --detach and --restart; nsl ps and nsl exec find it as before.")]
pub struct Unit {
    /// A sandbox that runs, or is still known
    #[arg(value_name = "NAME", required_unless_present = "words", conflicts_with = "words")]
    pub name: Option<String>,

    /// Options of nsl run, then -- and the command
    #[arg(last = true, value_name = "OPTIONS -- COMMAND")]
    pub words: Vec<OsString>,
}
