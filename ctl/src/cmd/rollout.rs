//! `suturectl rollout`: plan, approve, open waves, watch, pause, abort, roll back.

mod approve;
pub(crate) mod decide;
#[cfg(test)]
pub(super) mod fixture;
mod live;
mod longer;
mod open;
pub(super) mod order;
mod plan;
mod print;
mod propose;
mod rollback;
mod says;
mod show;
mod signers;
mod stage;
mod stop;
mod stop_status;
mod watch;
mod waves;
mod why;

pub(crate) use approve::computed_again;
use clap::Subcommand;
pub(crate) use plan::BundleName;
pub(crate) use print::agreed;
use suture_core::id::ApprovalId;

use crate::context::Context;
use crate::failure::Outcome;
use crate::hospital::Desk;
use crate::repository::Signing;
use crate::witness;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compute a plan and print its digest; nothing is signed
    #[command(
        after_help = "Examples: suturectl rollout plan --bundle pump@2 --ward icu --wave 1 --wave rest:signed --cap 1 --ticket CHG-4711\n\
    \x20         suturectl rollout plan --bundle pump@7 --label area=icu --running 1..3 --deadline 2026-12-20T00:00:00Z"
    )]
    Plan(plan::PlanArgs),
    /// Sign a plan, after computing it again from what is signed now; or say on record that it, or a bundle, is declined or
    /// deferred
    #[command(after_help = "Examples: suturectl rollout approve SHA256 --reason \"tested on the bench\"\n\
    \x20         suturectl rollout approve pump@3 --defer --reason \"the ward is rebuilt\" \\\n\
    \x20             --compensating \"a network of their own\" --review 2027-01-15")]
    Approve(approve::ApproveArgs),
    /// Bundles and plans that were declined or deferred, and when that is looked at again
    #[command(after_help = "Example: suturectl rollout decisions")]
    Decisions {
        /// Also those that a later decision or a rollout of the bundle has answered
        #[arg(long)]
        all: bool,
    },
    /// Suggest a rollout to hospitals; nothing of it is authority
    #[command(
        after_help = "Example: suturectl rollout propose pump@2 --all --wave 1 --wave rest --soak 24h --note \"a louder alarm\""
    )]
    Propose(propose::ProposeArgs),
    /// Take a suggestion back; what hospitals have planned upon it stays as it is
    #[command(after_help = "Example: suturectl rollout take-back 3f0a91 --reason \"the notes are wrong\"")]
    TakeBack(propose::TakeBackArgs),
    /// What the manufacturer suggests: to a hospital, or for the manufacturer to all
    #[command(after_help = "Example: suturectl rollout proposals")]
    Proposals,
    /// Sign open a wave that waits for the hospital's signature; only a stop order closes it again
    #[command(after_help = "Example: suturectl rollout open pump-2 --wave 2 --reason \"a night without a fault\"")]
    Open(open::OpenArgs),
    /// The rollouts
    #[command(after_help = "Example: suturectl rollout list --all")]
    List {
        /// Also those that have ended
        #[arg(long)]
        all: bool,
    },
    /// One rollout: who signed it and why, and how far each device is
    #[command(after_help = "Example: suturectl rollout show pump-2")]
    Show {
        /// The rollout
        rollout: ApprovalId,
    },
    /// Until it ends: a live view on a terminal, elsewhere a line for each change. Exit code 0 when complete, 1 when paused by a
    /// failure, aborted or superseded
    #[command(after_help = "Examples: suturectl rollout watch pump-2\n\
    \x20         suturectl rollout watch pump-2 --output json")]
    Watch {
        /// The rollout
        rollout: ApprovalId,
    },
    /// What it waits for, in the order in which it must be met, and what would meet each
    #[command(after_help = "Example: suturectl rollout why pump-2")]
    Why {
        /// The rollout
        rollout: ApprovalId,
    },
    /// Hold back what has not begun; unsigned, in force at the devices' next check-in
    #[command(after_help = "Example: suturectl rollout pause pump-2 --reason \"the ward is full\"")]
    Pause {
        /// The rollout
        rollout: ApprovalId,
        /// Why, for the record
        #[arg(long)]
        reason: String,
    },
    /// Let a paused rollout go on
    #[command(after_help = "Example: suturectl rollout resume pump-2 --reason \"the ward has room\"")]
    Resume {
        /// The rollout
        rollout: ApprovalId,
        /// Why, for the record
        #[arg(long)]
        reason: String,
    },
    /// End it: at the server at once, and by a signed stop order
    #[command(after_help = "Example: suturectl rollout abort pump-2 --reason \"the alarm is too quiet\"")]
    Abort {
        /// The rollout
        rollout: ApprovalId,
        /// Why, for the record
        #[arg(long)]
        reason: String,
        /// With what it is signed.
        #[command(flatten)]
        signing: Signing,
    },
    /// Sign a stop order, alone, and publish it: no device begins anything more by the rollout, whatever the server says
    #[command(after_help = "Examples: suturectl rollout stop pump-2\n\
    \x20         suturectl rollout stop pump-2 --envelope stop.json --offline")]
    Stop(order::StopArgs),
    /// Lift a stop order, by as many approvers as it takes to approve
    #[command(after_help = "Example: suturectl rollout lift pump-2")]
    Lift(order::LiftArgs),
    /// Which devices obey a stop order by their signed word, and until when the others could still begin
    #[command(after_help = "Example: suturectl rollout stop-status pump-2")]
    StopStatus {
        /// The rollout
        rollout: ApprovalId,
    },
    /// Plan and sign the way back for the devices that have proven that they run the rollout's bundle
    #[command(after_help = "Example: suturectl rollout rollback pump-2 --reason \"the alarm is too quiet\" --yes")]
    Rollback(rollback::RollbackArgs),
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    context.stops_devices = matches!(command, Command::Pause { .. } | Command::Abort { .. } | Command::Stop(_));
    let stops = context.stops_devices;
    let done = Box::pin(each(context, command)).await;
    match witness::warning(&context.home) {
        Ok(Some(warning)) if stops => context.print.note(&warning),
        Err(failure) if stops => context.print.note(&format!("note: {}", failure.message)),
        _ => {}
    }
    done
}

async fn each(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Plan(args) => plan::run(context, args).await,
        Command::Approve(args) => approve::run(context, args).await,
        Command::Decisions { all } => decide::list(context, all).await,
        Command::Propose(args) => propose::run(context, args).await,
        Command::TakeBack(args) => propose::take_back(context, args).await,
        Command::Proposals => propose::list(context).await,
        Command::Open(args) => open::run(context, args).await,
        Command::List { all } => show::list(context, all).await,
        Command::Show { rollout } => show::show(context, &rollout).await,
        Command::Watch { rollout } => watch::watch(context, &rollout).await,
        Command::Why { rollout } => why::run(context, &rollout).await,
        Command::Pause { rollout, reason } => stop::pause(context, &rollout, reason).await,
        Command::Resume { rollout, reason } => stop::resume(context, &rollout, reason).await,
        Command::Abort { rollout, reason, signing } => {
            let mut desk = Desk::open_base(context).await.map_err(order::or_offline)?;
            order::is_listed(&desk, &rollout)?;
            stop::abort(context, &mut desk, &rollout, &reason, &signing).await
        }
        Command::Stop(args) => order::stop(context, args).await,
        Command::Lift(args) => order::lift(context, args).await,
        Command::StopStatus { rollout } => stop_status::run(context, &rollout).await,
        Command::Rollback(args) => rollback::run(context, args).await,
    }
}
