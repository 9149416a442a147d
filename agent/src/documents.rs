//! What the hospital lists for this device, each file verified and read, wherever it comes from.

use std::collections::BTreeSet;

use suture_core::approval::path::{self, Listed};
use suture_core::approval::{Head, Share, SignedDocument as _, VerifiedStop};
use suture_core::digest::Digest;
use suture_core::phase::{Code, Reason};
use suture_core::trust::Repository;

use crate::agent::chain;
use crate::client::Files;
use crate::identity::Device;
use crate::trust_store::TrustStore;

/// What is listed.
#[derive(Debug, Default)]
pub struct Documents {
    /// The approvals, each as this device reads it: the head, and of the slots the one shard that can name it.
    pub approvals: Vec<Share>,
    /// The stop orders and lifts that are listed; others may have come beside the repository.
    pub stops: Vec<VerifiedStop>,
    /// The files that are still needed.
    pub kept: BTreeSet<Digest>,
}

/// All approvals and stop orders that the hospital lists, with this device's shards, from the store or else from `files`.
///
/// # Errors
///
/// One of them cannot be had, or is refused.
pub async fn documents(
    store: &TrustStore,
    files: &mut impl Files,
    repository: &Repository,
    device: &Device,
) -> Result<Documents, Reason> {
    let mut documents = Documents::default();
    documents.kept.extend(repository.target(path::SERVICE).map(|t| t.sha256));
    for (path, target) in repository.targets() {
        let Some(listed @ (Listed::Approval(_) | Listed::Stop(_))) = Listed::of(path) else { continue };
        let bytes = store.document(files, repository, path).await.map_err(|e| e.reason())?;
        documents.kept.insert(target.sha256);
        if matches!(listed, Listed::Stop(_)) {
            let stop = VerifiedStop::listed(repository.targets_metadata(), &device.hdo, &bytes);
            let stop = stop.map_err(|e| Reason::new(e.code(), format!("{path}: {}", chain(&e))))?;
            documents.stops.push(stop);
            continue;
        }
        let unreadable = |e| Reason::new(Code::BadMetadata, format!("{path}: {}", chain(&e)));
        let head = Head::parse(&bytes).map_err(unreadable)?;
        if listed != Listed::Approval(head.terms.id.clone()) {
            let text = format!("{path} holds approval {}, which is listed elsewhere or not at all", head.terms.id);
            return Err(Reason::new(Code::BadMetadata, text));
        }
        let Some((_, pinned)) = head.shard_of(&device.device) else { continue };
        let shard = store.pinned(files, &pinned).await.map_err(|e| e.reason())?;
        documents.kept.insert(pinned.sha256);
        documents.approvals.push(head.share(&device.device, &shard).map_err(unreadable)?);
    }
    Ok(documents)
}
