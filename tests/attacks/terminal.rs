//! On the terminal that nsl was started at, whose shell would execute what is put into its input.

use super::calls::perl;
use super::{held, sandbox, through};
use crate::harness::Invocation;
use crate::pty::Pty;

/// CVE-2017-5226, CVE-2019-10063: puts a line into the input of every terminal at hand, by TIOCSTI and by TIOCLINUX,
/// with bits set in the upper half of the request, of which the kernel looks at the lower.
fn inject(descriptors: &str) -> String {
    perl(&format!(
        "open my $tty, '+<', '/dev/tty'; my $pushed = 0;
         for my $fd ({descriptors}, defined $tty ? fileno $tty : ()) {{
             for my $high (0, 1 << 32, 0xffffffff << 32) {{
                 for my $byte (split //, qq(touch pwned\\n)) {{
                     my $buffer = $byte; $pushed++ if sys('ioctl', $fd, $high | 0x5412, $buffer) == 0;
                     $buffer = chr(2) . $byte; sys('ioctl', $fd, $high | 0x541c, $buffer);
                 }}
             }}
         }} told $pushed"
    ))
}

/// How many bytes wait at the caller's terminal once the command has ended, and what was shown.
fn left_behind(invocation: Invocation<'_>) -> (u64, String) {
    let mut pty = Pty::start_with_settings(invocation, &["sane", "-echo"]);
    assert_eq!(pty.end(), 0, "{}", pty.all());
    (pty.unread_keys(), pty.all())
}

#[test]
fn nothing_can_be_typed_into_the_callers_terminal() {
    let host = crate::host!("perl");
    let attack = inject("0 .. 30");
    let (waiting, shown) = left_behind(host.command("perl", ["-e", &attack]));
    assert!(waiting > 0 && shown.contains("through"), "{shown}");

    for options in [&[][..], &["--privileged"], &["-T"], &["-T", "--privileged"]] {
        let (waiting, shown) = left_behind(sandbox(&host, options, &["perl", "-e", &attack]));
        assert_eq!(waiting, 0, "{options:?}: {shown}");
    }
    // With the streams elsewhere, the session's terminal is out of reach as well.
    for privileges in ["", "--privileged"] {
        let script = format!(
            "{} run --network none {privileges} -- perl -e \"$1\" 2>/dev/null < /dev/null | cat",
            crate::harness::NSL
        );
        let (waiting, shown) = left_behind(host.command("sh", ["-c", &script, "sh", &attack]));
        assert!(waiting == 0 && shown.contains("held"), "{privileges}: {shown}");
    }
}

/// A job of the sandbox's own terminal is protected from its neighbours too.
#[test]
fn nothing_can_be_typed_into_the_sandboxs_own_terminal() {
    let host = crate::host!("perl");
    let attack = inject("0");
    let open = "open STDIN, '+<', '/dev/pts/ptmx' or die; ";
    held(sandbox(&host, &[], &["perl", "-e", &format!("{open}{attack}")]));
    through(sandbox(
        &host,
        &["--seccomp", "unconfined", "--cap-add", "SYS_ADMIN"],
        &["perl", "-e", &format!("{open}{attack}")],
    ));
}

/// The caller's terminal is none of the sandbox's devices, by whatever name.
#[test]
fn the_callers_terminal_has_no_name_inside() {
    let host = crate::host!();
    let attack = "for fd in /proc/self/fd/* /proc/1/fd/*; do readlink $fd; done | grep -E '^/dev/(tty|pts/[1-9])' && echo through
        ls /dev/pts | grep -vxE '0|ptmx' && echo through; echo held";
    for options in [&[][..], &["-T"], &["--privileged"]] {
        let (_, shown) = left_behind(sandbox(&host, options, &["sh", "-c", attack]));
        assert!(shown.contains("held") && !shown.contains("through"), "{shown}");
    }
}
