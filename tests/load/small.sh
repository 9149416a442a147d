#!/usr/bin/env bash
# What the agent takes of a device: the program's size, its memory at rest and while it fetches a large payload, and how
# often it wakes up at rest. The release build, and the agent as it runs on a device: enrolled, confirmed, polling and
# watched.
#
#   tests/load/small.sh [--mib N] [--secs N] [--bin D] [--dir D] [--debug]
#
#   --mib N    the payload's size; 4096 otherwise
#   --secs N   how long the agent is watched at rest; 60 otherwise
#   --bin D    measures the programs that are there, and builds none; the agent's is to be built by itself
#
# Memory is the kernel's count of resident pages, the program's own among them: VmRSS at rest, the highest (VmHWM) while it
# fetches, from the first byte until the payload is staged and hashed again. A wake-up is a voluntary context switch of any
# of its threads: each is a wait that ended. At rest is measured twice, before the fetch and after it.
#
# Exits 1 where the program has more than 12 MiB, where memory is above 16 MiB at rest or 48 MiB while it fetches, or where
# it wakes up more than once a second at rest.
set -euo pipefail
repo=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=deploy/ports.sh
. "$repo/deploy/ports.sh"
# shellcheck source=tests/load/stage.sh
. "$repo/tests/load/stage.sh"

# shellcheck disable=SC2034 # for stage.sh
mib=4096 secs=60 bin='' dir='' profile=release
while [ $# -gt 0 ]; do
    case "$1" in
    --mib) mib=$2; shift 2 ;;
    --secs) secs=$2; shift 2 ;;
    --bin) bin=$2; shift 2 ;;
    --dir) dir=$2; shift 2 ;;
    --debug) profile=debug; shift ;;
    *) echo "usage: $0 [--mib N] [--secs N] [--bin D] [--dir D] [--debug]" >&2; exit 64 ;;
    esac
done
stage_dir "$dir"
if [ -z "$bin" ]; then
    stage_programs "suture-server suture-ctl suture-tests" "suture-server suturectl pick"
    # By itself, as its package is built: beside the server, cargo gives it the server's features of what both use.
    stage_programs suture-agent suture-agent
fi

hdo() { "$bin/suturectl" --home "$dir/hospital" "$@"; }
agent() { "$bin/suture-agent" --config "$dir/agent.toml" "$@"; }
status_of() { agent status --output json | "$bin/pick" "$1"; }
is_at() { [ "$(status_of /phase)" = "$1" ]; }

# bundle RELEASE PAYLOAD
bundle() {
    cat >"$dir/$1.toml" <<TOML
product = "pump"
version = "1.$1.0"
release = $1
hardware = ["rev-a"]
class = "routine"

[install]
kind = "slots"
budget_secs = 60
revert_budget_secs = 60

[[payload]]
name = "image"
format = "image"
path = "$2"
TOML
    {
        ctl bundle build "$dir/$1.toml" -o "$dir/bundle-$1" --level 3
        ctl bundle sign "$dir/bundle-$1"
        ctl bundle publish "$dir/bundle-$1"
    } >>"$dir/bundle.log" 2>&1
}

echo "== server, hospital, and one device that runs 1.1.0"
stage_server --check-in-secs 60
echo "from the factory" >"$dir/factory"
bundle 1 "$dir/factory"
ctl hdo invite riverside --name Riverside >"$dir/riverside.token" 2>>"$dir/hdo.log"
{
    hdo hdo join --token-file "$dir/riverside.token" --name kim --no-passphrase
    printf 'id,product,hardware,ward\npump-1,pump,rev-a,icu\n' >"$dir/devices.csv"
    hdo device import --csv "$dir/devices.csv"
} >>"$dir/hdo.log" 2>&1
hdo device token pump-1 >"$dir/device.token" 2>>"$dir/hdo.log"
# What deploy/agent.toml says, but for the device's own programs; and it asks five times as often.
cat >"$dir/agent.toml" <<TOML
state_dir = "$dir/state"
slots_dir = "$dir/slots"
product = "pump"
hardware = "rev-a"

[restart]
command = ["/bin/true"]
timeout_secs = 60

[health]
command = ["/bin/true"]
successes = 3
interval_ms = 1000
deadline_secs = 60

[interlock]
command = ["/bin/true"]
timeout_secs = 10

[poll]
interval_secs = 60

[face]
socket = "$dir/agent.sock"
TOML
{
    agent provision --manifest "$dir/bundle-1/manifest.json" --payload "image=$dir/factory"
    agent enroll --token-file "$dir/device.token" --id pump-1
    hdo device confirm pump-1 --fingerprint "$(status_of /fingerprint)" --list "$dir/devices.csv"
} >>"$dir/hdo.log" 2>&1

