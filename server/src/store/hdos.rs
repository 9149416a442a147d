//! Hospitals.

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::HdoId;

use super::{StoreError, Tx, digest, on, parsed, to_ms, to_u64};

/// A hospital on this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hdo {
    /// Its id.
    pub id: HdoId,
    /// The organisation's name, for people.
    pub name: String,
    /// Operators that are not revoked.
    pub operators: u64,
    /// Devices that are not revoked, enrolled or not.
    pub devices: u64,
    /// SHA-256 of the first root of its approvals, where it has published one.
    pub root: Option<Digest>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    operators: i64,
    devices: i64,
    root: Option<Vec<u8>>,
}

impl Row {
    fn read(self) -> Result<Hdo, StoreError> {
        Ok(Hdo {
            id: parsed("hdo", "id", &self.id)?,
            name: self.name,
            operators: to_u64("operator", "count", self.operators)?,
            devices: to_u64("device", "count", self.devices)?,
            root: self.root.map(|bytes| digest("repo_file", "sha256", &bytes)).transpose()?,
        })
    }
}

impl Tx {
    /// Makes a hospital; false where the id is taken.
    pub async fn insert_hdo(&mut self, id: &HdoId, name: &str, now: Timestamp) -> Result<bool, StoreError> {
        let made = on!(self, |c| sqlx::query(
            "INSERT INTO hdo (id, name, created_ms) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING"
        )
        .bind(id.as_str())
        .bind(name)
        .bind(to_ms(now))
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?;
        Ok(made == 1)
    }

    /// Every hospital, by id.
    pub async fn hdos(&mut self) -> Result<Vec<Hdo>, StoreError> {
        self.hdos_after(None, u32::MAX).await
    }

    /// Hospitals by id, from behind `after` on.
    pub async fn hdos_after(&mut self, after: Option<&HdoId>, limit: u32) -> Result<Vec<Hdo>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(
            "SELECT h.id, h.name,
                (SELECT COUNT(*) FROM operator o WHERE o.hdo = h.id AND o.revoked_ms IS NULL) AS operators,
                (SELECT COUNT(*) FROM device d WHERE d.hdo = h.id AND d.state NOT IN ('revoked', 'decommissioned')) AS devices,
                (SELECT r.sha256 FROM repo_file r
                    WHERE r.repository = 'approvals/' || h.id AND r.name = '1.root.json') AS root
            FROM hdo h WHERE h.id > $1 ORDER BY h.id LIMIT $2"
        )
        .bind(after.map_or("", HdoId::as_str))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }
}
