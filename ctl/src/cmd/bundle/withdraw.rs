//! `bundle withdraw`: the manufacturer's signed word that a bundle must not be installed, and why.
//!
//! It is a status in the catalog, so each device refuses the bundle by itself once it has the new catalog, whatever a hospital
//! approved. The server halts the rollouts of it meanwhile, which is its own doing and no authority.

use serde::Serialize;
use suture_core::notice::{Kind, Notice};
use suture_core::trust::Status;

use super::adoption;
use crate::cmd::catalog::mark::{Mark, Marked};
use crate::cmd::notice::auto::{self, With, prepare, tell};
use crate::cmd::rollout::BundleName;
use crate::context::Context;
use crate::failure::Outcome;
use crate::letters::Published;
use crate::print::{count, counted};
use crate::repository::{Done, Signing};

/// Arguments of `bundle withdraw`.
#[derive(Debug, clap::Args)]
pub struct WithdrawArgs {
    /// The bundle, as in pump@7
    #[arg(value_name = "PRODUCT@RELEASE")]
    bundle: BundleName,
    /// Why: signed with it, and read by every hospital
    #[arg(long)]
    reason: String,
    /// In the list of this delegated role, by its keys [default: by the catalog's own, which speak before any role]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Tell the hospitals that have such devices: `auto` by what this command knows, or a notice of the kind `withdrawal`
    #[arg(long, value_name = "FILE|auto")]
    notice: Option<With>,
    #[command(flatten)]
    signing: Signing,
}

#[derive(Debug, Serialize)]
struct Withdrawn {
    bundle: String,
    reason: String,
    /// False where it was withdrawn before, for this reason.
    changed: bool,
    /// Of the catalog's targets; none where nothing was signed.
    targets_version: Option<u64>,
    /// Rollouts of it that were going on when it was withdrawn, and at how many hospitals, as the server counts.
    rollouts: u32,
    hospitals: u32,
    /// Devices that are confirmed on it, and run it until their hospital takes them off it.
    confirmed: u32,
    /// What the hospitals were told.
    notice: Option<Published>,
}

/// What everybody should know of it.
fn draft(bundle: &BundleName, reason: &str, now: jiff::Timestamp) -> Outcome<Notice> {
    let subject = format!("{bundle} is withdrawn");
    let actions = format!(
        "Do not install {bundle}; no device begins it any more. Where it runs, take the devices off it: suturectl rollout rollback, or \
         a newer release."
    );
    auto::draft(Kind::Withdrawal, bundle, (subject, reason.to_owned(), actions), now)
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: WithdrawArgs) -> Outcome {
    context.home.server()?.manufacturer()?;
    let WithdrawArgs { bundle, reason, role, notice, signing } = args;
    let now = context.now();
    let of = (Kind::Withdrawal, &bundle.product);
    let notice = notice.map(|with| prepare(context, &with, of, || draft(&bundle, &reason, now))).transpose()?;
    let mut client = context.connect().await?;
    // Before it is withdrawn: what goes on then is what is halted.
    let before = adoption::fetch(&mut client, &bundle).await?;
    let mark = Mark {
        product: bundle.product.clone(),
        release: bundle.release,
        status: Status::Withdrawn,
        reason: Some(reason.clone()),
        role,
    };
    let targets_version = match mark.sign(context, &mut client, &signing).await? {
        Done::Waiting(waiting) => {
            auto::not_yet(context, notice.as_ref());
            return waiting.print(context);
        }
        Done::Published(Marked::Already) => None,
        Done::Published(Marked::Now { version, .. }) => Some(version),
    };
    let told = match notice {
        Some(notice) => Some(tell(context, &mut client, notice, &signing.key).await?),
        None => {
            context.print.note(
                "note: no notice was sent; the hospitals see it at their next look: --notice auto tells them, or suturectl notice \
                 publish FILE",
            );
            None
        }
    };
    let halted = before.hospitals.iter().filter(|h| h.open_rollouts > 0);
    let withdrawn = Withdrawn {
        bundle: bundle.to_string(),
        reason,
        changed: targets_version.is_some(),
        targets_version,
        rollouts: halted.clone().map(|h| h.open_rollouts).sum(),
        hospitals: u32::try_from(halted.count()).unwrap_or(u32::MAX),
        confirmed: before.hospitals.iter().map(|h| h.confirmed).sum(),
        notice: told,
    };
    context.print.result(&withdrawn, text)
}

fn text(w: &Withdrawn) -> String {
    let Some(version) = w.targets_version else {
        return format!("{} is withdrawn already, for this reason; nothing was signed", w.bundle);
    };
    let running = match w.confirmed {
        0 => "no device is confirmed on it".to_owned(),
        n => format!(
            "{} confirmed on it: hospitals go off it by `rollout rollback` or a newer one",
            counted(n, "device", "is", "are")
        ),
    };
    let are = if w.rollouts == 1 { "is" } else { "are" };
    let told = w
        .notice
        .as_ref()
        .map(|n| format!("\n{} told of it", counted(n.letters.len(), "hospital", "is", "are")))
        .unwrap_or_default();
    format!(
        "{} is withdrawn, by targets {version}: {:?}\n{} at {} halted, and no device begins it\n{running}\n\
         who is where: suturectl bundle adoption {}{told}",
        w.bundle,
        w.reason,
        count(w.rollouts, "rollout"),
        counted(w.hospitals, "hospital", are, are),
        w.bundle
    )
}
