//! The way back for a repository that nobody signed in time: its owner signs on from what has expired, and nobody else
//! gets anything out of that.

use jiff::Timestamp as Instant;

use super::world::*;
use crate::trust::edit::{self, TargetsDraft};
use crate::trust::{Answer, Base, Refresh, Role, TrustError, verify_publication};

/// Beyond the end of the targets, before the end of the root.
fn late() -> Instant {
    now() + edit::CATALOG_LIFETIME + days(1)
}

/// Its targets have expired; the server has kept the rest alive.
fn lapsed() -> World {
    let mut world = World::new();
    world.now = late();
    world.put_snapshot();
    world
}

/// As `Client::refresh`, for a base.
fn base(client: &mut Client, world: &World) -> Result<Base, TrustError> {
    let mut refresh = Refresh::start_base(client.store.clone(), world.now)?;
    while let Some(request) = refresh.request() {
        let answer = world.files.get(&request.name).map_or(Answer::NotFound, |b| Answer::Found(b.clone()));
        for change in refresh.supply(answer)? {
            client.store.apply(&change);
        }
    }
    refresh.finish_base()
}

#[test]
fn the_owner_signs_on_from_expired_targets_and_clients_follow() {
    let mut world = lapsed();
    let mut client = world.client();
    refused!(client.clone().refresh(&world), TrustError::Expired { role: Role::Targets, .. });
    let base = base(&mut client, &world).unwrap();
    assert_eq!(base.lapsed(world.now), Some(base.targets_metadata().expires()));
    let offline = Refresh::start_base(client.store.clone(), world.now).unwrap().offline().unwrap();
    assert_eq!(offline.finish_base().unwrap().targets_metadata().version(), 1);

    let draft = TargetsDraft::after(&base, world.now, edit::CATALOG_LIFETIME);
    let keys = [TARGETS_A, TARGETS_B].map(key);
    let signed = edit::sign_targets(&draft, &[&keys[0], &keys[1]]).unwrap();
    let (root, current) = (base.root().bytes(), base.targets_metadata().bytes());
    verify_publication(Some(root), &[], Some(current), Some(&signed), world.now).unwrap();
    world.force_targets(2, signed);
    let repository = client.refresh(&world).unwrap();
    assert_eq!((repository.seen().targets, Base::from(repository).lapsed(world.now)), (2, None));
}

#[test]
fn a_base_is_no_authority() {
    let world = lapsed();
    let mut client = world.client();
    let view = base(&mut client, &world).unwrap();
    refused!(view.current(world.now), TrustError::Expired { role: Role::Targets, .. });
    // Nor is what it left in the store.
    refused!(client.clone().refresh(&world), TrustError::Expired { role: Role::Targets, .. });
    refused!(offline(client.store.clone(), world.now), TrustError::Expired { .. });
    // A refresh that began as one for a base does not end as another.
    let mut refresh = Refresh::start_base(client.store, world.now).unwrap();
    while let Some(request) = refresh.request() {
        refresh.supply(world.files.get(&request.name).map_or(Answer::NotFound, |b| Answer::Found(b.clone()))).unwrap();
    }
    refused!(refresh.finish(), TrustError::Expired { role: Role::Targets, .. });
}

#[test]
fn nothing_but_the_targets_expiry_is_forgiven() {
    let mut frozen = World::new();
    frozen.now = late();
    refused!(base(&mut frozen.client(), &frozen), TrustError::Expired { role: Role::Timestamp, .. });

    frozen.put_timestamp();
    refused!(base(&mut frozen.client(), &frozen), TrustError::Expired { role: Role::Snapshot, .. });

    let mut ended = World::new();
    ended.now = now() + days(365);
    ended.put_snapshot();
    refused!(base(&mut ended.client(), &ended), TrustError::Expired { role: Role::Root, .. });

    let mut world = lapsed();
    let mut client = world.client();
    base(&mut client, &world).unwrap();
    let old = world.clone();
    world.put_targets(2);
    base(&mut client, &world).unwrap();
    refused!(base(&mut client, &old), TrustError::Rollback { .. });

    let mut forged = lapsed();
    let strange = reseal(&forged.files["1.targets.json"], &[TARGETS_A, STRANGER], |_| {});
    forged.force_targets(1, strange);
    refused!(base(&mut forged.client(), &forged), TrustError::Threshold { role: Role::Targets, .. });

    let mut swapped = lapsed();
    swapped.replace("1.targets.json", |b| {
        reseal(b, &[TARGETS_A, TARGETS_B], |t| t["targets"]["dir/file.txt"]["length"] = 6.into())
    });
    refused!(base(&mut swapped.client(), &swapped), TrustError::Unpinned { role: Role::Targets, .. });
}
