//! A calendar as people write it: flags, a TOML file, an iCalendar file, or several of them, which add up.
//!
//! ```toml
//! zone = "Europe/Vienna"
//! weekly = ["sat,sun 02:00 2h", "mon-fri 22:30 90m"]
//! once = ["2026-11-24T17:00 30m"]
//! freeze = ["2026-12-24..2027-01-02"]
//! freeze_yearly = ["12-24..01-02"]
//!
//! [[rule]]
//! rrule = "FREQ=MONTHLY;BYDAY=2TU"
//! dtstart = "2026-12-08T01:00"
//! duration = "2h"
//! exclude = ["2027-01-12"]
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use suture_core::approval::SignedDocument as _;
use suture_core::id::HdoId;
use suture_core::limits::{MAX_CALENDAR_BYTES, MAX_ICS_BYTES};
use suture_core::window::{Calendar, Recurrence, Scope, Window, ics, parse_duration, parse_local};

use crate::failure::{Exit, Failure, OrFail as _, Outcome};
use crate::files;

/// What a calendar is made of, on the command line.
#[derive(Debug, Clone, Default, Args)]
pub struct Spec {
    /// A TOML file with `zone`, `weekly`, `once`, `freeze` and `[[rule]]`; the flags add to it
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// An iCalendar file: its events are windows, those of whole days freezes
    #[arg(long, value_name = "FILE")]
    ics: Option<PathBuf>,
    /// What a zone of the iCalendar file is called in the IANA database; may be given several times
    #[arg(long, value_name = "NAME=ZONE", requires = "ics", value_parser = alias)]
    zone_alias: Vec<(String, String)>,
    /// The time zone, by its IANA name: Europe/Vienna
    #[arg(long)]
    zone: Option<String>,
    /// A window of each week: "sat,sun 02:00 2h"; may be given several times
    #[arg(long, value_name = "DAYS START LENGTH")]
    weekly: Vec<String>,
    /// A single window: "2026-11-24T17:00 30m", local time; may be given several times
    #[arg(long, value_name = "START LENGTH")]
    once: Vec<String>,
    /// A window by a recurrence rule of RFC 5545: "FREQ=MONTHLY;BYDAY=2TU"
    #[arg(long, value_name = "RULE", requires_all = ["dtstart", "duration"])]
    rrule: Option<String>,
    /// The rule's first start, local time: 2026-12-08T01:00
    #[arg(long, value_name = "LOCAL", requires = "rrule")]
    dtstart: Option<String>,
    /// How long the rule's windows last: 2h, 90m, PT2H
    #[arg(long, value_name = "LENGTH", requires = "rrule")]
    duration: Option<String>,
    /// What is taken out of the rule: all starts of a date, 2026-12-24, or one, 2026-12-24T01:00; may be given several times
    #[arg(long, value_name = "DATE", requires = "rrule")]
    exclude: Vec<String>,
    /// Dates on which nothing begins: 2026-12-24 or 2026-12-24..2027-01-02; may be given several times
    #[arg(long, value_name = "DATE[..DATE]")]
    freeze: Vec<String>,
    /// The same dates of each year: 12-24 or 12-24..01-02; may be given several times
    #[arg(long, value_name = "MM-DD[..MM-DD]")]
    freeze_yearly: Vec<String>,
}

fn alias(text: &str) -> Result<(String, String), String> {
    let (name, zone) =
        text.split_once('=').ok_or("it is written NAME=ZONE, as in \"W. Europe Standard Time=Europe/Vienna\"")?;
    Ok((name.to_owned(), zone.to_owned()))
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
    #[serde(default)]
    freeze_yearly: Vec<String>,
    #[serde(default)]
    rule: Vec<WrittenRule>,
}

/// A rule in it, and the four flags.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    rrule: String,
    dtstart: String,
    duration: String,
    #[serde(default)]
    exclude: Vec<String>,
}

