//! The boot message, and the words that the two programs exchange on the status socket.
//!
//! ```text
//!   nsl                                   its child                            the command
//!    │ clone3 ─────────────────────────────▶│ every signal blocked
//!    │ NETWORK (+ fd) ─────────────────────▶│ the network namespace, which it enters late; where that is its
//!    │◀──────────── Report::Netlink (+ fd) ─│ own from the start instead: a netlink socket, opened in it
//!    │ TREE (+ fd) …, MAPPED ──────────────▶│ only where it waits for its ids
//!    │ makes the network ┐                  │ assembles the root
//!    │                   │◀─── Hosts (+ fd) │ its /etc/hosts, if that is to be kept current
//!    │                   │◀─ Terminal (+ fd)│ the master of the pty, if there is one
//!    │                   │                  │ execveat(nsl-init) with BOOT_FD, STATUS_FD
//!    │                   │                  │ reads the boot message: /proc, lo, old root, names
//!    │                   │◀─────────── Ready│ only where its time is measured
//!    │ Order::Go ────────┴─────────────────▶│ (end of file here: nsl is gone, so the init ends)
//!    │                                      │ starts the command ─────────────▶ execve
//!    │◀─────── Report::Started or ::Failed ─│
//!    │ signals, by its pidfd ──────────────▶│ forwards ───────────────────────▶
//!    │◀──────────────────── Report::Stopped │◀──────────────────────────────── stopped by SIGTSTP …
//!    │◀─────── Exited, if something is left │◀──────────────────────────────── ended
//!    │                                      │ ends what is left, reaps, exits with the same status
//! ```
//!
//! The message itself is a sealed file: a header of little-endian words of 32 bits, then the parts that `Boot` lists
//! behind its numbers, whose lengths end the header. There are no versions: the init is embedded in the launcher that
//! speaks to it.

use crate::signal::SignalSet;
use core::ffi::CStr;
use core::fmt;

/// The descriptor on which the init finds the boot message.
pub const BOOT_FD: i32 = 3;
/// The descriptor of the status socket (`SOCK_SEQPACKET`): reports to nsl, orders to the init.
pub const STATUS_FD: i32 = 4;
/// The option by which the init is told to read the boot message; nobody types it.
pub const BOOT_OPTION: &CStr = c"--boot";

/// The descriptor of a Landlock ruleset, where there is one.
pub const LANDLOCK_FD: i32 = 5;
/// With [`Setup::PROC`]: the procfs that is mounted on /proc.
pub const PROC_FD: i32 = 6;
/// From this one on lie the descriptors that the command gets as 3 and up.
pub const KEPT_FD: i32 = 7;

/// `nslboot` and a NUL, as words.
const MAGIC: [u32; 2] = [u32::from_le_bytes(*b"nslb"), u32::from_le_bytes(*b"oot\0")];
/// Words in front of the lengths, and parts.
const WORDS: usize = 14;
const PARTS: usize = 9;
/// Bytes of the header.
pub const HEADER: usize = (WORDS + PARTS) * 4;
/// Bytes of an entry of `Boot::limits`, and of `Boot::filter`.
pub const LIMIT: usize = 24;
pub const INSTRUCTION: usize = 8;

/// What the init does before it starts the command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setup(pub u32);

