//! `suture-server operator invite`: a way in for an organisation of which nobody can call the server any more.
//!
//! Attack: whoever wants in without being invited. This needs the server's own machine: its authority's key and its
//! database, with which as much could be had before, and no call over the network leads here. The audit trail says that it
//! was the server. The token lets its holder connect; it holds no signing key and vouches for no root, so what devices obey
//! stays where it was, and the newcomer compares the roots' fingerprints with what was written down.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use suture_core::audit::Concern;
use suture_core::clock::whole_second;
use suture_core::digest::Digest;
use suture_core::id::{HdoId, OperatorName};
use suture_core::limits::MAX_TOKEN_SECS;
use suture_core::principal::Principal;
use suture_core::token::{Grant, Secret, Token, TokenError};
use zeroize::Zeroizing;

use crate::audit;
use crate::authorities::{self, AuthoritiesError};
use crate::config::Settings;
use crate::init::write;
use crate::store::operators::principal;
use crate::store::{Store, StoreError};

/// Why nobody was invited.
#[derive(Debug, thiserror::Error)]
pub enum InvitationError {
    /// No such hospital.
    #[error("there is no hospital {0} here; the manufacturer invites it with `suturectl hdo invite`")]
    NoHospital(HdoId),
    /// Somebody has the name.
    #[error("there is an operator {0} already; invite another name, which can then revoke that one")]
    Taken(Principal),
    /// A token that nobody has spent yet may be in the file.
    #[error("{0} is there already: hand that token out; remove the file if it has been spent or has ended")]
    Exists(PathBuf),
    /// The token's file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The authority cannot be read.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// The database.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
    /// The trail.
    #[error("the audit trail could not be written, so nobody was invited")]
    Audit(#[from] audit::AuditError),
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
    /// The token has no text form.
    #[error("the token could not be written")]
    Token(#[from] TokenError),
}

/// What was made; nothing of it is secret but the content of the token's file.
#[derive(Debug, Serialize)]
pub struct Invited {
    /// Who joins with it.
    pub principal: String,
    /// Where the token is.
    pub token: PathBuf,
    /// When it ends.
    #[serde(with = "suture_core::clock::utc")]
    pub expires: Timestamp,
}

/// Makes a token for an operator of a hospital, or of the manufacturer where none is named, in a file of its own (0600).
pub async fn invite(
    settings: &Settings,
    hdo: Option<HdoId>,
    name: &OperatorName,
    now: Timestamp,
) -> Result<Invited, InvitationError> {
    let whom = principal(hdo.as_ref(), name);
    let path = settings.data_dir.join(match &hdo {
        Some(hdo) => format!("operator-{hdo}-{name}.token"),
        None => format!("operator-{name}.token"),
    });
    if path.exists() {
        return Err(InvitationError::Exists(path));
    }
    let grant = match &hdo {
        Some(hdo) => Grant::Operator(hdo.clone(), name.clone()),
        None => Grant::Mdm(name.clone()),
    };
    let authority = authorities::list(&settings.data_dir, &settings.trust_domain)?.present;
    let token = token(settings, authority.sha256, grant, now)?;
    let text = Zeroizing::new(token.encode()? + "\n");
    let store = Store::open(settings.database.url()).await?;
    let recorded = record(&store, hdo.as_ref(), &whom, &token, now, || put(&path, &text)).await;
    store.close().await;
    recorded?;
    Ok(Invited { principal: whom.to_string(), token: path, expires: token.expires })
}

/// A token by which somebody may join this server, good for [`MAX_TOKEN_SECS`] once its secret is recorded. It vouches for
/// no root: whoever joins compares those.
pub(crate) fn token(
    settings: &Settings,
    ca_sha256: Digest,
    grant: Grant,
    now: Timestamp,
) -> Result<Token, getrandom::Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    Ok(Token {
        server: settings.address.url.clone(),
        ca_sha256,
        trust_domain: settings.trust_domain.clone(),
        grant,
        catalog_root_sha256: None,
        approvals_root_sha256: None,
        catalog_edition: None,
        approvals_edition: None,
        audit_key: None,
        expires: whole_second(now).saturating_add(SignedDuration::from_secs(MAX_TOKEN_SECS)).unwrap_or(now),
        secret: Secret::new(secret),
    })
}

/// The file comes before the commit: a token that counts is never lost, and one that does not count opens nothing.
async fn record(
    store: &Store,
    hdo: Option<&HdoId>,
    whom: &Principal,
    token: &Token,
    now: Timestamp,
    put: impl FnOnce() -> Result<(), InvitationError>,
) -> Result<(), InvitationError> {
    let mut tx = store.begin().await?;
    if let Some(hdo) = hdo
        && !tx.hdos().await?.iter().any(|h| h.id == *hdo)
    {
        return Err(InvitationError::NoHospital(hdo.clone()));
    }
    let there = tx.operators(hdo).await?;
    if there.iter().any(|o| o.principal() == *whom && o.revoked.is_none()) {
        return Err(InvitationError::Taken(whom.clone()));
    }
    let secret: Digest = token.secret.sha256();
    tx.insert_token(&secret, &token.grant, &Principal::Server, now, token.expires).await?;
    let subject = whom.to_string();
    let by = &Principal::Server;
    audit::append(&mut tx, now, by, Concern::of(whom), "operator.invited", &subject, json!({})).await?;
    put()?;
    tx.commit().await?;
    Ok(())
}

fn put(path: &Path, text: &str) -> Result<(), InvitationError> {
    let written = write(path, text, 0o600);
    written.map_err(|source| {
        // What was begun is no token.
        let _ = fs::remove_file(path);
        InvitationError::Write { path: path.to_owned(), source }
    })
}
