//! What the hospital lists for this device, each file verified and read, wherever it comes from.

use std::collections::BTreeSet;

use suture_core::approval::{Approval, SignedDocument as _, VerifiedStop, path};
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
    /// The approvals.
    pub approvals: Vec<Approval>,
    /// The stop orders and lifts that are listed; others may have come beside the repository.
    pub stops: Vec<VerifiedStop>,
    /// The files that are still needed.
    pub kept: BTreeSet<Digest>,
}

/// All approvals and stop orders that the hospital lists, from the store or else from `files`.
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
        let is_approval = path.starts_with("approvals/");
        if !is_approval && !path.starts_with("stops/") {
            continue;
        }
        let bytes = store.document(files, repository, path).await.map_err(|e| e.reason())?;
        documents.kept.insert(target.sha256);
        if is_approval {
            let unreadable = |e| Reason::new(Code::BadMetadata, format!("{path}: {}", chain(&e)));
            documents.approvals.push(Approval::parse(&bytes).map_err(unreadable)?);
        } else {
            let stop = VerifiedStop::listed(repository.targets_metadata(), &device.hdo, &bytes);
            let stop = stop.map_err(|e| Reason::new(e.code(), format!("{path}: {}", chain(&e))))?;
            documents.stops.push(stop);
        }
    }
    Ok(documents)
}
