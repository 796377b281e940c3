//! Nothing of nsl's remains, whichever of nsl, its init and the command is killed, at whichever system call on the way
//! from the start to the end.

use crate::harness::{Host, NSL, PATIENCE, wait_until};
use crate::services::{remove, start};
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io::Write;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

/// Each so many-th system call is tried; which of them, `NSL_SEED` says.
const STEP: u32 = 2;
/// After so many kills one looks for what remains.
const ROUND: u32 = 20;

/// What is asked of the network.
const NONE: &str = "--network none";
const PAIR: &str = "--network veth";
const NETWORK: &str = "--network veth:kills";
const PORTS: &str = "-p 7001-7002:80-81 -p 127.0.0.1:7001:80/udp --egress 198.51.100.0/24:80";

/// The events that tell of a new process.
const BIRTHS: [i32; 3] =
    [Event::PTRACE_EVENT_FORK as i32, Event::PTRACE_EVENT_VFORK as i32, Event::PTRACE_EVENT_CLONE as i32];

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Victim {
    Nsl,
    /// The first process that nsl makes.
    Init,
    /// The second.
    Command,
}

/// What became of a run.
struct Fate {
    /// The victim came as far as the system call.
    killed: bool,
    /// How nsl ended.
    end: WaitStatus,
    /// How those ended that lived when the victim was killed.
    others: Vec<WaitStatus>,
}

impl Victim {
    /// A command that would outlive nsl, were it not killed as well.
    fn command(self) -> &'static str {
        if self == Self::Nsl { "sleep 0.1" } else { "true" }
    }
}

/// nsl with these words, with the victim killed when it enters its system call number `call`.
#[expect(clippy::zombie_processes, reason = "it is waited for as a process that is traced")]
fn run_and_kill(host: &Host, words: &str, as_user: bool, victim: Victim, call: u32) -> Fate {
    let script = format!("read line; exec {NSL} {words} </dev/null");
    let invocation = host.command("sh", ["-c", &script]);
    let invocation = if as_user { invocation.as_user() } else { invocation };
    let mut command = invocation.prepare();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start");
    let nsl = Pid::from_raw(child.id().cast_signed());
    let (done, watched) = mpsc::channel::<()>();
    thread::scope(|scope| {
        // A hang ends too, and shows as a wrong end.
        scope.spawn(move || {
            if watched.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let all = host.processes().into_iter().map(|pid| Pid::from_raw(pid.cast_signed()));
                all.for_each(|pid| {
                    let _ = kill(pid, Signal::SIGKILL);
                });
            }
        });
        // It waits for a line, or is about to.
        let events = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
        let others = Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL;
        ptrace::seize(nsl, events | others).expect("trace the shell");
        child.stdin.take().expect("stdin is piped").write_all(b"\n").expect("let it go on");
        let fate = trace(nsl, victim, call);
        drop(done);
        fate
    })
}

/// Serves the processes that stop for this thread, until there is none.
fn trace(nsl: Pid, victim: Victim, call: u32) -> Fate {
    // nsl, its init and the command, as they come to be known.
    let mut known = vec![nsl];
    let mut living = vec![nsl];
    let mut runs = false;
    let (mut entered, mut inside) = (0, false);
    let mut fate = Fate { killed: false, end: WaitStatus::StillAlive, others: Vec::new() };
    let mut left = Vec::new();
    while !living.is_empty() {
        // Those of other threads are other tests'.
        let status = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).expect("wait for a process");
        let Some(pid) = status.pid() else { continue };
        if !known.contains(&pid) {
            known.push(pid);
            living.push(pid);
        }
        let is_victim = known.get(victim as usize) == Some(&pid);
        let mut deliver = None;
        match status {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                living.retain(|other| *other != pid);
                if pid == nsl {
                    fate.end = status;
                } else if left.contains(&pid) {
                    fate.others.push(status);
                }
                continue;
            }
            WaitStatus::PtraceSyscall(_) if is_victim => {
                inside = !inside;
                entered += u32::from(inside);
                if inside && entered == call && !fate.killed {
                    fate.killed = true;
                    left = living.iter().copied().filter(|other| *other != pid && !is_ending(*other)).collect();
                    kill(pid, Signal::SIGKILL).expect("kill the victim");
                    continue;
                }
            }
            // The shell has become nsl.
            WaitStatus::PtraceEvent(_, _, event) if event == Event::PTRACE_EVENT_EXEC as i32 => runs = true,
            // Its child waits from the first moment on, also if this one is killed before it is seen.
            WaitStatus::PtraceEvent(_, _, event) if BIRTHS.contains(&event) => {
                let born = ptrace::getevent(pid).map(|pid| Pid::from_raw(pid as i32));
                for born in born.into_iter().filter(|born| !known.contains(born)).collect::<Vec<_>>() {
                    known.push(born);
                    living.push(born);
                }
            }
            WaitStatus::Stopped(_, signal) => deliver = Some(signal),
            _ => {}
        }
        // One that is gone by now will be waited for.
        let _ = if is_victim && runs { ptrace::syscall(pid, deliver) } else { ptrace::cont(pid, deliver) };
    }
    fate
}

/// Has a process ended, or has it begun to? (`PF_EXITING` of `proc_pid_stat(5)`, "flags".)
fn is_ending(pid: Pid) -> bool {
    const EXITING: u32 = 4;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let flags = stat.rsplit(')').next().and_then(|fields| fields.split_ascii_whitespace().nth(6)?.parse().ok());
    flags.is_none_or(|flags: u32| flags & EXITING != 0)
}

/// All of a host's rules, and what it does with packets.
fn settings(host: &Host) -> String {
    let files = "/proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf";
    host.sh(&format!("nft list ruleset; grep -rs . {files} | grep -v /stable_secret: | sort"))
}

