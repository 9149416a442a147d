//! `report list` and `report show`.

use jiff::Timestamp;
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::id::HdoId;
use suture_core::legible::indented;
use suture_core::limits::MAX_ROWS_PER_CALL;
use suture_core::notice::{Said, Side, Standing, Suspicion};
use suture_proto::{parse, v1};

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::letters::{From, Kept, States, StepShown, fetch, find, root_of};
use crate::print::Table;

/// A report.
#[derive(Debug, Clone, Serialize)]
struct Listed {
    hdo: HdoId,
    number: u64,
    report: Suspicion,
    by: String,
    written: String,
    standing: Standing,
    /// A later report that takes its place, or takes it back.
    later: Option<u64>,
    #[serde(flatten)]
    states: States,
    overdue: bool,
}

/// The reports among one hospital's letters, each with what took its place.
fn reports(kept: &[Kept], now: Timestamp) -> Vec<Listed> {
    let mut found: Vec<Listed> = Vec::new();
    for Kept { letter, standing, states } in kept {
        let Said::Suspicion(report) = &letter.said else { continue };
        // What nobody who may has signed takes no place.
        if let Some(earlier) = report.updates.filter(|_| *standing != Standing::Unlisted) {
            found.iter_mut().filter(|r| r.number == earlier).for_each(|r| r.later = Some(letter.number));
        }
        found.push(Listed {
            hdo: letter.hdo.clone(),
            number: letter.number,
            report: (**report).clone(),
            by: letter.name.to_string(),
            written: format_utc(letter.written_at),
            standing: *standing,
            later: None,
            states: states.clone(),
            overdue: states.is_overdue(now),
        });
    }
    found.reverse();
    found
}

/// The hospitals that one means: the own, the one that is named, or all that have written.
async fn meant(context: &Context<'_>, client: &mut Client, named: Option<HdoId>) -> Outcome<Vec<HdoId>> {
    match (context.home.server()?.hdo().ok(), named) {
        (Some(own), None) => Ok(vec![own]),
        (Some(own), Some(named)) if own == named => Ok(vec![own]),
        (Some(own), Some(_)) => Err(Failure::new(format!("this is {own}'s home, and lists no other's reports"))),
        (None, Some(named)) => Ok(vec![named]),
        (None, None) => writers(client).await,
    }
}

async fn writers(client: &mut Client) -> Outcome<Vec<HdoId>> {
    let (mut found, mut after): (Vec<HdoId>, String) = (Vec::new(), String::new());
    loop {
        let request = v1::ListLetterHeadsRequest {
            from: Side::Hospital.as_str().to_owned(),
            after: after.clone(),
            limit: MAX_ROWS_PER_CALL,
            product: String::new(),
        };
        let v1::ListLetterHeadsResponse { heads, more } = client.list_letter_heads(request).await?;
        let before = after.clone();
        for v1::LetterHead { hdo, number, sha256: _ } in heads {
            if hdo <= after {
                return Err(Failure::untrusted("the server's list of hospitals does not come to an end"));
            }
            after.clone_from(&hdo);
            if number > 0 {
                found.push(parse("hdo", &hdo)?);
            }
        }
        if !more || after == before {
            return Ok(found);
        }
    }
}

/// One hospital's letters; at the manufacturer they count as delivered from then on.
async fn letters(context: &mut Context<'_>, client: &mut Client, hdo: &HdoId) -> Outcome<Vec<Kept>> {
    let root = root_of(context, client, (hdo, Side::Hospital)).await?;
    let kept = fetch(context, client, (hdo, Side::Hospital), &root, From::First).await?;
    let verified = kept.iter().rev().find(|kept| kept.standing != Standing::Unlisted);
    let through = verified.map_or(0, |kept| kept.letter.number);
    let news = kept.iter().any(|k| k.letter.number <= through && k.states.delivered.is_none());
    if news && context.home.server()?.hdo().is_err() {
        let request = v1::MarkLettersRequest { hdo: hdo.to_string(), delivered_through: through, read: 0 };
        client.mark_letters(request).await?;
    }
    Ok(kept)
}

