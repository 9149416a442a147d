//! A published bundle's status in the catalog, and why it is that: both in the manufacturer's signed words.

use serde_json::json;
use suture_core::id::ProductId;
use suture_core::limits::{MAX_MANIFEST_BYTES, MAX_TEXT_BYTES};
use suture_core::manifest::manifest_path;
use suture_core::trust::edit::TargetsDraft;
use suture_core::trust::{CatalogEntry, Status, Target, status_reason};
use suture_core::version::Release;

use super::{conclude, entries};
use crate::client::Client;
use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::{Failure, Outcome};
use crate::repository::{self, Done, List, Signing};
use crate::trust_store::{TrustStore, Which};

/// What a bundle is to be.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) product: ProductId,
    pub(crate) release: Release,
    pub(crate) status: Status,
    /// Why, for people.
    pub(crate) reason: Option<String>,
    /// In the list of this delegated role; else in the catalog's own.
    pub(crate) role: Option<String>,
}

/// What came of it.
pub(crate) enum Marked {
    /// It is that already, for that reason; nothing was signed.
    Already,
    /// It was this before, and is what was asked for by the targets of that version; with the list that is in force.
    Now { before: Status, version: u64, list: Box<List> },
}

/// `catalog set-status`.
pub(super) async fn set_status(context: &mut Context<'_>, mark: Mark, signing: &Signing) -> Outcome {
    context.home.server()?.manufacturer()?;
    let mut client = context.connect().await?;
    let Mark { product, release, status, role, .. } = &mark;
    match mark.sign(context, &mut client, signing).await? {
        Done::Waiting(waiting) => waiting.print(context),
        Done::Published(Marked::Already) => {
            let text = format!("{product} {release} is {} already; nothing was signed", status.as_str());
            let base = repository::base(context, &mut client, Which::Catalog).await?;
            let list = List::open(context, Some(&mut client), &base, role.as_deref()).await?;
            context.print.result(&json!({ "bundles": entries(&list.known) }), |_| text)
        }
        Done::Published(Marked::Now { before, version, list }) => {
            context.print.result(&json!({ "bundles": entries(&list.known) }), |_| {
                let whose = role.as_ref().map_or_else(String::new, |role| format!(" of the role {role}"));
                format!(
                    "{product} {release} was {} and is {} now, by targets {version}{whose}",
                    before.as_str(),
                    status.as_str()
                )
            })
        }
    }
}

impl Mark {
    /// Signs it into the catalog's next version and publishes that, or writes it down for those who must sign too.
    pub(crate) async fn sign(
        &self,
        context: &mut Context<'_>,
        client: &mut Client,
        signing: &Signing,
    ) -> Outcome<Done<Marked>> {
        let base = repository::base(context, client, Which::Catalog).await?;
        let list = List::open(context, Some(client), &base, self.role.as_deref()).await?;
        let mut draft = list.draft(context);
        let mut envelope = Envelope::new(context, Which::Catalog)?;
        let path = manifest_path(&self.product, self.release);
        // The catalog's own keys have the first word on every path, a role's included.
        if self.role.is_none()
            && !draft.targets.contains_key(&path)
            && let Some(target) = list.known.get(&path)
        {
            draft.targets.insert(path.clone(), target.clone());
            let mut catalog = base.clone().current(context.now())?;
            catalog.survey(&list.before, context.now());
            let store = TrustStore::of(&context.home, Which::Catalog);
            let manifest = store.fetch_target(client, &catalog, &path, MAX_MANIFEST_BYTES).await?;
            envelope.files.insert(path.clone(), manifest);
        }
        let (before, why) = self.change(&mut draft)?;
        if before == self.status && (self.reason.is_none() || why == self.reason) {
            return Ok(Done::Published(Marked::Already));
        }
        let version = draft.version;
        list.put_in(&mut envelope, list.sign(context, &base, &draft, &*context.key(&signing.key)?)?);
        Ok(match conclude(context, client, &base, &list, envelope, signing).await? {
            Done::Published(after) => {
                let list = Box::new(List::open(context, Some(client), &after, None).await?);
                Done::Published(Marked::Now { before, version, list })
            }
            Done::Waiting(waiting) => Done::Waiting(waiting),
        })
    }

    /// Changes it in the draft; what it was before, and why.
    fn change(&self, draft: &mut TargetsDraft) -> Outcome<(Status, Option<String>)> {
        let Self { product, release, status, reason, .. } = self;
        let unknown = || {
            Failure::new(format!("the catalog lists no release {release} of {product}"))
                .next("`suturectl catalog status`")
        };
        let target: &mut Target = draft.targets.get_mut(&manifest_path(product, *release)).ok_or_else(unknown)?;
        let mut entry = CatalogEntry::of(target).ok_or_else(unknown)?;
        let why = status_reason(target).map(str::to_owned);
        let before = std::mem::replace(&mut entry.status, *status);
        target.custom = Some(match reason {
            None => entry.to_custom(),
            Some(reason) => entry.to_custom_because(reason).ok_or_else(|| {
                Failure::new(format!("the reason is empty, or longer than {MAX_TEXT_BYTES} bytes"))
                    .next("--reason TEXT")
            })?,
        });
        Ok((before, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::trust::edit::CATALOG_LIFETIME;

    #[test]
    fn a_status_is_changed_for_that_release_alone() {
        let mut draft = TargetsDraft::first("2026-11-24T15:00:00Z".parse().unwrap(), CATALOG_LIFETIME);
        let product: ProductId = "pump".parse().unwrap();
        for release in [1, 2] {
            let entry = CatalogEntry {
                product: product.clone(),
                release: Release(release),
                version: "1.0".parse().unwrap(),
                hardware: vec!["rev-a".parse().unwrap()],
                min_release: Release(0),
                status: Status::Current,
                floor: Release(0),
            };
            let target = Target::of(b"manifest", Some(entry.to_custom()));
            draft.targets.insert(manifest_path(&product, Release(release)), target);
        }
        let mark = |release, status, reason: Option<&str>| Mark {
            product: product.clone(),
            release: Release(release),
            status,
            reason: reason.map(str::to_owned),
            role: None,
        };
        let quiet = Some("the alarm is too quiet");
        let change = |draft: &mut TargetsDraft, mark: &Mark| mark.change(draft);
        assert_eq!(change(&mut draft, &mark(1, Status::Withdrawn, quiet)).unwrap(), (Status::Current, None));
        let statuses: Vec<_> = draft.targets.values().map(|t| CatalogEntry::of(t).unwrap().status).collect();
        assert_eq!(statuses, [Status::Withdrawn, Status::Current]);
        let told = |draft: &TargetsDraft| draft.targets.values().next().and_then(status_reason).map(str::to_owned);
        assert_eq!(told(&draft).as_deref(), quiet);
        // What it is again, it is for no old reason.
        let before = change(&mut draft, &mark(1, Status::Current, None)).unwrap();
        assert_eq!(before, (Status::Withdrawn, quiet.map(str::to_owned)));
        assert_eq!(told(&draft), None);
        let failure = change(&mut draft, &mark(9, Status::Current, None)).unwrap_err().to_text();
        assert!(failure.contains("no release 9 of pump"), "{failure}");
        let long = "x".repeat(1_001);
        let failure = change(&mut draft, &mark(1, Status::Withdrawn, Some(&long))).unwrap_err().to_text();
        assert!(failure.contains("longer than 1000 bytes"), "{failure}");
    }
}
