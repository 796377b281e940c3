//! By somebody who works on the host beside nsl: what nsl looks up in a root is changed before it is used.

use super::{root, stand_in, through};
use crate::harness::{DIR, Host, NSL};

/// Exchanges two names of a directory, over and over: renameat2 with `RENAME_EXCHANGE`.
fn racer(one: &str, other: &str) -> String {
    super::calls::perl(&format!(
        "my $swaps = 0; $SIG{{TERM}} = sub {{ print qq($swaps swaps\\n); exit }};
         while (1) {{ $swaps += sys('renameat2', -100, '{one}', -100, '{other}', 2) == 0 }}"
    ))
}

/// Starts sandboxes, up to 300 and for 6 seconds at most, while `racer` runs. Each runs `script`; what they said that
/// began with `through`, and how many starts came to tell.
fn race(host: &Host, options: &str, racer: &str, script: &str) -> (String, usize) {
    let script = format!(
        "perl -e \"$1\" & racer=$!; end=$(($(date +%s) + 6)); n=0
         while [ $n -lt 300 ] && [ $(date +%s) -lt $end ]; do
             {NSL} run --network none {options} -- sh -c '{script}' 2>&1; n=$((n + 1))
         done; kill $racer; wait $racer"
    );
    let output = host.command("bash", ["-c", &script, "bash", racer]).run();
    output.assert_code(0);
    let said = output.stdout();
    assert!(said.lines().any(|line| line.ends_with(" swaps") && line.len() > "1000 swaps".len()), "{output}");
    let lines = |word: &str| said.lines().filter(|line| line.starts_with(word)).map(str::to_owned).collect::<Vec<_>>();
    (lines("through").join("\n"), lines("started").len())
}

/// CVE-2021-30465, CVE-2024-45310: the target of a volume becomes a link that leads out of the root.
#[test]
fn links_swapped_in_while_a_volume_is_mounted_lead_nowhere() {
    let host = crate::host!("busybox", "perl", "bash");
    let root = root(&host);
    host.sh(&format!("mkdir {root}/mnt {root}{DIR}/outside -p; ln -s {DIR}/outside {root}/link"));
    // One who checks a path, and uses it.
    let naive = format!(
        "cd {root}; [ ! -L mnt ] || exit; mv mnt was; ln -s {DIR}/outside mnt; mount --bind {DIR}/volume mnt
         cat {DIR}/outside/marker && echo through; mkdir mnt/deep; echo held"
    );
    through(stand_in(&host, &naive));
    host.sh(&format!("cd {root}; rm mnt; mv was mnt; test -d {DIR}/volume/deep; rmdir {DIR}/volume/deep"));

    let options = format!("--rootfs {root} -v {DIR}/volume:/mnt/deep/er");
    let script = format!(
        "echo started; cat /mnt/deep/er/marker {DIR}/outside/deep/er/marker >/dev/null 2>&1 || \
         cat /link/deep/er/marker > /dev/null; cat {DIR}/secret 2>&1 && echo through"
    );
    let racer = racer(&format!("{root}/mnt"), &format!("{root}/link"));
    let (through, started) = race(&host, &options, &racer, &script.replace("2>&1 &&", "2>/dev/null &&"));
    assert_eq!(through, "");
    assert!(started > 10, "{started} starts only");
    host.assert_unchanged();
    assert_eq!(host.sh(&format!("ls -A {DIR}/outside; ls -A {DIR}/volume")), "marker\n");
}

/// The directory on which /proc was mounted gets another name, before parts of it are made read-only by their paths.
#[test]
fn a_proc_that_is_moved_away_is_protected_all_the_same() {
    let host = crate::host!("busybox", "perl", "bash");
    let root = root(&host);
    host.sh(&format!("mkdir {root}/spare"));
    let attack = |at: &str| {
        format!(
            "for proc in proc spare; do (: >> {at}/$proc/sys/kernel/core_pattern) && echo through; done 2>&-; echo held"
        )
    };
    let outside = format!("nsenter --mount=/proc/{}/ns/mnt mv", host.pid());
    let naive = format!(
        "mount -t proc proc {root}/proc; {outside} {root}/proc {root}/was; {outside} {root}/spare {root}/proc
         {outside} {root}/was {root}/spare
         mount --bind {root}/proc/sys {root}/proc/sys && mount -o remount,ro,bind {root}/proc/sys; {}",
        attack(&root)
    );
    // The host's processes must stay in sight for nsenter.
    through(host.command("unshare", ["--mount", "--propagation", "private", "sh", "-c", &naive]));

    let racer = racer(&format!("{root}/proc"), &format!("{root}/spare"));
    let options = format!("--rootfs {root}");
    let (through, started) = race(&host, &options, &racer, &format!("echo started; {}", attack("")));
    assert_eq!(through, "");
    assert!(started > 10, "{started} starts only");
    // With rules of Landlock nsl has /proc mounted earlier.
    let options = format!("--rootfs {root} --landlock rw=/");
    let (through, started) = race(&host, &options, &racer, &format!("echo started; {}", attack("")));
    assert_eq!(through, "");
    assert!(started > 10, "{started} starts only");
}
