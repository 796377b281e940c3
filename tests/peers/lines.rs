//! Command lines, messages and exit codes.

use super::*;

#[test]
fn version_help_and_licence_are_where_the_peers_have_them() {
    let host = peers!();
    check(
        &host,
        &[
            case(TINI, &["--version"]).prints("tini version 0.19.0\n"),
            case(TINI, &["-h"]).prints("…tini version 0.19.0…\nUsage: NAME …"),
            case(TINI, &["-gh", "--nope"]).prints("…tini version 0.19.0…\nUsage: NAME …"),
            case(TINI, &["-l"]).prints("…icense…"),
            case(DUMB_INIT, &["--version"]).says("dumb-init v1.2.5\n"),
            case(DUMB_INIT, &["-V", "no-such-command"]).says("dumb-init v1.2.5\n"),
            case(DUMB_INIT, &["--vers"]).says("dumb-init v1.2.5\n"),
            case(DUMB_INIT, &["-h"]).says("dumb-init v1.2.5\nUsage: dumb-init [option] command …"),
            case(DUMB_INIT, &["-c", "--help"]).says("dumb-init v1.2.5\nUsage: dumb-init [option] command …"),
            case(CATATONIT, &["--version"]).prints("tini version 0.1.7_catatonit\n"),
            case(CATATONIT, &["-gV", "no-such-command"]).prints("tini version 0.1.7_catatonit\n"),
            case(CATATONIT, &["--v"]).prints("tini version 0.1.7_catatonit\n"),
            case(CATATONIT, &["-h"]).says("usage: catatonit [-ghLPV] [--] …"),
            case(CATATONIT, &["-L"]).prints("…icense…"),
        ],
    );
}

#[test]
fn options_of_tini_are_read_as_tini_does() {
    let host = peers!();
    let refused = |words| case(&["tini"], words).exits(1);
    check(
        &host,
        &[
            case(TINI, &["true"]),
            case(TINI, &["-gsw", "--", "sh", "-c", "exit 3"]).exits(3),
            case(TINI, &["-g", "--", "echo", "-g", "--", "-x"]).prints("-g -- -x\n"),
            // Options may stand behind the command …
            case(TINI, &["echo", "-g", "a", "-s", "b"]).prints("a b\n"),
            case(TINI, &["echo", "-e", "7", "--", "-z"]).prints("-z\n"),
            case(TINI, &["true", "-h"]).prints("…tini version 0.19.0…\nUsage: …"),
            case(TINI, &["sh", "-c", "true"])
                .exits(1)
                .says("NAME: invalid option -- 'c'\n…tini version 0.19.0…\nUsage: …"),
            // … unless that is not wanted.
            case(TINI, &["echo", "-g", "a"]).with(&[("POSIXLY_CORRECT", "")]).prints("-g a\n"),
            case(TINI, &["-g", "sh", "-c", "exit 3"]).with(&[("POSIXLY_CORRECT", "1")]).exits(3),
            refused(&[]).says("…tini version 0.19.0…\nUsage: NAME …"),
            refused(&["--"]).says("…tini version 0.19.0…\nUsage: NAME …"),
            refused(&["-g"]).says("…tini version 0.19.0…\nUsage: NAME …"),
            refused(&["-gx", "true"]).says("NAME: invalid option -- 'x'\n…tini version 0.19.0…\nUsage: NAME …"),
            refused(&["-V"]).says("NAME: invalid option -- 'V'\n…tini version 0.19.0…\nUsage: NAME …"),
            refused(&["--help"]).says("NAME: invalid option -- '-'\n…tini version 0.19.0…\nUsage: NAME …"),
            refused(&["--version", "true"]).says("NAME: invalid option -- '-'\n…tini version 0.19.0…\nUsage: …"),
            refused(&["-p"]).says("NAME: option requires an argument -- 'p'\n…tini version 0.19.0…\nUsage: …"),
            refused(&["true", "-e"]).says("NAME: option requires an argument -- 'e'\n…tini version 0.19.0…\nUsage: …"),
            refused(&["-p", "SIGNOPE", "true"]).says("[FATAL tini (1)] Not a valid option for -p: SIGNOPE\n"),
            refused(&["-p", "", "true"]).says("[FATAL tini (1)] Not a valid option for -p: \n"),
            refused(&["-e", "256", "true"]).says("[FATAL tini (1)] Not a valid option for -e: 256\n"),
            refused(&["-e-1", "true"]).says("[FATAL tini (1)] Not a valid option for -e: -1\n"),
            refused(&["-e", "1x", "true"]).says("[FATAL tini (1)] Not a valid option for -e: 1x\n"),
            case(TINI, &["-"]).exits(127).says("[FATAL tini (2)] exec - failed: No such file or directory\n"),
            case(TINI, &["-pSIGTERM", "-p", "SIGKILL", "true"]),
            case(TINI, &["-e", "143", "-ge7", "--", "sh", "-c", "exit 7"]),
            case(TINI, &["-e", "143", "-e7", "--", "sh", "-c", "exit 8"]).exits(8),
            case(TINI, &["-e", "143", "--", "sh", "-c", "kill $$"]),
            case(TINI, &["-e", "192", "--", "bash", "-c", "kill -64 $$"]),
            case(TINI, &["-e", "0", "-e", "255", "--", "sh", "-c", "exit 255"]),
            // It says nothing of what it does before it is asked to.
            case(TINI, &["true"]).with(&[("TINI_VERBOSITY", "0")]),
            case(TINI, &["true"]).with(&[("TINI_VERBOSITY", "x")]),
            case(TINI, &["-vvv", "true"]).with(&[("TINI_VERBOSITY", "1")]),
            case(TINI, &["true"]).with(&[("TINI_SUBREAPER", ""), ("TINI_KILL_PROCESS_GROUP", "")]),
        ],
    );
}