impl Setup {
    /// Hide and protect parts of the procfs, which is the one on [`PROC_FD`].
    pub const PROC: Self = Self(1);
    /// Bring the loopback device up.
    pub const LOOPBACK: Self = Self(1 << 1);
    /// Detach the old root, which the working directory refers to.
    pub const OLD_ROOT: Self = Self(1 << 2);
    /// Descriptor 0 is a terminal: make it the controlling one and put the command in its foreground.
    pub const TERMINAL: Self = Self(1 << 3);
    /// Where the working directory can't be entered, start in `/`.
    pub const ANY_WORKDIR: Self = Self(1 << 4);
    /// The command gains no privileges by an exec (`PR_SET_NO_NEW_PRIVS`).
    pub const NO_NEW_PRIVS: Self = Self(1 << 5);
    /// The ruleset on [`LANDLOCK_FD`] restricts the command.
    pub const LANDLOCK: Self = Self(1 << 6);
    /// Run the command as another user.
    pub const CREDENTIALS: Self = Self(1 << 7);
    /// Report the command's end even if nothing is left of it.
    pub const TELL_END: Self = Self(1 << 8);
    /// The command joins a sandbox that runs already: nsl-init is no PID 1, but stands outside of the PID namespace that
    /// its children are born in, and watches over that one command.
    pub const JOINED: Self = Self(1 << 9);
    /// Report when all is done but the command's start.
    pub const TELL_READY: Self = Self(1 << 10);
    /// Every bit that has a meaning.
    pub const ALL: Self = Self((1 << 11) - 1);

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

/// The contents of a boot message, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Boot<'a> {
    pub setup: Setup,
    /// The signal mask that the command gets: the caller's.
    pub mask: SignalSet,
    /// How long what is left may take to end after `stop_signal`, in milliseconds.
    pub grace_ms: u32,
    /// The number of the signal that asks what is left to end; 0 is SIGTERM.
    pub stop_signal: u32,
    /// Capabilities that the command may have at most, bit n for capability n (`capabilities(7)`).
    pub capabilities: u64,
    /// Those of them that it has even as an ordinary user.
    pub ambient: u64,
    /// With [`Setup::CREDENTIALS`]: who the command runs as.
    pub credentials: Credentials,
    /// How many descriptors lie at [`KEPT_FD`].
    pub kept: u32,
    /// The hostname; empty, it stays as it is.
    pub hostname: &'a [u8],
    /// The command's working directory, one string.
    pub workdir: Strings<'a>,
    /// The command's arguments, at least one.
    pub args: Strings<'a>,
    /// The command's environment, `NAME=value`.
    pub env: Strings<'a>,
    /// Paths that are hidden, relative to /proc or absolute.
    pub masked: Strings<'a>,
    /// Paths that become read-only, relative to /proc.
    pub read_only: Strings<'a>,
    /// Supplementary groups, each a `u32` of this machine.
    pub groups: &'a [u8],
    /// Resource limits, each three `u64` of this machine: resource, soft limit, hard limit (`prlimit(2)`).
    pub limits: &'a [u8],
    /// A seccomp filter, each instruction a `struct sock_filter` (`seccomp(2)`); empty for none.
    pub filter: &'a [u8],
}

/// Strings one behind the other, each ended by a NUL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Strings<'a> {
    bytes: &'a [u8],
}

impl<'a> Strings<'a> {
    /// None at all.
    pub const NONE: Self = Self { bytes: &[] };

    /// The `NUL`-ended strings that `bytes` consists of.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if Self::are_whole(bytes) { Ok(Self { bytes }) } else { Err(Malformed) }
    }

    fn are_whole(bytes: &[u8]) -> bool {
        bytes.last().is_none_or(|byte| *byte == 0)
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

impl Boot<'_> {
    /// Hands the message's bytes to `sink`, piece by piece.
    pub fn encode<E>(&self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let parts: [&[u8]; PARTS] = [
            self.hostname,
            self.workdir.bytes,
            self.args.bytes,
            self.env.bytes,
            self.masked.bytes,
            self.read_only.bytes,
            self.groups,
            self.limits,
            self.filter,
        ];
        let words: [u32; WORDS] = [
            MAGIC[0],
            MAGIC[1],
            self.mask.0 as u32,
            (self.mask.0 >> 32) as u32,
            self.capabilities as u32,
            (self.capabilities >> 32) as u32,
            self.ambient as u32,
            (self.ambient >> 32) as u32,
            self.setup.0,
            self.grace_ms,
            self.stop_signal,
            self.credentials.uid,
            self.credentials.gid,
            self.kept,
        ];
        for word in words.into_iter().chain(parts.map(|part| part.len() as u32)) {
            sink(&word.to_le_bytes())?;
        }
        parts.into_iter().try_for_each(sink)
    }
}

/// A boot message as it was received: what is asked for is read from its bytes, so that the init copies nothing.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    words: &'a [[u8; 4]; WORDS + PARTS],
    parts: [&'a [u8]; PARTS],
}

