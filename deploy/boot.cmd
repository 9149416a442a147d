# U-Boot's part of the installer `image`: which slot is started. Compile it with
#     mkimage -A arm64 -T script -d boot.cmd boot.scr
# for a U-Boot that keeps its environment twice (CONFIG_SYS_REDUNDAND_ENVIRONMENT, on an MMC or in files) and has setexpr. The
# device's own variables boot_a and boot_b start a slot, with the bootargs that they find: read-only, with verity or without.

# It counts starts, so what panics or hangs must lead to one: bootargs needs panic=10, or Linux halts for ever, and a watchdog must be
# armed, by U-Boot (CONFIG_WATCHDOG_AUTOSTART) or by systemd in each version (RuntimeWatchdogSec=).

test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B"
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT 3
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT 3

# The last one of BOOT_ORDER has proven itself: it is started always, and nothing is written for it.
slot=a
if test "${BOOT_ORDER}" = "B" || test "${BOOT_ORDER}" = "A B"; then
    slot=b
fi

# One before it has the tries that the agent gave it. One that cannot be counted would be made for ever: it is not made.
if test "${BOOT_ORDER}" = "A B" && test 0x${BOOT_A_LEFT} -gt 0; then
    setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1
    if saveenv; then
        slot=a
    fi
fi
if test "${BOOT_ORDER}" = "B A" && test 0x${BOOT_B_LEFT} -gt 0; then
    setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1
    if saveenv; then
        slot=b
    fi
fi

setenv bootargs "${bootargs} suture.slot=${slot}"
run boot_${slot}
# It comes back only where that slot cannot be loaded.
reset
