//! `nsl run --changes`, `nsl diff`, and what `nsl apply` makes of every kind of change. Every host here has a root of
//! its own: what is applied never reaches the machine.

use crate::harness::{Host, Output, TINY, USER};
use std::collections::BTreeSet;

/// Where changes are kept.
pub const KEPT: &str = "/tmp/test/kept";

/// Prints all about everything below the directories given: type, mode, owner, times of long ago, attributes, links,
/// content.
const LOOK: &str = r"
import hashlib, os, stat, sys
first = {}
for top in sys.argv[1:]:
    for directory, directories, files in os.walk(top.encode()):
        directories.sort()
        for path in sorted(os.path.join(directory, name) for name in directories + files):
            s = os.lstat(path)
            words = [path, oct(s.st_mode), s.st_uid, s.st_gid, s.st_rdev]
            if s.st_mtime < 1.5e9: words.append(s.st_mtime_ns)
            names = sorted(os.listxattr(path, follow_symlinks=False))
            words.append([(name, os.getxattr(path, name, follow_symlinks=False)) for name in names])
            if stat.S_ISLNK(s.st_mode): words.append(os.readlink(path))
            if stat.S_ISREG(s.st_mode):
                words.append(hashlib.sha256(open(path, 'rb').read()).hexdigest())
                words.append(first.setdefault((s.st_dev, s.st_ino), path))
            print(*words)
";

/// Files for every kind of change, in /srv/t.
pub const BEFORE: &str = r#"mkdir -p /srv/t; cd /srv/t; umask 022
for name in content mode owner attribute gone times f2d; do echo $name > $name; done
touch -d 2001-01-01 content mode times
mkdir dir gonedir opaque opaque/sub move move/in d2f d2l kept; chmod 711 dir
for name in gonedir/a gonedir/b opaque/a opaque/sub/x move/m move/in/i d2f/x d2l/z kept/k; do echo $name > $name; done
ln -s content link; ln -s content l2f; mkfifo fifo; cp /bin/true program
printf 1 > "$(printf 'new\nline')"; printf 1 > "$(printf 'b\377ad')""#;

/// Every kind of change.
pub const CHANGE: &str = r#"cd /srv/t; umask 022
echo more >> content; chmod 4755 mode; chown 7:8 owner; rm gone; touch -d 2002-02-02 times
rm -r gonedir opaque; mkdir opaque opaque/sub; echo n > opaque/n
mv move moved; rm f2d; mkdir f2d; echo y > f2d/y; rm -r d2f d2l; echo file > d2f; ln -s dir d2l
ln -sfn mode link; rm l2f fifo; echo file > l2f; mkfifo -m 600 other; mknod -m 640 device c 1 3
echo one > one; ln one two; mkdir -m 2770 new; ln one new/three; chmod 700 dir; chown 5:6 dir; echo in > dir/in
mkdir old; echo o > old/o; touch -d 2003-03-03 old old/o; echo 2 >> "$(printf 'new\nline')"
echo 2 >> "$(printf 'b\377ad')"; echo n > "$(printf '\001\033[2J"')"; chown -h 9:9 link
python3 - <<'END'
import os, struct
os.setxattr('attribute', 'user.word', b'\0value'); os.setxattr('attribute', 'trusted.word', b'root')
entries = [(1, 6, -1), (2, 4, 1000), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', t, p, i & 0xffffffff) for t, p, i in entries)
os.setxattr('attribute', 'system.posix_acl_access', acl); os.setxattr('new', 'user.word', b'directory')
os.setxattr('program', 'security.capability', struct.pack('<IIIII', 0x2000001, 1 << 10, 0, 0, 0))
END"#;

/// `nsl run --network none --changes KEPT OPTIONS -- sh -ec SCRIPT`.
pub fn keeping<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["run", "--network", "none", "--changes", KEPT], options, &["--", "sh", "-ec", script]].concat()
}

/// Runs a script as root, its changes kept.
#[track_caller]
pub fn keep(host: &Host, script: &str) {
    host.nsl(keeping(&[], script)).run().assert_prints("");
}

