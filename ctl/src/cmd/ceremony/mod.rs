//! Key ceremonies and signing by several, alike for the catalog and the approvals.

mod keys;
mod look;
mod sign;

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use suture_core::digest::Digest;
use suture_core::id::OperatorName;
use suture_core::sign::PublicKey;
use suture_core::trust::Role;

use crate::context::Context;
use crate::failure::Outcome;
use crate::keys::KeyName;
use crate::print::grouped;
use crate::repository::public_key;
use crate::trust_store::{TrustStore, Which};

/// The subcommands that both repositories have.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sign the next root: it counts for another year, with the same keys
    #[command(after_help = "Examples: suturectl catalog rotate --online\n\
    \x20         suturectl approvals rotate --online")]
    Rotate {
        /// Name the online keys that the server has prepared (`suture-server keys rotate` there)
        #[arg(long)]
        online: bool,
        /// With what it is signed.
        #[command(flatten)]
        signers: Signers,
    },
    /// Let another key sign, by a new root; or say otherwise whose a key is
    #[command(
        after_help = "Examples: suturectl catalog add-key --role targets --public HEX --holder lee --threshold 2\n\
    \x20         suturectl approvals add-key --role targets --public HEX --holder lee --threshold 2"
    )]
    AddKey {
        /// What it signs
        #[arg(long, value_enum)]
        role: OfflineRole,
        /// The key that is let in.
        #[command(flatten)]
        new: NewKey,
        /// Whose key it is: the name by which its holder is an operator. It stands in the root, and the key signs for nobody
        /// else [default for a targets key of this home: its operator]
        #[arg(long, value_name = "NAME")]
        holder: Option<OperatorName>,
        /// The key that it takes the place of, by its public half or its key id
        #[arg(long, value_name = "HEX")]
        replace: Option<String>,
        /// How many of the role's keys must sign from then on [default: as many as now]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        threshold: Option<u32>,
        /// With what it is signed.
        #[command(flatten)]
        signers: Signers,
    },
    /// Let a key sign no more, by a new root: it is lost, stolen, or its holder has left
    #[command(after_help = "Examples: suturectl catalog remove-key --role targets --public HEX\n\
    \x20         suturectl approvals remove-key --role targets --public HEX")]
    RemoveKey {
        /// What it signed
        #[arg(long, value_enum)]
        role: OfflineRole,
        /// Its public half or its key id, as `status` shows them
        #[arg(long, value_name = "HEX")]
        public: String,
        /// How many of the role's keys must sign from then on [default: as many as now]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        threshold: Option<u32>,
        /// With what it is signed.
        #[command(flatten)]
        signers: Signers,
    },
    /// Change how many of a role's keys must sign, by a new root
    #[command(after_help = "Examples: suturectl catalog set-threshold --role root 2\n\
    \x20         suturectl approvals set-threshold --role targets 2")]
    SetThreshold {
        /// Whose
        #[arg(long, value_enum)]
        role: OfflineRole,
        /// How many
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        threshold: u32,
        /// With what it is signed.
        #[command(flatten)]
        signers: Signers,
    },
    /// Verify an envelope against what this home knows, show what it changes, and add a signature; the last one publishes
    #[command(after_help = "Examples: suturectl catalog sign root.envelope.json\n\
    \x20         suturectl approvals sign pump-2.envelope.json --reason \"read the notes\"")]
    Sign(sign::SignArgs),
    /// Verify an envelope and show what it changes and who must sign it yet
    #[command(after_help = "Examples: suturectl catalog show root.envelope.json\n\
    \x20         suturectl approvals show pump-2.envelope.json --offline")]
    Show {
        /// The envelope
        file: PathBuf,
        /// Compare it with what this home has kept, without the server
        #[arg(long)]
        offline: bool,
    },
    /// Begin to trust the repository whose root's fingerprint its owner has read to you
    #[command(after_help = "Examples: suturectl catalog trust SHA256\n\
    \x20         suturectl approvals trust SHA256")]
    Trust {
        /// SHA-256 of the first root
        fingerprint: Digest,
    },
}

/// A role whose keys are people's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OfflineRole {
    /// Signs roots: says who may sign
    Root,
    /// Signs what the repository is about
    Targets,
}

impl From<OfflineRole> for Role {
    fn from(role: OfflineRole) -> Self {
        match role {
            OfflineRole::Root => Self::Root,
            OfflineRole::Targets => Self::Targets,
        }
    }
}

/// The key that is let in.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct NewKey {
    /// Its public half, as its holder's `suturectl key export-public` prints it
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    public: Option<PublicKey>,
    /// A key of this home
    #[arg(long, value_name = "KEY")]
    key: Option<KeyName>,
}

/// With what a ceremony is signed here; others may have to sign it too.
#[derive(Debug, Clone, clap::Args)]
pub struct Signers {
    /// A key that signs the new root; may be given several times
    #[arg(long, value_name = "KEY", default_value = "root")]
    root_key: Vec<KeyName>,
    /// The key that signs the targets again, where the ceremony makes that necessary
    #[arg(long, value_name = "KEY", default_value = "targets")]
    targets_key: KeyName,
    /// Where to write what others must sign too, if these signatures do not suffice [default: named after what it changes,
    /// in the current directory]
    #[arg(long, value_name = "FILE")]
    envelope: Option<PathBuf>,
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, which: Which, command: Command) -> Outcome {
    match command {
        Command::Rotate { online, signers } => keys::rotate(context, which, online, &signers).await,
        Command::AddKey { role, new, holder, replace, threshold, signers } => {
            let added = keys::Added { new, holder, replace };
            keys::add(context, which, role.into(), added, threshold, &signers).await
        }
        Command::RemoveKey { role, public, threshold, signers } => {
            keys::remove(context, which, role.into(), &public, threshold, &signers).await
        }
        Command::SetThreshold { role, threshold, signers } => {
            keys::set_threshold(context, which, role.into(), threshold, &signers).await
        }
        Command::Sign(args) => sign::sign(context, which, args).await,
        Command::Show { file, offline } => sign::show(context, which, &file, offline).await,
        Command::Trust { fingerprint } => trust(context, which, &fingerprint).await,
    }
}

async fn trust(context: &mut Context<'_>, which: Which, fingerprint: &Digest) -> Outcome {
    let mut client = context.connect().await?;
    TrustStore::of(&context.home, which).pin_by_digest(&mut client, fingerprint).await?;
    let result = serde_json::json!({ "repository": which.as_str(), "root_sha256": fingerprint });
    context.print.result(&result, |_| {
        format!("this home trusts the {} with the root\n{}", which.as_str(), grouped(&fingerprint.to_string()))
    })
}
