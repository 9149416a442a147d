//! Signing and publishing a repository's next version: the catalog here, the approvals likewise.
//!
//! What is signed follows from what this home verified or made itself; the server contributes bytes, never a base.

use jiff::SignedDuration;
use serde::Serialize;
use suture_core::digest::Digest;
use suture_core::limits::MAX_ROOT_BYTES;
use suture_core::sign::{LocalKey, PublicKey, Signer};
use suture_core::trust::edit::{self, RoleDraft, RootDraft, TargetsDraft};
use suture_core::trust::{Base, Edition, Repository, Role, Root, Targets, Verified};
use suture_proto::v1;
use zeroize::Zeroizing;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::keys::{KeyName, Keys};
use crate::print::{Table, grouped};
use crate::trust_store::{TrustStore, Which};

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

/// Begins a repository: makes the keys that are missing, signs the first root and the first, empty targets, publishes
/// both and pins the root. Run again after an interruption it goes on with the root that it signed.
pub async fn begin(
    context: &Context<'_>,
    which: Which,
    names: &KeyNames,
    lifetime: SignedDuration,
) -> Outcome<(Begun, Repository)> {
    let store = TrustStore::of(&context.home, which);
    let mut client = context.connect().await?;
    let pinned = store.is_pinned()?;
    let served = client.metadata(which, &Role::Root.served_name(1), MAX_ROOT_BYTES).await?;
    if served.is_some() && !pinned {
        return Err(Failure::untrusted(format!("the server has a {} that this home does not know", which.as_str()))
            .next("its owner hands out tokens that carry its root; nobody begins it twice"));
    }
    if served.is_none() {
        let targets_key = existing_or_new(context, &names.targets_key, names.no_passphrase)?;
        if !pinned {
            let root_key = existing_or_new(context, &names.root_key, names.no_passphrase)?;
            store.pin(&first_root(context, which, &mut client, &*root_key, targets_key.public()).await?)?;
        }
        let root = store.stored()?.root;
        let draft = TargetsDraft::first(context.now(), lifetime);
        let targets = edit::sign_targets(&draft, &[&*targets_key])?;
        // Fails here and not at the server, if the key is not the one that the root names.
        Verified::<Targets>::by(&Verified::<Root>::pinned(&root)?, &targets)?;
        let request = v1::PublishMetadataRequest {
            repository: Some(which.to_wire()),
            roots: vec![root.into()],
            targets: targets.into(),
            files: Vec::new(),
        };
        client.publish_metadata(request).await?;
    }
    let repository = store.refresh(&mut client, context.now()).await?;
    let root_sha256 = crate::trust_store::pinned_root(&context.home, which)?
        .ok_or_else(|| Failure::new("the root that was just pinned is gone"))?;
    let begun = Begun {
        root_sha256,
        root_version: repository.root().version(),
        targets_version: repository.targets_metadata().version(),
    };
    Ok((begun, repository))
}