/// What `nsl diff` prints.
#[track_caller]
pub fn diff(host: &Host, options: &[&str]) -> String {
    let output = host.nsl([&["diff", KEPT], options].concat()).run();
    output.assert_code(0).assert_quiet();
    output.stdout()
}

pub fn apply(host: &Host, paths: &[&str]) -> Output {
    host.nsl([&["apply", "--yes", KEPT], paths].concat()).run()
}

#[track_caller]
pub fn look(host: &Host, directories: &[&str]) -> String {
    let output = host.command("python3", [&["-c", LOOK], directories].concat()).run();
    output.assert_code(0);
    output.stdout()
}

/// Fails with the lines that are on one side only.
#[track_caller]
pub fn assert_same(one: &str, other: &str) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (one, other) = (lines(one), lines(other));
    let differing: Vec<_> = one.symmetric_difference(&other).collect();
    assert!(differing.is_empty(), "the two differ in {differing:#?}");
}

#[test]
fn what_is_applied_is_what_the_command_would_have_done() {
    let (direct, kept) = (crate::own_host!("python3"), crate::own_host!("python3"));
    for host in [&direct, &kept] {
        host.sh(BEFORE);
    }
    let before = look(&kept, &["/srv"]);
    direct.sh(CHANGE);
    kept.nsl(keeping(&["--privileged"], CHANGE)).run().assert_prints("");
    assert_eq!(look(&kept, &["/srv"]), before);
    let lines = diff(&kept, &[]).lines().count();
    let output = apply(&kept, &[]);
    output.assert_code(0).assert_quiet();
    assert!(output.stdout().ends_with(&format!("\n{lines} changes applied\n")), "{output}");
    assert_same(&look(&kept, &["/srv"]), &look(&direct, &["/srv"]));
    assert_eq!(diff(&kept, &[]), "");
    apply(&kept, &[]).assert_prints("nothing to apply");
}

#[test]
fn every_kind_of_change_has_its_line() {
    let host = crate::own_host!("python3");
    host.sh(BEFORE);
    host.nsl(keeping(&["--privileged"], CHANGE)).run().assert_prints("");
    let expected = r#"added     "/srv/t/\001\033[2J\""
metadata  /srv/t/attribute (mode 0644 to 0640, attributes)
changed   "/srv/t/b\377ad"
changed   /srv/t/content
changed   /srv/t/d2f (was a directory)
changed   /srv/t/d2l -> dir (was a directory)
added     /srv/t/device (character device)
metadata  /srv/t/dir/ (mode 0711 to 0700, owner 0:0 to 5:6)
added     /srv/t/dir/in
changed   /srv/t/f2d/ (was a file)
added     /srv/t/f2d/y
removed   /srv/t/fifo
removed   /srv/t/gone
removed   /srv/t/gonedir/
changed   /srv/t/l2f (was a symlink)
changed   /srv/t/link -> mode (owner 0:0 to 9:9)
metadata  /srv/t/mode (mode 0644 to 4755, setuid)
removed   /srv/t/move/
added     /srv/t/moved/
added     /srv/t/moved/in/
added     /srv/t/moved/in/i
added     /srv/t/moved/m
added     /srv/t/new/ (attributes)
added     /srv/t/new/three
changed   "/srv/t/new\nline"
added     /srv/t/old/
added     /srv/t/old/o
added     /srv/t/one (linked to /srv/t/new/three)
removed   /srv/t/opaque/a
added     /srv/t/opaque/n
removed   /srv/t/opaque/sub/x
added     /srv/t/other (fifo)
metadata  /srv/t/owner (owner 0:0 to 7:8)
metadata  /srv/t/program (attributes, capabilities)
metadata  /srv/t/times (time)
added     /srv/t/two (linked to /srv/t/new/three)
"#;
    assert_same(&diff(&host, &[]), &expected.replace(" /srv/t/new/ (attributes)", " /srv/t/new/"));
}

