//! What was uploaded, from before an object has bytes until it has none any more.
//!
//!     coming -> here -> held
//!     coming | here -> leaving -> (nothing)
//!
//! - The row is written before the object and deleted after it: no crash leaves an object that nothing names.
//! - What was listed or named once is held for ever.
//! - Whoever brings something, or is told that it is here, has a promise that it stays for a while.
//! - What is leaving is no chunk, index or document any more: its other rows are gone. Nothing comes under its name until the row is
//!   forgotten, and that is so long after its bytes were deleted that no other server can be about to delete them.
//! - Rows are locked in the order of their names, an index's own before those of its packs, so that nobody waits in a ring.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use suture_core::digest::Digest;

use super::{Driver, StoreError, Tx, digest, hex_list, on, text_list, to_i64, to_ms, to_u64, with_list, with_texts};

/// How long a name is kept after its bytes were deleted: longer than the longest call to a bucket, which another server may have begun
/// before.
const GONE_KEPT: SignedDuration = SignedDuration::from_hours(1);

/// The name of a pack's object.
pub(crate) fn pack_name(id: &str) -> String {
    format!("packs/{id}")
}

/// The name of an index's or a document's object.
pub(crate) fn document_name(sha256: &Digest) -> String {
    format!("documents/{sha256}")
}

