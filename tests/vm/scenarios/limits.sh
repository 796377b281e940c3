# Limits of a sandbox, on a kernel whose cgroup v2 has all its controllers. limits/guest.sh does the checks, from the
# root that sandboxes/init.sh makes.

new_machine
mkdir -p "$root"/{sbin,usr,lib,home/user}
put /init <"$here/sandboxes/init.sh"
put /guest/guest.sh <"$here/limits/guest.sh"
put /bin/nsl <"$nsl"
put /bin/nsl-init <"$init"
put /etc/passwd 644 <<<$'root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh'
put /etc/group 644 <<<$'root:x:0:\ntty:x:5:\nuser:x:1000:'
limit=800 memory=512
start ""
ends poweroff 0
limit=90 memory=192
