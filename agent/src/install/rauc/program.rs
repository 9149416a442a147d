//! The program `rauc`, asked and told over its command line, and what it says of its slots.
//!
//! It is a client of RAUC's own service, which does the work and outlives the agent: what is killed here is the client.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{InstallError, Side, Within};
use crate::config::Command;
use crate::durable;
use crate::process::{self, Ending};

/// How much of what it prints is repeated to people.
const MAX_SAID: usize = 300;

/// What it is told of the agent's own environment: where it is, and which D-Bus it is to ask.
const INHERITED: [&str; 2] = ["PATH", "DBUS_SYSTEM_BUS_ADDRESS"];

/// How it is called.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// The program and its first arguments.
    pub(super) command: Command,
    /// RAUC's own configuration.
    pub(super) system_conf: PathBuf,
}

/// What RAUC says of the device, as `rauc status --detailed --output-format=json` prints it. What is not needed is not read.
#[derive(Debug, Deserialize)]
struct Said {
    compatible: String,
    boot_primary: Option<String>,
    slots: Vec<BTreeMap<String, Slot>>,
}

#[derive(Debug, Deserialize)]
struct Slot {
    device: PathBuf,
    #[serde(rename = "type")]
    kind: String,
    bootname: Option<String>,
    state: String,
    parent: Option<String>,
    slot_status: Option<SlotStatus>,
}

#[derive(Debug, Default, Deserialize)]
struct SlotStatus {
    checksum: Option<Checksum>,
    installed: Option<Installed>,
    status: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Checksum {
    sha256: String,
    size: u64,
}

#[derive(Debug, Deserialize)]
struct Installed {
    timestamp: String,
    count: u64,
}

/// What was written to a slot last, as RAUC remembers it. Whatever is written anew is another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    pub(super) sha256: Option<String>,
    pub(super) size: u64,
    timestamp: Option<String>,
    count: u64,
}

/// One slot of a group.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// RAUC's name of it.
    pub(super) name: String,
    /// Where it is.
    pub(super) device: PathBuf,
    /// RAUC's word for what it holds.
    pub(super) kind: String,
    /// None where nothing whole was written by RAUC, or something is being written.
    pub(super) content: Option<Content>,
}

/// The two groups of slots, each by the slot that the boot loader knows.
#[derive(Debug)]
pub(super) struct Layout {
    /// What bundles must be made for.
    pub(super) compatible: String,
    /// The one that runs.
    pub(super) booted: Side,
    /// The one that starts next; none where the boot loader does not say, or names neither.
    pub(super) primary: Option<Side>,
    /// Groups a and b; the bootable slot is the first of each.
    groups: [Vec<Part>; 2],
}

impl Layout {
    /// A group's slots.
    pub(super) const fn group(&self, side: Side) -> &Vec<Part> {
        let [a, b] = &self.groups;
        match side {
            Side::A => a,
            Side::B => b,
        }
    }

    /// RAUC's name of a group's bootable slot.
    pub(super) fn name(&self, side: Side) -> &str {
        self.group(side).first().map_or("", |part| part.name.as_str())
    }

    /// What RAUC remembers of a group.
    pub(super) fn contents(&self, side: Side) -> BTreeMap<String, Option<Content>> {
        self.group(side).iter().map(|part| (part.name.clone(), part.content.clone())).collect()
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let said: Said = serde_json::from_slice(text).map_err(|e| format!("it printed no status: {e}"))?;
        let slots: BTreeMap<String, Slot> = said.slots.into_iter().flatten().collect();
        let mut bootable = slots.iter().filter(|(_, slot)| slot.bootname.is_some()).map(|(name, _)| name.as_str());
        let (Some(a), Some(b), None) = (bootable.next(), bootable.next(), bootable.next()) else {
            return Err("its configuration must have two slots with a bootname, and no more".to_owned());
        };
        let side =
            |name: &str| [(a, Side::A), (b, Side::B)].into_iter().find(|(n, _)| *n == name).map(|(_, side)| side);
        let booted = [a, b].into_iter().find(|name| slots.get(*name).is_some_and(|slot| slot.state == "booted"));
        let booted = booted.and_then(side).ok_or("it does not know which slot the device was started from")?;
        let group = |name: &str| {
            let own = slots.get_key_value(name).into_iter();
            let below = slots.iter().filter(|(_, slot)| slot.parent.as_deref() == Some(name));
            own.chain(below).map(|(name, slot)| slot.part(name)).collect()
        };
        Ok(Self {
            compatible: said.compatible,
            booted,
            primary: said.boot_primary.as_deref().and_then(side),
            groups: [group(a), group(b)],
        })
    }
}

