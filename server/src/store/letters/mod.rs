//! What manufacturer and hospitals have written to one another, and how far each letter has come.

mod counts;
mod rows;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::{HdoId, ProductId};
use suture_core::notice::{Head, Side};
use suture_core::version::Release;

pub(crate) use counts::{ClocksOf, HospitalClocks, SentNotice};
pub(crate) use rows::{Answer, Kept, Step};

use super::{Store, StoreError, Tx, digest, on, parsed, to_i64, to_ms, to_u64};
use rows::Row;

pub(super) const TABLE: &str = "letter";

/// What of a letter stands in columns of its own.
#[derive(Debug, Clone)]
pub(crate) struct Placed<'a> {
    pub(crate) hdo: &'a HdoId,
    pub(crate) from: Side,
    pub(crate) head: Head,
    pub(crate) content: &'a [u8],
    pub(crate) kind: &'a str,
    /// What it is about, where it is about a product.
    pub(crate) product: Option<&'a ProductId>,
    /// The release that ends what it tells of.
    pub(crate) fixed_by: Option<Release>,
    /// A notice's.
    pub(crate) notice: Option<Digest>,
    /// Where an answer is due.
    pub(crate) answer_by: Option<Timestamp>,
}

/// A letter whose deadline is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overdue {
    pub(crate) hdo: HdoId,
    pub(crate) from: Side,
    pub(crate) number: u64,
    pub(crate) kind: String,
    pub(crate) answer_by: Timestamp,
    /// How often it was repeated already.
    pub(crate) repeats: u32,
}

impl Tx {
    /// The newest letter of one side.
    pub(crate) async fn letter_head(&mut self, hdo: &HdoId, from: Side) -> Result<Option<Head>, StoreError> {
        let row = on!(self, |c| {
            sqlx::query_as::<_, (i64, Vec<u8>)>(
                "SELECT number, sha256 FROM letter WHERE hdo = $1 AND sender = $2 ORDER BY number DESC LIMIT 1",
            )
            .bind(hdo.as_str())
            .bind(from.as_str())
            .fetch_optional(c)
            .await
        })?;
        row.map(|(number, sha256)| {
            Ok(Head { number: to_u64(TABLE, "number", number)?, sha256: digest(TABLE, "sha256", &sha256)? })
        })
        .transpose()
    }

    /// Keeps a letter, the one after [`Tx::letter_head`].
    pub(crate) async fn put_letter(&mut self, placed: &Placed<'_>, now: Timestamp) -> Result<(), StoreError> {
        let number = to_i64("a letter's number", placed.head.number)?;
        let fixed_by = placed.fixed_by.map(|r| to_i64("a release", r.0)).transpose()?;
        let answer_by = placed.answer_by.map(to_ms);
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO letter (hdo, sender, number, sha256, content, kind, product, fixed_by, notice_id, stored_ms, \
                 answer_by_ms, repeats, repeat_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $11)",
            )
            .bind(placed.hdo.as_str())
            .bind(placed.from.as_str())
            .bind(number)
            .bind(placed.head.sha256.as_bytes().as_slice())
            .bind(placed.content)
            .bind(placed.kind)
            .bind(placed.product.map_or("", ProductId::as_str))
            .bind(fixed_by)
            .bind(placed.notice.as_ref().map(|id| id.as_bytes().as_slice()))
            .bind(to_ms(now))
            .bind(answer_by)
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// One letter, with its content.
    pub(crate) async fn letter(&mut self, hdo: &HdoId, from: Side, number: u64) -> Result<Option<Kept>, StoreError> {
        let number = to_i64("a letter's number", number)?;
        let row = on!(self, |c| {
            sqlx::query_as::<_, Row>("SELECT * FROM letter WHERE hdo = $1 AND sender = $2 AND number = $3")
                .bind(hdo.as_str())
                .bind(from.as_str())
                .bind(number)
                .fetch_optional(c)
                .await
        })?;
        row.map(Row::read).transpose()
    }

    /// Marks what nobody has marked yet, up to a number, as delivered to somebody; the numbers of those.
    pub(crate) async fn deliver_letters(
        &mut self,
        (hdo, from): (&HdoId, Side),
        through: u64,
        by: &str,
        now: Timestamp,
    ) -> Result<Vec<u64>, StoreError> {
        let through = to_i64("a letter's number", through)?;
        let mut numbers = on!(self, |c| {
            sqlx::query_scalar::<_, i64>(
                "UPDATE letter SET delivered_ms = $4, delivered_by = $5 \
                 WHERE hdo = $1 AND sender = $2 AND number <= $3 AND delivered_ms IS NULL RETURNING number",
            )
            .bind(hdo.as_str())
            .bind(from.as_str())
            .bind(through)
            .bind(to_ms(now))
            .bind(by)
            .fetch_all(c)
            .await
        })?;
        numbers.sort_unstable();
        numbers.into_iter().map(|n| to_u64(TABLE, "number", n)).collect()
    }

    /// Marks one letter as delivered to somebody, if nobody has; whether nobody had.
    pub(crate) async fn deliver_letter(
        &mut self,
        place: (&HdoId, Side, u64),
        by: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mark = "UPDATE letter SET delivered_ms = $4, delivered_by = $5 \
                    WHERE hdo = $1 AND sender = $2 AND number = $3 AND delivered_ms IS NULL";
        self.mark_letter(mark, place, by, now).await
    }

