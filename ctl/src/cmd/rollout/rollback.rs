//! `rollout rollback`: the way back for devices that have proven by their signature that they run the rollout's bundle.
//!
//! One that is being changed meanwhile has proven nothing yet, and stays on the bundle once it has: the rollout that would say
//! so is over. Such devices are named, for a second way back.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use suture_core::approval::{Approval, RosterDevice};
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, ProductId};
use suture_core::manifest::manifest_path;
use suture_core::phase::Phase;
use suture_core::plan::{self, Known, Selector};
use suture_core::report::{Report, Running};
use suture_core::select::Catalog;
use suture_core::trust::Status;
use suture_core::version::Release;
use suture_proto::{Invalid, parse, parse_digest, v1};

use super::plan::{BundleName, Pace, facts, fresh_id, known_of, store};
use super::says::Says;
use super::{approve, print, stop};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::statements::{Saying, Words};
use crate::hospital::{Desk, inventory, refused};
use crate::repository::{Done, Signing};

/// Arguments of `rollout rollback`.
#[derive(Debug, Clone, Args)]
pub struct RollbackArgs {
    /// The rollout to go back from
    rollout: ApprovalId,
    /// The release to go back to [default: the one that all its devices ran before, by their signed reports]
    #[arg(long)]
    to: Option<u64>,
    /// Why, for the record
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    saying: Saying,
    #[command(flatten)]
    pace: Pace,
    /// Sign and publish it; without, it is only shown
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    signing: Signing,
}

/// What there is to say where the way back is an abort.
#[derive(Serialize)]
struct Aborted<'a, U> {
    #[serde(flatten)]
    told: &'a stop::Told,
    unsettled: &'a U,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: RollbackArgs) -> Outcome {
    let mut desk = Desk::open(context).await?;
    let origin = Origin::find(context, &desk, &args.rollout).await?;
    let devices = inventory::devices(&mut desk.client, "", "", "").await?;
    let known = known_of(&devices, &desk);
    let moved = origin.moved(&known);
    let approval = desk.documents.approval(&args.rollout);
    let unsettled = origin.unsettled(approval, &said_last(&devices, &desk, &known), &moved, context.now());
    if let Some(failure) = nothing_to_do(&args.rollout, &moved, origin.listed, &unsettled) {
        return Err(failure);
    }
    if !unsettled.is_empty() {
        context.print.note(&format!("note: {}", come_again(&args.rollout, &unsettled)));
    }
    if moved.is_empty() {
        context.print.note("no device has proven that it runs the rollout's bundle: this is an abort");
        if !args.yes {
            let result = json!({ "rollout": args.rollout, "abort": true, "signed": false, "unsettled": unsettled });
            return context.print.result(&result, |_| "add --yes to abort it and sign the stop order".to_owned());
        }
        let ended = stop::end(context, &mut desk, &args.rollout, &args.reason, &args.signing).await?;
        context.print.result(&Aborted { told: &ended.told, unsettled: &unsettled }, |_| ended.text())?;
        return ended.refused.map_or(Ok(()), Err);
    }
    let catalog = desk.catalog(context).await?;
    origin.check(&*catalog)?;
    let bundle = match args.to {
        Some(release) => BundleName { product: origin.product.clone(), release: Release(release) },
        None => {
            let mut ran = Vec::with_capacity(moved.len());
            for id in &moved {
                let answer = desk.client.get_device(v1::GetDeviceRequest { id: id.to_string() }).await?;
                ran.push((id, origin.before(&answer.reports, desk.documents.device(id))));
            }
            target(&*catalog, &origin.product, &ran)?
        }
    };
    let facts = facts(context, &mut desk, &bundle, &known).await?;
    let selector = Selector { devices: moved, ..Selector::default() };
    let mut request = args.pace.request(fresh_id(context, &bundle)?, selector, context.now());
    request.permit_downgrade = true;
    // One that has ended is superseded by its end, and the approvals list it no more.
    request.supersedes = if origin.listed { BTreeSet::from([args.rollout.clone()]) } else { BTreeSet::new() };
    let plan = plan::plan(&facts, &request, &known, context.now()).map_err(refused)?;
    let digest = store(&mut desk, &plan).await?;
    if args.yes && plan.devices.is_empty() {
        let why = plan.blocked.iter().map(|blocked| format!("{}: {}", blocked.id, blocked.reason)).take(3);
        let why = why.collect::<Vec<_>>().join("; ");
        return Err(Failure::new(format!("no device can be planned for the way back: {why}"))
            .next("the plan without --yes tells of all"));
    }
    if args.yes {
        let words = Words::of(context, &args.saying, &args.reason)?;
        let signed = approve::sign(context, &mut desk, &plan, words, &args.signing).await?;
        if let Done::Waiting(waiting) = signed {
            return waiting.print(context);
        }
        context.print.note(&format!("signed: rollout {} takes the place of {}", plan.request.approval, args.rollout));
    } else {
        context.print.note("nothing is signed; add --yes to sign and publish this way back");
    }
    let result = json!({
        "sha256": digest,
        "plan": plan,
        "says": Says::of(&plan),
        "too_short_for": Vec::<DeviceId>::new(),
        "life": null,
        "unsettled": unsettled,
    });
    context.print.result(&result, |_| print::plan(&plan, digest))
}

