//! The sealed online keys of the repositories: of each role the present one, and where it is to be replaced the next.

use jiff::Timestamp;
use suture_core::sign::PublicKey;
use suture_core::trust::Role;

use super::{StoreError, Tx, on, to_ms};

/// An online key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineKeyRow {
    /// The public half.
    pub public: PublicKey,
    /// PKCS#8 PEM, encrypted under the seal key.
    pub sealed: String,
}

/// Which of a role's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The one that signs.
    Present,
    /// The one that will sign once a root names it.
    Next,
}

impl Turn {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Next => "next",
        }
    }
}

impl Tx {
    /// The online key of a role that signs now.
    pub async fn online_key(&mut self, repository: &str, role: Role) -> Result<Option<OnlineKeyRow>, StoreError> {
        self.online_key_of(repository, role, Turn::Present).await
    }

    /// An online key of a role.
    pub async fn online_key_of(
        &mut self,
        repository: &str,
        role: Role,
        turn: Turn,
    ) -> Result<Option<OnlineKeyRow>, StoreError> {
        let row: Option<(Vec<u8>, String)> = on!(self, |c| sqlx::query_as(
            "SELECT public_key, sealed FROM online_key WHERE repository = $1 AND role = $2 AND turn = $3"
        )
        .bind(repository)
        .bind(role.as_str())
        .bind(turn.as_str())
        .fetch_optional(c)
        .await)?;
        row.map(|(public, sealed)| {
            let public = PublicKey::from_bytes(&public).map_err(|e| StoreError::Row {
                table: "online_key",
                column: "public_key",
                problem: e.to_string(),
            })?;
            Ok(OnlineKeyRow { public, sealed })
        })
        .transpose()
    }

    /// Stores an online key of a role; one that is there is a conflict.
    pub async fn insert_online_key(
        &mut self,
        repository: &str,
        role: Role,
        turn: Turn,
        key: &OnlineKeyRow,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on!(self, |c| sqlx::query(
            "INSERT INTO online_key (repository, role, turn, public_key, sealed, created_ms)
            VALUES ($1, $2, $3, $4, $5, $6)"
        )
        .bind(repository)
        .bind(role.as_str())
        .bind(turn.as_str())
        .bind(key.public.as_bytes().as_slice())
        .bind(&key.sealed)
        .bind(to_ms(now))
        .execute(c)
        .await
        .map(drop))
    }

    /// Removes an online key of a role, if it is there.
    pub async fn remove_online_key(&mut self, repository: &str, role: Role, turn: Turn) -> Result<(), StoreError> {
        on!(self, |c| sqlx::query("DELETE FROM online_key WHERE repository = $1 AND role = $2 AND turn = $3")
            .bind(repository)
            .bind(role.as_str())
            .bind(turn.as_str())
            .execute(c)
            .await
            .map(drop))
    }

    /// Puts a role's next online key in the place of the present one, which is gone then.
    pub async fn promote_online_key(&mut self, repository: &str, role: Role) -> Result<(), StoreError> {
        self.remove_online_key(repository, role, Turn::Present).await?;
        on!(self, |c| sqlx::query("UPDATE online_key SET turn = $4 WHERE repository = $1 AND role = $2 AND turn = $3")
            .bind(repository)
            .bind(role.as_str())
            .bind(Turn::Next.as_str())
            .bind(Turn::Present.as_str())
            .execute(c)
            .await
            .map(drop))
    }
}
