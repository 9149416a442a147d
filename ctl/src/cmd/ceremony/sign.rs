//! `sign` and `show`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::look::{Look, Shown};
use crate::agree::agree;
use crate::context::Context;
use crate::envelope::{Change, Envelope};
use crate::failure::{Exit, Failure, Outcome};
use crate::hospital::statements::{Saying, Words};
use crate::keys::KeyName;
use crate::repository::{self, Waiting};
use crate::trust_store::Which;

/// Arguments of `sign`.
#[derive(Debug, Clone, clap::Args)]
pub struct SignArgs {
    /// The envelope; the signature is added to it
    file: PathBuf,
    /// The key to sign with; may be given several times [default: `root` for a new root, else `targets`]
    #[arg(long, value_name = "KEY")]
    key: Vec<KeyName>,
    /// Sign without asking; what it changes is shown all the same
    #[arg(long)]
    yes: bool,
    /// Why, where it holds an approval: kept with the signature, for the record
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    saying: Saying,
    /// Do not publish it, even if this is the last signature
    #[arg(long)]
    no_publish: bool,
}

#[derive(Serialize)]
struct Published {
    published: bool,
    repository: &'static str,
    root_version: u64,
    targets_version: u64,
    changes: Vec<Change>,
}

/// `show`. It signs nothing, so it shows what can be told without the server where that is out of reach, and says what not.
pub(super) async fn show(context: &mut Context<'_>, which: Which, file: &Path, offline: bool) -> Outcome {
    let envelope = Envelope::open(file)?;
    let client = if offline { None } else { Some(context.connect().await) };
    let look = match client {
        Some(Ok(mut client)) => Look::at(context, &mut client, which, envelope).await?,
        Some(Err(failure)) if failure.exit != Exit::Unreachable => return Err(failure),
        Some(Err(failure)) => {
            context.print.note(&format!("note: {}; so it is compared with what this home has kept", failure.message));
            Look::offline(context, which, envelope).await?
        }
        None => Look::offline(context, which, envelope).await?,
    };
    context.print.result(&look.shown(), Shown::to_text)
}

/// `sign`.
pub(super) async fn sign(context: &mut Context<'_>, which: Which, args: SignArgs) -> Outcome {
    let mut client = context.connect().await?;
    let mut look = Look::at(context, &mut client, which, Envelope::open(&args.file)?).await?;
    context.print.note(&look.shown().to_text());
    let names = match (args.key.is_empty(), look.envelope.root.is_some()) {
        (false, _) => args.key,
        (true, true) => vec![KeyName::root()],
        (true, false) => vec![KeyName::targets()],
    };
    let words = match (look.stated.new.first(), &args.reason) {
        (None, _) => None,
        (Some(_), Some(reason)) => Some(Words::of(context, &args.saying, reason)?),
        (Some((id, _)), None) => {
            return Err(Failure::new(format!("it holds the approval {id}, and you do not say why you sign that"))
                .next("--reason TEXT, and --role and --meaning where they are not `approver` and `approved`"));
        }
    };
    let keys: Vec<&str> = names.iter().map(KeyName::as_str).collect();
    let next = "read what it changes, above or by `show`; then add --yes";
    agree(context, &format!("Sign this with {}?", keys.join(" and ")), args.yes, next)?;
    for name in &names {
        let key = context.key(name)?;
        let signs_targets = look.signs_targets(context, &key.public())?;
        look.add(name, &*key)?;
        if let (Some(words), true) = (&words, signs_targets) {
            look.state(words, &*key, context.now())?;
        }
    }
    let wants = look.wants();
    // Kept before it is published: the signature must not be lost with the connection.
    look.envelope.replace(&args.file)?;
    if args.no_publish || wants.iter().any(|want| want.missing() > 0) {
        return Waiting::of(&look.envelope, &wants, args.file).print(context);
    }
    look.is_approved()?;
    let Look { envelope, changes, .. } = look;
    let after = repository::publish(context, &mut client, envelope).await?;
    let published = Published {
        published: true,
        repository: which.as_str(),
        root_version: after.root().version(),
        targets_version: after.targets_metadata().version(),
        changes,
    };
    context.print.result(&published, |p| {
        format!(
            "signed and published: root {} and targets {} of the {} are in force",
            p.root_version, p.targets_version, p.repository
        )
    })
}
