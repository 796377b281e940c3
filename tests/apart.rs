//! Who reaches whom: sandboxes, those of a named network, those without a way out, the host and its neighbours; by IPv4
//! and by IPv6.

use crate::harness::{Host, Running};

/// Listens on a port in perl, IPv4 and IPv6, and greets each caller; prints its addresses first.
const SERVE: &str = r"use Socket; $| = 1; socket my $s, AF_INET6, SOCK_STREAM, 0 or die $!;
    setsockopt $s, 41, 26, pack('l', 0); bind $s, pack_sockaddr_in6(7000, Socket::IN6ADDR_ANY) or die $!; listen $s, 9;
    for ('-4', '-6') { my ($address) = `ip $_ -o addr show eth0 scope global` =~ /inet6? ([^\/]+)/; print qq($address\n) }
    while (accept my $c, $s) { print $c qq(reached\n); close $c }";

/// Asks that port of each address: `reached`, `refused` at once, `lost` after half a second.
const ASK: &str = r"use Socket qw(:all); use Time::HiRes 'alarm'; for my $address (@ARGV) {
    my ($error, $found) = getaddrinfo($address, 7000, { flags => AI_NUMERICHOST, socktype => SOCK_STREAM });
    socket my $s, $found->{family}, SOCK_STREAM, 0 or die $!; my $answer = 'lost';
    eval { local $SIG{ALRM} = sub { die }; alarm 0.5;
        $answer = connect($s, $found->{addr}) ? <$s> // 'closed' : 'refused'; alarm 0; };
    chomp $answer; print qq($answer\n) }";

/// A sandbox that serves; its addresses.
fn server(host: &Host, options: &[&str]) -> (Running, [String; 2]) {
    let words = [&["run"], options, &["--", "perl", "-e", SERVE]].concat();
    let mut running = host.nsl(words).start();
    let addresses = [running.line(), running.line()];
    (running, addresses)
}

/// What a sandbox hears from each of these addresses.
fn asked(host: &Host, options: &[&str], addresses: &[&str]) -> String {
    let words = [&["run"], options, &["--", "perl", "-e", ASK], addresses].concat();
    host.nsl(words).run().assert_code(0).stdout().replace('\n', " ").trim_end().to_owned()
}

fn end(mut server: Running) {
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.stdout.take();
    server.finish();
}

