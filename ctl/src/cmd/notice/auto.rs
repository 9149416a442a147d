//! Notices that go with what is done: a withdrawal, a patch.
//!
//! `--notice auto` writes what the command itself knows, `--notice FILE` takes a notice of the right kind; without either
//! nothing is sent, and it is said how.

use std::path::PathBuf;
use std::str::FromStr;

use suture_core::notice::{Kind, Notice, Severity};
use suture_core::version::ReleaseRange;

use super::spec;
use crate::client::Client;
use crate::cmd::rollout::BundleName;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::keys::KeyName;
use crate::letters::{Published, Recipients, publish};

/// What `--notice` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum With {
    /// What the command knows.
    Auto,
    /// What a file says.
    File(PathBuf),
}

impl FromStr for With {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "auto" { Self::Auto } else { Self::File(PathBuf::from(text)) })
    }
}

/// A notice about one release, with what everybody should know of it; the rest is the kind's.
pub(crate) fn draft(
    kind: Kind,
    bundle: &BundleName,
    (subject, text, actions): (String, String, String),
    now: jiff::Timestamp,
) -> Outcome<Notice> {
    let severity = if kind == Kind::Withdrawal { Severity::High } else { Severity::Medium };
    let release: ReleaseRange = bundle.release.to_string().parse().map_err(|e| Failure::new(format!("{e}")))?;
    let is_patch = kind == Kind::PatchAvailable;
    Ok(Notice {
        kind,
        product: bundle.product.clone(),
        releases: if is_patch { Vec::new() } else { vec![release] },
        hardware: Vec::new(),
        severity,
        cves: Vec::new(),
        subject,
        text,
        actions,
        compensating: String::new(),
        fixed_by: is_patch.then_some(bundle.release),
        support: None,
        links: Vec::new(),
        attachments: Vec::new(),
        learned: None,
        acknowledge_by: spec::due(kind, severity, now),
    })
}

/// The notice that `--notice` asks for, checked before anything is done that it is about: of the right kind, about that product,
/// and complete.
pub(crate) fn prepare(
    context: &Context<'_>,
    with: &With,
    (kind, bundle): (Kind, &BundleName),
    draft: impl FnOnce() -> Outcome<Notice>,
) -> Outcome<(Notice, Vec<Vec<u8>>)> {
    let (notice, documents) = match with {
        With::Auto => (draft()?, Vec::new()),
        With::File(path) => {
            let read = spec::read(path, context.now())?;
            (read.notice, read.documents)
        }
    };
    if (notice.kind, &notice.product) != (kind, &bundle.product) {
        return Err(Failure::new(format!(
            "the notice is a {} for {}, and what is done asks for a {kind} for {}",
            notice.kind, notice.product, bundle.product
        )));
    }
    notice.complete().map_err(|e| Failure::new(e.to_string()))?;
    Ok((notice, documents))
}

/// Sends it to the hospitals that have devices of the product. That nobody has any is no failure of what was done.
pub(crate) async fn tell(
    context: &mut Context<'_>,
    client: &mut Client,
    (notice, documents): (Notice, Vec<Vec<u8>>),
    key: &KeyName,
) -> Outcome<Published> {
    super::publish::upload(client, documents).await?;
    publish(context, client, &notice, &Recipients::Users, key).await.map_err(|failure| {
        let next = failure.next.clone().unwrap_or_default();
        failure.next(format!(
            "what it is about is done; only the notice was not sent: suturectl notice publish FILE. {next}"
        ))
    })
}
