//! Ceremonies that make a new root.
//!
//! A root is signed by the threshold of the one before it and by its own. Where its targets keys would no longer verify what
//! is in force, the targets are signed again in the same publication, so that there is no instant at which nothing verifies.

use std::collections::BTreeMap;

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::OperatorName;
use suture_core::sign::{PublicKey, Signer};
use suture_core::trust::edit::{self, APPROVALS_LIFETIME, CATALOG_LIFETIME, RoleDraft, RootDraft, TargetsDraft};
use suture_core::trust::{Base, Delegated, Proposed, Role, Root, Targets, Verified, key_id};

use super::{NewKey, Signers};
use crate::client::Client;
use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::{Exit, Failure, Outcome};
use crate::hospital::statements::own_name;
use crate::keys::Keys;
use crate::repository::{self, Done, InForce, online_keys};
use crate::trust_store::{TrustStore, Which};

/// Whose keys they are, as the root says.
type Holders = BTreeMap<PublicKey, OperatorName>;

/// What a new root follows. The root is enough to sign its successor by; without the rest, nothing else can be signed.
pub(super) enum Ground {
    Whole(Box<Base>),
    RootAlone(Verified<Root>),
    /// What signed for its being the newest has ended.
    Ended(Verified<Root>, Verified<Targets>),
}

impl Ground {
    /// Refreshes the repository. Where what lies below the root does not verify (the root has expired, the server's online
    /// keys were stolen and their versions driven up), the roots alone are taken, which is what the way out begins with.
    pub(super) async fn find(context: &mut Context<'_>, client: &mut Client, which: Which) -> Outcome<Self> {
        let store = TrustStore::of(&context.home, which);
        let refreshed = store.refresh_base(client, context.now()).await;
        match refreshed {
            Ok(base) => {
                repository::tell_lapsed(context, which, &base);
                Ok(Self::Whole(Box::new(base)))
            }
            Err(failure) if failure.exit == Exit::Untrusted => {
                // Every root that verified was stored before anything below it was looked at.
                let root = Verified::pinned(&store.stored()?.root)?;
                context.print.note(&format!(
                    "note: below root {} nothing of the {} can be believed now ({}); a new root does not rest on it",
                    root.version(),
                    which.as_str(),
                    std::iter::once(&failure.message).chain(&failure.causes).cloned().collect::<Vec<_>>().join(": ")
                ));
                Ok(Self::RootAlone(root))
            }
            Err(failure) => Err(failure),
        }
    }

    /// What this home has verified last, whatever has ended since; none where it trusts nothing yet. It is looked at, never
    /// signed upon.
    pub(super) fn kept(store: &TrustStore<'_>, now: Timestamp) -> Outcome<Option<Self>> {
        if !store.is_pinned()? {
            return Ok(None);
        }
        if let Ok(base) = store.offline_base(now) {
            return Ok(Some(Self::Whole(Box::new(base))));
        }
        let stored = store.stored()?;
        let root = Verified::pinned(&stored.root)?;
        let targets = stored.targets.and_then(|bytes| Verified::by(&root, &bytes).ok());
        Ok(Some(match targets {
            Some(targets) => Self::Ended(root, targets),
            None => Self::RootAlone(root),
        }))
    }

    pub(super) fn root(&self) -> &Verified<Root> {
        match self {
            Self::Whole(base) => base.root(),
            Self::RootAlone(root) | Self::Ended(root, _) => root,
        }
    }

    pub(super) fn targets(&self) -> Option<&Verified<Targets>> {
        match self {
            Self::Whole(base) => Some(base.targets_metadata()),
            Self::RootAlone(_) => None,
            Self::Ended(_, targets) => Some(targets),
        }
    }

    pub(super) fn in_force(&self) -> InForce<'_> {
        Some((self.root(), self.targets()))
    }
}

/// `rotate`: the same keys for another year, or with the server's next online keys.
pub(super) async fn rotate(context: &mut Context<'_>, which: Which, online: bool, signers: &Signers) -> Outcome {
    let mut client = context.connect().await?;
    let next = if online { Some(next_online(&mut client, which).await?) } else { None };
    hold(context, which, client, signers, |draft, _| {
        if let Some((timestamp, snapshot)) = next {
            draft.timestamp = RoleDraft::single(timestamp);
            draft.snapshot = RoleDraft::single(snapshot);
        }
        Ok(())
    })
    .await
}