#[test]
fn sandboxes_are_apart_unless_they_are_in_one_network() {
    let host = crate::host!("perl", "ip");
    host.sh("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
    let (web, [ipv4, ipv6]) = server(&host, &["--network", "veth:front"]);
    let (alone, [alone4, alone6]) = server(&host, &[]);
    let addresses = [&*ipv4, &*ipv6, &*alone4, &*alone6];
    assert_eq!(asked(&host, &["--network", "veth:front"], &addresses), "reached reached lost lost");
    assert_eq!(asked(&host, &["--network", "veth:back"], &addresses), "lost lost lost lost");
    assert_eq!(asked(&host, &[], &addresses), "lost lost lost lost");
    // A network goes with its last member, and its name can be another's.
    end(web);
    end(alone);
    let (web, [again, _]) = server(&host, &["--network", "veth:front"]);
    assert_eq!(asked(&host, &["--network", "veth:front"], &[&again]), "reached");
    end(web);
}

#[test]
fn an_internal_sandbox_reaches_its_network_alone() {
    let mut host = crate::host!("perl", "ip");
    let outside = host.uplink();
    let beyond = host.command("nsenter", ["-t", &outside.to_string(), "-n", "perl", "-e", SERVE]);
    let mut beyond = beyond.start();
    let _ = (beyond.line(), beyond.line());
    let mut local = host.command("perl", ["-e", SERVE]).start();
    let _ = (local.line(), local.line());
    let (web, [ipv4, _]) = server(&host, &["--network", "veth:front", "--internal"]);
    let (other, [other4, _]) = server(&host, &["--network", "veth:front"]);
    let all = [&*ipv4, &*other4, "198.51.100.1", "198.51.100.2"];
    assert_eq!(asked(&host, &["--network", "veth:front"], &all), "reached reached reached reached");
    let internal = ["--network", "veth:front", "--internal"];
    assert_eq!(asked(&host, &internal, &all), "reached reached refused refused");
    assert_eq!(asked(&host, &["--internal"], &all), "refused refused refused refused");
    // The host reaches it, and hears its answers.
    let answer = host.command("perl", ["-e", ASK, &ipv4]).run();
    answer.assert_stdout("reached");
    for server in [web, other, beyond, local] {
        end(server);
    }
}

#[test]
fn a_neighbour_of_the_host_does_not_reach_into_a_sandbox() {
    let mut host = crate::host!("perl", "ip");
    let outside = host.uplink().to_string();
    let (web, [ipv4, _]) = server(&host, &[]);
    let neighbour = |words: &[&str]| {
        let words = [&["-t", &*outside, "-n"], words].concat();
        host.command("nsenter", words).run().stdout()
    };
    neighbour(&["ip", "route", "add", "10.0.0.0/8", "via", "198.51.100.2"]);
    assert_eq!(neighbour(&["perl", "-e", ASK, &ipv4]), "lost\n");
    // It is the rule that keeps it out.
    host.sh("nft flush chain inet nsl forward");
    assert_eq!(neighbour(&["perl", "-e", ASK, &ipv4]), "reached\n");
    neighbour(&["ip", "route", "del", "10.0.0.0/8"]);
    host.sh("nft delete table inet nsl");
    end(web);
}

#[test]
fn ipv6_leads_where_the_host_gets_by_it() {
    let mut host = crate::host!("perl", "ip");
    let outside = host.uplink().to_string();
    let mut beyond = host.command("nsenter", ["-t", &outside, "-n", "perl", "-e", SERVE]).start();
    let _ = (beyond.line(), beyond.line());
    // Without a way out of the host's there is none inside, and nothing is switched on.
    assert_eq!(asked(&host, &[], &["2001:db8::1"]), "refused");
    let forwarding = "cat /proc/sys/net/ipv6/conf/all/forwarding";
    assert_eq!(host.sh(forwarding), "0\n");
    host.sh(&format!(
        "ip addr add 2001:db8::2/64 dev up0 nodad; nsenter -t {outside} -n ip addr add 2001:db8::1/64 dev out0 nodad
         ip -6 route add default via 2001:db8::1"
    ));
    host.accept();
    let output = host.nsl(["run", "--log-level", "info", "--", "perl", "-e", ASK, "2001:db8::1", "198.51.100.1"]).run();
    output.assert_stdout("reached\nreached");
    assert!(output.stderr().contains("switched on forwarding of IPv6"), "{output}");
    // For the device alone, where the kernel can do that: the host still learns from routers.
    let forced = host.sh("cat /proc/sys/net/ipv6/conf/up0/force_forwarding 2>/dev/null || echo none");
    assert_eq!(host.sh(forwarding), if forced == "1\n" { "0\n" } else { "1\n" });
    end(beyond);
}

#[test]
fn a_sandbox_has_the_addresses_that_it_was_given() {
    let host = crate::host!("ip");
    let addresses = |options: &[&str]| {
        let script =
            "ip -br addr show eth0 scope global | tr -s ' ' | cut -d' ' -f3-; ip route show default | cut -d' ' -f3";
        let words = [&["run"], options, &["--", "sh", "-c", script]].concat();
        host.nsl(words).run().assert_code(0).stdout()
    };
    let fixed = ["--ip", "fd00:5::9/64", "--ip", "192.168.5.9/24", "--gateway", "192.168.5.7"];
    assert_eq!(addresses(&fixed), "192.168.5.9/24 fd00:5::9/64 \n192.168.5.7\n");
    assert_eq!(addresses(&["--ip", "fd00:5::9/64"]), "fd00:5::9/64 \n");
    let pool = addresses(&["--pool", "192.168.6.0/30", "--pool", "fd00:6::/64"]);
    let pairs =
        ["192.168.6.1/31 fd00:6::c0a8:601/127 \n192.168.6.0\n", "192.168.6.3/31 fd00:6::c0a8:603/127 \n192.168.6.2\n"];
    assert!(pairs.contains(&&*pool), "{pool}");
}

#[test]
fn a_full_or_foreign_pool_is_refused() {
    let host = crate::host!("ip");
    let pool = ["run", "--pool", "192.168.6.0/30", "--", "cat"];
    let mut running: Vec<_> = (0..2).map(|_| host.nsl(pool).start()).collect();
    for server in &mut running {
        server.write("ready\n");
        assert_eq!(server.line(), "ready");
    }
    host.nsl(pool).run().assert_refused(125, &["every pair of 192.168.6.0/30 is taken", "--pool"]);
    for server in running {
        server.finish().assert_code(0);
    }
    host.assert_clean();
    host.sh("ip link add d0 type veth peer name d1; ip addr add 192.168.6.77/24 dev d0; ip link set d0 up");
    host.nsl(pool).run().assert_refused(125, &["192.168.6.0/30", "routed elsewhere"]);
    host.sh("ip link del d0");
}

#[test]
fn a_host_without_ipv6_has_sandboxes_without_it() {
    let host = crate::host!("ip");
    let script = "ip -6 addr show eth0 scope global; ip -4 -br addr show eth0 | grep -o UP";
    host.sh("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
    host.nsl(["run", "--", "sh", "-c", script]).run().assert_prints("UP");
    host.sh("echo 0 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
}

/// Some servers trust an address, of IPv6 too.
#[test]
fn a_forged_source_of_ipv6_does_not_come_through() {
    let host = crate::host!("perl", "ip", "nft");
    let server = r"use Socket; $| = 1; socket my $s, AF_INET6, SOCK_DGRAM, 0; bind $s, pack_sockaddr_in6(7, Socket::IN6ADDR_ANY) or die;
        print qq(ready\n); while (my $from = recv $s, my $data, 99, 0) { print qq($data\n) }";
    let mut server = host.command("perl", ["-e", server]).start();
    assert_eq!(server.line(), "ready");
    // An IPv6 header and UDP with its checksum; the source is any, then the sandbox's own.
    let attack = r"use Socket; $| = 1; my ($own, $host) = map { Socket::inet_pton(AF_INET6, $_) }
            `ip -6 addr show eth0 scope global` =~ /inet6 ([^\/]+)/, `ip -6 route` =~ /^([^\/]+)/;
        socket my $s, AF_INET6, SOCK_RAW, 255 or die $!; setsockopt $s, 41, 36, pack('l', 1) or die $!;
        sub packet { my ($from, $data) = @_; my $udp = pack 'nnnna4', 7, 7, 12, 0, $data; my $sum = 0;
            $sum += $_ for unpack 'n*', $from . $host . pack('NN', 12, 17) . $udp;
            $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16; substr($udp, 6, 2) = pack 'n', ~$sum & 0xffff;
            send $s, pack('NnCC', 0x60000000, 12, 17, 64) . $from . $host . $udp, 0, pack_sockaddr_in6(0, $host) }
        print qq(ready\n); while (<STDIN>) { packet(Socket::inet_pton(AF_INET6, '2001:db8::7'), 'fake'); packet($own, 'true') }";
    let words = ["run", "--cap-add", "NET_RAW", "--", "perl", "-e", attack];
    let mut inside = host.nsl(words).start();
    assert_eq!(inside.line(), "ready");
    inside.write("\n");
    assert_eq!(server.line(), "true");
    host.sh("nft flush chain inet nsl prerouting");
    inside.write("\n");
    assert_eq!(server.line(), "fake");
    inside.finish().assert_code(0);
    host.sh("nft delete table inet nsl");
    end(server);
}
