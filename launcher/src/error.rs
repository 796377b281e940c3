//! The one error type: a step that could not be taken, its cause, a hint where the cause misleads, an exit code.
//!
//! Errors are returned, never logged on the way; `main` alone prints them.

use nix::errno::Errno;
use nsl_shared::exit;
use std::borrow::Cow;
use std::fmt;
use std::io::ErrorKind;

pub type Result<T> = std::result::Result<T, Error>;

/// "cannot <step>: <cause> (hint: <hint>)", and the exit code that goes with it.
#[derive(Debug)]
pub struct Error {
    step: Cow<'static, str>,
    cause: Cow<'static, str>,
    errno: Option<Errno>,
    hint: Option<Cow<'static, str>>,
    code: u8,
}

impl Error {
    /// `step` completes "cannot …", `cause` says why.
    pub fn new(step: impl Into<Cow<'static, str>>, cause: impl Into<Cow<'static, str>>) -> Self {
        Self { step: step.into(), cause: cause.into(), errno: None, hint: None, code: exit::NSL_FAILED }
    }

    /// A step that failed with an errno.
    pub fn os(step: impl Into<Cow<'static, str>>, errno: Errno) -> Self {
        Self { errno: Some(errno), ..Self::new(step, errno.desc()) }
    }

    /// A step that failed with an error of the standard library's I/O.
    pub fn io(step: impl Into<Cow<'static, str>>, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::os(step, Errno::from_raw(errno)),
            None => Self::new(step, error.to_string()),
        }
    }

    /// In plainer words than those of the errno.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<Cow<'static, str>>) -> Self {
        self.cause = cause.into();
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// What could not be done.
    pub fn step(&self) -> &str {
        &self.step
    }

    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }

    pub fn exit_code(&self) -> u8 {
        self.code
    }
}

/// What came of writing to stdout. A reader who has seen enough, as `head` has, is no failure.
pub fn told(printed: std::io::Result<()>) -> Result<()> {
    match printed {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Error::io("write to stdout", &error)),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.step, self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
