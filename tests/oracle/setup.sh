#!/usr/bin/env bash
# Python's reference implementation of TUF and its dateutil, by which the differential tests are judged, in a virtual
# environment of its own under target/. Does nothing where it is there already.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/packages.sh
. deploy/packages.sh

made=target/oracle
wanted=tests/oracle/requirements.txt
if cmp -s "$wanted" "$made/requirements.txt" && "$made/bin/python" -c 'import dateutil, tuf' 2>/dev/null; then
    exit 0
fi
need python3=python3
# Debian keeps what makes virtual environments in a package of its own.
python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
rm -rf "$made"
python3 -m venv "$made"
"$made/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r "$wanted"
cp "$wanted" "$made/requirements.txt"
