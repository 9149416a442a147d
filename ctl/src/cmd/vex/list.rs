//! `vex list`: the statements that the verified catalog lists.

use serde::Serialize;
use suture_core::digest::Digest;
use suture_core::exposure::VexEntry;
use suture_core::id::ProductId;

use crate::context::Context;
use crate::exposure::Listed;
use crate::failure::Outcome;
use crate::print::{Table, bytes};

#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    entry: VexEntry,
    sha256: Digest,
    length: u64,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, product: Option<&ProductId>) -> Outcome {
    let mut client = context.connect().await?;
    let listed = Listed::read(context, &mut client).await?;
    let of = |entry: &VexEntry| product.is_none_or(|product| *product == entry.product);
    let mut rows: Vec<Row> = listed
        .vex()
        .filter(|(_, entry, _)| of(entry))
        .map(|(_, entry, target)| Row { entry, sha256: target.sha256, length: target.length })
        .collect();
    rows.sort_by(|a, b| (&a.entry.product, b.entry.number).cmp(&(&b.entry.product, a.entry.number)));
    context.print.result(&rows, |rows| {
        let mut table =
            Table::new(["product", "number", "document", "format", "after release", "status", "length", "sha256"]);
        for Row { entry, sha256, length } in rows {
            let status = entry.status.as_str();
            table.row([
                entry.product.to_string(),
                entry.number.to_string(),
                entry.id.to_string(),
                entry.format.clone(),
                entry.after.to_string(),
                entry.reason.as_ref().map_or_else(|| status.to_owned(), |why| format!("{status}: {why}")),
                bytes(*length),
                sha256.short(),
            ]);
        }
        table.to_text()
    })
}
