//! `rollout plan`: computed here, from what both sides have signed and what the server says that devices run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use suture_core::approval::SignedDocument as _;
use suture_core::clock::{format_utc, parse_utc};
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, ProductId, WardId};
use suture_core::label::Label;
use suture_core::limits::{MAX_HORIZON_SECS, MAX_MANIFEST_BYTES, MAX_RELEASES_BETWEEN};
use suture_core::manifest::manifest_path;
use suture_core::plan::{self, Bundle, Deadline, Facts, Known, Plan, Request, Selector};
use suture_core::report::Took;
use suture_core::trust::Status;
use suture_core::version::{Release, ReleaseRange};
use suture_core::window::parse_duration;
use suture_proto::v1;

use super::propose::{self, Proposed};
use super::waves::WaveArgs;
use super::{longer, print, says, stage};
use crate::context::Context;
use crate::failure::{Exit, Failure, OrFail as _, Outcome};
use crate::files::{self, Access};
use crate::hospital::{Desk, inventory, refused};
use crate::trust_store::{TrustStore, Which};

/// A bundle on the command line: `PRODUCT@RELEASE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BundleName {
    pub(crate) product: ProductId,
    pub(crate) release: Release,
}

impl FromStr for BundleName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a bundle like pump@7: the product, and its release number");
        let (product, release) = text.split_once('@').ok_or_else(bad)?;
        Ok(Self { product: product.parse().map_err(|_| bad())?, release: Release(release.parse().map_err(|_| bad())?) })
    }
}

impl std::fmt::Display for BundleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.product, self.release)
    }
}

/// How far ahead slots are looked for, unless that is said: 14 days.
const HORIZON_SECS: u32 = 14 * 86_400;

/// How the devices are spread over the wards' time.
#[derive(Debug, Clone, Args)]
pub(super) struct Pace {
    #[command(flatten)]
    pub(super) waves: WaveArgs,
    /// How many devices of a ward may have a slot at any instant
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    cap: u32,
    /// How much longer a slot lasts than the bundle's budgets: time for a device to come out of use
    #[arg(long, default_value = "10m", value_parser = duration)]
    slack: u32,
    /// How many slots a device gets for each step, where the calendar has room: chances, should it be in use in the first
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    slots: u32,
    /// Over how much time starts are spread that would else fall on an opening's first instant, as far as the opening has
    /// room for it [default: a second for each device of the wave, and 10m at most]
    #[arg(long, value_parser = duration)]
    spread: Option<u32>,
    /// No slot begins before this instant, as in 2026-11-24T17:00:00Z
    #[arg(long, value_parser = instant)]
    not_before: Option<Timestamp>,
    /// How far ahead slots are looked for [default: 14d]
    #[arg(long, value_parser = duration)]
    horizon: Option<u32>,
    /// No slot ends after this instant, whatever the horizon, as in 2026-12-01T00:00:00Z: a device that finds none before it
    /// is left out
    #[arg(long, value_parser = instant)]
    deadline: Option<Timestamp>,
    /// Tries that a device has at each step
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10))]
    attempts: u32,
    /// How long a device waits after a try that failed; twice as long after each further one
    #[arg(long, default_value = "15m", value_parser = duration)]
    retry_wait: u32,
    /// How long a device that has begun may say nothing before it counts as failed; never less than its install and the way back may take
    #[arg(long, default_value = "1h", value_parser = duration)]
    attempt_timeout: u32,
    /// Devices need a lease of the server's besides their slots: one that is down beyond its slot keeps its ward's next waiting
    #[arg(long)]
    leases: bool,
    /// Give the slots of approvals that this one replaces to others at once: a device that has not heard of it yet may then be
    /// down beside the cap
    #[arg(long)]
    reuse_slots: bool,
    /// The hospital's change ticket
    #[arg(long, default_value = "")]
    ticket: String,
}

