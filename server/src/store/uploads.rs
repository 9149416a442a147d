//! What was uploaded, from before an object has bytes until it has none any more.
//!
//!     coming -> here -> held
//!     coming | here -> leaving -> (nothing)
//!
//! - The row is written before the object and deleted after it: no crash leaves an object that nothing names.
//! - What was listed or named once is held for ever.
//! - Whoever brings something, or is told that it is here, has a promise that it stays for a while.
//! - What is leaving is no chunk, index or document any more: its other rows are gone.

use std::collections::HashSet;

use jiff::Timestamp;
use suture_core::digest::Digest;

use super::{StoreError, Tx, hex_list, on, text_list, to_i64, to_ms, to_u64, with_list, with_texts};

/// The name of a pack's object.
pub(crate) fn pack_name(id: &str) -> String {
    format!("packs/{id}")
}

/// The name of an index's or a document's object.
pub(crate) fn document_name(sha256: &Digest) -> String {
    format!("documents/{sha256}")
}

/// An object that is being deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaving {
    /// Its name.
    pub(crate) name: String,
    /// Its length in bytes.
    pub(crate) length: u64,
}

impl Tx {
    /// Announces an object that is about to be written, and promises it from now on. Whether it may be: not while it is being
    /// deleted.
    pub(crate) async fn announce(&mut self, name: &str, length: u64, now: Timestamp) -> Result<bool, StoreError> {
        let length = to_i64("an object's length", length)?;
        let there = on!(self, |c| {
            sqlx::query(
                "INSERT INTO upload (name, state, length, promised_ms) VALUES ($1, 'coming', $2, $3) ON CONFLICT (name) \
                 DO UPDATE SET promised_ms = excluded.promised_ms WHERE upload.state <> 'leaving'",
            )
            .bind(name)
            .bind(length)
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        Ok(there == 1)
    }

    /// Says that its bytes are here. Whether they are: it may have begun to leave since it was announced.
    pub(crate) async fn arrive(&mut self, name: &str, now: Timestamp) -> Result<bool, StoreError> {
        let there = on!(self, |c| {
            sqlx::query(
                "UPDATE upload SET state = CASE WHEN state = 'held' THEN 'held' ELSE 'here' END, promised_ms = $2 \
                 WHERE name = $1 AND state <> 'leaving'",
            )
            .bind(name)
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        Ok(there == 1)
    }

    /// Promises these packs anew. Gives those that are here: any other has begun to leave.
    pub(crate) async fn promise(&mut self, packs: &[String], now: Timestamp) -> Result<HashSet<String>, StoreError> {
        let list = text_list(&packs.iter().map(|id| pack_name(id)).collect::<Vec<_>>());
        let update = with_texts!(
            self,
            "UPDATE upload SET promised_ms = $2 WHERE state IN ('here', 'held') AND name IN (",
            ") RETURNING name"
        );
        let here = on!(self, |c| {
            sqlx::query_scalar::<_, String>(update).bind(list.as_str()).bind(to_ms(now)).fetch_all(c).await
        })?;
        Ok(here.into_iter().filter_map(|name| name.strip_prefix("packs/").map(str::to_owned)).collect())
    }

    /// Notes in which packs an index's chunks lie. The index is a document here already.
    pub(crate) async fn put_index_packs(&mut self, index: &Digest, packs: &[String]) -> Result<(), StoreError> {
        for pack in packs {
            on!(self, |c| {
                sqlx::query("INSERT INTO index_pack (index_sha256, pack) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                    .bind(index.as_bytes().as_slice())
                    .bind(pack.as_str())
                    .execute(c)
                    .await
                    .map(drop)
            })?;
        }
        Ok(())
    }

    /// Holds these indexes and documents for ever, and the packs of the indexes. Gives those that are not here.
    pub(crate) async fn hold(&mut self, documents: &[Digest]) -> Result<Vec<Digest>, StoreError> {
        let names = text_list(&documents.iter().map(document_name).collect::<Vec<_>>());
        let update = with_texts!(
            self,
            "UPDATE upload SET state = 'held' WHERE state IN ('here', 'held') AND name IN (",
            ") RETURNING name"
        );
        let held = on!(self, |c| sqlx::query_scalar::<_, String>(update).bind(names.as_str()).fetch_all(c).await)?;
        let indexes = hex_list(documents);
        let update = with_list!(
            self,
            "UPDATE upload SET state = 'held' WHERE state = 'here' AND name IN \
             (SELECT 'packs/' || pack FROM index_pack WHERE index_sha256 IN (",
            "))"
        );
        on!(self, |c| sqlx::query(update).bind(indexes.as_str()).execute(c).await.map(drop))?;
        Ok(documents.iter().filter(|sha256| !held.contains(&document_name(sha256))).copied().collect())
    }

    /// Lets some of what nobody was promised since `before` leave: indexes and documents first, then packs that no index that
    /// is here has chunks in. Gives how many began to.
    pub(crate) async fn let_leave(&mut self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let documents = on!(self, |c| {
            sqlx::query_scalar::<_, String>(
                "UPDATE upload SET state = 'leaving' WHERE state IN ('coming', 'here') AND promised_ms < $1 AND name IN \
                 (SELECT name FROM upload WHERE state IN ('coming', 'here') AND promised_ms < $1 \
                 AND name LIKE 'documents/%' ORDER BY promised_ms LIMIT $2) RETURNING name",
            )
            .bind(to_ms(before))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        for name in &documents {
            let sha256: Option<Digest> = name.strip_prefix("documents/").and_then(|text| text.parse().ok());
            let sha256 =
                sha256.ok_or_else(|| StoreError::Row { table: "upload", column: "name", problem: name.clone() })?;
            for statement in
                ["DELETE FROM index_pack WHERE index_sha256 = $1", "DELETE FROM document WHERE sha256 = $1"]
            {
                let key = sha256.as_bytes().as_slice();
                on!(self, |c| sqlx::query(statement).bind(key).execute(c).await.map(drop))?;
            }
        }
        // The promise is looked at again outside, since it may have been made anew while this waited for its row.
        let packs = on!(self, |c| {
            sqlx::query_scalar::<_, String>(
                "UPDATE upload SET state = 'leaving' WHERE state IN ('coming', 'here') AND promised_ms < $1 AND name IN \
                 (SELECT u.name FROM upload u WHERE u.state IN ('coming', 'here') AND u.promised_ms < $1 \
                 AND u.name LIKE 'packs/%' AND NOT EXISTS \
                 (SELECT 1 FROM index_pack i WHERE i.pack = SUBSTR(u.name, 7)) ORDER BY u.promised_ms LIMIT $2) \
                 RETURNING name",
            )
            .bind(to_ms(before))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        for name in &packs {
            let id = name.strip_prefix("packs/").unwrap_or_default();
            for statement in ["DELETE FROM chunk WHERE pack = $1", "DELETE FROM pack WHERE id = $1"] {
                on!(self, |c| sqlx::query(statement).bind(id).execute(c).await.map(drop))?;
            }
        }
        Ok((documents.len() + packs.len()) as u64)
    }

    /// Some of what is leaving.
    pub(crate) async fn leaving(&mut self, limit: u32) -> Result<Vec<Leaving>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, i64)>(
                "SELECT name, length FROM upload WHERE state = 'leaving' ORDER BY promised_ms, name LIMIT $1",
            )
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let read = |(name, length)| Ok(Leaving { name, length: to_u64("upload", "length", length)? });
        rows.into_iter().map(read).collect()
    }

    /// Forgets what has left.
    pub(crate) async fn forget(&mut self, name: &str) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query("DELETE FROM upload WHERE name = $1 AND state = 'leaving'")
                .bind(name)
                .execute(c)
                .await
                .map(drop)
        })
    }
}
