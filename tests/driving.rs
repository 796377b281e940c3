//! What programs that drive nsl rely on: events, the pidfile, descriptors handed on, a service manager's sockets.

use crate::harness::{DIR, Host, Invocation, NSL, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

/// `nsl run` with these words, events to a file.
fn watched<'a>(host: &'a Host, words: &[&str]) -> Invocation<'a> {
    let script = format!("exec {NSL} run --status-fd 3 \"$@\" 3>{DIR}/events");
    host.command("bash", ["-c", &script, "bash"].iter().chain(words))
}

/// The events so far; the time of each is looked at and left out.
fn events(host: &Host) -> Vec<Value> {
    let text = fs::read_to_string(host.path(format!("{DIR}/events"))).unwrap_or_default();
    let mut events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    for event in &mut events {
        let time = event.as_object_mut().and_then(|event| event.remove("time")).expect("a time");
        let time = time.as_str().map(humantime::parse_rfc3339).expect("a text").expect("RFC 3339");
        assert!(time.elapsed().is_ok_and(|ago| ago < Duration::from_mins(1)));
    }
    events
}

/// What is told of an end of the command's own.
fn exited(code: i32, signal: Option<&str>) -> Value {
    json!({"event": "exited", "code": code, "signal": signal, "oom": false, "timed_out": false})
}

#[test]
fn start_and_end_are_told_with_pid_and_network() {
    let host = crate::host!("ip");
    let words = ["--hostname", "box", "--", "sh", "-c", "ip -br -4 addr show eth0; ip route; read line; exit 3"];
    let mut running = watched(&host, &words).start();
    let (addresses, routes) = (running.line(), running.line());
    wait_until("the start is told", || !events(&host).is_empty());
    let [started] = &events(&host)[..] else { panic!("one event") };
    assert_eq!((&started["event"], &started["hostname"]), (&json!("started"), &json!("box")));
    assert_eq!(started["pid"], running.init());
    let part = |name: &str| started["network"][name].as_str().expect("a text").to_owned();
    assert!(addresses.contains(&format!(" {}/", part("address"))), "{addresses} {started}");
    assert!(routes.starts_with(&format!("default via {} ", part("gateway"))), "{routes} {started}");
    assert!(host.sh("ip -br link").contains(&format!("{}@", part("device"))), "{started}");
    running.finish().assert_code(3);
    assert_eq!(events(&host)[1..], [exited(3, None)]);
}

#[test]
fn the_end_tells_a_signal_from_an_exit_code() {
    let host = crate::host!();
    let end = |script: &str| {
        watched(&host, &["--network", "none", "--", "bash", "-c", script]).run().assert_quiet();
        events(&host).pop().expect("an event")
    };
    assert_eq!(end("exit 143"), exited(143, None));
    assert_eq!(end("kill -TERM $$"), exited(143, Some("SIGTERM")));
    assert_eq!(end("kill -40 $$"), exited(168, Some("SIGRTMIN+6")));
    // Also if something is left to be ended.
    assert_eq!(end("sleep 30 & kill -9 $$"), exited(137, Some("SIGKILL")));
}

#[test]
fn an_end_by_what_nsl_forwards_is_told() {
    let host = crate::host!();
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let running = watched(&host, &["--network", "none", "--", "sleep", "30"]).start();
        wait_until("the start is told", || events(&host).len() == 1);
        running.signal(signal);
        running.finish().assert_code(code);
        assert_eq!(events(&host)[1], exited(code, Some(signal.as_str())));
    }
}

#[test]
fn an_end_by_timeout_is_told() {
    let host = crate::host!();
    watched(&host, &["--network", "none", "--timeout", "50ms", "--", "sleep", "30"]).run().assert_code(124);
    let exited = json!({"event": "exited", "code": 124, "signal": "SIGTERM", "oom": false, "timed_out": true});
    assert_eq!(events(&host)[1..], [exited]);
    // By the signal that is to stop it.
    let words = ["--network", "none", "--timeout", "50ms", "--stop-signal", "INT", "--", "sleep", "30"];
    watched(&host, &words).run().assert_code(124);
    assert_eq!(events(&host)[1]["signal"], "SIGINT");
}

