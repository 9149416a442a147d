//! One row for each exposed device, or for each hospital and bundle, as RFC 4180 has it.
//!
//! Attack: a device's or server's text that a spreadsheet takes for a formula ([`cell`]).

use super::answer::Answer;
use super::device::{Device, Hospital};
use crate::print::cell;

/// The lines, headings first.
pub(super) fn rows(answer: &Answer) -> Vec<String> {
    let mut lines = Vec::new();
    if answer.hospitals.is_empty() {
        lines.push("device,ward,product,release,version,verdict,proven,why,reason,rollout,last_seen".to_owned());
        for d in &answer.devices {
            let Device {
                id, ward, product, release, version, verdict, proven, why, reason, rollout, last_seen, ..
            } = d;
            let (release, proven) = (release.to_string(), proven.to_string());
            let some = |text: &Option<String>| text.clone().unwrap_or_default();
            let (rollout, seen) = (some(rollout), some(last_seen));
            lines.push(line(&[id, ward, product, &release, version, verdict, &proven, why, reason, &rollout, &seen]));
        }
    } else {
        lines.push("hospital,name,product,release,version,verdict,proven_devices,believed_devices,whys".to_owned());
        for h in &answer.hospitals {
            let Hospital { hdo, name, product, release, version, verdict, proven_devices, believed_devices, whys } = h;
            let [release, proven, believed] = [release, proven_devices, believed_devices].map(ToString::to_string);
            let whys: Vec<String> = whys.iter().map(|(why, n)| format!("{why}={n}")).collect();
            lines.push(line(&[hdo, name, product, &release, version, verdict, &proven, &believed, &whys.join(" ")]));
        }
    }
    lines
}

fn line(cells: &[&str]) -> String {
    cells.iter().map(|cell| escaped(cell)).collect::<Vec<_>>().join(",")
}

pub(super) fn escaped(text: &str) -> String {
    let cell = cell(text);
    if cell.contains([',', '"', ';']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}
