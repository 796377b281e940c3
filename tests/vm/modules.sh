# The modules that nsl has the kernel load, and what these need; `depmod` of the busybox that goes along finds that.
# Sourced by run.sh.

nsl_modules="overlay veth nf_tables nft_chain_nat nft_ct nft_fib_inet nft_masq nft_nat nft_objref nft_redir nft_reject_inet"

# copy_modules: into the machine that is being made; the kernel finds them by /sbin/modprobe.
copy_modules() {
    local version source target name line files=""
    version=$(basename "$kernel"/lib/modules/*)
    source=$kernel/lib/modules/$version
    target=$root/lib/modules/$version
    [ -e "$source/modules.dep" ] || busybox depmod -b "$kernel" "$version" || fail "cannot list the modules of $kernel"
    mkdir -p "$target"
    for name in $nsl_modules; do
        # "path: path path"
        line=$(grep "^[^:]*/$name\.ko[^:]*:" "$source/modules.dep") || fail "the kernel has no module $name"
        files+=" ${line/:/}"
    done
    # shellcheck disable=SC2086 # no path of a module has a space
    (cd "$source" && printf '%s\n' $files | sort -u | xargs cp --parents -t "$target")
    cp "$source"/modules.{order,builtin} "$target"
    busybox depmod -b "$root" "$version"
    # Where the kernel looks for it.
    ln -s ../bin/busybox "$root/sbin/modprobe"
}
