# One virtual machine: its files, its start, what is typed, what it says, how it ends. Sourced by run.sh; a scenario
# calls new_machine, put, start, says, type_in and press as it needs them, and ends once for each start.

# What the slowest machine needs several times over, in seconds; a scenario may say more.
limit=180
memory=192
# Who says the last word, if not nsl-init.
teller=

# A bare one: busybox, and nsl-init as /init. Nothing is mounted, and no shell runs before it.
new_machine() {
    local name
    if [ ! -d "$work/bare" ]; then
        mkdir -p "$work"/bare/{bin,etc,guest,tmp}
        cp "$(command -v busybox)" "$work/bare/bin/busybox"
        for name in $(busybox --list); do
            [ "$name" = busybox ] || ln -s busybox "$work/bare/bin/$name"
        done
        cp "$init" "$work/bare/init"
        cp "$here/checks.sh" "$work/bare/guest"
    fi
    root=$work/root
    rm -rf "$root"
    cp -a "$work/bare" "$root"
    checks_wanted=0
}

# put PATH [MODE]: a file of the machine, from stdin.
put() {
    mkdir -p "$(dirname "$root$1")"
    cat >"$root$1"
    chmod "${2:-755}" "$root$1"
    # Each of these prints a line when it is done; see `ends`.
    checks_wanted=$((checks_wanted + $(grep -c '^check ' "$root$1" || true)))
}

# start LINE [OPTION...]: boots it with LINE on the kernel's command line and further options for qemu.
start() {
    local line=$1
    shift
    (cd "$root" && find . | cpio --quiet --create --format=newc --owner=0:0) >"$work/initramfs"
    rm -f "$work"/{keys,control.in,control.out,events}
    mkfifo "$work"/{keys,control.in,control.out}
    # Open at both ends, so that neither open nor write has to wait for the other side.
    exec {keys}<>"$work/keys" {control}<>"$work/control.in" {events}<>"$work/control.out"
    echo '{"execute": "qmp_capabilities"}' >&"$control"
    began=$EPOCHREALTIME
    qemu-system-x86_64 -accel tcg -cpu max -m "$memory" -nodefaults -display none -no-reboot \
        -chardev stdio,id=console,signal=off -serial chardev:console \
        -chardev pipe,id=control,path="$work/control" -mon chardev=control,mode=control \
        -kernel "$kernel"/boot/vmlinuz-* -initrd "$work/initramfs" \
        -append "console=ttyS0 loglevel=4 panic=-1 $line" "$@" <&"$keys" >"$console" 2>&1 &
    qemu=$!
}

# What has been on the console; what the firmware left before it is gone, and a line ends with LF alone.
said() { tr -d '\r' <"$console"; }
said_line() { said | grep -qE "$1"; }
runs() { kill -0 "$qemu" 2>/dev/null; }

# says REGEX: waits until the console has such a line.
says() {
    until said_line "$1"; do
        runs && in_time || return 1
        sleep 0.05
    done
}
in_time() { [ $((${EPOCHREALTIME%.*} - ${began%.*})) -lt "$limit" ]; }

# type_in BYTES, as printf has them, on the console's line.
type_in() {
    # shellcheck disable=SC2059 # escapes are meant
    printf "$1" >&"$keys"
}

# press KEY...: at the keyboard, all at once.
press() {
    local key codes=""
    for key; do codes+=", {\"type\": \"qcode\", \"data\": \"$key\"}"; done
    echo "{\"execute\": \"send-key\", \"arguments\": {\"keys\": [${codes#, }]}}" >&"$control"
}

# ends HOW STATUS: waits for the end, and checks that it was `poweroff`, `restart` or `halt`, that the last line on the
# console has STATUS, and that each check inside came out well.
ends() {
    local how inside
    how=$(how_it_ended "$1")
    # The shell tells of a process that was killed.
    { kill -9 "$qemu" || true; wait "$qemu" || true; } 2>/dev/null
    qemu=
    exec {keys}>&- {control}>&- {events}>&-
    said | grep -E '^(ok|not ok|#) ' || true
    inside=$(said | grep -c '^ok ' || true)
    count "$inside" $((checks_wanted - inside))
    check "$1 with status $2 at the end ($(seconds))" ended "$how" "$1" "$2"
}

# For a halt nothing tells but the last line.
how_it_ended() {
    local event
    while in_time; do
        if read -r -t 0.1 event <&"$events"; then
            case $event in
            *'"SHUTDOWN"'*guest-shutdown*) echo poweroff && return ;;
            *'"SHUTDOWN"'*guest-reset*) echo restart && return ;;
            esac
        elif ! runs; then
            echo "a failure of qemu" && return
        elif [ "$1" = halt ] && said_line '^nsl-init: exit status '; then
            # Long enough for it to come to something else.
            sleep 0.5
            echo halt && return
        fi
    done
    echo "no end in $limit s"
}

ended() {
    local wanted="${teller:-nsl-init}: exit status $3" last
    last=$(said | tail -n 1)
    if said | grep -E 'Kernel panic|Oops|BUG:|internal error'; then return 1; fi
    [ "$1" = "$2" ] || { echo "got $1"; return 1; }
    # Behind another's the kernel has its own.
    [ -z "$teller" ] || last=$(said | grep -x "$wanted")
    [ "$last" = "$wanted" ] || { echo "the last line is '$last'"; return 1; }
    # As a line, and not as the rest of one.
    [ "$(tail -c 2 "$console" | tr -d '\r')" = "" ] || { echo "the last line has no end"; return 1; }
}

seconds() {
    local tenths=$(((${EPOCHREALTIME/./} - ${began/./}) / 100000))
    echo "$((tenths / 10)).$((tenths % 10)) s"
}
