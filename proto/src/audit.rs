//! The audit record's messages.

use suture_core::audit::{Head, Leaf, News, Witness};
use suture_core::digest::Digest;

use crate::{Invalid, parse_digest, v1};

impl From<&Witness> for v1::AuditSeen {
    fn from(witness: &Witness) -> Self {
        let Witness { key, checkpoint: _, head } = witness;
        let (size, root) = head.map_or((0, Vec::new()), |head| (head.size, head.root.as_bytes().to_vec()));
        Self { size, root: root.into(), key: key.key.as_bytes().to_vec().into(), show: false }
    }
}

impl From<&News> for v1::AuditNews {
    fn from(news: &News) -> Self {
        let News { checkpoint, consistency, succession } = news;
        Self {
            checkpoint: checkpoint.clone(),
            consistency: consistency.iter().map(|hash| hash.as_bytes().to_vec().into()).collect(),
            succession: succession.clone(),
            key: String::new(),
        }
    }
}

impl TryFrom<v1::AuditNews> for News {
    type Error = Invalid;
    fn try_from(news: v1::AuditNews) -> Result<Self, Invalid> {
        let v1::AuditNews { checkpoint, consistency, succession, key: _ } = news;
        let consistency = hashes("consistency", &consistency)?;
        Ok(Self { checkpoint, consistency, succession })
    }
}

/// What somebody says that he remembers; none where he remembers nothing.
pub fn head_seen(seen: &v1::AuditSeen) -> Result<Option<Head>, Invalid> {
    if seen.size == 0 {
        return Ok(None);
    }
    Ok(Some(Head { size: seen.size, root: parse_digest("root", &seen.root)? }))
}

/// A proof's hashes.
pub fn hashes<B: AsRef<[u8]>>(field: &'static str, hashes: &[B]) -> Result<Vec<Digest>, Invalid> {
    hashes.iter().map(|hash| parse_digest(field, hash.as_ref())).collect()
}

impl TryFrom<v1::AuditEntry> for Leaf {
    type Error = Invalid;
    fn try_from(entry: v1::AuditEntry) -> Result<Self, Invalid> {
        let v1::AuditEntry { seq, payload, root, payload_sha256, pruned: _ } = entry;
        Ok(Self {
            seq,
            payload: (!payload.is_empty()).then(|| payload.to_vec()),
            payload_sha256: parse_digest("payload_sha256", &payload_sha256)?,
            root: parse_digest("root", &root)?,
        })
    }
}
