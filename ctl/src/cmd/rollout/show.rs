//! `rollout list|show`: how far rollouts are, as the server counts the devices' signed reports, and who signed them.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use suture_core::clock::format_utc;
use suture_core::id::ApprovalId;
use suture_core::legible;
use suture_core::phase::Reason;
use suture_core::progress::Progress;
use suture_core::trust::{CatalogEntry, Status, Target, status_reason};
use suture_proto::{parse_phase, parse_reason, progress, v1};

use super::signers::{self, Signer};
use crate::client::Client;
use crate::context::Context;
use crate::failure::Outcome;
use crate::hospital::leases::Down;
use crate::hospital::rollouts::{self, Unapproved};
use crate::lists;
use crate::print::Table;
use crate::trust_store::{TrustStore, Which};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Shown {
    pub(super) rollout: String,
    pub(super) state: String,
    pub(super) reason: Option<Reason>,
    pub(super) product: String,
    pub(super) version: String,
    pub(super) release: u64,
    /// Counted from 1.
    pub(super) wave: u32,
    pub(super) waves: u32,
    /// The waves that wait for the hospital's signature, counted from 1.
    pub(super) waits_for_signature: Vec<u32>,
    /// Why the manufacturer has withdrawn the bundle, in its signed words; null where it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) withdrawn: Option<String>,
    pub(super) ticket: String,
    pub(super) created: Option<String>,
    /// Its devices that count as down by a lease of the server's; told by `rollout show`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) down: Vec<Down>,
    /// Devices that have joined since it was signed and wait for an approval; told by `rollout show`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waits_for_approval: Option<Unapproved>,
    /// Left out of lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) devices: Vec<Device>,
    /// Who signed it, as `show` verifies them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) signers: Vec<Signer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Device {
    pub(super) id: String,
    pub(super) wave: u32,
    pub(super) phase: String,
    /// What it counts as in its wave, as the server has it.
    pub(super) standing: String,
    pub(super) reason: Option<Reason>,
    /// Since when, by the server's clock.
    #[serde(serialize_with = "as_text")]
    pub(super) changed: Option<Timestamp>,
    pub(super) fetched_bytes: u64,
    pub(super) total_bytes: u64,
    /// How they came, as the device says.
    pub(super) progress: Progress,
}

fn as_text<S: Serializer>(at: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
    at.map(format_utc).serialize(s)
}

pub(super) fn shown(rollout: v1::Rollout) -> Shown {
    let device = |d: v1::RolloutDevice| Device {
        wave: d.wave + 1,
        phase: parse_phase(d.phase).map_or_else(|| "not heard of".to_owned(), |p| p.to_string()),
        standing: d.standing,
        reason: parse_reason(d.reason.as_ref()),
        changed: Timestamp::from_millisecond(d.changed_ms).ok(),
        fetched_bytes: d.fetched_bytes,
        total_bytes: d.total_bytes,
        progress: progress(d.fetched_bytes, d.total_bytes, d.transfer.as_ref()),
        id: d.id,
    };
    Shown {
        reason: parse_reason(rollout.reason.as_ref()),
        wave: rollout.wave.saturating_add(1).min(rollout.waves),
        waves: rollout.waves,
        waits_for_signature: rollout.unsigned_waves.iter().map(|w| w.saturating_add(1)).collect(),
        created: Timestamp::from_millisecond(rollout.created_ms).ok().map(format_utc),
        down: rollout.leases.iter().filter_map(Down::of).collect(),
        devices: rollout.devices.into_iter().map(device).collect(),
        signers: Vec::new(),
        waits_for_approval: None,
        withdrawn: None,
        rollout: rollout.id,
        state: rollout.state,
        product: rollout.product,
        version: rollout.version,
        release: rollout.release,
        ticket: rollout.ticket,
    }
}

/// `rollout list`.
pub(super) async fn list(context: &mut Context<'_>, all: bool) -> Outcome {
    context.home.server()?.hdo()?;
    let mut client = context.connect().await?;
    let mut rows: Vec<Shown> = lists::rollouts(&mut client, all).await?.into_iter().map(shown).collect();
    mark_withdrawn(context, &mut client, &mut rows).await;
    context.print.result(&rows, |rows| {
        let mut table = Table::new(["rollout", "state", "bundle", "wave", "ticket", "created", ""]);
        for r in rows {
            table.row([
                r.rollout.clone(),
                r.state.clone(),
                format!("{} {}", r.product, r.version),
                format!("{} of {}", r.wave, r.waves),
                r.ticket.clone(),
                r.created.clone().unwrap_or_default(),
                withdrawal(r).unwrap_or_default(),
            ]);
        }
        table.to_text()
    })
}

