//! What was uploaded and that nobody has published, cleared away by one server of all.
//!
//! Attack: a stolen certificate of a manufacturer's operator, by which chunks are uploaded without end. It can publish none of
//! them, since it has no key that signs the catalog; so once it is taken away, nothing of it stays. A publication that was given
//! up goes the same way.
//!
//! Two servers may be at it at once, where one took so long that its turn was over. So nothing is deleted without a look at its
//! row just before, and a name is not free until the longest call to a bucket that another had begun is over (`GONE_KEPT` in the
//! store). What cannot be deleted keeps nothing else from it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use suture_core::clock::Clock;
use tokio_util::sync::CancellationToken;

use super::{Transfer, TransferError};
use crate::app::App;
use crate::events::Turn;

/// When it is looked for the first time after the server's start.
const FIRST: Duration = Duration::from_secs(120);
/// How often it is looked whether there is something.
const LOOK: Duration = Duration::from_secs(3_600);
/// Indexes and documents in one transaction.
const DOCUMENTS: u32 = 64;
/// Packs in one: the rows of all its chunks go with each, and nobody else writes meanwhile.
const PACKS: u32 = 1;
/// Objects that are looked at together.
const PAGE: u32 = 256;

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cleared {
    /// How many objects.
    pub(crate) objects: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl Transfer {
    /// Deletes what nobody has published, and what nobody was promised for so long. Cut off, it goes on where it was.
    pub(crate) async fn clear(&self, kept: SignedDuration, clock: &dyn Clock) -> Result<Cleared, TransferError> {
        let before = clock.now().saturating_sub(kept).unwrap_or(Timestamp::MIN);
        loop {
            let mut tx = self.store.begin().await?;
            let begun = tx.let_documents_leave(before, DOCUMENTS).await?;
            tx.commit().await?;
            if begun == 0 {
                break;
            }
        }
        loop {
            let mut tx = self.store.begin().await?;
            let begun = tx.let_packs_leave(before, PACKS).await?;
            tx.commit().await?;
            if begun == 0 {
                break;
            }
        }
        let mut tx = self.store.begin().await?;
        tx.forget_gone(clock.now()).await?;
        tx.commit().await?;
        self.delete_leaving(clock).await
    }

    /// Also what whoever was cut off had let leave.
    async fn delete_leaving(&self, clock: &dyn Clock) -> Result<Cleared, TransferError> {
        let (mut cleared, mut failed, mut after) = (Cleared::default(), None, String::new());
        loop {
            let page = self.store.read().await?.leaving(&after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.name.clone();
            for object in &page {
                if !self.store.read().await?.is_to_be_deleted(&object.name).await? {
                    continue;
                }
                if let Err(error) = self.blobs.delete(&object.name).await {
                    tracing::warn!(object = object.name, "what nobody has published cannot be deleted");
                    failed.get_or_insert(error);
                    continue;
                }
                let mut tx = self.store.begin().await?;
                tx.note_gone(&object.name, clock.now()).await?;
                tx.commit().await?;
                cleared.objects += 1;
                cleared.bytes = cleared.bytes.saturating_add(object.length);
            }
        }
        failed.map_or(Ok(cleared), |error| Err(error.into()))
    }
}

/// Does so until the server stops.
pub(crate) async fn keep(app: Arc<App>, turn: Turn, shutdown: CancellationToken) {
    let (kept, mut wait) = (app.settings().unpublished, FIRST);
    while shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
        wait = LOOK;
        let cleared = async {
            let ours = turn.is_ours(app.now()).await?;
            if ours { app.transfer().clear(kept, app.clock()).await } else { Ok(Cleared::default()) }
        };
        match shutdown.run_until_cancelled(cleared).await {
            None => return,
            Some(Ok(Cleared { objects: 0, .. })) => {}
            Some(Ok(Cleared { objects, bytes })) => {
                tracing::info!(objects, bytes, "what was uploaded and not published in time was deleted");
            }
            Some(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "what was uploaded and not published was not deleted, and is tried again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use suture_core::chunk::{Entry, Index, encode};
    use suture_core::digest::Digest;

    use super::super::blocks::tests::Hand;
    use super::*;
    use crate::blobs::Blobs;
    use crate::store::Store;
    use crate::store::chunks::{DocumentKind, Place};
    use crate::store::suite::each;

    const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

    fn day(n: i64) -> Timestamp {
        "2026-11-24T15:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * n)
    }

    /// A clock that stands.
    struct Still(Timestamp);

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    struct Stage {
        store: Store,
        blobs: Blobs,
        transfer: Transfer,
        root: tempfile::TempDir,
    }

    impl Stage {
        async fn new(store: Store) -> Self {
            let root = tempfile::tempdir().unwrap();
            let blobs = Blobs::open(root.path(), Timestamp::UNIX_EPOCH).await.unwrap();
            let transfer = Transfer::new(store.clone(), blobs.clone(), Arc::new(Hand::default()));
            Self { store, blobs, transfer, root }
        }

        /// Sends chunks of these contents in one pack, and their index.
        async fn send(&self, contents: &[u8], at: Timestamp) -> Result<Digest, TransferError> {
            let mut upload = self.transfer.upload()?;
            for (entry, stored) in contents.iter().map(chunk) {
                upload.take(vec![(entry, u32::try_from(stored.len()).unwrap())], stored, at).await?;
            }
            upload.finish(at).await?;
            let index = Index::new(contents.iter().map(|c| chunk(c).0).collect()).unwrap().to_bytes();
            self.transfer.put_document(DocumentKind::Index, index.into(), at).await
        }

        /// What a publication does.
        async fn hold(&self, index: Digest) -> bool {
            let mut tx = self.store.begin().await.unwrap();
            let lacking = tx.hold(&[index], &[]).await.unwrap();
            tx.commit().await.unwrap();
            lacking.is_empty()
        }

        async fn is_whole(&self, index: Digest) -> bool {
            // Another server, that has nothing in memory.
            let other = Transfer::new(self.store.clone(), self.blobs.clone(), Arc::new(Hand::default()));
            other.lay(&index, Arc::new(tempfile::tempfile().unwrap())).await.is_ok()
        }

        async fn objects(&self) -> BTreeSet<String> {
            let mut all = self.blobs.list("packs", None, 1_000).await.unwrap();
            all.extend(self.blobs.list("documents", None, 1_000).await.unwrap());
            all.into_iter().collect()
        }

        async fn clear(&self, at: Timestamp) -> u64 {
            self.transfer.clear(KEPT, &Still(at)).await.unwrap().objects
        }
    }

    fn chunk(content: &u8) -> (Entry, Bytes) {
        let raw = vec![*content; 100 + usize::from(*content)];
        let entry = Entry { sha256: Digest::of(&raw), length: u32::try_from(raw.len()).unwrap() };
        (entry, encode(&raw, 1).unwrap().into())
    }

    fn digests(contents: &[u8]) -> Vec<Digest> {
        contents.iter().map(|content| chunk(content).0.sha256).collect()
    }

    #[tokio::test]
    async fn what_nobody_publishes_goes_and_what_is_published_stays_whole() {
        each(async |store| {
            let stage = Stage::new(store).await;
            let given_up = stage.send(&[1, 2, 3, 4], day(0)).await.unwrap();
            let published = stage.send(&[3, 4, 5, 6], day(0)).await.unwrap();
            let alone = stage.send(&[7, 8], day(0)).await.unwrap();
            let text = stage.transfer.put_document(DocumentKind::Document, Bytes::from("notes"), day(0)).await.unwrap();
            assert!(stage.hold(published).await);
            assert_eq!(stage.objects().await.len(), 7);
            assert_eq!(stage.clear(day(7)).await, 0);
            // Two indexes, a text, and the pack that no other index has chunks in.
            assert_eq!(stage.clear(day(8)).await, 4);
            let left = stage.objects().await;
            assert!(left.contains(&format!("documents/{published}")) && left.len() == 3, "{left:?}");
            assert!(stage.is_whole(published).await);
            for gone in [given_up, alone, text] {
                let document = stage.transfer.document(&gone).await;
                assert!(matches!(document, Err(TransferError::NotFound { .. })), "{document:?}");
                assert!(!stage.hold(gone).await);
            }
            assert_eq!(stage.transfer.missing(&digests(&[1, 3, 5, 7]), day(8)).await.unwrap(), [3]);
            assert_eq!(stage.clear(day(9)).await, 0);
            assert_eq!(stage.send(&[7, 8], day(9)).await.unwrap(), alone);
            assert!(stage.is_whole(alone).await && stage.hold(alone).await);
            assert_eq!(stage.clear(day(300)).await, 0);
        })
        .await;
    }

    #[tokio::test]
    async fn whoever_was_told_that_chunks_are_here_may_publish_them() {
        each(async |store| {
            let stage = Stage::new(store).await;
            let first = stage.send(&[1, 2, 3], day(0)).await.unwrap();
            assert!(stage.transfer.missing(&digests(&[2]), day(6)).await.unwrap().is_empty());
            // Its index goes, which nobody asked after; the chunks stay.
            assert_eq!(stage.clear(day(9)).await, 1);
            assert_eq!(stage.clear(day(10)).await, 0);
            assert!(stage.transfer.missing(&digests(&[1, 2, 3]), day(9)).await.unwrap().is_empty());
            assert_eq!(stage.send(&[1, 2, 3], day(15)).await.unwrap(), first);
            assert_eq!(stage.clear(day(20)).await, 0);
            assert!(stage.hold(first).await && stage.is_whole(first).await);
        })
        .await;
    }

    #[tokio::test]
    async fn a_cut_anywhere_leaves_nothing_that_is_never_cleared() {
        each(async |store| {
            let stage = Stage::new(store).await;
            // Announced, and written or not.
            let mut tx = stage.store.begin().await.unwrap();
            assert!(tx.announce("packs/abc", 3, day(0)).await.unwrap());
            assert!(tx.announce("packs/def", 3, day(0)).await.unwrap());
            tx.commit().await.unwrap();
            stage.blobs.put("packs/abc", Bytes::from("abc")).await.unwrap();
            // Leaving, and deleted or not.
            let index = stage.send(&[1, 2], day(0)).await.unwrap();
            let mut tx = stage.store.begin().await.unwrap();
            assert_eq!(tx.let_documents_leave(day(1), 100).await.unwrap(), 1);
            assert_eq!(tx.let_packs_leave(day(1), 100).await.unwrap(), 3);
            tx.commit().await.unwrap();
            let leaving = stage.store.read().await.unwrap().leaving("", 100).await.unwrap();
            stage.blobs.delete(&leaving[0].name).await.unwrap();
            assert_eq!(stage.clear(day(1)).await, 4);
            assert!(stage.objects().await.is_empty());
            assert_eq!(stage.clear(day(2)).await, 0);
            assert_eq!(stage.send(&[1, 2], day(2)).await.unwrap(), index);
            assert!(stage.is_whole(index).await);
        })
        .await;
    }

    /// Found: a server whose turn was over went on by a list of its own, and deleted what was deleted, sent again and published since.
    #[tokio::test]
    async fn a_name_is_free_only_once_no_server_can_be_about_to_delete_it() {
        each(async |store| {
            let stage = Stage::new(store).await;
            let index = stage.send(&[1, 2], day(0)).await.unwrap();
            let listed = async || stage.store.read().await.unwrap().leaving("", 100).await.unwrap();
            assert_eq!(stage.clear(day(8)).await, 2);
            let late = listed().await;
            assert_eq!(late.len(), 2);
            for object in &late {
                assert!(!stage.store.read().await.unwrap().is_to_be_deleted(&object.name).await.unwrap());
            }
            // Whoever found it to be deleted before that may be at it still.
            let soon = day(8) + SignedDuration::from_mins(59);
            assert_eq!(stage.clear(soon).await, 0);
            let again = stage.send(&[1, 2], soon).await;
            assert!(matches!(again, Err(TransferError::Leaving(_))), "{again:?}");
            let then = day(8) + SignedDuration::from_mins(61);
            assert_eq!(stage.clear(then).await, 0);
            assert!(listed().await.is_empty());
            assert_eq!(stage.send(&[1, 2], then).await.unwrap(), index);
            // A pack has never the name of one that was deleted.
            let packs = stage.blobs.list("packs", None, 10).await.unwrap();
            assert!(packs.iter().all(|name| late.iter().all(|old| old.name != *name)), "{packs:?}");
            assert!(stage.hold(index).await && stage.is_whole(index).await);
        })
        .await;
    }

    #[tokio::test]
    async fn what_cannot_be_deleted_keeps_nothing_else_from_it() {
        each(async |store| {
            let stage = Stage::new(store).await;
            for content in 1..20 {
                stage.send(&[content], day(0)).await.unwrap();
            }
            let first = stage.objects().await.pop_first().unwrap();
            let (kind, id) = first.split_once('/').unwrap();
            let path = stage.root.path().join(kind).join(&id[..2]).join(id);
            std::fs::remove_file(&path).unwrap();
            std::fs::create_dir_all(path.join("held")).unwrap();
            for n in 8..10 {
                let cleared = stage.transfer.clear(KEPT, &Still(day(n))).await;
                assert!(matches!(cleared, Err(TransferError::Blob(_))), "{cleared:?}");
                let left = stage.store.read().await.unwrap().leaving("", 100).await.unwrap();
                assert_eq!(left.len(), if n == 8 { 38 } else { 1 });
            }
            std::fs::remove_dir_all(&path).unwrap();
            assert_eq!(stage.clear(day(11)).await, 1);
        })
        .await;
    }

    /// A dump of the database is older than the copy of the objects, and names what was deleted in between.
    #[tokio::test]
    async fn what_a_restored_database_says_is_here_and_is_not_is_sent_anew() {
        each(async |store| {
            let stage = Stage::new(store).await;
            let index = stage.send(&[1, 2, 3], day(0)).await.unwrap();
            let other = stage.send(&[3, 4], day(0)).await.unwrap();
            for pack in stage.blobs.list("packs", None, 10).await.unwrap() {
                stage.blobs.delete(&pack).await.unwrap();
            }
            let again = stage.send(&[1, 2, 3], day(1)).await;
            assert!(matches!(again, Err(TransferError::ChunksMissing { missing: 3 })), "{again:?}");
            assert!(!stage.hold(index).await && !stage.hold(other).await, "neither is whole");
            assert_eq!(stage.send(&[1, 2, 3], day(1)).await.unwrap(), index);
            assert!(stage.hold(index).await && stage.is_whole(index).await);
        })
        .await;
    }

    /// A program of before, which knows nothing of uploads, has put a chunk on record.
    #[tokio::test]
    async fn a_chunk_in_a_pack_that_is_not_here_takes_its_place_in_one_that_is() {
        each(async |store| {
            let stage = Stage::new(store).await;
            let (entry, stored) = chunk(&1);
            let stored_length = u32::try_from(stored.len()).unwrap();
            let place = Place { pack: "old".into(), offset: 0, stored_length, raw_length: entry.length };
            let mut tx = stage.store.begin().await.unwrap();
            tx.put_pack("old", 7, &[(entry.sha256, place)], day(0)).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(stage.transfer.missing(&digests(&[1]), day(0)).await.unwrap(), [0]);
            let index = stage.send(&[1, 2], day(0)).await.unwrap();
            assert!(stage.hold(index).await && stage.is_whole(index).await);
        })
        .await;
    }

    #[tokio::test]
    async fn a_promise_is_never_taken_back_by_a_clock_that_is_behind() {
        each(async |store| {
            let stage = Stage::new(store).await;
            stage.send(&[1, 2], day(20)).await.unwrap();
            assert!(stage.transfer.missing(&digests(&[1]), day(0)).await.unwrap().is_empty());
            stage.send(&[1, 2], day(0)).await.unwrap();
            assert_eq!(stage.clear(day(26)).await, 0);
        })
        .await;
    }

    #[tokio::test]
    async fn what_was_sent_as_a_document_is_no_index_until_it_is_sent_as_one() {
        each(async |store| {
            let stage = Stage::new(store).await;
            let bytes = Index::new(vec![chunk(&1).0]).unwrap().to_bytes();
            let kind = DocumentKind::Document;
            let index = stage.transfer.put_document(kind, bytes.into(), day(0)).await.unwrap();
            assert!(!stage.hold(index).await);
            assert_eq!(stage.send(&[1], day(0)).await.unwrap(), index);
            assert!(stage.hold(index).await && stage.is_whole(index).await);
        })
        .await;
    }

    /// By a clock that breaks every promise: what is published is whole all the same, or the publisher hears that it is not.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_sent_and_published_while_others_are_cleared_away_is_whole() {
        each(async |store| {
            let stage = Arc::new(Stage::new(store).await);
            let (now, mut wanted) = tokio::sync::mpsc::unbounded_channel();
            let clearing = tokio::spawn({
                let stage = stage.clone();
                async move {
                    while wanted.recv().await.is_some() {
                        // Cut short by the database where both want the same pack, and tried again.
                        let _ = stage.transfer.clear(KEPT, &Still(day(30))).await;
                    }
                }
            });
            let mut published = 0;
            for round in 0..60_u8 {
                // Two rounds of three are raced.
                if round % 3 > 0 {
                    now.send(()).unwrap();
                }
                let contents: Vec<u8> = (0..12).map(|n| (round % 5) * 7 + n).collect();
                if let Ok(index) = stage.send(&contents, day(0)).await
                    && stage.hold(index).await
                {
                    assert!(stage.is_whole(index).await, "round {round}");
                    published += 1;
                }
            }
            drop(now);
            clearing.await.unwrap();
            assert!(published > 0);
            stage.clear(day(60)).await;
            for round in 0..5_u8 {
                let contents: Vec<u8> = (0..12).map(|n| round * 7 + n).collect();
                let index = Index::new(contents.iter().map(|c| chunk(c).0).collect()).unwrap().to_bytes();
                let index = Digest::of(&index);
                assert!(stage.transfer.document(&index).await.is_err() || stage.is_whole(index).await, "round {round}");
            }
        })
        .await;
    }
}
