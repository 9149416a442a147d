//! `rollout propose` and `rollout proposals`: what the manufacturer suggests, and what a hospital finds of it.
//!
//! A suggestion is nobody's authority. A hospital's `rollout plan --proposal` begins from it; what is signed is computed from
//! the signed catalog, rosters and calendars, as every plan.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use suture_core::approval::SignedDocument as _;
use suture_core::clock::{format_utc, parse_utc, whole_second};
use suture_core::id::HdoId;
use suture_core::plan::{Deadline, Suggestion, WaveSize, WaveSpec};
use suture_core::version::Release;
use suture_core::window::parse_duration;
use suture_proto::{parse, v1};

use super::plan::BundleName;
use super::print::secs;
use super::waves::WaveArgs;
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::hospital::refused;
use crate::lists;
use crate::print::Table;

/// Arguments of `rollout propose`.
#[derive(Debug, Clone, Args)]
pub struct ProposeArgs {
    /// What is suggested, as in pump@7
    #[arg(value_name = "PRODUCT@RELEASE")]
    bundle: BundleName,
    /// To this hospital; may be given several times
    #[arg(long, value_name = "HOSPITAL", required_unless_present = "all")]
    hdo: Vec<HdoId>,
    /// To all hospitals
    #[arg(long, conflicts_with = "hdo")]
    all: bool,
    /// What the hospitals read: why, and what to look out for
    #[arg(long)]
    note: String,
    #[command(flatten)]
    waves: WaveArgs,
    /// By when it should be done, as in 2027-01-15T00:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    deadline: Option<Timestamp>,
    /// How long the suggestion lasts, 90 days at most
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = duration)]
    lasts: u32,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    parse_utc(text).ok_or_else(|| format!("{text:?} is not a UTC instant like 2027-01-15T00:00:00Z"))
}

fn duration(text: &str) -> Result<u32, String> {
    parse_duration(text).map_err(|e| e.to_string())
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: ProposeArgs) -> Outcome {
    context.home.server()?.manufacturer()?;
    let suggestion = Suggestion {
        kind: Suggestion::TYPE.to_owned(),
        format: 1,
        waves: args.waves.specs(),
        deadline: args.deadline.map(Deadline),
    };
    let now = whole_second(context.now());
    if args.deadline.is_some_and(|end| end <= now) {
        return Err(Failure::new("the deadline is over already").next("--deadline with an instant to come, or none"));
    }
    let expires = now.checked_add(SignedDuration::from_secs(i64::from(args.lasts)));
    let request = v1::ProposeRequest {
        hdos: args.hdo.iter().map(ToString::to_string).collect(),
        product: args.bundle.product.to_string(),
        release: args.bundle.release.0,
        suggestion: suggestion.to_bytes().map_err(refused)?.into(),
        note: args.note,
        expires_ms: expires.or_fail(|| "its end cannot be written".to_owned())?.as_millisecond(),
    };
    let v1::ProposeResponse { id, hdos } = context.connect().await?.propose(request).await?;
    let result = serde_json::json!({ "proposal": id, "bundle": args.bundle.to_string(), "hospitals": hdos });
    context.print.result(&result, |_| {
        format!(
            "proposal {id}: {} is suggested to {}\neach finds it by `suturectl rollout proposals`; who takes it up: suturectl \
             bundle adoption {}",
            args.bundle,
            hdos.join(", "),
            args.bundle
        )
    })
}

/// Arguments of `rollout take-back`.
#[derive(Debug, Clone, Args)]
pub struct TakeBackArgs {
    /// The suggestion, as `rollout proposals` lists it
    proposal: String,
    /// From this hospital alone; may be given several times [default: from all that have it]
    #[arg(long, value_name = "HOSPITAL")]
    hdo: Vec<HdoId>,
    /// Why, for the record
    #[arg(long)]
    reason: String,
}

/// `rollout take-back`.
pub(super) async fn take_back(context: &mut Context<'_>, args: TakeBackArgs) -> Outcome {
    context.home.server()?.manufacturer()?;
    let TakeBackArgs { proposal, hdo, reason } = args;
    let hdos = hdo.iter().map(ToString::to_string).collect();
    let request = v1::TakeBackProposalRequest { id: proposal.clone(), hdos, reason };
    let hdos = context.connect().await?.take_back_proposal(request).await?.hdos;
    let result = serde_json::json!({ "proposal": proposal, "taken_back_from": hdos });
    context.print.result(&result, |_| {
        format!(
            "proposal {proposal} is taken back from {}; what was planned upon it stays as it is: `suturectl bundle withdraw` \
             keeps a bundle from being installed",
            hdos.join(", ")
        )
    })
}

/// A suggestion, as it was read from the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Proposed {
    pub(super) id: String,
    hdo: HdoId,
    #[serde(serialize_with = "as_text")]
    pub(super) bundle: BundleName,
    version: String,
    pub(super) suggestion: Suggestion,
    note: String,
    by: String,
    created: Option<String>,
    expires: Option<String>,
}