/// Says of rollouts whose bundle the manufacturer has withdrawn that it has, by the signed catalog.
async fn mark_withdrawn(context: &mut Context<'_>, client: &mut Client, rows: &mut [Shown]) {
    let catalog = TrustStore::of(&context.home, Which::Catalog).refresh_catalog(client, context.now()).await;
    let catalog = match catalog {
        Ok(catalog) => catalog,
        Err(failure) => {
            context.print.note(&format!(
                "note: whether a bundle is withdrawn cannot be told, for the catalog cannot be verified: {}",
                failure.message
            ));
            return;
        }
    };
    for row in rows {
        let path = format!("bundles/{}/{}/manifest.json", row.product, row.release);
        row.withdrawn = catalog.target(&path).and_then(withdrawn);
    }
}

/// Why a listed bundle is withdrawn, if it is.
pub(super) fn withdrawn(target: &Target) -> Option<String> {
    let entry = CatalogEntry::of(target).filter(|entry| entry.status == Status::Withdrawn);
    entry.map(|_| status_reason(target).unwrap_or("no reason is signed").to_owned())
}

fn withdrawal(r: &Shown) -> Option<String> {
    r.withdrawn.as_ref().map(|why| format!("WITHDRAWN by the manufacturer: {why}"))
}

/// `rollout show`.
pub(super) async fn show(context: &mut Context<'_>, id: &ApprovalId) -> Outcome {
    context.home.server()?.hdo()?;
    let mut client = context.connect().await?;
    let (rollout, unapproved) = rollouts::with_unapproved(&mut client, id).await?;
    let waits_for_approval = (unapproved.count > 0).then_some(unapproved);
    let mut shown = [Shown { waits_for_approval, ..shown(rollout) }];
    mark_withdrawn(context, &mut client, &mut shown).await;
    let [mut shown] = shown;
    match signers::signers(context, id).await {
        Ok(signers) => shown.signers = signers,
        Err(failure) => context.print.note(&format!(
            "note: who signed it cannot be verified now, for the approvals cannot: {}",
            failure.message
        )),
    }
    context.print.result(&shown, text)
}

/// What the server says of a rollout.
pub(super) async fn fetch(context: &Context<'_>, id: &ApprovalId) -> Outcome<v1::Rollout> {
    context.home.server()?.hdo()?;
    rollouts::rollout(&mut context.connect().await?, id).await
}

fn text(r: &Shown) -> String {
    let mut table = Table::new(["  device", "wave", "phase", "fetched", "reason"]);
    for d in &r.devices {
        table.row([
            format!("  {}", d.id),
            d.wave.to_string(),
            d.phase.clone(),
            fetched(d),
            d.reason.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]);
    }
    let unsigned: Vec<String> = r.waits_for_signature.iter().map(ToString::to_string).collect();
    let unsigned = match unsigned.as_slice() {
        [] => String::new(),
        waves => format!("without the hospital's signature, as the server has it: wave {}\n", waves.join(", ")),
    };
    let withdrawn = withdrawal(r).map_or_else(String::new, |text| format!("{}\n", legible::line(&text)));
    let down: String = r.down.iter().map(|d| format!("lease: {}\n", legible::line(&d.text))).collect();
    let unapproved = r.waits_for_approval.as_ref().map_or_else(String::new, unapproved);
    format!("{}\n{withdrawn}{unsigned}{down}{unapproved}{}{}", head(r), signers::table(&r.signers), table.to_text())
}

/// How many devices wait for an approval, and which: as many as fit on a line or two.
fn unapproved(waiting: &Unapproved) -> String {
    const NAMED: usize = 10;
    let ids: Vec<&str> = waiting.ids.iter().take(NAMED).map(String::as_str).collect();
    let more = if waiting.count as usize > ids.len() { ", .." } else { "" };
    format!("joined since and without an approval: {}, {}{more}\n", waiting.count, ids.join(", "))
}

pub(super) fn head(r: &Shown) -> String {
    let reason = r.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
    legible::line(&format!(
        "{}: {}{reason}, {} {}, wave {} of {}",
        r.rollout, r.state, r.product, r.version, r.wave, r.waves
    ))
}

pub(super) fn fetched(d: &Device) -> String {
    d.progress.to_string()
}
