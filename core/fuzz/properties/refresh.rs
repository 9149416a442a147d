//! A client against a server that plays any hand: the bytes are the script by which the server publishes, replays, spoils
//! and hides files, by which any of the keys sign them, by which the clock runs and the client's power fails.
//!
//! The harness knows of every file who signed what, and judges by that alone, never by the client's own checks: a root
//! follows the one before it by exactly one and by both thresholds; what a refresh accepts was signed by a threshold of
//! the keys that the root names, is unexpired, and fits together; no version goes back unless the online keys changed; the
//! questions are bounded; a store is never spoilt.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::json;
use suture_core::limits::MAX_ROOT_STEPS;
use suture_core::sign::Signer;
use suture_core::trust::{Answer, Change, Refresh, Repository, Role, Stored, key_id, key_object};

use super::world;

/// Steps of one script.
const MAX_STEPS: usize = 48;

pub(crate) fn hold(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut server = Server::new();
    let mut client = Client::new(&server);
    for _ in 0..MAX_STEPS {
        if script.0.is_empty() {
            break;
        }
        match script.byte() % 12 {
            0 => server.publish_root(&mut script),
            1 => server.publish_targets(&mut script),
            2 => server.publish_snapshot(&mut script),
            3 => server.publish_timestamp(&mut script),
            4 => server.spoil(&mut script),
            5 => server.remove(&mut script),
            6 => server.replay(&mut script),
            7 => server.now += SignedDuration::from_hours(i64::from(script.byte())),
            8 => client.refresh(&server, Some(script.byte())),
            // A server that does nothing wrong, for once.
            9 => server.publish_all(),
            _ => client.refresh(&server, None),
        }
    }
    client.refresh(&server, None);
}

/// The bytes that decide; zeros where they have run out.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    /// A set of keys, one bit each. Mostly the usual ones, so that many files are sound.
    fn keys(&mut self, usual: &[u8]) -> Vec<u8> {
        match self.byte() {
            0..128 => usual.to_vec(),
            bits => (1..=world::KEYS).filter(|n| bits & 1 << (n - 1) != 0).collect(),
        }
    }

    /// A version near one that is known, mostly the next.
    fn version(&mut self, last: u64) -> u64 {
        match self.byte() {
            0..160 => last.saturating_add(1),
            160..176 => last,
            176..192 => last.saturating_sub(1),
            192..200 => u64::MAX,
            n => u64::from(n - 200),
        }
    }

    fn expires(&mut self, now: Timestamp) -> String {
        let hours = match self.byte() {
            0..160 => 24 * 30,
            n => i64::from(n) - 200,
        };
        format_utc(now + SignedDuration::from_hours(hours))
    }
}

/// Whom a root names for a role, as the harness made it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    keys: Vec<u8>,
    threshold: usize,
}

/// What the harness knows of a signed part.
#[derive(Debug, Clone, Default)]
struct Made {
    /// Every key that ever signed it.
    signers: u8,
    /// Where it is a root: root, targets, snapshot, timestamp.
    names: Vec<Named>,
}

impl Made {
    fn by(&self, named: &Named) -> bool {
        named.threshold > 0 && named.keys.iter().filter(|n| self.signers & 1 << **n != 0).count() >= named.threshold
    }
}

struct Server {
    now: Timestamp,
    files: BTreeMap<String, Vec<u8>>,
    history: Vec<Vec<u8>>,
    /// By the canonical form of the signed part.
    made: BTreeMap<Vec<u8>, Made>,
    first_root: Vec<u8>,
    root: (u64, Vec<Named>),
    targets: (u64, Vec<u8>),
    snapshot: (u64, Vec<u8>),
    timestamp: u64,
}

fn usual() -> Vec<Named> {
    let named = |keys: &[u8]| Named { keys: keys.to_vec(), threshold: keys.len() };
    vec![
        named(&[world::ROOT_A, world::ROOT_B]),
        named(&[world::TARGETS_A, world::TARGETS_B]),
        named(&[world::SNAPSHOT]),
        named(&[world::TIMESTAMP]),
    ]
}

