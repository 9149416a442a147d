//! Where hospitals want to be told, and what came of it.

use jiff::Timestamp;
use suture_core::id::{ContactName, HdoId};

use super::{Store, StoreError, Tx, from_ms, on, parsed, to_i64, to_ms, to_u64};

/// A contact, with what came of its deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) name: ContactName,
    pub(crate) url: String,
    /// Told only of what nobody answered in time.
    pub(crate) further: bool,
    pub(crate) by: String,
    pub(crate) added: Timestamp,
    /// Accepted, waiting, given up.
    pub(crate) counts: [u64; 3],
    /// What came of the last try.
    pub(crate) last: Option<(String, Timestamp)>,
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    url: String,
    further: bool,
    added_by: String,
    added_ms: i64,
    accepted: i64,
    waiting: i64,
    given_up: i64,
    last_outcome: Option<String>,
    last_ms: Option<i64>,
}

/// What is to be delivered, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) hdo: HdoId,
    pub(crate) number: u64,
    /// 0: the letter itself.
    pub(crate) repetition: u32,
    pub(crate) contact: ContactName,
    /// How often it was tried, this time among them.
    pub(crate) tries: u32,
    pub(crate) url: String,
    pub(crate) salt: Vec<u8>,
}

impl Due {
    /// The same for each try, so that a receiver can tell.
    pub(crate) fn id(&self) -> String {
        format!("{}.{}.{}", self.hdo, self.number, self.repetition)
    }
}

/// What came of a delivery so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) contact: ContactName,
    pub(crate) repetition: u32,
    pub(crate) tries: u32,
    pub(crate) outcome: String,
    pub(crate) accepted: bool,
    pub(crate) due: Option<Timestamp>,
    pub(crate) tried: Option<Timestamp>,
}

const TABLE: &str = "delivery";

