//! Letters of both sides, with how far each came.

use std::collections::BTreeSet;

use suture_core::digest::Digest;
use suture_core::id::{HdoId, ProductId};
use suture_core::limits::{MAX_LETTERS, MAX_LETTERS_PER_CALL, MAX_ROOT_STEPS, MAX_ROOTS_PER_CALL, MAX_ROWS_PER_CALL};
use suture_core::notice::{Said, Side, VerifiedLetter};
use suture_core::trust::{Root, Verified};
use suture_proto::{parse, v1};

use super::gather::Gathering;
use crate::evidence::{letters, partners, served};
use crate::failure::{Failure, Outcome};
use crate::letters::{read, root_of};

/// What both sides have written to one another, from the first letter on.
pub(super) async fn of_hospital(gathering: &mut Gathering<'_, '_>, hdo: &HdoId) -> Outcome {
    for side in [Side::Manufacturer, Side::Hospital] {
        for stored in series(gathering, hdo, side).await? {
            put(gathering, (hdo, side), &stored)?;
        }
    }
    Ok(())
}

/// What the manufacturer and each hospital have written to one another about a product, and the roots by which the hospitals'
/// letters count.
pub(super) async fn of_manufacturer(gathering: &mut Gathering<'_, '_>, product: &ProductId) -> Outcome {
    for hdo in hospitals(gathering).await? {
        let mut all = Vec::new();
        for side in [Side::Manufacturer, Side::Hospital] {
            for stored in series(gathering, &hdo, side).await? {
                all.push((read(&stored.content, side)?, stored));
            }
        }
        let is_about = |letter: &VerifiedLetter| letters::product(letter) == Some(product);
        let about: BTreeSet<Digest> = all.iter().filter(|(l, _)| is_about(l)).map(|(l, _)| l.digest()).collect();
        let answers = |letter: &VerifiedLetter| match &letter.said {
            Said::Acknowledgement(answer) => about.contains(&answer.sha256),
            Said::Notice(_) | Said::Suspicion(_) => false,
        };
        let mut heard = false;
        for (letter, stored) in all.iter().filter(|(letter, _)| is_about(letter) || answers(letter)) {
            put(gathering, (&hdo, letter.from), stored)?;
            heard |= letter.from == Side::Hospital;
        }
        if heard {
            roots(gathering, &hdo).await?;
        }
    }
    Ok(())
}

fn put(gathering: &mut Gathering<'_, '_>, (hdo, side): (&HdoId, Side), stored: &v1::StoredLetter) -> Outcome {
    gathering.put(letters::place(hdo, side, stored.number), stored.content.to_vec())?;
    gathering.served.letters.push(served::Letter::of((hdo, side), stored)?);
    Ok(())
}

/// One series, page by page.
async fn series(gathering: &mut Gathering<'_, '_>, hdo: &HdoId, side: Side) -> Outcome<Vec<v1::StoredLetter>> {
    let mut all: Vec<v1::StoredLetter> = Vec::new();
    loop {
        let after = all.last().map_or(0, |letter| letter.number);
        let request = v1::ListLettersRequest {
            hdo: hdo.to_string(),
            from: side.to_string(),
            after,
            limit: MAX_LETTERS_PER_CALL,
            roots_after: None,
        };
        let v1::ListLettersResponse { letters, more, roots: _ } = gathering.client.list_letters(request).await?;
        all.extend(letters);
        if !more {
            return Ok(all);
        }
        let last = all.last().map_or(0, |letter| letter.number);
        if last <= after || last > MAX_LETTERS {
            return Err(Failure::untrusted("the server's list of letters does not come to an end"));
        }
    }
}

/// All hospitals, by the server's word.
pub(super) async fn hospitals(gathering: &mut Gathering<'_, '_>) -> Outcome<Vec<HdoId>> {
    let mut all: Vec<HdoId> = Vec::new();
    loop {
        let request = v1::ListLetterHeadsRequest {
            from: Side::Manufacturer.to_string(),
            after: all.last().map(ToString::to_string).unwrap_or_default(),
            limit: MAX_ROWS_PER_CALL,
            product: String::new(),
        };
        let v1::ListLetterHeadsResponse { heads, more } = gathering.client.list_letter_heads(request).await?;
        let before = all.len();
        for head in heads {
            let hdo: HdoId = parse("hdo", &head.hdo)?;
            if all.last().is_some_and(|last| *last >= hdo) {
                return Err(Failure::untrusted("the server's list of hospitals does not come to an end"));
            }
            all.push(hdo);
        }
        if !more || all.len() == before {
            return Ok(all);
        }
    }
}

/// A hospital's roots from the first on, which must lead by way of the one that this home knows.
pub(super) async fn roots(gathering: &mut Gathering<'_, '_>, hdo: &HdoId) -> Outcome {
    let known = root_of(gathering.context, &mut gathering.client, (hdo, Side::Hospital)).await?;
    let mut last: Option<Verified<Root>> = None;
    let mut is_met = false;
    for _ in 0..MAX_ROOT_STEPS {
        let request = v1::ListLettersRequest {
            hdo: hdo.to_string(),
            from: Side::Hospital.to_string(),
            after: MAX_LETTERS,
            limit: 1,
            roots_after: Some(last.as_ref().map_or(0, |root| root.version())),
        };
        let roots = gathering.client.list_letters(request).await?.roots;
        let is_end = roots.len() < MAX_ROOTS_PER_CALL;
        for bytes in roots {
            let root = match &last {
                Some(last) => last.next(&bytes)?,
                None => Verified::<Root>::pinned(&bytes)?,
            };
            is_met |= root.digest() == known.digest();
            gathering.put(partners::place(hdo, root.version()), bytes.to_vec())?;
            last = Some(root);
        }
        if is_end {
            break;
        }
    }
    if is_met {
        return Ok(());
    }
    Err(Failure::untrusted(format!(
        "the roots of {hdo} that the server shows do not lead to the one that this home knows"
    ))
    .next("ask the hospital over another channel which root is theirs"))
}
