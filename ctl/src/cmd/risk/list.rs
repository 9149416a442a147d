//! `risk list|show|overdue`.

use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::legible::indented;
use suture_core::risk::Assessment;
use suture_core::trust::Root;

use super::{newest, register, today};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::Desk;
use crate::print::{Table, count};
use crate::sheet;
use crate::words::{Heard, signed_cell};

/// An assessment as it is listed.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    #[serde(flatten)]
    pub(crate) assessment: Assessment,
    /// Whether a key that the hospital's root lists has signed it.
    pub(crate) signed: bool,
    /// A later one on the same group.
    pub(crate) replaced: bool,
    /// By how many days it is overdue; none or below 1 where it is not.
    pub(crate) overdue_days: i64,
    #[serde(skip)]
    by_key: String,
    recorded_by: String,
    recorded_at: Option<String>,
}

impl Listed {
    fn of(heard: &Heard<Assessment>, newest: &[&Heard<Assessment>], root: &Root, today: Date) -> Self {
        let is_newest = newest.iter().any(|other| other.word.number == heard.word.number);
        Self {
            signed: heard.word.is_listed(root),
            replaced: !is_newest,
            overdue_days: late(&heard.word, today),
            by_key: signed_cell(&heard.word, Some(root)),
            recorded_by: heard.by.clone(),
            recorded_at: heard.at.clone(),
            assessment: (*heard.word).clone(),
        }
    }

    fn is_overdue(&self) -> bool {
        !self.replaced && self.overdue_days > 0
    }
}

/// By how many days an assessment is overdue; none or below 1 where it is not.
fn late(assessment: &Assessment, today: Date) -> i64 {
    assessment.expires.until(today).map_or(0, |span| span.get_days().into())
}

async fn read(context: &mut Context<'_>) -> Outcome<Vec<Listed>> {
    let mut desk = Desk::open_base(context).await?;
    let register = register(context, &mut desk.client, &desk.hdo).await?;
    let (newest, today) = (newest(&register), today(context));
    Ok(register.iter().map(|heard| Listed::of(heard, &newest, desk.approvals.root(), today)).collect())
}

/// Says of each overdue assessment of a hospital's what to do, where its register is read for something else.
pub(crate) fn remind(context: &mut Context<'_>, register: &[Heard<Assessment>]) {
    let today = today(context);
    let overdue = |heard: &&Heard<Assessment>| heard.word.expires < today;
    let texts: Vec<String> =
        newest(register).into_iter().filter(overdue).map(|h| overdue_text(&h.word, today)).collect();
    for text in texts {
        context.print.note(&text);
    }
}

/// Says of each overdue one what to do.
fn warn(context: &mut Context<'_>, rows: &[Listed]) {
    for row in rows.iter().filter(|row| row.is_overdue()) {
        let today = today(context);
        context.print.note(&overdue_text(&row.assessment, today));
    }
}

fn overdue_text(assessment: &Assessment, today: Date) -> String {
    let Assessment { number, group, expires, treatment, .. } = assessment;
    let days = count(late(assessment, today), "day");
    format!(
        "overdue: {treatment} of the risk of {group} held until {expires}, {days} ago (assessment {number}); assess it \
         again: suturectl risk assess"
    )
}

/// `risk list`.
pub(super) async fn list(context: &mut Context<'_>, all: bool, csv: bool) -> Outcome {
    let rows: Vec<Listed> = read(context).await?.into_iter().filter(|row| all || !row.replaced).collect();
    print(context, &rows, csv)
}

/// `risk overdue`.
pub(super) async fn overdue(context: &mut Context<'_>, within: i64, csv: bool) -> Outcome {
    let last = today(context).checked_add(within.days()).unwrap_or(Date::MAX);
    let rows = read(context).await?;
    let due = |row: &Listed| !row.replaced && (row.is_overdue() || (within > 0 && row.assessment.expires <= last));
    let rows: Vec<Listed> = rows.into_iter().filter(due).collect();
    print(context, &rows, csv)
}

fn print(context: &mut Context<'_>, rows: &[Listed], csv: bool) -> Outcome {
    warn(context, rows);
    if csv { context.print.lines(&lines(rows)) } else { context.print.result(&rows, |rows| table(rows)) }
}

/// `risk show`.
pub(super) async fn show(context: &mut Context<'_>, number: u64) -> Outcome {
    let row = read(context).await?.into_iter().find(|row| row.assessment.number == number);
    let row = row.ok_or_else(|| {
        Failure::new(format!("there is no assessment {number}")).next("`suturectl risk list --all` names them")
    })?;
    context.print.result(&row, text)
}

fn state(row: &Listed) -> String {
    match row {
        Listed { replaced: true, .. } => "replaced".to_owned(),
        row if row.is_overdue() => format!("OVERDUE by {}", count(row.overdue_days, "day")),
        _ => "holds".to_owned(),
    }
}

fn table(rows: &[Listed]) -> String {
    let mut table = Table::new(["no", "group", "hazard", "grades", "treatment", "until", "state", "by", "signed"]);
    for row in rows {
        let a = &row.assessment;
        table.row([
            a.number.to_string(),
            a.group.to_string(),
            a.hazard.clone(),
            format!("{}, {}, {}", a.likelihood, a.severity, a.exploitability),
            a.treatment.to_string(),
            a.expires.to_string(),
            state(row),
            a.name.to_string(),
            row.by_key.clone(),
        ]);
    }
    table.to_text()
}

/// The same for a spreadsheet, whole.
fn lines(rows: &[Listed]) -> Vec<String> {
    let headings = "number,group,hazard,likelihood,severity,exploitability,treatment,reason,compensating,reviewer,expires,\
                    replaced,overdue_days,by,signed,assessed_at";
    let mut lines = vec![headings.to_owned()];
    for row in rows {
        let a = &row.assessment;
        lines.push(sheet::row(&[
            &a.number.to_string(),
            &a.group.to_string(),
            &a.hazard,
            a.likelihood.as_str(),
            a.severity.as_str(),
            a.exploitability.as_str(),
            a.treatment.as_str(),
            &a.reason,
            &a.compensating.join("; "),
            &a.reviewer,
            &a.expires.to_string(),
            &row.replaced.to_string(),
            &if row.is_overdue() { row.overdue_days } else { 0 }.to_string(),
            a.name.as_str(),
            &row.signed.to_string(),
            &format_utc(a.assessed_at),
        ]));
    }
    lines
}

fn text(row: &Listed) -> String {
    let a = &row.assessment;
    let rows = [
        ("group", a.group.to_string()),
        ("hazard", a.hazard.clone()),
        ("likelihood", a.likelihood.to_string()),
        ("severity", a.severity.to_string()),
        ("exploitability", a.exploitability.to_string()),
        ("treatment", format!("{}: {}", a.treatment, a.reason)),
        ("compensating", a.compensating.join("; ")),
        ("reviewer", a.reviewer.clone()),
        ("holds until", format!("{} ({})", a.expires, state(row))),
        ("said by", format!("{} at {}", a.name, format_utc(a.assessed_at))),
        ("signed", row.by_key.clone()),
        (
            "recorded",
            format!("by {} at {} (as the server says)", row.recorded_by, row.recorded_at.as_deref().unwrap_or("?")),
        ),
    ];
    let mut text = format!("assessment {}\n", a.number);
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("  {name:<14} {}\n", indented(&value, 17)));
    }
    text
}
