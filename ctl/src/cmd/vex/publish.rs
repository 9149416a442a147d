//! `vex publish|withdraw`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use suture_core::document::Vex;
use suture_core::exposure::{VexEntry, VexStatus};
use suture_core::id::{ProductId, VexId};
use suture_core::limits::{MAX_TEXT_BYTES, MAX_VEX_BYTES};
use suture_core::trust::{CatalogEntry, Target};
use suture_core::version::Release;

use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::{Exit, Failure, Outcome};
use crate::files;
use crate::print::count;
use crate::repository::{self, Done, List, Signing};
use crate::trust_store::Which;

/// Arguments of `vex publish`.
#[derive(Debug, Clone, clap::Args)]
pub struct PublishArgs {
    /// The document (JSON)
    file: PathBuf,
    /// The product that it speaks of
    #[arg(long)]
    product: ProductId,
    /// What to call it [default: the file's name]
    #[arg(long)]
    id: Option<VexId>,
    /// In the place of the one of that name, which was said before
    #[arg(long)]
    replace: bool,
    /// In the list of this delegated role, by its keys; it must be let list vex/PRODUCT/* [default: the catalog's own]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    #[command(flatten)]
    signing: Signing,
}

/// Arguments of `vex withdraw`.
#[derive(Debug, Clone, clap::Args)]
pub struct WithdrawArgs {
    /// The product
    product: ProductId,
    /// Which, as in `vex list`
    id: VexId,
    /// Why: signed with it, and read by every hospital
    #[arg(long)]
    reason: String,
    /// In the list of this delegated role, by its keys [default: the catalog's own]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    #[command(flatten)]
    signing: Signing,
}

#[derive(Debug, Serialize)]
struct Published {
    #[serde(flatten)]
    entry: VexEntry,
    targets_version: u64,
    statements: usize,
    vulnerabilities: Vec<String>,
}

/// Runs `vex publish`.
pub(super) async fn run(context: &mut Context<'_>, args: PublishArgs) -> Outcome {
    context.home.server()?.manufacturer()?;
    let PublishArgs { file, product, id, replace, role, signing } = args;
    let id = match id {
        Some(id) => id,
        None => named(&file)?,
    };
    let shown = file.display().to_string();
    let bytes = files::need(&file, MAX_VEX_BYTES)?;
    let vex = Vex::parse(&bytes).map_err(|fault| {
        Failure::of(Exit::Failed, &fault).next(format!("mend {shown}; hospitals read what is signed, as it is"))
    })?;
    if vex.statements.is_empty() {
        return Err(Failure::new(format!("{shown} says nothing of any vulnerability")));
    }
    let mut client = context.connect().await?;
    let base = repository::base(context, &mut client, Which::Catalog).await?;
    let list = List::open(context, Some(&mut client), &base, role.as_deref()).await?;
    let entry = next(&list.known, product, id, vex.format.as_str(), replace)?;
    let path = entry.path();
    list.may_list(&base, &path)?;
    let mut draft = list.draft(context);
    draft.targets.insert(path.clone(), Target::of(&bytes, Some(entry.to_custom())));
    let version = draft.version;
    let mut envelope = Envelope::new(context, Which::Catalog)?;
    envelope.files.insert(path, bytes);
    list.put_in(&mut envelope, list.sign(context, &base, &draft, &*context.key(&signing.key)?)?);
    let (in_force, to) = (repository::in_force(&base), signing.envelope.as_deref());
    if let Done::Waiting(waiting) =
        repository::conclude(context, &mut client, in_force, &list.before, envelope, to).await?
    {
        return waiting.print(context);
    }
    let mut vulnerabilities: Vec<String> = vex.statements.iter().map(|s| s.vulnerability.clone()).collect();
    vulnerabilities.sort_unstable();
    vulnerabilities.dedup();
    let published = Published { entry, targets_version: version, statements: vex.statements.len(), vulnerabilities };
    context.print.result(&published, |p| {
        format!(
            "published {} of {}, number {} of its statements, by targets {}: {} about {}\n\
             what that comes to: suturectl exposure --cve {}",
            p.entry.id,
            p.entry.product,
            p.entry.number,
            p.targets_version,
            count(p.statements, "statement"),
            p.vulnerabilities.join(", "),
            p.vulnerabilities.first().map_or("ID", String::as_str)
        )
    })
}

/// A document's id by its file's name.
fn named(file: &std::path::Path) -> Outcome<VexId> {
    let stem = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"));
    let id = stem.and_then(|stem| stem.to_ascii_lowercase().parse().ok());
    id.ok_or_else(|| Failure::new(format!("{} is no id", file.display())).next("--id, as in acme-2026-001"))
}

