//! The clients in this process: ours, and sigstore's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use serde_json::Value;
use sigstore_tuf::transport::FetchFuture;
use sigstore_tuf::{MetadataStore, Updater};
use suture_core::trust::{
    Answer, Delegations, Refresh, Repository, Request, Search, Stored, Transport, TrustError, refresh_with,
};

use super::base::{Base, Files};
use super::case::{Case, Step};

/// What one client says to one refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Refused {
        reason: String,
        /// The file that was fetched last, which is the one at fault.
        fetched: String,
    },
    Accepted(View),
}

/// Length and SHA-256 of what was found by path; why not, where the search itself was refused.
pub(super) type Targets = BTreeMap<String, Result<Option<(u64, String)>, String>>;

/// What a client believes after a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// Of root, timestamp, snapshot, targets.
    pub(super) versions: [u64; 4],
    /// What it finds.
    pub(super) targets: Targets,
    /// What was fetched for it.
    pub(super) fetched: BTreeSet<String>,
}

impl Verdict {
    pub(super) fn from_json(verdict: &Value) -> Self {
        if verdict["ok"] != true {
            let reason = verdict["error"].as_str().unwrap().to_owned();
            return Self::Refused { reason, fetched: verdict["fetched"][0].as_str().unwrap_or_default().to_owned() };
        }
        let versions = [0, 1, 2, 3].map(|i| verdict["versions"][i].as_u64().unwrap_or(u64::MAX));
        let target = |found: &Value| match found {
            Value::Null => Ok(None),
            Value::Array(pair) => {
                // A length that is no length, or no sha256: found, but nothing that ours could have found.
                Ok(Some((pair[0].as_u64().unwrap_or(u64::MAX), pair[1].as_str().unwrap_or_default().to_owned())))
            }
            error => Err(error["error"].as_str().unwrap().to_owned()),
        };
        let targets = verdict["targets"].as_object().unwrap();
        let targets = targets.iter().map(|(path, found)| (path.clone(), target(found))).collect();
        let fetched = verdict["fetched"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        Self::Accepted(View { versions, targets, fetched: fetched.collect() })
    }

    fn of(result: Result<View, String>, fetched: &[String]) -> Self {
        match result {
            Ok(view) => Self::Accepted(View { fetched: fetched.iter().cloned().collect(), ..view }),
            Err(reason) => Self::Refused { reason, fetched: fetched.last().cloned().unwrap_or_default() },
        }
    }
}

/// Our client.
pub(super) fn ours(base: &Base, case: &Case) -> Vec<Verdict> {
    let mut store = Stored { root: base.root.clone(), ..Stored::default() };
    until_refused(case, |step| {
        let mut server = Server { files: step.files(base), fetched: Vec::new() };
        let view = our_view(&mut store, &mut server, step, case);
        Verdict::of(view.map_err(|e| describe(&e)), &server.fetched)
    })
}

fn our_view(store: &mut Stored, server: &mut Server, step: &Step, case: &Case) -> Result<View, TrustError> {
    let refresh = Refresh::start(store.clone(), step.now)?.delegations(Delegations::Followed);
    let refresh = refresh_with(refresh, server, |change| {
        store.apply(change);
        Ok(())
    })?;
    let mut repository = refresh.finish()?;
    let seen = repository.seen();
    let versions = [seen.root, repository.timestamp_version(), repository.snapshot_version(), seen.targets];
    let mut targets = BTreeMap::new();
    for path in &case.paths {
        let found = look_up(&mut repository, server, path, step, case.download).map_err(|e| describe(&e));
        targets.insert(path.clone(), found);
    }
    Ok(View { versions, targets, fetched: BTreeSet::new() })
}

fn look_up(
    repository: &mut Repository,
    server: &mut Server,
    path: &str,
    step: &Step,
    download: bool,
) -> Result<Option<(u64, String)>, TrustError> {
    let mut search = Search::start(repository, path, step.now)?;
    while let Some(request) = search.request() {
        search.supply(server.metadata(&request)?)?;
    }
    let found = search.finish()?.map(|t| (t.length, t.sha256.to_string()));
    if let (true, Some(_), Some(name)) = (download, &found, repository.file_name(path)) {
        let bytes = server.files.get(&format!("targets/{name}")).ok_or(TrustError::Missing(name))?;
        repository.verify_target(path, bytes)?;
    }
    Ok(found)
}

fn until_refused(case: &Case, mut judge: impl FnMut(&Step) -> Verdict) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for step in &case.steps {
        verdicts.push(judge(step));
        if matches!(verdicts.last(), Some(Verdict::Refused { .. })) {
            break;
        }
    }
    verdicts
}

