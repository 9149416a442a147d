//! What a plan needs to know of a bundle, from verified bytes only.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::approval::Step;
use crate::id::{HardwareId, ProductId};
use crate::limits::{CLAIM, HASHED_BYTES_PER_SEC};
use crate::manifest::{Data, InstallKind, Manifest, ManifestError, PatchClass, Risk, manifest_path};
use crate::trust::{CatalogEntry, Repository, Status, TrustError};
use crate::version::{Release, Version};

/// A bundle of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// What an approval pins of it.
    pub step: Step,
    /// Its version, for people.
    pub version: Version,
    /// Routine or not.
    pub class: PatchClass,
    /// The least release that an update to it may start from.
    pub min_release: Release,
    /// Whether the manufacturer lets it be installed.
    pub status: Status,
    /// The product's releases with the security floors that they bring, ascending by release.
    pub floors: Vec<Floor>,
    /// From the switch to proven health, at most, in seconds.
    pub budget_secs: u32,
    /// The way back, at most, in seconds.
    pub revert_budget_secs: u32,
    /// Whether each device stays out of service after it until a person has checked it.
    #[serde(default, skip_serializing_if = "crate::manifest::is_false")]
    pub return_to_service: bool,
    /// Which installer it is made for.
    pub installer: InstallKind,
    /// What it does with the device's own data, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    /// Bytes of all payloads together.
    pub payload_bytes: u64,
    /// Where the manufacturer warns of an update to it.
    pub risks: Vec<Risk>,
}

/// A release of the product, and the security floor that a device has once it has run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// The release.
    pub release: Release,
    /// Nothing below is installed after it.
    pub floor: Release,
    /// Whether the manufacturer lets the release be installed.
    pub status: Status,
}

/// Why a bundle cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The catalog lists no such release.
    #[error("the manufacturer's catalog does not list {product} release {release}")]
    NotListed {
        /// The product.
        product: ProductId,
        /// The release.
        release: Release,
    },
    /// The manifest's bytes are not those that the catalog pins.
    #[error("the manifest of {product} release {release} is not the one that the catalog pins")]
    Bytes {
        /// The product.
        product: ProductId,
        /// The release.
        release: Release,
        /// What differs.
        source: TrustError,
    },
    /// The manifest cannot be read.
    #[error("the manifest of {product} release {release} was refused")]
    Manifest {
        /// The product.
        product: ProductId,
        /// The release.
        release: Release,
        /// Why.
        source: ManifestError,
    },
    /// The catalog and the manifest say different things.
    #[error("the catalog and the manifest of {product} release {release} differ in {field}; ask the manufacturer")]
    Differs {
        /// The product.
        product: ProductId,
        /// The release.
        release: Release,
        /// Where.
        field: &'static str,
    },
}

impl Bundle {
    /// The bundle that a verified catalog lists, with its manifest's bytes, which are verified here.
    ///
    /// # Errors
    ///
    /// It is not listed, or the manifest is another than the one listed.
    pub fn verify(
        catalog: &Repository,
        product: &ProductId,
        release: Release,
        manifest: &[u8],
    ) -> Result<Self, BundleError> {
        let path = manifest_path(product, release);
        let here = || (product.clone(), release);
        let listed = catalog.target(&path).and_then(|t| Some((t, CatalogEntry::of(t)?)));
        let Some((target, entry)) = listed else {
            let (product, release) = here();
            return Err(BundleError::NotListed { product, release });
        };
        catalog.verify_target(&path, manifest).map_err(|source| {
            let (product, release) = here();
            BundleError::Bytes { product, release, source }
        })?;
        let manifest = Manifest::parse(manifest).map_err(|source| {
            let (product, release) = here();
            BundleError::Manifest { product, release, source }
        })?;
        let fields = [
            (entry.product == manifest.product && entry.product == *product, "product"),
            (entry.release == manifest.release && entry.release == release, "release"),
            (entry.version == manifest.version, "version"),
            (entry.hardware == manifest.hardware, "hardware"),
            (entry.min_release == manifest.requires.min_release, "min_release"),
        ];
        if let Some((_, field)) = fields.into_iter().find(|(equal, _)| !equal) {
            let (product, release) = here();
            return Err(BundleError::Differs { product, release, field });
        }
        let entries = catalog.known().filter_map(|(_, t)| CatalogEntry::of(t));
        let mut floors: Vec<Floor> = entries
            .filter(|e| e.product == *product)
            .map(|e| Floor { release: e.release, floor: e.floor, status: e.status })
            .collect();
        floors.sort_by_key(|f| (f.release, f.floor));
        Ok(Self {
            step: Step {
                path,
                length: target.length,
                sha256: target.sha256,
                product: entry.product,
                release: entry.release,
                hardware: entry.hardware,
            },
            version: entry.version,
            class: manifest.class,
            min_release: entry.min_release,
            status: entry.status,
            floors,
            budget_secs: manifest.install.budget_secs,
            revert_budget_secs: manifest.install.revert_budget_secs,
            return_to_service: manifest.install.return_to_service,
            installer: manifest.install.kind,
            payload_bytes: manifest.total_length(),
            data: manifest.install.data,
            risks: manifest.risks,
        })
    }

    /// The least that a slot must last: the install and the way back.
    pub fn need(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.budget_secs) + i64::from(self.revert_budget_secs))
    }

    /// The least that a slot lasts besides: what is staged is hashed once more in it, then the interlock is claimed.
    pub fn preparation(&self) -> SignedDuration {
        let hashed = self.payload_bytes.div_ceil(HASHED_BYTES_PER_SEC);
        SignedDuration::from_secs(i64::try_from(hashed).unwrap_or(i64::MAX)).saturating_add(CLAIM)
    }

    /// Product and version, for people.
    pub fn name(&self) -> String {
        format!("{} {}", self.step.product, self.version)
    }

    /// What the manufacturer warns of in an update from that release on that hardware.
    pub fn risk(&self, from: Release, hardware: &HardwareId) -> Option<&Risk> {
        self.risks.iter().find(|risk| risk.binds(from, hardware))
    }

    /// The floor of a device that has run `release`, as far as the catalog tells.
    pub fn floor_after(&self, release: Release) -> Release {
        let brought = self.floors.iter().filter(|f| f.release <= release).map(|f| f.floor).max();
        brought.unwrap_or(Release(0))
    }
}
