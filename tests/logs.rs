//! Every line that a detached command writes is in its log, or is counted; and the log is read again as it was written.

use crate::harness::{DIR, Host, NSL, USER, wait_until};
use crate::leaks::kill_hard;
use crate::services::{detached, inspect, line, log, process, remove, start};
use std::fs;
use std::time::{Duration, Instant};

/// The text of records of a stream in a file of the log, with an end to each line that has one there.
fn text(log: &str, stream: &str) -> String {
    let mut text = String::new();
    for line in log.lines() {
        let (head, rest) = line.split_at(40);
        let time = &head[..30];
        assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T' && time.as_bytes()[19] == b'.', "{line}");
        match &head[30..] {
            mark if mark == format!(" {stream} F ") => text.extend([rest, "\n"]),
            mark if mark == format!(" {stream} P ") => text += rest,
            mark => assert!([" stdout F ", " stdout P ", " stderr F ", " stderr P "].contains(&mark), "{line}"),
        }
    }
    text
}

/// All files of a log, the oldest first.
fn files(host: &Host, name: &str) -> Vec<String> {
    let directory = host.path(format!("/var/log/nsl/{name}"));
    let age = |name: &str| name.strip_prefix("log.").map_or(0, |age| age.parse::<u32>().expect("a number"));
    let entries = fs::read_dir(&directory).expect("the log's directory").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().expect("a name")).collect();
    names.sort_by_key(|name| std::cmp::Reverse(age(name)));
    names.iter().map(|name| fs::read_to_string(directory.join(name)).expect("read the log")).collect()
}

fn dropped(host: &Host, name: &str, stream: &str) -> (u64, u64) {
    let tally = inspect(host, name)["log"]["dropped"][stream].clone();
    (tally["lines"].as_u64().expect("lines"), tally["bytes"].as_u64().expect("bytes"))
}

/// What seq(1) prints.
fn sequence(last: u64) -> String {
    numbered("", last)
}

/// The same, with something before each number.
fn numbered(prefix: &str, last: u64) -> String {
    (1..=last).flat_map(|number| [prefix.to_owned(), number.to_string(), "\n".to_owned()]).collect()
}

#[track_caller]
fn end(host: &Host, name: &str) {
    host.nsl(["wait", name]).run().assert_prints("0");
}

#[test]
fn both_streams_are_kept_apart_with_times_and_any_bytes() {
    let host = crate::host!();
    let script = r"echo out; printf 'a\0b\377\r\n\n'; echo err >&2; printf end";
    start(&host, "web", &["--", "sh", "-c", script]);
    end(&host, "web");
    let output = host.nsl(["logs", "web"]).run();
    output.assert_code(0);
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\na\0b\xff\r\n\nend"[..], &b"err\n"[..]));
    let records = fs::read(host.path("/var/log/nsl/web/log")).expect("read the log");
    assert!(records.ends_with(b"Z stdout P end\n"));
    let shown = host.nsl(["logs", "-t", "web"]).run().stdout();
    let first = shown.lines().next().expect("a line");
    let year = host.sh("date -u +%Y-");
    assert!(first.starts_with(year.trim()) && first.len() == 34 && first.ends_with("Z out"), "{shown}");
    remove(&host, "web");
}

#[test]
fn a_long_line_is_as_many_records_as_it_takes_and_is_one_line_again() {
    let host = crate::host!();
    let script = "for n in 16383 16384 16385 32768 100000; do head -c $n /dev/zero | tr '\\0' x; echo; done";
    start(&host, "web", &["--", "sh", "-c", script]);
    end(&host, "web");
    let shown = host.nsl(["logs", "web"]).run();
    shown.assert_code(0).assert_quiet();
    let lengths: Vec<_> = shown.stdout().lines().map(str::len).collect();
    assert_eq!(lengths, [16383, 16384, 16385, 32768, 100_000]);
    assert_eq!(text(&log(&host, "web"), "stdout"), shown.stdout());
    assert!(log(&host, "web").lines().all(|line| line.len() <= 40 + 16384));
    host.nsl(["logs", "--tail", "1", "web"]).run().assert_stdout(&"x".repeat(100_000));
    remove(&host, "web");
}

