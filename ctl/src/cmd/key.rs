//! `suturectl key`: signing keys, which never leave this machine.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::failure::Outcome;
use crate::keys::{KeyName, Keys, Passphrases};
use crate::print::Table;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key
    New {
        /// Its name
        name: KeyName,
        /// Write it unencrypted: whoever reads the file can sign
        #[arg(long)]
        no_passphrase: bool,
    },
    /// The keys of this home
    List,
    /// A key's public half
    ExportPublic {
        /// Its name
        name: KeyName,
    },
    /// Encrypt a key under another passphrase
    ChangePassphrase {
        /// Its name
        name: KeyName,
        /// Read the new passphrase from the first line of FILE
        #[arg(long, value_name = "FILE", conflicts_with = "no_passphrase")]
        new_passphrase_file: Option<PathBuf>,
        /// Write it unencrypted: whoever reads the file can sign
        #[arg(long)]
        no_passphrase: bool,
    },
}

/// Runs one.
pub fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::New { name, no_passphrase } => new(context, &name, no_passphrase),
        Command::List => list(context),
        Command::ExportPublic { name } => {
            let public = Keys::of(&context.home).public(&name)?;
            context.print.result(&json!({ "name": name.as_str(), "public_key": public }), |_| public.to_string())
        }
        Command::ChangePassphrase { name, new_passphrase_file, no_passphrase } => {
            let chosen = new_passphrase_file.map_or(Passphrases::Prompt, Passphrases::File);
            let new = || if no_passphrase { Ok(None) } else { chosen.chosen(&name).map(Some) };
            Keys::of(&context.home).change_passphrase(&name, &context.passphrases, new)?;
            context.print.result(&json!({ "name": name.as_str() }), |_| format!("the key {name} has a new passphrase"))
        }
    }
}

fn new(context: &mut Context<'_>, name: &KeyName, no_passphrase: bool) -> Outcome {
    let passphrase = if no_passphrase { None } else { Some(context.passphrases.chosen(name)?) };
    let seed = Zeroizing::new(context.random()?);
    let public = Keys::of(&context.home).create(name, &seed, passphrase.as_ref().map(|p| p.as_str()))?;
    context.print.result(&json!({ "name": name.as_str(), "public_key": public }), |_| format!("{name}  {public}"))
}

fn list(context: &mut Context<'_>) -> Outcome {
    let keys = Keys::of(&context.home).list()?;
    context.print.result(&keys, |keys| {
        let mut table = Table::new(["name", "public key", "file"]);
        for k in keys {
            let file = if k.encrypted { "encrypted" } else { "NOT encrypted" };
            table.row([k.name.clone(), k.public_key.to_string(), file.to_owned()]);
        }
        table.to_text()
    })
}
