#!/usr/bin/env bash
# The whole story on one machine: a manufacturer, a hospital, one server and three infusion pumps, with real bytes.
#
#   deploy/quickstart.sh [--keep] [--dir D] [--debug]
#
#   --keep     leave everything running, and print the commands to play on
#   --dir D    use this directory, which must be empty or missing; otherwise a temporary one, removed at the end, and the
#              evidence is left where the script was called
#   --debug    the debug build: quicker to build, slower to run
#
# Needs a Rust toolchain, a C compiler and make. Exits 0 only if every device ends as the last table says.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=deploy/packages.sh
. "$repo/deploy/packages.sh"
# shellcheck source=deploy/ports.sh
. "$repo/deploy/ports.sh"
# shellcheck source=deploy/stage.sh
. "$repo/deploy/stage.sh"
# shellcheck source=deploy/papers.sh
. "$repo/deploy/papers.sh"

keep=no dir='' profile=release
while [ $# -gt 0 ]; do
    case "$1" in
    --keep) keep=yes; shift ;;
    --dir) dir=${2:?--dir needs a directory}; shift 2 ;;
    --debug) profile=debug; shift ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
    esac
done

need cc=build-essential make=build-essential
say "building the programs ($profile)"
build_programs
open_stage "$dir"
trap close_stage EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
SECONDS=0

# --- the manufacturer ---------------------------------------------------------------------------------------------------

say "server: init, then run on https://localhost:$port (SQLite and a directory)"
run suture-server init --data-dir "$dir/server" --listen "127.0.0.1:$port" --address "https://localhost:$port" \
    --trust-domain acme.example --check-in-secs 1 --operator ada
# No deltas: what the cut costs is counted in chunks, and whether a delta would be there by then is a matter of this machine.
start server suture-server run --config "$dir/server/server.toml" --delta-sources 0
until_true "the server to accept connections" listens "$port"

say "manufacturer: ada joins with the one-time token and begins the signed catalog"
run mdm join --token-file "$dir/server/operator.token" --name ada
run mdm catalog init

say "manufacturer: taking a real file tree from this machine"
make_trees
say "manufacturer: it has $(megabytes "$dir/trees/large") MB; building, signing and publishing pump 1.0.0 and 1.1.0"
publish 1 1.0.0 small
publish 2 1.1.0 large
same_again 2 1.1.0 large
say "manufacturer: what 1.1.0 changes, by the bills of material and the statements that travel with both. suturectl bundle diff:"
differences pump@1 pump@2
start_proxy "$(($(stored_bytes 1.1.0) / 2))"

# --- the hospital -------------------------------------------------------------------------------------------------------

say "manufacturer invites Riverside hospital; kim joins and begins the hospital's own signed approvals"
answer mdm hdo invite riverside --name "Riverside Hospital" >"$dir/riverside.token"
run hdo hdo join --token-file "$dir/riverside.token" --name kim
same "catalog root as ada and kim see it" "$(root_of mdm)" "$(root_of hdo)"

say "hospital: imports three pumps of the ward icu from its asset list"
{
    echo "id,serial,udi,product,hardware,ward"
    for pump in "${pumps[@]}"; do
        echo "$pump,SN-${pump#pump-},(01)09506000134352(21)SN-${pump#pump-},pump,rev-a,icu"
    done
} >"$dir/devices.csv"
run hdo device import --csv "$dir/devices.csv"

for pump in "${pumps[@]}"; do
    make_device "$pump"
    run agent "$pump" provision --manifest "$dir/bundles/1.0.0/manifest.json" \
        --payload "app=$dir/trees/app-1.0.0" --payload "library=$dir/trees/small"
    run "$dir/devices/$pump/restart"
    answer hdo device token "$pump" >"$dir/devices/$pump/token"
    run agent "$pump" enroll --token-file "$dir/devices/$pump/token" --id "$pump"
    start_agent "$pump"
done
say "devices: three pumps run 1.0.0 from the factory, have enrolled and are pending"

for pump in "${pumps[@]}"; do
    shown=$(fingerprint_at_device "$pump")
    run hdo device confirm "$pump" --fingerprint "$shown" --list "$dir/devices.csv"
done
say "hospital: compared the fingerprints shown at the devices and confirmed all three"
for pump in "${pumps[@]}"; do
    until_true "$pump to say that it runs 1.0.0" said_version "$pump" 1.0.0
done

say "hospital: which pumps are exposed to ACME-2026-0001, and what ends it? suturectl exposure:"
exposed_to ACME-2026-0001

# --- 1.1.0: a suggestion, a cut transfer, an opening, two waves with a soak and a signature between them ----------------