#[test]
fn the_last_lines_and_those_since_a_time_are_found() {
    let host = crate::host!("strace");
    start(&host, "web", &["--log-size", "1m", "--log-files", "20", "--", "seq", "200000"]);
    end(&host, "web");
    assert!(files(&host, "web").len() > 5);
    host.nsl(["logs", "web"]).run().assert_prints(sequence(200_000).trim());
    host.nsl(["logs", "-n", "3", "web"]).run().assert_prints("199998\n199999\n200000");
    host.nsl(["logs", "--tail", "0", "web"]).run().assert_prints("");
    let half = host.nsl(["logs", "--tail", "100000", "web"]).run().stdout();
    assert!(half.starts_with("100001\n") && half.lines().count() == 100_000);
    let trace = host.sh(&format!(
        "strace -f -e trace=read,pread64 -o {DIR}/trace {NSL} logs -n 1 web; cat {DIR}/trace; rm {DIR}/trace"
    ));
    let read = trace.lines().filter_map(|line| line.rsplit_once(" = ")?.1.parse::<u64>().ok()).sum::<u64>();
    assert!((64..500_000).contains(&read), "{read} bytes of some megabytes");
    // A line of each second, as if they had been written so; the clock was set back once.
    let records = ["10:00:01", "10:00:02", "09:00:00", "10:00:03"]
        .map(|time| format!("2026-01-02T{time}.000000000Z stdout F {time}\n"));
    fs::write(host.path("/var/log/nsl/web/log"), records.concat()).expect("write the log");
    host.sh("rm /var/log/nsl/web/log.*");
    host.nsl(["logs", "web"]).run().assert_prints("10:00:01\n10:00:02\n09:00:00\n10:00:03");
    for since in ["2026-01-02T10:00:02Z", "2026-01-02T12:00:01.5+02:00", "2026-01-02 10:00:02"] {
        host.nsl(["logs", "--since", since, "web"]).run().assert_prints("10:00:02\n10:00:03");
    }
    host.nsl(["logs", "--since", "10m", "web"]).run().assert_code(0);
    for bad in ["soon", "2026-01-02", "10x"] {
        let refused = ["neither a time nor a duration", "hint: such as"];
        host.nsl(["logs", "--since", bad, "web"]).run().assert_refused(125, &refused);
    }
    remove(&host, "web");
}

#[test]
fn files_are_renamed_at_their_size_and_the_oldest_goes() {
    let host = crate::host!();
    let run = |size: &str, files: &str| {
        start(&host, "web", &["--log-size", size, "--log-files", files, "--", "seq", "10000"]);
        end(&host, "web");
    };
    run("64k", "3");
    let all = files(&host, "web");
    assert_eq!(all.len(), 3);
    assert!(all[..2].iter().all(|file| (65_000..=65_536).contains(&file.len())) && all[2].len() <= 65_536);
    let kept = text(&all.concat(), "stdout");
    assert!(sequence(10_000).ends_with(&kept) && kept.lines().count() > 3000);
    host.nsl(["logs", "web"]).run().assert_prints(kept.trim());
    // What an earlier one left goes on, with as many files as there may be now.
    run("64k", "1");
    let all = files(&host, "web");
    assert!(all.len() == 1 && sequence(10_000).ends_with(&text(&all[0], "stdout")));
    remove(&host, "web");
    for (words, cause) in [
        (["--log-size", "1k"], "less than 32k"),
        (["--log-size", "big"], "no size"),
        (["--log-files", "0"], "not from 1"),
    ] {
        detached(&host, "web", &[&words[..], &["--", "true"]].concat()).run().assert_refused(125, &[words[0], cause]);
    }
}

#[test]
fn who_follows_sees_each_line_once_while_files_are_renamed() {
    let host = crate::host!();
    let script = format!("while [ ! -e {DIR}/go ]; do sleep 0.01; done; seq 200000; echo last >&2");
    let options =
        ["-v", &format!("{DIR}:{DIR}"), "--log-size", "100k", "--log-files", "1000", "--", "sh", "-c", &script];
    start(&host, "web", &options);
    let followers: Vec<_> = (0..3).map(|_| host.nsl(["logs", "-f", "web"]).start()).collect();
    host.sh(&format!("touch {DIR}/go"));
    for follower in followers {
        let output = follower.finish();
        output.assert_code(0);
        assert!(output.stdout() == sequence(200_000), "{} lines", output.stdout().lines().count());
        assert_eq!(output.stderr(), "last\n");
    }
    assert!(files(&host, "web").len() > 50);
    host.sh(&format!("rm {DIR}/go"));
    remove(&host, "web");
}

