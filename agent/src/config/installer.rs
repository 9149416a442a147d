//! `[installer]`: what installs on this device, and how long it may take.

use std::path::PathBuf;
use std::time::Duration;

use super::faults::Faults;
use super::{Command, written};
use crate::install::{BOOT_ID, Copy, Entries, Environment, ImageSettings, Limits, Loader, Place};

/// Payloads of one bundle that have places of their own; more than any device has partitions.
const MAX_PLACES: usize = 32;

/// What installs on this device.
#[derive(Debug, Clone)]
pub struct Installing {
    /// Which installer.
    pub way: Way,
    /// A file with the kernel's boot id, [`BOOT_ID`] or a copy.
    pub boot_id: PathBuf,
    /// How long its steps may take.
    pub limits: Limits,
}

/// Which installer, with what is its own.
#[derive(Debug, Clone)]
pub enum Way {
    /// Two directories and a link.
    Slots,
    /// Two block devices, or files, and a boot loader.
    Image(ImageSettings),
    /// The device maker's own program.
    Command(Command),
    /// RAUC.
    Rauc {
        /// Its program, with its first arguments.
        program: Command,
        /// Its own configuration.
        system_conf: PathBuf,
    },
}

impl Installing {
    pub(super) fn validate(faults: &mut Faults, i: written::Installer) -> Self {
        let Limits { prepare, step } = Limits::default();
        let prepare = faults.secs("installer.prepare_timeout_secs", i.prepare_timeout_secs, prepare.as_secs(), 86_400);
        let step = faults.secs("installer.step_timeout_secs", i.step_timeout_secs, step.as_secs(), 3_600);
        let limits = Limits { prepare, step };
        let kind = i.kind.as_deref().unwrap_or("slots");
        let image =
            [i.place.is_some(), i.uboot.is_some(), i.systemd_boot.is_some(), i.booted.is_some(), i.argument.is_some()];
        if kind != "image" && image.contains(&true) {
            faults.add("installer: place, uboot, systemd_boot, booted and argument belong to kind = \"image\"");
        }
        if !matches!(kind, "command" | "rauc") && i.command.is_some() {
            faults.add("installer.command belongs to kind = \"command\" or \"rauc\"");
        }
        if kind != "rauc" && i.system_conf.is_some() {
            faults.add("installer.system_conf belongs to kind = \"rauc\"");
        }
        let boot_id = faults.absolute("installer.boot_id", i.boot_id.clone().unwrap_or_else(|| BOOT_ID.into()));
        let way = match kind {
            "slots" => Some(Way::Slots),
            "image" => Self::image(faults, i),
            "command" => {
                let argv = i.command.unwrap_or_default();
                // Each step has a time of its own, which is less.
                faults.command("installer", argv, Duration::from_secs(86_400)).map(Way::Command)
            }
            "rauc" => {
                let argv = i.command.unwrap_or_else(|| vec!["rauc".to_owned()]);
                let program = faults.command("installer", argv, Duration::from_secs(86_400));
                let conf = i.system_conf.unwrap_or_else(|| "/etc/rauc/system.conf".into());
                let conf = faults.absolute("installer.system_conf", conf);
                program.zip(conf).map(|(program, system_conf)| Way::Rauc { program, system_conf })
            }
            other => {
                faults.add(format!("installer.kind is {other:?}; it must be slots, image, command or rauc"));
                None
            }
        };
        // What is at fault is not worked with: the faults are told instead.
        Self { way: way.unwrap_or(Way::Slots), boot_id: boot_id.unwrap_or_default(), limits }
    }

