# Sourced: what a measurement of the server's own functions needs. Reads `--debug`, makes a scratch directory, and starts a
# PostgreSQL of its own where SUTURE_TEST_POSTGRES names none. Expects deploy/packages.sh. Leaves `profile` and `scratch`.
# shellcheck shell=bash

profile=(--release)
while [ $# -gt 0 ]; do
    case "$1" in
    --debug) profile=(); shift ;;
    *) echo "usage: $0 [--debug]" >&2; exit 64 ;;
    esac
done

scratch=$(mktemp -d /tmp/suture-load.XXXXXX)
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
        cd "$scratch" || exit
        "${as_postgres[@]}" "$pg_bin/initdb" -D "$scratch/data" -U suture -A trust -E UTF8 --locale=C >/dev/null
        "${as_postgres[@]}" "$pg_bin/pg_ctl" -D "$scratch/data" -l "$scratch/data/log" -w -t 60 \
            -o "-k $scratch -c listen_addresses=" start >/dev/null
    )
    export SUTURE_TEST_POSTGRES="postgres://suture@localhost/postgres?host=$scratch"
fi

# The ignored test of that name; what it says is kept in the scratch directory.
measure() {
    cargo test "${profile[@]}" --locked -p suture-server --lib -- --ignored --nocapture "$1" | tee "$scratch/said" |
        grep -v -E '^(SQLite|PostgreSQL|database)' >&2 || true
    grep -q 'test result: ok. 1 passed' "$scratch/said"
}
