//! `index.json`: every file of the folder, and what all of it is about.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::utc;
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, HdoId, ProductId};
use suture_core::version::Release;

use super::kind::Kind;
use super::{Files, seal};
use crate::failure::{Failure, OrFail as _, Outcome};

/// Where it is.
pub const PATH: &str = "index.json";

/// What the evidence is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Subject {
    /// One rollout.
    Rollout(ApprovalId),
    /// One device.
    Device(DeviceId),
    /// A product, or one release of it.
    Product {
        /// The product.
        product: ProductId,
        /// The release; none for all.
        release: Option<Release>,
    },
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rollout(id) => write!(f, "rollout {id}"),
            Self::Device(id) => write!(f, "device {id}"),
            Self::Product { product, release: Some(release) } => write!(f, "product {product}, release {release}"),
            Self::Product { product, release: None } => write!(f, "product {product}"),
        }
    }
}

/// What the evidence is about, who made it and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// What.
    pub subject: Subject,
    /// The hospital whose evidence it is; none where it is the manufacturer's.
    pub hdo: Option<HdoId>,
    /// Whose certificate it was made with.
    pub by: String,
    /// The server that was asked.
    pub server: String,
    /// When, by the clock of the machine that made it. Every signature counts as of then.
    #[serde(with = "utc")]
    pub made: Timestamp,
    /// The program that drew up the facts and the pages.
    pub program: String,
}

/// The program, as [`About::program`] has it.
pub fn program() -> String {
    format!("suturectl {}", env!("CARGO_PKG_VERSION"))
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Its path in the folder.
    pub path: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: Digest,
    /// What it is.
    pub what: String,
    /// What it rests on: a signature, a pin, the server's word, or the other files.
    pub rests_on: String,
}

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Always `suture-evidence`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of the folder; 1.
    pub format: u32,
    /// What it is about.
    pub about: About,
    /// Every file but this one and the signature over it, ascending by path.
    pub files: Vec<Listed>,
    /// SHA-256 over all that stands above in canonical form, so that a slip of the disk is noticed here too. It proves nothing
    /// against whoever can compute it; that is for [`seal`].
    pub sha256: Digest,
}

#[derive(Serialize)]
struct Sealed<'a> {
    #[serde(rename = "_type")]
    kind: &'a str,
    format: u32,
    about: &'a About,
    files: &'a [Listed],
}

impl Index {
    /// The value of `_type`.
    pub const TYPE: &'static str = "suture-evidence";

    /// Of these files.
    ///
    /// # Errors
    ///
    /// One has no place in the folder.
    pub fn of(about: &About, files: &Files) -> Outcome<Self> {
        let mut listed = Vec::with_capacity(files.len());
        for (path, bytes) in files.iter().filter(|(path, _)| *path != PATH && *path != seal::PATH) {
            let kind = Kind::of(path).ok_or_else(|| stray(path))?;
            listed.push(Listed {
                path: path.clone(),
                length: bytes.len() as u64,
                sha256: Digest::of(bytes),
                what: kind.what().to_owned(),
                rests_on: kind.rests_on().to_owned(),
            });
        }
        let about = about.clone();
        let sha256 = digest(1, &about, &listed)?;
        Ok(Self { kind: Self::TYPE.to_owned(), format: 1, about, files: listed, sha256 })
    }

    /// Reads one, and whether it is as it was written.
    ///
    /// # Errors
    ///
    /// It is none, or was changed.
    pub fn parse(bytes: &[u8]) -> Outcome<Self> {
        let changed = |why: &str| Failure::untrusted(format!("{PATH}: {why}"));
        let index: Self = suture_core::json::from_slice(bytes).map_err(|e| changed("it cannot be read").because(&e))?;
        if index.kind != Self::TYPE || index.format != 1 {
            return Err(changed("it is of another kind or format").next("is this suturectl older than the folder?"));
        }
        if index.sha256 != digest(index.format, &index.about, &index.files)? || index.to_bytes()? != bytes {
            return Err(changed("it is not as it was written"));
        }
        Ok(index)
    }

    /// For the disk: JSON that people can read, the same bytes each time.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn to_bytes(&self) -> Outcome<Vec<u8>> {
        pretty(self)
    }
}

fn digest(format: u32, about: &About, files: &[Listed]) -> Outcome<Digest> {
    let sealed = Sealed { kind: Index::TYPE, format, about, files };
    let bytes = suture_core::json::to_canonical(&sealed).or_fail(|| format!("{PATH} cannot be written"))?;
    Ok(Digest::of(&bytes))
}

/// That a file has no place in the folder.
pub fn stray(path: &str) -> Failure {
    Failure::untrusted(format!("{path}: the folder has no such file"))
}

/// JSON for people, with a line's end.
///
/// # Errors
///
/// It cannot be written.
pub fn pretty<T: Serialize>(value: &T) -> Outcome<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).or_fail(|| "cannot write JSON".to_owned())?;
    bytes.push(b'\n');
    Ok(bytes)
}