/// Arguments of `rollout plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// What is to be installed, as in pump@7
    #[arg(long, value_name = "PRODUCT@RELEASE", required_unless_present = "proposal")]
    bundle: Option<BundleName>,
    /// Begin from what the manufacturer suggests, as `rollout proposals` lists it: its bundle, waves, gates and deadline, each
    /// unless it is given here
    #[arg(long, value_name = "ID")]
    proposal: Option<String>,
    /// All devices of the product in this ward; may be given several times
    #[arg(long)]
    ward: Vec<WardId>,
    /// All devices of the product with this label on the signed roster, as in area=icu; of several all must hold, and of
    /// several values of one key any. With --ward: those of the ward
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<Label>,
    /// This device too; may be given several times. Without ward, label and device: all devices of the product
    #[arg(long)]
    device: Vec<DeviceId>,
    /// Of these, the devices that run one of these releases, as in 1..3 or 2
    #[arg(long, value_name = "RELEASES")]
    running: Option<ReleaseRange>,
    #[command(flatten)]
    pace: Pace,
    /// Devices may go to this release from a higher one
    #[arg(long)]
    permit_downgrade: bool,
    /// An approval that this one replaces; may be given several times
    #[arg(long, value_name = "ROLLOUT")]
    supersedes: Vec<ApprovalId>,
    /// The id of the approval and its rollout [default: made of the bundle and a random part]
    #[arg(long)]
    id: Option<ApprovalId>,
    /// Also write the plan to a file
    #[arg(short = 'o', long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn duration(text: &str) -> Result<u32, String> {
    if text == "0s" { Ok(0) } else { parse_duration(text).map_err(|e| e.to_string()) }
}

fn instant(text: &str) -> Result<Timestamp, String> {
    parse_utc(text).ok_or_else(|| format!("{text:?} is not a UTC instant like 2026-11-24T17:00:00Z"))
}

impl Pace {
    /// The request that this pace makes for a selection.
    pub(super) fn request(&self, approval: ApprovalId, selector: Selector, now: Timestamp) -> Request {
        Request {
            approval,
            selector,
            waves: self.waves.specs(),
            cap: self.cap,
            slack_secs: self.slack,
            slots_per_device: self.slots,
            not_before: self.not_before.unwrap_or(now).max(now),
            horizon_secs: self.horizon.unwrap_or(HORIZON_SECS),
            spread_secs: self.spread,
            deadline: self.deadline,
            max_attempts: self.attempts,
            retry_wait_secs: self.retry_wait,
            attempt_timeout_secs: self.attempt_timeout,
            leases: self.leases,
            permit_downgrade: false,
            supersedes: BTreeSet::new(),
            reuse_slots: self.reuse_slots,
            ticket: self.ticket.clone(),
        }
    }
}

impl Pace {
    /// Takes what was suggested, where nothing else is asked for.
    fn after(&self, proposed: &Proposed, request: &mut Request) -> Outcome {
        request.waves = self.waves.specs_over(&proposed.suggestion.waves);
        let (Some(Deadline(end)), None) = (proposed.suggestion.deadline, self.deadline) else { return Ok(()) };
        let left = end.duration_since(request.not_before).as_secs().min(MAX_HORIZON_SECS);
        let left = u32::try_from(left).ok().filter(|secs| *secs > 0).ok_or_else(|| {
            Failure::new(format!("the deadline of {} is {}, which is over", proposed.id, format_utc(end)))
                .next("--deadline sets another, as in 2026-12-01T00:00:00Z")
        })?;
        request.deadline = Some(end);
        // Slots are looked for until then, unless less is asked for.
        request.horizon_secs = self.horizon.unwrap_or(left);
        Ok(())
    }
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: PlanArgs) -> Outcome {
    let mut desk = Desk::open(context).await?;
    let proposed = match &args.proposal {
        Some(id) => Some(propose::find(&mut desk.client, id).await?),
        None => None,
    };
    let bundle = match (&args.bundle, &proposed) {
        (Some(bundle), Some(p)) if *bundle != p.bundle => {
            return Err(
                Failure::new(format!("{} suggests {}, not {bundle}", p.id, p.bundle)).next("leave out --bundle")
            );
        }
        (Some(bundle), _) => bundle.clone(),
        (None, Some(p)) => p.bundle.clone(),
        (None, None) => {
            return Err(Failure::new("no bundle is named").next("--bundle PRODUCT@RELEASE, or --proposal ID"));
        }
    };
    let devices = inventory::devices(&mut desk.client, "", "", "").await?;
    let known = known_of(&devices, &desk);
    let facts = facts(context, &mut desk, &bundle, &known).await?;
    let approval = match args.id {
        Some(id) => id,
        None => fresh_id(context, &bundle)?,
    };
    let selector = Selector {
        wards: args.ward.into_iter().collect(),
        labels: args.label.into_iter().collect(),
        devices: args.device.into_iter().collect(),
        running: args.running,
    };
    let mut request = args.pace.request(approval, selector, context.now());
    if let Some(proposed) = &proposed {
        args.pace.after(proposed, &mut request)?;
    }
    request.permit_downgrade = args.permit_downgrade;
    request.supersedes = args.supersedes.into_iter().collect();
    let plan = plan::plan(&facts, &request, &known, context.now()).map_err(refused)?;
    let digest = store(&mut desk, &plan).await?;
    if let Some(path) = &args.out {
        files::write(path, &plan.to_bytes().map_err(refused)?, Access::Public)?;
    }
    if plan.devices.is_empty() {
        context.print.note("note: the plan names no device, so there is nothing to approve");
    } else {
        context.print.note(&format!("to approve it: suturectl rollout approve {digest} --reason ..."));
    }
    let took: BTreeMap<DeviceId, Took> = devices.iter().filter_map(|d| inventory::took(d, &desk.documents)).collect();
    let longer = longer::longer(&plan, &took);
    if let Some(warning) = longer::note(&longer, plan.request.slack_secs) {
        context.print.note(&warning);
    }
    let stages = stage::of(context, &mut desk, &plan).await?;
    shown(context, &plan, digest, &longer, stages.as_ref())
}

