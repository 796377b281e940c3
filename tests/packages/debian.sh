# A fresh Debian, in namespaces of its own. Sourced by run.sh, whose $cache the root is kept in: making it takes less
# than a minute, once.

debian_suite=bookworm
debian_left_out="/usr/share/locale/* /usr/share/i18n/* /usr/share/zoneinfo/*"

# Sets `debian`, an archive of the root.
fetch_debian() {
    local path options=()
    debian=$cache/debian-$debian_suite.tar
    [ -e "$debian" ] && return
    echo "packages: making a root of Debian $debian_suite"
    set -f
    for path in $debian_left_out; do options+=(--dpkgopt="path-exclude=$path"); done
    set +f
    mmdebstrap --quiet --variant=apt --include=bash-completion,mount "${options[@]}" \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr "$debian_suite" "$debian.new.tar" >"$cache/debian.log" 2>&1 || {
        tail -n 20 "$cache/debian.log" >&2
        echo "packages: a root of Debian cannot be made (hint: see $cache/debian.log)" >&2
        return 1
    }
    mv "$debian.new.tar" "$debian"
}

# The commands of docs/install.md that are marked so.
commands_of() { sed -n "/^\`\`\`sh $1\$/,/^\`\`\`\$/ { /^\`\`\`/! p }" docs/install.md; }

# Runs guest.sh there, which says what passed.
run_in_debian() {
    local guest=$work/guest name
    fetch_debian || return
    mkdir "$guest"
    cp "$tarball" "$deb" "$dist/SHA256SUMS" "$here/guest.sh" tests/vm/checks.sh "$guest/"
    for name in sums deb 'deb gone' tarball 'tarball gone'; do
        commands_of "$name" >"$guest/${name/ /-}"
        [ -s "$guest/${name/ /-}" ] || { echo "docs/install.md has no commands marked 'sh $name'"; return 1; }
    done
    unshare --mount --net --pid --ipc --uts --cgroup --propagation private --fork --kill-child -- \
        "$here/enter.sh" "$debian" "$guest" sh /guest/guest.sh </dev/null
}