/// Makes some leave: whoever holds a row keeps it. The last condition is the index's, which SQLite does not see to follow.
macro_rules! leave {
    ($of:literal, $lock:literal) => {
        concat!(
            "UPDATE upload SET state = 'leaving' WHERE state IN ('coming', 'here') AND promised_ms < $1 AND name IN \
             (SELECT u.name FROM upload u WHERE u.state IN ('coming', 'here') AND u.state <> 'held' \
             AND u.promised_ms < $1 ",
            $of,
            " ORDER BY u.promised_ms LIMIT $2 ",
            $lock,
            ") RETURNING name"
        )
    };
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
                 DO UPDATE SET promised_ms = CASE WHEN upload.promised_ms < excluded.promised_ms \
                 THEN excluded.promised_ms ELSE upload.promised_ms END WHERE upload.state <> 'leaving'",
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
                "UPDATE upload SET state = CASE WHEN state = 'held' THEN 'held' ELSE 'here' END, \
                 promised_ms = CASE WHEN promised_ms < $2 THEN $2 ELSE promised_ms END \
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

    /// Promises these packs anew. Gives those that are here, and whether they are held: any other has begun to leave.
    pub(crate) async fn promise(
        &mut self,
        packs: &[String],
        now: Timestamp,
    ) -> Result<HashMap<String, bool>, StoreError> {
        let list = text_list(&packs.iter().map(|id| pack_name(id)).collect::<Vec<_>>());
        self.lock_uploads(&list).await?;
        let update = with_texts!(
            self,
            "UPDATE upload SET promised_ms = $2 WHERE state = 'here' AND promised_ms < $2 AND name IN (",
            ")"
        );
        on!(self, |c| sqlx::query(update).bind(list.as_str()).bind(to_ms(now)).execute(c).await.map(drop))?;
        let select = with_texts!(
            self,
            "SELECT name, state = 'held' FROM upload WHERE state IN ('here', 'held') AND name IN (",
            ")"
        );
        let here = on!(self, |c| sqlx::query_as::<_, (String, bool)>(select).bind(list.as_str()).fetch_all(c).await)?;
        Ok(here.into_iter().filter_map(|(name, held)| Some((name.strip_prefix("packs/")?.to_owned(), held))).collect())
    }

    /// Waits for whoever changes these rows, where several write at once.
    async fn lock_uploads(&mut self, names: &str) -> Result<(), StoreError> {
        if let Driver::Postgres(c) = self.driver() {
            sqlx::query(
                "SELECT name FROM upload WHERE state IN ('coming', 'here') AND name IN \
                 (SELECT value FROM jsonb_array_elements_text($1::jsonb)) ORDER BY name FOR UPDATE",
            )
            .bind(names)
            .execute(c)
            .await?;
        }
        Ok(())
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

    /// Holds these indexes and documents for ever, and the packs of the indexes. Gives those that are not here as what they are.
    pub(crate) async fn hold(&mut self, indexes: &[Digest], documents: &[Digest]) -> Result<Vec<Digest>, StoreError> {
        let all: Vec<_> = indexes.iter().chain(documents).copied().collect();
        let names = text_list(&all.iter().map(document_name).collect::<Vec<_>>());
        self.lock_uploads(&names).await?;
        let update = with_texts!(
            self,
            "UPDATE upload SET state = 'held' WHERE state IN ('here', 'held') AND name IN (",
            ") RETURNING name"
        );
        let held = on!(self, |c| sqlx::query_scalar::<_, String>(update).bind(names.as_str()).fetch_all(c).await)?;
        let list = hex_list(indexes);
        let select = with_list!(self, "SELECT sha256 FROM document WHERE kind = 'index' AND sha256 IN (", ")");
        let known = on!(self, |c| sqlx::query_scalar::<_, Vec<u8>>(select).bind(list.as_str()).fetch_all(c).await)?;
        let select =
            with_list!(self, "SELECT 'packs/' || pack FROM index_pack WHERE index_sha256 IN (", ") GROUP BY pack");
        let packs = on!(self, |c| sqlx::query_scalar::<_, String>(select).bind(list.as_str()).fetch_all(c).await)?;
        let packs = text_list(&packs);
        self.lock_uploads(&packs).await?;
        let update = with_texts!(self, "UPDATE upload SET state = 'held' WHERE state = 'here' AND name IN (", ")");
        on!(self, |c| sqlx::query(update).bind(packs.as_str()).execute(c).await.map(drop))?;
        let is_here = |sha256: &Digest| held.contains(&document_name(sha256));
        let is_index = |sha256: &Digest| known.iter().any(|known| known.as_slice() == sha256.as_bytes().as_slice());
        let no_index = indexes.iter().filter(|sha256| !(is_here(sha256) && is_index(sha256)));
        Ok(no_index.chain(documents.iter().filter(|sha256| !is_here(sha256))).copied().collect())
    }

    /// Takes note that a pack's object is not here, as after a restore: its chunks are sent anew, and so are the indexes that have some.
    /// Nothing where it is held or leaving. Gives whether its rows are gone.
    pub(crate) async fn lose_pack(&mut self, pack: &str) -> Result<bool, StoreError> {
        let lost = on!(self, |c| {
            sqlx::query("UPDATE upload SET state = 'leaving' WHERE name = $1 AND state = 'here'")
                .bind(pack_name(pack))
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        if lost == 0 {
            return Ok(false);
        }
        let indexes = on!(self, |c| {
            sqlx::query_scalar::<_, Vec<u8>>("SELECT index_sha256 FROM index_pack WHERE pack = $1")
                .bind(pack)
                .fetch_all(c)
                .await
        })?;
        for index in indexes {
            let index = digest("index_pack", "index_sha256", &index)?;
            on!(self, |c| {
                sqlx::query("UPDATE upload SET state = 'coming' WHERE name = $1 AND state = 'here'")
                    .bind(document_name(&index))
                    .execute(c)
                    .await
                    .map(drop)
            })?;
            self.drop_document(&index).await?;
        }
        self.drop_pack(pack).await?;
        Ok(true)
    }

    async fn drop_document(&mut self, sha256: &Digest) -> Result<(), StoreError> {
        for statement in ["DELETE FROM index_pack WHERE index_sha256 = $1", "DELETE FROM document WHERE sha256 = $1"] {
            let key = sha256.as_bytes().as_slice();
            on!(self, |c| sqlx::query(statement).bind(key).execute(c).await.map(drop))?;
        }
        Ok(())
    }

    async fn drop_pack(&mut self, pack: &str) -> Result<(), StoreError> {
        for statement in ["DELETE FROM chunk WHERE pack = $1", "DELETE FROM pack WHERE id = $1"] {
            on!(self, |c| sqlx::query(statement).bind(pack).execute(c).await.map(drop))?;
        }
        Ok(())
    }

    /// Lets some indexes and documents leave that nobody was promised since `before`. Gives how many began to.
    pub(crate) async fn let_documents_leave(&mut self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let statement = match self.driver() {
            Driver::Sqlite(_) => leave!("AND u.name LIKE 'documents/%'", ""),
            Driver::Postgres(_) => leave!("AND u.name LIKE 'documents/%'", "FOR UPDATE SKIP LOCKED"),
        };
        let names = self.leave(statement, before, limit).await?;
        for name in &names {
            let sha256: Option<Digest> = name.strip_prefix("documents/").and_then(|text| text.parse().ok());
            let problem = || StoreError::Row { table: "upload", column: "name", problem: name.clone() };
            self.drop_document(&sha256.ok_or_else(problem)?).await?;
        }
        Ok(names.len() as u64)
    }

    /// The same of packs that no index which is here has chunks in.
    pub(crate) async fn let_packs_leave(&mut self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let statement = match self.driver() {
            Driver::Sqlite(_) => leave!(
                "AND u.name LIKE 'packs/%' AND NOT EXISTS (SELECT 1 FROM index_pack i \
                WHERE i.pack = SUBSTR(u.name, 7))",
                ""
            ),
            Driver::Postgres(_) => leave!(
                "AND u.name LIKE 'packs/%' AND NOT EXISTS (SELECT 1 FROM index_pack i \
                WHERE i.pack = SUBSTR(u.name, 7))",
                "FOR UPDATE SKIP LOCKED"
            ),
        };
        let names = self.leave(statement, before, limit).await?;
        for name in &names {
            self.drop_pack(name.strip_prefix("packs/").unwrap_or_default()).await?;
        }
        Ok(names.len() as u64)
    }

    async fn leave(
        &mut self,
        statement: &'static str,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        on!(self, |c| {
            sqlx::query_scalar::<_, String>(statement).bind(to_ms(before)).bind(i64::from(limit)).fetch_all(c).await
        })
    }

    /// Some of what is leaving, behind a name.
    pub(crate) async fn leaving(&mut self, after: &str, limit: u32) -> Result<Vec<Leaving>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, i64)>(
                "SELECT name, length FROM upload WHERE state = 'leaving' AND state <> 'held' AND name > $1 \
                 ORDER BY name LIMIT $2",
            )
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let read = |(name, length)| Ok(Leaving { name, length: to_u64("upload", "length", length)? });
        rows.into_iter().map(read).collect()
    }

    /// Whether its bytes are to be deleted: it is leaving, and nobody has deleted them.
    pub(crate) async fn is_to_be_deleted(&mut self, name: &str) -> Result<bool, StoreError> {
        let there = on!(self, |c| {
            sqlx::query_scalar::<_, i64>(
                "SELECT COUNT(*) FROM upload WHERE name = $1 AND state = 'leaving' AND gone_ms IS NULL",
            )
            .bind(name)
            .fetch_one(c)
            .await
        })?;
        Ok(there == 1)
    }

    /// Notes that its bytes are gone.
    pub(crate) async fn note_gone(&mut self, name: &str, now: Timestamp) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query("UPDATE upload SET gone_ms = $2 WHERE name = $1 AND state = 'leaving' AND gone_ms IS NULL")
                .bind(name)
                .bind(to_ms(now))
                .execute(c)
                .await
                .map(drop)
        })
    }

    /// Forgets what has left long enough ago.
    pub(crate) async fn forget_gone(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let before = now.saturating_sub(GONE_KEPT).unwrap_or(Timestamp::MIN);
        on!(self, |c| {
            sqlx::query("DELETE FROM upload WHERE state = 'leaving' AND state <> 'held' AND gone_ms < $1")
                .bind(to_ms(before))
                .execute(c)
                .await
                .map(drop)
        })
    }
}
