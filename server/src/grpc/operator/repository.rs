//! Publishing: offline-signed metadata come in force with everything that they list, or not at all.

use suture_core::principal::Principal;
use suture_core::sign::PublicKey;
use suture_proto::{Repository, v1};
use tonic::Code;

use super::super::{Api, Refusal};
use crate::effect::Listing;
use crate::exposure;
use crate::publish::{self, Offer, OnlineKeys};

/// The catalog is the manufacturer's to publish, approvals are the hospital's.
fn own(principal: &Principal, repository: Option<&v1::Repository>) -> Result<Repository, Refusal> {
    let repository = Repository::parse(repository, principal.hdo())?;
    match (&repository, principal) {
        (Repository::Catalog, Principal::Mdm(_)) => Ok(repository),
        (Repository::Approvals(hdo), Principal::Operator(own, _)) if hdo == own => Ok(repository),
        _ => Err(Refusal::new(Code::PermissionDenied, format!("{repository} is not yours to publish"))),
    }
}

impl Api {
    pub(super) async fn online_keys(
        &self,
        principal: &Principal,
        request: v1::GetOnlineKeysRequest,
    ) -> Result<v1::GetOnlineKeysResponse, Refusal> {
        let v1::GetOnlineKeysRequest { repository } = request;
        let repository = own(principal, repository.as_ref())?;
        let mut tx = self.app.store().begin().await?;
        let keys = publish::online_keys(&mut tx, &repository, self.app.seal(), principal, self.app.now()).await?;
        tx.commit().await?;
        let OnlineKeys { timestamp, snapshot, next_timestamp, next_snapshot } = keys;
        let some = |key: Option<PublicKey>| key.map(|k| k.as_bytes().to_vec()).unwrap_or_default().into();
        Ok(v1::GetOnlineKeysResponse {
            timestamp_key: some(Some(timestamp)),
            snapshot_key: some(Some(snapshot)),
            next_timestamp_key: some(next_timestamp),
            next_snapshot_key: some(next_snapshot),
        })
    }

    pub(super) async fn publish(
        &self,
        principal: &Principal,
        request: v1::PublishMetadataRequest,
    ) -> Result<v1::PublishMetadataResponse, Refusal> {
        let v1::PublishMetadataRequest { repository, roots, targets, files, delegated } = request;
        let repository = own(principal, repository.as_ref())?;
        let now = self.app.now();
        let offer = Offer {
            roots: roots.into_iter().map(Into::into).collect(),
            targets: (!targets.is_empty()).then(|| targets.into()),
            delegated: delegated.into_iter().map(|(role, bytes)| (role, bytes.into())).collect(),
            files: files.into_iter().map(|v1::TargetFile { path, content }| (path, content.into())).collect(),
        };
        let mut turn = self.app.turns().wait(&repository).await;
        let mut tx = self.app.store().begin().await?;
        turn.begin();
        let mut done = publish::publish(&mut tx, &repository, self.app.seal(), offer, principal, now).await?;
        let sent = std::mem::take(&mut done.unlisted).into_iter().collect();
        let delta_sources = self.app.settings().delta_sources;
        let (root, targets, listed) = (&done.root, &done.targets, &done.listed);
        let listing =
            Listing { repository: &repository, root, targets, listed, sent, actor: principal, now, delta_sources };
        listing.take_effect(&mut tx).await?;
        tx.commit().await?;
        drop(turn);
        self.app.news().tell();
        self.app.deltas().wake();
        if repository == Repository::Catalog {
            exposure::index::run(&self.app).await;
        } else if let Err(error) = self.app.store().look_at_members().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "steps of rollouts may be slow for a minute");
        }
        Ok(v1::PublishMetadataResponse {
            root_version: done.root_version,
            targets_version: done.targets_version,
            snapshot_version: done.snapshot_version,
            timestamp_version: done.timestamp_version,
        })
    }
}