async fn next_online(client: &mut Client, which: Which) -> Outcome<(PublicKey, PublicKey)> {
    online_keys(client, which).await?.next.ok_or_else(|| {
        Failure::new("the server has prepared no other online keys")
            .next("whoever runs it says `suture-server keys rotate` there; then again")
    })
}

/// A key that `add-key` lets in.
pub(super) struct Added {
    pub(super) new: NewKey,
    /// Whose it is.
    pub(super) holder: Option<OperatorName>,
    /// The key that goes.
    pub(super) replace: Option<String>,
}

/// `add-key`.
pub(super) async fn add(
    context: &mut Context<'_>,
    which: Which,
    role: Role,
    added: Added,
    threshold: Option<u32>,
    signers: &Signers,
) -> Outcome {
    let Added { new, holder, replace } = added;
    let (key, holder) = match (&new.public, &new.key) {
        (Some(public), _) => (*public, holder),
        (None, Some(name)) => {
            // Who signs for what is approved does so by name; a spare root key is tied to somebody where that is asked for.
            let own = if role == Role::Targets { Some(own_name(context)?) } else { None };
            (Keys::of(&context.home).public(name)?, holder.or(own))
        }
        (None, None) => return Err(Failure::new("no key was named").next("--public HEX, or --key KEY")),
    };
    if holder.is_none() && (which, role) == (Which::Approvals, Role::Targets) {
        return Err(Failure::new("whoever approves does so by name, and the key is nobody's yet")
            .next("--holder NAME: the name by which its holder is an operator"));
    }
    let client = context.connect().await?;
    hold(context, which, client, signers, |draft, holders| {
        let keys = of(draft, role);
        let signs = keys.keys.contains(&key);
        if signs && (holder.is_none() || holder.as_ref() == holders.get(&key)) {
            return Err(Failure::new(format!("the key {key} signs {role} already")));
        }
        if let Some(named) = &replace {
            take_out(keys, which, role, named)?;
        }
        if !signs {
            keys.keys.push(key);
        }
        set(keys, role, threshold)?;
        if let Some(holder) = holder {
            let twice = keys.threshold > 1 && keys.keys.iter().any(|k| *k != key && holders.get(k) == Some(&holder));
            if twice {
                return Err(Failure::new(format!(
                    "{holder} holds another of the keys that {} of must sign {role}",
                    keys.threshold
                ))
                .next(
                    "one person signs once: add a colleague's key, or put it in the other's place with --replace HEX",
                ));
            }
            holders.insert(key, holder);
        }
        Ok(())
    })
    .await
}

/// Takes a key out that is named by its public half or its id.
fn take_out(keys: &mut RoleDraft, which: Which, role: Role, named: &str) -> Outcome {
    let before = keys.keys.len();
    let is_named =
        |key: &PublicKey| key.to_string() == named || key_id(key).is_ok_and(|id: Digest| id.to_string() == named);
    keys.keys.retain(|key| !is_named(key));
    if keys.keys.len() == before {
        return Err(Failure::new(format!("no key {named:?} signs {role}"))
            .next(format!("`suturectl {} status` lists the keys", which.as_str())));
    }
    Ok(())
}

/// `remove-key`.
pub(super) async fn remove(
    context: &mut Context<'_>,
    which: Which,
    role: Role,
    named: &str,
    threshold: Option<u32>,
    signers: &Signers,
) -> Outcome {
    let client = context.connect().await?;
    hold(context, which, client, signers, |draft, _| {
        let keys = of(draft, role);
        take_out(keys, which, role, named)?;
        set(keys, role, threshold)
    })
    .await
}

/// `set-threshold`.
pub(super) async fn set_threshold(
    context: &mut Context<'_>,
    which: Which,
    role: Role,
    threshold: u32,
    signers: &Signers,
) -> Outcome {
    let client = context.connect().await?;
    hold(context, which, client, signers, |draft, _| set(of(draft, role), role, Some(threshold))).await
}

fn of(draft: &mut RootDraft, role: Role) -> &mut RoleDraft {
    match role {
        Role::Root => &mut draft.root,
        Role::Targets => &mut draft.targets,
        Role::Snapshot => &mut draft.snapshot,
        Role::Timestamp => &mut draft.timestamp,
    }
}

