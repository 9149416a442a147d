//! The devices that a hospital has confirmed.

use serde::{Deserialize, Serialize};

use super::document::{SignedDocument, first_broken, strictly_ascending};
use super::part::Part;
use crate::id::{DeviceId, HardwareId, HdoId, ProductId, WardId};
use crate::label::Labels;
use crate::limits::{MAX_ROSTER_BYTES, MAX_ROSTER_DEVICES};
use crate::sign::PublicKey;

/// Devices that the hospital has confirmed, with the keys that their reports are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// Always `suture-roster`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// Which of its devices this roster can list.
    pub part: Part,
    /// Its devices, ascending by id.
    pub devices: Vec<RosterDevice>,
}

/// A device on a roster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterDevice {
    /// Its id.
    pub id: DeviceId,
    /// The key that its reports are signed with.
    pub report_key: PublicKey,
    /// Its product.
    pub product: ProductId,
    /// Its hardware revision.
    pub hardware: HardwareId,
    /// Where it stands.
    pub ward: WardId,
    /// What else the hospital says of it. Rosters that were signed before there were labels say nothing.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl Roster {
    /// A roster of these devices, which it puts in order.
    pub fn new(hdo: HdoId, part: Part, mut devices: Vec<RosterDevice>) -> Self {
        devices.sort_by(|a, b| a.id.cmp(&b.id));
        Self { kind: Self::TYPE.to_owned(), format: 1, hdo, part, devices }
    }
}

impl SignedDocument for Roster {
    const TYPE: &'static str = "suture-roster";
    const MAX_BYTES: u64 = MAX_ROSTER_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        first_broken(&[
            (self.devices.len() <= MAX_ROSTER_DEVICES, "devices lists too many"),
            (strictly_ascending(self.devices.iter().map(|d| &d.id)), "devices are not in ascending order, each once"),
            (self.devices.iter().all(|d| self.part.holds(&d.id)), "a device belongs on another roster"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_ID_BYTES, MAX_LABEL_BYTES, MAX_LABELS};
    use crate::sign::{LocalKey, Signer as _};

    fn key() -> PublicKey {
        LocalKey::from_seed(&zeroize::Zeroizing::new([1; 32])).public()
    }

    #[test]
    fn a_roster_that_was_signed_before_there_were_labels_is_read_and_keeps_its_bytes() {
        let device = format!(
            r#"{{"hardware":"rev-a","id":"d-1","product":"pump","report_key":{},"ward":"icu"}}"#,
            serde_json::to_string(&key()).unwrap()
        );
        let bytes =
            format!(r#"{{"_type":"suture-roster","devices":[{device}],"format":1,"hdo":"riverside","part":"all"}}"#);
        let roster = Roster::parse(bytes.as_bytes()).unwrap();
        assert!(roster.devices[0].labels.is_empty());
        assert_eq!(roster.to_bytes().unwrap(), bytes.as_bytes());
    }

    #[test]
    fn a_full_roster_of_the_longest_entries_is_within_its_bound() {
        let long = |n: usize| format!("{n:0>MAX_ID_BYTES$}");
        let label = |n: usize| format!("{n:0>MAX_LABEL_BYTES$}={n:0>MAX_LABEL_BYTES$}");
        let labels: Labels = (0..MAX_LABELS).map(label).collect::<Vec<_>>().join(" ").parse().unwrap();
        let device = |n: usize| RosterDevice {
            id: long(n).parse().unwrap(),
            report_key: key(),
            product: long(n).parse().unwrap(),
            hardware: long(n).parse().unwrap(),
            ward: long(n).parse().unwrap(),
            labels: labels.clone(),
        };
        let hdo = long(0).parse().unwrap();
        let roster = Roster::new(hdo, Part::ALL, (0..MAX_ROSTER_DEVICES).map(device).collect());
        assert!(roster.to_bytes().is_ok());
        assert!((roster.to_bytes().unwrap().len() as u64) < MAX_ROSTER_BYTES);
    }
}
