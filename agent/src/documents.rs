//! What the hospital lists for this device, each file verified and read, wherever it comes from.

use std::collections::BTreeSet;

use suture_core::approval::path::{self, Listed};
use suture_core::approval::{Gates, Head, Opened, Share, SignedDocument as _, VerifiedStop};
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
    /// The approvals, each as this device reads it: the head, of the slots the one shard that can name it, and where its
    /// wave waits for a signature whether it has it.
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
/// One of them cannot be had, or is refused. Of a gates document that is no error: it opens nothing then.
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
        let share = head.share(&device.device, &shard).map_err(unreadable)?;
        let gates = path::gates(&share.terms.id);
        let opened = match repository.target(&gates) {
            Some(listed) if share.needs_signature() => {
                documents.kept.insert(listed.sha256);
                opened(store, files, repository, &share, target.sha256).await
            }
            // Nobody has opened anything, or this device does not wait for it and fetches nothing.
            _ => Opened::Nothing,
        };
        documents.approvals.push(Share { opened, ..share });
    }
    Ok(documents)
}

/// What the listed gates document opens. One that cannot be had or used opens nothing, keeps no other approval back, and
/// lets the device fetch what it will install once the document is there.
async fn opened(
    store: &TrustStore,
    files: &mut impl Files,
    repository: &Repository,
    share: &Share,
    head_sha256: Digest,
) -> Opened {
    let path = path::gates(&share.terms.id);
    match store.document(files, repository, &path).await.map_err(|e| e.reason()) {
        Ok(bytes) => Gates::read(&share.terms, head_sha256, &bytes).map_or_else(
            |e| Opened::Unknown(Reason::new(Code::BadMetadata, format!("{path}: {}", chain(&e)))),
            Opened::By,
        ),
        Err(reason) => Opened::Unknown(reason),
    }
}
