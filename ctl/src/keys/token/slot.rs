//! Modules, the tokens that they reach, and logging in to one.

use std::fmt;
use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use super::error::{explain, is};
use super::is_default;
use crate::failure::{Failure, Outcome};
use crate::keys::secret::Pins;

/// A module that shows more slots than this is broken or hostile.
const MAX_SLOTS: usize = 256;

/// A PKCS#11 module: native code, of this machine's administrator's choice, that runs with this program's rights.
#[derive(Clone)]
pub(super) struct Module {
    pkcs11: Pkcs11,
    path: PathBuf,
}

/// A token that is in a slot.
#[derive(Debug, Clone)]
pub(super) struct Token {
    slot: Slot,
    pub(super) label: String,
    pub(super) serial: String,
    model: String,
    /// What it says of its PIN.
    pin: PinState,
    write_protected: bool,
}

/// What a token says of its PIN.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct PinState {
    needed: bool,
    set: bool,
    locked: bool,
    last_try: bool,
    /// It is typed at the token's own keypad and never seen here.
    keypad: bool,
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Signing.
    Read,
    /// Making keys.
    Write,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token {:?} (serial {}, slot {})", self.label, self.serial, self.slot)
    }
}

impl Token {
    fn new(slot: Slot, info: &TokenInfo) -> Self {
        Self {
            slot,
            label: info.label().to_owned(),
            serial: info.serial_number().to_owned(),
            model: info.model().to_owned(),
            pin: PinState {
                needed: info.login_required(),
                set: info.user_pin_initialized(),
                locked: info.user_pin_locked(),
                last_try: info.user_pin_final_try(),
                keypad: info.protected_authentication_path(),
            },
            write_protected: info.write_protected(),
        }
    }

    /// Enters the PIN, at the token's own keypad or as it is asked for here; `why` is told to whoever types it.
    fn enter(&self, session: &Session, user: UserType, pins: &Pins, why: &str) -> Outcome<Result<(), Error>> {
        if self.pin.keypad {
            return Ok(session.login(user, None));
        }
        let pin = pins.of(&format!("{self}{why}"), self.pin.last_try)?;
        // Wiped by its own type once dropped.
        let pin = AuthPin::new(pin.as_str().into());
        Ok(session.login(user, Some(&pin)))
    }

    /// For lists of tokens.
    fn listed(&self) -> String {
        format!("{:?} (serial {}, slot {})", self.label, self.serial, self.slot)
    }
}

impl Module {
    /// Loads and initialises a module.
    pub(super) fn load(path: &Path) -> Outcome<Self> {
        let failed = |e: &Error| {
            let failure = Failure::new(format!("cannot load the PKCS#11 module {}", path.display())).because(e);
            if is_default(path) {
                failure.next("install p11-kit, or name the token's module: --module PATH, or SUTURE_PKCS11_MODULE")
            } else {
                failure.next("install the package that brings the token's module, or name another with --module PATH")
            }
        };
        let pkcs11 = Pkcs11::new(path).map_err(|e| failed(&e))?;
        match pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Another key of this command is on a token of the same module.
            Err(e) if is(&e, RvError::CryptokiAlreadyInitialized) => {}
            other => other.map_err(|e| failed(&e))?,
        }
        Ok(Self { pkcs11, path: path.to_owned() })
    }

    fn tokens(&self) -> Outcome<Vec<Token>> {
        let failed = |e: &Error| Failure::new(format!("the module {} lists no slots", self.path.display())).because(e);
        let slots = self.pkcs11.get_slots_with_token().map_err(|e| failed(&e))?;
        let mut tokens = Vec::new();
        for slot in slots.into_iter().take(MAX_SLOTS) {
            match self.pkcs11.get_token_info(slot) {
                Ok(info) if info.token_initialized() => tokens.push(Token::new(slot, &info)),
                // Empty ones, and what is no token at all, as a card of another kind in a reader.
                _ => {}
            }
        }
        Ok(tokens)
    }

    /// The one token with that label, and that serial number where it is given.
    pub(super) fn find(&self, label: &str, serial: Option<&str>) -> Outcome<Token> {
        let tokens = self.tokens()?;
        choose(&tokens, label, serial, &self.path)
    }

    /// Refuses a token that cannot make Ed25519 keys, before anything is asked of a person.
    pub(super) fn must_make_ed25519(&self, token: &Token) -> Outcome {
        let mechanisms =
            self.pkcs11.get_mechanism_list(token.slot).map_err(|e| explain(token, "cannot say what it can do", &e))?;
        let needed = [MechanismType::EDDSA, MechanismType::ECC_EDWARDS_KEY_PAIR_GEN];
        if needed.iter().all(|m| mechanisms.contains(m)) {
            return Ok(());
        }
        Err(Failure::new(format!("{token}, model {:?}, makes no Ed25519 keys (CKM_EDDSA)", token.model))
            .next("newer firmware may; else use a token that does, or a key in an encrypted file"))
    }

    /// Opens a session as the token's user.
    pub(super) fn log_in(&self, token: &Token, pins: &Pins, access: Access) -> Outcome<Session> {
        if access == Access::Write && token.write_protected {
            return Err(Failure::new(format!("{token} is write-protected")).next("lift that with the token's own tool"));
        }
        token.pin.usable(token)?;
        let opened = match access {
            Access::Read => self.pkcs11.open_ro_session(token.slot),
            Access::Write => self.pkcs11.open_rw_session(token.slot),
        };
        let session = opened.map_err(|e| explain(token, "opens no session", &e))?;
        if !token.pin.needed {
            return Ok(session);
        }
        match token.enter(&session, UserType::User, pins, "")? {
            Ok(()) => Ok(session),
            // Another key of this command is on the same token.
            Err(e) if is(&e, RvError::UserAlreadyLoggedIn) => Ok(session),
            Err(e) => Err(explain(token, "does not let this user in", &e)),
        }
    }

    /// Logs in for the signature that the session has begun, and for that one alone.
    pub(super) fn log_in_again(&self, session: &Session, token: &Token, pins: &Pins) -> Outcome {
        // What it says of its PIN may have changed since it was found.
        let info = self.pkcs11.get_token_info(token.slot).map_err(|e| explain(token, "does not answer", &e))?;
        let token = Token::new(token.slot, &info);
        token.pin.usable(&token)?;
        let entered = token.enter(session, UserType::ContextSpecific, pins, ", once more for this signature")?;
        entered.map_err(|e| explain(&token, "does not let this user sign", &e))
    }
}

