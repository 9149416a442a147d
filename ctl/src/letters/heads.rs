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

    /// Remembers it, and takes nothing back that another command of this home's has seen meanwhile.
    pub fn save(&self, home: &Home) -> Outcome {
        let lock = home.lock("", false)?;
        let mut now = Self::load(home)?.0;
        for (series, head) in &self.0 {
            if now.get(series).is_none_or(|seen| seen.number <= head.number) {
                now.insert(series.clone(), *head);
            }
        }
        let bytes = serde_json::to_vec(&now).or_fail(|| format!("{FILE} cannot be written"))?;
        Ok(lock.write(FILE, &bytes, Access::Public)?)
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
        // Of two commands at once the one that has seen less takes nothing back.
        let (mut later, fifth) = (read.clone(), Head { number: 5, sha256: Digest::of(b"5") });
        later.put(&hdo, Side::Manufacturer, fifth);
        later.save(&home).unwrap();
        read.save(&home).unwrap();
        assert_eq!(Heads::load(&home).unwrap(), later);
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Heads::load(&home).is_err(), "what was forgotten is said, not taken for nothing");
    }
}
