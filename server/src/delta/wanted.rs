//! Which deltas are prepared when a catalog is published. Pure.

use std::collections::{BTreeMap, BTreeSet};

use suture_core::id::{HardwareId, ProductId};
use suture_core::limits::MAX_DELTA_PAYLOAD_BYTES;
use suture_core::manifest::{Manifest, Payload};

use super::nothing;
use crate::store::deltas::Pair;

/// For each product and hardware revision, to the newest of `listed` (which are not withdrawn): from nothing, and from the
/// `sources` releases below it. A payload that is as before needs no delta.
pub(crate) fn pairs(listed: &[Manifest], sources: usize) -> BTreeSet<Pair> {
    let mut lines: BTreeMap<(&ProductId, &HardwareId), Vec<&Manifest>> = BTreeMap::new();
    for manifest in listed {
        for hardware in &manifest.hardware {
            lines.entry((&manifest.product, hardware)).or_default().push(manifest);
        }
    }
    let mut pairs = BTreeSet::new();
    for line in lines.values_mut() {
        line.sort_unstable_by_key(|manifest| std::cmp::Reverse(manifest.release));
        let Some((newest, earlier)) = line.split_first() else { continue };
        for new in newest.payloads.iter().filter(|new| fits(new)) {
            let same = |manifest: &&Manifest| manifest.payloads.iter().find(|old| old.name == new.name).cloned();
            let old = earlier.iter().take(sources).filter_map(same).filter(fits).map(|old| old.sha256);
            let from = old.chain(std::iter::once(nothing())).filter(|old| *old != new.sha256);
            pairs.extend(from.map(|old| Pair { old, new: new.sha256 }));
        }
    }
    pairs
}

/// Whether a payload is one that deltas are made of.
fn fits(payload: &Payload) -> bool {
    payload.length <= MAX_DELTA_PAYLOAD_BYTES
}

#[cfg(test)]
mod tests {
    use suture_core::digest::Digest;
    use suture_core::manifest::{Install, InstallKind, PatchClass, PayloadFormat, Requires, TYPE};
    use suture_core::version::Release;

    use super::*;

    fn manifest(release: u64, hardware: &[&str], payloads: &[(&str, &str)]) -> Manifest {
        let payload = |(name, bytes): &(&str, &str)| Payload {
            name: name.parse().unwrap(),
            format: PayloadFormat::Image,
            length: 1,
            sha256: Digest::of(bytes.as_bytes()),
            index_length: 1,
            index_sha256: Digest::of(b"index"),
        };
        Manifest {
            kind: TYPE.to_owned(),
            format: 1,
            product: "pump".parse().unwrap(),
            version: release.to_string().parse().unwrap(),
            release: Release(release),
            hardware: hardware.iter().map(|h| h.parse().unwrap()).collect(),
            requires: Requires { min_release: Release(0) },
            class: PatchClass::Routine,
            install: Install {
                kind: InstallKind::Slots,
                budget_secs: 60,
                revert_budget_secs: 60,
                return_to_service: false,
                data: None,
            },
            payloads: payloads.iter().map(payload).collect(),
            documents: Vec::new(),
            risks: Vec::new(),
        }
    }

    fn texts(listed: &[Manifest], sources: usize) -> BTreeSet<(String, String)> {
        let all = ["", "1", "2", "3", "4", "5", "data", "b2", "b4"];
        let name = |digest: Digest| all.iter().find(|t| Digest::of(t.as_bytes()) == digest).unwrap().to_string();
        pairs(listed, sources).into_iter().map(|pair| (name(pair.old), name(pair.new))).collect()
    }

    fn set(pairs: &[(&str, &str)]) -> BTreeSet<(String, String)> {
        pairs.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect()
    }

    #[test]
    fn the_newest_is_reached_from_nothing_and_from_the_last_few() {
        let app = |release: u64| manifest(release, &["rev-a"], &[("app", &release.to_string())]);
        let listed: Vec<_> = [3, 1, 4, 2, 5].map(app).into();
        assert_eq!(texts(&listed, 3), set(&[("", "5"), ("4", "5"), ("3", "5"), ("2", "5")]));
        assert_eq!(texts(&listed, 1), set(&[("", "5"), ("4", "5")]));
        assert_eq!(texts(&listed[..1], 3), set(&[("", "3")]));
        assert!(pairs(&[], 3).is_empty());
    }

    #[test]
    fn payloads_are_paired_by_name_and_hardware_and_an_unchanged_one_not_at_all() {
        let listed = [
            manifest(1, &["rev-a", "rev-b"], &[("app", "1"), ("data", "data")]),
            manifest(2, &["rev-b"], &[("app", "b2")]),
            manifest(3, &["rev-a"], &[("app", "3"), ("data", "data")]),
            manifest(4, &["rev-b"], &[("app", "b4")]),
        ];
        let want = [("", "3"), ("1", "3"), ("", "data"), ("", "b4"), ("b2", "b4"), ("1", "b4")];
        assert_eq!(texts(&listed, 3), set(&want));
    }

    #[test]
    fn one_that_is_too_large_is_left_to_its_chunks() {
        let mut listed = [manifest(1, &["rev-a"], &[("app", "1")]), manifest(2, &["rev-a"], &[("app", "2")])];
        listed[0].payloads[0].length = MAX_DELTA_PAYLOAD_BYTES + 1;
        assert_eq!(texts(&listed, 3), set(&[("", "2")]));
        listed[1].payloads[0].length = MAX_DELTA_PAYLOAD_BYTES + 1;
        assert_eq!(texts(&listed, 3), set(&[]));
    }
}
