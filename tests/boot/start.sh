#!/usr/bin/env bash
# start.sh LOADER READY DIR: one start of the device in DIR by a real boot loader, as the stand-ins of
# agent/src/install/image/tests/stand_ins.rs do it: a slot with a file dead-<slot> does not come up, and the next start follows.
# READY is what run.sh has made. Afterwards the stand-in does the same from the same beginning, and what both leave is compared.
set -euo pipefail
loader=$1 ready=$2 dir=$3
cd "$dir"

# started PROGRAM...: lets it start the device, which is over where it turns the power off; what it says is in `console`. A start
# takes some ten seconds by emulation, and longer where the machine does something else besides.
started() {
    timeout 300 "$@" </dev/null >console && return
    printf 'a start did not come to its end (%s, 124: in five minutes); the console:\n' "$?" >&2
    cat console >&2
    exit 1
}

# Starts systemd-boot from an EFI system partition with the device's entries; what the kernel that it started says is in `console`.
systemd_boot() {
    [ -e esp.img ] || cp --sparse=always "$ready/esp.img" esp.img
    [ -e vars.fd ] || cp "$ready/vars.fd" vars.fd
    mdeltree -i esp.img ::/loader
    mmd -i esp.img ::/loader ::/loader/entries
    mcopy -i esp.img loader.conf ::/loader/
    mcopy -i esp.img entries/* ::/loader/entries/
    started qemu-system-x86_64 -machine q35,accel=tcg -m 256 -nographic -no-reboot -nic none \
        -drive if=pflash,unit=0,format=raw,readonly=on,file="$ready/code.fd" \
        -drive if=pflash,unit=1,format=raw,file=vars.fd \
        -drive if=none,id=esp,format=raw,file=esp.img -device nvme,drive=esp,serial=esp
    rm -rf entries.new
    mkdir entries.new
    mcopy -m -i esp.img '::/loader/entries/*' entries.new/
    rm -rf entries
    mv entries.new entries
}

# Starts U-Boot on a disk with the device's environment.
uboot() {
    local length
    length=$(stat -c %s env.bin)
    cp "$ready"/*.scr .
    cp --sparse=never env.bin disk.img
    truncate -s 1M disk.img
    started "$ready/u-boot" -d "$ready/board.dtb"
    head -c "$length" disk.img >env.new
    mv env.new env.bin
}

# What the boot loader and the agent tell each other, in the directory that is named.
state() (
    cd "$1"
    case "$loader" in
    systemd-boot) cd entries && sha256sum -- * && cd .. ;;
    u-boot) fw_printenv -c fw_env.config | grep '^BOOT_' | sort ;;
    esac
    grep -o 'suture.slot=.' cmdline
)

rm -rf stand-in
mkdir stand-in
for item in entries env.bin dead-*; do
    if [ -e "$item" ]; then cp -r "$item" stand-in/; fi
done
if [ -e fw_env.config ]; then sed 's,/env.bin ,/stand-in/env.bin ,' fw_env.config >stand-in/fw_env.config; fi
cp stand-in.sh stand-in/boot.sh

while :; do
    case "$loader" in
    systemd-boot) systemd_boot ;;
    u-boot) uboot ;;
    esac
    # The program of slot a or b, which is in that slot alone, and the command line that it was given.
    slot=$(tr -d '\r' <console | sed -n 's/^program of slot //p')
    line=$(tr -d '\r' <console | sed -n 's/^started with //p')
    case "$slot $line" in
    [ab]*suture.slot="$slot"*) ;;
    *)
        printf 'neither slot came up as itself; the console:\n' >&2
        cat console >&2
        exit 1
        ;;
    esac
    printf '%s\n' "$loader" >>"$ready/starts"
    [ -e "dead-$slot" ] || break
done
printf '%s\n' "$line" >cmdline.new
mv cmdline.new cmdline
cat /proc/sys/kernel/random/uuid >boot_id

stand-in/boot.sh
if ! difference=$(diff <(state .) <(state stand-in)); then
    printf 'the stand-in of %s (>) does something else:\n%s\n' "$loader" "$difference" >&2
    exit 1
fi
