# nsl itself, on a kernel that this machine's may differ from: cgroup2 alone, modules that are loaded when needed, an
# nsl-init that another init has become. sandboxes/guest.sh does the checks, from a root that sandboxes/init.sh makes.

# The modules that nsl has the kernel load, and what these need; `depmod` of the busybox that goes along finds that.
copy_modules() {
    local version source target name line files=""
    version=$(basename "$kernel"/lib/modules/*)
    source=$kernel/lib/modules/$version
    target=$root/lib/modules/$version
    [ -e "$source/modules.dep" ] || busybox depmod -b "$kernel" "$version" || fail "cannot list the modules of $kernel"
    mkdir -p "$target"
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

new_machine
mkdir -p "$root"/{sbin,usr,lib} "$root/home/user/folder"
put /init <"$here/sandboxes/init.sh"
put /guest/guest.sh <"$here/sandboxes/guest.sh"
put /bin/nsl <"$nsl"
put /bin/nsl-init <"$init"
# Where the kernel looks for it.
ln -s ../bin/busybox "$root/sbin/modprobe"
put /etc/passwd 644 <<<$'root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh'
put /etc/group 644 <<<$'root:x:0:\ntty:x:5:\nuser:x:1000:'
put /etc/resolv.conf 644 <<<'nameserver 192.0.2.53'
put /home/user/own 644 <<<own
put /home/user/folder/file 644 </dev/null
copy_modules
limit=400 memory=512
new_disk
start "" "${disk_options[@]}"
ends poweroff 0
limit=90 memory=192