impl Server {
    fn new() -> Self {
        let mut server = Self {
            now: world::now(),
            files: BTreeMap::new(),
            history: Vec::new(),
            made: BTreeMap::new(),
            first_root: Vec::new(),
            root: (1, usual()),
            targets: (0, Vec::new()),
            snapshot: (0, Vec::new()),
            timestamp: 0,
        };
        let expires = format_utc(server.now + SignedDuration::from_hours(24 * 30));
        let root = root_value(1, &expires, &usual());
        server.first_root = server.put("1.root.json", &root, &[world::ROOT_A, world::ROOT_B], usual());
        server.publish_all();
        server
    }

    fn put(&mut self, name: &str, signed: &Value, signers: &[u8], names: Vec<Named>) -> Vec<u8> {
        let file = world::seal(signed, signers);
        let made = self.made.entry(json::canonical(signed).expect("no float")).or_default();
        made.signers |= signers.iter().fold(0, |bits, n| bits | 1 << n);
        made.names = names;
        self.history.push(file.clone());
        self.files.insert(name.to_owned(), file.clone());
        file
    }

    fn publish_root(&mut self, script: &mut Script<'_>) {
        let (last, before) = self.root.clone();
        let mut names = before.clone();
        for named in &mut names {
            named.keys = script.keys(&named.keys);
            match script.byte() {
                0..200 => named.threshold = named.threshold.clamp(1, named.keys.len().max(1)),
                n => named.threshold = usize::from(n & 3),
            }
        }
        let version = script.version(last);
        let expires = script.expires(self.now);
        let both: Vec<u8> = (1..=world::KEYS)
            .filter(|n| [&before, &names].iter().any(|r| r.first().is_some_and(|root| root.keys.contains(n))))
            .collect();
        let signers = script.keys(&both);
        let root = root_value(version, &expires, &names);
        self.put(&format!("{version}.root.json"), &root, &signers, names.clone());
        if version == last.saturating_add(1) {
            self.root = (version, names);
        }
    }

    fn publish_targets(&mut self, script: &mut Script<'_>) {
        let version = script.version(self.targets.0);
        let expires = script.expires(self.now);
        let signers = script.keys(&self.named(1));
        let signed = json!({
            "_type": "targets", "spec_version": "1.0.34", "version": version, "expires": expires,
            "targets": { "a": { "length": 1, "hashes": { "sha256": Digest::of(b"a") } } },
        });
        let file = self.put(&format!("{version}.targets.json"), &signed, &signers, Vec::new());
        self.targets = (version, file);
    }

    fn publish_snapshot(&mut self, script: &mut Script<'_>) {
        let pin = pin(script, &self.targets);
        let version = script.version(self.snapshot.0);
        let expires = script.expires(self.now);
        let signers = script.keys(&self.named(2));
        let mut meta = json!({ "targets.json": pin });
        if let (200.., Some(meta)) = (script.byte(), meta.as_object_mut()) {
            meta.insert("more.json".to_owned(), json!({ "version": 1 + u64::from(script.byte()) }));
        }
        let signed = json!({
            "_type": "snapshot", "spec_version": "1.0.34", "version": version, "expires": expires, "meta": meta,
        });
        let file = self.put(&format!("{version}.snapshot.json"), &signed, &signers, Vec::new());
        self.snapshot = (version, file);
    }

    fn publish_timestamp(&mut self, script: &mut Script<'_>) {
        let pin = pin(script, &self.snapshot);
        let version = script.version(self.timestamp);
        let expires = script.expires(self.now);
        let signers = script.keys(&self.named(3));
        let signed = json!({
            "_type": "timestamp", "spec_version": "1.0.34", "version": version, "expires": expires,
            "meta": { "snapshot.json": pin },
        });
        self.put("timestamp.json", &signed, &signers, Vec::new());
        self.timestamp = version;
    }

    fn publish_all(&mut self) {
        self.publish_targets(&mut Script(&[]));
        self.publish_snapshot(&mut Script(&[]));
        self.publish_timestamp(&mut Script(&[]));
    }

    fn named(&self, role: usize) -> Vec<u8> {
        self.root.1.get(role).map(|named| named.keys.clone()).unwrap_or_default()
    }

