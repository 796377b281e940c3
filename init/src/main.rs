//! nsl-init, a minimal PID 1: blocks signals, sets up what it was told to, starts one command, then forwards,
//! reaps and ends in order. Under nsl it reads a boot message; alone it reads its command line.
#![cfg_attr(not(test), no_std, no_main)]

mod setup;
mod start;
mod supervise;
mod sys;

use nsl_init::cli::{self, Options, Parsed, Refused};
use nsl_init::errno;
use nsl_shared::boot::{self, InitStep, Report};
use nsl_shared::exit;
use nsl_shared::signal::{Signal, SignalSet};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use start::{Command, Terminal};
use supervise::{Forwarding, Supervisor};

const HELP: &[u8] = b"\
Usage: nsl-init [OPTIONS] [--] COMMAND [ARG]...
Run COMMAND as a child: forward signals to it, reap every orphan, end what it leaves behind, exit with its status.

  -g             forward signals to the process group of the command
  -s             become a child subreaper (done without asking when not PID 1)
  -p SIGNAL      get SIGNAL when the parent process ends
  -e CODE        exit with 0 when the command exits with CODE (repeatable)
  -w             warn about each orphan that is reaped
  -v             say more (repeatable)
  --grace TIME   what is left gets TIME to end after SIGTERM, then SIGKILL [default: 10s]
  -l             show the licence
  --version      show the version
  -h, --help     show this help
