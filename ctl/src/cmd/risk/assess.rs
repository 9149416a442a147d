//! `risk assess`.

use jiff::civil::Date;
use suture_core::approval::SignedDocument as _;
use suture_core::clock::day_of;
use suture_core::id::{DeviceId, ProductId, WardId};
use suture_core::label::Label;
use suture_core::risk::{Assessment, Exploitability, Group, Likelihood, Severity, Treatment, last_day};
use suture_core::version::ReleaseRange;
use suture_core::word::after;
use suture_proto::v1;

use crate::cmd::life::date;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::Desk;
use crate::hospital::statements::own_name;
use crate::keys::KeyName;
use crate::words::{Series, followed, say, speaker};

/// Arguments of `risk assess`.
#[derive(Debug, Clone, clap::Args)]
pub struct AssessArgs {
    /// Of which product
    #[arg(long)]
    product: ProductId,
    /// Of these releases, as in 1..3 [default: whatever runs]
    #[arg(long, value_name = "RELEASES")]
    releases: Option<ReleaseRange>,
    /// Devices in this ward; may be given several times
    #[arg(long)]
    ward: Vec<WardId>,
    /// Devices with this label, as in area=icu; of several all must hold, and of several values of one key any
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<Label>,
    /// This device too; may be given several times. Without ward, label and device: all devices of the product
    #[arg(long)]
    device: Vec<DeviceId>,
    /// What may happen, in a sentence
    #[arg(long)]
    hazard: String,
    /// improbable, remote, occasional, probable or frequent
    #[arg(long)]
    likelihood: Likelihood,
    /// negligible, minor, serious, critical or catastrophic
    #[arg(long)]
    severity: Severity,
    /// low, medium or high
    #[arg(long)]
    exploitability: Exploitability,
    /// acceptance, deferral or mitigation
    #[arg(long)]
    treatment: Treatment,
    /// Why that
    #[arg(long)]
    reason: String,
    /// What protects the devices, in a sentence; may be given several times
    #[arg(long, value_name = "TEXT")]
    compensating: Vec<String>,
    /// Who has looked at it
    #[arg(long)]
    reviewer: String,
    /// The last day on which it holds [default: the latest that there may be]
    #[arg(long, value_name = "DATE", value_parser = date)]
    expires: Option<Date>,
    /// The key that signs it
    #[arg(long, value_name = "KEY", default_value = "targets")]
    key: KeyName,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: AssessArgs) -> Outcome {
    let mut desk = Desk::open_base(context).await?;
    let life = crate::life::refreshed(context, &mut desk.client, &args.product).await?;
    let end = life.and_then(|life| life.dates(args.releases.map(ReleaseRange::first)).end_of_support);
    let name = own_name(context)?;
    let register = super::register(context, &mut desk.client, &desk.hdo).await?;
    let head = followed(context, &Series::Risk(&desk.hdo), &register)?;
    let (number, previous) = after(head);
    let speaker = speaker(context, desk.approvals.root(), &args.key, &name)?;
    let now = context.now();
    let last = last_day(end, day_of(now));
    let expires = args.expires.unwrap_or(last);
    if expires > last {
        let text = match end {
            Some(end) => format!(
                "support of {} ends, or has ended, on {end}: an assessment holds until {last} at the latest",
                args.product
            ),
            None => format!("an assessment holds until {last} at the latest"),
        };
        return Err(Failure::new(text).next("leave out --expires"));
    }
    let (key, signer) = match &speaker {
        Some((key, signer)) => (Some(*key), Some(&**signer)),
        None => (None, None),
    };
    let assessment = Assessment {
        kind: Assessment::TYPE.to_owned(),
        format: 1,
        hdo: desk.hdo.clone(),
        number,
        previous,
        group: Group {
            product: args.product,
            releases: args.releases,
            wards: args.ward.into_iter().collect(),
            labels: args.label.into_iter().collect(),
            devices: args.device.into_iter().collect(),
        },
        hazard: args.hazard,
        likelihood: args.likelihood,
        severity: args.severity,
        exploitability: args.exploitability,
        treatment: args.treatment,
        reason: args.reason,
        compensating: args.compensating,
        reviewer: args.reviewer,
        expires,
        key,
        name,
        assessed_at: now,
    };
    let word = say(&assessment, signer)?;
    if key.is_none() {
        context.print.note(&format!(
            "note: this home has no key {} that approves for the hospital, so this is on the server's word alone; past the end of \
             support no rollout begins by it",
            args.key
        ));
    }
    desk.client.record_risk(v1::RecordRiskRequest { word: word.bytes().to_vec().into() }).await?;
    context.print.result(&assessment, |a| {
        format!(
            "assessment {number} is on record: {} of {}, until {}; `suturectl risk show {number}`",
            a.treatment, a.group, a.expires
        )
    })
}