#[test]
fn what_nsl_puts_into_the_root_is_no_change() {
    let host = crate::own_host!();
    let before = host.sh("cat /etc/hosts");
    let script = "cat /etc/hostname; ls -A /run /tmp; echo x > /tmp/x; echo x > /run/x; echo y >> /etc/hosts
        ls /dev/null /proc/self/stat /sys/class > /dev/null; stat -c %a / /tmp";
    let mode = host.sh("stat -c %a /");
    host.nsl(keeping(&[], script)).run().assert_prints(&format!("nsl\n/run:\n\n/tmp:\n{}\n1777", mode.trim()));
    assert_eq!(diff(&host, &[]), "");
    host.nsl(["diff", "--exit-code", KEPT]).run().assert_prints("");
    assert_eq!(host.sh("cat /etc/hosts"), before);
    // A volume must not leave a directory behind that nobody asked for.
    let output = host.nsl(keeping(&["-v", "/usr:/no/where"], "true")).run();
    output.assert_refused(125, &["/no/where", "No such file", "hint"]);
    host.nsl(keeping(&["-v", "/usr:/srv"], "ls -d /srv/bin")).run().assert_prints("/srv/bin");
    assert_eq!(diff(&host, &[]), "");
}

#[test]
fn names_are_resolved_where_resolv_conf_is_a_link_into_run() {
    let host = crate::own_host!();
    host.sh("rm -f /etc/resolv.conf; ln -s ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf");
    let words = ["run", "--changes", KEPT, "--", "sh", "-c", "cat /etc/resolv.conf; readlink /etc/resolv.conf"];
    host.nsl(words).run().assert_prints("nameserver 192.0.2.53\n../run/systemd/resolve/stub-resolv.conf");
    assert_eq!(diff(&host, &[]), "");
}

#[test]
fn changes_of_several_runs_add_up() {
    let host = crate::own_host!();
    keep(&host, "echo one > /srv/one; echo x > /srv/x");
    keep(&host, "cat /srv/one > /srv/two; rm /srv/x; rm /etc/motd");
    keep(&host, "echo new > /etc/motd");
    assert_eq!(diff(&host, &[]), "changed   /etc/motd\nadded     /srv/one\nadded     /srv/two\n");
    apply(&host, &["/srv"]).assert_code(0);
    // What was applied is the host's now, and the next run changes it again.
    keep(&host, "echo again >> /srv/one");
    assert_eq!(diff(&host, &[]), "changed   /etc/motd\nchanged   /srv/one\n");
    apply(&host, &[]).assert_code(0);
    assert_eq!(host.sh("cat /srv/one /srv/two /etc/motd; ls /srv"), "one\nagain\none\nnew\none\ntwo\n");
}

#[test]
fn paths_choose_among_the_changes() {
    let host = crate::own_host!();
    host.sh("mkdir /srv/a; echo old > /srv/a/old");
    keep(&host, "mkdir -p /srv/n/m/o; echo 1 > /srv/n/m/o/1; echo 2 > /srv/n/2; rm /srv/a/old; echo 3 > /srv/ab");
    assert_eq!(diff(&host, &["srv/a", "/srv/n/2"]), "removed   /srv/a/old\nadded     /srv/n/\nadded     /srv/n/2\n");
    apply(&host, &["/srv/n/m/o"]).assert_code(0);
    assert_eq!(host.sh("cd /srv; find . | sort | tr '\\n' ' '"), ". ./a ./a/old ./n ./n/m ./n/m/o ./n/m/o/1 ");
    for (path, words) in [("/srv/zzz", "there are none"), ("/srv/../etc", "'..'"), ("/srv/n/m/o/1/x", "there are none")]
    {
        host.nsl(["apply", "-y", KEPT, path]).run().assert_refused(125, &[words]);
    }
    apply(&host, &["/"]).assert_code(0);
    assert_eq!(host.sh("cd /srv; find . -type f | sort | tr '\\n' ' '"), "./ab ./n/2 ./n/m/o/1 ");
}

