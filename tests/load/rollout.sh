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

# shellcheck source=tests/load/postgres.sh
. tests/load/postgres.sh

measure growth

printf '\nmilliseconds, medians; every report is a transaction of its own, with its signature verified and its step\n\n'
grep -E '^(database|SQLite|PostgreSQL)' "$scratch/said" | column -t -s "$(printf '\t')"
echo
awk -F '\t' '$1 == "SQLite" || $1 == "PostgreSQL" {
        if (!($1 in least)) { least[$1] = $4; last[$1] = $6 }
        printf "%-11s %7d devices: a report in a wave of 100 takes %.2f of what it takes among 1,000, one in the last wave %.2f\n",
            $1, $2, $4 / least[$1], $6 / last[$1]
        if ($2 == 100000 && $4 > 2 * least[$1]) { grows = 1 }
    } END { exit grows }' "$scratch/said"
