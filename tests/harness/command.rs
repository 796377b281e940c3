//! Commands of a host: made, run within bounds, and what came of them.

use super::{Host, PATIENCE, USER, only_child};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// A command of a host that is yet to be run.
pub struct Invocation<'a> {
    host: &'a Host,
    words: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: OsString,
    stdin: Vec<u8>,
    user: Option<u32>,
    missing: Vec<String>,
    timeout: Duration,
}

/// Has system calls fail, as on a kernel that does not know them, or in a container that forbids them.
const WITHOUT_CALLS: &str = include_str!("without_calls.py");

impl<'a> Invocation<'a> {
    pub(super) fn new(host: &'a Host, words: Vec<OsString>) -> Self {
        let (env, cwd, stdin, missing) = (Vec::new(), "/".into(), Vec::new(), Vec::new());
        Self { host, words, env, cwd, stdin, user: None, missing, timeout: PATIENCE }
    }
}

impl Invocation<'_> {
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The directory of the host that it starts in.
    #[must_use]
    pub fn cwd(mut self, directory: impl AsRef<OsStr>) -> Self {
        directory.as_ref().clone_into(&mut self.cwd);
        self
    }

    /// What `run` writes to its stdin; nothing, unless this is called.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// As the ordinary user.
    #[must_use]
    #[expect(clippy::wrong_self_convention, reason = "it is a builder: the command runs as the user")]
    pub fn as_user(mut self) -> Self {
        self.user = Some(USER);
        self
    }

    /// Where these system calls fail with an errno: `without(libc::ENOSYS, &["fsopen"])`.
    #[must_use]
    pub fn without(mut self, errno: i32, calls: &[&str]) -> Self {
        self.missing = [errno.to_string(), calls.join(",")].into();
        self
    }

    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same for std: each of the programs on the way becomes the next, so that the process is the command's own.
    pub fn prepare(&self) -> Command {
        let mut command = Command::new("prlimit");
        // A limit that nothing here uses and every descendant inherits tells whose a process is.
        command.arg(format!("--rttime={}:unlimited", self.host.mark));
        command.arg("nsenter").arg(format!("--target={}", self.host.pid())).args(["--mount", "--net", "--"]);
        if let Some(user) = self.user {
            command.arg("setpriv").arg(format!("--reuid={user}")).arg(format!("--regid={user}"));
            command.args(["--clear-groups", "--"]);
        }
        // Whoever runs the tests in the background has signals ignored that they send.
        command.args(["env", "--default-signal"]);
        if self.cwd != "/" {
            command.arg("-C").arg(&self.cwd);
        }
        command.arg("--");
        if !self.missing.is_empty() {
            command.args(["python3", "-c", WITHOUT_CALLS]).args(&self.missing);
        }
        command.args(&self.words).env_clear().envs([
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ]);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Output {
        let stdin = self.stdin.clone();
        let mut running = self.start();
        let mut pipe = running.stdin.take().expect("stdin is piped");
        // A command may end without reading it all.
        let writer = thread::spawn(move || drop(pipe.write_all(&stdin)));
        let output = running.finish();
        writer.join().expect("write stdin");
        output
    }

    /// Starts it, with pipes for all three streams.
    #[track_caller]
    pub fn start(self) -> Running {
        let mut command = self.prepare();
        let shown = self.to_string();
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        Running {
            stdin: child.stdin.take(),
            stdout: child.stdout.take().map(BufReader::new),
            stderr: child.stderr.take().map(collect),
            child,
            shown,
            deadline: Instant::now() + self.timeout,
        }
    }
}

/// The command as one would type it, cut short.
impl fmt::Display for Invocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for word in self.words.iter().take(40) {
            write!(f, "{} ", word.display().to_string().chars().take(200).collect::<String>())?;
        }
        write!(f, "(in {}, as {})", self.cwd.display(), if self.user.is_some() { "the user" } else { "root" })
    }
}

/// A command that runs; dropped, it is killed with its process group.
pub struct Running {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<Receiver<Vec<u8>>>,
    shown: String,
    deadline: Instant,
}

