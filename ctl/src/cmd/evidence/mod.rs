//! `suturectl evidence`: one folder with what an auditor asks for, and its verification without a server. What the folder holds
//! is told in [`crate::evidence`].

mod device;
mod events;
mod exposure;
mod gather;
mod letters;
mod product;
mod record;
mod repository;
mod rollout;
mod signing;
mod verify;
mod words;

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, OperatorName, ProductId};
use suture_core::version::Release;

use self::gather::Gathering;
use crate::context::Context;
use crate::evidence::facts::Facts;
use crate::evidence::{self, About, Evidence, Files, Subject, draw_up, folder, index, seal};
use crate::failure::{Exit, Failure, Outcome};
use crate::print::{bytes, count};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What became of a rollout: approval, signers, each device's signed reports, as in
    /// `suturectl evidence rollout pump-2-4f0c -o evidence`
    #[command(after_help = "Example: suturectl evidence rollout pump-2 -o evidence")]
    Rollout {
        /// Its id, from `suturectl rollout list --all`
        id: ApprovalId,
        /// Where the folder is made.
        #[command(flatten)]
        place: Place,
    },
    /// What has been done to a device: its reports and the rollouts that they tell of, as in
    /// `suturectl evidence device pump-1 -o evidence`
    #[command(after_help = "Example: suturectl evidence device pump-1 -o evidence")]
    Device {
        /// Its id
        id: DeviceId,
        /// Where the folder is made.
        #[command(flatten)]
        place: Place,
    },
    /// A product or one release of it: for a hospital with its rollouts, for a manufacturer with adoption in counts, as in
    /// `suturectl evidence product pump@2 -o evidence`
    #[command(after_help = "Example: suturectl evidence product pump@2 -o evidence")]
    Product {
        /// The product, or a release as in pump@2
        #[arg(value_name = "PRODUCT[@RELEASE]", value_parser = product)]
        product: (ProductId, Option<Release>),
        /// Where the folder is made.
        #[command(flatten)]
        place: Place,
    },
    /// Verify a folder without a server: every file, every signature, every conclusion, as in
    /// `suturectl evidence verify evidence`
    #[command(after_help = "Examples: suturectl evidence verify evidence\n\
    \x20         suturectl evidence verify evidence --record-key NAME+HASH+KEY    # as `suturectl audit key` prints it")]
    Verify(verify::Args),
}

/// Where the folder is made.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// The directory to make; it must be empty or missing
    #[arg(short, long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Go on from what a run that was interrupted has fetched
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    signing: signing::SigningArgs,
}

fn product(text: &str) -> Result<(ProductId, Option<Release>), String> {
    let (product, release) = match text.split_once('@') {
        Some((product, release)) => (product, Some(release)),
        None => (text, None),
    };
    let release = release.map(|r| r.parse().map(Release)).transpose();
    let release = release.map_err(|_| format!("{text:?} is no release: write pump@2"))?;
    Ok((product.parse().map_err(|e| format!("{product:?} is no product: {e}"))?, release))
}

#[derive(Serialize)]
struct Made {
    directory: String,
    about: About,
    files: usize,
    bytes: u64,
    devices: usize,
    deviations: usize,
    catalog_root: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    approvals_root: Option<Digest>,
    /// Who vouches for it; null where nobody has signed it.
    signed_by: Option<OperatorName>,
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    let (subject, place) = match command {
        Command::Verify(args) => return verify::run(context, args),
        Command::Rollout { id, place } => (Subject::Rollout(id), place),
        Command::Device { id, place } => (Subject::Device(id), place),
        Command::Product { product: (product, release), place } => (Subject::Product { product, release }, place),
    };
    if let Err(taken) = folder::vacant(&place.output_dir) {
        return there_already(context, &subject, &place, taken);
    }
    let server = context.home.server()?;
    let about = About {
        subject,
        hdo: server.principal()?.hdo().cloned(),
        by: server.uri.clone(),
        server: server.address.clone(),
        made: context.now(),
        program: index::program(),
    };
    let partial = folder::partial(&place.output_dir);
    let (gathered, signing) = match gather_all(context, &about, &place).await {
        Ok(gathered) => gathered,
        Err(failure) if failure.exit == Exit::Untrusted => {
            // Nothing of it may pass for evidence, in a later run neither.
            folder::remove(&partial)?;
            return Err(failure);
        }
        Err(failure) => {
            if partial.exists() {
                context.print.note("what was fetched is kept: the same command with --resume goes on from there");
            }
            return Err(failure);
        }
    };
    context.print.note("verifying all of it, and drawing up the report");
    let mut files = draw_up(&about, &gathered)?;
    if let Some(signing) = signing {
        signing.sign(&about, &mut files)?;
    }
    folder::write(&place.output_dir, &files)?;
    folder::remove(&partial)?;
    tell(context, &place, &files)
}

