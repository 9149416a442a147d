//! Whether a place's name leads to one device alone.
//!
//! Accident: an SD card that was written from the device's own disk image, or a stick with a partition of the same label, takes the
//! link that the device's partition had. What is written there reads back whole, while the boot loader starts what lies on the device's
//! own partition: an old version, which would be confirmed as the new one.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::Place;
use crate::install::InstallError;
use crate::install::error::io_error;

/// Where it is looked.
#[derive(Debug, Clone)]
pub(super) struct Links {
    /// Devices, and udev's links to them.
    pub(super) dev: PathBuf,
    /// udev's own list: for each link a directory, in which each device that claims it has an entry.
    pub(super) claims: PathBuf,
    /// What Linux says of its devices.
    pub(super) sysfs: PathBuf,
}

impl Default for Links {
    fn default() -> Self {
        Self { dev: "/dev".into(), claims: "/run/udev/links".into(), sysfs: "/sys".into() }
    }
}

impl Links {
    /// No place has a name that udev knows more than one device by. What udev has no list of is taken at its word.
    pub(super) fn look(&self, places: &[Place]) -> Result<(), InstallError> {
        for path in places.iter().flat_map(|place| [&place.a, &place.b]) {
            let devices = self.claimants(path)?;
            if devices.len() > 1 {
                let names: Vec<_> = devices.into_iter().map(|device| self.name(device)).collect();
                let text = format!(
                    "more than one device bears that name: {}; take the other medium out, or name the partition in agent.toml by \
                     where it is, below /dev/disk/by-path/",
                    names.join(", ")
                );
                return Err(io_error("use", path)(io::Error::other(text)));
            }
        }
        Ok(())
    }

    /// The block devices that claim a name, by major and minor number.
    fn claimants(&self, path: &Path) -> Result<BTreeSet<(u32, u32)>, InstallError> {
        let mut devices = BTreeSet::new();
        let Ok(link) = path.strip_prefix(&self.dev) else { return Ok(devices) };
        let link = escaped(&link.components().collect::<PathBuf>());
        // systemd, src/udev/udev-node.c: the directory has the name of the link below /dev, with its first `/` in version 247 and
        // without it in 252 and later. Of a name too long for a file's it has a hash in it, and nothing is found here.
        for first in ["", "\\x2f"] {
            let mut name = OsString::from(first);
            name.push(&link);
            let dir = self.claims.join(name);
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename) => continue,
                Err(e) => return Err(io_error("read", &dir)(e)),
            };
            for entry in entries {
                let name = entry.map_err(io_error("read", &dir))?.file_name();
                devices.extend(name.to_str().and_then(number).filter(|device| !self.is_gone(*device)));
            }
        }
        Ok(devices)
    }

    fn at(&self, (major, minor): (u32, u32)) -> PathBuf {
        self.sysfs.join(format!("dev/block/{major}:{minor}"))
    }

    /// udev may keep the entry of a device that was taken out, and passes it over itself.
    fn is_gone(&self, device: (u32, u32)) -> bool {
        self.sysfs.join("dev/block").is_dir() && self.at(device).try_exists().is_ok_and(|there| !there)
    }

    /// As a person finds it; by its number where Linux does not say.
    fn name(&self, device: (u32, u32)) -> String {
        let uevent = fs::read_to_string(self.at(device).join("uevent")).unwrap_or_default();
        match uevent.lines().find_map(|line| line.strip_prefix("DEVNAME=")) {
            Some(name) => format!("/dev/{name}"),
            None => format!("{}:{}", device.0, device.1),
        }
    }
}

