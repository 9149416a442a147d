#!/usr/bin/env bash
# Makes the Debian packages, looks at what is in them, installs them into a root of their own, runs what they brought, and takes
# them out again: what is its owner's stays, and is deleted by a purge that says so.
#   tests/packages.sh                     of the programs that `cargo build` has made (tests/run.sh does this)
#   tests/packages.sh DIR                 of packages that deploy/package.sh has put there
# Runs as root: dpkg wants to give files to their owners.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/packages.sh
. deploy/packages.sh

if [ "$(id -u)" -ne 0 ]; then
    echo "NOT RUN: packages are installed by root" >&2
    # Which CI does not forgive.
    if [ "${CI:-}" = true ]; then exit 1; fi
    exit 0
fi
need dpkg-deb=dpkg systemd-analyze=systemd systemd-sysusers=systemd man=man-db
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

if [ $# -gt 0 ]; then
    from=$1
    need lintian=lintian
else
    from=$scratch/packages
    deploy/package.sh -o "$from" --programs "${CARGO_TARGET_DIR:-target}/debug" --uncompressed >/dev/null
fi
declare -A file
for package in suture-server suture-agent suturectl; do
    file[$package]=$(echo "$from/$package"_*.deb)
    [ -f "${file[$package]}" ] || fail "no package $package in $from"
done
# A root with a user database, and nothing else.
root=$scratch/root
mkdir -p "$root"/{etc,var/lib/dpkg,usr,run}
touch "$root/var/lib/dpkg/status"
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"
# Its scripts run outside of it and are told where it is (DPKG_ROOT). What it depends on is this machine's.
in_root() {
    dpkg --root="$root" --force-script-chrootless --force-depends --force-not-root --log=/dev/null "$@" 2>&1
}
in_root -i "${file[@]}" >"$scratch/installed" || fail "$(cat "$scratch/installed")"
grep -q 'suture-server init' "$scratch/installed" || fail "nobody is told how the server is set up"

for program in suture-server suture-agent suturectl; do
    said=$("$root/usr/bin/$program" --version) || fail "$program does not run"
    [ "$said" = "$program $(dpkg-deb -f "${file[$program]}" Version)" ] || fail "$program says that it is $said"
done
# It takes a directory; without one the command line is wrong, and it says so.
code=0
"$root/usr/bin/suture-boot" 2>/dev/null || code=$?
[ "$code" = 64 ] || fail "suture-boot does not run: $code"
for page in suture-server.8 suture-agent.8 suture-boot.8; do
    [ -s "$root/usr/share/man/man8/$page.gz" ] || fail "no page $page"
done
[ -s "$root/usr/share/man/man1/suturectl.1.gz" ] || fail "no page suturectl.1"
while IFS= read -r page; do
    said=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
    [ -z "$said" ] || fail "$page: $said"
done < <(find "$root/usr/share/man" -name '*.gz')
for program in suture-server suture-agent suturectl; do
    bash -n "$root/usr/share/bash-completion/completions/$program"
    [ -s "$root/usr/share/zsh/vendor-completions/_$program" ] || fail "no completions of $program for zsh"
    [ -s "$root/usr/share/fish/vendor_completions.d/$program.fish" ] || fail "no completions of $program for fish"
    [ -s "$root/usr/share/doc/$program/copyright" ] || fail "no licence of $program"
    zcat "$root/usr/share/doc/$program/third-party.txt.gz" | grep '^tokio 1' >/dev/null || fail "$program does not say what it is linked with"
done

# Each page leads to pages that are there as well.
for program in suture-server suturectl; do
    [ -s "$root/usr/share/doc/$program/runbooks/README.md" ] || fail "no runbooks with $program"
done
while IFS= read -r page; do
    while IFS= read -r link; do
        [ -e "${page%/*}/$link" ] || fail "$page leads to $link, which is not packaged"
    done < <(grep -o '](\([^)#]*\)' "$page" | sed 's/^](//' | grep -v '^[a-z]*:' | sort -u)
done < <(find "$root/usr/share/doc" -name '*.md')

# The units are sound, and none is on.
for unit in suture-server suture-agent suture-boot; do
    [ -s "$root/usr/lib/systemd/system/$unit.service" ] || fail "no unit $unit"
    [ -z "$(find "$root/etc" -name "$unit.service")" ] || fail "$unit is enabled before it is configured"
done
mkdir -p "$root/usr/lib/systemd/system" "$root/etc/systemd/system"
for unit in /usr/lib/systemd/system/{sysinit,basic,shutdown,network-online,network,multi-user}.target; do
    [ ! -e "$unit" ] || cp "$unit" "$root/usr/lib/systemd/system/"
done
systemd-analyze --root="$root" --man=no verify suture-server.service suture-agent.service suture-boot.service >"$scratch/said" 2>&1 ||
    fail "the units: $(cat "$scratch/said")"
[ ! -s "$scratch/said" ] || fail "the units: $(cat "$scratch/said")"

# The server's user and directory.
uid=$(sed -n 's/^suture-server:[^:]*:\([0-9]*\):.*/\1/p' "$root/etc/passwd")
[ -n "$uid" ] || fail "no user suture-server"
[ "$(stat -c '%u %a' "$root/var/lib/suture-server")" = "$uid 700" ] || fail "the server's directory is not its own"

# Removed, state stays; purged, it goes, and that is said.
mkdir -p "$root/var/lib/suture-agent"
for package in suture-server suture-agent; do
    echo key >"$root/var/lib/$package/key"
done
# Its owner has moved the agent's state to another disk.
mkdir -p "$root/srv"
mv "$root/var/lib/suture-agent" "$root/srv/agent"
ln -s ../../srv/agent "$root/var/lib/suture-agent"
mkdir "$root/srv/agent/deep"
in_root -i "${file[@]}" >"$scratch/said" || fail "once more: $(cat "$scratch/said")"
in_root -r suture-server suture-agent suturectl >"$scratch/said" || fail "removal: $(cat "$scratch/said")"
[ ! -e "$root/usr/bin/suture-agent" ] || fail "a removed program is still there"
for package in suture-server suture-agent; do
    [ -s "$root/var/lib/$package/key" ] || fail "removing $package deleted its keys"
    grep -q "/var/lib/$package stays" "$scratch/said" || fail "removing $package does not say what stays"
done
in_root -P suture-server suture-agent suturectl >"$scratch/said" || fail "purge: $(cat "$scratch/said")"
for package in suture-server suture-agent; do
    [ ! -e "$root/var/lib/$package" ] || fail "purging $package leaves its state"
    [ ! -L "$root/var/lib/$package" ] || fail "purging $package leaves the link to its state"
    grep -q "deleting .*/var/lib/$package" "$scratch/said" || fail "purging $package does not say what it deletes"
done
[ ! -e "$root/srv/agent" ] || fail "purging suture-agent leaves its keys behind a link"
left=$(find "$root/usr" -type f ! -path '*/systemd/system/*.target')
[ -z "$left" ] || fail "left behind: $left"
echo "packages: installed, run, removed and purged: ${file[*]##*/}"
