#!/usr/bin/env bash
# Installs what the build, the example and the tests need on Debian, or names it. Says nothing when all is there.
set -euo pipefail

missing=()
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
command -v python3 >/dev/null || missing+=(python3)
have_headers() { # does this interpreter come with Python.h?
    "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' 2>/dev/null
}
if command -v python3 >/dev/null && ! have_headers python3; then missing+=(python3-dev); fi
if [ "${1:-}" = --tests ]; then
    command -v c++ >/dev/null || missing+=(g++)
    if [ -x /usr/bin/python3 ] && ! have_headers /usr/bin/python3; then missing+=(python3-dev); fi
    if [ -x /usr/bin/python3 ] && ! /usr/bin/python3 -c 'import ensurepip' 2>/dev/null; then missing+=(python3-venv); fi
    if [ -x /usr/bin/python3 ] && ! /usr/bin/python3 -c 'import test.support' 2>/dev/null; then missing+=(libpython3-testsuite); fi
fi
if ! command -v cargo >/dev/null; then
    echo "needed: Rust 1.88 or later with cargo, from your distribution or rustup" >&2
    exit 1
fi
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq >/dev/null || true
        # One by one: a package that this release does not have must not keep the others out.
        for package in "${missing[@]}"; do
            apt-get install -y -qq --no-install-recommends "$package" >/dev/null || echo "could not be installed: $package" >&2
        done
    else
        echo "needed: ${missing[*]} (as root: apt-get install ${missing[*]})" >&2
        exit 1
    fi
fi