/// An entry's name is that of a block device: `b179:2`.
fn number(entry: &str) -> Option<(u32, u32)> {
    let (major, minor) = entry.strip_prefix('b')?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// As udev makes one name of a path.
fn escaped(link: &Path) -> OsString {
    let mut name = Vec::new();
    for byte in link.as_os_str().as_bytes() {
        match byte {
            b'/' => name.extend_from_slice(br"\x2f"),
            b'\\' => name.extend_from_slice(br"\x5c"),
            other => name.push(*other),
        }
    }
    OsString::from_vec(name)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Those roots below a directory, with what Linux says of the devices: number and name.
    pub(in super::super) fn links(dir: &Path, devices: &[(&str, &str)]) -> Links {
        let links = Links { dev: dir.join("dev"), claims: dir.join("run/udev/links"), sysfs: dir.join("sys") };
        for (number, name) in devices {
            let at = links.sysfs.join("dev/block").join(number);
            fs::create_dir_all(&at).unwrap();
            fs::write(at.join("uevent"), format!("MAJOR=1\nDEVNAME={name}\nDEVTYPE=partition\n")).unwrap();
        }
        links
    }

    /// An entry is an empty file in old versions of udev and a link that leads nowhere in newer ones.
    pub(in super::super) fn claim(links: &Links, link: &str, device: &str) {
        let dir = links.claims.join(link);
        fs::create_dir_all(&dir).unwrap();
        match link.starts_with(r"\x2f") {
            true => fs::write(dir.join(device), "").unwrap(),
            false => std::os::unix::fs::symlink("0:/dev/nowhere", dir.join(device)).unwrap(),
        }
    }

    const EMMC: (&str, &str) = ("179:3", "mmcblk0p3");
    const CARD: (&str, &str) = ("8:2", "sda2");

    fn said(links: &Links, name: &str) -> Option<String> {
        let place = Place { payload: "app".parse().unwrap(), a: "/nowhere".into(), b: links.dev.join(name) };
        links.look(&[place]).err().map(|e| crate::agent::chain(&e))
    }

    #[test]
    fn a_name_that_two_devices_claim_is_refused_and_one_that_one_claims_is_not() {
        for (name, link) in [
            ("disk/by-partlabel/rootfs-b", r"disk\x2fby-partlabel\x2frootfs-b"),
            ("disk/by-partlabel/rootfs-b", r"\x2fdisk\x2fby-partlabel\x2frootfs-b"),
            ("disk//by-label/./x", r"disk\x2fby-label\x2fx"),
            (r"disk/by-label/root\x20b", r"disk\x2fby-label\x2froot\x5cx20b"),
            (r"disk/by-label/root\x20b", r"\x2fdisk\x2fby-label\x2froot\x5cx20b"),
            ("rootfs-b", "rootfs-b"),
            ("disk/by-label/größe", r"disk\x2fby-label\x2fgröße"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let links = links(dir.path(), &[EMMC, CARD]);
            assert_eq!(said(&links, name), None, "{link}: without udev");
            claim(&links, link, "b179:3");
            // Of no block device, and half made.
            for other in ["c8:2", "+block:sda2", ".#b8:2", ".lock", "b8", "b8:", "b8:2.tmp"] {
                claim(&links, link, other);
            }
            claim(&links, r"disk\x2fby-partlabel\x2frootfs-a", "b8:2");
            assert_eq!(said(&links, name), None, "{link}: one");
            claim(&links, link, "b8:2");
            let said = said(&links, name).unwrap();
            assert!(said.contains(links.dev.join(name).to_str().unwrap()), "{said}");
            assert!(said.contains(": /dev/sda2, /dev/mmcblk0p3; take the other medium out"), "{said}");
            assert!(said.contains("/dev/disk/by-path/"), "{said}");
        }
    }

    #[test]
    fn a_claim_counts_as_long_as_linux_does_not_say_that_the_device_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (name, link) = ("disk/by-label/x", r"disk\x2fby-label\x2fx");
        // An old udev has made the one, the new one after it the other.
        let links = links(dir.path(), &[EMMC]);
        for claimed in [link, r"\x2fdisk\x2fby-label\x2fx"] {
            claim(&links, claimed, "b179:3");
            claim(&links, claimed, "b8:2");
        }
        assert_eq!(said(&links, name), None, "the card is out");
        fs::create_dir(links.sysfs.join("dev/block/8:2")).unwrap();
        assert!(said(&links, name).unwrap().contains(": 8:2, /dev/mmcblk0p3; "), "by its number");
        fs::remove_dir_all(&links.sysfs).unwrap();
        assert!(said(&links, name).unwrap().contains(": 8:2, 179:3; "), "a machine that shows no sysfs");
    }

    /// What udev does not list, or cannot by that name: it is taken at its word.
    #[test]
    fn what_udev_has_no_list_of_is_taken_at_its_word() {
        let dir = tempfile::tempdir().unwrap();
        let links = links(dir.path(), &[EMMC, CARD]);
        for device in ["b179:3", "b8:2"] {
            claim(&links, r"disk\x2fby-label\x2fx", device);
        }
        let long = "l".repeat(300);
        for name in ["", "mmcblk0p3", "disk", "disk/by-label", "disk/by-label/X", "../disk/by-label/x", &long] {
            assert_eq!(said(&links, name), None, "{name}");
        }
        let elsewhere = Place { payload: "app".parse().unwrap(), a: "/srv/disk/by-label/x".into(), b: "x".into() };
        assert!(links.look(&[elsewhere]).is_ok());
        // One that cannot be read says nothing of how many there are.
        fs::write(links.claims.join("broken"), "").unwrap();
        assert!(said(&links, "broken").unwrap().contains("cannot read"));
        assert!(Links::default().look(&[]).is_ok());
    }
}
