#!/bin/sh
# Runs inside the virtual machine of scenarios/systemd.sh, as a service of systemd's. Nothing here waits without a bound.

. /guest/checks.sh
export PATH=/usr/bin:/usr/sbin:/bin:/sbin

units=/run/systemd/system
property() { systemctl show -p "$2" --value "$1"; }
state() { property "$1" ActiveState; }
is_state() { [ "$(state "$1")" = "$2" ]; }
programs() { grep -xE 'nsl|nsl-guard|nsl-init' /proc/[0-9]*/comm 2>/dev/null || true; }
groups() { find /sys/fs/cgroup -type d -name 'nsl-*'; }
is_empty() { [ -z "$(programs)$(groups)" ]; }
nothing_left() { until_true is_empty >/dev/null || echo "$(programs) $(groups)"; }

# unit NAME OPTIONS...: a service of nsl's, by `nsl unit`; what stdin has is added to it.
unit() {
    name=$1
    shift
    # One that failed half-way.
    remove "$name"
    nsl unit -- --name "$name" "$@" >$units/$name.service
    cat >$units/$name.d 2>/dev/null
    mkdir -p $units/$name.service.d
    mv $units/$name.d $units/$name.service.d/more.conf
    systemctl daemon-reload
}
# Starts it, or says why it does not.
begin() {
    systemctl start "$1" || { journalctl -q -o cat -n 10 -u "$1"; return 1; }
}
remove() {
    systemctl stop "$1" 2>/dev/null || true
    systemctl reset-failed "$1" 2>/dev/null || true
    rm -rf "$units/$1".* "$units/$1".service.d
    nsl rm -f "$1"
}

starts_and_stops() {
    unit web --network none -- sh -c 'trap "echo asked; exit 0" TERM; echo up; while :; do sleep 0.1; done' </dev/null
    systemd-analyze verify $units/web.service
    begin web
    is "$(state web)" active
    # It is nsl that systemd knows.
    is "$(cat "/proc/$(property web MainPID)/comm")" nsl
    property web StatusText | grep 'The command runs'
    nsl ps | grep '^web .*Up '
    systemctl stop web
    is "$(state web) $(property web Result) $(property web ExecMainStatus)" "inactive success 0"
    journalctl -q -o cat -t web | grep -x asked
    remove web
}
check "a unit of nsl's starts, is active when the command runs, and is stopped in order" starts_and_stops

readiness() {
    unit web --network none --ready -- sh -c 'until [ -e /tmp/go ]; do sleep 0.1; done; printf "READY=1\nSTATUS=so far" |
        busybox nc -u local:$NOTIFY_SOCKET 2>/dev/null || systemd-notify --ready --status="so far"; exec sleep 1000' </dev/null
    systemctl start --no-block web
    until_true can_exec
    is "$(state web)" activating
    nsl exec web touch /tmp/go
    until_true is_state web active
    property web StatusText | grep 'so far'
    remove web
}
can_exec() { nsl exec web true 2>/dev/null; }
check "with --ready the unit is active when the command says so" readiness

failure() {
    unit web --network none --restart no -- no-such-command </dev/null
    status 1 systemctl start web
    is "$(property web ExecMainStatus)" 127
    property web StatusText | grep 'cannot execute no-such-command'
    remove web
}
check "what keeps a command from starting is the unit's status" failure

watchdog() {
    unit web --network none --restart always -- sleep 1000 <<-END
	[Service]
	WatchdogSec=2s
	END
    begin web
    pid=$(property web MainPID)
    sleep 3
    is "$(property web MainPID) $(property web NRestarts)" "$pid 0"
    kill -STOP "$pid"
    until_true restarted 1
    until_true is_state web active
    [ "$(property web MainPID)" != "$pid" ]
    remove web
}
restarted() { [ "$(property web NRestarts)" -ge "$1" ]; }
check "an nsl that hangs is ended and started again by the watchdog" watchdog

health() {
    unit web --network none --restart always --health-cmd '! test -e /tmp/ill' --health-interval 300ms --health-retries 1 \
        -- sh -c 'trap "echo ended in order; exit 0" TERM; while :; do sleep 0.1; done' <<-END
	[Service]
	WatchdogSec=2s
	END
    begin web
    nsl exec web touch /tmp/ill
    until_true restarted 1
    journalctl -q -o cat -t web | grep -x 'ended in order'
    until_true is_state web active
    remove web
}
check "a sandbox that is not well is ended in order, and started again" health

limits() {
    unit web --network none -m 32m --pids-limit 20 --cpus 0.5 -- sh -c 'exec sleep 1000' </dev/null
    begin web
    group=$(groups | grep -v -- -self)
    case $group in */web.service/*) ;; *) echo "the cgroup is $group"; return 1 ;; esac
    is "$(cat "$group/memory.max") $(cat "$group/pids.max")" "33554432 21"
    # nsl itself has gone to another below the unit's.
    grep -q "web.service/" "/proc/$(property web MainPID)/cgroup"
    # What runs out of memory inside is no failure of the unit's, whose own command goes on.
    status 137 nsl exec web sh -c 'head -c 64m /dev/zero | tail | wc -c; exit 137'
    is "$(state web)" active
    systemctl stop web
    is "$(property web Result)" success
    remove web
}
check "limits are kept in a cgroup below that of the unit" limits

sockets() {
    unit web --network none -- sh -c 'echo "$LISTEN_FDS $LISTEN_PID $$"; readlink /proc/self/fd/3; exec sleep 1000' </dev/null
    printf '[Socket]\nListenStream=127.0.0.1:8080\n' >$units/web.socket
    systemctl daemon-reload
    ip link set lo up
    systemctl start web.socket
    is "$(state web)" inactive
    busybox nc 127.0.0.1 8080 </dev/null >/dev/null 2>&1 &
    until_true is_state web active
    until_true journal_has '^socket:'
    journalctl -q -o cat -t web | grep -qx '1 2 2'
    kill $! 2>/dev/null
    systemctl stop web.socket
    remove web
}
journal_has() { journalctl -q -o cat -t web | grep -q "$1"; }
check "a socket of systemd's starts the unit, and reaches the command" sockets

killed() {
    unit web --restart on-failure -- sleep 1000 </dev/null
    begin web
    address=$(nsl inspect web | grep -c '"device": "nsl')
    is "$address" 1
    kill -9 "$(property web MainPID)"
    until_true restarted 1
    until_true is_state web active
    nsl ps | grep '^web .*Up '
    remove web
}
check "kill -9 of nsl leaves nothing, and systemd starts it again" killed

words() {
    unit web --network none --restart no -e 'A=1 $b %c' -- sh -c 'printf "<%s>" "$A" "$@"; echo; exec sleep 1000' sh '' ' ' ';' '100%' \
        '$HOME ${A} $$' 'a"b\c' "it's" "$(printf 'x\ny\tz')" </dev/null
    begin web
    until_true journal_has '^<1'
    journalctl -q -o cat -t web >/tmp/words
    printf '<%s>' '1 $b %c' '' ' ' ';' '100%' '$HOME ${A} $$' 'a"b\c' "it's" "$(printf 'x\ny\tz')" >/tmp/wanted
    echo >>/tmp/wanted
    journalctl -q -o cat -t web | tail -n 2 | tr -d '\0' | cmp - /tmp/wanted || { cat /tmp/words /tmp/wanted; return 1; }
    remove web
}
check "a command line comes through systemd as it was typed" words

summary
echo "guest: exit status $failed"
sleep 0.2
busybox poweroff -f
