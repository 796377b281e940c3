//! `--timings`: every step of both sides with its time, who waited for whom, and not a word without the option.

use crate::harness::{DIR, Invocation, Output, USER};
use crate::pty::Pty;
use serde::Deserialize;
use std::time::Duration;

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Timings {
    started_us: Option<u64>,
    total_us: u64,
    error: Option<String>,
    steps: Vec<Step>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Step {
    side: String,
    #[serde(rename = "step")]
    words: String,
    #[serde(default)]
    with: Vec<String>,
    depth: usize,
    wait: bool,
    at_us: u64,
    took_us: Option<u64>,
}

impl Step {
    fn end(&self) -> u64 {
        self.at_us + self.took_us.unwrap_or_else(|| panic!("no end: {self:?}"))
    }
}

/// The last line of stderr, as what it is.
#[track_caller]
fn timings(output: &Output) -> Timings {
    let stderr = output.stderr();
    let line = stderr.lines().last().unwrap_or_else(|| panic!("nothing on stderr: {output}"));
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {output}"))
}

impl Timings {
    fn of(&self, side: &str) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |step| step.side == side)
    }

    #[track_caller]
    fn step(&self, side: &str, words: &str) -> &Step {
        self.of(side).find(|step| step.words == words).unwrap_or_else(|| panic!("no {words:?} of {side}: {self:#?}"))
    }

    /// Steps follow each other in time, a part within its whole, and the command starts when all is done.
    #[track_caller]
    fn assert_consistent(&self) {
        assert!(self.steps.is_sorted_by_key(|step| step.at_us), "{self:#?}");
        for side in ["nsl", "child", "init", "command"] {
            let mut ends = Vec::new();
            for step in self.of(side) {
                ends.truncate(step.depth + 1);
                // The end of the one before on the same level, or the whole that it is a part of.
                let before: Option<(u64, u64)> = ends.get(step.depth).copied();
                let whole: Option<(u64, u64)> = step.depth.checked_sub(1).and_then(|outer| ends.get(outer)).copied();
                // Requests to the kernel can be under way at the same time.
                let follows = step.depth > 0 || before.is_none_or(|(_, end)| step.at_us >= end);
                let fits = whole.is_none_or(|(at, end)| step.at_us >= at && step.end() <= end);
                assert!(follows && fits && step.end() <= self.total_us, "{step:?} in {self:#?}");
                ends.resize(step.depth, (0, u64::MAX));
                ends.push((step.at_us, step.end()));
            }
        }
        let started = self.started_us.expect("the command started");
        let (executed, run) = (self.step("init", "execute the command"), self.step("command", "run"));
        assert_eq!((executed.end(), run.at_us), (started, started), "{self:#?}");
        assert_eq!(self.error, None);
    }
}

/// With these options, every line of the plan is a step, in its order, and all is consistent.
#[track_caller]
fn matches_the_plan<'a>(options: &[&str], nsl: impl Fn(Vec<String>) -> Invocation<'a>) -> Timings {
    let words = |first: &str| -> Vec<String> {
        let words = [&["run", first], options, &["--", "true"]].concat();
        words.into_iter().map(str::to_owned).collect()
    };
    let plan = nsl(words("--dry-run")).run();
    plan.assert_code(0);
    let output = nsl(words("--timings=json")).run();
    output.assert_code(0).assert_stdout("");
    let timings = timings(&output);
    timings.assert_consistent();

    let plan = plan.stdout();
    let (on_the_host, inside) = plan.split_once("inside, before the init:\n").expect("the plan has two sides");
    // A network that is there already is joined before the clone, so that the order is another.
    let mut on_the_host: Vec<_> = on_the_host.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let steps = timings.of("nsl").map(|step| &*step.words);
    let mut told: Vec<_> = steps.filter(|step| on_the_host.contains(step)).collect();
    on_the_host.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, on_the_host, "{timings:#?}");

    let inside: Vec<_> = inside.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let of_nsl_init = timings.of("init").filter(|step| !step.wait);
    let steps = timings.of("child").chain(of_nsl_init);
    let mut told: Vec<&str> = Vec::new();
    for step in steps {
        // What goes on until the command is executed is in one row with that.
        let with = step.with.iter().map(|with| &**with);
        if step.words == "execute the command" {
            told.extend(with.chain([&*step.words]));
        } else {
            told.extend([&*step.words].into_iter().chain(with));
        }
    }
    assert_eq!(told, inside, "{timings:#?}");
    timings
}

#[test]
fn every_step_of_the_plan_is_told_in_order_with_its_time() {
    let mut host = crate::host!("ip");
    host.sh(&format!(
        "mkdir -p {DIR}/root/usr; ip netns add blue; cd {DIR}/root; for name in bin lib lib64; do cp -d /$name .; done"
    ));
    host.accept();
    let root = format!("{DIR}/root");
    let cases: [&[&str]; 7] = [
        &[],
        &["--network", "none"],
        &["--ip", "192.168.1.2/24", "-p", "8080:80", "--egress", "192.0.2.1", "--ulimit", "nofile=64"],
        &["--network", "veth:some", "--hostname", "web"],
        &["--network", "ns:/run/netns/blue", "--uts", "host"],
        &["--userns", "auto:1000", "--network", "none", "--landlock", "rw=/"],
        &["--network", "host", "--read-only", "--rootfs", &root, "-x", "-v", "/usr:/usr", "--tmpfs", "/mnt"],
    ];
    for options in cases {
        matches_the_plan(options, |words| host.nsl(words));
        host.assert_clean();
    }
}

