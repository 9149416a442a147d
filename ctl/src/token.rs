//! Tokens, composed here from what this home trusts. The server is told the secret's digest and nothing else.

use suture_core::limits::MAX_TOKEN_SECS;
use suture_core::token::{Grant, Secret, Token};

use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::trust_store::{TrustStore, Which, pinned_root};
use crate::witness;

/// How long a token lasts.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Lifetime {
    /// After that many hours the token is refused
    #[arg(long, value_name = "HOURS", default_value_t = 168, value_parser = clap::value_parser!(u32).range(1..=168))]
    pub valid_hours: u32,
}

/// A token ready to be handed out, once the server has been told its secret's digest and its end.
pub struct Composed {
    /// The token itself; the one string is [`Token::encode`].
    pub token: Token,
}

impl Composed {
    /// SHA-256 of the secret, for the server.
    pub fn secret_sha256(&self) -> Vec<u8> {
        self.token.secret.sha256().as_bytes().to_vec()
    }

    /// When it ends, for the server.
    pub fn expires_ms(&self) -> i64 {
        self.token.expires.as_millisecond()
    }

    /// The one string.
    pub fn text(&self) -> Outcome<String> {
        self.token.encode().or_fail(|| "cannot write the token".to_owned())
    }
}

/// Composes a token for `grant` from this home's server, CA and pinned roots.
pub fn compose(context: &Context<'_>, grant: Grant, lifetime: Lifetime) -> Outcome<Composed> {
    let server = context.home.server()?;
    let secs = (i64::from(lifetime.valid_hours) * 3_600).min(MAX_TOKEN_SECS);
    let expires = context
        .now()
        .checked_add(jiff::SignedDuration::from_secs(secs))
        .map_err(|e| Failure::new("the token's end cannot be written").because(&e))?;
    // A device's token stays short: the device goes by what is in force when it enrols.
    let edition = |which| match &grant {
        Grant::Device(..) => Ok(None),
        _ => TrustStore::of(&context.home, which).history().map(|h| h.newest()),
    };
    let (catalog_edition, approvals_edition) = (edition(Which::Catalog)?, edition(Which::Approvals)?);
    let token = Token {
        catalog_edition,
        approvals_edition,
        audit_key: witness::kept(&context.home)?.map(|kept| kept.witness.key),
        ca_sha256: server.ca_sha256()?,
        server: server.address,
        trust_domain: server.trust_domain,
        grant,
        catalog_root_sha256: pinned_root(&context.home, Which::Catalog)?,
        approvals_root_sha256: pinned_root(&context.home, Which::Approvals)?,
        expires,
        secret: Secret::new(context.random()?),
    };
    Ok(Composed { token })
}