impl WrittenRule {
    fn window(&self) -> Outcome<Window> {
        let wrong = |e: &dyn std::error::Error| Failure::of(Exit::Failed, e);
        let except = self.exclude.iter().map(|text| text.parse().map_err(|e| wrong(&e)));
        Ok(Window {
            begins: Recurrence::Rule {
                start: parse_local(&self.dtstart).map_err(|e| wrong(&e))?,
                rule: Box::new(self.rrule.parse().map_err(|e| wrong(&e))?),
                except: except.collect::<Outcome<_>>()?,
            },
            duration_secs: parse_duration(&self.duration).map_err(|e| wrong(&e))?,
        })
    }
}

impl Spec {
    /// Whether anything was given: without, `preview` shows the calendar that is signed.
    pub(super) fn is_empty(&self) -> bool {
        let Self { file, ics, zone_alias: _, zone, weekly, once, rrule, dtstart: _, duration: _, exclude: _, .. } =
            self;
        let windows = weekly.is_empty() && once.is_empty() && rrule.is_none();
        let freezes = self.freeze.is_empty() && self.freeze_yearly.is_empty();
        windows && freezes && file.is_none() && ics.is_none() && zone.is_none()
    }

    /// The first start of the flags' rule.
    pub(super) fn begins(&self, zone: &TimeZone) -> Option<Timestamp> {
        let local = parse_local(self.dtstart.as_deref()?).ok()?;
        zone.to_ambiguous_timestamp(local).earlier().ok()
    }

    fn rule(&self) -> Option<WrittenRule> {
        Some(WrittenRule {
            rrule: self.rrule.clone()?,
            dtstart: self.dtstart.clone()?,
            duration: self.duration.clone()?,
            exclude: self.exclude.clone(),
        })
    }

    /// The calendar, valid and with a zone that exists, and the events of an iCalendar file that are cancelled.
    pub(super) fn calendar(&self, hdo: HdoId, scope: Scope) -> Outcome<(Calendar, Vec<String>)> {
        let written = self.file.as_deref().map(read).transpose()?.unwrap_or_default();
        let zone = self.zone.clone().or(written.zone);
        let aliases: BTreeMap<_, _> = self.zone_alias.iter().cloned().collect();
        let reading = ics::Reading { zone: zone.clone(), aliases };
        let imported = self.ics.as_deref().map(|path| import(path, &reading)).transpose()?;
        let zone = zone.or_else(|| imported.as_ref().map(|i| i.zone.clone())).ok_or_else(|| {
            Failure::new("the calendar has no time zone").next("--zone Europe/Vienna, or `zone = ...` in the file")
        })?;
        let mut calendar = Calendar::empty(hdo, scope, zone);
        for text in written.weekly.iter().chain(&self.weekly) {
            calendar.windows.push(Window::parse_weekly(text).map_err(|e| Failure::of(Exit::Failed, &e))?);
        }
        for text in written.once.iter().chain(&self.once) {
            calendar.windows.push(Window::parse_once(text).map_err(|e| Failure::of(Exit::Failed, &e))?);
        }
        for rule in written.rule.into_iter().chain(self.rule()) {
            calendar.windows.push(rule.window()?);
        }
        for text in written.freeze.iter().chain(&self.freeze) {
            calendar.freezes.push(text.parse().map_err(|e| Failure::of(Exit::Failed, &e))?);
        }
        for text in written.freeze_yearly.iter().chain(&self.freeze_yearly) {
            calendar.recurring.push(text.parse().map_err(|e| Failure::of(Exit::Failed, &e))?);
        }
        let mut cancelled = Vec::new();
        if let Some(imported) = imported {
            calendar.windows.extend(imported.windows);
            calendar.freezes.extend(imported.freezes);
            calendar.recurring.extend(imported.recurring);
            cancelled = imported.cancelled;
        }
        calendar.check().map_err(|e| Failure::of(Exit::Failed, &e))?;
        calendar.time_zone().map_err(|e| Failure::of(Exit::Failed, &e))?;
        Ok((calendar, cancelled))
    }
}

