# The ways in which a machine can be asked to end, each with a machine of its own: the signals, Ctrl-Alt-Del, and the
# second one, which waits for nothing.

new_machine
put /guest/wait <<'GUEST'
#!/bin/sh
# wait [SIGNAL]: says when it has the end of this machine in its hands, and asks for it.
trap 'exit 3' TERM
echo ready
[ -z "$1" ] || kill -"$1" 1
while :; do sleep 0.05; done
GUEST
put /guest/never <<'GUEST'
#!/bin/sh
trap '' TERM
echo ready
kill -PWR 1
sleep 0.5
kill -PWR 1
while :; do sleep 1; done
GUEST

# USR2 is the service's; these have a meaning of their own.
while read -r signal how; do
    start "-- sh /guest/wait $signal"
    ends "$how" 3
done <<'END'
TERM poweroff
INT restart
39 restart
USR1 halt
END

start '-- sh /guest/wait'
check "the command is ready" says '^ready$'
press ctrl alt delete
ends restart 3

# With ten seconds of grace for the command, and as many for the rest.
limit=12
start '-- sh /guest/never'
ends poweroff 137
limit=90
