//! Whose list of bundles a command changes: the catalog's own, or that of a role that it delegates to.

use std::collections::BTreeMap;
use std::error::Error as _;

use suture_core::sign::Signer;
use suture_core::trust::edit::{self, CATALOG_LIFETIME, TargetsDraft};
use suture_core::trust::{Base, Delegated, Proposal, Target, Targets, Verified};

use super::in_force;
use crate::client::Client;
use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::{Failure, Outcome};
use crate::trust_store::{TrustStore, Which};

/// The list, as it is in force.
#[derive(Debug)]
pub struct List {
    /// The role; the catalog's own targets role where there is none.
    pub role: Option<String>,
    /// What it lists, verified by its keys.
    pub current: Verified<Targets>,
    /// The metadata of all delegated roles in force.
    pub before: Delegated<Vec<u8>>,
    /// All that the catalog and its delegated roles list, by path.
    pub known: BTreeMap<String, Target>,
}

impl List {
    /// Reads the list of a role, or the catalog's own. Without a client from what this home has kept.
    pub async fn open(
        context: &mut Context<'_>,
        client: Option<&mut Client>,
        base: &Base,
        role: Option<&str>,
    ) -> Outcome<Self> {
        let mut roles = TrustStore::of(&context.home, Which::Catalog).delegated(client, base).await?;
        if let Some((name, error)) = role.and_then(|name| Some((name, roles.take_older(name)?))) {
            context.print.note(&format!(
                "{name}: {}. The next list is signed on that one all the same: what was listed or withdrawn since is missing in it. \
                 Read every line (`suturectl catalog status`), and list and withdraw it again",
                error.source().map_or_else(|| error.to_string(), ToString::to_string)
            ));
        }
        let before = roles.into_files();
        let (known, _) = base.listing(&before, context.now());
        let Some(name) = role else {
            return Ok(Self { role: None, current: base.targets_metadata().clone(), before, known });
        };
        if base.targets_metadata().delegation(name).is_none() {
            return Err(Failure::new(format!("the catalog delegates to no role {name:?}"))
                .next("`suturectl catalog status` lists the roles, `suturectl catalog delegate` makes them"));
        }
        let missing = || {
            Failure::new(format!("the metadata of the role {name} are not to be had"))
                .next("with the server in reach, `suturectl catalog status`")
        };
        let current = base.role(name, before.get(name).ok_or_else(missing)?)?;
        Ok(Self { role: Some(name.to_owned()), current, before, known })
    }

    /// Its next version, listing the same.
    pub fn draft(&self, context: &Context<'_>) -> TargetsDraft {
        TargetsDraft::following(&self.current, context.now(), CATALOG_LIFETIME)
    }

    /// Refuses a path that is not this list's to speak for.
    pub fn may_list(&self, base: &Base, path: &str) -> Outcome {
        let Some(role) = &self.role else { return Ok(()) };
        match base.targets_metadata().delegation(role) {
            Some(delegation) if delegation.covers(path) => Ok(()),
            Some(delegation) => Err(Failure::new(format!(
                "the role {role} may not speak for {path}; it may for {}",
                delegation.paths().join(", ")
            ))
            .next("the holders of the catalog's keys say what it may: `suturectl catalog delegate`")),
            None => Err(Failure::new(format!("the catalog delegates to no role {role:?} any more"))),
        }
    }

    /// Signs its next version, and checks what was signed as the server will, save how many have signed.
    pub fn sign(&self, context: &Context<'_>, base: &Base, draft: &TargetsDraft, key: &dyn Signer) -> Outcome<Vec<u8>> {
        let Some(role) = &self.role else { return super::sign(context, base, draft, key) };
        let public = key.public();
        let delegation = base.targets_metadata().delegation(role);
        if !delegation.is_some_and(|delegation| delegation.authority().keys().any(|k| *k == public)) {
            return Err(Failure::new(format!("the key {public} is none of those that sign for the role {role}"))
                .next("`suturectl catalog status` lists the keys that do, `suturectl key list` those of this home"));
        }
        let signed = edit::sign_targets(draft, &[key])?;
        self.check(context, base, &signed)?;
        Ok(signed)
    }

    /// Verifies signed metadata as its next version, however few have signed it yet.
    pub fn check(&self, context: &Context<'_>, base: &Base, signed: &[u8]) -> Outcome {
        let Some(role) = &self.role else { return super::check(context, base, signed) };
        let new = Delegated::from([(role.clone(), signed.to_vec())]);
        Proposal::delegating(in_force(base), (None, None), (&self.before, &new), context.now())?;
        Ok(())
    }

    /// Puts its signed next version into an envelope.
    pub fn put_in(&self, envelope: &mut Envelope, signed: Vec<u8>) {
        match &self.role {
            Some(role) => drop(envelope.delegated.insert(role.clone(), signed)),
            None => envelope.targets = Some(signed),
        }
    }
}
