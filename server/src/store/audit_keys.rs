//! The keys that sign the audit record's checkpoints: the newest sealed, the others as their public halves.

use jiff::Timestamp;
use suture_core::sign::PublicKey;

use super::{StoreError, Tx, on, to_ms, to_u64};

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditKeyRow {
    /// Counts up by one, from 1.
    pub number: u64,
    /// The public half.
    pub public: PublicKey,
    /// PKCS#8 PEM, encrypted under the seal key; the newest key's alone.
    pub sealed: Option<String>,
    /// The note by which the key before names it; the first has none.
    pub change: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    number: i64,
    public_key: Vec<u8>,
    sealed: Option<String>,
    change: Option<String>,
}

impl Row {
    fn read(self) -> Result<AuditKeyRow, StoreError> {
        let Self { number, public_key, sealed, change } = self;
        let public = PublicKey::from_bytes(&public_key).map_err(|e| StoreError::Row {
            table: "audit_key",
            column: "public_key",
            problem: e.to_string(),
        })?;
        Ok(AuditKeyRow { number: to_u64("audit_key", "number", number)?, public, sealed, change })
    }
}

impl Tx {
    /// All keys, oldest first.
    pub async fn audit_keys(&mut self) -> Result<Vec<AuditKeyRow>, StoreError> {
        let rows = on!(self, |c| sqlx::query_as::<_, Row>(
            "SELECT number, public_key, sealed, change FROM audit_key ORDER BY number"
        )
        .fetch_all(c)
        .await)?;
        rows.into_iter().map(Row::read).collect()
    }

    /// How many keys there have been.
    pub async fn audit_key_count(&mut self) -> Result<u64, StoreError> {
        let count: i64 = on!(self, |c| sqlx::query_scalar("SELECT COUNT(*) FROM audit_key").fetch_one(c).await)?;
        to_u64("audit_key", "number", count)
    }

    /// Puts a key in force. The private halves of those before it are gone with that.
    pub async fn put_audit_key(&mut self, key: &AuditKeyRow, now: Timestamp) -> Result<(), StoreError> {
        let number = super::to_i64("audit key", key.number)?;
        on!(self, |c| sqlx::query("UPDATE audit_key SET sealed = NULL").execute(c).await.map(drop))?;
        on!(self, |c| sqlx::query(
            "INSERT INTO audit_key (number, public_key, sealed, change, created_ms) VALUES ($1, $2, $3, $4, $5)"
        )
        .bind(number)
        .bind(key.public.as_bytes().as_slice())
        .bind(key.sealed.as_deref())
        .bind(key.change.as_deref())
        .bind(to_ms(now))
        .execute(c)
        .await
        .map(drop))
    }
}
