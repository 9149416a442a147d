//! Which devices of a hospital run which bundles, and where each stands in the rollouts of others.
//!
//! What a device runs is `runs_manifest`: by its signed reports, where the roster has its key, else by its check-ins. Counts come
//! from the index on that column and one pass over the rollouts' devices; lists come in pages of one bundle each.

use std::collections::BTreeMap;

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::exposure::why::{Course, Place};
use suture_core::id::{ApprovalId, DeviceId, HdoId, ProductId, WardId};
use suture_core::limits::MAX_QUESTION_ROLLOUTS;
use suture_core::phase::Phase;
use suture_core::rollout::{Standing, State};
use suture_core::version::{Release, Version};

use super::super::{
    Driver, StoreError, Tx, digest, from_ms, hex_list, on, parsed, text_list, to_ms, to_u64, with_list, with_texts,
};

/// How many devices run a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) manifest: Digest,
    /// Of these, by reports that their keys have signed.
    pub(crate) proven: u64,
    /// By what they said at a check-in.
    pub(crate) believed: u64,
}

/// A rollout that leads to one of the bundles that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FixRollout {
    pub(crate) id: ApprovalId,
    pub(crate) product: ProductId,
    pub(crate) release: Release,
    pub(crate) version: Version,
    pub(crate) state: State,
    pub(crate) course: Course,
    pub(crate) wave: u32,
    pub(crate) waves: u32,
    pub(crate) expires: Timestamp,
    pub(crate) devices: u64,
    pub(crate) confirmed: u64,
    pub(crate) failed: u64,
}

/// Devices that run one bundle and stand alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) manifest: Digest,
    pub(crate) proven: bool,
    pub(crate) place: Option<Place>,
    pub(crate) devices: u64,
}

/// A device that runs one of the bundles that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exposed {
    pub(crate) device: DeviceId,
    pub(crate) ward: WardId,
    pub(crate) proven: bool,
    pub(crate) last_seen: Option<Timestamp>,
    /// Its place in the rollout that is nearest, and which that is.
    pub(crate) place: Option<(ApprovalId, Place)>,
    /// How far it got in it, and what it says of that.
    pub(crate) phase: Option<Phase>,
    pub(crate) reason_code: Option<String>,
    pub(crate) reason_text: Option<String>,
}

/// The counts behind the list of rollouts; what stands between are the bundles that are asked about.
macro_rules! groups {
    ($exposed:literal) => {
        concat!(
            "nearest AS (SELECT m.device, MIN(f.place * 8 + CASE m.standing WHEN 'awaited' THEN 0 WHEN 'begun' THEN 1 \
             WHEN 'confirmed' THEN 2 WHEN 'failed' THEN 3 WHEN 'retrying' THEN 4 WHEN 'timed_out' THEN 5 \
             WHEN 'missed' THEN 6 ELSE 7 END) AS stands FROM fix f \
             JOIN rollout_device m ON m.hdo = $3 AND m.rollout = f.id GROUP BY m.device) \
             SELECT d.runs_manifest, d.proven_manifest IS NOT NULL AS proven, n.stands, COUNT(*) \
             FROM device d LEFT JOIN nearest n ON n.device = d.id \
             WHERE d.hdo = $3 AND d.state NOT IN ('revoked', 'decommissioned') AND d.runs_manifest IN (",
            $exposed,
            ") GROUP BY d.runs_manifest, d.proven_manifest IS NOT NULL, n.stands"
        )
    };
}

#[derive(sqlx::FromRow)]
struct RolloutRow {
    id: String,
    product: String,
    release: i64,
    version: String,
    state: String,
    wave: i64,
    waves: i64,
    expires_ms: i64,
    devices: i64,
    confirmed: i64,
    failed: i64,
}