#[test]
fn json_tells_all_in_one_object() {
    let host = crate::own_host!("python3");
    host.sh(BEFORE);
    host.nsl(keeping(&["--privileged"], CHANGE)).run().assert_prints("");
    let script = r"import json, sys
value = json.load(sys.stdin); assert value['version'] == 1
by = {change['path']: change for change in value['changes']}
mode = by['/srv/t/mode']
assert (mode['kind'], mode['type'], mode['mode'], mode['powers'], mode['differs'], mode['size']) == \
    ('metadata', 'file', '4755', ['setuid'], ['mode'], 5), mode
assert by['/srv/t/program']['powers'] == ['capabilities']
assert by['/srv/t/gonedir'] == dict(path='/srv/t/gonedir', kind='removed', type='directory', mode='0755', uid=0, gid=0)
assert by['/srv/t/two']['link'] == '/srv/t/new/three' and by['/srv/t/d2f']['was'] == 'directory'
assert by['/srv/t/link']['target'] == 'mode' and by['/srv/t/owner']['uid'] == 7
assert by['/srv/t/b\ufffdad']['path_hex'] == b'/srv/t/b\xffad'.hex() and '/srv/t/new\nline' in by
print(len(by))";
    let lines = diff(&host, &[]).lines().count();
    let json = diff(&host, &["--json"]);
    host.command("python3", ["-c", script]).stdin(json).run().assert_prints(&lines.to_string());
}

#[test]
fn content_is_a_patch_that_patch_can_apply() {
    let (host, other) = (crate::own_host!("git"), crate::own_host!("git"));
    let before =
        "mkdir -p /srv/p/gone; cd /srv/p; seq 30 > numbers; printf 'no end' > end; echo x > gone/x; echo m > mode
        head -c 9000 /dev/zero > binary; printf 'caf\\351\\n' > latin; ln -s numbers link; echo f > f2l";
    let change = "cd /srv/p; sed -i 's/^15$/fifteen/' numbers; printf ' now' >> end; rm -r gone; chmod +x mode
        printf 'th\\351\\n' >> latin; ln -sfn end link; echo n > \"$(printf 'new\\tname')\"; rm f2l; ln -s mode f2l";
    host.sh(before);
    other.sh(before);
    keep(&host, change);
    let patch = host.nsl(["diff", "--content", KEPT]).run();
    patch.assert_code(0).assert_quiet();
    assert!(
        patch.stdout().contains("\n-15\n+fifteen\n") && patch.stdout().contains("# removed   /srv/p/gone/\n"),
        "{patch}"
    );
    let applied = other.command("git", ["apply", "--verbose", "-"]).cwd("/").stdin(patch.stdout.clone()).run();
    applied.assert_code(0);
    apply(&host, &[]).assert_code(0);
    let list = "cd /srv/p; find . ! -type d ! -name binary -printf '%p %y %m %l\\n' | sort; find . -type f | sort | xargs -d '\\n' cat";
    assert_eq!(host.sh(list), other.sh(list));
    keep(&host, "printf '\\0' > /srv/p/numbers; truncate -s 5M /srv/p/large");
    let shown = diff(&host, &["--content"]);
    assert!(shown.contains("Binary files a/srv/p/numbers and b/srv/p/numbers differ\n"), "{shown}");
    assert!(shown.contains("# /dev/null and b/srv/p/large differ, and one of them is too long"), "{shown}");
}

#[test]
fn directory_may_lie_in_the_root_that_it_is_a_view_of() {
    let Some(host) = Host::with_root(&["busybox"], TINY) else { return };
    let run = |script: &str| {
        let words = ["run", "--network", "none", "--changes", "/var/kept", "--", "/opt/busybox", "sh", "-c", script];
        host.nsl(words).run()
    };
    run(
        "echo new > /srv/new; cd /var/kept && echo *; /opt/busybox ls upper 2>&1; echo x > changes.json; echo y > known
        /opt/busybox rm -r /var 2>/dev/null; /opt/busybox mkdir -p /usr/made; echo z > /usr/made/z",
    )
    .assert_prints("changes.json running upper work\nls: upper: Too many levels of symbolic links");
    let diff = host.nsl(["diff", "/var/kept"]).run();
    diff.assert_prints(
        "added     /srv/new\nadded     /usr/ (another file system is mounted there)\n\
         added     /usr/made/ (another file system is mounted there)\n\
         added     /usr/made/z (another file system is mounted there)",
    );
    let refused = host.nsl(["apply", "-y", "/var/kept"]).run();
    refused.assert_code(1);
    assert!(refused.stdout().contains("refused   /usr: another file system is mounted there\n"), "{refused}");
    assert_eq!(host.sh("ls /srv"), "");
    host.nsl(["apply", "-y", "/var/kept", "/srv"]).run().assert_code(0);
    assert_eq!(host.sh("cat /srv/new; ls /var/kept"), "new\nchanges.json\nknown\nupper\nwork\n");
    host.sh("rm -r /var/kept");
}

