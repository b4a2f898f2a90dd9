#!/bin/sh
# Removes what install.sh has installed; as root:
#
#     ./uninstall.sh            configuration and data stay
#     ./uninstall.sh --purge    they are removed, too
set -eu
cd "$(dirname "$0")"

case "${1-}" in
"") purge= ;;
--purge) purge=yes ;;
*)
    echo "uninstall.sh: takes --purge or nothing" >&2
    exit 1
    ;;
esac
[ "$(id -u)" = 0 ] || {
    echo "uninstall.sh: run it as root" >&2
    exit 1
}

# Its sockets and timers first: they would start it again.
for unit in *.socket *.timer *.service; do
    [ -e "/etc/systemd/system/$unit" ] || continue
    if [ -d /run/systemd/system ]; then
        systemctl disable --now "$unit"
    else
        systemctl disable "$unit"
    fi
    rm -f "/etc/systemd/system/$unit"
done
[ ! -d /run/systemd/system ] || systemctl daemon-reload

rm -f /usr/local/bin/notify-api /usr/local/share/man/man8/notify-api.8
rm -f /usr/local/share/bash-completion/completions/notify-api

if [ -n "$purge" ]; then
    # The state directory of a user that exists only while the service runs is a link to the private one.
    for state in notify-api notify-api-backups; do
        rm -rf "/var/lib/$state" "/var/lib/private/$state"
    done
    rm -rf /etc/notify-api
    rm -f /var/lib/systemd/timers/stamp-notify-api-backup.timer
else
    echo "Configuration (/etc/notify-api) and data (/var/lib/notify-api) stay; --purge removes them."
fi
