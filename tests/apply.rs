//! What stands against `nsl apply`, and what interrupts it: the host changed meanwhile, a directory of changes that
//! somebody made up, a full disk, kill -9. Every host here has a root of its own.

use crate::changes::{BEFORE, CHANGE, KEPT, apply, assert_same, diff, keep, keeping, look};
use crate::harness::{DIR, Host, NSL, Running, TINY, USER, VIEW, wait_until};
use crate::leaks::{kill_hard, wait_until_past};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Instant;

/// Runs a command at a terminal; where it asks, runs a script, then answers. Prints what the command printed; its exit
/// code is the command's.
const ASK: &str = r"
import os, pty, subprocess, sys
pid, terminal = pty.fork()
if pid == 0: os.execv(sys.argv[3], sys.argv[3:])
seen = b''
asked = False
while True:
    try: more = os.read(terminal, 65536)
    except OSError: break
    if not more: break
    seen += more
    if not asked and b'[y/N] ' in seen:
        asked = True
        subprocess.run(['sh', '-ec', sys.argv[1]], check=True)
        os.write(terminal, sys.argv[2].encode() + b'\n')
sys.stdout.write(seen.decode().replace('\r', ''))
sys.stdout.flush()
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";

/// `nsl apply` must find this in the way, and change nothing.
#[track_caller]
fn conflicts(host: &Host, lines: &[&str]) {
    let before = look(host, &["/srv"]);
    let output = apply(host, &[]);
    output.assert_code(1);
    let stdout = output.stdout();
    let found: Vec<_> =
        stdout.lines().filter(|line| line.starts_with("conflict") || line.starts_with("refused")).collect();
    assert_eq!(found, lines, "{output}");
    assert!(output.stderr().contains("nothing was applied (hint: name the PATHs"), "{output}");
    assert_same(&look(host, &["/srv"]), &before);
}

