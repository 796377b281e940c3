//! The three at a terminal, and under a shell with job control.

use super::*;

/// A shell that runs a script as the leader of a session on a terminal, with a program in its PATH.
fn at_a_terminal(host: &Host, whose: Whose, words: &[&str]) -> Pty {
    Pty::start(Called::new(host, whose, words).environment(&[("PS1", "outer> "), ("TINI_SUBREAPER", "")]).ordinary())
}

#[test]
fn keys_reach_the_command_at_a_terminal() {
    let host = peers!();
    for name in EACH {
        for whose in BOTH {
            // As a session's leader, which an ENTRYPOINT with a terminal is.
            let script = "trap 'echo INT; exit 7' INT; tty; echo up; while :; do sleep 0.01; done";
            let mut pty = at_a_terminal(&host, whose, &[name, "--", "sh", "-c", script]);
            pty.until("up\r\n");
            assert!(pty.all().contains("/dev/pts/"), "{:?}", pty.all());
            pty.keys(CTRL_C);
            pty.until("INT\r\n");
            assert_eq!(pty.end(), 7, "{whose:?} {name}");
        }
    }
}

#[test]
fn shell_at_a_terminal_can_stop_its_jobs() {
    let host = peers!();
    for (whose, name) in
        [(Theirs, "tini"), (Ours, "tini"), (Theirs, "dumb-init"), (Ours, "dumb-init"), (Ours, "catatonit")]
    {
        let mut pty = at_a_terminal(&host, whose, &[name, "--", "bash", "--noprofile", "--norc", "--noediting", "-i"]);
        let greeting = pty.until("outer> ");
        assert!(!greeting.contains("job control"), "{greeting:?}");
        pty.line("sleep 100");
        pty.until("sleep 100\r\n");
        wait_until("the job is in the foreground", || {
            let group = stat(only_child_among(pty.pid(), "bash"), 8);
            fs::read_to_string(format!("/proc/{group}/comm")).is_ok_and(|comm| comm == "sleep\n")
        });
        pty.keys(CTRL_Z);
        pty.until("Stopped");
        pty.line("kill -KILL %1; while jobs %1; do sleep 0.01; done >/dev/null 2>&1; exit 5");
        assert_eq!(pty.end(), 5, "{whose:?} {name}");
    }
}

#[test]
fn foreground_is_given_back_to_the_script_that_called() {
    let host = peers!();
    let script = "\"$0\" -- sh -c 'exit 4'; echo code=$?; if read line; then echo line=$line; else echo lost; fi";
    for name in EACH {
        for whose in BOTH {
            let mut pty = at_a_terminal(&host, whose, &["sh", "-c", script, name]);
            pty.until("code=4\r\n");
            pty.line("hello");
            // Read by a process group in the background that nobody can stop: EIO. dumb-init leaves the foreground be.
            pty.until(if whose == Theirs && *name != "dumb-init" { "lost\r\n" } else { "line=hello\r\n" });
            assert_eq!(pty.end(), 0, "{whose:?} {name}");
        }
    }
}

#[test]
fn job_in_the_background_takes_no_foreground() {
    let host = peers!();
    for name in EACH {
        for whose in BOTH {
            let shell = ["bash", "--noprofile", "--norc", "--noediting", "-i"];
            let mut pty = at_a_terminal(&host, whose, &shell);
            pty.until("outer> ");
            pty.line(&format!("{name} -- sh -c 'echo run''ning; exec sleep 1000' &"));
            pty.until("running\r\n");
            let is_stolen = || stat(pty.pid(), 8) != stat(pty.pid(), 5);
            let steals = whose == Theirs && *name != "dumb-init";
            // catatonit takes it while its command runs already.
            wait_until(&format!("{whose:?} {name} has taken the foreground, or left it"), || is_stolen() == steals);
            if steals {
                // The only way to the shell is to end the thief.
                signal(stat(pty.pid(), 8).parse().expect("a process group"), Signal::SIGKILL);
                continue;
            }
            pty.line("kill %1; wait %1; echo code=$?");
            pty.until("code=143\r\n");
            pty.line("exit 0");
            assert_eq!(pty.end(), 0, "{whose:?} {name}");
        }
    }
}
