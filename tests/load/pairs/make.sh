# Sourced by pairs.sh. Makes the four pairs below $dir: <pair>/{old,new} (trees; for d files), <pair>/{old,new}.tar for the
# peers, <pair>/{old,new}.payload as a bundle holds them, and <pair>/sources.tsv: what they were made of.
# shellcheck shell=bash disable=SC2034,SC2154

sources_tsv_head='side\tfile\tbytes\tsha256'

# debian_sources: Debian's own entries among the machine's sources, so that only its archive is asked. One-line and deb822 form.
debian_sources() {
    local code
    # shellcheck source=/dev/null
    code=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    [ -n "$code" ] || { echo "/etc/os-release names no Debian release" >&2; return 69; }
    mkdir -p "$dir/apt/sources.list.d"
    rm -f "$dir"/apt/sources.list.d/*
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } | awk -v code="$code" '
        /^deb[ \t]/ {
            rest = $0
            sub(/^deb[ \t]+(\[[^]]*\][ \t]+)?/, "", rest)
            split(rest, field, /[ \t]+/)
            if (field[2] ~ "^" code "(-updates|-security|/updates)?$") print
        }' >"$dir/apt/sources.list.d/debian.list"
    { cat /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } | awk -v code="$code" -v RS= -v ORS='\n\n' '
        # A paragraph counts if all its suites are of the release.
        {
            suites = types = ""; enabled = 1
            count = split($0, line, "\n")
            for (i = 1; i <= count; i++) {
                if (line[i] ~ /^Suites:/) { suites = line[i]; sub(/^Suites:[ \t]*/, "", suites) }
                if (line[i] ~ /^Types:.*[ \t]deb([ \t]|$)/) types = "deb"
                if (line[i] ~ /^Enabled:[ \t]*(no|false)/) enabled = 0
            }
            ours = suites != "" && types != "" && enabled
            number = split(suites, suite, /[ \t]+/)
            for (i = 1; i <= number; i++) if (suite[i] !~ "^" code "(-updates|-security|/updates)?$") ours = 0
            if (ours) print
        }' >"$dir/apt/sources.list.d/debian.sources"
}

# apt_ready: lists and cache of our own; the system's are neither read nor written, and root is not needed.
apt_ready() {
    [ ! -s "$dir/apt/versions.tsv" ] || return 0
    debian_sources
    mkdir -p "$dir"/apt/lists/partial "$dir"/apt/archives/partial "$dir/debs"
    : >"$dir/apt/status"
    cat >"$dir/apt/apt.conf" <<CONF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$dir/apt/sources.list.d";
Dir::State::lists "$dir/apt/lists";
Dir::State::status "$dir/apt/status";
Dir::Cache "$dir/apt";
Dir::Cache::archives "$dir/apt/archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
APT::Sandbox::User "root";
#clear APT::Architectures;
APT::Architectures { "$(dpkg --print-architecture)"; };
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
Acquire::Languages "none";
CONF
    apt-get -qq -c "$dir/apt/apt.conf" update
    local file
    # name, version, priority; of every suite. apt puts in the name.
    # shellcheck disable=SC2016
    apt-get -c "$dir/apt/apt.conf" indextargets --format '$(FILENAME)' 'Created-By: Packages' 'Origin: Debian' |
        while read -r file; do /usr/lib/apt/apt-helper cat-file "$file"; echo; done | awk -v OFS='\t' '
        /^Package: / { name = $2 }
        /^Version: / { version = $2 }
        /^Priority: / { priority = $2 }
        /^$/ { if (name != "") print name, version, priority; name = "" }' | sort -u >"$dir/apt/versions.partial"
    [ -s "$dir/apt/versions.partial" ] ||
        { echo "no package list of Debian's came; do the machine's apt sources name $(. /etc/os-release && echo "$VERSION_CODENAME")?" >&2; return 69; }
    mv "$dir/apt/versions.partial" "$dir/apt/versions.tsv"
}