#[test]
fn stops_are_told() {
    let host = crate::host!();
    let running = watched(&host, &["--network", "none", "--", "sh", "-c", "kill -STOP $$; read line; exit 5"]).start();
    wait_until("the stop is told", || events(&host).len() == 2);
    running.signal(Signal::SIGCONT);
    wait_until("it is told that it goes on", || events(&host).len() == 3);
    running.finish().assert_code(5);
    let told = events(&host).split_off(1);
    let [stopped, continued] = [json!({"event": "stopped", "signal": "SIGSTOP"}), json!({"event": "continued"})];
    assert_eq!(told, [stopped, continued, exited(5, None)]);
}

#[test]
fn failures_are_told_apart_from_exits() {
    let host = crate::host!();
    let failed = |words: &[&str], code: u8| {
        watched(&host, words).run().assert_refused(code.into(), &[]);
        let [failed] = &events(&host)[..] else { panic!("one event: {:?}", events(&host)) };
        assert_eq!((&failed["event"], &failed["code"]), (&json!("failed"), &json!(code)));
        (failed["step"].clone(), failed["error"].clone(), failed["message"].as_str().expect("a text").to_owned())
    };
    let (step, error, message) = failed(&["--rootfs", "/nowhere", "--", "true"], 125);
    assert_eq!((step, error), (json!("use /nowhere as the root"), json!("ENOENT")));
    assert_eq!(message, "cannot use /nowhere as the root: No such file or directory");
    let (step, error, message) = failed(&["--", "no-such-command"], 127);
    assert_eq!((step, error), (json!("execute no-such-command"), json!("ENOENT")));
    assert!(message.contains("(hint: "), "{message}");
    assert_eq!(failed(&["-e", "=x", "--", "true"], 125).1, Value::Null);
    let long = format!("/{}", "x".repeat(100_000));
    let (step, error, _) = failed(&["--network", "none", "--", &long], 127);
    assert_eq!((step.as_str().map(str::len), error), (Some(150), json!("ENOENT")));
}

#[test]
fn a_sandbox_that_is_killed_has_failed() {
    let host = crate::host!();
    let running = watched(&host, &["--network", "none", "--", "sleep", "30"]).start();
    wait_until("the start is told", || events(&host).len() == 1);
    kill(Pid::from_raw(running.init().cast_signed()), Signal::SIGKILL).expect("kill the init");
    running.finish().assert_refused(137, &["SIGKILL"]);
    assert_eq!((&events(&host)[1]["event"], &events(&host)[1]["code"]), (&json!("failed"), &json!(137)));
}

#[test]
fn a_dry_run_tells_nothing() {
    let host = crate::host!();
    watched(&host, &["--dry-run", "--", "true"]).run().assert_code(0);
    assert_eq!(events(&host), [json!(null); 0]);
}

#[test]
fn events_go_to_any_descriptor_that_can_be_written() {
    let host = crate::host!("python3");
    let run = |redirection: &str, number: u32| {
        let script = format!("exec {NSL} run --network none --status-fd {number} -- true {redirection}");
        let output = host.command("bash", ["-c", &script]).run();
        output.assert_code(0);
        output
    };
    for output in [run("", 1), run("3>&1", 3), run("200>&1", 200), run("2>&1", 2)] {
        let stdout = output.stdout();
        let kinds: Vec<_> = stdout.lines().map(|line| line.split('"').nth(3).unwrap_or_default()).collect();
        assert_eq!(kinds, ["started", "exited"], "{output}");
    }
    // A file keeps what is in it.
    host.sh(&format!("echo first > {DIR}/log"));
    run(&format!("3>>{DIR}/log"), 3);
    assert_eq!(host.sh(&format!("cut -c -18 {DIR}/log")), "first\n{\"event\":\"started\"\n{\"event\":\"exited\",\n");
    let script = format!(
        "import socket, subprocess
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
command = ['{NSL}', 'run', '--network', 'none', '--status-fd', str(b.fileno()), '--', 'true']
subprocess.run(command, pass_fds=[b.fileno()], check=True); b.close()
print([a.recv(4096)[10:16] for _ in range(3)])"
    );
    let output = host.command("python3", ["-c", &script]).run();
    output.assert_prints("[b'starte', b'exited', b'']");
}

