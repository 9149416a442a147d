//! Signing and publishing a repository's next version: the catalog here, the approvals likewise.
//!
//! What is signed follows from what this home verified or made itself; the server contributes bytes, never a base. Where one
//! signature suffices, a command publishes at once; where more must sign, it writes an [`Envelope`] that goes from one to
//! the next, and the last one publishes.

mod begin;
mod beginning;
mod list;
mod status;
mod waiting;

use std::path::{Path, PathBuf};

use suture_core::digest::Digest;
use suture_core::sign::Signer;
use suture_core::trust::edit::{self, TargetsDraft};
use suture_core::trust::{Base, Delegated, Edition, Proposal, Proposed, Role, Root, Targets, Verified};
use suture_proto::v1;

pub use begin::{Begun, Founders, KeyNames, begin};
pub(crate) use begin::{online_keys, public_key};
pub use list::List;
pub use status::{KeyStatus, MONTH_DAYS, RoleStatus, Status, status, until};
pub use waiting::{Done, Signatures, Waiting};

use crate::client::Client;
use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::{Failure, Outcome};
use crate::keys::KeyName;
use crate::trust_store::{TrustStore, Which};

/// With what a command signs, and where to what others must sign too is written.
#[derive(Debug, Clone, clap::Args)]
pub struct Signing {
    /// The key that signs targets
    #[arg(long, value_name = "KEY", default_value = "targets")]
    pub key: KeyName,
    /// Where to write what others must sign too, if one signature does not suffice [default: named after what it changes,
    /// in the current directory]
    #[arg(long, value_name = "FILE")]
    pub envelope: Option<PathBuf>,
}

/// What the next version is signed on, refreshed and verified. That nobody signed in time is no obstacle, and is said.
pub async fn base(context: &mut Context<'_>, client: &mut Client, which: Which) -> Outcome<Base> {
    base_expecting(context, client, which, None).await
}

/// As [`base`], where a colleague has named an edition that it must be or descend from.
pub async fn base_expecting(
    context: &mut Context<'_>,
    client: &mut Client,
    which: Which,
    expected: Option<Edition>,
) -> Outcome<Base> {
    let store = TrustStore::of(&context.home, which).expecting(expected);
    let base = store.refresh_base(client, context.now()).await?;
    tell_lapsed(context, which, &base);
    Ok(base)
}

/// Says that the targets have expired, if they have.
pub fn tell_lapsed(context: &mut Context<'_>, which: Which, base: &Base) {
    if let Some(end) = base.lapsed(context.now()) {
        context.print.note(&format!(
            "note: the {} expired at {}, and no device acts on it; signing its next version puts it in force again",
            which.as_str(),
            suture_core::clock::format_utc(end)
        ));
    }
}

/// What a publication follows: the root, and where they could be verified the targets metadata; none where it is the first.
pub type InForce<'a> = Option<(&'a Verified<Root>, Option<&'a Verified<Targets>>)>;

/// What a verified base says is in force.
pub fn in_force(base: &Base) -> InForce<'_> {
    Some((base.root(), Some(base.targets_metadata())))
}

/// Signs `draft`, which follows `base`, and checks what was signed as the server will, save how many have signed.
pub fn sign(context: &Context<'_>, base: &Base, draft: &TargetsDraft, key: &dyn Signer) -> Outcome<Vec<u8>> {
    may_sign(base.root(), Role::Targets, key)?;
    let targets = edit::sign_targets(draft, &[key])?;
    check(context, base, &targets)?;
    Ok(targets)
}

/// Fails here and not at the server, if the key is none of those that the root names.
pub fn may_sign(root: &Root, role: Role, key: &dyn Signer) -> Outcome {
    let public = key.public();
    if root.authority(role).keys().any(|k| *k == public) {
        return Ok(());
    }
    Err(Failure::new(format!("the key {public} is none of those that sign {role} here"))
        .next("`status` lists the keys that do, `suturectl key list` those of this home"))
}

/// Verifies signed targets metadata as the next version after `base`, however few have signed it yet.
pub fn check(context: &Context<'_>, base: &Base, targets: &[u8]) -> Outcome {
    let (none, targets) = (Delegated::new(), (None, Some(targets)));
    Proposal::delegating(in_force(base), targets, (&none, &none), context.now())?;
    Ok(())
}

/// Publishes what enough have signed, or writes it down for those who must sign it yet. `before` are the metadata of
/// delegated roles in force.
///
/// # Errors
///
/// The server refuses; the file exists already.
pub async fn conclude(
    context: &Context<'_>,
    client: &mut Client,
    in_force: InForce<'_>,
    before: &Delegated<Vec<u8>>,
    envelope: Envelope,
    file: Option<&Path>,
) -> Outcome<Done<Base>> {
    let wants = envelope.propose_after(in_force, before, context.now())?.wants(in_force);
    if wants.iter().all(|want| want.missing() == 0) {
        return Ok(Done::Published(publish(context, client, envelope).await?));
    }
    Ok(Done::Waiting(Waiting::write(&envelope, &wants, file)?))
}

/// Publishes what enough have signed, then verifies that the server serves just that. A new root alone leaves targets that
/// have expired as they were.
pub async fn publish(context: &Context<'_>, client: &mut Client, envelope: Envelope) -> Outcome<Base> {
    let Envelope { which, hdo: _, root, targets, delegated, files } = envelope;
    let signed = match &targets {
        Some(bytes) => {
            let version = suture_core::trust::Metadata::version(&*Proposed::<Targets>::read(bytes)?);
            Some(Edition { version, sha256: Digest::of(bytes) })
        }
        None => None,
    };
    let request = v1::PublishMetadataRequest {
        repository: Some(which.to_wire()),
        roots: root.iter().cloned().map(Into::into).collect(),
        targets: targets.unwrap_or_default().into(),
        files: files.into_iter().map(|(path, content)| v1::TargetFile { path, content: content.into() }).collect(),
        delegated: delegated.iter().map(|(role, bytes)| (role.clone(), bytes.clone().into())).collect(),
    };
    client.publish_metadata(request).await?;
    let store = TrustStore::of(&context.home, which);
    if let Some(root) = &root
        && !store.is_pinned()?
    {
        store.pin(root)?;
    }
    if let Some(signed) = signed {
        // From now on it is known here, so that nobody can show another under its number.
        store.remember(signed)?;
    }
    let repository = store.refresh_base(client, context.now()).await?;
    let served = |what: &str| {
        Failure::untrusted(format!("the server took the new {} and serves another {what}", which.as_str()))
            .next("somebody may have published at the same moment; look at the status before signing again")
    };
    if signed.is_some_and(|signed| repository.targets_metadata().digest() != signed.sha256) {
        return Err(served("version of its targets"));
    }
    if delegated.iter().any(|(role, bytes)| repository.verify_delegated(role, bytes).is_err()) {
        return Err(served("version of a delegated role"));
    }
    let root = root.as_deref().map(Verified::<Root>::pinned).transpose()?;
    if root.is_some_and(|root| repository.root().digest() != root.digest()) {
        return Err(served("root"));
    }
    Ok(repository)
}