fn small(n: i64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Tx {
    /// How many contacts a hospital has.
    pub(crate) async fn contact_count(&mut self, hdo: &HdoId) -> Result<u64, StoreError> {
        let count = on!(self, |c| {
            sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM contact WHERE hdo = $1")
                .bind(hdo.as_str())
                .fetch_one(c)
                .await
        })?;
        to_u64("contact", "COUNT(*)", count)
    }

    /// Adds a contact; false where there is one of that name.
    pub(crate) async fn put_contact(
        &mut self,
        hdo: &HdoId,
        (name, url, further): (&ContactName, &str, bool),
        salt: &[u8],
        (by, now): (&str, Timestamp),
    ) -> Result<bool, StoreError> {
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO contact (hdo, name, url, further, salt, added_by, added_ms) VALUES ($1, $2, $3, $4, $5, $6, $7) \
                 ON CONFLICT (hdo, name) DO NOTHING",
            )
            .bind(hdo.as_str())
            .bind(name.as_str())
            .bind(url)
            .bind(further)
            .bind(salt)
            .bind(by)
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected() == 1)
        })
    }

    /// Removes a contact with all that was delivered to it; false where there is none of that name.
    pub(crate) async fn drop_contact(&mut self, hdo: &HdoId, name: &ContactName) -> Result<bool, StoreError> {
        on!(self, |c| {
            sqlx::query("DELETE FROM delivery WHERE hdo = $1 AND contact = $2")
                .bind(hdo.as_str())
                .bind(name.as_str())
                .execute(c)
                .await
                .map(drop)
        })?;
        on!(self, |c| {
            sqlx::query("DELETE FROM contact WHERE hdo = $1 AND name = $2")
                .bind(hdo.as_str())
                .bind(name.as_str())
                .execute(c)
                .await
                .map(|done| done.rows_affected() == 1)
        })
    }

    /// Has a letter, or a repetition of it, delivered from now on: the letter itself to the hospital's first contacts, a
    /// repetition to all.
    pub(crate) async fn put_deliveries(
        &mut self,
        hdo: &HdoId,
        number: u64,
        repetition: u32,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let number = to_i64("a letter's number", number)?;
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO delivery (hdo, number, repetition, contact, due_ms, tries, outcome, accepted) \
                 SELECT x.hdo, $2, $3, x.name, $4, 0, 'not tried yet', FALSE FROM contact x \
                 WHERE x.hdo = $1 AND ($3 > 0 OR NOT x.further)",
            )
            .bind(hdo.as_str())
            .bind(number)
            .bind(i64::from(repetition))
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// What is due by now, the longest first.
    pub(crate) async fn due_deliveries(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Due>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, i64, i64, String, i64, String, Vec<u8>)>(
                "SELECT d.hdo, d.number, d.repetition, d.contact, d.tries + 1, x.url, x.salt \
                 FROM delivery d JOIN contact x ON x.hdo = d.hdo AND x.name = d.contact WHERE d.due_ms <= $1 \
                 ORDER BY d.due_ms, d.hdo, d.number, d.repetition, d.contact LIMIT $2",
            )
            .bind(to_ms(now))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let read =
            |(hdo, number, repetition, contact, tries, url, salt): (String, i64, i64, String, i64, String, Vec<u8>)| {
                Ok(Due {
                    hdo: parsed(TABLE, "hdo", &hdo)?,
                    number: to_u64(TABLE, "number", number)?,
                    repetition: small(repetition),
                    contact: parsed(TABLE, "contact", &contact)?,
                    tries: small(tries),
                    url,
                    salt,
                })
            };
        rows.into_iter().map(read).collect()
    }

    /// Writes down that a delivery is tried now, and when again if nothing is heard of this try; none: it was the last.
    pub(crate) async fn try_delivery(
        &mut self,
        due: &Due,
        again: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let number = to_i64("a letter's number", due.number)?;
        on!(self, |c| {
            sqlx::query(
                "UPDATE delivery SET tries = $5, due_ms = $6, tried_ms = $7, outcome = 'nothing was heard of the last try' \
                 WHERE hdo = $1 AND number = $2 AND repetition = $3 AND contact = $4",
            )
            .bind(due.hdo.as_str())
            .bind(number)
            .bind(i64::from(due.repetition))
            .bind(due.contact.as_str())
            .bind(i64::from(due.tries))
            .bind(again.map(to_ms))
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Writes down what came of a try; one that was accepted is over.
    pub(crate) async fn end_delivery(&mut self, due: &Due, outcome: &str, accepted: bool) -> Result<(), StoreError> {
        let number = to_i64("a letter's number", due.number)?;
        on!(self, |c| {
            sqlx::query(
                "UPDATE delivery SET outcome = $5, accepted = $6, due_ms = CASE WHEN $6 THEN NULL ELSE due_ms END \
                 WHERE hdo = $1 AND number = $2 AND repetition = $3 AND contact = $4",
            )
            .bind(due.hdo.as_str())
            .bind(number)
            .bind(i64::from(due.repetition))
            .bind(due.contact.as_str())
            .bind(outcome)
            .bind(accepted)
            .execute(c)
            .await
            .map(drop)
        })
    }
}

impl Store {
    /// A hospital's contacts, by name.
    pub(crate) async fn contacts(&self, hdo: &HdoId) -> Result<Vec<Contact>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(
                "SELECT x.name, x.url, x.further, x.added_by, x.added_ms, \
                 (SELECT COUNT(*) FROM delivery d WHERE d.hdo = x.hdo AND d.contact = x.name AND d.accepted) AS accepted, \
                 (SELECT COUNT(*) FROM delivery d WHERE d.hdo = x.hdo AND d.contact = x.name AND d.due_ms IS NOT NULL) \
                  AS waiting, \
                 (SELECT COUNT(*) FROM delivery d WHERE d.hdo = x.hdo AND d.contact = x.name AND d.due_ms IS NULL \
                  AND NOT d.accepted) AS given_up, l.outcome AS last_outcome, l.tried_ms AS last_ms \
                 FROM contact x LEFT JOIN delivery l ON l.hdo = x.hdo AND l.contact = x.name AND l.number * 100 + l.repetition \
                  = (SELECT MAX(d.number * 100 + d.repetition) FROM delivery d WHERE d.hdo = x.hdo AND d.contact = x.name \
                   AND d.tried_ms IS NOT NULL) \
                 WHERE x.hdo = $1 ORDER BY x.name",
            )
            .bind(hdo.as_str())
            .fetch_all(c)
            .await
        })?;
        let read = |row: Row| {
            let count = |n| to_u64(TABLE, "COUNT(*)", n);
            let last = match (row.last_outcome, row.last_ms) {
                (Some(outcome), Some(ms)) => Some((outcome, from_ms(TABLE, "tried_ms", ms)?)),
                _ => None,
            };
            Ok(Contact {
                name: parsed("contact", "name", &row.name)?,
                url: row.url,
                further: row.further,
                by: row.added_by,
                added: from_ms("contact", "added_ms", row.added_ms)?,
                counts: [count(row.accepted)?, count(row.waiting)?, count(row.given_up)?],
                last,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// What came of the deliveries of a letter.
    pub(crate) async fn deliveries(&self, hdo: &HdoId, number: u64) -> Result<Vec<Delivery>, StoreError> {
        let number = to_i64("a letter's number", number)?;
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, i64, i64, String, bool, Option<i64>, Option<i64>)>(
                "SELECT contact, repetition, tries, outcome, accepted, due_ms, tried_ms FROM delivery \
                 WHERE hdo = $1 AND number = $2 ORDER BY repetition, contact",
            )
            .bind(hdo.as_str())
            .bind(number)
            .fetch_all(c)
            .await
        })?;
        type Read = (String, i64, i64, String, bool, Option<i64>, Option<i64>);
        let read = |(contact, repetition, tries, outcome, accepted, due, tried): Read| {
            let at = |column, ms: Option<i64>| ms.map(|ms| from_ms(TABLE, column, ms)).transpose();
            Ok(Delivery {
                contact: parsed(TABLE, "contact", &contact)?,
                repetition: small(repetition),
                tries: small(tries),
                outcome,
                accepted,
                due: at("due_ms", due)?,
                tried: at("tried_ms", tried)?,
            })
        };
        rows.into_iter().map(read).collect()
    }
}
