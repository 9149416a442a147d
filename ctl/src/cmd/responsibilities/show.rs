//! `responsibilities show|history`.

use jiff::civil::Date;
use serde::Serialize;
use suture_core::clock::{day_of, format_utc};
use suture_core::id::{HdoId, ProductId};
use suture_core::life::Stage;
use suture_core::notice::Side;
use suture_core::responsibility::{Agreement, Consent, Source, Table as Responsibilities, in_force, table};

use super::{Pair, Roots, agreements};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::letters::root_of;
use crate::print::Table;
use crate::repository;
use crate::trust_store::{TrustStore, Which};
use crate::words::signed_cell;

/// The table as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    product: ProductId,
    hdo: HdoId,
    day: String,
    /// The stage that the product is in on that day; null where the manufacturer has said nothing.
    stage: Option<Stage>,
    /// The agreement that holds; null: all is as usual.
    agreement: Option<u64>,
    table: Responsibilities,
}

#[derive(Debug, Serialize)]
struct Told {
    agreement: Agreement,
    consent: Option<Consent>,
    /// `in force`, `agreed`, `proposed` or `replaced`.
    state: &'static str,
    #[serde(skip)]
    manufacturer: String,
    #[serde(skip)]
    hospital: String,
}

/// The hospital that is meant: the caller's own, or for a manufacturer the one that is named.
fn side(context: &Context<'_>, named: Option<HdoId>) -> Outcome<HdoId> {
    let own = context.home.server()?.hdo();
    match (own, named) {
        (Ok(own), None) => Ok(own),
        (Ok(own), Some(named)) if own == named => Ok(own),
        (Ok(own), Some(named)) => Err(Failure::new(format!("this home is of {own}, not of {named}"))),
        (Err(_), Some(named)) => Ok(named),
        (Err(_), None) => Err(Failure::new("with which hospital?").next("--hdo ID")),
    }
}

async fn read(
    context: &mut Context<'_>,
    product: &ProductId,
    hdo: Option<HdoId>,
) -> Outcome<(HdoId, Roots, Vec<Pair>, Option<suture_core::life::Life>)> {
    let hdo = side(context, hdo)?;
    let mut client = context.connect().await?;
    let manufacturer = repository::base(context, &mut client, Which::Catalog).await?.root().clone();
    let pairs = agreements(context, &mut client, &hdo, product).await?;
    let is_signed = |pair: &Pair| pair.consent.as_ref().is_some_and(|consent| consent.word.key.is_some());
    let hospital = match context.home.server()?.hdo() {
        Ok(_) if TrustStore::of(&context.home, Which::Approvals).is_pinned()? => {
            Some(repository::base(context, &mut client, Which::Approvals).await?.root().clone())
        }
        Err(_) if pairs.iter().any(is_signed) => Some(root_of(context, &mut client, (&hdo, Side::Hospital)).await?),
        _ => None,
    };
    let life = crate::life::refreshed(context, &mut client, product).await?;
    Ok((hdo, Roots { manufacturer, hospital }, pairs, life))
}

/// `responsibilities show`.
pub(super) async fn show(
    context: &mut Context<'_>,
    product: &ProductId,
    hdo: Option<HdoId>,
    as_of: Option<Date>,
) -> Outcome {
    let (hdo, roots, pairs, life) = read(context, product, hdo).await?;
    let day = as_of.unwrap_or_else(|| day_of(context.now()));
    let agreed = pairs.iter().filter(|pair| pair.is_agreed(&roots)).map(|pair| &*pair.agreement.word);
    let holds = in_force(agreed, day);
    let shown = Shown {
        product: product.clone(),
        hdo,
        day: day.to_string(),
        stage: life.map(|life| life.standing(None, day).stage),
        agreement: holds.map(|a| a.number),
        table: table(holds),
    };
    if let Some(open) = pairs.last().filter(|pair| pair.consent.is_none()) {
        context.print.note(&format!(
            "note: agreement {} on {product} is proposed and not signed by the hospital yet",
            open.agreement.word.number
        ));
    }
    context.print.result(&shown, text)
}

