# A disk for a virtual machine, and what is found on it afterwards. Sourced by run.sh.

disk=$work/disk
disk_options=(-drive "file=$disk,format=raw,if=none,id=disk" -device nvme,drive=disk,serial=disk)

# Made whole at once: else the guest's kernel goes on with it.
new_disk() {
    rm -f "$disk"
    truncate -s 16M "$disk"
    mke2fs -q -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 "$disk"
}

on_disk() { debugfs -R "cat $1" "$disk" 2>/dev/null; }

# Was it mounted, once, and unmounted again? While it is mounted its journal is marked.
is_in_order() {
    local found
    found=$(dumpe2fs -h "$disk" 2>/dev/null) || return 1
    grep -E '^Filesystem (state|features):|^Mount count:' <<<"$found"
    grep -q '^Mount count: *1$' <<<"$found" && grep -q '^Filesystem state: *clean$' <<<"$found" &&
        ! grep -q needs_recovery <<<"$found" && e2fsck -fn "$disk"
}