    fn pick(&self, script: &mut Script<'_>) -> Option<String> {
        self.files.keys().nth(usize::from(script.byte()) % self.files.len().max(1)).cloned()
    }

    fn spoil(&mut self, script: &mut Script<'_>) {
        let Some(bytes) = self.pick(script).and_then(|name| self.files.get_mut(&name)) else { return };
        let place = usize::from(u16::from_le_bytes([script.byte(), script.byte()])) % bytes.len();
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= script.byte();
        }
    }

    fn remove(&mut self, script: &mut Script<'_>) {
        if let Some(name) = self.pick(script) {
            self.files.remove(&name);
        }
    }

    /// Any file that ever was, under any name, also one that was never served.
    fn replay(&mut self, script: &mut Script<'_>) {
        let Some(old) = self.history.get(usize::from(script.byte()) % self.history.len()).cloned() else { return };
        let name = match script.byte() {
            n @ 0..64 => Some(format!("{}.root.json", self.root.0.saturating_add(u64::from(n & 3)))),
            _ => self.pick(script),
        };
        if let Some(name) = name {
            self.files.insert(name, old);
        }
    }

    fn made(&self, file: &[u8]) -> (Value, Made) {
        let value: Value = serde_json::from_slice(file).expect("what a client stores is JSON");
        let signed = value.get("signed").expect("with a signed part");
        let made = self.made.get(&json::canonical(signed).expect("no float"));
        (signed.clone(), made.expect("nobody ever signed what was accepted").clone())
    }
}

fn root_value(version: u64, expires: &str, names: &[Named]) -> Value {
    let mut keys = serde_json::Map::new();
    let mut roles = serde_json::Map::new();
    for (role, named) in ["root", "targets", "snapshot", "timestamp"].iter().zip(names) {
        let mut ids = Vec::new();
        for n in &named.keys {
            let public = world::key(*n).public();
            let id = key_id(&public).expect("an id").to_string();
            keys.insert(id.clone(), key_object(&public));
            ids.push(id);
        }
        roles.insert((*role).to_owned(), json!({ "keyids": ids, "threshold": named.threshold }));
    }
    json!({
        "_type": "root", "spec_version": "1.0.34", "version": version, "expires": expires,
        "consistent_snapshot": true, "keys": keys, "roles": roles,
    })
}

/// What one file says of another: mostly the truth.
fn pin(script: &mut Script<'_>, (version, file): &(u64, Vec<u8>)) -> Value {
    let sha256 = Digest::of(file);
    match script.byte() {
        0..160 => json!({ "version": version, "length": file.len(), "hashes": { "sha256": sha256 } }),
        160..192 => json!({ "version": version }),
        192..208 => json!({ "version": version, "length": script.byte() }),
        208..224 => json!({ "version": version, "hashes": { "sha256": Digest::of(b"another") } }),
        224..232 => json!({ "version": version, "hashes": { "sha3": "00" } }),
        _ => json!({ "version": script.version(*version), "length": file.len(), "hashes": { "sha256": sha256 } }),
    }
}

struct Client {
    store: Stored,
    /// Versions of timestamp, snapshot and targets below which nothing may be stored.
    floors: BTreeMap<&'static str, u64>,
}

impl Client {
    fn new(server: &Server) -> Self {
        Self { store: Stored { root: server.first_root.clone(), ..Stored::default() }, floors: BTreeMap::new() }
    }

