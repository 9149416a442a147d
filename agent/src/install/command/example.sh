#!/bin/sh
# An installer for Suture: two directories, a and b, and the link `current` that names the one in use.
set -eu
export LC_ALL=C
# The device's software need not be root, and the agent's service lets nobody else in.
umask 022
cd "$SUTURE_DIR"

# A step of an agent that was killed may still be at work: one at a time.
exec 9>lock
flock 9

current=$(readlink current || true)
case "$current" in
a) spare=b ;;
*) spare=a ;;
esac

# Which version a directory holds: `digest` is written last, so a directory without it holds none.
holds() { cat "$1/digest" 2>/dev/null || true; }

# Makes `current` name a directory. The rename is the instant at which it does; sync makes it last.
point() {
    ln -sfn "$1" current.new
    mv -T current.new current
    sync -f .
}

# Empties a place, first of what says that it holds a version. In a payload's directory that may not be written nothing can
# be removed: the agent's service runs as root, and without root's power over modes.
clear() {
    rm -f "$1/digest"
    if [ -d "$1" ]; then chmod -R u+rwX "$1"; fi
    rm -rf "$1"
}

case "$1" in
state) # What runs, what lies beside it, and what was switched to: here the same link says both.
    if [ -n "$current" ]; then
        echo "running $(holds "$current") $current"
        echo "switched $(holds "$current")"
    fi
    if [ -n "$(holds "$spare")" ]; then echo "prepared $(holds "$spare") $spare"; fi
    ;;
prepare) # Writes the directory that is not in use, beside its place; whole or not at all.
    clear "$spare.new"
    mkdir "$spare.new"
    for payload in "$SUTURE_BUNDLE"/*; do
        # -H: an image is a link to the bytes. Links within a directory stay links.
        if ! cp -RHp "$payload" "$spare.new/" 2>cp.log; then
            clear "$spare.new"
            cat cp.log >&2
            if grep -q 'No space left' cp.log; then exit 28; fi
            exit 1
        fi
        if [ -f "$payload" ]; then chmod 644 "$spare.new/${payload##*/}"; fi
    done
    echo "$SUTURE_MANIFEST" >"$spare.new/digest"
    sync -f .
    clear "$spare"
    mv "$spare.new" "$spare"
    sync -f .
    ;;
path) # Where a payload of that version lies: the agent hashes it, and takes bytes from it for the next version.
    for side in "$spare" "$current"; do
        if [ -n "$side" ] && [ "$(holds "$side")" = "$SUTURE_MANIFEST" ]; then echo "$PWD/$side/$2"; fi
    done
    ;;
switch)
    if [ "$(holds "$spare")" = "$SUTURE_MANIFEST" ]; then point "$spare"; fi
    ;;
revert)
    if [ -n "$current" ] && [ "$(holds "$current")" = "$SUTURE_MANIFEST" ]; then point "$spare"; fi
    ;;
commit) ;;                           # nothing to tell a boot loader
restart | probe | settle) exit 10 ;; # the agent's own way: [restart] and [health]
verify) exit 1 ;;                    # never asked: `path` shows the bytes, and the agent hashes them itself
*)
    echo "unknown step $1" >&2
    exit 1
    ;;
esac
