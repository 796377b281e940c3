# Debian's kernel for virtual machines, unpacked and not installed. Sourced by run.sh, whose $cache it is kept in.

# The package that linux-image-cloud-amd64 stands for today.
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
