//! `suturectl key`: signing keys, which never leave this machine or the token that made them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::keys::{self, KeyName, Keys, Passphrases, token};
use crate::print::Table;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key: in an encrypted file, or on a PKCS#11 token
    #[command(after_help = "Examples: suturectl key new targets\n\
    \x20         suturectl key new targets --token LABEL")]
    New {
        /// Its name
        name: KeyName,
        /// Write it unencrypted: whoever reads the file can sign
        #[arg(long)]
        no_passphrase: bool,
        /// Make it on the PKCS#11 token that has this label; it never leaves it
        #[arg(long, value_name = "LABEL", conflicts_with = "no_passphrase")]
        token: Option<String>,
        /// How a token is reached.
        #[command(flatten)]
        reach: Reach,
    },
    /// Give a name to a key that is on a PKCS#11 token already
    #[command(after_help = "Example: suturectl key add-token root --token LABEL --id 01")]
    AddToken {
        /// The name that it shall have here
        name: KeyName,
        /// The token's label
        #[arg(long, value_name = "LABEL")]
        token: String,
        /// How a token is reached.
        #[command(flatten)]
        reach: Reach,
        /// The key's id on the token, in hexadecimal digits
        #[arg(long, value_name = "HEX")]
        id: Option<String>,
        /// The key's label on the token
        #[arg(long, value_name = "LABEL")]
        label: Option<String>,
    },
    /// The keys of this home, and where each is kept
    #[command(after_help = "Example: suturectl key list")]
    List,
    /// A key's public half
    #[command(after_help = "Example: suturectl key export-public targets")]
    ExportPublic {
        /// Its name
        name: KeyName,
    },
    /// Open a key and let it sign a test text, to be sure of its passphrase, PIN or token
    #[command(after_help = "Example: suturectl key check targets")]
    Check {
        /// Its name
        name: KeyName,
    },
    /// Encrypt a key's file under another passphrase
    #[command(after_help = "Example: suturectl key change-passphrase targets")]
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

/// How a token is reached.
#[derive(Debug, Args)]
pub struct Reach {
    /// The token's serial number, where several have that label
    #[arg(long, value_name = "SERIAL", requires = "token")]
    serial: Option<String>,
    /// The PKCS#11 module that reaches the token; without it p11-kit's proxy, which reaches all that p11-kit knows
    #[arg(long, value_name = "PATH", env = "SUTURE_PKCS11_MODULE")]
    module: Option<PathBuf>,
}

impl Reach {
    fn to(self, label: String) -> token::Choice {
        token::Choice { module: self.module, label, serial: self.serial }
    }
}

/// Runs one.
pub fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::New { name, token: Some(label), reach, .. } => {
            let id = context.random()?;
            Keys::of(&context.home).create_on_token(&name, &reach.to(label), &context.pins, id)?;
            made(context, &name)
        }
        Command::New { name, no_passphrase, .. } => {
            let passphrase = if no_passphrase { None } else { Some(context.passphrases.chosen(&name)?) };
            let seed = Zeroizing::new(context.random()?);
            Keys::of(&context.home).create(&name, &seed, passphrase.as_ref().map(|p| p.as_str()))?;
            made(context, &name)
        }
        Command::AddToken { name, token: label, reach, id, label: object_label } => {
            let (nonce, object) = (context.random()?, token::Object { id, label: object_label });
            let keys = Keys::of(&context.home);
            let added = keys.add_from_token(&name, &reach.to(label), &object, &context.pins, nonce)?;
            if added.extractable {
                context.print.note("note: this key was made so that it can be taken out of the token");
            }
            made(context, &name)
        }
        Command::List => list(context),
        Command::ExportPublic { name } => {
            let public = Keys::of(&context.home).public(&name)?;
            context.print.result(&json!({ "name": name.as_str(), "public_key": public }), |_| public.to_string())
        }
        Command::Check { name } => check(context, &name),
        Command::ChangePassphrase { name, new_passphrase_file, no_passphrase } => {
            let chosen = Passphrases::from(new_passphrase_file);
            let new = || if no_passphrase { Ok(None) } else { chosen.chosen(&name).map(Some) };
            Keys::of(&context.home).change_passphrase(&name, &context.passphrases, new)?;
            let listed = Keys::of(&context.home).show(&name)?;
            context.print.result(&listed, |_| match no_passphrase {
                true => format!("the key {name} has no passphrase any more: whoever reads its file can sign"),
                false => format!("the key {name} has a new passphrase"),
            })
        }
    }
}

fn made(context: &mut Context<'_>, name: &KeyName) -> Outcome {
    let listed = Keys::of(&context.home).show(name)?;
    context.print.result(&listed, |l| format!("{name}  {}", l.public_key))
}

fn list(context: &mut Context<'_>) -> Outcome {
    let (keys, unreadable) = Keys::of(&context.home).list()?;
    for failure in unreadable {
        let because: String = failure.causes.iter().map(|cause| format!(": {cause}")).collect();
        context.print.note(&format!("note: a key is not listed: {}{because}", failure.message));
    }
    context.print.result(&keys, |keys| {
        let mut table = Table::new(["name", "public key", "kept in"]);
        for k in keys {
            table.row([k.name.clone(), k.public_key.to_string(), k.place.to_text()]);
        }
        table.to_text()
    })
}

fn check(context: &mut Context<'_>, name: &KeyName) -> Outcome {
    let nonce: [u8; 32] = context.random()?;
    let text = keys::test_text(&nonce);
    let listed = Keys::of(&context.home).show(name)?;
    let signature = context.key(name)?.sign(&text).map_err(|e| {
        Failure::untrusted(format!("the key {name} does not sign"))
            .because(&e)
            .next("`suturectl key list` says where it is kept")
    })?;
    // By the public half that others were given, not by the one that the private half yields.
    listed.public_key.verify(&text, &signature).map_err(|e| {
        Failure::untrusted(format!("the key {name} does not belong to its public half"))
            .because(&e)
            .next("the files of two keys were mixed up: look for the right ones in the copy of this home")
    })?;
    context.print.result(&listed, |l| format!("{name} signs, as {}; {}", l.public_key, l.place.to_text()))
}
