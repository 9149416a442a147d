//! People, and their automation, who work with `suturectl`.

use jiff::Timestamp;
use suture_core::id::{HdoId, OperatorName};
use suture_core::principal::Principal;

use super::{StoreError, Tx, from_ms, on, parsed, to_ms};

/// An operator of the manufacturer (`hdo` is none) or of a hospital.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The hospital.
    pub hdo: Option<HdoId>,
    /// The name, unique within the organisation.
    pub name: OperatorName,
    /// When the operator joined.
    pub joined: Timestamp,
    /// Since when every call is refused.
    pub revoked: Option<Timestamp>,
}

impl Operator {
    /// The operator's identity.
    pub fn principal(&self) -> Principal {
        principal(self.hdo.as_ref(), &self.name)
    }
}

/// The identity of an operator of the manufacturer or of a hospital.
pub fn principal(hdo: Option<&HdoId>, name: &OperatorName) -> Principal {
    match hdo {
        Some(hdo) => Principal::Operator(hdo.clone(), name.clone()),
        None => Principal::Mdm(name.clone()),
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    hdo: Option<String>,
    name: String,
    joined_ms: i64,
    revoked_ms: Option<i64>,
}

impl Row {
    fn read(self) -> Result<Operator, StoreError> {
        Ok(Operator {
            hdo: self.hdo.map(|hdo| parsed("operator", "hdo", &hdo)).transpose()?,
            name: parsed("operator", "name", &self.name)?,
            joined: from_ms("operator", "joined_ms", self.joined_ms)?,
            revoked: self.revoked_ms.map(|ms| from_ms("operator", "revoked_ms", ms)).transpose()?,
        })
    }
}

impl Tx {
    /// Lets an operator join; false where somebody of that name is there and not revoked.
    pub async fn join_operator(
        &mut self,
        hdo: Option<&HdoId>,
        name: &OperatorName,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let joined = on!(self, |c| sqlx::query(
            "INSERT INTO operator (principal, hdo, name, joined_ms) VALUES ($1, $2, $3, $4)
            ON CONFLICT (principal) DO UPDATE SET joined_ms = excluded.joined_ms, revoked_ms = NULL
            WHERE operator.revoked_ms IS NOT NULL"
        )
        .bind(principal(hdo, name).to_string())
        .bind(hdo.map(HdoId::as_str))
        .bind(name.as_str())
        .bind(to_ms(now))
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?;
        Ok(joined == 1)
    }

    /// Revokes an operator; false where there is no such one or it is revoked already.
    pub async fn revoke_operator(
        &mut self,
        hdo: Option<&HdoId>,
        name: &OperatorName,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let revoked = on!(self, |c| sqlx::query(
            "UPDATE operator SET revoked_ms = $2 WHERE principal = $1 AND revoked_ms IS NULL"
        )
        .bind(principal(hdo, name).to_string())
        .bind(to_ms(now))
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?;
        Ok(revoked == 1)
    }

    /// Whether somebody is an operator who was revoked.
    pub(crate) async fn is_revoked_operator(&mut self, whom: &Principal) -> Result<bool, StoreError> {
        let revoked = on!(self, |c| sqlx::query_scalar::<_, i64>(
            "SELECT revoked_ms FROM operator WHERE principal = $1 AND revoked_ms IS NOT NULL"
        )
        .bind(whom.to_string())
        .fetch_optional(c)
        .await)?;
        Ok(revoked.is_some())
    }

    /// The operators of the manufacturer or of a hospital, revoked ones too, by name.
    pub async fn operators(&mut self, hdo: Option<&HdoId>) -> Result<Vec<Operator>, StoreError> {
        let rows = on!(self, |c| sqlx::query_as::<_, Row>(
            "SELECT hdo, name, joined_ms, revoked_ms FROM operator
            WHERE COALESCE(hdo, '') = $1 ORDER BY name"
        )
        .bind(hdo.map_or("", HdoId::as_str))
        .fetch_all(c)
        .await)?;
        rows.into_iter().map(Row::read).collect()
    }
}