#[test]
fn options_of_dumb_init_are_read_as_dumb_init_does() {
    let host = peers!();
    let refused = |words| case(DUMB_INIT, words).exits(1);
    check(
        &host,
        &[
            case(DUMB_INIT, &["true"]),
            case(DUMB_INIT, &["sh", "-c", "exit 3"]).exits(3),
            case(DUMB_INIT, &["echo", "-h", "--", "-c"]).prints("-h -- -c\n"),
            case(DUMB_INIT, &["-c", "--", "echo", "-h"]).prints("-h\n"),
            case(DUMB_INIT, &["--single-child", "sh", "-c", "exit 3"]).exits(3),
            case(DUMB_INIT, &["--s", "--rew", "15:2", "true"]),
            case(DUMB_INIT, &["-cr15:0", "-r", "31:1", "--rewrite=2:3", "--rewrite", "1:2", "true"]),
            refused(&[]).says("Usage: dumb-init [option] …--help…"),
            refused(&["--"]).says("Usage: dumb-init [option] …--help…"),
            refused(&["-x", "true"]).says("dumb-init: invalid option -- 'x'\n"),
            refused(&["-cg", "true"]).says("dumb-init: invalid option -- 'g'\n"),
            refused(&["--nope", "true"]).says("dumb-init: unrecognized option '--nope'\n"),
            refused(&["--ver"]).says("dumb-init: option '--ver' is ambiguous…\n"),
            refused(&["--version=3"]).says("dumb-init: option '--version' doesn't allow an argument\n"),
            refused(&["-r"]).says("dumb-init: option requires an argument -- 'r'\n"),
            refused(&["-c", "--rewrite"]).says("dumb-init: option '--rewrite' requires an argument\n"),
            refused(&["-r", "15", "true"]).says("Usage: -r …"),
            refused(&["-r", "TERM:INT", "true"]).says("Usage: -r …"),
            refused(&["-r", "0:2", "true"]).says("Usage: -r …"),
            refused(&["-r", "15:32", "true"]).says("Usage: -r …"),
            refused(&["-r", "32:15", "true"]).says("Usage: -r …"),
            refused(&["--rewrite=", "true"]).says("Usage: -r …"),
            case(DUMB_INIT, &["-"]).exits(2).says("[dumb-init] -: No such file or directory\n"),
            case(DUMB_INIT, &["true"]).with(&[("DUMB_INIT_DEBUG", "0")]),
            case(DUMB_INIT, &["true"]).with(&[("DUMB_INIT_DEBUG", "yes"), ("DUMB_INIT_SETSID", "0")]),
        ],
    );
}

