# Sourced by the scripts that need more than a Rust toolchain. Names each package that it installs before it does.
# shellcheck shell=bash

# missing_packages COMMAND=PACKAGE...: prints the packages whose command is not there.
missing_packages() {
    local pair
    for pair in "$@"; do
        # A program, not what the shell has of the same name (`time`).
        PATH="$PATH:/usr/sbin:/sbin" type -P "${pair%%=*}" >/dev/null || printf '%s\n' "${pair#*=}"
    done | sort -u
}

# install_packages PACKAGE...: as root directly, else through sudo if that needs no password; else says what is missing.
install_packages() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            as_root=(sudo -n)
        else
            printf 'missing: %s\n' "$*" >&2
            printf 'this user cannot install packages; ask an administrator for: apt-get install -y --no-install-recommends %s\n' "$*" >&2
            return 69 # EX_UNAVAILABLE
        fi
    fi
    if ! command -v apt-get >/dev/null; then
        printf 'missing: %s, and this is no Debian: install them by hand\n' "$*" >&2
        return 69
    fi
    printf 'installing Debian packages: %s\n' "$*"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need COMMAND=PACKAGE...: installs what is missing of them.
need() {
    local packages
    mapfile -t packages < <(missing_packages "$@")
    [ "${#packages[@]}" -eq 0 ] || install_packages "${packages[@]}"
}
