//! The answer for people.

use std::collections::BTreeMap;

use super::answer::{Answer, Row, Statement};
use crate::print::{Table, count, counted};

/// Devices that are listed; of those behind them only the number is told.
const SHOWN_DEVICES: usize = 50;

pub(super) fn text(answer: &Answer) -> String {
    let mut out = String::new();
    let exposed = answer.bundles.iter().filter(|row| row.exposed).count();
    let fixes: Vec<String> = answer.bundles.iter().filter(|row| row.fix).map(name).collect();
    let component = answer.question.component.as_ref().and_then(|c| c.package.as_ref().or(c.name.as_ref()));
    let asked = answer.question.vulnerability.as_ref().or(component).map_or("", String::as_str);
    let by = if answer.checked {
        "by the documents that the signed catalog pins"
    } else {
        "by the server's word; without --quick the documents are read"
    };
    out.push_str(&format!("{asked}: {} exposed, {by}\n", counted(exposed, "bundle", "is", "are")));
    let shown = |row: &&Row| row.exposed || row.verdict == "unknown" || devices_of(row) > 0;
    let mut table = Table::new(["bundle", "version", "verdict", "components", "said in", "devices", "signed", "why"]);
    for row in answer.bundles.iter().filter(shown) {
        let more = if row.more_components > 0 { format!(" and {} more", row.more_components) } else { String::new() };
        table.row([
            name(row),
            row.version.clone(),
            row.verdict.clone(),
            format!("{}{more}", row.components.join(" ")),
            row.by.as_ref().map(place).unwrap_or_default(),
            devices_of(row).to_string(),
            row.proven_devices.to_string(),
            whys(&row.whys),
        ]);
    }
    out.push_str(&table.to_text());
    for row in &answer.bundles {
        about(row, &mut out);
    }
    match (fixes.is_empty(), exposed) {
        (_, 0) => {}
        (true, _) => out.push_str("no bundle is known to end it\n"),
        (false, _) => out.push_str(&format!("ended by {}\n", fixes.join(", "))),
    }
    for r in &answer.rollouts {
        out.push_str(&format!(
            "rollout {} brings {} {}: {}, wave {} of {}, {} of {} confirmed, {} failed; ends {}\n",
            r.id, r.bundle, r.version, r.state, r.wave, r.waves, r.confirmed, r.devices, r.failed, r.expires
        ));
    }
    devices(answer, &mut out);
    hospitals(answer, &mut out);
    for (product, n) in &answer.unknown_devices {
        out.push_str(&format!("{} of {product}: what runs there is not known\n", count(n, "device")));
    }
    if answer.unlisted_devices > 0 {
        out.push_str(&format!(
            "{} what the catalog does not list\n",
            counted(answer.unlisted_devices, "device", "runs", "run")
        ));
    }
    if answer.pending > 0 {
        out.push_str(&format!("the server has not read the documents of {} yet\n", count(answer.pending, "bundle")));
    }
    for differs in &answer.differs {
        out.push_str(&format!("THE SERVER SAYS OTHERWISE: {differs}\n"));
    }
    out
}

fn devices_of(row: &Row) -> u64 {
    row.proven_devices.saturating_add(row.believed_devices)
}

fn name(row: &Row) -> String {
    format!("{}@{}", row.product, row.release)
}

fn place(statement: &Statement) -> String {
    if statement.path.starts_with("vex/") { statement.path.clone() } else { format!("its {}", statement.document) }
}

fn whys(whys: &BTreeMap<String, u64>) -> String {
    whys.iter().map(|(why, n)| format!("{n} {}", why.replace('_', " "))).collect::<Vec<_>>().join(", ")
}

/// What is said of a bundle in words.
fn about(row: &Row, out: &mut String) {
    let name = name(row);
    if let Some(by) = row.by.as_ref().filter(|_| row.exposed || row.fix) {
        for (what, text) in [("because", &by.justification), ("impact", &by.impact), ("action", &by.action)] {
            if let Some(text) = text {
                out.push_str(&format!("{name}: {what}: {}\n", text.replace('\n', " ")));
            }
        }
    }
    for other in &row.overruled {
        let (place, verdict) = (place(other), &row.verdict);
        out.push_str(&format!("{name}: CONFLICT: {place} says {}, and {verdict} counts\n", other.status));
    }
    if let Some(problem) = &row.problem {
        out.push_str(&format!("{name}: its documents cannot be read in full: {problem}\n"));
    }
    if row.past_end_of_support {
        out.push_str(&format!("{name}: past its end of support (`suturectl life show {}`)\n", row.product));
    }
}

fn devices(answer: &Answer, out: &mut String) {
    if answer.devices.is_empty() {
        return;
    }
    let mut table = Table::new(["device", "ward", "runs", "by", "why", "rollout", "last seen"]);
    for d in answer.devices.iter().take(SHOWN_DEVICES) {
        table.row([
            d.id.clone(),
            d.ward.clone(),
            format!("{}@{}", d.product, d.release),
            if d.proven { "signed" } else { "said" }.to_owned(),
            d.reason.clone(),
            d.rollout.clone().unwrap_or_default(),
            d.last_seen.clone().unwrap_or_else(|| "never".to_owned()),
        ]);
    }
    out.push('\n');
    out.push_str(&table.to_text());
    if let Some(more) = answer.devices.len().checked_sub(SHOWN_DEVICES).filter(|n| *n > 0) {
        out.push_str(&format!("and {more} more: --csv, or --output json\n"));
    }
}

fn hospitals(answer: &Answer, out: &mut String) {
    if answer.hospitals.is_empty() {
        return;
    }
    let mut table = Table::new(["hospital", "runs", "version", "verdict", "devices", "signed", "why"]);
    for h in &answer.hospitals {
        table.row([
            format!("{} ({})", h.hdo, h.name),
            format!("{}@{}", h.product, h.release),
            h.version.clone(),
            h.verdict.clone(),
            h.proven_devices.saturating_add(h.believed_devices).to_string(),
            h.proven_devices.to_string(),
            whys(&h.whys),
        ]);
    }
    out.push('\n');
    out.push_str(&table.to_text());
}
