//! `notice status`: a notice at each hospital.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use suture_core::digest::Digest;
use suture_core::id::HdoId;
use suture_core::limits::MAX_LETTERS_PER_CALL;
use suture_core::notice::{Said, Side, Standing};
use suture_proto::{parse, v1};

use super::list::by_beginning;
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::letters::{From, States, StepShown, fetch, root_of};
use crate::print::{Table, count};
use crate::sheet;

/// One hospital's.
#[derive(Debug, Serialize)]
struct Hospital {
    hdo: HdoId,
    name: String,
    number: u64,
    #[serde(flatten)]
    states: States,
    overdue: bool,
    /// With --verify: whether the acknowledgement is signed by one who may sign for the hospital.
    verified: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Status {
    id: Digest,
    hospitals: Vec<Hospital>,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, beginning: &str, verify: bool, csv: bool) -> Outcome {
    context.home.server()?.manufacturer()?;
    let mut client = context.connect().await?;
    let id = by_beginning(&mut client, beginning).await?;
    let now = context.now();
    let mut hospitals = hospitals(&mut client, id, now).await?;
    if verify {
        for hospital in &mut hospitals {
            hospital.verified = verified(context, &mut client, hospital).await?;
        }
    }
    let forged: Vec<String> =
        hospitals.iter().filter(|h| h.verified == Some(false)).map(|h| h.hdo.to_string()).collect();
    if csv {
        context.print.lines(&lines(&hospitals))?;
    } else {
        context.print.result(&Status { id, hospitals }, |status| table(status, now))?;
    }
    if forged.is_empty() {
        return Ok(());
    }
    Err(Failure::untrusted(format!("the acknowledgements of {} are shown as signed, and are not", forged.join(", ")))
        .next("ask these hospitals over another channel whether they have acknowledged the notice"))
}

/// All pages.
async fn hospitals(client: &mut Client, id: Digest, now: Timestamp) -> Outcome<Vec<Hospital>> {
    let mut found: Vec<Hospital> = Vec::new();
    loop {
        let after = found.last().map(|h| h.hdo.to_string()).unwrap_or_default();
        let request = v1::GetNoticeStatusRequest {
            id: id.as_bytes().to_vec().into(),
            after: after.clone(),
            limit: MAX_LETTERS_PER_CALL,
        };
        let v1::GetNoticeStatusResponse { hospitals, more } = client.get_notice_status(request).await?;
        for v1::NoticedHospital { hdo, name, letter } in hospitals {
            let hdo: HdoId = parse("hdo", &hdo)?;
            if found.last().is_some_and(|last| last.hdo > hdo) {
                return Err(Failure::untrusted("the server's list of hospitals does not come to an end"));
            }
            let stored = letter.unwrap_or_default();
            let number = stored.number;
            let states = States::read(stored)?;
            let overdue = states.is_overdue(now);
            found.push(Hospital { hdo, name, number, states, overdue, verified: None });
        }
        if !more || found.last().is_none_or(|last| last.hdo.as_str() == after) {
            return Ok(found);
        }
    }
}

/// Whether the hospital's own series holds the acknowledgement, by one who may; none where it is shown as unsigned, or not at all.
async fn verified(context: &mut Context<'_>, client: &mut Client, hospital: &Hospital) -> Outcome<Option<bool>> {
    let Some(sha256) = hospital.states.acknowledged.as_ref().and_then(|a| a.letter_sha256) else { return Ok(None) };
    let side = (&hospital.hdo, Side::Hospital);
    let root = root_of(context, client, side).await?;
    let letters: BTreeMap<Digest, _> = fetch(context, client, side, &root, From::First)
        .await?
        .into_iter()
        .map(|kept| (kept.letter.digest(), kept))
        .collect();
    let answers = letters.get(&sha256).is_some_and(|kept| match &kept.letter.said {
        Said::Acknowledgement(a) => a.number == hospital.number && kept.standing != Standing::Unlisted,
        Said::Notice(_) | Said::Suspicion(_) => false,
    });
    Ok(Some(answers))
}

/// For a spreadsheet.
fn lines(hospitals: &[Hospital]) -> Vec<String> {
    let headings = "hospital,name,number,published,delivered_by,delivered,read_by,read,answer_by,acknowledged_by,acknowledged,\
                    signed,verified,said,overdue,repeats";
    let mut lines = vec![headings.to_owned()];
    for h in hospitals {
        let States { published, delivered, read, acknowledged, answer_by, repeats, .. } = &h.states;
        let step = |step: &Option<StepShown>| step.clone().map_or_else(Default::default, |s| (s.by, s.at));
        let ((delivered_by, delivered), (read_by, read)) = (step(delivered), step(read));
        let (by, at, signed, said) = acknowledged
            .clone()
            .map_or_else(Default::default, |a| (a.by, a.at, a.letter_sha256.is_some().to_string(), a.text));
        lines.push(sheet::row(&[
            h.hdo.as_str(),
            &h.name,
            &h.number.to_string(),
            published.as_deref().unwrap_or_default(),
            &delivered_by,
            &delivered,
            &read_by,
            &read,
            answer_by.as_deref().unwrap_or_default(),
            &by,
            &at,
            &signed,
            &h.verified.map(|verified| verified.to_string()).unwrap_or_default(),
            &said,
            &h.overdue.to_string(),
            &repeats.to_string(),
        ]));
    }
    lines
}

fn table(status: &Status, now: Timestamp) -> String {
    let mut table = Table::new(["hospital", "no", "published", "delivered", "read", "state", "said"]);
    for h in &status.hospitals {
        let verified = match h.verified {
            Some(true) => " (verified)",
            Some(false) => " (DOES NOT VERIFY)",
            None => "",
        };
        table.row([
            format!("{} ({})", h.hdo, h.name),
            h.number.to_string(),
            h.states.published.clone().unwrap_or_default(),
            StepShown::to_text(&h.states.delivered),
            StepShown::to_text(&h.states.read),
            format!("{}{verified}", h.states.to_text(now)),
            h.states.acknowledged.as_ref().map(|a| a.text.clone()).unwrap_or_default(),
        ]);
    }
    let overdue = status.hospitals.iter().filter(|h| h.overdue).count();
    let open = status.hospitals.iter().filter(|h| h.states.is_open()).count();
    format!(
        "{}\n{}not acknowledged by {open} of {}; overdue: {overdue}",
        status.id,
        table.to_text(),
        count(status.hospitals.len(), "hospital")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_of_each_hospital_how_far_it_is() {
        let step = |by: &str, at_ms| Some(v1::LetterStep { by: by.to_owned(), at_ms });
        let stored = v1::StoredLetter {
            number: 3,
            stored_ms: 1_800_000_000_000,
            delivered: step("syslog siem", 1_800_000_060_000),
            answered: step("kim", 1_800_000_120_000),
            answer: "Friday, all wards".to_owned(),
            answer_by_ms: 1_800_600_000_000,
            ..Default::default()
        };
        let hospital = |stored| Hospital {
            hdo: "riverside".parse().unwrap(),
            name: "Riverside".to_owned(),
            number: 3,
            states: States::read(stored).unwrap(),
            overdue: false,
            verified: None,
        };
        let open = v1::StoredLetter { number: 3, ..Default::default() };
        let lines = lines(&[hospital(stored), hospital(open)]);
        let want = "riverside,Riverside,3,2027-01-15T08:00:00Z,syslog siem,2027-01-15T08:01:00Z,,,2027-01-22T06:40:00Z,kim,\
                    2027-01-15T08:02:00Z,false,,\"Friday, all wards\",false,0";
        assert_eq!(lines[1], want);
        assert_eq!(lines[2], "riverside,Riverside,3,,,,,,,,,,,,false,0");
        let columns = |line: &str| line.split(',').count();
        assert_eq!(columns(&lines[0]), columns(&lines[2]));
    }
}
