//! Key objects on a token: made, found, judged.

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use suture_core::sign::PublicKey;

use super::error::{explain, is};
use super::slot::Token;
use super::{Object, id_bytes};
use crate::failure::{Failure, Outcome};

/// A token with more keys than this is listed no further.
const MAX_KEYS: usize = 256;

/// The curve, `CKA_EC_PARAMS`, in the two forms that tokens take: the object identifier 1.3.101.112 (RFC 8410), and the
/// PrintableString "edwards25519" (PKCS#11 3.0, 2.3.10).
const CURVES: [&[u8]; 2] = [b"\x06\x03\x2b\x65\x70", b"\x13\x0cedwards25519"];

/// A private key that was found on a token.
pub(super) struct KeyObject {
    pub(super) handle: ObjectHandle,
    /// `CKA_ID`.
    pub(super) id: Vec<u8>,
    label: String,
    /// The public half, where the token shows it.
    pub(super) public_key: Option<PublicKey>,
    /// Whether the token lets it out.
    pub(super) extractable: bool,
    /// Whether the PIN is wanted again for each signature (`CKA_ALWAYS_AUTHENTICATE`).
    pub(super) pin_each_time: bool,
}

/// A pair that was just made.
pub(super) struct Pair {
    public: ObjectHandle,
    private: ObjectHandle,
}

/// Makes an Ed25519 pair whose private half signs, and can be neither read nor taken out.
pub(super) fn generate(session: &Session, token: &Token, label: &str, id: &[u8]) -> Outcome<Pair> {
    let named = [Attribute::Id(id.to_vec()), Attribute::Label(label.as_bytes().to_vec()), Attribute::Token(true)];
    let private = [
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Derive(false),
    ];
    let private = [&named[..], &private].concat();
    let mut refused = None;
    for curve in CURVES {
        let public = [Attribute::EcParams(curve.to_vec()), Attribute::Verify(true)];
        let public = [&named[..], &public].concat();
        match session.generate_key_pair(&Mechanism::EccEdwardsKeyPairGen, &public, &private) {
            Ok((public, private)) => return Ok(Pair { public, private }),
            Err(e) if is_curves(&e) => refused = Some(e),
            Err(e) => return Err(explain(token, "makes no key", &e)),
        }
    }
    let refused = refused.unwrap_or(Error::NotSupported);
    Err(explain(token, "knows the curve Ed25519 under none of its names", &refused))
}

/// Whether another name of the curve may do.
fn is_curves(error: &Error) -> bool {
    use RvError as R;
    [R::CurveNotSupported, R::DomainParamsInvalid, R::AttributeValueInvalid, R::TemplateInconsistent, R::ArgumentsBad]
        .iter()
        .any(|code| is(error, *code))
}

impl Pair {
    /// Reads back what was made: the token must have done as it was told.
    pub(super) fn checked(&self, session: &Session, token: &Token) -> Outcome<KeyObject> {
        let private = read(session, token, self.private)?;
        let sensitive = session
            .get_attributes(self.private, &[AttributeType::Sensitive])
            .map_err(|e| explain(token, "does not show the key that it made", &e))?
            .contains(&Attribute::Sensitive(true));
        if private.extractable || !sensitive {
            return Err(Failure::untrusted(format!("{token} made a key that can be taken out of it"))
                .next("use another token; the key was deleted again"));
        }
        Ok(private)
    }

    /// Deletes both.
    pub(super) fn destroy(&self, session: &Session) {
        for half in [self.private, self.public] {
            // The failure that led here is told, not this one.
            let _ = session.destroy_object(half);
        }
    }
}

impl KeyObject {
    /// The private key with that id; none where there is none.
    pub(super) fn by_id(session: &Session, token: &Token, id: &[u8]) -> Outcome<Option<Self>> {
        let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(id.to_vec())];
        let found = find(session, token, &template)?;
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(read(session, token, *one)?)),
            several => Err(Failure::new(format!(
                "{token} holds {} private keys with the id {}",
                several.len(),
                hex::encode(id)
            ))
            .next("give them ids of their own with the token's own tool")),
        }
    }

    fn listed(&self) -> String {
        format!("id {} label {:?}", hex::encode(&self.id), self.label)
    }
}

/// The one private Ed25519 key that is wanted.
pub(super) fn choose(session: &Session, token: &Token, wanted: &Object) -> Outcome<KeyObject> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::KeyType(KeyType::EC_EDWARDS)];
    if let Some(id) = &wanted.id {
        template.push(Attribute::Id(id_bytes(id)?));
    }
    if let Some(label) = &wanted.label {
        template.push(Attribute::Label(label.as_bytes().to_vec()));
    }
    let mut found = Vec::new();
    for handle in find(session, token, &template)? {
        found.push(read(session, token, handle)?);
    }
    let list = found.iter().map(KeyObject::listed).collect::<Vec<_>>().join("; ");
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Failure::new(format!("{token} holds no such Ed25519 key"))
            .next("`suturectl key new NAME --token LABEL` makes one; without --id and --label all are looked at")),
        (Some(_), Some(_)) => {
            Err(Failure::new(format!("{token} holds several such keys: {list}")).next("say which: --id ID"))
        }
    }
}

