//! The register of risk, agreements, products' lives and devices out of use, on both databases.

use jiff::civil::Date;
use suture_core::approval::SignedDocument as _;
use suture_core::clock::parse_day;
use suture_core::digest::Digest;
use suture_core::responsibility::Agreement;
use suture_core::risk::{Assessment, Exploitability, Group, Likelihood, Severity, Treatment};
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::word::{Word, after};
use zeroize::Zeroizing;

use super::super::Tx;
use super::super::decommissions::Decommission;
use super::super::devices::DeviceState;
use super::each;
use super::stops::{at, hdo, hospital, pump};

fn day(text: &str) -> Date {
    parse_day(text).unwrap()
}

fn key() -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([7; 32]))
}

async fn assess(tx: &mut Tx, releases: &str, treatment: Treatment, expires: &str, signed: bool) -> Word<Assessment> {
    let (number, previous) = after(tx.risk_head(&hdo()).await.unwrap());
    let assessment = Assessment {
        kind: Assessment::TYPE.to_owned(),
        format: 1,
        hdo: hdo(),
        number,
        previous,
        group: Group {
            product: "pump".parse().unwrap(),
            releases: Some(releases.parse().unwrap()),
            wards: Default::default(),
            labels: Default::default(),
            devices: Default::default(),
        },
        hazard: "a wrong dose".to_owned(),
        likelihood: Likelihood::Remote,
        severity: Severity::Critical,
        exploitability: Exploitability::Low,
        treatment,
        reason: "no other pump".to_owned(),
        compensating: vec!["a network of their own".to_owned()],
        reviewer: "Dr. Lee".to_owned(),
        expires: day(expires),
        key: signed.then(|| key().public()),
        name: "kim".parse().unwrap(),
        assessed_at: "2026-11-24T15:00:00Z".parse().unwrap(),
    };
    let word = if signed { Word::sign(&assessment, &key()) } else { Word::unsigned(&assessment) };
    let word = word.unwrap();
    tx.put_risk(&word, &"kim".parse().unwrap(), at(1)).await.unwrap();
    word
}

