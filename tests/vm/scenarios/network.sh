# The network of sandboxes on a host that lacks something: IPv6, which is switched off for good on the kernel's command
# line, and modules, which come one after the other. network/guest.sh does the checks, from the root that
# sandboxes/init.sh makes.

new_machine
mkdir -p "$root"/{sbin,usr,lib,home/user}
put /init <"$here/sandboxes/init.sh"
put /guest/guest.sh <"$here/network/guest.sh"
put /bin/nsl <"$nsl"
put /bin/nsl-init <"$init"
put /etc/passwd 644 <<<'root:x:0:0:root:/:/bin/sh'
put /etc/group 644 <<<'root:x:0:'
put /etc/resolv.conf 644 <<<'nameserver 192.0.2.53'
copy_modules
limit=200 memory=512
start "ipv6.disable=1"
ends poweroff 0
limit=90 memory=192