impl<'a> Message<'a> {
    /// The message that fills `bytes` exactly.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, mut rest) = bytes.split_at_checked(HEADER).ok_or(Malformed)?;
        let words = header.as_chunks().0.first_chunk().ok_or(Malformed)?;
        let mut message = Self { words, parts: [&[]; PARTS] };
        for (part, length) in message.parts.iter_mut().zip(&words[WORDS..]) {
            (*part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(Malformed)?;
        }
        let [_, strings @ .., groups, limits, filter] = message.parts;
        let is_whole = message.word(0) == MAGIC[0]
            && message.word(1) == MAGIC[1]
            && message.setup().0 & !Setup::ALL.0 == 0
            && rest.is_empty()
            && strings.iter().all(|strings| Strings::are_whole(strings))
            && !message.workdir().bytes.is_empty()
            && !message.args().bytes.is_empty()
            && groups.len().is_multiple_of(size_of::<u32>())
            && limits.len().is_multiple_of(LIMIT)
            && filter.len().is_multiple_of(INSTRUCTION);
        if is_whole { Ok(message) } else { Err(Malformed) }
    }

    fn word(&self, index: usize) -> u32 {
        u32::from_le_bytes(self.words[index])
    }

    fn wide(&self, index: usize) -> u64 {
        u64::from(self.word(index + 1)) << 32 | u64::from(self.word(index))
    }

    #[must_use]
    pub fn mask(&self) -> SignalSet {
        SignalSet(self.wide(2))
    }

    #[must_use]
    pub fn capabilities(&self) -> u64 {
        self.wide(4)
    }

    #[must_use]
    pub fn ambient(&self) -> u64 {
        self.wide(6)
    }

    #[must_use]
    pub fn setup(&self) -> Setup {
        Setup(self.word(8))
    }

    #[must_use]
    pub fn grace_ms(&self) -> u32 {
        self.word(9)
    }

    #[must_use]
    pub fn stop_signal(&self) -> u32 {
        self.word(10)
    }

    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials { uid: self.word(11), gid: self.word(12) }
    }

    #[must_use]
    pub fn kept(&self) -> u32 {
        self.word(13)
    }

    #[must_use]
    pub fn hostname(&self) -> &'a [u8] {
        self.parts[0]
    }

    #[must_use]
    pub fn workdir(&self) -> Strings<'a> {
        Strings { bytes: self.parts[1] }
    }

    #[must_use]
    pub fn args(&self) -> Strings<'a> {
        Strings { bytes: self.parts[2] }
    }

    #[must_use]
    pub fn env(&self) -> Strings<'a> {
        Strings { bytes: self.parts[3] }
    }

    #[must_use]
    pub fn masked(&self) -> Strings<'a> {
        Strings { bytes: self.parts[4] }
    }

    #[must_use]
    pub fn read_only(&self) -> Strings<'a> {
        Strings { bytes: self.parts[5] }
    }

    #[must_use]
    pub fn groups(&self) -> &'a [u8] {
        self.parts[6]
    }

    #[must_use]
    pub fn limits(&self) -> &'a [[u8; LIMIT]] {
        self.parts[7].as_chunks().0
    }

    #[must_use]
    pub fn filter(&self) -> &'a [u8] {
        self.parts[8]
    }

    /// All of it.
    #[must_use]
    pub fn contents(&self) -> Boot<'a> {
        Boot {
            setup: self.setup(),
            mask: self.mask(),
            grace_ms: self.grace_ms(),
            stop_signal: self.stop_signal(),
            capabilities: self.capabilities(),
            ambient: self.ambient(),
            credentials: self.credentials(),
            kept: self.kept(),
            hostname: self.hostname(),
            workdir: self.workdir(),
            args: self.args(),
            env: self.env(),
            masked: self.masked(),
            read_only: self.read_only(),
            groups: self.groups(),
            limits: self.limits().as_flattened(),
            filter: self.filter(),
        }
    }
}

/// A step of the init that can fail before the command runs. `Display` gives the words that complete "cannot …"
/// and that `--dry-run` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum InitStep {
    ReadBootMessage = 1,
    RaiseLoopback,
    DetachOldRoot,
    SetHostname,
    SetTerminal,
    SetCapabilities,
    SetCredentials,
    EnterWorkdir,
    Fork,
    Execute,
    ProtectProc,
    SetLimits,
    KeepDescriptors,
    Restrict,
    /// The command is there, but not what its first line or ELF header names.
    ExecuteInterpreter,
}

