//! The border: the only place where prost's messages and tonic's statuses are seen.
//!
//! Every handler takes its message apart field by field, so that a new field breaks the build, and turns its fields into
//! core's types before anything else is done. Who may call what is settled before, in [`crate::rights`].

mod bulk;
mod device;
mod lease;
mod operator;
mod refresh;
mod status;
mod stream;
mod token;

use std::sync::Arc;

use suture_core::id::{DeviceId, HdoId, OperatorName};
use suture_core::principal::Principal;
use suture_core::token::Grant;
use tonic::{Request, Status};

use crate::app::App;
use crate::rights::Caller;

pub(crate) use bulk::Bulk;
pub(crate) use status::Refusal;

/// Both services over one application.
#[derive(Clone)]
pub(crate) struct Api {
    app: Arc<App>,
}

impl Api {
    /// The services of `app`.
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

/// Who calls.
fn caller<T>(request: &Request<T>) -> Result<Principal, Status> {
    Ok(Caller::of(request)?.principal().clone())
}

/// The hospital whose operator calls.
fn hospital<T>(request: &Request<T>) -> Result<(Principal, HdoId), Status> {
    let principal = caller(request)?;
    let hdo = principal.hdo().cloned();
    let hdo = hdo.ok_or_else(|| Status::permission_denied("only a hospital's operator may call this"))?;
    Ok((principal, hdo))
}

/// The device that calls.
fn device<T>(request: &Request<T>) -> Result<(HdoId, DeviceId), Status> {
    match caller(request)? {
        Principal::Device(hdo, id) => Ok((hdo, id)),
        _ => Err(Status::permission_denied("only a device may call this")),
    }
}

/// Whom a token makes of its bearer.
enum Newcomer {
    Operator(Option<HdoId>, OperatorName),
    Device(HdoId, Option<DeviceId>),
}

impl Newcomer {
    /// `name` is what the bearer wants to be called; a token that names somebody is for that name only.
    fn of(grant: Grant, name: &str) -> Result<Self, Refusal> {
        let bound = |bound: OperatorName| match name {
            "" => Ok(bound),
            name if name == bound.as_str() => Ok(bound),
            name => Err(Refusal::invalid(format!("name: the token is for {bound}, not for {name}"))),
        };
        Ok(match grant {
            Grant::Mdm(name) => Self::Operator(None, bound(name)?),
            Grant::Operator(hdo, name) => Self::Operator(Some(hdo), bound(name)?),
            Grant::Hdo(hdo) => Self::Operator(Some(hdo), suture_proto::parse("name", name)?),
            Grant::Device(hdo, id) => Self::Device(hdo, id),
        })
    }
}
