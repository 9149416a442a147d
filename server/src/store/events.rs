//! Security events: what happened, how often, and how far each way out has got.

use jiff::Timestamp;
use suture_core::event::{Event, Kind, Observer, What};
use suture_core::id::{DeviceId, HdoId};
use suture_core::sign::PublicKey;

use super::{Lock, StoreError, Tx, from_ms, on, parsed, to_ms, to_u64};

const TABLE: &str = "event";

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Which; stays the same however often it grows.
    pub(crate) number: u64,
    /// Where it stands in the order of changes.
    pub(crate) seq: u64,
    /// The event.
    pub(crate) event: Event,
}

/// Which events are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of<'a> {
    /// Those of the server itself and of the manufacturer.
    Own,
    /// Those of a hospital.
    Hospital(&'a HdoId),
    /// All.
    All,
}

impl Of<'_> {
    /// The column, and whether it counts.
    fn bound(&self) -> (&str, bool) {
        match self {
            Self::Own => ("", false),
            Self::Hospital(hdo) => (hdo.as_str(), false),
            Self::All => ("", true),
        }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    number: i64,
    seq: i64,
    hdo: String,
    kind: String,
    observer: String,
    subject: String,
    detail: String,
    first_ms: i64,
    last_ms: i64,
    count: i64,
}

impl Row {
    fn read(self) -> Result<Kept, StoreError> {
        let bad = |column, problem: String| StoreError::Row { table: TABLE, column, problem };
        let kind = Kind::from_name(&self.kind).ok_or_else(|| bad("kind", format!("no kind {:?}", self.kind)))?;
        let observer = Observer::from_name(&self.observer)
            .ok_or_else(|| bad("observer", format!("no observer {:?}", self.observer)))?;
        let hdo = if self.hdo.is_empty() { None } else { Some(parsed(TABLE, "hdo", &self.hdo)?) };
        Ok(Kept {
            number: to_u64(TABLE, "number", self.number)?,
            seq: to_u64(TABLE, "seq", self.seq)?,
            event: Event {
                what: What { kind, observer, hdo, subject: self.subject, detail: self.detail },
                first: from_ms(TABLE, "first_ms", self.first_ms)?,
                last: from_ms(TABLE, "last_ms", self.last_ms)?,
                count: to_u64(TABLE, "count", self.count)?,
            },
        })
    }
}

/// The columns of [`Row`].
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT number, seq, hdo, kind, observer, subject, detail, first_ms, last_ms, count FROM event ", $rest)
    };
}

