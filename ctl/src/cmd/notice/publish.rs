//! `notice publish`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;
use suture_core::id::HdoId;
use suture_core::notice::Notice;
use suture_proto::v1;

use super::spec;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Outcome;
use crate::keys::KeyName;
use crate::letters::{Published, Recipients, publish};

/// A notice in TOML, which the help shows and a test reads.
macro_rules! spec {
    () => {
        r#"kind = "advisory"          # patch-available, withdrawal, end-of-life, end-of-support,
product = "pump"           # component-end-of-support, residual-risk, decommissioning
releases = ["1..2"]        # none: all
severity = "high"          # informational, low, medium, high, critical
cves = ["CVE-2026-12345"]
subject = "the alarm can be silenced over the network"
text = "Whoever is on the pump's network can silence its alarm."
actions = "Install release 3 once it is there."
compensating = "Keep the pumps on a network of their own."
learned = "2026-11-20"     # the clocks of 30 and 60 days run from here
"#
    };
}

/// The same.
#[cfg(test)]
pub(super) const SPEC: &str = spec!();

/// What the help shows.
pub(super) const EXAMPLE: &str = concat!(
    "Example: suturectl notice publish advisory.toml\nThe file says, as here:\n\n",
    spec!(),
    "# also: fixed_by = 3, links = [\"https://..\"], acknowledge_by = \"2026-12-01T12:00:00Z\", [[attachment]] path = \"fsn.pdf\",
# [support] service_change = \"2028-12-31\", operating_system, maintenance,
#   upgrades = [{ scope = \"software-only\", text = \"..\" }],      # partial, full-replacement, none
#   components = [{ name = \"openssl\", version = \"3.0\", support_ends = \"2026-09-07\" }]"
);

/// Arguments of `notice publish`.
#[derive(Debug, clap::Args)]
pub struct PublishArgs {
    /// What is told (TOML)
    file: PathBuf,
    /// To this hospital; may be given several times
    #[arg(long, value_name = "HOSPITAL")]
    hdo: Vec<HdoId>,
    /// To all hospitals, also those without devices of the product
    #[arg(long, conflicts_with = "hdo")]
    all: bool,
    /// The key that signs it, one of those that sign the catalog's targets
    #[arg(long, value_name = "KEY", default_value = "targets")]
    key: KeyName,
}

#[derive(Serialize)]
struct Sent<'a> {
    #[serde(flatten)]
    published: &'a Published,
    notice: &'a Notice,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: PublishArgs) -> Outcome {
    context.home.server()?.manufacturer()?;
    let PublishArgs { file, hdo, all, key } = args;
    let spec::Read { notice, documents } = spec::read(&file, context.now())?;
    notice.complete().map_err(|e| crate::failure::Failure::new(format!("{}: {e}", file.display())))?;
    let recipients = match (all, hdo.is_empty()) {
        (true, _) => Recipients::All,
        (false, true) => Recipients::Users,
        (false, false) => Recipients::Named(hdo.into_iter().collect::<BTreeSet<_>>()),
    };
    let mut client = context.connect().await?;
    upload(&mut client, documents).await?;
    let published = publish(context, &mut client, &notice, &recipients, &key).await?;
    let notice = &published.notice;
    context.print.result(&Sent { published: &published, notice }, |_| told(&published, notice))
}

/// Puts the documents of a notice where hospitals fetch them from, by digest.
pub(super) async fn upload(client: &mut Client, documents: Vec<Vec<u8>>) -> Outcome {
    for content in documents {
        let kind = v1::put_document_request::Kind::Document.into();
        client.put_document(v1::PutDocumentRequest { kind, content: content.into() }).await?;
    }
    Ok(())
}

/// What was done, for people.
pub(super) fn told(published: &Published, notice: &Notice) -> String {
    let id: String = published.id.to_string().chars().take(12).collect();
    let to: Vec<String> = published.letters.iter().map(|l| format!("{} (its letter {})", l.hdo, l.number)).collect();
    format!(
        "notice {id}: {} for {}, to {}\nacknowledged by {} or repeated; who has: suturectl notice status {id}",
        notice.kind,
        notice.product,
        to.join(", "),
        suture_core::clock::format_utc(notice.acknowledge_by)
    )
}