# The environment that the unit gives it, and its watchdog (5 minutes), without a service manager that listens.
mapfile -t environment < <(sed -n 's/^Environment=//p' "$repo/deploy/suture-agent.service")
"${ahead[@]}" env "${environment[@]}" WATCHDOG_USEC=300000000 "$bin/suture-agent" --config "$dir/agent.toml" run >"$dir/agent.log" 2>&1 &
agent_pid=$!
pids+=("$agent_pid")
confirmed() { [ "$(status_of /live/confirmed)" = true ]; }
until_true "the agent to be confirmed" confirmed

# of_status FIELD: what the kernel says of the agent, in KiB.
of_status() { awk -v field="$1:" '$1 == field { print $2 }' "/proc/$agent_pid/status"; }
in_mib() { awk -v kib="$1" 'BEGIN { printf "%.1f", kib / 1024 }'; }
# wake_ups: so far, of all threads.
wake_ups() { awk '$1 == "voluntary_ctxt_switches:" { sum += $2 } END { print sum }' "/proc/$agent_pid"/task/*/status; }

# rest: prints the highest of some looks at its memory, in MiB, and its wake-ups a second.
rest() {
    local before after most=0 now tick
    # What it has just done is over, and what it freed is given back.
    sleep 15
    before=$(wake_ups)
    for ((tick = 0; tick < secs; tick++)); do
        sleep 1
        now=$(of_status VmRSS)
        [ "$now" -le "$most" ] || most=$now
    done
    after=$(wake_ups)
    awk -v kib="$most" -v wakes="$((after - before))" -v secs="$secs" 'BEGIN { printf "%.1f %.2f\n", kib / 1024, wakes / secs }'
}

echo "== at rest, for $secs s"
read -r memory_before wakes_before < <(rest)

echo "== $mib MiB, no two alike, that compress to an eighth: built and published"
# Each bit of a cipher's key stream as a character.
openssl enc -aes-128-ctr -nosalt -K 000102030405060708090a0b0c0d0e0f -iv 0 -in /dev/zero 2>/dev/null |
    perl -e 'for (1 .. $ARGV[0]) { read(STDIN, my $bits, 128 << 10) == 128 << 10 or die; print unpack("b*", $bits) }' "$mib" \
        >"$dir/payload.bin" || [ "$(stat -c %s "$dir/payload.bin")" -eq "$((mib << 20))" ]
bundle 2 "$dir/payload.bin"
{
    # Far away: it is fetched and staged, and waits.
    hdo calendar set icu --zone UTC --once "$(date -u -d '+6 hours' +%Y-%m-%dT%H:%M:%S) 4h"
    hdo rollout plan --bundle pump@2 --ward icu --wave rest --cap 1 -o "$dir/plan.json"
    hdo rollout approve "$dir/plan.json" --reason "measured"
} >>"$dir/hdo.log" 2>&1

echo "== fetching them"
# The highest so far is forgotten.
echo 5 >"/proc/$agent_pid/clear_refs"
begun=$SECONDS
until is_at waiting; do
    kill -0 "$agent_pid"
    [ $((SECONDS - begun)) -lt 3600 ] || { echo "the payload is not staged after an hour" >&2; exit 2; }
    sleep 2
done
fetching=$(in_mib "$(of_status VmHWM)")
took=$((SECONDS - begun))
cmp "$dir/payload.bin" "$dir"/slots/b/image
came=$(status_of /live/bytes_from_server)

echo "== at rest again, for $secs s"
read -r memory_after wakes_after < <(rest)

size=$(awk -v bytes="$(stat -c %s "$bin/suture-agent")" 'BEGIN { printf "%.1f", bytes / 1048576 }')
printf '\n%s MiB fetched and staged in %s s, of which %s bytes came from the server\n' "$mib" "$took" "$came"
[ "$profile" = release ] || echo "A debug build: its figures say nothing of the release build's."
echo
target "suture-agent, stripped, MiB" "$size" at_most 12
target "memory at rest, MiB" "$memory_before" at_most 16
target "memory at rest once a payload was fetched, MiB" "$memory_after" at_most 16
target "memory while it fetches $mib MiB, highest, MiB" "$fetching" at_most 48
target "wake-ups a second at rest" "$wakes_before" at_most 1
target "wake-ups a second at rest, with a staged version" "$wakes_after" at_most 1
exit "$failed"
