//! Who is who inside: the maps of a sandbox's user namespace, seen from inside and from the host's files.

use crate::documents::{ROOT, blocks_of};
use crate::harness::{DIR, Host, NSL, USER, wait_until};
use crate::leaks::{child_of, is_nsl, kill_hard, wait_until_past};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The ranges that the ordinary user has in these hosts.
const RANGES: &str = "100000:65536";

/// Gives the ordinary user a name, `tester`, and these lines of /etc/subuid and /etc/subgid, in this host alone.
pub fn grant(host: &mut Host, lines: &str) {
    host.sh(&format!(
        "mkdir -p /run/etc; cd /run/etc
         grep -v '^[^:]*:[^:]*:{USER}:' /etc/passwd > passwd.new; echo tester:x:{USER}:{USER}::/:/bin/sh >> passwd.new
         mv passwd.new passwd; printf '{lines}' > subuid; printf '{lines}' > subgid
         if ! [ -e /etc/subuid -a -e /etc/subgid ]; then
             mkdir upper work; mount -t overlay -o lowerdir=/etc,upperdir=upper,workdir=work overlay /etc
             touch /etc/subuid /etc/subgid
         fi
         for file in passwd subuid subgid; do
             grep -q \" /etc/$file \" /proc/self/mounts || mount --bind /run/etc/$file /etc/$file
         done"
    ));
    host.accept();
}

/// A host whose ordinary user has a range.
macro_rules! host_with_ranges {
    () => {{
        let mut host = crate::host!("newuidmap", "newgidmap");
        grant(&mut host, &format!("tester:{RANGES}\\n"));
        host
    }};
}

/// `nsl run --network none OPTIONS -- sh -c SCRIPT`.
pub fn sandbox<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["run", "--network", "none"], options, &["--", "sh", "-c", script]].concat()
}

/// A script that prints both maps.
pub const MAPS: &str = "echo $(cat /proc/self/uid_map /proc/self/gid_map)";

#[test]
fn without_the_option_a_user_is_itself_and_alone() {
    let host = host_with_ranges!();
    host.nsl(sandbox(&[], MAPS)).as_user().run().assert_prints("1000 1000 1 1000 1000 1");
}

#[test]
fn with_auto_root_inside_is_the_caller_and_the_others_are_its_ranges() {
    let host = host_with_ranges!();
    let script = format!("id -u; id -G; {MAPS}");
    let run = |mode| host.nsl(sandbox(&["--userns", mode], &script)).as_user().run();
    run("auto").assert_prints("0\n0\n0 1000 1 1 100000 65535 0 1000 1 1 100000 65535");
    run("auto:3").assert_prints("0\n0\n0 1000 1 1 100000 2 0 1000 1 1 100000 2");
    run("auto:size=1").assert_prints("0\n0\n0 1000 1 0 1000 1");
    // Further groups of the caller's open nothing inside.
    let words = [&["--reuid=1000", "--regid=1000", "--groups=4,24", NSL][..], &sandbox(&["--userns", "auto"], "id -G")];
    host.command("setpriv", words.concat()).run().assert_prints("0");
}

#[test]
fn with_keep_id_the_caller_is_itself_among_the_others() {
    let host = host_with_ranges!();
    let script = format!("id -u; id -g; {MAPS}");
    let run = |options: &[&'static str]| {
        let options = [&["--userns", "keep-id"], options].concat();
        host.nsl(sandbox(&options, &script)).as_user().run()
    };
    let map = "0 100000 1000 1000 1000 1 1001 101000 64535";
    run(&[]).assert_prints(&format!("1000\n1000\n{map} {map}"));
    run(&["-u", "0"]).assert_prints(&format!("0\n0\n{map} {map}"));
}

#[test]
fn several_ranges_are_one_behind_the_other() {
    let mut host = crate::host!("newuidmap", "newgidmap");
    grant(&mut host, &format!("tester:400000:5\\n{USER}:300000:10\\nroot:1:1\\n"));
    let map = "0 1000 1 1 300000 10 11 400000 5";
    host.nsl(sandbox(&["--userns", "auto"], MAPS)).as_user().run().assert_prints(&format!("{map} {map}"));
}

