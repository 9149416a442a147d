#!/usr/bin/env bash
# Makes the Debian packages suture-server, suture-agent (with suture-boot) and suturectl.
#   deploy/package.sh [-o DIR]                    builds the programs as they are released; into target/packages by itself
#   deploy/package.sh -o DIR --programs DIR       takes programs that are built already
# Whoever ships the packages says who answers for them: SUTURE_MAINTAINER="Acme Medical <suture@acme.example>".
# For a device of another architecture: CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu, and a suturectl of this machine for its
# manual in SUTURECTL.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
# shellcheck source=deploy/packages.sh
. deploy/packages.sh
# shellcheck source=deploy/reproducible.sh
. deploy/reproducible.sh
umask 022

out=${CARGO_TARGET_DIR:-$root/target}/packages programs='' compression=xz
while [ $# -gt 0 ]; do
    case "$1" in
    -o) out=$2 && shift 2 ;;
    --programs) programs=$2 && shift 2 ;;
    # For a test, which throws them away.
    --uncompressed) compression=none && shift ;;
    *)
        echo "usage: deploy/package.sh [-o DIR] [--programs DIR] [--uncompressed]" >&2
        exit 64
        ;;
    esac
done

need dpkg-deb=dpkg dpkg-shlibdeps=dpkg-dev gzip=gzip
reproducible "$root"
if [ -z "$programs" ]; then
    # Each by itself: built together, the agent would be given what only the others ask of a crate.
    for crate in suture-server suture-agent suture-ctl; do
        cargo build --release --locked -p "$crate" --bins
    done
    programs=${CARGO_TARGET_DIR:-$root/target}/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}release
fi
programs=$(cd "$programs" && pwd)
suturectl=${SUTURECTL:-$programs/suturectl}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
case "${CARGO_BUILD_TARGET:-}" in
'') architecture=$(dpkg --print-architecture) ;;
x86_64-*) architecture=amd64 ;;
aarch64-*) architecture=arm64 ;;
armv7-*) architecture=armhf ;;
*)
    echo "no Debian architecture is known for $CARGO_BUILD_TARGET" >&2
    exit 64
    ;;
esac
maintainer=${SUTURE_MAINTAINER:-The Suture authors <packages@suture.invalid>}
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$out"
out=$(cd "$out" && pwd)

# put MODE SOURCE PLACE: one file of the package that is being made.
put() { install -D -m "$1" "$2" "$dir/$3"; }
# packed PLACE: from standard input.
packed() { mkdir -p "$dir/${1%/*}" && gzip -9n >"$dir/$1"; }

# begin PACKAGE CRATE: what every package has.
begin() {
    package=$1 dir=$stage/$1
    local doc=usr/share/doc/$package
    mkdir -p "$dir/DEBIAN" "$dir/$doc"
    chmod 0755 "$dir" "$dir/DEBIAN"
    {
        cat deploy/debian/copyright
        echo "License: Expat"
        # The text itself, indented; an empty line is a dot.
        sed -n '/^Permission/,$p' LICENSE-MIT | sed 's/^$/./; s/^/ /'
    } >"$dir/$doc/copyright"
    deploy/notices.sh "$2" ${CARGO_BUILD_TARGET:+"$CARGO_BUILD_TARGET"} | packed "$doc/third-party.txt.gz"
    packed "$doc/CHANGELOG.md.gz" <CHANGELOG.md
    packed "$doc/changelog.gz" <<TEXT
$package ($version) unstable; urgency=medium

  * What has changed is told in CHANGELOG.md.gz beside this file.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
TEXT
}

# manual PROGRAM...: ready-made man pages and completions of these.
manual() {
    local program page
    for program in "$@"; do
        for page in deploy/manual/"$program"*.8; do
            packed "usr/share/man/man8/${page##*/}.gz" <"$page"
        done
        [ ! -e "deploy/manual/$program.bash" ] || completions "$program" "deploy/manual/$program.bash" "deploy/manual/_$program" "deploy/manual/$program.fish"
    done
}

