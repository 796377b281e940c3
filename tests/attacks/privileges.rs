//! By files that give privileges to who executes or opens them: capabilities, set-user-ID bits, device nodes.

use super::calls::perl;
use super::{held, root, sandbox, through};
use crate::harness::{DIR, Host, NSL, USER};

/// A program in the root that reads the secret there, as far as the file lets it.
fn reader(host: &Host, root: &str) {
    host.sh(&format!(
        "mkdir {root}/private {root}/opt; cp {root}/bin/busybox {root}/opt; chmod 700 {root}/private
         echo secret > {root}/private/secret; chmod 755 {root}"
    ));
}

const READ: &str = "/opt/busybox cat /private/secret && echo through; echo held";

/// CVE-2022-27650: with capabilities in the inheritable set, files that have them there give them to ordinary users.
#[test]
fn capabilities_that_files_pass_on_are_passed_to_nobody() {
    let host = crate::host!("busybox", "perl");
    let root = root(&host);
    reader(&host, &root);
    // `struct vfs_cap_data`: version 2, effective; permitted: none; inheritable: CAP_DAC_OVERRIDE.
    let mark = perl(&format!(
        "my $data = pack 'V5', 0x02000001, 0, 1 << 1, 0, 0;
         sys('setxattr', '{root}/opt/busybox', 'security.capability', $data, 20, 0) == 0 or die"
    ));
    host.command("perl", ["-e", &mark]).run().assert_code(0);
    let caller = ["--inh-caps=+dac_override", "--"];
    let chroot = ["chroot", "--userspec=1000:1000", &root, "/bin/busybox", "sh", "-c", READ];
    through(host.command("setpriv", caller.into_iter().chain(chroot)));
    let options = ["run", "--network", "none", "--no-new-privs=false", "-u", "1000", "--rootfs", &root, "--"];
    let nsl = [NSL].into_iter().chain(options).chain(["/bin/busybox", "sh", "-c", READ]);
    held(host.command("setpriv", caller.into_iter().chain(nsl)));
    // Root inside, who goes on as that user: with what its own inheritable set is.
    let volumes = ["-v", &format!("{root}/opt:/opt"), "-v", &format!("{root}/private:/private")];
    let options = [&volumes[..], &["--no-new-privs=false"]].concat();
    let become_user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "sh", "-c", READ];
    held(sandbox(&host, &options, &become_user));
}

/// Files whose set-user-ID bit stands in a root or volume that somebody else filled.
#[test]
fn files_that_change_the_user_change_nothing() {
    let host = crate::host!("busybox");
    let root = root(&host);
    // A busybox gives the privilege up by itself.
    host.sh(&format!(
        "cp $(readlink -f $(command -v cat)) {DIR}/volume/cat; chmod 4755 {DIR}/volume/cat; mkdir {root}/private {root}/opt
         cp -p {DIR}/volume/cat {root}/opt; echo secret > {root}/private/secret; chmod 700 {root}/private; chmod 755 {root}"
    ));
    let programs = ["-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro"];
    let volumes = ["-v", &format!("{DIR}/volume:/opt"), "-v", &format!("{root}/private:/private")];
    let attack = ["sh", "-c", "/opt/cat /private/secret && echo through; echo held"];
    for filled in [&[&["--rootfs", &root], &programs[..]].concat()[..], &volumes] {
        let as_user = [filled, &["-u", "1000"]].concat();
        held(sandbox(&host, &as_user, &attack));
        through(sandbox(&host, &[&as_user[..], &["--no-new-privs=false"]].concat(), &attack));
    }
}

/// Device nodes that came with a root or volume: here that of zeros, as good as that of the host's disk.
#[test]
fn devices_of_a_root_or_volume_cannot_be_opened() {
    let host = crate::host!("busybox");
    let root = root(&host);
    host.sh(&format!(
        "mknod {root}/etc/disk c 1 5; mknod {DIR}/volume/disk c 1 5; chmod 666 {root}/etc/disk {DIR}/volume/disk"
    ));
    let attack = |path: &str| format!("[ $(head -c 4 {path} | wc -c) = 4 ] && echo through; echo held");
    let inside = attack("/etc/disk");
    through(host.command("chroot", [&root, "/bin/busybox", "sh", "-c", &inside]));
    let volume = format!("{DIR}/volume:/mnt");
    held(sandbox(&host, &["--rootfs", &root], &["sh", "-c", &inside]));
    held(sandbox(&host, &["--rootfs", &root, "-v", &volume], &["sh", "-c", &attack("/mnt/disk")]));
    held(sandbox(&host, &["-v", &volume], &["sh", "-c", &attack("/mnt/disk")]));
}

/// CVE-2022-2995 and its like: another user inside, with groups of the caller's that open what is not its own.
#[test]
fn another_user_has_no_groups_of_the_callers() {
    let host = crate::host!();
    host.sh(&format!("mkdir {DIR}/volume; echo secret > {DIR}/volume/secret; chown 0:27 {DIR}/volume/secret; chmod 640 {DIR}/volume/secret"));
    let attack = |at: &str| format!("cat {at}/secret && echo through; echo held");
    let (volume, attacks) = (format!("{DIR}/volume:/mnt"), [attack(&format!("{DIR}/volume")), attack("/mnt")]);
    let naive =
        ["--groups=0,6,27", "setpriv", "--reuid=1000", "--regid=1000", "--keep-groups", "sh", "-c", &attacks[0]];
    through(host.command("setpriv", naive));
    let nsl = [
        "--groups=0,6,27",
        NSL,
        "run",
        "--network",
        "none",
        "-v",
        &volume,
        "-u",
        "1000",
        "--",
        "sh",
        "-c",
        &attacks[1],
    ];
    held(host.command("setpriv", nsl));
}

/// nsl needs no privilege of its own: whoever calls it brings them, or goes without.
#[test]
fn nsl_itself_gives_nobody_privileges() {
    let host = crate::host!();
    let output = host.sh(&format!("stat -c %A {NSL}"));
    assert!(!output.contains(['s', 'S']), "{output}");
    let script = "id -u; cat /etc/shadow && echo through; (: >> /etc/passwd) 2>&- && echo through; echo held";
    held(sandbox(&host, &[], &["sh", "-c", script]).as_user());
    let script = format!("[ $(id -u) = {USER} ] || echo through; echo held");
    held(sandbox(&host, &["--privileged"], &["sh", "-c", &script]).as_user());
}