/// Prints a plan.
fn shown(
    context: &mut Context<'_>,
    plan: &Plan,
    digest: Digest,
    longer: &[longer::Longer],
    life: Option<&stage::Stages>,
) -> Outcome {
    let says = says::Says::of(plan);
    let result = json!({ "sha256": digest, "plan": plan, "says": says, "too_short_for": longer, "life": life });
    context.print.result(&result, |_| {
        let life = life.map(stage::Stages::to_text).unwrap_or_default();
        format!("{life}{}", print::plan(plan, digest))
    })
}

/// Keeps the plan at the server for the other approvers. Nobody believes it there: `approve` computes it again.
pub(super) async fn store(desk: &mut Desk, plan: &Plan) -> Outcome<Digest> {
    let bytes = plan.to_bytes().map_err(refused)?;
    let digest = Digest::of(&bytes);
    desk.client.store_plan(v1::StorePlanRequest { plan: bytes.into() }).await?;
    Ok(digest)
}

/// What both sides have signed, with the manifests fetched and verified: the bundle's, and those of the releases over which a
/// way to it may have to lead from what `known` says that devices run.
pub(super) async fn facts(
    context: &Context<'_>,
    desk: &mut Desk,
    bundle: &BundleName,
    known: &[Known],
) -> Outcome<Facts> {
    let catalog = desk.catalog(context).await?;
    let store = TrustStore::of(&context.home, Which::Catalog);
    let mut verified = async |release: Release| {
        let path = manifest_path(&bundle.product, release);
        if catalog.target(&path).is_none() {
            return Err(catalog.lacks(&format!("{} release {release}", bundle.product)));
        }
        let manifest = store.fetch_target(&mut desk.client, &catalog, &path, MAX_MANIFEST_BYTES).await?;
        Bundle::verify(&catalog, &bundle.product, release, &manifest).map_err(|e| Failure::of(Exit::Untrusted, &e))
    };
    let target = verified(bundle.release).await?;
    let mut releases = Vec::new();
    for release in between(&target, known)? {
        releases.push(verified(release).await?);
    }
    let documents = desk.documents.clone();
    Ok(Facts {
        hdo: desk.hdo.clone(),
        bundle: target,
        releases,
        rosters: documents.rosters,
        calendars: documents.calendars,
        approvals: documents.approvals,
        stops: documents.stops,
    })
}

/// The releases over which a way to the bundle may have to lead: none where all that are known may go to it at once.
fn between(bundle: &Bundle, known: &[Known]) -> Outcome<Vec<Release>> {
    let (product, target) = (&bundle.step.product, bundle.step.release);
    let hindered = |from: &Release| {
        *from < target && (*from < bundle.min_release || bundle.risks.iter().any(|risk| risk.from.contains(*from)))
    };
    let of_product = known.iter().filter(|k| k.product.as_ref().is_none_or(|p| p == product));
    let runs = of_product.filter_map(|k| k.running.as_ref()).map(|r| r.release);
    let Some(lowest) = runs.filter(hindered).min() else { return Ok(Vec::new()) };
    let open = bundle.floors.iter().filter(|f| f.status != Status::Withdrawn).map(|f| f.release);
    let found: BTreeSet<Release> = open.filter(|release| lowest < *release && *release < target).collect();
    if found.len() > MAX_RELEASES_BETWEEN {
        let text = format!("{} releases lie between {lowest}, which a device runs, and {target}", found.len());
        return Err(Failure::new(text).next("plan a release between them first"));
    }
    Ok(found.into_iter().collect())
}

