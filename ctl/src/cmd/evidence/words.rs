//! The register of risk, and who does what.

use suture_core::id::{HdoId, ProductId};
use suture_core::word::Spoken;

use super::gather::Gathering;
use super::letters;
use crate::cmd::{responsibilities, risk};
use crate::evidence::served::Recorded;
use crate::evidence::words;
use crate::failure::Outcome;
use crate::words::Heard;

/// The hospital's whole register of risk.
pub(super) async fn risks(gathering: &mut Gathering<'_, '_>, hdo: &HdoId) -> Outcome {
    let register = risk::register(gathering.context, &mut gathering.client, hdo).await?;
    for heard in &register {
        put(gathering, words::risk(heard.word.number), heard)?;
    }
    Ok(())
}

/// The agreements with a hospital on a product, from the first on. In a manufacturer's folder with the roots by which the
/// hospital's consents count.
pub(super) async fn agreements(gathering: &mut Gathering<'_, '_>, hdo: &HdoId, product: &ProductId) -> Outcome {
    let pairs = responsibilities::agreements(gathering.context, &mut gathering.client, hdo, product).await?;
    let mut heard = false;
    for pair in &pairs {
        let number = pair.agreement.word.number;
        put(gathering, words::agreement(hdo, product, number), &pair.agreement)?;
        if let Some(consent) = &pair.consent {
            put(gathering, words::consent(hdo, product, number), consent)?;
            heard |= consent.word.key().is_some();
        }
    }
    if heard && gathering.about.hdo.is_none() {
        letters::roots(gathering, hdo).await?;
    }
    Ok(())
}

fn put<D: Spoken>(gathering: &mut Gathering<'_, '_>, path: String, heard: &Heard<D>) -> Outcome {
    gathering.put(path.clone(), heard.word.bytes().to_vec())?;
    let at = heard.at.as_deref().and_then(suture_core::clock::parse_utc);
    gathering.served.recorded.push(Recorded { path, by: heard.by.clone(), at });
    Ok(())
}
