//! Profiles: options from files are those of the command line, and the five that come with nsl keep what they promise, to
//! root and to an ordinary user, seen from inside and from outside.

use crate::harness::{DIR, Host, Invocation, Output, USER, in_network_of, wait_until};
use crate::services::{inspect, line, remove};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;

/// Counts how many processes it may start, 400 at most.
const FORKS: &str =
    "my $n = 0; while ($n < 400 and defined(my $p = fork)) { if (!$p) { sleep 100; exit } $n++ } print $n";

/// `nsl run --profile PROFILE OPTIONS -- COMMAND`, by root or by the user, in the project's directory.
fn run<'a>(host: &'a Host, user: bool, words: &[&str]) -> Invocation<'a> {
    let command = host.nsl([&["run", "--profile"], words].concat()).cwd(format!("{DIR}/project"));
    if user { command.as_user() } else { command }
}

/// A directory of the caller's with a file in it, and for the user a home directory with a key.
fn make_project(host: &mut Host, user: bool) {
    let owner = if user { USER } else { 0 };
    host.sh(&format!(
        "rm -rf {DIR}/project; mkdir {DIR}/project; echo given > {DIR}/project/file; chown -R {owner}:{owner} {DIR}/project
         if ! mountpoint -q /home; then mount -t tmpfs -o mode=755 tmpfs /home; fi
         mkdir -p /home/u/.ssh; echo secret > /home/u/.ssh/key; chown -R {USER}:{USER} /home/u; chmod 700 /home/u/.ssh"
    ));
    host.accept();
}

fn write(host: &Host, path: &str, text: &str) {
    fs::write(host.path(path), text).expect("write a file of the host's");
}

#[track_caller]
fn dry_run(host: &Host, cwd: &str, words: &[&str]) -> String {
    let output = host.nsl([&["run", "--dry-run"], words].concat()).cwd(cwd).run();
    output.assert_code(0);
    output.stdout()
}

// --- files ---

#[test]
fn a_profiles_options_are_those_of_the_command_line_which_wins() {
    let host = crate::host!();
    let text = "network = 'none'\nworkdir = '/'\nhostname = 'a'\nenv = ['ONE=1', 'TWO=2']\nread-only = true\ncommand = ['sh', '-c', \
        'echo $ONE $TWO $(hostname); touch /srv/x 2>/dev/null || echo kept']";
    write(&host, &format!("{DIR}/p.toml"), text);
    let run = |words: &[&str]| host.nsl([&["run", "--profile", "./p.toml"], words].concat()).cwd(DIR).run();
    run(&[]).assert_prints("1 2 a\nkept");
    run(&["--hostname", "b", "-e", "TWO=3", "--read-only=false"]).assert_prints("1 3 b");
    run(&["-e="]).assert_prints("a\nkept");
    run(&["--", "echo", "$ONE"]).assert_prints("$ONE");
    write(&host, &format!("{DIR}/q.toml"), "hostname = 'q'\nenv = ['ONE=9']");
    run(&["--profile", "q.toml/../q.toml", "--", "true"]).assert_refused(125, &["q.toml/../q.toml: Not a directory"]);
    run(&["--profile", "./q.toml"]).assert_prints("9 2 q\nkept");
    host.sh(&format!("rm {DIR}/p.toml {DIR}/q.toml"));
}

#[test]
fn relative_paths_of_a_profile_begin_where_it_lies() {
    let host = crate::host!();
    host.sh(&format!("mkdir -p {DIR}/a/data {DIR}/b; echo here > {DIR}/a/data/file"));
    let text = "network = 'none'\nvolume = ['data:/srv', './data:./data']\nworkdir = 'data'\nenv-file = ['../env']\n\
        command = ['sh', '-c', 'pwd; cat file /srv/file; echo $A']";
    write(&host, &format!("{DIR}/a/p.toml"), text);
    write(&host, &format!("{DIR}/env"), "A=1\n");
    let expected = format!("{DIR}/a/data\nhere\nhere\n1");
    host.nsl(["run", "--profile", "../a/p.toml"]).cwd(format!("{DIR}/b")).run().assert_prints(&expected);
    host.nsl(["run", "--profile", &format!("{DIR}/a/p.toml")]).run().assert_prints(&expected);
    host.sh(&format!("rm -r {DIR}/a {DIR}/b {DIR}/env"));
}