/// What is known of all devices.
pub(super) async fn known(desk: &mut Desk) -> Outcome<Vec<Known>> {
    let devices = inventory::devices(&mut desk.client, "", "", "").await?;
    Ok(known_of(&devices, desk))
}

/// The same, of what the server says of them.
pub(super) fn known_of(devices: &[v1::Device], desk: &Desk) -> Vec<Known> {
    let named: BTreeSet<&str> = devices.iter().filter_map(|d| d.record.as_ref()).map(|r| r.id.as_str()).collect();
    let mut all: Vec<Known> = devices
        .iter()
        .filter(|d| !matches!(d.state.as_str(), "revoked" | "decommissioned"))
        .filter_map(|d| inventory::known(d, &desk.documents))
        .collect();
    // A device that the server keeps quiet about is still the hospital's: it is named as one of which nothing is known.
    let rosters = desk.documents.rosters.iter().flat_map(|(_, roster)| &roster.devices);
    all.extend(rosters.filter(|d| !named.contains(d.id.as_str())).map(|d| Known {
        id: d.id.clone(),
        ward: Some(d.ward.clone()),
        product: Some(d.product.clone()),
        running: None,
        installs: None,
        proven: false,
        settled: false,
    }));
    all
}

/// An id that nobody else takes: product, release, and 32 random bits.
pub(super) fn fresh_id(context: &Context<'_>, bundle: &BundleName) -> Outcome<ApprovalId> {
    let product: String = bundle.product.as_str().chars().take(32).collect();
    let random = hex::encode(context.random::<4>()?);
    format!("{product}-{}-{random}", bundle.release).parse().or_fail(|| "cannot make an id".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_named_by_product_and_release() {
        let name: BundleName = "pump@7".parse().unwrap();
        assert_eq!((name.product.as_str(), name.release), ("pump", Release(7)));
        for bad in ["pump", "pump@", "@7", "pump@1.0", "Pump@7", "pump@-1"] {
            assert!(bad.parse::<BundleName>().unwrap_err().contains("pump@7"), "{bad}");
        }
    }

    #[test]
    fn what_is_suggested_sets_the_deadline_and_what_is_given_here_comes_first() {
        #[derive(clap::Parser)]
        struct Args {
            #[command(flatten)]
            pace: Pace,
        }
        let now = instant("2026-11-24T12:00:00Z").unwrap();
        let suggest = |deadline: &str| Proposed::of("s-1", "pump@7".parse().unwrap(), Some(instant(deadline).unwrap()));
        let after = |args: &[&str], suggested: &str| {
            let pace = <Args as clap::Parser>::parse_from([&["plan"], args].concat()).pace;
            let mut request = pace.request("pump-7".parse().unwrap(), Selector::default(), now);
            pace.after(&suggest(suggested), &mut request)?;
            Ok::<_, Failure>((request.deadline.map(format_utc), request.horizon_secs))
        };
        let month = "2026-12-24T12:00:00Z";
        assert_eq!(after(&[], month).unwrap(), (Some(month.to_owned()), 30 * 86_400));
        assert_eq!(after(&["--horizon", "2d"], month).unwrap(), (Some(month.to_owned()), 2 * 86_400));
        let own = "2026-12-01T00:00:00Z";
        assert_eq!(after(&["--deadline", own], month).unwrap(), (Some(own.to_owned()), HORIZON_SECS));
        assert!(after(&[], "2026-11-24T12:00:00Z").unwrap_err().to_text().contains("--deadline"));
    }

    #[test]
    fn a_slack_may_be_nothing_and_an_instant_is_utc() {
        assert_eq!(duration("0s"), Ok(0));
        assert_eq!(duration("90s"), Ok(90));
        assert!(duration("soon").is_err());
        assert!(instant("2026-11-24T17:00:00Z").is_ok());
        assert!(instant("2026-11-24T17:00:00+01:00").is_err());
    }
}