#[test]
fn unpacking_an_archive_is_a_step() {
    let host = crate::host!("tar", "busybox");
    host.sh(&format!("cd {DIR}; mkdir -p root/bin; cp $(command -v busybox) root/bin/true; tar cf a.tar -C root ."));
    let archive = format!("{DIR}/a.tar");
    let words = ["run", "--network", "none", "--timings=json", "--rootfs", &archive, "--", "true"];
    let output = host.nsl(words).env("NSL_STORE", format!("{DIR}/store")).run();
    output.assert_code(0);
    let timings = timings(&output);
    timings.assert_consistent();
    timings.step("nsl", &format!("unpack {archive} into the store"));
    host.assert_clean();
}

#[test]
fn an_ordinary_user_sees_the_entries_of_the_root() {
    let host = crate::host!();
    let timings = matches_the_plan(&["--network", "none"], |words| host.nsl(words).as_user());
    timings.step("child", "mount an overlay of the host's /usr on /usr");
    timings.step("child", &format!("map user {USER} and group {USER} to themselves"));
    host.assert_clean();
}

/// How long a program is made to take: what is measured here.
const SLOW: Duration = Duration::from_millis(200);

/// A program that takes its time, and then becomes the one that it stands for.
fn slow(program: &str) -> String {
    format!("#!/bin/sh\nsleep {}\nexec {program} \"$@\"\n", SLOW.as_secs_f32())
}

#[test]
fn the_child_waits_while_newuidmap_takes_its_time() {
    let mut host = crate::own_host!("newuidmap", "newgidmap");
    crate::userns::grant(&mut host, "tester:100000:65536\\n");
    host.sh(&format!(
        "cd /usr/bin; mv newuidmap slow; printf '%s' '{}' > newuidmap; chmod 755 newuidmap",
        slow("/usr/bin/slow")
    ));
    host.accept();
    let timings = matches_the_plan(&["--network", "none", "--userns", "auto"], |words| host.nsl(words).as_user());
    let waits = timings.of("child").find(|step| step.wait).expect("the child waits");
    assert_eq!(waits.words, "wait for the maps of users and groups, and become root");
    let maps =
        timings.of("nsl").find(|step| step.words.starts_with("map users by newuidmap: ")).expect("users are mapped");
    for step in [waits, maps] {
        assert!(step.wait && Duration::from_micros(step.took_us.unwrap_or(0)) >= SLOW, "{timings:#?}");
    }
    host.assert_clean();
}

#[test]
fn the_init_waits_while_pasta_takes_its_time() {
    let mut host = crate::host!("pasta");
    host.uplink();
    host.sh("mount -t tmpfs -o mode=755 tmpfs /dev/net; mknod -m 666 /dev/net/tun c 10 200");
    host.sh(&format!("cd {DIR}; printf '%s' '{}' > pasta; chmod 755 pasta", slow("/usr/bin/pasta")));
    host.accept();
    let path = format!("{DIR}:/usr/bin:/bin");
    let timings = matches_the_plan(&["--network", "pasta"], |words| host.nsl(words).as_user().env("PATH", &path));
    let pasta = timings.step("nsl", "wait until pasta is ready");
    let init = timings.step("init", "wait until nsl lets the command start");
    assert!(pasta.wait && Duration::from_micros(pasta.took_us.unwrap_or(0)) >= SLOW, "{timings:#?}");
    // It has set all up by itself in the meantime, and waits for the rest.
    assert!(init.wait && init.at_us < pasta.end() && init.end() >= pasta.end(), "{timings:#?}");
    host.assert_clean();
}

#[test]
fn the_time_of_the_command_is_told_apart_from_that_of_the_start() {
    let host = crate::host!();
    let output = host.nsl(["run", "--network", "none", "--timings=json", "--", "sleep", "0.2"]).run();
    output.assert_code(0);
    let timings = timings(&output);
    timings.assert_consistent();
    let run = timings.step("command", "run").took_us.expect("it ended");
    assert!(run >= 200_000 && timings.total_us - run < timings.total_us - 200_000 + 1, "{timings:#?}");
}

