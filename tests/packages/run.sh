#!/bin/bash
# run.sh DIST CACHE: tests `make install`, and the packages in DIST: what is in them, that they are made the same twice,
# and that a fresh Debian, which is kept in CACHE, is the same before and after them. Changes nothing on this machine.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2"
dist=$(realpath "$1")
cache=$(realpath "$2")
cd "$here/../.." || exit 1
. tests/vm/checks.sh
umask 022
work=$(mktemp -d "$cache/run.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
said=$work/said
target=$(realpath "${CARGO_TARGET_DIR:-target}")
version=$(launcher/packaging/version)
tarball=$dist/nsl-$version-$(uname -m).tar.gz
deb=$(echo "$dist/nsl_$(tr - '~' <<<"$version")"-*_"$(dpkg --print-architecture)".deb)

# What root has, for whom one installs: no cargo, no rustc.
bare() { env --ignore-environment PATH=/usr/sbin:/usr/bin:/sbin:/bin CARGO_TARGET_DIR="$target" "$@"; }
files() { (cd "$1" && find . ! -type d -printf '%m %P\n' | LC_ALL=C sort -k 2); }
# What is below a prefix, whose pages are those that `make pages` made.
below() {
    local page document
    echo "755 $1/bin/nsl"
    echo "755 $1/bin/nsl-init"
    for page in "$target"/pages/man/*; do echo "644 $1/share/man/man1/${page##*/}"; done
    for document in CHANGELOG.md LICENSE-APACHE LICENSE-MIT NOTICES README.md docs/*; do
        echo "644 $1/share/doc/nsl/$document"
    done
    echo "644 $1/share/bash-completion/completions/nsl"
    echo "644 $1/share/fish/vendor_completions.d/nsl.fish"
    echo "644 $1/share/zsh/site-functions/_nsl"
}

installs_without_cargo() {
    # A umask that would keep others out.
    (umask 077 && bare make install DESTDIR="$work/root")
    is "$(files "$work/root")" "$(below usr/local | LC_ALL=C sort -k 2)"
    is "$(find "$work/root/usr" -type d ! -perm 755)" ""
    "$work/root/usr/local/bin/nsl" init --output - | cmp - "$work/root/usr/local/bin/nsl-init"
}
uninstalls_what_it_installed() {
    local other=$work/root/usr/local/share/doc/other
    touch "$other"
    bare make uninstall DESTDIR="$work/root"
    is "$(find "$work/root" ! -type d)" "$other"
    is "$(find "$work/root" -path '*nsl*')" ""
}
takes_other_directories() {
    bare make install DESTDIR="$work/other" PREFIX=/opt/nsl bindir=/usr/bin mandir=/man
    is "$(files "$work/other" | grep -c ' man/man1/nsl.*\.1$')" "$(find "$target"/pages/man -type f | wc -l)"
    [ -x "$work/other/usr/bin/nsl" ]
    [ -s "$work/other/opt/nsl/share/doc/nsl/README.md" ]
}
installs_nothing_that_is_not_built() {
    mkdir "$work/empty"
    status 2 bare make install CARGO_TARGET_DIR="$work/empty" DESTDIR="$work/nothing" 2>"$work/told"
    grep 'install: nsl is not built in .*/empty (hint: make build pages, as yourself)' "$work/told"
    [ ! -e "$work/nothing" ]
}
installs_nothing_that_is_old() {
    local release
    release=$(uname -m)-unknown-linux-gnu/release
    mkdir -p "$work/old/$release"
    cp "$target/$release"/nsl{,.d} "$work/old/$release/"
    ln -s "$target/$release/build" "$work/old/$release/"
    ln -s "$target/pages" "$work/old/"
    bare make install CARGO_TARGET_DIR="$work/old" DESTDIR="$work/new"
    touch --date=@0 "$work/old/$release/nsl"
    status 2 bare make install CARGO_TARGET_DIR="$work/old" DESTDIR="$work/nothing" 2>"$work/told"
    grep 'install: nsl is older than /.* (hint: make build pages, as yourself)' "$work/told"
    [ ! -e "$work/nothing" ]
}
sums_are_right() { (cd "$dist" && sha256sum --check --strict SHA256SUMS && is "$(wc -l <SHA256SUMS)" "$(ls | grep -cv SUMS)"); }
tarball_has_what_is_installed() {
    local name=nsl-$version-$(uname -m)
    is "$(tar -tzf "$tarball" | sort)" "$(below "$name" | cut -d ' ' -f 2 | sort)"
    is "$(tar -tvzf "$tarball" --numeric-owner | grep -cv '^-rw.r-.r-. 0/0 ')" 0
}
# By somebody else, elsewhere, later.
are_made_the_same_twice() {
    (umask 077 && TZ=Asia/Tokyo LC_ALL=C.UTF-8 launcher/packaging/dist "$work/again" && launcher/packaging/deb "$work/again")
    cmp "$tarball" "$work/again/${tarball##*/}"
    cmp "$deb" "$work/again/${deb##*/}"
}
lintian_has_no_objection() {
    is "$(lintian --allow-root --fail-on error,warning "$deb")" ""
}
control_data_is_right() {
    is "$(dpkg-deb --field "$deb" Depends)" ""
    is "$(dpkg-deb --field "$deb" Recommends)" "passt, uidmap"
    is "$(dpkg-deb --ctrl-tarfile "$deb" | tar -t | sort | xargs)" "./ ./control ./md5sums"
    is "$(dpkg-deb --fsys-tarfile "$deb" | tar -tv | grep -cv '^[d-]rwxr-xr-x root/root \|^-rw-r--r-- root/root ')" 0
}

. "$here/debian.sh"
check "make install needs no cargo, and no umask hides what it puts there" installs_without_cargo
check "make uninstall leaves what others put there" uninstalls_what_it_installed
check "directories are those that one names" takes_other_directories
check "what is not built is told, and not built as root" installs_nothing_that_is_not_built
check "what is older than its sources is told" installs_nothing_that_is_old
check "SHA256SUMS has the packages, each with its sum" sums_are_right
check "the tarball has what make install puts below a prefix" tarball_has_what_is_installed
check "the same files give the same packages" are_made_the_same_twice
check "lintian has no objection to the Debian package" lintian_has_no_objection
check "the Debian package needs nothing, and runs nothing when installed" control_data_is_right
summary
if [ "$(id -u)" = 0 ] || [ -n "${NSL_TESTS_MUST_RUN:-}" ]; then
    echo "# in a fresh Debian"
    run_in_debian || failed=$((failed + 1))
else
    echo "# not tried in a fresh Debian, which only root can"
fi
[ "$failed" = 0 ]