fn set(keys: &mut RoleDraft, role: Role, threshold: Option<u32>) -> Outcome {
    keys.threshold = threshold.unwrap_or(keys.threshold);
    if keys.threshold as usize > keys.keys.len() {
        return Err(Failure::new(format!(
            "{} signatures of {role} keys are asked for, and there would be {} keys",
            keys.threshold,
            keys.keys.len()
        ))
        .next("--threshold N says how many must sign from then on"));
    }
    Ok(())
}

/// Makes the next root with what `change` makes of the present one, signs it, and publishes it or writes it down for others.
async fn hold(
    context: &mut Context<'_>,
    which: Which,
    mut client: Client,
    signers: &Signers,
    change: impl FnOnce(&mut RootDraft, &mut Holders) -> Outcome,
) -> Outcome {
    if which == Which::Catalog {
        context.home.server()?.manufacturer()?;
    }
    let ground = Ground::find(context, &mut client, which).await?;
    let mut draft = RootDraft::after(ground.root(), context.now());
    let mut holders = ground.root().holders().clone();
    change(&mut draft, &mut holders)?;
    let mut envelope = Envelope::new(context, which)?;
    let root = sign_root(context, ground.root(), (&draft, &holders), signers)?;
    envelope.targets = targets_again(context, which, &ground, &root, signers)?;
    envelope.root = Some(root.bytes().to_vec());
    let file = signers.envelope.as_deref();
    match repository::conclude(context, &mut client, ground.in_force(), &Delegated::new(), envelope, file).await? {
        Done::Waiting(waiting) => waiting.print(context),
        Done::Published(after) => {
            let status = repository::status(context, which, &after)?;
            context.print.result(&status, repository::Status::to_text)
        }
    }
}

fn sign_root(
    context: &Context<'_>,
    before: &Verified<Root>,
    (draft, holders): (&RootDraft, &Holders),
    signers: &Signers,
) -> Outcome<Proposed<Root>> {
    let mut keys = Vec::with_capacity(signers.root_key.len());
    for name in &signers.root_key {
        let key = context.key(name)?;
        let public = key.public();
        if !before.authority(Role::Root).keys().chain(&draft.root.keys).any(|k| *k == public) {
            return Err(Failure::new(format!("the key {name} ({public}) signs no roots here, before or after"))
                .next("`status` lists the keys that do; --root-key KEY names one of this home's"));
        }
        keys.push(key);
    }
    let keys: Vec<&dyn Signer> = keys.iter().map(|key| &**key).collect();
    Ok(Proposed::read(&edit::sign_held_root(draft, holders, &keys)?)?)
}

/// The targets in force, signed again, where the keys of the new root have not signed them as they are.
fn targets_again(
    context: &Context<'_>,
    which: Which,
    ground: &Ground,
    root: &Root,
    signers: &Signers,
) -> Outcome<Option<Vec<u8>>> {
    let authority = root.authority(Role::Targets);
    let Some(targets) = ground.targets() else {
        if authority == ground.root().authority(Role::Targets) {
            return Ok(None);
        }
        return Err(Failure::untrusted("the targets cannot be verified now, so their keys cannot be changed now")
            .next(format!("`suturectl {} rotate` first, which changes nothing but the root's end", which.as_str())));
    };
    if Proposed::<Targets>::read(targets.bytes())?.signed_by(authority).len() >= authority.threshold() {
        return Ok(None);
    }
    let lifetime = match which {
        Which::Catalog => CATALOG_LIFETIME,
        Which::Approvals => APPROVALS_LIFETIME,
    };
    let mut draft = TargetsDraft::following(targets, context.now(), lifetime);
    // Slots that are approved for later must outlive the ceremony.
    draft.expires = draft.expires.max(targets.expires());
    // Whoever holds a root key need not hold a targets key: then the targets' signers sign the envelope.
    let keys = Keys::of(&context.home);
    let named = if keys.exists(&signers.targets_key)? { Some(keys.public(&signers.targets_key)?) } else { None };
    if named.is_some_and(|public| authority.keys().any(|k| *k == public)) {
        let key = context.key(&signers.targets_key)?;
        return Ok(Some(edit::sign_targets(&draft, &[&*key])?));
    }
    Ok(Some(edit::sign_targets(&draft, &[])?))
}
