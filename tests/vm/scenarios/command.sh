# A machine whose /init is nsl-init and whose command stands on the kernel's line, behind words that mean nothing: what
# the command finds there, and the end that its own end makes.

new_machine
put /guest/command <<'GUEST'
#!/bin/sh
. /guest/checks.sh

got_the_words() {
    is "$words" "two words|last"
    is "$FROM_LINE" "a b"
}
pid_1_is_nsl_init() {
    is "$(awk '{ print $2, $4 }' /proc/1/stat)" "(init) 0"
    cmp /init /proc/1/exe
}
# mounted ON KIND OPTION...
mounted() {
    line=$(awk -v on="$1" '$2 == on' /proc/mounts)
    is "$(echo "$line" | wc -l)" 1
    case $line in "$2 $1 $2 "*) ;; *) echo "$line"; return 1 ;; esac
    shift 2
    for option; do
        case ",$(echo "$line" | cut -d ' ' -f 4)," in *,"$option",*) ;; *) echo "$line"; return 1 ;; esac
    done
}
mounts_are_there() {
    mounted /proc proc rw nosuid nodev noexec
    mounted /sys sysfs rw nosuid nodev noexec
    mounted /dev devtmpfs rw nosuid mode=755
    mounted /dev/pts devpts rw nosuid noexec gid=5 mode=620 ptmxmode=666
    mounted /dev/shm tmpfs rw nosuid nodev
    mounted /run tmpfs rw nosuid nodev mode=755
    mounted /sys/fs/cgroup cgroup2 rw nosuid nodev noexec
    is "$(stat -c %a /dev/shm /run /proc /dev | tr '\n' ' ')" "1777 755 555 755 "
    : <>/dev/ptmx
    [ -e /sys/fs/cgroup/cgroup.procs ]
}
lo_is_up() {
    ip link show lo | grep -q 'LOOPBACK,UP,LOWER_UP'
    ping -c 1 -W 5 127.0.0.1
}
console_is_the_terminal() {
    for stream in 0 1 2; do is "$(readlink /proc/1/fd/$stream)" /dev/console; done
    is "$(tty </proc/1/fd/0)" /dev/console
    # Session 1 with a terminal, whose foreground the command has, in a group of its own.
    is "$(awk '{ print $5 == $1, $6, $7 != 0, $8 == $1 }' /proc/$$/stat)" "1 1 1 1"
    # Without job control, busybox says why.
    is "$(sh -c 'set -m' </dev/console 2>&1)" ""
}
signals_are_at_their_default() {
    is "$(awk '/^Sig(Blk|Ign)/ && $2 !~ /^0*$/' /proc/self/status)" ""
}
ctrl_alt_del_is_ours() { is "$(cat /proc/sys/kernel/ctrl-alt-del)" 0; }
init_holds_nothing_else() { is "$(ls /proc/1/fd | tr '\n' ' ')" "0 1 2 "; is "$(readlink /proc/1/cwd)" /; }
orphans_are_reaped() {
    for _ in $(seq 1000); do (: &); done
    # Some that live on for a while.
    for _ in $(seq 10); do (sleep 0.2 &); done
    until_true alone
    until_true no_zombies
}
alone() { ! pidof sleep; }

words="$1|$2"
check "the command gets its words, and the environment its own" got_the_words
check "PID 1 is nsl-init" pid_1_is_nsl_init
check "what programs expect is mounted" mounts_are_there
check "lo is up" lo_is_up
check "the console is the command's terminal" console_is_the_terminal
check "no signal is blocked or ignored" signals_are_at_their_default
check "Ctrl-Alt-Del is nsl-init's" ctrl_alt_del_is_ours
check "PID 1 holds its streams alone" init_holds_nothing_else
check "orphans leave no zombie" orphans_are_reaped
summary
printf 'a line without an end'
exit 7
GUEST
start 'splash FROM_LINE="a b" no.such=module -- sh /guest/command "two words" last'
ends poweroff 7
