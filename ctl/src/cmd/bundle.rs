//! `suturectl bundle`: from a specification to a published bundle.

mod adoption;
mod diff;
mod documents;
mod list;
mod tell;
mod withdraw;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;
use suture_core::digest::Digest;
use suture_core::manifest::{Manifest, PatchClass};
use suture_core::trust::edit::TargetsDraft;
use suture_core::trust::{CatalogEntry, Metadata as _, Proposed, Status, Target, Targets};
use suture_core::version::Release;

use crate::bundle::{self, Bundle, Checked, DocumentSummary, Options, Uploaded};
use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::{Failure, Outcome};
use crate::keys::KeyName;
use crate::letters;
use crate::print::{Table, bytes, count, counted};
use crate::repository::{self, Done, List};
use crate::trust_store::{TrustStore, Which};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a bundle; the same input gives the same bytes
    #[command(after_help = "Example: suturectl bundle build pump-1.1.0.toml -o pump-1.1.0")]
    Build {
        /// The specification (TOML)
        spec: PathBuf,
        /// The directory to create
        #[arg(short, long, value_name = "DIR")]
        output_dir: PathBuf,
        /// How hard chunks are compressed
        #[arg(long, default_value_t = suture_core::chunk::LEVEL, value_parser = clap::value_parser!(i32).range(1..=19))]
        level: i32,
    },
    /// Verify every byte of a bundle and show what it holds
    #[command(after_help = "Example: suturectl bundle inspect pump-1.1.0")]
    Inspect {
        /// A directory that `build` made
        dir: PathBuf,
    },
    /// Fetch the documents of a published bundle, each verified by the signed catalog: release notes, SBOM, VEX, MDS2
    Documents(documents::DocumentsArgs),
    /// Compare two bundles by their documents: components that came, went or changed their version, and vulnerabilities of
    /// which something else is said
    Diff(diff::DiffArgs),
    /// List the bundle in the catalog's next version and sign that
    #[command(after_help = "Examples: suturectl bundle sign pump-1.1.0\n\
    \x20         suturectl bundle sign pump-1.1.0 --role pumps --key line")]
    Sign(SignArgs),
    /// Upload what the server lacks and put the signed catalog in force; run it again after an interruption
    #[command(after_help = "Examples: suturectl bundle publish pump-1.1.0\n\
    \x20         suturectl bundle publish pump-1.1.0 --notice auto")]
    Publish {
        /// A directory that `sign` signed
        dir: PathBuf,
        /// Where to write what others must sign too, if one signature does not suffice [default: named after what it
        /// changes, in the current directory]
        #[arg(long, value_name = "FILE")]
        envelope: Option<PathBuf>,
        /// The notice that goes with it.
        #[command(flatten)]
        tell: tell::TellArgs,
    },
    /// Withdraw a published bundle, by the manufacturer's signature and with a reason that every hospital reads: no device
    /// begins it any more, and rollouts of it are halted
    #[command(after_help = "Example: suturectl bundle withdraw pump@2 --reason \"the alarm is too quiet\"")]
    Withdraw(withdraw::WithdrawArgs),
    /// How far a bundle is at each hospital, in counts
    #[command(after_help = "Example: suturectl bundle adoption pump@2")]
    Adoption(adoption::AdoptionArgs),
    /// The bundles that the server has, and what the hospital has decided of them
    #[command(after_help = "Example: suturectl bundle list")]
    List,
}

/// Arguments of `sign`.
#[derive(Debug, clap::Args)]
pub struct SignArgs {
    /// A directory that `build` made
    dir: PathBuf,
    /// The key that signs targets
    #[arg(long, value_name = "KEY", default_value = "targets")]
    key: KeyName,
    /// Mark the product's earlier releases as superseded
    #[arg(long)]
    supersede: bool,
    /// List it in this delegated role, by its keys [default: in the catalog's own list]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Raise the product's security floor: once this bundle runs, nothing below that release is installed any more
    #[arg(long, value_name = "RELEASE")]
    floor: Option<u64>,
    /// On the catalog that was verified last, without the server
    #[arg(long)]
    offline: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    manifest: &'a Manifest,
    signed: bool,
    checked: Checked,
    documents: Vec<DocumentSummary>,
}

