//! On what listens on the host.

use super::calls::perl;
use super::{held, sandbox, through};
use crate::harness::{Host, Running, wait_until};
use nix::sys::signal::Signal;
use std::path::PathBuf;

/// A server at a name of a UNIX socket, a perl expression.
fn server(host: &Host, name: &str) -> Running {
    let script = format!(
        "use Socket; socket my $s, AF_UNIX, SOCK_STREAM, 0; bind $s, sockaddr_un({name}) or die $!; chmod 0777, {name};
         listen $s, 9; $| = 1; print qq(ready\\n); while (accept my $c, $s) {{ close $c }}"
    );
    let mut server = host.command("perl", ["-e", &script]).start();
    assert_eq!(server.line(), "ready");
    server
}

fn connect(name: &str) -> String {
    perl(&format!("use Socket; socket my $s, AF_UNIX, SOCK_STREAM, 0; told connect $s, sockaddr_un({name})"))
}

/// CVE-2020-15257: such a name belongs to the network, not to a directory.
#[test]
fn abstract_sockets_of_the_host_are_out_of_reach() {
    let host = crate::host!("perl");
    let name = "qq(\\0nsl-attack)";
    let _server = server(&host, name);
    let attack = connect(name);
    for network in ["none", "veth"] {
        held(host.nsl(["run", "--network", network, "--", "perl", "-e", &attack]));
    }
    held(sandbox(&host, &["--privileged"], &["perl", "-e", &attack]));
    through(host.nsl(["run", "--network", "host", "--", "perl", "-e", &attack]));
}

/// Without CAP_NET_RAW an attack by packets does not even get its socket.
#[track_caller]
fn refused(host: &Host, attack: &str) {
    let output = host.nsl(["run", "--", "perl", "-e", attack]).run();
    assert!(output.code != 0 && output.stdout.is_empty(), "{output}");
    assert!(output.stderr().contains("Operation not permitted"), "{output}");
}

/// CVE-2020-13401: the sandbox advertises itself as the router of a network, and the host sends it what it has for IPv6.
#[test]
fn a_sandbox_does_not_become_the_hosts_router() {
    let host = crate::host!("perl", "nft");
    // To all nodes (ff02::1) through the only device: a router's advertisement, which must have a hop limit of 255. Its
    // source is forged: the sandbox's own address is also the host's, which takes none from itself.
    let attack = "use Socket; $| = 1; socket my $s, AF_INET6, SOCK_RAW, 255 or die $!; my $index = 2;
        my ($from, $all) = map { pack 'H*', $_ } 'fe80' . '0' x 26 . '66', 'ff02' . '0' x 27 . '1'; my $sum = 0;
        my $advertisement = pack 'CCnCCnNN', 134, 0, 0, 64, 0, 1800, 0, 0;
        $sum += $_ for unpack 'n*', $from . $all . pack('NN', 16, 58) . $advertisement;
        $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
        substr($advertisement, 2, 2) = pack 'n', ~$sum & 0xffff;
        my $packet = pack('NnCC', 0x60000000, 16, 58, 255) . $from . $all . $advertisement;
        setsockopt $s, 41, 36, pack('l', 1) or die $!; setsockopt $s, 41, 17, pack('l', $index) or die $!;
        my $to = pack 'SnNa16L', AF_INET6, 0, 0, $all, $index;
        while (1) { send $s, $packet, 0, $to and print qq(sent\\n); select undef, undef, undef, 0.05 }";
    refused(&host, attack);
    let mut inside = host.nsl(["run", "--cap-add", "NET_RAW", "--", "perl", "-e", attack]).start();
    let routes = || host.sh("ip -6 route show default");
    // The first are sent once the device's address is known to be its own.
    for _ in 0..5 {
        assert_eq!(inside.line(), "sent");
    }
    assert_eq!(routes(), "");
    host.sh("nft delete table inet nsl");
    wait_until("the host sends all to the sandbox", || routes().contains("dev nsl"));
    inside.signal(Signal::SIGTERM);
    inside.stdout.take();
    inside.finish();
}

/// Some servers trust an address. What comes from a sandbox has the sandbox's own, or does not come.
#[test]
fn a_sandbox_speaks_with_its_own_address() {
    let host = crate::host!("perl");
    host.sh("echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter");
    let server = r"use Socket; $| = 1; socket my $s, AF_INET, SOCK_DGRAM, 0; bind $s, sockaddr_in(7, INADDR_ANY) or die;
        print qq(ready\n); while (my $from = recv $s, my $data, 99, 0) {
            print inet_ntoa((sockaddr_in $from)[1]) eq '192.0.2.7' ? 'through' : 'held', qq(\n) }";
    let mut server = host.command("perl", ["-e", server]).start();
    assert_eq!(server.line(), "ready");
    // An IPv4 header, UDP to port 7 without a checksum; then the same from the sandbox's own address.
    let attack = r"use Socket; $| = 1; my ($host) = `ip route` =~ /via (\S+)/; my $to = sockaddr_in(7, inet_aton $host);
        socket my $raw, AF_INET, SOCK_RAW, 255 or die $!; socket my $own, AF_INET, SOCK_DGRAM, 0;
        my $packet = pack 'CCnnnCCna4a4nnnna4', 0x45, 0, 32, 1, 0, 64, 17, 0, inet_aton('192.0.2.7'), inet_aton($host),
            7, 7, 12, 0, 'fake';
        print qq(ready\n); while (<STDIN>) { send $raw, $packet, 0, $to; send $own, 'true', 0, $to }";
    refused(&host, attack);
    let mut inside = host.nsl(["run", "--cap-add", "NET_RAW", "--", "perl", "-e", attack]).start();
    assert_eq!(inside.line(), "ready");
    inside.write("\n");
    assert_eq!(server.line(), "held");
    host.sh("for file in /proc/sys/net/ipv4/conf/nsl*/rp_filter; do echo 0 > $file; done");
    inside.write("\n");
    assert_eq!(server.line(), "through");
    inside.finish().assert_code(0);
    server.signal(Signal::SIGTERM);
    server.finish();
}

/// A directory on the file system of the host's root, which a view of it shows.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The view of the host's files shows sockets, and connects to none; a volume is the host's own directory, and does.
#[test]
fn sockets_in_the_view_of_the_host_are_only_seen() {
    let mut host = crate::host!("perl");
    let place = Place(PathBuf::from(format!("/var/tmp/nsl-attacks-{}", std::process::id())));
    std::fs::create_dir(&place.0).expect("make a directory");
    host.unlock("/var/tmp");
    let directory = place.0.display();
    let name = format!("'{directory}/socket'");
    let _server = server(&host, &name);
    let attack = connect(&name);
    held(sandbox(&host, &[], &["perl", "-e", &attack]));
    held(sandbox(&host, &["--privileged"], &["perl", "-e", &attack]));
    through(sandbox(&host, &["-v", &format!("{directory}:{directory}")], &["perl", "-e", &attack]));
    // A pipe with a name is not shared either.
    host.sh(&format!("mkfifo {directory}/pipe"));
    let mut reader = host.command("timeout", ["2", "cat", &format!("{directory}/pipe")]).start();
    let write = format!("timeout 1 sh -c 'echo through > {directory}/pipe'; echo held");
    sandbox(&host, &[], &["sh", "-c", &write]).run().assert_prints("held");
    reader.signal(Signal::SIGTERM);
    reader.stdin.take();
    assert_eq!(reader.finish().stdout(), "");
}
