//! What a manufacturer suggests of a rollout: how it may go from wave to wave, and by when it should be over.
//!
//! Nothing of it is authority, and nobody signs it: a hospital's operator reads it, takes of it what they will, and the plan
//! that comes of it is computed and approved as every other.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{WaveSize, WaveSpec};
use crate::approval::{SignedDocument, first_broken};
use crate::clock::utc;
use crate::limits::{MAX_SUGGESTION_BYTES, MAX_WAVES};

/// The suggestion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suggestion {
    /// Always `suture-suggestion`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The waves, with the gates between them.
    pub waves: Vec<WaveSpec>,
    /// By when all devices should have had their first slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
}

/// An instant, as a whole second of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Deadline(#[serde(with = "utc")] pub Timestamp);

impl SignedDocument for Suggestion {
    const TYPE: &'static str = "suture-suggestion";
    const MAX_BYTES: u64 = MAX_SUGGESTION_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let size = |w: &WaveSpec| match w.size {
            WaveSize::Count(n) => n > 0,
            WaveSize::Percent(p) => (1..=100).contains(&p),
            WaveSize::Rest => true,
        };
        let rest = self.waves.iter().position(|w| w.size == WaveSize::Rest);
        let shares = |w: &WaveSpec| w.gate.min_confirmed_percent <= 100 && w.gate.max_failed_percent <= 100;
        first_broken(&[
            (!self.waves.is_empty() && self.waves.len() <= MAX_WAVES, "waves lists none, or more than 32"),
            (self.waves.iter().all(size), "a wave takes no device, or more than 100 percent"),
            (rest.is_none_or(|i| i + 1 == self.waves.len()), "a wave follows the one that takes the rest"),
            (self.waves.iter().all(shares), "a gate asks for more than 100 percent"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::Wave;

    #[test]
    fn it_is_read_as_it_was_written_and_refused_where_no_plan_could_come_of_it() {
        let gate = Wave {
            needs_server: true,
            needs_signature: false,
            min_confirmed_percent: 100,
            max_failures: 0,
            max_failed_percent: 100,
            soak_secs: 3_600,
        };
        let wave = |size| WaveSpec { size, gate: gate.clone() };
        let suggestion = |sizes: &[WaveSize], deadline: Option<&str>| Suggestion {
            kind: Suggestion::TYPE.to_owned(),
            format: 1,
            waves: sizes.iter().copied().map(wave).collect(),
            deadline: deadline.map(|d| Deadline(d.parse().unwrap())),
        };
        let two = [WaveSize::Count(1), WaveSize::Rest];
        for deadline in [None, Some("2027-01-15T00:00:00Z")] {
            let written = suggestion(&two, deadline);
            assert_eq!(Suggestion::parse(&written.to_bytes().unwrap()).unwrap(), written);
        }
        for sizes in [&[][..], &[WaveSize::Rest, WaveSize::Count(1)], &[WaveSize::Percent(0)], &[WaveSize::Count(0)]] {
            suggestion(sizes, None).to_bytes().unwrap_err();
        }
        let mut over = suggestion(&two, None);
        over.waves[0].gate.min_confirmed_percent = 101;
        over.to_bytes().unwrap_err();
    }
}
