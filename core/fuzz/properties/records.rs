//! What is small and comes from outside: reports, security events, audit entries, tokens, ids, versions, identities, keys, dates, windows.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use suture_core::audit::{Concern, Entry, Frontier, Head, Leaf, Reading};
use suture_core::clock;
use suture_core::digest::Digest;
use suture_core::event::{SignedBatch, ocsf};
use suture_core::id::{ApprovalId, DeviceId, HdoId, PayloadName, TrustDomain};
use suture_core::limits::{MAX_AUDIT_ENTRY_BYTES, MAX_EVENT_BATCH, MAX_EVENT_BATCH_BYTES, MAX_REPORT_BYTES};
use suture_core::phase::{Code, Phase};
use suture_core::principal::Principal;
use suture_core::report::Signed;
use suture_core::sign::{LocalKey, PublicKey, Signature, Signer};
use suture_core::token::Token;
use suture_core::version::Version;
use suture_core::window::{self, Freeze, Window};

use super::world;

/// The first byte says what the rest is.
pub(crate) fn hold(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    match choice % 7 {
        0 => report(rest),
        1 => audit(rest),
        2 => text(rest, token),
        3 => text(rest, pem),
        4 => text(rest, names),
        6 => events(rest),
        _ => text(rest, times),
    }
}

fn text(bytes: &[u8], hold: impl Fn(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        hold(text);
    }
}

/// A payload that the device's key signed, whatever it says: who holds one device's key must not bring a server down.
fn report(payload: &[u8]) {
    let key = world::key(world::KEYS);
    let signature = key.sign(payload).expect("a key in memory signs");
    let signed = Signed { payload: payload.to_vec(), signature };
    let Ok(report) = signed.verify(&key.public()) else { return };
    assert!(payload.len() <= MAX_REPORT_BYTES);
    assert!(signed.verify(&world::key(1).public()).is_err(), "another device's report");
    let again = report.sign(key).expect("what was read can be signed");
    if again.payload.len() <= MAX_REPORT_BYTES {
        assert_eq!(again.verify(&key.public()).expect("what was signed verifies"), report);
    }
    let mut flipped = signed.signature;
    flipped.0[0] ^= 1;
    assert!(Signed { signature: flipped, ..signed }.verify(&key.public()).is_err());
}

/// The same of what a device has seen.
fn events(payload: &[u8]) {
    let key = world::key(world::KEYS);
    let signed =
        SignedBatch { payload: payload.to_vec(), signature: key.sign(payload).expect("a key in memory signs") };
    let (hdo, device): (HdoId, DeviceId) = ("riverside".parse().expect("an id"), "d-1".parse().expect("an id"));
    let Ok(batch) = signed.verify(&key.public(), &hdo, &device) else { return };
    assert!(payload.len() <= MAX_EVENT_BATCH_BYTES && batch.events.len() <= MAX_EVENT_BATCH);
    assert!(batch.events.is_sorted_by(|a, b| a.number < b.number));
    assert!(signed.verify(&world::key(1).public(), &hdo, &device).is_err(), "another device's events");
    let again = batch.sign(key).expect("what was read can be signed");
    if again.payload.len() <= MAX_EVENT_BATCH_BYTES {
        assert_eq!(again.verify(&key.public(), &hdo, &device).expect("what was signed verifies"), batch);
    }
    for numbered in &batch.events {
        let event = ocsf::event(&numbered.event, &numbered.number.to_string(), "0.1.0");
        assert_eq!(event["count"].as_u64(), Some(numbered.event.count));
    }
}

fn audit(payload: &[u8]) {
    let Ok(entry) = Entry::parse(1, payload) else { return };
    let written = entry.to_bytes();
    if let Ok(written) = &written {
        assert!(written.len() <= MAX_AUDIT_ENTRY_BYTES);
        assert_eq!(Entry::parse(1, written).expect("what was written can be read"), entry);
    }
    assert!(Entry::parse(2, payload).is_err(), "an entry of another place");
    let payload_sha256 = Digest::of(payload);
    let mut frontier = Frontier::EMPTY;
    frontier.push(&payload_sha256);
    let head = frontier.head();
    let leaf = Leaf { seq: 1, payload: Some(payload.to_vec()), payload_sha256, root: head.root };
    let mut reading = Reading::from_start(Head::empty());
    assert_eq!(reading.take(&leaf).expect("it follows from the beginning"), Some(entry));
    assert_eq!(reading.finish(&head).expect("it leads to its head"), head);
}

fn token(text: &str) {
    let Ok(token) = Token::decode(text) else { return };
    let again = token.encode().expect("what was read can be written");
    if let Ok(decoded) = Token::decode(&again) {
        assert!(decoded == token);
    }
}

/// Without a passphrase: with one, the file's own word decides how long deriving the key takes, and its owner wrote that.
fn pem(text: &str) {
    let Ok(key) = LocalKey::from_pem(text, None) else { return };
    let again = key.to_pem(None).expect("what was read can be written");
    let again = LocalKey::from_pem(&again, None).expect("what was written can be read");
    assert_eq!(again.public(), key.public());
    let signature = key.sign(b"message").expect("a key in memory signs");
    key.public().verify(b"message", &signature).expect("what it signs verifies");
}

/// A text that is read as something is its only spelling.
fn one_spelling<T: FromStr + Display>(text: &str)
where
    T::Err: Debug,
{
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string(), text);
    }
}

fn names(text: &str) {
    one_spelling::<DeviceId>(text);
    one_spelling::<ApprovalId>(text);
    one_spelling::<HdoId>(text);
    one_spelling::<Version>(text);
    one_spelling::<Digest>(text);
    one_spelling::<Concern>(text);
    if let Ok(name) = text.parse::<PayloadName>() {
        assert!(!matches!(name.as_str(), "" | "." | "..") && !name.as_str().contains(['/', '\\', '\0']));
    }
    let domain: TrustDomain = "acme.example".parse().expect("a trust domain");
    if let Ok(principal) = Principal::parse(text, &domain) {
        assert_eq!(principal.uri(&domain), text);
    }
    if let Ok(key) = PublicKey::try_from(text.to_owned()) {
        assert_eq!(key.to_string(), text);
        assert!(key.verify(b"message", &Signature([0; 64])).is_err());
    }
    if let Some(phase) = Phase::from_name(text) {
        assert_eq!(phase.as_str(), text);
    }
    assert!(Code::from_name(text) == Code::Unknown || Code::from_name(text).as_str() == text);
}

fn times(text: &str) {
    if let Some(at) = clock::parse_utc(text) {
        assert_eq!(clock::format_utc(at), text);
        assert_eq!(clock::whole_second(at), at);
    }
    if let Ok(secs) = window::parse_duration(text) {
        assert!(secs > 0);
    }
    // Whatever a person typed and was understood is written so that it is understood as the same.
    if let Ok(window) = Window::parse_weekly(text) {
        assert_eq!(Window::parse_weekly(&window.to_string()).expect("what was written can be read"), window);
    }
    if let Ok(window) = Window::parse_once(text) {
        assert_eq!(Window::parse_once(&window.to_string()).expect("what was written can be read"), window);
    }
    if let Ok(freeze) = text.parse::<Freeze>() {
        assert_eq!(freeze.to_string().parse::<Freeze>().expect("what was written can be read"), freeze);
    }
}
