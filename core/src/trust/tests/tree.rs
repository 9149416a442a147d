//! A catalog with delegated roles, and a search through it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::world::*;
use crate::clock::format_utc;
use crate::digest::Digest;
use crate::sign::Signer;
use crate::trust::{Answer, Search, TrustError, delegated_name, key_id, key_object};

/// The `delegations` of one role.
pub(super) fn delegation(name: &str, keys: &[u8], threshold: u64, paths: &[&str], terminating: bool) -> Value {
    let mut objects = Map::new();
    for n in keys {
        let public = key(*n).public();
        objects.insert(key_id(&public).unwrap().to_string(), key_object(&public));
    }
    let ids: Vec<&String> = objects.keys().collect();
    let role = json!({
        "name": name, "keyids": ids, "threshold": threshold, "paths": paths, "terminating": terminating,
    });
    json!({ "keys": objects.clone(), "roles": [role] })
}

/// A catalog with delegated roles, and what a search asked for.
pub(super) struct Tree {
    /// The signed part of each role's metadata.
    pub(super) roles: BTreeMap<String, Value>,
    pub(super) keys: BTreeMap<String, u8>,
    asked: RefCell<Vec<String>>,
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { roles: BTreeMap::new(), keys: BTreeMap::new(), asked: RefCell::default() }
    }

    pub(super) fn role(&mut self, name: &str) -> &mut Value {
        self.roles.entry(name.to_owned()).or_insert_with(|| {
            json!({ "_type": "targets", "spec_version": "1.0.34", "version": 1,
                "expires": format_utc(now() + days(30)), "signed_at": format_utc(now()), "targets": {} })
        })
    }

    /// One more delegation, behind those that are there.
    pub(super) fn delegate(&mut self, from: &str, to: &str, by: u8, paths: &[&str], terminating: bool) {
        let new = delegation(to, &[by], 1, paths, terminating);
        let role = self.role(from);
        let all = role.as_object_mut().unwrap().entry("delegations").or_insert(json!({ "keys": {}, "roles": [] }));
        all["keys"].as_object_mut().unwrap().extend(new["keys"].as_object().unwrap().clone());
        all["roles"].as_array_mut().unwrap().push(new["roles"][0].clone());
        self.keys.entry(to.to_owned()).or_insert(by);
        self.role(to);
    }

    /// A role that lists a file; its bytes are the role's name.
    pub(super) fn list(&mut self, role: &str, by: u8, path: &str) {
        let hashes = json!({ "sha256": Digest::of(role.as_bytes()) });
        self.role(role)["targets"][path] = json!({ "length": role.len(), "hashes": hashes });
        self.keys.insert(role.to_owned(), by);
    }

    /// Everything signed, pinned and served.
    pub(super) fn world(&self) -> World {
        let mut world = World::new();
        for (name, signed) in self.roles.iter().filter(|(name, _)| *name != "targets") {
            let bytes = seal(signed, &[self.keys[name]]);
            let version = signed["version"].as_u64().unwrap();
            let pin = json!({ "version": version, "length": bytes.len(), "hashes": { "sha256": Digest::of(&bytes) } });
            world.pins.insert(format!("{name}.json"), pin);
            world.files.insert(delegated_name(name, version), bytes);
        }
        let top = self.roles.get("targets").cloned().unwrap_or_default();
        world.force_targets(
            1,
            reseal(&world.files["1.targets.json"], &[TARGETS_A, TARGETS_B], |targets| {
                targets["delegations"] = top["delegations"].clone();
            }),
        );
        world
    }

    /// Whether the search finds the path; the repository then knows the target.
    pub(super) fn search(&self, world: &World, path: &str) -> Result<bool, TrustError> {
        Ok(self.find(world, path)?.is_some())
    }

    /// The role in which a search finds the path.
    pub(super) fn find(&self, world: &World, path: &str) -> Result<Option<String>, TrustError> {
        self.asked.borrow_mut().clear();
        let mut repository = world.client().follow(world)?;
        let mut search = Search::start(&mut repository, path, world.now)?;
        while let Some(request) = search.request() {
            self.asked.borrow_mut().push(request.name.clone());
            search.supply(world.files.get(&request.name).map_or(Answer::NotFound, |b| Answer::Found(b.clone())))?;
        }
        let found = search.finish()?.is_some();
        let by = self.roles.keys().find(|name| repository.verify_target(path, name.as_bytes()).is_ok());
        assert_eq!(found, by.is_some(), "what was found can be verified");
        Ok(by.cloned())
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }
}
