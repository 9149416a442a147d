//! Descent by digests, and one answer in the place of many.

use super::world::{World, days, refused};
use crate::digest::Digest;
use crate::limits::MAX_DESCENT;
use crate::sign::Signer as _;
use crate::trust::edit::{self, TargetsDraft};
use crate::trust::{Answer, Descent, Edition, Held, News, Refresh, Targets, TrustError, Verified};

/// Versions that follow one another, by name; forked from the one of that number on.
fn line(length: u64, forked: u64) -> Vec<(Edition, Vec<u8>)> {
    let key = super::world::key(super::world::TARGETS_A);
    let mut line: Vec<(Edition, Vec<u8>)> = Vec::new();
    for version in 1..=length {
        let mut draft = TargetsDraft::first(super::world::now(), edit::CATALOG_LIFETIME);
        draft.version = version;
        draft.previous = line.last().map(|(edition, _)| edition.sha256);
        if version >= forked {
            draft.expires += days(1);
        }
        let bytes = edit::sign_targets(&draft, &[&key]).unwrap();
        line.push((Edition { version, sha256: Digest::of(&bytes) }, bytes));
    }
    line
}

fn walk(from: Edition, until: u64, served: &[(Edition, Vec<u8>)]) -> Result<Vec<Edition>, TrustError> {
    let mut descent = Descent::from(from, until)?;
    while let Some(request) = descent.request() {
        let file = served.iter().find(|(e, _)| format!("{}.targets.json", e.version) == request.name);
        descent.supply(file.map_or(Answer::NotFound, |(_, bytes)| Answer::Found(bytes.clone())))?;
    }
    descent.finish()
}

#[test]
fn one_edition_proves_all_that_came_before_it() {
    let honest = line(5, 9);
    let editions: Vec<Edition> = honest.iter().map(|(e, _)| *e).collect();
    let found = walk(editions[4], 1, &honest).unwrap();
    assert!(found.iter().rev().eq(editions.iter()), "{found:?}");
    assert_eq!(walk(editions[4], 5, &[]).unwrap(), [editions[4]], "what is known is not asked for");
    assert_eq!(
        walk(editions[4], 3, &honest[3..]).unwrap()[2],
        editions[2],
        "nor the last, which is named by its successor"
    );
}

#[test]
fn a_fork_cannot_be_made_to_lead_to_what_another_knows() {
    let (honest, forked) = (line(5, 9), line(5, 3));
    // The forker's own history is one in itself, and leads to the last version that both had.
    let found = walk(forked[4].0, 1, &forked).unwrap();
    assert_eq!(found[4], honest[0].0);
    assert_ne!(found[2], honest[2].0);
    // Nor do the honest versions fit below the forked one, or any others.
    refused!(walk(forked[4].0, 1, &honest), TrustError::Unpinned { .. });
    refused!(walk(honest[4].0, 1, &honest[3..]), TrustError::Missing(_));
}

#[test]
fn a_walk_is_bounded_and_cannot_be_led_astray() {
    let honest = line(2, 9);
    let far = Edition { version: MAX_DESCENT + 2, ..honest[1].0 };
    refused!(walk(far, 1, &[]), TrustError::Descent { limit: MAX_DESCENT, .. });
    assert!(Descent::from(far, 2).is_ok(), "the very limit is within it");
    // The right bytes under a wrong number.
    let wrong = Edition { version: 3, ..honest[1].0 };
    let mut descent = Descent::from(wrong, 1).unwrap();
    refused!(
        descent.supply(Answer::Found(honest[1].1.clone())),
        TrustError::WrongVersion { wanted: 3, offered: 2, .. }
    );
    refused!(Descent::from(wrong, 1).unwrap().finish(), TrustError::OutOfTurn);
    // A first version that says it is the second.
    let key = super::world::key(super::world::TARGETS_A);
    let mut draft = TargetsDraft::first(super::world::now(), edit::CATALOG_LIFETIME);
    draft.version = 2;
    let bytes = edit::sign_targets(&draft, &[&key]).unwrap();
    let orphan = Edition { version: 2, sha256: Digest::of(&bytes) };
    refused!(walk(orphan, 1, &[(orphan, bytes)]), TrustError::Rule { .. });
    assert!(key.public() == super::world::key(super::world::TARGETS_A).public());
}