#[test]
fn what_is_wrong_with_a_profile_is_told_with_its_place() {
    let host = crate::host!();
    let path = format!("{DIR}/p.toml");
    for (text, told) in [
        (
            "network = 'none'\n\nhostnam = 'x'",
            "line 3, column 1: there is no option 'hostnam' (hint: did you mean hostname?)",
        ),
        ("read-only = 1", "line 1, column 1: read-only is true or false"),
        ("env = 'A=1'", "line 1, column 1: env is a list"),
        ("network = 'all'", "line 1, column 1: invalid value 'all' for '--network <KIND>'"),
        ("dns = [", "line 1, column 8: "),
        ("profile = ['shell']", "profile is for the command line alone"),
    ] {
        write(&host, &path, text);
        host.nsl(["run", "--profile", &path, "--", "true"])
            .run()
            .assert_refused(125, &[&format!("use the profile {path}"), told]);
        host.nsl(["unit", "--", "--profile", &path, "--", "true"]).run().assert_refused(125, &[told]);
    }
    // What only shows later has the words of the option.
    write(&host, &path, "memory = 'lots'");
    host.nsl(["run", "--profile", &path, "--", "true"]).run().assert_refused(125, &["use --memory: 'lots' is no size"]);
    host.nsl(["run", "--profile", &path]).run().assert_refused(125, &["COMMAND", "nsl run -- bash"]);
    write(&host, &path, &"# long\n".repeat(160_000));
    host.nsl(["run", "--profile", &path, "--", "true"]).run().assert_refused(125, &["longer than 1 MiB"]);
    host.nsl(["run", "--profile", "/no/where.toml", "--", "true"]).run().assert_refused(125, &["No such file"]);
    host.sh(&format!("rm {path}"));
}

#[test]
fn names_are_looked_up_in_three_places_and_never_in_the_working_directory() {
    let mut host = crate::own_host!();
    host.sh(&format!("mkdir -p {DIR}/home/.config/nsl/profiles /etc/nsl/profiles"));
    host.accept();
    let name = |profile: &str| {
        let words = ["run", "--network", "none", "-w", "/", "--profile", profile, "--", "hostname"];
        host.nsl(words).env("HOME", format!("{DIR}/home")).cwd(DIR).run()
    };
    for file in ["box", "shell", "box.toml", "shell.toml"] {
        write(&host, &format!("{DIR}/{file}"), "hostname = 'wrong'");
    }
    let unknown =
        ["there is none in ~/.config/nsl/profiles or /etc/nsl/profiles", "agent, browser, build, service, shell"];
    name("box").assert_refused(125, &[unknown[0], unknown[1], "hint: a file is named with a slash: ./box"]);
    name("box.toml").assert_refused(125, &unknown);
    name("shell").assert_prints("nsl-shell");
    write(&host, "/etc/nsl/profiles/box.toml", "hostname = 'machine'");
    name("box").assert_prints("machine");
    let own = format!("{DIR}/home/.config/nsl/profiles/box.toml");
    write(&host, &own, "hostname = 'mine'");
    name("box").assert_prints("mine");
    name("./box.toml").assert_prints("wrong");
    // What others decide about is not taken by its name, and what is behind it neither.
    for spoil in ["chmod o+w", &format!("chown {USER}")] {
        host.sh(&format!("{spoil} {own}"));
        name("box").assert_refused(125, &[&own, "belongs to somebody else", "hint: name it by its path"]);
        name(&own).assert_prints("mine");
        host.sh(&format!("chmod 644 {own}; chown 0 {own}"));
    }
    // Nor is it waited for.
    host.sh(&format!("rm {own}; mkfifo {own}"));
    name("box").assert_refused(125, &[&own, "it is no regular file", "hint: name it by its path"]);
    host.sh(&format!("rm -r {DIR}/home {DIR}/box* {DIR}/shell*"));
}

