//! The manifest: what one version of a product is. The SHA-256 of its canonical bytes is the bundle's identity.
//!
//! It carries no signature of its own: the catalog's targets metadata, which is signed, pins its length and digest.

mod data;
mod risk;

use serde::{Deserialize, Serialize};

pub use self::data::{Change, Data};
pub use self::risk::Risk;
use crate::digest::Digest;
use crate::id::{HardwareId, PayloadName, ProductId};
use crate::json::{self, JsonError};
use crate::limits::{MAX_DOCUMENT_BYTES, MAX_DOCUMENTS, MAX_INDEX_BYTES, MAX_MANIFEST_BYTES, MAX_PAYLOADS, MAX_RISKS};
use crate::version::{Release, Version};

/// The value of `_type` in a manifest.
pub const TYPE: &str = "suture-manifest";

/// One version of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The product.
    pub product: ProductId,
    /// Its version, for people.
    pub version: Version,
    /// Its place in the product's order.
    pub release: Release,
    /// Hardware revisions that it runs on; at least one.
    pub hardware: Vec<HardwareId>,
    /// What must run before it may be installed.
    pub requires: Requires,
    /// Routine or not.
    pub class: PatchClass,
    /// How it is installed and how long that takes.
    pub install: Install,
    /// What is installed, each at its name in the slot.
    pub payloads: Vec<Payload>,
    /// What travels with it for people: release notes, SBOM, VEX, MDS2.
    pub documents: Vec<Document>,
    /// Updates to it that the manufacturer warns of. Manifests that were made before there were any say nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risks: Vec<Risk>,
}

/// What must run before a bundle may be installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requires {
    /// The least release that an update may start from; 0 for any.
    pub min_release: Release,
}

/// The regulator's two kinds of patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatchClass {
    /// Part of the regular cycle.
    Routine,
    /// Answers an uncontrolled risk.
    OutOfCycle,
}

/// How a bundle is installed, with the manufacturer's word on how long that takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Install {
    /// The installer that the device must have.
    pub kind: InstallKind,
    /// From the switch to proven health, at most, in seconds.
    pub budget_secs: u32,
    /// The way back, at most, in seconds.
    pub revert_budget_secs: u32,
    /// Whether a person must check the device after it is confirmed, before it is in clinical use again. Manifests that were
    /// made before this could be asked for do not ask.
    #[serde(default, skip_serializing_if = "is_false")]
    pub return_to_service: bool,
    /// What it does with the device's own data; none where it leaves them as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
pub(crate) const fn is_false(asked: &bool) -> bool {
    !*asked
}

/// Which installer a bundle is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallKind {
    /// Two directories and a link that names the one in use.
    Slots,
    /// Two block devices, or files, of which the boot loader starts one.
    Image,
    /// The device maker's own program, called for each step.
    Command,
    /// RAUC, which is given a bundle of its own.
    Rauc,
}

impl InstallKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Slots, Self::Image, Self::Command, Self::Rauc];

    /// The name in JSON, TOML and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slots => "slots",
            Self::Image => "image",
            Self::Command => "command",
            Self::Rauc => "rauc",
        }
    }
}

impl std::fmt::Display for InstallKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// Its name in the slot; unique in the manifest.
    pub name: PayloadName,
    /// What its bytes are.
    pub format: PayloadFormat,
    /// Its length in bytes.
    pub length: u64,
    /// SHA-256 over all of it.
    pub sha256: Digest,
    /// Length of its chunk index in bytes.
    pub index_length: u64,
    /// SHA-256 of its chunk index.
    pub index_sha256: Digest,
}

/// What a payload's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayloadFormat {
    /// A directory, in the order and form of [`crate::archive`].
    Tree,
    /// A file, as it is.
    Image,
}

/// Something that travels with a bundle for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// What it is.
    pub kind: DocumentKind,
    /// Its file name.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// SHA-256 over all of it.
    pub sha256: Digest,
}

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentKind {
    /// What changed, for people.
    ReleaseNotes,
    /// Software bill of materials.
    Sbom,
    /// Vulnerability exploitability statements.
    Vex,
    /// Manufacturer disclosure statement for medical device security.
    Mds2,
    /// How to configure it securely.
    SecurityConfiguration,
    /// Evidence of tests.
    TestEvidence,
    /// Anything else.
    Other,
}

