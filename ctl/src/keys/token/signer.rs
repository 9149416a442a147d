//! A key that was found on a token, ready to sign.

use std::sync::{Mutex, PoisonError};

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use suture_core::sign::{PublicKey, SignError, Signature, Signer};

use super::error::{explain, is};
use super::object::KeyObject;
use super::slot::Token;
use crate::failure::{Failure, Outcome};

/// A private key on a token, its user logged in. Dropped, the session ends, and with the last one the login.
pub(super) struct TokenKey {
    session: Mutex<Session>,
    handle: ObjectHandle,
    public_key: PublicKey,
    token: Token,
}

impl TokenKey {
    /// A key whose signatures must verify by `public_key`.
    pub(super) fn new(session: Session, token: &Token, object: &KeyObject, public_key: PublicKey) -> Outcome<Self> {
        object.must_sign_unasked(token)?;
        Ok(Self { session: Mutex::new(session), handle: object.handle, public_key, token: token.clone() })
    }
}

/// Has a key sign something that is nothing but a test of it.
pub(super) fn prove(
    session: &Session,
    token: &Token,
    object: &KeyObject,
    public_key: PublicKey,
    nonce: &[u8],
) -> Outcome {
    object.must_sign_unasked(token)?;
    sign(session, token, object.handle, public_key, &crate::keys::test_text(nonce)).map(|_| ())
}

/// Signs, and hands no signature on that does not verify: a faulty or exchanged token must be found here and not by every
/// device.
fn sign(
    session: &Session,
    token: &Token,
    handle: ObjectHandle,
    public_key: PublicKey,
    message: &[u8],
) -> Outcome<Signature> {
    let sign = |scheme| session.sign(&Mechanism::Eddsa(EddsaParams::new(scheme)), handle, message);
    let signed = match sign(EddsaSignatureScheme::Ed25519) {
        // PKCS#11 3.0, 2.3.14: without parameters it is plain Ed25519. Some tokens want them, with nothing in them; should one
        // take that for another scheme, its signature does not verify.
        Err(e) if is(&e, RvError::MechanismParamInvalid) => sign(EddsaSignatureScheme::Ed25519ctx(&[])),
        other => other,
    };
    let bytes = signed.map_err(|e| explain(token, "does not sign", &e))?;
    let verified = Signature::try_from(&*bytes).and_then(|s| public_key.verify(message, &s).map(|()| s));
    verified.map_err(|e| {
        Failure::untrusted(format!(
            "what {token} signed does not verify with the public key {public_key}; it was not used"
        ))
        .because(&e)
        .next("the token, its driver or the record of the key is faulty or was exchanged")
    })
}

impl Signer for TokenKey {
    fn public(&self) -> PublicKey {
        self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        sign(&session, &self.token, self.handle, self.public_key, message).map_err(|failure| {
            let causes: String = failure.causes.iter().map(|c| format!(": {c}")).collect();
            let advice = failure.next.map_or_else(String::new, |next| format!("; {next}"));
            SignError::Holder(format!("{}{causes}{advice}", failure.message))
        })
    }
}
