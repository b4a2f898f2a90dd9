#!/bin/sh
# Installs notify-api from this folder, or the version here over an older one; as root:
#
#     ./install.sh
#
# The program goes to /usr/local/bin. With systemd the service is enabled and started, or restarted; without, nothing
# is started. Configuration and data that are there stay.
set -eu
cd "$(dirname "$0")"

[ "$(id -u)" = 0 ] || {
    echo "install.sh: run it as root" >&2
    exit 1
}
./notify-api --version >/dev/null || {
    echo "install.sh: this program isn't for this machine, which is a $(uname -m)" >&2
    exit 1
}
[ ! -e /usr/bin/notify-api ] || {
    echo "install.sh: /usr/bin/notify-api is there, from a package: remove that first" >&2
    exit 1
}

replace() { # mode, file, target: in one step, also while it is in use
    mkdir -p "$(dirname "$3")"
    install -m "$1" "$2" "$3.new"
    mv -f "$3.new" "$3"
}

replace 755 notify-api /usr/local/bin/notify-api
replace 644 notify-api.8 /usr/local/share/man/man8/notify-api.8
replace 644 notify-api.bash /usr/local/share/bash-completion/completions/notify-api

mkdir -p /etc/notify-api
[ -e /etc/notify-api/credentials ] || install -d -m 700 /etc/notify-api/credentials
[ -e /etc/notify-api/notify-api.env ] || install -m 600 notify-api.env /etc/notify-api/notify-api.env

if ! command -v systemctl >/dev/null; then
    echo "There is no systemd here. Let your init system start this, as a user of its own that may write to a folder"
    echo "for the database:"
    echo
    echo "    NOTIFY_DSN=/var/lib/notify-api/notify.db /usr/local/bin/notify-api"
    exit 0
fi

new=yes
[ ! -e /etc/systemd/system/notify-api.service ] || new=
for unit in *.service *.socket *.timer; do
    [ ! -e "$unit" ] || replace 644 "$unit" "/etc/systemd/system/$unit"
done

if [ ! -d /run/systemd/system ]; then
    # An image that is being built.
    [ -z "$new" ] || systemctl enable notify-api.service
    echo "systemd isn't running: notify-api starts at the next boot"
    exit 0
fi
systemctl daemon-reload
if [ -n "$new" ]; then
    systemctl enable --now notify-api.service || true
elif systemctl --quiet is-active notify-api.service; then
    systemctl restart notify-api.service || true
fi
for unit in *.timer; do
    [ ! -e "$unit" ] || systemctl try-restart "$unit"
done
if systemctl --quiet is-active notify-api.service; then
    echo "notify-api runs; its configuration is /etc/notify-api/notify-api.env"
else
    echo "notify-api is installed, but isn't running: see systemctl status notify-api" >&2
fi