#[test]
fn a_failure_shows_how_far_it_came() {
    let host = crate::host!();
    host.sh(&format!("mkdir {DIR}/root; touch {DIR}/root/dev"));
    let root = format!("{DIR}/root");
    // In the launcher, in the child, in the init, at the command.
    let cases: [(&[&str], i32, &str, &str); 4] = [
        (&["-v", "/no/where:/mnt"], 125, "nsl", "check the options and make the plan"),
        (&["--rootfs", &root], 125, "child", &format!("bind {root} on /")),
        (&["-w", "/no/where"], 125, "init", "execute the command"),
        (&["--empty"], 127, "init", "execute the command"),
    ];
    for (options, code, side, last) in cases {
        let words = [&["run", "--network", "none", "--timings=json"], options, &["--", "true"]].concat();
        let output = host.nsl(words).run();
        output.assert_code(code);
        let stderr = output.stderr();
        let (error, _) = stderr.split_once('\n').expect("two lines");
        let timings = timings(&output);
        assert_eq!(Some(error), timings.error.as_ref().map(|error| format!("nsl: {error}")).as_deref(), "{output}");
        assert_eq!(timings.started_us, None);
        let step = timings.of(side).filter(|step| !step.wait).last().expect("that side has steps");
        assert_eq!(step.words, last, "{output}");
        assert!(timings.steps.iter().all(|step| step.end() <= timings.total_us), "{output}");
        host.assert_clean();
    }
}

#[test]
fn the_table_fits_into_100_columns_behind_all_that_the_command_wrote() {
    let host = crate::host!();
    let deep = format!("{DIR}/{}", ["directory"; 20].join(" "));
    host.sh(&format!("mkdir '{deep}'"));
    let volume = format!("{deep}:/mnt");
    let output = host.nsl(["run", "--timings", "-v", &volume, "--", "sh", "-c", "echo out; echo said >&2"]).run();
    output.assert_code(0).assert_stdout("out");
    let stderr = output.stderr();
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines[0], "said", "{output}");
    assert!(lines[1].starts_with("nsl: the command started "), "{output}");
    assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["at", "worked", "waited", "who", "step"], "{output}");
    let column = lines[2].find("step").expect("the heading of the steps");
    assert!(lines[3].ends_with("  nsl      read the command line"), "{output}");
    for line in &lines[3..] {
        assert!(line.chars().count() <= 100 && line.as_bytes()[column - 1] == b' ', "{line:?} in {output}");
    }
    for words in
        ["pivot to the new root", "forward and masquerade what comes from it", "wait until the command has started"]
    {
        assert!(lines.iter().any(|line| line.contains(words)), "{words}: {output}");
    }
    host.assert_clean();
}

#[test]
fn a_terminal_is_the_callers_again_when_the_table_is_told() {
    let host = crate::host!();
    let mut pty = Pty::start(host.nsl(["run", "--network", "none", "--timings", "--", "echo", "hello"]));
    assert_eq!(pty.end(), 0, "{}", pty.all());
    let shown = pty.all();
    let (said, table) = shown.split_once("\r\n").expect("lines");
    assert_eq!(said, "hello", "{shown}");
    assert!(table.ends_with("\r\n") && table.matches('\n').count() == table.matches("\r\n").count(), "{shown:?}");
    for words in ["nsl: the command started ", "  open a pty in /dev/pts\r\n", "make the pty the controlling terminal"]
    {
        let table = table.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(table.contains(words.trim()), "{words}: {shown}");
    }
    host.assert_clean();
}

#[test]
fn a_sandbox_with_a_name_is_timed_too() {
    let host = crate::host!();
    let output = host.nsl(["run", "--network", "none", "--timings=json", "--name", "box", "--", "true"]).run();
    output.assert_code(0);
    let timings = timings(&output);
    timings.assert_consistent();
    timings.step("nsl", "take the name");
    host.nsl(["rm", "box"]).run();
    host.assert_clean();
}

#[test]
fn many_steps_are_all_told() {
    let host = crate::host!();
    let volumes: Vec<_> = (0..300).flat_map(|number| ["-v".to_owned(), format!("/usr:/mnt/{number}")]).collect();
    let options: Vec<_> =
        ["--network", "none", "--empty"].into_iter().chain(volumes.iter().map(|word| &**word)).collect();
    let words = [&["run", "--timings=json"], &options[..], &["-v", "/usr:/usr", "--", "/usr/bin/env"]].concat();
    let output = host.nsl(words).run();
    // The command finds no libraries; all before it has been done.
    output.assert_code(127);
    let timings = timings(&output);
    let binds = timings.of("child").filter(|step| step.words.starts_with("bind /usr on /mnt/")).count();
    assert_eq!(binds, 300, "{output}");
    host.assert_clean();
}

#[test]
fn nothing_is_told_without_the_option() {
    let host = crate::host!();
    host.nsl(["run", "--", "true"]).run().assert_prints("");
    host.nsl(["run", "--network", "none", "--log-level", "info", "--", "true"]).run().assert_prints("");
}

#[test]
fn nobody_is_there_to_be_told_of_a_sandbox_in_the_background() {
    let host = crate::host!();
    for (option, hint) in [("--detach", "--name"), ("--dry-run", "leave one")] {
        let output = host.nsl(["run", "--timings", option, "--", "true"]).run();
        output.assert_refused(125, &["use --timings", option, hint]);
    }
    let output = host.nsl(["run", "--timings=loud", "--", "true"]).run();
    output.assert_refused(125, &["text, json"]);
    host.assert_clean();
}
