//! What the devices of the table install by, each as its maker might have built it: what a power-up and a restart do, and how
//! the agent is told of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use suture_tests::world::text;

use crate::rauc_stage::{self as stage, Stage};

/// How a device installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// Two directories, and the device's software reads one of them.
    Slots,
    /// The same, and the new version converts the device's own data.
    Data,
    /// The same, and the agent's own program comes with it.
    Itself,
    /// Two files in the place of partitions, and U-Boot's environment in two more.
    UBoot,
    /// The same, and systemd-boot's entries.
    Entries,
    /// The program that the integrators' guide shows.
    Program,
    /// The real RAUC.
    Rauc,
}

/// What U-Boot does at a start, by its own tools, with the environment's two copies. An image that says FAULT does not come up.
const UBOOT: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")"
get() { fw_printenv -c fw_env.config -n "$1"; }
for _ in 1 2 3 4 5 6 7 8; do
    for slot in $(get BOOT_ORDER); do
        left=$(get "BOOT_${slot}_LEFT")
        [ "$left" -gt 0 ] || continue
        fw_setenv -c fw_env.config "BOOT_${slot}_LEFT" $((left - 1))
        break
    done
    slot=$(echo "$slot" | tr AB ab)
    if head -n 1 "app-$slot.img" | grep -q FAULT; then continue; fi
    echo "ro suture.slot=$slot" > cmdline.new
    mv cmdline.new cmdline
    cat /proc/sys/kernel/random/uuid > boot_id
    head -n 1 "app-$slot.img" | cut -d' ' -f1 > answers
    exit 0
done
exit 1
"#;

/// What systemd-boot does: entries that it cannot read are none, those without a try left come last, then the higher version.
const ENTRIES: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")"
for _ in 1 2 3 4 5 6 7 8; do
    best=; key=
    for file in entries/pump-*.conf; do
        grep -q '^options .*suture.slot=[ab]$' "$file" || continue
        version=$(sed -n 's/^version //p' "$file")
        case "$file" in *+0*) bad=0 ;; *) bad=1 ;; esac
        this=$(printf '%d%09d' "$bad" "$version")
        if [ -z "$key" ] || [ "$this" -gt "$key" ]; then best=$file; key=$this; fi
    done
    slot=$(sed -n 's/^options .*suture.slot=\([ab]\)$/\1/p' "$best")
    case "$best" in
    *+*)
        count=${best#*+}; count=${count%.conf}; left=${count%-*}; done=0
        case "$count" in *-*) done=${count#*-} ;; esac
        if [ "$left" -gt 0 ]; then mv "$best" "${best%+*}+$((left - 1))-$((done + 1)).conf"; fi ;;
    esac
    if head -n 1 "app-$slot.img" | grep -q FAULT; then continue; fi
    echo "ro suture.slot=$slot" > cmdline.new
    mv cmdline.new cmdline
    cat /proc/sys/kernel/random/uuid > boot_id
    head -n 1 "app-$slot.img" | cut -d' ' -f1 > answers
    exit 0
done
exit 1
"#;

/// A version with FORMAT in its tree converts the data as it starts; one without it must never find them converted.
const CONVERTING: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")"
app=slots/current/app
if [ -e $app/FORMAT ]; then
    grep -q converted data || echo converted >> data
elif grep -q converted data; then
    echo "the old version has found data that it cannot read" >> corrupt
fi
cat /proc/sys/kernel/random/uuid > boot_id
[ ! -e $app/FAULT ]
cp $app/VERSION answers
"#;

/// Keeps the copy, whole or not at all, and a record of what it was told.
const KEEPER: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")"
case "$1" in
snapshot) cp data copy.new && mv copy.new copy ;;
restore) cp copy data.new && mv data.new data ;;
discard) rm -f copy ;;
esac
"#;