# versions NAME: its versions in the archive, oldest first.
versions() {
    local sorted=() version i
    while read -r version; do
        for ((i = ${#sorted[@]}; i > 0; i--)); do
            dpkg --compare-versions "$version" lt "${sorted[i - 1]}" || break
        done
        sorted=("${sorted[@]:0:i}" "$version" "${sorted[@]:i}")
    done < <(awk -F '\t' -v name="$1" '$1 == name { print $2 }' "$dir/apt/versions.tsv" | sort -u)
    printf '%s\n' "${sorted[@]}"
}

# named PATTERN: the last name in the archive that an extended regular expression matches whole, numbers compared as such, or
# nothing.
named() { cut -f 1 "$dir/apt/versions.tsv" | awk -v pattern="^($1)\$" '$0 ~ pattern' | sort -uV | tail -n 1; }

# deb NAME=VERSION: where it lies once it was fetched.
deb() {
    local version=${1#*=}
    echo "$dir/debs/${1%%=*}_${version//:/%3a}.deb"
}

# fetch NAME=VERSION...: what is not there yet, all in one call. apt verifies what it fetches.
fetch() {
    local wanted missing=() file
    for wanted in "$@"; do [ -s "$(deb "$wanted")" ] || missing+=("$wanted"); done
    [ "${#missing[@]}" -gt 0 ] || return 0
    rm -rf "$dir/debs/partial"
    mkdir -p "$dir/debs/partial"
    (cd "$dir/debs/partial" && apt-get -qq -c "$dir/apt/apt.conf" download "${missing[@]}")
    # Without the architecture, which is the machine's.
    for file in "$dir/debs/partial"/*.deb; do mv "$file" "$dir/debs/$(basename "${file%_*}").deb"; done
}

# unpack PAIR SIDE FILE.deb: into the side's tree, and notes it in the pair's sources.
unpack() {
    mkdir -p "$dir/$1/$2"
    dpkg-deb -x "$3" "$dir/$1/$2"
    note "$@"
}
# note PAIR SIDE FILE
note() {
    printf '%s\t%s\t%s\t%s\n' "$2" "$(basename "$3")" "$(stat -c %s "$3")" "$(sha256sum "$3" | cut -d ' ' -f 1)" >>"$dir/$1/sources.tsv"
}

# Of these the first twelve are upgraded that the archive has in two versions: what a root file system is made of, and large.
root_upgraded=(libc6 'libssl[0-9.]+(t64)?' systemd udev 'libperl[0-9.]+(t64)?' 'perl-modules-[0-9.]+' 'libpython3[.][0-9]+-stdlib'
    'libpython3[.][0-9]+-minimal' 'libnode[0-9]+' git samba-libs 'libgs10' 'libruby[0-9.]+' libglib2.0-0 'php[0-9.]+-cli' 'postgresql-[0-9]+'
    libmariadb3 'imagemagick-[0-9]-common' 'libclamav[0-9]+(t64)?' containerd vim-runtime krb5-locales 'libxml2(-[0-9]+)?' curl)
# As a rule the same on both sides, as is all that these and the twelve need.
root_kept=(python3 openssh-server)

make_a() {
    apt_ready
    local pattern name both closure upgraded=() roots=() olds=() news=()
    for pattern in "${root_upgraded[@]}"; do
        name=$(named "$pattern")
        [ -n "$name" ] || continue
        roots+=("$name")
        mapfile -t both < <(versions "$name")
        [ "${#both[@]}" -lt 2 ] || upgraded+=("$name")
        [ "${#upgraded[@]}" -lt 12 ] || break
    done
    [ "${#upgraded[@]}" -ge 6 ] || { echo "Debian's archive has two versions of only ${#upgraded[@]} packages that pair a could upgrade" >&2; return 69; }
    for pattern in "${root_kept[@]}"; do
        name=$(named "$pattern")
        [ -z "$name" ] || roots+=("$name")
    done
    # What a system of these and of Debian's required packages consists of, as apt would install it on an empty disk.
    mapfile -t -O "${#roots[@]}" roots < <(awk -F '\t' '$3 == "required" { print $1 }' "$dir/apt/versions.tsv" | sort -u)
    mapfile -t closure < <(apt-get -c "$dir/apt/apt.conf" -s -y --no-install-recommends install "${roots[@]}" |
        awk '$1 == "Inst" { print $2 }' | LC_ALL=C sort)
    [ "${#closure[@]}" -gt 50 ] || { echo "apt finds no root file system in these packages: ${roots[*]}" >&2; return 69; }
    for name in "${closure[@]}"; do
        mapfile -t both < <(versions "$name")
        news+=("$name=${both[-1]}")
        if [[ " ${upgraded[*]} " == *" $name "* ]]; then olds+=("$name=${both[0]}"); else olds+=("$name=${both[-1]}"); fi
    done
    fetch "${olds[@]}" "${news[@]}"
    for name in "${olds[@]}"; do unpack a old "$(deb "$name")"; done
    for name in "${news[@]}"; do unpack a new "$(deb "$name")"; done
}

# What a Python application brings along; one of them stays as it is. The index keeps them all, so they are named.
bundle_old=(cryptography==44.0.2 grpcio==1.71.0 lxml==5.3.1 pillow==11.2.1)
bundle_new=(cryptography==44.0.3 grpcio==1.71.2 lxml==5.3.2 pillow==11.2.1)

make_b() {
    need pip3=python3-pip
    local side wheel platform
    platform=$(uname -m)
    for side in old new; do
        local -n wanted=bundle_$side
        mkdir -p "$dir/wheels/$side" "$dir/b/$side"
        pip3 download --quiet --no-deps --only-binary=:all: --implementation cp --python-version 3.11 \
            --platform "manylinux_2_28_$platform" --platform "manylinux_2_17_$platform" --platform "manylinux2014_$platform" \
            --dest "$dir/wheels/$side" "${wanted[@]}"
        for wheel in "$dir/wheels/$side"/*.whl; do
            python3 -m zipfile -e "$wheel" "$dir/b/$side"
            note b "$side" "$wheel"
        done
    done
}

# kernel_image FILE OUT: the program inside a boot image that is packed by xz, zstd, gzip or lz4; fails where there is none.
kernel_image() {
    local magic tool offset
    while read -r magic tool; do
        while IFS=: read -r offset _; do
            # Behind the packed program other things follow, at which the unpacking program grumbles; what came out counts.
            tail -c "+$((offset + 1))" "$1" | $tool -dc >"$2" 2>/dev/null || true
            [ "$(head -c 4 "$2" | tail -c 3)" != ELF ] || return 0
        done < <(LC_ALL=C grep -abo -P "$magic" "$1")
    done <<'MAGICS'
\xfd7zXZ\x00 xz
\x28\xb5\x2f\xfd zstd
\x1f\x8b\x08\x00 gzip
\x02\x21\x4c\x18 lz4
MAGICS
    rm -f "$2"
    return 1
}

make_c() {
    apt_ready
    local flavour series abis both side name image
    flavour=cloud-$(dpkg --print-architecture)
    # The series that is Debian's default: security has kernels of later ones too.
    series=$(apt-cache -c "$dir/apt/apt.conf" show --no-all-versions "linux-image-$flavour" |
        sed -nE 's/^Depends: .*(linux-image-[0-9]+\.[0-9]+\.).*/\1/p')
    mapfile -t abis < <(cut -f 1 "$dir/apt/versions.tsv" | grep -F -- "$series" | grep -E -- "[0-9]-$flavour\$|[0-9]\\+deb[0-9]+-$flavour\$" | sort -uV)
    [ "${#abis[@]}" -ge 2 ] || { echo "Debian's archive has only ${#abis[@]} kernels $series*-$flavour" >&2; return 69; }
    for side in old new; do
        name=${abis[0]}
        [ "$side" = old ] || name=${abis[-1]}
        mapfile -t both < <(versions "$name")
        fetch "$name=${both[-1]}"
        unpack c "$side" "$(deb "$name=${both[-1]}")"
        find "$dir/c/$side" -name '*.ko.xz' -exec xz -d {} +
        for image in "$dir/c/$side"/boot/vmlinuz-*; do
            if kernel_image "$image" "${image/vmlinuz/vmlinux}"; then
                rm "$image"
            else
                echo "pair c: nothing unpacks $(basename "$image"); it stays packed" >&2
            fi
        done
    done
}

make_d() {
    apt_ready
    local choice name side file both
    for choice in mariadb-server-core:usr/sbin/mariadbd qemu-system-x86:usr/bin/qemu-system-x86_64; do
        name=${choice%%:*}
        mapfile -t both < <(versions "$name")
        [ "${#both[@]}" -lt 2 ] || break
    done
    [ "${#both[@]}" -ge 2 ] || { echo "Debian's archive has two versions of no package for pair d" >&2; return 69; }
    fetch "$name=${both[0]}" "$name=${both[-1]}"
    for side in old new; do
        file=$(deb "$name=${both[0]}")
        [ "$side" = old ] || file=$(deb "$name=${both[-1]}")
        note d "$side" "$file"
        dpkg-deb --fsys-tarfile "$file" | tar -xO "./${choice#*:}" >"$dir/d/$side"
    done
}

# make_pair PAIR: unless it is there already. What a slot cannot hold (set-user-id) is taken off, for the peers too.
make_pair() {
    local pair=$1 side
    [ ! -e "$dir/$pair/made" ] || return 0
    echo "== making pair $pair in $dir/$pair"
    rm -rf "${dir:?}/$pair"
    mkdir -p "$dir/$pair"
    printf '%b\n' "$sources_tsv_head" >"$dir/$pair/sources.tsv"
    "make_$pair"
    for side in old new; do
        if [ -d "$dir/$pair/$side" ]; then
            chmod -R u+rwX,a-s "$dir/$pair/$side"
            # No times and no owners, as in our archive; a file of two names twice, as in our archive.
            tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --hard-dereference --format=gnu \
                -C "$dir/$pair/$side" -cf "$dir/$pair/$side.tar" .
            "$bin/pair-chunks" pack "$dir/$pair/$side" "$dir/$pair/$side.payload"
        else
            # An image: one file, for everybody.
            ln -f "$dir/$pair/$side" "$dir/$pair/$side.tar"
            ln -f "$dir/$pair/$side" "$dir/$pair/$side.payload"
        fi
    done
    touch "$dir/$pair/made"
}
