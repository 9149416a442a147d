//! Indexes told by others that devices hold.

use std::sync::PoisonError;

use bytes::Bytes;
use suture_core::chunk::Index;
use suture_core::digest::Digest;
use suture_core::limits::MAX_HELD_INDEXES;

use super::{LOCATED, Transfer, TransferError};
use crate::store::chunks::DocumentKind;

impl Transfer {
    /// An index, told by the first of `held` that is an index here.
    pub(crate) async fn told_index(&self, index: &Digest, held: &[Digest]) -> Result<Bytes, TransferError> {
        if held.len() > MAX_HELD_INDEXES {
            return Err(TransferError::Invalid(format!("more than {MAX_HELD_INDEXES} indexes are held")));
        }
        for base in held {
            if let Some(runs) = self.recall_runs(index, base) {
                return Ok(runs);
            }
            if matches!(self.store.document(base).await?, Some((DocumentKind::Index, _))) {
                return self.tell(index, base).await;
            }
        }
        Err(TransferError::NotFound { what: "base of index", sha256: *index })
    }

    async fn tell(&self, index: &Digest, base: &Digest) -> Result<Bytes, TransferError> {
        // One at a time: all devices of a rollout ask for the same.
        let _loading = self.loading.lock().await;
        if let Some(runs) = self.recall_runs(index, base) {
            return Ok(runs);
        }
        match self.store.document(index).await? {
            Some((DocumentKind::Index, _)) => {}
            _ => return Err(TransferError::NotFound { what: "index", sha256: *index }),
        }
        let (new, old) = (self.document(index).await?, self.document(base).await?);
        let base_sha256 = *base;
        let told = tokio::task::spawn_blocking(move || {
            let parse = |bytes: &[u8]| Index::parse(bytes).map_err(|e| TransferError::Invalid(e.to_string()));
            Ok::<_, TransferError>(Bytes::from(parse(&new)?.to_runs(&parse(&old)?, &base_sha256)))
        });
        let runs = told.await.map_err(|stopped| TransferError::Invalid(stopped.to_string()))??;
        let mut all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_front(((*index, *base), runs.clone()));
        all.truncate(LOCATED);
        Ok(runs)
    }

    fn recall_runs(&self, index: &Digest, base: &Digest) -> Option<Bytes> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let at = told.iter().position(|(pair, _)| *pair == (*index, *base))?;
        let found = told.remove(at)?;
        told.push_front(found.clone());
        Some(found.1)
    }
}

#[cfg(test)]
mod tests {
    use suture_core::chunk::{Entry, encode};

    use std::sync::Arc;

    use super::super::blocks::tests::Hand;
    use super::*;
    use crate::blobs::Blobs;
    use crate::store::suite::each;

    /// Stores chunks of these contents and their index; gives its digest.
    async fn index(transfer: &Transfer, contents: &[u8]) -> Digest {
        let now = "2026-11-24T15:00:00Z".parse().unwrap();
        let mut upload = transfer.upload().unwrap();
        let mut entries = Vec::new();
        for content in contents {
            let raw = vec![*content; 100 + usize::from(*content)];
            let entry = Entry { sha256: Digest::of(&raw), length: u32::try_from(raw.len()).unwrap() };
            let stored = encode(&raw, 1).unwrap();
            let length = u32::try_from(stored.len()).unwrap();
            upload.take(vec![(entry, length)], stored.into(), now).await.unwrap();
            entries.push(entry);
        }
        upload.finish(now).await.unwrap();
        let index = Index::new(entries).unwrap().to_bytes();
        transfer.put_document(DocumentKind::Index, index.into(), now).await.unwrap()
    }

    #[tokio::test]
    async fn an_index_is_told_by_the_first_that_is_here() {
        each(async |store| {
            let root = tempfile::tempdir().unwrap();
            let transfer = Transfer::new(
                store,
                Blobs::open(root.path(), jiff::Timestamp::UNIX_EPOCH).await.unwrap(),
                Arc::new(Hand::default()),
            );
            let contents: Vec<u8> = (0..40).collect();
            let old = index(&transfer, &contents).await;
            let new = index(&transfer, &[&contents[..20], &[200], &contents[20..]].concat()).await;
            let stranger = Digest::of(b"stranger");
            let whole = transfer.document(&new).await.unwrap();
            let base = Index::parse(&transfer.document(&old).await.unwrap()).unwrap();
            for _ in 0..2 {
                let runs = transfer.told_index(&new, &[stranger, old]).await.unwrap();
                assert!(runs.len() * 8 < whole.len(), "{} of {}", runs.len(), whole.len());
                assert_eq!(Index::base_of_runs(&runs), Some(old));
                assert_eq!(Index::from_runs(&runs, &base, whole.len() as u64).unwrap().to_bytes(), whole);
            }
            for (index, held) in [(new, vec![stranger]), (new, vec![]), (stranger, vec![old])] {
                let told = transfer.told_index(&index, &held).await;
                assert!(matches!(told, Err(TransferError::NotFound { .. })), "{told:?}");
            }
            let many = vec![stranger; MAX_HELD_INDEXES + 1];
            assert!(matches!(transfer.told_index(&new, &many).await, Err(TransferError::Invalid(_))));
        })
        .await;
    }
}
