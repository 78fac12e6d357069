#!/usr/bin/env bash
# On demand: perl's own core tests (t/ of its source), run by the installed perl with and without the shim: the same status and the same outcome of every test.
# The source comes by `apt-get source`, with a list of sources of its own (Debian, network). MODES="audit collect quarantine"  TESTS="op/hash.t ..."
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${GCSHIM_LIB:-}" ] || cargo build --release --lib --quiet
library=$(realpath "${GCSHIM_LIB:-${CARGO_TARGET_DIR:-target}/release/libgcshim.so}")
work=$PWD/harness/.work/perl-tests
mkdir -p "$work/parts" "$work/lists/partial"
version=$(dpkg-query -W -f '${Version}' perl)
number=$(perl -e 'printf "%vd", $^V')
if [ ! -e "$work/perl-$number/complete" ]; then
    for list in /etc/apt/sources.list.d/*.sources /etc/apt/sources.list; do
        [ -f "$list" ] && sed 's/^Types: deb$/Types: deb-src/; s/^deb /deb-src /' "$list" >"$work/parts/$(basename "$list")"
    done
    ours=(-qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/parts" -o "Dir::State::lists=$work/lists")
    apt-get "${ours[@]}" update >"$work/log" 2>&1 || true
    # That of the installed package, or the release's: the tests are the same.
    (cd "$work" && for wanted in "perl=$version" "perl/$(. /etc/os-release && echo "$VERSION_CODENAME")"; do
        apt-get "${ours[@]}" source --download-only "$wanted" >>"$work/log" 2>&1 && break
    done && tar xf "perl_$number.orig.tar.xz") || { cat "$work/log" >&2 && exit 2; }
    # The installed modules take the place of those that are only made when perl is built.
    (cd "$work/perl-$number" && rm -rf lib && mkdir lib && for from in /usr/share/perl/"$number" /usr/lib/*/perl/"$number" /usr/lib/*/perl-base; do cp -rn "$from"/. lib/; done
        ln -sf "$(command -v perl)" perl && ln -sf ../perl t/perl && touch complete)
fi
cd "$work/perl-$number/t"
read -ra tests <<<"${TESTS:-$(echo {base,cmd,comp,io,re,op,uni,mro,lib}/*.t)}"
# What a test file says: its status, and its lines of outcomes without the words behind their numbers, in which addresses and times stand.
outcome() {
    local file=$1 status=0
    shift
    timeout "${LIMIT:-120}" env "$@" ./perl "$file" </dev/null 2>/dev/null >"$work/out" || status=$?
    grep -aoE '^ *(not )?ok [0-9]+|^1\.\.[0-9]+' "$work/out" || true
    echo "status $status"
}
different=0 ran=0
for file in "${tests[@]}"; do
    plain=$(outcome "$file" -u LD_PRELOAD)
    for mode in ${MODES:-audit collect quarantine}; do
        ran=$((ran + 1))
        same=no
        # Some depend on time: what differs is tried once more, both sides.
        for _ in 1 2; do
            shim=$(outcome "$file" LD_PRELOAD="$library" GCSHIM_MODE="$mode")
            if [ "$plain" = "$shim" ]; then
                same=yes
                break
            fi
            plain=$(outcome "$file" -u LD_PRELOAD)
        done
        if [ $same = no ]; then
            different=$((different + 1))
            echo "$file $mode: differs"
            diff <(echo "$plain") <(echo "$shim") | head -5 || true
        fi
    done
done
echo "perl's tests: ${#tests[@]} files, $ran runs, $different different"
[ $different = 0 ]
