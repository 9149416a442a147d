//! `catalog delegate|undelegate`, and what `catalog status` tells of the roles.
//!
//! A role speaks for the paths that the catalog's own keys gave it, and its metadata must be there from the first instant,
//! so what begins it goes round by envelope: the catalog's signers sign that it may speak, its own sign its first list.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::json;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::sign::{PublicKey, Signer};
use suture_core::trust::edit::{self, CATALOG_LIFETIME, RoleDraft, TargetsDraft};
use suture_core::trust::{Base, Delegated, Delegation, Grant, Metadata as _, Proposed, Targets, TrustError};

use super::conclude;
use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::{Failure, Outcome};
use crate::keys::KeyName;
use crate::print::Table;
use crate::repository::{self, Done, List, Signing, public_key};
use crate::trust_store::Which;

/// A role's targets that end sooner are worth a warning: a quarter of the 180 days that they are signed for.
const LEFT: SignedDuration = SignedDuration::from_hours(45 * 24);

/// Arguments of `delegate`.
#[derive(Debug, Clone, clap::Args)]
pub struct DelegateArgs {
    /// The role's name: letters, digits and -._
    #[arg(value_parser = role_name)]
    name: String,
    /// Paths that it may list, as in 'bundles/pump/*/manifest.json'; * and ? match within one segment; may be given several
    /// times
    #[arg(long = "path", value_name = "GLOB", required = true)]
    paths: Vec<String>,
    /// The public half of a key that signs for it, as its holder's `suturectl key export-public` prints it; may be given
    /// several times
    #[arg(long, value_name = "HEX", required = true, value_parser = public_key)]
    public: Vec<PublicKey>,
    /// How many of its keys must sign
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    threshold: u32,
    /// A key of this home that signs the role's first list at once; may be given several times
    #[arg(long, value_name = "KEY")]
    role_key: Vec<KeyName>,
    #[command(flatten)]
    signing: Signing,
}

/// One delegated role, as `status` shows it.
#[derive(Debug, Serialize)]
pub(super) struct RoleStatus {
    name: String,
    paths: Vec<String>,
    threshold: usize,
    public_keys: Vec<PublicKey>,
    version: Option<u64>,
    expires: Option<String>,
    days_left: Option<i64>,
    months_left: Option<i64>,
    /// Why nothing that it lists counts.
    refused: Option<String>,
    #[serde(skip)]
    left: Option<SignedDuration>,
}

fn role_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
        return Err("a role's name is 1 to 64 letters, digits and -._".to_owned());
    }
    Ok(text.to_owned())
}

/// `delegate`.
pub(super) async fn delegate(context: &mut Context<'_>, args: DelegateArgs) -> Outcome {
    context.home.server()?.manufacturer()?;
    let mut client = context.connect().await?;
    let base = repository::base(context, &mut client, Which::Catalog).await?;
    let list = List::open(context, Some(&mut client), &base, None).await?;
    let mut draft = list.draft(context);
    let role = RoleDraft { keys: args.public, threshold: args.threshold };
    draft.delegate(&Grant { name: args.name.clone(), role, paths: args.paths })?;
    let top = edit::sign_targets(&draft, &[&*context.key(&args.signing.key)?])?;
    let mut envelope = Envelope::new(context, Which::Catalog)?;
    if let Some(delegation) = Proposed::<Targets>::read(&top)?.delegation(&args.name)
        && let Some(draft) = first_list(context, &base, &list.before, delegation)?
    {
        let mut keys = Vec::with_capacity(args.role_key.len());
        for name in &args.role_key {
            let key = context.key(name)?;
            if !delegation.authority().keys().any(|k| *k == key.public()) {
                let text = format!("the key {name} ({}) is none of those that sign for {}", key.public(), args.name);
                return Err(Failure::new(text).next("--public HEX for each key that does"));
            }
            keys.push(key);
        }
        let keys: Vec<&dyn Signer> = keys.iter().map(|key| &**key).collect();
        envelope.delegated.insert(args.name.clone(), edit::sign_targets(&draft, &keys)?);
    }
    repository::may_sign(base.root(), suture_core::trust::Role::Targets, &*context.key(&args.signing.key)?)?;
    envelope.targets = Some(top);
    finish(context, &mut client, &base, &list, envelope, &args.signing).await
}

/// The list that a role must sign for the delegation to begin; none where what is in force is signed as it asks.
fn first_list(
    context: &Context<'_>,
    base: &Base,
    before: &Delegated<Vec<u8>>,
    delegation: &Delegation,
) -> Outcome<Option<TargetsDraft>> {
    let Some(bytes) = before.get(delegation.name()) else {
        return Ok(Some(TargetsDraft::first(context.now(), CATALOG_LIFETIME)));
    };
    let there = Proposed::<Targets>::read(bytes)?;
    if there.signed_by(delegation.authority()).len() >= delegation.authority().threshold() {
        return Ok(None);
    }
    if base.targets_metadata().delegation(delegation.name()).is_some() {
        let current = base.role(delegation.name(), bytes)?;
        return Ok(Some(TargetsDraft::following(&current, context.now(), CATALOG_LIFETIME)));
    }
    // A role of that name has spoken before, by keys that nobody vouches for any more: its numbers are used, its list is
    // not.
    let mut draft = TargetsDraft::first(context.now(), CATALOG_LIFETIME);
    (draft.version, draft.previous) = (there.version().saturating_add(1), Some(Digest::of(bytes)));
    Ok(Some(draft))
}

