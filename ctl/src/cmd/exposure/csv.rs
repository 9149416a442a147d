//! One row for each exposed device, or for each hospital and bundle.

use super::answer::Answer;
use super::device::{Device, Hospital};
use crate::sheet;

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
            lines.push(sheet::row(&[
                id, ward, product, &release, version, verdict, &proven, why, reason, &rollout, &seen,
            ]));
        }
    } else {
        lines.push("hospital,name,product,release,version,verdict,proven_devices,believed_devices,whys".to_owned());
        for h in &answer.hospitals {
            let Hospital { hdo, name, product, release, version, verdict, proven_devices, believed_devices, whys } = h;
            let [release, proven, believed] = [release, proven_devices, believed_devices].map(ToString::to_string);
            let whys: Vec<String> = whys.iter().map(|(why, n)| format!("{why}={n}")).collect();
            lines.push(sheet::row(&[
                hdo,
                name,
                product,
                &release,
                version,
                verdict,
                &proven,
                &believed,
                &whys.join(" "),
            ]));
        }
    }
    lines
}