#[test]
fn who_uses_no_profile_reads_none() {
    let host = crate::host!("strace");
    let trace = format!("{DIR}/trace");
    let calls = |words: &[&str]| {
        let all = [&["-o", &trace, "-f", "-e", "trace=file", crate::harness::NSL, "run", "--network", "none"], words]
            .concat();
        host.command("strace", all).run().assert_code(0);
        fs::read_to_string(host.path(&trace)).expect("read the trace")
    };
    assert!(!calls(&["--", "true"]).contains("profiles"));
    assert!(calls(&["--profile", "shell", "--", "true"]).contains("/etc/nsl/profiles/shell.toml"));
    host.sh(&format!("rm {trace}"));
}

// --- what is printed ---

#[test]
fn a_printed_profile_gives_the_same_plan_from_anywhere() {
    let host = crate::host!();
    host.sh(&format!("mkdir -p {DIR}/a/src {DIR}/b; echo A=1 > {DIR}/a/env"));
    write(&host, &format!("{DIR}/a/base.toml"), "hostname = 'base'\nvolume = ['src:/src']\nnetwork = 'none'");
    let sets: &[&[&str]] = &[
        &["--", "sh", "-c", "echo \"$0\"\n\t'\\x'", "", "-x"],
        &["--profile", "./base.toml", "-v", "./src:/other:ro", "--", "true"],
        &["--profile", "./base.toml", "--hostname=", "--env-file", "env", "-e", "B=\"two\" ü", "--", "true"],
        &["--empty", "-v", "/usr:/usr:ro", "--tmpfs", "/opt:size=64m", "-w", "/usr", "--network", "host", "--", "true"],
        &["-x", "--rootfs", "src", "--network", "none", "-u", "5:6", "--cap-drop", "ALL", "--cap-add", "kill", "true"],
        &[
            "--read-only",
            "--mount",
            "type=bind,\"src=src\",dst=/opt,ro",
            "--pidfile",
            "pid",
            "--network",
            "none",
            "true",
        ],
        &["--ip", "192.168.7.2/24", "--gateway", "192.168.7.1", "-p", "8080:80", "--egress", "192.0.2.7:443", "true"],
        &[
            "--pool",
            "10.9.0.0/16",
            "--internal",
            "--network",
            "veth:n",
            "--dns",
            "192.0.2.1",
            "--add-host",
            "a:192.0.2.2",
            "true",
        ],
        &[
            "--ulimit",
            "nofile=9:10",
            "--timeout",
            "5m",
            "--stop-signal",
            "INT",
            "--no-new-privs=false",
            "--nested",
            "true",
        ],
        &[
            "--userns",
            "auto:1000",
            "--ipc",
            "host",
            "--uts",
            "host",
            "--landlock",
            "ro=/usr,rw=/tmp",
            "--privileged",
            "true",
        ],
        &[
            "-m",
            "64m",
            "--cpus",
            "1.5",
            "--pids-limit",
            "-1",
            "--seccomp",
            "unconfined",
            "-d",
            "--restart",
            "always",
            "true",
        ],
        &["--changes", "kept", "--network", "none", "--userns", "host", "--log-level", "error", "--clear-env", "true"],
        &["--profile", "agent", "--", "true"],
        &["--profile", "service", "--health-cmd", "true", "--", "true"],
    ];
    for words in sets {
        let printed = host.nsl([&["run", "--print-profile"], *words].concat()).cwd(format!("{DIR}/a")).run();
        printed.assert_code(0).assert_quiet();
        write(&host, &format!("{DIR}/b/printed.toml"), &printed.stdout());
        let plan = dry_run(&host, &format!("{DIR}/a"), words);
        // Where the caller stands is his own.
        assert_eq!(dry_run(&host, &format!("{DIR}/a"), &["--profile", "../b/printed.toml"]), plan, "{printed}");
        let again =
            host.nsl(["run", "--print-profile", "--profile", "../b/printed.toml"]).cwd(format!("{DIR}/a")).run();
        again.assert_prints(printed.stdout().trim());
    }
    let refused = host.nsl(["run", "--print-profile", "--no-such-option", "--", "true"]).run();
    refused.assert_refused(125, &["--no-such-option"]);
    host.nsl(["run", "--print-profile", "--network", "none"]).run().assert_prints("network = \"none\"");
    host.nsl(["unit", "--", "--print-profile", "--", "true"]).run().assert_refused(125, &["leave --print-profile out"]);
    host.sh(&format!("rm -r {DIR}/a {DIR}/b"));
}

