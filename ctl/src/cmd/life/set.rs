//! `life set`: one change more, signed into the catalog.

use std::path::PathBuf;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use suture_core::approval::SignedDocument as _;
use suture_core::clock::day_of;
use suture_core::id::ProductId;
use suture_core::life::{self, Change, ComponentEnd, Dates, Life, LifeError};
use suture_core::trust::Target;
use suture_core::version::ReleaseRange;

use super::date;
use crate::cmd::notice::auto;
use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::{Exit, Failure, Outcome};
use crate::hospital::statements::own_name;
use crate::print::counted;
use crate::repository::{self, Done, List, Signing};
use crate::trust_store::Which;

const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// How far ahead of the clock changes that come at once may be.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(5);

/// Arguments of `life set`.
#[derive(Debug, Clone, clap::Args)]
pub struct SetArgs {
    /// The product
    product: ProductId,
    /// Of these releases alone, as in 1..3; they end with the product at the latest
    #[arg(long, value_name = "RELEASES")]
    releases: Option<ReleaseRange>,
    /// The first day on which it is available; `none` takes it away
    #[arg(long, value_name = "DATE", value_parser = wanted)]
    general_availability: Option<Wanted>,
    /// The first day on which it cannot be ordered; `none` takes it away
    #[arg(long, value_name = "DATE", value_parser = wanted)]
    end_of_sales: Option<Wanted>,
    /// End of life: the first day of limited support; `none` takes it away
    #[arg(long, value_name = "DATE", value_parser = wanted)]
    eol: Option<Wanted>,
    /// End of support: the first day without any; `none` takes it away
    #[arg(long, value_name = "DATE", value_parser = wanted)]
    eos: Option<Wanted>,
    /// A component of another whose support ends by itself, as in pkg:generic/openssl@1.1.1=2027-05-01; may be given several
    /// times, and then these are all
    #[arg(long, value_name = "NAME=DATE", value_parser = component)]
    component: Vec<ComponentEnd>,
    /// A sentence on what is no longer covered once support is limited; may be given several times, and then these are all
    #[arg(long, value_name = "TEXT")]
    not_covered: Vec<String>,
    /// Why, for the history
    #[arg(long)]
    reason: String,
    /// Why an end is announced less than two years ahead, for the history
    #[arg(long, value_name = "REASON")]
    short_notice: Option<String>,
    /// Why a date moves earlier, for the history
    #[arg(long, value_name = "REASON")]
    earlier: Option<String>,
    /// In the list of this delegated role, by its keys; it must be let list life/PRODUCT.json [default: the catalog's own]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Tell the hospitals that have such devices: a notice (TOML, see `notice publish`) of the kind end-of-life, end-of-support or
    /// component-end-of-support, from the day that is set here
    #[arg(long, value_name = "FILE")]
    notice: Option<PathBuf>,
    #[command(flatten)]
    signing: Signing,
}

/// A date that is asked for, or that there be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted(Option<Date>);

fn wanted(text: &str) -> Result<Wanted, String> {
    if text == "none" { Ok(Wanted(None)) } else { date(text).map(|date| Wanted(Some(date))) }
}

fn component(text: &str) -> Result<ComponentEnd, String> {
    // A package URL may hold a `=` itself; a date does not.
    let (name, end) = text.rsplit_once('=').ok_or_else(|| format!("{text:?} is not like openssl=2027-05-01"))?;
    Ok(ComponentEnd { component: name.to_owned(), end_of_support: date(end)? })
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: SetArgs) -> Outcome {
    context.home.server()?.manufacturer()?;
    let mut client = context.connect().await?;
    let base = repository::base(context, &mut client, Which::Catalog).await?;
    let list = List::open(context, Some(&mut client), &base, args.role.as_deref()).await?;
    let path = life::path(&args.product);
    list.may_list(&base, &path)?;
    let known = crate::life::read(context, &mut client, list.known.get(&path), &args.product).await?;
    let by = own_name(context)?;
    let change = args.change(known.as_ref(), by, moment(known.as_ref(), context.now()));
    let notice =
        args.notice.as_deref().map(|path| auto::of_life(path, &args.product, &change, context.now())).transpose()?;
    let life = match &known {
        None => Life::begin(args.product.clone(), change),
        Some(life) => life.then(change),
    };
    let life = life.map_err(|e| refused(&e))?;
    let bytes = life.to_bytes().map_err(|e| Failure::of(Exit::Failed, &e))?;
    let mut draft = list.draft(context);
    draft.targets.insert(path.clone(), Target::of(&bytes, None));
    let mut envelope = Envelope::new(context, Which::Catalog)?;
    envelope.files.insert(path, bytes);
    list.put_in(&mut envelope, list.sign(context, &base, &draft, &*context.key(&args.signing.key)?)?);
    let (in_force, file) = (repository::in_force(&base), args.signing.envelope.as_deref());
    if let Done::Waiting(waiting) =
        repository::conclude(context, &mut client, in_force, &list.before, envelope, file).await?
    {
        auto::not_yet(context, notice.as_ref());
        return waiting.print(context);
    }
    if let Some(notice) = notice {
        let told = auto::tell(context, &mut client, notice, &args.signing.key).await?;
        context.print.note(&match told.letters.len() {
            0 => "note: no hospital has such devices, so nobody was told".to_owned(),
            n => {
                format!("note: {} told of it: suturectl notice status {}", counted(n, "hospital", "is", "are"), told.id)
            }
        });
    }
    for warning in warnings(&life) {
        context.print.note(&warning);
    }
    let day = day_of(context.now());
    context.print.result(&life, |life| super::text(life, None, day))
}

