//! The boot message, and the words that the two programs exchange on the status socket.
//!
//! ```text
//!   nsl                                   its child                            the command
//!    │ clone3 ─────────────────────────────▶│ every signal blocked
//!    │◀──────────── Report::Netlink (+ fd) ─│ a netlink socket, opened in the new network namespace
//!    │ makes the network ┐                  │ assembles the root
//!    │                   │◀─ Terminal (+ fd)│ the master of the pty, if there is one
//!    │                   │                  │ execveat(nsl-init) with BOOT_FD, STATUS_FD
//!    │                   │                  │ reads the boot message: /proc, lo, old root, names
//!    │ Order::Go ────────┴─────────────────▶│ (end of file here: nsl is gone, so the init ends)
//!    │                                      │ starts the command ─────────────▶ execve
//!    │◀─────── Report::Started or ::Failed ─│
//!    │ signals, by its pidfd ──────────────▶│ forwards ───────────────────────▶
//!    │◀──────────────────── Report::Stopped │◀──────────────────────────────── stopped by SIGTSTP …
//!    │◀─────── Exited, if something is left │◀──────────────────────────────── ended
//!    │                                      │ ends what is left, reaps, exits with the same status
//! ```
//!
//! The message itself is a sealed file: a header of 16 bytes, then records of 8 bytes and a payload each, numbers
//! little-endian. Every record stands at most once; one that is not known is an error, because the init is
//! embedded in the launcher that speaks to it and the two are never of different versions.

use crate::signal::SignalSet;
use core::ffi::CStr;
use core::fmt;

/// The descriptor on which the init finds the boot message.
pub const BOOT_FD: i32 = 3;
/// The descriptor of the status socket (`SOCK_SEQPACKET`): reports to nsl, orders to the init.
pub const STATUS_FD: i32 = 4;
/// The option by which the init is told to read the boot message; nobody types it.
pub const BOOT_OPTION: &CStr = c"--boot";

const MAGIC: [u8; 8] = *b"nslboot\0";
const VERSION: u32 = 1;
const HEADER: usize = 16;
const RECORD: usize = 8;

/// What the init does before it starts the command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setup(pub u32);

impl Setup {
    /// Mount a procfs on /proc.
    pub const PROC: Self = Self(1);
    /// Bring the loopback device up.
    pub const LOOPBACK: Self = Self(1 << 1);
    /// Detach the old root, which the working directory refers to.
    pub const OLD_ROOT: Self = Self(1 << 2);
    /// Descriptor 0 is a terminal: make it the controlling one and put the command in its foreground.
    pub const TERMINAL: Self = Self(1 << 3);
    /// Where the working directory can't be entered, start in `/`.
    pub const ANY_WORKDIR: Self = Self(1 << 4);
    const ALL: u32 = (1 << 5) - 1;

    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Who the command runs as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
}

/// The contents of a boot message, borrowed from its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Boot<'a> {
    pub setup: Setup,
    /// The signal mask that the command gets: the caller's.
    pub mask: SignalSet,
    /// How long what is left may take to end after SIGTERM, in milliseconds.
    pub grace_ms: u32,
    /// Capabilities that the command may have at most, bit n for capability n (`capabilities(7)`).
    pub capabilities: u64,
    pub hostname: Option<&'a [u8]>,
    /// The command's working directory, one string.
    pub workdir: Strings<'a>,
    pub credentials: Option<Credentials>,
    /// The command's arguments, at least one.
    pub args: Strings<'a>,
    /// The command's environment, `NAME=value`.
    pub env: Strings<'a>,
}

/// Strings one behind the other, each ended by a NUL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Strings<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Strings<'a> {
    /// The `NUL`-ended strings that `bytes` consists of.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match bytes {
            [] | [.., 0] => Ok(Self { count: bytes.split_inclusive(|byte| *byte == 0).count(), bytes }),
            _ => Err(Malformed("strings without an end")),
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The strings, each with the NUL that ends it.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.bytes.split_inclusive(|byte| *byte == 0)
    }
}

/// Why bytes are no boot message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed boot message: {}", self.0)
    }
}

mod tag {
    pub const SETUP: u16 = 1;
    pub const MASK: u16 = 2;
    pub const GRACE: u16 = 3;
    pub const HOSTNAME: u16 = 4;
    pub const WORKDIR: u16 = 5;
    pub const CREDENTIALS: u16 = 6;
    pub const ARGS: u16 = 7;
    pub const ENV: u16 = 8;
    pub const CAPABILITIES: u16 = 9;
    pub const LAST: u16 = CAPABILITIES;
}

