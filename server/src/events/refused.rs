//! Calls that end in a refusal, told in one place: where each call's answer passes the table of rights.
//!
//! What refuses says what kind of event that is by a mark on its status ([`marked`]), which is taken off before the answer
//! leaves. Where there is none, the status' code says it, as far as that is a matter of security.

use std::net::IpAddr;

use jiff::Timestamp;
use suture_core::event::Kind;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use super::Events;
use crate::identity::Peer;

/// The header that carries the mark.
const MARK: &str = "suture-event";
/// The calls that renew a certificate.
const RENEW: &str = "/Renew";

/// A status that says what kind of event it is.
pub(crate) fn marked(kind: Kind, mut status: Status) -> Status {
    status.metadata_mut().insert(MARK, MetadataValue::from_static(kind.as_str()));
    status
}

/// What a status says that it is.
pub(crate) fn mark(status: &Status) -> Option<Kind> {
    status.metadata().get(MARK).and_then(|mark| Kind::from_name(mark.to_str().ok()?))
}

/// Tells of a call that was refused, and takes the mark off.
pub(crate) fn tell(
    events: &Events,
    path: &str,
    (peer, from): (Option<&Peer>, Option<IpAddr>),
    headers: &mut http::HeaderMap,
    now: Timestamp,
) {
    let Some(status) = Status::from_header_map(headers).filter(|status| status.code() != Code::Ok) else { return };
    let mark = headers.remove(MARK).and_then(|mark| Kind::from_name(mark.to_str().ok()?));
    let Some(kind) = mark.or_else(|| of_code(status.code(), path)) else { return };
    match (peer, from) {
        (Some(peer), _) => events.tell_of(kind, &peer.principal, status.message(), now),
        (None, Some(from)) => events.tell(kind, None, &from.to_string(), status.message(), now),
        (None, None) => events.tell(kind, None, "unknown", status.message(), now),
    }
}

fn of_code(code: Code, path: &str) -> Option<Kind> {
    match code {
        Code::PermissionDenied => Some(Kind::CallForbidden),
        Code::OutOfRange => Some(Kind::LimitReached),
        Code::ResourceExhausted if path.ends_with(RENEW) => Some(Kind::LimitReached),
        _ => None,
    }
}
