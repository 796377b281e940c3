//! Who the command runs as. Names are those of the root's own /etc/passwd and /etc/group, read by hand: the C library
//! would look into the host's, and a root may be hostile.

use crate::confined;
use crate::error::{Error, Result};
use crate::spec::{Caller, Root};
use crate::userns::Identities;
use nix::errno::Errno;
use nsl_shared::boot::Credentials;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Bytes that a file may have: some 200 000 users.
const LONGEST: u64 = 16 << 20;
/// Groups that a process may have (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65536;

/// A user, as far as anything was asked about him.
#[derive(Debug)]
pub struct User {
    pub credentials: Credentials,
    /// Supplementary groups, of one found by name.
    pub groups: Vec<u32>,
    /// The variables that a login would set, `NAME=VALUE`, of one found by name.
    pub variables: Vec<Vec<u8>>,
}

/// A line of /etc/passwd.
struct Account {
    uid: u32,
    gid: u32,
    home: Vec<u8>,
}

/// Who exists where a user is looked up.
pub struct Inside<'a> {
    /// This user, and this group.
    pub contains: &'a dyn Fn(u32, u32) -> bool,
    /// More than one.
    pub are_many: bool,
}

impl User {
    /// Is a name to be looked up?
    pub fn is_named(text: &str) -> bool {
        !text.split(':').all(is_number)
    }

    /// The user of `-u` in a sandbox that is to be made.
    pub fn find(text: &str, caller: Caller, identities: &Identities, root: &Root) -> Result<Self> {
        let contains = |uid, gid| identities.contain(caller, uid, gid);
        Self::find_among(text, &Inside { contains: &contains, are_many: identities.are_many() }, root)
    }

    /// `USER[:GROUP]`, each a number or a name. A number is one, whatever the files call so.
    pub fn find_among(text: &str, inside: &Inside<'_>, root: &Root) -> Result<Self> {
        let step = || format!("run as user {text}");
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
            return Err(Error::new(step(), "it is not USER or USER:GROUP").hint("such as 1000:1000 or nobody"));
        }
        let files = Files { root, step: &step };
        let account = if is_number(user) { None } else { Some(files.account(user)?) };
        let uid = account.as_ref().map_or_else(|| number(user, step), |account| Ok(account.uid))?;
        let gid = match (group, &account) {
            (Some(group), _) if is_number(group) => number(group, step)?,
            (Some(group), _) => files.group(group)?,
            (None, Some(account)) => account.gid,
            (None, None) => uid,
        };
        if !(inside.contains)(uid, gid) {
            return Err(if inside.are_many {
                Error::new(step(), "it does not exist inside").hint("--userns auto:SIZE tells how many do")
            } else {
                Error::os(step(), Errno::EPERM)
                    .hint("without root only your own user exists inside, unless there are more by --userns auto")
            });
        }
        // As docker has it: a group that is given is the only one. With one identity there are none to be given.
        let groups = match (&account, group) {
            (Some(account), None) if inside.are_many => {
                let mut groups = files.groups_of(user, account.gid)?;
                groups.retain(|group| (inside.contains)(uid, *group));
                groups
            }
            _ => Vec::new(),
        };
        let variables = account.map(|account| variables(user, &account.home)).unwrap_or_default();
        Ok(Self { credentials: Credentials { uid, gid }, groups, variables })
    }
}

fn variables(name: &str, home: &[u8]) -> Vec<Vec<u8>> {
    let home = if home.is_empty() { b"/" } else { home };
    vec![[b"HOME=", home].concat(), format!("USER={name}").into_bytes(), format!("LOGNAME={name}").into_bytes()]
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &str, step: impl Fn() -> String) -> Result<u32> {
    // The highest stands for none at all.
    let number = text.parse().ok().filter(|number| *number != u32::MAX);
    number.ok_or_else(|| Error::new(step(), format!("{text} is higher than any number of a user or group")))
}

/// The files of a root.
struct Files<'a> {
    root: &'a Root,
    step: &'a dyn Fn() -> String,
}

