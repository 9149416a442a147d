#!/usr/bin/env bash
# What a package's programs are linked with, under which licences, and these licences' texts: most of them ask for that.
#   deploy/notices.sh CRATE [TARGET]
set -euo pipefail
cd "$(dirname "$0")/.."

crate=$1
target=${2:-$(rustc -vV | sed -n 's/^host: //p')}
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
declare -A known
texts=$(mktemp -d)
trap 'rm -rf "$texts"' EXIT

echo "Linked into these programs, statically:"
echo
# Name, version and licence of each crate but our own, once. Procedural macros and build scripts are not linked.
crates=$(cargo tree --locked --offline -p "$crate" --target "$target" -e normal,no-proc-macro --prefix none --no-dedupe -f '{p}|{l}' |
    sed -n 's/^\([^ ]*\) v\([^ |]*\)\( ([^)]*)\)\{0,1\}|\(.*\)$/\1 \2 \4/p' | grep -v '^suture-' | sort -u)
while read -r name version licence; do
    echo "$name $version: $licence"
    found=
    for file in "$registry"/*/"$name-$version"/{LICEN[CS]E,COPYING,COPYRIGHT,NOTICE,UNLICENSE}*; do
        [ -f "$file" ] || continue
        found=yes
        sum=$(sha256sum <"$file" | cut -c 1-64)
        [ -n "${known[$sum]:-}" ] || cp "$file" "$texts/$sum"
        known[$sum]+="$name $version, "
    done
    # Some leave the text to the name of the licence.
    [ -n "$found" ] || echo "  it comes without a text of its own"
done <<<"$crates"
for sum in $(printf '%s\n' "${!known[@]}" | sort); do
    printf '\n%s\n\n' "--- ${known[$sum]%, }"
    cat "$texts/$sum"
done