#[test]
fn an_edition_has_one_spelling_that_people_can_hand_over() {
    let edition = Edition { version: 12, sha256: Digest::of(b"x") };
    assert_eq!(edition.to_string().parse(), Ok(edition));
    assert_eq!(format!(" {}\n", edition.to_string().to_uppercase()).parse(), Ok(edition));
    for text in
        ["", "12", "12:", ":ab", "+12:ab", "0:", &format!("0:{}", edition.sha256), &format!("+1:{}", edition.sha256)]
    {
        assert!(text.parse::<Edition>().is_err(), "{text}");
    }
}

/// A refresh that is fed from the news alone.
fn fed(world: &World, news: &News) -> Result<Vec<String>, TrustError> {
    let stored = world.client().store;
    let news = news.clone().beside(Some(&stored));
    let mut refresh = Refresh::start(stored, world.now)?;
    let mut asked = Vec::new();
    while let Some(request) = refresh.request() {
        let answer = news.answer(&request.name).unwrap_or_else(|| {
            asked.push(request.name.clone());
            world.files.get(&request.name).map_or(Answer::NotFound, |b| Answer::Found(b.clone()))
        });
        refresh.supply(answer)?;
    }
    refresh.finish()?;
    Ok(asked)
}

#[test]
fn what_the_one_answer_does_not_hold_is_asked_for() {
    let world = World::new();
    let all = || world.files.iter().map(|(name, bytes)| (name.clone(), bytes.clone()));
    assert_eq!(fed(&world, &News::new(all(), Some(1), false)).unwrap(), [""; 0]);
    // That a root is not in the answer is no word that there is none.
    assert_eq!(fed(&world, &News::new(all(), None, false)).unwrap(), ["2.root.json"]);
    assert_eq!(fed(&world, &News::new(all(), Some(7), false)).unwrap(), ["2.root.json"]);
    let names = ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"];
    assert_eq!(fed(&world, &News::default()).unwrap(), names);
    let without = |name: &str| News::new(all().filter(|(n, _)| n != name), Some(1), false);
    for name in &names[1..] {
        assert_eq!(fed(&world, &without(name)).unwrap(), [*name]);
    }
}

#[test]
fn files_that_came_together_are_judged_as_if_they_had_come_singly() {
    let (old, mut world) = (World::new(), World::new());
    world.put_targets(2);
    let mixed = |name: &str| {
        let files = world.files.iter().map(|(n, bytes)| (n.clone(), bytes.clone()));
        let stale = old.files.get("1.targets.json").unwrap().clone();
        News::new(files.map(|(n, bytes)| if n == name { (n, stale.clone()) } else { (n, bytes) }), Some(1), false)
    };
    refused!(fed(&world, &mixed("2.targets.json")), TrustError::Unpinned { .. });
    refused!(fed(&world, &mixed("timestamp.json")), TrustError::Threshold { .. } | TrustError::Rule { .. });
    // A server that says "what you hold stands" of a store without a timestamp has said nothing.
    let stands = News::new([], Some(1), true);
    assert_eq!(fed(&world, &stands).unwrap()[0], "timestamp.json");
}

#[test]
fn a_client_says_what_it_holds_and_a_timestamp_that_stands_is_its_own() {
    let world = World::new();
    let mut client = world.client();
    assert_eq!(Held::of(&client.store).unwrap(), Held { root: 1, ..Held::default() });
    client.refresh(&world).unwrap();
    let held = Held::of(&client.store).unwrap();
    assert_eq!(held.targets, Some(Digest::of(&world.files["1.targets.json"])));
    let news = News::new([], Some(1), true).beside(Some(&client.store));
    let refresh = |now| {
        let mut refresh = Refresh::start(client.store.clone(), now)?;
        while let Some(request) = refresh.request() {
            assert!(refresh.supply(news.answer(&request.name).unwrap())?.is_empty(), "nothing is stored anew");
        }
        refresh.finish()
    };
    assert_eq!(refresh(world.now).unwrap().seen().targets, 1);
    // Its expiry is looked at all the same: a server cannot freeze a device by saying that nothing has changed.
    refused!(refresh(world.now + days(8)), TrustError::Expired { .. });
    let root = world.verified_root();
    let targets: Verified<Targets> = Verified::by(&root, &world.files["1.targets.json"]).unwrap();
    assert_eq!(Some(targets.digest()), held.targets);
}
