//! `suturectl hdo join`: a hospital's first operator joins and begins its approvals.

use crate::cmd::join;
use crate::context::Context;
use crate::failure::Outcome;

/// As for `join`.
pub type Args = join::Args;

/// Joins.
pub async fn run(context: &mut Context<'_>, args: Args) -> Outcome {
    join::run(context, args).await
}
