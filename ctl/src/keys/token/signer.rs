//! A key that was found on a token, ready to sign.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use suture_core::sign::{PublicKey, SignError, Signature, Signer};

use super::error::{explain, is};
use super::object::KeyObject;
use super::slot::{Module, Token};
use crate::failure::{Failure, Outcome};
use crate::keys::secret::Pins;

/// A token whose user is logged in. Dropped, the session ends, and with the last one the login.
pub(super) struct Login {
    pub(super) module: Module,
    pub(super) session: Session,
    pub(super) token: Token,
    /// Asked again where a key wants the PIN for each signature.
    pub(super) pins: Pins,
}

/// A private key on a token.
pub(super) struct TokenKey {
    login: Mutex<Login>,
    handle: ObjectHandle,
    pin_each_time: bool,
    public_key: PublicKey,
}

impl TokenKey {
    /// A key whose signatures must verify by `public_key`.
    pub(super) fn new(login: Login, object: &KeyObject, public_key: PublicKey) -> Self {
        let KeyObject { handle, pin_each_time, .. } = *object;
        Self { login: Mutex::new(login), handle, pin_each_time, public_key }
    }
}

/// Has a key sign something that is nothing but a test of it.
pub(super) fn prove(login: &Login, object: &KeyObject, public_key: PublicKey, nonce: &[u8]) -> Outcome {
    let calls = Calls { login, handle: object.handle };
    sign(&calls, &login.token, object.pin_each_time, public_key, &crate::keys::test_text(nonce)).map(|_| ())
}

/// The calls that make a signature, as PKCS#11 has them.
trait Signing {
    /// `C_SignInit` and `C_Sign`.
    fn at_once(&self, scheme: EddsaSignatureScheme<'_>, message: &[u8]) -> Result<Vec<u8>, Error>;
    /// `C_SignInit`.
    fn begin(&self, scheme: EddsaSignatureScheme<'_>) -> Result<(), Error>;
    /// `C_Login` for what was begun.
    fn log_in_again(&self) -> Outcome;
    /// `C_SignUpdate` and `C_SignFinal`.
    fn end(&self, message: &[u8]) -> Result<Vec<u8>, Error>;
}

/// The same of one key.
struct Calls<'a> {
    login: &'a Login,
    handle: ObjectHandle,
}

impl Signing for Calls<'_> {
    fn at_once(&self, scheme: EddsaSignatureScheme<'_>, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.login.session.sign(&Mechanism::Eddsa(EddsaParams::new(scheme)), self.handle, message)
    }

    fn begin(&self, scheme: EddsaSignatureScheme<'_>) -> Result<(), Error> {
        self.login.session.sign_init(&Mechanism::Eddsa(EddsaParams::new(scheme)), self.handle)
    }

    fn log_in_again(&self) -> Outcome {
        let Login { module, session, token, pins } = self.login;
        module.log_in_again(session, token, pins)
    }

    fn end(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.login.session.sign_update(message)?;
        self.login.session.sign_final()
    }
}

/// Signs, and hands no signature on that does not verify: a faulty or exchanged token must be found here and not by every
/// device.
fn sign(
    calls: &impl Signing,
    token: &impl Display,
    pin_each_time: bool,
    public_key: PublicKey,
    message: &[u8],
) -> Outcome<Signature> {
    let bytes = if pin_each_time {
        with_pin(calls, token, message)?
    } else {
        plain_or_empty(|scheme| calls.at_once(scheme, message)).map_err(|e| explain(token, "does not sign", &e))?
    };
    let verified = Signature::try_from(&*bytes).and_then(|s| public_key.verify(message, &s).map(|()| s));
    verified.map_err(|e| {
        Failure::untrusted(format!(
            "what {token} signed does not verify with the public key {public_key}; it was not used"
        ))
        .because(&e)
        .next("the token, its driver or the record of the key is faulty or was exchanged")
    })
}

