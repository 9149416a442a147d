//! Letters, as both sides read them.

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::approval::SignedDocument as _;
use crate::digest::Digest;
use crate::id::HdoId;
use crate::limits::{MAX_LETTER_BYTES, MAX_LETTERS, MAX_NOTICE_TEXT_BYTES};
use crate::sign::{LocalKey, Signer as _};
use crate::version::Release;

pub(crate) fn key(seed: u8) -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([seed; 32]))
}

pub(crate) fn notice(kind: Kind) -> Notice {
    Notice {
        kind,
        product: "pump".parse().unwrap(),
        releases: vec!["1..2".parse().unwrap()],
        hardware: vec!["rev-a".parse().unwrap()],
        severity: Severity::High,
        cves: vec!["CVE-2026-12345".parse().unwrap()],
        subject: "the alarm can be silenced over the network".to_owned(),
        text: "whoever is on the pump's network can silence its alarm".to_owned(),
        actions: "install release 3".to_owned(),
        compensating: "keep the pumps on a network of their own".to_owned(),
        fixed_by: Some(Release(3)),
        support: Some(SupportChange {
            service_change: "2028-12-31".parse().unwrap(),
            operating_system: "Linux 6.12".to_owned(),
            components: vec![Component {
                name: "openssl".to_owned(),
                version: "3.0".to_owned(),
                support_ends: "2026-09-07".parse().unwrap(),
            }],
            maintenance: "security patches until 2028-12-31".to_owned(),
            upgrades: vec![Upgrade { scope: UpgradeScope::FullReplacement, text: "pump II".to_owned() }],
        }),
        links: vec!["https://acme.example/fsn/12".to_owned()],
        attachments: vec![Attachment {
            name: "notes.pdf".to_owned(),
            length: 3,
            sha256: Digest::of(b"pdf"),
            url: String::new(),
        }],
        learned: Some("2026-11-20".parse().unwrap()),
        acknowledge_by: "2026-12-01T12:00:00Z".parse().unwrap(),
    }
}

pub(crate) fn letter(number: u64, previous: Option<Digest>, said: Said, seed: u8) -> Letter {
    let from = match &said {
        Said::Notice(_) => Side::Manufacturer,
        Said::Suspicion(_) | Said::Acknowledgement(_) => Side::Hospital,
    };
    Letter {
        kind: Letter::TYPE.to_owned(),
        format: 1,
        from,
        hdo: "riverside".parse().unwrap(),
        number,
        previous,
        said,
        key: key(seed).public(),
        name: "ada".parse().unwrap(),
        written_at: "2026-11-24T18:00:00Z".parse().unwrap(),
    }
}

/// So many notices in a row, each signed by the key of that seed.
fn series(seeds: &[u8]) -> Vec<VerifiedLetter> {
    let mut letters: Vec<VerifiedLetter> = Vec::new();
    for (number, seed) in (1..).zip(seeds) {
        let said = Said::Notice(Box::new(notice(Kind::Advisory)));
        let previous = letters.last().map(VerifiedLetter::digest);
        letters.push(letter(number, previous, said, *seed).sign(&key(*seed)).unwrap());
    }
    letters
}

fn suspicion() -> Suspicion {
    Suspicion {
        kind: SuspicionKind::Incident,
        product: "pump".parse().unwrap(),
        release: Some(Release(2)),
        devices: vec!["pump-1".parse().unwrap()],
        severity: Severity::Medium,
        text: "it called an address that it never calls".to_owned(),
        indicators: vec![Indicator { kind: IndicatorKind::Ipv4, value: "203.0.113.7".to_owned() }],
        updates: None,
        withdrawn: false,
    }
}

fn hdo() -> HdoId {
    "riverside".parse().unwrap()
}

fn followed(known: Option<Head>, letters: &[VerifiedLetter], listed: &[u8]) -> Result<Followed, LettersError> {
    let listed: Vec<_> = listed.iter().map(|seed| key(*seed).public()).collect();
    follow((&hdo(), Side::Manufacturer), known, letters, |letter| listed.contains(&letter.key))
}

/// What is wrong with the row.
fn row(followed: Result<Followed, LettersError>) -> Result<Followed, SeriesError> {
    followed.map_err(|error| match error {
        LettersError::Series { source, .. } => source,
        LettersError::Foreign { .. } => panic!("{error}"),
    })
}

