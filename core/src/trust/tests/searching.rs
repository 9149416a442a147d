//! The search through delegated roles: its order, its end, and whom it believes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::tree::Tree;
use super::world::*;
use crate::clock::format_utc;
use crate::digest::Digest;
use crate::phase::Code;
use crate::trust::{Answer, Base, Search, TrustError};

const A: u8 = 21;
const B: u8 = 22;
const C: u8 = 23;

#[test]
fn what_the_targets_list_themselves_needs_no_search() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["*/*"], false);
    tree.list("a", A, "dir/file.txt");
    let world = tree.world();
    let mut repository = world.client().follow(&world).unwrap();
    let mut search = Search::start(&mut repository, "dir/file.txt", now()).unwrap();
    assert!(search.request().is_none());
    refused!(search.supply(Answer::NotFound), TrustError::OutOfTurn);
    assert!(search.finish().unwrap().is_some());
    repository.verify_target("dir/file.txt", b"hello").unwrap();
}

#[test]
fn roles_are_asked_in_order_and_each_before_what_comes_after_it() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["*"], false);
    tree.delegate("targets", "b", B, &["*"], false);
    tree.delegate("a", "a1", A, &["*"], false);
    tree.delegate("a", "a2", A, &["*"], false);
    tree.delegate("a1", "a11", A, &["*"], false);
    tree.list("b", B, "file");
    assert_eq!(tree.find(&tree.world(), "file").unwrap().as_deref(), Some("b"));
    assert_eq!(tree.asked(), ["1.a.json", "1.a1.json", "1.a11.json", "1.a2.json", "1.b.json"]);
    // The first word counts.
    tree.list("a2", A, "file");
    assert_eq!(tree.find(&tree.world(), "file").unwrap().as_deref(), Some("a2"));
    assert_eq!(tree.asked().len(), 4);
    assert_eq!(tree.find(&tree.world(), "other").unwrap(), None);
    assert_eq!(tree.asked().len(), 5);
}

#[test]
fn a_role_is_asked_only_for_paths_that_everybody_above_it_was_given() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["pumps/*"], false);
    tree.delegate("a", "a1", A, &["*/*"], false);
    tree.list("a", A, "beds/1");
    tree.list("a1", A, "beds/2");
    tree.list("a1", A, "pumps/2");
    let world = tree.world();
    assert_eq!(tree.find(&world, "beds/1").unwrap(), None);
    assert!(tree.asked().is_empty(), "lazy: nobody else is asked");
    assert_eq!(tree.find(&world, "beds/2").unwrap(), None);
    assert_eq!(tree.find(&world, "pumps/2").unwrap().as_deref(), Some("a1"));
}

#[test]
fn after_a_terminating_role_comes_nobody() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["*"], false);
    tree.delegate("targets", "b", B, &["*"], false);
    tree.delegate("a", "a1", A, &["x*"], false);
    tree.delegate("a", "a2", A, &["x*"], true);
    tree.delegate("a", "a3", A, &["*"], false);
    tree.list("a3", A, "x1");
    tree.list("b", B, "x1");
    tree.list("b", B, "y1");
    let world = tree.world();
    assert_eq!(tree.find(&world, "x1").unwrap(), None);
    assert_eq!(tree.asked(), ["1.a.json", "1.a1.json", "1.a2.json"]);
    // It terminates nothing but its own paths, ..
    assert_eq!(tree.find(&world, "y1").unwrap().as_deref(), Some("b"));
    // .. and speaks like any other, as do those that it delegates to.
    tree.delegate("a2", "a21", A, &["*"], false);
    tree.list("a21", A, "x1");
    assert_eq!(tree.find(&tree.world(), "x1").unwrap().as_deref(), Some("a21"));
}

#[test]
fn circles_end() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["*"], false);
    tree.delegate("a", "b", B, &["*"], false);
    tree.delegate("b", "a", A, &["*"], false);
    tree.delegate("b", "b", B, &["*"], false);
    tree.delegate("targets", "c", C, &["*"], false);
    tree.list("c", C, "file");
    assert_eq!(tree.find(&tree.world(), "file").unwrap().as_deref(), Some("c"));
    assert_eq!(tree.asked(), ["1.a.json", "1.b.json", "1.c.json"]);
}