#[derive(sqlx::FromRow)]
struct DeviceRow {
    id: String,
    ward: String,
    proven: bool,
    last_seen_ms: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct PlaceRow {
    device: String,
    rollout: String,
    standing: String,
    phase: String,
    reason_code: Option<String>,
    reason_text: Option<String>,
}

fn count(n: i64) -> Result<u64, StoreError> {
    to_u64("device", "COUNT(*)", n)
}

fn small(column: &'static str, n: i64) -> Result<u32, StoreError> {
    u32::try_from(n).map_err(|_| StoreError::Row { table: "rollout", column, problem: format!("{n}") })
}

fn standing(name: &str) -> Result<Standing, StoreError> {
    let problem = || format!("{name:?}, which is no standing");
    Standing::from_name(name).ok_or_else(|| StoreError::Row {
        table: "rollout_device",
        column: "standing",
        problem: problem(),
    })
}

impl Tx {
    /// How many of a hospital's devices run what, those aside that are revoked; and of those of which nothing is known, how
    /// many there are of each product.
    pub(crate) async fn running(
        &mut self,
        hdo: &HdoId,
    ) -> Result<(Vec<Running>, BTreeMap<ProductId, u64>), StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (Vec<u8>, bool, i64)>(
                "SELECT runs_manifest, proven_manifest IS NOT NULL AS proven, COUNT(*) FROM device \
                 WHERE hdo = $1 AND runs_manifest IS NOT NULL AND state NOT IN ('revoked', 'decommissioned') \
                 GROUP BY runs_manifest, proven_manifest IS NOT NULL",
            )
            .bind(hdo.as_str())
            .fetch_all(c)
            .await
        })?;
        let mut running: BTreeMap<Digest, (u64, u64)> = BTreeMap::new();
        for (manifest, proven, devices) in rows {
            let counts = running.entry(digest("device", "runs_manifest", &manifest)?).or_default();
            *(if proven { &mut counts.0 } else { &mut counts.1 }) += count(devices)?;
        }
        let unknown = on!(self, |c| {
            sqlx::query_as::<_, (String, i64)>(
                "SELECT product, COUNT(*) FROM device WHERE hdo = $1 AND runs_manifest IS NULL AND state NOT IN ('revoked', 'decommissioned') \
                 GROUP BY product",
            )
            .bind(hdo.as_str())
            .fetch_all(c)
            .await
        })?;
        let unknown = unknown.into_iter().map(|(product, n)| Ok((parsed("device", "product", &product)?, count(n)?)));
        let running = running.into_iter().map(|(manifest, (proven, believed))| Running { manifest, proven, believed });
        Ok((running.collect(), unknown.collect::<Result<_, StoreError>>()?))
    }

    /// A hospital's rollouts that lead to one of these bundles, the nearest first: those that go on, then the latest.
    pub(crate) async fn fix_rollouts(
        &mut self,
        hdo: &HdoId,
        fixes: &[Digest],
        now: Timestamp,
    ) -> Result<Vec<FixRollout>, StoreError> {
        if fixes.is_empty() {
            return Ok(Vec::new());
        }
        let text = with_list!(
            self,
            "SELECT r.id, r.product, r.release, r.version, r.state, r.wave, r.waves, r.expires_ms, \
             CAST(COALESCE((SELECT SUM(w.devices) FROM rollout_wave w WHERE w.hdo = r.hdo AND w.rollout = r.id), 0) \
              AS BIGINT) AS devices, \
             CAST(COALESCE((SELECT SUM(w.confirmed) FROM rollout_wave w WHERE w.hdo = r.hdo AND w.rollout = r.id), 0) \
              AS BIGINT) AS confirmed, \
             CAST(COALESCE((SELECT SUM(w.failed + w.retrying + w.timed_out) FROM rollout_wave w \
              WHERE w.hdo = r.hdo AND w.rollout = r.id), 0) AS BIGINT) AS failed \
             FROM rollout r WHERE r.hdo = $2 AND r.manifest_sha256 IN (",
            ") ORDER BY CASE WHEN r.state IN ('running', 'paused') AND r.expires_ms > $3 THEN 0 ELSE 1 END, \
             r.created_ms DESC, r.id DESC LIMIT $4"
        );
        let rows = on!(self, |c| {
            sqlx::query_as::<_, RolloutRow>(text)
                .bind(hex_list(fixes))
                .bind(hdo.as_str())
                .bind(to_ms(now))
                .bind(i64::from(MAX_QUESTION_ROLLOUTS) + 1)
                .fetch_all(c)
                .await
        })?;
        if rows.len() > MAX_QUESTION_ROLLOUTS as usize {
            return Err(StoreError::TooMuch { what: "rollouts of bundles that end it", most: MAX_QUESTION_ROLLOUTS });
        }
        let read = |row: RolloutRow| {
            let problem = || format!("{:?}, which is no state of a rollout", row.state);
            let state = State::from_name(&row.state).ok_or_else(|| StoreError::Row {
                table: "rollout",
                column: "state",
                problem: problem(),
            })?;
            let expires = from_ms("rollout", "expires_ms", row.expires_ms)?;
            Ok(FixRollout {
                id: parsed("rollout", "id", &row.id)?,
                product: parsed("rollout", "product", &row.product)?,
                release: Release(to_u64("rollout", "release", row.release)?),
                version: parsed("rollout", "version", &row.version)?,
                state,
                course: Course::of(state, expires <= now),
                wave: small("wave", row.wave)?,
                waves: small("waves", row.waves)?,
                expires,
                devices: count(row.devices)?,
                confirmed: count(row.confirmed)?,
                failed: count(row.failed)?,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// How many devices run each of these bundles, and how they stand in the nearest of these rollouts, in the order that
    /// [`Tx::fix_rollouts`] has them.
    pub(crate) async fn exposed_groups(
        &mut self,
        hdo: &HdoId,
        exposed: &[Digest],
        rollouts: &[FixRollout],
    ) -> Result<Vec<Group>, StoreError> {
        if exposed.is_empty() {
            return Ok(Vec::new());
        }
        // `stands` is the rollout's place in that order, and the standing's, in one number: the least is the nearest.
        let ids: Vec<String> = rollouts.iter().map(|r| r.id.to_string()).collect();
        let text = match self.driver() {
            Driver::Sqlite(_) => concat!(
                "WITH fix AS (SELECT value AS id, key AS place FROM json_each($1)), ",
                groups!("SELECT unhex(value) FROM json_each($2)")
            ),
            Driver::Postgres(_) => concat!(
                "WITH fix AS (SELECT id, place - 1 AS place FROM jsonb_array_elements_text($1::jsonb) \
                 WITH ORDINALITY AS listed (id, place)), ",
                groups!("SELECT decode(value, 'hex') FROM jsonb_array_elements_text($2::jsonb)")
            ),
        };
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (Vec<u8>, bool, Option<i64>, i64)>(text)
                .bind(text_list(&ids))
                .bind(hex_list(exposed))
                .bind(hdo.as_str())
                .fetch_all(c)
                .await
        })?;
        let mut groups = Vec::with_capacity(rows.len());
        for (manifest, proven, stands, devices) in rows {
            let place = stands.map(|n| read_place(n, rollouts)).transpose()?;
            let manifest = digest("device", "runs_manifest", &manifest)?;
            groups.push(Group { manifest, proven, place, devices: count(devices)? });
        }
        Ok(groups)
    }

    /// At most `limit` devices of a hospital behind `after`, by id, that run a bundle, each with its place in the nearest of
    /// these rollouts.
    pub(crate) async fn exposed_devices(
        &mut self,
        hdo: &HdoId,
        manifest: &Digest,
        rollouts: &[FixRollout],
        after: Option<&DeviceId>,
        limit: u32,
    ) -> Result<Vec<Exposed>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, DeviceRow>(
                "SELECT id, ward, proven_manifest IS NOT NULL AS proven, last_seen_ms FROM device \
                 WHERE hdo = $1 AND runs_manifest = $2 AND id > $3 AND state NOT IN ('revoked', 'decommissioned') ORDER BY id LIMIT $4",
            )
            .bind(hdo.as_str())
            .bind(manifest.as_bytes().as_slice())
            .bind(after.map_or("", DeviceId::as_str))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let mut places = self.places_among(hdo, &ids, rollouts).await?;
        rows.into_iter()
            .map(|row| {
                let mut exposed = Exposed {
                    device: parsed("device", "id", &row.id)?,
                    ward: parsed("device", "ward", &row.ward)?,
                    proven: row.proven,
                    last_seen: row.last_seen_ms.map(|ms| from_ms("device", "last_seen_ms", ms)).transpose()?,
                    place: None,
                    phase: None,
                    reason_code: None,
                    reason_text: None,
                };
                if let Some((rollout, row)) = places.remove(&row.id) {
                    let problem = || format!("{:?}, which is no phase", row.phase);
                    let phase = Phase::from_name(&row.phase).ok_or_else(|| StoreError::Row {
                        table: "rollout_device",
                        column: "phase",
                        problem: problem(),
                    })?;
                    let place = Place { rollout: rollout.course, standing: standing(&row.standing)? };
                    exposed.place = Some((rollout.id.clone(), place));
                    exposed.phase = Some(phase);
                    exposed.reason_code = row.reason_code;
                    exposed.reason_text = row.reason_text;
                }
                Ok(exposed)
            })
            .collect()
    }

    /// Each device's place in the first of these rollouts that names it.
    async fn places_among<'a>(
        &mut self,
        hdo: &HdoId,
        devices: &[String],
        rollouts: &'a [FixRollout],
    ) -> Result<BTreeMap<String, (&'a FixRollout, PlaceRow)>, StoreError> {
        let mut nearest: BTreeMap<String, (usize, PlaceRow)> = BTreeMap::new();
        if devices.is_empty() || rollouts.is_empty() {
            return Ok(BTreeMap::new());
        }
        let order: BTreeMap<&str, usize> = rollouts.iter().enumerate().map(|(n, r)| (r.id.as_str(), n)).collect();
        let text = with_texts!(
            self,
            "SELECT device, rollout, standing, phase, reason_code, reason_text FROM rollout_device \
             WHERE hdo = $2 AND device IN (",
            ")"
        );
        let rows = on!(self, |c| {
            sqlx::query_as::<_, PlaceRow>(text).bind(text_list(devices)).bind(hdo.as_str()).fetch_all(c).await
        })?;
        for row in rows {
            let Some(place) = order.get(row.rollout.as_str()).copied() else { continue };
            if nearest.get(&row.device).is_none_or(|(other, _)| place < *other) {
                nearest.insert(row.device.clone(), (place, row));
            }
        }
        let read = |(device, (place, row)): (String, (usize, PlaceRow))| Some((device, (rollouts.get(place)?, row)));
        Ok(nearest.into_iter().filter_map(read).collect())
    }
}

impl Tx {
    /// The hospitals behind one, by id, with their names.
    pub(crate) async fn hospitals_after(
        &mut self,
        after: Option<&HdoId>,
        limit: u32,
    ) -> Result<Vec<(HdoId, String)>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, String)>("SELECT id, name FROM hdo WHERE id > $1 ORDER BY id LIMIT $2")
                .bind(after.map_or("", HdoId::as_str))
                .bind(i64::from(limit))
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(|(id, name)| Ok((parsed("hdo", "id", &id)?, name))).collect()
    }
}

/// What [`Tx::exposed_groups`] has put into one number.
fn read_place(stands: i64, rollouts: &[FixRollout]) -> Result<Place, StoreError> {
    let nowhere = || StoreError::Row { table: "rollout_device", column: "standing", problem: format!("{stands}") };
    let n = usize::try_from(stands).map_err(|_| nowhere())?;
    let rollout = rollouts.get(n / Standing::ALL.len()).ok_or_else(nowhere)?.course;
    let standing = *Standing::ALL.get(n % Standing::ALL.len()).ok_or_else(nowhere)?;
    Ok(Place { rollout, standing })
}