impl SetArgs {
    fn change(&self, known: Option<&Life>, by: suture_core::id::OperatorName, at: Timestamp) -> Change {
        let before = known.and_then(|life| life.change_of(self.releases));
        let was = before.map(|c| c.dates).unwrap_or_default();
        let date = |asked: Option<Wanted>, was| asked.map_or(was, |Wanted(date)| date);
        let list = |given: bool, was: Option<Vec<_>>| if given { None } else { was };
        Change {
            at,
            by,
            why: self.reason.clone(),
            releases: self.releases,
            dates: Dates {
                general_availability: date(self.general_availability, was.general_availability),
                end_of_sales: date(self.end_of_sales, was.end_of_sales),
                end_of_life: date(self.eol, was.end_of_life),
                end_of_support: date(self.eos, was.end_of_support),
            },
            short_notice: self.short_notice.clone(),
            earlier: self.earlier.clone(),
            components: list(!self.component.is_empty(), before.map(|c| c.components.clone()))
                .unwrap_or_else(|| self.component.clone()),
            not_covered: match before {
                Some(before) if self.not_covered.is_empty() => before.not_covered.clone(),
                _ => self.not_covered.clone(),
            },
        }
    }
}

/// When it is said. Times are whole seconds, and each change is later than the one before it: those of a script, which come within
/// one second, follow one another by a second each. A clock that is further behind is wrong, and [`life::admit`] says so.
fn moment(known: Option<&Life>, now: Timestamp) -> Timestamp {
    let newest = known.and_then(Life::newest).map(|change| change.at);
    newest.filter(|at| *at >= now && at.duration_since(now) <= AT_ONCE).map_or(now, |at| at + SECOND)
}

fn refused(error: &LifeError) -> Failure {
    let failure = Failure::of(Exit::Failed, error);
    match error {
        LifeError::ShortNotice { .. } => {
            failure.next("another date; or --short-notice REASON, which stands in the history")
        }
        LifeError::Earlier { .. } => failure.next("another date; or --earlier REASON, which stands in the history"),
        _ => failure,
    }
}

/// What a manufacturer should think of now.
fn warnings(life: &Life) -> Vec<String> {
    let product = &life.product;
    let Some(newest) = life.newest() else { return Vec::new() };
    let mut warnings = Vec::new();
    if newest.short_notice.is_some() {
        warnings.push(format!(
            "note: hospitals read of this less than two years ahead; tell them now: it is no notice until they have read it ({product})"
        ));
    }
    if newest.dates.end_of_life.is_some() && newest.not_covered.is_empty() && newest.components.is_empty() {
        warnings
            .push("note: --not-covered TEXT says what hospitals cannot count on once support is limited".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: SetArgs,
    }

    fn args(words: &[&str]) -> SetArgs {
        Line::parse_from([&["set", "pump", "--reason", "as planned"], words].concat()).args
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_not_named_stays_and_none_takes_away() {
        let by = || "ada".parse().unwrap();
        let first = args(&[
            "--general-availability",
            "2026-01-01",
            "--eol",
            "2031-01-01",
            "--eos",
            "2033-01-01",
            "--component",
            "pkg:generic/a?b=c=2027-05-01",
            "--not-covered",
            "Bluetooth",
        ]);
        let change = first.change(None, by(), at("2026-02-01T00:00:00Z"));
        assert_eq!(change.components[0].component, "pkg:generic/a?b=c");
        let life = Life::begin("pump".parse().unwrap(), change).unwrap();
        let next = args(&["--eol", "none", "--eos", "2034-01-01"]);
        let next = next.change(Some(&life), by(), at("2026-03-01T00:00:00Z"));
        assert_eq!((next.dates.end_of_life, next.components.len(), next.not_covered.len()), (None, 1, 1));
        let life = life.then(next).unwrap();
        assert_eq!(life.dates(None).general_availability, Some(date("2026-01-01").unwrap()));
        // A range begins with nothing of its own.
        let range = args(&["--releases", "1..2", "--eos", "2030-01-01"]);
        let range = range.change(Some(&life), by(), at("2026-04-01T00:00:00Z"));
        assert_eq!((range.dates.general_availability, range.components.len()), (None, 0));
        let failure = refused(&life.then(range).unwrap_err()).to_text();
        assert!(failure.contains("--earlier REASON"), "{failure}");
    }

    #[test]
    fn short_notice_is_refused_with_the_way_to_give_it() {
        let soon = args(&["--general-availability", "2026-01-01", "--eos", "2027-01-01"]);
        let change = soon.change(None, "ada".parse().unwrap(), at("2026-02-01T00:00:00Z"));
        let failure = refused(&Life::begin("pump".parse().unwrap(), change).unwrap_err()).to_text();
        assert!(failure.contains("2028-02-01") && failure.contains("--short-notice REASON"), "{failure}");
        assert!(component("openssl").is_err() && wanted("soon").is_err());
    }
}