async fn first_root(
    context: &Context<'_>,
    which: Which,
    client: &mut Client,
    root_key: &dyn Signer,
    targets_key: PublicKey,
) -> Outcome<Vec<u8>> {
    // The server's keys are believed: they decide over freshness only, never over what may be installed.
    let request = v1::GetOnlineKeysRequest { repository: Some(which.to_wire()) };
    let v1::GetOnlineKeysResponse { timestamp_key, snapshot_key, .. } = client.get_online_keys(request).await?;
    let online =
        |bytes: &[u8]| PublicKey::from_bytes(bytes).or_fail(|| "the server's online key cannot be used".to_owned());
    let now = context.now();
    let draft = RootDraft {
        version: 1,
        expires: now.checked_add(edit::ROOT_LIFETIME).or_fail(|| "the root's end cannot be written".to_owned())?,
        root: RoleDraft::single(root_key.public()),
        targets: RoleDraft::single(targets_key),
        snapshot: RoleDraft::single(online(&snapshot_key)?),
        timestamp: RoleDraft::single(online(&timestamp_key)?),
    };
    Ok(edit::sign_root(&draft, &[root_key])?)
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

/// A file that new targets metadata list.
#[derive(Debug, Clone)]
pub struct TargetFile {
    /// Its path in the repository.
    pub path: String,
    /// Its bytes.
    pub content: Vec<u8>,
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

/// Signs `draft`, which follows `base`, and checks what was signed as the server will.
pub fn sign(context: &Context<'_>, base: &Base, draft: &TargetsDraft, key: &dyn Signer) -> Outcome<Vec<u8>> {
    let targets = edit::sign_targets(draft, &[key])?;
    check(context, base, &targets)?;
    Ok(targets)
}

/// Verifies signed targets metadata as the next version after `base`.
pub fn check(context: &Context<'_>, base: &Base, targets: &[u8]) -> Outcome {
    let (root, current) = (base.root().bytes(), base.targets_metadata().bytes());
    suture_core::trust::verify_publication(Some(root), &[], Some(current), Some(targets), context.now())?;
    Ok(())
}

/// Publishes signed targets metadata with the files that they list, then verifies that the server serves just that.
pub async fn publish(
    context: &Context<'_>,
    client: &mut Client,
    which: Which,
    targets: Vec<u8>,
    files: Vec<TargetFile>,
) -> Outcome<Repository> {
    let signed = Digest::of(&targets);
    let root = Verified::<Root>::pinned(&TrustStore::of(&context.home, which).stored()?.root)?;
    let mine = Verified::<Targets>::by(&root, &targets)?.version();
    let files = files.into_iter().map(|f| v1::TargetFile { path: f.path, content: f.content.into() }).collect();
    let request = v1::PublishMetadataRequest {
        repository: Some(which.to_wire()),
        roots: Vec::new(),
        targets: targets.into(),
        files,
    };
    client.publish_metadata(request).await?;
    let store = TrustStore::of(&context.home, which);
    // From now on it is known here, so that nobody can show another under its number.
    store.remember(Edition { version: mine, sha256: signed })?;
    let repository = store.refresh(client, context.now()).await?;
    if repository.targets_metadata().digest() != signed {
        return Err(Failure::untrusted(format!("the server took the new {} but serves another", which.as_str()))
            .next("somebody may have published at the same moment; look at the status before signing again"));
    }
    Ok(repository)
}

/// What `status` shows of either repository.
#[derive(Debug, Serialize)]
pub struct Status {
    /// SHA-256 of the root that trust began with.
    pub root_sha256: Digest,
    /// Root, targets, snapshot, timestamp: version and end.
    pub roles: Vec<RoleStatus>,
    /// SHA-256 of the targets metadata, which colleagues and devices must agree on.
    pub targets_sha256: Digest,
    /// `VERSION:SHA256` of the targets metadata, for a colleague's `status --expect`.
    pub edition: String,
    /// When the targets were signed.
    pub signed_at: String,
}

/// One role's line.
#[derive(Debug, Serialize)]
pub struct RoleStatus {
    role: &'static str,
    version: u64,
    expires: Option<String>,
    days_left: Option<i64>,
    keys: usize,
    threshold: usize,
}

/// Reads a verified repository's state.
pub fn status(context: &Context<'_>, which: Which, repository: &Base) -> Outcome<Status> {
    let root = repository.root();
    let line = |role: Role, version, expires: Option<jiff::Timestamp>| {
        let authority = root.authority(role);
        RoleStatus {
            role: role.as_str(),
            version,
            expires: expires.map(suture_core::clock::format_utc),
            days_left: expires.map(|e| e.duration_since(context.now()).as_hours() / 24),
            keys: authority.keys().count(),
            threshold: authority.threshold(),
        }
    };
    let targets = repository.targets_metadata();
    Ok(Status {
        root_sha256: crate::trust_store::pinned_root(&context.home, which)?.unwrap_or_else(|| root.digest()),
        roles: vec![
            line(Role::Root, root.version(), Some(root.expires())),
            line(Role::Targets, targets.version(), Some(targets.expires())),
            line(Role::Snapshot, repository.snapshot_version(), None),
            line(Role::Timestamp, repository.timestamp_version(), None),
        ],
        targets_sha256: targets.digest(),
        edition: Edition { version: targets.version(), sha256: targets.digest() }.to_string(),
        signed_at: suture_core::clock::format_utc(targets.signed_at().unwrap_or(jiff::Timestamp::UNIX_EPOCH)),
    })
}

impl Status {
    /// For people.
    pub fn to_text(&self) -> String {
        let mut table = Table::new(["role", "version", "ends", "days left", "keys"]);
        for r in &self.roles {
            let dash = || "the server renews it".to_owned();
            table.row([
                r.role.to_owned(),
                r.version.to_string(),
                r.expires.clone().unwrap_or_else(dash),
                r.days_left.map_or_else(String::new, |d| d.to_string()),
                format!("{} of {}", r.threshold, r.keys),
            ]);
        }
        format!(
            "root     {}\ntargets  {}\nsigned   {}\n\n{}\nfor a colleague to compare: status --expect {}\n",
            grouped(&self.root_sha256.to_string()),
            grouped(&self.targets_sha256.to_string()),
            self.signed_at,
            table.to_text(),
            self.edition
        )
    }
}
