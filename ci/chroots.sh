#!/usr/bin/env bash
# The shim built here, under the C libraries of other Debian releases: chroots made by debootstrap (root, network), C programs of the harness
# and the example in each. Arguments: releases, default bookworm trixie sid. CHROOTS=DIR keeps them (default target/chroots).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
chroots=${CHROOTS:-${CARGO_TARGET_DIR:-target}/chroots}
if [ "$(id -u)" != 0 ]; then echo "chroots: needs root"; exit 1; fi
if ! command -v debootstrap >/dev/null; then apt-get install -y -qq --no-install-recommends debootstrap debian-archive-keyring >/dev/null; fi
[ -n "${GCSHIM_LIB:-}" ] || cargo build --release --lib --quiet
library=${GCSHIM_LIB:-${CARGO_TARGET_DIR:-target}/release/libgcshim.so}
[ $# -gt 0 ] || set -- bookworm trixie sid
status=0
for release in "$@"; do
    place=$chroots/$release
    if [ ! -e "$place/.made" ]; then
        rm -rf "$place"
        mkdir -p "$place"
        debootstrap --variant=minbase --include=gcc,libc6-dev,python3,python3-dev "$release" "$place" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" \
            >"$chroots/$release.log" 2>&1 || { echo "$release: debootstrap failed, see $chroots/$release.log"; status=1; continue; }
        touch "$place/.made"
    fi
    rm -rf "$place/gcshim"
    mkdir -p "$place/gcshim"
    cp -r "$root/harness/programs" "$root/harness/example" "$place/gcshim"
    cp "$root/harness/chroot.sh" "$place/gcshim"
    cp "$library" "$place/gcshim/libgcshim.so"
    # Mounts of its own: nothing is left behind, whatever happens.
    if ! unshare --mount --pid --fork bash -c '
            mount --make-rprivate / && mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" &&
            exec chroot "$0" bash /gcshim/chroot.sh "$1"' "$place" "$release"; then
        status=1
    fi
done
exit $status
