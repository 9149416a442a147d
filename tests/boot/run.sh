#!/usr/bin/env bash
# The boot loaders themselves, instead of the stand-ins of the unit tests: systemd-boot in a machine that QEMU emulates, with UEFI
# and a kernel that says what it was started with; U-Boot, built from Debian's source as a program that runs here (its sandbox),
# with its environment on a disk and the script deploy/boot.cmd. Prints a table of starts (before, slot, after, what the agent
# reads), then runs the tests of the installer `image` on both; at each start the stand-in must do the same.
# For Debian on x86-64. It takes about ten minutes, and keeps what it has made in target/boot.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/packages.sh
. deploy/packages.sh

if [ "$(uname -m)" != x86_64 ]; then
    echo "this is for x86-64: the machine that is emulated is one" >&2
    exit 69 # EX_UNAVAILABLE
fi
need cc=build-essential dpkg-source=dpkg-dev bc=bc bison=bison flex=flex cpio=cpio mcopy=mtools \
    qemu-system-x86_64=qemu-system-x86 fw_setenv=libubootenv-tool
[ -e /usr/include/openssl/evp.h ] || install_packages libssl-dev # U-Boot's tools do not link without it
[ -e /usr/lib/systemd/boot/efi/systemd-bootx64.efi ] || install_packages systemd-boot-efi
[ -e /usr/share/OVMF/OVMF_CODE_4M.fd ] || install_packages ovmf

here=$PWD/tests/boot
made=$PWD/target/boot
mkdir -p "$made"

# Debian's kernel for virtual machines, unpacked and not installed.
make_kernel() (
    cd "$made"
    package=$(apt-cache depends --important linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p')
    echo "fetching from Debian: $package"
    # It warns where root's directory is not apt's to read.
    apt-get download -q "$package" 2>&1
    rm -rf unpacked
    dpkg-deb -x "$package"_*.deb unpacked
    mv unpacked/boot/vmlinuz-* linux
    rm -rf unpacked "$package"_*.deb
)

# An EFI system partition with systemd-boot and, for each slot, the kernel and a program that lies in that slot alone.
make_esp() (
    cd "$made"
    rm -rf esp.img root
    mkdir -p root/proc root/dev
    cc -static -Os -o root/init "$here/program.c"
    truncate -s 64M esp.img
    mformat -i esp.img -F -v ESP ::
    mmd -i esp.img ::/EFI ::/EFI/BOOT ::/loader
    mcopy -i esp.img /usr/lib/systemd/boot/efi/systemd-bootx64.efi ::/EFI/BOOT/BOOTX64.EFI
    for slot in a b; do
        printf '%s' "$slot" >root/slot
        (cd root && printf '%s\n' init slot proc dev | cpio -o -H newc --quiet) | gzip >initrd
        mmd -i esp.img "::/pump-$slot"
        mcopy -i esp.img linux initrd "::/pump-$slot/"
    done
    cp /usr/share/OVMF/OVMF_CODE_4M.fd code.fd
    cp /usr/share/OVMF/OVMF_VARS_4M.fd vars.fd
)

# U-Boot's sandbox, from the source of Debian 12: apt verifies it by lists of its own, the machine's are left alone.
make_uboot() (
    cd "$made"
    mkdir -p lists/partial
    for suite in debian=bookworm debian-security=bookworm-security; do
        printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/%s %s main\n' \
            "${suite%%=*}" "${suite#*=}"
    done >sources.list
    echo "fetching from Debian: the source of u-boot"
    apt() { apt-get -qq -o Dir::Etc::SourceList="$made/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$made/lists" "$@" 2>&1; }
    apt update
    apt source --download-only u-boot
    rm -rf source
    dpkg-source --no-check -x u-boot_*.dsc source >/dev/null
    cd source
    # The sandbox alone has a list of its own of where it looks for its environment.
    sed -i 's/^\tENVL_NOWHERE,/\tENVL_MMC,/' board/sandbox/sandbox.c
    grep -q '^	ENVL_MMC,' board/sandbox/sandbox.c
    cat configs/tools-only_defconfig "$here/uboot.config" >configs/suture_defconfig
    # Without the program that packs images: it needs Python's headers, and nothing is packed.
    build() { make -s NO_SDL=1 CONFIG_PYLIBFDT= CONFIG_BINMAN= "$@" >>../uboot.log 2>&1 || { tail -n 20 ../uboot.log >&2; exit 1; }; }
    : >../uboot.log
    build suture_defconfig
    build -j"$(nproc)" u-boot
    cp tools/mkimage scripts/dtc/dtc ..
    mv u-boot ..
    cd ..
    rm -rf source lists sources.list u-boot_*
)

# The board, the script that is tried, and what each slot holds.
make_board() (
    cd "$made"
    ./dtc -q -o board.dtb "$here/board.dts"
    ./mkimage -A sandbox -T script -d "$here/../../deploy/boot.cmd" boot.scr >/dev/null
    for slot in a b; do
        # shellcheck disable=SC2016 # the variable is U-Boot's
        printf 'echo program of slot %s\necho started with ${bootargs}\npoweroff\n' "$slot" >slot.cmd
        ./mkimage -A sandbox -T script -d slot.cmd "slot-$slot.scr" >/dev/null
    done
)

# Not behind `||`: the shell would pass over what fails in them.
if [ ! -e "$made/linux" ]; then make_kernel; fi
if [ ! -e "$made/u-boot" ]; then make_uboot; fi
make_esp
make_board
: >"$made/starts"
export SUTURE_BOOT=$made

printf '\n== %s\n' "each start, by the boot loader itself"
cargo nextest run --locked -p suture-agent --lib --run-ignored only --no-capture -E 'test(/install::image::tests::real::/)'

printf '\n== %s\n' "the tests of the installer, with them in the place of their stand-ins"
cargo nextest run --locked -p suture-agent --lib -E 'test(/install::image::tests::(systemd_boot|uboot|what_does_not|unproven)/)'

printf '\n== %s\n' "starts of each, and at each the stand-in did the same"
sort "$made/starts" | uniq -c
