//! The commands, one file a group. Each reads: arguments, then `run`, which decides nothing that `suture-core` could.

pub mod approvals;
pub mod audit;
pub mod bundle;
pub mod calendar;
pub mod catalog;
pub mod ceremony;
pub mod device;
pub mod doctor;
pub mod events;
pub mod evidence;
pub mod exposure;
pub mod hdo;
pub mod hdo_join;
pub mod itself;
pub mod join;
pub mod key;
pub mod life;
pub mod notice;
pub mod operator;
pub mod report;
pub mod responsibilities;
pub mod risk;
pub mod rollout;
pub mod roster;
pub mod service;
pub mod stick;
pub mod transfer;
pub mod vex;
pub mod whoami;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Outcome;

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Spend a token: become an operator of the server that it names
    #[command(after_help = "Example: suturectl join --token-file operator.token")]
    Join(join::Args),
    /// Who the server takes this operator for
    #[command(after_help = "Example: suturectl whoami --output json")]
    Whoami,
    /// Test the way to the server: name, route, proxy, TLS, clock, certificate, disk
    #[command(after_help = "Example: suturectl doctor")]
    Doctor,
    /// Signing keys
    #[command(subcommand)]
    Key(key::Command),
    /// The manufacturer's signed list of bundles
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// How long products are supported, by the manufacturer's signed word
    #[command(subcommand)]
    Life(life::Command),
    /// Who does what over a product's life, as is usual and as both sides agree
    #[command(subcommand)]
    Responsibilities(responsibilities::Command),
    /// The hospital's register of risk: what was found in which devices, and what is done about it
    #[command(subcommand)]
    Risk(risk::Command),
    /// Build, inspect, sign and publish bundles
    #[command(subcommand)]
    Bundle(bundle::Command),
    /// Which bundles carry a component or are exposed to a vulnerability, which devices run those, and why they still do
    ///
    /// What bundles carry, and what the manufacturer says of them, is computed from the SBOMs and statements that the signed
    /// catalog pins: they are fetched once and kept. The server tells which devices run what, by their signed reports, else by what
    /// they said; where its index is not what the documents say the command fails (5).
    #[command(
        verbatim_doc_comment,
        after_help = "Examples: suturectl exposure --cve CVE-2026-0001\n\
        \x20         suturectl exposure --component pkg:deb/debian/openssl --range \"vers:deb/<3.0.8\" --csv > exposed.csv\n\
        \x20         suturectl exposure --cve CVE-2026-0001 --component pkg:npm/left-pad@1.3.0    # by your own word it is in that"
    )]
    Exposure(exposure::Args),
    /// What the manufacturer says of vulnerabilities after a release
    #[command(subcommand)]
    Vex(vex::Command),
    /// Hospitals
    #[command(subcommand)]
    Hdo(hdo::Command),
    /// Colleagues
    #[command(subcommand)]
    Operator(operator::Command),
    /// The hospital's signed approvals
    #[command(subcommand)]
    Approvals(approvals::Command),
    /// The hospital's devices
    #[command(subcommand)]
    Device(device::Command),
    /// The devices that the hospital has signed for
    #[command(subcommand)]
    Roster(roster::Command),
    /// Maintenance windows and freeze dates
    #[command(subcommand)]
    Calendar(calendar::Command),
    /// Where the server is and by which authorities it is known
    #[command(subcommand)]
    Service(service::Command),
    /// How much the hospital's devices may fetch at once, and when
    #[command(subcommand)]
    Transfer(transfer::Command),
    /// Security events: what was refused, found or fell silent
    #[command(subcommand)]
    Events(events::Command),
    /// Plan, approve, watch, pause, abort, roll back
    #[command(subcommand)]
    Rollout(rollout::Command),
    /// What the manufacturer tells its hospitals: published, listed, read, acknowledged
    #[command(subcommand)]
    Notice(notice::Command),
    /// What a hospital reports to the manufacturer: a suspicion or an incident
    #[command(subcommand)]
    Report(report::Command),
    /// What both sides have signed, in a directory for devices without a network
    #[command(subcommand)]
    Stick(stick::Command),
    /// The server's record
    #[command(subcommand)]
    Audit(audit::Command),
    /// One folder with all that an auditor asks for, which verifies without a server
    #[command(subcommand)]
    Evidence(evidence::Command),
}

/// Runs one command. Each has its state on the heap: in one future all of them together would fill a test's stack.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Join(args) => Box::pin(join::run(context, args)).await,
        Command::Whoami => Box::pin(whoami::run(context)).await,
        Command::Doctor => Box::pin(doctor::run(context)).await,
        Command::Key(command) => key::run(context, command),
        Command::Catalog(command) => Box::pin(catalog::run(context, command)).await,
        Command::Life(command) => Box::pin(life::run(context, command)).await,
        Command::Responsibilities(command) => Box::pin(responsibilities::run(context, command)).await,
        Command::Risk(command) => Box::pin(risk::run(context, command)).await,
        Command::Bundle(command) => Box::pin(bundle::run(context, command)).await,
        Command::Exposure(args) => Box::pin(exposure::run(context, args)).await,
        Command::Vex(command) => Box::pin(vex::run(context, command)).await,
        Command::Hdo(command) => Box::pin(hdo::run(context, command)).await,
        Command::Operator(command) => Box::pin(operator::run(context, command)).await,
        Command::Approvals(command) => Box::pin(approvals::run(context, command)).await,
        Command::Device(command) => Box::pin(device::run(context, command)).await,
        Command::Roster(command) => Box::pin(roster::run(context, command)).await,
        Command::Calendar(command) => Box::pin(calendar::run(context, command)).await,
        Command::Service(command) => Box::pin(service::run(context, command)).await,
        Command::Transfer(command) => Box::pin(transfer::run(context, command)).await,
        Command::Events(command) => Box::pin(events::run(context, command)).await,
        Command::Rollout(command) => Box::pin(rollout::run(context, command)).await,
        Command::Notice(command) => Box::pin(notice::run(context, command)).await,
        Command::Report(command) => Box::pin(report::run(context, command)).await,
        Command::Stick(command) => Box::pin(stick::run(context, command)).await,
        Command::Audit(command) => Box::pin(audit::run(context, command)).await,
        Command::Evidence(command) => Box::pin(evidence::run(context, command)).await,
    }
}
