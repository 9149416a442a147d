//! Notices that go with what is done: a withdrawal, a patch.
//!
//! `--notice auto` writes what the command itself knows, `--notice FILE` takes a notice of the right kind; without either
//! nothing is sent, and it is said how.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use suture_core::id::ProductId;
use suture_core::life::Change;
use suture_core::notice::{Kind, Notice, Severity};
use suture_core::version::ReleaseRange;

use super::spec;
use crate::client::Client;
use crate::cmd::rollout::BundleName;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::keys::KeyName;
use crate::letters::{Published, Recipients, publish};

/// A notice, and the documents that belong to it.
pub(crate) type Ready = (Notice, Vec<Vec<u8>>);

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
    (kind, product): (Kind, &ProductId),
    draft: impl FnOnce() -> Outcome<Notice>,
) -> Outcome<Ready> {
    let (notice, documents) = match with {
        With::Auto => (draft()?, Vec::new()),
        With::File(path) => {
            let read = spec::read(path, context.now())?;
            (read.notice, read.documents)
        }
    };
    if (notice.kind, &notice.product) != (kind, product) {
        return Err(Failure::new(format!(
            "the notice is a {} for {}, and what is done asks for a {kind} for {product}",
            notice.kind, notice.product
        )));
    }
    notice.complete().map_err(|e| Failure::new(e.to_string()))?;
    Ok((notice, documents))
}

/// The notice that goes with a change of a product's life: of its end of life, of its end of support, or of a component's, from
/// the very day that the change says.
pub(crate) fn of_life(path: &Path, product: &ProductId, change: &Change, now: jiff::Timestamp) -> Outcome<Ready> {
    let read = spec::read(path, now)?;
    let (notice, documents) = (read.notice, read.documents);
    notice.complete().map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
    let says = notice.support.as_ref().map(|support| support.service_change);
    let day = match notice.kind {
        Kind::EndOfLife => change.dates.end_of_life,
        Kind::EndOfSupport => change.dates.end_of_support,
        Kind::ComponentEndOfSupport => {
            change.components.iter().map(|c| c.end_of_support).find(|day| Some(*day) == says)
        }
        kind => {
            return Err(Failure::new(format!("{} is a notice of the kind {kind}", path.display()))
                .next("with a product's life go end-of-life, end-of-support and component-end-of-support"));
        }
    };
    if notice.product != *product || day.is_none() || day != says {
        return Err(Failure::new(format!(
            "{} is about another product or day than what is set: {} from {}",
            path.display(),
            notice.product,
            says.map_or_else(|| "no day".to_owned(), |day| day.to_string())
        ))
        .next("hospitals would read two things; mend support.service_change, or the date"));
    }
    Ok((notice, documents))
}

/// Says that a notice waits for what it is about: others must sign that first.
pub(crate) fn not_yet(context: &mut Context<'_>, notice: Option<&Ready>) {
    if notice.is_some() {
        context.print.note("note: no notice was sent, for others must sign first; then: suturectl notice publish FILE");
    }
}

/// Sends it to the hospitals that have devices of the product. That nobody has any is no failure of what was done.
pub(crate) async fn tell(
    context: &mut Context<'_>,
    client: &mut Client,
    (notice, documents): Ready,
    key: &KeyName,
) -> Outcome<Published> {
    super::publish::upload(client, documents).await?;
    publish(context, client, &notice, &Recipients::AnyUsers, key).await.map_err(|failure| {
        let next = failure.next.clone().unwrap_or_default();
        failure.next(format!(
            "what it is about is done; the notice has not gone to all: `suturectl notice publish FILE`, or with --notice auto the same \
             command again, goes on with it. {next}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::life::Dates;

    const END: &str = r#"
kind = "end-of-support"
product = "pump"
releases = ["1..9"]
severity = "medium"
subject = "support ends"
text = "There are no patches from that day on."
actions = "Replace it."
compensating = "A network of its own."
support = { service_change = "2033-01-01", operating_system = "Linux 6.12", maintenance = "patches until then", upgrades = [
    { scope = "full-replacement", text = "pump II" },
] }
"#;

    #[test]
    fn hospitals_read_of_the_day_that_is_set_and_of_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("end.toml");
        let (product, now) = ("pump".parse().unwrap(), "2026-11-24T15:00:00Z".parse().unwrap());
        let change = |eol: &str, eos: &str| Change {
            at: now,
            by: "ada".parse().unwrap(),
            why: "as planned".to_owned(),
            releases: None,
            dates: Dates { end_of_life: eol.parse().ok(), end_of_support: eos.parse().ok(), ..Dates::default() },
            short_notice: None,
            earlier: None,
            components: Vec::new(),
            not_covered: Vec::new(),
        };
        let read = |text: &str, eol: &str, eos: &str| {
            std::fs::write(&path, text).unwrap();
            of_life(&path, &product, &change(eol, eos), now).map_err(|f| f.to_text())
        };
        read(END, "2031-01-01", "2033-01-01").unwrap();
        for (text, eos, told) in [
            (END.to_owned(), "2034-01-01", "2033-01-01"),
            (END.to_owned(), "none", "another product or day"),
            (END.replace("\"pump\"", "\"monitor\""), "2033-01-01", "monitor"),
            (END.replace("end-of-support", "advisory"), "2033-01-01", "advisory"),
            (END.replace("compensating", "# "), "2033-01-01", "must say more"),
        ] {
            let failure = read(&text, "2031-01-01", eos).unwrap_err();
            assert!(failure.contains(told), "{told}: {failure}");
        }
    }
}