#[test]
fn who_follows_too_slowly_is_told() {
    let host = crate::host!();
    let script = format!("echo 0; while [ ! -e {DIR}/go ]; do sleep 0.01; done; seq 200000");
    let options = ["-v", &format!("{DIR}:{DIR}"), "--log-size", "32k", "--log-files", "2", "--", "sh", "-c", &script];
    start(&host, "web", &options);
    // Its pipe is full before long.
    let mut follower = host.nsl(["logs", "-f", "web"]).start();
    assert_eq!(follower.line(), "0");
    host.sh(&format!("touch {DIR}/go"));
    end(&host, "web");
    let output = follower.finish();
    let numbers: Vec<u64> = output.stdout().lines().map(|line| line.parse().expect("a whole line")).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]) && numbers.last() == Some(&200_000));
    assert_eq!(output.stderr().contains("some lines were removed before they could be read"), numbers.len() < 200_000);
    host.sh(&format!("rm {DIR}/go"));
    remove(&host, "web");
}

#[test]
fn who_reads_no_more_ends_it_quietly() {
    let host = crate::host!("bash");
    start(&host, "web", &["--", "sh", "-c", "seq 100000; exec sleep 1000"]);
    wait_until("all is there", || log(&host, "web").ends_with(" 100000\n"));
    for words in ["", "-f", "-f -n 1"] {
        let script = format!("{NSL} logs {words} web | head -n 1; echo ${{PIPESTATUS[0]}}");
        let output = host.command("bash", ["-c", &script]).run();
        output.assert_code(0).assert_quiet();
        let code = output.stdout().lines().last().map(str::to_owned);
        assert!(code == Some("0".to_owned()) || code == Some("141".to_owned()), "{output}");
    }
    remove(&host, "web");
}

/// Kilobytes of a line of a process's status.
fn kilobytes(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
    line.split_ascii_whitespace().nth(1).expect("a number").parse().expect("a number")
}

