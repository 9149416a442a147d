//! The live view of `rollout watch`: what is drawn on a terminal, again and again in the same place. Pure, but for
//! [`Screen`], which writes it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::DeviceSlots;
use suture_core::clock::format_utc;
use suture_core::legible;
use suture_core::select::slot_at;

use super::show::{Device, Shown, fetched, head};
use crate::print::bytes;
use crate::why::{self, Unmet};

/// How wide a wave's bar is.
const BAR: usize = 20;
/// Devices and conditions that are shown one by one, at most.
const SHOWN: usize = 12;
/// Over how long confirmations are counted for the rate.
const RATE_OVER: SignedDuration = SignedDuration::from_hours(1);

/// What is drawn.
pub(super) struct View<'a> {
    pub(super) rollout: &'a Shown,
    /// The devices' slots, as they were signed.
    pub(super) slots: &'a BTreeMap<String, DeviceSlots>,
    /// What it waits for.
    pub(super) unmet: &'a [Unmet],
    /// Why the server tells nothing just now, where it does not.
    pub(super) cut: Option<&'a str>,
    pub(super) now: Timestamp,
    /// Columns and rows.
    pub(super) size: (usize, usize),
}

/// The lines, none wider and not more than the terminal has.
pub(super) fn render(view: &View<'_>) -> Vec<String> {
    let r = view.rollout;
    let mut lines = vec![format!("{}   {}", head(r), format_utc(view.now))];
    lines.extend(view.cut.map(|why| format!("OUT OF REACH, so this is as it was: {why}")));
    for wave in 1..=r.waves {
        lines.push(bar(wave, r));
    }
    let at_it: Vec<_> = r.devices.iter().filter(|d| is_at_it(d)).collect();
    if !at_it.is_empty() {
        lines.push("at it".to_owned());
        lines.extend(at_it.iter().take(SHOWN).map(|d| device(d)));
        lines.extend(more(at_it.len(), "devices"));
    }
    lines.push(format!("rate   {}", rate(&r.devices, view.now)));
    lines.push(format!("end    {}", forecast(&r.devices, view.slots, view.now)));
    if !view.unmet.is_empty() {
        lines.push("waits for".to_owned());
        let told = why::lines(view.unmet);
        lines.extend(told.iter().take(SHOWN).flat_map(|l| l.lines()).map(|l| format!("  {l}")));
        lines.extend(more(told.len(), "conditions"));
    }
    let (columns, rows) = view.size;
    let cut = |line: String| legible::line(&line).chars().take(columns).collect::<String>();
    // The last row stays free for the cursor; what does not fit is said.
    let fits = rows.saturating_sub(1).max(1);
    let hidden = lines.len().saturating_sub(fits);
    let mut lines: Vec<String> = lines.into_iter().take(fits).map(cut).collect();
    if let (Some(last), true) = (lines.last_mut(), hidden > 0) {
        *last = cut(format!("... and {} lines more: `suturectl rollout show {}`", hidden + 1, r.rollout));
    }
    lines
}

/// `wave 1  [##########..........]  3 of 6: 3 confirmed, 1 installing, 2 offered`.
fn bar(wave: u32, r: &Shown) -> String {
    let mine: Vec<_> = r.devices.iter().filter(|d| d.wave == wave).collect();
    let confirmed = mine.iter().filter(|d| d.phase == "confirmed").count();
    let filled = if mine.is_empty() { 0 } else { confirmed * BAR / mine.len() };
    let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
    for d in &mine {
        *phases.entry(&d.phase).or_default() += 1;
    }
    let counts: Vec<String> = phases.iter().map(|(phase, n)| format!("{n} {phase}")).collect();
    let shut = match (wave > r.wave, r.waits_for_signature.contains(&wave)) {
        (_, true) => ", waits for the hospital's signature",
        (true, _) => ", not open",
        _ => "",
    };
    let bar = format!("{}{}", "#".repeat(filled), ".".repeat(BAR.saturating_sub(filled)));
    format!("wave {wave:<2} [{bar}] {confirmed} of {} confirmed: {}{shut}", mine.len(), counts.join(", "))
}

/// Whether a device is at something that somebody may want to see: neither untouched nor at its end, or failed.
fn is_at_it(d: &Device) -> bool {
    !matches!(d.phase.as_str(), "offered" | "confirmed" | "not heard of" | "idle")
}

