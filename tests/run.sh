#!/usr/bin/env bash
# The test command: formatting, lints, every test on SQLite and on a PostgreSQL of its own, the documents' examples, and the
# shell scripts' syntax. Runs as root and as an ordinary user. Arguments go to `cargo nextest run`.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/packages.sh
. deploy/packages.sh

# With the seconds since the beginning.
step() { printf '\n== [%4ds] %s\n' "$SECONDS" "$*"; }

# Where initdb, pg_ctl and postgres are: Debian keeps them out of the PATH. The newest that is installed.
postgres_bin() {
    local dir
    for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5 -rn); do
        if [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ]; then
            printf '%s\n' "$dir"
            return
        fi
    done
    dir=$(dirname "$(readlink -f "$(command -v pg_ctl)" 2>/dev/null || true)")
    [ -x "$dir/initdb" ] && printf '%s\n' "$dir"
}

step "tools"
need cc=build-essential make=build-essential softhsm2-util=softhsm2 shellcheck=shellcheck strace=strace systemd-analyze=systemd fw_setenv=libubootenv-tool rauc=rauc mksquashfs=squashfs-tools dbus-daemon=dbus-daemon jq=jq
pg_bin=$(postgres_bin || true)
if [ -z "$pg_bin" ]; then
    install_packages postgresql
    pg_bin=$(postgres_bin)
fi
if ! cargo nextest --version >/dev/null 2>&1; then
    echo "installing from crates.io: cargo-nextest"
    cargo install cargo-nextest --locked
fi
cargo --version
cargo nextest --version | head -n 1
# What our TUF client is compared with.
tests/oracle/setup.sh
"$pg_bin/postgres" --version

# A socket's path must stay short and the user who runs the cluster must reach it, hence /tmp and not TMPDIR.
scratch=$(mktemp -d /tmp/suture-tests.XXXXXX)
as_postgres=()
if [ "$(id -u)" -eq 0 ]; then
    # initdb and postgres refuse root.
    as_postgres=(runuser -u postgres --)
    chown postgres: "$scratch"
fi
# Arguments, not a file of configuration: nothing of the machine's own PostgreSQL is read or touched. The cluster is
# thrown away, so it need not survive a power cut.
pg_options="-k $scratch -c listen_addresses= -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=300"

finish() {
    local status=$?
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

step "PostgreSQL in $scratch"
(
    cd "$scratch"
    "${as_postgres[@]}" "$pg_bin/initdb" -D "$scratch/data" -U suture -A trust -E UTF8 --locale=C --no-sync >"$scratch/initdb.log" ||
        { cat "$scratch/initdb.log" >&2; exit 1; }
    # -w: returns once the server accepts connections, or fails with its log.
    "${as_postgres[@]}" "$pg_bin/pg_ctl" -D "$scratch/data" -l "$scratch/data/log" -o "$pg_options" -w -t 60 start >/dev/null ||
        { cat "$scratch/data/log" >&2; exit 1; }
)
export SUTURE_TEST_POSTGRES="postgres://suture@localhost/postgres?host=$scratch"
echo "SUTURE_TEST_POSTGRES=$SUTURE_TEST_POSTGRES"

step "shell scripts"
while IFS= read -r script; do
    case "$(head -n 1 "$script")" in
    '#!/bin/sh') sh -n "$script" ;;
    *) bash -n "$script" ;;
    esac
    echo "ok $script"
done < <(find .ci deploy tests -type f \( -name '*.sh' -o -path '.ci/run' \) | sort)
find .ci deploy tests -type f \( -name '*.sh' -o -path '.ci/run' \) -exec shellcheck -x -S warning {} +

step "formatting"
cargo fmt --all --check

step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

step "licences, bans, sources"
# Not installed by itself: it takes longer to build than all of this. Known flaws are looked for before a release, see CONTRIBUTING.md.
if cargo deny --version >/dev/null 2>&1; then
    cargo deny --locked check bans licenses sources
else
    echo "NOT RUN: cargo-deny is not installed: cargo install cargo-deny --locked" >&2
fi

step "tests, on SQLite and on PostgreSQL"
# Cargo builds a program for its own package's integration tests only, and these are another package's. With the tests, so that nothing is
# built twice.
cargo build --workspace --locked --bins --tests
# Three places a core, and what else differs in CI: see .config/nextest.toml.
profile=default
[ -z "${CI:-}" ] || profile=ci
cargo nextest run --workspace --locked --profile "$profile" --test-threads "$(($(nproc) * 3))" "$@"

step "Debian packages"
tests/packages.sh

step "repositories signed with other kinds of keys"
# Apart, because no program may be built with the feature; of the whole workspace, so that little is built again.
cargo nextest run --workspace --locked --features suture-core/interop --test differential interop

step "examples in the documentation"
cargo test --workspace --doc --locked --quiet

step "all passed"