/// A server in memory that remembers what it was asked for.
struct Server {
    files: Files,
    fetched: Vec<String>,
}

impl Transport for Server {
    type Error = TrustError;

    fn metadata(&mut self, request: &Request) -> Result<Answer, TrustError> {
        self.fetched.push(request.name.clone());
        Ok(self.files.get(&request.name).map_or(Answer::NotFound, |b| Answer::Found(b.clone())))
    }

    fn target(&mut self, _: &Request) -> Result<Answer, TrustError> {
        Ok(Answer::NotFound)
    }
}

/// The error and what is behind it.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// sigstore's client.
pub(super) fn sigstore(base: &Base, case: &Case) -> Vec<Verdict> {
    let store = Memory::default();
    until_refused(case, |step| {
        let fetched = Arc::new(Mutex::new(Vec::new()));
        let server = Served { files: step.files(base), fetched: Arc::clone(&fetched) };
        let view = sigstores_view(base, &store, server, step, case).map_err(|e| describe(&e));
        Verdict::of(view, &fetched.lock().unwrap())
    })
}

fn sigstores_view(
    base: &Base,
    store: &Memory,
    server: Served,
    step: &Step,
    case: &Case,
) -> Result<View, sigstore_tuf::Error> {
    let now = sigstore_jiff::Timestamp::from_second(step.now.as_second()).unwrap();
    let mut updater = Updater::new(server, &base.root)?.with_store(store.clone());
    block_on(updater.refresh(now))?;
    let mut targets = BTreeMap::new();
    for path in &case.paths {
        let mut found = block_on(updater.get_target_info(path, now));
        if let (true, Ok(Some(target))) = (case.download, &found)
            && let Err(e) = block_on(updater.download_target(target, path))
        {
            found = Err(e);
        }
        let sha256 = |hashes: &BTreeMap<String, String>| hashes.get("sha256").cloned().unwrap_or_default();
        let found = found.map(|t| t.map(|t| (t.length, sha256(&t.hashes)))).map_err(|e| describe(&e));
        targets.insert(path.clone(), found);
    }
    let trusted = updater.trusted();
    let versions = [
        trusted.root().version,
        trusted.timestamp().unwrap().version,
        trusted.snapshot().unwrap().version,
        trusted.targets_role("targets").unwrap().version,
    ];
    Ok(View { versions, targets, fetched: BTreeSet::new() })
}

struct Served {
    files: Files,
    fetched: Arc<Mutex<Vec<String>>>,
}

impl sigstore_tuf::Repository for Served {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        self.fetched.lock().unwrap().push(name.to_owned());
        let bytes = self.files.get(name).cloned();
        Box::pin(async move {
            match bytes {
                Some(bytes) if bytes.len() as u64 > max_length => {
                    Err(sigstore_tuf::Error::Malformed(format!("{name} is longer than {max_length}")))
                }
                bytes => Ok(bytes),
            }
        })
    }

    fn fetch_target<'a>(&'a self, path: &'a str, _max_length: u64) -> FetchFuture<'a> {
        let bytes = self.files.get(&format!("targets/{path}")).cloned();
        Box::pin(async move { Ok(bytes) })
    }
}

/// A store that outlives the updater, as a client's disk does.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Files>>);

impl MetadataStore for Memory {
    fn load(&self, name: &str) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    fn store(&self, name: &str, bytes: &[u8]) -> sigstore_tuf::Result<()> {
        self.0.lock().unwrap().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }
}
