#!/bin/bash
# run.sh NSL NSL_INIT CACHE: boots Debian's kernel in a virtual machine with nothing but busybox and these two
# programs, and has guest.sh check there what this machine's kernel may not show: cgroup2 alone, modules that are
# loaded when needed, an nsl-init that is PID 1 of a machine. The kernel's package is kept in CACHE, and is not
# installed.
set -euo pipefail

nsl=$1
init=$2
mkdir -p "$3"
cache=$(cd "$3" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
# What the slowest machine needs several times over.
limit=400
memory=512

fail() {
    echo "vm: $*" >&2
    exit 1
}

# The package of the kernel that linux-image-cloud-amd64 stands for today.
kernel_package() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p'
}

# Downloads and unpacks it, unless that is done; sets `kernel`, the folder.
fetch_kernel() {
    local package
    package=$(kernel_package)
    if [ -z "$package" ]; then
        # Without the lists of the package servers, what is here already will do.
        kernel=$(ls -d "$cache"/linux-image-*/ 2>/dev/null | sort -V | tail -n 1)
        [ -n "$kernel" ] && return
        update_lists
        package=$(kernel_package)
        [ -n "$package" ] || fail "no package linux-image-cloud-amd64 is to be had (hint: this needs a Debian for amd64)"
    fi
    kernel=$cache/$package
    [ -d "$kernel" ] && return
    echo "vm: downloading $package"
    local folder
    folder=$(mktemp -d "$cache/download.XXXXXX")
    (cd "$folder" && apt-get download -q "$package") || { update_lists && (cd "$folder" && apt-get download -q "$package"); }
    dpkg-deb --extract "$folder"/*.deb "$folder/unpacked"
    rm -f "$folder"/*.deb
    mv "$folder/unpacked" "$kernel"
    rmdir "$folder"
}

update_lists() {
    if [ "$(id -u)" = 0 ]; then
        apt-get update -q
    else
        sudo apt-get update -q
    fi
}

# The modules that nsl has the kernel load, and what these need; `depmod` of the busybox that goes along finds that.
copy_modules() {
    local root=$1 version=$2 source=$kernel/lib/modules/$2 target=$1/lib/modules/$2
    [ -e "$source/modules.dep" ] || busybox depmod -b "$kernel" "$version" || fail "cannot list the modules of $kernel"
    mkdir -p "$target"
    local name line files=""
    for name in overlay veth nf_tables nft_masq nft_chain_nat; do
        # "path: path path"
        line=$(grep "^[^:]*/$name\.ko[^:]*:" "$source/modules.dep") || fail "the kernel has no module $name"
        files+=" ${line/:/}"
    done
    # shellcheck disable=SC2086 # no path of a module has a space
    (cd "$source" && printf '%s\n' $files | sort -u | xargs cp --parents -t "$target")
    cp "$source"/modules.{order,builtin} "$target"
    busybox depmod -b "$root" "$version"
}

make_initramfs() {
    local root=$work/root version
    version=$(basename "$kernel"/lib/modules/*)
    mkdir -p "$root"/{bin,sbin,usr,etc,home/user/folder,lib}
    install -m 755 "$(command -v busybox)" "$root/bin/busybox"
    install -m 755 "$nsl" "$root/bin/nsl"
    install -m 755 "$init" "$root/bin/nsl-init"
    install -m 755 "$here/init.sh" "$root/init"
    install -m 755 "$here/guest.sh" "$root/guest.sh"
    ln -s busybox "$root/bin/sh"
    # Where the kernel looks for it.
    ln -s ../bin/busybox "$root/sbin/modprobe"
    printf 'root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\ntty:x:5:\nuser:x:1000:\n' >"$root/etc/group"
    printf 'nameserver 192.0.2.53\n' >"$root/etc/resolv.conf"
    echo own >"$root/home/user/own"
    touch "$root/home/user/folder/file"
    copy_modules "$root" "$version"
    (cd "$root" && find . | cpio --quiet --create --format=newc --owner=0:0 >"$work/initramfs")
}

work=$(mktemp -d "$cache/run.XXXXXX")
trap 'rm -rf "$work"' EXIT
fetch_kernel
make_initramfs
console=$cache/console.log
began=$SECONDS
result=0
timeout --kill-after=10 "$limit" qemu-system-x86_64 -accel tcg -cpu max -m "$memory" -display none -monitor none -serial stdio -no-reboot -nic none \
    -kernel "$kernel"/boot/vmlinuz-* -initrd "$work/initramfs" -append "console=ttyS0 loglevel=4 panic=-1" \
    </dev/null >"$console" 2>&1 || result=$?
took=$((SECONDS - began))

wanted=$(grep -c '^check ' "$here/guest.sh")
# A line of the console ends with CR LF, and may begin with what the firmware left there.
passed=$(tr -d '\r' <"$console" | grep -c '^ok ' || true)
if [ "$result" = 124 ] || [ "$result" = 137 ]; then
    reason="it was not done after $limit s"
elif [ "$result" != 0 ]; then
    reason="qemu failed with $result"
elif ! grep -q '^vm: end' "$console"; then
    reason="it went off before the end"
elif [ "$passed" != "$wanted" ]; then
    reason="$passed of $wanted checks passed"
else
    tr -d '\r' <"$console" | grep -E '^(ok|# )'
    echo "vm: $passed passed, 0 failed"
    echo "# in $took s on $(basename "$kernel")"
    exit 0
fi
echo "vm: the console:"
tr -d '\r' <"$console"
echo "vm: $passed passed, $((wanted - passed)) failed"
fail "$reason (the console is kept in $console)"