#[test]
fn ordinary_user_keeps_and_applies_changes_to_files_of_its_own() {
    let Some(host) = Host::with_root(&["busybox"], TINY) else { return };
    let home = "/home/user";
    host.sh(&format!(
        "cd {home}; mkdir d gone op ro; echo 1 > f; echo 1 > gone/x; echo 1 > op/x; echo 1 > ro/x; chmod 555 ro
        chown -R {USER}:{USER} .; echo root > theirs; echo etc > /etc/file"
    ));
    let user = |words: &[&str]| host.nsl(words).as_user().run();
    let script = "cd /home/user; echo 2 >> f; /opt/busybox rm -r gone op; /opt/busybox mkdir op; echo n > op/n
        /opt/busybox mkdir -p n/m; echo x > n/m/x; /opt/busybox ln n/m/x n/l; /opt/busybox chmod 555 n/m; /opt/busybox chmod 700 d; echo in > d/in
        /opt/busybox chmod 755 ro; echo 2 > ro/y; echo mine > /etc/mine; echo 2>/dev/null >> theirs || echo not mine";
    let words = ["run", "--network", "none", "--changes", "/home/user/kept", "--", "/opt/busybox", "sh", "-c", script];
    user(&words).assert_prints("not mine");
    let diff = user(&["diff", "/home/user/kept"]);
    let expected = "added     /etc/mine
metadata  /home/user/d/ (mode 0755 to 0700)
added     /home/user/d/in
changed   /home/user/f
removed   /home/user/gone/
added     /home/user/n/
added     /home/user/n/l
added     /home/user/n/m/
added     /home/user/n/m/x (linked to /home/user/n/l)
added     /home/user/op/n
removed   /home/user/op/x
metadata  /home/user/ro/ (mode 0555 to 0755)
added     /home/user/ro/y";
    diff.assert_prints(expected);
    let refused = user(&["apply", "-y", "/home/user/kept"]);
    refused.assert_code(1);
    assert!(refused.stdout().ends_with("\nrefused   /etc/mine: its directory is not yours to write to\n"), "{refused}");
    assert_eq!(host.sh("cat /home/user/f; ls -A /home/user/d /etc"), "1\n/etc:\nfile\n\n/home/user/d:\n");
    // Root does not trust what another user can change meanwhile.
    host.nsl(["apply", "-y", "/home/user/kept"])
        .run()
        .assert_refused(125, &["Operation not permitted", "apply as that user"]);
    user(&["apply", "-y", "/home/user/kept", "/home"]).assert_code(0).assert_quiet();
    let all =
        host.sh("cd /home/user; find . -path ./kept -prune -o -printf '%p %m %u %n\\n' | sort; cat f n/l op/n ro/y");
    assert_eq!(
        all,
        ". 755 1000 7\n./d 700 1000 2\n./d/in 644 1000 1\n./f 644 1000 1\n./n 755 1000 3\n./n/l 644 1000 2\n./n/m 555 1000 2\n\
         ./n/m/x 644 1000 2\n./op 755 1000 2\n./op/n 644 1000 1\n./ro 755 1000 2\n./ro/x 644 1000 1\n./ro/y 644 1000 1\n\
         ./theirs 644 0 1\n1\n2\nx\nn\n2\n"
            .replace("1000", &USER.to_string())
    );
    user(&["diff", "/home/user/kept"]).assert_prints("added     /etc/mine");
    host.command("chmod", ["u+w", "/home/user/kept/upper/home/user/n/m"]).as_user().run().assert_prints("");
    host.command("rm", ["-r", "/home/user/kept"]).as_user().run().assert_prints("");
}

/// Changes at random in /srv/r, the same for the same seed.
const RANDOM: &str = r"
import os, random, shutil, sys
r = random.Random(int(sys.argv[1])); os.makedirs('/srv/r', exist_ok=True); os.chdir('/srv/r'); os.umask(0o22); links = len(sys.argv) > 3
def path(): return '/'.join(r.choice('abc') for _ in range(r.randint(1, 3)))
def remove(p):
    if os.path.isdir(p) and not os.path.islink(p): shutil.rmtree(p)
    elif os.path.lexists(p): os.remove(p)
