# `nsl check` on machines that lack something: one whose root is still the first, and one whose modules come and go.
# check/first.sh and check/guest.sh do the checks.

new_machine
put /guest/first.sh <"$here/check/first.sh"
put /bin/nsl <"$nsl"
mkdir -p "$root/sbin"
start '-- sh /guest/first.sh'
ends poweroff 0

new_machine
mkdir -p "$root"/{sbin,usr,lib,home/user}
put /init <"$here/sandboxes/init.sh"
put /guest/guest.sh <"$here/check/guest.sh"
put /bin/nsl <"$nsl"
put /bin/nsl-init <"$init"
put /etc/passwd 644 <<<$'root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh'
put /etc/group 644 <<<$'root:x:0:\ntty:x:5:\nuser:x:1000:'
put /etc/resolv.conf 644 <<<'nameserver 127.0.0.1'
copy_modules
limit=200 memory=512
start "ipv6.disable=1"
ends poweroff 0
limit=90 memory=192