#[test]
fn options_of_catatonit_are_read_as_catatonit_does() {
    let host = peers!();
    let refused = |words| case(CATATONIT, words).exits(1);
    check(
        &host,
        &[
            case(CATATONIT, &["true"]),
            case(CATATONIT, &["-g", "--", "sh", "-c", "exit 3"]).exits(3),
            case(CATATONIT, &["echo", "-g", "a", "--", "-b"]).prints("a -b\n"),
            case(CATATONIT, &["echo", "-g", "a"]).with(&[("POSIXLY_CORRECT", "")]).prints("-g a\n"),
            refused(&[]).says("ERROR (catatonit:1): missing program name\nusage: catatonit …"),
            refused(&["-g", "--"]).says("ERROR (catatonit:1): missing program name\nusage: catatonit …"),
            refused(&["-x", "true"]).says("NAME: invalid option -- 'x'\nusage: catatonit …"),
            refused(&["sh", "-c", "true"]).says("NAME: invalid option -- 'c'\nusage: catatonit …"),
            refused(&["--help"]).says("NAME: unrecognized option '--help'\nusage: catatonit …"),
            refused(&["--version=3"]).says("NAME: option '--version' doesn't allow an argument\nusage: catatonit …"),
            refused(&["-"]).says("ERROR (catatonit:2): failed to exec pid1: No such file or directory\n"),
            refused(&["true"])
                .with(&[("CATATONIT_LOG", "")])
                .says("ERROR (catatonit:1): CATATONIT_LOG is reserved for future use\n"),
        ],
    );
}

#[test]
fn what_cannot_be_executed_is_told_in_the_peers_words_and_codes() {
    let host = peers!();
    host.sh("cd /tmp/test; echo '#!/no/such' > orphaned; echo 'exit 4$#' > script; touch plain; \
        chmod +x orphaned script");
    check(
        &host,
        &[
            case(TINI, &["no-such-command"])
                .exits(127)
                .says("[FATAL tini (2)] exec no-such-command failed: No such file or directory\n"),
            case(TINI, &["/no/such"])
                .exits(127)
                .says("[FATAL tini (2)] exec /no/such failed: No such file or directory\n"),
            case(TINI, &[""]).exits(127).says("[FATAL tini (2)] exec  failed: No such file or directory\n"),
            case(TINI, &["/tmp/test/orphaned"])
                .exits(127)
                .says("[FATAL tini (2)] exec /tmp/test/orphaned failed: No such file or directory\n"),
            case(TINI, &["/tmp/test/plain"])
                .exits(126)
                .says("[FATAL tini (2)] exec /tmp/test/plain failed: Permission denied\n"),
            case(TINI, &["/tmp/test"]).exits(126).says("[FATAL tini (2)] exec /tmp/test failed: Permission denied\n"),
            case(TINI, &["/tmp/test/plain/x"])
                .exits(1)
                .says("[FATAL tini (2)] exec /tmp/test/plain/x failed: Not a directory\n"),
            case(TINI, &["/tmp/test/script", "x"]).exits(41),
            case(DUMB_INIT, &["no-such-command"])
                .exits(2)
                .says("[dumb-init] no-such-command: No such file or directory\n"),
            case(DUMB_INIT, &["/tmp/test/orphaned"])
                .exits(2)
                .says("[dumb-init] /tmp/test/orphaned: No such file or directory\n"),
            case(DUMB_INIT, &["/tmp/test/plain"]).exits(2).says("[dumb-init] /tmp/test/plain: Permission denied\n"),
            case(DUMB_INIT, &["-c", "/tmp/test"]).exits(2).says("[dumb-init] /tmp/test: Permission denied\n"),
            case(DUMB_INIT, &["/tmp/test/plain/x"]).exits(2).says("[dumb-init] /tmp/test/plain/x: Not a directory\n"),
            case(DUMB_INIT, &["/tmp/test/script", "x"]).exits(41),
            case(CATATONIT, &["no-such-command"])
                .exits(1)
                .says("ERROR (catatonit:2): failed to exec pid1: No such file or directory\n"),
            case(CATATONIT, &["/tmp/test/orphaned"])
                .exits(1)
                .says("ERROR (catatonit:2): failed to exec pid1: No such file or directory\n"),
            case(CATATONIT, &["/tmp/test/plain"])
                .exits(1)
                .says("ERROR (catatonit:2): failed to exec pid1: Permission denied\n"),
            case(CATATONIT, &["/tmp/test/plain/x"])
                .exits(1)
                .says("ERROR (catatonit:2): failed to exec pid1: Not a directory\n"),
            case(CATATONIT, &["/tmp/test/script", "x"]).exits(41),
        ],
    );
}

