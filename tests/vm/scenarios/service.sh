# A machine without a command on its line: /etc/nsl/init is its service. It leaves processes behind that end late or
# never, on a disk that is found in order afterwards, and asks for the end as busybox does.

new_machine
put /etc/nsl/init <<'GUEST'
#!/bin/sh
. /guest/checks.sh

disk_is_mounted() {
    mkdir /disk
    mount -t ext4 /dev/nvme0n1 /disk
    # Mounts upon it, and one that is hidden by another.
    mkdir "/disk/a b" /disk/twice
    mount -t tmpfs first "/disk/a b"
    mkdir "/disk/a b/deep"
    mount -t tmpfs deep "/disk/a b/deep"
    mount -t tmpfs hidden /disk/twice
    mount -t tmpfs hiding /disk/twice
    # A file system with a source of its own on the disk.
    mkdir /disk/bound /bound
    mount --bind /disk/bound /bound
}
swap_is_on_it() {
    dd if=/dev/zero of=/disk/swap bs=4096 count=256
    chmod 600 /disk/swap
    mkswap /disk/swap
    swapon /disk/swap
    grep -q '^/disk/swap ' /proc/swaps
}
is_a_service() { is "$(cat /proc/$$/comm) $#" "init 0"; }

check "the service is /etc/nsl/init, without arguments" is_a_service
check "a disk with mounts upon it is there" disk_is_mounted
check "it holds swap" swap_is_on_it

cd /disk
# Ends when asked to, with something left to write.
setsid sh -c 'trap "sleep 0.3; echo orderly >>/disk/log; exit" TERM; touch /tmp/1; while :; do sleep 0.1; done' &
# Never ends when asked to, and writes for as long as it may.
setsid sh -c 'trap "" TERM; touch /tmp/2; while :; do echo stubborn >>/disk/stubborn; sleep 0.1; done' &
# Stopped: it hears of nothing before it goes on.
setsid sh -c 'trap "echo stopped >>/disk/log; exit" TERM; touch /tmp/3; kill -STOP $$; sleep 9' &
for _ in 1 2 3 4 5; do (sleep 1000 &); done
there() { [ -e /tmp/1 ] && [ -e /tmp/2 ] && [ -e /tmp/3 ]; }
check "what it leaves behind is there" "until_true there"
summary

trap 'echo service >>/disk/log; exit 5' TERM
poweroff
while :; do sleep 0.05; done
GUEST

log_is() { [ "$(on_disk /log | tr '\n' ' ')" = "$1 " ] || { on_disk /log; return 1; }; }
stubborn_was_there() { on_disk /stubborn | grep -q stubborn; }

new_disk
start '-- --grace 2s' "${disk_options[@]}"
ends poweroff 5
check "the disk was synced and unmounted" is_in_order
check "what ended when asked to could do its work" log_is "service stopped orderly"
check "what did not end was killed" stubborn_was_there