#[test]
fn a_descriptor_that_cannot_be_written_is_refused() {
    let host = crate::host!();
    let run = |number: &str, redirection: &str| {
        let script = format!("exec {NSL} run --status-fd {number} -- true {redirection}");
        host.command("bash", ["-c", &script]).run()
    };
    run("3", "3>&-").assert_refused(125, &["--status-fd 3", "not open", "hint"]);
    for number in ["63", "1000000", "2147483647"] {
        run(number, "").assert_refused(125, &[number, "not open"]);
    }
    run("0", "").assert_refused(125, &["--status-fd 0"]);
    for number in ["-1", "2147483648", "x", "''"] {
        run(number, "").assert_refused(125, &["--status-fd"]);
    }
    for redirection in ["3</etc/passwd", "3</"] {
        run("3", redirection).assert_refused(125, &["reading only"]);
    }
    let taken = format!("exec {NSL} run --status-fd 4 --preserve-fds 2 -- true 3>/dev/null 4>/dev/null");
    host.command("bash", ["-c", &taken]).run().assert_refused(125, &["descriptor 4", "--status-fd", "from 5 on"]);
}

#[test]
fn a_reader_that_goes_away_ends_nothing() {
    let host = crate::host!();
    let script = format!(
        "mkfifo {DIR}/fifo; (head -n 1 {DIR}/fifo >{DIR}/first; echo > {DIR}/gone) &
         {NSL} run --network none --status-fd 3 -v {DIR}:/mnt -- \
             bash -c 'until [ -e /mnt/gone ]; do sleep 0.01; done; kill -STOP $$; exit 6' 3>{DIR}/fifo & nsl=$!
         until [ -e {DIR}/gone ]; do sleep 0.01; done
         while kill -CONT $nsl; do sleep 0.01; done 2>/dev/null; wait $nsl; exit $?"
    );
    host.command("bash", ["-c", &script]).run().assert_code(6).assert_quiet();
    assert!(host.sh(&format!("cat {DIR}/first")).starts_with("{\"event\":\"started\","));
    // And one that was never there.
    let run = |words: &str| {
        let script = format!("exec 3> >(exit); wait $!; {NSL} run --network none --status-fd 3 {words}");
        host.command("bash", ["-c", &script]).run()
    };
    run("-- sh -c 'exit 7'").assert_code(7).assert_quiet();
    run("--rootfs /nowhere -- true").assert_refused(125, &["/nowhere"]);
}

#[test]
fn a_full_pipe_that_nobody_reads_holds_nothing_up_for_long() {
    let host = crate::host!();
    let run = |command: &str| {
        let script = format!(
            "mkfifo {DIR}/full; exec 3<>{DIR}/full; rm {DIR}/full; head -c 65536 /dev/zero >&3
             {NSL} run --network none --status-fd 3 {command}; code=$?; grep flags: /proc/self/fdinfo/3; exit $code"
        );
        let start = Instant::now();
        let output = host.command("bash", ["-c", &script]).run();
        assert!(start.elapsed() < Duration::from_secs(8), "it took {:?}", start.elapsed());
        output
    };
    // O_RDWR alone: the caller's file blocks as before.
    run("-- sh -c 'exit 4'").assert_code(4).assert_stdout("flags:\t0100002");
    run("-- no-such-command").assert_code(127);
}

#[test]
fn the_sandbox_has_no_descriptor_of_the_events() {
    let host = crate::host!();
    let script = format!("exec {NSL} run --network none --status-fd 9 -- sh -c 'ls /proc/self/fd' 9>/dev/null");
    host.command("bash", ["-c", &script]).run().assert_prints("0\n1\n2\n3");
}

#[test]
fn the_pidfile_names_the_init_while_it_lives() {
    let host = crate::host!();
    let file = format!("{DIR}/pid");
    let path = host.path(&file);
    // A stale one, and links, are replaced.
    for before in ["absent", "stale", "link", "dangling"] {
        let target = host.path(format!("{DIR}/target"));
        match before {
            "stale" => fs::write(&path, "1\n").expect("write"),
            "link" => fs::write(&target, "mine").and_then(|()| symlink("target", &path)).expect("link"),
            "dangling" => symlink("/no/where", &path).expect("link"),
            _ => {}
        }
        let mut running = host.nsl(["run", "--pidfile", &file, "--", "sh", "-c", "echo up; read line; exit 2"]).start();
        assert_eq!(running.line(), "up");
        let found = fs::symlink_metadata(&path).expect("the pidfile");
        assert_eq!((found.is_file(), found.permissions().mode() & 0o777), (true, 0o644), "{before}");
        assert_eq!(fs::read_to_string(&path).expect("read"), format!("{}\n", running.init()), "{before}");
        running.finish().assert_code(2).assert_quiet();
        assert!(fs::symlink_metadata(&path).is_err(), "{before}");
        assert!(fs::read_to_string(&target).map_or(before != "link", |text| text == "mine"));
    }
    assert_eq!(host.sh(&format!("ls -A {DIR}")), "target\n");
}

