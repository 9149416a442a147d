//! A calendar as people write it: flags, a TOML file, or both, the flags adding to the file.
//!
//! ```toml
//! zone = "Europe/Vienna"
//! weekly = ["sat,sun 02:00 2h", "mon-fri 22:30 90m"]
//! once = ["2026-11-24T17:00 30m"]
//! freeze = ["2026-12-24..2027-01-02"]
//! ```

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use suture_core::approval::SignedDocument as _;
use suture_core::id::{HdoId, WardId};
use suture_core::limits::MAX_CALENDAR_BYTES;
use suture_core::window::{Calendar, Window};

use crate::failure::{Exit, Failure, OrFail as _, Outcome};
use crate::files;

/// What a calendar is made of, on the command line.
#[derive(Debug, Clone, Default, Args)]
pub struct Spec {
    /// A TOML file with `zone`, `weekly`, `once` and `freeze`; the flags add to it
    file: Option<PathBuf>,
    /// The ward's time zone, by its IANA name: Europe/Vienna
    #[arg(long)]
    zone: Option<String>,
    /// A window of each week: "sat,sun 02:00 2h"; may be given several times
    #[arg(long, value_name = "DAYS START LENGTH")]
    weekly: Vec<String>,
    /// A single window: "2026-11-24T17:00 30m", local time; may be given several times
    #[arg(long, value_name = "START LENGTH")]
    once: Vec<String>,
    /// Dates on which nothing begins: 2026-12-24 or 2026-12-24..2027-01-02; may be given several times
    #[arg(long, value_name = "DATE[..DATE]")]
    freeze: Vec<String>,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    zone: Option<String>,
    #[serde(default)]
    weekly: Vec<String>,
    #[serde(default)]
    once: Vec<String>,
    #[serde(default)]
    freeze: Vec<String>,
}

impl Spec {
    /// Whether anything was given: without, `preview` shows the calendar that is signed.
    pub(super) fn is_empty(&self) -> bool {
        let Self { file, zone, weekly, once, freeze } = self;
        file.is_none() && zone.is_none() && weekly.is_empty() && once.is_empty() && freeze.is_empty()
    }

    /// The calendar, valid and with a zone that exists.
    pub(super) fn calendar(&self, hdo: HdoId, ward: WardId) -> Outcome<Calendar> {
        let written = self.file.as_deref().map(read).transpose()?.unwrap_or_default();
        let zone = self.zone.clone().or(written.zone).ok_or_else(|| {
            Failure::new("the calendar has no time zone").next("--zone Europe/Vienna, or `zone = ...` in the file")
        })?;
        let mut calendar = Calendar::empty(hdo, ward, zone);
        for text in written.weekly.iter().chain(&self.weekly) {
            calendar.windows.push(Window::parse_weekly(text).map_err(|e| Failure::of(Exit::Failed, &e))?);
        }
        for text in written.once.iter().chain(&self.once) {
            calendar.windows.push(Window::parse_once(text).map_err(|e| Failure::of(Exit::Failed, &e))?);
        }
        for text in written.freeze.iter().chain(&self.freeze) {
            calendar.freezes.push(text.parse().map_err(|e| Failure::of(Exit::Failed, &e))?);
        }
        calendar.check().map_err(|e| Failure::of(Exit::Failed, &e))?;
        calendar.time_zone().map_err(|e| Failure::of(Exit::Failed, &e))?;
        Ok(calendar)
    }
}

fn read(path: &Path) -> Outcome<Written> {
    let bytes = files::read(path, MAX_CALENDAR_BYTES)?
        .ok_or_else(|| Failure::new(format!("there is no file {}", path.display())))?;
    let text = str::from_utf8(&bytes).or_fail(|| format!("{} is no text", path.display()))?;
    toml::from_str(text).or_fail(|| format!("{} is no calendar", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (HdoId, WardId) {
        ("riverside".parse().unwrap(), "icu".parse().unwrap())
    }

    #[test]
    fn flags_add_to_the_file_and_the_flags_zone_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("icu.toml");
        std::fs::write(&path, "zone = \"UTC\"\nweekly = [\"sat,sun 02:00 2h\"]\nfreeze = [\"2026-12-24\"]\n").unwrap();
        let spec = Spec {
            file: Some(path),
            zone: Some("Europe/Vienna".to_owned()),
            once: vec!["2026-11-24T17:03:10 10m".to_owned()],
            ..Spec::default()
        };
        let (hdo, ward) = ids();
        let calendar = spec.calendar(hdo, ward).unwrap();
        let windows: Vec<_> = calendar.windows.iter().map(ToString::to_string).collect();
        assert_eq!(calendar.zone, "Europe/Vienna");
        assert_eq!(windows, ["sat,sun 02:00:00 2h", "2026-11-24T17:03:10 10m"]);
        assert_eq!(calendar.freezes.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |zone: Option<&str>, weekly: &str| {
            let spec = Spec { zone: zone.map(str::to_owned), weekly: vec![weekly.to_owned()], ..Spec::default() };
            let (hdo, ward) = ids();
            spec.calendar(hdo, ward).unwrap_err().to_text()
        };
        assert!(with(None, "sat 02:00 2h").contains("--zone"));
        assert!(with(Some("Europe/Wien"), "sat 02:00 2h").contains("Europe/Wien"));
        assert!(with(Some("UTC"), "saturday 02:00 2h").contains("\"saturday 02:00 2h\""));
        assert!(with(Some("UTC"), "sat 02:00 8d").contains("7 days"));

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("icu.toml");
        std::fs::write(&path, "zone = \"UTC\"\nfreezes = []\n").unwrap();
        let (hdo, ward) = ids();
        let text = Spec { file: Some(path), ..Spec::default() }.calendar(hdo, ward).unwrap_err().to_text();
        assert!(text.contains("freezes"), "{text}");
    }
}
