//! Hospitals as their manufacturer knows them: `hospitals/<hospital>/<n>.root.json`, each hospital's roots from the first on.
//!
//! The manufacturer has no hospital's root pinned. It takes the first that it is shown, and follows it from there on
//! ([`crate::letters`]); the report names its fingerprint, which people compare.

use std::collections::BTreeMap;

use suture_core::digest::Digest;
use suture_core::id::HdoId;
use suture_core::trust::{Role, Root, Verified};

use super::folder::Reading;
use crate::failure::{Failure, Outcome};

/// The roots of each hospital, ascending by version.
#[derive(Debug, Default)]
pub struct Partners(BTreeMap<HdoId, Vec<Verified<Root>>>);

/// Where a root is.
pub fn place(hdo: &HdoId, version: u64) -> String {
    format!("hospitals/{hdo}/{}", Role::Root.served_name(version))
}

/// The hospital and version that a path names.
pub fn of_path(path: &str) -> Option<(HdoId, u64)> {
    let (hdo, file) = path.strip_prefix("hospitals/")?.split_once('/')?;
    let version = file.strip_suffix(Role::Root.file_name())?.strip_suffix('.')?.parse().ok()?;
    let hdo = hdo.parse().ok()?;
    (path == place(&hdo, version)).then_some((hdo, version))
}

impl Partners {
    /// Verifies each hospital's roots: the first by itself, each other one by the one before it.
    ///
    /// # Errors
    ///
    /// One does not verify, or the one before it is missing.
    pub fn read(files: &Reading<'_>) -> Outcome<Self> {
        let mut versions: Vec<(HdoId, u64)> = files.keys().filter_map(|path| of_path(path)).collect();
        versions.sort();
        let mut partners = Self::default();
        for (hdo, version) in versions {
            let path = place(&hdo, version);
            let Some(bytes) = files.get(&path) else { continue };
            let roots = partners.0.entry(hdo).or_default();
            let root = match roots.last() {
                None => Verified::<Root>::pinned(bytes),
                Some(last) => last.next(bytes),
            };
            roots.push(root.map_err(|e| Failure::untrusted(format!("{path}: it does not verify")).because(&e))?);
        }
        Ok(partners)
    }

    /// A hospital's roots.
    pub fn roots(&self, hdo: &HdoId) -> impl Iterator<Item = &Verified<Root>> {
        self.0.get(hdo).into_iter().flatten()
    }

    /// The first root of each hospital.
    pub fn first(&self) -> impl Iterator<Item = (&HdoId, Digest)> {
        self.0.iter().filter_map(|(hdo, roots)| Some((hdo, roots.first()?.digest())))
    }
}