#[test]
fn a_pidfile_that_is_another_s_by_now_stays() {
    let host = crate::host!();
    let file = format!("{DIR}/pid");
    let mut running = host.nsl(["run", "--pidfile", &file, "--", "sh", "-c", "echo up; read line"]).start();
    assert_eq!(running.line(), "up");
    host.sh(&format!("echo other > {DIR}/new; mv {DIR}/new {file}"));
    running.finish();
    assert_eq!(host.sh(&format!("cat {file}")), "other\n");
}

#[test]
fn a_killed_nsl_leaves_its_pidfile_and_nothing_else() {
    let host = crate::host!();
    let file = format!("{DIR}/pid");
    let mut running = host.nsl(["run", "--pidfile", &file, "--", "sh", "-c", "echo up; sleep 30"]).start();
    assert_eq!(running.line(), "up");
    running.signal(Signal::SIGKILL);
    running.finish().assert_code(137);
    host.assert_clean();
    assert_eq!(host.sh(&format!("ls -A {DIR}")), "pid\n");
}

#[test]
fn a_pidfile_that_cannot_be_is_refused_before_anything_is_made() {
    let host = crate::host!();
    host.sh(&format!("mkdir {DIR}/directory {DIR}/closed; chmod 755 {DIR}/closed"));
    let run = |file: &str| host.nsl(["run", "--network", "none", "--pidfile", file, "--", "true"]);
    let absent = format!("{DIR}/absent/pid");
    run(&absent).run().assert_refused(125, &["write the pidfile", "absent/pid: No such file", "hint"]);
    run(&format!("{DIR}/directory")).run().assert_refused(125, &["Is a directory"]);
    run("/").run().assert_refused(125, &["Is a directory"]);
    run("/etc/passwd/pid").run().assert_refused(125, &["Not a directory"]);
    run("/proc/pid").run().assert_refused(125, &["write the pidfile /proc/pid"]);
    run(&format!("{DIR}/closed/pid")).as_user().run().assert_refused(125, &["Permission denied", "hint"]);
    run(&format!("{DIR}/of-user")).as_user().run().assert_code(0).assert_quiet();
    assert_eq!(host.sh(&format!("ls -A {DIR} {DIR}/closed")).matches("pid").count(), 0);
}

#[test]
fn descriptors_keep_their_numbers() {
    let host = crate::host!("python3");
    // Those behind them stay outside.
    let outer = format!(
        "import os, sys
count = int(sys.argv[1])
for n in range(3, count + 6):
    read, write = os.pipe()
    os.write(write, str(n).encode())
    high = os.dup2(read, 500 + n)
    os.close(read); os.close(write)
for n in range(3, count + 6):
    os.dup2(500 + n, n, inheritable=True)
os.execv('{NSL}', ['nsl', 'run', '--preserve-fds', sys.argv[1]] + sys.argv[2:])"
    );
    let inner = "import os, sys
count = int(sys.argv[1])
assert [os.read(n, 9) for n in range(3, count + 3)] == [str(n).encode() for n in range(3, count + 3)]
assert len(os.listdir('/proc/self/fd')) == count + 4, os.listdir('/proc/self/fd')";
    for (count, network) in [("1", "none"), ("2", "veth"), ("3", "none"), ("4", "none"), ("7", "veth"), ("100", "none")]
    {
        let words = ["-c", &outer, count, "--network", network, "--", "python3", "-c", inner, count];
        host.command("python3", words).run().assert_prints("");
    }
}

