# A Debian root with systemd, for virtual machines. Sourced by run.sh, whose $cache it is kept in: making it takes less
# than a minute, once.

debian_suite=bookworm
debian_packages=usr-is-merged,systemd,systemd-sysv,iproute2,nftables,kmod,procps
# What nobody reads there.
debian_left_out="/usr/share/doc/* /usr/share/man/* /usr/share/locale/* /usr/share/i18n/* /usr/share/zoneinfo/* \
    /usr/lib/udev/hwdb.d/* /usr/lib/x86_64-linux-gnu/gconv/*"

# Sets `debian`, an archive of the root.
fetch_debian() {
    local path options=()
    debian=$cache/debian-$debian_suite.tar
    [ -e "$debian" ] && return
    echo "vm: making a root of Debian $debian_suite"
    set -f
    for path in $debian_left_out; do options+=(--dpkgopt="path-exclude=$path"); done
    set +f
    mmdebstrap --quiet --variant=essential --include="$debian_packages" "${options[@]}" \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --customize-hook='rm -rf "$1"/var/lib/apt "$1"/var/lib/dpkg/info "$1"/var/cache/* "$1"/usr/share/perl*' \
        "$debian_suite" "$debian.new.tar" >"$cache/debian.log" 2>&1 || {
        tail -n 20 "$cache/debian.log" >&2
        fail "a root of Debian cannot be made (hint: see $cache/debian.log)"
    }
    mv "$debian.new.tar" "$debian"
}