#[test]
fn what_was_changed_on_the_host_meanwhile_is_not_overwritten() {
    let host = crate::own_host!("python3");
    let names = "content mode gone link";
    host.sh(&format!(
        "cd /srv; for n in {names} new same; do echo $n > $n; done; rm new link; ln -s a link; mkdir tree tree/deep opaque dir
        echo x > tree/deep/x; echo x > opaque/x; mkfifo fifo; echo b > both; echo d > deleted; mkdir d2f; echo x > d2f/x"
    ));
    keep(
        &host,
        "cd /srv; echo 2 >> content; chmod 600 mode; rm gone; ln -sfn b link; rm -r tree; rm -r opaque; mkdir opaque
        chmod 700 dir; echo new > new; rm fifo; echo 2 >> both; echo 2 >> deleted; rm -r d2f; echo f > d2f; echo f > fine",
    );
    host.sh("cd /srv; echo other >> content; touch mode; echo more >> gone; ln -sfn c link; echo y > tree/deep/y
        echo y > opaque/y; chown 3 dir; echo mine > new; chmod 600 fifo; echo 2 >> both; rm deleted; echo y >> d2f/x");
    conflicts(
        &host,
        &[
            "conflict  /srv/content: it was changed on this host meanwhile",
            "conflict  /srv/d2f: something in it was changed on this host meanwhile",
            "conflict  /srv/deleted: it was removed on this host meanwhile",
            "conflict  /srv/dir: it was changed on this host meanwhile",
            "conflict  /srv/fifo: it was changed on this host meanwhile",
            "conflict  /srv/gone: it was changed on this host meanwhile",
            "conflict  /srv/link: it was changed on this host meanwhile",
            "conflict  /srv/mode: it was changed on this host meanwhile",
            "conflict  /srv/new: it was changed on this host meanwhile",
            "conflict  /srv/opaque/y: it was changed on this host meanwhile",
            "conflict  /srv/tree: something in it was changed on this host meanwhile",
        ],
    );
    // What is the same on both sides is no conflict; nor is what was not asked for.
    apply(&host, &["/srv/fine", "/srv/opaque/x"]).assert_code(0);
    assert_eq!(host.sh("cat /srv/fine /srv/both; ls /srv/opaque"), "f\nb\n2\ny\n");
}

#[test]
fn what_changes_during_the_run_is_noticed_and_what_was_before_is_not() {
    let host = crate::own_host!();
    for number in 0..20 {
        host.sh(&format!("echo before > /srv/{number}"));
        let mut running = host.nsl(keeping(&[], &format!("echo up; cat; echo inside > /srv/{number}"))).start();
        assert_eq!(running.line(), "up");
        if number % 2 == 1 {
            host.sh(&format!("echo during > /srv/{number}"));
        }
        running.finish().assert_code(0);
        let output = apply(&host, &[]);
        output.assert_code(number % 2);
        host.sh(&format!("rm -r {KEPT}"));
    }
}

#[test]
fn question_is_asked_at_a_terminal_only_and_means_no_unless_answered_with_yes() {
    let host = crate::own_host!("python3");
    keep(&host, "echo new > /srv/new");
    let output = host.nsl(["apply", KEPT]).stdin("y\n").run();
    output.assert_code(125);
    assert!(output.stderr().contains("stdin is no terminal, so nobody can be asked (hint: use --yes)"), "{output}");
    let ask = |answer: &str| host.command("python3", ["-c", ASK, "true", answer, NSL, "apply", KEPT]).run();
    for answer in ["n", "", "Nein", "yess"] {
        ask(answer).assert_code(1);
    }
    assert_eq!(host.sh("ls /srv"), "");
    let output = ask("y");
    output.assert_prints("added     /srv/new\napply this change? [y/N] y\n1 change applied");
    assert_eq!(host.sh("cat /srv/new"), "new\n");
}

#[test]
fn link_put_in_a_directorys_place_leads_nowhere() {
    let host = crate::own_host!("python3");
    host.sh(
        "mkdir -p /srv/d/e /srv/outside; echo old > /srv/d/e/f; echo old > /srv/outside/f; echo old > /srv/outside/g",
    );
    keep(&host, "echo new > /srv/d/e/f; echo new > /srv/d/e/g; rm -r /srv/d/e; mkdir /srv/d/e; echo n > /srv/d/e/f");
    host.sh("mv /srv/d/e /srv/d/moved; ln -s /srv/outside /srv/d/e");
    let gone = "conflict  /srv/d/e/f: it was removed on this host meanwhile";
    conflicts(&host, &["conflict  /srv/d/e: it was changed on this host meanwhile", gone]);
    host.sh("rm /srv/d/e; mv /srv/d/moved /srv/d/e; mv /srv/d /srv/moved; ln -s moved /srv/d");
    let above = "conflict  /srv/d/e: it was removed on this host meanwhile";
    conflicts(&host, &["conflict  /srv/d: it was changed on this host meanwhile", above, gone]);
    host.sh("rm /srv/d; mv /srv/moved /srv/d");
    // While the question is open.
    let script = "mv /srv/d/e /srv/d/moved; ln -s /srv/outside /srv/d/e";
    let output = host.command("python3", ["-c", ASK, script, "y", NSL, "apply", KEPT]).run();
    output.assert_code(125);
    assert!(output.stdout().contains("cannot apply /srv/d/e"), "{output}");
    assert_eq!(host.sh("cd /srv/outside; cat f g; ls -A; find /srv -name '.nsl*'"), "old\nold\nf\ng\n");
}

#[test]
fn what_changes_while_the_question_is_open_is_not_overwritten() {
    let host = crate::own_host!("python3");
    host.sh("echo old > /srv/a");
    keep(&host, "echo new > /srv/a; echo new > /srv/b");
    for (script, name) in [("echo mine > /srv/b", "b"), ("echo mine >> /srv/a", "a")] {
        let output = host.command("python3", ["-c", ASK, script, "y", NSL, "apply", KEPT]).run();
        output.assert_code(125);
        assert!(output.stdout().contains(&format!("cannot apply /srv/{name}: it was changed just now")), "{output}");
        assert!(host.sh(&format!("cat /srv/{name}")).ends_with("mine\n"));
        host.sh("echo old > /srv/a; find /srv -name '.nsl*' | grep . && exit 1; true");
        // The next round begins anew.
        host.sh(&format!("rm -r {KEPT}; rm -f /srv/b"));
        keep(&host, "echo new > /srv/a; echo new > /srv/b");
    }
}

#[test]
fn made_up_directory_does_no_more_than_it_shows() {
    let host = crate::own_host!("python3");
    host.sh("mkdir -p /srv/real/sub; echo old > /srv/real/f; echo old > /srv/real/sub/f; echo x > /srv/x");
    keep(&host, "true");
    // Links as parents are links, whatever they lead to; what lies behind them is not reached.
    host.sh(&format!(
        "cd {KEPT}/upper; mkdir srv; ln -s real srv/link; ln -s /etc srv/etc; ln -s ../../../../etc srv/up
        echo s > srv/suid; chmod 6755 srv/suid; mknod srv/x c 0 0; mkfifo srv/pipe; echo t > srv/.nsl-apply-0.1
        python3 -c \"import os; os.setxattr('srv/suid', 'trusted.overlay.redirect', b'/etc/shadow')
os.setxattr('srv/suid', 'trusted.overlay.metacopy', b'')\""
    ));
    let shown = "added     /srv/.nsl-apply-0.1\nadded     /srv/etc -> /etc\nadded     /srv/link -> real\nadded     /srv/pipe (fifo)\n\
        added     /srv/suid (setuid, setgid)\nadded     /srv/up -> ../../../../etc\nremoved   /srv/x\n";
    assert_eq!(diff(&host, &[]), shown);
    apply(&host, &[]).assert_code(0);
    assert_eq!(
        host.sh("cd /srv; find . | sort | tr '\\n' ' '; readlink etc; stat -c %a suid"),
        ". ./.nsl-apply-0.1 ./etc ./link ./pipe ./real ./real/f ./real/sub ./real/sub/f ./suid ./up /etc\n6755\n"
    );
    for (made_up, words) in [
        ("rm -r upper; ln -s /srv upper", "Not a directory"),
        ("rm -r upper; mknod upper c 0 0", "Not a directory"),
        ("rm -r upper", "No such file"),
        ("rm changes.json", "there are none"),
        ("echo '{}' > changes.json", "not one of nsl's"),
        ("sed -i 's/\"version\":1/\"version\":2/' changes.json", "a newer nsl"),
        ("sed -i 's/\"id\":\"[^\"]*/\"id\":\"..\\/..\\/x/' changes.json", "not one of nsl's"),
        ("echo garbage > known", "not one of nsl's"),
        ("rm changes.json; ln -s /etc/passwd changes.json", "Too many symbolic links"),
    ] {
        host.sh(&format!("cp -a {KEPT} {DIR}/copy; cd {DIR}/copy; {made_up}"));
        for command in [&["diff"][..], &["apply", "-y"]] {
            host.nsl(command.iter().chain(&["/tmp/test/copy"])).run().assert_refused(125, &[words]);
        }
        host.sh(&format!("rm -r {DIR}/copy"));
    }
    host.sh(&format!("chown {USER} {KEPT}"));
    host.nsl(["apply", "-y", KEPT]).run().assert_refused(125, &["not permitted", "another user's"]);
    host.sh(&format!("chown 0 {KEPT}"));
}

#[test]
fn whiteout_of_what_holds_the_changes_is_refused() {
    let Some(host) = Host::with_root(&["busybox", "python3"], TINY) else { return };
    let words = ["run", "--network", "none", "--changes", "/var/kept", "--", "/opt/busybox", "true"];
    host.nsl(words).run().assert_prints("");
    host.sh("mknod /var/kept/upper/var c 0 0; mknod /var/kept/upper/usr c 0 0; mknod /var/kept/upper/home c 0 0; mkdir /home/m
        mount -t tmpfs m /home/m");
    let output = host.nsl(["apply", "-y", "/var/kept"]).run();
    output.assert_code(1);
    let stdout = output.stdout();
    let refused: Vec<_> = stdout.lines().filter(|line| line.starts_with("refused")).collect();
    assert_eq!(
        refused,
        [
            "refused   /home: another file system is mounted in it",
            "refused   /usr: another file system is mounted there",
            "refused   /var: it holds the changes themselves"
        ]
    );
    host.sh("umount /home/m; rm -r /var/kept");
}

#[test]
fn directory_is_one_runs_at_a_time() {
    let host = crate::own_host!();
    let mut first = host.nsl(keeping(&[], "echo one > /srv/one; echo up; cat")).start();
    assert_eq!(first.line(), "up");
    let words = ["in use", "a command still runs in it", "hint"];
    host.nsl(keeping(&[], "true")).run().assert_refused(125, &words[1..]);
    host.nsl(["apply", "-y", KEPT]).run().assert_refused(125, &words[1..]);
    let output = host.nsl(["diff", KEPT]).run();
    output.assert_code(0).assert_stdout("added     /srv/one");
    assert!(output.stderr().starts_with("nsl: warning: a command runs in /tmp/test/kept still"), "{output}");
    first.finish().assert_prints("");
    apply(&host, &[]).assert_code(0);
}

#[test]
fn directories_that_cannot_keep_changes_are_refused() {
    let host = crate::own_host!();
    host.sh(&format!("cd {DIR}; mkdir full theirs; touch full/x file; chown {USER} theirs; mkdir /srv/overlay"));
    let long = ["--rootfs", "/usr"];
    let cases: [(&str, &[&str], &[&str]); 7] = [
        ("full", &[], &["Directory not empty", "hint"]),
        ("file", &[], &["Not a directory"]),
        ("theirs", &[], &["not permitted", "your own"]),
        ("no/where", &[], &["No such file", "must be there"]),
        ("/srv/overlay", &[], &["Invalid argument", "it lies on an overlay"]),
        ("new", &["--empty"], &["--changes", "--empty"]),
        ("new", &long, &["--changes", "--rootfs"]),
    ];
    for (directory, options, words) in cases {
        let args =
            [&["run", "-w", "/", "--network", "none", "--changes", directory], options, &["--", "true"]].concat();
        host.nsl(args).cwd(DIR).run().assert_refused(125, words);
    }
    assert_eq!(
        host.sh(&format!("cd {DIR}; find . | sort | tr '\\n' ' '; ls -A /srv/overlay")),
        ". ./file ./full ./full/x ./theirs "
    );
    host.nsl(["run", "--dry-run", "--changes", "new", "--", "true"]).cwd(DIR).run().assert_code(0);
    host.sh(&format!("test ! -e {DIR}/new"));
    keep(&host, "true");
    host.sh(&format!("chown -R {USER} {KEPT}"));
    let output = host.nsl(keeping(&[], "true")).as_user().run();
    output.assert_refused(125, &["made with root, or without", "another directory"]);
}

#[test]
fn changes_are_there_after_kill_9_of_nsl() {
    let host = crate::own_host!();
    host.sh("echo old > /srv/file");
    for number in 0..20 {
        let mut running = host.nsl(keeping(&[], &format!("echo {number} > /srv/file; echo up; cat"))).start();
        assert_eq!(running.line(), "up");
        kill(Pid::from_raw(running.pid().cast_signed()), Signal::SIGKILL).expect("kill nsl");
        drop(running);
        let copy = if number == 0 { "" } else { "added     /srv/copy\n" };
        assert_eq!(host.nsl(["diff", KEPT]).run().stdout(), format!("{copy}changed   /srv/file\n"));
        // The next run waits until the last one's processes have ended.
        keep(&host, "cat /srv/file > /srv/copy");
    }
    apply(&host, &[]).assert_code(0);
    assert_eq!(host.sh("cat /srv/file /srv/copy"), "19\n19\n");
}

#[test]
fn full_disk_leaves_nothing_half_done_and_the_next_apply_finishes() {
    let Some(mut host) = Host::with_root(&["busybox"], TINY) else { return };
    host.sh("cd /srv; mkdir old; for n in $(seq 40); do head -c 100000 /dev/zero > old/$n; done; mount -o remount,size=60M /");
    let script = "cd /srv; for n in $(/opt/busybox seq 40); do /opt/busybox yes $n | /opt/busybox head -c 2000000 > old/$n; done; echo > z";
    host.nsl(["run", "--network", "none", "--changes", KEPT, "--", "/opt/busybox", "sh", "-c", script])
        .run()
        .assert_prints("");
    let output = apply(&host, &[]);
    output.assert_code(125);
    assert!(output.stderr().contains("No space left on device (hint: "), "{output}");
    assert!(output.stdout().contains("\nnot applied /srv/z\n"), "{output}");
    let count = "cd /srv; find . -name '.nsl*' | wc -l; find old -size -98c -o -size +97k -size -99k | wc -l; find old -size +1900k | wc -l; ls old | wc -l";
    let lines = host.sh(count);
    let counts: Vec<usize> = lines.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    assert_eq!((counts[0], counts[1] + counts[2], counts[3]), (0, 40, 40), "{lines}");
    host.sh("mount -o remount,size=200M /");
    host.accept();
    apply(&host, &[]).assert_code(0).assert_quiet();
    host.sh("cd /srv; for n in $(seq 40); do yes $n | head -c 2000000 | cmp - old/$n; done");
}

/// An apply that has begun to change the host, and since when.
fn apply_begun(host: &Host) -> (Running, Instant) {
    let running = host.nsl(["apply", "--yes", KEPT]).start();
    let marker = host.path(KEPT).join("applying");
    let stat = format!("/proc/{}/stat", running.pid());
    let has_ended = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z "));
    wait_until("the apply has begun", || marker.exists() || has_ended());
    (running, Instant::now())
}

fn kill_at(running: Running, moment: Instant) {
    wait_until_past(moment);
    kill_hard(running.pid());
    drop(running);
}

/// Kills per kind of root, at moments spread over the time that an apply takes.
const KILLS: u32 = 16;

/// Prints which of /srv/f/N are neither old nor new as a whole.
const HALF: &str = "for n in range(300):
    text = open(f'/srv/f/{n}').read()
    if text not in [f'old{n}\\n' * 900, f'new{n}\\n' * 900]: print(n)";
const OLD: &str =
    "mkdir -p /srv/f; python3 -c \"for n in range(300): open(f'/srv/f/{n}', 'w').write(f'old{n}\\n' * 900)\"";
const NEW: &str = "python3 -c \"for n in range(300): open(f'/srv/f/{n}', 'w').write(f'new{n}\\n' * 900)\"";

#[test]
fn apply_killed_at_any_moment_leaves_each_file_old_or_new_and_the_next_finishes() {
    for root in [VIEW, TINY] {
        let (Some(host), Some(direct)) =
            (Host::with_root(&["python3", "busybox"], root), Host::with_root(&["python3", "busybox"], root))
        else {
            return;
        };
        let (before, change) = (format!("{BEFORE}\n{OLD}"), format!("{CHANGE}\n{NEW}"));
        let run = |script: &str| {
            // The tiny root shows no /usr inside.
            let volume = ["--privileged", "-v", "/usr:/usr"];
            host.nsl(keeping(&volume, script)).run().assert_prints("");
        };
        direct.sh(&before);
        direct.sh(&change);
        let expected = look(&direct, &["/srv"]);
        host.sh(&before);
        run(&change);
        let all = diff(&host, &[]).lines().count() as u32;
        let (running, start) = apply_begun(&host);
        running.finish().assert_code(0);
        let time = start.elapsed();
        assert_same(&look(&host, &["/srv"]), &expected);
        let (mut stopped, mut half) = (0, 0);
        for number in 0..KILLS {
            host.sh(&format!("rm -rf {KEPT} /srv/t /srv/f\n{before}"));
            run(&change);
            let (running, start) = apply_begun(&host);
            kill_at(running, start + time * number / KILLS);
            host.command("python3", ["-c", HALF]).run().assert_prints("");
            let left = diff(&host, &[]).lines().count() as u32;
            stopped += u32::from(host.path(KEPT).join("applying").exists());
            half += u32::from(left > 0 && left < all);
            let output = apply(&host, &[]);
            output.assert_code(0).assert_quiet();
            assert_eq!(host.sh("find /srv -name '.nsl*'"), "");
            assert_same(&look(&host, &["/srv"]), &expected);
        }
        eprintln!("{KILLS} kills: {stopped} at work, {half} of them with some changes done; an apply takes {time:?}");
        assert!(stopped > KILLS / 8, "only {stopped} kills came at work, in {time:?}");
    }
}

#[test]
fn signal_stops_an_apply_between_two_files() {
    let host = crate::own_host!();
    host.sh("mkdir /srv/d");
    keep(&host, "for n in $(seq 3000); do echo $n > /srv/d/$n; done");
    let running = host.nsl(["apply", "-y", KEPT]).start();
    let find = |name: &str| host.sh(&format!("find /srv/d -name '{name}' | head -1"));
    wait_until("it has begun", || !find(".nsl*").is_empty());
    running.signal(Signal::SIGINT);
    let output = running.finish();
    output.assert_code(125);
    assert!(output.stderr().contains("a signal came (hint: "), "{output}");
    assert_eq!(find(".nsl*"), "");
    apply(&host, &[]).assert_code(0);
    assert_eq!(host.sh("ls /srv/d | wc -l"), "3000\n");
}
