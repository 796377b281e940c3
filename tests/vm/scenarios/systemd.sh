# nsl under a real systemd, as services of it: systemd/guest.sh does the checks, as a service itself.

fetch_debian
new_machine
mkdir -p "$root/sbin"
copy_modules
put /init <"$here/systemd/init.sh"
put /guest/guest.sh <"$here/systemd/guest.sh"
put /guest/guest.service 644 <"$here/systemd/guest.service"
put /guest/nsl <"$nsl"
put /guest/nsl-init <"$init"
cp "$debian" "$root/guest/root.tar"
limit=300 memory=1024 teller=guest
start "systemd.show_status=0 systemd.log_level=warning quiet"
ends poweroff 0
limit=90 memory=192 teller=