impl DocumentKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ReleaseNotes,
        Self::Sbom,
        Self::Vex,
        Self::Mds2,
        Self::SecurityConfiguration,
        Self::TestEvidence,
        Self::Other,
    ];

    /// The name in JSON, TOML and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReleaseNotes => "release-notes",
            Self::Sbom => "sbom",
            Self::Vex => "vex",
            Self::Mds2 => "mds2",
            Self::SecurityConfiguration => "security-configuration",
            Self::TestEvidence => "test-evidence",
            Self::Other => "other",
        }
    }
}

impl std::fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for DocumentKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::as_str).join(", ");
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or_else(|| format!("a document is one of {}", names()))
    }
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Longer than any manifest may be.
    #[error("the manifest has {0} bytes, more than {MAX_MANIFEST_BYTES}")]
    TooLong(usize),
    /// Not strict JSON of the manifest's shape.
    #[error("the manifest cannot be read")]
    Json(#[from] JsonError),
    /// Readable, but it contradicts itself or a bound.
    #[error("the manifest is not valid: {0}")]
    Rule(String),
}

impl Manifest {
    /// Reads and validates.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong(bytes.len()));
        }
        let manifest: Self = json::from_slice(bytes)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// The canonical bytes; their SHA-256 is the bundle's identity.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        self.validate()?;
        Ok(json::to_canonical(self)?)
    }

    /// The path under which the catalog lists it: `bundles/<product>/<release>/manifest.json`.
    pub fn path(&self) -> String {
        manifest_path(&self.product, self.release)
    }

    /// Bytes of all payloads together.
    pub fn total_length(&self) -> u64 {
        self.payloads.iter().fold(0, |sum, p| sum.saturating_add(p.length))
    }

    /// What the manufacturer warns of in an update from that release on that hardware.
    pub fn risk(&self, from: Release, hardware: &HardwareId) -> Option<&Risk> {
        self.risks.iter().find(|risk| risk.binds(from, hardware))
    }

    fn validate(&self) -> Result<(), ManifestError> {
        let rule = |ok: bool, text: &str| if ok { Ok(()) } else { Err(ManifestError::Rule(text.to_owned())) };
        rule(self.kind == TYPE, "_type is not suture-manifest")?;
        rule(self.format == 1, "format is not 1: this program is too old for it")?;
        rule(self.release.0 > 0, "release is 0; the first is 1")?;
        rule(self.requires.min_release < self.release, "requires.min_release is not below release")?;
        rule(!self.hardware.is_empty() && self.hardware.len() <= 256, "hardware lists none, or more than 256")?;
        rule(
            self.install.budget_secs > 0 && self.install.budget_secs <= 86_400,
            "install.budget_secs is not 1 to 86400",
        )?;
        rule(self.install.revert_budget_secs <= 86_400, "install.revert_budget_secs is over 86400")?;
        rule(!self.payloads.is_empty() && self.payloads.len() <= MAX_PAYLOADS, "payloads lists none, or too many")?;
        for (i, p) in self.payloads.iter().enumerate() {
            rule(p.length > 0, "a payload is empty")?;
            rule(p.index_length > 0 && p.index_length <= MAX_INDEX_BYTES, "a payload's index is empty or too long")?;
            rule(!self.payloads.iter().take(i).any(|q| q.name == p.name), "two payloads have one name")?;
        }
        let images = self.payloads.iter().all(|p| p.format == PayloadFormat::Image);
        match self.install.kind {
            InstallKind::Slots | InstallKind::Command => {}
            InstallKind::Image => rule(images, "install.kind is image, and a payload's format is not")?,
            InstallKind::Rauc => rule(
                images && self.payloads.len() == 1,
                "install.kind is rauc, which takes one payload of format image: the RAUC bundle",
            )?,
        }
        rule(self.documents.len() <= MAX_DOCUMENTS, "documents lists too many")?;
        for d in &self.documents {
            let plain = !d.name.is_empty() && d.name.len() <= 128 && !d.name.starts_with('.');
            let plain = plain && d.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
            rule(plain, "a document's name is not a plain file name")?;
            rule(d.length <= MAX_DOCUMENT_BYTES, "a document is too long")?;
        }
        if let Some(broken) = self.install.data.as_ref().and_then(Data::broken_rule) {
            rule(false, broken)?;
        }
        rule(self.risks.len() <= MAX_RISKS, "risks lists too many")?;
        if let Some(broken) = self.risks.iter().find_map(Risk::broken_rule) {
            rule(false, broken)?;
        }
        Ok(())
    }
}

/// Where the catalog lists a product's release.
pub fn manifest_path(product: &ProductId, release: Release) -> String {
    format!("bundles/{product}/{release}/manifest.json")
}