#[test]
fn thirty_two_roles_are_asked_and_no_more() {
    let chain = |n: usize| {
        let mut tree = Tree::new();
        let name = |i: usize| if i == 0 { "targets".to_owned() } else { format!("r{i}") };
        for i in 0..n {
            tree.delegate(&name(i), &name(i + 1), A, &["*"], false);
        }
        tree.list(&name(n), A, "file");
        let found = tree.search(&tree.world(), "file");
        (found, tree.asked().len())
    };
    assert!(matches!(chain(32), (Ok(true), 32)));
    let (refused, asked) = chain(33);
    let refused = refused.unwrap_err();
    assert!(matches!(refused, TrustError::TooManyRoles(32)), "{refused:?}");
    assert_eq!((refused.code(), asked), (Code::EndlessData, 32));
}

/// `a` may speak for everything before `b`, which lists the file; `a`'s file, or what pins it, is spoilt.
fn spoilt(spoil: impl Fn(&mut Tree, &mut World)) -> TrustError {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["file*"], false);
    tree.delegate("targets", "b", B, &["*"], false);
    tree.list("b", B, "file");
    tree.list("b", B, "other");
    let mut world = tree.world();
    assert!(tree.search(&world, "file").unwrap());
    spoil(&mut tree, &mut world);
    // Lazy: whoever does not need `a` notices nothing.
    assert!(tree.search(&world, "other").unwrap());
    let refused = tree.search(&world, "file").unwrap_err();
    assert!(!matches!(&refused, TrustError::Delegated { role, .. } if role != "a"), "{refused:?}");
    assert_eq!(tree.asked().iter().filter(|name| name.ends_with(".b.json")).count(), 0, "nobody else is asked");
    refused
}

#[test]
fn a_role_that_cannot_be_read_ends_the_search_and_no_other() {
    let resign = |by: &'static [u8], change: fn(&mut Value)| {
        spoilt(move |tree, world| {
            let mut signed = tree.roles["a"].clone();
            change(&mut signed);
            let bytes = seal(&signed, by);
            let version = 1;
            world.pins.insert("a.json".to_owned(), json!({ "version": version }));
            world.files.insert("1.a.json".to_owned(), bytes);
            world.put_snapshot();
        })
    };
    assert_eq!(spoilt(|_, world| drop(world.files.remove("1.a.json"))).code(), Code::Transfer);
    let gone = spoilt(|_, world| {
        world.pins.remove("a.json");
        world.put_snapshot();
    });
    assert_eq!(gone.code(), Code::Transfer);
    let swapped = spoilt(|tree, world| {
        // By the right key, under the right version, of the right length.
        tree.role("a")["expires"] = json!(format_utc(now() + days(31)));
        world.files.insert("1.a.json".to_owned(), seal(tree.role("a"), &[A]));
    });
    assert_eq!(swapped.code(), Code::MixAndMatch);
    assert_eq!(resign(&[B], |_| {}).code(), Code::BadSignature);
    assert_eq!(resign(&[], |_| {}).code(), Code::BadSignature);
    assert_eq!(resign(&[A], |s| s["version"] = json!(2)).code(), Code::MixAndMatch);
    assert_eq!(resign(&[A], |s| s["expires"] = json!(format_utc(now()))).code(), Code::MetadataExpired);
    assert_eq!(resign(&[A], |s| s["_type"] = json!("snapshot")).code(), Code::BadMetadata);
    let endless = spoilt(|_, world| {
        let mut bytes = world.files["1.a.json"].clone();
        bytes.push(b' ');
        world.files.insert("1.a.json".to_owned(), bytes);
    });
    assert_eq!(endless.code(), Code::EndlessData);
}

#[test]
fn a_search_that_failed_or_is_not_over_gives_nothing() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["*"], false);
    let world = tree.world();
    let mut repository = world.client().follow(&world).unwrap();
    let search = Search::start(&mut repository, "file", now()).unwrap();
    refused!(search.finish(), TrustError::OutOfTurn);
    let mut search = Search::start(&mut repository, "file", now()).unwrap();
    refused!(search.supply(Answer::NotFound), TrustError::Delegated { .. });
    assert!(search.request().is_none());
    refused!(search.supply(Answer::NotFound), TrustError::OutOfTurn);
    refused!(search.finish(), TrustError::OutOfTurn);
}

#[test]
fn one_role_under_two_delegators_is_verified_by_the_keys_of_the_one_at_hand() {
    let mut tree = Tree::new();
    tree.delegate("targets", "shared", A, &["a*"], false);
    tree.delegate("targets", "b", B, &["b*"], false);
    // The same role by another key: what the first delegator believes, the second does not.
    tree.delegate("b", "shared", C, &["b*"], false);
    tree.list("shared", A, "a1");
    tree.list("shared", A, "b1");
    let world = tree.world();
    assert_eq!(tree.find(&world, "a1").unwrap().as_deref(), Some("shared"));
    let refused = tree.find(&world, "b1").unwrap_err();
    assert!(matches!(&refused, TrustError::Delegated { role, .. } if role == "shared"));
    assert_eq!(refused.code(), Code::BadSignature);
}

