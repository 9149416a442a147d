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

# shellcheck source=tests/load/postgres.sh
. tests/load/postgres.sh

measure exposure_load

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