#[test]
fn neither_nsl_nor_its_init_keeps_what_is_handed_on() {
    let host = crate::host!();
    let script = format!(
        "mkfifo {DIR}/fifo; {NSL} run --network none --preserve-fds 1 -- sh -c 'echo text >&3; exec 3>&-; read line' \
         3>{DIR}/fifo"
    );
    let running = host.command("bash", ["-c", &script]).start();
    let path = host.path(format!("{DIR}/fifo"));
    wait_until("there is a fifo", || path.exists());
    let mut text = String::new();
    // Ends only when all have closed the other end.
    fs::File::open(path).expect("open").read_to_string(&mut text).expect("read");
    assert_eq!(text, "text\n");
    running.finish().assert_code(1);
}

#[test]
fn descriptors_that_are_not_there_are_named() {
    let host = crate::host!("python3");
    let run = |count: &str, redirection: &str| {
        let script = format!("exec {NSL} run --preserve-fds {count} -- true {redirection}");
        host.command("bash", ["-c", &script]).run()
    };
    run("1", "").assert_refused(125, &["--preserve-fds", "descriptor 3 is not open", "hint"]);
    run("3", "3</ 5</").assert_refused(125, &["descriptor 4 is not open", "from 3 to 5"]);
    run("1000000", "3</").assert_refused(125, &["descriptor 4 is not open"]);
    run("4294967295", "3</ 4</").assert_refused(125, &["descriptor 5 is not open"]);
    run("4294967296", "").assert_refused(125, &["4294967296"]);
    run("0", "3</").assert_prints("");
    let few = format!(
        "import os, resource
for n in range(3, 40): os.dup2(0, n)
resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
os.execv('{NSL}', ['nsl', 'run', '--preserve-fds', '37', '--', 'true'])"
    );
    let output = host.command("python3", ["-c", &few]).run();
    output.assert_refused(125, &["too few other files", "ulimit -n"]);
}

#[test]
fn sockets_of_a_service_manager_reach_the_command() {
    let host = crate::host!("python3");
    let inner = "import os, socket
assert os.environ['LISTEN_PID'] == str(os.getpid()) and os.environ['LISTEN_FDS'] == '1'
assert 'LISTEN_PIDFDID' not in os.environ
connection, _ = socket.socket(fileno=3).accept()
connection.sendall(os.environ['LISTEN_FDNAMES'].encode())";
    for clear in [&[][..], &["--clear-env"]] {
        let script = format!(
            "import os, socket, sys
listener = socket.socket(socket.AF_UNIX); listener.bind('{DIR}/socket'); listener.listen()
os.dup2(listener.fileno(), 3); os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='web', LISTEN_PIDFDID='7')
os.execv('{NSL}', sys.argv[1:])"
        );
        let words = ["-c", &script, "nsl", "run", "--network", "none"].into_iter().chain(clear.iter().copied());
        let running = host.command("python3", words.chain(["--", "python3", "-c", inner])).start();
        let mut connection = None;
        wait_until("somebody listens", || {
            connection = UnixStream::connect(host.path(format!("{DIR}/socket"))).ok();
            connection.is_some()
        });
        let mut text = String::new();
        connection.expect("a connection").read_to_string(&mut text).expect("read");
        assert_eq!(text, "web");
        running.finish().assert_code(0).assert_quiet();
        host.sh(&format!("rm {DIR}/socket"));
    }
}

#[test]
fn sockets_of_another_process_are_no_business_of_the_command() {
    let host = crate::host!();
    let run = |variables: &str, words: &str| {
        let script = format!("{variables} exec {NSL} run --network none {words} 3</etc/hostname");
        host.command("bash", ["-c", &script]).run()
    };
    let show = "-- sh -c 'env | sort | grep ^LISTEN_ || echo none; ls /proc/self/fd | wc -l'";
    let all = "LISTEN_FDS=1 LISTEN_FDNAMES=x LISTEN_PIDFDID=5";
    run(&format!("LISTEN_PID=1 {all}"), show).assert_prints("none\n4");
    run(all, show).assert_prints("none\n4");
    run(&format!("LISTEN_PID=x {all}"), show).assert_prints("none\n4");
    run("LISTEN_PID=$$ LISTEN_FDS=1", show).assert_prints("LISTEN_FDS=1\nLISTEN_PID=2\n5");
    run("LISTEN_PID=$$ LISTEN_FDS=0", "-- ls /proc/self/fd").assert_prints("0\n1\n2\n3");
    run("LISTEN_PID=$$ LISTEN_FDS=many", "-- true").assert_refused(125, &["LISTEN_FDS", "'many' is no number"]);
    run("LISTEN_PID=$$", "-- true").assert_refused(125, &["LISTEN_FDS", "no number"]);
    run("LISTEN_PID=$$ LISTEN_FDS=2", "-- true").assert_refused(125, &["LISTEN_FDS", "descriptor 4 is not open"]);
    // Made up for the command by -e.
    let own = "-e LISTEN_PID=1 -e LISTEN_FDS=1 --preserve-fds 1";
    run("", &format!("{own} {show}")).assert_prints("LISTEN_FDS=1\nLISTEN_PID=2\n5");
}