/// Evidence lies there. A run that was cut off after it had put the folder in its place has left what it fetched beside it: it
/// is ended here.
fn there_already(context: &mut Context<'_>, subject: &Subject, place: &Place, taken: Failure) -> Outcome {
    let Ok(files) = folder::read(&place.output_dir) else { return Err(taken) };
    let index = files.get(index::PATH).and_then(|bytes| index::Index::parse(bytes).ok());
    let Some(about) = index.map(|index| index.about) else { return Err(taken) };
    let partial = folder::partial(&place.output_dir);
    if partial.exists() && about.subject == *subject && evidence::verify(&files).problems.is_empty() {
        folder::remove(&partial)?;
        context.print.note("an earlier run was cut off when its folder was in place already: the folder is whole");
        return tell(context, place, &files);
    }
    let shown = place.output_dir.display();
    let (of, made) = (about.subject, format_utc(about.made));
    Err(Failure::new(format!("{shown} is not empty: it holds evidence of {of}, made {made}"))
        .next(format!("name another directory, or see that it is whole: suturectl evidence verify {shown}")))
}

async fn gather_all(
    context: &mut Context<'_>,
    about: &About,
    place: &Place,
) -> Outcome<(Files, Option<signing::Signing>)> {
    let mut gathering = Gathering::begin(context, about, place).await?;
    // Before anything takes long: a passphrase may be asked for.
    let root = gathering.approvals.as_ref().unwrap_or(&gathering.catalog).root().clone();
    let signing = signing::Signing::open(gathering.context, &root, &place.signing)?;
    match (&about.subject, &about.hdo) {
        (Subject::Rollout(id), _) => rollout::gather(&mut gathering, id).await?,
        (Subject::Device(id), _) => device::gather(&mut gathering, id).await?,
        (Subject::Product { product, release }, Some(_)) => {
            product::of_hospital(&mut gathering, product, *release).await?;
        }
        (Subject::Product { product, release }, None) => {
            product::of_manufacturer(&mut gathering, product, *release).await?;
        }
    }
    exposure::gather(&mut gathering).await?;
    if let Some(hdo) = &about.hdo {
        letters::of_hospital(&mut gathering, hdo).await?;
        words::risks(&mut gathering, hdo).await?;
        for product in gathering.products.clone() {
            words::agreements(&mut gathering, hdo, &product).await?;
        }
        events::gather(&mut gathering, hdo).await?;
    }
    record::gather(&mut gathering).await?;
    Ok((gathering.finish()?, signing))
}

fn tell(context: &mut Context<'_>, place: &Place, files: &Files) -> Outcome {
    let about = index::Index::parse(files.get(index::PATH).map(Vec::as_slice).unwrap_or_default())?.about;
    let evidence = Evidence::read(&about, files)?;
    let facts = Facts::of(&evidence);
    let directory = place.output_dir.display().to_string();
    let made = Made {
        directory,
        files: files.len(),
        bytes: files.values().map(|b| b.len() as u64).sum(),
        devices: facts.outcomes.len(),
        deviations: facts.deviations.len(),
        catalog_root: evidence.catalog.pinned(),
        approvals_root: evidence.approvals.as_ref().map(|a| a.pinned()),
        signed_by: seal::read(files, &evidence)?.map(|seal| seal.name.clone()),
        about,
    };
    context.print.result(&made, |m| {
        let hospital = m.about.hdo.as_ref().map_or_else(String::new, |hdo| format!(" of {hdo}"));
        format!(
            "evidence of {}{hospital}: {}, {}, {}, {}; each file verified{}\n\
             report {}/index.html\nverify it anywhere, without a server: suturectl evidence verify {}\n",
            m.about.subject,
            count(m.files, "file"),
            bytes(m.bytes),
            count(m.devices, "device"),
            count(m.deviations, "deviation"),
            m.signed_by.as_ref().map_or_else(String::new, |name| format!(", signed by {name}")),
            m.directory,
            m.directory
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_named_with_or_without_a_release() {
        let pump: ProductId = "pump".parse().unwrap();
        assert_eq!(product("pump").unwrap(), (pump.clone(), None));
        assert_eq!(product("pump@2").unwrap(), (pump, Some(Release(2))));
        for bad in ["pump@", "pump@x", "@2", "pump@2@3"] {
            assert!(product(bad).is_err(), "{bad}");
        }
    }
}
