//! What the nsl-init of `nsl exec` is told: what that of the sandbox was told of its command, with another command,
//! environment, directory and user in its place.

use super::target::Target;
use crate::cli::Exec;
use crate::error::{Error, Result};
use crate::hints::Subject;
use crate::image;
use crate::spec::Root;
use crate::user::{Inside, User};
use crate::userns::Maps;
use nix::errno::Errno;
use nsl_shared::boot::{self, Boot, Credentials, Setup, Strings};
use nsl_shared::signal::SignalSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is kept of the first command's setup: its start is past.
const KEPT: [Setup; 3] = [Setup::NO_NEW_PRIVS, Setup::LANDLOCK, Setup::CREDENTIALS];
/// Told to one process only, which was the first command (sd_listen_fds(3)).
const OF_ONE: [&[u8]; 4] = [b"LISTEN_PID", b"LISTEN_FDS", b"LISTEN_FDNAMES", b"LISTEN_PIDFDID"];

pub struct Message<'a> {
    first: Boot<'a>,
    setup: Setup,
    name: &'a OsStr,
    args: Vec<u8>,
    env: Vec<u8>,
    workdir: CString,
    credentials: Credentials,
    groups: Vec<u8>,
}

impl<'a> Message<'a> {
    pub fn new(exec: &'a Exec, target: &'a Target, has_terminal: bool) -> Result<Self> {
        let malformed = |_| {
            Error::new(format!("execute a command in {}", target.name), "its boot message is that of another nsl")
                .hint("use the nsl that started the sandbox, or start it again")
        };
        let first = boot::Message::decode(&target.boot).map_err(malformed)?.contents();
        let user = exec.user.as_deref().map(|text| find_user(text, target)).transpose()?;
        let kept = KEPT.into_iter().filter(|one| first.setup.contains(*one));
        let mut setup = kept.fold(Setup::JOINED, Setup::with);
        if has_terminal {
            setup = setup.with(Setup::TERMINAL);
        }
        if exec.workdir.is_none() && first.setup.contains(Setup::ANY_WORKDIR) {
            setup = setup.with(Setup::ANY_WORKDIR);
        }
        let workdir = workdir(exec.workdir.as_deref(), &first)?;
        let variables = user.as_ref().map_or(&[][..], |user| &user.variables);
        let env = environment(first.env, variables, exec, has_terminal)?;
        let (credentials, groups) = match user {
            None => (first.credentials, first.groups.to_vec()),
            Some(user) => {
                setup = setup.with(Setup::CREDENTIALS);
                (user.credentials, user.groups.iter().flat_map(|group| group.to_ne_bytes()).collect())
            }
        };
        let args = exec.command.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
        Ok(Self { first, setup, name: &exec.command[0], args, env, workdir, credentials, groups })
    }

    /// A sealed file with the message.
    pub fn file(&self, mask: SignalSet) -> Result<OwnedFd> {
        let strings = |bytes| {
            Strings::new(bytes).map_err(|malformed| Error::new("write the boot message", malformed.to_string()))
        };
        let boot = Boot {
            setup: self.setup,
            mask,
            credentials: self.credentials,
            // Root has what it may have without.
            ambient: if self.credentials().is_some_and(|user| user.uid == 0) { 0 } else { self.first.ambient },
            kept: 0,
            // SIGTERM is not that of nsl stop.
            stop_signal: 0,
            hostname: b"",
            workdir: strings(self.workdir.as_bytes_with_nul())?,
            args: strings(&self.args)?,
            env: strings(&self.env)?,
            masked: Strings::NONE,
            read_only: Strings::NONE,
            groups: &self.groups,
            ..self.first
        };
        image::message(&boot).map_err(|errno| Error::os("write the boot message", errno))
    }

    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// Who the command runs as, if that is not whom the sandbox was made for: root inside, or the only one.
    pub fn credentials(&self) -> Option<Credentials> {
        self.setup.contains(Setup::CREDENTIALS).then_some(self.credentials)
    }

    /// What a failed start speaks of.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            name: self.name,
            workdir: &self.workdir,
            has_landlock: self.setup.contains(Setup::LANDLOCK),
            has_filter: !self.first.filter.is_empty(),
        }
    }
}

