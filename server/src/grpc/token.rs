//! A one-time token as it is shown by whoever joins or enrols.
//!
//! Accident: the program ends, or the line does, after the token was spent and before the certificate lies on the newcomer's
//! disk. The newcomer, who has kept the key, shows the token again, and is issued a certificate over that key again.
//!
//! Attack: whoever finds a token that was used. For another key it is spent, and that somebody tried is an event. Nor is it
//! answered again after its time, after whoever made it was revoked, or after the one who joined with it was: then none of the
//! newcomer's certificates is in force.

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::event::Kind;
use suture_core::token::Grant;
use tonic::Code;

use super::{Api, Refusal};
use crate::identity::Csr;
use crate::store::Tx;
use crate::store::tokens::{TokenState, Use};

/// A token that its bearer may use.
pub(super) struct Shown {
    /// What it grants.
    pub(super) grant: Grant,
    /// The identity that has spent it already, with the key that is certified now.
    pub(super) spent_by: Option<String>,
}

impl Api {
    /// Refuses a token that is not good, before anything is locked for it.
    ///
    /// Attack: nobody's calls with made-up tokens, each of which would have to be the database's one writer, in whose line every
    /// hospital stands.
    pub(super) async fn must_know(&self, secret_sha256: &Digest, csr: &Csr, now: Timestamp) -> Result<(), Refusal> {
        let mut tx = self.app.store().read().await?;
        shown(&mut tx, secret_sha256, csr, now).await.map(drop)
    }
}

/// What a token is worth to whoever has the request's key.
pub(super) async fn shown(tx: &mut Tx, secret_sha256: &Digest, csr: &Csr, now: Timestamp) -> Result<Shown, Refusal> {
    let refused = |text: &str| Err(Refusal::new(Code::Unauthenticated, text).is(Kind::TokenRefused));
    match tx.token(secret_sha256, now).await? {
        TokenState::Good(grant) => Ok(Shown { grant, spent_by: None }),
        TokenState::Spent(Some(Use { grant, by })) if tx.joined_key(&by).await? == Some(csr.spki()) => {
            Ok(Shown { grant, spent_by: Some(by) })
        }
        TokenState::Spent(_) => Err(spent()),
        TokenState::Expired => refused("the token has expired; ask for a new one"),
        TokenState::Unknown => refused("the server knows no such token; was it made on this server?"),
    }
}

/// A token works for one key.
pub(super) fn spent() -> Refusal {
    let text = "the token was used before; if that was not you, revoke what joined with it, and ask for a new one";
    Refusal::new(Code::Unauthenticated, text).is(Kind::TokenRefused)
}
