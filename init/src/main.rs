//! nsl-init, a minimal PID 1: blocks signals, sets up what it was told to, starts one command, then forwards,
//! reaps and ends in order. Under nsl it reads a boot message; alone it reads its command line.
#![cfg_attr(not(test), no_std, no_main)]

mod confine;
mod machine;
mod rest;
mod setup;
mod start;
mod supervise;
mod sys;
mod terminal;

use machine::End;
use nsl_init::cli::{self, Answer, Forwarding, Home, Options, Program};
use nsl_init::getopt::Word;
use nsl_init::message::{self, Event, Line, Marks};
use nsl_shared::boot::{self, InitStep, Report, Setup};
use nsl_shared::exit;
use nsl_shared::signal::{Signal, SignalSet};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use start::{Command, Kept, Started};
use supervise::Supervisor;

/// A step that failed, and why.
struct Failure {
    step: InitStep,
    errno: Errno,
}

/// Where `_start` leads.
fn main(mut arguments: sys::Arguments) -> ! {
    // First of all: what arrives from here on waits, and is forwarded once the command runs.
    let mask = sys::set_signal_mask(SignalSet::ALL);
    // Inherited as ignored it would have the kernel reap in our place, and no end would ever be seen.
    let ignores_chld = sys::set_ignored(Signal::CHLD, false);
    let code = if arguments.words().get(1).is_some_and(|word| word.bytes() == boot::BOOT_OPTION.to_bytes()) {
        under_nsl(sys::take_descriptor(boot::STATUS_FD))
    } else if machine::is_machine() {
        let by_kernel = machine::prepare();
        machine::leave_out_noise(&mut arguments, by_kernel);
        let mut end = End::PowerOff;
        let code = alone(arguments, mask, Kept { ignores_chld }, Some(&mut end));
        machine::finish(code, end)
    } else {
        alone(arguments, mask, Kept { ignores_chld }, None)
    };
    sys::exit(code)
}

/// How the init of a command that joined a sandbox learns that nsl has ended: it lives on until the command, which may be
/// another user's by then, is killed. Terminals send this signal to groups, so that the command's group gets it; to the
/// init nobody else sends it.
const LAUNCHER_ENDED: Signal = Signal::TTIN;

/// PID 1 of a sandbox: does what the boot message says, reports on the status socket, prints nothing.
fn under_nsl(status: OwnedFd) -> u8 {
    let mut options = Options::of(Program::NslInit);
    options.forwarding = Forwarding::AsTerminals;
    let mut step = InitStep::ReadBootMessage;
    match boot_up(status.as_fd(), &mut options, &mut step) {
        Ok((command, setup)) => {
            report(status.as_fd(), Report::Started.encode());
            // The streams are the command's: held open here, they would never end for who reads them. A pty is held
            // by one descriptor: with none, its other end reports a hang-up without end.
            sys::close_streams_from(u32::from(setup.contains(Setup::TERMINAL)));
            // A ruleset is kept for those who join the sandbox later: its paths are those of now.
            sys::close_from(boot::LANDLOCK_FD as u32 + u32::from(setup.contains(Setup::LANDLOCK)));
            let mut supervisor = Supervisor::new(&options, command);
            supervisor.status = Some(status);
            supervisor.tells_end = setup.contains(Setup::TELL_END);
            supervisor.run()
        }
        Err(errno) => {
            report_failure(&Failure { step, errno });
            exit::NSL_FAILED
        }
    }
}

#[inline(never)]
fn report_failure(failure: &Failure) {
    report(
        sys::descriptor(boot::STATUS_FD),
        Report::InitFailed { step: failure.step, errno: failure.errno.raw_os_error() }.encode(),
    );
}

/// Everything up to the running command; returns its process ID and what was asked for, or what failed of `step`.
fn boot_up(status: BorrowedFd<'_>, options: &mut Options, step: &mut InitStep) -> Result<(i32, Setup), Errno> {
    let (mut loaded, boot) = setup::read_boot_message()?;
    let setup = boot.setup();
    let joined = setup.contains(Setup::JOINED);
    let launcher_ended = if joined { LAUNCHER_ENDED } else { Signal::KILL };
    setup::end_with_launcher(status, launcher_ended)?;
    options.rewrites.set(launcher_ended, Signal::KILL.number() as u8);
    setup::carry_out(&boot, step)?;
    // While nsl makes the network; the command's process starts with what the init has.
    sys::default_dispositions();
    if setup.contains(Setup::TELL_READY) {
        report(status, Report::Ready.encode());
    }
    *step = InitStep::ReadBootMessage;
    setup::wait_for_go(status)?;
    options.grace_ms = boot.grace_ms();
    if let Some(signal) = Signal::new(boot.stop_signal() as i32) {
        options.stop_signal = signal;
        options.rewrites.set(Signal::TERM, signal.number() as u8);
    }
    *step = InitStep::Fork;
    let vectors = loaded.vectors(&boot)?;
    let command = start::start(&Command {
        vectors: &vectors,
        mask: boot.mask(),
        home: Home::Group,
        terminal: setup.contains(Setup::TERMINAL).then(|| sys::descriptor(0)),
        dispositions: Some(Kept { ignores_chld: false }),
        boot: Some(&boot),
        joined,
    })
    .map_err(|(failure, _)| {
        *step = failure.step;
        failure.errno
    })?;
    loaded.unmap(vectors);
    Ok((command.pid, setup))
}

/// A report that can't be sent has no reader: nsl is gone, and its death ends this process as well.
fn report(status: BorrowedFd<'_>, report: [u8; Report::SIZE]) {
    let _ = rustix::net::send(status, &report, rustix::net::SendFlags::NOSIGNAL);
}

