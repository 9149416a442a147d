//! Certificates that the server's CA has issued, and what they are worth at this moment.

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::principal::Principal;

use super::devices::DeviceState;
use super::{Store, StoreError, Tx, on, to_ms};

/// A certificate as it is issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its serial number, big endian.
    pub serial: Vec<u8>,
    /// Whom it names.
    pub principal: Principal,
    /// SHA-256 of its public key (SubjectPublicKeyInfo, DER).
    pub spki: Digest,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

/// What the database says, at this moment, of a certificate and the identity that it names. Its dates are the
/// verifier's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The server never issued it, or to somebody else.
    Unknown,
    /// It, or its holder, was revoked.
    Revoked,
    /// An operator in good standing.
    Operator,
    /// A device in that state, which is not `Revoked`.
    Device(DeviceState),
}

#[derive(sqlx::FromRow)]
struct Row {
    principal: String,
    certificate_revoked_ms: Option<i64>,
    operator: Option<String>,
    operator_revoked_ms: Option<i64>,
    device_state: Option<String>,
}

impl Row {
    /// What it says of that identity's certificate.
    fn judge(row: Option<Self>, principal: &Principal) -> Result<Standing, StoreError> {
        let Some(row) = row else { return Ok(Standing::Unknown) };
        if row.principal != principal.to_string() {
            return Ok(Standing::Unknown);
        }
        if row.certificate_revoked_ms.is_some() || row.operator_revoked_ms.is_some() {
            return Ok(Standing::Revoked);
        }
        if row.operator.is_some() {
            return Ok(Standing::Operator);
        }
        match row.device_state.as_deref().map(DeviceState::read).transpose()? {
            Some(DeviceState::Revoked | DeviceState::Decommissioned) => Ok(Standing::Revoked),
            Some(state) => Ok(Standing::Device(state)),
            None => Ok(Standing::Unknown),
        }
    }
}

/// The row of a certificate and its holder: one statement by primary keys.
macro_rules! row_of {
    ($on:expr, $serial:expr, $principal:expr) => {{
        let (hdo, device) = match $principal {
            Principal::Device(hdo, id) => (Some(hdo.as_str()), Some(id.as_str())),
            Principal::Server | Principal::Mdm(_) | Principal::Operator(..) => (None, None),
        };
        on!($on, |c| sqlx::query_as::<_, Row>(
            "SELECT c.principal, c.revoked_ms AS certificate_revoked_ms, o.principal AS operator,
                o.revoked_ms AS operator_revoked_ms, d.state AS device_state
            FROM certificate c
            LEFT JOIN operator o ON o.principal = c.principal
            LEFT JOIN device d ON d.hdo = $2 AND d.id = $3
            WHERE c.serial = $1"
        )
        .bind($serial)
        .bind(hdo)
        .bind(device)
        .fetch_optional(c)
        .await)
    }};
}

impl Store {
    /// How a certificate and its holder stand, asked at every call.
    pub async fn standing(&self, serial: &[u8], principal: &Principal) -> Result<Standing, StoreError> {
        Row::judge(row_of!(self, serial, principal)?, principal)
    }
}

impl Tx {
    /// The same, as it stands in this transaction.
    pub(crate) async fn standing(&mut self, serial: &[u8], principal: &Principal) -> Result<Standing, StoreError> {
        Row::judge(row_of!(self, serial, principal)?, principal)
    }

    /// Remembers a certificate, without which it is worth nothing.
    pub async fn insert_certificate(&mut self, certificate: &Certificate) -> Result<(), StoreError> {
        on!(self, |c| sqlx::query(
            "INSERT INTO certificate (serial, principal, spki_sha256, issued_ms, not_after_ms)
            VALUES ($1, $2, $3, $4, $5)"
        )
        .bind(certificate.serial.as_slice())
        .bind(certificate.principal.to_string())
        .bind(certificate.spki.as_bytes().as_slice())
        .bind(to_ms(certificate.issued))
        .bind(to_ms(certificate.not_after))
        .execute(c)
        .await
        .map(drop))
    }

    /// Digest of the public key that an identity joined with: of the first of its certificates in force.
    pub(crate) async fn joined_key(&mut self, of: &str) -> Result<Option<Digest>, StoreError> {
        let bytes = on!(self, |c| sqlx::query_scalar::<_, Vec<u8>>(
            "SELECT spki_sha256 FROM certificate WHERE principal = $1 AND revoked_ms IS NULL \
             ORDER BY issued_ms, not_after_ms LIMIT 1"
        )
        .bind(of)
        .fetch_optional(c)
        .await)?;
        bytes.map(|b| super::value::digest("certificate", "spki_sha256", &b)).transpose()
    }

    /// How many certificates an identity was issued after `since`.
    pub(crate) async fn issued_since(&mut self, of: &Principal, since: Timestamp) -> Result<u64, StoreError> {
        let count = on!(self, |c| sqlx::query_scalar::<_, i64>(
            "SELECT COUNT(*) FROM certificate WHERE principal = $1 AND issued_ms > $2"
        )
        .bind(of.to_string())
        .bind(to_ms(since))
        .fetch_one(c)
        .await)?;
        super::to_u64("certificate", "COUNT(*)", count)
    }

    /// Revokes every certificate of an identity and says how many there were.
    pub async fn revoke_certificates(&mut self, of: &Principal, now: Timestamp) -> Result<u64, StoreError> {
        on!(self, |c| sqlx::query("UPDATE certificate SET revoked_ms = $2 WHERE principal = $1 AND revoked_ms IS NULL")
            .bind(of.to_string())
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))
    }
}
