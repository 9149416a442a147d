//! The loops over a caller's transport.

use std::collections::BTreeMap;

use super::tree::Tree;
use super::world::*;
use crate::trust::{
    Answer, Delegations, Refresh, Repository, Request, Transport, TrustError, fetch_with, refresh_with,
};

/// Serves a world, and fails where it is told to.
struct Line<'a> {
    world: &'a World,
    targets: BTreeMap<String, Vec<u8>>,
    asked: Vec<(String, u64)>,
    fails_at: Option<&'static str>,
}

#[derive(Debug)]
enum Broken {
    Trust(TrustError),
    Line,
    Disk,
}

impl From<TrustError> for Broken {
    fn from(error: TrustError) -> Self {
        Self::Trust(error)
    }
}

impl Line<'_> {
    fn answer(&mut self, request: &Request, files: &BTreeMap<String, Vec<u8>>) -> Result<Answer, Broken> {
        self.asked.push((request.name.clone(), request.max_bytes));
        if self.fails_at == Some(&request.name) {
            return Err(Broken::Line);
        }
        Ok(files.get(&request.name).map_or(Answer::NotFound, |bytes| Answer::Found(bytes.clone())))
    }
}

impl Transport for Line<'_> {
    type Error = Broken;

    fn metadata(&mut self, request: &Request) -> Result<Answer, Broken> {
        self.answer(request, &self.world.files)
    }

    fn target(&mut self, request: &Request) -> Result<Answer, Broken> {
        let targets = self.targets.clone();
        self.answer(request, &targets)
    }
}

fn line(world: &World) -> Line<'_> {
    Line { world, targets: BTreeMap::new(), asked: Vec::new(), fails_at: None }
}

fn refresh(line: &mut Line<'_>, client: &mut Client) -> Result<Repository, Broken> {
    let refresh = Refresh::start(client.store.clone(), now())?.delegations(Delegations::Followed);
    let refresh = refresh_with(refresh, line, |change| {
        client.store.apply(change);
        Ok(())
    })?;
    Ok(refresh.finish()?)
}

#[test]
fn a_refresh_over_a_line_that_breaks_stores_what_it_verified_until_then() {
    let world = World::new();
    for (fails_at, stored) in [("2.root.json", 0), ("timestamp.json", 0), ("1.snapshot.json", 1), ("1.targets.json", 2)]
    {
        let mut client = world.client();
        let mut line = Line { fails_at: Some(fails_at), ..line(&world) };
        assert!(matches!(refresh(&mut line, &mut client), Err(Broken::Line)), "{fails_at}");
        let store = [&client.store.timestamp, &client.store.snapshot, &client.store.targets];
        assert_eq!(store.iter().filter(|f| f.is_some()).count(), stored, "{fails_at}");
        assert_eq!(refresh(&mut self::line(&world), &mut client).unwrap().seen().targets, 1);
    }
}

#[test]
fn a_store_that_fails_fails_the_refresh_before_the_next_question() {
    let world = World::new();
    let mut line = line(&world);
    let start = Refresh::start(world.client().store, now()).unwrap();
    let result = refresh_with(start, &mut line, |_| Err(Broken::Disk));
    assert!(matches!(result, Err(Broken::Disk)));
    assert_eq!(line.asked.last().unwrap().0, "timestamp.json");
}

#[test]
fn a_target_is_fetched_by_its_digest_up_to_its_length_and_verified() {
    let world = World::new();
    let mut line = line(&world);
    let mut repository = refresh(&mut line, &mut world.client()).unwrap();
    let name = repository.file_name("dir/file.txt").unwrap();
    line.targets.insert(name.clone(), b"hello".to_vec());
    let fetch = |repository: &mut Repository, line: &mut Line<'_>, path: &str, limit| {
        fetch_with(repository, path, limit, now(), line)
    };
    assert_eq!(fetch(&mut repository, &mut line, "dir/file.txt", 5).unwrap(), b"hello");
    assert_eq!(line.asked.last(), Some(&(name.clone(), 5)));
    line.asked.clear();
    let refused = fetch(&mut repository, &mut line, "dir/file.txt", 4);
    refused!(refused, Broken::Trust(TrustError::TargetTooLong { length: 5, limit: 4, .. }));
    refused!(fetch(&mut repository, &mut line, "dir/other", 5), Broken::Trust(TrustError::NoTarget(_)));
    assert!(line.asked.is_empty());
    line.targets.insert(name.clone(), b"hallo".to_vec());
    let refused = fetch(&mut repository, &mut line, "dir/file.txt", 5);
    refused!(refused, Broken::Trust(TrustError::WrongTarget { field: "sha256", .. }));
    line.targets.clear();
    let refused = fetch(&mut repository, &mut line, "dir/file.txt", 5);
    assert!(matches!(&refused, Err(Broken::Trust(TrustError::Missing(missing))) if *missing == name), "{refused:?}");
}

#[test]
fn a_delegated_target_is_found_on_the_way() {
    let mut tree = Tree::new();
    tree.delegate("targets", "pumps", STRANGER, &["pumps/*"], false);
    tree.list("pumps", STRANGER, "pumps/1");
    let world = tree.world();
    let mut line = line(&world);
    let mut repository = refresh(&mut line, &mut world.client()).unwrap();
    let digest = crate::digest::Digest::of(b"pumps");
    line.targets.insert(format!("pumps/{digest}.1"), b"pumps".to_vec());
    assert_eq!(fetch_with(&mut repository, "pumps/1", 100, now(), &mut line).unwrap(), b"pumps");
    line.fails_at = Some("1.pumps.json");
    assert!(matches!(fetch_with(&mut repository, "pumps/2", 100, now(), &mut line), Err(Broken::Line)));
}