#[test]
fn a_gigabyte_goes_through_little_memory_and_no_line_is_missing() {
    let host = crate::host!();
    start(&host, "idle", &["--", "sleep", "1000"]);
    let monitor = process(&host, "idle", "monitor");
    let (idle, own) = (kilobytes(monitor, "VmHWM"), kilobytes(monitor, "RssAnon"));
    let begin = Instant::now();
    start(&host, "web", &["--", "sh", "-c", "seq -f %0999.0f 1000000; exec sleep 1000"]);
    wait_until("half of it is there", || files_end(&host) > 500_000);
    // It obeys and is looked at meanwhile.
    let asked = Instant::now();
    host.nsl(["ps"]).run().assert_code(0).assert_quiet();
    assert!(asked.elapsed() < Duration::from_secs(5));
    wait_until("all is there", || files_end(&host) == 1_000_000);
    println!("1 GB in {:?}", begin.elapsed());
    let monitor = process(&host, "web", "monitor");
    let peak = kilobytes(monitor, "VmHWM");
    assert!(peak < idle + 2500, "{idle} kB idle, {peak} kB at most");
    wait_until("what it took is given back", || kilobytes(monitor, "RssAnon") < own + 100);
    assert_eq!((dropped(&host, "web", "stdout"), dropped(&host, "web", "stderr")), ((0, 0), (0, 0)));
    let kept = text(&files(&host, "web").concat(), "stdout");
    let numbers: Vec<u64> = kept.lines().map(|line| line.parse().expect("a number")).collect();
    assert!(numbers.len() > 15_000 && numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    remove(&host, "web");
    remove(&host, "idle");
}

/// The last number in the log of the sandbox web.
fn files_end(host: &Host) -> u64 {
    let last = host.nsl(["logs", "-n", "1", "web"]).run().stdout();
    last.trim().parse().unwrap_or_default()
}

/// Numbers and bytes of what is there and of what is counted, which are all.
#[track_caller]
fn adds_up(host: &Host, all: u64) {
    let kept = text(&files(host, "web").concat(), "stdout");
    let (lines, bytes) = dropped(host, "web", "stdout");
    assert!(lines > 0);
    assert_eq!(kept.lines().count() as u64 + lines, all);
    assert_eq!(kept.len() as u64 + bytes, sequence(all).len() as u64);
    let numbers: Vec<u64> = kept.lines().map(|line| line.parse().expect("a whole line")).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn on_a_full_disk_lines_are_counted_and_the_command_goes_on() {
    let host = crate::host!();
    host.sh("mount -t tmpfs -o size=256k,mode=700 tmpfs /var/log/nsl");
    let script =
        format!("seq 100000; touch {DIR}/done; while [ ! -e {DIR}/go ]; do sleep 0.01; done; seq 100001 100010");
    start(&host, "web", &["-v", &format!("{DIR}:{DIR}"), "--", "sh", "-c", &script]);
    wait_until("the command has written all", || host.path(format!("{DIR}/done")).exists());
    wait_until("it is noted", || dropped(&host, "web", "stdout").0 > 0);
    assert!(line(&host, "web").expect("a line").contains(" lines dropped "), "{:?}", line(&host, "web"));
    // Nobody is held up by it.
    let json = host.nsl(["ps", "--json"]).run().stdout();
    assert!(json.contains("\"dropped_lines\": ") && !json.contains("\"dropped_lines\": 0"), "{json}");
    host.sh("mount -o remount,size=100m /var/log/nsl");
    wait_until("the log tells of it", || log(&host, "web").contains(" stderr F nsl: "));
    host.sh(&format!("touch {DIR}/go"));
    end(&host, "web");
    adds_up(&host, 100_010);
    let log = log(&host, "web");
    assert!(text(&log, "stdout").ends_with("100009\n100010\n"));
    let (lines, bytes) = dropped(&host, "web", "stdout");
    let told = format!("nsl: {lines} lines ({bytes} bytes) of stdout were dropped: No space left on device\n");
    assert_eq!(text(&log, "stderr"), told);
    remove(&host, "web");
    host.sh(&format!("rm {DIR}/done {DIR}/go; umount /var/log/nsl"));
}

#[test]
fn what_a_full_disk_has_no_room_for_at_the_end_is_counted_too() {
    let host = crate::host!();
    for options in [&[][..], &["--log-size", "32k"], &["--log-size", "100k", "--log-files", "100"]] {
        host.sh("mount -t tmpfs -o size=200k,mode=700 tmpfs /var/log/nsl");
        start(&host, "web", &[options, &["--", "seq", "100000"]].concat());
        end(&host, "web");
        if options.contains(&"32k") {
            assert_eq!(dropped(&host, "web", "stdout"), (0, 0), "three of them have room");
        } else {
            adds_up(&host, 100_000);
        }
        remove(&host, "web");
        host.sh("umount /var/log/nsl");
    }
}

#[test]
fn closed_streams_are_no_end() {
    let host = crate::host!();
    start(&host, "web", &["--", "sh", "-c", "exec >&-; echo err >&2; exec 2>&-; echo lost; exec sleep 1000"]);
    wait_until("it is there", || log(&host, "web").ends_with(" stderr F err\n"));
    let monitor = process(&host, "web", "monitor");
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{monitor}/stat")).expect("its stat");
        stat.rsplit(' ').nth(52 - 14).expect("a number").to_owned()
    };
    let before = ticks();
    // What takes longer than a tick of its clock.
    (0..10).for_each(|_| drop(host.nsl(["ps"]).run()));
    assert_eq!(before, ticks(), "it waits, and does not spin");
    host.nsl(["logs", "web"]).run().assert_code(0).assert_stdout("");
    remove(&host, "web");
}

#[test]
fn what_a_monitor_wrote_stays_when_it_is_killed_and_the_next_goes_on() {
    let host = crate::host!();
    start(&host, "web", &["--", "sh", "-c", "echo one; exec sleep 1000"]);
    wait_until("it is there", || log(&host, "web").ends_with(" one\n"));
    let following = host.nsl(["logs", "-f", "web"]).start();
    kill_hard(process(&host, "web", "monitor"));
    following.finish().assert_prints("one");
    // As if it had been killed in the middle.
    let path = host.path("/var/log/nsl/web/log");
    for torn in ["2026-11-24T10:00:00.1234", "2026-11-24T10:00:00.123456789Z stdout F t"] {
        let before = fs::read_to_string(&path).expect("read the log");
        fs::write(&path, format!("{before}{torn}")).expect("write the log");
        let shown = if torn.ends_with('t') { "one\nt" } else { "one" };
        for words in [&["logs", "web"][..], &["logs", "-f", "web"], &["logs", "-n", "9", "web"]] {
            host.nsl(words).run().assert_prints(shown);
        }
        start(&host, "web", &["--", "echo", "two"]);
        end(&host, "web");
        host.nsl(["logs", "web"]).run().assert_prints(&format!("{shown}\ntwo"));
        fs::write(&path, before).expect("write the log");
    }
    remove(&host, "web");
}

#[test]
fn fifty_at_once_mix_up_nothing() {
    let host = crate::host!();
    let script = format!(
        "for n in $(seq 50); do {NSL} run -d --network none --name w$n -- seq -f $n-%.0f 2000 >/dev/null & done; wait
         {NSL} wait $(seq -f w%.0f 50) | uniq"
    );
    assert_eq!(host.sh(&script), "0\n");
    for number in 1..=50 {
        let expected = numbered(&format!("{number}-"), 2000);
        assert!(text(&log(&host, &format!("w{number}")), "stdout") == expected, "that of {number}");
    }
    host.sh(&format!("{NSL} rm $(seq -f w%.0f 50)"));
}

#[test]
fn a_place_that_is_not_ones_own_is_refused() {
    let host = crate::host!();
    host.sh(&format!(
        "mkdir -m 700 {DIR}/run {DIR}/home; mkdir -p -m 500 {DIR}/home/.local/state; chown -R {USER} {DIR}/run {DIR}/home"
    ));
    let run = ["run", "-d", "--network", "none", "--name", "web", "--", "true"];
    let user = host.nsl(run).as_user();
    let user = user.env("XDG_RUNTIME_DIR", format!("{DIR}/run")).env("HOME", format!("{DIR}/home"));
    user.run().assert_refused(125, &[&format!("{DIR}/home/.local/state/nsl"), "Permission denied"]);
    assert_eq!(host.sh(&format!("ls -A {DIR}/run/nsl")), "");
    host.sh("chmod 777 /var/log/nsl");
    detached(&host, "web", &["--", "true"]).run().assert_refused(125, &["/var/log/nsl", "others can write"]);
    host.sh(&format!("chmod 700 /var/log/nsl; rm -r {DIR}/run {DIR}/home"));
}

#[test]
fn output_goes_where_it_is_asked_for() {
    let host = crate::host!();
    start(&host, "web", &["--log", "none", "--", "sh", "-c", "echo out; echo err >&2; readlink /proc/self/fd/1 >&2"]);
    end(&host, "web");
    host.nsl(["logs", "web"]).run().assert_refused(125, &["--log none", "nothing is kept"]);
    remove(&host, "web");
    detached(&host, "web", &["--log", "stdout", "--", "true"]).run().assert_refused(125, &["--log stdout", "--detach"]);
    detached(&host, "web", &["--log", "none", "--log-size", "1m", "--", "true"])
        .run()
        .assert_refused(125, &["no files"]);
    host.nsl(["run", "--log", "file", "--", "true"]).run().assert_refused(125, &["has no name", "--name"]);
    let named = |options: &[&str]| {
        let words = [&["run", "--network", "none", "--name", "web"], options, &["--", "echo", "out"]].concat();
        host.nsl(words).run()
    };
    named(&[]).assert_prints("out");
    host.nsl(["logs", "web"]).run().assert_refused(125, &["that of its nsl", "--log file"]);
    named(&["--log", "file"]).assert_prints("");
    host.nsl(["logs", "web"]).run().assert_prints("out");
    remove(&host, "web");
    host.nsl(["logs", "web"]).run().assert_refused(125, &["there is no such sandbox"]);
}