#[test]
fn files_belong_to_mapped_ids_inside_and_to_their_ranges_outside() {
    let host = host_with_ranges!();
    host.sh(&format!(
        "mkdir -p {DIR}/root/bin; cp $(command -v busybox) {DIR}/root/bin/busybox; ln -s busybox {DIR}/root/bin/sh
         chown -R {USER}:{USER} {DIR}/root"
    ));
    let rootfs = format!("{DIR}/root");
    let options = ["--userns", "auto", "--rootfs", &rootfs];
    host.nsl(sandbox(&options, "echo x > /f; /bin/busybox chown 5:7 /f")).as_user().run().assert_prints("");
    assert_eq!(host.sh(&format!("stat -c '%u %g' {DIR}/root/f")), "100004 100006\n");
    let script = "/bin/busybox stat -c '%u %g' /f / && echo y >> /f && /bin/busybox rm /f";
    host.nsl(sandbox(&options, script)).as_user().run().assert_prints("5 7\n0 0");
}

#[test]
fn any_mapped_user_can_run_the_command_and_only_those() {
    let host = host_with_ranges!();
    let run = |user: &str, mode: &str| {
        host.nsl(sandbox(&["--userns", mode, "-u", user], "id -u; id -g; id -G")).as_user().run()
    };
    run("33:44", "auto").assert_prints("33\n44\n44");
    run("65535", "auto").assert_prints("65535\n65535\n65535");
    run("65536", "auto").assert_refused(125, &["run as user 65536", "does not exist inside"]);
    run("2:3", "auto:3").assert_refused(125, &["run as user 2:3", "does not exist inside"]);
    run("33", "keep-id").assert_prints("33\n33\n33");
    run("65536", "keep-id").assert_refused(125, &["does not exist inside"]);
}

#[test]
fn root_of_a_user_has_the_capabilities_of_root_over_its_own_files_alone() {
    let host = host_with_ranges!();
    let script = "grep -E '^Cap(Inh|Eff|Bnd|Amb)' /proc/self/status | cut -f2 | tr '\\n' ' '";
    let (default, none) = ("00000000800405fb", "0000000000000000");
    let run = |options: &[&str]| host.nsl(sandbox(options, script)).as_user().run();
    run(&["--userns", "auto"]).assert_prints(&format!("{none} {default} {default} {none}"));
    run(&["--userns", "auto", "-u", "5"]).assert_prints(&format!("{none} {none} {default} {none}"));
    run(&["--userns", "keep-id"]).assert_prints(&format!("{none} {none} {default} {none}"));
    let script = "cat /etc/shadow; chown 0 /etc/shadow; echo x >> /etc/shadow";
    let output = host.nsl(sandbox(&["--userns", "auto"], script)).as_user().run();
    assert!(output.code != 0 && output.stdout.is_empty(), "{output}");
}

#[test]
fn a_terminals_group_is_that_of_terminals_where_it_exists() {
    let host = host_with_ranges!();
    let script = "exec 3<>/dev/ptmx; stat -c %g /dev/pts/*[0-9]";
    let run = |mode| host.nsl(sandbox(&["--userns", mode], script)).as_user().run();
    run("auto").assert_prints("5");
    run("auto:5").assert_prints("0");
}

#[test]
fn what_stands_in_the_way_of_ranges_is_told() {
    let mut host = crate::host!("newuidmap", "newgidmap");
    let run = |host: &Host, mode: &str| host.nsl(sandbox(&["--userns", mode], "true")).as_user().run();
    grant(&mut host, "root:100000:65536\\n");
    run(&host, "auto").assert_refused(125, &["give tester a range", "/etc/subuid has none", "usermod --add-subuids"]);
    grant(&mut host, &format!("tester:{}:10\\n", USER - 5));
    run(&host, "keep-id").assert_refused(125, &["995-1004 in /etc/subuid", "its own id, 1000", "hint"]);
    grant(&mut host, &format!("tester:{RANGES}\\n"));
    for bad in ["", "none", "auto:0", "auto:x", "keep-id:", "host:5"] {
        run(&host, bad).assert_refused(125, &["use --userns"]);
    }
    let words = ["run", "--network", "none", "--userns", "auto", "--changes", "/tmp/test/kept", "--", "true"];
    host.nsl(words).as_user().run().assert_refused(125, &["--changes with --userns", "owners"]);
    host.nsl(words).run().assert_refused(125, &["--changes with --userns", "owners"]);
    run(&host, "host").assert_refused(125, &["--userns host", "Operation not permitted", "without root"]);
    let output = host.nsl(sandbox(&["--userns", "keep-id:5"], "true")).run();
    output.assert_refused(125, &["--userns keep-id:5", "nobody beside root", "--userns auto"]);
    // No privileges come with newuidmap where nsl may gain none.
    let words = [&["--no-new-privs", "--", NSL][..], &sandbox(&["--userns", "auto"], "true")].concat();
    let output = host.command("setpriv", words).as_user().run();
    output.assert_refused(125, &["map the users of the sandbox", "Operation not permitted", "no_new_privs is set"]);
    // It is not there at all, or refuses itself.
    let hide = |script: &str| {
        let words = format!(
            "{script}; exec setpriv --reuid={USER} --regid={USER} --clear-groups {NSL} run --network none --userns auto -- true"
        );
        host.command("unshare", ["--mount", "--propagation", "private", "sh", "-ec", &words]).run()
    };
    let script = "mkdir /run/upper; for d in /usr/bin; do mount -t overlay o -o lowerdir=$d,upperdir=/run/upper,workdir=/run/work $d; done; rm /usr/bin/newuidmap";
    hide(&format!("mkdir /run/work; {script}"))
        .assert_refused(125, &["there is no newuidmap", "apt-get install uidmap"]);
    host.sh("rm -rf /run/upper /run/work");
    hide("printf 'tester:200000:10\\n' > /run/etc/other; mount --bind /run/etc/other /etc/subgid; chmod 0 /etc/subgid")
        .assert_refused(125, &["/etc/subgid", "Permission denied"]);
    host.sh("rm /run/etc/other");
}