#[test]
fn a_delegated_role_is_not_rolled_back_or_dropped() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["*"], false);
    tree.list("a", A, "file");
    let old = tree.world();
    tree.role("a")["version"] = json!(2);
    let mut new = tree.world();
    (new.snapshot_version, new.timestamp_version) = (5, 5);
    new.put_snapshot();
    let mut client = new.client();
    client.follow(&new).unwrap();
    for (pins, dropped) in [(old.pins.clone(), false), (BTreeMap::new(), true)] {
        let mut attack = new.clone();
        attack.pins = pins;
        attack.put_snapshot();
        let refused = client.clone().follow(&attack).unwrap_err();
        assert_eq!(matches!(&refused, TrustError::Dropped(name) if name == "a.json"), dropped, "{refused:?}");
        assert_eq!(refused.code(), Code::Rollback);
    }
}

#[test]
fn what_was_found_ends_with_the_first_file_that_led_to_it() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["*"], false);
    tree.delegate("a", "b", B, &["*"], false);
    tree.list("b", B, "file");
    let end = now() + days(2);
    tree.role("a")["expires"] = json!(format_utc(end));
    let world = tree.world();
    let mut repository = world.client().follow(&world).unwrap();
    assert_eq!(repository.expires(), now() + days(7));
    assert_eq!(repository.file_name("file"), None);
    let mut search = Search::start(&mut repository, "file", now()).unwrap();
    while let Some(request) = search.request() {
        search.supply(Answer::Found(world.files[&request.name].clone())).unwrap();
    }
    assert_eq!(search.finish().unwrap().unwrap().length, 1);
    assert_eq!(repository.expires(), end);
    assert_eq!(repository.file_name("file").unwrap(), format!("{}.file", Digest::of(b"b")));
    assert_eq!(repository.target("file").unwrap().sha256, Digest::of(b"b"));
}

#[test]
fn new_online_keys_do_not_bring_back_what_a_role_has_replaced() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["*"], false);
    tree.list("a", A, "file");
    let older = tree.world();
    // The newer one withdraws the file.
    tree.role("a")["version"] = json!(2);
    tree.role("a")["signed_at"] = json!(format_utc(now() + days(1)));
    tree.role("a")["targets"] = json!({});
    let newer = tree.world();
    tree.role("a")["signed_at"] = json!("9998-01-01T00:00:00Z");
    tree.role("a")["expires"] = json!("9999-01-01T00:00:00Z");
    let ahead = tree.world();
    let search = |world: &World, taken: Option<&[u8]>| {
        let mut repository = world.client().follow(world)?;
        let mut search = Search::start(&mut repository, "file", world.now)?;
        assert_eq!(search.role(), Some("a"));
        let served = world.files[&search.request().unwrap().name].clone();
        let is_in_force = taken.map(|taken| search.taken(taken.to_vec())).transpose()?;
        assert_eq!(is_in_force.unwrap_or(false), taken == Some(&served), "it is fetched where it is another");
        if search.request().is_some() {
            search.supply(Answer::Found(served))?;
        }
        search.finish().map(|target| target.is_some())
    };
    let [old, new, far] = [(&older, 1), (&newer, 2), (&ahead, 2)].map(|(w, v)| w.files[&format!("{v}.a.json")].clone());
    assert!(search(&older, None).unwrap());
    assert!(!search(&newer, Some(&old)).unwrap());
    assert!(!search(&newer, Some(&new)).unwrap());
    let refused = search(&older, Some(&new)).unwrap_err();
    assert_eq!(refused.code(), Code::Rollback, "{refused}");
    // What is damaged, or other keys have signed, binds nobody.
    for taken in [b"{".to_vec(), Vec::new(), reseal(&new, &[B], |_| {})] {
        assert!(search(&older, Some(&taken)).unwrap());
    }
    // A thief who signs in a year far ahead binds the owner until the list that lets the role speak ends, and no longer.
    assert_eq!(search(&newer, Some(&far)).unwrap_err().code(), Code::Rollback);
    tree.role("a")["signed_at"] = json!(format_utc(now() + days(400)));
    assert!(!search(&tree.world(), Some(&far)).unwrap());
    // Those who sign on see it too.
    let base = Base::from(older.client().follow(&older).unwrap());
    assert_eq!(base.role_after("a", &old, &old).unwrap().version(), 1);
    assert_eq!(base.role_after("a", &new, &old).unwrap_err().code(), Code::Rollback);
}