impl Slot {
    fn part(&self, name: &str) -> Part {
        let content = self.slot_status.as_ref().and_then(|s| {
            let checksum = s.checksum.as_ref().filter(|_| s.status.as_deref() == Some("ok"))?;
            let installed = s.installed.as_ref();
            Some(Content {
                sha256: Some(checksum.sha256.clone()),
                size: checksum.size,
                timestamp: installed.map(|i| i.timestamp.clone()),
                count: installed.map_or(0, |i| i.count),
            })
        });
        Part { name: name.to_owned(), device: self.device.clone(), kind: self.kind.clone(), content }
    }
}

/// What a bundle of RAUC's says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    /// What it is made for.
    pub(super) compatible: String,
    images: Vec<BTreeMap<String, Image>>,
}

/// One image of it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Image {
    /// Its SHA-256, in hexadecimal digits.
    pub(super) checksum: String,
    /// Its length in bytes.
    pub(super) size: u64,
}

impl Info {
    /// The images by the class of slots that they are for.
    pub(super) fn images(&self) -> impl Iterator<Item = (&String, &Image)> {
        self.images.iter().flatten()
    }
}

impl Program {
    /// What RAUC says of the device.
    pub(super) fn layout(&self, within: &Within) -> Result<Layout, InstallError> {
        let printed = self.run(&["status", "--detailed", "--output-format=json"], within)?;
        Layout::parse(&printed).map_err(|text| InstallError::Program { what: "rauc status".to_owned(), text })
    }

    /// What a bundle says of itself, once RAUC has verified its signature by the device's own keyring.
    pub(super) fn info(&self, bundle: &Path, within: &Within) -> Result<Info, InstallError> {
        let (conf, bundle) = (self.system_conf.to_string_lossy(), bundle.to_string_lossy());
        let printed = self.run(&["--conf", &conf, "info", "--output-format=json", &bundle], within)?;
        serde_json::from_slice(&printed).map_err(|e| InstallError::Program {
            what: "rauc info".to_owned(),
            text: format!("it printed no description: {e}"),
        })
    }

    /// Writes a bundle into the group that does not run.
    pub(super) fn install(&self, bundle: &Path, within: &Within) -> Result<(), InstallError> {
        self.run(&["install", &bundle.to_string_lossy()], within).map(drop)
    }

    /// `mark-active`, `mark-good` or `mark-bad`.
    pub(super) fn mark(&self, how: &str, slot: &str, within: &Within) -> Result<(), InstallError> {
        self.run(&["status", how, slot], within).map(drop)
    }

