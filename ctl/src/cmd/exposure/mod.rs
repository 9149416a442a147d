//! `suturectl exposure`: which bundles carry a component or are exposed to a vulnerability, which devices run those, and what is
//! being done about it.

mod answer;
mod csv;
mod device;
mod served;
#[cfg(test)]
mod tests;
mod text;

use clap::ArgGroup;
use suture_core::document::Purl;
use suture_core::exposure::{Question, Range, Versions, Wanted};
use suture_core::id::ProductId;
use suture_core::limits::EXPOSURE_SILENT_DAYS;

use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Arguments of `exposure`.
#[derive(Debug, Clone, clap::Args)]
#[command(group = ArgGroup::new("asked").args(["cve", "component"]).required(true).multiple(true))]
pub struct Args {
    /// The vulnerability, by any of its ids: CVE-2026-0001, GHSA-..., the manufacturer's own
    #[arg(long, value_name = "ID")]
    cve: Option<String>,
    /// The component, by its package URL, with or without a version, or by its name. With --cve: by your own word the
    /// vulnerability is in it, wherever the manufacturer has not said otherwise
    #[arg(long, value_name = "PURL|NAME")]
    component: Option<String>,
    /// Of these versions of the component alone, as in "vers:deb/>=3.0.2|<3.0.8"; orders are known of semver, npm, cargo,
    /// golang, deb, rpm and generic
    #[arg(long, value_name = "RANGE", requires = "component")]
    range: Option<Range>,
    /// Of this product alone
    #[arg(long)]
    product: Option<ProductId>,
    /// Print one row for each exposed device (for a manufacturer: for each hospital and bundle) as CSV
    #[arg(long)]
    csv: bool,
    /// Say of a device that it was not seen for so many days
    #[arg(long, value_name = "DAYS", default_value_t = EXPOSURE_SILENT_DAYS)]
    silent: u32,
    /// Take the server's word for what bundles carry, and read no documents
    #[arg(long)]
    quick: bool,
}

impl Args {
    fn question(&self) -> Outcome<Question> {
        let component = self.component.as_deref().map(|text| wanted(text, self.range.as_ref())).transpose()?;
        Ok(Question { vulnerability: self.cve.clone(), component })
    }
}

/// A component as it is asked for.
fn wanted(text: &str, range: Option<&Range>) -> Outcome<Wanted> {
    let asked = |version: Option<&str>| match (range, version) {
        (None, None) => Ok(Versions::Any),
        (None, Some(version)) => Ok(Versions::One(version.to_owned())),
        (Some(range), None) => Ok(Versions::In(range.clone())),
        (Some(_), Some(_)) => Err(Failure::new(format!("{text} names one version, and --range others"))
            .next("the package URL without @version")),
    };
    if !text.starts_with("pkg:") {
        return Ok(Wanted { package: None, name: Some(text.to_owned()), versions: asked(None)? });
    }
    let purl: Purl = text.parse().map_err(|e| {
        let failure = Failure::new(format!("{text:?} is no package URL")).because(&e);
        failure.next("as in pkg:deb/debian/openssl@1.1.1n-0+deb11u5")
    })?;
    Ok(Wanted { package: Some(purl.package()), name: None, versions: asked(purl.version())? })
}

/// Runs it.
pub async fn run(context: &mut Context<'_>, args: Args) -> Outcome {
    let question = args.question()?;
    let answer = answer::find(context, &question, &args).await?;
    if args.csv {
        context.print.lines(&csv::rows(&answer))?;
    } else {
        context.print.result(&answer, text::text)?;
    }
    answer.raise()
}
