#!/bin/sh
# /init of the initramfs: unpacks the root of Debian into a tmpfs, adds what is tested, and becomes systemd there.
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox --install -s /bin
export PATH=/bin
mount -t tmpfs -o mode=755,size=80% root /root
tar -xf /guest/root.tar -C /root || echo "not ok - unpack the root"
rm /guest/root.tar
cp /guest/nsl /guest/nsl-init /bin/busybox /root/usr/bin
mkdir -p /root/guest /root/usr/lib/modules
cp /guest/guest.sh /guest/checks.sh /root/guest
cp -a /lib/modules/* /root/usr/lib/modules
# Debian's modprobe reads lists that busybox does not write.
chroot /root /usr/sbin/depmod "$(uname -r)"
cp /guest/guest.service /root/etc/systemd/system
# Nothing but this is to be started.
mkdir -p /root/etc/systemd/system/multi-user.target.wants
ln -s guest.service /root/etc/systemd/system/multi-user.target.wants/guest.service
ln -s /usr/lib/systemd/system/multi-user.target /root/etc/systemd/system/default.target
for unit in getty.target systemd-udevd.service systemd-udev-trigger.service systemd-logind.service; do
    ln -sf /dev/null "/root/etc/systemd/system/$unit"
done
echo 0123456789abcdef0123456789abcdef >/root/etc/machine-id
mount -t devtmpfs dev /root/dev
exec switch_root -c /dev/console /root /usr/lib/systemd/systemd