// --- those that come with nsl ---

/// What is not to be found: no device but lo, no file of the host's but programs.
fn assert_hidden(host: &Host, user: bool, profile: &[&str]) {
    let script = "exec 2>&1; for file in /etc/shadow /root/.profile /home/u/.ssh/key /var/lib/dpkg/status; do
        (cat $file > /dev/null) 2>/dev/null && echo \"reads $file\"; done
        for directory in / /root /home /home/u /etc /var /srv; do
        (ls -A $directory | grep -q .) 2>/dev/null && echo \"lists $directory\"; done
        grep -E 'Cap(Eff|Bnd)|NoNewPrivs' /proc/self/status | cut -f 2 | tr '\\n' ' '; echo \"$SECRET$HOME\"";
    let hidden = run(host, user, &[profile, &["--", "sh", "-c", script]].concat()).env("SECRET", "x").run();
    hidden.assert_prints("0000000000000000 0000000000000000 1 /tmp");
    // Without the profile some of it can be read.
    let open = ["run", "--network", "none", "--", "sh", "-c", script];
    let open = host.nsl(open).env("SECRET", "x");
    let open = if user { open.as_user().run() } else { open.run() }.stdout();
    let reads = if user { "/home/u/.ssh/key" } else { "/etc/shadow" };
    assert!(open.contains(&format!("reads {reads}\n")) && open.contains("lists /\n"), "{open}");
}

fn forks(output: &Output) -> u32 {
    output.assert_code(0);
    output.stdout().parse().unwrap_or_else(|_| panic!("no number: {output}"))
}

#[test]
fn agent_keeps_what_nobody_has_read_from_all_that_is_not_its_business() {
    let mut host = crate::host!("perl", "bash");
    for user in [false, true] {
        make_project(&mut host, user);
        assert_hidden(&host, user, &["agent"]);
        // It works on a view of the directory.
        let script = "cat file && echo new > file && cat file && mkdir made && echo x > /tmp/x && pwd";
        run(&host, user, &["agent", "--", "sh", "-c", script])
            .run()
            .assert_prints(&format!("given\nnew\n{DIR}/project"));
        host.sh(&format!("grep -q given {DIR}/project/file; test ! -e {DIR}/project/made"));
        // Unless it is given.
        let project = format!("{DIR}/project");
        run(&host, user, &["agent", "-v", &format!("{project}:{project}"), "--", "sh", "-c", script])
            .run()
            .assert_code(0);
        host.sh(&format!("grep -q new {project}/file; test -d {project}/made"));
        // Nobody is reached: neither a server of the host's nor any address.
        let server = host.in_network(|| TcpListener::bind("127.0.0.1:0").expect("listen"));
        let port = server.local_addr().expect("an address").port();
        let script = format!(
            "exec 2>/dev/null; grep -c : /proc/net/dev; for to in 127.0.0.1/{port} 192.0.2.1/80; do
            (: < /dev/tcp/$to) && echo $to; done; echo done"
        );
        run(&host, user, &["agent", "--", "bash", "-c", &script]).run().assert_prints("1\ndone");
        run(&host, user, &["agent", "--network", "host", "--", "bash", "-c", &script]).run().assert_code(0);
        server.set_nonblocking(true).expect("not to wait");
        assert!(server.accept().is_ok(), "with the host's network it was reached");
        // A bomb goes off in a small room.
        let bomb =
            |options: &[&str]| run(&host, user, &[&["agent"], options, &["--", "perl", "-e", FORKS]].concat()).run();
        assert!((200..256).contains(&forks(&bomb(&[]))), "{}", bomb(&[]));
        assert_eq!(forks(&bomb(&["--ulimit="])), 400);
        host.assert_clean();
    }
    let printed = run(&host, false, &["agent", "--print-profile"]).run().stdout();
    assert!(printed.contains("\"fsize=4294967296\"") && printed.contains("timeout = \"1h\""), "{printed}");
    host.sh(&format!("rm -r {DIR}/project"));
}

