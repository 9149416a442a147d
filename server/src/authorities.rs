//! The files of the certificate authority, and how another takes its place while devices and operators go on.
//!
//! ```text
//! ca.pem, ca.key              the authority that certifies
//! ca-next.pem, ca-next.key    one that is prepared: believed, not yet used
//! ca-former.pem               those that certified before: believed until they are retired; their keys are gone
//! ```
//!
//! In order: [`prepare`]; every hospital signs a `service.json` that names both; [`switch`]; certificates renew themselves;
//! [`retire`]. Each step ends with a file renamed, so it may be cut off anywhere and run again. A running server reads the
//! files when it starts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use suture_core::audit::Concern;
use suture_core::digest::Digest;
use suture_core::id::TrustDomain;
use suture_core::limits::MAX_SERVICE_AUTHORITIES;
use suture_core::principal::Principal;
use zeroize::Zeroizing;

use crate::audit;
use crate::config::Settings;
use crate::identity::{Authority, IdentityError};
use crate::init::{CA_FILE, CA_KEY_FILE, write};
use crate::store::{Store, StoreError};

/// The certificate of the authority that is prepared.
pub const NEXT_FILE: &str = "ca-next.pem";
/// Its key.
pub const NEXT_KEY_FILE: &str = "ca-next.key";
/// The certificates of those that certified before.
pub const FORMER_FILE: &str = "ca-former.pem";

/// Why the authorities cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// A file that must be there is missing or cannot be read or written.
    #[error("cannot {operation} {path}; if it is lost or damaged, restore the backup's")]
    File {
        /// `read`, `write`, …
        operation: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An authority's files are damaged or do not fit.
    #[error("the certificate authority {file} in {directory} cannot be used; restore the backup's")]
    Authority {
        /// Its certificate's file.
        file: &'static str,
        /// Where it is.
        directory: PathBuf,
        /// Why.
        source: IdentityError,
    },
    /// There is one prepared already.
    #[error("another authority is prepared already; `suture-server ca switch` uses it")]
    Prepared,
    /// There is none prepared.
    #[error("no other authority is prepared; `suture-server ca prepare` makes one")]
    NotPrepared,
    /// Nobody certified before.
    #[error("there is no former authority to retire")]
    NoFormer,
    /// Too many are believed.
    #[error("{0} authorities are believed, and that is the most; `suture-server ca retire` first")]
    TooMany(usize),
}

/// Why a change that was made is not in the audit trail.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The database.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
    /// The trail.
    #[error("the audit trail could not be written")]
    Audit(#[from] audit::AuditError),
}

/// Which authorities there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Certifies.
    pub present: Shown,
    /// Prepared.
    pub next: Option<Shown>,
    /// Certified before, and are still believed.
    pub former: Vec<Digest>,
}

/// One authority, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Where its certificate is.
    pub file: PathBuf,
    /// SHA-256 of its certificate.
    pub sha256: Digest,
}

impl Listed {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("certifies  {}  {}\n", self.present.sha256, self.present.file.display());
        if let Some(next) = &self.next {
            text += &format!("prepared   {}  {}\n", next.sha256, next.file.display());
        }
        for sha256 in &self.former {
            text += &format!("former     {sha256}\n");
        }
        text
    }
}

/// Notes a change down in the audit trail, for everybody to see.
pub async fn record(settings: &Settings, action: &str, listed: &Listed, now: Timestamp) -> Result<(), RecordError> {
    let store = Store::open(settings.database.url()).await?;
    let mut tx = store.begin().await?;
    let sum = |shown: &Shown| shown.sha256;
    let detail = serde_json::json!({
        "present": sum(&listed.present), "next": listed.next.as_ref().map(sum), "former": listed.former,
    });
    audit::append(&mut tx, now, &Principal::Server, Concern::Everybody, action, "server", detail).await?;
    tx.commit().await?;
    store.close().await;
    Ok(())
}

