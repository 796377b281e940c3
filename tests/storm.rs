//! nsl-init under load: very many orphans, forks while signals arrive, and thousands of short runs with signals at
//! moments of chance. Nothing may hang, no status may be wrong. What is left to chance has a seed, which is printed;
//! `NSL_SEED` repeats it.

use crate::harness::{Host, Invocation, NSL_INIT, PATIENCE, only_child, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const INIT: &str = NSL_INIT;

/// A host in which the names of other inits lead to nsl-init.
fn names(host: &Host) {
    host.sh(&format!(
        "cd /tmp/test; ln -s {INIT} nsl-init; ln -s {INIT} tini; ln -s {INIT} dumb-init; cp {INIT} catatonit"
    ));
}

/// As PID 1.
fn first<'a>(host: &'a Host, words: &[&str]) -> Invocation<'a> {
    let unshare = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
    host.command("unshare", unshare.iter().chain(words)).timeout(2 * PATIENCE)
}

/// Two batches at a time of processes that their parent leaves behind, ended already or still to end, as many as can be
/// made in seven seconds; ends when none is left. A process that kills itself has no more to do.
const ORPHANS: &str = "my ($batches, $each) = @ARGV;
    for my $side (1..2) {
        next if fork // die;
        my $made = 0;
        for (1..$batches / 2) {
            last if time - $^T > 7;
            my $parent = fork // die;
            unless ($parent) { for (1..$each) { fork // die or kill 9, $$ } kill 9, $$ }
            waitpid $parent, 0; exit 1 if $? != 9;
            $made++;
        }
        print $made * $each, \" orphans, \";
        exit 0;
    }
    for (1..2) { wait; die if $? }
    for (1..5000) {
        open my $list, '<', '/proc/1/task/1/children';
        if (<$list> =~ /^$$ $/) { print \"none left\\n\"; exit 9 }
        select undef, undef, undef, 0.002;
    }";

#[test]
fn up_to_a_hundred_thousand_orphans_are_reaped() {
    let host = crate::host!("perl");
    let start = Instant::now();
    let output = first(&host, &[INIT, "perl", "-e", ORPHANS, "500", "200"]).run();
    output.assert_code(9).assert_quiet();
    println!("{} in {:?}", output.stdout().trim(), start.elapsed());
    assert!(output.stdout().ends_with("none left\n"), "{output}");
}

#[test]
fn orphans_are_reaped_under_every_name() {
    let host = crate::host!("perl");
    names(&host);
    for name in ["tini", "dumb-init", "catatonit"] {
        let output = first(&host, &[&format!("/tmp/test/{name}"), "--", "perl", "-e", ORPHANS, "20", "200"]).run();
        output.assert_code(9).assert_quiet().assert_stdout("2000 orphans, 2000 orphans, none left");
    }
}

#[test]
fn orphans_of_orphans_are_reaped() {
    let host = crate::host!("perl");
    // A chain: each process leaves its child behind.
    let script = "use POSIX; for (1..3000) { my $child = fork // die; POSIX::_exit(0) if $child } syswrite STDOUT, \"end\\n\"; POSIX::_exit(0)";
    let mut running = first(&host, &[INIT, "sh", "-c", "perl -e \"$0\"; read line; exit 9", script]).start();
    assert_eq!(running.line(), "end");
    let init = only_child(running.pid(), "nsl-init");
    wait_until("only the command is left", || {
        fs::read_to_string(format!("/proc/{init}/task/{init}/children"))
            .is_ok_and(|children| children.split_ascii_whitespace().count() == 1)
    });
    running.write("go\n");
    running.finish().assert_code(9).assert_quiet();
}

#[test]
fn forks_and_signals_at_once_lose_no_status() {
    let host = crate::host!("perl");
    // Counts the signals: each is sent when the one before has been told of.
    let script =
        "use POSIX; my $got = 0; $SIG{USR1} = sub { syswrite STDOUT, ++$got . \"\\n\" }; $SIG{TERM} = sub { exit 77 };
        syswrite STDOUT, \"up\\n\";
        while (1) {
            my $parent = fork; next unless defined $parent;
            unless ($parent) { for (1..5) { POSIX::_exit(3) unless fork } POSIX::_exit(42) }
            my $reaped; do { $reaped = waitpid $parent, 0 } while $reaped < 0 && $! == EINTR;
            exit 1 if $reaped != $parent || $? != 42 << 8;
        }";
    for option in ["-s", "-g"] {
        let mut running = first(&host, &[INIT, option, "perl", "-e", script]).start();
        assert_eq!(running.line(), "up");
        let init = Pid::from_raw(only_child(running.pid(), "nsl-init").cast_signed());
        for number in 1..=300 {
            kill(init, Signal::SIGUSR1).expect("send the signal");
            // Of the group, none but the command lives long; the command is told once and for all.
            assert_eq!(running.line(), number.to_string());
            if option == "-g" {
                break;
            }
        }
        kill(init, Signal::SIGTERM).expect("send the signal");
        running.finish().assert_code(77);
    }
}

/// Runs inits for some seconds, each with a command and with signals at moments of chance; says what is wrong.
///
/// Three kinds of runs: a command that exits at once; one that is told to end once it runs; one that is told to end
/// before or after, where PID 1 starts with all signals blocked, as nsl starts it, and dumb-init's command does not.
const STORM: &str = r#"
use strict; use POSIX;
my ($seed, $seconds, $unshare) = @ARGV;
srand $seed;
sub any { $_[int rand @_] }
sub pause { select undef, undef, undef, rand($_[0]) / 1000 }
my ($what, $run) = ('', 0);
my $end = time + $seconds;
while (time < $end) {
    $run++;
    my ($first, $kind, $code) = (rand() < 0.5, int rand 3, int rand 256);
    my $name = $kind == 2 && $first ? 'dumb-init' : any('nsl-init', 'nsl-init', 'tini', 'dumb-init', 'catatonit');
    my @options = $name eq 'nsl-init' ? any([], ['-g'], ['-c'], ['--no-kill-rest']) : $name eq 'tini' ? any(['-s'], ['-sg'])
        : $name eq 'dumb-init' ? any([], ['-c']) : any([], ['-g']);
    my $script = $kind ? 'echo; exec sleep 1000' : any('', 'true & ') . "exit $code";
    my @words = ("/tmp/test/$name", @{$options[0]}, '--', 'sh', '-c', $script);
    $what = ($first ? 'as PID 1: ' : 'ordinary: ') . "@words";
    pipe my $ready, my $started; pipe my $told, my $tell;
    my $child = fork // die;
    unless ($child) {
        my $all = POSIX::SigSet->new; $all->fillset;
        sigprocmask(SIG_BLOCK, $all) if $kind == 2 && $first;
        if ($first) {
            POSIX::_exit(99) if syscall($unshare, 0x20000000) != 0;
            my $init = fork // die;
            if ($init) {
                close $started; syswrite $tell, "$init\n"; waitpid $init, 0;
                POSIX::_exit($? & 127 ? 128 + ($? & 127) : $? >> 8);
            }
        } else { syswrite $tell, "$$\n" }
        open STDOUT, '>&', $started; exec @words or POSIX::_exit(98);
    }
    close $started; close $tell;
    $SIG{ALRM} = sub { print "run $run hangs: $what\n"; exit 1 };
    alarm 20;
    my $init = <$told>; chomp $init;
    my @ends = (1, 2, 3, 10, 12, 14, 15, 15, 15, 40);
    my %right;
    if ($kind == 0) {
        $right{$code} = 1;
        for (1..int rand 4) { pause 3; my $signal = any(@ends, 18, 28); kill $signal, $init; $right{128 + $signal} = 1 if $signal != 28 && $signal != 18; $what .= " $signal" }
    } else {
        if ($kind == 1) { sysread $ready, my $byte, 1 } else { pause 4 }
        for (1..int rand 3) { kill any(18, 28), $init; pause 0.3 }
        my $signal = any(@ends);
        $what .= " $signal";
        if ($kind == 1 && rand() < 0.2) {
            my ($command) = split ' ', `cat /proc/$init/task/$init/children`;
            $signal = any(9, @ends);
            kill $signal, $command;
        } else { kill $signal, $init }
        $right{128 + $signal} = 1;
    }
    waitpid $child, 0;
    my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    alarm 0;
    $SIG{ALRM} = 'DEFAULT';
    unless ($right{$status}) { print "run $run has status $status, not ", join(' or ', sort keys %right), ": $what\n"; exit 1 }
}
print STDERR "$run runs\n";
"#;

fn storm(number: u64) {
    let host = crate::host!("perl");
    names(&host);
    let chance = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| u64::from(time.subsec_nanos()));
    let given = std::env::var("NSL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or(chance + number);
    let unshare = nix::libc::SYS_unshare.to_string();
    let output = host.command("perl", ["-e", STORM, &seed.to_string(), "7", &unshare]).run();
    println!("seed {seed}: {}", output.stderr().trim());
    assert!(output.code == 0, "NSL_SEED={seed}\n{output}");
    wait_until("no process is left", || host.processes().is_empty());
}

#[test]
fn signals_at_any_moment_hang_nothing_and_give_the_right_status() {
    storm(0);
}

#[test]
fn signals_at_other_moments_hang_nothing_and_give_the_right_status() {
    storm(1);
}

#[test]
fn waiting_costs_no_time() {
    let host = crate::host!("tini", "dumb-init", "catatonit");
    names(&host);
    let switches = |pid: u32| -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read status");
        let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
        counts.filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    };
    let ticks = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("read stat");
        stat.rsplit(") ").next().map(|fields| fields.split(' ').skip(11).take(2).map(str::to_owned).collect::<Vec<_>>())
    };
    let mut all = Vec::new();
    for folder in ["/tmp/test", "/usr/bin"] {
        for name in ["nsl-init", "tini", "dumb-init", "catatonit"] {
            if folder == "/usr/bin" && name == "nsl-init" {
                continue;
            }
            let program = format!("{folder}/{name}");
            let mut running = first(&host, &[&program, "--", "sh", "-c", "echo up; exec sleep 1000"]).start();
            assert_eq!(running.line(), "up");
            let init = only_child(running.pid(), name);
            only_child(init, "sleep");
            all.push((program, init, running));
        }
    }
    thread::sleep(Duration::from_millis(300));
    let before: Vec<_> = all.iter().map(|(_, init, _)| (switches(*init), ticks(*init))).collect();
    thread::sleep(Duration::from_millis(2500));
    for ((program, init, _), (switched, ticked)) in all.iter().zip(before) {
        let woken = switches(*init) - switched;
        // tini looks around each second.
        assert_eq!(woken > 0, program == "/usr/bin/tini", "{program}: {woken}");
        assert!(woken > 0 || ticks(*init) == ticked, "{program}");
    }
}
