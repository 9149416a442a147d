//! Whether there is power enough for an install and its way back. It fails closed.
//!
//! The kernel's word: `/sys/class/power_supply`, a directory for each supply (Documentation/ABI/testing/sysfs-class-power).
//! The mains are any supply that is no battery and is `online`. A battery of a mouse or a probe (`scope` is `Device`) powers
//! nothing here, one that is not `present` neither.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use suture_core::phase::{Code, Reason};

use crate::config::Power;

/// Where the kernel says what there is.
pub const SUPPLIES: &str = "/sys/class/power_supply";
/// Supplies that are looked at; a device has a handful.
const MAX_SUPPLIES: usize = 64;
/// A value is a word or a number.
const MAX_VALUE_BYTES: u64 = 256;

/// What stands in the way, if anything does.
pub fn ask(wanted: Power, supplies: &Path) -> Result<(), Reason> {
    if wanted == Power::default() {
        return Ok(());
    }
    let found = Found::read(supplies)
        .map_err(|e| no(format!("what powers the device is not known: {} cannot be read: {e}", supplies.display())))?;
    if wanted.mains && !found.mains {
        return Err(no("the device is not on mains; plug it in".to_owned()));
    }
    if wanted.battery_percent == 0 {
        return Ok(());
    }
    match found.batteries.iter().min_by_key(|(_, percent)| *percent) {
        None => Err(no("no battery was found, and its charge is to be looked at".to_owned())),
        Some((name, None)) => Err(no(format!("the charge of battery {name} is not known"))),
        Some((name, Some(percent))) if *percent < wanted.battery_percent => Err(no(format!(
            "battery {name} is at {percent} %, an install wants {} %; charge it",
            wanted.battery_percent
        ))),
        Some(_) => Ok(()),
    }
}

fn no(text: String) -> Reason {
    Reason::new(Code::Power, text)
}

#[derive(Default)]
struct Found {
    mains: bool,
    /// Each with its charge, where that is known; unknown sorts first.
    batteries: Vec<(String, Option<u8>)>,
}

impl Found {
    fn read(supplies: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        for supply in fs::read_dir(supplies)?.take(MAX_SUPPLIES) {
            let supply = supply?;
            let value = |name: &str| value(&supply.path().join(name));
            let name = supply.file_name().to_string_lossy().into_owned();
            match value("type")?.as_deref() {
                Some("Battery") => {
                    if value("scope")?.as_deref() == Some("Device") || value("present")?.as_deref() == Some("0") {
                        continue;
                    }
                    let percent = value("capacity")?.and_then(|text| text.parse::<u8>().ok());
                    found.batteries.push((name, percent.filter(|percent| *percent <= 100)));
                }
                Some(_) => found.mains |= value("online")?.is_some_and(|text| text != "0"),
                None => {}
            }
        }
        Ok(found)
    }
}

/// A value of a supply; none where it has no such value, or none just now (`ENODATA`).
fn value(path: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    match fs::File::open(path).and_then(|file| file.take(MAX_VALUE_BYTES).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NODATA.raw_os_error()) => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAINS: Power = Power { mains: true, battery_percent: 0 };
    const HALF: Power = Power { mains: false, battery_percent: 50 };

    /// A device with these supplies: name, then values.
    fn supplies(of: &[(&str, &[(&str, &str)])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, values) in of {
            let supply = dir.path().join(name);
            fs::create_dir(&supply).unwrap();
            for (value, text) in *values {
                fs::write(supply.join(value), format!("{text}\n")).unwrap();
            }
        }
        dir
    }

    fn says(wanted: Power, of: &[(&str, &[(&str, &str)])]) -> Result<(), String> {
        ask(wanted, supplies(of).path()).map_err(|reason| {
            assert_eq!(reason.code, Code::Power);
            reason.text
        })
    }

    #[test]
    fn mains_are_any_supply_that_is_online_and_no_battery() {
        says(MAINS, &[("AC", &[("type", "Mains"), ("online", "1")])]).unwrap();
        says(MAINS, &[("ucsi", &[("type", "USB"), ("online", "1")]), ("AC", &[("type", "Mains"), ("online", "0")])])
            .unwrap();
        for without in [
            &[][..],
            &[("AC", &[("type", "Mains"), ("online", "0")][..])],
            &[("AC", &[("type", "Mains")][..])],
            &[("AC", &[("online", "1")][..])],
            &[("BAT0", &[("type", "Battery"), ("online", "1"), ("capacity", "100")][..])],
        ] {
            assert!(says(MAINS, without).unwrap_err().contains("plug it in"), "{without:?}");
        }
    }

    #[test]
    fn every_battery_must_have_charge_enough_and_an_unknown_charge_is_none() {
        fn battery(capacity: &str) -> [(&str, &str); 2] {
            [("type", "Battery"), ("capacity", capacity)]
        }
        says(HALF, &[("BAT0", &battery("50")), ("BAT1", &battery("100"))]).unwrap();
        let low = says(HALF, &[("BAT0", &battery("90")), ("BAT1", &battery("49"))]).unwrap_err();
        assert!(low.contains("BAT1 is at 49 %"), "{low}");
        for unknown in ["", "101", "-1", "full", "300"] {
            assert!(says(HALF, &[("BAT0", &battery(unknown)), ("BAT1", &battery("99"))]).is_err(), "{unknown}");
        }
        assert!(says(HALF, &[("BAT0", &[("type", "Battery")])]).unwrap_err().contains("not known"));
        assert!(says(HALF, &[("AC", &[("type", "Mains"), ("online", "1")])]).unwrap_err().contains("no battery"));
        let others = [
            ("mouse", &[("type", "Battery"), ("scope", "Device"), ("capacity", "3")][..]),
            ("BAT0", &[("type", "Battery"), ("capacity", "80")]),
        ];
        says(HALF, &others).unwrap();
        let empty_bay = [
            ("BAT1", &[("type", "Battery"), ("present", "0")][..]),
            ("BAT0", &[("type", "Battery"), ("capacity", "80")]),
        ];
        says(HALF, &empty_bay).unwrap();
    }

    #[test]
    fn both_must_hold_where_both_are_asked_for_and_nothing_where_nothing_is() {
        let both = Power { mains: true, battery_percent: 50 };
        let battery = ("BAT0", &[("type", "Battery"), ("capacity", "80")][..]);
        says(both, &[("AC", &[("type", "Mains"), ("online", "1")]), battery]).unwrap();
        assert!(says(both, &[battery]).is_err());
        says(Power::default(), &[]).unwrap();
        let nowhere = Path::new("/nowhere");
        assert!(ask(MAINS, nowhere).is_err() && ask(Power::default(), nowhere).is_ok());
    }
}