#[derive(Serialize)]
struct Published {
    manifest_sha256: Digest,
    /// Of the list that it is in: the catalog's own, or a delegated role's.
    targets_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    uploaded: Uploaded,
    /// What the hospitals were told.
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<letters::Published>,
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Build { spec, output_dir, level } => {
            let built = bundle::build(&spec, &output_dir, Options { level })?;
            let (sha256, path) = (built.sha256(), output_dir.display().to_string());
            let documents = bundle::summaries(&built.manifest, &built.documents()?);
            for document in &documents {
                for warning in &document.warnings {
                    context.print.note(&format!("{}: {warning}", document.name));
                }
            }
            let value = json!({
                "manifest_sha256": sha256, "directory": path, "payload_length": built.manifest.total_length(),
                "documents": documents,
            });
            context.print.result(&value, |_| {
                let m = &built.manifest;
                format!(
                    "{} {} (release {}), {} of payload\nmanifest {sha256}\nin {path}",
                    m.product,
                    m.version,
                    m.release,
                    bytes(m.total_length())
                )
            })
        }
        Command::Inspect { dir } => inspect(context, &dir),
        Command::Documents(args) => documents::run(context, args).await,
        Command::Diff(args) => diff::run(context, args).await,
        Command::Sign(args) => sign(context, args).await,
        Command::Publish { dir, envelope, tell } => publish(context, &dir, envelope.as_deref(), tell).await,
        Command::Withdraw(args) => withdraw::run(context, args).await,
        Command::Adoption(args) => adoption::run(context, args).await,
        Command::List => list::run(context).await,
    }
}

fn inspect(context: &mut Context<'_>, dir: &Path) -> Outcome {
    let bundle = Bundle::open(dir)?;
    let checked = bundle::verify(&bundle)?;
    let signed = bundle.targets()?.is_some();
    let documents = bundle::summaries(&bundle.manifest, &bundle.documents()?);
    context.print.result(&Shown { manifest: &bundle.manifest, signed, checked, documents }, |s| {
        let Shown { manifest: m, signed, checked, documents } = s;
        let hardware: Vec<&str> = m.hardware.iter().map(|h| h.as_str()).collect();
        let mut payloads = Table::new(["payload", "length", "chunks", "directories", "files", "links"]);
        for p in &checked.payloads {
            let counts = p.tree.map(|t| [t.directories, t.files, t.links].map(|n| n.to_string()));
            let [d, f, l] = counts.unwrap_or_default();
            payloads.row([p.name.clone(), bytes(p.length), p.chunks.to_string(), d, f, l]);
        }
        let mut risks = String::new();
        for risk in &m.risks {
            let on: Vec<&str> = risk.hardware.iter().map(|h| h.as_str()).collect();
            let on = if on.is_empty() { "all hardware".to_owned() } else { on.join(", ") };
            risks.push_str(&format!("risk     from release {} on {on}: {}\n", risk.from, risk));
        }
        format!(
            "{} {} (release {}, from release {} on), for {}\nmanifest {}\ninstall  {}, at most {} s and {} s back{}\nclass    {}\n{risks}signed   {}\n\n{}\n{}\n{}, {} stored; every byte verified\n",
            m.product,
            m.version,
            m.release,
            m.requires.min_release,
            hardware.join(", "),
            checked.manifest_sha256,
            m.install.kind,
            m.install.budget_secs,
            m.install.revert_budget_secs,
            if m.install.return_to_service { "; then out of service until a person has checked it" } else { "" },
            match m.class {
                PatchClass::Routine => "routine",
                PatchClass::OutOfCycle => "out of cycle",
            },
            if *signed { "yes, not yet known whether in force" } else { "no" },
            payloads.to_text(),
            documents::table(documents),
            count(checked.chunks, "different chunk"),
            bytes(checked.stored_bytes)
        )
    })
}

async fn sign(context: &mut Context<'_>, args: SignArgs) -> Outcome {
    context.home.server()?.manufacturer()?;
    let bundle = Bundle::open(&args.dir)?;
    // Nobody signs what has not been read to the last byte.
    bundle::verify(&bundle)?;
    let store = TrustStore::of(&context.home, Which::Catalog);
    let mut client = if args.offline { None } else { Some(context.connect().await?) };
    let base = match &mut client {
        None => store.offline_base(context.now())?,
        Some(client) => store.refresh_base(client, context.now()).await?,
    };
    repository::tell_lapsed(context, Which::Catalog, &base);
    let list = List::open(context, client.as_mut(), &base, args.role.as_deref()).await?;
    list.may_list(&base, &bundle.manifest.path())?;
    let mut draft = list.draft(context);
    list_in(&mut draft, &list.known, &bundle, args.supersede, args.floor.map(Release))?;
    let targets = list.sign(context, &base, &draft, &*context.key(&args.key)?)?;
    bundle.set_targets(&targets, list.role.as_deref())?;
    let m = &bundle.manifest;
    let value = json!({
        "manifest_sha256": bundle.sha256(), "targets_version": draft.version, "targets_sha256": Digest::of(&targets),
        "role": list.role,
    });
    context.print.result(&value, |_| {
        format!(
            "signed: {} {} list {} {} (release {})\nnext: suturectl bundle publish {}",
            list.role.as_deref().map_or_else(|| "targets".to_owned(), |role| format!("the role {role}'s targets")),
            draft.version,
            m.product,
            m.version,
            m.release,
            args.dir.display()
        )
    })
}

