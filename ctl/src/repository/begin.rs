//! The first version of a repository, signed by one or by several.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use jiff::SignedDuration;
use serde::Serialize;
use suture_core::digest::Digest;
use suture_core::id::{IdError, OperatorName};
use suture_core::limits::MAX_ROOT_BYTES;
use suture_core::sign::{LocalKey, PublicKey, Signer};
use suture_core::trust::edit::{self, RoleDraft, RootDraft, TargetsDraft};
use suture_core::trust::{Proposed, Repository, Role, Root};
use suture_proto::v1;
use zeroize::Zeroizing;

use super::waiting::Done;
use super::{beginning, may_sign, publish};
use crate::client::Client;
use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::hospital::statements::own_name;
use crate::keys::{KeyName, Keys};
use crate::trust_store::{TrustStore, Which, pinned_root};

/// The keys that sign, by name.
#[derive(Debug, Clone, clap::Args)]
pub struct KeyNames {
    /// The key that signs roots
    #[arg(long, value_name = "KEY", default_value = "root")]
    pub root_key: KeyName,
    /// The key that signs targets
    #[arg(long, value_name = "KEY", default_value = "targets")]
    pub targets_key: KeyName,
    /// Make keys that are missing unencrypted: whoever reads the file can sign
    #[arg(long)]
    pub no_passphrase: bool,
}

/// Who signs from the first version on.
#[derive(Debug, Clone, clap::Args)]
pub struct Founders {
    #[command(flatten)]
    pub(crate) keys: KeyNames,
    /// The public half of another key that signs roots, and whose it is; may be given several times
    #[arg(long, value_name = "HEX[=NAME]")]
    root_public: Vec<OthersKey>,
    /// How many of the root keys must sign a root
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    root_threshold: u32,
    /// The public half of another key that signs targets, and whose it is; may be given several times
    #[arg(long, value_name = "HEX[=NAME]")]
    targets_public: Vec<OthersKey>,
    /// How many of the targets keys must sign targets
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    targets_threshold: u32,
    /// Where to write what others must sign too [default: named after what it begins, in the current directory]
    #[arg(long, value_name = "FILE")]
    envelope: Option<PathBuf>,
}

impl Founders {
    /// Somebody who signs alone.
    pub fn alone(keys: KeyNames) -> Self {
        Self {
            keys,
            root_public: Vec::new(),
            root_threshold: 1,
            targets_public: Vec::new(),
            targets_threshold: 1,
            envelope: None,
        }
    }
}

/// Somebody else's key on the command line: its public half, and the name by which its holder is an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OthersKey {
    key: PublicKey,
    holder: Option<OperatorName>,
}

impl FromStr for OthersKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, holder) = text.split_once('=').map_or((text, None), |(key, holder)| (key, Some(holder)));
        let holder = holder.map(|name| name.parse().map_err(|e: IdError| e.to_string())).transpose()?;
        Ok(Self { key: public_key(key)?, holder })
    }
}

/// Reads a public key from the command line.
pub(crate) fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::try_from(text.to_owned()).map_err(|e| e.to_string())
}

/// A repository that has begun.
#[derive(Debug, Serialize)]
pub struct Begun {
    /// What others compare and tokens carry: SHA-256 of the root.
    pub root_sha256: Digest,
    /// Its version.
    pub root_version: u64,
    /// The targets' version.
    pub targets_version: u64,
}

impl Begun {
    fn of(context: &Context<'_>, which: Which, repository: &Repository) -> Outcome<Self> {
        let root_sha256 = pinned_root(&context.home, which)?.ok_or_else(|| {
            Failure::new("the root that was just pinned is gone from this home")
                .next("run the command again: it goes on from there")
        })?;
        let (root_version, targets_version) = (repository.root().version(), repository.targets_metadata().version());
        Ok(Self { root_sha256, root_version, targets_version })
    }
}

/// Begins a repository: makes the keys that are missing, signs the first root and the first, empty targets. Where that is
/// enough, both are published and the root is pinned. Where others must sign too, both are kept and written down for them.
/// Run again after an interruption it goes on with the root that it signed: there is only one first root.
pub async fn begin(
    context: &Context<'_>,
    which: Which,
    founders: &Founders,
    lifetime: SignedDuration,
) -> Outcome<Done<(Begun, Repository)>> {
    let store = TrustStore::of(&context.home, which);
    let mut client = context.connect().await?;
    let served = client.metadata(which, &Role::Root.served_name(1), MAX_ROOT_BYTES).await?;
    let name = which.as_str();
    if let Some(served) = &served
        && !store.is_pinned()?
    {
        // The others have signed it meanwhile, and the last one has published it.
        if !beginning::is_of(context, which, served)? {
            return Err(Failure::untrusted(format!("the server has a {name} that this home does not know")).next(
                format!(
                    "nobody begins it twice; its owner hands out tokens that carry its root, and whoever has heard the \
                     root's fingerprint from its owner says `suturectl {name} trust FINGERPRINT`"
                ),
            ));
        }
        store.pin(served)?;
    }
    if served.is_none() {
        let envelope = first(context, which, founders, lifetime, &mut client).await?;
        let wants = envelope.propose(None, context.now())?.wants(None);
        if wants.iter().any(|want| want.missing() > 0) {
            // Kept before it is handed out: after an interruption it is the root to go on with.
            beginning::keep(context, &envelope)?;
            return Ok(Done::Waiting(beginning::hand_out(context, &envelope, founders.envelope.as_deref())?));
        }
        // Pinned before it is published: after an interruption it is the root to go on with.
        store.pin(envelope.root.as_deref().unwrap_or_default())?;
        publish(context, &mut client, envelope).await?;
    }
    let repository = store.refresh(&mut client, context.now()).await?;
    beginning::forget(context, which)?;
    Ok(Done::Published((Begun::of(context, which, &repository)?, repository)))
}