#[test]
fn agent_is_refused_where_it_would_be_given_a_home_directory() {
    let mut host = crate::host!();
    make_project(&mut host, true);
    let agent =
        |cwd: &str, home: &str| host.nsl(["run", "--profile", "agent", "--", "true"]).cwd(cwd).env("HOME", home);
    agent("/root", "/root").run().assert_refused(125, &["mount on /root", "two mounts", "another directory"]);
    agent("/home/u", "/home/u").as_user().run().assert_refused(125, &["mount on /home/u", "two mounts"]);
    host.sh("ln -s /home/u /home/link");
    agent("/home/u", "/home/link").as_user().run().assert_refused(125, &["mount on /home/u", "two mounts"]);
    host.sh("rm /home/link");
    agent("/", "/root").run().assert_refused(125, &["its target is the root itself", "a directory below it"]);
    agent(&format!("{DIR}/project"), "/home/u").as_user().run().assert_prints("");
    host.sh(&format!("rm -r {DIR}/project"));
}

#[test]
fn build_writes_to_its_directory_alone_and_reaches_no_network() {
    let mut host = crate::host!();
    for user in [false, true] {
        make_project(&mut host, user);
        let script = "echo built > result; echo changed > file; echo x > /tmp/x; echo x > $HOME/cache && echo cached
            grep -c : /proc/net/dev; hostname; ulimit -c; pwd";
        let home = if user { "/home/u" } else { "/var/tmp" };
        let output = run(&host, user, &["build", "--", "sh", "-c", script]).env("HOME", home).run();
        output.assert_prints(&format!("cached\n1\nbuild\n0\n{DIR}/project"));
        host.sh(&format!(
            "cd {DIR}/project; grep -q built result; grep -q changed file; test ! -e {home}/cache -a ! -e /tmp/x"
        ));
        let owner = fs::metadata(host.path(format!("{DIR}/project/result"))).expect("the result").uid();
        assert_eq!(owner, if user { USER } else { 0 });
        // What the caller has is there: caches, and the environment.
        if user {
            let script = "cat /home/u/.ssh/key; echo $KEPT";
            run(&host, user, &["build", "--", "sh", "-c", script]).env("KEPT", "1").run().assert_prints("secret\n1");
        }
        host.assert_unchanged();
    }
    host.sh(&format!("rm -r {DIR}/project"));
}

#[test]
fn service_lives_on_starts_again_and_writes_to_its_own_alone() {
    let mut host = crate::host!("perl");
    make_project(&mut host, false);
    // The profile is read once: what becomes of its file does not matter.
    write(&host, &format!("{DIR}/p.toml"), "network = 'none'\nvolume = ['project:/data']");
    let script = "exec 2>/dev/null; for at in / /srv /var /etc /usr; do touch $at/x && echo $at; done
        touch /run/x /tmp/x /data/x && pwd; sh -c 'ulimit -c'; [ -e /data/again ] && exec sleep 1000; touch /data/again; exit 3";
    let words = [
        "run",
        "--profile",
        "service",
        "--profile",
        "./p.toml",
        "--name",
        "web",
        "--health-cmd",
        "true",
        "--",
        "sh",
        "-c",
        script,
    ];
    host.nsl(words).cwd(DIR).run().assert_prints("web");
    host.sh(&format!("rm {DIR}/p.toml"));
    wait_until("it has started again", || {
        inspect(&host, "web")["restarts"] == 1 && inspect(&host, "web")["status"] == "running"
    });
    let state = inspect(&host, "web");
    let options: Vec<_> =
        state["options"].as_array().expect("a list").iter().filter_map(|word| word.as_str()).collect();
    for option in
        ["--read-only", "--restart=on-failure", "--health-interval=10s", "--stop-timeout=30s", "--network=none"]
    {
        assert!(options.contains(&option), "{option} in {options:?}");
    }
    assert!(
        options.contains(&&*format!("--volume={DIR}/project:/data")) && !options.contains(&"--profile"),
        "{options:?}"
    );
    assert!(line(&host, "web").is_some_and(|line| line.contains(" Up ")));
    let logs = || host.nsl(["logs", "web"]).run().stdout();
    wait_until("it has said so twice", || logs() == "/\n0\n/\n0\n");
    // A unit of it says all by itself.
    let unit = host.nsl(["unit", "web"]).run().assert_code(0).stdout();
    assert!(unit.contains("--read-only") && !unit.contains("--profile") && !unit.contains("--detach"), "{unit}");
    assert!(unit.contains("Restart=on-failure"), "{unit}");
    remove(&host, "web");
    let forked = host
        .nsl([
            "run",
            "--profile",
            "service",
            "--detach=false",
            "--network",
            "none",
            "--ulimit",
            "nproc=100",
            "--",
            "perl",
            "-e",
            FORKS,
        ])
        .run();
    assert!(forks(&forked) < 100, "{forked}");
    host.sh(&format!("rm -r {DIR}/project"));
}