#[test]
fn a_letter_is_read_as_it_was_signed_and_by_its_key_alone() {
    let said = [
        Said::Notice(Box::new(notice(Kind::EndOfSupport))),
        Said::Suspicion(Box::new(suspicion())),
        Said::Acknowledgement(Acknowledgement { number: 4, sha256: Digest::of(b"4"), text: "done".to_owned() }),
    ];
    for said in said {
        let letter = letter(1, None, said, 1);
        let signed = letter.sign(&key(1)).unwrap();
        assert_eq!((&*signed, &VerifiedLetter::verify(signed.bytes()).unwrap()), (&letter, &signed));
        assert!(matches!(letter.sign(&key(2)), Err(LetterError::Signature(_))), "another's key");
        for (from, to) in [("riverside", "riversida"), ("\"number\":1", "\"number\":0"), ("ada", "bob")] {
            let other = String::from_utf8(signed.bytes().to_vec()).unwrap().replace(from, to);
            assert!(VerifiedLetter::verify(other.as_bytes()).is_err(), "{to}");
        }
    }
    let long = vec![b' '; 1 + MAX_LETTER_BYTES as usize];
    assert!(matches!(VerifiedLetter::verify(&long), Err(LetterError::Document(_))));
}

#[test]
fn each_kind_says_all_that_it_must_or_is_refused_with_all_that_is_missing() {
    for kind in Kind::ALL {
        notice(kind).complete().unwrap();
    }
    let bare =
        |kind| Notice { releases: vec![], compensating: String::new(), fixed_by: None, support: None, ..notice(kind) };
    let missing = |notice: &Notice| notice.complete().err().map(|e| e.missing).unwrap_or_default().join(" ");
    for (kind, wanted) in [
        (Kind::Advisory, &["compensating"][..]),
        (Kind::PatchAvailable, &["fixed_by"]),
        (Kind::Withdrawal, &["releases"]),
        (
            Kind::EndOfLife,
            &["releases", "compensating", "service_change", "operating_system", "maintenance", "upgrades"],
        ),
        (
            Kind::EndOfSupport,
            &["releases", "compensating", "service_change", "operating_system", "maintenance", "upgrades"],
        ),
        (Kind::ComponentEndOfSupport, &["compensating", "service_change", "components"]),
        (Kind::ResidualRisk, &["compensating"]),
        (Kind::Decommissioning, &[]),
    ] {
        let said = missing(&bare(kind));
        assert_eq!(said.is_empty(), wanted.is_empty(), "{kind}: {said}");
        assert!(wanted.iter().all(|w| said.contains(w)), "{kind}: {said}");
        let signed = letter(1, None, Said::Notice(Box::new(bare(kind))), 1).sign(&key(1));
        assert_eq!(signed.is_ok(), wanted.is_empty(), "{kind}");
    }
    // A support change that says half of it.
    let mut half = notice(Kind::EndOfLife);
    half.support.as_mut().unwrap().maintenance = " ".to_owned();
    half.support.as_mut().unwrap().upgrades.clear();
    let said = missing(&half);
    assert!(said.contains("maintenance") && said.contains("upgrades") && !said.contains("operating_system"), "{said}");
}

#[test]
fn what_breaks_a_rule_is_not_signed() {
    type Bend = fn(&mut Letter);
    let bends: [(Bend, &str); 8] = [
        (|l| l.number = 0, "number"),
        (|l| l.number = MAX_LETTERS + 1, "number"),
        (|l| l.previous = Some(Digest::of(b"x")), "first letter"),
        (|l| l.from = Side::Hospital, "manufacturer's to write"),
        (|l| edit(l).subject = "two\nlines".to_owned(), "subject"),
        (|l| edit(l).text = "x".repeat(MAX_NOTICE_TEXT_BYTES + 1), "text"),
        (|l| edit(l).links = vec!["http://acme.example".to_owned()], "link"),
        (|l| edit(l).cves = vec!["CVE-2026-12345".parse().unwrap(); 2], "CVE twice"),
    ];
    for (bend, rule) in bends {
        let mut bent = letter(1, None, Said::Notice(Box::new(notice(Kind::Advisory))), 1);
        bend(&mut bent);
        let error = bent.check().unwrap_err().to_string();
        assert!(error.contains(rule), "{rule}: {error}");
        assert!(bent.sign(&key(1)).is_err());
    }
    for (withdrawn, updates, good) in [(true, None, false), (false, Some(3), false), (true, Some(2), true)] {
        let report = Suspicion { withdrawn, updates, ..suspicion() };
        let letter = letter(3, Some(Digest::of(b"2")), Said::Suspicion(Box::new(report)), 1);
        assert_eq!(letter.check().is_ok(), good, "{updates:?}");
    }
    for bad in ["CVE-26-1234", "CVE-2026-123", "cve-2026-12345", "CVE-2026-1234x", "CVE-2026"] {
        assert!(bad.parse::<Cve>().is_err(), "{bad}");
    }
}

