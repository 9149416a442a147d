//! `life show|history|export`.

use jiff::civil::Date;
use serde::Serialize;
use suture_core::clock::{day_of, format_utc};
use suture_core::id::ProductId;
use suture_core::life::openeox::Core;
use suture_core::life::{Change, Dates, Life, Standing};
use suture_core::version::Release;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::print::Table;

/// What is said of a product on a day.
#[derive(Debug, Serialize)]
struct Shown {
    product: ProductId,
    day: String,
    scopes: Vec<Scope>,
    changes: usize,
}

#[derive(Debug, Serialize)]
struct Scope {
    /// `product`, a range of releases, or the one that was asked for.
    of: String,
    #[serde(flatten)]
    standing: Standing,
}

async fn read(context: &mut Context<'_>, product: &ProductId) -> Outcome<Life> {
    let mut client = context.connect().await?;
    let life = crate::life::refreshed(context, &mut client, product).await?;
    life.ok_or_else(|| {
        Failure::new(format!("the manufacturer has said nothing of the life of {product}"))
            .next("the manufacturer says it with `suturectl life set`")
    })
}

/// `life show`.
pub(super) async fn run(
    context: &mut Context<'_>,
    product: &ProductId,
    release: Option<Release>,
    as_of: Option<Date>,
) -> Outcome {
    let life = read(context, product).await?;
    let today = day_of(context.now());
    let day = as_of.unwrap_or(today);
    // Of the past, what was known then; of the future, what is known now.
    let life = if day < today {
        life.as_of(day)
            .ok_or_else(|| Failure::new(format!("on {day} the manufacturer had said nothing of {product} yet")))?
    } else {
        life
    };
    context.print.result(&shown(&life, release, day), |_| text(&life, release, day))
}

fn shown(life: &Life, release: Option<Release>, day: Date) -> Shown {
    let scope = |of: String, release| Scope { of, standing: life.standing(release, day) };
    let scopes = match release {
        Some(release) => vec![scope(format!("release {release}"), Some(release))],
        None => {
            let ranges = life.ranges().into_iter().map(|r| scope(format!("releases {r}"), Some(r.first())));
            std::iter::once(scope("product".to_owned(), None)).chain(ranges).collect()
        }
    };
    Shown { product: life.product.clone(), day: day.to_string(), scopes, changes: life.changes().len() }
}

/// The same for people.
pub(crate) fn text(life: &Life, release: Option<Release>, day: Date) -> String {
    let Shown { product, scopes, changes, .. } = shown(life, release, day);
    let date = |date: Option<Date>| date.map_or_else(|| "not announced".to_owned(), |date| date.to_string());
    let mut table =
        Table::new(["of", "stage", "general availability", "end of sales", "end of life", "end of support"]);
    let mut notes = String::new();
    for Scope { of, standing } in &scopes {
        let Dates { general_availability, end_of_sales, end_of_life, end_of_support } = standing.dates;
        table.row([
            of.clone(),
            standing.stage.to_string(),
            date(general_availability),
            date(end_of_sales),
            date(end_of_life),
            date(end_of_support),
        ]);
        for line in uncovered(standing) {
            notes.push_str(&format!("{of}: {line}\n"));
        }
    }
    format!("{product} on {day}, by {changes} changes (`suturectl life history {product}`)\n{}{notes}", table.to_text())
}

/// What is no longer covered, a line each.
pub(crate) fn uncovered(standing: &Standing) -> Vec<String> {
    let said = standing.not_covered.iter().map(|text| format!("no longer covered: {text}"));
    let components =
        standing.ended_components.iter().map(|c| format!("no support for {} since {}", c.component, c.end_of_support));
    said.chain(components).collect()
}

/// `life history`.
pub(super) async fn history(context: &mut Context<'_>, product: &ProductId) -> Outcome {
    let life = read(context, product).await?;
    context.print.result(&life.changes(), |changes| told(changes))
}

fn told(changes: &[Change]) -> String {
    let date = |date: Option<Date>| date.map_or_else(|| "-".to_owned(), |date| date.to_string());
    let mut table = Table::new(["at", "by", "of", "available", "sales", "life", "support", "why"]);
    for change in changes {
        let Dates { general_availability, end_of_sales, end_of_life, end_of_support } = change.dates;
        let reason = |what: &str, text: &Option<String>| {
            text.as_ref().map_or_else(String::new, |text| format!("; {what}: {text}"))
        };
        let why =
            [change.why.clone(), reason("short notice", &change.short_notice), reason("earlier", &change.earlier)];
        table.row([
            format_utc(change.at),
            change.by.to_string(),
            change.releases.map_or_else(|| "product".to_owned(), |range| format!("releases {range}")),
            date(general_availability),
            date(end_of_sales),
            date(end_of_life),
            date(end_of_support),
            why.concat(),
        ]);
    }
    table.to_text()
}

/// `life export`. OpenEoX is JSON whatever `--output` says.
pub(super) async fn export(context: &mut Context<'_>, product: &ProductId, release: Option<Release>) -> Outcome {
    let life = read(context, product).await?;
    let core = Core::of(&life, release);
    let pretty = serde_json::to_string_pretty(&core);
    let pretty = pretty.map_err(|e| Failure::new("the export cannot be written").because(&e))?;
    context.print.result(&core, |_| pretty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::clock::parse_day;
    use suture_core::life::ComponentEnd;

    fn life() -> Life {
        let day = |text| parse_day(text);
        let change = Change {
            at: "2026-02-01T00:00:00Z".parse().unwrap(),
            by: "ada".parse().unwrap(),
            why: "as sold".to_owned(),
            releases: None,
            dates: Dates {
                general_availability: day("2026-01-01"),
                end_of_sales: None,
                end_of_life: day("2031-01-01"),
                end_of_support: day("2033-01-01"),
            },
            short_notice: None,
            earlier: None,
            components: vec![ComponentEnd {
                component: "openssl".to_owned(),
                end_of_support: day("2027-05-01").unwrap(),
            }],
            not_covered: vec!["the Bluetooth stack".to_owned()],
        };
        let range = Change {
            at: "2026-03-01T00:00:00Z".parse().unwrap(),
            releases: Some("1..3".parse().unwrap()),
            dates: Dates { end_of_support: day("2029-01-01"), ..Dates::default() },
            earlier: Some("the old board".to_owned()),
            ..change.clone()
        };
        Life::begin("pump".parse().unwrap(), change).unwrap().then(range).unwrap()
    }

    #[test]
    fn each_scope_is_shown_with_its_stage_and_what_is_not_covered() {
        let life = life();
        let text = text(&life, None, parse_day("2029-06-01").unwrap());
        assert!(text.contains("product        support"), "{text}");
        assert!(text.contains("releases 1..3  end-of-support"), "{text}");
        assert!(text.contains("releases 1..3: no longer covered: the Bluetooth stack"), "{text}");
        assert!(text.contains("product: no support for openssl since 2027-05-01"), "{text}");
        let one = shown(&life, Some(Release(9)), parse_day("2031-01-01").unwrap());
        assert_eq!((one.scopes.len(), one.scopes[0].standing.stage.as_str()), (1, "limited-support"));
        let history = told(life.changes());
        assert!(history.contains("as sold; earlier: the old board"), "{history}");
    }
}
