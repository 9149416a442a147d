# Sourced by pairs.sh. One function a method: makes what has to travel, applies it, and says how many bytes travelled. Whatever it
# does is one of two timed steps, `make` and `apply`; what comes out is compared with the new version, byte for byte.
# shellcheck shell=bash disable=SC2034,SC2154

# In the table's order.
peers_all=(zstd patch_from bsdiff xdelta3 casync rsync)
ours_all=(chunks chunks_nothing delta delta_nothing)

# timed STEP COMMAND...: runs it and adds its CPU seconds and peak memory, its children's included, to the step's.
timed() {
    local step=$1
    shift
    "$time_program" -q -a -f '%U %S %M' -o "$work/$step.time" "$@"
}

# Paths of the pair at hand: $old, $new (tars), $old_payload, $new_payload; all that is written goes into $work, which is empty.
peer_zstd() {
    timed make zstd -q -19 --single-thread "$new" -o "$work/patch"
    timed apply zstd -q -d "$work/patch" -o "$work/out"
    bytes_of "$work/patch"
}

peer_patch_from() {
    timed make zstd -q -19 --single-thread --long=31 --patch-from="$old" "$new" -o "$work/patch" 2>/dev/null
    timed apply zstd -q -d --long=31 --patch-from="$old" "$work/patch" -o "$work/out"
    bytes_of "$work/patch"
}

peer_bsdiff() {
    timed make bsdiff "$old" "$new" "$work/patch"
    timed apply bspatch "$old" "$work/out" "$work/patch"
    bytes_of "$work/patch"
}

peer_xdelta3() {
    local window=$((1 << 20))
    # The whole old version is its dictionary.
    while [ "$window" -lt "$(stat -c %s "$old")" ]; do window=$((window * 2)); done
    timed make xdelta3 -q -e -9 -B "$window" -s "$old" "$new" "$work/patch"
    timed apply xdelta3 -q -d -B "$window" -s "$old" "$work/patch" "$work/out"
    bytes_of "$work/patch"
}

# The index, and the compressed chunks (64 KiB on average) that the old version's store lacks.
peer_casync() {
    local index=$work/new.caibx
    casync make --store="$work/store" "$work/old.caibx" "$old" >/dev/null
    cp -al "$work/store" "$work/store.new"
    timed make casync make --store="$work/store.new" "$index" "$new" >/dev/null
    timed apply casync extract --store="$work/store.new" --seed="$old" "$index" "$work/out" >/dev/null
    { bytes_of "$index"; (cd "$work/store.new" && find . -name '*.cacnk' -links 1 -printf '%s\n'); } | awk '{ sum += $1 } END { printf "%d\n", sum }'
}

# Over a pipe to a receiver that has the old version. All that is said either way counts: the receiver's sums of what it has too.
# As one archive and, where there is one, as a tree: the smaller counts.
peer_rsync() {
    local said best
    cp "$old" "$work/out"
    rsync_to "$new" "$work/out"
    best=$(rsync_said)
    if [ -d "$pair_dir/old" ]; then
        cp -a "$pair_dir/old" "$work/tree"
        mv "$work/make.time" "$work/archive.make.time"
        mv "$work/apply.time" "$work/archive.apply.time"
        rsync_to "$pair_dir/new/" "$work/tree/"
        # What the packed archive is made of says whether the trees are equal.
        "$bin/pair-chunks" pack "$work/tree" "$work/tree.payload"
        cmp "$work/tree.payload" "$new_payload" >&2
        said=$(rsync_said)
        if [ "$said" -lt "$best" ]; then
            best=$said
        else
            mv "$work/archive.make.time" "$work/make.time"
            mv "$work/archive.apply.time" "$work/apply.time"
        fi
    fi
    echo "$best"
}

# rsync_to FROM TO: the sender is the step `make`, the receiver `apply`. The sender waits for the receiver, whose CPU time is hence
# taken off again; of peak memory both show the larger.
rsync_to() {
    cat >"$work/receiver" <<RECEIVER
#!/bin/sh
shift
exec "$time_program" -q -f '%U %S %M' -o "$work/apply.time" "\$@"
RECEIVER
    chmod +x "$work/receiver"
    rm -f "$work/make.time" "$work/apply.time"
    # --checksum would read both sides; times differ, so every file is looked at. Nothing is on the network to protect.
    timed make rsync -a -z --delete --ignore-times --no-whole-file --stats --rsh="$work/receiver" "$1" "receiver:$2" >"$work/stats"
    awk 'NR == FNR { user = $1; kernel = $2; next } { print $1 - user, $2 - kernel, $3 }' "$work/apply.time" "$work/make.time" >"$work/sender.time"
    mv "$work/sender.time" "$work/make.time"
}
rsync_said() { sed -nE 's/^Total bytes (sent|received): ([0-9.,]+)$/\2/p' "$work/stats" | tr -d ., | awk '{ sum += $1 } END { print sum }'; }