fn edit(letter: &mut Letter) -> &mut Notice {
    match &mut letter.said {
        Said::Notice(notice) => notice,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_series_that_leaves_out_swaps_or_rewrites_a_letter_is_refused() {
    let letters = series(&[1; 5]);
    let heads: Vec<Head> = letters.iter().map(VerifiedLetter::head).collect();
    let whole = followed(None, &letters, &[1]).unwrap();
    assert_eq!((whole.head, whole.standing), (Some(heads[4]), vec![Standing::Listed; 5]));
    // From what was seen last on, and with nothing new.
    assert_eq!(followed(Some(heads[2]), &letters[2..], &[1]).unwrap().head, Some(heads[4]));
    assert_eq!(followed(Some(heads[4]), &letters[4..], &[1]).unwrap().head, Some(heads[4]));

    let mut without = letters.clone();
    without.remove(2);
    assert!(matches!(row(followed(None, &without, &[1])), Err(SeriesError::Gap { wanted: 3, found: 4 })));
    let mut swapped = letters.clone();
    swapped.swap(2, 3);
    assert!(matches!(row(followed(None, &swapped, &[1])), Err(SeriesError::Gap { .. })));
    assert!(matches!(row(followed(None, &letters[1..], &[1])), Err(SeriesError::Gap { wanted: 1, found: 2 })));
    // Held back from whoever has seen them.
    let held_back = followed(Some(heads[4]), &letters[..4], &[1]);
    assert!(matches!(row(held_back), Err(SeriesError::Rewritten { number: 5, .. })));
    assert!(matches!(row(followed(Some(heads[4]), &[], &[1])), Err(SeriesError::Rewritten { number: 5, .. })));
    // A second letter under a number that was seen, though rightly signed.
    let said = Said::Notice(Box::new(notice(Kind::Withdrawal)));
    let other = letter(5, Some(heads[3].sha256), said.clone(), 1).sign(&key(1)).unwrap();
    let mut rewritten = letters[..4].to_vec();
    rewritten.push(other);
    assert!(followed(None, &rewritten, &[1]).is_ok(), "nobody who has seen none can tell");
    assert!(matches!(row(followed(Some(heads[4]), &rewritten, &[1])), Err(SeriesError::Rewritten { number: 5, .. })));
    // One that stands upon another.
    let other = letter(5, Some(heads[2].sha256), said, 1).sign(&key(1)).unwrap();
    rewritten[4] = other;
    assert!(matches!(row(followed(None, &rewritten, &[1])), Err(SeriesError::Chain(5))));
    // Another hospital's, or what the hospital itself has written.
    let (lakeside, riverside) = ("lakeside".parse().unwrap(), hdo());
    for series in [(&lakeside, Side::Manufacturer), (&riverside, Side::Hospital)] {
        let error = follow(series, None, &letters, |_| true).unwrap_err();
        assert!(matches!(error, LettersError::Foreign { .. }), "{error}");
    }
}

#[test]
fn a_key_that_is_no_longer_listed_counts_for_what_others_stand_upon() {
    let letters = series(&[1, 1, 2, 3]);
    use Standing::{Chained, Listed, Unlisted};
    let of = |known: Option<Head>, listed: &[u8]| followed(known, &letters, listed).unwrap();
    assert_eq!(of(None, &[1, 2, 3]).standing, [Listed; 4]);
    assert_eq!(of(None, &[3]).standing, [Chained, Chained, Chained, Listed]);
    let stolen = of(None, &[2]);
    assert_eq!(stolen.standing, [Chained, Chained, Listed, Unlisted], "nobody stands upon the last");
    assert_eq!(stolen.head, Some(letters[2].head()), "and it is not what one remembers");
    assert_eq!(of(None, &[]).standing, [Unlisted; 4]);
    assert_eq!(of(None, &[]).head, None);
    let seen = Some(letters[1].head());
    assert_eq!(of(seen, &[]).standing, [Chained, Chained, Unlisted, Unlisted], "what was verified once stays so");
    assert_eq!(of(seen, &[]).head, seen);
}

proptest! {
    /// Whatever a server leaves out, repeats or moves: it is seen, or what is left is the beginning of the whole.
    #[test]
    fn what_is_followed_is_a_beginning_of_what_was_written(order in proptest::collection::vec(0usize..5, 0..7)) {
        let letters = series(&[1; 5]);
        let shown: Vec<VerifiedLetter> = order.iter().map(|n| letters[*n].clone()).collect();
        let beginning = shown.len() <= letters.len() && shown == letters[..shown.len()];
        prop_assert_eq!(followed(None, &shown, &[1]).is_ok(), beginning);
    }
}
