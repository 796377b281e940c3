//! Signals of the launcher: blocked from before clone3 on, then caught and handed to the init.
//!
//! Blocked first, so that none is lost between the clone and the handlers: it stays pending and arrives later.

use crate::cli::near;
use crate::error::{Error, Result};
use crate::sys;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nsl_shared::signal::SignalSet;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// What is handed on. The others keep their defaults: they report faults of nsl's own, or can't be caught.
const FORWARDED: [i32; 9] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGTSTP];

/// The signal that the value of an option names.
pub fn named(option: &str, text: &str) -> Result<nsl_shared::signal::Signal> {
    use nsl_shared::signal::{MAX, Signal};
    Signal::parse(text.as_bytes()).ok_or_else(|| {
        let cause = format!("there is no signal '{}'", text.escape_debug());
        let mut names =
            (1..=MAX).filter_map(Signal::new).filter_map(|signal| std::str::from_utf8(signal.name().0).ok());
        let upper = text.to_ascii_uppercase();
        let word = upper.strip_prefix("SIG").unwrap_or(&upper);
        Error::new(format!("use {option}"), cause).hint(near::hint(word, &mut names, "such as HUP, TERM or RTMIN+3"))
    })
}

/// Every signal blocked; the mask of the caller is kept.
pub struct Blocked {
    before: SigSet,
}

impl Blocked {
    pub fn new() -> Result<Self> {
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))
            .map_err(|errno| Error::os("block signals", errno))?;
        sys::set_dispositions();
        Ok(Self { before })
    }

    /// The caller's mask, which the command gets.
    pub fn mask(&self) -> SignalSet {
        SignalSet(sys::bits_of(self.before.as_ref()))
    }

    /// Lets in what has been waiting, where `signals` catches what is to be forwarded; from now on, if none does yet.
    pub fn let_in(self, signals: &mut Option<Signals>) -> Result<&mut Signals> {
        Ok(match signals {
            Some(signals) => {
                signals.let_in()?;
                signals
            }
            none => none.insert(self.catch()?),
        })
    }

    /// Starts to catch what is to be forwarded, and lets in what has been waiting.
    pub fn catch(self) -> Result<Signals> {
        let failed = |error: std::io::Error| Error::io("catch signals", &error);
        let (read, write) = UnixStream::pair().map_err(failed)?;
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, FORWARDED).map_err(failed)?;
        let signals = Signals { delivery, before: self.before };
        signals.let_in()?;
        Ok(signals)
    }
}

/// Signals as they arrive.
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    before: SigSet,
}

impl Signals {
    /// Holds them back, for a clone.
    pub fn block(&self) -> Result<Blocked> {
        Blocked::new().map(|_| Blocked { before: self.before })
    }

    /// Lets them in again.
    pub fn let_in(&self) -> Result<()> {
        let mut mask = self.before;
        for signal in FORWARDED.into_iter().filter_map(|number| Signal::try_from(number).ok()) {
            mask.remove(signal);
        }
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask), None).map_err(|errno| Error::os("unblock signals", errno))
    }

    /// Readable when a signal has arrived.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }

    /// The signals that have arrived since the last call, each once.
    pub fn pending(&mut self) -> Vec<i32> {
        self.delivery.pending().collect()
    }
}

/// Stops nsl itself until SIGCONT, as SIGTSTP does with a process that does not catch it; without a shell that could
/// continue it (in an orphaned process group, setpgid(2)), the kernel leaves it running.
pub fn stop_self() {
    sys::with_default_stop(|| {
        let _ = signal_hook::low_level::raise(SIGTSTP);
    });
}
