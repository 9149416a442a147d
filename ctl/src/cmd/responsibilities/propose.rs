//! `responsibilities propose|sign`.

use jiff::civil::Date;
use suture_core::approval::SignedDocument as _;
use suture_core::clock::day_of;
use suture_core::id::{HdoId, ProductId};
use suture_core::responsibility::{Agreed, Agreement, Consent};
use suture_core::word::{Word, after};
use suture_proto::v1;

use super::{agreements, cell, date};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::Desk;
use crate::hospital::statements::own_name;
use crate::keys::KeyName;
use crate::print::counted;
use crate::repository;
use crate::trust_store::Which;
use crate::words::{say, speaker};

/// Arguments of `responsibilities propose`.
#[derive(Debug, Clone, clap::Args)]
pub struct ProposeArgs {
    /// The product
    product: ProductId,
    /// The hospital
    #[arg(long)]
    hdo: HdoId,
    /// Where it is not as usual, as in apply-patches@support=shared-manufacturer, a note after a colon; may be given several
    /// times. Without any, all is as usual again
    #[arg(long, value_name = "TASK@STAGE=HOLDER[:NOTE]", value_parser = cell)]
    cell: Vec<Agreed>,
    /// The first day on which it holds [default: today]
    #[arg(long, value_name = "DATE", value_parser = date)]
    from: Option<Date>,
    /// The first day on which it holds no more [default: until another takes its place]
    #[arg(long, value_name = "DATE", value_parser = date)]
    until: Option<Date>,
    /// Why
    #[arg(long)]
    reason: String,
    /// The key that signs it
    #[arg(long, value_name = "KEY", default_value = "targets")]
    key: KeyName,
}

/// `responsibilities propose`.
pub(super) async fn propose(context: &mut Context<'_>, args: ProposeArgs) -> Outcome {
    context.home.server()?.manufacturer()?;
    let mut client = context.connect().await?;
    let base = repository::base(context, &mut client, Which::Catalog).await?;
    let ProposeArgs { product, hdo, cell, from, until, reason, key } = args;
    let name = own_name(context)?;
    let before = agreements(context, &mut client, &hdo, &product).await?;
    let (number, previous) = after(before.last().map(|pair| pair.agreement.word.head()));
    let speaker = speaker(context, base.root(), &key, &name)?;
    let agreement = Agreement {
        kind: Agreement::TYPE.to_owned(),
        format: 1,
        hdo: hdo.clone(),
        product: product.clone(),
        number,
        previous,
        cells: cell,
        from: from.unwrap_or_else(|| day_of(context.now())),
        until,
        reason,
        key: speaker.as_ref().map(|(key, _)| *key),
        name,
        proposed_at: context.now(),
    };
    let word = say(&agreement, speaker.as_ref().map(|(_, signer)| &**signer))?;
    unsigned_note(context, speaker.is_none(), &key);
    client.propose_agreement(v1::ProposeAgreementRequest { word: word.bytes().to_vec().into() }).await?;
    context.print.result(&agreement, |a| {
        format!(
            "proposed to {hdo} as agreement {number} on {product}, {} not as usual; it holds once the hospital \
             has signed: suturectl responsibilities sign {product} {number}",
            counted(a.cells.len(), "cell", "is", "are")
        )
    })
}

/// `responsibilities sign`.
pub(super) async fn sign(context: &mut Context<'_>, product: ProductId, number: u64, key: &KeyName) -> Outcome {
    let mut desk = Desk::open_base(context).await?;
    let base = repository::base(context, &mut desk.client, Which::Catalog).await?;
    let pairs = agreements(context, &mut desk.client, &desk.hdo, &product).await?;
    let newest = pairs.last().filter(|pair| pair.agreement.word.number == number).ok_or_else(|| {
        let text = match pairs.last() {
            None => format!("the manufacturer has proposed nothing on {product}"),
            Some(pair) => format!("the newest proposal on {product} is number {}", pair.agreement.word.number),
        };
        Failure::new(text).next(format!("`suturectl responsibilities history {product}`"))
    })?;
    let agreement: &Word<Agreement> = &newest.agreement.word;
    if let Some(key) = agreement.key.filter(|_| !agreement.is_listed(base.root())) {
        return Err(Failure::untrusted(format!(
            "the key {key}, which has signed the proposal, is none of the manufacturer's"
        ))
        .next("do not sign it; ask the manufacturer over another channel"));
    }
    let name = own_name(context)?;
    let speaker = speaker(context, desk.approvals.root(), key, &name)?;
    let consent = Consent {
        kind: Consent::TYPE.to_owned(),
        format: 1,
        hdo: desk.hdo.clone(),
        product: product.clone(),
        number,
        agreement_sha256: agreement.digest(),
        key: speaker.as_ref().map(|(key, _)| *key),
        name,
        consented_at: context.now(),
    };
    let word = say(&consent, speaker.as_ref().map(|(_, signer)| &**signer))?;
    unsigned_note(context, speaker.is_none(), key);
    let from = agreement.from;
    desk.client.consent_to_agreement(v1::ConsentToAgreementRequest { word: word.bytes().to_vec().into() }).await?;
    context.print.result(&consent, |_| {
        format!("agreement {number} on {product} is signed by both sides; it holds from {from}: suturectl responsibilities show {product}")
    })
}

fn unsigned_note(context: &mut Context<'_>, is_unsigned: bool, key: &KeyName) {
    if is_unsigned {
        context.print.note(&format!(
            "note: this home has no key {key} that signs for its side, so this is said by certificate alone, and shown so"
        ));
    }
}
