//! A refresh in one call, between the wire and core.

use suture_core::digest::Digest;
use suture_core::trust::{Held, News};

use crate::convert::{Invalid, parse_digest};
use crate::v1;

impl From<&Held> for v1::HeldMetadata {
    fn from(held: &Held) -> Self {
        let Held { root, timestamp, snapshot, targets } = held;
        let bytes = |digest: &Option<Digest>| digest.map(|d| d.as_bytes().to_vec().into()).unwrap_or_default();
        Self {
            root_version: *root,
            timestamp_sha256: bytes(timestamp),
            snapshot_sha256: bytes(snapshot),
            targets_sha256: bytes(targets),
        }
    }
}

impl TryFrom<&v1::HeldMetadata> for Held {
    type Error = Invalid;
    fn try_from(held: &v1::HeldMetadata) -> Result<Self, Invalid> {
        let v1::HeldMetadata { root_version, timestamp_sha256, snapshot_sha256, targets_sha256 } = held;
        let digest = |field, bytes: &[u8]| (!bytes.is_empty()).then(|| parse_digest(field, bytes)).transpose();
        Ok(Self {
            root: *root_version,
            timestamp: digest("timestamp_sha256", timestamp_sha256)?,
            snapshot: digest("snapshot_sha256", snapshot_sha256)?,
            targets: digest("targets_sha256", targets_sha256)?,
        })
    }
}

impl From<v1::RepositoryNews> for News {
    fn from(news: v1::RepositoryNews) -> Self {
        let v1::RepositoryNews { files, root_version, timestamp_stands } = news;
        let files = files.into_iter().map(|v1::MetadataFile { name, content }| (name, content.into()));
        Self::new(files, (root_version > 0).then_some(root_version), timestamp_stands)
    }
}
