//! What a bundle is made from: a TOML file beside the payloads.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use suture_core::id::{HardwareId, PayloadName, ProductId};
use suture_core::manifest::{DocumentKind, Install, PatchClass, PayloadFormat, Risk};
use suture_core::version::{Release, Version};

use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files;

const MAX_SPEC_BYTES: u64 = 1 << 20;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The product.
    pub product: ProductId,
    /// The version, for people.
    pub version: Version,
    /// Its place in the product's order.
    pub release: Release,
    /// Hardware revisions that it runs on.
    pub hardware: Vec<HardwareId>,
    /// The least release that an update may start from.
    #[serde(default = "any")]
    pub min_release: Release,
    /// Routine or out of cycle.
    pub class: PatchClass,
    /// How it is installed.
    pub install: Install,
    /// What is installed.
    pub payload: Vec<PayloadSpec>,
    /// What travels with it.
    #[serde(default)]
    pub document: Vec<DocumentSpec>,
    /// Updates to it that the manufacturer warns of.
    #[serde(default)]
    pub risk: Vec<Risk>,
}

/// A payload in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadSpec {
    /// Its name in the slot.
    pub name: PayloadName,
    /// `tree` or `image`.
    pub format: PayloadFormat,
    /// Where it is, from the file's own directory.
    pub path: PathBuf,
}

/// A document in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentSpec {
    /// What it is.
    pub kind: DocumentKind,
    /// Where it is, from the file's own directory.
    pub path: PathBuf,
}

fn any() -> Release {
    Release(0)
}

impl Spec {
    /// Reads the file and makes its paths relative to its own directory.
    pub fn read(path: &Path) -> Outcome<Self> {
        let bytes = files::read(path, MAX_SPEC_BYTES)?
            .ok_or_else(|| Failure::new(format!("there is no bundle specification {}", path.display())))?;
        let text = String::from_utf8(bytes).or_fail(|| format!("{} is no text", path.display()))?;
        let mut spec: Self =
            toml::from_str(&text).or_fail(|| format!("the bundle specification {} is not valid", path.display()))?;
        let directory = path.parent().unwrap_or(Path::new("."));
        for p in &mut spec.payload {
            p.path = directory.join(&p.path);
        }
        for d in &mut spec.document {
            d.path = directory.join(&d.path);
        }
        Ok(spec)
    }
}