# completions PROGRAM BASH ZSH FISH
completions() {
    put 0644 "$2" "usr/share/bash-completion/completions/$1"
    put 0644 "$3" "usr/share/zsh/vendor-completions/_$1"
    put 0644 "$4" "usr/share/fish/vendor_completions.d/$1.fish"
}

# finish PROGRAM...: control file, scripts and sums, and the package.
finish() {
    local program place script
    for program in "$@"; do
        put 0755 "$programs/$program" "usr/bin/$program"
    done
    for script in postinst prerm postrm; do
        [ ! -e "deploy/debian/$package/$script" ] || install -m 0755 "deploy/debian/$package/$script" "$dir/DEBIAN/$script"
    done
    # Which libraries, and which versions of them at least: dpkg-shlibdeps wants to see a source package.
    mkdir -p "$stage/source/debian"
    printf 'Source: suture\n\nPackage: %s\nArchitecture: any\n' "$package" >"$stage/source/debian/control"
    local libraries
    libraries=$(cd "$stage/source" && dpkg-shlibdeps -O "${@/#/-e$dir/usr/bin/}" | sed -n 's/^shlibs:Depends=//p')
    {
        printf 'Package: %s\nSource: suture\nVersion: %s\nArchitecture: %s\nMaintainer: %s\nPriority: optional\n' \
            "$package" "$version" "$architecture" "$maintainer"
        printf 'Installed-Size: %s\n' "$(du -k -s --apparent-size --exclude=DEBIAN "$dir" | cut -f 1)"
        sed "s/@libraries@/$libraries/" "deploy/debian/$package/control"
    } >"$dir/DEBIAN/control"
    (cd "$dir" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | sort | xargs -d '\n' md5sum >DEBIAN/md5sums)
    # Modes are the package's, not those of whoever builds.
    find "$dir" -type d -exec chmod 0755 {} +
    place=$out/${package}_${version}_$architecture.deb
    # One thread, so that how many cores there are changes nothing.
    dpkg-deb --root-owner-group "-Z$compression" --threads-max=1 --build "$dir" "$place" >/dev/null
    rm -rf "$dir"
    echo "$place"
}

# pages: for whoever is woken at 02:00.
pages() {
    local page
    for page in deploy/runbooks/*.md; do
        put 0644 "$page" "usr/share/doc/$package/runbooks/${page##*/}"
    done
    put 0644 deploy/reasons.md "usr/share/doc/$package/reasons.md"
}

units=usr/lib/systemd/system

begin suture-server suture-server
put 0644 deploy/suture-server.service "$units/suture-server.service"
put 0644 deploy/debian/suture-server/sysusers usr/lib/sysusers.d/suture-server.conf
put 0644 deploy/debian/suture-server/tmpfiles usr/lib/tmpfiles.d/suture-server.conf
put 0644 deploy/server.toml usr/share/doc/suture-server/examples/server.toml
pages
manual suture-server
finish suture-server

# No agent.toml in /etc: it says what the device is, and an example there would be somebody else's device.
begin suture-agent suture-agent
put 0644 deploy/suture-agent.service "$units/suture-agent.service"
put 0644 deploy/suture-boot.service "$units/suture-boot.service"
for example in agent.toml boot.cmd pump.service suture-agent.image.conf; do
    put 0644 "deploy/$example" "usr/share/doc/suture-agent/examples/$example"
done
manual suture-agent suture-boot
finish suture-agent suture-boot

begin suturectl suture-ctl
pages
for shell in bash zsh fish; do
    "$suturectl" completions "$shell" >"$stage/$shell"
done
completions suturectl "$stage/bash" "$stage/zsh" "$stage/fish"
"$suturectl" man -o "$dir/usr/share/man/man1" >/dev/null
gzip -9n "$dir"/usr/share/man/man1/*
finish suturectl
