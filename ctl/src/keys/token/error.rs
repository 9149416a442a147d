//! What a token's error codes mean to the person who holds it.

use std::fmt::Display;

use cryptoki::error::{Error, RvError};

use crate::failure::Failure;

/// Whether an error is that code of PKCS#11's.
pub(super) fn is(error: &Error, code: RvError) -> bool {
    matches!(error, Error::Pkcs11(rv, _) if *rv == code)
}

/// Fails with what `token` said when something `failed`, and what can be done.
pub(super) fn explain(token: &impl Display, failed: &str, error: &Error) -> Failure {
    use RvError as R;
    let Error::Pkcs11(code, _) = error else {
        return Failure::new(format!("{token} {failed}")).because(error);
    };
    match code {
        R::PinIncorrect | R::PinInvalid | R::PinLenRange => Failure::new(format!("{token} refuses that PIN"))
            .next("try with care: after a few wrong ones a token locks itself"),
        R::PinLocked => locked(token),
        R::PinExpired => Failure::new(format!("{token} wants another PIN before it goes on"))
            .next("change the PIN with the token's own tool"),
        R::UserPinNotInitialized => no_pin(token),
        R::FunctionCanceled | R::Cancel => {
            Failure::new(format!("the PIN was not entered at {token}")).next("run the command again")
        }
        R::TokenNotPresent
        | R::TokenNotRecognized
        | R::DeviceRemoved
        | R::DeviceError
        | R::SlotIdInvalid
        | R::SessionClosed
        | R::SessionHandleInvalid => Failure::new(format!("{token} was taken out or does not answer"))
            .because(error)
            .next("plug it in again and run the command again; nothing was signed with it"),
        R::MechanismInvalid | R::CurveNotSupported | R::KeyTypeInconsistent | R::FunctionNotSupported => {
            Failure::new(format!("{token} cannot do that with an Ed25519 key (CKM_EDDSA)"))
                .because(error)
                .next("newer firmware may; else use a token that does, or a key in an encrypted file")
        }
        R::TokenWriteProtected | R::SessionReadOnly => {
            Failure::new(format!("{token} is write-protected")).next("lift that with the token's own tool")
        }
        R::DeviceMemory => Failure::new(format!("{token} is full")).next("use another, or delete what is not needed"),
        _ => Failure::new(format!("{token} {failed}")).because(error),
    }
}

/// Too many wrong PINs.
pub(super) fn locked(token: &impl Display) -> Failure {
    Failure::new(format!("{token} is locked: too many wrong PINs were entered")).next(
        "unlock it with the token's own tool and the security officer's PIN, as `pkcs11-tool --login --login-type so --init-pin`; \
         without that PIN its keys are lost, see the runbook lost-key.md",
    )
}

/// A token that nobody has given a PIN yet.
pub(super) fn no_pin(token: &impl Display) -> Failure {
    Failure::new(format!("{token} has no user PIN yet"))
        .next("set one with the token's own tool, as `pkcs11-tool --init-pin`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;

    #[test]
    fn what_a_token_says_is_told_with_what_to_do() {
        for (code, told, next) in [
            (RvError::PinIncorrect, "refuses that PIN", "with care"),
            (RvError::PinLenRange, "refuses that PIN", "with care"),
            (RvError::PinLocked, "is locked", "security officer"),
            (RvError::UserPinNotInitialized, "no user PIN", "--init-pin"),
            (RvError::DeviceRemoved, "taken out", "plug it in"),
            (RvError::MechanismInvalid, "Ed25519", "firmware"),
            (RvError::DeviceMemory, "is full", "another"),
        ] {
            let failure = explain(&"the token \"x\"", "failed", &Error::Pkcs11(code, Function::Login));
            assert!(failure.message.contains(told) && failure.message.contains("\"x\""), "{failure:?}");
            assert!(failure.next.as_deref().is_some_and(|n| n.contains(next)), "{failure:?}");
        }
        let failure = explain(&"it", "makes no key", &Error::Pkcs11(RvError::GeneralError, Function::Sign));
        assert!(failure.message == "it makes no key" && !failure.causes.is_empty(), "{failure:?}");
    }
}
