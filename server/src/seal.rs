//! Sealing: private keys of the server's own in the database, encrypted under the seal key of the data directory. It keeps
//! them out of database dumps.

use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::pkcs5::scrypt;
use pkcs8::{LineEnding, PrivateKeyInfoRef, SecretDocument};
use suture_core::sign::{LocalKey, PublicKey, Signer as _};

/// Why a key cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It cannot be written.
    #[error("a key could not be sealed")]
    Close,
    /// It cannot be read, or is another than the one that it is said to be.
    #[error("the seal key of this data directory does not open a key in the database: restore the backup's seal.key")]
    Open,
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
}

/// PKCS#8 PEM under PBES2 with AES-256-GCM. The seal key is 256 random bits, so stretching it by scrypt gains nothing and
/// costs time under the database's lock: the least parameters that scrypt is commonly run with.
pub(crate) fn close(key: &LocalKey, seal: &str) -> Result<String, SealError> {
    let failed = || SealError::Close;
    let (mut salt, mut nonce) = ([0; 16], [0; 12]);
    getrandom::fill(&mut salt)?;
    getrandom::fill(&mut nonce)?;
    let plain = key.to_pem(None).map_err(|_| failed())?;
    let (_, document) = SecretDocument::from_pem(&plain).map_err(|_| failed())?;
    let info = PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| failed())?;
    let stretch = scrypt::Params::new(10, 8, 1).map_err(|_| failed())?;
    let parameters = Parameters::scrypt_aes256gcm(stretch, &salt, nonce).map_err(|_| failed())?;
    let encrypted = info.encrypt_with_params(parameters, seal).map_err(|_| failed())?;
    let pem = encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).map_err(|_| failed())?;
    Ok(pem.to_string())
}

/// The key that was sealed; its public half must be the one that is expected.
pub(crate) fn open(sealed: &str, public: &PublicKey, seal: &str) -> Result<LocalKey, SealError> {
    let key = LocalKey::from_pem(sealed, Some(seal)).map_err(|_| SealError::Open)?;
    if key.public() == *public { Ok(key) } else { Err(SealError::Open) }
}