/// A token that shows the public half nowhere.
pub(super) fn shows_no_public_key(token: &Token) -> Failure {
    Failure::new(format!("{token} does not show the public half of that key"))
        .next("put the public key object beside it, under the same id, with the token's own tool")
}

fn find(session: &Session, token: &Token, template: &[Attribute]) -> Outcome<Vec<ObjectHandle>> {
    let failed = |e: &Error| explain(token, "cannot be searched", e);
    let found = session.iter_objects(template).map_err(|e| failed(&e))?;
    found.take(MAX_KEYS).collect::<Result<_, _>>().map_err(|e| failed(&e))
}

fn read(session: &Session, token: &Token, handle: ObjectHandle) -> Outcome<KeyObject> {
    let wanted = [
        AttributeType::Id,
        AttributeType::Label,
        AttributeType::Extractable,
        AttributeType::AlwaysAuthenticate,
        AttributeType::EcPoint,
        AttributeType::PublicKeyInfo,
    ];
    let attributes =
        session.get_attributes(handle, &wanted).map_err(|e| explain(token, "does not describe the key", &e))?;
    let mut object = KeyObject {
        handle,
        id: Vec::new(),
        label: String::new(),
        public_key: None,
        // Unless it says otherwise.
        extractable: true,
        pin_each_time: false,
    };
    for attribute in attributes {
        match attribute {
            Attribute::Id(id) => object.id = id,
            Attribute::Label(label) => object.label = String::from_utf8_lossy(&label).into_owned(),
            Attribute::Extractable(extractable) => object.extractable = extractable,
            Attribute::AlwaysAuthenticate(each) => object.pin_each_time = each,
            // Some tokens answer with an empty one on a private key.
            Attribute::EcPoint(point) => object.public_key = object.public_key.or_else(|| public_key(&point)),
            Attribute::PublicKeyInfo(info) => object.public_key = object.public_key.or_else(|| public_key(&info)),
            _ => {}
        }
    }
    if object.public_key.is_none() {
        object.public_key = beside(session, token, &object.id)?;
    }
    Ok(object)
}

/// The public half in an object of its own, under the same id.
fn beside(session: &Session, token: &Token, id: &[u8]) -> Outcome<Option<PublicKey>> {
    if id.is_empty() {
        return Ok(None);
    }
    let template = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(id.to_vec())];
    let found = find(session, token, &template)?;
    let [one] = found.as_slice() else { return Ok(None) };
    let attributes = session
        .get_attributes(*one, &[AttributeType::EcPoint])
        .map_err(|e| explain(token, "does not show the public key", &e))?;
    Ok(attributes.iter().find_map(|a| if let Attribute::EcPoint(point) = a { public_key(point) } else { None }))
}

/// A public key in any of the forms that tokens give: the 32 bytes as they are, in a DER OCTET STRING (PKCS#11 2.40), in a
/// DER BIT STRING (3.0), or in a SubjectPublicKeyInfo (RFC 8410).
fn public_key(bytes: &[u8]) -> Option<PublicKey> {
    const OCTET_STRING: &[u8] = b"\x04\x20";
    const BIT_STRING: &[u8] = b"\x03\x21\x00";
    const INFO: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
    let raw = match bytes.len() {
        32 => Some(bytes),
        34 => bytes.strip_prefix(OCTET_STRING),
        35 => bytes.strip_prefix(BIT_STRING),
        44 => bytes.strip_prefix(INFO),
        _ => None,
    };
    PublicKey::from_bytes(raw?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::sign::{LocalKey, Signer as _};

    #[test]
    fn a_point_is_read_in_every_form_that_tokens_give_and_in_no_other() {
        let key = LocalKey::from_seed(&zeroize::Zeroizing::new([7; 32])).public();
        let with = |prefix: &[u8]| [prefix, key.as_bytes()].concat();
        for prefix in [&b""[..], b"\x04\x20", b"\x03\x21\x00", b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"] {
            assert_eq!(public_key(&with(prefix)), Some(key), "{prefix:x?}");
        }
        // Another curve's key, a wrong tag, a cut point, and one that is none.
        for bytes in [
            with(b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00"),
            with(b"\x05\x20"),
            key.as_bytes()[..31].to_vec(),
            vec![0; 32],
            Vec::new(),
        ] {
            assert_eq!(public_key(&bytes), None, "{bytes:x?}");
        }
    }
}
