# nsl itself, on a kernel that this machine's may differ from: cgroup2 alone, modules that are loaded when needed, an
# nsl-init that another init has become. sandboxes/guest.sh does the checks, from a root that sandboxes/init.sh makes.

new_machine
mkdir -p "$root"/{sbin,usr,lib} "$root/home/user/folder"
put /init <"$here/sandboxes/init.sh"
put /guest/guest.sh <"$here/sandboxes/guest.sh"
put /bin/nsl <"$nsl"
put /bin/nsl-init <"$init"
put /etc/passwd 644 <<<$'root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh'
put /etc/group 644 <<<$'root:x:0:\ntty:x:5:\nuser:x:1000:'
put /etc/resolv.conf 644 <<<'nameserver 192.0.2.53'
put /home/user/own 644 <<<own
put /home/user/folder/file 644 </dev/null
copy_modules
limit=400 memory=512
new_disk
start "" "${disk_options[@]}"
ends poweroff 0
limit=90 memory=192
