//! Forks: what devices say they verified, where that is not what was published here.

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, HdoId};
use suture_core::trust::Edition;

use super::{StoreError, Tx, digest, from_ms, on, parsed, to_i64, to_ms, to_u64};

/// A device's last word on a repository that does not fit what was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForkRow {
    pub(crate) hdo: HdoId,
    pub(crate) device: DeviceId,
    /// `catalog` or `approvals/<hdo>`.
    pub(crate) repository: String,
    pub(crate) version: u64,
    pub(crate) sha256: Digest,
    /// None where that version was never published here.
    pub(crate) published: Option<Digest>,
    /// Whether the device has signed it.
    pub(crate) proven: bool,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// When it was back on what was published.
    pub(crate) healed: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct Row {
    hdo: String,
    device: String,
    repository: String,
    version: i64,
    sha256: Vec<u8>,
    published_sha256: Option<Vec<u8>>,
    proven: bool,
    first_ms: i64,
    last_ms: i64,
    healed_ms: Option<i64>,
}

impl Row {
    fn read(self) -> Result<ForkRow, StoreError> {
        let at = |column, ms| from_ms("fork", column, ms);
        Ok(ForkRow {
            hdo: parsed("fork", "hdo", &self.hdo)?,
            device: parsed("fork", "device", &self.device)?,
            version: to_u64("fork", "version", self.version)?,
            sha256: digest("fork", "sha256", &self.sha256)?,
            published: self.published_sha256.map(|d| digest("fork", "published_sha256", &d)).transpose()?,
            proven: self.proven,
            first: at("first_ms", self.first_ms)?,
            last: at("last_ms", self.last_ms)?,
            healed: self.healed_ms.map(|ms| at("healed_ms", ms)).transpose()?,
            repository: self.repository,
        })
    }
}

/// The columns of [`Row`].
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT hdo, device, repository, version, sha256, published_sha256, proven, first_ms, last_ms, healed_ms \
             FROM fork ",
            $rest
        )
    };
}

impl Tx {
    /// What is known of a device and a repository.
    pub(crate) async fn fork(
        &mut self,
        hdo: &HdoId,
        device: &DeviceId,
        repository: &str,
    ) -> Result<Option<ForkRow>, StoreError> {
        let row =
            on!(self, |c| sqlx::query_as::<_, Row>(select!("WHERE hdo = $1 AND device = $2 AND repository = $3"))
                .bind(hdo.as_str())
                .bind(device.as_str())
                .bind(repository)
                .fetch_optional(c)
                .await)?;
        row.map(Row::read).transpose()
    }

    /// Puts a device's word in the place of its earlier one.
    pub(crate) async fn put_fork(&mut self, fork: &ForkRow) -> Result<(), StoreError> {
        let version = to_i64("version of metadata", fork.version)?;
        on!(self, |c| sqlx::query(
            "INSERT INTO fork (hdo, device, repository, version, sha256, published_sha256, proven, first_ms, last_ms,
                healed_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            ON CONFLICT (hdo, device, repository) DO UPDATE SET version = excluded.version, sha256 = excluded.sha256,
                published_sha256 = excluded.published_sha256, proven = excluded.proven, first_ms = excluded.first_ms,
                last_ms = excluded.last_ms, healed_ms = excluded.healed_ms"
        )
        .bind(fork.hdo.as_str())
        .bind(fork.device.as_str())
        .bind(&fork.repository)
        .bind(version)
        .bind(fork.sha256.as_bytes().as_slice())
        .bind(fork.published.as_ref().map(|d| d.as_bytes().as_slice()))
        .bind(fork.proven)
        .bind(to_ms(fork.first))
        .bind(to_ms(fork.last))
        .bind(fork.healed.map(to_ms))
        .execute(c)
        .await
        .map(drop))
    }

    /// Marks what is known of a device and a repository as over, by its word that it verified `edition`, which is what was
    /// published. An older version proves nothing, nor does an unsigned word against a signed one.
    pub(crate) async fn heal_fork(
        &mut self,
        hdo: &HdoId,
        device: &DeviceId,
        repository: &str,
        edition: &Edition,
        proven: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let version = to_i64("version of metadata", edition.version)?;
        on!(self, |c| sqlx::query(
            "UPDATE fork SET healed_ms = $6 WHERE hdo = $1 AND device = $2 AND repository = $3 AND version <= $4
            AND (proven = $5 OR NOT proven) AND healed_ms IS NULL"
        )
        .bind(hdo.as_str())
        .bind(device.as_str())
        .bind(repository)
        .bind(version)
        .bind(proven)
        .bind(to_ms(now))
        .execute(c)
        .await
        .map(|done| done.rows_affected() > 0))
    }

    /// Forgets what a device's earlier keys have said.
    pub(crate) async fn forget_forks(&mut self, hdo: &HdoId, device: &DeviceId) -> Result<(), StoreError> {
        on!(self, |c| sqlx::query("DELETE FROM fork WHERE hdo = $1 AND device = $2")
            .bind(hdo.as_str())
            .bind(device.as_str())
            .execute(c)
            .await
            .map(drop))
    }

    /// Those of a hospital's devices from one id to another.
    pub(crate) async fn forks_of(
        &mut self,
        hdo: &HdoId,
        first: &DeviceId,
        last: &DeviceId,
    ) -> Result<Vec<ForkRow>, StoreError> {
        let rows = on!(self, |c| sqlx::query_as::<_, Row>(select!(
            "WHERE hdo = $1 AND device >= $2 AND device <= $3 ORDER BY device, repository"
        ))
        .bind(hdo.as_str())
        .bind(first.as_str())
        .bind(last.as_str())
        .fetch_all(c)
        .await)?;
        rows.into_iter().map(Row::read).collect()
    }

    /// A hospital's, newest first.
    pub(crate) async fn forks(&mut self, hdo: &HdoId, limit: u32) -> Result<Vec<ForkRow>, StoreError> {
        let rows =
            on!(self, |c| sqlx::query_as::<_, Row>(select!("WHERE hdo = $1 ORDER BY last_ms DESC, device LIMIT $2"))
                .bind(hdo.as_str())
                .bind(i64::from(limit))
                .fetch_all(c)
                .await)?;
        rows.into_iter().map(Row::read).collect()
    }

    /// A repository's, newest first.
    pub(crate) async fn forks_in(&mut self, repository: &str, limit: u32) -> Result<Vec<ForkRow>, StoreError> {
        let rows = on!(self, |c| sqlx::query_as::<_, Row>(select!(
            "WHERE repository = $1 ORDER BY last_ms DESC, hdo, device LIMIT $2"
        ))
        .bind(repository)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?;
        rows.into_iter().map(Row::read).collect()
    }
}
