//! Which disk the places lie on.
//!
//! Accident: an SD card that was written from the device's own disk image, or a stick with a partition of the same label, takes the
//! link that the device's partition had. What is written there reads back whole, while the boot loader starts what lies on the device's
//! own partition: an old version, which would be confirmed as the new one.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

use super::Place;
use crate::install::InstallError;
use crate::install::error::io_error;

/// Where udev makes links by what a second medium may bear too: udev, 60-persistent-storage.rules.
const BORROWED: [&str; 4] = ["by-label", "by-partlabel", "by-uuid", "by-partuuid"];

/// Where it is looked.
#[derive(Debug, Clone)]
pub(super) struct Disks {
    /// What Linux says of its devices.
    pub(super) sysfs: PathBuf,
    /// udev's links to disks and partitions.
    pub(super) links: PathBuf,
    /// What the device has started from lies there.
    pub(super) root: PathBuf,
}

impl Default for Disks {
    fn default() -> Self {
        Self { sysfs: "/sys".into(), links: "/dev/disk".into(), root: "/".into() }
    }
}

impl Disks {
    /// Where a place has a name that a second medium may take, all of them lie on the disk that the device has started from, as
    /// far as that can be told.
    pub(super) fn look(&self, places: &[Place]) -> Result<(), InstallError> {
        let device = |path: &Path| {
            let meta = fs::metadata(path).ok()?;
            meta.file_type().is_block_device().then(|| meta.rdev())
        };
        let paths = places.iter().flat_map(|place| [place.a.as_path(), place.b.as_path()]);
        let devices: Vec<_> = paths.map(|path| (path, device(path))).collect();
        let root = fs::metadata(&self.root).ok().map(|meta| meta.dev());
        match self.stray(root, &devices) {
            Some((path, text)) => Err(io_error("use", path)(io::Error::other(text))),
            None => Ok(()),
        }
    }

    /// The first place that lies elsewhere than what comes before it, and what to do. `root`: the device number of what the device
    /// has started from; beside each place that of its partition.
    fn stray<'a>(&self, root: Option<u64>, places: &[(&'a Path, Option<u64>)]) -> Option<(&'a Path, String)> {
        if !places.iter().any(|(path, _)| BORROWED.iter().any(|by| path.starts_with(self.links.join(by)))) {
            return None;
        }
        let mut first = root.and_then(|root| self.of(root)).map(|disk| (&*self.root, disk));
        for (path, device) in places {
            let Some(disk) = device.and_then(|device| self.of(device)) else { continue };
            let (other, own) = first.get_or_insert_with(|| (path, disk.clone()));
            if disk != *own {
                let (name, own) = (name(&disk), name(own));
                let text = format!(
                    "it lies on the disk {name}, and {} on {own}: a card or a stick may bear the same name as the device's own \
                     partition, which is the one that the boot loader starts; take the second medium out, or name all places in \
                     agent.toml by where they are, as /dev/{own}.. or below /dev/disk/by-path",
                    other.display()
                );
                return Some((path, text));
            }
        }
        None
    }

    /// The disk that has the partition with that number, by its directory in sysfs. None of what is no partition, such as LVM's or a
    /// loop's, and where sysfs does not say.
    fn of(&self, device: u64) -> Option<PathBuf> {
        let link = self.sysfs.join(format!("dev/block/{}:{}", major(device), minor(device)));
        let partition = fs::canonicalize(link).ok()?;
        // Linux, Documentation/ABI/stable/sysfs-block: a partition is a directory in its disk's, and has this file.
        let disk = partition.parent().filter(|_| partition.join("partition").exists())?;
        Some(disk.to_owned())
    }
}

fn name(disk: &Path) -> std::borrow::Cow<'_, str> {
    disk.file_name().unwrap_or_default().to_string_lossy()
}

#[cfg(test)]
pub(super) mod tests {
    use rustix::fs::makedev;

    use super::*;

    /// A sysfs with those block devices: number, and path below `devices`; a partition's lies in its disk's.
    pub(in super::super) fn sysfs(dir: &Path, devices: &[(u64, &str)]) -> Disks {
        let (sysfs, links) = (dir.join("sys"), dir.join("links"));
        fs::create_dir_all(sysfs.join("dev/block")).unwrap();
        for (device, at) in devices {
            let to = sysfs.join("devices").join(at);
            fs::create_dir_all(&to).unwrap();
            if at.contains('/') {
                fs::write(to.join("partition"), "1\n").unwrap();
            }
            let link = sysfs.join(format!("dev/block/{}:{}", major(*device), minor(*device)));
            std::os::unix::fs::symlink(format!("../../devices/{at}"), link).unwrap();
        }
        Disks { sysfs, links, root: "/".into() }
    }