/// `undelegate`.
pub(super) async fn undelegate(context: &mut Context<'_>, name: &str, signing: &Signing) -> Outcome {
    context.home.server()?.manufacturer()?;
    let mut client = context.connect().await?;
    let base = repository::base(context, &mut client, Which::Catalog).await?;
    let list = List::open(context, Some(&mut client), &base, None).await?;
    let mut draft = list.draft(context);
    if !draft.undelegate(name) {
        return Err(Failure::new(format!("the catalog delegates to no role {name:?}"))
            .next("`suturectl catalog status` lists the roles"));
    }
    let mut envelope = Envelope::new(context, Which::Catalog)?;
    envelope.targets = Some(list.sign(context, &base, &draft, &*context.key(&signing.key)?)?);
    finish(context, &mut client, &base, &list, envelope, signing).await
}

async fn finish(
    context: &mut Context<'_>,
    client: &mut crate::client::Client,
    base: &Base,
    list: &List,
    envelope: Envelope,
    signing: &Signing,
) -> Outcome {
    let after = match conclude(context, client, base, list, envelope, signing).await? {
        Done::Published(after) => after,
        Done::Waiting(waiting) => return waiting.print(context),
    };
    let list = List::open(context, Some(client), &after, None).await?;
    let roles = status(context, &after, &list.before, &BTreeMap::new());
    context.print.result(&json!({ "delegated": roles }), |_| match roles.as_slice() {
        [] => "the catalog delegates to nobody now".to_owned(),
        roles => table(roles),
    })
}

/// What there is to tell of the roles that the catalog delegates to.
pub(super) fn status(
    context: &Context<'_>,
    base: &Base,
    files: &Delegated<Vec<u8>>,
    refused: &BTreeMap<String, TrustError>,
) -> Vec<RoleStatus> {
    let role = |delegation: &Delegation| {
        let name = delegation.name();
        let current = files.get(name).and_then(|bytes| base.role(name, bytes).ok());
        let left = current.as_ref().map(|t| t.expires().duration_since(context.now()));
        let days_left = left.map(|left| left.as_hours() / 24);
        RoleStatus {
            name: name.to_owned(),
            paths: delegation.paths().to_vec(),
            threshold: delegation.authority().threshold(),
            public_keys: delegation.authority().keys().copied().collect(),
            version: current.as_ref().map(|t| t.version()),
            expires: current.as_ref().map(|t| format_utc(t.expires())),
            days_left,
            months_left: days_left.map(|days| days / repository::MONTH_DAYS),
            refused: refused.get(name).map(ToString::to_string),
            left,
        }
    };
    base.targets_metadata().delegations().map(role).collect()
}

/// For people; empty where there are no roles.
pub(super) fn table(roles: &[RoleStatus]) -> String {
    if roles.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["delegated to", "version", "ends", "days left", "keys", "paths"]);
    let mut more = String::new();
    for role in roles {
        table.row([
            role.name.clone(),
            role.version.map_or_else(String::new, |version| version.to_string()),
            role.expires.clone().unwrap_or_default(),
            role.days_left.map_or_else(String::new, |days| days.to_string()),
            format!("{} of {}", role.threshold, role.public_keys.len()),
            role.paths.join(" "),
        ]);
        for key in &role.public_keys {
            more.push_str(&format!("for {} signs {key}\n", role.name));
        }
    }
    format!("\n{}{more}", table.to_text())
}

/// What somebody should see to before long, as [`repository::Status`] has it of the catalog's own keys.
pub(super) fn warnings(roles: &[RoleStatus]) -> Vec<String> {
    roles.iter().filter_map(|role| warning(&role.name, role.refused.as_deref(), role.left)).collect()
}

fn warning(name: &str, refused: Option<&str>, left: Option<SignedDuration>) -> Option<String> {
    match (refused, left) {
        (Some(why), _) => Some(format!("nothing that the role {name} lists counts: {why}")),
        (None, Some(left)) if left < LEFT => Some(format!(
            "the targets of the role {name} end in {}: its holders sign them again with `suturectl catalog renew --role {name} \
             --key KEY`",
            repository::until(left)
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_whose_list_ends_or_is_refused_is_told_of_with_what_to_do() {
        let days = |n: i64| Some(SignedDuration::from_hours(n * 24));
        assert_eq!(warning("pumps", None, days(45)), None);
        let told = warning("pumps", None, days(44)).unwrap();
        assert!(told.contains("in 44 days") && told.contains("catalog renew --role pumps"), "{told}");
        let told = warning("pumps", Some("targets metadata expired"), days(-1)).unwrap();
        assert!(told.contains("nothing that the role pumps lists counts: targets metadata expired"), "{told}");
        assert_eq!(warning("pumps", None, None), None, "a role that was never seen is refused, with a reason");
    }
}
