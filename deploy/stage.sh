# Sourced by quickstart.sh: the stage that the story is played on. Every function here either does one thing to it or asks
# one thing of it; what they print besides `say` goes to the stage's log.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the story and the stage share their variables

pumps=(pump-1 pump-2 pump-3)
first=${pumps[0]}
declare -A agents=()
daemons=()
approval='' opening='' log=/dev/null stage_made=no

say() { printf '[%3ds] %s\n' "$SECONDS" "$*"; }

fail() {
    printf '\nfailed: %s\n' "$*" >&2
    if [ "$log" != /dev/null ]; then
        printf -- '--- the last lines of %s\n' "$log" >&2
        tail -n 15 "$log" >&2
    fi
    exit 1
}

# run COMMAND...: its output goes to the log.
run() {
    printf '$ %s\n' "$*" >>"$log"
    "$@" >>"$log" 2>&1 || fail "$*"
}

# answer COMMAND...: its answer is printed, the rest goes to the log.
answer() {
    printf '$ %s\n' "$*" >>"$log"
    "$@" 2>>"$log" || fail "$*"
}

# until_true WHAT COMMAND...: tries for 90 seconds, some times a second.
until_true() {
    local what=$1 end=$((SECONDS + 90))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "waited for $what, for 90 seconds"
        sleep 0.2
    done
}

same() { [ "$2" = "$3" ] || fail "$1: $2, and not $3"; }

# --- programs -----------------------------------------------------------------------------------------------------------

build_programs() {
    local flags=(--locked -p suture-server -p suture-agent -p suture-ctl -p suture-tests
        --bin suture-server --bin suture-agent --bin suturectl --bin demo-pump --bin cutting-proxy --bin pick)
    [ "$profile" = debug ] || flags+=(--release)
    (cd "$repo" && cargo build "${flags[@]}")
    PATH=${CARGO_TARGET_DIR:-$repo/target}/$profile:$PATH
}

mdm() { suturectl --home "$dir/mdm" "$@"; }
hdo() { suturectl --home "$dir/hdo" "$@"; }
agent() {
    local pump=$1
    shift
    suture-agent --config "$dir/devices/$pump/agent.toml" "$@"
}
# ask_pump NAME PATH: the running pump's own answer.
ask_pump() { demo-pump ask --port-file "$dir/devices/$1/port" "$2"; }

# start NAME COMMAND...: in the background, its output in a log of its own.
start() {
    local name=$1
    shift
    "$@" >>"$dir/log/$name.log" 2>&1 &
    daemons+=("$!")
}

# --- the stage itself ---------------------------------------------------------------------------------------------------

