//! One-time tokens. The server knows only the hash of a token's secret, and what the token grants.

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::{HdoId, OperatorName};
use suture_core::principal::Principal;
use suture_core::token::Grant;

use super::operators::principal;
use super::{StoreError, Tx, on, parsed, to_ms};

/// What the secret that was shown stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenState {
    /// Nobody made such a token.
    Unknown,
    /// It was used before; by whom, as long as it would still be good.
    Spent(Option<Use>),
    /// Its time is over.
    Expired,
    /// It may be spent.
    Good(Grant),
}

/// The one use of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// What the token granted.
    pub grant: Grant,
    /// The identity that it was spent for.
    pub by: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    kind: String,
    hdo: Option<String>,
    name: Option<String>,
    expires_ms: i64,
    spent_ms: Option<i64>,
    spent_by: Option<String>,
}

impl Row {
    fn grant(&self) -> Result<Grant, StoreError> {
        let hdo = self.hdo.as_deref().map(|text| parsed("token", "hdo", text)).transpose()?;
        match (self.kind.as_str(), hdo, self.name.as_deref()) {
            ("mdm", None, Some(name)) => Ok(Grant::Mdm(parsed("token", "name", name)?)),
            ("hdo", Some(hdo), None) => Ok(Grant::Hdo(hdo)),
            ("operator", Some(hdo), Some(name)) => Ok(Grant::Operator(hdo, parsed("token", "name", name)?)),
            ("device", Some(hdo), name) => {
                Ok(Grant::Device(hdo, name.map(|name| parsed("token", "name", name)).transpose()?))
            }
            (kind, ..) => Err(StoreError::Row {
                table: "token",
                column: "kind",
                problem: format!("{kind:?}, with which hdo and name do not go together"),
            }),
        }
    }
}

fn columns(grant: &Grant) -> (&'static str, Option<&str>, Option<&str>) {
    match grant {
        Grant::Mdm(name) => ("mdm", None, Some(name.as_str())),
        Grant::Hdo(hdo) => ("hdo", Some(hdo.as_str()), None),
        Grant::Operator(hdo, name) => ("operator", Some(hdo.as_str()), Some(name.as_str())),
        Grant::Device(hdo, id) => ("device", Some(hdo.as_str()), id.as_ref().map(|id| id.as_str())),
    }
}

impl Tx {
    /// Remembers a token; false where its secret is known already.
    pub async fn insert_token(
        &mut self,
        secret_sha256: &Digest,
        grant: &Grant,
        by: &Principal,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<bool, StoreError> {
        let (kind, hdo, name) = columns(grant);
        let made = on!(self, |c| sqlx::query(
            "INSERT INTO token (secret_sha256, kind, hdo, name, created_by, created_ms, expires_ms)
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (secret_sha256) DO NOTHING"
        )
        .bind(secret_sha256.as_bytes().as_slice())
        .bind(kind)
        .bind(hdo)
        .bind(name)
        .bind(by.to_string())
        .bind(to_ms(now))
        .bind(to_ms(expires))
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?;
        Ok(made == 1)
    }

    /// What a secret grants at `now`. Only [`Tx::spend_token`] in the same transaction settles who was first.
    pub async fn token(&mut self, secret_sha256: &Digest, now: Timestamp) -> Result<TokenState, StoreError> {
        let row = on!(self, |c| sqlx::query_as::<_, Row>(
            "SELECT kind, hdo, name, expires_ms, spent_ms, spent_by FROM token WHERE secret_sha256 = $1"
        )
        .bind(secret_sha256.as_bytes().as_slice())
        .fetch_optional(c)
        .await)?;
        let Some(row) = row else { return Ok(TokenState::Unknown) };
        let is_over = row.expires_ms <= to_ms(now);
        Ok(match (row.spent_ms, &row.spent_by) {
            (Some(_), Some(by)) if !is_over => TokenState::Spent(Some(Use { grant: row.grant()?, by: by.clone() })),
            (Some(_), _) => TokenState::Spent(None),
            (None, _) if is_over => TokenState::Expired,
            (None, _) => TokenState::Good(row.grant()?),
        })
    }

    /// Spends a token; false where it cannot be spent, or not any more.
    pub async fn spend_token(
        &mut self,
        secret_sha256: &Digest,
        by: &Principal,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let spent = on!(self, |c| sqlx::query(
            "UPDATE token SET spent_ms = $2, spent_by = $3
            WHERE secret_sha256 = $1 AND spent_ms IS NULL AND expires_ms > $2"
        )
        .bind(secret_sha256.as_bytes().as_slice())
        .bind(to_ms(now))
        .bind(by.to_string())
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?;
        Ok(spent == 1)
    }

    /// Ends what is left of a hospital's invitations: its first operator has joined, and its own operators invite the others.
    /// Attack: whoever found an invitation that was lost joins beside those who were meant.
    pub async fn end_invitations(&mut self, hdo: &HdoId, now: Timestamp) -> Result<u64, StoreError> {
        Ok(on!(self, |c| sqlx::query(
            "UPDATE token SET expires_ms = $2 WHERE kind = 'hdo' AND hdo = $1 AND spent_ms IS NULL AND expires_ms > $2"
        )
        .bind(hdo.as_str())
        .bind(to_ms(now))
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?)
    }

    /// Ends the tokens that an operator made, and those that let somebody join under the operator's name; how many of them
    /// were unspent. Attack: whoever held a revoked certificate comes back with a token that was made before.
    pub async fn end_tokens_of(
        &mut self,
        hdo: Option<&HdoId>,
        name: &OperatorName,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        // What was spent is answered no second time either.
        self.end_tokens(false, (hdo, name), now).await?;
        self.end_tokens(true, (hdo, name), now).await
    }

    async fn end_tokens(
        &mut self,
        unspent: bool,
        (hdo, name): (Option<&HdoId>, &OperatorName),
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let kind = if hdo.is_some() { "operator" } else { "mdm" };
        Ok(on!(self, |c| sqlx::query(
            "UPDATE token SET expires_ms = $2 WHERE (spent_ms IS NULL) = $6 AND expires_ms > $2
            AND (created_by = $1 OR (kind = $3 AND COALESCE(hdo, '') = $4 AND name = $5))"
        )
        .bind(principal(hdo, name).to_string())
        .bind(to_ms(now))
        .bind(kind)
        .bind(hdo.map_or("", HdoId::as_str))
        .bind(name.as_str())
        .bind(unspent)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?)
    }
}
