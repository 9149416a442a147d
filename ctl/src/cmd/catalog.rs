//! `suturectl catalog`: the manufacturer's signed list of bundles.

mod delegation;
pub(crate) mod mark;

use std::collections::BTreeMap;

use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use suture_core::id::ProductId;
use suture_core::trust::edit::CATALOG_LIFETIME;
use suture_core::trust::{Base, CatalogEntry, Edition, Status, Target};
use suture_core::version::Release;
use suture_proto::v1;

use crate::alarm::{self, Alarm};
use crate::client::Client;
use crate::cmd::ceremony;
use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::Outcome;
use crate::hospital::{Desk, inventory};
use crate::print::{Table, grouped};
use crate::repository::{self, Done, Founders, List, Signing};
use crate::trust_store::{TrustStore, Which};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Begin the catalog: sign its first root and publish it empty
    #[command(after_help = "Example: suturectl catalog init")]
    Init {
        /// Who signs from the first version on.
        #[command(flatten)]
        founders: Founders,
    },
    /// Versions, ends, keys and what is listed
    #[command(after_help = "Example: suturectl catalog status --expect 12:SHA256")]
    Status {
        /// From what was verified last, without the server
        #[arg(long)]
        offline: bool,
        /// What a colleague's `status` prints: what is in force must be that, or descend from it
        #[arg(long, value_name = "VERSION:SHA256", conflicts_with = "offline")]
        expect: Option<Edition>,
    },
    /// Say of a published bundle whether it may still be installed
    #[command(after_help = "Example: suturectl catalog set-status pump 2 withdrawn")]
    SetStatus {
        /// The product
        product: ProductId,
        /// The release
        release: u64,
        /// `withdrawn` forbids it on every device, whatever a hospital approved
        #[arg(value_enum)]
        status: NewStatus,
        /// In the list of this delegated role, by its keys [default: by the catalog's own, which speak before any role]
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
        /// With what it is signed.
        #[command(flatten)]
        signing: Signing,
    },
    /// Sign the list as it is again, before it ends or after
    #[command(after_help = "Example: suturectl catalog renew")]
    Renew {
        /// The list of this delegated role, by its keys [default: the catalog's own]
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
        /// With what it is signed.
        #[command(flatten)]
        signing: Signing,
    },
    /// Let other keys list bundles of some paths, a product line's for one; a role of that name is changed
    #[command(
        after_help = "Example: suturectl catalog delegate pumps --path 'bundles/pump/*/manifest.json' --public HEX"
    )]
    Delegate(delegation::DelegateArgs),
    /// Let a role list bundles no more: what it lists is nobody's from then on
    #[command(after_help = "Example: suturectl catalog undelegate pumps")]
    Undelegate {
        /// The role
        name: String,
        /// With what it is signed.
        #[command(flatten)]
        signing: Signing,
    },
    /// What others may have to sign too.
    #[command(flatten)]
    Ceremony(ceremony::Command),
}

/// A bundle's status on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NewStatus {
    /// May be installed
    Current,
    /// May be installed; there is a better one
    Superseded,
    /// Must not be installed
    Withdrawn,
}

impl From<NewStatus> for Status {
    fn from(status: NewStatus) -> Self {
        match status {
            NewStatus::Current => Self::Current,
            NewStatus::Superseded => Self::Superseded,
            NewStatus::Withdrawn => Self::Withdrawn,
        }
    }
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    repository: repository::Status,
    delegated: Vec<delegation::RoleStatus>,
    /// What devices have verified otherwise than this home, and what the server says of that.
    alarms: Vec<Alarm>,
    bundles: Vec<CatalogEntry>,
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Init { founders } => init(context, &founders).await,
        Command::Status { offline, expect } => status(context, offline, expect).await,
        Command::SetStatus { product, release, status, role, signing } => {
            let mark = mark::Mark { product, release: Release(release), status: status.into(), reason: None, role };
            mark::set_status(context, mark, &signing).await
        }
        Command::Renew { role, signing } => renew(context, role.as_deref(), &signing).await,
        Command::Delegate(args) => delegation::delegate(context, args).await,
        Command::Undelegate { name, signing } => delegation::undelegate(context, &name, &signing).await,
        Command::Ceremony(command) => ceremony::run(context, Which::Catalog, command).await,
    }
}

async fn init(context: &mut Context<'_>, founders: &Founders) -> Outcome {
    context.home.server()?.manufacturer()?;
    let begun = match repository::begin(context, Which::Catalog, founders, CATALOG_LIFETIME).await? {
        Done::Published((begun, _)) => begun,
        Done::Waiting(waiting) => return waiting.print(context),
    };
    context.print.result(&begun, |b| {
        format!(
            "the catalog has begun\nroot {}\nread this fingerprint to the hospitals over another channel; tokens made from now on carry it\n",
            grouped(&b.root_sha256.to_string())
        )
    })
}