#[test]
fn binary_of_another_machine_is_refused_and_not_given_to_a_shell() {
    let host = peers!();
    host.sh("printf '\\177ELF\\0' > /tmp/test/alien; chmod +x /tmp/test/alien");
    for (name, code, line) in [
        ("tini", 1, "[FATAL tini (2)] exec /tmp/test/alien failed: Exec format error\n"),
        ("dumb-init", 2, "[dumb-init] /tmp/test/alien: Exec format error\n"),
        ("catatonit", 1, "ERROR (catatonit:2): failed to exec pid1: Exec format error\n"),
    ] {
        let run = |whose| Called::new(&host, whose, &[name, "/tmp/test/alien"]).first().run();
        let output = run(Ours);
        output.assert_code(code);
        assert_eq!(output.stderr(), line, "{output}");
        // The shell takes the first bytes for a command.
        let output = run(Theirs);
        assert!(output.code == 127 && output.stderr().contains("not found"), "{output}");
    }
}

#[test]
fn exit_codes_are_the_commands_and_128_with_the_signal() {
    let host = peers!();
    let all = &["tini", "dumb-init", "catatonit"];
    let script = |script: &'static [&'static str]| case(all, script);
    check(
        &host,
        &[
            script(&["--", "sh", "-c", "exit 0"]),
            script(&["--", "sh", "-c", "exit 1"]).exits(1),
            script(&["--", "sh", "-c", "exit 255"]).exits(255),
            script(&["--", "sh", "-c", "kill -KILL $$"]).exits(137),
            script(&["--", "sh", "-c", "kill -TERM $$"]).exits(143),
            script(&["--", "sh", "-c", "kill -PIPE $$"]).exits(141),
            script(&["--", "sh", "-c", "ulimit -c 0; kill -SEGV $$"]).exits(139),
            script(&["--", "bash", "-c", "kill -64 $$"]).exits(192),
        ],
    );
}

#[test]
fn tini_warns_when_it_cannot_reap() {
    let host = peers!();
    for whose in BOTH {
        let output = Called::new(&host, whose, &["tini", "true"]).ordinary().run();
        output.assert_code(0).assert_stdout("");
        let line = output.stderr().lines().next().map(without_pids);
        let expected = "[WARN  tini (N)] Tini is not running as PID N and isn't registered as a child subreaper.";
        assert_eq!(line.as_deref(), Some(expected), "{output}");
        assert!(output.stderr().contains("-s") && output.stderr().contains("TINI_SUBREAPER"), "{output}");
        let called = Called::new(&host, whose, &["tini", "true"]).environment(&[("TINI_VERBOSITY", "0")]);
        called.ordinary().run().assert_prints("");
    }
}

#[test]
fn tini_warns_of_orphans_that_it_reaps() {
    let host = peers!();
    let script = "(sleep 0.05 & echo $!); sleep 0.2; exit 3";
    for whose in BOTH {
        let words = ["tini", "-w", "--", "sh", "-c", script];
        let output = Called::new(&host, whose, &words).first().run();
        let orphan = output.assert_code(3).stdout();
        let line = format!("[WARN  tini (1)] Reaped zombie process with pid={orphan}");
        assert_eq!(output.stderr(), line, "{output}");
        let called = Called::new(&host, whose, &words).environment(&[("TINI_VERBOSITY", "0")]);
        called.first().run().assert_code(3).assert_quiet();
    }
}

