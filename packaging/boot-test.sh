#!/bin/sh
# What a Pi goes through, done to the package in a booted Debian: install, hang, crash, power cut, upgrade, purge.
#
#   packaging/boot-test.sh DEB [NEWER_DEB]        -h tells the rest; README, "Tried in a booted system", what it needs
exec python3 -B "$(dirname "$0")/boot-test/main.py" "$@"
