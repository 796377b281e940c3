# The console: a shell there has job control, Ctrl-C is for its jobs and not for the machine, and an output that is
# stopped does not stop the end.

new_machine
start '-- sh'
check "a shell prompts" says '^/ # '
type_in 'sleep 1000\n'
sleep 0.5
type_in '\003'
type_in 'echo interrupted $?\n'
check "Ctrl-C ends a job" says '^interrupted 130$'
type_in 'sleep 1000\n'
sleep 0.5
type_in '\032'
check "Ctrl-Z stops a job" says 'Stopped'
# From here on nothing is written before someone goes on with it.
type_in '\023'
type_in 'exit 9\n'
ends poweroff 9

# The streams are closed, and whatever was before has mounted nothing.
new_machine
mv "$root/init" "$root/bin/nsl-init"
put /init <<'GUEST'
#!/bin/sh
exec <&- >&- 2>&-
exec nsl-init -- sh -c 'echo seen; exit 4'
GUEST
start ''
ends poweroff 4
check "closed streams become the console" said_line '^seen$'

# Called by another name, it is a machine's init all the same.
new_machine
mv "$root/init" "$root/bin/tini"
start 'rdinit=/bin/tini -- sh -c "grep -c cgroup2 /proc/mounts; exit 3"'
ends poweroff 3
check "by the name of tini it mounts as well" said_line '^1$'