/// The first root, or the one that was signed before an interruption, and the first targets.
async fn first(
    context: &Context<'_>,
    which: Which,
    founders: &Founders,
    lifetime: SignedDuration,
    client: &mut Client,
) -> Outcome<Envelope> {
    let store = TrustStore::of(&context.home, which);
    let no_passphrase = founders.keys.no_passphrase;
    let targets_key = existing_or_new(context, &founders.keys.targets_key, no_passphrase)?;
    let kept = beginning::kept(context, which)?;
    let root = if store.is_pinned()? {
        store.stored()?.root
    } else {
        let root_key = existing_or_new(context, &founders.keys.root_key, no_passphrase)?;
        let root = role(root_key.public(), &founders.root_public, founders.root_threshold)?;
        let targets = role(targets_key.public(), &founders.targets_public, founders.targets_threshold)?;
        let own = own_name(context)?;
        let mut holders = BTreeMap::from([(root_key.public(), own.clone()), (targets_key.public(), own)]);
        for OthersKey { key, holder } in founders.root_public.iter().chain(&founders.targets_public) {
            holders.extend(holder.clone().map(|holder| (*key, holder)));
        }
        if which == Which::Approvals && targets.threshold > 1 && !targets.keys.iter().all(|k| holders.contains_key(k)) {
            return Err(Failure::new("whoever approves does so by name, and one of the keys is nobody's yet")
                .next("--targets-public HEX=NAME, with the name by which its holder will be an operator"));
        }
        match kept {
            Some(kept) => {
                let envelope = beginning::same(context, kept, &root, &targets)?;
                if envelope.propose(None, context.now()).is_ok() {
                    return Ok(envelope);
                }
                // Its targets have had their time; the root has not.
                envelope.root.unwrap_or_default()
            }
            None => {
                let (timestamp, snapshot) = online_keys(client, which).await?.present;
                let expires = context.now().checked_add(edit::ROOT_LIFETIME);
                let draft = RootDraft {
                    version: 1,
                    expires: expires.or_fail(|| "the root's end cannot be written".to_owned())?,
                    root,
                    targets,
                    snapshot: RoleDraft::single(snapshot),
                    timestamp: RoleDraft::single(timestamp),
                };
                edit::sign_held_root(&draft, &holders, &[&*root_key])?
            }
        }
    };
    let targets = edit::sign_targets(&TargetsDraft::first(context.now(), lifetime), &[&*targets_key])?;
    may_sign(&*Proposed::<Root>::read(&root)?, Role::Targets, &*targets_key)?;
    let mut envelope = Envelope::new(context, which)?;
    (envelope.root, envelope.targets) = (Some(root), Some(targets));
    Ok(envelope)
}

fn role(own: PublicKey, others: &[OthersKey], threshold: u32) -> Outcome<RoleDraft> {
    let mut keys = vec![own];
    keys.extend(others.iter().map(|other| other.key).filter(|key| *key != own));
    keys.sort_unstable();
    keys.dedup();
    if threshold as usize > keys.len() {
        return Err(Failure::new(format!("{threshold} signatures are asked for, of {} keys", keys.len()))
            .next("name the others' keys too, by their public halves (`suturectl key export-public` there)"));
    }
    Ok(RoleDraft { keys, threshold })
}

/// The server's online keys for a repository: timestamp, snapshot.
pub(crate) struct Online {
    pub(crate) present: (PublicKey, PublicKey),
    /// What the server has prepared in their place.
    pub(crate) next: Option<(PublicKey, PublicKey)>,
}

/// Asks for the server's online keys. They are believed: they decide over freshness only, never over what may be installed.
pub(crate) async fn online_keys(client: &mut Client, which: Which) -> Outcome<Online> {
    let request = v1::GetOnlineKeysRequest { repository: Some(which.to_wire()) };
    let v1::GetOnlineKeysResponse { timestamp_key, snapshot_key, next_timestamp_key, next_snapshot_key } =
        client.get_online_keys(request).await?;
    let key =
        |bytes: &[u8]| PublicKey::from_bytes(bytes).or_fail(|| "the server's online key cannot be used".to_owned());
    let present = (key(&timestamp_key)?, key(&snapshot_key)?);
    // Where one role alone is to change, the other keeps its key.
    let next_or = |next: &[u8], present| if next.is_empty() { Ok(present) } else { key(next) };
    let prepared = !(next_timestamp_key.is_empty() && next_snapshot_key.is_empty());
    let next = (next_or(&next_timestamp_key, present.0)?, next_or(&next_snapshot_key, present.1)?);
    Ok(Online { present, next: prepared.then_some(next) })
}

fn existing_or_new(context: &Context<'_>, name: &KeyName, no_passphrase: bool) -> Outcome<Box<dyn Signer>> {
    let keys = Keys::of(&context.home);
    if !keys.exists(name)? {
        let passphrase = if no_passphrase { None } else { Some(context.passphrases.chosen(name)?) };
        let seed = Zeroizing::new(context.random()?);
        keys.create(name, &seed, passphrase.as_ref().map(|p| p.as_str()))?;
        return Ok(Box::new(LocalKey::from_seed(&seed)));
    }
    context.key(name)
}