impl<'a> Boot<'a> {
    /// Hands the message's bytes to `sink`, piece by piece.
    pub fn encode<E>(&self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let credentials = self.credentials.map(|who| {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&who.uid.to_le_bytes());
            bytes[4..].copy_from_slice(&who.gid.to_le_bytes());
            bytes
        });
        let (setup, mask, grace, capabilities) = (
            self.setup.0.to_le_bytes(),
            self.mask.0.to_le_bytes(),
            self.grace_ms.to_le_bytes(),
            self.capabilities.to_le_bytes(),
        );
        let records: [(u16, Option<&[u8]>); tag::LAST as usize] = [
            (tag::SETUP, Some(&setup)),
            (tag::MASK, Some(&mask)),
            (tag::GRACE, Some(&grace)),
            (tag::HOSTNAME, self.hostname),
            (tag::WORKDIR, Some(self.workdir.bytes)),
            (tag::CREDENTIALS, credentials.as_ref().map(<[u8; 8]>::as_slice)),
            (tag::ARGS, Some(self.args.bytes)),
            (tag::ENV, Some(self.env.bytes)),
            (tag::CAPABILITIES, Some(&capabilities)),
        ];
        let total = records.iter().filter_map(|(_, payload)| *payload).fold(HEADER, |sum, p| sum + RECORD + p.len());
        sink(&MAGIC)?;
        sink(&VERSION.to_le_bytes())?;
        sink(&(total as u32).to_le_bytes())?;
        for (tag, payload) in records {
            if let Some(payload) = payload {
                sink(&(tag as u32).to_le_bytes())?;
                sink(&(payload.len() as u32).to_le_bytes())?;
                sink(payload)?;
            }
        }
        Ok(())
    }

    /// Reads a message that fills `bytes` exactly.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, mut rest) = bytes.split_at_checked(HEADER).ok_or(Malformed("it is too short"))?;
        if header[..8] != MAGIC {
            return Err(Malformed("it does not start as one"));
        }
        if number(&header[8..12])? != u64::from(VERSION) {
            return Err(Malformed("it is of another version"));
        }
        if number(&header[12..])? != bytes.len() as u64 {
            return Err(Malformed("its length is wrong"));
        }
        let mut fields: [Option<&[u8]>; tag::LAST as usize + 1] = [None; tag::LAST as usize + 1];
        while !rest.is_empty() {
            let (record, behind) = rest.split_at_checked(RECORD).ok_or(Malformed("a record is cut off"))?;
            let (tag, length) = (number(&record[..4])?, number(&record[4..])?);
            let (payload, behind) =
                behind.split_at_checked(length as usize).ok_or(Malformed("a record is longer than the message"))?;
            match fields.get_mut(tag as usize) {
                Some(field @ None) if tag != 0 => *field = Some(payload),
                Some(Some(_)) => return Err(Malformed("a record stands twice")),
                _ => return Err(Malformed("a record is unknown")),
            }
            rest = behind;
        }
        Self::from_fields(|tag| fields[tag as usize])
    }

    fn from_fields(field: impl Fn(u16) -> Option<&'a [u8]>) -> Result<Self, Malformed> {
        let needed = |tag| field(tag).ok_or(Malformed("a record is missing"));
        let fixed = |tag, length| match needed(tag)? {
            payload if payload.len() == length => number(payload),
            _ => Err(Malformed("a number has a wrong length")),
        };
        let setup = fixed(tag::SETUP, 4)? as u32;
        if setup & !Setup::ALL != 0 {
            return Err(Malformed("a set-up step is unknown"));
        }
        let credentials = match field(tag::CREDENTIALS) {
            None => None,
            Some(who) if who.len() == 8 => {
                Some(Credentials { uid: number(&who[..4])? as u32, gid: number(&who[4..])? as u32 })
            }
            Some(_) => return Err(Malformed("the credentials have a wrong length")),
        };
        let args = Strings::new(needed(tag::ARGS)?)?;
        if args.is_empty() {
            return Err(Malformed("there is no command"));
        }
        let workdir = Strings::new(needed(tag::WORKDIR)?)?;
        if workdir.len() != 1 {
            return Err(Malformed("the working directory is no path"));
        }
        Ok(Self {
            setup: Setup(setup),
            mask: SignalSet(fixed(tag::MASK, 8)?),
            grace_ms: fixed(tag::GRACE, 4)? as u32,
            capabilities: fixed(tag::CAPABILITIES, 8)?,
            hostname: field(tag::HOSTNAME),
            workdir,
            credentials,
            args,
            env: Strings::new(needed(tag::ENV)?)?,
        })
    }
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> Result<u64, Malformed> {
    let mut wide = [0; 8];
    wide.get_mut(..bytes.len()).ok_or(Malformed("a number is too long"))?.copy_from_slice(bytes);
    Ok(u64::from_le_bytes(wide))
}

