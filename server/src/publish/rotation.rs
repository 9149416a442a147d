//! `suture-server keys`: which online keys the server holds, and the next ones.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use suture_core::principal::Principal;
use suture_proto::Repository;

use super::PublishError;
use super::keys::{OnlineKeys, online_keys, prepare_next};
use super::resign::parse;
use crate::app::{AppError, read_seal};
use crate::config::Settings;
use crate::init::SEAL_FILE;
use crate::store::{Store, StoreError, Tx};

/// The online keys of one repository.
#[derive(Debug, Serialize)]
pub struct Held {
    /// Which: `catalog` or `approvals/<hdo>`.
    #[serde(serialize_with = "name")]
    pub repository: Repository,
    /// Their public halves.
    #[serde(flatten)]
    pub keys: OnlineKeys,
}

fn name<S: Serializer>(repository: &Repository, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(repository)
}

/// Why keys were neither shown nor made.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The seal key cannot be had.
    #[error("the seal key cannot be used")]
    Seal(#[from] AppError),
    /// No such repository has been published.
    #[error("there is no repository {asked:?} here; there are: {here}")]
    Unknown {
        /// What was asked for.
        asked: String,
        /// What there is.
        here: String,
    },
    /// The keys could not be made.
    #[error("the online keys of {repository} could not be made")]
    Keys {
        /// Whose.
        repository: Repository,
        /// Why.
        source: PublishError,
    },
    /// The database.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
}

/// The online keys of every published repository. A server may be running.
pub async fn list(settings: &Settings, now: Timestamp) -> Result<Vec<Held>, RotationError> {
    each(settings, None, Deed::Look, now).await
}

/// Prepares the next online keys, of one repository (`catalog`, `approvals/<hdo>`) or of all that are published; keys that
/// are prepared already stay, unless `again`. A server may be running.
pub async fn rotate(
    settings: &Settings,
    repository: Option<&str>,
    again: bool,
    now: Timestamp,
) -> Result<Vec<Held>, RotationError> {
    each(settings, repository, Deed::Prepare { again }, now).await
}

#[derive(Clone, Copy)]
enum Deed {
    Look,
    Prepare { again: bool },
}

async fn each(settings: &Settings, only: Option<&str>, deed: Deed, now: Timestamp) -> Result<Vec<Held>, RotationError> {
    let seal = read_seal(&settings.data_dir.join(SEAL_FILE))?;
    let store = Store::open(settings.database.url()).await?;
    let mut tx = store.begin().await?;
    let here = tx.repositories().await?;
    let chosen: Vec<&String> = here.iter().filter(|name| only.is_none_or(|only| only == name.as_str())).collect();
    if let (Some(asked), []) = (only, chosen.as_slice()) {
        return Err(RotationError::Unknown { asked: asked.to_owned(), here: here.join(", ") });
    }
    let mut held = Vec::with_capacity(chosen.len());
    for repository in chosen.into_iter().filter_map(|name| parse(name)) {
        let keys = one(&mut tx, &repository, &seal, deed, now).await;
        let keys = keys.map_err(|source| RotationError::Keys { repository: repository.clone(), source })?;
        held.push(Held { repository, keys });
    }
    tx.commit().await?;
    store.close().await;
    Ok(held)
}

async fn one(
    tx: &mut Tx,
    repository: &Repository,
    seal: &str,
    deed: Deed,
    now: Timestamp,
) -> Result<OnlineKeys, PublishError> {
    match deed {
        Deed::Look => online_keys(tx, repository, seal, &Principal::Server, now).await,
        Deed::Prepare { again } => prepare_next(tx, repository, seal, again, &Principal::Server, now).await,
    }
}