    /// Marks a letter as opened by somebody, if nobody has; whether nobody had. What is opened has been delivered.
    pub(crate) async fn read_letter(
        &mut self,
        place: (&HdoId, Side, u64),
        by: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mark = "UPDATE letter SET read_ms = $4, read_by = $5, delivered_ms = COALESCE(delivered_ms, $4), \
                    delivered_by = COALESCE(delivered_by, $5) \
                    WHERE hdo = $1 AND sender = $2 AND number = $3 AND read_ms IS NULL";
        self.mark_letter(mark, place, by, now).await
    }

    async fn mark_letter(
        &mut self,
        mark: &'static str,
        (hdo, from, number): (&HdoId, Side, u64),
        by: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let number = to_i64("a letter's number", number)?;
        on!(self, |c| {
            sqlx::query(mark)
                .bind(hdo.as_str())
                .bind(from.as_str())
                .bind(number)
                .bind(to_ms(now))
                .bind(by)
                .execute(c)
                .await
                .map(|done| done.rows_affected() == 1)
        })
    }

    /// Keeps the answer to a letter, which is then repeated no more. A signed one takes the place of one that was not; no
    /// other does. Whether it was kept.
    pub(crate) async fn answer_letter(
        &mut self,
        (hdo, from, number): (&HdoId, Side, u64),
        answer: &Answer,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let number = to_i64("a letter's number", number)?;
        let by = answer.by.as_str();
        let marked = on!(self, |c| {
            sqlx::query(
                "UPDATE letter SET answered_ms = $4, answered_by = $5, answer = $6, answer_sha256 = $7, repeat_ms = NULL, \
                 read_ms = COALESCE(read_ms, $4), read_by = COALESCE(read_by, $5), \
                 delivered_ms = COALESCE(delivered_ms, $4), delivered_by = COALESCE(delivered_by, $5) \
                 WHERE hdo = $1 AND sender = $2 AND number = $3 AND answer_by_ms IS NOT NULL \
                 AND (answered_ms IS NULL OR (answer_sha256 IS NULL AND $8))",
            )
            .bind(hdo.as_str())
            .bind(from.as_str())
            .bind(number)
            .bind(to_ms(now))
            .bind(by)
            .bind(answer.text.as_str())
            .bind(answer.sha256.as_ref().map(|d| d.as_bytes().as_slice()))
            .bind(answer.sha256.is_some())
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        Ok(marked == 1)
    }

    /// Letters that are to be repeated by now, the longest overdue first.
    pub(crate) async fn overdue_letters(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Overdue>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, String, i64, String, i64, i64)>(
                "SELECT hdo, sender, number, kind, answer_by_ms, repeats FROM letter \
                 WHERE repeat_ms <= $1 AND answer_by_ms IS NOT NULL ORDER BY repeat_ms, hdo, sender, number LIMIT $2",
            )
            .bind(to_ms(now))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let read = |(hdo, sender, number, kind, answer_by, repeats): (String, String, i64, String, i64, i64)| {
            Ok(Overdue {
                hdo: parsed(TABLE, "hdo", &hdo)?,
                from: parsed(TABLE, "sender", &sender)?,
                number: to_u64(TABLE, "number", number)?,
                kind,
                answer_by: super::from_ms(TABLE, "answer_by_ms", answer_by)?,
                repeats: u32::try_from(repeats).unwrap_or(u32::MAX),
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Counts a repetition, and says when the next one is due, if one is.
    pub(crate) async fn repeat_letter(&mut self, overdue: &Overdue, next: Option<Timestamp>) -> Result<(), StoreError> {
        let number = to_i64("a letter's number", overdue.number)?;
        on!(self, |c| {
            sqlx::query(
                "UPDATE letter SET repeats = repeats + 1, repeat_ms = $4 WHERE hdo = $1 AND sender = $2 AND number = $3",
            )
            .bind(overdue.hdo.as_str())
            .bind(overdue.from.as_str())
            .bind(number)
            .bind(next.map(to_ms))
            .execute(c)
            .await
            .map(drop)
        })
    }
}

impl Store {
    /// Letters of one side after a number, ascending.
    pub(crate) async fn letters(
        &self,
        (hdo, from): (&HdoId, Side),
        after: u64,
        limit: u32,
    ) -> Result<Vec<Kept>, StoreError> {
        let after = to_i64("a letter's number", after)?;
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(
                "SELECT * FROM letter WHERE hdo = $1 AND sender = $2 AND number > $3 ORDER BY number LIMIT $4",
            )
            .bind(hdo.as_str())
            .bind(from.as_str())
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }

    /// Whether a letter is to be repeated by now, or a delivery is due.
    pub(crate) async fn letters_wait(&self, now: Timestamp) -> Result<bool, StoreError> {
        on!(self, |c| {
            sqlx::query_scalar::<_, bool>(
                "SELECT EXISTS (SELECT 1 FROM letter WHERE repeat_ms <= $1) \
                 OR EXISTS (SELECT 1 FROM delivery WHERE due_ms <= $1)",
            )
            .bind(to_ms(now))
            .fetch_one(c)
            .await
        })
    }

    /// How many letters of one side, of one hospital or of all, are to be answered and nobody has opened.
    pub(crate) async fn unread_letters(&self, hdo: Option<&HdoId>, from: Side) -> Result<u64, StoreError> {
        let count = on!(self, |c| {
            sqlx::query_scalar::<_, i64>(
                "SELECT COUNT(*) FROM letter WHERE sender = $1 AND ($2 = '' OR hdo = $2) \
                 AND answer_by_ms IS NOT NULL AND read_ms IS NULL",
            )
            .bind(from.as_str())
            .bind(hdo.map_or("", HdoId::as_str))
            .fetch_one(c)
            .await
        })?;
        to_u64(TABLE, "COUNT(*)", count)
    }
}
