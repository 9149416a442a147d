//! The hospital: its wards, its calendars in zones whose clocks change, its rosters.

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::{Part, Pinned, Roster, RosterDevice, path};
use suture_core::id::{DeviceId, HdoId, WardId};
use suture_core::label::Labels;
use suture_core::sign::PublicKey;
use suture_core::window::{Calendar, Recurrence, Scope, Window};

use crate::chance::Chance;

/// Hardware revisions that there are.
pub(crate) const HARDWARE: [&str; 3] = ["rev-a", "rev-b", "rev-c"];

/// Zones with the clock changes that there are: by an hour and by half of one, at midnight, in both halves of the year, none.
const ZONES: [&str; 10] = [
    "Europe/Vienna",
    "Europe/London",
    "America/New_York",
    "America/St_Johns",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "UTC",
];

/// Days shortly before the clocks of some of these change.
const BEFORE_CHANGES: [&str; 6] = [
    "2026-10-23T12:00:00Z",
    "2026-10-30T12:00:00Z",
    "2027-03-11T12:00:00Z",
    "2027-03-26T12:00:00Z",
    "2027-04-02T12:00:00Z",
    "2027-09-03T12:00:00Z",
];

/// What the hospital has signed of itself.
#[derive(Debug, Clone)]
pub(crate) struct Hospital {
    pub(crate) hdo: HdoId,
    pub(crate) begins: Timestamp,
    pub(crate) wards: Vec<WardId>,
    pub(crate) devices: Vec<RosterDevice>,
    pub(crate) rosters: Vec<(Pinned, Roster)>,
    pub(crate) calendars: Vec<(Pinned, Calendar)>,
}

impl Hospital {
    pub(crate) fn new(chance: &mut Chance, size: u32, key: PublicKey) -> Self {
        let hdo: HdoId = "riverside".parse().unwrap();
        let begins = if chance.percent(60) {
            chance.pick(&BEFORE_CHANGES).parse().unwrap()
        } else {
            let start: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
            start + chance.secs(0, 500 * 86_400)
        };
        let wards: Vec<WardId> =
            (1..=chance.between(1, 1 + size.min(24) / 6)).map(|n| format!("ward-{n}").parse().unwrap()).collect();
        let devices: Vec<_> = (1..=chance.between(size.div_ceil(2), size))
            .map(|n| RosterDevice {
                id: format!("pump-{n:03}").parse().unwrap(),
                report_key: key,
                product: if chance.percent(97) { "pump" } else { "monitor" }.parse().unwrap(),
                hardware: chance.pick(&HARDWARE).parse().unwrap(),
                ward: chance.pick(&wards),
                labels: Labels::default(),
            })
            .collect();
        let parts: Vec<Part> = Part::split(chance.pick(&[1, 1, 2, 4])).collect();
        let roster = |part: Part| {
            let listed = devices.iter().filter(|d| part.holds(&d.id)).cloned().collect();
            (pinned(path::roster(part)), Roster::new(hdo.clone(), part, listed))
        };
        let rosters = parts.into_iter().map(roster).collect();
        let mut hospital = Self { hdo, begins, wards, devices, rosters, calendars: Vec::new() };
        hospital.calendars = hospital.all_calendars(chance);
        hospital
    }

    fn all_calendars(&self, chance: &mut Chance) -> Vec<(Pinned, Calendar)> {
        let zone = chance.pick(&ZONES);
        let mut all = Vec::new();
        let of = |scope: Scope, zone: &str| Calendar::empty(self.hdo.clone(), scope, zone.to_owned());
        let mut hospital = of(Scope::Hospital, zone);
        match chance.below(4) {
            0 => {}
            1 => hospital.freezes.push(self.freeze(chance)),
            _ => {
                hospital.windows.push(weekly("daily", 18, 0, 14 * 60));
                if chance.percent(30) {
                    hospital.freezes.push(self.freeze(chance));
                }
            }
        }
        if chance.percent(15) {
            let recurring = chance.pick(&["12-24..01-02", "10-31", "03-28..04-06"]);
            hospital.recurring.push(recurring.parse().unwrap());
        }
        let hospital_is_open = !hospital.windows.is_empty();
        all.push(hospital);
        for ward in &self.wards {
            if hospital_is_open && chance.percent(25) {
                continue;
            }
            let zone = if chance.percent(85) { zone } else { chance.pick(&ZONES) };
            let mut calendar = of(Scope::Ward(ward.clone()), zone);
            calendar.windows = (0..chance.between(1, 2)).map(|_| self.window(chance)).collect();
            if chance.percent(25) {
                calendar.freezes.push(self.freeze(chance));
            }
            all.push(calendar);
        }
        for device in &self.devices {
            if chance.percent(8) {
                let mut calendar = of(Scope::Device(device.id.clone()), zone);
                match chance.percent(50) {
                    true => calendar.windows.push(self.window(chance)),
                    false => calendar.freezes.push(self.freeze(chance)),
                }
                all.push(calendar);
            }
        }
        all.retain(|c| !c.windows.is_empty() || !c.freezes.is_empty() || !c.recurring.is_empty());
        all.into_iter().map(|c| (pinned(path::calendar(&c.scope)), c)).collect()
    }

    fn window(&self, chance: &mut Chance) -> Window {
        // The hours in which clocks change come up often.
        let (hour, minute) = (chance.pick(&[0, 1, 2, 2, 3, 22, 23]), chance.pick(&[0, 15, 30, 45]));
        let minutes = chance.between(20, 360);
        let days = chance.pick(&["daily", "daily", "sat,sun", "mon-fri", "tue", "sun"]);
        match chance.below(8) {
            0 => {
                let date = (self.begins + chance.secs(0, 20 * 86_400)).strftime("%Y-%m-%d").to_string();
                Window::parse_once(&format!("{date}T{hour:02}:{minute:02} {minutes}m")).unwrap()
            }
            1 => {
                let date = self.begins.strftime("%Y-%m-%d").to_string();
                Window {
                    begins: Recurrence::Rule {
                        start: format!("{date}T{hour:02}:{minute:02}:00").parse().unwrap(),
                        rule: Box::new(
                            chance.pick(&["FREQ=MONTHLY;BYDAY=-1SU", "FREQ=WEEKLY;INTERVAL=2"]).parse().unwrap(),
                        ),
                        except: Default::default(),
                    },
                    duration_secs: minutes * 60,
                }
            }
            _ => weekly(days, hour, minute, minutes),
        }
    }

    fn freeze(&self, chance: &mut Chance) -> suture_core::window::Freeze {
        let first = self.begins + chance.secs(0, 25 * 86_400);
        let last = first + SignedDuration::from_hours(24 * i64::from(chance.between(0, 6)));
        format!("{}..{}", first.strftime("%Y-%m-%d"), last.strftime("%Y-%m-%d")).parse().unwrap()
    }

    /// The calendars that bind a device.
    pub(crate) fn layers(&self, device: &DeviceId, ward: &WardId) -> Vec<&Calendar> {
        self.calendars.iter().map(|(_, c)| c).filter(|c| c.scope.binds(device, ward)).collect()
    }
}

fn weekly(days: &str, hour: u32, minute: u32, minutes: u32) -> Window {
    Window::parse_weekly(&format!("{days} {hour:02}:{minute:02} {minutes}m")).unwrap()
}

fn pinned(path: String) -> Pinned {
    Pinned::of(path.clone(), path.as_bytes())
}
