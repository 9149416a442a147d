//! Chunks, the packs that they lie in, and the indexes and documents that are stored whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use suture_core::digest::Digest;

use super::{Store, StoreError, Tx, digest, hex_list, on, text_list, to_i64, to_ms, to_u64, with_list, with_texts};

/// Where a chunk lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The pack, a blob's name.
    pub(crate) pack: Arc<str>,
    /// Where it begins in the pack, in bytes.
    pub(crate) offset: u64,
    /// Its length in stored form.
    pub(crate) stored_length: u32,
    /// Its length in raw form.
    pub(crate) raw_length: u32,
}

/// What a stored document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    /// A chunk index, all of whose chunks are there.
    Index,
    /// Something for people.
    Document,
}

impl DocumentKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Document => "document",
        }
    }
}

/// Digests looked up by one statement.
const LOOKUP: usize = 4_096;

#[derive(sqlx::FromRow)]
struct PlaceRow {
    sha256: Vec<u8>,
    pack: String,
    pack_offset: i64,
    stored_length: i64,
    raw_length: i64,
}

impl PlaceRow {
    fn read(self, packs: &mut HashSet<Arc<str>>) -> Result<(Digest, Place), StoreError> {
        let small = |column, value: i64| {
            u32::try_from(value).map_err(|_| StoreError::Row { table: "chunk", column, problem: value.to_string() })
        };
        // Thousands of chunks share a pack; its name is kept once.
        let pack = match packs.get(self.pack.as_str()) {
            Some(pack) => pack.clone(),
            None => {
                let pack: Arc<str> = self.pack.into();
                packs.insert(pack.clone());
                pack
            }
        };
        let place = Place {
            pack,
            offset: to_u64("chunk", "pack_offset", self.pack_offset)?,
            stored_length: small("stored_length", self.stored_length)?,
            raw_length: small("raw_length", self.raw_length)?,
        };
        Ok((digest("chunk", "sha256", &self.sha256)?, place))
    }
}

impl Store {
    /// Where these chunks lie; those that are not there are missing from the answer.
    pub(crate) async fn places(&self, wanted: &[Digest]) -> Result<HashMap<Digest, Place>, StoreError> {
        let text = with_list!(
            self,
            "SELECT sha256, pack, pack_offset, stored_length, raw_length FROM chunk WHERE sha256 IN (",
            ")"
        );
        let (mut places, mut packs) = (HashMap::with_capacity(wanted.len()), HashSet::new());
        for some in wanted.chunks(LOOKUP) {
            let list = hex_list(some);
            let rows = on!(self, |c| sqlx::query_as::<_, PlaceRow>(text).bind(list.as_str()).fetch_all(c).await)?;
            for row in rows {
                let (sha256, place) = row.read(&mut packs)?;
                places.insert(sha256, place);
            }
        }
        Ok(places)
    }

    /// How long these packs are.
    pub(crate) async fn pack_lengths(&self, packs: &[String]) -> Result<Vec<(String, u64)>, StoreError> {
        let text = with_texts!(self, "SELECT id, length FROM pack WHERE id IN (", ")");
        let mut lengths = Vec::with_capacity(packs.len());
        for some in packs.chunks(LOOKUP) {
            let list = text_list(some);
            let rows = on!(self, |c| sqlx::query_as::<_, (String, i64)>(text).bind(list.as_str()).fetch_all(c).await)?;
            for (id, length) in rows {
                lengths.push((id, to_u64("pack", "length", length)?));
            }
        }
        Ok(lengths)
    }

    /// The kind and length of a stored document.
    pub(crate) async fn document(&self, sha256: &Digest) -> Result<Option<(DocumentKind, u64)>, StoreError> {
        let row = on!(self, |c| {
            sqlx::query_as::<_, (String, i64)>("SELECT kind, length FROM document WHERE sha256 = $1")
                .bind(sha256.as_bytes().as_slice())
                .fetch_optional(c)
                .await
        })?;
        row.map(|(kind, length)| {
            let kind = match kind.as_str() {
                "index" => DocumentKind::Index,
                "document" => DocumentKind::Document,
                _ => return Err(StoreError::Row { table: "document", column: "kind", problem: kind }),
            };
            Ok((kind, to_u64("document", "length", length)?))
        })
        .transpose()
    }
}

impl Tx {
    /// Records a pack and the chunks in it. A chunk that another pack brought meanwhile keeps its place there, unless that is one
    /// that is `lost`.
    pub(crate) async fn put_pack(
        &mut self,
        (pack, length): (&str, u64),
        chunks: &[(Digest, Place)],
        lost: &HashMap<Digest, Place>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let length = to_i64("a pack's length", length)?;
        on!(self, |c| {
            sqlx::query("INSERT INTO pack (id, length, stored_ms) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING")
                .bind(pack)
                .bind(length)
                .bind(to_ms(now))
                .execute(c)
                .await
                .map(drop)
        })?;
        for (sha256, place) in chunks {
            let offset = to_i64("a chunk's offset", place.offset)?;
            let instead_of = lost.get(sha256).map_or("", |place| &*place.pack);
            on!(self, |c| {
                sqlx::query(
                    "INSERT INTO chunk (sha256, pack, pack_offset, stored_length, raw_length) \
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (sha256) DO UPDATE SET pack = excluded.pack, \
                     pack_offset = excluded.pack_offset, stored_length = excluded.stored_length, \
                     raw_length = excluded.raw_length WHERE chunk.pack = $6",
                )
                .bind(sha256.as_bytes().as_slice())
                .bind(&*place.pack)
                .bind(offset)
                .bind(i64::from(place.stored_length))
                .bind(i64::from(place.raw_length))
                .bind(instead_of)
                .execute(c)
                .await
                .map(drop)
            })?;
        }
        Ok(())
    }

    /// Which of these indexes and documents are not here as what they are.
    pub(crate) async fn lacking(
        &mut self,
        indexes: &[Digest],
        documents: &[Digest],
    ) -> Result<Vec<Digest>, StoreError> {
        let mut lacking = Vec::new();
        for (wanted, is_index) in [(indexes, true), (documents, false)] {
            for sha256 in wanted {
                let kind = on!(self, |c| {
                    sqlx::query_scalar::<_, String>("SELECT kind FROM document WHERE sha256 = $1")
                        .bind(sha256.as_bytes().as_slice())
                        .fetch_optional(c)
                        .await
                })?;
                if kind.is_none_or(|kind| is_index && kind != DocumentKind::Index.as_str()) {
                    lacking.push(*sha256);
                }
            }
        }
        Ok(lacking)
    }

    /// Records a document whose blob is in place. What was sent as a document becomes an index where it is sent as one.
    pub(crate) async fn put_document(
        &mut self,
        sha256: &Digest,
        kind: DocumentKind,
        length: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let length = to_i64("a document's length", length)?;
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO document (sha256, kind, length, stored_ms) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (sha256) DO UPDATE SET kind = 'index' \
                 WHERE excluded.kind = 'index' AND document.kind <> 'index'",
            )
            .bind(sha256.as_bytes().as_slice())
            .bind(kind.as_str())
            .bind(length)
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })?;
        Ok(())
    }
}