/// `report list`.
pub(super) async fn run(context: &mut Context<'_>, named: Option<HdoId>) -> Outcome {
    let mut client = context.connect().await?;
    let now = context.now();
    let mut rows = Vec::new();
    for hdo in meant(context, &mut client, named).await? {
        rows.extend(reports(&letters(context, &mut client, &hdo).await?, now));
    }
    rows.sort_by(|a, b| b.written.cmp(&a.written).then_with(|| a.hdo.cmp(&b.hdo)).then(b.number.cmp(&a.number)));
    context.print.result(&rows, |rows| table(rows, now))
}

fn table(rows: &[Listed], now: Timestamp) -> String {
    if rows.is_empty() {
        return "there are no reports".to_owned();
    }
    let mut table = Table::new(["hospital", "no", "kind", "product", "severity", "written", "read", "state", "what"]);
    for row in rows {
        let r = &row.report;
        let state = match row.later {
            Some(later) => format!("replaced by {later}"),
            None if r.withdrawn => "taken back".to_owned(),
            None => row.states.to_text(now),
        };
        let unlisted = if row.standing == Standing::Unlisted { "UNVERIFIED KEY " } else { "" };
        table.row([
            row.hdo.to_string(),
            row.number.to_string(),
            r.kind.to_string(),
            r.product.to_string(),
            r.severity.to_string(),
            row.written.clone(),
            StepShown::to_text(&row.states.read),
            state,
            format!("{unlisted}{}", r.text),
        ]);
    }
    table.to_text()
}

/// `report show`.
pub(super) async fn show(context: &mut Context<'_>, number: u64, named: Option<HdoId>) -> Outcome {
    let mut client = context.connect().await?;
    let manufacturer = context.home.server()?.hdo().is_err();
    let hdo = match meant(context, &mut client, named).await?.as_slice() {
        [one] => one.clone(),
        _ => return Err(Failure::new("several hospitals have written").next("say which by --hdo")),
    };
    let now = context.now();
    let kept = letters(context, &mut client, &hdo).await?;
    let rows = reports(&kept, now);
    find(kept, number, Side::Hospital)?;
    let Some(row) = rows.into_iter().find(|row| row.number == number) else {
        return Err(Failure::new(format!("letter {number} is no report but an answer: `suturectl notice list`")));
    };
    if manufacturer {
        let request = v1::MarkLettersRequest { hdo: hdo.to_string(), delivered_through: 0, read: number };
        client.mark_letters(request).await?;
    }
    context.print.result(&row, |row| text(row, now, manufacturer))
}

fn text(row: &Listed, now: Timestamp, manufacturer: bool) -> String {
    let r = &row.report;
    let devices: Vec<&str> = r.devices.iter().map(|d| d.as_str()).collect();
    let release = r.release.map(|release| format!(", release {release}")).unwrap_or_default();
    let mut text = format!(
        "{} {} of {}, {}\nproduct   {}{release}\nseverity  {}\ndevices   {}\nfrom      {}\nwhat      {}\n",
        r.kind,
        row.number,
        row.hdo,
        row.written,
        r.product,
        r.severity,
        devices.join(", "),
        row.by,
        indented(&r.text, 10)
    );
    for indicator in &r.indicators {
        text.push_str(&format!("look for  {} {}\n", indicator.kind, indicator.value));
    }
    match (r.updates, r.withdrawn, row.later) {
        (_, _, Some(later)) => text.push_str(&format!("replaced by report {later}\n")),
        (Some(earlier), true, None) => text.push_str(&format!("takes report {earlier} back\n")),
        (Some(earlier), false, None) => text.push_str(&format!("takes the place of report {earlier}\n")),
        (None, ..) => {}
    }
    text.push_str(&format!("answer    {}\n", row.states.to_text(now)));
    if let Some(answer) = &row.states.acknowledged {
        text.push_str(&format!("said      {}\n", indented(&answer.text, 10)));
    }
    if manufacturer && row.states.is_open() {
        text.push_str(&format!(
            "next: suturectl report acknowledge {} --hdo {} --text \"what is done about it\"",
            row.number, row.hdo
        ));
    }
    text
}
