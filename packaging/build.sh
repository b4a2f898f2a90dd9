#!/usr/bin/env bash
# Builds what an operator installs: Debian packages, and static tarballs for any Linux.
#
#     packaging/build.sh [--quick] [amd64|arm64|armhf|armv6]...
#
# Everything lands in target/packages/. --quick leaves out lintian and the smoke test. One C compiler, zig's,
# serves every architecture; it and its wrapper for cargo come from PyPI into a folder of this script's own.
# REVISION=2 makes a newer package of one version.
set -euo pipefail
shopt -s inherit_errexit nullglob
cd "$(dirname "$0")/.."

GLIBC=2.31 # the oldest that the Debian packages run with: Debian 11's
ZIGLANG=0.17.1
ZIGBUILD=0.24.1

OUT=$PWD/target/packages
TOOLS=$PWD/target/packaging-tools
STAGE=$(mktemp -d)
trap 'rm -rf "$STAGE"' EXIT

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

step() { printf '\n== %s\n' "$*"; }

quick=
architectures=()
for argument; do
    case $argument in
    --quick) quick=yes ;;
    amd64 | arm64 | armhf | armv6) architectures+=("$argument") ;;
    *) fail "unknown argument $argument; usage: packaging/build.sh [--quick] [amd64|arm64|armhf|armv6]..." ;;
    esac
done
[ ${#architectures[@]} -gt 0 ] || architectures=(amd64 arm64 armhf armv6)

### What it needs

missing=()
need() { # command or file, Debian package
    command -v "$1" >/dev/null || [ -e "$1" ] || missing+=("$2")
}
need dpkg-deb dpkg
need dpkg-parsechangelog dpkg-dev
need readelf binutils
need python3 python3
[ -e "$TOOLS/complete" ] || python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ -z "$quick" ]; then
    need lintian lintian
    need curl curl
    need openssl openssl
    for architecture in "${architectures[@]}"; do
        case $architecture in
        arm64) need qemu-aarch64-static qemu-user-static; need /usr/aarch64-linux-gnu/lib/libc.so.6 libc6-arm64-cross ;;
        armhf) need qemu-arm-static qemu-user-static; need /usr/arm-linux-gnueabihf/lib/libc.so.6 libc6-armhf-cross ;;
        armv6) need qemu-arm-static qemu-user-static ;;
        esac
    done
fi
if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] || fail "needs these packages: ${missing[*]}"
    step "install ${missing[*]}"
    install=(apt-get install -y --no-install-recommends "${missing[@]}")
    "${install[@]}" >/dev/null 2>&1 || { apt-get update >/dev/null && "${install[@]}" >/dev/null; }
fi
command -v rustup >/dev/null || fail "needs rustup, which has the standard library of other architectures"
if [ ! -e "$TOOLS/complete" ]; then
    step "install ziglang and cargo-zigbuild"
    rm -rf "$TOOLS"
    python3 -m venv "$TOOLS"
    "$TOOLS/bin/pip" install --quiet "ziglang==$ZIGLANG" "cargo-zigbuild==$ZIGBUILD"
    touch "$TOOLS/complete"
fi
CARGO_ZIGBUILD_ZIG_PATH=$("$TOOLS/bin/python" -c 'import os, ziglang; print(os.path.dirname(ziglang.__file__) + "/zig")')
export CARGO_ZIGBUILD_ZIG_PATH

### Nothing of this machine or of today is in what it makes

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
# Where the sources of this machine lie is not in the program; those of the standard library, if they are installed,
# are where they are if they aren't.
RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$PWD=/notify-api"
RUSTFLAGS+=" --remap-path-prefix=$(rustc --print sysroot)/lib/rustlib/src/rust"
RUSTFLAGS+="=/rustc/$(rustc -vV | sed -n 's/^commit-hash: //p')"
export RUSTFLAGS
umask 022

UPSTREAM=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
CHANGES=packaging/debian/changelog
VERSION=$UPSTREAM${REVISION:++$REVISION}
[ "$(dpkg-parsechangelog -l $CHANGES -S Version)" = "$UPSTREAM" ] ||
    fail "$CHANGES doesn't begin with version $UPSTREAM"
