//! Who vouches for the folder: `signature.json`, a signature over the index by a key of the party whose evidence it is.
//!
//! It may be missing: an operator without a key gets the folder all the same, and `evidence verify` says that nobody has signed
//! it. One that is there must be right.

use suture_core::approval::SignedDocument as _;
use suture_core::digest::Digest;
use suture_core::evidence::{Seal, VerifiedSeal};
use suture_core::id::OperatorName;
use suture_core::sign::Signer;

use super::{About, Evidence, Files, index};
use crate::failure::{Exit, Failure, Outcome};

/// Where it is.
pub const PATH: &str = "signature.json";

/// Signs the index of a folder.
///
/// # Errors
///
/// The folder has none, or the key does not sign.
pub fn sign(about: &About, files: &mut Files, name: OperatorName, key: &dyn Signer) -> Outcome {
    let index = files.get(index::PATH).ok_or_else(|| Failure::new(format!("the folder has no {}", index::PATH)))?;
    let seal = Seal {
        kind: Seal::TYPE.to_owned(),
        format: 1,
        hdo: about.hdo.clone(),
        index_sha256: Digest::of(index),
        key: key.public(),
        name,
        signed_at: about.made,
    };
    let seal = seal.sign(key).map_err(|e| Failure::of(Exit::Failed, &e))?;
    files.insert(PATH.to_owned(), seal.bytes().to_vec());
    Ok(())
}

/// Verifies the seal, where there is one: it is over this index, and by a key that a root in the folder names for whoever signs.
///
/// # Errors
///
/// It is another folder's, was changed, or anybody's.
pub fn read(files: &Files, evidence: &Evidence) -> Outcome<Option<VerifiedSeal>> {
    let refused = |why: &str| Failure::untrusted(format!("{PATH}: {why}"));
    let Some(bytes) = files.get(PATH) else { return Ok(None) };
    let seal = VerifiedSeal::verify(bytes).map_err(|e| refused("it does not verify").because(&e))?;
    let index = files.get(index::PATH).map(|bytes| Digest::of(bytes));
    if index != Some(seal.index_sha256) {
        return Err(refused("it is over another index: another folder's, or this one was changed since"));
    }
    if seal.hdo != evidence.about.hdo {
        return Err(refused("it is another party's"));
    }
    let repository = evidence.approvals.as_ref().unwrap_or(&evidence.catalog);
    if !repository.roots.iter().any(|root| seal.is_listed(root)) {
        return Err(refused(&format!("no root in the folder names the key {} for {}", seal.key, seal.name)));
    }
    Ok(Some(seal))
}
