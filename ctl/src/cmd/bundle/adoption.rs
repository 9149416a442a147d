//! `bundle adoption`: how far a bundle is at each hospital. The server counts, by reports that devices have signed; it tells
//! the manufacturer of no device and of no ward.

use jiff::Timestamp;
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::limits::MAX_ADOPTIONS_PER_CALL;
use suture_proto::{parse_digest, v1};

use crate::client::Client;
use crate::cmd::rollout::BundleName;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::print::{Table, count};

/// Arguments of `bundle adoption`.
#[derive(Debug, clap::Args)]
pub struct AdoptionArgs {
    /// The bundle, as in pump@7
    #[arg(value_name = "PRODUCT@RELEASE")]
    bundle: BundleName,
}

/// A bundle at all hospitals that have devices of its product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Adoption {
    bundle: String,
    version: String,
    manifest_sha256: Digest,
    pub(super) hospitals: Vec<Hospital>,
}

/// One hospital's counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Hospital {
    hdo: String,
    name: String,
    devices: u32,
    pub(super) confirmed: u32,
    under_way: u32,
    late: u32,
    failed: u32,
    /// In none of these: nobody has begun them.
    others: u32,
    pub(super) open_rollouts: u32,
    /// `declined` or `deferred`, where that is the hospital's last word.
    decision: Option<String>,
    /// When the hospital looks at that again.
    review: Option<String>,
    last_heard: Option<String>,
}

/// Asks for all pages.
pub(super) async fn fetch(client: &mut Client, bundle: &BundleName) -> Outcome<Adoption> {
    let mut hospitals: Vec<Hospital> = Vec::new();
    loop {
        let after = hospitals.last().map(|h| h.hdo.clone()).unwrap_or_default();
        let request = v1::GetAdoptionRequest {
            product: bundle.product.to_string(),
            release: bundle.release.0,
            after: after.clone(),
            limit: MAX_ADOPTIONS_PER_CALL,
        };
        let v1::GetAdoptionResponse { version, manifest_sha256, hospitals: page, more } =
            client.get_adoption(request).await?;
        for hospital in page {
            let hospital = read(hospital);
            if hospitals.last().is_some_and(|last| last.hdo >= hospital.hdo) {
                return Err(Failure::untrusted("the server's list of hospitals does not come to an end"));
            }
            hospitals.push(hospital);
        }
        if !more || hospitals.last().is_none_or(|last| last.hdo == after) {
            let manifest_sha256 = parse_digest("manifest_sha256", &manifest_sha256)?;
            return Ok(Adoption { bundle: bundle.to_string(), version, manifest_sha256, hospitals });
        }
    }
}

fn read(message: v1::Adoption) -> Hospital {
    let v1::Adoption {
        hdo,
        name,
        devices,
        confirmed,
        under_way,
        late,
        failed,
        open_rollouts,
        choice,
        review,
        last_heard_ms,
    } = message;
    let begun = [confirmed, under_way, late, failed].into_iter().fold(0, u32::saturating_add);
    let said = |text: String| Some(text).filter(|t| !t.is_empty());
    Hospital {
        hdo,
        name,
        devices,
        confirmed,
        under_way,
        late,
        failed,
        others: devices.saturating_sub(begun),
        open_rollouts,
        decision: said(choice),
        review: said(review),
        last_heard: Timestamp::from_millisecond(last_heard_ms).ok().filter(|_| last_heard_ms > 0).map(format_utc),
    }
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: AdoptionArgs) -> Outcome {
    context.home.server()?.manufacturer()?;
    let adoption = fetch(&mut context.connect().await?, &args.bundle).await?;
    context.print.result(&adoption, text)
}

fn text(adoption: &Adoption) -> String {
    let headings =
        ["hospital", "devices", "confirmed", "under way", "late", "failed", "others", "decision", "last heard"];
    let mut table = Table::new(headings);
    for h in &adoption.hospitals {
        let decision = match (&h.decision, &h.review) {
            (Some(choice), Some(review)) => format!("{choice}, review {review}"),
            _ => String::new(),
        };
        table.row([
            format!("{} ({})", h.hdo, h.name),
            h.devices.to_string(),
            h.confirmed.to_string(),
            h.under_way.to_string(),
            h.late.to_string(),
            h.failed.to_string(),
            h.others.to_string(),
            decision,
            h.last_heard.clone().unwrap_or_default(),
        ]);
    }
    let total = |of: fn(&Hospital) -> u32| adoption.hospitals.iter().map(of).fold(0, u32::saturating_add);
    format!(
        "{} {}: of {}, {} confirmed on it by signed reports\n{}",
        adoption.bundle,
        adoption.version,
        count(total(|h| h.devices), "device"),
        total(|h| h.confirmed),
        table.to_text()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_a_decision_is_told_with_its_review() {
        let message = v1::Adoption {
            hdo: "riverside".to_owned(),
            name: "Riverside Hospital".to_owned(),
            devices: 10,
            confirmed: 4,
            under_way: 1,
            late: 1,
            failed: 1,
            choice: "deferred".to_owned(),
            review: "2027-01-15".to_owned(),
            ..Default::default()
        };
        let hospital = read(message);
        assert_eq!((hospital.others, &hospital.last_heard), (3, &None));
        let adoption = Adoption {
            bundle: "pump@2".to_owned(),
            version: "2.0.0".to_owned(),
            manifest_sha256: Digest::of(b"manifest"),
            hospitals: vec![hospital],
        };
        let text = text(&adoption);
        assert!(text.starts_with("pump@2 2.0.0: of 10 devices, 4 confirmed"), "{text}");
        assert!(text.contains("deferred, review 2027-01-15"), "{text}");
        // What a server says that cannot be does not end the program.
        assert_eq!(read(v1::Adoption { devices: 1, confirmed: 5, ..Default::default() }).others, 0);
    }
}