/// A step of the init that can fail before the command runs. `Display` gives the words that complete "cannot …"
/// and that `--dry-run` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum InitStep {
    ReadBootMessage = 1,
    MountProc,
    RaiseLoopback,
    DetachOldRoot,
    SetHostname,
    SetTerminal,
    SetCapabilities,
    SetCredentials,
    EnterWorkdir,
    Fork,
    Execute,
    /// The command is there, but not what its first line or ELF header names.
    ExecuteInterpreter,
}

impl InitStep {
    const ALL: [Self; 12] = [
        Self::ReadBootMessage,
        Self::MountProc,
        Self::RaiseLoopback,
        Self::DetachOldRoot,
        Self::SetHostname,
        Self::SetTerminal,
        Self::SetCapabilities,
        Self::SetCredentials,
        Self::EnterWorkdir,
        Self::Fork,
        Self::Execute,
        Self::ExecuteInterpreter,
    ];

    fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u16 == number)
    }
}

impl fmt::Display for InitStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadBootMessage => "read the boot message",
            Self::MountProc => "mount proc on /proc",
            Self::RaiseLoopback => "bring lo up",
            Self::DetachOldRoot => "detach the old root",
            Self::SetHostname => "set the hostname",
            Self::SetTerminal => "make the pty the controlling terminal",
            Self::SetCapabilities => "limit the capabilities",
            Self::SetCredentials => "change the user and group",
            Self::EnterWorkdir => "change the working directory",
            Self::Fork => "start a process for the command",
            Self::Execute => "execute the command",
            Self::ExecuteInterpreter => "execute the interpreter of the command",
        })
    }
}

/// What the child of nsl, later the init, tells nsl on the status socket. Each report is one packet of
/// [`Report::SIZE`] bytes; `Netlink` and `Terminal` carry a descriptor (`SCM_RIGHTS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// Here is a netlink socket of the new network namespace.
    Netlink,
    /// Here is the master of the sandbox's pty.
    Terminal,
    /// Step `step` of the plan's child side failed.
    ChildFailed { step: u16, errno: i32 },
    /// A step of the init failed.
    InitFailed { step: InitStep, errno: i32 },
    /// The command runs.
    Started,
    /// The command was stopped by this signal.
    Stopped { signal: i32 },
    /// The command ended with this exit code; what it left behind is being ended.
    Exited { code: u8 },
}

impl Report {
    /// Bytes in a report: kind, step, value.
    pub const SIZE: usize = 8;

    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        let (kind, step, value) = match self {
            Self::Netlink => (1_u16, 0, 0),
            Self::Terminal => (2, 0, 0),
            Self::ChildFailed { step, errno } => (3, step, errno),
            Self::InitFailed { step, errno } => (4, step as u16, errno),
            Self::Started => (5, 0, 0),
            Self::Stopped { signal } => (6, 0, signal),
            Self::Exited { code } => (7, 0, i32::from(code)),
        };
        let ([k0, k1], [s0, s1], [v0, v1, v2, v3]) = (kind.to_le_bytes(), step.to_le_bytes(), value.to_le_bytes());
        [k0, k1, s0, s1, v0, v1, v2, v3]
    }

    /// The report that `bytes` are, or nothing.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [k0, k1, s0, s1, v0, v1, v2, v3] = *<&[u8; Self::SIZE]>::try_from(bytes).ok()?;
        let (step, value) = (u16::from_le_bytes([s0, s1]), i32::from_le_bytes([v0, v1, v2, v3]));
        Some(match u16::from_le_bytes([k0, k1]) {
            1 => Self::Netlink,
            2 => Self::Terminal,
            3 => Self::ChildFailed { step, errno: value },
            4 => Self::InitFailed { step: InitStep::from_number(step)?, errno: value },
            5 => Self::Started,
            6 => Self::Stopped { signal: value },
            7 => Self::Exited { code: u8::try_from(value).ok()? },
            _ => return None,
        })
    }
}

/// The one order that nsl gives on the status socket: the network is ready, start the command.
pub const GO: [u8; 1] = *b"g";
