//! The list of a payload's chunks, which the manifest pins.

use std::sync::Arc;

use suture_core::chunk::Index;
use suture_core::digest::Digest;
use suture_core::id::PayloadName;
use suture_core::manifest::Payload;

use super::error::wrong;
use super::{Fetch, FetchError};
use crate::client::{Files, Indexes, Which};
use crate::durable;
use crate::install::Version;

impl Fetch {
    /// The index, as it was kept or as it comes.
    pub(super) async fn index<C: Files + Indexes>(
        &self,
        client: &mut C,
        payload: &Payload,
        versions: &Arc<Vec<Version>>,
    ) -> Result<Index, FetchError> {
        let path = self.index_path(payload);
        let what = format!("the chunk index of payload {}", payload.name);
        let kept = durable::read(&path, payload.index_length).ok().flatten();
        let bytes = match kept.filter(|bytes| Digest::of(bytes) == payload.index_sha256) {
            Some(bytes) => bytes,
            None => {
                let name = format!("documents/{}", payload.index_sha256);
                let bytes = match self.told_index(client, payload, versions).await {
                    Some(bytes) => bytes,
                    None => client.target(Which::Catalog, &name, payload.index_length).await?,
                };
                if bytes.len() as u64 != payload.index_length || Digest::of(&bytes) != payload.index_sha256 {
                    return Err(wrong(&what, &"it has another length or digest"));
                }
                durable::write(&path, &bytes, durable::OPEN)?;
                bytes
            }
        };
        let index = Index::parse(&bytes).map_err(|e| FetchError::Unusable(e.to_string()))?;
        if index.total_length() == payload.length {
            Ok(index)
        } else {
            Err(FetchError::Unusable(format!("{what} does not add up to the payload's length")))
        }
    }

    /// The index, put together from one that a slot has and what the server tells of it by that. None where that does not
    /// yield what the manifest pins, for whatever reason: then the whole is fetched.
    async fn told_index(
        &self,
        client: &mut impl Indexes,
        payload: &Payload,
        versions: &Arc<Vec<Version>>,
    ) -> Option<Vec<u8>> {
        let (versions, name) = (versions.clone(), payload.name.clone());
        let held = tokio::task::spawn_blocking(move || kept(&versions, &name)).await.ok()?;
        let digests: Vec<Digest> = held.iter().map(|(sha256, _)| *sha256).collect();
        if digests.is_empty() {
            return None;
        }
        let told = client.index(&payload.index_sha256, &digests, payload.index_length).await;
        let runs = told.inspect_err(|e| tracing::debug!(error = %e, "the chunk index is fetched as a whole")).ok()?;
        let base = Index::base_of_runs(&runs)?;
        let (_, base) = held.into_iter().find(|(sha256, _)| *sha256 == base)?;
        let bytes = Index::from_runs(&runs, &base, payload.index_length).ok()?.to_bytes();
        (Digest::of(&bytes) == payload.index_sha256).then_some(bytes)
    }
}

/// The chunk indexes that are kept of payloads of that name, each with its digest, that of what runs first.
fn kept(versions: &[Version], name: &PayloadName) -> Vec<(Digest, Index)> {
    let mut found: Vec<(Digest, Index)> = Vec::new();
    for version in versions {
        for payload in version.manifest.payloads.iter().filter(|p| p.name == *name) {
            let is_new = found.iter().all(|(sha256, _)| *sha256 != payload.index_sha256);
            if let Some(index) = version.index(payload).filter(|_| is_new) {
                found.push((payload.index_sha256, index));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientError;
    use crate::install::{Installer, Limits, Side, Slots, bundle};

    /// Tells an index by another one, or lies, and counts what it was asked for.
    struct Server {
        runs: Result<Vec<u8>, ClientError>,
        whole: Vec<u8>,
        asked: Vec<&'static str>,
    }

    impl Files for Server {
        async fn metadata(&mut self, _: Which, _: &str, _: u64) -> Result<Option<Vec<u8>>, ClientError> {
            Ok(None)
        }

        async fn target(&mut self, _: Which, name: &str, _: u64) -> Result<Vec<u8>, ClientError> {
            assert_eq!(name, format!("documents/{}", Digest::of(&self.whole)));
            self.asked.push("whole");
            Ok(self.whole.clone())
        }
    }

    impl Indexes for Server {
        async fn index(&mut self, index: &Digest, held: &[Digest], _: u64) -> Result<Vec<u8>, ClientError> {
            assert_eq!((*index, held.len()), (Digest::of(&self.whole), 1));
            self.asked.push("runs");
            match &self.runs {
                Ok(runs) => Ok(runs.clone()),
                Err(_) => Err(ClientError::NotFound { call: "the index", text: String::new() }),
            }
        }
    }

    #[tokio::test]
    async fn an_index_is_told_by_the_slots_and_a_lie_costs_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let slots = Slots::new(&dir.path().join("slots"));
        std::fs::create_dir(slots.dir()).unwrap();
        let (_, one, payloads) = bundle(dir.path(), 1, &[1; 900_000]);
        slots.write(&one, &payloads).unwrap();
        slots.switch(Side::A).unwrap();
        let (base, base_sha256) = (Index::parse(&payloads[0].2).unwrap(), Digest::of(&payloads[0].2));
        let (manifest, _, payloads) = bundle(dir.path(), 2, &[2; 500_000]);
        let (payload, whole) = (&manifest.payloads[0], payloads[0].2.clone());
        let index = Index::parse(&whole).unwrap();
        let good = index.to_runs(&base, &base_sha256);
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let refused = Err(ClientError::NotFound { call: "the index", text: String::new() });
        let told = [
            (Ok(good), vec!["runs"]),
            (refused, vec!["runs", "whole"]),
            (Ok(flipped), vec!["runs", "whole"]),
            (Ok(Vec::new()), vec!["runs", "whole"]),
            (Ok(base.to_runs(&base, &base_sha256)), vec!["runs", "whole"]),
            (Ok(index.to_runs(&base, &Digest::of(b"stranger"))), vec!["runs", "whole"]),
        ];
        for (place, (runs, asked)) in told.into_iter().enumerate() {
            let state = dir.path().join(place.to_string());
            let installer = Installer::by(Arc::new(slots.clone()), Limits::default());
            let versions = Arc::new(installer.versions().await);
            let fetch = Fetch::new(&state, &Digest::of(b"manifest"), installer, Arc::default());
            durable::make_dir(&fetch.dir).unwrap();
            let mut server = Server { runs, whole: whole.clone(), asked: Vec::new() };
            assert_eq!(fetch.index(&mut server, payload, &versions).await.unwrap(), index);
            assert_eq!(server.asked, asked, "{place}");
            // Kept, it is asked for no more.
            assert_eq!(fetch.index(&mut server, payload, &versions).await.unwrap(), index);
            assert_eq!(server.asked.len(), asked.len());
        }
    }
}
