#!/usr/bin/env bash
# Every property, with cases that nobody has tried: those of CI are always the same. Before a release, and after a change of
# what properties are about. The first argument says how often; each time is another seed. PROPTEST_CASES raises what a property
# tries that does not say it itself. What fails ends it and is shown with its seed.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-20}
case $rounds in
'' | *[!0-9]*)
    echo "tests/properties.sh: how often? \"$rounds\" is no number" >&2
    exit 2
    ;;
esac
# The modules in which a property stands.
properties=
while IFS= read -r file; do
    package=${file%%/*} module=${file#*/src/}
    module=${module%.rs} module=${module%/mod}
    properties+="${properties:+ | }package(suture-$package) & test(/^${module//\//::}::/)"
done < <(grep -rl --include='*.rs' 'proptest! {' ./*/src | sed 's,^\./,,' | sort)

cargo build --workspace --locked --lib --tests
for round in $(seq "$rounds"); do
    seed=$(od -An -N6 -tu8 /dev/urandom | tr -d ' ')
    echo "== round $round of $rounds: PROPTEST_RNG_SEED=$seed"
    PROPTEST_RNG_SEED=$seed cargo nextest run --workspace --locked --lib --no-fail-fast --hide-progress-bar --status-level fail --final-status-level none -E "$properties" || {
        echo "again: PROPTEST_RNG_SEED=$seed cargo nextest run --workspace --lib, with the test's name" >&2
        exit 1
    }
done