/// What the catalog is to say of it: the product's next number, behind its newest release.
fn next(
    known: &BTreeMap<String, Target>,
    product: ProductId,
    id: VexId,
    format: &str,
    replace: bool,
) -> Outcome<VexEntry> {
    let releases = known.values().filter_map(CatalogEntry::of).filter(|entry| entry.product == product);
    let after = releases.map(|entry| entry.release).max().ok_or_else(|| {
        Failure::new(format!("the catalog lists no bundle of {product}")).next("`suturectl bundle list`")
    })?;
    let entries =
        || known.iter().filter_map(|(path, target)| VexEntry::of(path, target)).filter(|e| e.product == product);
    let number = entries().map(|entry| entry.number).max().unwrap_or(0).saturating_add(1);
    match (entries().find(|entry| entry.id == id), replace) {
        (Some(_), false) => Err(Failure::new(format!("{id} of {product} is published already"))
            .next("--replace puts this one in its place; another --id publishes it beside it")),
        (None, true) => Err(Failure::new(format!("there is no {id} of {product} that could be replaced"))
            .next(format!("`suturectl vex list --product {product}`"))),
        (Some(_), true) | (None, false) => Ok(VexEntry {
            product,
            id,
            format: format.to_owned(),
            number,
            after: Release(after.0),
            status: VexStatus::Current,
            reason: None,
        }),
    }
}

#[derive(Debug, Serialize)]
struct Withdrawn {
    #[serde(flatten)]
    entry: VexEntry,
    /// Of the list that it is in.
    targets_version: u64,
}

/// Runs `vex withdraw`.
pub(super) async fn withdraw(context: &mut Context<'_>, args: WithdrawArgs) -> Outcome {
    context.home.server()?.manufacturer()?;
    let WithdrawArgs { product, id, reason, role, signing } = args;
    let path = format!("vex/{product}/{id}.json");
    if reason.trim().is_empty() || reason.len() > MAX_TEXT_BYTES {
        return Err(
            Failure::new(format!("the reason is empty, or longer than {MAX_TEXT_BYTES} bytes")).next("--reason TEXT")
        );
    }
    let mut client = context.connect().await?;
    let base = repository::base(context, &mut client, Which::Catalog).await?;
    let list = List::open(context, Some(&mut client), &base, role.as_deref()).await?;
    let mut draft = list.draft(context);
    let unknown = || {
        let whose =
            role.as_ref().map_or_else(|| "the catalog's own list".to_owned(), |role| format!("the role {role}"));
        Failure::new(format!("{whose} has no {id} of {product}"))
            .next(format!("`suturectl vex list --product {product}`"))
    };
    let target = draft.targets.get_mut(&path).ok_or_else(unknown)?;
    let mut entry = VexEntry::of(&path, target).ok_or_else(unknown)?;
    if entry.status == VexStatus::Withdrawn {
        return Err(Failure::new(format!("{id} of {product} is withdrawn already")));
    }
    (entry.status, entry.reason) = (VexStatus::Withdrawn, Some(reason));
    target.custom = Some(entry.to_custom());
    let version = draft.version;
    let mut envelope = Envelope::new(context, Which::Catalog)?;
    list.put_in(&mut envelope, list.sign(context, &base, &draft, &*context.key(&signing.key)?)?);
    let (in_force, to) = (repository::in_force(&base), signing.envelope.as_deref());
    if let Done::Waiting(waiting) =
        repository::conclude(context, &mut client, in_force, &list.before, envelope, to).await?
    {
        return waiting.print(context);
    }
    context.print.result(&Withdrawn { entry, targets_version: version }, |w| {
        format!(
            "{} of {} is withdrawn, by targets {}; what was said before it counts again",
            w.entry.id, w.entry.product, w.targets_version
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_document_has_the_products_next_number_and_none_takes_anothers_place_unasked() {
        let bundle = |product: &str, release| {
            let entry = CatalogEntry {
                product: product.parse().unwrap(),
                release: Release(release),
                version: "1.0.0".parse().unwrap(),
                hardware: vec!["rev-a".parse().unwrap()],
                min_release: Release(0),
                status: suture_core::trust::Status::Current,
                floor: Release(0),
            };
            (format!("bundles/{product}/{release}/manifest.json"), Target::of(b"{}", Some(entry.to_custom())))
        };
        let mut known = BTreeMap::from([bundle("pump", 1), bundle("pump", 7), bundle("monitor", 9)]);
        let mut publish = |product: &str, id: &str, replace| {
            let entry = next(&known, product.parse().unwrap(), id.parse().unwrap(), "openvex", replace)?;
            known.insert(entry.path(), Target::of(b"{}", Some(entry.to_custom())));
            Ok::<_, Failure>((entry.number, entry.after.0))
        };
        assert_eq!(publish("pump", "acme-1", false).unwrap(), (1, 7));
        assert_eq!(publish("monitor", "acme-1", false).unwrap(), (1, 9));
        assert_eq!(publish("pump", "acme-2", false).unwrap(), (2, 7));
        let failure = publish("pump", "acme-1", false).unwrap_err().to_text();
        assert!(failure.contains("published already") && failure.contains("--replace"), "{failure}");
        assert_eq!(publish("pump", "acme-1", true).unwrap(), (3, 7));
        assert!(publish("pump", "acme-3", true).unwrap_err().to_text().contains("could be replaced"));
        assert!(publish("ventilator", "acme-1", false).unwrap_err().to_text().contains("no bundle of ventilator"));
    }

    #[test]
    fn a_document_is_called_as_its_file_is() {
        assert_eq!(named("a/ACME-2026-001.json".as_ref()).unwrap().as_str(), "acme-2026-001");
        for bad in ["a/acme.xml", "a/.json", "a/two words.json", ".."] {
            assert!(named(bad.as_ref()).unwrap_err().to_text().contains("--id"), "{bad}");
        }
    }
}