impl PinState {
    fn usable(self, token: &impl fmt::Display) -> Outcome {
        if self.locked {
            return Err(super::error::locked(token));
        }
        if self.needed && !self.set {
            return Err(super::error::no_pin(token));
        }
        Ok(())
    }
}

fn choose(tokens: &[Token], label: &str, serial: Option<&str>, module: &Path) -> Outcome<Token> {
    let labelled: Vec<&Token> = tokens.iter().filter(|t| t.label == label).collect();
    let matching: Vec<&Token> =
        labelled.iter().copied().filter(|t| serial.is_none_or(|serial| t.serial == serial)).collect();
    let list = |tokens: &[&Token]| tokens.iter().map(|t| t.listed()).collect::<Vec<_>>().join(", ");
    match (matching.as_slice(), labelled.as_slice()) {
        ([one], _) => Ok((*one).clone()),
        ([], []) if tokens.is_empty() => {
            Err(Failure::new(format!("the module {} reaches no token, and {label:?} is needed", module.display()))
                .next("plug it in and run the command again"))
        }
        ([], []) => {
            Err(Failure::new(format!("the module {} reaches no token with the label {label:?}", module.display()))
                .next(format!("plug it in; there are: {}", list(&tokens.iter().collect::<Vec<_>>()))))
        }
        ([], others) => Err(Failure::new(format!(
            "the token {label:?} with the serial number {} is not there; others have that label: {}",
            serial.unwrap_or_default(),
            list(others)
        ))
        .next(
            "plug in the right one; a token that was initialised anew has a new serial number and has lost its keys",
        )),
        (several, _) => Err(Failure::new(format!("several tokens have the label {label:?}: {}", list(several)))
            .next("say which: --serial SERIAL; or unplug the others")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(slot: u64, label: &str, serial: &str) -> Token {
        Token {
            slot: Slot::try_from(slot).unwrap(),
            label: label.to_owned(),
            serial: serial.to_owned(),
            model: String::new(),
            pin: PinState { needed: true, set: true, ..PinState::default() },
            write_protected: false,
        }
    }

    #[test]
    fn one_token_is_chosen_or_none_and_the_others_are_named() {
        let tokens = [token(1, "release", "a1"), token(2, "release", "b2"), token(3, "spare", "c3")];
        let module = Path::new("/p11.so");
        let chosen = |label, serial| choose(&tokens, label, serial, module).map(|t| t.serial).map_err(|f| f.to_text());
        assert_eq!(chosen("spare", None).unwrap(), "c3");
        assert_eq!(chosen("release", Some("b2")).unwrap(), "b2");
        let told = chosen("release", None).unwrap_err();
        assert!(told.contains("serial a1, slot 1") && told.contains("b2") && told.contains("--serial"), "{told}");
        let told = chosen("release", Some("d4")).unwrap_err();
        assert!(told.contains("d4 is not there") && told.contains("initialised anew"), "{told}");
        let told = chosen("none", None).unwrap_err();
        assert!(told.contains("label \"none\"") && told.contains("\"spare\" (serial c3"), "{told}");
        let told = choose(&[], "spare", None, module).unwrap_err().to_text();
        assert!(told.contains("/p11.so reaches no token"), "{told}");
    }

    #[test]
    fn a_locked_token_and_one_without_a_pin_are_not_asked() {
        let pin = PinState { needed: true, set: true, ..PinState::default() };
        pin.usable(&"it").unwrap();
        let told = PinState { locked: true, ..pin }.usable(&"it").unwrap_err().to_text();
        assert!(told.contains("it is locked") && told.contains("security officer"), "{told}");
        let told = PinState { set: false, ..pin }.usable(&"it").unwrap_err().to_text();
        assert!(told.contains("it has no user PIN"), "{told}");
        PinState::default().usable(&"a token without any PIN").unwrap();
    }
}
