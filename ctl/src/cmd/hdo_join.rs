//! `suturectl hdo join`: a hospital's first operator joins and begins its approvals.

use serde::Serialize;
use suture_core::trust::edit::APPROVALS_LIFETIME;

use crate::cmd::join;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::print::grouped;
use crate::repository::{self, Begun, Done, Founders, KeyNames};
use crate::trust_store::{Which, pinned_root};

/// As for `join`, and the keys that will sign.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    join: join::Args,
    #[command(flatten)]
    keys: KeyNames,
}

#[derive(Serialize)]
struct Joined {
    #[serde(flatten)]
    joined: join::Joined,
    approvals: Begun,
}

/// Joins, makes the hospital's keys, and publishes its first root and empty approvals. Run again after an interruption it
/// goes on where it stopped.
pub async fn run(context: &mut Context<'_>, args: Args) -> Outcome {
    let joined = join::join(context, args.join).await?;
    context.home.server()?.hdo()?;
    let founders = Founders::alone(args.keys);
    let approvals = match repository::begin(context, Which::Approvals, &founders, APPROVALS_LIFETIME).await? {
        Done::Published((approvals, _)) => approvals,
        Done::Waiting(waiting) => return waiting.print(context),
    };
    let catalog = pinned_root(&context.home, Which::Catalog)?.ok_or_else(|| {
        Failure::new("the hospital has joined, and the token carried no fingerprint of the manufacturer's catalog")
            .next("ask the manufacturer for a token made after `suturectl catalog init`")
    })?;
    let hdo = context.home.server()?.hdo()?;
    context.print.note(&format!(
        "Compare both fingerprints with the manufacturer over another channel, before any device is enrolled: you theirs, they yours, by \
         suturectl hdo pin {hdo} --root {}",
        approvals.root_sha256
    ));
    context.print.result(&Joined { joined, approvals }, |j| {
        format!(
            "joined {} as {}\ncatalog root   {}\napprovals root {}\n",
            j.joined.server,
            j.joined.uri,
            grouped(&catalog.to_string()),
            grouped(&j.approvals.root_sha256.to_string())
        )
    })
}
