//! On `nsl exec`: a process that enters a sandbox is one that its processes wait for.

use super::calls::perl;
use super::{held, through};
use crate::harness::{DIR, Host, Invocation, NSL, PATIENCE, Running, wait_until};
use crate::services::{as_user, make_home, process, remove, start};
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::process::Stdio;

/// What one of the sandbox's does at each line of its stdin: it looks at every process that it sees, and tells if it gets
/// hold of one that has more than itself: capabilities, system calls, privileges behind an exec, the caller's secrets, or
/// a way to the host's files.
const SEARCH: &str = r#"
    sub status { my %found; open(my $file, '<', "/proc/$_[0]/status") or return;
        while (<$file>) { $found{$1} = hex $2 if /^(CapPrm|CapEff|CapBnd|NoNewPrivs|Seccomp):\s+(\w+)/ } \%found }
    my $own = status('self');
    print "up\n";
    while (<STDIN>) {
        my $through = '';
        for my $pid (map { m{(\d+)} } glob '/proc/[0-9]*') {
            next if $pid == 1 || $pid == $$;
            my $open = open(my $memory, '<', "/proc/$pid/mem") || open(my $more, '+<', "/proc/$pid/mem");
            $open ||= defined readlink("/proc/$pid/$_") for qw(cwd root exe);
            $open ||= grep { defined readlink } glob "/proc/$pid/fd/*";
            my $its = status($pid) or next;
            my $more = grep { $$its{$_} & ~$$own{$_} } qw(CapPrm CapEff CapBnd);
            $more ||= $$its{Seccomp} < $$own{Seccomp} || $$its{NoNewPrivs} < $$own{NoNewPrivs};
            $through .= " powers-of-$pid" if $open && $more;
            open(my $environment, '<', "/proc/$pid/environ");
            $environment = join '', <$environment>;
            $through .= " secrets-of-$pid" if $environment =~ /of-the-caller/;
            $through .= " way-by-$pid" if grep { -e "$_$ENV{MARK}" } "/proc/$pid/cwd", "/proc/$pid/root", glob "/proc/$pid/fd/*";
        }
        print $through ? "through$through\n" : "held\n";
    }"#;

/// A sandbox called web, whose command searches. With `user`, an ordinary user's.
fn searching(host: &Host, user: bool, options: &[&str]) -> Running {
    host.sh(&format!("echo secret > {DIR}/secret"));
    let (mark, search) = (format!("MARK={DIR}/secret"), perl(SEARCH));
    let words = ["run", "--network", "none", "--name", "web", "-e", &mark];
    let words = [&words, options, &["--", "perl", "-e", &search]].concat();
    let mut attacker = if user { as_user(host, &words) } else { host.nsl(words) }.start();
    assert_eq!(attacker.line(), "up");
    let shown = || if user { as_user(host, &["inspect", "web"]) } else { host.nsl(["inspect", "web"]) }.run().stdout();
    wait_until("it is noted", || shown().contains(r#""running""#));
    attacker
}

#[track_caller]
fn ask(attacker: &mut Running) -> String {
    attacker.write("\n");
    attacker.line()
}

/// Runs a command that enters the sandbox; at each system call of each process that comes to be inside, those who are
/// there already search. Gives the number of the searches, and what came of the first that came through.
#[expect(clippy::zombie_processes, reason = "it is waited for as a process that is traced")]
fn step_by_step(attacker: &mut Running, entering: Invocation<'_>) -> (u32, Option<String>) {
    let mut command = entering.env("SECRET", "of-the-caller").prepare();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start");
    let first = Pid::from_raw(child.id().cast_signed());
    let births = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
    let others = Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL;
    ptrace::seize(first, births | others).expect("trace the shell");
    drop(child.stdin.take());
    let (mut living, mut searches, mut found) = (vec![first], 0, None);
    let start = std::time::Instant::now();
    while !living.is_empty() {
        // Those of other threads are other tests'.
        let status = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).expect("wait for a process");
        let Some(pid) = status.pid() else { continue };
        if start.elapsed() > PATIENCE {
            let _ = kill(pid, Signal::SIGKILL);
        }
        if !living.contains(&pid) {
            living.push(pid);
        }
        let mut deliver = None;
        match status {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                living.retain(|other| *other != pid);
                continue;
            }
            WaitStatus::PtraceEvent(_, _, event) if event != Event::PTRACE_EVENT_STOP as i32 => {
                living.extend(
                    ptrace::getevent(pid)
                        .map(|pid| Pid::from_raw(pid as i32))
                        .into_iter()
                        .filter(|born| event != Event::PTRACE_EVENT_EXEC as i32 && !living.contains(born))
                        .collect::<Vec<_>>(),
                );
            }
            WaitStatus::Stopped(_, signal) => deliver = Some(signal),
            _ => {}
        }
        if is_inside(pid) {
            searches += 1;
            let said = ask(attacker);
            if found.is_none() && said.starts_with("through") {
                found = Some(said);
            }
        }
        // One that is gone by now will be waited for.
        let _ = ptrace::syscall(pid, deliver);
    }
    (searches, found)
}

