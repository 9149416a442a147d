#!/usr/bin/env bash
# Bills of material of Suture's own programs, as CycloneDX 1.5, by cargo-cyclonedx: one for each program, of what is linked into it.
#
#   deploy/sbom.sh DIR
#
# Writes DIR/<program>.cdx.json. Set SOURCE_DATE_EPOCH, and the same source gives the same bytes. What they lack of NTIA's minimum
# elements `suturectl bundle build` says: cargo knows no supplier of a crate.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
to=${1:?usage: deploy/sbom.sh DIR}
programs=(server/suture-server agent/suture-agent agent/suture-boot ctl/suturectl)

if ! cargo cyclonedx --version >/dev/null 2>&1; then
    echo "missing: cargo-cyclonedx; install it with: cargo install cargo-cyclonedx --locked" >&2
    exit 69 # EX_UNAVAILABLE
fi
mkdir -p "$to"
to=$(cd "$to" && pwd)

# The tool writes beside each Cargo.toml, also of programs that are not shipped.
mapfile -t crates < <(cd "$repo" && dirname -- */Cargo.toml)
tidy() { (cd "$repo" && for crate in "${crates[@]}"; do rm -f "$crate"/*_bin.cdx.json; done); }
trap tidy EXIT
(cd "$repo" && cargo cyclonedx --format json --spec-version 1.5 --describe binaries --no-build-deps --quiet)
for program in "${programs[@]}"; do
    # Where the source lay on this machine is nobody's business, and differs.
    sed "s|file://$repo/|file:///suture/|g" "$repo/${program}_bin.cdx.json" >"$to/${program#*/}.cdx.json"
    echo "$to/${program#*/}.cdx.json"
done
