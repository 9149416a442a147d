//! Leases on the wire.

use jiff::{SignedDuration, Timestamp};
use suture_core::lease::{Lease, Stage};

use crate::{Invalid, parse, v1};

impl From<Stage> for v1::LeaseStage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Wanted => Self::Wanted,
            Stage::Beginning => Self::Beginning,
            Stage::Begun => Self::Begun,
        }
    }
}

/// The stage of that number on the wire.
pub fn parse_stage(number: i32) -> Result<Stage, Invalid> {
    match v1::LeaseStage::try_from(number) {
        Ok(v1::LeaseStage::Wanted) => Ok(Stage::Wanted),
        Ok(v1::LeaseStage::Beginning) => Ok(Stage::Beginning),
        Ok(v1::LeaseStage::Begun) => Ok(Stage::Begun),
        Ok(v1::LeaseStage::Unspecified) | Err(_) => Err(Invalid::new("stage", "neither wanted, beginning nor begun")),
    }
}

impl From<&Lease> for v1::Lease {
    fn from(lease: &Lease) -> Self {
        let Lease { device, approval, cap, silence, taken, begun, heard, returned } = lease;
        Self {
            device: device.to_string(),
            approval_id: approval.to_string(),
            ward_cap: *cap,
            silence_secs: u32::try_from(silence.as_secs()).unwrap_or(u32::MAX),
            taken_ms: taken.as_millisecond(),
            begun_ms: begun.map_or(0, Timestamp::as_millisecond),
            heard_ms: heard.as_millisecond(),
            returned_ms: returned.map_or(0, Timestamp::as_millisecond),
        }
    }
}

impl TryFrom<&v1::Lease> for Lease {
    type Error = Invalid;
    fn try_from(lease: &v1::Lease) -> Result<Self, Invalid> {
        let v1::Lease { device, approval_id, ward_cap, silence_secs, taken_ms, begun_ms, heard_ms, returned_ms } =
            lease;
        let at = |field, ms| Timestamp::from_millisecond(ms).map_err(|e| Invalid::new(field, e));
        let or_none = |field, ms| if ms == 0 { Ok(None) } else { at(field, ms).map(Some) };
        Ok(Self {
            device: parse("device", device)?,
            approval: parse("approval_id", approval_id)?,
            cap: *ward_cap,
            silence: SignedDuration::from_secs(i64::from(*silence_secs)),
            taken: at("taken_ms", *taken_ms)?,
            begun: or_none("begun_ms", *begun_ms)?,
            heard: at("heard_ms", *heard_ms)?,
            returned: or_none("returned_ms", *returned_ms)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_and_its_stages_are_the_same_on_both_sides() {
        for stage in [Stage::Wanted, Stage::Beginning, Stage::Begun] {
            assert_eq!(parse_stage(v1::LeaseStage::from(stage) as i32).unwrap(), stage);
        }
        assert!(parse_stage(0).is_err() && parse_stage(9).is_err());
        let at = |secs: i64| Timestamp::from_second(1_800_000_000 + secs).unwrap();
        let lease = Lease {
            device: "pump-1".parse().unwrap(),
            approval: "pump-2".parse().unwrap(),
            cap: 2,
            silence: SignedDuration::from_secs(7_200),
            taken: at(0),
            begun: None,
            heard: at(9),
            returned: None,
        };
        let begun = Lease { begun: Some(at(3)), returned: Some(at(11)), ..lease.clone() };
        for lease in [lease, begun] {
            assert_eq!(Lease::try_from(&v1::Lease::from(&lease)).unwrap(), lease);
        }
    }
}
