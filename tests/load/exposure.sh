#!/usr/bin/env bash
# What it costs to ask which devices are exposed to a vulnerability: 200 SBOMs of 1,000 components, 100,000 devices of one
# hospital, 40 rollouts, on SQLite and on PostgreSQL. The server's own functions, release build; medians of nine.
#
#   tests/load/exposure.sh [--debug]
#
# Exits 1 if an answer with its counts, or its first thousand devices, take a second or more. PostgreSQL is the one that
# SUTURE_TEST_POSTGRES names; without it, one of the script's own.
set -euo pipefail
repo=$(cd "$(dirname "$0")/../.." && pwd)
cd "$repo"
# shellcheck source=deploy/packages.sh
. deploy/packages.sh

profile=(--release)
while [ $# -gt 0 ]; do
    case "$1" in
    --debug) profile=(); shift ;;
    *) echo "usage: $0 [--debug]" >&2; exit 64 ;;
    esac
done

scratch=$(mktemp -d /tmp/suture-exposure.XXXXXX)
as_postgres=()
pg_bin=''
finish() {
    status=$?
    trap - EXIT INT TERM
    cd /
    if [ -f "$scratch/data/postmaster.pid" ]; then
        "${as_postgres[@]}" "$pg_bin/pg_ctl" -D "$scratch/data" -m immediate -w stop >/dev/null 2>&1 || true
    fi
    rm -rf "$scratch"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -z "${SUTURE_TEST_POSTGRES:-}" ]; then
    pg_bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5 -rn | head -n 1)
    if [ ! -x "$pg_bin/initdb" ]; then
        install_packages postgresql
        pg_bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5 -rn | head -n 1)
    fi
    if [ "$(id -u)" -eq 0 ]; then
        # initdb and postgres refuse root.
        as_postgres=(runuser -u postgres --)
        chown postgres: "$scratch"
    fi
    # As it comes: every commit is on the disk before it is acknowledged.
    (
        cd "$scratch"
        "${as_postgres[@]}" "$pg_bin/initdb" -D "$scratch/data" -U suture -A trust -E UTF8 --locale=C >/dev/null
        "${as_postgres[@]}" "$pg_bin/pg_ctl" -D "$scratch/data" -l "$scratch/data/log" -w -t 60 \
            -o "-k $scratch -c listen_addresses=" start >/dev/null
    )
    export SUTURE_TEST_POSTGRES="postgres://suture@localhost/postgres?host=$scratch"
fi

cargo test "${profile[@]}" --locked -p suture-server --lib -- --ignored --nocapture exposure_load | tee "$scratch/said" |
    grep -v -E '^(SQLite|PostgreSQL|database)' || true
grep -q 'test result: ok. 1 passed' "$scratch/said"

printf '\nmilliseconds, medians: the answer with its counts, its first thousand devices, all devices page by page\n\n'
grep -E '^(database|SQLite|PostgreSQL)' "$scratch/said" | column -t -s "$(printf '\t')"
echo
awk -F '\t' '$1 == "SQLite" || $1 == "PostgreSQL" {
        if ($4 > slowest[$1]) { slowest[$1] = $4 }
        if ($5 > slowest[$1]) { slowest[$1] = $5 }
    } END {
        for (database in slowest) {
            printf "%-11s the slowest of these answers takes %.0f ms\n", database, slowest[database]
            if (slowest[database] >= 1000) { slow = 1 }
        }
        exit slow
    }' "$scratch/said"
