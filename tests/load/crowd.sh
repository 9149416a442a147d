#!/usr/bin/env bash
# Many devices fetch one bundle at once, over mutual TLS 1.3, each on its own connection: what they get together beside what one
# alone gets, how alike they are served, and what memory the server needs. They are a hospital's: first it sets no limit, at
# last one on all of them together, by `suturectl transfer`.
#
#   tests/load/crowd.sh [--clients N] [--mib N] [--runs N] [--cap RATE] [--bin D] [--dir D] [--debug]
#
#   --bin D    uses the programs that are there, and builds none
#
# Exits 1 if together they get less than 0.9 of what one gets, if the slowest takes more than 1.25 of the fastest's time, if
# the server needs more than 64 MiB for its shared blocks and 2 MiB for each client besides what it needs for one, or if eight
# clients under the limit get more than it, or less than 0.95 of it.
set -euo pipefail
repo=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=deploy/ports.sh
. "$repo/deploy/ports.sh"
# shellcheck source=tests/load/stage.sh
. "$repo/tests/load/stage.sh"

# shellcheck disable=SC2034 # for stage.sh
clients=100 mib=256 runs=3 cap=1Gbit bin='' dir='' profile=release
while [ $# -gt 0 ]; do
    case "$1" in
    --clients) clients=$2; shift 2 ;;
    --mib) mib=$2; shift 2 ;;
    --runs) runs=$2; shift 2 ;;
    --cap) cap=$2; shift 2 ;;
    --bin) bin=$2; shift 2 ;;
    --dir) dir=$2; shift 2 ;;
    --debug) profile=debug; shift ;;
    *) echo "usage: $0 [--clients N] [--mib N] [--runs N] [--cap RATE] [--bin D] [--dir D] [--debug]" >&2; exit 64 ;;
    esac
done
stage_dir "$dir"
stage_suture pick

echo "== a hospital"
hospital() { "$bin/suturectl" --home "$dir/hospital" "$@"; }
hospital hdo join "$(ctl hdo invite riverside --name 'Riverside Hospital' 2>/dev/null)" --name kim --no-passphrase >/dev/null 2>&1

# peak: the most memory that the server has held since the last call, in MiB.
peak() {
    awk '/^VmHWM/ { printf "%d\n", $2 / 1024 }' "/proc/$suture_pid/status"
    echo 5 >"/proc/$suture_pid/clear_refs"
}

# crowd N FILE: N clients at once; appends "MB/s-together fastest-seconds slowest-seconds".
crowd() {
    "${ahead[@]}" "$bin/bulk-client" --home "$dir/hospital" --index "$index" --clients "$1" | sort -n -k 2 |
        awk -v bytes="$((mib << 20))" 'NR == 1 { fastest = $2 } { slowest = $2 }
            END { printf "%.1f %.3f %.3f\n", NR * bytes / slowest / 1e6, fastest, slowest }' >>"$dir/results/$2"
}

echo "== warming up, then $runs runs of each, by turns"
crowd 1 warm
crowd 1 warm
peak >/dev/null
one_peak=0 many_peak=0
for ((run = 0; run < runs; run++)); do
    # One alone is done at once: as many runs as make a second or so, that both have the same noise around them.
    for _ in 1 2 3 4 5; do crowd 1 one; done
    now=$(peak) && one_peak=$((now > one_peak ? now : one_peak))
    crowd "$clients" many
    now=$(peak) && many_peak=$((now > many_peak ? now : many_peak))
done

echo "== eight clients under a limit of $cap for the hospital"
limit=$(hospital transfer set --rate "$cap" --output json | "$bin/pick" /now/rate_bits_per_sec | awk '{ print $1 / 8e6 }')
crowd 8 capped

of() { median "$dir/results/$1" "$2"; }
over() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
share=$(over "$(of many 1)" "$(of one 1)")
spread=$(over "$(of many 3)" "$(of many 2)")
printf '\n%s MiB each, mutual TLS 1.3, loopback, %s cores; medians of %s runs, memory the most of all\n' "$mib" "$(nproc)" "$runs"
printf '%-14s %14s %7s %10s %10s %8s %16s\n' "" "MB/s together" "ratio" "fastest s" "slowest s" "ratio" "server, MiB"
printf '%-14s %14s %7s %10s %10s %8s %16s\n' "one client" "$(of one 1)" 1.00 "$(of one 2)" "$(of one 3)" 1.00 "$one_peak"
printf '%-14s %14s %7s %10s %10s %8s %16s\n' "$clients clients" "$(of many 1)" "$share" "$(of many 2)" "$(of many 3)" "$spread" "$many_peak"
printf '%-14s %14s %7s %10s %10s\n' "8 under $cap" "$(of capped 1)" "$(over "$(of capped 1)" "$(of one 1)")" "$(of capped 2)" "$(of capped 3)"

echo
target "throughput together, of one client's" "$share" at_least 0.9
target "slowest client's time, of the fastest's" "$spread" at_most 1.25
target "server's memory beside one client's, MiB" "$((many_peak - one_peak))" at_most "$((64 + 2 * clients))"
target "eight clients under the limit, of it" "$(over "$(of capped 1)" "$limit")" at_most 1.00
target "eight clients under the limit, of it" "$(over "$(of capped 1)" "$limit")" at_least 0.95
exit "$failed"