";
const VERSION: &[u8] = concat!("nsl-init ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();
const LICENSE: &[u8] = concat!("nsl-init is licensed under ", env!("CARGO_PKG_LICENSE"), "\n").as_bytes();

/// A step that failed, and why.
struct Failure {
    step: InitStep,
    errno: Errno,
}

impl Failure {
    /// For `map_err`: this step, with the errno that comes.
    fn at(step: InitStep) -> impl Fn(Errno) -> Self {
        move |errno| Self { step, errno }
    }
}

/// Where `_start` leads.
fn main(arguments: sys::Arguments) -> ! {
    // First of all: what arrives from here on waits, and is forwarded once the command runs.
    let mask = sys::set_signal_mask(SignalSet::ALL);
    // Inherited as ignored it would have the kernel reap in our place, and no end would ever be seen.
    sys::default_disposition(Signal::CHLD);
    let code = if arguments.get(1) == Some(boot::BOOT_OPTION) {
        under_nsl(sys::take_descriptor(boot::STATUS_FD))
    } else {
        alone(arguments, mask)
    };
    sys::exit(code)
}

/// PID 1 of a sandbox: does what the boot message says, reports on the status socket, prints nothing.
fn under_nsl(status: OwnedFd) -> u8 {
    match boot_up(status.as_fd()) {
        Ok((command, grace_ms, has_terminal)) => {
            report(status.as_fd(), Report::Started);
            // The streams are the command's: held open here, they would never end for who reads them. A pty is held
            // by one descriptor: with none, its other end reports a hang-up without end.
            sys::close_streams_from(u32::from(has_terminal));
            let forwarding = Forwarding::AsTerminals;
            Supervisor { command, forwarding, grace_ms, status: Some(status), warn: false, stopped: false }.run()
        }
        Err(Failure { step, errno }) => {
            report(status.as_fd(), Report::InitFailed { step, errno: errno.raw_os_error() });
            exit::NSL_FAILED
        }
    }
}

/// Everything up to the running command; returns its process ID, the grace time in milliseconds, and whether it has a
/// terminal.
fn boot_up(status: BorrowedFd<'_>) -> Result<(i32, u32, bool), Failure> {
    setup::end_with_launcher(status).map_err(Failure::at(InitStep::ReadBootMessage))?;
    let (mut loaded, boot) = setup::read_boot_message().map_err(Failure::at(InitStep::ReadBootMessage))?;
    setup::carry_out(&boot)?;
    setup::wait_for_go(status).map_err(Failure::at(InitStep::ReadBootMessage))?;
    let grace_ms = boot.grace_ms;
    let has_terminal = boot.setup.contains(boot::Setup::TERMINAL);
    let vectors = loaded.vectors(&boot).map_err(Failure::at(InitStep::Fork))?;
    let command = start::start(&Command {
        vectors: &vectors,
        mask: boot.mask,
        terminal: has_terminal.then(|| Terminal::Given(sys::stream(0))),
        credentials: boot.credentials,
        capabilities: boot.capabilities,
        workdir: Some(boot.workdir),
        any_workdir: boot.setup.contains(boot::Setup::ANY_WORKDIR),
        close_descriptors: true,
    })?;
    loaded.unmap(vectors);
    Ok((command, grace_ms, has_terminal))
}

/// A report that can't be sent has no reader: nsl is gone, and its death ends this process as well.
fn report(status: BorrowedFd<'_>, report: Report) {
    let _ = rustix::net::send(status, &report.encode(), rustix::net::SendFlags::NOSIGNAL);
}

/// ENTRYPOINT of an image, or a command line's own init: says what goes wrong on stderr.
fn alone(arguments: sys::Arguments, mask: SignalSet) -> u8 {
    let options = match cli::parse(arguments.iter().skip(1).map(core::ffi::CStr::to_bytes)) {
        Ok(Parsed::Run(options)) => options,
        Ok(Parsed::Help) => return print(HELP),
        Ok(Parsed::Version) => return print(VERSION),
        Ok(Parsed::License) => return print(LICENSE),
        Err(Refused(why, word)) => {
            say(&[b"cannot read the options: ", why.as_bytes(), b": ", word, b" (hint: see nsl-init --help)"]);
            return exit::NSL_FAILED;
        }
    };
    let Some(vectors) = arguments.command(options.words + 1) else {
        say(&[b"cannot start: no command given (hint: nsl-init COMMAND [ARG]...)"]);
        return exit::NSL_FAILED;
    };
    prepare_alone(&options);
    let command = Command {
        vectors: &vectors,
        mask,
        terminal: Some(Terminal::Found),
        credentials: None,
        capabilities: u64::MAX,
        workdir: None,
        any_workdir: false,
        close_descriptors: false,
    };
    match start::start(&command) {
        Ok(pid) => {
            sys::close_from(3);
            let _ = rustix::process::chdir(c"/");
            let forwarding = if options.group { Forwarding::Group } else { Forwarding::Command };
            let (grace_ms, warn) = (options.grace_ms, options.warn);
            let code = Supervisor { command: pid, forwarding, grace_ms, status: None, warn, stopped: false }.run();
            options.exit_code(code)
        }
        Err(Failure { step, errno: why }) => {
            let what: &[u8] = match step {
                InitStep::Execute => b"execute ",
                InitStep::ExecuteInterpreter => b"execute the interpreter of ",
                _ => b"start a process for ",
            };
            let words = errno::words(why.raw_os_error()).as_bytes();
            say(&[b"cannot ", what, vectors.name().to_bytes(), b": ", words]);
            match step {
                InitStep::Fork => exit::NSL_FAILED,
                _ => exit::of_exec_error(why.raw_os_error()),
            }
        }
    }
}

/// What an init outside of nsl may need before the command starts.
fn prepare_alone(options: &Options) {
    let first = rustix::process::getpid().is_init();
    if (!first || options.subreaper) && rustix::process::set_child_subreaper(Some(rustix::process::getpid())).is_err() {
        say(&[b"warning: not PID 1 and no child subreaper: orphans will not be reaped"]);
    }
    if let Some(signal) = options.parent_death {
        sys::set_parent_death_signal(signal);
    }
    if options.verbosity > 1 {
        say(&[if first { b"running as PID 1" } else { b"running as child subreaper" }]);
    }
}

/// Writes `text` to stdout; returns the exit code.
fn print(text: &[u8]) -> u8 {
    match rustix::io::write(sys::stream(1), text) {
        Ok(_) => 0,
        Err(_) => exit::NSL_FAILED,
    }
}

/// Writes one line to stderr: the program's name, then `parts`, cut off where it would be longer than a pipe takes
/// at once.
#[inline(never)]
fn say(parts: &[&[u8]]) {
    let mut line = [0; 4096];
    let mut length = 0;
    for part in [&b"nsl-init: "[..]].iter().chain(parts) {
        let room = line.len() - 1 - length;
        let part = &part[..part.len().min(room)];
        line[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    }
    line[length] = b'\n';
    let _ = rustix::io::write(sys::stream(2), &line[..=length]);
}
