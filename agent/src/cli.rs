//! The command line of `suture-agent`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use suture_agent::history;
use suture_core::id::{DeviceId, PayloadName};
use suture_core::report::LogHead;

const EXITS: &str = "Exit codes:
  0   done
  1   failed
  2   the command line is wrong
  3   refused by the agent: not by this account, or there is nothing now that it would answer
  5   what was handed over does not verify
  64  the configuration is wrong";

/// Fetches, verifies and installs what the manufacturer has published and the hospital has approved for this device.
#[derive(Parser)]
#[command(name = "suture-agent", version, after_help = EXITS)]
pub(crate) struct Cli {
    /// The configuration.
    #[arg(long, global = true, env = "SUTURE_AGENT_CONFIG", default_value = "/etc/suture-agent/agent.toml")]
    pub(crate) config: PathBuf,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Join the hospital: make the device's keys here and have them certified. Shows the fingerprint to be compared.
    #[command(after_help = "Example: suture-agent enroll --token-file -")]
    Enroll {
        /// The one-time token from `suturectl device token`. Others on this device see it in the list of processes
        #[arg(long, required_unless_present = "token_file", conflicts_with = "token_file")]
        token: Option<String>,
        /// A file that holds it; `-` reads it from standard input, where it can be pasted. Nobody else sees it there
        #[arg(long)]
        token_file: Option<PathBuf>,
        /// The device's id, where the token is for any.
        #[arg(long)]
        id: Option<DeviceId>,
    },
    /// Put the factory's version into the first slot.
    #[command(after_help = "Example: suture-agent provision --manifest manifest.json --payload app=build/root")]
    Provision {
        /// The bundle's manifest.
        #[arg(long)]
        manifest: PathBuf,
        /// A payload's directory or file, as NAME=PATH.
        #[arg(long = "payload", value_parser = named_path)]
        payloads: Vec<(PayloadName, PathBuf)>,
    },
    /// Work until SIGTERM or SIGINT.
    #[command(after_help = "Example: suture-agent run --once")]
    Run {
        /// One cycle, then end.
        #[arg(long)]
        once: bool,
    },
    /// What runs, what the agent does and what it waits for
    #[command(after_help = "Example: suture-agent status --output json")]
    Status,
    /// Only why it is not further: what is wrong, what happens by itself, and what you can do
    #[command(after_help = "Example: suture-agent why")]
    Why,
    /// The last things that happened, and what people at the device have said
    #[command(after_help = "Example: suture-agent log --verify")]
    Log {
        /// Verify instead that no line of it was edited or removed. Exit code 5 where one was
        #[arg(long)]
        verify: bool,
        /// With --verify: the line that the device has signed last, as `suturectl device show` prints it
        #[arg(long, value_name = "LINE:SHA256", requires = "verify", value_parser = history::parse_head)]
        signed: Option<LogHead>,
    },
    /// What the device remembers of its server's audit record, and what it holds against it
    #[command(after_help = "Example: suture-agent record")]
    Record {
        /// Begin anew with a server whose record does not go on from there, once those who run it have said why. No agent
        /// may run meanwhile
        #[arg(long)]
        forget: bool,
    },
    /// Keep the device from beginning anything until `release`. What is past the switch finishes, or goes back
    #[command(after_help = "Example: suture-agent hold --reason \"the ward is full\" --by kim")]
    Hold(Said),
    /// Let it go on: end a hold, or say that the device is checked, and may be in clinical use again or is unfit
    #[command(after_help = "Example: suture-agent release --checked --reason \"test 4 passed\"")]
    Release {
        /// The device was checked after its update, as its maker asks: it goes back to clinical use
        #[arg(long)]
        checked: bool,
        /// It was checked, and found unfit: the old version comes back
        #[arg(long, conflicts_with = "checked")]
        unfit: bool,
        #[command(flatten)]
        said: Said,
    },
    /// Say that the device may be updated in this slot
    #[command(after_help = "Example: suture-agent confirm --by kim")]
    Confirm {
        /// Who says it, where many use one account
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Hand a signed stop order or lift, in a file, to the agent: verified first. Exit code 5 where it is refused
    #[command(after_help = "Example: suture-agent stop stop.json")]
    Stop {
        /// The file that `suturectl rollout stop --envelope` wrote
        file: PathBuf,
    },
    /// Hand a stick to the agent: what both sides have signed, for a device without a network. Exit code 5 where it is
    /// refused
    #[command(after_help = "Example: suture-agent import /media/stick")]
    Import {
        /// The directory that `suturectl stick write` wrote
        dir: PathBuf,
    },
    /// Say that a held device is in order again, and the agent may go on
    #[command(after_help = "Example: suture-agent recover --reason \"disk replaced\"")]
    Recover {
        /// What was done; recorded
        #[arg(long, default_value = "put in order")]
        reason: String,
        /// Who says it, where many use one account
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Leave the hospital: sold, lent, sent back or scrapped. Wipes keys, roots and record; what runs stays. Only by a person
    /// at the device. To join another hospital, run `enroll` with its token
    #[command(after_help = "Example: suture-agent leave --device pump-1")]
    Leave {
        /// The device's id, so that it is this one that is meant
        #[arg(long)]
        device: DeviceId,
        /// Also where the hospital cannot be told, which then has to revoke the device by itself
        #[arg(long)]
        untold: bool,
    },
    /// Test installer, name, route, proxy, TLS, clock and disk.
    #[command(after_help = "Example: suture-agent doctor")]
    Doctor,
}

/// What a person says, and who they are.
#[derive(clap::Args)]
pub(crate) struct Said {
    /// Why; recorded, and shown
    #[arg(long)]
    pub(crate) reason: String,
    /// Who says it, where many use one account
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

fn named_path(text: &str) -> Result<(PayloadName, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("write NAME=PATH")?;
    Ok((name.parse().map_err(|e| format!("{e}"))?, PathBuf::from(path)))
}