/// PKCS#11 3.0, 2.3.14: without parameters it is plain Ed25519. Some tokens want them, with nothing in them; should one take
/// that for another scheme, its signature does not verify.
fn plain_or_empty<T>(call: impl Fn(EddsaSignatureScheme<'_>) -> Result<T, Error>) -> Result<T, Error> {
    match call(EddsaSignatureScheme::Ed25519) {
        Err(e) if is(&e, RvError::MechanismParamInvalid) => call(EddsaSignatureScheme::Ed25519ctx(&[])),
        other => other,
    }
}

/// A signature by a key that wants the PIN for each. The login belongs between the beginning of what it is for and the rest
/// (PKCS#11 3.0, 4.9 `CKA_ALWAYS_AUTHENTICATE`), so the rest comes as a part, of which there is one. Modules whose Ed25519
/// takes no parts cannot be given the PIN in this way.
fn with_pin(calls: &impl Signing, token: &impl Display, message: &[u8]) -> Outcome<Vec<u8>> {
    use RvError as R;
    plain_or_empty(|scheme| calls.begin(scheme)).map_err(|e| explain(token, "does not sign", &e))?;
    calls.log_in_again()?;
    calls.end(message).map_err(|e| {
        let no_parts = [R::FunctionNotSupported, R::OperationNotInitialized, R::MechanismInvalid];
        if no_parts.iter().any(|code| is(&e, *code)) {
            return Failure::new(format!(
                "{token} wants the PIN again for each signature of that key (CKA_ALWAYS_AUTHENTICATE), and its module takes \
                 nothing between the PIN and the signature"
            ))
            .because(&e)
            .next("use a key without that mark: `suturectl key new NAME --token LABEL` makes one; or the maker's own module");
        }
        explain(token, "does not sign", &e)
    })
}

impl Signer for TokenKey {
    fn public(&self) -> PublicKey {
        self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        let login = self.login.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = Calls { login: &login, handle: self.handle };
        sign(&calls, &login.token, self.pin_each_time, self.public_key, message).map_err(|failure| {
            let causes: String = failure.causes.iter().map(|c| format!(": {c}")).collect();
            let advice = failure.next.map_or_else(String::new, |next| format!("; {next}"));
            SignError::Holder(format!("{}{causes}{advice}", failure.message))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use cryptoki::context::Function;
    use suture_core::sign::LocalKey;

    /// A token that notes what it is asked, and fails at a call.
    struct Scripted {
        key: LocalKey,
        asked: RefCell<Vec<&'static str>>,
        fails: Option<(&'static str, RvError)>,
        wants_parameters: bool,
    }

    impl Scripted {
        fn new() -> Self {
            let key = LocalKey::from_seed(&zeroize::Zeroizing::new([5; 32]));
            Self { key, asked: RefCell::default(), fails: None, wants_parameters: false }
        }

        fn note(&self, call: &'static str) -> Result<(), Error> {
            self.asked.borrow_mut().push(call);
            match self.fails {
                Some((at, code)) if at == call => Err(Error::Pkcs11(code, Function::Sign)),
                _ => Ok(()),
            }
        }

        fn takes(&self, scheme: EddsaSignatureScheme<'_>) -> Result<(), Error> {
            let plain = matches!(scheme, EddsaSignatureScheme::Ed25519);
            let refused = Error::Pkcs11(RvError::MechanismParamInvalid, Function::SignInit);
            if plain && self.wants_parameters { Err(refused) } else { Ok(()) }
        }

        fn sign(&self, each_time: bool) -> Result<(), String> {
            let signed = sign(self, &"the token", each_time, self.key.public(), b"message");
            signed.map(|_| ()).map_err(|f| f.to_text())
        }
    }

    impl Signing for Scripted {
        fn at_once(&self, scheme: EddsaSignatureScheme<'_>, message: &[u8]) -> Result<Vec<u8>, Error> {
            self.note("sign")?;
            self.takes(scheme)?;
            Ok(self.key.sign(message).unwrap().0.to_vec())
        }

        fn begin(&self, scheme: EddsaSignatureScheme<'_>) -> Result<(), Error> {
            self.note("begin")?;
            self.takes(scheme)
        }

        fn log_in_again(&self) -> Outcome {
            self.note("pin").map_err(|e| explain(&"the token", "does not let this user sign", &e))
        }

        fn end(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
            self.note("end")?;
            Ok(self.key.sign(message).unwrap().0.to_vec())
        }
    }

    #[test]
    fn the_pin_is_given_once_for_each_signature_of_a_key_that_wants_it_and_for_no_other() {
        let token = Scripted::new();
        token.sign(false).unwrap();
        assert_eq!(*token.asked.borrow(), ["sign"]);
        let token = Scripted::new();
        for _ in 0..2 {
            token.sign(true).unwrap();
        }
        assert_eq!(*token.asked.borrow(), ["begin", "pin", "end", "begin", "pin", "end"]);
        // Which form of the mechanism it takes is found out before anybody types anything.
        for (each_time, asked) in [(false, &["sign", "sign"][..]), (true, &["begin", "begin", "pin", "end"])] {
            let token = Scripted { wants_parameters: true, ..Scripted::new() };
            token.sign(each_time).unwrap();
            assert_eq!(*token.asked.borrow(), asked);
        }
    }

    #[test]
    fn what_goes_wrong_about_the_pin_of_a_signature_is_told() {
        let failing = |at, code| {
            let token = Scripted { fails: Some((at, code)), ..Scripted::new() };
            let told = token.sign(true).unwrap_err();
            (told, token.asked.into_inner())
        };
        let (told, asked) = failing("pin", RvError::PinIncorrect);
        assert!(told.contains("refuses that PIN") && asked == ["begin", "pin"], "{told}");
        for code in [RvError::FunctionNotSupported, RvError::OperationNotInitialized, RvError::MechanismInvalid] {
            let (told, asked) = failing("end", code);
            assert!(told.contains("CKA_ALWAYS_AUTHENTICATE") && told.contains("suturectl key new"), "{told}");
            assert_eq!(asked, ["begin", "pin", "end"]);
        }
        let (told, _) = failing("end", RvError::DeviceRemoved);
        assert!(told.contains("was taken out"), "{told}");
    }
}