UNITS=(packaging/*.service packaging/*.socket packaging/*.timer)
UNITS=("${UNITS[@]#packaging/}")

zigbuild() { # target, as zig names it; others for cargo
    step "compile for $1" >&2
    "$TOOLS/bin/cargo-zigbuild" zigbuild --release --locked --bin notify-api --target "$@" >&2
    echo "target/${1%.2.*}/release/notify-api"
}

compile() { # target, glibc version for zig
    rustup target list --installed | grep -x "$1" >/dev/null || rustup target add "$1" >&2
    zigbuild "$1${2:+.$2}"
}

# For a processor that rustup has no standard library for, or not everywhere: from its source. That is a feature of
# nightly compilers, which a stable one has, too, if it is told that it is building itself.
compile_all() { # target
    rustup component add rust-src >&2
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="$RUSTFLAGS -Clink-self-contained=no" zigbuild "$1" -Zbuild-std=std,panic_unwind
}

compressed() { # file, target path
    gzip -9n <"$1" >"$2"
    chmod 644 "$2"
}

### Debian package

deb() { # architecture, binary
    local root=$STAGE/deb-$1 file
    local doc=$root/usr/share/doc/notify-api
    step "package for $1"
    # Whatever isn't libc would need a dependency.
    ! readelf -d "$2" | grep NEEDED | grep -vE '\[(libc|libm|libdl|libpthread|librt|ld-linux[^]]*)\.so\.[0-9]\]' ||
        fail "$2 needs more than libc"
    local libc
    libc=$(readelf -V "$2" | grep -o 'GLIBC_[0-9.]*' | sed s/GLIBC_// | sort -Vu | tail -1)

    install -D -m 755 "$2" "$root/usr/bin/notify-api"
    install -D -m 644 packaging/notify-api.env "$root/usr/share/notify-api/notify-api.env"
    install -d "$root/usr/lib/systemd/system"
    for file in "${UNITS[@]}"; do
        sed 's|/usr/local/bin/notify-api|/usr/bin/notify-api|g' "packaging/$file" >"$root/usr/lib/systemd/system/$file"
    done
    install -D -m 644 packaging/notify-api.bash "$root/usr/share/bash-completion/completions/notify-api"
    install -d "$doc" "$root/usr/share/man/man8" "$root/DEBIAN"
    compressed packaging/notify-api.8 "$root/usr/share/man/man8/notify-api.8.gz"
    sed "1s/(.*)/($VERSION)/" $CHANGES >"$STAGE/changelog"
    compressed "$STAGE/changelog" "$doc/changelog.gz"
    compressed README.md "$doc/README.md.gz"
    compressed "$STAGE/third-party" "$doc/THIRD-PARTY.gz"
    install -m 644 packaging/debian/copyright "$doc/copyright"

    local scripts=(postinst prerm postrm)
    [ "$1" != armhf ] || scripts+=(preinst)
    for file in "${scripts[@]}"; do
        sed "s/@UNITS@/${UNITS[*]}/" "packaging/debian/$file" >"$root/DEBIAN/$file"
        chmod 755 "$root/DEBIAN/$file"
    done
    sed -e "s/@VERSION@/$VERSION/; s/@ARCHITECTURE@/$1/; s/@LIBC@/$libc/" \
        -e "s/@SIZE@/$(du -k -s --apparent-size --exclude=DEBIAN "$root" | cut -f1)/" \
        packaging/debian/control >"$root/DEBIAN/control"
    (cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
    chmod 644 "$root"/DEBIAN/{control,md5sums}
    # xz, since the dpkg of Debian 11 knows nothing newer.
    dpkg-deb --root-owner-group -Zxz --build "$root" "$OUT/notify-api_${VERSION}_$1.deb"
}

### Tarball

tarball() { # architecture, binary
    local name=notify-api-$UPSTREAM-linux-$1 file
    local root=$STAGE/$name
    step "tarball for $1"
    ! readelf -d "$2" | grep -q NEEDED || fail "$2 isn't static"
    install -D -m 755 "$2" "$root/notify-api"
    install -m 755 packaging/tarball/install.sh packaging/tarball/uninstall.sh "$root"
    install -m 644 LICENSE README.md packaging/notify-api.env packaging/notify-api.8 packaging/notify-api.bash "$root"
    install -m 644 "$STAGE/third-party" "$root/THIRD-PARTY"
    for file in "${UNITS[@]}"; do
        install -m 644 "packaging/$file" "$root"
    done
    tar -C "$STAGE" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -c "$name" |
        gzip -9n >"$OUT/$name.tar.gz"
}

mkdir -p "$OUT"
checked() { # command: what --quick leaves out
    [ -n "$quick" ] || "$@"
}

both() { # architecture, target of its package, target of its tarball if it has one
    local binary
    binary=$(compile "$2" "$GLIBC")
    deb "$1" "$binary"
    checked lintian --fail-on error,warning "$OUT/notify-api_${VERSION}_$1.deb"
    checked packaging/smoke.sh "$binary"
    [ -n "${3-}" ] || return 0
    binary=$(compile "$3")
    tarball "$1" "$binary"
    checked packaging/smoke.sh "$binary"
}

mkdir -p "$OUT"
packaging/third-party.py >"$STAGE/third-party"
for architecture in "${architectures[@]}"; do
    case $architecture in
    amd64) both amd64 x86_64-unknown-linux-gnu x86_64-unknown-linux-musl ;;
    arm64) both arm64 aarch64-unknown-linux-gnu aarch64-unknown-linux-musl ;;
    armhf) both armhf armv7-unknown-linux-gnueabihf ;;
    armv6) # No Debian runs on it, but Raspberry Pi OS, whose armhf it is, does.
        binary=$(compile_all arm-unknown-linux-musleabihf)
        tarball armv6 "$binary"
        checked packaging/smoke.sh "$binary"
        ;;
    esac
done

step "done"
ls -l "$OUT"