    /// One refresh; the power fails after so many changes to the store, if it does.
    fn refresh(&mut self, server: &Server, power_fails_after: Option<u8>) {
        let mut refresh = Refresh::start(self.store.clone(), server.now).expect("a store is never spoilt");
        let mut questions = 0;
        let mut changes_left = power_fails_after;
        while let Some(request) = refresh.request() {
            questions += 1;
            assert!(questions <= MAX_ROOT_STEPS + 1 + 3, "questions without end");
            assert!(
                Role::ALL.iter().any(|r| request.name.ends_with(r.file_name()) && request.max_bytes <= r.max_bytes())
            );
            let answer = server.files.get(&request.name).map_or(Answer::NotFound, |b| Answer::Found(b.clone()));
            let Ok(changes) = refresh.supply(answer) else {
                assert!(refresh.request().is_none(), "it goes on after an error");
                assert!(refresh.supply(Answer::NotFound).is_err());
                assert!(refresh.finish().is_err());
                return;
            };
            for change in changes {
                if changes_left == Some(0) {
                    return;
                }
                changes_left = changes_left.map(|n| n - 1);
                self.check(server, &change);
                self.store.apply(&change);
            }
        }
        let repository = refresh.finish().ok();
        self.check_result(server, repository.expect("nothing more was asked for and no step failed"));
    }

    /// A change before it is made.
    fn check(&mut self, server: &Server, change: &Change) {
        let Change::Put { name, bytes } = change else { return };
        let (signed, made) = server.made(bytes);
        let version = signed.get("version").and_then(Value::as_u64).expect("a version");
        assert_eq!(signed.get("_type").and_then(Value::as_str), name.strip_suffix(".json"));
        let (before, root) = server.made(&self.store.root);
        if *name == "root.json" {
            assert_eq!(before.get("version").and_then(Value::as_u64), version.checked_sub(1), "roots come one by one");
            for names in [&root.names, &made.names] {
                assert!(names.first().is_some_and(|named| made.by(named)), "a root without its signatures");
            }
            // The online keys changed: versions begin anew, and the stored files bind nobody.
            if root.names.get(2..) != made.names.get(2..) {
                self.floors.clear();
            }
            return;
        }
        let place = ["root.json", "targets.json", "snapshot.json", "timestamp.json"].iter().position(|n| n == name);
        let named = place.and_then(|place| root.names.get(place)).expect("one of the four");
        assert!(made.by(named), "{name} without its signatures");
        assert!(unexpired(&signed, server.now), "{name} has expired");
        let floor = self.floors.entry(name).or_default();
        assert!(version >= *floor, "{name} went back from {floor} to {version}");
        *floor = version;
    }

    fn check_result(&self, server: &Server, repository: Repository) {
        let store = &self.store;
        let (root, names) = server.made(&store.root);
        let file = |bytes: &Option<Vec<u8>>| bytes.clone().expect("all four are stored");
        let files = [file(&store.targets), file(&store.snapshot), file(&store.timestamp)];
        assert!(unexpired(&root, server.now), "the root has expired");
        let mut signed = Vec::new();
        for (bytes, named) in files.iter().zip(names.names.iter().skip(1)) {
            let (value, made) = server.made(bytes);
            assert!(made.by(named) && unexpired(&value, server.now));
            signed.push(value);
        }
        let [targets, snapshot, timestamp] = signed.as_slice() else { panic!("three files") };
        pins(timestamp, "snapshot.json", snapshot, &files[1]);
        pins(snapshot, "targets.json", targets, &files[0]);
        assert!(repository.expires() > server.now);
        assert_eq!(repository.targets_metadata().bytes(), files[0]);
        assert_eq!(repository.root().bytes(), store.root);

        let opened = Refresh::start(store.clone(), server.now).and_then(Refresh::offline).and_then(Refresh::finish);
        let opened = opened.expect("what is stored can be used without a network");
        assert_eq!(opened.seen(), repository.seen());
    }
}

fn unexpired(signed: &Value, now: Timestamp) -> bool {
    let at: Timestamp = signed.get("expires").and_then(Value::as_str).and_then(|t| t.parse().ok()).expect("an instant");
    now < at
}

fn pins(above: &Value, name: &str, below: &Value, file: &[u8]) {
    let pin = above.get("meta").and_then(|meta| meta.get(name)).expect("it pins the file below");
    assert_eq!(pin.get("version"), below.get("version"));
    assert!(pin.get("length").is_none_or(|length| length.as_u64() == Some(file.len() as u64)));
    let sha256 = pin.get("hashes").map(|hashes| hashes.get("sha256").and_then(Value::as_str));
    assert!(sha256.is_none_or(|hex| hex == Some(Digest::of(file).to_string().as_str())));
}