say "manufacturer: suggests 1.1.0 to the hospital, one pump first, watched for 2 seconds; nothing of that is authority"
run mdm rollout propose pump@2 --hdo riverside --note "a louder alarm" --wave 1 --wave rest:signed --soak 2s
opening_in 30 300
say "hospital: an opening for the ward begins $opening UTC; takes the suggestion into a plan of its own, and approves"
# One slot each: a wave begins when the slots of the one before have ended, whatever the server says.
# The second wave begins only once the hospital has signed it open, whatever the server says, too.
approve_suggested "move to 1.1.0" --slots 1 --slack 10s
rollout_110=$approval
say "signed by: $(signers "$rollout_110")"
say "why does nothing happen yet? suturectl rollout why:"
why "$rollout_110"

say "transfer: $first downloads through the hospital's proxy, which cuts the line half-way"
until_true "the proxy to cut the line" test -s "$dir/proxy/cut"
until_true "$first to have counted" has_begun "$first"
before=$(status_of "$first" /live/bytes_from_server)
stop_agent "$first"
say "transfer: the line is cut and the agent killed (SIGKILL), $((before / 1000)) kB of chunks on its disk"
touch "$dir/proxy/mend"
start_agent "$first"
until_true "$first to have staged 1.1.0" staged "$first"
proof_of_resumption "$first" "$before"

until_true "$first to run 1.1.0, confirmed" settled "$first" 1.1.0 confirmed
until_true "the rollout to wait for a signature" rollout_waits "$rollout_110"
say "gates: $first runs 1.1.0 and has been watched; the next wave waits for the hospital's signature. suturectl rollout why:"
why "$rollout_110"
run hdo rollout open "$rollout_110" --wave 2 --reason "$first runs 1.1.0 without a fault"

for pump in "${pumps[@]}"; do
    until_true "$pump to run 1.1.0, confirmed" settled "$pump" 1.1.0 confirmed
done
until_true "the rollout to be complete" rollout_is "$rollout_110" complete
say "installed: all three pumps switched in their slots, passed their self-test and signed that they run 1.1.0"
same "devices exposed to ACME-2026-0001" "$(devices_exposed_to ACME-2026-0001)" 0

# --- 1.2.0: falls back, and the rollout pauses itself -------------------------------------------------------------------

echo "air-in-line sensor reads out of range" >"$dir/trees/app-1.2.0/FAULT"
publish 3 1.2.0 large
opening_in 10 300
say "manufacturer publishes 1.2.0, whose self-test fails; hospital approves it for an opening that begins $opening UTC"
approve pump@3 "move to 1.2.0" --wave 1 --wave rest --slots 3 --slack 5s
rollout_120=$approval
until_true "$first to fall back" settled "$first" 1.1.0 fell_back
until_true "the rollout to pause itself" rollout_is "$rollout_120" paused
say "fell back: $first found itself unhealthy and runs 1.1.0 again, and the rollout has paused itself. suturectl rollout why:"
why "$rollout_120"
for pump in "${pumps[@]}"; do
    same "what $pump runs" "$(pump_says "$pump")" 1.1.0
done
run hdo rollout abort "$rollout_120" --reason "1.2.0 is not healthy"
run mdm bundle withdraw pump@3 --reason "its self-test fails on rev-a"
say "manufacturer: withdraws 1.2.0; every hospital reads why: $(withdrawn_because "$rollout_120")"

# --- back to 1.0.0 by hand ----------------------------------------------------------------------------------------------

opening_in 10 300
say "hospital: aborts 1.2.0 for good and rolls 1.1.0 back to 1.0.0 by hand, in an opening that begins $opening UTC"
roll_back "$rollout_110" 1 --wave rest --cap 3 --slots 3 --slack 5s
for pump in "${pumps[@]}"; do
    until_true "$pump to run 1.0.0, confirmed" settled "$pump" 1.0.0 confirmed
done

# --- what is true now ---------------------------------------------------------------------------------------------------

say "audit: the server's record verifies"
run mdm audit verify
say "manufacturer: how far 1.0.0 is, in counts: $(adopted pump@1)"
say "what each device runs, as the pump itself answers and as the hospital sees it:"
final_table 1.0.0
say "hospital: evidence of the rollout to 1.1.0, for an auditor, who verifies it without a server:"
evidence=$(evidence_place)
run hdo evidence rollout "$rollout_110" -o "$evidence"
mkdir -p "$dir/auditor"
answer suturectl --home "$dir/auditor" evidence verify "$evidence" | sed 's/^/         /'
same "what the rollout ended, by the evidence" "$(pick /ways/0/ended/0 <"$evidence/facts/exposure.json")" ACME-2026-0001
say "evidence: with SBOM, VEX and MDS2 of each release; the rollout ended ACME-2026-0001 on $(pick /ways/0/devices <"$evidence/facts/exposure.json") pumps"
say "done in $SECONDS seconds after the build"
[ "$keep" = no ] || play_on
echo "evidence: $evidence (open index.html; verify it again with: $(command -v suturectl) evidence verify $evidence)"
