//! `life list`: a hospital's devices by the stage of what they run.

use std::collections::BTreeMap;

use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::Serialize;
use suture_core::clock::day_of;
use suture_core::id::{ProductId, WardId};
use suture_core::life::{Life, Stage, Standing};
use suture_core::version::Release;
use suture_proto::v1;

use super::show::uncovered;
use crate::client::Client;
use crate::cmd::risk;
use crate::context::Context;
use crate::failure::Outcome;
use crate::hospital::{Desk, Documents, inventory};
use crate::print::Table;
use crate::sheet;
use crate::trust_store::{Catalog, TrustStore, Which};

/// Arguments of `life list`.
#[derive(Debug, Clone, clap::Args)]
pub struct ListArgs {
    /// Those whose support is over
    #[arg(long)]
    past_eos: bool,
    /// Those whose support is over or ends within so many days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(0..=36_500), conflicts_with = "past_eos")]
    within: Option<i64>,
    /// Of this ward
    #[arg(long)]
    ward: Option<WardId>,
    /// Of this product
    #[arg(long)]
    product: Option<ProductId>,
    /// As CSV, one row for each device
    #[arg(long)]
    csv: bool,
}

/// The stage of what one device runs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DeviceLife {
    pub(crate) device: String,
    pub(crate) ward: String,
    pub(crate) product: String,
    /// What runs; null where it is not known, and then the product's own dates are taken.
    pub(crate) release: Option<u64>,
    /// Whether that is by the device's own signature.
    pub(crate) proven: bool,
    /// Null where the manufacturer has said nothing.
    #[serde(flatten)]
    pub(crate) standing: Option<Standing>,
    /// Days until its support ends; none or less than one: it is over.
    pub(crate) days_left: Option<i64>,
}

/// The lives of these products, by their names; those of which nothing is said are left out.
pub(crate) async fn lives(
    context: &mut Context<'_>,
    client: &mut Client,
    catalog: &Catalog,
    products: impl IntoIterator<Item = ProductId>,
) -> Outcome<BTreeMap<ProductId, Life>> {
    let mut lives = BTreeMap::new();
    for product in products {
        if let Some(life) = crate::life::of(context, client, catalog, &product).await? {
            lives.insert(product, life);
        }
    }
    Ok(lives)
}

/// Where a device stands on a day.
pub(crate) fn device_life(
    device: &v1::Device,
    documents: &Documents,
    lives: &BTreeMap<ProductId, Life>,
    today: Date,
) -> DeviceLife {
    let record = device.record.clone().unwrap_or_default();
    let known = inventory::known(device, documents);
    let release = known.as_ref().and_then(|k| k.running.as_ref()).map(|r| r.release);
    let life = record.product.parse().ok().and_then(|product: ProductId| lives.get(&product));
    let standing = life.map(|life| life.standing(release, today));
    let ends = standing.as_ref().and_then(|s| s.dates.end_of_support);
    DeviceLife {
        device: record.id,
        ward: record.ward,
        product: record.product,
        release: release.map(|Release(n)| n),
        proven: known.is_some_and(|k| k.proven),
        days_left: ends.and_then(|end| today.until(end).ok()).map(|span| span.get_days().into()),
        standing,
    }
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: ListArgs) -> Outcome {
    let mut desk = Desk::open_base(context).await?;
    let catalog =
        TrustStore::of(&context.home, Which::Catalog).refresh_catalog(&mut desk.client, context.now()).await?;
    let text = |id: Option<String>| id.unwrap_or_default();
    let (ward, product) = (text(args.ward.clone().map(String::from)), text(args.product.clone().map(String::from)));
    let devices = inventory::devices(&mut desk.client, &ward, &product, "").await?;
    let devices: Vec<_> = devices.into_iter().filter(|d| is_in_use(&d.state)).collect();
    let products: std::collections::BTreeSet<ProductId> =
        devices.iter().filter_map(|d| d.record.as_ref()?.product.parse().ok()).collect();
    let lives = lives(context, &mut desk.client, &catalog, products).await?;
    let register = risk::register(context, &mut desk.client, &desk.hdo).await?;
    risk::remind(context, &register);
    let today = day_of(context.now());
    let rows: Vec<DeviceLife> = devices
        .iter()
        .map(|device| device_life(device, &desk.documents, &lives, today))
        .filter(|row| args.asks_for(row, today))
        .collect();
    if args.csv {
        return context.print.lines(&lines(&rows));
    }
    context.print.result(&rows, |rows| table(rows))
}

/// Whether a device of that state may be on a ward.
fn is_in_use(state: &str) -> bool {
    !matches!(state, "revoked" | "decommissioned")
}

impl ListArgs {
    fn asks_for(&self, row: &DeviceLife, today: Date) -> bool {
        let Some(standing) = &row.standing else { return !self.past_eos && self.within.is_none() };
        if self.past_eos {
            return standing.stage == Stage::EndOfSupport;
        }
        let Some(days) = self.within else { return true };
        let last = today.checked_add(days.days()).unwrap_or(Date::MAX);
        standing.dates.end_of_support.is_some_and(|end| end <= last)
    }
}