    fn image(faults: &mut Faults, i: written::Installer) -> Option<Way> {
        let places = i.place.unwrap_or_default();
        if places.is_empty() || places.len() > MAX_PLACES {
            faults.add(format!("[[installer.place]] is there {} times; write it for each payload", places.len()));
        }
        let mut kept: Vec<Place> = Vec::new();
        for place in places {
            let payload = faults.id("installer.place.payload", place.payload);
            let a = faults.directory("installer.place.a", place.a);
            let b = faults.directory("installer.place.b", place.b);
            let (Some(payload), Some(a), Some(b)) = (payload, a, b) else { continue };
            let place = Place { payload, a, b };
            let taken = |other: &Place| [&other.a, &other.b].iter().any(|path| [&place.a, &place.b].contains(path));
            if place.a == place.b || kept.iter().any(taken) {
                faults.add(format!("installer.place: payload {} has a place that is another's too", place.payload));
            }
            if kept.iter().any(|other| other.payload == place.payload) {
                faults.add(format!("installer.place: payload {} is there twice", place.payload));
            }
            kept.push(place);
        }
        let loader = match (i.uboot, i.systemd_boot) {
            (Some(uboot), None) => uboot_loader(faults, uboot),
            (None, Some(entries)) => entries_loader(faults, entries),
            _ => {
                faults.add("[installer] of kind image names its boot loader: one of [installer.uboot] and [installer.systemd_boot]");
                None
            }
        };
        let booted = faults.absolute("installer.booted", i.booted.unwrap_or_else(|| "/proc/cmdline".into()));
        let argument = i.argument.unwrap_or_else(|| "suture.slot".to_owned());
        if argument.is_empty() || argument.contains(|c: char| c.is_whitespace() || c == '=') {
            faults.add(format!("installer.argument is {argument:?}; it is a word like suture.slot"));
        }
        Some(Way::Image(ImageSettings { places: kept, loader: loader?, booted: booted?, argument }))
    }
}

fn uboot_loader(faults: &mut Faults, uboot: written::UBoot) -> Option<Loader> {
    let mut copies = Vec::new();
    for line in &uboot.environment {
        match line.parse::<Copy>() {
            Ok(copy) => copies.push(copy),
            Err(e) => faults.add(format!("installer.uboot.environment: {e}")),
        }
    }
    let [first, second] = <[Copy; 2]>::try_from(copies)
        .map_err(|copies| {
            faults.add(format!(
                "installer.uboot.environment has {} good lines; it must be two, one for each copy: with one, a power cut while it is \
                 written leaves none",
                copies.len()
            ));
        })
        .ok()?;
    let apart = first.path != second.path
        || first.offset.saturating_add(first.size as u64) <= second.offset
        || second.offset.saturating_add(second.size as u64) <= first.offset;
    if !apart || first.size != second.size {
        faults.add("installer.uboot.environment: both copies must have one size, and not overlap");
    }
    Some(Loader::UBoot(Environment([first, second])))
}

fn entries_loader(faults: &mut Faults, entries: written::SystemdBoot) -> Option<Loader> {
    let name = entries.name.unwrap_or_else(|| "suture".to_owned());
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        faults.add(format!("installer.systemd_boot.name is {name:?}; it is lower-case letters, digits and -"));
    }
    let dir = faults.directory("installer.systemd_boot.entries", entries.entries);
    let a = faults.directory("installer.systemd_boot.a", entries.a);
    let b = faults.directory("installer.systemd_boot.b", entries.b);
    Some(Loader::SystemdBoot(Entries { dir: dir?, name, a: a?, b: b? }))
}
#[cfg(test)]
mod tests {
    use crate::config::Settings;

    use super::*;

    const REST: &str = "state_dir = \"/s\"\nslots_dir = \"/d\"\nproduct = \"pump\"\nhardware = \"rev-a\"\n\
                        [restart]\ncommand = [\"reboot\"]\n[health]\ncommand = [\"x\"]\n";

    fn read(installer: &str) -> Result<Installing, String> {
        let read = Settings::validate(toml::from_str(&format!("{REST}{installer}")).unwrap());
        read.map(|settings| settings.installer).map_err(|faults| faults.join("\n"))
    }

    const PLACE: &str = "[[installer.place]]\npayload = \"rootfs\"\na = \"/dev/a\"\nb = \"/dev/b\"\n";
    const UBOOT: &str = "[installer.uboot]\nenvironment = [\"/dev/m 0x4000 0x2000\", \"/dev/m 24576 0x2000 0x1000\"]\n";