fn device(d: &Device) -> String {
    let got = if d.total_bytes > 0 { format!(" {}", fetched(d)) } else { String::new() };
    let got = if d.phase == "fetching" { got } else { String::new() };
    let reason = d.reason.as_ref().map(|r| format!(", {r}")).unwrap_or_default();
    format!("  {:<16} wave {:<2} {}{got}{reason}", d.id, d.wave, d.phase)
}

fn more(all: usize, what: &str) -> Option<String> {
    let left = all.saturating_sub(SHOWN);
    (left > 0).then(|| format!("  and {left} {what} more"))
}

/// Confirmations within the last hour, and what all devices fetch together.
fn rate(devices: &[Device], now: Timestamp) -> String {
    let since = now.saturating_sub(RATE_OVER).unwrap_or(Timestamp::MIN);
    let is_recent = |d: &&Device| d.phase == "confirmed" && d.changed.is_some_and(|at| at > since);
    let confirmed = devices.iter().filter(is_recent).count();
    let fetching: u64 =
        devices.iter().filter(|d| d.phase == "fetching").map(|d| d.progress.bytes_per_sec).fold(0, u64::saturating_add);
    format!("{confirmed} confirmed within the last hour, {}/s are fetched", bytes(fetching))
}

/// When the last device's next slot ends: the end, if each uses its next one and the gates open in time.
fn forecast(devices: &[Device], slots: &BTreeMap<String, DeviceSlots>, now: Timestamp) -> String {
    let open = devices.iter().filter(|d| !is_over(d));
    let mut ends = Vec::new();
    let mut without = 0_usize;
    for d in open {
        match slots.get(&d.id).and_then(|s| slot_at(&s.slots, now)) {
            Some(slot) => ends.push(slot.end),
            None => without += 1,
        }
    }
    let late = if without > 0 { format!("; {without} have no slot left") } else { String::new() };
    match ends.iter().max() {
        Some(end) => {
            format!("{} if each of {} uses its next slot and the gates open{late}", format_utc(*end), ends.len())
        }
        None if without > 0 => format!("no device that is left has a slot{late}"),
        None => "all devices have come to theirs".to_owned(),
    }
}

fn is_over(d: &Device) -> bool {
    suture_core::phase::Phase::from_name(&d.phase).is_some_and(|p| p.is_outcome())
}

/// What has been drawn and stands there still.
#[derive(Debug, Default)]
pub(super) struct Screen {
    drawn: usize,
}

