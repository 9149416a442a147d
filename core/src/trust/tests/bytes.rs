//! Bytes that nobody wrote on purpose.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::*;
use crate::trust::{Answer, Refresh, Root, Snapshot, Targets, Timestamp, Verified};

/// A client at targets version 1 and a server that has news of every role.
fn news() -> (World, Client) {
    let mut world = World::new();
    let mut client = world.client();
    client.refresh(&world).unwrap();
    world.rotate(&[ROOT_A, ROOT_B], |root| root.expires = now() + days(300));
    world.put_targets(2);
    (world, client)
}

const NEWS: [&str; 4] = ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"];

/// Any JSON.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[ -~é]{0,8}".prop_map(Value::from),
        Just(json!("2027-01-01T00:00:00Z")),
        Just(json!("ed25519")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,4}", inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// Puts a value at some place in another.
fn graft(value: &mut Value, place: &mut u32, scion: &Value) {
    if *place == 0 {
        *value = scion.clone();
        return;
    }
    *place -= 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(map) => map.values_mut().collect(),
        _ => Vec::new(),
    };
    for child in children {
        graft(child, place, scion);
        if *place == 0 && *child == *scion {
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_flipped_byte_of_any_file_is_refused(
        which in 0usize..4, place in any::<prop::sample::Index>(), flip in 1u8..
    ) {
        let (mut world, mut client) = news();
        world.replace(NEWS[which], |bytes| {
            let mut bytes = bytes.to_vec();
            let i = place.index(bytes.len());
            bytes[i] ^= flip;
            bytes
        });
        let bad = world.files[NEWS[which]].clone();
        prop_assert!(client.refresh(&world).is_err());
        let store = &client.store;
        let stored = [Some(&store.root), store.timestamp.as_ref(), store.snapshot.as_ref(), store.targets.as_ref()];
        prop_assert!(!stored.contains(&Some(&bad)), "what was refused was stored");
    }

    #[test]
    fn a_file_cut_short_or_doubled_is_refused(which in 0usize..4, place in any::<prop::sample::Index>()) {
        let (mut world, mut client) = news();
        let mut doubled = world.clone();
        world.replace(NEWS[which], |bytes| bytes[..place.index(bytes.len())].to_vec());
        prop_assert!(client.clone().refresh(&world).is_err());
        doubled.replace(NEWS[which], |bytes| [bytes, bytes].concat());
        prop_assert!(client.refresh(&doubled).is_err());
    }

    #[test]
    fn a_flipped_byte_in_the_store_never_widens_trust(
        which in 0usize..4, place in any::<prop::sample::Index>(), flip in 1u8..
    ) {
        let (world, mut client) = news();
        let file = match which {
            0 => &mut client.store.root,
            1 => client.store.timestamp.as_mut().unwrap(),
            2 => client.store.snapshot.as_mut().unwrap(),
            _ => client.store.targets.as_mut().unwrap(),
        };
        let i = place.index(file.len());
        file[i] ^= flip;
        let result = client.refresh(&world);
        // A damaged root stops everything; damaged copies of the rest are fetched anew.
        prop_assert_eq!(result.is_ok(), which != 0);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), steps in 0usize..4) {
        let (world, client) = news();
        let mut refresh = Refresh::start(client.store, now()).unwrap();
        for name in NEWS.iter().take(steps) {
            if refresh.request().is_some_and(|r| r.name == "3.root.json") {
                refresh.supply(Answer::NotFound).unwrap();
            }
            refresh.supply(Answer::Found(world.files[*name].clone())).unwrap();
        }
        prop_assert!(refresh.supply(Answer::Found(bytes.clone())).is_err());
        prop_assert!(Verified::<Root>::pinned(&bytes).is_err());
    }

    #[test]
    fn nothing_that_the_right_keys_sign_makes_it_panic(scion in values(), place in 0u32..60, which in 0usize..4) {
        let (world, _) = news();
        let root = world.verified_root();
        let keys: &[u8] = match which {
            0 => &[ROOT_A, ROOT_B],
            1 => &[TIMESTAMP],
            2 => &[SNAPSHOT],
            _ => &[TARGETS_A, TARGETS_B],
        };
        let mut place = place;
        let bytes = reseal(&world.files[NEWS[which]], keys, |signed| graft(signed, &mut place, &scion));
        match which {
            0 => drop(Verified::<Root>::pinned(&bytes)),
            1 => drop(Verified::<Timestamp>::by(&root, &bytes)),
            2 => drop(Verified::<Snapshot>::by(&root, &bytes)),
            _ => drop(Verified::<Targets>::by(&root, &bytes)),
        }
    }
}
