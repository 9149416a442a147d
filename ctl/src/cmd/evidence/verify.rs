//! `evidence verify`: a folder, without a server.

use std::path::PathBuf;

use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::id::OperatorName;
use suture_core::sign::PublicKey;

use crate::context::Context;
use crate::evidence::{About, Problem, Verdict, folder, verify};
use crate::failure::{Failure, Outcome};
use crate::print::{count, grouped};
use crate::trust_store::{Which, pinned_root};

/// How many problems are told in one line each.
const TOLD: usize = 20;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder
    directory: PathBuf,
    /// The fingerprint (SHA-256) that the catalog's pinned root must have
    #[arg(long, value_name = "SHA256")]
    catalog_root: Option<Digest>,
    /// The fingerprint (SHA-256) that the approvals' pinned root must have
    #[arg(long, value_name = "SHA256")]
    approvals_root: Option<Digest>,
    /// Refuse a folder that nobody has signed
    #[arg(long)]
    signed: bool,
}

#[derive(Serialize)]
struct Signed {
    /// Who vouches for the index.
    name: OperatorName,
    /// By which key of the party's.
    key: PublicKey,
    /// When, by the signer's clock.
    at: String,
}

#[derive(Serialize)]
struct Verified {
    about: About,
    files: usize,
    catalog_root: Digest,
    approvals_root: Option<Digest>,
    /// Whether the roots are the ones that this home trusts, or that were named; none where neither is known.
    roots_are_known: Option<bool>,
    /// Who has signed the index; null where nobody has.
    signed: Option<Signed>,
    reports: usize,
    facts_drawn_again: bool,
}

/// Runs it.
pub(super) fn run(context: &mut Context<'_>, args: Args) -> Outcome {
    let files = folder::read(&args.directory)?;
    let Verdict { index, evidence, mut problems, drawn_again, seal } = verify(&files);
    let (Some(index), Some(evidence)) = (index, evidence) else {
        return Err(refused(&args, &problems));
    };
    let own = |which| pinned_root(&context.home, which);
    let approvals_root = evidence.approvals.as_ref().map(|a| a.pinned());
    let rows = [
        ("catalog", args.catalog_root, own(Which::Catalog)?, Some(evidence.catalog.pinned())),
        ("approvals", args.approvals_root, own(Which::Approvals)?, approvals_root),
    ];
    let mut known: Option<bool> = None;
    for (name, named, own, found) in rows {
        match (named, found) {
            (Some(named), found) if found != Some(named) => {
                let what = format!("it does not rest on the {name} root {named}");
                problems.push(Problem { file: None, what });
            }
            (named, Some(found)) => {
                if let Some(expected) = named.or(own) {
                    known = Some(known.unwrap_or(true) && expected == found);
                }
            }
            (_, None) => {}
        }
    }
    if args.signed && seal.is_none() {
        problems.push(Problem { file: None, what: "nobody has signed it".to_owned() });
    }
    if !problems.is_empty() {
        return Err(refused(&args, &problems));
    }
    let signed = seal.map(|seal| Signed { name: seal.name.clone(), key: seal.key, at: format_utc(seal.signed_at) });
    let verified = Verified {
        about: index.about,
        files: files.len(),
        catalog_root: evidence.catalog.pinned(),
        approvals_root,
        roots_are_known: known,
        signed,
        reports: evidence.reports.count(),
        facts_drawn_again: drawn_again,
    };
    context.print.result(&verified, text)
}

fn text(v: &Verified) -> String {
    let hospital = v.about.hdo.as_ref().map_or_else(String::new, |hdo| format!(" of {hdo}"));
    let mut text = format!(
        "evidence of {}{hospital}, made {}: {}, {} of devices; every file and every signature verifies\n",
        v.about.subject,
        format_utc(v.about.made),
        count(v.files, "file"),
        count(v.reports, "report")
    );
    text.push_str(match v.facts_drawn_again {
        true => "facts and report were drawn up again and are the same\n",
        false => "facts and report were drawn up by another version of suturectl, and are held to the index alone\n",
    });
    text.push_str(&match &v.signed {
        Some(Signed { name, key, at }) => format!("signed by {name} at {at} with the key {key}\n"),
        None => "nobody has signed the whole of it: each file stands by itself, and what the server says by nobody\n"
            .to_owned(),
    });
    text.push_str(&format!("catalog root    {}\n", grouped(&v.catalog_root.to_string())));
    if let Some(root) = &v.approvals_root {
        text.push_str(&format!("approvals root  {}\n", grouped(&root.to_string())));
    }
    text.push_str(match v.roots_are_known {
        Some(true) => "these are the roots that you trust\n",
        Some(false) => {
            "these are NOT the roots that this home trusts: another server's, or another hospital's evidence\n"
        }
        None => "compare these fingerprints over another channel: no folder can vouch for its own roots\n",
    });
    text
}

fn refused(args: &Args, problems: &[Problem]) -> Failure {
    let mut failure = Failure::untrusted(format!(
        "{} does not verify, and is no evidence: {} problems",
        args.directory.display(),
        problems.len()
    ))
    .next("ask whoever made it for the whole of it, as it was made");
    for problem in problems.iter().take(TOLD) {
        failure.causes.push(match &problem.file {
            Some(file) => format!("{file}: {}", problem.what),
            None => problem.what.clone(),
        });
    }
    if problems.len() > TOLD {
        failure.causes.push(format!("and {} more", problems.len() - TOLD));
    }
    failure
}