/// The last signed report of each device that is not revoked; none where there is none.
fn said_last(devices: &[v1::Device], desk: &Desk, known: &[Known]) -> BTreeMap<DeviceId, Option<Report>> {
    let mut last: BTreeMap<DeviceId, Option<Report>> = known.iter().map(|k| (k.id.clone(), None)).collect();
    for device in devices {
        let id = device.record.as_ref().and_then(|record| record.id.parse::<DeviceId>().ok());
        let Some((id, said)) = id.and_then(|id| last.get_mut(&id).map(|said| (id, said))) else { continue };
        *said = inventory::proven(device.proven.as_ref(), desk.documents.device(&id));
    }
    last
}

/// Why there is nothing to take back, nor to abort, where that is so.
fn nothing_to_do(
    rollout: &ApprovalId,
    moved: &BTreeSet<DeviceId>,
    listed: bool,
    unsettled: &[DeviceId],
) -> Option<Failure> {
    if listed || !moved.is_empty() {
        return None;
    }
    let next = if unsettled.is_empty() {
        "its approval has ended as well, so there is nothing to take back".to_owned()
    } else {
        come_again(rollout, unsettled)
    };
    Some(Failure::new(format!("no device has proven that it runs what {rollout} brought")).next(next))
}

/// What to do about devices that are being changed.
fn come_again(rollout: &ApprovalId, unsettled: &[DeviceId]) -> String {
    let named: Vec<_> = unsettled.iter().take(8).map(ToString::to_string).collect();
    let more = unsettled.len().saturating_sub(named.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!(
        "not taken back by this, for they have not said yet what they run: {}{more}; by their last reports they are \
         being changed, or may have begun since; run `suturectl rollout rollback {rollout}` again once they have reported",
        named.join(", ")
    )
}

/// What a rollout brought, and to whom it was meant to.
struct Origin {
    rollout: ApprovalId,
    product: ProductId,
    release: Release,
    manifest: Digest,
    /// The bundles on the way there, itself included; where the approval has ended, itself alone.
    way: Vec<Digest>,
    /// By device, those of them that it was to install.
    devices: BTreeMap<DeviceId, Vec<Digest>>,
    /// Whether the hospital's approvals list it still: what is said here is then signed.
    listed: bool,
}

impl Origin {
    /// From the signed approval; where that has ended, from the server, whose word is then checked: the catalog must list
    /// the bundle under the same name, and each device must have proven by its own signature that it runs it. So a server
    /// that lies can leave devices out, and nothing else.
    async fn find(context: &Context<'_>, desk: &Desk, rollout: &ApprovalId) -> Outcome<Self> {
        if let Some(approval) = desk.documents.approval(rollout) {
            let step = approval.terms.steps.last().ok_or_else(|| Failure::new("the approval has no steps"))?;
            return Ok(Self {
                rollout: rollout.clone(),
                product: step.product.clone(),
                release: step.release,
                manifest: step.sha256,
                way: approval.terms.steps.iter().map(|s| s.sha256).collect(),
                devices: approval
                    .devices
                    .iter()
                    .map(|d| (d.id.clone(), d.path(&approval.terms).iter().map(|s| s.sha256).collect()))
                    .collect(),
                listed: true,
            });
        }
        let said = super::show::fetch(context, rollout).await?;
        let wrong = |e: Invalid| Failure::new(format!("the server's word on {rollout} makes no sense: {e}"));
        let manifest = parse_digest("manifest_sha256", &said.manifest_sha256).map_err(wrong)?;
        let device = |d: &v1::RolloutDevice| parse("devices.id", &d.id).map(|id| (id, vec![manifest]));
        let devices = said.devices.iter().map(device).collect::<Result<_, _>>();
        Ok(Self {
            rollout: rollout.clone(),
            product: parse("product", &said.product).map_err(wrong)?,
            release: Release(said.release),
            manifest,
            way: vec![manifest],
            devices: devices.map_err(wrong)?,
            listed: false,
        })
    }

    /// Its devices whose signed report says that they run it, or a bundle that it has led them over on the way: those that
    /// it has moved.
    fn moved(&self, known: &[Known]) -> BTreeSet<DeviceId> {
        let has_moved = |k: &&Known| {
            let runs = k.running.as_ref().map(|r| r.manifest).filter(|_| k.proven);
            runs.is_some_and(|runs| self.devices.get(&k.id).is_some_and(|way| way.contains(&runs)))
        };
        known.iter().filter(has_moved).map(|k| k.id.clone()).collect()
    }

    /// Its devices that have not moved by what they have signed, and may be doing so: those that say that they are being
    /// changed, and those that could begin by a slot, of its signed approval, that is or was since they last said anything.
    fn unsettled(
        &self,
        approval: Option<&Approval>,
        said: &BTreeMap<DeviceId, Option<Report>>,
        moved: &BTreeSet<DeviceId>,
        now: Timestamp,
    ) -> Vec<DeviceId> {
        let begins_no_more = |r: &Report| {
            r.approval.as_ref() == Some(&self.rollout)
                && (r.permanent || matches!(r.phase, Phase::Stopped | Phase::Expired))
        };
        let may_change = |id: &DeviceId, last: Option<&Report>| {
            let slots = approval.and_then(|a| a.device(id)).map(|d| d.slots.as_slice()).unwrap_or_default();
            let mut begun = slots.iter().filter(|s| s.start <= now && last.is_none_or(|r| r.at < s.end));
            // One that refused it, or failed before it switched, is at nothing; it may begin anew.
            last.is_some_and(|r| r.phase != Phase::Failed && inventory::is_under_way(r.phase))
                || (!last.is_some_and(begins_no_more) && begun.next().is_some())
        };
        let not_moved = self.devices.keys().filter(|id| !moved.contains(*id));
        not_moved.filter(|id| said.get(*id).is_some_and(|last| may_change(id, last.as_ref()))).cloned().collect()
    }

    /// That the catalog knows the bundle by this name.
    fn check(&self, catalog: &impl Catalog) -> Outcome {
        let path = manifest_path(&self.product, self.release);
        if catalog.entry(&path).is_none_or(|(_, sha256, _)| sha256 != self.manifest) {
            let text = format!("the catalog lists another bundle as {} release {}", self.product, self.release);
            return Err(Failure::new(text).next("ask the manufacturer; plan the way back by `rollout plan` if need be"));
        }
        Ok(())
    }

    /// What the device ran before the rollout: by its signed reports until it first spoke of the rollout, the newest of a
    /// bundle that is not on the way there. Later ones may tell of another rollout, tried since and fallen back from.
    fn before(&self, reports: &[v1::SignedReport], roster: Option<&RosterDevice>) -> Option<Running> {
        let proven = reports.iter().filter_map(|report| inventory::proven(Some(report), roster));
        let proven: Vec<_> = proven.collect();
        let first = proven.iter().filter(|r| r.approval.as_ref() == Some(&self.rollout)).map(|r| r.number).min()?;
        // What others take as a step may be what this one began from.
        let own = roster.and_then(|r| self.devices.get(&r.id)).unwrap_or(&self.way);
        let earlier = proven.into_iter().filter(|r| r.number <= first && !own.contains(&r.running.manifest));
        earlier.max_by_key(|r| r.number).map(|r| r.running)
    }
}

/// The bundle to go back to: the one that all devices ran before, where that is one, and is still to be had.
fn target(catalog: &impl Catalog, product: &ProductId, ran: &[(&DeviceId, Option<Running>)]) -> Outcome<BundleName> {
    let mut groups: BTreeMap<Option<(Release, Digest)>, Vec<&DeviceId>> = BTreeMap::new();
    for (id, running) in ran {
        groups.entry(running.as_ref().map(|r| (r.release, r.manifest))).or_default().push(*id);
    }
    let mut all = groups.iter();
    let (Some((Some((release, manifest)), _)), None) = (all.next(), all.next()) else {
        let lines = groups.iter().map(|(ran, ids)| {
            let ids = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            ran.map_or_else(|| format!("not known: {ids}"), |(release, _)| format!("release {release}: {ids}"))
        });
        let text = format!("the devices did not all run one release before ({})", lines.collect::<Vec<_>>().join("; "));
        return Err(Failure::new(text).next("say with --to RELEASE where all of them shall go"));
    };
    let listed = catalog.entry(&manifest_path(product, *release)).filter(|(_, sha256, _)| sha256 == manifest);
    match listed.map(|(_, _, entry)| entry.status) {
        Some(Status::Current | Status::Superseded) => Ok(BundleName { product: product.clone(), release: *release }),
        other => {
            let why = if other.is_some() { "has withdrawn" } else { "does not list" };
            Err(Failure::new(format!("the devices ran release {release} before, which the manufacturer {why}"))
                .next("--to RELEASE; `suturectl catalog status` shows what there is"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    use suture_core::approval::{DeviceSlots, Slot};
    use suture_core::label::Labels;
    use suture_core::report::Took;
    use suture_core::sign::{LocalKey, Signer as _};
    use suture_core::trust::CatalogEntry;

    fn id<T: std::str::FromStr<Err = suture_core::id::IdError>>(text: &str) -> T {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn key(n: u8) -> LocalKey {
        LocalKey::from_seed(&zeroize::Zeroizing::new([n; 32]))
    }

    fn manifest(release: u64) -> Digest {
        Digest::of(format!("release {release}").as_bytes())
    }

    fn running(release: u64) -> Running {
        Running { version: "1.0".parse().unwrap(), release: Release(release), manifest: manifest(release) }
    }

    /// A rollout that leads by way of these releases.
    fn origin(releases: &[u64], devices: &[&str]) -> Origin {
        let last = *releases.last().unwrap();
        Origin {
            rollout: id("pump-5"),
            product: id("pump"),
            release: Release(last),
            manifest: manifest(last),
            way: releases.iter().map(|r| manifest(*r)).collect(),
            devices: devices.iter().map(|d| (id(d), releases.iter().map(|r| manifest(*r)).collect())).collect(),
            listed: true,
        }
    }

    fn roster(device: &str) -> RosterDevice {
        let report_key = key(9).public();
        RosterDevice {
            id: id(device),
            report_key,
            product: id("pump"),
            hardware: id("rev-a"),
            ward: id("icu"),
            labels: Labels::default(),
        }
    }

    fn report(number: u64, release: u64, rollout: &str, signer: u8) -> v1::SignedReport {
        v1::SignedReport::from(&says(number, release, rollout).sign(&key(signer)).unwrap())
    }

    fn says(number: u64, release: u64, rollout: &str) -> Report {
        Report {
            kind: "suture-report".to_owned(),
            hdo: id("riverside"),
            device: id("p1"),
            number,
            at: now(),
            product: id("pump"),
            running: running(release),
            approval: Some(id(rollout)),
            manifest: None,
            phase: Phase::Confirmed,
            reason: None,
            stop: None,
            permanent: false,
            integrity: None,
            sources: None,
            took: Took::default(),
            catalog: None,
            approvals: None,
            record: None,
            log: None,
        }
    }

    /// Releases of the pump and their standing.
    struct Shelf<'a>(&'a [(u64, Status)]);

    impl Catalog for Shelf<'_> {
        fn entry(&self, path: &str) -> Option<(u64, Digest, CatalogEntry)> {
            let listed = |(release, _): &&(u64, Status)| manifest_path(&id("pump"), Release(*release)) == path;
            let (release, status) = self.0.iter().find(listed)?;
            let entry = CatalogEntry {
                product: id("pump"),
                release: Release(*release),
                version: "1.0".parse().unwrap(),
                hardware: vec![id("rev-a")],
                min_release: Release(0),
                status: *status,
                floor: Release(0),
            };
            let manifest = format!("release {release}");
            Some((manifest.len() as u64, Digest::of(manifest.as_bytes()), entry))
        }
    }

    #[test]
    fn only_devices_of_the_rollout_that_prove_that_it_led_them_on_have_moved() {
        let known = |name: &str, release, proven| Known {
            id: id(name),
            ward: None,
            product: None,
            running: Some(running(release)),
            installs: None,
            proven,
            settled: proven,
        };
        let known = [
            known("arrived", 5, true),
            known("on-the-way", 4, true),
            known("began-there", 4, true),
            known("behind", 3, true),
            known("said-so", 5, false),
            known("stranger", 5, true),
            Known { running: None, ..known("silent", 0, false) },
        ];
        let mut origin = origin(&[4, 5], &["arrived", "on-the-way", "began-there", "behind", "said-so", "silent"]);
        origin.devices.insert(id("began-there"), vec![manifest(5)]);
        assert_eq!(origin.moved(&known), BTreeSet::from([id("arrived"), id("on-the-way")]));
    }

    #[test]
    fn devices_that_may_be_changing_are_named_and_those_that_have_said_how_it_ended_are_not() {
        let names = [
            "back",
            "begun",
            "later",
            "moved",
            "offline",
            "refused",
            "silent",
            "stuck",
            "unusable",
            "waits",
            "was-stopped",
        ];
        let origin = origin(&[5], &names);
        let secs = |n: i64| now() + jiff::SignedDuration::from_secs(n);
        let last = |phase, at: i64| Report { phase, at: secs(at), ..says(7, 3, "pump-5") };
        let said: BTreeMap<DeviceId, Option<Report>> = [
            ("back", Some(Report { permanent: true, ..last(Phase::FellBack, -60) })),
            ("begun", Some(last(Phase::Installing, -60))),
            ("later", Some(last(Phase::Waiting, -60))),
            ("moved", Some(last(Phase::Confirmed, -60))),
            // Its slot is over, and whether it began in it, it has not said.
            ("offline", Some(last(Phase::Waiting, -7_000))),
            ("refused", Some(last(Phase::Failed, -60))),
            ("silent", None),
            ("stuck", Some(last(Phase::Held, -60))),
            ("unusable", Some(Report { permanent: true, ..last(Phase::Failed, -60) })),
            ("waits", Some(last(Phase::Waiting, -60))),
            ("was-stopped", Some(last(Phase::Stopped, -60))),
            ("stranger", Some(last(Phase::Installing, -60))),
        ]
        .map(|(name, said)| (id(name), said))
        .into();
        let slot = |name: &str| match name {
            "later" => (600, 1_200),
            "offline" => (-6_000, -5_000),
            _ => (-600, 600),
        };
        let planned = fixture::planned(&fixture::facts());
        let signing = plan::Signing {
            approver: "kim".to_owned(),
            meaning: "approved".to_owned(),
            reason: "CVE-2026-1".to_owned(),
        };
        let (mut approval, _) = planned.to_approval(&signing, fixture::now()).unwrap();
        let slots = |name: &str| vec![Slot { start: secs(slot(name).0), end: secs(slot(name).1) }];
        let devices = names.iter().map(|n| DeviceSlots { steps: Vec::new(), id: id(n), wave: 0, slots: slots(n) });
        approval.devices = devices.collect();
        let moved = BTreeSet::from([id("moved")]);
        let named = |approval| {
            let named = origin.unsettled(approval, &said, &moved, now());
            named.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(named(Some(&approval)), "begun offline refused silent stuck waits");
        // Of one that has ended no slot is known.
        assert_eq!(named(None), "begun stuck");
        assert!(come_again(&id("pump-5"), &[id("begun"), id("stuck")]).contains("begun, stuck; by"));
    }

    #[test]
    fn that_there_is_nothing_to_take_back_is_not_said_while_a_device_is_being_changed() {
        let (rollout, a): (ApprovalId, DeviceId) = (id("pump-5"), id("a"));
        let told = |moved: &[&DeviceId], listed, unsettled: &[DeviceId]| {
            let moved = moved.iter().map(|id| (*id).clone()).collect();
            nothing_to_do(&rollout, &moved, listed, unsettled).map(|f| f.to_text())
        };
        let changing = told(&[], false, std::slice::from_ref(&a)).unwrap();
        assert!(changing.contains("rollout rollback pump-5` again") && !changing.contains("nothing"), "{changing}");
        assert!(told(&[], false, &[]).unwrap().contains("there is nothing to take back"));
        assert_eq!(told(&[], true, &[]), None, "it is aborted");
        assert_eq!(told(&[&a], false, &[]), None);
        assert_eq!(told(&[&a], false, std::slice::from_ref(&a)), None);
    }

    #[test]
    fn what_ran_before_is_what_the_device_signed_until_the_rollout_began() {
        let origin = origin(&[4, 5], &["p1"]);
        let before = |reports: &[_]| origin.before(reports, Some(&roster("p1"))).map(|r| r.release);
        // Newest first, as the server gives them, or not: the device's own numbers count.
        let way = [
            report(11, 5, "pump-6", 9),
            report(10, 6, "pump-6", 9),
            report(9, 5, "pump-5", 9),
            report(8, 4, "pump-5", 9),
            report(7, 3, "pump-5", 9),
            report(6, 3, "pump-3", 9),
            report(5, 2, "pump-3", 9),
        ];
        assert_eq!(before(&way), Some(Release(3)), "neither 6, which it fell back from, nor 4, on the way");
        let mut began_there = self::origin(&[4, 5], &["p1"]);
        began_there.devices.insert(id("p1"), vec![manifest(5)]);
        let own = [report(9, 5, "pump-5", 9), report(7, 4, "pump-5", 9), report(6, 4, "pump-3", 9)];
        let ran = began_there.before(&own, Some(&roster("p1"))).map(|r| r.release);
        assert_eq!(ran, Some(Release(4)), "what is a step for others is where this one began");
        let turned: Vec<_> = way.iter().rev().cloned().collect();
        assert_eq!(before(&turned), Some(Release(3)));
        assert_eq!(before(&way[2..5]), Some(Release(3)), "the rollout's own first report says it too");
        assert_eq!(before(&[report(8, 5, "pump-5", 9), report(7, 2, "pump-3", 1)]), None, "not its key");
        assert_eq!(before(&way[..2]), None, "the rollout's own reports are gone");
        assert_eq!(origin.before(&way, None), None, "on no roster");
    }

    #[test]
    fn the_way_back_leads_where_all_devices_came_from_or_somebody_must_say_where() {
        let catalog = Shelf(&[(2, Status::Withdrawn), (3, Status::Superseded), (5, Status::Current)]);
        let (a, b): (DeviceId, DeviceId) = (id("a"), id("b"));
        let target = |ran: &[_]| target(&catalog, &id("pump"), ran).map(|b| b.release).map_err(|f| f.to_text());
        assert_eq!(target(&[(&a, Some(running(3))), (&b, Some(running(3)))]), Ok(Release(3)));

        let refused = target(&[(&a, Some(running(3))), (&b, Some(running(2)))]).unwrap_err();
        for part in ["release 2: b", "release 3: a", "--to"] {
            assert!(refused.contains(part), "{refused}");
        }
        let refused = target(&[(&a, Some(running(3))), (&b, None)]).unwrap_err();
        assert!(refused.contains("not known: b"), "{refused}");
        assert!(target(&[(&a, None)]).unwrap_err().contains("--to"));

        assert!(target(&[(&a, Some(running(2)))]).unwrap_err().contains("withdrawn"));
        assert!(target(&[(&a, Some(running(1)))]).unwrap_err().contains("does not list"));
        let other = Running { manifest: Digest::of(b"built by somebody else"), ..running(3) };
        assert!(target(&[(&a, Some(other))]).unwrap_err().contains("does not list"));
    }
}
