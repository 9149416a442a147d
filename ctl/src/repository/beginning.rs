//! A repository that has begun here and waits for the others' signatures.
//!
//! `trust/<which>/begun.json` is the envelope as this home signed it, kept until the repository is in force. Two first roots of
//! one repository would each be signed by honest people; so whoever says `init` again hands out the same once more.

use std::path::{Path, PathBuf};

use suture_core::limits::MAX_ENVELOPE_BYTES;
use suture_core::sign::PublicKey;
use suture_core::trust::edit::RoleDraft;
use suture_core::trust::{Proposed, Role, Root, Targets};

use super::waiting::Waiting;
use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::{Failure, Outcome};
use crate::files::{self, Access};
use crate::trust_store::Which;

fn name(which: Which) -> String {
    format!("trust/{}/begun.json", which.as_str())
}

/// Keeps what this home has signed.
pub(super) fn keep(context: &Context<'_>, envelope: &Envelope) -> Outcome {
    context.home.write(&name(envelope.which), &envelope.to_bytes()?, Access::Public)
}

/// What was kept; none where nothing waits.
pub(super) fn kept(context: &Context<'_>, which: Which) -> Outcome<Option<Envelope>> {
    let bytes = files::read(&context.home.path(&name(which))?, MAX_ENVELOPE_BYTES)?;
    bytes.map(|bytes| Envelope::parse(&bytes)).transpose()
}

/// It is in force, and waits no more.
pub(super) fn forget(context: &Context<'_>, which: Which) -> Outcome {
    Ok(files::remove(&context.home.path(&name(which))?)?)
}

/// Whether a root says just what this home signed, whoever else has signed it since.
pub(super) fn is_of(context: &Context<'_>, which: Which, served: &[u8]) -> Outcome<bool> {
    let Some(root) = kept(context, which)?.and_then(|envelope| envelope.root) else { return Ok(false) };
    Ok(Proposed::<Root>::read(&root)?.signed_sha256() == Proposed::<Root>::read(served)?.signed_sha256())
}

/// Refuses to go on with other signers than those that the root names.
pub(super) fn same(context: &Context<'_>, kept: Envelope, root: &RoleDraft, targets: &RoleDraft) -> Outcome<Envelope> {
    let named = Proposed::<Root>::read(kept.root.as_deref().unwrap_or_default())?;
    for (role, asked) in [(Role::Root, root), (Role::Targets, targets)] {
        let mut keys: Vec<PublicKey> = named.authority(role).keys().copied().collect();
        keys.sort_unstable();
        if keys != asked.keys || named.authority(role).threshold() != asked.threshold as usize {
            let path = context.home.path(&name(kept.which))?;
            return Err(Failure::new(format!(
                "this home has signed a first root already that names other {role} keys or another threshold, and the others \
                 may have signed it"
            ))
            .next(format!(
                "say `init` as before to go on with it; to begin with others, tell those who have its envelope to sign it no \
                 more, and remove {}",
                path.display()
            )));
        }
    }
    Ok(kept)
}

/// Writes it down for the others. Where the file is there already it holds perhaps their signatures, and stays as it is.
pub(super) fn hand_out(context: &Context<'_>, envelope: &Envelope, file: Option<&Path>) -> Outcome<Waiting> {
    let path = match file {
        Some(path) => path.to_owned(),
        None => PathBuf::from(envelope.default_name()?),
    };
    let wants = |envelope: &Envelope| -> Outcome<_> { Ok(envelope.propose(None, context.now())?.wants(None)) };
    if !path.exists() {
        return Waiting::write(envelope, &wants(envelope)?, Some(&path));
    }
    let there = Envelope::open(&path)?;
    if signed_parts(&there)? != signed_parts(envelope)? {
        return Err(Failure::new(format!("{} is there already, and is something else", path.display()))
            .next("--envelope FILE, with another name"));
    }
    Ok(Waiting::of(&there, &wants(&there)?, path))
}

fn signed_parts(envelope: &Envelope) -> Outcome<impl PartialEq + use<>> {
    let root = envelope.root.as_deref().map(Proposed::<Root>::read).transpose()?;
    let targets = envelope.targets.as_deref().map(Proposed::<Targets>::read).transpose()?;
    let root = root.map(|root| root.signed_sha256());
    Ok((envelope.which, envelope.hdo.clone(), root, targets.map(|targets| targets.signed_sha256())))
}