impl Way {
    /// What installs, as a bundle names it.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Slots | Self::Data | Self::Itself => "slots",
            Self::UBoot | Self::Entries => "image",
            Self::Program => "command",
            Self::Rauc => "rauc",
        }
    }

    /// What stands in `agent.toml` of it, for a device in `dir`; and how its software is restarted. `rauc` is how RAUC is
    /// called, and where it is.
    pub(super) fn configuration(self, dir: &Path, rauc: Option<&Stage>) -> (String, String) {
        let at = dir.display();
        let simple = format!(
            "[\"sh\", \"-c\", \"test ! -e {at}/slots/current/app/FAULT && cp {at}/slots/current/app/VERSION {at}/answers\"]"
        );
        let places = format!(
            "[installer]\nkind = \"image\"\nbooted = \"{at}/cmdline\"\nboot_id = \"{at}/boot_id\"\n\
             [[installer.place]]\npayload = \"app\"\na = \"{at}/app-a.img\"\nb = \"{at}/app-b.img\"\n"
        );
        let start = format!("[\"{at}/start.sh\"]");
        match self {
            Self::Slots => (String::new(), simple),
            Self::Data => {
                (format!("[installer]\nboot_id = \"{at}/boot_id\"\n[data]\ncommand = [\"{at}/keeper.sh\"]\n"), start)
            }
            Self::Itself => (format!("[itself]\ndir = \"{at}/suture-agent\"\npayload = \"agent\"\n"), simple),
            Self::UBoot => {
                let environment = format!("[\"{at}/env-1.bin 0x0 0x2000\", \"{at}/env-2.bin 0x0 0x2000\"]");
                (format!("{places}[installer.uboot]\nenvironment = {environment}\n"), start)
            }
            Self::Entries => {
                let entries = format!(
                    "entries = \"{at}/entries\"\nname = \"pump\"\na = \"{at}/entry-a\"\nb = \"{at}/entry-b\"\n"
                );
                (format!("{places}[installer.systemd_boot]\n{entries}"), start)
            }
            Self::Rauc => {
                let stage = rauc.unwrap();
                let (argv, conf, boot_id) = (stage.argv(), stage.dir.join("system.conf"), stage.dir.join("boot_id"));
                let table = format!("command = {argv:?}\nsystem_conf = {conf:?}\nboot_id = {boot_id:?}\n");
                (format!("[installer]\nkind = \"rauc\"\n{table}"), start)
            }
            Self::Program => (format!("[installer]\nkind = \"command\"\ncommand = [\"{at}/installer.sh\"]\n"), simple),
        }
    }

    /// The device's own programs, and what names its directory.
    pub(super) fn equip(self, dir: &Path, rauc: Option<&Stage>) {
        let program = |name: &str, script: &str| {
            fs::write(dir.join(name), script).unwrap();
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        };
        match self {
            Self::Slots | Self::Itself => {}
            Self::Data => {
                program("start.sh", CONVERTING);
                program("keeper.sh", KEEPER);
            }
            Self::UBoot => {
                program("start.sh", UBOOT);
                let copy = |n: u32| format!("{} 0x0 0x2000\n", dir.join(format!("env-{n}.bin")).display());
                fs::write(dir.join("fw_env.config"), copy(1) + &copy(2)).unwrap();
            }
            Self::Entries => program("start.sh", ENTRIES),
            Self::Rauc => {
                let stage = rauc.unwrap();
                let (at, bus) = (stage.dir.display(), stage.argv()[1].clone());
                let start = format!(
                    "#!/bin/sh\nset -eu\nenv {bus} {at}/power.sh\n\
                     head -n 1 {at}/$(cat {at}/booted).img | cut -d' ' -f1 > \"$(dirname \"$0\")/answers\"\n"
                );
                program("start.sh", &start);
            }
            Self::Program => {
                let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/install/command/example.sh");
                program("installer.sh", &fs::read_to_string(guide).unwrap());
            }
        }
    }

    /// What the factory puts there before the agent is given the first version.
    pub(super) fn factory(self, dir: &Path, first: &Path, rauc: Option<&Stage>) {
        self.equip(dir, rauc);
        match self {
            Self::Slots | Self::Itself | Self::Program | Self::Rauc => {}
            Self::Data => fs::write(dir.join("data"), "therapy\n").unwrap(),
            Self::UBoot => {
                for n in [1, 2] {
                    fs::write(dir.join(format!("env-{n}.bin")), vec![0; 0x2000]).unwrap();
                }
                fs::write(dir.join("defaults"), "BOOT_ORDER=A B\nBOOT_A_LEFT=3\nBOOT_B_LEFT=3\n").unwrap();
                let mut tool = Command::new("fw_setenv");
                tool.arg("-c").arg(dir.join("fw_env.config")).arg("-f").arg(dir.join("defaults"));
                let done = tool.args(["BOOT_ORDER", "A B"]).stderr(Stdio::null()).status();
                let done = done.unwrap_or_else(|e| panic!("fw_setenv is in Debian's package libubootenv-tool: {e}"));
                assert!(done.success());
            }
            Self::Entries => {
                fs::create_dir(dir.join("entries")).unwrap();
                for side in ["a", "b"] {
                    let entry =
                        format!("title pump\nlinux /pump-{side}/linux\noptions root=/dev/{side} suture.slot={side}\n");
                    fs::write(dir.join(format!("entry-{side}")), entry).unwrap();
                }
                // The factory's own entry is not one of the agent's making.
                let own = fs::read_to_string(dir.join("entry-a")).unwrap();
                fs::write(dir.join("entries/pump-a.conf"), format!("sort-key pump\nversion 1\n{own}")).unwrap();
            }
        }
        if self.kind() == "image" {
            fs::copy(first, dir.join("app-a.img")).unwrap();
            fs::write(dir.join("cmdline"), "ro suture.slot=a\n").unwrap();
            fs::write(dir.join("boot_id"), "by the factory\n").unwrap();
        }
    }

    /// The power is back: what is to start starts.
    pub(super) fn power(self, dir: &Path) {
        if dir.join("start.sh").exists() {
            // That a faulty version does not come up is what it is for.
            let _ = Command::new(dir.join("start.sh")).stderr(Stdio::null()).status().unwrap();
        }
        if !matches!(self, Self::UBoot | Self::Entries | Self::Rauc)
            && let Ok(version) = fs::read(dir.join("slots/current/app/VERSION"))
        {
            fs::write(dir.join("answers"), version).unwrap();
        }
    }

    /// The payload `app` of a release, as a bundle is built from it: where it lies, and its format.
    pub(super) fn payload(self, release: u64, faulty: bool, at: &Path, rauc: Option<&Stage>) -> &'static str {
        if let (Self::Rauc, Some(stage)) = (self, rauc) {
            let kind = if faulty { stage::Image::Panic } else { stage::Image::Good };
            fs::copy(stage.bundle(&release.to_string(), &stage::image(release, kind), "maker"), at).unwrap();
            return "image";
        }
        let fault = if faulty { "FAULT" } else { "sound" };
        let own = format!("{release} ").repeat(4_000);
        if self.kind() == "image" {
            fs::write(at, format!("1.{}.0 {fault}\n{own}", release - 1)).unwrap();
            return "image";
        }
        fs::create_dir_all(at.join("lib")).unwrap();
        fs::write(at.join("VERSION"), format!("1.{}.0\n", release - 1)).unwrap();
        fs::write(at.join("lib/own"), own).unwrap();
        if faulty {
            fs::write(at.join("FAULT"), "it does not start\n").unwrap();
        }
        if self == Self::Data {
            fs::write(at.join("FORMAT"), "1\n").unwrap();
        }
        "tree"
    }

    /// What stands in the bundle's `install` and below it besides.
    pub(super) fn specification(self, bundle: &Path) -> (&'static str, String) {
        match self {
            Self::Data => (", data = { format = 1, reads = [0] }", String::new()),
            Self::Itself => {
                let agent = bundle.with_extension("agent");
                fs::write(&agent, "#!/bin/sh\n# the agent's next program\n").unwrap();
                ("", format!("[[payload]]\nname = \"agent\"\nformat = \"image\"\npath = {:?}\n", text(&agent)))
            }
            _ => ("", String::new()),
        }
    }
}
