//! How far each series was seen at this home: `letters.json`.

use std::collections::BTreeMap;

use suture_core::id::HdoId;
use suture_core::notice::{Head, Side};

use crate::failure::{OrFail as _, Outcome};
use crate::files::Access;
use crate::home::Home;

const FILE: &str = "letters.json";

/// The last letter of each series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heads(BTreeMap<String, Head>);

fn name(hdo: &HdoId, side: Side) -> String {
    format!("{hdo}/{side}")
}

impl Heads {
    /// What this home remembers.
    pub fn load(home: &Home) -> Outcome<Self> {
        let Some(bytes) = home.read(FILE)? else { return Ok(Self::default()) };
        let heads = serde_json::from_slice(&bytes).or_fail(|| format!("{FILE} cannot be read"))?;
        Ok(Self(heads))
    }

    /// Remembers it.
    pub fn save(&self, home: &Home) -> Outcome {
        let bytes = serde_json::to_vec(&self.0).or_fail(|| format!("{FILE} cannot be written"))?;
        home.write(FILE, &bytes, Access::Public)
    }

    /// The last one that was seen of a series.
    pub fn get(&self, hdo: &HdoId, side: Side) -> Option<Head> {
        self.0.get(&name(hdo, side)).copied()
    }

    /// That this one was.
    pub fn put(&mut self, hdo: &HdoId, side: Side, head: Head) {
        self.0.insert(name(hdo, side), head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::digest::Digest;

    #[test]
    fn each_series_has_a_head_of_its_own_that_outlives_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let hdo = "riverside".parse().unwrap();
        let mut heads = Heads::load(&home).unwrap();
        assert_eq!(heads.get(&hdo, Side::Manufacturer), None);
        let head = Head { number: 3, sha256: Digest::of(b"3") };
        heads.put(&hdo, Side::Manufacturer, head);
        heads.save(&home).unwrap();
        let read = Heads::load(&home).unwrap();
        assert_eq!((read.get(&hdo, Side::Manufacturer), read.get(&hdo, Side::Hospital)), (Some(head), None));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Heads::load(&home).is_err(), "what was forgotten is said, not taken for nothing");
    }
}
