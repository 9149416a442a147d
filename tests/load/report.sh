#!/usr/bin/env bash
# Every measurement, each beside its peer, and PERFORMANCE.md written from what they print.
#
#   tests/load/report.sh [--only NAME[,NAME]] [--pairs PAIR[,PAIR]] [--write]
#
#   --only    these alone, the others from when they were last measured: bulk crowd pairs link plan rollout exposure small
#   --pairs   of the pairs these alone: a takes most of the time
#   --write   measures nothing, and writes the page from what is there
#
# What each has printed is kept in target/performance, with its command, day and commit; the page says them. Once built, all but
# the pairs take about ten minutes on two cores; pair a takes far longer, since bsdiff is slow. On a machine that does something
# else meanwhile, trust ratios and no seconds.
#
# Exits 1 where a measurement misses what is asked of it, 2 where one could not be made; the page names both.
set -euo pipefail
repo=$(cd "$(dirname "$0")/../.." && pwd)
cd "$repo"

all=(bulk crowd pairs link plan rollout exposure small)
only=("${all[@]}") pairs='' usage="usage: $0 [--only NAME[,NAME]] [--pairs PAIR[,PAIR]] [--write]; names: ${all[*]}"
while [ $# -gt 0 ]; do
    case "$1" in
    --only) IFS=, read -r -a only <<<"${2:?$usage}"; shift 2 ;;
    --pairs) pairs=${2:?$usage}; shift 2 ;;
    --write) only=(); shift ;;
    *) echo "$usage" >&2; exit 64 ;;
    esac
done
for name in "${only[@]}"; do
    [[ " ${all[*]} " == *" $name "* ]] || { echo "$name: no measurement; $usage" >&2; exit 64; }
done

kept=${CARGO_TARGET_DIR:-$repo/target}/performance
mkdir -p "$kept"

# The heading of a measurement, and how it is made.
title() {
    case "$1" in
    bulk) echo "One client, as fast as it goes: beside nginx and curl" ;;
    crowd) echo "A hundred clients at once: beside one" ;;
    pairs) echo "Old to new: bytes on the line, beside bsdiff, casync, rsync, zstd and xdelta3" ;;
    link) echo "A thin line that keeps breaking: beside what the line could carry" ;;
    plan) echo "Planning for 1,000 to 100,000 devices" ;;
    rollout) echo "A step of a rollout in fleets of 1,000 to 100,000 devices" ;;
    exposure) echo "Who is exposed, among 100,000 devices and 200 SBOMs of 1,000 components" ;;
    small) echo "What the agent takes of a device" ;;
    esac
}
command_of() {
    case "$1" in
    plan) echo "cargo run --release --locked --quiet -p suture-core --example plan" ;;
    pairs) echo "tests/load/pairs.sh${pairs:+ --only $pairs}" ;;
    *) echo "tests/load/$1.sh" ;;
    esac
}

for name in "${only[@]}"; do
    echo "=== $name: $(command_of "$name")"
    status=0
    read -r -a words <<<"$(command_of "$name")"
    "${words[@]}" | tee "$kept/$name.partial" || status=$?
    [ "$status" -lt 128 ] || exit "$status"
    commit=$(git rev-parse --short=12 HEAD)
    [ -z "$(git status --porcelain --untracked-files=no -- . ':!PERFORMANCE.md')" ] || commit="$commit, with changes that are not committed"
    {
        echo "$status"
        command_of "$name"
        date -u +%Y-%m-%d
        echo "$commit"
        # The figures stand behind the last step.
        awk '/^== / { text = ""; next } { text = text $0 "\n" } END { printf "%s", text }' "$kept/$name.partial" |
            sed -e '/./,$!d' -e 's/[[:space:]]*$//'
    } >"$kept/$name.txt"
    rm -f "$kept/$name.partial"
done

# The machine, in the words that somebody with another one needs.
machine() {
    local model memory
    model=$(awk -F ': *' '/^model name/ { print $2; exit }' /proc/cpuinfo)
    memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)
    echo "${model:-$(uname -m)}, $(nproc) of its cores, $memory of memory, Linux $(uname -r | cut -d - -f 1), $(rustc --version | cut -d ' ' -f 1-2);"
    echo "scratch files on $(stat -f -c %T "${TMPDIR:-/tmp}")."
}

missed=() unmade=()
{
    cat <<'MD'
# Performance

Written by `tests/load/report.sh`, which makes every measurement and this page; nothing here is written by hand. Each
measurement is a command of its own that exits 1 where it misses what is asked of it. Where there is a peer it is measured by the
same command; how often, and what was kept of an earlier run, stands with each. The others compare sizes of a fleet, or hold limits.
Machines are noisy: the ratios carry over to another one, the seconds do not.

MD
    machine
    for name in "${all[@]}"; do
        printf '\n## %s\n\n' "$(title "$name")"
        if [ ! -s "$kept/$name.txt" ]; then
            unmade+=("$name")
            printf 'Not measured. `%s`\n' "$(command_of "$name")"
            continue
        fi
        { read -r status; read -r made; read -r day; read -r commit; } <"$kept/$name.txt"
        case "$status" in
        0) verdict="All that is asked of it is met." ;;
        1) verdict="**It misses what is asked of it.**" missed+=("$name") ;;
        *) verdict="**It could not be measured whole.**" unmade+=("$name") ;;
        esac
        [ -n "$(tail -n +5 "$kept/$name.txt")" ] || { verdict="**It could not be measured.**" unmade+=("$name"); }
        printf '`%s`, %s, at %s. %s\n\n```text\n' "$made" "$day" "$commit" "$verdict"
        tail -n +5 "$kept/$name.txt"
        printf '```\n'
    done
} >PERFORMANCE.md.partial
mv PERFORMANCE.md.partial PERFORMANCE.md
echo "=== PERFORMANCE.md is written"
[ "${#unmade[@]}" -eq 0 ] || { echo "not measured: ${unmade[*]}" >&2; exit 2; }
[ "${#missed[@]}" -eq 0 ] || { echo "misses what is asked of it: ${missed[*]}" >&2; exit 1; }
