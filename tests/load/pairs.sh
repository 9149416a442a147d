#!/usr/bin/env bash
# Old to new: how many bytes have to travel, and what making and applying them costs, on four real pairs; Suture against bsdiff,
# casync, rsync -z, zstd and xdelta3 in the same run. Every figure after a round trip that was compared byte for byte.
#
#   a  a Debian root file system, a dozen large packages upgraded      c  a kernel and its modules, two ABI versions, unpacked
#   b  the packages of a Python application                            d  one large executable
#
#   tests/load/pairs.sh [DIR] [--only PAIR[,PAIR]] [--peers PEER[,PEER]|none] [--runs N] [--again] [--delta PROGRAM] [--output json] [--debug]
#
# DIR (default: target/pairs; 6 GB) keeps pairs and results: what is there already is not made or measured again, and the table says
# so; --again measures all anew. Debian's archive drops versions, so the pairs are of the oldest and the newest that it has on the
# day; `sources.tsv` of each says which. Most peers run long and large: bsdiff takes nine times the old version in memory.
#
# Exits 1 if a limit is missed. What Suture does not have yet is "not measured".
set -euo pipefail
# A step that fails in $(…) fails here too.
shopt -s inherit_errexit
repo=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=deploy/packages.sh
. "$repo/deploy/packages.sh"
# shellcheck source=tests/load/pairs/make.sh
. "$repo/tests/load/pairs/make.sh"
# shellcheck source=tests/load/pairs/peers.sh
. "$repo/tests/load/pairs/peers.sh"

usage() {
    echo "usage: $0 [DIR] [--only PAIR[,PAIR]] [--peers PEER[,PEER]|none] [--runs N] [--again] [--delta PROGRAM] [--output json] [--debug]" >&2
    echo "pairs: a b c d; peers: ${peers_all[*]}" >&2
    exit 64
}
dir='' pairs=(a b c d) peers=("${peers_all[@]}") runs=1 again='' delta='' output=text profile=release
while [ $# -gt 0 ]; do
    case "$1" in
    --only) IFS=, read -ra pairs <<<"${2:-}"; shift 2 ;;
    --peers) IFS=, read -ra peers <<<"${2:-}"; shift 2 ;;
    --runs) runs=${2:-}; shift 2 ;;
    --again) again=1; shift ;;
    --delta) delta=${2:-}; shift 2 ;;
    --output) output=${2:-}; shift 2 ;;
    --debug) profile=debug; shift ;;
    -*) usage ;;
    *) [ -z "$dir" ] || usage; dir=$1; shift ;;
    esac
done
[ "${peers[*]}" != none ] || peers=()
for name in "${pairs[@]}"; do [[ "$name" =~ ^[abcd]$ ]] || usage; done
for name in "${peers[@]}"; do [[ " ${peers_all[*]} " == *" $name "* ]] || usage; done
[[ "$runs" =~ ^[1-9][0-9]*$ ]] || usage
[[ "$output" =~ ^(text|json)$ ]] || usage
[ -z "$delta" ] || [ -x "$delta" ] || { echo "--delta $delta: no such program" >&2; exit 64; }

# Standard output is for the table.
exec 3>&1 1>&2
need cc=build-essential make=build-essential time=time bsdiff=bsdiff casync=casync rsync=rsync zstd=zstd xdelta3=xdelta3 xz=xz-utils lz4=lz4 jq=jq
time_program=$(type -P time)
target=${CARGO_TARGET_DIR:-$repo/target}
dir=${dir:-$target/pairs}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
exec 9>"$dir/lock"
flock -n 9 || { echo "another run uses $dir" >&2; exit 1; }

echo "== building"
flags=(--locked)
[ "$profile" = debug ] || flags+=(--release)
(cd "$repo" && cargo build "${flags[@]}" -p suture-tests --bin pair-chunks)
bin=$target/$profile
if [ -z "$delta" ] && [ -e "$repo/core/examples/delta.rs" ]; then
    (cd "$repo" && cargo build "${flags[@]}" -p suture-core --example delta)
    delta=$bin/examples/delta
fi

work=$dir/work
trap 'rm -rf "$work" "$work.runs"' EXIT
trap 'exit 130' INT TERM
: >"$dir/report.partial"
for pair in "${pairs[@]}"; do
    make_pair "$pair"
    pair_dir=$dir/$pair
    old=$pair_dir/old.tar new=$pair_dir/new.tar old_payload=$pair_dir/old.payload new_payload=$pair_dir/new.payload
    [ -s "$pair_dir/digests" ] || sha256sum "$old" "$new" "$old_payload" "$new_payload" | cut -d ' ' -f 1 >"$pair_dir/digests.partial"
    [ -s "$pair_dir/digests" ] || mv "$pair_dir/digests.partial" "$pair_dir/digests"
    mapfile -t digests <"$pair_dir/digests"
    peer_key="${digests[0]} ${digests[1]}" payload_key="${digests[2]} ${digests[3]}"
    for name in "${peers[@]}" "${ours_all[@]}"; do measure "$name"; done
    # Of what lies there: this pair's, and what was asked for.
    for name in "${peers[@]}" "${ours_all[@]}"; do
        [ ! -e "$pair_dir/results/$name.json" ] || jq -c --arg pair "$pair" --arg method "$name" \
            '{ pair: $pair, method: $method, result: del(.key) }' "$pair_dir/results/$name.json"
    done >>"$dir/report.partial"
    jq -nc --arg pair "$pair" --arg old "$(stat -c %s "$old")" --arg new "$(stat -c %s "$new")" --arg sha256 "$peer_key" \
        --rawfile sources "$pair_dir/sources.tsv" '{ pair: $pair, old: ($old | tonumber), new: ($new | tonumber),
            sha256: ($sha256 | split(" ")),
            sources: ($sources | split("\n") | .[1:] | map(select(. != "") | split("\t")
                | { side: .[0], file: .[1], bytes: (.[2] | tonumber), sha256: .[3] })) }' >>"$dir/report.partial"
done

jq -s -f "$repo/tests/load/pairs/report.jq" "$dir/report.partial" >"$dir/report.json"
rm -f "$dir/report.partial"
if [ "$output" = json ]; then
    cat "$dir/report.json" >&3
else
    jq -r -f "$repo/tests/load/pairs/table.jq" "$dir/report.json" >&3
fi
jq -e '[.limits[] | select(.verdict == "MISS")] | length == 0' "$dir/report.json" >/dev/null