/// Reads the authority that certifies, believing the others, after ending a switch that was cut off.
pub fn load(directory: &Path, domain: &TrustDomain) -> Result<Authority, AuthoritiesError> {
    settle(directory, domain)?;
    let present = one(directory, CA_FILE, CA_KEY_FILE, domain)?;
    let mut others = former(directory)?;
    if directory.join(NEXT_FILE).exists() {
        others.push(one(directory, NEXT_FILE, NEXT_KEY_FILE, domain)?.certificate().clone());
    }
    Ok(present.believing(others))
}

/// Says which there are.
pub fn list(directory: &Path, domain: &TrustDomain) -> Result<Listed, AuthoritiesError> {
    settle(directory, domain)?;
    let shown = |certificate, key| {
        let sha256 = one(directory, certificate, key, domain)?.fingerprint();
        Ok(Shown { file: directory.join(certificate), sha256 })
    };
    let next = directory.join(NEXT_FILE).exists().then(|| shown(NEXT_FILE, NEXT_KEY_FILE)).transpose()?;
    let former = former(directory)?.iter().map(|c| Digest::of(c)).collect();
    Ok(Listed { present: shown(CA_FILE, CA_KEY_FILE)?, next, former })
}

/// Makes another authority, to be believed from the server's next start on.
pub fn prepare(directory: &Path, domain: &TrustDomain, now: Timestamp) -> Result<Listed, AuthoritiesError> {
    let before = list(directory, domain)?;
    if before.next.is_some() {
        return Err(AuthoritiesError::Prepared);
    }
    let believed = before.former.len() + 1;
    if believed >= MAX_SERVICE_AUTHORITIES {
        return Err(AuthoritiesError::TooMany(believed));
    }
    let made = Authority::create(domain, now);
    let (certificate, key) = made.map_err(|source| unusable(directory, NEXT_FILE, source))?;
    // The certificate last: without it a key is no authority.
    put(&directory.join(NEXT_KEY_FILE), &key, 0o600)?;
    put(&directory.join(NEXT_FILE), &certificate, 0o644)?;
    list(directory, domain)
}

/// Lets the prepared authority certify from the server's next start on. The key of the one before is destroyed.
pub fn switch(directory: &Path, domain: &TrustDomain) -> Result<Listed, AuthoritiesError> {
    let before = list(directory, domain)?;
    if before.next.is_none() {
        return Err(AuthoritiesError::NotPrepared);
    }
    if !before.former.contains(&before.present.sha256) {
        let former = match fs::read_to_string(directory.join(FORMER_FILE)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(fault("read", &directory.join(FORMER_FILE))(source)),
        };
        put(&directory.join(FORMER_FILE), &(former + &read(&directory.join(CA_FILE))?), 0o644)?;
    }
    // From here on `settle` ends what is cut off.
    rename(&directory.join(NEXT_KEY_FILE), &directory.join(CA_KEY_FILE))?;
    settle(directory, domain)?;
    list(directory, domain)
}

/// Believes the former authorities no longer, from the server's next start on: whoever still has a certificate of theirs has
/// to enrol again.
pub fn retire(directory: &Path, domain: &TrustDomain) -> Result<Listed, AuthoritiesError> {
    if list(directory, domain)?.former.is_empty() {
        return Err(AuthoritiesError::NoFormer);
    }
    let path = directory.join(FORMER_FILE);
    fs::remove_file(&path).map_err(fault("remove", &path))?;
    list(directory, domain)
}

/// Ends a switch of which only the key was renamed: then the present key is that of the certificate that is prepared.
fn settle(directory: &Path, domain: &TrustDomain) -> Result<(), AuthoritiesError> {
    let (certificate, key) = (directory.join(NEXT_FILE), directory.join(NEXT_KEY_FILE));
    if !certificate.exists() || key.exists() {
        return Ok(());
    }
    one(directory, NEXT_FILE, CA_KEY_FILE, domain)?;
    rename(&certificate, &directory.join(CA_FILE))
}