impl InitStep {
    const ALL: [Self; 15] = [
        Self::ReadBootMessage,
        Self::RaiseLoopback,
        Self::DetachOldRoot,
        Self::SetHostname,
        Self::SetTerminal,
        Self::SetCapabilities,
        Self::SetCredentials,
        Self::EnterWorkdir,
        Self::Fork,
        Self::Execute,
        Self::ProtectProc,
        Self::SetLimits,
        Self::KeepDescriptors,
        Self::Restrict,
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
            Self::RaiseLoopback => "bring lo up",
            Self::DetachOldRoot => "detach the old root",
            Self::SetHostname => "set the hostname",
            Self::SetTerminal => "make the pty the controlling terminal",
            Self::SetCapabilities => "limit the capabilities",
            Self::SetCredentials => "change the user and group",
            Self::EnterWorkdir => "change the working directory",
            Self::Fork => "start a process for the command",
            Self::Execute => "execute the command",
            Self::ProtectProc => "hide and protect parts of /proc and /sys",
            Self::SetLimits => "set the resource limits",
            Self::KeepDescriptors => "hand on the descriptors",
            Self::Restrict => "load the seccomp filter and the Landlock rules",
            Self::ExecuteInterpreter => "execute the interpreter of the command",
        })
    }
}

/// What the child of nsl, later the init, tells nsl on the status socket. Each report is one packet of
/// [`Report::SIZE`] bytes; `Netlink`, `Terminal` and `Hosts` carry a descriptor (`SCM_RIGHTS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// Here is a netlink socket of the new network namespace.
    Netlink,
    /// Here is the master of the sandbox's pty.
    Terminal,
    /// Here is the sandbox's /etc/hosts to write to, or, without a descriptor, it can't be written to.
    Hosts,
    /// Step `step` of the plan's child side failed.
    ChildFailed { step: u16, errno: i32 },
    /// A step of the init failed.
    InitFailed { step: InitStep, errno: i32 },
    /// With [`Setup::TELL_READY`]: the init has set all up, and waits for the order to start the command.
    Ready,
    /// The command runs.
    Started,
    /// The command was stopped by this signal.
    Stopped { signal: i32 },
    /// The command goes on.
    Continued,
    /// The command ended with this exit code, by this signal if it is not 0; what it left behind is being ended.
    Exited { code: u8, signal: u8 },
}

impl Report {
    /// Bytes in a report: kind, step, value.
    pub const SIZE: usize = 8;

    /// Where it is known which report it is, no more than a number.
    #[expect(clippy::inline_always, reason = "it makes the init smaller")]
    #[inline(always)]
    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        let (kind, step, value) = match self {
            Self::Netlink => (1_u16, 0, 0),
            Self::Terminal => (2, 0, 0),
            Self::ChildFailed { step, errno } => (3, step, errno),
            Self::InitFailed { step, errno } => (4, step as u16, errno),
            Self::Started => (5, 0, 0),
            Self::Stopped { signal } => (6, 0, signal),
            Self::Exited { code, signal } => (7, signal.into(), i32::from(code)),
            Self::Continued => (8, 0, 0),
            Self::Hosts => (9, 0, 0),
            Self::Ready => (10, 0, 0),
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
            7 => Self::Exited { code: u8::try_from(value).ok()?, signal: u8::try_from(step).ok()? },
            8 => Self::Continued,
            9 => Self::Hosts,
            10 => Self::Ready,
            _ => return None,
        })
    }
}

/// The order that nsl gives the init on the status socket: the network is ready, start the command.
pub const GO: [u8; 1] = *b"g";
/// What nsl tells its child before, where that waits for its ids: a mount tree comes with this (`SCM_RIGHTS`) …
pub const TREE: u8 = b't';
/// … and the maps of users and groups are written.
pub const MAPPED: u8 = b'm';
/// Or, with this (`SCM_RIGHTS`): the network namespace that it is to enter.
pub const NETWORK: u8 = b'n';