/// Kills the victim at call after call, until it lives to the end.
fn walk(victim: Victim, is_right: impl Fn(&Fate) -> bool) {
    let host = crate::host!();
    let seed: u32 = std::env::var("NSL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_default();
    let mut kills = 0;
    for (options, as_user) in
        [NONE, PAIR, NETWORK, PORTS].map(|options| (options, false)).into_iter().chain([(NONE, true)])
    {
        // What stays by design is there from the first run on.
        let words = format!("run {options} -- {}", victim.command());
        run_and_kill(&host, &words, as_user, victim, u32::MAX);
        host.assert_clean();
        let before = settings(&host);
        let mut call = 1 + seed % STEP;
        loop {
            let fate = run_and_kill(&host, &words, as_user, victim, call);
            if !fate.killed {
                assert!(matches!(fate.end, WaitStatus::Exited(_, 0)), "unharmed, it ended so: {:?}", fate.end);
                break;
            }
            let Fate { end, others, .. } = &fate;
            assert!(
                is_right(&fate),
                "{options}, {victim:?} killed at call {call}: nsl ended so: {end:?}, the others: {others:?}"
            );
            kills += 1;
            if kills % ROUND == 0 {
                host.assert_clean();
            }
            call += STEP;
        }
        host.assert_clean();
        assert_eq!(settings(&host), before, "{options}, {victim:?}");
        assert!(call > 10, "{victim:?} makes more calls than {call}");
    }
    // Past the capture of the output.
    let _ = writeln!(std::io::stderr(), "{victim:?} was killed {kills} times, nothing is left");
}

#[test]
fn invariant_1_nsl_killed_at_any_system_call_leaves_nothing() {
    // Who was there does not live to an end of its own.
    let is_ended =
        |other: &WaitStatus| matches!(other, WaitStatus::Signaled(_, Signal::SIGKILL, _) | WaitStatus::Exited(_, 125));
    walk(Victim::Nsl, |fate| {
        matches!(fate.end, WaitStatus::Signaled(_, Signal::SIGKILL, _)) && fate.others.iter().all(is_ended)
    });
}

#[test]
fn invariant_1_an_init_killed_at_any_system_call_leaves_nothing() {
    walk(Victim::Init, |fate| matches!(fate.end, WaitStatus::Exited(_, 125 | 137)));
}

#[test]
fn invariant_1_a_command_killed_at_any_system_call_leaves_nothing() {
    walk(Victim::Command, |fate| matches!(fate.end, WaitStatus::Exited(_, 137)));
}

/// Of what joins a sandbox: nsl exec, its nsl-init, its command.
#[test]
fn whichever_process_of_nsl_exec_is_killed_at_any_system_call_the_sandbox_alone_is_left() {
    let host = crate::host!();
    start(&host, "web", &["--", "sleep", "1000"]);
    let sandbox = host.processes();
    assert_eq!(sandbox.len(), 3);
    for victim in [Victim::Nsl, Victim::Init, Victim::Command] {
        let mut call = 1;
        loop {
            let fate = run_and_kill(&host, &format!("exec web {}", victim.command()), false, victim, call);
            if !fate.killed {
                assert!(matches!(fate.end, WaitStatus::Exited(_, 0)), "unharmed, it ended so: {:?}", fate.end);
                break;
            }
            let is_right = match victim {
                Victim::Nsl => matches!(fate.end, WaitStatus::Signaled(_, Signal::SIGKILL, _)),
                Victim::Init => matches!(fate.end, WaitStatus::Exited(_, 125 | 137)),
                Victim::Command => matches!(fate.end, WaitStatus::Exited(_, 137)),
            };
            assert!(is_right, "{victim:?} killed at call {call}: nsl exec ended so: {:?}", fate.end);
            wait_until("the sandbox alone is left", || host.processes() == sandbox);
            call += STEP;
        }
        assert!(call > 10, "{victim:?} makes more calls than {call}");
    }
    remove(&host, "web");
}

/// Of a sandbox that is left by its caller: that, the monitor, the init. Their numbers are those of nsl and its children
/// otherwise.
#[test]
fn whichever_process_of_a_detached_sandbox_is_killed_at_any_system_call_the_truth_is_told() {
    let host = crate::host!();
    let mut kills = 0;
    for (victim, who) in [(Victim::Nsl, "caller"), (Victim::Init, "monitor"), (Victim::Command, "init")] {
        let mut call = 1;
        loop {
            let words = "run -d --network none --name web -- sleep 0.05";
            let fate = run_and_kill(&host, words, false, victim, call);
            // All of it has ended by now.
            let output = host.nsl(["ps", "-a", "--json"]).run();
            output.assert_code(0).assert_quiet();
            let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("an array");
            assert!(
                rows.iter().all(|row| row["status"] == "exited" || row["status"] == "dead"),
                "{who} {call}: {output}"
            );
            if !fate.killed {
                assert!(matches!(fate.end, WaitStatus::Exited(_, 0)), "unharmed, it ended so: {:?}", fate.end);
                assert!(rows[0]["status"] == "exited", "{output}");
            }
            // The name is free, and what was left goes with it.
            start(&host, "web", &["--", "sleep", "1000"]);
            remove(&host, "web");
            if !fate.killed {
                break;
            }
            kills += 1;
            if kills % ROUND == 0 {
                host.assert_clean();
            }
            call += STEP;
        }
        host.assert_clean();
        assert!(call > 10, "{who} makes more calls than {call}");
    }
    // Past the capture of the output.
    let _ = writeln!(std::io::stderr(), "a detached sandbox was killed {kills} times, nothing is left");
}
