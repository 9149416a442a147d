//! What a version does with the data that the device itself has written: settings, logs, therapies.
//!
//! A version that converts them makes them unreadable to the one before. The way back then needs a copy of what was there, and a
//! downgrade months later has none that is of today: it is refused before a byte is fetched, unless the lower version reads what
//! there is.

use serde::{Deserialize, Serialize};

/// The most formats that a version may read besides its own.
const MAX_READS: usize = 64;

/// The format of the device's own data. Counted from 1 by the manufacturer; a version that does not say writes format 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// What the version writes.
    pub format: u32,
    /// What else it reads, and converts when it starts.
    #[serde(default)]
    pub reads: Vec<u32>,
}

/// What a change of version means for the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// They stay as they are.
    None,
    /// The new version converts them: a copy is kept for the way back.
    Converted,
    /// The new version cannot read them.
    Lost {
        /// What there is.
        from: u32,
    },
}

impl Data {
    /// What it means that one version follows another. `None` stands for one that says nothing.
    pub fn change(from: Option<&Self>, to: Option<&Self>) -> Change {
        let from = from.map_or(0, |data| data.format);
        match to {
            None if from == 0 => Change::None,
            Some(to) if to.format == from => Change::None,
            Some(to) if to.reads.contains(&from) => Change::Converted,
            _ => Change::Lost { from },
        }
    }

    /// The first rule that does not hold, if one does not.
    pub(super) fn broken_rule(&self) -> Option<&'static str> {
        let rules = [
            (self.format > 0, "install.data.format is 0, which is what a version without one writes"),
            (self.reads.len() <= MAX_READS, "install.data.reads lists more than 64 formats"),
            (!self.reads.contains(&self.format), "install.data.reads lists the version's own format"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, rule)| rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(format: u32, reads: &[u32]) -> Option<Data> {
        Some(Data { format, reads: reads.to_vec() })
    }

    #[test]
    fn a_version_keeps_converts_or_loses_what_the_one_before_wrote() {
        for (from, to, change) in [
            (None, None, Change::None),
            (None, data(1, &[0]), Change::Converted),
            (None, data(1, &[]), Change::Lost { from: 0 }),
            (data(1, &[]), data(1, &[]), Change::None),
            (data(1, &[]), data(3, &[1, 2]), Change::Converted),
            (data(3, &[1, 2]), data(1, &[]), Change::Lost { from: 3 }),
            (data(3, &[]), data(2, &[3]), Change::Converted),
            (data(3, &[]), None, Change::Lost { from: 3 }),
        ] {
            assert_eq!(Data::change(from.as_ref(), to.as_ref()), change, "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert_eq!(Data { format: 2, reads: vec![0, 1] }.broken_rule(), None);
        for (wrong, says) in [
            (Data { format: 0, reads: vec![] }, "format is 0"),
            (Data { format: 1, reads: vec![1] }, "own format"),
            (Data { format: 70, reads: (0..65).collect() }, "more than 64"),
        ] {
            assert!(wrong.broken_rule().unwrap().contains(says));
        }
    }
}