fn text_of(path: &Path, limit: u64) -> Outcome<String> {
    String::from_utf8(files::need(path, limit)?).or_fail(|| format!("{} is no text", path.display()))
}

fn read(path: &Path) -> Outcome<Written> {
    toml::from_str(&text_of(path, MAX_CALENDAR_BYTES)?).or_fail(|| format!("{} is no calendar", path.display()))
}

fn import(path: &Path, reading: &ics::Reading) -> Outcome<ics::Imported> {
    let text = text_of(path, MAX_ICS_BYTES as u64)?;
    ics::import(&text, reading).or_fail(|| format!("{} cannot be taken for a calendar", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (HdoId, Scope) {
        ("riverside".parse().unwrap(), Scope::Ward("icu".parse().unwrap()))
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
        let (hdo, scope) = ids();
        let (calendar, _) = spec.calendar(hdo, scope).unwrap();
        let windows: Vec<_> = calendar.windows.iter().map(ToString::to_string).collect();
        assert_eq!(calendar.zone, "Europe/Vienna");
        assert_eq!(windows, ["sat,sun 02:00:00 2h", "2026-11-24T17:03:10 10m"]);
        assert_eq!(calendar.freezes.len(), 1);
    }

    #[test]
    fn rules_and_a_change_boards_events_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let (toml, ics) = (dir.path().join("icu.toml"), dir.path().join("icu.ics"));
        std::fs::write(
            &toml,
            "zone = \"Europe/Vienna\"\n[[rule]]\nrrule = \"FREQ=MONTHLY;BYDAY=2TU\"\ndtstart = \"2026-12-08T01:00\"\n\
             duration = \"2h\"\nexclude = [\"2027-01-12\"]\n",
        )
        .unwrap();
        std::fs::write(
            &ics,
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:Christmas\nDTSTART;VALUE=DATE:20261224\nEND:VEVENT\nBEGIN:VEVENT\n\
             SUMMARY:off\nSTATUS:CANCELLED\nDTSTART:20261201T010000Z\nEND:VEVENT\nEND:VCALENDAR\n",
        )
        .unwrap();
        let spec = Spec {
            file: Some(toml),
            ics: Some(ics),
            rrule: Some("FREQ=WEEKLY".to_owned()),
            dtstart: Some("2026-11-28T03:00".to_owned()),
            duration: Some("PT90M".to_owned()),
            ..Spec::default()
        };
        let (hdo, scope) = ids();
        let (calendar, cancelled) = spec.calendar(hdo, scope).unwrap();
        let windows: Vec<_> = calendar.windows.iter().map(ToString::to_string).collect();
        assert_eq!(
            windows,
            ["2026-12-08T01:00:00 FREQ=MONTHLY;BYDAY=2TU -2027-01-12 2h", "2026-11-28T03:00:00 FREQ=WEEKLY 1h30m"]
        );
        assert_eq!((calendar.freezes.len(), cancelled), (1, vec!["off".to_owned()]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |zone: Option<&str>, weekly: &str| {
            let spec = Spec { zone: zone.map(str::to_owned), weekly: vec![weekly.to_owned()], ..Spec::default() };
            let (hdo, scope) = ids();
            spec.calendar(hdo, scope).unwrap_err().to_text()
        };
        assert!(with(None, "sat 02:00 2h").contains("--zone"));
        assert!(with(Some("Europe/Wien"), "sat 02:00 2h").contains("Europe/Wien"));
        assert!(with(Some("UTC"), "saturday 02:00 2h").contains("\"saturday 02:00 2h\""));
        assert!(with(Some("UTC"), "sat 02:00 8d").contains("7 days"));

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("icu.toml");
        std::fs::write(&path, "zone = \"UTC\"\nfreezes = []\n").unwrap();
        let (hdo, scope) = ids();
        let text = Spec { file: Some(path), ..Spec::default() }.calendar(hdo, scope).unwrap_err().to_text();
        assert!(text.contains("freezes"), "{text}");
    }
}