# Ours. `chunks` is computed from core's cutter, index and stored form, without a server; a device with nothing has /dev/null.
peer_chunks() { chunks_from "$old_payload"; }
peer_chunks_nothing() { chunks_from /dev/null; }
chunks_from() {
    timed make "$bin/pair-chunks" make "$1" "$new_payload" "$work/patch"
    timed apply "$bin/pair-chunks" apply "$1" "$work/patch" "$work/out"
    bytes_of "$work/patch"
}

# Two commands of the program, so that applying is a process of its own; each says what it took: CPU seconds, and memory above idle.
# A device fetches the chunk index beside the delta: it says what has to come out.
peer_delta() { delta_from "$old_payload"; }
peer_delta_nothing() { delta_from /dev/null; }
delta_from() {
    local step index
    "$delta" make "$1" "$new_payload" "$work/patch" >"$work/said"
    "$delta" apply "$1" "$work/patch" "$work/out" >>"$work/said"
    for step in make apply; do
        sed -nE "s/^$step +([0-9.]+) CPU s, ([0-9.]+) MiB.*/\1 \2/p" "$work/said" | grep . |
            awk '{ print $1, 0, $2 * 1024 }' >"$work/$step.time"
    done
    index=$("$bin/pair-chunks" index "$new_payload")
    echo "$(($(bytes_of "$work/patch") + index))"
}

bytes_of() { stat -c %s "$1"; }

# measure METHOD: its runs at the pair at hand, as JSON in the pair's results; what is there already is kept unless --again.
# Ours are kept only as long as the program is the same.
measure() {
    local name=$1 key=$peer_key wanted=$new result=$pair_dir/results/$1.json run bytes
    case " ${ours_all[*]} " in *" $name "*)
        wanted=$new_payload
        key=$(program_key "$name") || { rm -f "$result"; return 0; }
        ;;
    esac
    if [ -z "$again" ] && jq -e --arg key "$key" --argjson runs "$runs" '.key == $key and .runs >= $runs' "$result" >/dev/null 2>&1; then
        jq '.kept = true' "$result" >"$result.partial"
        mv "$result.partial" "$result"
        return 0
    fi
    echo "== pair $pair: $name, $runs $([ "$runs" = 1 ] && echo run || echo runs)" >&2
    rm -f "$work.runs"
    for ((run = 0; run < runs; run++)); do
        rm -rf "$work"
        mkdir -p "$work"
        bytes=$("peer_$name")
        cmp "$wanted" "$work/out" >&2 || { echo "pair $pair: what $name applied is not the new version" >&2; exit 2; }
        jq -n --argjson bytes "$bytes" --arg make "$(summed make)" --arg apply "$(summed apply)" '
            def step: split(" ") | map(fromjson) | { cpu_secs: .[0], peak_bytes: .[1] };
            { bytes: $bytes, make: ($make | step), apply: ($apply | step) }' >>"$work.runs"
    done
    rm -rf "$work"
    mkdir -p "$pair_dir/results"
    jq -s --arg key "$key" --argjson runs "$runs" '
        def median: sort | .[((length + 1) / 2 | floor) - 1];
        def step(f): { cpu_secs: (map(f.cpu_secs) | median), peak_bytes: (map(f.peak_bytes) | median) };
        { bytes: (map(.bytes) | median), make: step(.make), apply: step(.apply), runs: $runs, key: $key, kept: false }
        ' "$work.runs" >"$result"
    rm -f "$work.runs"
}
# summed STEP: CPU seconds of all that the step ran, and the highest peak in bytes.
summed() {
    awk '{ cpu += $1 + $2; if ($3 > peak) peak = $3 } END { printf "%.2f %.0f", cpu, peak * 1024 }' "$work/$1.time"
}

# program_key METHOD: the pair and the program that is measured; fails where Suture has none yet.
program_key() {
    local program=$bin/pair-chunks
    [[ "$1" != delta* ]] || program=$delta
    [ -n "$program" ] && [ -x "$program" ] || return 1
    echo "$payload_key $(sha256sum "$program" | cut -d ' ' -f 1)"
}