async fn status(context: &mut Context<'_>, offline: bool, expect: Option<Edition>) -> Outcome {
    let store = TrustStore::of(&context.home, Which::Catalog).expecting(expect);
    let mut client = if offline { None } else { Some(context.connect().await?) };
    let base = match &mut client {
        None => store.offline_base(context.now())?,
        Some(client) => store.refresh_base(client, context.now()).await?,
    };
    let alarms = match &mut client {
        None => Vec::new(),
        Some(client) => alarms(context, client).await?,
    };
    repository::tell_lapsed(context, Which::Catalog, &base);
    let store = TrustStore::of(&context.home, Which::Catalog);
    let files = store.delegated(client.as_mut(), &base).await?;
    let (known, mut refused) = base.listing(&files, context.now());
    let mut repository = repository::status(context, Which::Catalog, &base)?;
    let of_roles = files.clone();
    refused.extend(files.older());
    let delegated = delegation::status(context, &base, &of_roles, &refused);
    repository.warnings.extend(delegation::warnings(&delegated));
    let shown = Shown { repository, delegated, alarms, bundles: entries(&known) };
    context.print.result(&shown, |s| {
        format!("{}{}\n{}", s.repository.to_text(), delegation::table(&s.delegated), table(&s.bundles))
    })?;
    alarm::raise(&shown.alarms)
}

/// What the server has found, and at a hospital what its devices have signed that they verified, compared here.
async fn alarms(context: &mut Context<'_>, client: &mut Client) -> Outcome<Vec<Alarm>> {
    let of_catalog = |alarm: &Alarm| alarm.repository == Which::Catalog.as_str();
    if context.home.server()?.hdo().is_ok() && TrustStore::of(&context.home, Which::Approvals).is_pinned()? {
        // The report keys of devices stand on rosters, and those in the approvals.
        match Desk::open_base(context).await {
            Ok(mut desk) => {
                let devices = inventory::devices(&mut desk.client, "", "", "").await?;
                let alarms = alarm::look(context, &mut desk.client, &desk.hdo, &desk.documents, &devices).await?;
                return Ok(alarms.into_iter().filter(of_catalog).collect());
            }
            Err(failure) => context.print.note(&format!(
                "note: the approvals cannot be read ({}), so no device's own word on the catalog is looked at",
                failure.message
            )),
        }
    }
    let found = client.list_forks(v1::ListForksRequest {}).await?.forks;
    Ok(found.iter().map(alarm::told).filter(of_catalog).collect())
}

/// The bundles that a verified catalog lists, by product and release.
fn entries(known: &BTreeMap<String, Target>) -> Vec<CatalogEntry> {
    let mut entries: Vec<_> = known.values().filter_map(CatalogEntry::of).collect();
    entries.sort_by(|a, b| (&a.product, a.release).cmp(&(&b.product, b.release)));
    entries
}

fn table(entries: &[CatalogEntry]) -> String {
    let mut table = Table::new(["product", "release", "version", "status", "from", "floor", "hardware"]);
    for e in entries {
        let hardware: Vec<&str> = e.hardware.iter().map(|h| h.as_str()).collect();
        table.row([
            e.product.to_string(),
            e.release.to_string(),
            e.version.to_string(),
            e.status.as_str().to_owned(),
            e.min_release.to_string(),
            e.floor.to_string(),
            hardware.join(","),
        ]);
    }
    table.to_text()
}

async fn renew(context: &mut Context<'_>, role: Option<&str>, signing: &Signing) -> Outcome {
    context.home.server()?.manufacturer()?;
    let mut client = context.connect().await?;
    let base = repository::base(context, &mut client, Which::Catalog).await?;
    let list = List::open(context, Some(&mut client), &base, role).await?;
    let mut envelope = Envelope::new(context, Which::Catalog)?;
    list.put_in(&mut envelope, list.sign(context, &base, &list.draft(context), &*context.key(&signing.key)?)?);
    let after = match conclude(context, &mut client, &base, &list, envelope, signing).await? {
        Done::Published(after) => after,
        Done::Waiting(waiting) => return waiting.print(context),
    };
    let status = repository::status(context, Which::Catalog, &after)?;
    context.print.result(&status, repository::Status::to_text)
}

/// Publishes an envelope, or writes it down for those who must sign it too.
async fn conclude(
    context: &Context<'_>,
    client: &mut Client,
    base: &Base,
    list: &List,
    envelope: Envelope,
    signing: &Signing,
) -> Outcome<Done<Base>> {
    let file = signing.envelope.as_deref();
    repository::conclude(context, client, repository::in_force(base), &list.before, envelope, file).await
}
