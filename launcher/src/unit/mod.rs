//! `nsl unit`: a sandbox as a unit of systemd's, written to stdout. systemd starts it, watches it and starts it again
//! then, so what nsl would do for that with `--detach` is left out.

mod options;
mod quote;

use crate::cli::{Run, Unit};
use crate::error::{Error, Result};
use crate::profile;
use crate::restart::Policy;
use crate::service;
use crate::signals;
use crate::units;
use nsl_shared::exit;
use nsl_shared::signal::Signal;
use options::Options;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const STEP: &str = "make a unit of it";
/// Beyond the command's own time to end.
const GRACE_MS: u64 = 5000;
/// What neither nsl nor a sandbox without `--cap-add` has a use for.
const DROPPED: [&str; 13] = [
    "AUDIT_CONTROL",
    "BLOCK_SUSPEND",
    "IPC_LOCK",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "SYSLOG",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_PACCT",
    "SYS_TIME",
    "WAKE_ALARM",
];

pub fn unit(unit: &Unit) -> Result<u8> {
    let (words, directory) = match &unit.name {
        Some(name) => service::options(name)?,
        None => (with_profiles(&unit.words)?, std::env::current_dir().ok()),
    };
    let run = crate::cli::read_run(&words).map_err(|cause| Error::new(STEP, cause).hint("see nsl run --help"))?;
    refuse(&run)?;
    let options = Options::new(&words, &run);
    let nsl = std::env::current_exe().map_err(|error| Error::io("find nsl itself", &error))?;
    let source = Source { run: &run, options, name: unit.name.as_deref().or(run.name.as_deref()), nsl, directory };
    let text = source.unit(nix::unistd::geteuid().is_root())?;
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map(|()| 0).map_err(|error| Error::io("write the unit", &error))
}

/// What a unit does is written in it, and not in a profile that may change.
fn with_profiles(words: &[OsString]) -> Result<Vec<OsString>> {
    match profile::merged(words)? {
        Some(merged) if merged.print => Err(Error::new(STEP, "nothing would run").hint("leave --print-profile out")),
        merged => Ok(merged.map_or_else(|| words.to_vec(), |merged| merged.words)),
    }
}

/// What there is nobody for in a unit.
fn refuse(run: &Run) -> Result<()> {
    let given = [
        ("--tty", run.tty, "a unit has no terminal"),
        ("--dry-run", run.dry_run, "nothing would run"),
        ("--preserve-fds", run.preserve_fds > 0, "systemd hands on the sockets of a .socket unit by itself"),
        ("--status-fd", run.status_fd.is_some(), "a unit has nobody who reads it"),
    ];
    match given.iter().find(|(_, is_given, _)| *is_given) {
        Some((option, _, cause)) => Err(Error::new(STEP, *cause).hint(format!("leave {option} out"))),
        None => Ok(()),
    }
}

struct Source<'a> {
    run: &'a Run,
    options: Options,
    name: Option<&'a str>,
    nsl: PathBuf,
    directory: Option<PathBuf>,
}

impl Source<'_> {
    fn unit(&self, is_root: bool) -> Result<String> {
        let title = self.name.unwrap_or("A sandbox");
        let policy = self.run.restart.as_deref().map_or(Ok(Policy::OnFailure(None)), Policy::parse)?;
        let mut text = String::from("# Made by nsl unit. The command's environment is that of this unit.\n[Unit]\n");
        let (restart, limits) = restart(policy);
        let _ = write!(text, "Description={title}, run by nsl\n{limits}");
        if is_root {
            text.push_str("Wants=network-online.target\nAfter=network-online.target\n");
        }
        text.push_str("\n[Service]\nType=notify\nNotifyAccess=main\n");
        if let Some(directory) = &self.directory {
            let _ = writeln!(text, "WorkingDirectory={}", quote::path(directory.as_os_str(), STEP)?);
        }
        let _ = writeln!(text, "ExecStart={}", self.command_line()?);
        if let Some(name) = self.name {
            let _ = writeln!(text, "SyslogIdentifier={name}");
        }
        let grace = u64::from(units::milliseconds("--stop-timeout", &self.run.stop_timeout)?) + GRACE_MS;
        let _ = write!(text, "KillMode=mixed\nTimeoutStopSec={grace}ms\nRestart={restart}\nRestartSec=1s\n");
        // By such a signal the command ends as it was asked to.
        let stop = self.run.stop_signal.as_deref().map(|name| signals::named("--stop-signal", name)).transpose()?;
        let asked: Vec<_> = stop.map(Signal::number).into_iter().chain([libc::SIGTERM]).collect();
        let codes: Vec<_> = asked.iter().map(|signal| exit::of_signal(*signal).to_string()).collect();
        let _ = writeln!(text, "SuccessExitStatus={}", codes.join(" "));
        if self.run.health_cmd.is_some() {
            // Left by nsl when the sandbox is not well: then it ends in order, and starts again.
            text.push_str("WatchdogSec=30s\nWatchdogSignal=SIGTERM\n");
        }
        // The cgroups below are nsl's, and so is what it means if memory runs out in one.
        text.push_str("Delegate=yes\nOOMPolicy=continue\n");
        if is_root && !self.run.privileged {
            text.push_str(&self.hardening());
        }
        let target = if is_root { "multi-user.target" } else { "default.target" };
        let _ = write!(text, "\n[Install]\nWantedBy={target}\n");
        Ok(text)
    }

    fn command_line(&self) -> Result<String> {
        let mut words = vec![quote::program(self.nsl.as_os_str(), STEP)?, "run".to_owned()];
        let name = self.name.map(|name| [OsStr::new("--name"), OsStr::new(name)]);
        let end = [OsStr::new("--")];
        let command = self.run.command.iter().map(OsString::as_os_str);
        let given = self.options.words.iter().map(OsString::as_os_str);
        let all = name.into_iter().flatten().chain(given).chain(end).chain(command);
        words.extend(all.map(|word| quote::word(word.as_bytes())));
        Ok(words.join(" "))
    }

    /// What of nsl's own power it does not need here. It holds for what it starts, too.
    fn hardening(&self) -> String {
        let added = self.run.cap_add.iter().flat_map(|list| list.split(','));
        let added: Vec<_> = added.map(|name| name.trim().to_ascii_uppercase()).collect();
        let is_added = |name: &str| added.iter().any(|word| word == "ALL" || word.trim_start_matches("CAP_") == name);
        let dropped: Vec<_> = DROPPED.iter().filter(|name| !is_added(name)).map(|name| format!("CAP_{name}")).collect();
        let mut text = String::new();
        if !dropped.is_empty() {
            let _ = writeln!(text, "CapabilityBoundingSet=~{}", dropped.join(" "));
        }
        if self.run.no_new_privs != Some(false) {
            text.push_str("NoNewPrivileges=yes\n");
        }
        text + "LockPersonality=yes\nRestrictRealtime=yes\n"
    }
}

/// `Restart=`, and what the section [Unit] has of it.
fn restart(policy: Policy) -> (&'static str, String) {
    match policy {
        Policy::No => ("no", String::new()),
        Policy::OnFailure(None) => ("on-failure", String::new()),
        Policy::OnFailure(Some(most)) => {
            let starts = u64::from(most) + 1;
            ("on-failure", format!("StartLimitIntervalSec=1h\nStartLimitBurst={starts}\n"))
        }
        // Without a limit, as nsl has it.
        Policy::Always => ("always", "StartLimitIntervalSec=0\n".to_owned()),
    }
}
