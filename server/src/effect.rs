//! What a publication changes in the rows: the catalog's bundles, the hospital's rosters and rollouts.
//!
//! It looks at everything that is listed now and repeats what is there already, so that a publication that was cut off,
//! or a row that was lost, is made good by the next one. Rows are for orchestration and for people; devices read the
//! signed files alone.

use jiff::Timestamp;
use suture_core::approval::{
    Approval, DocumentError, OperatorDocument, Roster, Service, SignedDocument, StopError, VerifiedStop, path,
};
use suture_core::id::HdoId;
use suture_core::manifest::{Manifest, ManifestError};
use suture_core::principal::Principal;
use suture_core::trust::{CatalogEntry, Targets, Verified};
use suture_core::version::Version;
use suture_proto::Repository;

use crate::rollout::run::{self, RolloutError};
use crate::store::bundles::Bundle;
use crate::store::{StoreError, Tx};

/// Why a publication that was verified cannot take effect. Nothing of it is stored then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EffectError {
    /// A catalog target without the manufacturer's word on what it is.
    #[error("{0}: its `custom` part does not say what bundle it is")]
    NoEntry(String),
    /// A manifest that cannot be read.
    #[error("{path}")]
    Manifest { path: String, source: ManifestError },
    /// A manifest that says otherwise than the catalog.
    #[error("{0}: the manifest and the catalog's `custom` part contradict one another")]
    Contradiction(String),
    /// A document of the approvals repository that cannot be read.
    #[error("{path}")]
    Document { path: String, source: DocumentError },
    /// A stop order that is refused.
    #[error("{path}")]
    Stop { path: String, source: StopError },
    /// A document of the approvals repository that is of another hospital, or not where it belongs.
    #[error("{0}: it is of another hospital, or its id is not the one in its path")]
    Misplaced(String),
    /// A directory that devices do not know.
    #[error("{0}: approvals repositories hold approvals/, operator/, rosters/, calendars/, stops/ and service.json")]
    UnknownPath(String),
    /// A target that is listed and not stored.
    #[error("{0}: it is listed and not stored")]
    Missing(String),
    /// A rollout could not be begun or ended.
    #[error("a rollout could not be changed")]
    Rollout(#[from] RolloutError),
    /// The database failed.
    #[error("the publication's rows could not be written")]
    Store(#[from] StoreError),
}

/// Everything that a repository lists now, with the bytes of what is read.
pub(crate) struct Listing<'a> {
    /// The repository.
    pub(crate) repository: &'a Repository,
    /// Its targets metadata, new or as before.
    pub(crate) targets: &'a Verified<Targets>,
    /// Who published.
    pub(crate) actor: &'a Principal,
    /// When.
    pub(crate) now: Timestamp,
}