fn workdir(asked: Option<&Path>, first: &Boot<'_>) -> Result<CString> {
    match asked {
        Some(path) if path.is_absolute() => Ok(CString::new(path.as_os_str().as_bytes()).unwrap_or_default()),
        Some(path) => {
            let step = format!("use the working directory {}", path.display());
            Err(Error::new(step, "it is not an absolute path"))
        }
        None => Ok(CStr::from_bytes_with_nul(first.workdir.as_bytes()).unwrap_or(c"/").to_owned()),
    }
}

/// Looks a user up in the sandbox's root as it is now, by the link to it that its init has in /proc.
fn find_user(text: &str, target: &Target) -> Result<User> {
    let maps = Maps::of(target.pid).map_err(|error| Error::io("read the maps of the sandbox", &error))?;
    let contains = |uid, gid| maps.contain(uid, gid);
    let inside = Inside { contains: &contains, are_many: maps.are_many() };
    let user = User::find_among(text, &inside, &Root::Directory(format!("/proc/{}/root", target.pid).into()));
    // Who has ended since has no root, or another has its number.
    if target.has_ended() { Err(target.unless_ended(Error::os("find the user", Errno::ESRCH))) } else { user }
}

/// That of the first command, with what is said here.
fn environment(first: Strings<'_>, user: &[Vec<u8>], exec: &Exec, has_terminal: bool) -> Result<Vec<u8>> {
    let mut entries: Vec<Vec<u8>> = first.iter().map(|entry| entry[..entry.len() - 1].to_vec()).collect();
    entries.retain(|entry| !OF_ONE.contains(&name_of(entry)));
    let mut set = |entry: Vec<u8>| {
        entries.retain(|other| name_of(other) != name_of(&entry));
        entries.push(entry);
    };
    let callers = |name: &OsStr| std::env::var_os(name).map(|value| [name.as_bytes(), b"=", value.as_bytes()].concat());
    if has_terminal {
        callers(OsStr::new("TERM")).into_iter().for_each(&mut set);
    }
    user.iter().cloned().for_each(&mut set);
    for entry in &exec.env {
        match entry.as_bytes() {
            [] | [b'=', ..] => {
                let step = format!("set the environment variable {}", entry.display());
                return Err(Error::new(step, "it has no name"));
            }
            bytes if bytes.contains(&b'=') => set(bytes.to_vec()),
            // The caller's, which may not have it.
            _ => callers(entry).into_iter().for_each(&mut set),
        }
    }
    Ok(entries.into_iter().flat_map(|entry| [&entry[..], b"\0"].concat()).collect())
}

fn name_of(entry: &[u8]) -> &[u8] {
    entry.split(|byte| *byte == b'=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(first: &str, user: &[&str], given: &[&str], has_terminal: bool) -> String {
        let exec = Exec {
            interactive: false,
            tty: false,
            no_tty: false,
            user: None,
            workdir: None,
            env: given.iter().map(Into::into).collect(),
            check: false,
            log_level: crate::cli::LogLevel::Warn,
            name: "web".to_owned(),
            command: vec!["true".into()],
        };
        let user: Vec<_> = user.iter().map(|entry| entry.as_bytes().to_vec()).collect();
        let first = first.replace(' ', "\0") + "\0";
        let env = environment(Strings::new(first.as_bytes()).unwrap(), &user, &exec, has_terminal).unwrap();
        String::from_utf8(env).unwrap().replace('\0', " ").trim().to_owned()
    }

    #[test]
    fn the_environment_is_that_of_the_first_command_with_changes() {
        assert_eq!(env("A=1 B=2=3", &[], &[], false), "A=1 B=2=3");
        assert_eq!(
            env("A=1 HOME=/root B=2", &["HOME=/home/ann"], &["A=", "C=x y"], false),
            "B=2 HOME=/home/ann A= C=x y"
        );
        assert_eq!(env("LISTEN_PID=1 LISTEN_FDS=2 LISTEN_FDNAMES=a B=1", &[], &[], false), "B=1");
        assert_eq!(env("A=1", &[], &["NSL_NO_SUCH_VARIABLE"], false), "A=1");
    }
}
