#!/usr/bin/env bash
# Builds programs and packages twice, in two directories, and compares the bytes. For maintainers, before a release: it costs two
# whole builds.
#   tests/reproduce.sh                     the three packages, with all four programs
#   tests/reproduce.sh CRATE...            the programs of these crates alone: suture-agent
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/reproducible.sh
. deploy/reproducible.sh

[ -z "$(git status --porcelain)" ] || {
    echo "what is not committed is not built: commit it first" >&2
    exit 66
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset CARGO_TARGET_DIR RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CFLAGS
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

# Names of other lengths, for a path that is cut or padded.
for place in "$scratch/one" "$scratch/somewhere-else/two"; do
    mkdir -p "$place"
    git archive HEAD | tar -x -C "$place"
    (
        cd "$place"
        if [ $# -eq 0 ]; then
            deploy/package.sh -o packages
        else
            reproducible .
            for crate in "$@"; do
                cargo build --quiet --release --locked -p "$crate" --bins
            done
        fi
        sha256sum packages/*.deb target/release/{suture-server,suture-agent,suture-boot,suturectl} 2>/dev/null >sums || true
    )
done
cat "$scratch/one/sums"
[ -s "$scratch/one/sums" ]
if ! diff "$scratch/one/sums" "$scratch/somewhere-else/two/sums"; then
    echo "two builds of the same sources differ" >&2
    exit 1
fi
echo "both builds are the same, byte for byte"
