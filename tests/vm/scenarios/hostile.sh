# A command that does to PID 1 and to the machine what it can: the kernel must not panic, and the end must be in order.

new_machine
put /etc/passwd 644 <<<'user:x:1000:1000:user:/:/bin/sh'
put /guest/command <<'GUEST'
#!/bin/sh
. /guest/checks.sh
# What PID 1 forwards to us is no harm.
for signal in $(seq 1 31) $(seq 34 64); do
    case $signal in 9 | 17 | 19) ;; *) trap : "$signal" ;; esac
done

pid_1_lives() { is "$(awk '{ print $3 }' /proc/1/stat)" S; }
kill_does_not_end_it() {
    kill -9 1
    kill -STOP 1
    until_true pid_1_lives
}
faults_do_not_end_it() {
    for signal in ILL TRAP ABRT BUS FPE SEGV SYS; do kill -$signal 1; done
    until_true pid_1_lives
}
floods_do_not_end_it() {
    for _ in $(seq 2000); do
        for signal in HUP QUIT WINCH CHLD 34 64; do kill -$signal 1; done
    done
    until_true pid_1_lives
}
bombs_do_not_end_it() {
    # Refused at 100 processes of this user.
    su user -c 'ulimit -p 100; bomb() { bomb | bomb & }; bomb' || true
    until_true sh -c '! pgrep -u user || { pkill -9 -u user; false; }'
    until_true no_zombies
}
check "kill -9 does not end PID 1" kill_does_not_end_it
check "the signals of faults do not end it" faults_do_not_end_it
check "floods of signals do not end it" floods_do_not_end_it
check "a fork bomb does not end it" bombs_do_not_end_it
summary

# Last, all that the end needs: another /proc with a list of mounts of its own, no /dev, and nobody left.
mkdir /disk /fake
mount -t ext4 /dev/nvme0n1 /disk
echo kept >/disk/kept
umount -l /proc
mount -t tmpfs fake /proc
mkdir -p /proc/self /proc/sys/kernel
echo '1 1 0:1 / /etc rw - tmpfs fake rw' >/proc/self/mountinfo
mount -t tmpfs over /dev
exec sh -c 'kill -9 -1; kill -9 $$; echo never'
GUEST
new_disk
start '-- sh /guest/command' "${disk_options[@]}"
ends poweroff 137
check "the disk was unmounted all the same" is_in_order
