#!/bin/bash
# enter.sh ARCHIVE GUEST COMMAND...: unpacks ARCHIVE into memory and runs COMMAND with that as its root, and GUEST in
# /guest. Run by debian.sh in new namespaces, with which all of it goes.
set -euo pipefail
archive=$1
guest=$2
shift 2

root=/mnt
mount -t tmpfs -o mode=755 root "$root"
tar -x --numeric-owner -f "$archive" -C "$root"
mkdir "$root/guest"
mount --bind "$guest" "$root/guest"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ip link set lo up
cd "$root"
pivot_root . .
umount -l .
exec env --ignore-environment PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C "$@"
