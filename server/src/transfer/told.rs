//! Indexes told by others that devices hold.

use bytes::Bytes;
use suture_core::digest::Digest;
use suture_core::limits::MAX_HELD_INDEXES;

use super::{Transfer, TransferError};
use crate::store::chunks::DocumentKind;

impl Transfer {
    /// An index, told by the first of `held` that is an index here.
    pub(crate) async fn told_index(&self, index: &Digest, held: &[Digest]) -> Result<Bytes, TransferError> {
        if held.len() > MAX_HELD_INDEXES {
            return Err(TransferError::Invalid(format!("more than {MAX_HELD_INDEXES} indexes are held")));
        }
        for base in held {
            if let Some(runs) = self.told.recall(&(*index, *base)) {
                return Ok(runs);
            }
            if matches!(self.store.document(base).await?, Some((DocumentKind::Index, _))) {
                return self.tell(index, base).await;
            }
        }
        Err(TransferError::NotFound { what: "base of index", sha256: *index })
    }

    async fn tell(&self, index: &Digest, base: &Digest) -> Result<Bytes, TransferError> {
        let load = async {
            let _room = self.room(&[*index, *base]).await?;
            let (new, old, base) = (self.index(index).await?, self.index(base).await?, *base);
            let runs = tokio::task::spawn_blocking(move || Bytes::from(new.to_runs(&old, &base))).await?;
            let bytes = runs.len();
            Ok((runs, bytes))
        };
        self.told.get((*index, *base), load).await
    }
}

#[cfg(test)]
mod tests {
    use suture_core::chunk::{Entry, Index, encode};
    use suture_core::principal::Principal;

    use std::sync::Arc;

    use super::super::blocks::tests::Hand;
    use super::*;
    use crate::blobs::Blobs;
    use crate::store::suite::each;

    /// Stores chunks of these contents and their index; gives its digest.
    async fn index(transfer: &Transfer, contents: &[u8]) -> Digest {
        let now = "2026-11-24T15:00:00Z".parse().unwrap();
        let mut upload = transfer.upload(&Principal::Server).unwrap();
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

    #[tokio::test]
    async fn damage_on_the_servers_disk_is_the_servers_own_fault() {
        each(async |store| {
            let root = tempfile::tempdir().unwrap();
            let blobs = Blobs::open(root.path(), jiff::Timestamp::UNIX_EPOCH).await.unwrap();
            let transfer = Transfer::new(store, blobs.clone(), Arc::new(Hand::default()));
            let contents: Vec<u8> = (0..40).collect();
            let (old, new) = (index(&transfer, &contents[1..]).await, index(&transfer, &contents).await);
            let file = || Arc::new(tempfile::tempfile().unwrap());
            transfer.lay(&new, file()).await.unwrap();

            // A chunk, in every pack: a bit of its last byte.
            for pack in blobs.list("packs", None, 10).await.unwrap() {
                let length = blobs.length(&pack).await.unwrap().unwrap();
                let mut bytes = blobs.get_range(&pack, 0, length).await.unwrap().to_vec();
                *bytes.last_mut().unwrap() ^= 1;
                blobs.delete(&pack).await.unwrap();
                blobs.put(&pack, bytes.into()).await.unwrap();
            }
            let laid = transfer.lay(&new, file()).await;
            assert!(matches!(laid, Err(TransferError::Damaged { what: "chunk", .. })), "{laid:?}");

            // An index: a bit of a digest in it, so that it still reads as one.
            let name = format!("documents/{new}");
            let mut bytes = transfer.document(&new).await.unwrap().to_vec();
            bytes[30] ^= 1;
            blobs.delete(&name).await.unwrap();
            blobs.put(&name, bytes.into()).await.unwrap();
            let told = transfer.told_index(&new, &[old]).await;
            assert!(matches!(&told, Err(TransferError::Damaged { what: "index", sha256, .. }) if *sha256 == new));
            let status: tonic::Status = crate::grpc::Refusal::from(told.unwrap_err()).into();
            assert_eq!(status.code(), tonic::Code::Internal);
            let laid = transfer.lay(&new, file()).await;
            assert!(matches!(laid, Err(TransferError::Damaged { what: "index", .. })), "{laid:?}");
        })
        .await;
    }

    /// Accident: a disk that lost a file, or a backup of the database that is younger than that of the objects.
    #[tokio::test]
    async fn a_pack_that_is_gone_is_missing_and_can_be_sent_again() {
        each(async |store| {
            let root = tempfile::tempdir().unwrap();
            let blobs = Blobs::open(root.path(), jiff::Timestamp::UNIX_EPOCH).await.unwrap();
            let transfer = Transfer::new(store, blobs.clone(), Arc::new(Hand::default()));
            let contents: Vec<u8> = (0..40).collect();
            let file = || Arc::new(tempfile::tempfile().unwrap());
            let sent = index(&transfer, &contents).await;
            let other = index(&transfer, &[200, 201]).await;
            let chunks = async |of: &Digest| {
                let index = Index::parse(&transfer.document(of).await.unwrap()).unwrap();
                index.entries().iter().map(|e| e.sha256).collect::<Vec<_>>()
            };
            let [of_sent, of_other] = [chunks(&sent).await, chunks(&other).await];
            transfer.lay(&sent, file()).await.unwrap();
            let pack = format!("packs/{}", transfer.store.places(&of_sent).await.unwrap()[&of_sent[0]].pack);
            let whole = blobs.get_range(&pack, 0, blobs.length(&pack).await.unwrap().unwrap()).await.unwrap();
            for is_there_in_part in [false, true] {
                blobs.delete(&pack).await.unwrap();
                if is_there_in_part {
                    blobs.put(&pack, whole.slice(..10)).await.unwrap();
                }
                let all: Vec<u32> = (0..40).collect();
                assert_eq!(transfer.missing(&of_sent).await.unwrap(), all);
                assert_eq!(transfer.missing(&of_other).await.unwrap(), [0_u32; 0], "that pack is whole");
                assert_eq!(index(&transfer, &contents).await, sent);
                assert_eq!(transfer.missing(&of_sent).await.unwrap(), [0_u32; 0]);
                transfer.lay(&sent, file()).await.unwrap();
            }
        })
        .await;
    }
}