fn text(shown: &Shown) -> String {
    let mark = |stage: Stage| {
        let now = if shown.stage == Some(stage) { " (now)" } else { "" };
        format!("{stage}{now}")
    };
    let [development, support, limited, ended] = Stage::ALL.map(mark);
    let mut rows = Table::new(["task", &development, &support, &limited, &ended]);
    let mut notes = String::new();
    for (task, row) in &shown.table {
        let cells = Stage::ALL.map(|stage| {
            let Some(cell) = row.get(&stage) else { return String::new() };
            let agreed = match cell.source {
                Source::Usual => "",
                Source::Agreement(_) => " *",
            };
            if !cell.note.is_empty() {
                notes.push_str(&format!("{task}, {stage}: {}\n", cell.note));
            }
            format!("{}{agreed}", cell.holder)
        });
        let [development, support, limited, ended] = cells;
        rows.row([task.to_string(), development, support, limited, ended]);
    }
    let source = match shown.agreement {
        Some(number) => format!("* by agreement {number}, signed by both sides; all else as is usual"),
        None => "all as is usual (IMDRF N60 and N70, Health-ISAC); nothing else is agreed".to_owned(),
    };
    let (product, hdo, day) = (&shown.product, &shown.hdo, &shown.day);
    format!("{product} at {hdo} on {day}; shared-X: both, and X leads\n{}{source}\n{notes}", rows.to_text())
}

/// `responsibilities history`.
pub(super) async fn history(context: &mut Context<'_>, product: &ProductId, hdo: Option<HdoId>) -> Outcome {
    let (_, roots, pairs, _) = read(context, product, hdo).await?;
    let today = day_of(context.now());
    let told = told(&pairs, &roots, today);
    context.print.result(&told, |told| history_text(told))
}

fn told(pairs: &[Pair], roots: &Roots, today: Date) -> Vec<Told> {
    let agreed = pairs.iter().filter(|pair| pair.is_agreed(roots)).map(|pair| &*pair.agreement.word);
    let holds = in_force(agreed, today).map(|a| a.number);
    let newest = pairs.last().map(|pair| pair.agreement.word.number);
    let of = |pair: &Pair| {
        let number = pair.agreement.word.number;
        let state = match (&pair.consent, pair.is_agreed(roots)) {
            (_, true) if holds == Some(number) => "in force",
            (_, true) => "agreed",
            (None, _) if newest == Some(number) => "proposed",
            (None, _) => "replaced",
            (Some(_), false) => "by unknown keys",
        };
        Told {
            state,
            manufacturer: signed_cell(&pair.agreement.word, Some(&roots.manufacturer)),
            hospital: pair
                .consent
                .as_ref()
                .map_or_else(String::new, |consent| signed_cell(&consent.word, roots.hospital.as_deref())),
            agreement: (*pair.agreement.word).clone(),
            consent: pair.consent.as_ref().map(|consent| (*consent.word).clone()),
        }
    };
    pairs.iter().map(of).collect()
}

fn history_text(told: &[Told]) -> String {
    let mut table = Table::new(["no", "state", "from", "until", "cells", "why", "proposed", "key", "signed", "key"]);
    for row in told {
        let a = &row.agreement;
        let consent = row.consent.as_ref();
        let cells: Vec<String> = a.cells.iter().map(|c| format!("{}@{}={}", c.task, c.stage, c.holder)).collect();
        table.row([
            a.number.to_string(),
            row.state.to_owned(),
            a.from.to_string(),
            a.until.map_or_else(String::new, |day| day.to_string()),
            cells.join(" "),
            a.reason.clone(),
            format!("{} at {}", a.name, format_utc(a.proposed_at)),
            row.manufacturer.clone(),
            consent.map_or_else(String::new, |c| format!("{} at {}", c.name, format_utc(c.consented_at))),
            row.hospital.clone(),
        ]);
    }
    table.to_text()
}
