//! The record as others see it: its newest checkpoint, and proofs.
//!
//! Nothing of it is stored: a checkpoint holds no time, so that one head has one, and each of several servers signs the same.
//! What a proof takes is one query for a few dozen hashes, whatever the record's length.

use std::sync::{Arc, Mutex, PoisonError};

use suture_core::audit::{Checkpoint, Head, LogKey, News, Place, Span, consistency, inclusion};
use suture_core::digest::Digest;
use suture_core::id::TrustDomain;
use suture_core::sign::{LocalKey, PublicKey, Signer as _};

use super::key::{self, KeyError};
use crate::store::audit::AuditRow;
use crate::store::{Store, StoreError, Tx};

/// What somebody says of what he remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// How many entries the record had.
    pub size: u64,
    /// The key by which it is known; none where none is known yet.
    pub key: Option<PublicKey>,
}

/// The newest of the record.
#[derive(Debug)]
pub struct Shown {
    /// For whoever remembers something of it.
    pub news: News,
    /// Its head.
    pub head: Head,
    /// The key in force.
    pub key: LogKey,
}

/// One entry with its proof.
#[derive(Debug)]
pub struct Proven {
    /// The entry.
    pub row: AuditRow,
    /// From its leaf to the root.
    pub path: Vec<Digest>,
}

/// The record of a server.
#[derive(Clone)]
pub struct Log {
    store: Store,
    origin: TrustDomain,
    signed: Arc<Mutex<Option<Signed>>>,
}

/// What was signed last, and by which key.
#[derive(Clone)]
struct Signed {
    number: u64,
    key: Arc<LocalKey>,
    checkpoint: Checkpoint,
}

impl Log {
    /// The record in a database.
    pub fn new(store: Store, origin: TrustDomain) -> Self {
        Self { store, origin, signed: Arc::default() }
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    ///
    /// The database, or the key.
    pub async fn checkpoint(&self, seal: &str) -> Result<Checkpoint, KeyError> {
        let mut tx = self.store.read().await?;
        Ok(self.sign(&mut tx, seal).await?.checkpoint)
    }

    /// The record's key.
    ///
    /// # Errors
    ///
    /// The database, or the key.
    pub async fn key(&self, seal: &str) -> Result<LogKey, KeyError> {
        let mut tx = self.store.read().await?;
        let signed = self.sign(&mut tx, seal).await?;
        Ok(LogKey { origin: self.origin.clone(), key: signed.key.public() })
    }

    /// The newest checkpoint, with the proof that it extends what the caller remembers, and with the changes of the key since.
    ///
    /// # Errors
    ///
    /// The database, or the key.
    pub async fn news(&self, seen: Seen, seal: &str) -> Result<News, KeyError> {
        Ok(self.shown(seen, seal).await?.news)
    }

    /// The same, with the head and the key in force: each check-in asks for all of it.
    ///
    /// # Errors
    ///
    /// The database, or the key.
    pub async fn shown(&self, seen: Seen, seal: &str) -> Result<Shown, KeyError> {
        let mut tx = self.store.read().await?;
        let signed = self.sign(&mut tx, seal).await?;
        let head = signed.checkpoint.head();
        // Who remembers more than there is gets what there is, and draws his conclusions.
        let spans = consistency(seen.size, head.size).unwrap_or_default();
        let consistency = hashes(&mut tx, &spans).await?;
        let mut succession = Vec::new();
        if seen.key.is_some_and(|key| key != signed.key.public()) {
            let keys = tx.audit_keys().await?;
            let since = keys.iter().position(|row| Some(row.public) == seen.key).unwrap_or(keys.len());
            succession = keys.into_iter().skip(since + 1).filter_map(|row| row.change).collect();
        }
        let news = News { checkpoint: signed.checkpoint.note().to_owned(), consistency, succession };
        Ok(Shown { news, head, key: LogKey { origin: self.origin.clone(), key: signed.key.public() } })
    }

    /// An entry, and the proof that it is one of the first `size`; none where it is not.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn prove(&self, seq: u64, size: u64) -> Result<Option<Proven>, StoreError> {
        let mut tx = self.store.read().await?;
        let Head { size: most, .. } = tx.audit_head().await?;
        let (Some(index), true) = (seq.checked_sub(1), size <= most) else { return Ok(None) };
        let Some(spans) = inclusion(index, size) else { return Ok(None) };
        let Some(row) = tx.audit_after(index, 1).await?.pop() else { return Ok(None) };
        let path = hashes(&mut tx, &spans).await?;
        Ok(Some(Proven { row, path }))
    }

    async fn sign(&self, tx: &mut Tx, seal: &str) -> Result<Signed, KeyError> {
        let (number, head) = (tx.audit_key_count().await?, tx.audit_head().await?);
        let kept = self.signed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let key = match kept {
            Some(kept) if kept.number == number && kept.checkpoint.head() == head => return Ok(kept),
            Some(kept) if kept.number == number => kept.key,
            // Opening the key takes longer than signing.
            _ => Arc::new(key::newest(tx, seal).await?.1),
        };
        let checkpoint = Checkpoint::sign(head, &self.origin, &*key)?;
        let signed = Signed { number, key, checkpoint };
        *self.signed.lock().unwrap_or_else(PoisonError::into_inner) = Some(signed.clone());
        Ok(signed)
    }
}

/// The hashes of spans, each made of what is stored of it.
async fn hashes(tx: &mut Tx, spans: &[Span]) -> Result<Vec<Digest>, StoreError> {
    let covers: Vec<Vec<Place>> = spans.iter().map(Span::places).collect();
    let places: Vec<Place> = covers.iter().flatten().copied().collect();
    let mut stored = tx.audit_nodes(&places).await?.into_iter();
    let missing = || StoreError::Row { table: "audit_node", column: "number", problem: "an empty span".to_owned() };
    let mut hashes = Vec::with_capacity(spans.len());
    for (span, cover) in spans.iter().zip(&covers) {
        let parts: Vec<Digest> = stored.by_ref().take(cover.len()).collect();
        hashes.push(span.hash(parts.into_iter()).ok_or_else(missing)?);
    }
    Ok(hashes)
}
