//! What stands in for the boot loaders, where the real ones are not: scripts that do to the same files what those do, and for the
//! kernel, which has another `boot_id` after each start.
//!
//! `tests/boot/run.sh` has both do it, from the same beginning, and compares.

/// As `deploy/boot.cmd` does at a start, by U-Boot's own tools: the last slot of BOOT_ORDER is started always; one before it as
/// long as it has a try left, which is counted down first. A slot with the file `dead-<slot>` does not come up, and the next
/// start follows.
pub(super) const UBOOT: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")"
[ ! -e no-power ] || exit 0
get() { value=$(fw_printenv -c fw_env.config -n "$1" 2>/dev/null || true); echo "${value:-$2}"; }
set_to() { fw_setenv -c fw_env.config "$1" "$2"; }
while :; do
    order=$(get BOOT_ORDER "A B")
    chosen=${order##* }
    first=${order%% *}
    left=$(get "BOOT_${first}_LEFT" 3)
    if [ "$first" != "$chosen" ] && [ "$left" -gt 0 ]; then
        set_to BOOT_ORDER "$order"
        set_to "BOOT_${chosen}_LEFT" "$(get "BOOT_${chosen}_LEFT" 3)"
        set_to "BOOT_${first}_LEFT" $((left - 1))
        chosen=$first
    fi
    slot=$(echo "$chosen" | tr AB ab)
    [ ! -e "dead-$slot" ] || continue
    echo "console=ttyS0 suture.slot=$slot ro" > cmdline.new
    mv cmdline.new cmdline
    cat /proc/sys/kernel/random/uuid > boot_id
    exit 0
done
"#;

/// As RAUC's script for U-Boot does: the first slot of BOOT_ORDER that has a try left, of which each start takes one; where
/// none has, all have three again.
pub(super) const RAUC: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")"
get() { fw_printenv -c fw_env.config -n "$1"; }
while :; do
    chosen=
    for slot in $(get BOOT_ORDER); do
        left=$(get "BOOT_${slot}_LEFT")
        if [ -z "$chosen" ] && [ "$left" -gt 0 ]; then
            fw_setenv -c fw_env.config "BOOT_${slot}_LEFT" $((left - 1))
            chosen=$slot
        fi
    done
    [ -n "$chosen" ] || { fw_setenv -c fw_env.config BOOT_A_LEFT 3; fw_setenv -c fw_env.config BOOT_B_LEFT 3; continue; }
    [ ! -e "dead-$(echo "$chosen" | tr AB ab)" ] || continue
    echo "console=ttyS0 suture.slot=$chosen ro" > cmdline.new
    mv cmdline.new cmdline
    cat /proc/sys/kernel/random/uuid > boot_id
    exit 0
done
"#;

/// What systemd-boot does: entries without a try left last, then the higher version; one that counts is renamed before it is
/// started, and one that names nothing to start is none (its `boot.c`: `config_entry_compare`, `config_entry_bump_counters`,
/// `config_entry_add_type1`).
pub(super) const SYSTEMD_BOOT: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")"
while :; do
    best=; key=
    for file in entries/pump-*.conf; do
        grep -q '^linux ' "$file" || continue
        version=$(sed -n 's/^version //p' "$file")
        grep -q '^sort-key pump$' "$file"
        case "$file" in *+0*) bad=0 ;; *) bad=1 ;; esac
        this=$(printf '%d%09d' "$bad" "$version")
        if [ -z "$key" ] || [ "$this" -gt "$key" ]; then best=$file; key=$this; fi
    done
    slot=$(sed -n 's/^options .*suture.slot=\([ab]\).*/\1/p' "$best")
    case "$best" in
    *+*)
        count=${best#*+}; count=${count%.conf}; left=${count%-*}; done=0
        case "$count" in *-*) done=${count#*-} ;; esac
        if [ "$left" -gt 0 ]; then mv "$best" "${best%+*}+$((left - 1))-$((done + 1)).conf"; fi ;;
    esac
    [ ! -e "dead-$slot" ] || continue
    echo "suture.slot=$slot" > cmdline.new
    mv cmdline.new cmdline
    cat /proc/sys/kernel/random/uuid > boot_id
    exit 0
done
"#;

/// Which boot loader.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum By {
    UBoot,
    Rauc,
    SystemdBoot,
}

impl By {
    pub(super) const fn script(self) -> &'static str {
        match self {
            Self::UBoot => UBOOT,
            Self::Rauc => RAUC,
            Self::SystemdBoot => SYSTEMD_BOOT,
        }
    }

    /// As `tests/boot/start.sh` calls it, where it has the real one.
    pub(super) const fn real(self) -> Option<&'static str> {
        match self {
            Self::UBoot => Some("u-boot"),
            Self::Rauc => None,
            Self::SystemdBoot => Some("systemd-boot"),
        }
    }
}