    #[test]
    fn each_kind_is_read_with_what_is_its_own() {
        assert!(matches!(read("").unwrap().way, Way::Slots));
        let Way::Command(program) =
            read("[installer]\nkind = \"command\"\ncommand = [\"/i\", \"x\"]\nstep_timeout_secs = 5\n").unwrap().way
        else {
            panic!("it is another");
        };
        assert_eq!(program.argv, ["/i", "x"]);
        let Way::Image(image) = read(&format!("[installer]\nkind = \"image\"\n{PLACE}{UBOOT}")).unwrap().way else {
            panic!("it is another");
        };
        assert_eq!((image.booted.to_str(), image.argument.as_str()), (Some("/proc/cmdline"), "suture.slot"));
        assert_eq!(read("").unwrap().boot_id.to_str(), Some("/proc/sys/kernel/random/boot_id"));
        assert_eq!(read("[installer]\nboot_id = \"/run/id\"\n").unwrap().boot_id.to_str(), Some("/run/id"));
        let Loader::UBoot(Environment([first, second])) = image.loader else { panic!("it is another") };
        assert_eq!((first.offset, first.size, second.offset), (0x4000, 0x2000, 0x6000));
        let entries = "[installer.systemd_boot]\nentries = \"/efi/loader/entries\"\na = \"/etc/a\"\nb = \"/etc/b\"\n";
        let image =
            read(&format!("[installer]\nkind = \"image\"\nargument = \"rauc.slot\"\n{PLACE}{entries}")).unwrap();
        assert!(matches!(image.way, Way::Image(ImageSettings { loader: Loader::SystemdBoot(_), .. })));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let bad = "[installer]\nkind = \"image\"\nprepare_timeout_secs = 0\nargument = \"a b\"\nbooted = \"cmdline\"\n\
                   command = [\"x\"]\n\
                   [[installer.place]]\npayload = \"Root\"\na = \"dev\"\n\
                   [[installer.place]]\npayload = \"boot\"\na = \"/dev/c\"\nb = \"/dev/c\"\n\
                   [installer.uboot]\nenvironment = [\"/dev/m 0 0x2000\"]\n";
        let faults = read(bad).unwrap_err();
        for name in [
            "prepare_timeout_secs",
            "installer.argument",
            "installer.booted",
            "installer.command belongs",
            "place.payload",
            "place.a is",
            "place.b is missing",
            "payload boot has a place that is another's",
            "has 1 good lines",
        ] {
            assert!(faults.contains(name), "{name} is missing from:\n{faults}");
        }
        for (bad, says) in [
            ("[installer]\nkind = \"magic\"\n".to_owned(), "slots, image, command or rauc"),
            ("[installer]\nsystem_conf = \"/etc/x\"\n".to_owned(), "belongs to kind = \"rauc\""),
            ("[installer]\nkind = \"rauc\"\nsystem_conf = \"x\"\n".to_owned(), "an absolute path"),
            ("[installer]\nkind = \"rauc\"\nboot_id = \"x\"\n".to_owned(), "installer.boot_id"),
            ("[installer]\nkind = \"command\"\n".to_owned(), "installer.command is empty"),
            (format!("[installer]\n{PLACE}"), "belong to kind = \"image\""),
            (format!("[installer]\nkind = \"image\"\n{PLACE}"), "names its boot loader"),
            (format!("[installer]\nkind = \"image\"\n{UBOOT}"), "write it for each payload"),
            (
                format!(
                    "[installer]\nkind = \"image\"\n{PLACE}[installer.uboot]\nenvironment = [\"/m 0 16\", \"/m 8 16\"]\n"
                ),
                "not overlap",
            ),
            (
                format!("[installer]\nkind = \"image\"\n{PLACE}[installer.systemd_boot]\nname = \"A+\"\n"),
                "systemd_boot.name",
            ),
        ] {
            let faults = read(&bad).unwrap_err();
            assert!(faults.contains(says), "{bad}: {faults}");
        }
    }
}