#[cfg(test)]
impl Proposed {
    /// Of one wave, by a deadline.
    pub(super) fn of(id: &str, bundle: BundleName, deadline: Option<Timestamp>) -> Self {
        let gate = suture_core::approval::Wave {
            needs_server: true,
            needs_signature: false,
            min_confirmed_percent: 100,
            max_failures: 0,
            max_failed_percent: 100,
            soak_secs: 0,
        };
        let suggestion = Suggestion {
            kind: "suture-suggestion".to_owned(),
            format: 1,
            waves: vec![WaveSpec { size: WaveSize::Rest, gate }],
            deadline: deadline.map(Deadline),
        };
        let (id, hdo, version) = (id.to_owned(), "riverside".parse().unwrap(), "7.0.0".to_owned());
        let (note, by) = (String::new(), String::new());
        Self { id, hdo, bundle, version, suggestion, note, by, created: None, expires: None }
    }
}

fn as_text<S: serde::Serializer>(bundle: &BundleName, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(bundle)
}

fn read(message: v1::RolloutProposal) -> Outcome<Proposed> {
    let v1::RolloutProposal {
        id,
        hdo,
        product,
        version,
        release,
        suggestion,
        note,
        proposed_by,
        created_ms,
        expires_ms,
    } = message;
    let instant = |ms| Timestamp::from_millisecond(ms).ok().map(format_utc);
    Ok(Proposed {
        id,
        hdo: parse("hdo", &hdo)?,
        bundle: BundleName { product: parse("product", &product)?, release: Release(release) },
        version,
        suggestion: Suggestion::parse(&suggestion).map_err(refused)?,
        note,
        by: proposed_by,
        created: instant(created_ms),
        expires: instant(expires_ms),
    })
}

async fn all(client: &mut Client) -> Outcome<Vec<Proposed>> {
    lists::proposals(client).await?.into_iter().map(read).collect()
}

/// The suggestion of that id.
pub(super) async fn find(client: &mut Client, id: &str) -> Outcome<Proposed> {
    all(client).await?.into_iter().find(|p| p.id == id).ok_or_else(|| {
        Failure::new(format!("there is no proposal {id:?}, or it has expired"))
            .next("`suturectl rollout proposals` lists those that there are")
    })
}

/// `rollout proposals`.
pub(super) async fn list(context: &mut Context<'_>) -> Outcome {
    let proposals = all(&mut context.connect().await?).await?;
    let hospital = context.home.server()?.hdo().is_ok();
    context.print.result(&proposals, |proposals| text(proposals, hospital))
}

fn text(proposals: &[Proposed], hospital: bool) -> String {
    if proposals.is_empty() {
        return "nothing is suggested".to_owned();
    }
    let mut table = Table::new(["proposal", "to", "bundle", "waves", "deadline", "ends", "note"]);
    for p in proposals {
        table.row([
            p.id.clone(),
            p.hdo.to_string(),
            format!("{} {}", p.bundle, p.version),
            waves(&p.suggestion.waves),
            p.suggestion.deadline.map(|Deadline(end)| format_utc(end)).unwrap_or_default(),
            p.expires.clone().unwrap_or_default(),
            format!("{}: {}", p.by, p.note),
        ]);
    }
    let next = if hospital {
        "\nto plan one of them, with whatever flags you want otherwise: suturectl rollout plan --proposal ID\nto say no: \
         suturectl rollout approve PRODUCT@RELEASE --decline|--defer"
    } else {
        ""
    };
    format!("{}{next}", table.to_text())
}

/// `1, soak 2h; rest, signed`.
fn waves(waves: &[WaveSpec]) -> String {
    let wave = |w: &WaveSpec| {
        let mut text = match w.size {
            WaveSize::Count(n) => n.to_string(),
            WaveSize::Percent(p) => format!("{p}%"),
            WaveSize::Rest => "rest".to_owned(),
        };
        if w.gate.needs_signature {
            text.push_str(", signed");
        }
        if w.gate.min_confirmed_percent < 100 {
            text.push_str(&format!(", {} % confirmed", w.gate.min_confirmed_percent));
        }
        if w.gate.max_failures > 0 {
            text.push_str(&format!(", {} may fail", w.gate.max_failures));
        }
        if w.gate.soak_secs > 0 {
            text.push_str(&format!(", soak {}", secs(u64::from(w.gate.soak_secs))));
        }
        text
    };
    waves.iter().map(wave).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::approval::Wave;

    #[test]
    fn a_suggestion_reads_as_it_was_meant() {
        let gate = Wave {
            needs_server: true,
            needs_signature: false,
            min_confirmed_percent: 90,
            max_failures: 2,
            max_failed_percent: 100,
            soak_secs: 7_200,
        };
        let rest =
            WaveSpec { size: WaveSize::Rest, gate: Wave { needs_signature: true, soak_secs: 0, ..gate.clone() } };
        let told = waves(&[WaveSpec { size: WaveSize::Count(1), gate }, rest]);
        assert_eq!(told, "1, 90 % confirmed, 2 may fail, soak 2h; rest, signed, 90 % confirmed, 2 may fail");
    }

    #[test]
    fn what_a_server_hands_out_is_read_as_a_suggestion_or_refused() {
        let message = |suggestion: &[u8]| v1::RolloutProposal {
            id: "a1".to_owned(),
            hdo: "riverside".to_owned(),
            product: "pump".to_owned(),
            release: 2,
            suggestion: suggestion.to_vec().into(),
            ..Default::default()
        };
        let none = br#"{"_type":"suture-suggestion","format":1,"waves":[]}"#;
        assert!(read(message(none)).unwrap_err().to_text().contains("waves lists none"));
        assert!(read(message(b"{}")).is_err());
    }
}