/// A count as a column holds it: nothing that is counted here gets near the end.
fn big(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn hdo_of(event: &Event) -> &str {
    event.what.hdo.as_ref().map_or("", HdoId::as_str)
}

impl Tx {
    /// Keeps events: each joins an equal one of the last hour, or is new. The order of changes is locked from here to the end
    /// of the transaction, so call it last.
    pub(crate) async fn put_events(&mut self, events: &[Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        self.lock(Lock::Events).await?;
        let (mut seq, mut number) = self.last_given().await?;
        for event in events {
            seq += 1;
            let digest = event.what.digest();
            let earlier = on!(self, |c| sqlx::query_as::<_, Row>(select!(
                "WHERE what_sha256 = $1 ORDER BY number DESC LIMIT 1"
            ))
            .bind(digest.as_bytes().as_slice())
            .fetch_optional(c)
            .await)?;
            match earlier.map(Row::read).transpose()?.filter(|earlier| earlier.event.takes(event)) {
                Some(earlier) => {
                    let count = earlier.event.count.saturating_add(event.count);
                    on!(self, |c| sqlx::query(
                        "UPDATE event SET seq = $2, first_ms = $3, last_ms = $4, count = $5 WHERE number = $1"
                    )
                    .bind(big(earlier.number))
                    .bind(seq)
                    .bind(to_ms(earlier.event.first.min(event.first)))
                    .bind(to_ms(earlier.event.last.max(event.last)))
                    .bind(big(count))
                    .execute(c)
                    .await
                    .map(drop))?;
                }
                None => {
                    number += 1;
                    on!(self, |c| sqlx::query(
                        "INSERT INTO event (number, seq, hdo, kind, severity, observer, subject, detail, what_sha256, \
                         first_ms, last_ms, count) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
                    )
                    .bind(number)
                    .bind(seq)
                    .bind(hdo_of(event))
                    .bind(event.what.kind.as_str())
                    .bind(i64::from(event.what.kind.severity().number()))
                    .bind(event.what.observer.as_str())
                    .bind(event.what.subject.as_str())
                    .bind(event.what.detail.as_str())
                    .bind(digest.as_bytes().as_slice())
                    .bind(to_ms(event.first))
                    .bind(to_ms(event.last))
                    .bind(big(event.count))
                    .execute(c)
                    .await
                    .map(drop))?;
                }
            }
        }
        on!(self, |c| sqlx::query("UPDATE event_last SET seq = $1, number = $2")
            .bind(seq)
            .bind(number)
            .execute(c)
            .await
            .map(drop))
    }

    /// The last place and the last number that were given, to events that are gone too: a way out would pass over an event whose
    /// place it has behind it. A server of before that table, not replaced yet, counts in the events alone.
    async fn last_given(&mut self) -> Result<(i64, i64), StoreError> {
        let given =
            on!(self, |c| sqlx::query_as::<_, (i64, i64)>("SELECT seq, number FROM event_last").fetch_one(c).await)?;
        let there = on!(self, |c| sqlx::query_as::<_, (i64, i64)>(
            "SELECT COALESCE(MAX(seq), 0), COALESCE(MAX(number), 0) FROM event"
        )
        .fetch_one(c)
        .await)?;
        Ok((given.0.max(there.0), given.1.max(there.1)))
    }

    /// Events behind a place in the order of changes and not before an instant, in that order.
    pub(crate) async fn events_after(
        &mut self,
        of: Of<'_>,
        after: u64,
        since: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<Kept>, StoreError> {
        let (hdo, all) = of.bound();
        let rows = on!(self, |c| sqlx::query_as::<_, Row>(select!(
            "WHERE (hdo = $1 OR $2) AND seq > $3 AND last_ms >= $4 ORDER BY seq LIMIT $5"
        ))
        .bind(hdo)
        .bind(all)
        .bind(big(after))
        .bind(since.map_or(0, to_ms))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?;
        rows.into_iter().map(Row::read).collect()
    }

    /// The newest events, newest first; `severity` is the least that is asked for.
    pub(crate) async fn newest_events(
        &mut self,
        of: Of<'_>,
        before: Option<u64>,
        severity: u8,
        limit: u32,
    ) -> Result<Vec<Kept>, StoreError> {
        let (hdo, all) = of.bound();
        let rows = on!(self, |c| sqlx::query_as::<_, Row>(select!(
            "WHERE (hdo = $1 OR $2) AND seq < $3 AND severity >= $4 ORDER BY seq DESC LIMIT $5"
        ))
        .bind(hdo)
        .bind(all)
        .bind(before.map_or(i64::MAX, big))
        .bind(i64::from(severity))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?;
        rows.into_iter().map(Row::read).collect()
    }

    /// Keeps no more than so many rows of a hospital, or with none of the server itself: the least grave go first, and of
    /// those the oldest. Says how many events were dropped, and counts them.
    pub(crate) async fn trim_events(&mut self, hdo: Option<&HdoId>, most: u64) -> Result<u64, StoreError> {
        let hdo = hdo.map_or("", HdoId::as_str);
        let there = on!(self, |c| sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM event WHERE hdo = $1")
            .bind(hdo)
            .fetch_one(c)
            .await)?;
        let surplus = to_u64(TABLE, "COUNT(*)", there)?.saturating_sub(most);
        if surplus == 0 {
            return Ok(0);
        }
        let dropped = on!(self, |c| sqlx::query_scalar::<_, i64>(
            "DELETE FROM event WHERE number IN \
             (SELECT number FROM event WHERE hdo = $1 ORDER BY severity, seq LIMIT $2) RETURNING count"
        )
        .bind(hdo)
        .bind(big(surplus))
        .fetch_all(c)
        .await)?;
        self.count_dropped(hdo, &dropped).await
    }

    /// The same of what one device has seen and signed.
    pub(crate) async fn trim_events_of(&mut self, hdo: &HdoId, subject: &str, most: u64) -> Result<u64, StoreError> {
        let dropped = on!(self, |c| {
            sqlx::query_scalar::<_, i64>(
            "DELETE FROM event WHERE number IN (SELECT number FROM event WHERE hdo = $1 AND subject = $2 AND observer = $3 \
             ORDER BY severity DESC, seq DESC LIMIT $4 OFFSET $5) RETURNING count"
        )
        .bind(hdo.as_str())
        .bind(subject)
        .bind(Observer::Device.as_str())
        .bind(i64::MAX)
        .bind(big(most))
        .fetch_all(c)
        .await
        })?;
        if dropped.is_empty() { Ok(0) } else { self.count_dropped(hdo.as_str(), &dropped).await }
    }

    async fn count_dropped(&mut self, hdo: &str, dropped: &[i64]) -> Result<u64, StoreError> {
        let dropped = dropped.iter().copied().fold(0_i64, i64::saturating_add);
        on!(self, |c| sqlx::query(
            "INSERT INTO event_dropped (hdo, dropped) VALUES ($1, $2) \
             ON CONFLICT (hdo) DO UPDATE SET dropped = event_dropped.dropped + excluded.dropped"
        )
        .bind(hdo)
        .bind(dropped)
        .execute(c)
        .await
        .map(drop))?;
        to_u64(TABLE, "count", dropped)
    }

    /// How many events were dropped because there were too many.
    pub(crate) async fn dropped_events(&mut self, hdo: Option<&HdoId>) -> Result<u64, StoreError> {
        let dropped = on!(self, |c| sqlx::query_scalar::<_, i64>("SELECT dropped FROM event_dropped WHERE hdo = $1")
            .bind(hdo.map_or("", HdoId::as_str))
            .fetch_optional(c)
            .await)?;
        to_u64("event_dropped", "dropped", dropped.unwrap_or(0))
    }

    /// How far a way out has got.
    pub(crate) async fn event_cursor(&mut self, way: &str) -> Result<u64, StoreError> {
        let seq = on!(self, |c| sqlx::query_scalar::<_, i64>("SELECT seq FROM event_cursor WHERE way = $1")
            .bind(way)
            .fetch_optional(c)
            .await)?;
        to_u64("event_cursor", "seq", seq.unwrap_or(0))
    }

    /// Says how far it has got.
    pub(crate) async fn set_event_cursor(&mut self, way: &str, seq: u64) -> Result<(), StoreError> {
        on!(self, |c| sqlx::query(
            "INSERT INTO event_cursor (way, seq) VALUES ($1, $2) ON CONFLICT (way) DO UPDATE SET seq = excluded.seq"
        )
        .bind(way)
        .bind(big(seq))
        .execute(c)
        .await
        .map(drop))
    }

    /// Up to which number a device's events are here, of this report key.
    pub(crate) async fn events_through(
        &mut self,
        hdo: &HdoId,
        device: &DeviceId,
        key: &PublicKey,
    ) -> Result<u64, StoreError> {
        let through = on!(self, |c| sqlx::query_scalar::<_, i64>(
            "SELECT through FROM event_through WHERE hdo = $1 AND device = $2 AND report_key = $3"
        )
        .bind(hdo.as_str())
        .bind(device.as_str())
        .bind(key.as_bytes().as_slice())
        .fetch_optional(c)
        .await)?;
        to_u64("event_through", "through", through.unwrap_or(0))
    }

    /// Says so.
    pub(crate) async fn set_events_through(
        &mut self,
        hdo: &HdoId,
        device: &DeviceId,
        key: &PublicKey,
        through: u64,
    ) -> Result<(), StoreError> {
        on!(self, |c| sqlx::query(
            "INSERT INTO event_through (hdo, device, report_key, through) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (hdo, device) DO UPDATE SET report_key = excluded.report_key, through = excluded.through"
        )
        .bind(hdo.as_str())
        .bind(device.as_str())
        .bind(key.as_bytes().as_slice())
        .bind(big(through))
        .execute(c)
        .await
        .map(drop))
    }
}