fn table(rows: &[DeviceLife]) -> String {
    let mut table =
        Table::new(["device", "ward", "product", "release", "stage", "end of support", "days left", "of note"]);
    let or_none = |text: Option<String>, none: &str| text.unwrap_or_else(|| none.to_owned());
    for row in rows {
        let standing = row.standing.as_ref();
        table.row([
            row.device.clone(),
            row.ward.clone(),
            row.product.clone(),
            or_none(row.release.map(|n| n.to_string()), "unknown"),
            or_none(standing.map(|s| s.stage.to_string()), "not announced"),
            or_none(standing.and_then(|s| s.dates.end_of_support).map(|d| d.to_string()), "not announced"),
            or_none(row.days_left.map(|days| if days <= 0 { "over".to_owned() } else { days.to_string() }), ""),
            standing.map(|s| uncovered(s).join("; ")).unwrap_or_default(),
        ]);
    }
    table.to_text()
}

/// The same for a spreadsheet.
fn lines(rows: &[DeviceLife]) -> Vec<String> {
    let headings = "device,ward,product,release,proven,stage,end_of_life,end_of_support,days_left,of_note";
    let mut lines = vec![headings.to_owned()];
    for row in rows {
        let standing = row.standing.as_ref();
        let day = |date: Option<Date>| date.map(|date| date.to_string()).unwrap_or_default();
        lines.push(sheet::row(&[
            &row.device,
            &row.ward,
            &row.product,
            &row.release.map(|release| release.to_string()).unwrap_or_default(),
            &row.proven.to_string(),
            &standing.map(|s| s.stage.to_string()).unwrap_or_default(),
            &day(standing.and_then(|s| s.dates.end_of_life)),
            &day(standing.and_then(|s| s.dates.end_of_support)),
            &row.days_left.map(|days| days.max(0).to_string()).unwrap_or_default(),
            &standing.map(|s| uncovered(s).join("; ")).unwrap_or_default(),
        ]));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::clock::parse_day;
    use suture_core::life::{Change, Dates};

    fn lives(eos: &str) -> BTreeMap<ProductId, Life> {
        let change = Change {
            at: "2026-02-01T00:00:00Z".parse().unwrap(),
            by: "ada".parse().unwrap(),
            why: "as sold".to_owned(),
            releases: None,
            dates: Dates {
                general_availability: parse_day("2026-01-01"),
                end_of_life: parse_day("2030-01-01"),
                end_of_support: parse_day(eos),
                ..Dates::default()
            },
            short_notice: None,
            earlier: None,
            components: Vec::new(),
            not_covered: vec!["Bluetooth".to_owned()],
        };
        let pump: ProductId = "pump".parse().unwrap();
        [(pump.clone(), Life::begin(pump, change).unwrap())].into()
    }

    fn device(product: &str) -> v1::Device {
        let record = v1::DeviceRecord {
            id: "pump-1".to_owned(),
            product: product.to_owned(),
            ward: "icu".to_owned(),
            ..Default::default()
        };
        v1::Device { record: Some(record), state: "active".to_owned(), ..Default::default() }
    }

    #[test]
    fn devices_past_and_near_their_end_are_found_and_those_of_unknown_products_are_not() {
        let today = parse_day("2031-01-01").unwrap();
        let args = |past_eos, within| ListArgs { past_eos, within, ward: None, product: None, csv: false };
        let row = |eos: &str, product| device_life(&device(product), &Documents::default(), &lives(eos), today);
        for (eos, past, near, all) in
            [("2031-01-01", true, true, true), ("2031-01-31", false, true, true), ("2031-02-01", false, false, true)]
        {
            let row = row(eos, "pump");
            let found = [args(true, None), args(false, Some(30)), args(false, None)].map(|a| a.asks_for(&row, today));
            assert_eq!(found, [past, near, all], "{eos}");
        }
        let strange = row("2031-01-01", "syringe");
        assert!(strange.standing.is_none() && !args(true, None).asks_for(&strange, today));
        let lines = lines(&[row("2030-12-31", "pump"), row("2031-02-10", "pump"), row("2031-02-10", "syringe")]);
        assert_eq!(
            lines[1],
            "pump-1,icu,pump,,false,end-of-support,2030-01-01,2030-12-31,0,no longer covered: Bluetooth"
        );
        assert!(lines[2].contains(",limited-support,2030-01-01,2031-02-10,40,"), "{}", lines[2]);
        assert_eq!(lines[3], "pump-1,icu,syringe,,false,,,,,", "nothing is said of it");
        let text = table(&[row("2031-01-01", "pump"), row("2031-02-10", "pump"), strange]);
        assert!(text.contains("end-of-support") && text.contains("over") && text.contains("40"), "{text}");
        assert!(text.contains("no longer covered: Bluetooth") && text.contains("not announced"), "{text}");
    }
}
