//! On the host's files beyond those that the sandbox was given.

use super::calls::perl;
use super::{held, sandbox, through};
use crate::harness::DIR;

/// "Shocker": a file's handle, which can be guessed, opens it wherever it lies on the file system of a volume.
#[test]
fn a_files_handle_opens_nothing_beyond_a_volume() {
    let host = crate::host!("perl");
    host.sh(&format!("mkdir {DIR}/volume; echo secret > {DIR}/secret; chmod 600 {DIR}/secret"));
    let handle = perl(&format!(
        "my $handle = pack 'LL', 64, 0; $handle .= chr(0) x 64; my $id = pack 'L', 0;
         sys('name_to_handle_at', -100, '{DIR}/secret', $handle, $id, 0) == 0 or die $!; print unpack 'H*', $handle"
    ));
    let output = host.command("perl", ["-e", &handle]).run();
    output.assert_code(0);
    let attack = perl(&format!(
        "my $handle = pack 'H*', '{}'; open my $volume, '<', '/mnt' or opendir $volume, '/mnt' or die;
         my $secret = sys('open_by_handle_at', fileno $volume, $handle, 0); told $secret >= 0",
        output.stdout()
    ));
    let volume = format!("{DIR}/volume:/mnt");
    let command = ["perl", "-e", &attack];
    held(sandbox(&host, &["-v", &volume], &command));
    held(sandbox(&host, &["-v", &volume], &command).as_user());
    through(sandbox(&host, &["-v", &volume, "--cap-add", "DAC_READ_SEARCH"], &command));
}

/// The overlay's own marks, by which an upper layer would point at files that it must not show.
#[test]
fn the_overlays_own_marks_cannot_be_made() {
    let host = crate::host!("perl");
    let attack = perl(
        "mkdir '/etc/mark'; my $done = 0; for my $name (qw(trusted.overlay.redirect trusted.overlay.opaque trusted.other)) {
             $done++ if sys('setxattr', '/etc/mark', $name, '/root', 5, 0) == 0 } told $done",
    );
    held(sandbox(&host, &[], &["perl", "-e", &attack]));
    held(sandbox(&host, &[], &["perl", "-e", &attack]).as_user());
    through(sandbox(&host, &["--privileged"], &["perl", "-e", &attack]));
}

/// A read-only volume stays one for who is root inside.
#[test]
fn a_read_only_volume_cannot_be_made_writable() {
    let host = crate::host!();
    host.sh(&format!("mkdir -m 777 {DIR}/volume; echo kept > {DIR}/volume/file; chmod 666 {DIR}/volume/file"));
    let volume = format!("{DIR}/volume:/mnt:ro");
    let attack = "mount -o remount,rw /mnt; mount -o remount,bind,rw /mnt; echo x > /mnt/new && echo through
        echo x > /mnt/file && echo through; umount /mnt && echo through; mount --bind /mnt /media && echo x > /media/new; echo held";
    let quiet = format!("exec 2>/dev/null; {attack}");
    held(sandbox(&host, &["-v", &volume], &["sh", "-c", &quiet]));
    held(sandbox(&host, &["-v", &volume], &["sh", "-c", &quiet]).as_user());
    for as_user in [false, true] {
        let nested = sandbox(&host, &["-v", &volume, "--nested"], &["unshare", "-Urm", "sh", "-c", &quiet]);
        held(if as_user { nested.as_user() } else { nested });
    }
    assert_eq!(host.sh(&format!("ls {DIR}/volume; cat {DIR}/volume/file")), "file\nkept\n");
    through(sandbox(&host, &["-v", &volume, "--privileged"], &["sh", "-c", &quiet]));
}

/// Locks of a file of the host's would hold up whoever takes them there.
#[test]
fn locks_in_the_view_of_the_host_are_the_sandboxs_own() {
    let host = crate::host!();
    let attack = "flock -n /etc/passwd sh -c 'echo ready; cat'";
    let mut inside = sandbox(&host, &[], &["sh", "-c", attack]).start();
    assert_eq!(inside.line(), "ready");
    assert_eq!(host.sh("flock -n /etc/passwd echo free"), "free\n");
    inside.finish().assert_code(0);
}
