#!/bin/sh
# Runs as root in a fresh Debian that has nothing but what `apt` needs, mount and bash-completion. The packages are in /guest,
# with the commands that docs/install.md tells a reader.

. /guest/checks.sh
said=/run/checks/said
mkdir /run/checks
export DEBIAN_FRONTEND=noninteractive

sudo() { "$@"; }
# told FILE: runs the commands of a document.
told() {
    cd /guest
    set -eu
    . "./$1"
}
# Every file there is, but what dpkg and apt note of themselves.
list() {
    find / -xdev -path /run/checks -prune -o \
        ! -path '/var/lib/dpkg/*-old' ! -path /var/log/dpkg.log ! -path '/var/log/apt/*' ! -path '/var/cache/apt/*' \
        ! -path '/var/lib/apt/*' -printf '%y %m %u:%g %p %l\n' | sort
}
same_as_before() {
    list >/run/checks/after
    diff /run/checks/before /run/checks/after
}
# A tarball does not know which directories were there before.
no_file_is_left() {
    list >/run/checks/after
    diff /run/checks/before /run/checks/after | sed -n '/^[<>]/ { /^> d 755 root:root / d; p }' >/run/checks/files
    cat /run/checks/files
    [ ! -s /run/checks/files ]
    rm /run/checks/files
    is "$(find /usr/local -name '*nsl*')" ""
}
user() { setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs -- "$@"; }

works() {
    is "$(nsl --version)" "$(nsl-init --version | sed 's/^nsl-init/nsl/')"
    nsl check
    nsl run --network none -- true
    status 7 nsl run -- sh -c 'exit 7'
    status 3 nsl-init sh -c 'exit 3'
}
works_for_others() {
    is "$(user nsl run --network none -- id -u)" 1000
}
# completes LINE WORD: bash, which loads a command's completions when it first wants them, offers WORD.
completes() {
    bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader nsl
        COMP_WORDS=(nsl "$1"); COMP_CWORD=1; COMP_LINE="nsl $1" COMP_POINT=$((4 + ${#1}))
        $(complete -p nsl | sed "s/.*-F \([^ ]*\).*/\1/") nsl "$1" nsl; printf "%s\n" "${COMPREPLY[@]}"' bash "$1" | grep -x "$2"
}
completions_are_found() { completes insp inspect; }
debs_files_are_right() {
    dpkg --verify nsl
    zcat /usr/share/man/man1/nsl-run.1.gz | grep '^\.TH NSL-RUN 1 '
    [ -s /usr/share/doc/nsl/copyright ]
    [ -s /usr/share/zsh/vendor-completions/_nsl ]
    [ -s /usr/share/fish/vendor_completions.d/nsl.fish ]
    is "$(dpkg-query --show --showformat '${Conffiles}' nsl)" ""
}
tarballs_files_are_right() {
    is "$(command -v nsl)" /usr/local/bin/nsl
    grep '^\.TH NSL-RUN 1 ' /usr/local/share/man/man1/nsl-run.1
    is "$(find /usr/local ! -user root -o ! -group root)" ""
}
sums_are_checked() { told sums; }
deb_installs() { told deb; }
deb_installs_again() { dpkg --install /guest/nsl_*.deb; }
deb_goes() { told deb-gone; }
tarball_installs() {
    stat --format=%a /usr/local /usr/local/bin /usr/local/share >/run/checks/modes
    told tarball
    is "$(stat --format=%a /usr/local /usr/local/bin /usr/local/share)" "$(cat /run/checks/modes)"
    rm /run/checks/modes
}
tarball_goes() { told tarball-gone; }

list >/run/checks/before
check "the sums that the document tells are checked" sums_are_checked
check "the Debian package installs as the document tells" deb_installs
check "nsl and nsl-init of the package work" works
check "nsl of the package works for others than root" works_for_others
check "its files are in their places" debs_files_are_right
check "bash finds its completions" completions_are_found
check "it installs over itself" deb_installs_again
check "it goes as the document tells" deb_goes
check "nothing is left of it" same_as_before
check "the tarball unpacks as the document tells" tarball_installs
check "nsl and nsl-init of the tarball work" works
check "the tarball's files are in their places" tarballs_files_are_right
check "bash finds the tarball's completions" completions_are_found
check "it goes as the document tells" tarball_goes
check "no file is left of it" no_file_is_left
summary
[ "$failed" = 0 ]
