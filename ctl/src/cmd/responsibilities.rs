//! `suturectl responsibilities`: who does what over a product's life, as is usual and as both sides agree.

mod propose;
mod show;

use std::str::FromStr;

use clap::Subcommand;
use jiff::civil::Date;
use suture_core::id::{HdoId, ProductId};
use suture_core::life::Stage;
use suture_core::limits::{MAX_AGREEMENTS, MAX_WORDS_PER_CALL};
use suture_core::responsibility::{Agreed, Agreement, Consent};
use suture_core::sign::PublicKey;
use suture_core::trust::{Root, Verified};
use suture_proto::v1;

use super::life::date;
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::keys::KeyName;
use crate::words::{Heard, Series, followed, heard};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Who does what in each stage, with where each word comes from
    #[command(
        verbatim_doc_comment,
        after_help = "Examples: suturectl responsibilities show pump\n\
        \x20         suturectl responsibilities show pump --hdo riverside"
    )]
    Show {
        /// The product
        product: ProductId,
        /// Manufacturer: with this hospital
        #[arg(long)]
        hdo: Option<HdoId>,
        /// As agreed for a day
        #[arg(long, value_name = "DATE", value_parser = date)]
        as_of: Option<Date>,
    },
    /// Manufacturer: propose to a hospital where it is not as usual; it holds once the hospital has signed
    #[command(
        verbatim_doc_comment,
        after_help = "Examples: suturectl responsibilities propose pump --hdo riverside \\\n\
        \x20             --cell apply-patches@support=shared-manufacturer --from 2027-01-01 --reason \"contract 4711\""
    )]
    Propose(propose::ProposeArgs),
    /// Hospital: agree to the newest proposal, by a key of the hospital's
    #[command(verbatim_doc_comment, after_help = "Example: suturectl responsibilities sign pump 3")]
    Sign {
        /// The product
        product: ProductId,
        /// The proposal's number, as `responsibilities history` shows it
        number: u64,
        /// The key that signs it
        #[arg(long, value_name = "KEY", default_value = "targets")]
        key: KeyName,
    },
    /// All that was proposed and agreed, with who signed
    #[command(verbatim_doc_comment, after_help = "Example: suturectl responsibilities history pump")]
    History {
        /// The product
        product: ProductId,
        /// Manufacturer: with this hospital
        #[arg(long)]
        hdo: Option<HdoId>,
    },
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Show { product, hdo, as_of } => show::show(context, &product, hdo, as_of).await,
        Command::Propose(args) => propose::propose(context, args).await,
        Command::Sign { product, number, key } => propose::sign(context, product, number, &key).await,
        Command::History { product, hdo } => show::history(context, &product, hdo).await,
    }
}

/// A cell on the command line: `apply-patches@support=shared-manufacturer`.
fn cell(text: &str) -> Result<Agreed, String> {
    let parts = text.split_once('@').and_then(|(task, rest)| Some((task, rest.split_once('=')?)));
    let (task, (stage, holder)) =
        parts.ok_or_else(|| format!("{text:?} is not like apply-patches@support=provider"))?;
    // What follows a colon is a note.
    let (holder, note) = holder.split_once(':').unwrap_or((holder, ""));
    Ok(Agreed {
        task: task.parse()?,
        stage: Stage::from_str(stage)?,
        holder: holder.parse().map_err(str::to_owned)?,
        note: note.trim().to_owned(),
    })
}

/// An agreement with the consent to it.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) agreement: Heard<Agreement>,
    pub(crate) consent: Option<Heard<Consent>>,
}

/// The roots by which both sides' keys are judged. A manufacturer's home follows a hospital's once that has signed something.
struct Roots {
    manufacturer: Verified<Root>,
    hospital: Option<Verified<Root>>,
}

impl Pair {
    /// Whether both sides have said it, each by a key that their root lists as far as that is known here, or by
    /// certificate alone.
    fn is_agreed(&self, roots: &Roots) -> bool {
        let Some(consent) = &self.consent else { return false };
        let ours = &self.agreement.word;
        let by_root = |is_listed: bool, key: Option<&PublicKey>| key.is_none() || is_listed;
        by_root(ours.is_listed(&roots.manufacturer), ours.key.as_ref())
            && roots
                .hospital
                .as_ref()
                .is_none_or(|root| by_root(consent.word.is_listed(root), consent.word.key.as_ref()))
    }
}

