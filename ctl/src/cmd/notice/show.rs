//! `notice show`.

use std::path::Path;

use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::legible::{self, indented};
use suture_core::notice::{Notice, Side};
use suture_proto::v1;

use super::list::{Listed, by_beginning, delivered, first_letter};
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files;
use crate::letters::{From, StepShown, fetch, find, instant, root_of};
use crate::print::Table;
use crate::trust_store::Which;

/// What came of one delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Delivery {
    contact: String,
    repetition: u32,
    tries: u32,
    outcome: String,
    accepted: bool,
    tried: Option<String>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    listed: Listed,
    deliveries: Vec<Delivery>,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, which: &str, documents: Option<&Path>) -> Outcome {
    let own = context.home.server()?.hdo().ok();
    let mut client = context.connect().await?;
    let now = context.now();
    let kept = match &own {
        Some(hdo) => {
            let number = which
                .parse()
                .map_err(|_| Failure::new(format!("{which:?} is no notice's number: `suturectl notice list`")))?;
            let side = (hdo, Side::Manufacturer);
            let root = root_of(context, &mut client, side).await?;
            let kept = fetch(context, &mut client, side, &root, From::First).await?;
            delivered(&mut client, &kept).await?;
            find(kept, number, Side::Manufacturer)?
        }
        None => {
            let id = by_beginning(&mut client, which).await?;
            first_letter(context, &mut client, id).await?.1
        }
    };
    let number = kept.letter.number;
    let listed = Listed::of(&kept, now)
        .ok_or_else(|| Failure::new(format!("letter {number} is no notice but an answer: `suturectl report list`")))?;
    if let Some(directory) = documents {
        save(&mut client, &listed.notice, directory).await?;
    }
    let mut deliveries = Vec::new();
    if own.is_some() {
        client.mark_letters(v1::MarkLettersRequest { hdo: String::new(), delivered_through: 0, read: number }).await?;
        let found = client.list_deliveries(v1::ListDeliveriesRequest { number }).await?.deliveries;
        deliveries = found.into_iter().map(delivery).collect();
    }
    context.print.result(&Shown { listed, deliveries }, |shown| {
        let state = shown.listed.states.to_text(now);
        text(&shown.listed, &state, &shown.deliveries, own.is_some())
    })
}

fn delivery(message: v1::Delivery) -> Delivery {
    let v1::Delivery { contact, repetition, tries, outcome, accepted, due_ms, tried_ms } = message;
    Delivery { contact, repetition, tries, outcome, accepted, tried: instant(tried_ms), next: instant(due_ms) }
}

/// Fetches the documents, each by its digest, under names of this program's making.
async fn save(client: &mut Client, notice: &Notice, directory: &Path) -> Outcome {
    std::fs::create_dir_all(directory).or_fail(|| format!("{} cannot be made", directory.display()))?;
    for (n, attachment) in notice.attachments.iter().enumerate() {
        let name = format!("documents/{}", attachment.sha256);
        let bytes = client.target(Which::Catalog, &name, attachment.length).await?;
        if bytes.len() as u64 != attachment.length || Digest::of(&bytes) != attachment.sha256 {
            return Err(Failure::untrusted(format!(
                "the server's {:?} is not the document that the notice names",
                attachment.name
            )));
        }
        // The name is the writer's own: no path, and nothing that hides.
        let plain: String =
            attachment.name.chars().map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
        files::create_or_keep(&directory.join(format!("{}-{}", n + 1, plain.trim_start_matches('.'))), &bytes)?;
    }
    Ok(())
}

fn text(shown: &Listed, state: &str, deliveries: &[Delivery], at_hospital: bool) -> String {
    let n = &shown.notice;
    let list = |items: Vec<String>| if items.is_empty() { "all".to_owned() } else { items.join(", ") };
    let mut text = format!(
        "{} {}: {}\nproduct   {}, releases {}, hardware {}\nseverity  {}\nfrom      {}, {}, letter {} ({})\n",
        n.kind,
        shown.number,
        legible::line(&n.subject),
        n.product,
        list(n.releases.iter().map(ToString::to_string).collect()),
        list(n.hardware.iter().map(|h| h.as_str().to_owned()).collect()),
        n.severity,
        shown.by,
        shown.written,
        shown.number,
        shown.sha256.short()
    );
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("{name:<10}{}\n", indented(&value, 10)));
        }
    };
    line("CVEs", n.cves.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    line("fixed by", n.fixed_by.map(|r| format!("{}@{r}", n.product)).unwrap_or_default());
    if let Some(support) = &n.support {
        line("changes", support.service_change.to_string());
        line("system", support.operating_system.clone());
        line("remains", support.maintenance.clone());
        for c in &support.components {
            line("component", format!("{} {}, supported until {}", c.name, c.version, c.support_ends));
        }
        for u in &support.upgrades {
            line("upgrade", format!("{}: {}", u.scope.as_str(), u.text));
        }
    }
    line("what", n.text.clone());
    line("to do", n.actions.clone());
    line("meanwhile", n.compensating.clone());
    for link in &n.links {
        line("see", link.clone());
    }
    for a in &n.attachments {
        line("document", format!("{} ({} bytes, SHA-256 {}): --documents DIR", a.name, a.length, a.sha256));
    }
    line("learned", n.learned.map(|day| day.to_string()).unwrap_or_default());
    line("delivered", StepShown::to_text(&shown.states.delivered));
    line("read", StepShown::to_text(&shown.states.read));
    line("answer", format!("{state}, asked for by {}", format_utc(n.acknowledge_by)));
    if let Some(answer) = &shown.states.acknowledged {
        line("said", answer.text.clone());
    }
    if !deliveries.is_empty() {
        let mut table = Table::new(["contact", "repetition", "tries", "last", "next", "outcome"]);
        for d in deliveries {
            table.row([
                d.contact.clone(),
                d.repetition.to_string(),
                d.tries.to_string(),
                d.tried.clone().unwrap_or_default(),
                d.next.clone().unwrap_or_default(),
                d.outcome.clone(),
            ]);
        }
        text.push_str(&table.to_text());
    }
    if at_hospital && shown.states.is_open() {
        text.push_str(&format!("next: suturectl notice acknowledge {} --text \"what is done about it\"", shown.number));
    }
    text
}
