#!/bin/sh
# /init of the initramfs. The first root of a machine can be no sandbox's old root (pivot_root(2)): moves to a tmpfs,
# and becomes nsl-init there, with guest.sh as its command.
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox --install -s /bin
export PATH=/bin
mount -t tmpfs -o mode=755 root /root
cp -a /bin /sbin /etc /lib /home /usr /root
mkdir -p /root/proc /root/sys /root/dev /root/run /root/tmp /root/var /root/guest
chmod 1777 /root/tmp
chown -R 1000:1000 /root/home/user
cp /guest/* /root/guest
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /root/dev/pts
mount -t tmpfs shm /root/dev/shm
mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
mount --make-rshared /root
echo /sbin/modprobe >/root/proc/sys/kernel/modprobe
ip link set lo up
exec switch_root -c /dev/console /root /bin/nsl-init -- /bin/sh /guest/guest.sh