/// ENTRYPOINT of an image, a command line's own init, or that of a machine, whose `end` it may change: says what goes
/// wrong on stderr.
fn alone(mut arguments: sys::Arguments, mask: SignalSet, inherited: Kept, end: Option<&mut End>) -> u8 {
    let environment = arguments.environment();
    let (options, command) = match cli::parse(arguments.words(), end.is_some(), |name| environment.variable(name)) {
        Ok(parsed) => parsed,
        Err(answer) => return give(&answer, &mut arguments),
    };
    if let Err(answer) = prepare_alone(&options) {
        return give(&answer, &mut arguments);
    }
    let mut started = Started { pid: 0, foreground: false };
    let vectors = if options.machine && command >= arguments.words().len() {
        arguments.instead(machine::SERVICE)
    } else {
        arguments.command(command)
    };
    if let Some(vectors) = vectors.filter(|_| !options.pause) {
        let command = Command {
            vectors: &vectors,
            mask: if options.program.keeps_mask() { mask } else { SignalSet::NONE },
            home: options.home,
            terminal: None,
            dispositions: options.program.keeps_dispositions().then_some(inherited),
            boot: None,
            joined: false,
        };
        let text = vectors.name().to_bytes();
        match start::start(&command) {
            Ok(running) => started = running,
            Err((failure, pid)) => return not_started(&options, &failure, text, pid),
        }
        tell(&options, Event::Started, text, [started.pid, 0, 0]);
        if let Some(ready) = options.ready {
            let mut buffer = [0; 16];
            let mut line = Line::new(&mut buffer);
            line.push_number(started.pid);
            line.push(b"\n");
            let _ = rustix::io::write(sys::descriptor(ready), line.as_bytes());
        }
    }
    sys::close_from(3);
    let _ = rustix::process::chdir(c"/");
    let mut supervisor = Supervisor::new(&options, started.pid);
    supervisor.foreground = started.foreground;
    let code = supervisor.run();
    if let (Some(end), Some(asked)) = (end, supervisor.end) {
        *end = asked;
    }
    code
}

/// Says why the command does not run; returns the exit code.
fn not_started(options: &Options, failure: &Failure, text: &[u8], pid: i32) -> u8 {
    let event = match failure.step {
        InitStep::Execute => Event::ExecFailed,
        InitStep::ExecuteInterpreter => Event::InterpreterMissing,
        _ => Event::ForkFailed,
    };
    let number = failure.errno.raw_os_error();
    tell(options, event, text, [pid, number, 0]);
    if event == Event::ForkFailed { options.program.failed() } else { options.program.exec_failed(number) }
}

/// What an init outside of nsl may need before the command starts.
fn prepare_alone(options: &Options) -> Result<(), Answer> {
    if let Some(ready) = options.ready {
        // It is the init's to write to, not the command's.
        let flags = rustix::io::FdFlags::CLOEXEC;
        rustix::io::fcntl_setfd(sys::descriptor(ready), flags).map_err(|_| cli::not_open())?;
    }
    let own = rustix::process::getpid();
    let reaps = own.is_init()
        || options.subreaper && rustix::process::set_child_subreaper(Some(own)).is_ok()
        || rustix::process::child_subreaper().is_ok_and(|is_one| is_one.is_some());
    let role = match (own.is_init(), reaps) {
        (true, _) => Event::First,
        (false, true) => Event::Subreaper,
        (false, false) => Event::NoReaper,
    };
    tell(options, role, b"", [0; 3]);
    if let Some(signal) = options.parent_death {
        sys::set_parent_death_signal(signal);
    }
    if options.home == Home::Session {
        terminal::give_up();
    }
    Ok(())
}

/// Prints an answer; returns its exit code.
fn give(answer: &Answer, arguments: &mut sys::Arguments) -> u8 {
    let mut buffer = [0; 4096];
    let mut line = Line::new(&mut buffer);
    let name = arguments.words().first().map_or(&b""[..], Word::bytes);
    answer.write(&mut line, name, rustix::process::getpid().as_raw_pid());
    match rustix::io::write(sys::descriptor(if answer.to_stderr { 2 } else { 1 }), line.as_bytes()) {
        Ok(_) => answer.code,
        Err(_) => exit::NSL_FAILED,
    }
}

/// Says on stderr what happened, if one wants to know. What does not end the init must not hold it up: where nobody
/// reads, it is left unsaid. The numbers are those of the process, of what befell it, and another.
fn tell(options: &Options, event: Event, text: &[u8], numbers: [i32; 3]) {
    let ends_it = matches!(event, Event::ForkFailed | Event::ExecFailed | Event::InterpreterMissing);
    if let Some(words) = message::words(options.program, options.verbosity, event)
        && (ends_it || takes_a_line())
    {
        say(words, text, numbers);
    }
}

/// Apart, so that its buffer takes memory only when something is said.
#[inline(never)]
fn say(words: [&[u8]; 2], text: &[u8], [pid, number, other]: [i32; 3]) {
    // What a pipe takes at once.
    let mut buffer = [0; 4096];
    let mut line = Line::new(&mut buffer);
    let own = rustix::process::getpid().as_raw_pid();
    let marks = Marks { text, own, pid, number, other, ..Marks::default() };
    for words in words {
        line.fill(words, &marks);
    }
    let _ = rustix::io::write(sys::descriptor(2), line.as_bytes());
}

/// Can a line be written to stderr without waiting? A pipe with any room has room for a whole line.
fn takes_a_line() -> bool {
    let stderr = sys::descriptor(2);
    let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&at_once)).is_ok_and(|ready| ready > 0)
}
