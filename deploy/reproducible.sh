# Sourced by the scripts that build what is given to others: the same sources, compiler and C compiler make the same bytes, in
# whatever directory, by whoever. `tests/reproduce.sh` builds twice and compares.
# shellcheck shell=bash

# reproducible ROOT: sets the environment of a build of the sources in ROOT.
reproducible() {
    local root cargo target sysroot map
    root=$(cd "$1" && pwd)
    cargo=${CARGO_HOME:-$HOME/.cargo}
    target=${CARGO_TARGET_DIR:-$root/target}
    sysroot=$(rustc --print sysroot)
    # The time in a package's files: that of the last commit, or what whoever has only an archive of the sources says.
    if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
        SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct) || {
            echo "no commit here tells the time of the sources: set SOURCE_DATE_EPOCH to it, in Unix seconds" >&2
            return 66 # EX_NOINPUT
        }
    fi
    # Places where somebody builds are in messages of panics and in debug information. The more particular ones come last, for
    # the last that fits counts.
    CARGO_ENCODED_RUSTFLAGS=
    CFLAGS="${CFLAGS:-} -g0"
    for map in "$root=/suture" "$cargo=/cargo" "$target=/target" "$sysroot=/rust"; do
        CARGO_ENCODED_RUSTFLAGS+=${CARGO_ENCODED_RUSTFLAGS:+$'\x1f'}--remap-path-prefix=$map
        CFLAGS+=" -ffile-prefix-map=$map"
    done
    export SOURCE_DATE_EPOCH CARGO_ENCODED_RUSTFLAGS CFLAGS LC_ALL=C.UTF-8 TZ=UTC
    unset RUSTFLAGS
}
