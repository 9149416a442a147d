# Sourced by the scripts beside it: a server with one bundle, whose one payload nothing can compress.
# shellcheck shell=bash
#
# The caller sources deploy/ports.sh, sets $repo, $profile (release or debug) and $mib, calls stage_dir and stage_suture,
# and finds $dir, $bin, $payload, $index, $port and $suture_pid; the ids of what it starts besides it adds to $pids. Who
# wants other bundles calls stage_programs and stage_server in the place of stage_suture.
#
# What is not assigned here is the caller's, and what is not used here too.
# shellcheck disable=SC2154,SC2034

pids=()
made=''
# Where the programs are, if the caller has them already.
bin=''

# stage_dir DIR: where everything is kept; a temporary one, removed at the end, if DIR is empty.
stage_dir() {
    dir=$1
    [ -n "$dir" ] || { dir=$(mktemp -d "${TMPDIR:-/tmp}/suture-load.XXXXXX"); made=$dir; }
    mkdir -p "$dir/results"
    dir=$(cd "$dir" && pwd)
    trap finish EXIT
    trap 'exit 130' INT TERM
}

finish() {
    local status=$?
    trap - EXIT
    [ "${#pids[@]}" -eq 0 ] || { kill "${pids[@]}" 2>/dev/null || true; wait "${pids[@]}" 2>/dev/null || true; }
    if [ "$status" -gt 1 ]; then tail -n 20 "$dir"/*.log "$dir"/*/*.log 2>/dev/null >&2 || true; fi
    [ -z "$made" ] || rm -rf "$made"
    exit "$status"
}

# until_true WHAT COMMAND...: tries for 30 seconds.
until_true() {
    local what=$1 tries
    shift
    for ((tries = 0; tries < 300; tries++)); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    echo "$what: not within 30 seconds" >&2
    exit 2
}

# Before a measured program: ahead of everything else on the machine, where this user may.
ahead=()
if nice -n -5 true 2>/dev/null; then ahead=(nice -n -5); fi

ctl() { "$bin/suturectl" --home "$dir/home" "$@"; }

# stage_programs PACKAGES PROGRAMS: builds them, given with spaces between them.
stage_programs() {
    local flags name
    echo "== building"
    flags=(--locked)
    for name in $1; do flags+=(-p "$name"); done
    for name in $2; do flags+=(--bin "$name"); done
    [ "$profile" = debug ] || flags+=(--release)
    (cd "$repo" && cargo build "${flags[@]}")
    bin=${CARGO_TARGET_DIR:-$repo/target}/$profile
}

# stage_server [FLAG...]: with its manufacturer, who has begun the catalog. The flags are for `suture-server run`.
# shellcheck disable=SC2120 # only some callers have flags
stage_server() {
    port=$(free_port)
    "$bin/suture-server" init --data-dir "$dir/server" --address "https://localhost:$port" --listen "127.0.0.1:$port" \
        --trust-domain bulk.example --operator ada >"$dir/init.log"
    # No deltas: they would be made in the background while chunks are measured.
    "${ahead[@]}" "$bin/suture-server" run --config "$dir/server/server.toml" --delta-sources 0 "$@" >"$dir/server.log" 2>&1 &
    suture_pid=$!
    pids+=("$suture_pid")
    until_true "suture-server" listens "$port"
    ctl join --token-file "$dir/server/operator.token" --name ada >/dev/null
    ctl catalog init --no-passphrase >/dev/null
}

# stage_suture [PROGRAM...]: builds these programs of the tests too, unless $bin says where all of them are.
stage_suture() {
    [ -n "$bin" ] || stage_programs "suture-server suture-ctl suture-tests" "suture-server suturectl bulk-client $*"

    echo "== $mib MiB that nothing can compress, in $dir"
    payload=$dir/payload.bin
    # The key stream of a cipher: as good as random and faster to come by.
    openssl enc -aes-128-ctr -nosalt -K 000102030405060708090a0b0c0d0e0f -iv 0 -in /dev/zero 2>/dev/null |
        head -c "$((mib << 20))" >"$payload" || [ "$(stat -c %s "$payload")" -eq "$((mib << 20))" ]

    echo "== suture: server, catalog, one bundle"
    stage_server
    cat >"$dir/bundle.toml" <<TOML
product = "bulk"
version = "1.0.0"
release = 1
hardware = ["any"]
class = "routine"

[install]
kind = "slots"
budget_secs = 60
revert_budget_secs = 60

[[payload]]
name = "image"
format = "image"
path = "$payload"
TOML
    ctl bundle build "$dir/bundle.toml" -o "$dir/bundle" >"$dir/bundle.log" 2>&1
    ctl bundle sign "$dir/bundle" >>"$dir/bundle.log" 2>&1
    ctl bundle publish "$dir/bundle" >>"$dir/bundle.log" 2>&1
    index=$(find "$dir/bundle/indexes" -type f)
}

# median FILE COLUMN
median() { awk -v c="$2" '{ print $c }' "$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

failed=0
# target WHAT VALUE at_least|at_most BOUND: says whether it is met, and sets $failed where it is not.
target() {
    local verdict=met
    awk -v v="$2" -v b="$4" -v how="$3" 'BEGIN { exit !(how == "at_least" ? v >= b : v <= b) }' || { verdict=missed failed=1; }
    printf '%-60s %6s, %s %s: %s\n' "$1" "$2" "${3/_/ }" "$4" "$verdict"
}