#[test]
fn tini_tells_more_on_stderr_not_on_stdout() {
    let host = peers!();
    let lines = "[INFO  tini (1)] Spawned child process 'sh' with pid '2'\n\
        [INFO  tini (1)] Main child exited normally (with status '7')\n";
    for (whose, stdout, stderr) in [(Theirs, lines, ""), (Ours, "", lines)] {
        let words = ["tini", "-v", "--", "sh", "-c", "exit 7"];
        let output = Called::new(&host, whose, &words).first().run();
        assert_eq!((output.code, &*output.stdout(), &*output.stderr()), (7, stdout, stderr), "{output}");
        let words = ["tini", "--", "sh", "-c", "exit 7"];
        let output = Called::new(&host, whose, &words).environment(&[("TINI_VERBOSITY", "2")]).first().run();
        assert_eq!((output.code, &*output.stdout(), &*output.stderr()), (7, stdout, stderr), "{output}");
        let words = ["tini", "-vv", "--", "sh", "-c", "kill -WINCH 1; sleep 0.1; kill -KILL $$"];
        let output = Called::new(&host, whose, &words).first().run();
        let told = if whose == Theirs { output.stdout() } else { output.stderr() };
        assert!(told.contains("[DEBUG tini (1)] Passing signal: '"), "{output}");
        assert!(told.contains("[INFO  tini (1)] Main child exited with signal (with signal '"), "{output}");
    }
}

#[test]
fn dumb_init_and_catatonit_tell_more_on_stderr() {
    let host = peers!();
    let script = "(true &); sleep 0.1; exit 7";
    for whose in BOTH {
        for (words, variable) in
            [(&["dumb-init", "-r", "28:1", "-v"][..], "NONE"), (&["dumb-init", "-r28:1"], "DUMB_INIT_DEBUG")]
        {
            let script = "trap : HUP; (true &); sleep 0.1; kill -WINCH 1; while ! sleep 0.1; do :; done; exit 7";
            let words: Vec<_> = words.iter().chain(&["sh", "-c", script]).copied().collect();
            let output = Called::new(&host, whose, &words).environment(&[(variable, "1")]).first().run();
            output.assert_code(7).assert_stdout("");
            for line in [
                "[dumb-init] Child spawned with PID 2.\n",
                "[dumb-init] A child with PID 4 exited with exit status 0.\n",
                "[dumb-init] Received signal 28.\n",
                "[dumb-init] Forwarded signal 1 to children.\n",
                "[dumb-init] A child with PID 2 exited with exit status 7.\n",
                "[dumb-init] Child exited with status 7. Goodbye.\n",
            ] {
                assert!(output.stderr().contains(line), "{line}\n{output}");
            }
        }
        let called = Called::new(&host, whose, &["catatonit", "--", "sh", "-c", script]);
        let output = called.environment(&[("CATATONIT_DEBUG", "")]).first().run();
        output.assert_code(7).assert_stdout("");
        for line in ["pid1 (2) spawned: sh\n", "child process 4 exited with code 0\n"] {
            assert!(output.stderr().contains(line), "{line}\n{output}");
        }
    }
}

#[test]
fn values_of_options_are_read_by_other_rules_in_few_cases() {
    let host = peers!();
    for (words, theirs, ours) in [
        (&["tini", "-p", "TERM", "true"][..], 1, 0),
        (&["tini", "-p", "15", "true"], 1, 0),
        (&["tini", "-p", "SIGPWR", "true"], 1, 0),
        (&["tini", "-e", "", "true"], 0, 1),
        (&["tini", "-e", "+1", "true"], 0, 1),
        (&["dumb-init", "-r", "15:2x", "true"], 0, 1),
        (&["dumb-init", "-r", "15:+2", "true"], 0, 1),
    ] {
        Called::new(&host, Theirs, words).first().run().assert_code(theirs);
        Called::new(&host, Ours, words).first().run().assert_code(ours);
    }
}

#[test]
fn texts_are_compared_with_any_text_left_open() {
    assert!(is_like("a b c", "a…c") && is_like("ab", "a…b…") && is_like("", "…") && is_like("x", "x"));
    assert!(!is_like("a b", "a") && !is_like("a", "a b") && !is_like("ab", "…a"));
    assert_eq!(
        without_pids("[WARN  tini (12)] pid=3, (catatonit:45): PID 6."),
        "[WARN  tini (N)] pid=N, (catatonit:N): PID N."
    );
    assert!(PATIENCE > A_WHILE);
}