#[tokio::test]
async fn of_each_group_the_newest_signed_acceptance_counts_until_its_last_day() {
    each(async |store| {
        let mut tx = hospital(&store, 0).await;
        let pump = "pump".parse().unwrap();
        assert_eq!(tx.risk_head(&hdo()).await.unwrap(), None);
        let first = assess(&mut tx, "1..3", Treatment::Acceptance, "2027-05-01", true).await;
        assess(&mut tx, "4", Treatment::Acceptance, "2027-06-01", false).await;
        let third = assess(&mut tx, "5", Treatment::Acceptance, "2027-06-01", true).await;
        let mut accepted = async |on: &str| tx.acceptances(&hdo(), &pump, day(on)).await.unwrap();
        assert_eq!(
            accepted("2027-05-01").await,
            [first.bytes(), third.bytes()],
            "what nobody signed counts for nothing"
        );
        assert_eq!(accepted("2027-05-02").await, [third.bytes()]);
        let last = assess(&mut tx, "5", Treatment::Mitigation, "2027-06-01", true).await;
        assert_eq!(tx.acceptances(&hdo(), &pump, day("2027-05-02")).await.unwrap(), [[0_u8; 0]; 0]);
        assert_eq!(tx.risk_head(&hdo()).await.unwrap(), Some(last.head()));
        let other = "syringe".parse().unwrap();
        assert!(tx.acceptances(&hdo(), &other, day("2027-05-01")).await.unwrap().is_empty());
        tx.commit().await.unwrap();
        let rows = store.risks(&hdo(), 1, 2).await.unwrap();
        let numbers: Vec<u64> = rows.iter().map(|row| Word::<Assessment>::read(&row.word).unwrap().number).collect();
        assert_eq!((numbers.as_slice(), rows[0].by.as_str(), rows[0].at), (&[2, 3][..], "kim", at(1)));
        assert!(store.risks(&"lakeside".parse().unwrap(), 0, 9).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_agreement_is_consented_to_once() {
    each(async |store| {
        let mut tx = hospital(&store, 0).await;
        let product = "pump".parse().unwrap();
        let agreement = Agreement {
            kind: Agreement::TYPE.to_owned(),
            format: 1,
            hdo: hdo(),
            product: "pump".parse().unwrap(),
            number: 1,
            previous: None,
            cells: Vec::new(),
            from: day("2027-01-01"),
            until: None,
            reason: "as usual".to_owned(),
            key: None,
            name: "ada".parse().unwrap(),
            proposed_at: "2026-11-24T15:00:00Z".parse().unwrap(),
        };
        let word = Word::unsigned(&agreement).unwrap();
        assert_eq!(tx.agreement_head(&hdo(), &product).await.unwrap(), None);
        tx.put_agreement(&word, &"ada".parse().unwrap(), at(1)).await.unwrap();
        assert_eq!(tx.agreement_head(&hdo(), &product).await.unwrap(), Some((word.head(), false)));
        let kim = "kim".parse().unwrap();
        let (hospital, other) = (hdo(), Digest::of(b"another"));
        assert!(!tx.put_consent((&hospital, &product, other), b"yes", &kim, at(2)).await.unwrap());
        assert!(tx.put_consent((&hospital, &product, word.digest()), b"yes", &kim, at(2)).await.unwrap());
        assert!(!tx.put_consent((&hospital, &product, word.digest()), b"again", &kim, at(3)).await.unwrap());
        assert_eq!(tx.agreement_head(&hdo(), &product).await.unwrap(), Some((word.head(), true)));
        tx.commit().await.unwrap();
        let agreed = store.agreements((&hdo(), &product), 0, 9).await.unwrap().remove(0);
        let consent = agreed.consent.unwrap();
        assert_eq!((agreed.agreement.word.as_slice(), consent.word.as_slice()), (word.bytes(), &b"yes"[..]));
        assert_eq!((consent.by.as_str(), consent.at, agreed.agreement.at), ("kim", at(2), at(1)));
        assert!(store.agreements((&hdo(), &product), 1, 9).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_device_out_of_use_stays_on_record_and_never_enrols_again() {
    each(async |store| {
        let mut tx = hospital(&store, 2).await;
        let out = |reason: &str| Decommission { reason: reason.to_owned(), by: "kim".parse().unwrap(), at: at(5) };
        assert_eq!(tx.decommissioned(&hdo(), &pump(1)).await.unwrap(), None);
        assert!(tx.decommission(&hdo(), &pump(1), &out("sold; disk wiped")).await.unwrap());
        assert!(!tx.decommission(&hdo(), &pump(1), &out("again")).await.unwrap());
        assert!(!tx.revoke_device(&hdo(), &pump(1), at(6)).await.unwrap(), "it is refused already");
        assert_eq!(tx.decommissioned(&hdo(), &pump(1)).await.unwrap(), Some(out("sold; disk wiped")));
        assert_eq!(tx.device(&hdo(), &pump(1)).await.unwrap().unwrap().state, DeviceState::Decommissioned);
        assert!(!tx.decommission(&hdo(), &"strange".parse().unwrap(), &out("x")).await.unwrap());
        let report_key = key().public();
        let (fingerprint, now) = (Digest::of(b"keys"), at(7));
        let enrolment = super::super::devices::Enrolment { fingerprint: &fingerprint, report_key: &report_key, now };
        assert!(!tx.enroll_device(&hdo(), &pump(1), enrolment).await.unwrap());
        // One that was revoked before can still go out of use.
        assert!(tx.revoke_device(&hdo(), &pump(2), at(6)).await.unwrap());
        assert!(tx.decommission(&hdo(), &pump(2), &out("lost")).await.unwrap());
    })
    .await;
}
