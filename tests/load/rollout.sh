#!/usr/bin/env bash
# What a signed report and the step that it leads to cost in a running rollout, in fleets of 1,000, 10,000 and 100,000 devices,
# on SQLite and on PostgreSQL: time per step, and how it grows with the fleet. The server's own functions, release build.
#
#   tests/load/rollout.sh [--debug]
#
# Exits 1 if a report and its step in a wave of a hundred devices take more than twice as long in the largest fleet as in the
# smallest. PostgreSQL is the one that SUTURE_TEST_POSTGRES names; without it, one of the script's own.
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

scratch=$(mktemp -d /tmp/suture-rollout.XXXXXX)
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

cargo test "${profile[@]}" --locked -p suture-server --lib -- --ignored --nocapture growth | tee "$scratch/said" |
    grep -v -E '^(SQLite|PostgreSQL|database)' || true
grep -q 'test result: ok. 1 passed' "$scratch/said"

printf '\nmilliseconds, medians; every report is a transaction of its own, with its signature verified and its step\n\n'
grep -E '^(database|SQLite|PostgreSQL)' "$scratch/said" | column -t -s "$(printf '\t')"
echo
awk -F '\t' '$1 == "SQLite" || $1 == "PostgreSQL" {
        if (!($1 in least)) { least[$1] = $4; last[$1] = $6 }
        printf "%-11s %7d devices: a report in a wave of 100 takes %.2f of what it takes among 1,000, one in the last wave %.2f\n",
            $1, $2, $4 / least[$1], $6 / last[$1]
        if ($2 == 100000 && $4 > 2 * least[$1]) { grows = 1 }
    } END { exit grows }' "$scratch/said"
