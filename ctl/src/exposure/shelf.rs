//! Documents that this home has fetched, by their digests: `documents/<sha256>`. What is kept is verified each time it is read.

use std::fs;

use suture_core::digest::Digest;
use suture_core::limits::{MAX_DOCUMENT_BYTES, MAX_KEPT_DOCUMENTS};

use crate::client::Client;
use crate::context::Context;
use crate::failure::Outcome;
use crate::files::{self, Access};
use crate::home::Home;

fn name(sha256: &Digest) -> String {
    format!("documents/{sha256}")
}

/// What is kept of that digest.
pub(super) fn kept(home: &Home, sha256: &Digest, limit: u64) -> Outcome<Option<Vec<u8>>> {
    let bytes = files::read(&home.path(&name(sha256))?, limit)?;
    Ok(bytes.filter(|bytes| Digest::of(bytes) == *sha256))
}

/// Keeps it. Where there are more than ever belonged to one catalog, those before are fetched again when they are asked for.
pub(super) fn keep(home: &Home, sha256: &Digest, bytes: &[u8]) -> Outcome {
    let directory = home.directory().join("documents");
    if let Ok(entries) = fs::read_dir(&directory) {
        let entries: Vec<_> = entries.flatten().collect();
        if entries.len() >= MAX_KEPT_DOCUMENTS {
            for entry in entries {
                files::remove(&entry.path())?;
            }
        }
    }
    home.write(&name(sha256), bytes, Access::Public)
}

/// A bundle's document, from this home or else from the server.
pub(super) async fn document(
    context: &Context<'_>,
    client: &mut Client,
    sha256: &Digest,
    length: u64,
) -> Outcome<Vec<u8>> {
    if let Some(bytes) = kept(&context.home, sha256, MAX_DOCUMENT_BYTES)? {
        return Ok(bytes);
    }
    let bytes = client.document(sha256, length).await?;
    keep(&context.home, sha256, &bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_on_the_disk_is_fetched_again() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let sha256 = Digest::of(b"an SBOM");
        assert_eq!(kept(&home, &sha256, 100).unwrap(), None);
        keep(&home, &sha256, b"an SBOM").unwrap();
        assert_eq!(kept(&home, &sha256, 100).unwrap().as_deref(), Some(&b"an SBOM"[..]));
        fs::write(dir.path().join(name(&sha256)), b"another").unwrap();
        assert_eq!(kept(&home, &sha256, 100).unwrap(), None);
    }
}