impl Screen {
    /// What to write so that these lines stand where the last ones stood; the cursor is hidden from the first on.
    pub(super) fn draw(&mut self, lines: &[String]) -> String {
        // ECMA-48: CPL back to the first line drawn, ED to clear from there on.
        let back = match self.drawn {
            0 => "\x1b[?25l".to_owned(),
            n => format!("\x1b[{n}F\x1b[J"),
        };
        self.drawn = lines.len();
        let mut text = back;
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// What to write so that the terminal is as it was, the last lines left standing; nothing where nothing was drawn.
    pub(super) fn leave(&mut self) -> &'static str {
        match std::mem::take(&mut self.drawn) {
            0 => "",
            _ => "\x1b[?25h",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::show::shown;
    use super::*;
    use crate::hospital::fixture::{approval, at, id, wave};
    use crate::why::{Remedy, Word};
    use suture_core::phase::{Code, Reason};
    use suture_proto::v1;

    const NOW: &str = "2026-11-25T02:10:00Z";

    /// Two waves; the first device has confirmed, the second fetches, the others have heard of it.
    fn rollout(devices: usize) -> Shown {
        let device = |n: usize| v1::RolloutDevice {
            id: format!("pump-{}", n + 1),
            wave: u32::from(n > 0),
            phase: match n {
                0 => v1::Phase::Confirmed,
                1 => v1::Phase::Fetching,
                _ => v1::Phase::Offered,
            } as i32,
            changed_ms: at("2026-11-25T02:05:00Z").as_millisecond(),
            fetched_bytes: if n == 1 { 12_000_000 } else { 0 },
            total_bytes: 447_000_000,
            transfer: (n == 1).then(|| v1::Transfer { bytes_per_sec: 2 << 20, ..Default::default() }),
            ..Default::default()
        };
        shown(v1::Rollout {
            id: "pump-2".to_owned(),
            state: "running".to_owned(),
            product: "pump".to_owned(),
            version: "2.0.0".to_owned(),
            wave: 0,
            waves: 2,
            devices: (0..devices).map(device).collect(),
            unsigned_waves: vec![1],
            ..Default::default()
        })
    }

    fn slots() -> BTreeMap<String, DeviceSlots> {
        let approval = approval("pump-2", at("2026-11-25T03:00:00Z"), &[wave(false), wave(true)]);
        approval.devices.into_iter().map(|d| (d.id.to_string(), d)).collect()
    }

    fn drawn(rollout: &Shown, unmet: &[Unmet], cut: Option<&str>, size: (usize, usize)) -> Vec<String> {
        let slots = slots();
        render(&View { rollout, slots: &slots, unmet, cut, now: at(NOW), size })
    }

    #[test]
    fn a_view_shows_waves_devices_rate_end_and_what_is_waited_for() {
        let waits = suture_core::approval::waits(&id("pump-2"), 1);
        let how = "suturectl rollout open pump-2 --wave 2 --reason TEXT".to_owned();
        let unmet = [Unmet::with(Word::Signed, waits, Remedy::Command { how })];
        let lines = drawn(&rollout(2), &unmet, None, (200, 40));
        let wanted = [
            "pump-2: running, pump 2.0.0, wave 1 of 2   2026-11-25T02:10:00Z",
            "wave 1  [####################] 1 of 1 confirmed: 1 confirmed",
            "wave 2  [....................] 0 of 1 confirmed: 1 fetching, waits for the hospital's signature",
            "at it",
        ];
        assert_eq!(lines[..4], wanted);
        assert!(lines[4].starts_with("  pump-2           wave 2  fetching "), "{lines:?}");
        assert_eq!(lines[5], "rate   1 confirmed within the last hour, 2.0 MiB/s are fetched");
        assert_eq!(lines[6], "end    2026-11-25T03:00:00Z if each of 1 uses its next slot and the gates open");
        assert_eq!(lines[7], "waits for");
        assert!(lines[8].contains("[signed] signature-needed") && lines[9].contains("met by: suturectl rollout open"));
        assert_eq!(lines.len(), 10, "{lines:?}");
    }

    #[test]
    fn a_cut_line_is_said_and_what_was_known_stands() {
        let lines = drawn(&rollout(2), &[], Some("connection refused"), (200, 40));
        assert_eq!(lines[1], "OUT OF REACH, so this is as it was: connection refused");
        assert!(lines.iter().any(|l| l.contains("1 of 1 confirmed")));
    }

    #[test]
    fn it_fits_the_terminal_and_nothing_in_it_steers_it() {
        let mut many = rollout(2);
        let busy = many.devices[1].clone();
        many.devices.extend((3..40).map(|n| Device { id: format!("pump-{n}"), ..busy.clone() }));
        many.devices[2].reason = Some(Reason::new(Code::InUse, "evil\x1b[2J\nline"));
        let lines = drawn(&many, &[], None, (60, 40));
        assert!(lines.iter().all(|l| l.chars().count() <= 60 && !l.contains('\x1b') && !l.contains('\n')), "{lines:?}");
        assert!(lines.iter().any(|l| l == "  and 26 devices more"), "{lines:?}");
        let small = drawn(&many, &[], None, (80, 6));
        assert_eq!(small.len(), 5);
        assert!(small[4].contains("lines more: `suturectl rollout show pump-2`"), "{small:?}");
    }

    #[test]
    fn the_end_counts_those_without_a_slot() {
        let (r, slots) = (rollout(3), slots());
        assert!(forecast(&r.devices, &slots, at(NOW)).ends_with("; 1 have no slot left"));
        assert!(forecast(&r.devices, &slots, at("2026-11-25T03:00:00Z")).starts_with("no device that is left"));
        assert_eq!(forecast(&rollout(1).devices, &slots, at(NOW)), "all devices have come to theirs");
    }

    #[test]
    fn a_screen_is_drawn_in_place_and_left_as_it_was() {
        let mut screen = Screen::default();
        assert_eq!(screen.leave(), "", "nothing was drawn");
        let two = ["a".to_owned(), "b".to_owned()];
        assert_eq!(screen.draw(&two), "\x1b[?25la\nb\n");
        assert_eq!(screen.draw(&two[..1]), "\x1b[2F\x1b[Ja\n");
        assert_eq!(screen.draw(&two), "\x1b[1F\x1b[Ja\nb\n");
        assert_eq!((screen.leave(), screen.leave()), ("\x1b[?25h", ""));
    }
}