    #[test]
    fn names_that_a_second_medium_may_take_are_believed_on_one_disk_alone() {
        let dir = tempfile::tempdir().unwrap();
        let emmc = |minor| makedev(179, minor);
        let card = |minor| makedev(8, minor);
        let disks = sysfs(
            dir.path(),
            &[
                (emmc(0), "mmcblk0"),
                (emmc(1), "mmcblk0/mmcblk0p1"),
                (emmc(2), "mmcblk0/mmcblk0p2"),
                (emmc(3), "mmcblk0/mmcblk0p3"),
                (card(0), "sda"),
                (card(1), "sda/sda1"),
                (card(2), "sda/sda2"),
                (makedev(7, 0), "loop0"),
                (makedev(254, 0), "dm-0"),
            ],
        );
        let labels = ["by-partlabel/rootfs-a", "by-partlabel/rootfs-b"].map(|name| disks.links.join(name));
        let stray = |root: Option<u64>, paths: [&Path; 2], [a, b]: [u64; 2]| {
            disks.stray(root, &[(paths[0], Some(a)), (paths[1], Some(b))]).map(|(path, text)| (path.to_owned(), text))
        };
        let [a, b] = [labels[0].as_path(), labels[1].as_path()];
        let own = Some(emmc(1));
        for root in [own, Some(emmc(2)), None, Some(makedev(0, 30)), Some(makedev(254, 0)), Some(makedev(8, 99))] {
            assert_eq!(stray(root, [a, b], [emmc(2), emmc(3)]), None, "{root:?}");
            // One of the two, whether or not it is known where the device has started from.
            let (path, said) = stray(root, [a, b], [emmc(2), card(2)]).unwrap();
            assert!(path == b && said.contains("on the disk sda, and ") && said.contains("on mmcblk0"), "{said}");
            assert!(said.contains("take the second medium out") && said.contains("/dev/mmcblk0.."), "{said}");
        }
        let (_, said) = stray(None, [a, b], [emmc(2), card(2)]).unwrap();
        assert!(said.contains(a.to_str().unwrap()), "both are named: {said}");
        // The whole card, with both: only by where the device has started from.
        let (path, said) = stray(own, [a, b], [card(1), card(2)]).unwrap();
        assert!(path == a && said.contains("and / on mmcblk0"), "{said}");
        assert_eq!(stray(None, [a, b], [card(1), card(2)]), None);
        // A device that has started from the stick, on which both are.
        assert_eq!(stray(Some(card(1)), [a, b], [card(1), card(2)]), None);
        for by in BORROWED {
            let named = disks.links.join(by).join("x");
            assert!(stray(own, [Path::new("/dev/mmcblk0p2"), &named], [emmc(2), card(1)]).is_some(), "{by}");
        }
        // By where they are they are taken at their word.
        let by_path = disks.links.join("by-path/platform-mmc-part/by-partlabel/rootfs-b");
        for paths in [[Path::new("/dev/mmcblk0p2"), Path::new("/dev/sda2")], [Path::new("/dev/mmcblk0p2"), &*by_path]] {
            assert_eq!(stray(own, paths, [emmc(2), card(2)]), None);
        }
        // What is no partition, or not in sysfs, is passed over; so is a place that is no device yet.
        for other in [makedev(7, 0), makedev(254, 0), card(0), makedev(259, 1)] {
            assert_eq!(stray(own, [a, b], [emmc(2), other]), None);
        }
        assert_eq!(disks.stray(own, &[(a, Some(emmc(2))), (b, None)]), None);
    }

    #[test]
    fn this_machines_own_disks_are_looked_at_as_they_are() {
        let disks = Disks::default();
        assert!(disks.look(&[]).is_ok());
        let place = |a: &str, b: &str| Place { payload: "app".parse().unwrap(), a: a.into(), b: b.into() };
        assert!(disks.look(&[place("/dev/null", "/dev/disk/by-label/no-such-label")]).is_ok());
    }
}
