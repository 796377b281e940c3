# Machines whose command can't be run: one line says why, and they go off with the status that shells have for it.

# says_once TEXT: of all that nsl-init says, this and the last line.
says_once() {
    local lines
    lines=$(said | grep '^nsl-init: ' | sed '$d')
    [ "$lines" = "nsl-init: $1" ] || { echo "got: $lines"; return 1; }
}

new_machine
start ''
ends poweroff 127
check "it says that there is no service" says_once "cannot execute /etc/nsl/init: No such file or directory"

put /etc/nsl/init 644 <<<'exit 0'
start 'splash quiet'
ends poweroff 126
check "it says that the service can't be executed" says_once "cannot execute /etc/nsl/init: Permission denied"

start '-- no-such-command'
ends poweroff 127
check "it says which command there is not" says_once "cannot execute no-such-command: No such file or directory"

start '-- --no-such-option'
ends poweroff 125