/// All agreements with a hospital on a product, verified and followed from the first.
pub(crate) async fn agreements(
    context: &Context<'_>,
    client: &mut Client,
    hdo: &HdoId,
    product: &ProductId,
) -> Outcome<Vec<Pair>> {
    let mut pairs: Vec<Pair> = Vec::new();
    loop {
        let after = pairs.last().map_or(0, |last| last.agreement.word.number);
        let request = v1::ListAgreementsRequest {
            hdo: hdo.to_string(),
            product: product.to_string(),
            after,
            limit: MAX_WORDS_PER_CALL,
        };
        let v1::ListAgreementsResponse { agreements, more } = client.list_agreements(request).await?;
        let moved = !agreements.is_empty();
        for listed in agreements {
            pairs.push(pair(listed, hdo, product)?);
        }
        if !more {
            break;
        }
        if !moved || pairs.len() as u64 > MAX_AGREEMENTS {
            return Err(Failure::untrusted("the server's list of agreements does not come to an end"));
        }
    }
    let words: Vec<_> = pairs.iter().map(|pair| pair.agreement.clone()).collect();
    followed(context, &Series::Agreements(hdo, product), &words)?;
    Ok(pairs)
}

fn pair(listed: v1::ListedAgreement, hdo: &HdoId, product: &ProductId) -> Outcome<Pair> {
    let v1::ListedAgreement { agreement, consent } = listed;
    let agreement: Heard<Agreement> = heard(agreement.unwrap_or_default())?;
    let said = &agreement.word;
    if (&said.hdo, &said.product) != (hdo, product) {
        return Err(Failure::untrusted(format!("the server gives the agreement of {} on {}", said.hdo, said.product)));
    }
    let consent: Option<Heard<Consent>> = consent.map(heard).transpose()?;
    if let Some(other) = consent.as_ref().filter(|consent| !consent.word.is_to(said, said.digest())) {
        return Err(Failure::untrusted(format!(
            "what the server gives as the consent to agreement {} is {}'s to another",
            said.number, other.word.name
        )));
    }
    Ok(Pair { agreement, consent })
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::approval::SignedDocument as _;
    use suture_core::responsibility::{Holder, Task};
    use suture_core::sign::{LocalKey, Signer as _};
    use suture_core::word::Word;

    #[test]
    fn a_cell_names_task_stage_and_holder() {
        let read = cell("apply-patches@limited-support=shared-provider: contract 4711").unwrap();
        assert_eq!((read.task, read.stage), (Task::ApplyPatches, Stage::LimitedSupport));
        assert_eq!((read.holder, read.note.as_str()), (Holder::SharedProvider, "contract 4711"));
        for (bad, why) in [
            ("apply-patches=provider", "is not like"),
            ("patch@support=provider", "the tasks are configure,"),
            ("apply-patches@later=provider", "a stage is"),
            ("apply-patches@support=nobody", "shared-manufacturer"),
        ] {
            assert!(cell(bad).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn a_consent_to_another_agreement_is_none() {
        let key = LocalKey::from_seed(&zeroize::Zeroizing::new([3; 32]));
        let (hdo, product): (HdoId, ProductId) = ("riverside".parse().unwrap(), "pump".parse().unwrap());
        let agreement = Agreement {
            kind: Agreement::TYPE.to_owned(),
            format: 1,
            hdo: hdo.clone(),
            product: product.clone(),
            number: 1,
            previous: None,
            cells: Vec::new(),
            from: date("2027-01-01").unwrap(),
            until: None,
            reason: "as usual".to_owned(),
            key: Some(key.public()),
            name: "ada".parse().unwrap(),
            proposed_at: "2026-11-24T15:00:00Z".parse().unwrap(),
        };
        let word = Word::sign(&agreement, &key).unwrap();
        let consent = |sha256| Consent {
            kind: Consent::TYPE.to_owned(),
            format: 1,
            hdo: hdo.clone(),
            product: product.clone(),
            number: 1,
            agreement_sha256: sha256,
            key: None,
            name: "kim".parse().unwrap(),
            consented_at: "2026-11-25T15:00:00Z".parse().unwrap(),
        };
        let listed = |consent: &Consent| v1::ListedAgreement {
            agreement: Some(v1::Spoken { word: word.bytes().to_vec().into(), ..Default::default() }),
            consent: Some(v1::Spoken {
                word: Word::unsigned(consent).unwrap().bytes().to_vec().into(),
                ..Default::default()
            }),
        };
        assert!(pair(listed(&consent(word.digest())), &hdo, &product).unwrap().consent.is_some());
        let other = suture_core::digest::Digest::of(b"another");
        assert!(pair(listed(&consent(other)), &hdo, &product).unwrap_err().to_text().contains("to another"));
        let lakeside = "lakeside".parse().unwrap();
        assert!(pair(listed(&consent(word.digest())), &lakeside, &product).is_err());
    }
}