impl Files<'_> {
    fn account(&self, name: &str) -> Result<Account> {
        let text = self.read("etc/passwd")?;
        let found = entry(&text, name).ok_or_else(|| self.unknown("/etc/passwd", "user", name))?;
        let [_, _, uid, gid, _, home, ..] = found[..] else { return Err(self.malformed("/etc/passwd", name)) };
        match (id(uid), id(gid), home.contains(&0)) {
            (Some(uid), Some(gid), false) => Ok(Account { uid, gid, home: home.to_owned() }),
            _ => Err(self.malformed("/etc/passwd", name)),
        }
    }

    fn group(&self, name: &str) -> Result<u32> {
        let text = self.read("etc/group")?;
        let found = entry(&text, name).ok_or_else(|| self.unknown("/etc/group", "group", name))?;
        found.get(2).and_then(|gid| id(gid)).ok_or_else(|| self.malformed("/etc/group", name))
    }

    /// All groups of a user, his own first; without the file that is the only one.
    fn groups_of(&self, name: &str, own: u32) -> Result<Vec<u32>> {
        let text = match self.read("etc/group") {
            Err(error) if error.errno() == Some(Errno::ENOENT) => Vec::new(),
            text => text?,
        };
        let is_member = |members: &&[u8]| members.split(|byte| *byte == b',').any(|member| member == name.as_bytes());
        let mut groups = vec![own];
        for line in text.split(|byte| *byte == b'\n') {
            let fields: Vec<_> = line.split(|byte| *byte == b':').collect();
            if let [_, _, gid, members] = fields[..]
                && is_member(&members)
            {
                groups.extend(id(gid));
            }
        }
        groups[1..].sort_unstable();
        groups.dedup();
        if groups.len() > GROUPS_MAX {
            return Err(Error::new((self.step)(), "he is in more groups than the kernel takes"));
        }
        Ok(groups)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        let root = match self.root {
            Root::Host => Path::new("/"),
            Root::Directory(path) | Root::Layer(path) => path,
            Root::Unpacked(source) => source.path(),
            Root::Empty => {
                let cause = format!("an empty root has no /{path}");
                return Err(Error::new((self.step)(), cause).hint("give numbers: -u UID:GID"));
            }
        };
        let failed = |error: &std::io::Error| {
            let error = Error::io(format!("read /{path} of the root to {}", (self.step)()), error);
            if error.errno() == Some(Errno::ENOENT) { error.hint("give numbers: -u UID:GID") } else { error }
        };
        let file = open(root, path).map_err(|errno| failed(&errno.into()))?;
        let mut text = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut text).map_err(|error| failed(&error))?;
        if text.len() as u64 > LONGEST {
            return Err(Error::new((self.step)(), format!("/{path} of the root is longer than 16 MiB")));
        }
        Ok(text)
    }

    fn unknown(&self, file: &str, kind: &str, name: &str) -> Error {
        Error::new((self.step)(), format!("the root's {file} has no {kind} {name}"))
            .hint("it is that of the root inside; a number needs no entry")
    }

    fn malformed(&self, file: &str, name: &str) -> Error {
        Error::new((self.step)(), format!("the line of {name} in the root's {file} is malformed"))
    }
}

/// The fields of the line that begins with `name`.
fn entry<'a>(text: &'a [u8], name: &str) -> Option<Vec<&'a [u8]>> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b":")))?;
    Some(line.split(|byte| *byte == b':').collect())
}

fn id(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok().filter(|text| is_number(text))?.parse().ok().filter(|id| *id != u32::MAX)
}

/// Opens a regular file below `root`, whatever links lead to: none leads out, and nothing but a file is opened.
fn open(root: &Path, path: &str) -> rustix::io::Result<File> {
    let root = rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let found = confined::open(&root, Path::new(path), OFlags::PATH, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) != FileType::RegularFile {
        return Err(rustix::io::Errno::INVAL);
    }
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(format!("/proc/self/fd/{}", found.as_raw_fd()), flags, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    const ROOT: Caller = Caller { uid: 0, gid: 0, privileged: true };
    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\nann:x:1001:1002:Ann:/home/ann:/bin/sh\nann:x:7:7::/:\n\
        lost:x:5:6:::\n7:x:70:70::/:\nbad:x:-1:0::/:\nshort:x\nmax:x:4294967295:0::/:\nnul:x:1:1::/\0:\n";
    const GROUP: &str =
        "audio:x:29:bob,ann\nann:x:1002:\nvideo:x:44:ann\nbad:x:y:ann\nannex:x:9:anna,annex\nagain:x:29:ann\n";

    /// A root with these files, removed at the end of the test.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("nsl-user-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("etc")).unwrap();
            fs::write(path.join("etc/passwd"), PASSWD).unwrap();
            fs::write(path.join("etc/group"), GROUP).unwrap();
            Self(path)
        }

        fn find(&self, text: &str) -> Result<User> {
            User::find(text, ROOT, &Identities::Host, &Root::Directory(self.0.clone()))
        }

        fn refusal(&self, text: &str) -> String {
            self.find(text).unwrap_err().to_string()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn names_are_those_of_the_root() {
        let root = Directory::new("names");
        let ann = root.find("ann").unwrap();
        assert_eq!((ann.credentials, ann.groups), (Credentials { uid: 1001, gid: 1002 }, vec![1002, 29, 44]));
        assert_eq!(ann.variables, [&b"HOME=/home/ann"[..], b"USER=ann", b"LOGNAME=ann"]);
        let ids =
            |text: &str| root.find(text).map(|user| (user.credentials.uid, user.credentials.gid, user.groups)).unwrap();
        assert_eq!(ids("ann:audio"), (1001, 29, vec![]));
        assert_eq!(ids("ann:3"), (1001, 3, vec![]));
        assert_eq!(ids("5:video"), (5, 44, vec![]));
        // A number is a number.
        assert_eq!(ids("7"), (7, 7, vec![]));
        assert_eq!(root.find("lost").unwrap().variables[0], b"HOME=/");
    }

    #[test]
    fn what_is_not_there_or_makes_no_sense_is_refused() {
        let root = Directory::new("refusals");
        assert!(root.refusal("an").contains("/etc/passwd has no user an"));
        assert!(root.refusal("ann:aud").contains("/etc/group has no group aud"));
        for malformed in ["bad", "short", "max", "nul", "ann:bad"] {
            assert!(root.refusal(malformed).contains("malformed"), "{malformed}");
        }
        for text in ["", ":", "ann:", ":5", ":ann"] {
            assert!(root.refusal(text).contains("USER:GROUP"), "{text}");
        }
        for text in ["4294967295", "1:4294967295", "99999999999"] {
            assert!(root.refusal(text).contains("higher than"), "{text}");
        }
        for text in ["-1", "1x", " 5", "ann:audio:x", "\n"] {
            assert!(!root.refusal(text).is_empty(), "{text}");
        }
        assert!(
            User::find("ann", ROOT, &Identities::Host, &Root::Empty).unwrap_err().to_string().contains("empty root")
        );
    }
}