def act():
    p = path(); there = os.path.lexists(p); what = r.randrange(10)
    if what < 3:
        if os.path.isdir(p) and not os.path.islink(p): return
        with open('.new', 'w') as f: f.write(str(r.random()) * r.randint(0, 300))
        os.chmod('.new', r.choice([0o644, 0o600, 0o4755])); os.rename('.new', p)
    elif what == 3: remove(p)
    elif what == 4 and there and not os.path.islink(p): os.chmod(p, r.choice([0o755, 0o700, 0o711]))
    elif what == 5 and there: os.chown(p, r.randrange(3), r.randrange(3), follow_symlinks=False)
    elif what == 6: remove(p); os.mkdir(p)
    elif what == 7: remove(p); os.symlink(path(), p)
    elif what == 8 and links:
        q = path()
        if os.path.isfile(q) and not os.path.islink(q) and not there: os.link(q, p)
    elif there and not os.path.islink(p): os.setxattr(p, 'user.n', str(r.randrange(3)).encode())
for _ in range(int(sys.argv[2])):
    try: act()
    except OSError: pass
if os.path.lexists('.new'): os.remove('.new')
";

#[test]
fn changes_at_random_in_several_runs_are_applied_as_they_were_made() {
    let (direct, kept) = (crate::own_host!("python3"), crate::own_host!("python3"));
    for seed in 0..12_u32 {
        for host in [&direct, &kept] {
            host.sh(&format!("rm -rf /srv/r {KEPT}"));
            host.command("python3", ["-c", RANDOM, &(seed + 1000).to_string(), "60"]).run().assert_prints("");
        }
        for run in 0..4 {
            let number = (seed * 10 + run).to_string();
            let words = ["python3", "-c", RANDOM, &number, "25", "links"];
            direct.command(words[0], &words[1..]).run().assert_prints("");
            let options = ["run", "--network", "none", "--changes", KEPT, "--"];
            kept.nsl([&options[..], &words].concat()).run().assert_prints("");
            if run % 2 == 1 {
                apply(&kept, &[]).assert_code(0).assert_quiet();
                assert_same(&look(&kept, &["/srv"]), &look(&direct, &["/srv"]));
            }
        }
        assert_eq!(diff(&kept, &[]), "");
    }
}

/// As a package manager has it: many files in many places, replaced by rename, with owners and links.
#[test]
fn an_installation_that_is_applied_equals_one_done_directly() {
    let (direct, kept) = (crate::own_host!("python3"), crate::own_host!("python3"));
    let script = r#"umask 022
        mkdir -p /usr/lib/thing /usr/share/doc/thing /etc/thing.d /var/lib/thing
        for n in $(seq 300); do echo "module $n" > /usr/lib/thing/m$n.new; mv /usr/lib/thing/m$n.new /usr/lib/thing/m$n; done
        for n in $(seq 50); do echo "doc $n" | gzip -n > /usr/share/doc/thing/$n.gz; done
        cp /bin/true /usr/bin/thing; chmod 2755 /usr/bin/thing; ln -s thing /usr/bin/thing-1; ln /usr/bin/thing /usr/bin/thing-2
        echo 'thing:x:789:789::/var/lib/thing:/bin/sh' >> /etc/passwd; chown -R 789:789 /var/lib/thing
        sed -i 's/^root:/root:/; $ a thing:x:789:' /etc/group; echo conf > /etc/thing.d/conf; rm -rf /usr/share/doc/bash
        mv /etc/motd /etc/motd.old; ln -s motd.old /etc/motd; touch -d 2001-01-01 /usr/lib/thing/m1"#;
    direct.sh(script);
    keep(&kept, script);
    apply(&kept, &[]).assert_code(0).assert_quiet();
    let places = ["/usr/lib/thing", "/usr/share/doc", "/etc", "/var/lib", "/usr/bin"];
    assert_same(&look(&kept, &places), &look(&direct, &places));
    assert_eq!(diff(&kept, &[]), "");
}