fn former(directory: &Path) -> Result<Vec<CertificateDer<'static>>, AuthoritiesError> {
    let path = directory.join(FORMER_FILE);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = read(&path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    read.map_err(|e| unusable(directory, FORMER_FILE, IdentityError::Load { what: "certificate", source: e.into() }))
}

fn one(
    directory: &Path,
    certificate: &'static str,
    key: &str,
    domain: &TrustDomain,
) -> Result<Authority, AuthoritiesError> {
    let (pem, key) = (read(&directory.join(certificate))?, read(&directory.join(key))?);
    Authority::load(&pem, &key, domain.clone()).map_err(|source| unusable(directory, certificate, source))
}

fn unusable(directory: &Path, file: &'static str, source: IdentityError) -> AuthoritiesError {
    AuthoritiesError::Authority { file, directory: directory.to_owned(), source }
}

fn fault(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuthoritiesError {
    let path = path.to_owned();
    move |source| AuthoritiesError::File { operation, path, source }
}

fn read(path: &Path) -> Result<Zeroizing<String>, AuthoritiesError> {
    fs::read_to_string(path).map(Zeroizing::new).map_err(fault("read", path))
}

fn put(path: &Path, content: &str, mode: u32) -> Result<(), AuthoritiesError> {
    write(path, content, mode).map_err(fault("write", path))
}

fn rename(from: &Path, to: &Path) -> Result<(), AuthoritiesError> {
    fs::rename(from, to).map_err(fault("rename", from))?;
    let directory = to.parent().unwrap_or(to);
    fs::File::open(directory).and_then(|d| d.sync_all()).map_err(fault("sync", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> TrustDomain {
        "acme.example".parse().unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-24T15:00:00Z".parse().unwrap()
    }

    fn begun() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = Authority::create(&domain(), now()).unwrap();
        write(&dir.path().join(CA_KEY_FILE), &key, 0o600).unwrap();
        write(&dir.path().join(CA_FILE), &certificate, 0o644).unwrap();
        dir
    }

    #[test]
    fn one_authority_takes_the_place_of_another_and_both_are_believed_until_the_old_one_is_retired() {
        let dir = begun();
        let dir = dir.path();
        let first = load(dir, &domain()).unwrap().fingerprint();
        assert!(matches!(switch(dir, &domain()), Err(AuthoritiesError::NotPrepared)));
        assert!(matches!(retire(dir, &domain()), Err(AuthoritiesError::NoFormer)));
        let second = prepare(dir, &domain(), now()).unwrap().next.unwrap().sha256;
        assert!(matches!(prepare(dir, &domain(), now()), Err(AuthoritiesError::Prepared)));
        let believed = |a: &Authority| a.believed().map(|c| Digest::of(c)).collect::<Vec<_>>();
        let authority = load(dir, &domain()).unwrap();
        assert_eq!((authority.fingerprint(), believed(&authority)), (first, vec![first, second]));

        let after = switch(dir, &domain()).unwrap();
        assert_eq!((after.present.sha256, after.next, after.former), (second, None, vec![first]));
        let authority = load(dir, &domain()).unwrap();
        assert_eq!(believed(&authority), [second, first]);
        retire(dir, &domain()).unwrap();
        assert_eq!(believed(&load(dir, &domain()).unwrap()), [second]);
    }

    #[test]
    fn a_switch_that_was_cut_off_is_ended_by_whoever_reads_next() {
        let dir = begun();
        let dir = dir.path();
        let first = load(dir, &domain()).unwrap().fingerprint();
        let second = prepare(dir, &domain(), now()).unwrap().next.unwrap().sha256;
        // After the former one was noted down, and after the key was renamed.
        fs::copy(dir.join(CA_FILE), dir.join(FORMER_FILE)).unwrap();
        assert_eq!(load(dir, &domain()).unwrap().fingerprint(), first);
        fs::rename(dir.join(NEXT_KEY_FILE), dir.join(CA_KEY_FILE)).unwrap();
        let listed = list(dir, &domain()).unwrap();
        assert_eq!((listed.present.sha256, listed.next, listed.former), (second, None, vec![first]));
    }
}