/// Does a process live in a PID namespace below the host's?
fn is_inside(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_ascii_whitespace().count() > 1)
}

/// CVE-2016-9962: who enters has, for a moment, more than those who wait for it.
#[test]
fn who_enters_cannot_be_taken_hold_of_at_any_system_call() {
    let host = crate::host!("perl");
    make_home(&host);
    let script = format!("read line; exec 9</ 17</; cd {DIR}; exec {NSL} exec web sh -c 'exec true' </dev/null");
    for (user, options) in [
        (false, &[][..]),
        (false, &["--userns", "auto"]),
        (false, &["-u", "nobody"]),
        (false, &["--cap-drop", "ALL", "--nested"]),
        (true, &[]),
        (true, &["--nested"]),
    ] {
        let mut attacker = searching(&host, user, options);
        let entering = host.command("bash", ["-c", &script]);
        let entering = entering.env("XDG_RUNTIME_DIR", format!("{DIR}/run")).env("HOME", format!("{DIR}/home"));
        let (searches, found) = step_by_step(&mut attacker, if user { entering.as_user() } else { entering });
        assert!(searches > 50, "{user}, {options:?}: {searches}");
        assert_eq!(found, None, "{user}, {options:?}");
        attacker.finish().assert_code(0);
        let words = ["rm", "web"];
        if user { as_user(&host, &words) } else { host.nsl(words) }.run().assert_prints("web");
    }
    // Who may trace all that he sees traces the init as well.
    let mut attacker = searching(&host, false, &["--cap-add", "SYS_PTRACE"]);
    let script = format!("read line; exec {NSL} exec web true </dev/null");
    let (_, found) = step_by_step(&mut attacker, host.command("bash", ["-c", &script]));
    assert!(found.is_some_and(|found| found.contains("powers")));
    // Nor is it of use to have less done by hand.
    let init = process(&host, "web", "init");
    let script = format!("read line; exec 9</; exec nsenter --target {init} --mount --pid true </dev/null");
    let (_, found) = step_by_step(&mut attacker, host.command("bash", ["-c", &script]));
    let by_hand = found.unwrap_or_default();
    assert!(by_hand.contains("way-by") && by_hand.contains("secrets-of"), "{by_hand:?}");
    remove(&host, "web");
}

/// CVE-2024-21626: a directory of the host's that the caller has open, or is in.
#[test]
fn a_directory_of_the_callers_does_not_lead_out_of_a_joined_sandbox() {
    let host = crate::host!();
    host.sh(&format!("echo secret > {DIR}/secret"));
    start(&host, "web", &["--privileged", "--", "sleep", "1000"]);
    let attack = format!(
        "for n in $(seq 3 30); do cd /proc/self/fd/$n && cat .{DIR}/secret && echo through; done 2>&-
         cat {DIR}/secret secret 2>&- && echo through; echo held"
    );
    let init = process(&host, "web", "init");
    let open = format!("cd {DIR}; exec 3</ 6</ 7</ 9</ 20</; exec");
    through(host.command("bash", ["-c", &format!("{open} nsenter --target {init} --mount --pid sh -c '{attack}'")]));
    held(host.command("bash", ["-c", &format!("{open} {NSL} exec web sh -c '{attack}'")]));
    for name in (0..=20).flat_map(|n| [format!("/proc/self/fd/{n}"), format!("/proc/1/fd/{n}")]) {
        let script = format!("{open} {NSL} exec -w {name} web true");
        host.command("bash", ["-c", &script]).run().assert_refused(125, &["change the working directory"]);
    }
    for name in ["/proc/1/cwd", "/proc/self/cwd", "/proc/1/root", "/proc/self/root"] {
        held(host.command("bash", ["-c", &format!("{open} {NSL} exec -w {name} web sh -c '{attack}'")]));
    }
    remove(&host, "web");
}