#[test]
fn a_unit_of_a_profile_names_none() {
    let host = crate::host!();
    write(&host, &format!("{DIR}/p.toml"), "volume = ['.:/data']\nname = 'db'\ncommand = ['sleep', '9']");
    let words = ["unit", "--", "--profile", "service", "--profile", "./p.toml", "--network", "none"];
    let output = host.nsl(words).cwd(DIR).run();
    output.assert_code(0).assert_quiet();
    let unit = output.stdout();
    let start = unit.lines().find(|line| line.starts_with("ExecStart=")).expect("a command line");
    assert!(start.contains(&format!("run --name db --read-only --volume={DIR}:/data --network=none")), "{start}");
    assert!(start.ends_with("--userns=auto -- sleep 9") && !start.contains("profile"), "{start}");
    host.sh(&format!("rm {DIR}/p.toml"));
}

#[test]
fn shell_changes_nothing_of_the_host() {
    let mut host = crate::host!("bash");
    host.uplink();
    let script = "hostname; cd; touch /tmp/x /var/x && ls /var/x; exit 7\n";
    let root = host.nsl(["run", "--profile", "shell"]).stdin(script).run();
    root.assert_code(7).assert_stdout("nsl-shell\n/var/x");
    assert!(!host.path("/var/x").exists() && !host.path("/tmp/x").exists());
    host.nsl(["run", "--profile", "shell"]).stdin("grep -c eth0 /proc/net/dev").run().assert_prints("1");
    let script = "hostname; id -u; touch /tmp/x && echo $BASH; kill -9 $$";
    let user = host.nsl(["run", "--profile", "shell", "--network", "none"]).as_user().stdin(script).run();
    user.assert_code(137).assert_stdout(&format!("nsl-shell\n{USER}\n/usr/bin/bash"));
    assert!(!host.path("/tmp/x").exists());
}

#[test]
fn browser_has_the_network_and_no_file_of_the_hosts() {
    let mut host = crate::host!("bash", "nft");
    let beyond = host.uplink();
    let server = in_network_of(beyond, || TcpListener::bind("198.51.100.1:0").expect("listen"));
    let port = server.local_addr().expect("an address").port();
    let answering = std::thread::spawn(move || server.accept().and_then(|(mut peer, _)| peer.write_all(b"page\n")));
    make_project(&mut host, false);
    let script = format!("read line < /dev/tcp/198.51.100.1/{port}; echo $line; pwd; ls /tmp; echo x > ~/x && cat ~/x");
    run(&host, false, &["browser", "--", "bash", "-c", &script]).run().assert_prints("page\n/tmp\nx");
    answering.join().expect("answer").expect("answer");
    assert_hidden(&host, false, &["browser"]);
    make_project(&mut host, true);
    assert_hidden(&host, true, &["browser", "--network", "none"]);
    assert!(!host.path("/tmp/x").exists());
    host.sh(&format!("rm -r {DIR}/project"));
}
