//! `--dry-run`: the plan as it would be carried out, word for word, and nothing done.

use crate::harness::{DIR, Host};

/// `nsl run --dry-run OPTIONS -- true` prints exactly this.
#[track_caller]
fn plans(host: &Host, options: &[&str], golden: &str) {
    let output = host.nsl(["run", "--dry-run"].iter().chain(options).chain(&["--", "true"])).run();
    output.assert_code(0).assert_quiet();
    assert!(output.stdout() == golden, "expected:\n{golden}\n{output}");
    host.assert_clean();
    assert_eq!(host.sh("nft list ruleset; cat /proc/sys/net/ipv4/ip_forward"), "0\n");
}

#[test]
fn plan_of_root_with_nothing_asked_for() {
    let host = crate::host!();
    plans(&host, &[], include_str!("golden/default.txt"));
}

#[test]
fn plan_of_a_directory_with_volumes_and_a_fixed_pair() {
    let host = crate::host!();
    host.sh(&format!("mkdir {DIR}/root {DIR}/data"));
    let root = format!("{DIR}/root");
    let options = ["--rootfs", &root, "-v", &format!("{DIR}/data:/data"), "-v", "/usr:/opt/usr:ro", "-w", "/data"];
    let network = ["--ip", "192.168.1.2/24", "--gateway", "192.168.1.1", "--hostname", "web-1"];
    plans(&host, &[&options[..], &network].concat(), include_str!("golden/directory.txt"));
}

#[test]
fn plan_of_an_archive_unpacks_nothing() {
    let host = crate::host!();
    // An archive of nothing, as which it would be refused.
    host.sh(&format!("head -c 512 /dev/zero > {DIR}/archive"));
    let archive = format!("{DIR}/archive");
    plans(&host, &["--network", "none", "--rootfs", &archive], include_str!("golden/archive.txt"));
    host.sh(&format!("mkdir {DIR}/root"));
    let options = ["--network", "none", "-x", "--rootfs", &format!("{DIR}/root")];
    plans(&host, &options, include_str!("golden/ephemeral.txt"));
}

#[test]
fn plan_of_an_empty_root_without_a_network() {
    let host = crate::host!();
    plans(&host, &["--empty", "--network", "none"], include_str!("golden/empty.txt"));
}

#[test]
fn plan_of_a_read_only_root_with_mounts_of_every_kind() {
    let host = crate::host!();
    let mounts = ["--mount", "type=overlay,src=/usr,dst=/opt/deep/usr", "--tmpfs", "/opt/deep:size=64m,mode=700"];
    let more = ["--mount", "type=bind,src=/etc,dst=/mnt,readonly", "--tmpfs", "/dev/shm:ro", "-v", "/usr:/opt/deep/er"];
    let options = [&["--read-only", "--empty", "--network", "none"][..], &mounts, &more].concat();
    plans(&host, &options, include_str!("golden/mounts.txt"));
}

#[test]
fn plan_of_changes_that_are_kept() {
    let host = crate::host!();
    let kept = format!("{DIR}/kept");
    plans(&host, &["--network", "none", "--changes", &kept], include_str!("golden/changes.txt"));
    host.sh(&format!("test ! -e {kept}"));
}

#[test]
fn plan_of_the_hosts_network() {
    let host = crate::host!();
    plans(&host, &["--network", "host"], include_str!("golden/host.txt"));
}

/// What lies in the host's root is the host's affair: any number of such lines is one line.
#[test]
fn plan_of_an_ordinary_user() {
    let host = crate::host!();
    let output = host.nsl(["run", "--dry-run", "--network", "none", "--", "true"]).as_user().run();
    output.assert_code(0).assert_quiet();
    let entries = ["  mount an overlay of the host's /", "  bind the host's /", "  link /"];
    let stdout = output.stdout();
    let mut lines: Vec<_> =
        stdout
            .lines()
            .map(|line| {
                if entries.iter().any(|entry| line.starts_with(entry)) {
                    "  (an entry of the host's root)"
                } else {
                    line
                }
            })
            .collect();
    lines.dedup();
    assert_eq!(lines.join("\n") + "\n", include_str!("golden/user.txt"), "{output}");
    for name in ["dev", "proc", "run", "sys", "tmp"] {
        assert!(!stdout.contains(&format!("the host's /{name} ")), "{output}");
    }
    assert!(stdout.contains("  mount an overlay of the host's /usr on /usr\n"), "{output}");
}

#[test]
fn plan_of_root_with_ids_of_its_own() {
    let host = crate::host!();
    plans(&host, &["--userns", "auto:1000", "--network", "none"], include_str!("golden/userns-root.txt"));
}

#[test]
fn plan_of_an_ordinary_user_with_ranges() {
    let mut host = crate::host!();
    crate::userns::grant(&mut host, "tester:100000:65536\\n");
    let words = ["run", "--dry-run", "--network", "none", "--empty", "--proc", "host", "--userns", "keep-id"];
    let output = host.nsl(words.iter().chain(&["--", "true"])).as_user().run();
    output.assert_code(0).assert_quiet();
    assert_eq!(output.stdout(), include_str!("golden/userns-user.txt"), "{output}");
}

#[test]
fn invariant_2_a_plan_that_cannot_be_carried_out_changes_nothing() {
    let host = crate::host!();
    host.sh(&format!("mkdir {DIR}/root; touch {DIR}/root/dev {DIR}/file"));
    // Each fails later than the one before: before the clone, in the child, in the init, at the command.
    let cases: [(&[&str], i32); 4] = [
        (&["-v", "/no/where:/mnt"], 125),
        (&["--rootfs", &format!("{DIR}/root")], 125),
        (&["-w", "/no/where"], 125),
        (&["--empty"], 127),
    ];
    for (options, code) in cases {
        let output = host.nsl(["run"].iter().chain(options).chain(&["--", "true"])).run();
        output.assert_refused(code, &[]);
        host.assert_clean();
    }
    assert_eq!(host.sh(&format!("ls {DIR}/root")), "dev\n");
}

#[test]
fn steps_are_told_with_their_times_at_level_debug() {
    let host = crate::host!();
    let output = host.nsl(["run", "--log-level", "debug", "--", "true"]).run();
    output.assert_code(0).assert_stdout("");
    let stderr = output.stderr();
    for step in [
        "mount an overlay of the host's / on /: ",
        "pivot to the new root: ",
        "make a veth pair",
        "wait{command=true}: ",
    ] {
        assert!(stderr.contains(step), "{step}: {output}");
    }
    assert!(stderr.lines().all(|line| line.starts_with("nsl: ")), "{output}");
    host.nsl(["run", "--", "true"]).env("NSL_LOG", "error").run().assert_prints("");
}