impl Listing<'_> {
    /// Brings the rows in line.
    pub(crate) async fn take_effect(&self, tx: &mut Tx) -> Result<(), EffectError> {
        match self.repository {
            Repository::Catalog => self.bundles(tx).await,
            Repository::Approvals(hdo) => self.approvals(tx, hdo).await,
        }
    }

    async fn bytes(&self, tx: &mut Tx, path: &str) -> Result<Vec<u8>, EffectError> {
        let missing = || EffectError::Missing(path.to_owned());
        let name = self.targets.file_name(path).ok_or_else(missing)?;
        let bytes = tx.target_file(&self.repository.to_string(), &name).await?;
        bytes.ok_or_else(missing)
    }

    async fn document<T: SignedDocument>(&self, tx: &mut Tx, path: &str) -> Result<T, EffectError> {
        let bytes = self.bytes(tx, path).await?;
        T::parse(&bytes).map_err(|source| EffectError::Document { path: path.to_owned(), source })
    }

    async fn bundles(&self, tx: &mut Tx) -> Result<(), EffectError> {
        for (path, target) in self.targets.targets() {
            let entry = CatalogEntry::of(target).ok_or_else(|| EffectError::NoEntry(path.to_owned()))?;
            let bytes = self.bytes(tx, path).await?;
            let manifest =
                Manifest::parse(&bytes).map_err(|source| EffectError::Manifest { path: path.to_owned(), source })?;
            let equal = manifest.product == entry.product
                && manifest.release == entry.release
                && manifest.version == entry.version
                && manifest.hardware == entry.hardware
                && manifest.requires.min_release == entry.min_release
                && manifest.path() == path;
            if !equal {
                return Err(EffectError::Contradiction(path.to_owned()));
            }
            tx.put_bundle(&Bundle {
                payload_length: manifest.total_length(),
                product: entry.product,
                release: entry.release,
                version: entry.version,
                path: path.to_owned(),
                manifest_sha256: target.sha256,
                status: entry.status.as_str().to_owned(),
                published: self.now,
            })
            .await?;
        }
        Ok(())
    }

    async fn approvals(&self, tx: &mut Tx, hdo: &HdoId) -> Result<(), EffectError> {
        let mut roster = Vec::new();
        let mut approvals = Vec::new();
        let mut stops = Vec::new();
        for (path, target) in self.targets.targets() {
            let misplaced = || EffectError::Misplaced(path.to_owned());
            match path.split_once('/') {
                Some(("approvals", file)) => {
                    let approval: Approval = self.document(tx, path).await?;
                    if approval.hdo != *hdo || file != format!("{}.json", approval.id) {
                        return Err(misplaced());
                    }
                    approvals.push((approval, target.sha256));
                }
                Some(("rosters", _)) => {
                    let part: Roster = self.document(tx, path).await?;
                    if part.hdo != *hdo {
                        return Err(misplaced());
                    }
                    roster.extend(part.devices.into_iter().map(|d| (d.id, d.report_key)));
                }
                Some(("stops", file)) => {
                    let bytes = self.bytes(tx, path).await?;
                    let stop = VerifiedStop::listed(self.targets, hdo, &bytes)
                        .map_err(|source| EffectError::Stop { path: path.to_owned(), source })?;
                    if file != format!("{}.json", stop.approval) {
                        return Err(misplaced());
                    }
                    stops.push(stop);
                }
                Some(("operator" | "calendars", _)) => {}
                None if path == path::SERVICE => {
                    let service: Service = self.document(tx, path).await?;
                    if service.hdo != *hdo {
                        return Err(misplaced());
                    }
                }
                _ => return Err(EffectError::UnknownPath(path.to_owned())),
            }
        }
        roster.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(pair) = roster.windows(2).find(|pair| pair.first().map(|d| &d.0) == pair.last().map(|d| &d.0)) {
            let twice = pair.first().map(|d| d.0.to_string()).unwrap_or_default();
            return Err(EffectError::Misplaced(format!("device {twice} on two rosters")));
        }
        tx.set_roster(hdo, &roster).await?;
        approvals.sort_by(|a, b| (a.0.created, &a.0.id).cmp(&(b.0.created, &b.0.id)));
        for (approval, sha256) in &approvals {
            let notes = self.notes(tx, approval).await?;
            let version = self.version(tx, approval).await?;
            run::begin(tx, approval, *sha256, notes.as_ref(), version, self.actor, self.now).await?;
        }
        for stop in &stops {
            run::stop(tx, hdo, stop, self.actor, self.now).await?;
        }
        tx.drop_stops(hdo, self.now).await?;
        Ok(())
    }

    /// The operators' document that the approval pins.
    async fn notes(&self, tx: &mut Tx, approval: &Approval) -> Result<Option<OperatorDocument>, EffectError> {
        let pinned = &approval.operator_document;
        let Some(target) = self.targets.target(&pinned.path) else { return Ok(None) };
        if target.sha256 != pinned.sha256 {
            return Err(EffectError::Misplaced(pinned.path.clone()));
        }
        self.document(tx, &pinned.path).await.map(Some)
    }

    /// What people call the release that an approval leads to; the release's number where the catalog has none.
    async fn version(&self, tx: &mut Tx, approval: &Approval) -> Result<Version, EffectError> {
        let named = match approval.steps.last() {
            Some(step) => tx.bundle_version(&step.product, step.release).await?,
            None => None,
        };
        let number = || approval.steps.last().map_or(0, |s| s.release.0).to_string().parse();
        match named {
            Some(version) => Ok(version),
            None => number().map_err(|_| EffectError::UnknownPath(approval.id.to_string())),
        }
    }
}