    /// Whether RAUC's configuration leaves it to the agent what starts next. Else an install would be a switch: without an
    /// interlock, and outside its slot.
    pub(super) fn leaves_the_switch_to_us(&self) -> Result<(), InstallError> {
        let path = &self.system_conf;
        let told = |text: String| InstallError::Program { what: path.display().to_string(), text };
        let text = durable::read(path, durable::MAX_STATE_BYTES)?.ok_or_else(|| told("it is not there".to_owned()))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let (mut section, mut leaves) = ("", false);
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                section = name;
            } else if let Some((key, value)) = line.split_once('=')
                && (section, key.trim()) == ("system", "activate-installed")
            {
                leaves = value.trim() == "false";
            }
        }
        if leaves { Ok(()) } else { Err(told("[system] must have activate-installed=false".to_owned())) }
    }

    fn run(&self, arguments: &[&str], within: &Within) -> Result<Vec<u8>, InstallError> {
        let inherited = INHERITED.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var_os(name)?)));
        let process::Said { ending, answer, last } =
            within.ask(&self.command, arguments, &inherited.collect::<Vec<_>>());
        match ending {
            Ending::Exit(0) => return Ok(answer),
            Ending::TimedOut(limit) => return Err(InstallError::Slow { step: "rauc", limit }),
            _ => {}
        }
        let name = arguments.iter().find(|a| !a.starts_with('-') && !a.starts_with('/')).unwrap_or(&"");
        let said = String::from_utf8_lossy(&last).into_owned();
        // Its messages to the journal stand before what went wrong.
        let said: Vec<_> = said.lines().filter(|l| !l.is_empty() && !l.starts_with("rauc-Message")).collect();
        let mut said = said.join("; ");
        said.truncate(said.floor_char_boundary(MAX_SAID));
        Err(InstallError::Program { what: format!("rauc {name}"), text: format!("it {ending}: {said}") })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// As RAUC 1.8 prints it, but for its line breaks.
    const STATUS: &str = r#"{"compatible":"pump","variant":"","booted":"A","boot_primary":"rootfs.1","slots":[
        {"rootfs.1":{"class":"rootfs","device":"/dev/b","type":"raw","bootname":"B","state":"inactive","parent":null,
            "mountpoint":null,"boot_status":"bad","slot_status":{"bundle":{"compatible":"pump","version":"1.0.1"},
            "checksum":{"sha256":"7ffa","size":4194304},"installed":{"timestamp":"2026-11-26T11:12:30Z","count":1},
            "status":"ok"}}},
        {"app.1":{"class":"app","device":"/dev/app-b","type":"ext4","bootname":null,"state":"inactive",
            "parent":"rootfs.1","mountpoint":null,"slot_status":{"bundle":{"compatible":"pump"},
            "checksum":{"sha256":"00","size":1},"status":"pending"}}},
        {"rootfs.0":{"class":"rootfs","device":"/dev/a","type":"raw","bootname":"A","state":"booted","parent":null,
            "mountpoint":null,"boot_status":"good","slot_status":{"bundle":{"compatible":null}}}}]}"#;

    #[test]
    fn a_status_names_two_groups() {
        let layout = Layout::parse(STATUS.as_bytes()).unwrap();
        assert_eq!((layout.booted, layout.primary, layout.compatible.as_str()), (Side::A, Some(Side::B), "pump"));
        assert_eq!((layout.name(Side::A), layout.name(Side::B)), ("rootfs.0", "rootfs.1"));
        let content = |part: &Part| (part.name.clone(), part.content.as_ref().map(|c| (c.size, c.count)));
        let b: Vec<_> = layout.group(Side::B).iter().map(content).collect();
        assert_eq!(
            b,
            [("rootfs.1".to_owned(), Some((4_194_304, 1))), ("app.1".to_owned(), None)],
            "one is half written"
        );
        assert!(layout.group(Side::A)[0].content.is_none());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (from, to) in [
            ("\"booted\",\"parent\"", "\"inactive\",\"parent\""),
            ("\"bootname\":\"A\"", "\"bootname\":null"),
            ("\"bootname\":null", "\"bootname\":\"C\""),
            ("\"slots\":[", "\"slots\":3,\"others\":["),
        ] {
            assert!(STATUS.contains(from), "{from}");
            assert!(Layout::parse(STATUS.replace(from, to).as_bytes()).is_err(), "{to}");
        }
        let elsewhere = STATUS.replace("\"boot_primary\":\"rootfs.1\"", "\"boot_primary\":null");
        assert_eq!(Layout::parse(elsewhere.as_bytes()).unwrap().primary, None);
    }

    #[test]
    fn a_configuration_that_activates_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let system_conf = dir.path().join("system.conf");
        let command = Command { argv: vec!["rauc".to_owned()], timeout: Duration::from_secs(60) };
        let program = Program { command, system_conf: system_conf.clone() };
        assert!(program.leaves_the_switch_to_us().is_err(), "it is not there");
        for (text, leaves) in [
            ("[system]\ncompatible=pump\nactivate-installed=false\n[slot.rootfs.0]\n", true),
            ("[system]\nactivate-installed = false", true),
            ("[system]\nactivate-installed=true\n", false),
            ("[system]\n#activate-installed=false\n", false),
            ("[system]\ncompatible=pump\n[handlers]\nactivate-installed=false\n", false),
        ] {
            std::fs::write(&system_conf, text).unwrap();
            assert_eq!(program.leaves_the_switch_to_us().is_ok(), leaves, "{text}");
        }
    }
}
