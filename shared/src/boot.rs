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
//! The message itself is a sealed file: a header of sixteen little-endian words of 32 bits, then the hostname, the
//! working directory, the arguments and the environment, whose lengths are in the header. There are no versions: the
//! init is embedded in the launcher that speaks to it.

use crate::signal::SignalSet;
use core::ffi::CStr;
use core::fmt;

/// The descriptor on which the init finds the boot message.
pub const BOOT_FD: i32 = 3;
/// The descriptor of the status socket (`SOCK_SEQPACKET`): reports to nsl, orders to the init.
pub const STATUS_FD: i32 = 4;
/// The option by which the init is told to read the boot message; nobody types it.
pub const BOOT_OPTION: &CStr = c"--boot";

/// `nslboot` and a NUL, as words.
const MAGIC: [u32; 2] = [u32::from_le_bytes(*b"nslb"), u32::from_le_bytes(*b"oot\0")];
const WORDS: usize = 16;
/// In the header's word of what is there: a hostname, credentials.
const HAS_HOSTNAME: u32 = 1;
const HAS_CREDENTIALS: u32 = 2;

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
            _ => Err(Malformed),
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

/// Bytes that are no boot message, or no part of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it would be malformed")
    }
}

impl<'a> Boot<'a> {
    /// Hands the message's bytes to `sink`, piece by piece.
    pub fn encode<E>(&self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let parts = [self.hostname.unwrap_or_default(), self.workdir.bytes, self.args.bytes, self.env.bytes];
        let who = self.credentials.unwrap_or(Credentials { uid: 0, gid: 0 });
        let has_hostname = if self.hostname.is_some() { HAS_HOSTNAME } else { 0 };
        let has_credentials = if self.credentials.is_some() { HAS_CREDENTIALS } else { 0 };
        let [hostname, workdir, args, env] = parts.map(|part| part.len() as u32);
        let words: [u32; WORDS] = [
            MAGIC[0],
            MAGIC[1],
            has_hostname | has_credentials,
            self.setup.0,
            self.mask.0 as u32,
            (self.mask.0 >> 32) as u32,
            self.capabilities as u32,
            (self.capabilities >> 32) as u32,
            self.grace_ms,
            who.uid,
            who.gid,
            0,
            hostname,
            workdir,
            args,
            env,
        ];
        for word in words {
            sink(&word.to_le_bytes())?;
        }
        parts.into_iter().try_for_each(sink)
    }

    /// Reads a message that fills `bytes` exactly.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, mut rest) = bytes.split_first_chunk::<{ WORDS * 4 }>().ok_or(Malformed)?;
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(header.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let [m0, m1, has, setup, mask0, mask1, cap0, cap1, grace_ms, uid, gid, zero, lengths @ ..] = words;
        if [m0, m1] != MAGIC {
            return Err(Malformed);
        }
        if has & !(HAS_HOSTNAME | HAS_CREDENTIALS) != 0 || setup & !Setup::ALL != 0 || zero != 0 {
            return Err(Malformed);
        }
        let mut parts = [&[][..]; 4];
        for (part, length) in parts.iter_mut().zip(lengths) {
            (*part, rest) = rest.split_at_checked(length as usize).ok_or(Malformed)?;
        }
        let [hostname, workdir, args, env] = parts;
        let (workdir, args, env) = (Strings::new(workdir)?, Strings::new(args)?, Strings::new(env)?);
        // What is not there has no contents.
        let is_whole = rest.is_empty()
            && workdir.len() == 1
            && !args.is_empty()
            && (has & HAS_HOSTNAME != 0 || hostname.is_empty())
            && (has & HAS_CREDENTIALS != 0 || [uid, gid] == [0, 0]);
        if !is_whole {
            return Err(Malformed);
        }
        Ok(Self {
            setup: Setup(setup),
            mask: SignalSet(u64::from(mask1) << 32 | u64::from(mask0)),
            grace_ms,
            capabilities: u64::from(cap1) << 32 | u64::from(cap0),
            hostname: (has & HAS_HOSTNAME != 0).then_some(hostname),
            workdir,
            credentials: (has & HAS_CREDENTIALS != 0).then_some(Credentials { uid, gid }),
            args,
            env,
        })
    }
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
