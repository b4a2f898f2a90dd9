#!/usr/bin/env bash
# Makes WORK/root.ext4, WORK/vmlinuz and WORK/initrd.img: a small Debian that boots in a virtual machine, with the
# guest agent of QEMU as its remote control. Kept for the next run until this file changes.
#
#   root.sh WORK
set -euo pipefail

work=$1
recipe=$(sha256sum "$0" | cut -d ' ' -f 1)
[ "$(cat "$work/root.recipe" 2>/dev/null)" = "$recipe" ] && exit

[ "$(id -u)" = 0 ] || { echo "making the machine's disk takes root" >&2; exit 1; }
echo "== the machine's disk (kept for the next run)"
# On the same disk as the result, and gone whatever happens.
root=$(mktemp -d "$work/root.XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT

# A list of modules makes an initramfs of 6 MB instead of 40, which software emulation takes long to unpack.
# shellcheck disable=SC2016 # $1 is for the shell of the hook.
modules='mkdir -p "$1/etc/initramfs-tools/conf.d"
    echo MODULES=list > "$1/etc/initramfs-tools/conf.d/boot-test"
    printf "%s\n" virtio_pci virtio_blk ext4 > "$1/etc/initramfs-tools/modules"'
# DynamicUser wants libnss-systemd: without it the service's user has no name.
mmdebstrap --quiet --variant=minbase --essential-hook="$modules" \
    --include=systemd-sysv,udev,dbus,libnss-systemd,e2fsprogs,iproute2,procps,curl,sqlite3,linux-image-cloud-amd64,qemu-guest-agent \
    bookworm "$root"

echo boot-test > "$root/etc/hostname"
echo '127.0.0.1 localhost boot-test' > "$root/etc/hosts"
echo '/dev/vda / ext4 defaults 0 1' > "$root/etc/fstab"
mkdir -p "$root/var/log/journal"
cat > "$root/etc/systemd/network/10-wire.network" <<'END'
[Match]
Type=ether
[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
END
# The service listens on loopback: this is the way in for clients outside of the machine.
cat > "$root/etc/systemd/system/door.socket" <<'END'
[Socket]
ListenStream=10.0.2.15:18080
FreeBind=yes
[Install]
WantedBy=sockets.target
END
cat > "$root/etc/systemd/system/door.service" <<'END'
[Unit]
Requires=door.socket
[Service]
LogLevelMax=alert
ExecStart=/lib/systemd/systemd-socket-proxyd 127.0.0.1:8080
END
# The agent notes each command that it gets, several times.
mkdir "$root/etc/systemd/system/qemu-guest-agent.service.d"
printf '[Service]\nLogLevelMax=warning\n' > "$root/etc/systemd/system/qemu-guest-agent.service.d/quiet.conf"
chroot "$root" systemctl --quiet enable systemd-networkd.service door.socket
# Nothing of its own accord: what writes to the disk is the service and the journal.
chroot "$root" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer fstrim.timer systemd-tmpfiles-clean.timer

rm -f "$work/root.recipe"
cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
cp "$root"/boot/initrd.img-* "$work/initrd.img"
rm -f "$work/root.ext4"
truncate -s 2G "$work/root.ext4"
mkfs.ext4 -q -d "$root" "$work/root.ext4"
echo "$recipe" > "$work/root.recipe"