/// Waits for a datagram.
fn received(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set a timeout");
    let mut bytes = [0; 100];
    let length = socket.recv(&mut bytes).expect("a datagram");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[test]
fn readiness_reaches_the_service_manager() {
    let host = crate::host!("systemd-notify");
    fs::create_dir(host.path("/run/manager")).expect("make a directory");
    let socket = UnixDatagram::bind(host.path("/run/manager/notify")).expect("bind");
    host.sh("chmod 777 /run/manager/notify");
    // Whoever was not started by the manager itself leaves it to the command.
    let run = |words: &[&str]| {
        let words = ["run"].iter().chain(words).chain(&["--", "systemd-notify", "--no-block", "--ready"]);
        host.nsl(words).env("NOTIFY_SOCKET", "/run/manager/notify").env("SYSTEMD_EXEC_PID", "1")
    };
    run(&["--network", "none"]).run().assert_prints("");
    assert_eq!(received(&socket), "READY=1");
    run(&["--network", "none"]).as_user().run().assert_prints("");
    assert_eq!(received(&socket), "READY=1");
    // The variable is none of the command's, so that the socket is not either.
    let hidden = ["run", "--clear-env", "--", "sh", "-c", "echo $NOTIFY_SOCKET; ls /run/manager 2>&1"];
    let output = host.nsl(hidden).env("NOTIFY_SOCKET", "/run/manager/notify").env("SYSTEMD_EXEC_PID", "1").run();
    assert!(output.stdout().starts_with("\nls: cannot"), "{output}");
    let told = ["run", "--clear-env", "-e", "NOTIFY_SOCKET", "--", "/usr/bin/systemd-notify", "--no-block", "--ready"];
    host.nsl(told).env("NOTIFY_SOCKET", "/run/manager/notify").env("SYSTEMD_EXEC_PID", "1").run().assert_prints("");
    assert_eq!(received(&socket), "READY=1");
    // What the host lets nobody change, the command can't either.
    let output = host.nsl(["run", "--", "chmod", "600", "/run/manager/notify"]);
    let output = output.env("NOTIFY_SOCKET", "/run/manager/notify").env("SYSTEMD_EXEC_PID", "1").run();
    output.assert_code(1);
    drop(socket);
    host.sh("rm -r /run/manager");
}

#[test]
fn an_abstract_notify_socket_needs_the_hosts_network() {
    let host = crate::host!("systemd-notify");
    let socket = host.in_network(|| {
        UnixDatagram::bind_addr(&SocketAddr::from_abstract_name("notify").expect("an address")).expect("bind")
    });
    let command = ["--", "sh", "-c", "test -z \"$NOTIFY_SOCKET\" || systemd-notify --no-block --ready"];
    let run = |network: &str| {
        host.nsl(["run", "--network", network].iter().chain(&command))
            .env("NOTIFY_SOCKET", "@notify")
            .env("SYSTEMD_EXEC_PID", "1")
            .run()
    };
    run("host").assert_prints("");
    assert_eq!(received(&socket), "READY=1");
    let output = run("none");
    output.assert_code(0);
    assert_eq!(
        output.stderr(),
        "nsl: warning: NOTIFY_SOCKET is left out: @notify is in the host's network only (hint: --network host)\n"
    );
    // What is no socket of the host's is the command's own.
    for value in ["/no/where", "/etc/passwd", "relative", "/run/../run/x", ""] {
        let words = ["run", "--network", "none", "--", "sh", "-c", "echo \"$NOTIFY_SOCKET\""];
        host.nsl(words).env("NOTIFY_SOCKET", value).run().assert_prints(value);
    }
}