#[test]
fn newuidmap_is_given_numbers_and_nothing_else_and_its_words_are_passed_on() {
    let mut host = host_with_ranges!();
    let script = "#!/bin/sh\nshift\n{ echo \"no: $*;\" \"$(pwd)\"; env; } >&2\nexit 1\n";
    fs::write(host.path("/run/etc/newuidmap"), script).expect("write the script");
    host.sh("chmod 755 /run/etc/newuidmap; mount --bind /run/etc/newuidmap /usr/bin/newuidmap");
    host.accept();
    let output = host.nsl(sandbox(&["--userns", "auto:9"], "true")).as_user().env("SECRET", "word").run();
    output.assert_refused(125, &["map the users of the sandbox: no: 0 1000 1 1 100000 8; / "]);
    assert!(!output.stderr().contains("SECRET") && !output.stderr().contains("HOME"), "{output}");
}

#[test]
fn an_ordinary_user_can_do_what_the_documents_say() {
    let mut host = host_with_ranges!();
    // Where a view of the host shows it too: a mount deeper down would make all of /var read-only in it.
    let place = format!("/var/tmp/nsl-rootless-{}", std::process::id());
    host.unlock("/var");
    let mut failures = String::new();
    for document in ["docs/rootless.md", "docs/howto-rootless.md"] {
        let text = fs::read_to_string(Path::new(ROOT).join(document)).expect("read a document");
        let blocks = blocks_of(&text, "sh user").expect("the document has no mistakes");
        assert!(blocks.len() > 3);
        host.sh(&format!("mkdir {place}; chown {USER} {place}"));
        for block in blocks {
            let result = block.check(|options, script| {
                let invocation = host.command("sh", [options, &format!("exec 2>&1\n{script}")]).as_user().cwd(&place);
                let path = "/run/bin:/usr/sbin:/usr/bin:/sbin:/bin";
                let output = invocation.env("PATH", path).env("HOME", &place).run();
                (output.code, output.stdout())
            });
            if let Err(failure) = result {
                let _ = writeln!(failures, "{document}, {failure}");
            }
        }
        host.sh(&format!("rm -r {place}"));
    }
    assert!(failures.is_empty(), "{failures}");
}

/// Kills per test and network: delays from none to about as long as it takes until the maps are there.
const KILLS: u32 = 40;
const LONGEST: Duration = Duration::from_millis(12);

#[test]
fn invariant_1_whoever_is_killed_before_the_maps_are_there_leaves_nothing() {
    let host = host_with_ranges!();
    for (as_user, kills_child) in [(false, false), (false, true), (true, false), (true, true)] {
        for number in 0..KILLS {
            let invocation = host.nsl(sandbox(&["--userns", "auto"], "sleep 30"));
            let running = if as_user { invocation.as_user() } else { invocation }.start();
            let mut child = None;
            wait_until("nsl has a child", || {
                child = child_of(running.pid()).filter(|_| is_nsl(running.pid()));
                child.is_some()
            });
            wait_until_past(Instant::now() + LONGEST * number / KILLS);
            let victim = if kills_child { child.unwrap_or_default() } else { running.pid() };
            kill_hard(victim);
            let output = running.finish();
            if kills_child {
                assert!([125, 137].contains(&output.code), "{output}");
                output.assert_refused(output.code, &["SIGKILL"]);
            }
            if number % 10 == 9 {
                host.assert_clean();
            }
        }
    }
}