/// Lists the bundle in the draft, and does to its product's other releases there what was asked for. Whether it is listed
/// already, and how high the product's floor is, is for all lists of the catalog together to say.
fn list_in(
    draft: &mut TargetsDraft,
    known: &BTreeMap<String, Target>,
    bundle: &Bundle,
    supersede: bool,
    floor: Option<Release>,
) -> Outcome {
    let m = &bundle.manifest;
    if let Some(listed) = known.get(&m.path()) {
        return Err(if listed.sha256 == bundle.sha256() {
            Failure::new(format!("the catalog lists {} release {} already, this very bundle", m.product, m.release))
        } else {
            Failure::new(format!("the catalog lists another bundle as {} release {}", m.product, m.release))
                .next("a release is never replaced: give this one the next number and build it again")
        });
    }
    let of_product = |target: &Target| CatalogEntry::of(target).filter(|e| e.product == m.product);
    // A thief's may lie above its release: it counts as devices count it.
    let floors = known.values().filter_map(of_product).map(|entry| entry.floor.min(entry.release));
    let highest_floor = floors.max().unwrap_or(Release(0));
    for target in draft.targets.values_mut() {
        let Some(mut entry) = of_product(target) else { continue };
        if supersede && entry.release < m.release && entry.status == Status::Current {
            entry.status = Status::Superseded;
            target.custom = Some(entry.to_custom());
        }
    }
    let floor = floor.unwrap_or(highest_floor);
    if floor < highest_floor || floor > m.release {
        return Err(Failure::new(format!(
            "the security floor {floor} is not between the product's present floor, {highest_floor}, and this release, {}",
            m.release
        ))
        .next("--floor RELEASE; without it the present floor stays"));
    }
    let entry = CatalogEntry {
        product: m.product.clone(),
        release: m.release,
        version: m.version.clone(),
        hardware: m.hardware.clone(),
        min_release: m.requires.min_release,
        status: Status::Current,
        floor,
    };
    draft.targets.insert(m.path(), Target::of(&bundle.manifest_bytes, Some(entry.to_custom())));
    Ok(())
}

async fn publish(context: &mut Context<'_>, dir: &Path, file: Option<&Path>, tell: tell::TellArgs) -> Outcome {
    context.home.server()?.manufacturer()?;
    let bundle = Bundle::open(dir)?;
    let notice = tell.prepare(context, &bundle.manifest)?;
    let path = bundle.manifest.path();
    let mut client = context.connect().await?;
    let base = repository::base(context, &mut client, Which::Catalog).await?;
    let role = bundle.role()?;
    let list = List::open(context, Some(&mut client), &base, role.as_deref()).await?;
    if list.known.get(&path).is_some_and(|t| t.sha256 == bundle.sha256()) {
        let published = Published {
            manifest_sha256: bundle.sha256(),
            targets_version: list.current.version(),
            role,
            uploaded: Uploaded::default(),
            notice: notice.send(context, &mut client).await?,
        };
        return context.print.result(&published, |p| {
            match p.notice.as_ref().map_or(0, |notice| notice.letters.len()) {
                0 => "published already; nothing was sent".to_owned(),
                n => format!("published already; {} its notice", counted(n, "hospital", "has", "have")),
            }
        });
    }
    let again = format!("`suturectl bundle sign {}` again", dir.display());
    let targets = bundle.targets()?.ok_or_else(|| Failure::new("the bundle is not signed").next(again.clone()))?;
    // Before hundreds of megabytes go out, not behind them.
    list.may_list(&base, &path)?;
    list.check(context, &base, &targets).map_err(|f| f.next(again.clone()))?;
    let signed = Proposed::<Targets>::read(&targets)?;
    if signed.target(&path).is_none_or(|t| t.sha256 != bundle.sha256()) {
        return Err(Failure::untrusted(format!("the signed targets do not list {path} as this bundle")).next(again));
    }
    let uploaded = bundle::upload(&mut client, &bundle).await?;
    let mut envelope = Envelope::new(context, Which::Catalog)?;
    list.put_in(&mut envelope, targets);
    envelope.files.insert(path.clone(), bundle.manifest_bytes.clone());
    let in_force = repository::in_force(&base);
    if let Done::Waiting(waiting) =
        repository::conclude(context, &mut client, in_force, &list.before, envelope, file).await?
    {
        notice.not_yet(context);
        return waiting.print(context);
    }
    let published = Published {
        manifest_sha256: bundle.sha256(),
        targets_version: signed.version(),
        role,
        uploaded,
        notice: notice.send(context, &mut client).await?,
    };
    context.print.result(&published, |p| {
        let m = &bundle.manifest;
        format!(
            "published {} {} (release {}) by {} {}\nsent {} of {}, {}\n",
            m.product,
            m.version,
            m.release,
            p.role.as_deref().map_or_else(|| "targets".to_owned(), |role| format!("the role {role}'s targets")),
            p.targets_version,
            p.uploaded.sent,
            count(p.uploaded.chunks, "chunk"),
            bytes(p.uploaded.sent_bytes)
        )
    })
}

#[cfg(test)]
mod tests;