open_stage() {
    if [ -z "$1" ]; then
        dir=$(mktemp -d "${TMPDIR:-/tmp}/suture-quickstart.XXXXXX")
        stage_made=yes
    else
        mkdir -p "$1"
        dir=$(cd "$1" && pwd)
        [ -z "$(ls -A "$dir")" ] || { echo "$dir is not empty" >&2; exit 64; }
    fi
    chmod 0700 "$dir"
    stage_began=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    mkdir -p "$dir"/{log,trees,specs,bundles,devices,proxy}
    log=$dir/log/commands.log
    # What the shell says of proxies is meant for other servers than this machine's.
    unset RUST_BACKTRACE HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy
    # Signing keys are encrypted, as they would be in the field.
    (umask 077 && head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$dir/passphrase")
    export SUTURE_PASSPHRASE_FILE=$dir/passphrase
    port=$(free_port)
}

# start_proxy BYTES: the hospital's proxy, which cuts the line after so many.
start_proxy() {
    start proxy cutting-proxy --port-file "$dir/proxy/port" --cut-after "$1" --cut-file "$dir/proxy/cut" \
        --mend-file "$dir/proxy/mend"
    until_true "the proxy to listen" test -s "$dir/proxy/port"
}

stop_pumps() {
    local pump pid
    for pump in "${pumps[@]}"; do
        pid=$(cat "$dir/devices/$pump/pid" 2>/dev/null) || continue
        case "$(readlink "/proc/$pid/exe" 2>/dev/null)" in
        "$dir"/*) kill "$pid" 2>/dev/null || true ;;
        esac
    done
}

close_stage() {
    local status=$?
    trap - EXIT
    [ "$status" -ne 0 ] || [ "$keep" = no ] || exit 0
    local pids=("${agents[@]}" "${daemons[@]}")
    [ "${#pids[@]}" -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    stop_pumps
    wait 2>/dev/null || true
    if [ "$status" -ne 0 ]; then
        tail -n 5 "$dir"/log/server.log "$dir"/log/pump-?.log >&2 2>/dev/null || true
    fi
    if [ "$stage_made" = yes ] && [ "$keep" = no ]; then rm -rf "$dir"; else echo "left in place: $dir"; fi
    exit "$status"
}

# --- trees and bundles --------------------------------------------------------------------------------------------------

megabytes() { echo $(($(find "$1" -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%d", sum }') / 1000000)); }

# take_files BYTES TO: copies readable files of this machine, in the order of their paths, until there are so many bytes.
take_files() {
    local wanted=$1 to=$2 source
    for source in "$(rustc --print sysroot 2>/dev/null)/lib" /usr/lib /usr/share; do
        # -L: what links lead to, so that the tree stands by itself.
        find -L "$source" -type f -readable -size -40M ! -name '*
*' -printf '%s\t%p\n' 2>/dev/null || true # broken links
    done | LC_ALL=C sort -t"$(printf '\t')" -k2 | awk -F'\t' -v wanted="$wanted" \
        'sum < wanted { sum += $1; print $2 }' >"$dir/trees/list"
    mkdir -p "$to"
    # -L again, for the paths; modes of their own, so that nothing of a setuid program's mode comes along.
    tr '\n' '\0' <"$dir/trees/list" | xargs -0 cp -L --parents --no-preserve=mode,ownership -t "$to"
}

make_trees() {
    local version
    take_files 210000000 "$dir/trees/large"
    take_files 20000000 "$dir/trees/small"
    [ "$(megabytes "$dir/trees/large")" -ge 200 ] || fail "this machine has less than 200 MB of files to take"
    for version in 1.0.0 1.1.0 1.2.0; do
        mkdir -p "$dir/trees/app-$version/bin"
        cp "$(command -v demo-pump)" "$dir/trees/app-$version/bin/"
        echo "$version" >"$dir/trees/app-$version/VERSION"
    done
}

# build_bundle RELEASE VERSION TREE TO
build_bundle() {
    local release=$1 version=$2 tree=$3 to=$4
    cat >"$dir/specs/$version.toml" <<TOML
product = "pump"
version = "$version"
release = $release
hardware = ["rev-a"]
class = "routine"

[install]
kind = "slots"
budget_secs = 8
revert_budget_secs = 5

[[payload]]
name = "app"
format = "tree"
path = "$dir/trees/app-$version"

[[payload]]
name = "library"
format = "tree"
path = "$dir/trees/$tree"
TOML
    write_papers "$version" "$tree" >>"$dir/specs/$version.toml"
    # A release engineer would spend a minute on level 19; the story is about something else.
    run mdm bundle build "$dir/specs/$version.toml" -o "$to" --level 3
}

# publish RELEASE VERSION TREE
publish() {
    build_bundle "$1" "$2" "$3" "$dir/bundles/$2"
    run mdm bundle sign "$dir/bundles/$2"
    run mdm bundle publish "$dir/bundles/$2"
}

# differences OLD NEW: what came and went, in short, below the story.
differences() { answer mdm bundle diff "$1" "$2" | grep -E '^components|ACME-2026' | sed 's/^/         /'; }

# stored_bytes VERSION: what the bundle's chunks take, compressed, each once.
stored_bytes() { find "$dir/bundles/$1/packs" -name '*.pack' -printf '%s\n' | awk '{ sum += $1 } END { printf "%d", sum }'; }

# same_again RELEASE VERSION TREE: builds it once more and compares every byte.
same_again() {
    build_bundle "$1" "$2" "$3" "$dir/bundles/again"
    diff -r --exclude targets.json "$dir/bundles/$2" "$dir/bundles/again" >>"$log" || fail "$2 built twice is not the same"
    rm -rf "$dir/bundles/again"
}

# --- devices ------------------------------------------------------------------------------------------------------------

make_device() {
    local pump=$1 home=$dir/devices/$1
    mkdir -p "$home"
    cat >"$home/agent.toml" <<TOML
state_dir = "$home/state"
slots_dir = "$home/slots"
product = "pump"
hardware = "rev-a"

[restart]
command = ["$home/restart"]
timeout_secs = 5

[health]
command = ["$home/slots/current/app/bin/demo-pump", "health", "--port-file", "$home/port"]
successes = 3
interval_ms = 100
deadline_secs = 3

[interlock]
command = ["$(command -v demo-pump)", "interlock", "--lock", "$home/lock"]
timeout_secs = 2

[poll]
interval_secs = 1
TOML
    cat >"$home/restart" <<'SH'
#!/bin/sh
# What `systemctl restart pump` would do: stops the pump that runs, starts the one in the current slot, and is done once
# it answers.
set -eu
cd "$(dirname "$0")"
await() {
    tries=0
    until "$@" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 80 ] || { echo "waited for: $*" >&2; exit 1; }
        sleep 0.05
    done
}
# A process that has ended but was not waited for has no executable any more.
gone() { ! readlink "/proc/$1/exe" >/dev/null; }
if [ -s pid ] && ! gone "$(cat pid)" 2>/dev/null; then
    kill "$(cat pid)"
    await gone "$(cat pid)"
fi
rm -f port
setsid slots/current/app/bin/demo-pump serve --port-file port --lock lock </dev/null >>pump.log 2>&1 &
echo $! >pid
await test -s port
SH
    chmod +x "$home/restart"
}

start_agent() {
    local pump=$1 environment=()
    [ "$pump" != "$first" ] || environment=("HTTPS_PROXY=http://127.0.0.1:$(cat "$dir/proxy/port")")
    env "${environment[@]}" suture-agent --config "$dir/devices/$pump/agent.toml" run >>"$dir/log/$pump.log" 2>&1 &
    agents[$pump]=$!
}

stop_agent() {
    kill -KILL "${agents[$1]}"
    wait "${agents[$1]}" 2>/dev/null || true
    unset "agents[$1]"
}

# While no agent runs, `status` says by what it speaks: into the log with that.
status_of() { agent "$1" status --output json 2>>"$log" | pick "$2"; }
fingerprint_at_device() { answer agent "$1" status --output json | pick /fingerprint; }
pump_says() { ask_pump "$1" /version; }
# staged PUMP: it waits for its slot, and what its agent has counted is up to date with that.
staged() {
    local status
    status=$(agent "$1" status --output json)
    [ "$(pick /phase <<<"$status")" = waiting ] &&
        [ "$(pick /live/fetched_bytes <<<"$status")" = "$(pick /live/total_bytes <<<"$status")" ]
}
# has_begun PUMP: chunks have come, and the agent has told so.
has_begun() { [ "$(status_of "$1" /live/bytes_from_server)" -gt 0 ]; }

# --- the hospital's view ------------------------------------------------------------------------------------------------

root_of() { answer "$1" catalog status --output json | pick /root_sha256; }
# hospital_sees PUMP FIELD
hospital_sees() { hdo device list --output json | pick "/id=$1/$2"; }
said_version() { [ "$(hospital_sees "$1" version)" = "$2" ]; }
# settled PUMP VERSION PHASE: the pump itself answers so, and the device has signed so.
settled() {
    local seen
    [ "$(pump_says "$1")" = "$2" ] || return 1
    seen=$(hdo device show "$1" --output json)
    [ "$(pick /version <<<"$seen")" = "$2" ] && [ "$(pick /proven <<<"$seen")" = true ] &&
        [ "$(pick /phase <<<"$seen")" = "$3" ]
}
rollout_is() { [ "$(hdo rollout show "$1" --output json | pick /state)" = "$2" ]; }
rollout_waits() { [ "$(hdo rollout show "$1" --output json | pick /reason/code)" = signature-needed ]; }

# exposed_to VULNERABILITY: which bundles it exposes, what ends it, and each device that is exposed, below the story.
exposed_to() { answer hdo exposure --cve "$1" | grep -E "are exposed|ended by|^pump-" | sed 's/^/         /'; }
devices_exposed_to() { answer hdo exposure --cve "$1" --output json | pick '/devices/*/id' | wc -l; }

# opening_in SECONDS LENGTH: a calendar whose one opening begins then.
opening_in() {
    opening=$(date -u -d "+$1 seconds" +%Y-%m-%dT%H:%M:%S)
    run hdo calendar set icu --zone UTC --once "$opening ${2}s"
}

# approve BUNDLE REASON FLAG...: plans, and signs just what was planned.
approve() {
    local bundle=$1 reason=$2
    shift 2
    run hdo rollout plan --bundle "$bundle" --ward icu --cap 2 --ticket CHG-1047 "$@" -o "$dir/plan.json"
    run hdo rollout approve "$dir/plan.json" --reason "$reason"
    approval=$(pick /request/approval <"$dir/plan.json")
}

# approve_suggested REASON FLAG...: plans what the manufacturer suggests, and signs just that.
approve_suggested() {
    local reason=$1
    shift
    run hdo rollout plan --proposal "$(answer hdo rollout proposals --output json | pick /0/id)" --ward icu --cap 2 \
        --ticket CHG-1047 "$@" -o "$dir/plan.json"
    run hdo rollout approve "$dir/plan.json" --reason "$reason" --role "clinical engineering"
    approval=$(pick /request/approval <"$dir/plan.json")
}

# why ROLLOUT: what it waits for and what would meet it, below the story.
why() { answer hdo rollout why "$1" | sed 's/^/         /'; }
signers() {
    local shown
    shown=$(answer hdo rollout show "$1" --output json)
    printf '%s, %s: %s, "%s"' "$(pick /signers/0/name <<<"$shown")" "$(pick /signers/0/role <<<"$shown")" \
        "$(pick /signers/0/meaning <<<"$shown")" "$(pick /signers/0/reason <<<"$shown")"
}
withdrawn_because() { answer hdo rollout show "$1" --output json | pick /withdrawn; }
# adopted BUNDLE: how many of the hospital's devices are confirmed on it.
adopted() {
    local seen
    seen=$(answer mdm bundle adoption "$1" --output json)
    printf '%s of %s devices at %s' "$(pick /hospitals/0/confirmed <<<"$seen")" "$(pick /hospitals/0/devices <<<"$seen")" \
        "$(pick /hospitals/0/name <<<"$seen")"
}

# roll_back ROLLOUT RELEASE FLAG...
roll_back() {
    local rollout=$1 release=$2
    shift 2
    run hdo rollout rollback "$rollout" --to "$release" --yes --reason "1.1.0 is taken back" --ticket CHG-1048 "$@"
}

# --- proofs -------------------------------------------------------------------------------------------------------------

# proof_of_resumption PUMP BYTES: the chunks that came before the cut and those that came after it are together no more than
# the bundle has. The agent counts chunks; the proxy, which is no part of Suture, counts all that came over the wire.
proof_of_resumption() {
    local pump=$1 before=$2 after stored wire
    after=$(status_of "$pump" /live/bytes_from_server)
    stored=$(stored_bytes 1.1.0)
    wire=$(demo-pump ask --port-file "$dir/proxy/port" /bytes)
    say "transfer: resumed; $((before / 1000)) kB of chunks before the cut and $((after / 1000)) kB after it, of $((stored / 1000)) kB: none came twice ($((wire / 1000)) kB over the wire)"
    if [ "$before" -eq 0 ] || [ "$after" -eq 0 ]; then fail "the cut was not in the middle"; fi
    [ "$((before + after))" -le "$stored" ] || fail "more chunks came than the bundle has"
    # A twentieth for everything else; a second start from nothing would be half as much again.
    [ "$wire" -lt "$((stored + stored / 20))" ] || fail "$wire bytes came over the wire for $stored bytes of chunks"
}

# final_table VERSION: fails if a pump does not run it, or if the pump and the hospital's view differ.
final_table() {
    local pump itself seen proven wrong=0
    printf '\n  %-8s %-18s %-18s %s\n' device "the pump answers" "the hospital sees" "by"
    for pump in "${pumps[@]}"; do
        itself=$(pump_says "$pump") seen=$(hospital_sees "$pump" version) proven=$(hospital_sees "$pump" proven)
        if [ "$proven" = true ]; then proven="the device's signature"; else proven="the server's word"; fi
        printf '  %-8s %-18s %-18s %s\n' "$pump" "$itself" "$seen" "$proven"
        if [ "$itself" != "$1" ] || [ "$seen" != "$1" ] || [ "$proven" != "the device's signature" ]; then wrong=1; fi
    done
    echo
    [ "$wrong" = 0 ] || fail "not every pump runs $1"
}

# evidence_place: with the stage where that stays, otherwise a directory of its own where the script was called.
evidence_place() {
    if [ "$stage_made" = no ] || [ "$keep" = yes ]; then
        echo "$dir/evidence"
    else
        mktemp -d "$PWD/suture-evidence.XXXXXX" 2>/dev/null || mktemp -d "${TMPDIR:-/tmp}/suture-evidence.XXXXXX"
    fi
}

play_on() {
    cat <<TEXT

Everything is left running in $dir. To play on:
  export PATH=$(dirname "$(command -v suturectl)"):\$PATH SUTURE_PASSPHRASE_FILE=$dir/passphrase
  suturectl --home $dir/hdo device list
  suturectl --home $dir/hdo device why $first
  suturectl --home $dir/hdo rollout list --all
  suturectl --home $dir/hdo rollout why ROLLOUT
  suturectl --home $dir/mdm bundle adoption pump@1
  suturectl --home $dir/mdm audit list
  suture-agent --config $dir/devices/$first/agent.toml status
  demo-pump ask --port-file $dir/devices/$first/port /version
To end it:
  kill ${agents[*]} ${daemons[*]} $(cat "$dir"/devices/*/pid | tr '\n' ' '); rm -rf $dir
TEXT
}