impl Running {
    /// The command's process: nsl's own.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).expect("send the signal");
    }

    /// The next line of stdout, without its end; waits for it.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut reader = self.stdout.take().expect("stdout is piped");
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let mut line = Vec::new();
            let result = reader.read_until(b'\n', &mut line);
            drop(send.send((reader, line, result)));
        });
        match receive.recv_timeout(self.left()) {
            Ok((reader, line, Ok(length))) if length > 0 => {
                self.stdout = Some(reader);
                String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned()
            }
            Ok((reader, ..)) => {
                self.stdout = Some(reader);
                panic!("no line came: {}", self.finish_now());
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                panic!("no line came in time: {}", self.finish_now())
            }
        }
    }

    /// Writes to its stdin.
    #[track_caller]
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("stdin is still open");
        stdin.write_all(bytes.as_ref()).and_then(|()| stdin.flush()).expect("write to stdin");
    }

    /// The process that is PID 1 of the sandbox, once it is nsl-init.
    #[track_caller]
    pub fn init(&self) -> u32 {
        only_child(self.pid(), "nsl-init")
    }

    /// Closes stdin, reads what is left of the output, and waits for the end.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        self.stdin.take();
        let stdout = self.stdout.take().map(collect);
        let status = self.wait();
        let read = |from: Option<Receiver<Vec<u8>>>| {
            let bytes = from.map(|from| from.recv_timeout(self.deadline.saturating_duration_since(Instant::now())));
            bytes.transpose().map(Option::unwrap_or_default)
        };
        match (read(stdout), read(self.stderr.take())) {
            (Ok(stdout), Ok(stderr)) => Output { code: code_of(status), stdout, stderr, shown: self.shown.clone() },
            _ => panic!("{} ended, and somebody holds its streams still", self.shown),
        }
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the command") {
                return status;
            }
            assert!(Instant::now() < self.deadline, "not ended in time: {}", self.finish_now());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it by force, to show what it said.
    fn finish_now(&mut self) -> String {
        self.stop();
        let stderr = self.stderr.take().and_then(|stderr| stderr.recv_timeout(Duration::from_secs(1)).ok());
        format!("{}\nstderr: {}", self.shown, String::from_utf8_lossy(&stderr.unwrap_or_default()))
    }

    fn stop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = killpg(Pid::from_raw(self.pid().cast_signed()), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What came of a command.
pub struct Output {
    /// As a shell has it: 128 and the number, for a signal.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    shown: String,
}

impl Output {
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert!(self.code == code, "expected exit code {code}\n{self}");
        self
    }

    /// stdout is this, but for white space at both ends.
    #[track_caller]
    pub fn assert_stdout(&self, expected: &str) -> &Self {
        assert!(self.stdout().trim() == expected, "expected on stdout: {expected:?}\n{self}");
        self
    }

    /// It succeeded, and printed this; nothing on stderr.
    #[track_caller]
    pub fn assert_prints(&self, expected: &str) -> &Self {
        self.assert_code(0).assert_stdout(expected).assert_quiet()
    }

    #[track_caller]
    pub fn assert_quiet(&self) -> &Self {
        assert!(self.stderr.is_empty(), "expected nothing on stderr\n{self}");
        self
    }

    /// One line on stderr: `nsl: cannot …`, with all of these words in it; nothing on stdout.
    #[track_caller]
    pub fn assert_refused(&self, code: i32, words: &[&str]) -> &Self {
        let stderr = self.stderr();
        let one = stderr.starts_with("nsl: cannot ") && stderr.ends_with('\n') && stderr.lines().count() == 1;
        assert!(one, "expected one line 'nsl: cannot …' on stderr\n{self}");
        for word in words {
            assert!(stderr.contains(word), "expected on stderr: {word:?}\n{self}");
        }
        assert!(self.stdout.is_empty(), "expected nothing on stdout\n{self}");
        self.assert_code(code)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(8000)]).into_owned();
        writeln!(f, "command: {}\nexit code: {}", self.shown, self.code)?;
        write!(f, "--- stdout ---\n{}\n--- stderr ---\n{}", short(&self.stdout), short(&self.stderr))
    }
}

fn code_of(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Reads a stream to its end, beside the rest.
fn collect(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        drop(send.send(bytes));
    });
    receive
}
