//! The tree beside known answers and beside the definition, written down as it stands in RFC 6962.

use std::collections::HashMap;

use super::*;
use crate::audit::tree::node_hash;

/// The leaves and roots by which Certificate Transparency's implementations are tested.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// MTH of RFC 6962, 2.1, over the leaves' hashes.
fn naive(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [leaf] => *leaf,
        _ => {
            let k = leaves.len().next_power_of_two() / 2;
            node_hash(&naive(&leaves[..k]), &naive(&leaves[k..]))
        }
    }
}

/// PATH of RFC 6962, 2.1.1.
fn naive_path(m: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut path, other) = if m < k {
        (naive_path(m, &leaves[..k]), naive(&leaves[k..]))
    } else {
        (naive_path(m - k, &leaves[k..]), naive(&leaves[..k]))
    };
    path.push(other);
    path
}

/// SUBPROOF of RFC 6962, 2.1.2.
fn naive_proof(m: usize, leaves: &[Digest], whole: bool) -> Vec<Digest> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![naive(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut path, other) = if m <= k {
        (naive_proof(m, &leaves[..k], whole), naive(&leaves[k..]))
    } else {
        (naive_proof(m - k, &leaves[k..], false), naive(&leaves[..k]))
    };
    path.push(other);
    path
}

/// A tree that was grown entry by entry, with all that is stored of it.
struct Grown {
    payloads: Vec<Digest>,
    leaves: Vec<Digest>,
    heads: Vec<Head>,
    stored: HashMap<u64, Digest>,
}

fn grown(size: usize) -> Grown {
    let mut frontier = Frontier::EMPTY;
    let payloads: Vec<Digest> = (0..size).map(|n| Digest::of(&n.to_be_bytes())).collect();
    let (mut heads, mut stored) = (vec![frontier.head()], HashMap::new());
    for payload in &payloads {
        for (place, hash) in frontier.push(payload) {
            assert_eq!(stored.insert(place.number(), hash), None, "a number is used twice");
        }
        heads.push(frontier.head());
    }
    let leaves = payloads.iter().map(|p| leaf_hash(p.as_bytes())).collect();
    Grown { payloads, leaves, heads, stored }
}

impl Grown {
    fn hashes(&self, spans: &[Span]) -> Vec<Digest> {
        let hash = |span: &Span| span.hash(span.places().iter().map(|p| self.stored[&p.number()])).unwrap();
        spans.iter().map(hash).collect()
    }
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    let leaves: Vec<Digest> = LEAVES.iter().map(|data| leaf_hash(&hex::decode(data).unwrap())).collect();
    for (size, root) in ROOTS.iter().enumerate() {
        assert_eq!(naive(&leaves[..size]).to_string(), *root, "{size}");
    }
    // The paths in the same tests: entry 5 of 8, and from 6 entries to 8.
    let path: Vec<String> = naive_path(5, &leaves).iter().map(ToString::to_string).collect();
    assert_eq!(
        path,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn every_small_tree_is_the_definitions_and_all_its_proofs_verify() {
    let tree = grown(70);
    for size in 0..=70 {
        let head = tree.heads[size];
        assert_eq!(head, Head { size: size as u64, root: naive(&tree.leaves[..size]) });
        let peaks = Frontier::places(size as u64).iter().map(|p| tree.stored[&p.number()]).collect();
        assert_eq!(Frontier::of(size as u64, peaks).unwrap().head(), head, "the edge, read again");
        assert_eq!(inclusion(size as u64, size as u64), None);
        for at in 0..size {
            let path = tree.hashes(&inclusion(at as u64, size as u64).unwrap());
            assert_eq!(path, naive_path(at, &tree.leaves[..size]), "{at} of {size}");
            assert!(includes(&head, at as u64, &tree.payloads[at], &path));
        }
        for old in 0..=size {
            let path = tree.hashes(&consistency(old as u64, size as u64).unwrap());
            if old > 0 {
                assert_eq!(path, naive_proof(old, &tree.leaves[..size], true), "{old} to {size}");
            }
            assert!(extends(&tree.heads[old], &head, &path), "{old} to {size}");
            assert_eq!(consistency(size as u64 + 1, size as u64), None);
        }
    }
}

proptest! {
    #[test]
    fn a_proof_proves_that_very_thing_and_nothing_else(
        size in 2usize..300, at in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(),
        bit in 0usize..256, hash in any::<prop::sample::Index>(), extra in any::<[u8; 32]>(),
    ) {
        let tree = grown(size);
        let (head, at, other) = (tree.heads[size], at.index(size), other.index(size));
        let flipped = |digest: &Digest| {
            let mut bytes = *digest.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            Digest::from_bytes(bytes)
        };
        let other_root = |head: &Head| Head { size: head.size, root: flipped(&head.root) };
        let path = tree.hashes(&inclusion(at as u64, size as u64).unwrap());
        let stands = |head: &Head, at: usize, payload: &Digest, path: &[Digest]| includes(head, at as u64, payload, path);
        prop_assert!(stands(&head, at, &tree.payloads[at], &path));
        prop_assert!(!stands(&head, at, &flipped(&tree.payloads[at]), &path));
        prop_assert!(at == other || !stands(&head, other, &tree.payloads[at], &path));
        prop_assert!(!stands(&other_root(&head), at, &tree.payloads[at], &path));
        prop_assert!(!stands(&head, at, &tree.payloads[at], &path[..path.len() - 1]));
        prop_assert!(!stands(&head, at, &tree.payloads[at], &[path.as_slice(), &[Digest::from_bytes(extra)]].concat()));
        let mut bent = path.clone();
        let place = hash.index(bent.len());
        bent[place] = flipped(&bent[place]);
        prop_assert!(!stands(&head, at, &tree.payloads[at], &bent));

        let old = tree.heads[at];
        let path = tree.hashes(&consistency(at as u64, size as u64).unwrap());
        prop_assert!(extends(&old, &head, &path));
        prop_assert!(!extends(&head, &old, &path), "a record does not shrink");
        prop_assert!(!extends(&other_root(&old), &head, &path));
        prop_assert!(!extends(&old, &head, &[path.as_slice(), &[Digest::from_bytes(extra)]].concat()));
        if at > 0 {
            prop_assert!(!extends(&old, &other_root(&head), &path));
            prop_assert!(!extends(&old, &head, &path[..path.len() - 1]));
            let mut bent = path.clone();
            let place = hash.index(bent.len());
            bent[place] = flipped(&bent[place]);
            prop_assert!(!extends(&old, &head, &bent));
        }
    }

    #[test]
    fn no_sizes_and_no_proofs_make_it_panic(
        a in any::<u64>(), b in any::<u64>(), at in any::<u64>(), path in prop::collection::vec(any::<[u8; 32]>(), 0..80),
    ) {
        let path: Vec<Digest> = path.into_iter().map(Digest::from_bytes).collect();
        let head = |size| Head { size, root: Digest::of(b"root") };
        prop_assert!(!includes(&head(a), at, &Digest::of(b"payload"), &path));
        prop_assert!(a == b || !extends(&head(a), &head(b), &path));
        let (a, b) = (a % MAX_AUDIT_ENTRIES, b % MAX_AUDIT_ENTRIES);
        for spans in [inclusion(at % MAX_AUDIT_ENTRIES, a), consistency(a, b)].into_iter().flatten() {
            prop_assert!(spans.len() <= MAX_PROOF_HASHES);
            prop_assert!(spans.iter().flat_map(Span::places).all(|p| i64::try_from(p.number()).is_ok()));
        }
    }
}
