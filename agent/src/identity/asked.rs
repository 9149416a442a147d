//! The keys that a token is shown with, on the disk before the server hears of them.
//!
//! Accident: the power fails, or the disk is full, after the server has spent the token and before the certificate lies here.
//! The server answers the same token again as long as it lives, to the same keys alone: so these are kept with the token's
//! mark until what enrolment settled lies on the disk, and whoever runs the same command again shows them again.

use std::path::Path;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use suture_core::digest::Digest;
use suture_core::sign::LocalKey;
use zeroize::Zeroizing;

use super::{IdentityError, Seed};
use crate::durable::{self, DurableError};

const FILE: &str = "asked.pem";
const BEGIN: &str = "-----BEGIN ";

/// A device's two keys, before it is one of the hospital's.
pub(super) struct Asked {
    /// For connections.
    pub(super) tls: KeyPair,
    /// For reports.
    pub(super) report: LocalKey,
}

impl Asked {
    /// Those that this token was shown with before, where it was.
    ///
    /// # Errors
    ///
    /// The disk. What is not whole was never shown.
    pub(super) fn before(dir: &Path, token: &Digest) -> Result<Option<Self>, DurableError> {
        let bytes = durable::read(&dir.join(FILE), durable::MAX_STATE_BYTES)?.map(Zeroizing::new);
        Ok(bytes.and_then(|bytes| read(&bytes, token)))
    }

    /// Those that this token was shown with before, or new ones, which lie on the disk from here on.
    ///
    /// # Errors
    ///
    /// The disk, or no key can be made.
    pub(super) fn with(dir: &Path, token: &Digest, seed: &Seed) -> Result<Self, IdentityError> {
        if let Some(before) = Self::before(dir, token)? {
            return Ok(before);
        }
        let made = Self { tls: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?, report: LocalKey::from_seed(seed) };
        let mut text = Zeroizing::new(format!("{token}\n"));
        text.push_str(&Zeroizing::new(made.tls.serialize_pem()));
        text.push_str(&made.report.to_plain_pem()?);
        durable::write(&dir.join(FILE), text.as_bytes(), durable::SECRET)?;
        Ok(made)
    }

    /// They have served: what they are certified as lies on the disk.
    ///
    /// # Errors
    ///
    /// The disk.
    pub(super) fn forget(dir: &Path) -> Result<(), DurableError> {
        durable::remove(&dir.join(FILE))
    }
}

fn read(bytes: &[u8], token: &Digest) -> Option<Asked> {
    let (mark, keys) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let (second, _) = keys.match_indices(BEGIN).nth(1)?;
    let (tls, report) = keys.split_at_checked(second)?;
    (mark == token.to_string()).then_some(())?;
    Some(Asked { tls: KeyPair::from_pem(tls).ok()?, report: LocalKey::from_plain_pem(report).ok()? })
}

#[cfg(test)]
mod tests {
    use rcgen::PublicKeyData as _;
    use suture_core::sign::Signer as _;

    use super::*;

    #[test]
    fn one_token_is_shown_with_the_same_keys_and_another_with_others() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let seed = |n| Zeroizing::new([n; 32]);
        let shown = |a: &Asked| (a.tls.subject_public_key_info(), a.report.public());
        let first = shown(&Asked::with(dir.path(), &one, &seed(1)).unwrap());
        assert_eq!(shown(&Asked::with(dir.path(), &one, &seed(2)).unwrap()), first);
        // Of a file that a power cut has torn nothing was shown.
        let whole = std::fs::read(dir.path().join(FILE)).unwrap();
        for cut in [0, 3, 70, whole.len() / 2, whole.len() - 60] {
            std::fs::write(dir.path().join(FILE), &whole[..cut]).unwrap();
            assert!(Asked::before(dir.path(), &one).unwrap().is_none(), "{cut}");
        }
        std::fs::write(dir.path().join(FILE), &whole).unwrap();
        let second = shown(&Asked::with(dir.path(), &other, &seed(3)).unwrap());
        assert!(second.0 != first.0 && second.1 != first.1);
        assert!(Asked::before(dir.path(), &one).unwrap().is_none());
        Asked::forget(dir.path()).unwrap();
        assert!(Asked::before(dir.path(), &other).unwrap().is_none());
    }
}
