use zeroize::Zeroizing;

use super::*;
use crate::approval::SignedDocument as _;
use crate::clock::parse_day;
use crate::label::Labels;
use crate::sign::{LocalKey, Signer as _};
use crate::word::{SeriesError, WordError, after, follow};

fn key(seed: u8) -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([seed; 32]))
}

fn day(text: &str) -> Date {
    parse_day(text).unwrap()
}

fn group(releases: &str, wards: &[&str], devices: &[&str]) -> Group {
    Group {
        product: "pump".parse().unwrap(),
        releases: (!releases.is_empty()).then(|| releases.parse().unwrap()),
        wards: wards.iter().map(|w| w.parse().unwrap()).collect(),
        labels: Default::default(),
        devices: devices.iter().map(|d| d.parse().unwrap()).collect(),
    }
}

fn assessment((number, previous): (u64, Option<Digest>), group: Group, treatment: Treatment) -> Assessment {
    Assessment {
        kind: Assessment::TYPE.to_owned(),
        format: 1,
        hdo: "riverside".parse().unwrap(),
        number,
        previous,
        group,
        hazard: "a stolen pump takes a wrong dose over the network".to_owned(),
        likelihood: Likelihood::Remote,
        severity: Severity::Critical,
        exploitability: Exploitability::Medium,
        treatment,
        reason: "there is no other pump".to_owned(),
        compensating: vec!["a network of their own".to_owned()],
        reviewer: "Dr. Lee, clinical engineering".to_owned(),
        expires: day("2027-05-01"),
        key: Some(key(1).public()),
        name: "kim".parse().unwrap(),
        assessed_at: "2026-11-24T18:00:00Z".parse().unwrap(),
    }
}

fn register(entries: &[(Group, Treatment)]) -> Vec<Word<Assessment>> {
    let mut words: Vec<Word<Assessment>> = Vec::new();
    for (group, treatment) in entries {
        let place = after(words.last().map(Word::head));
        words.push(Word::sign(&assessment(place, group.clone(), *treatment), &key(1)).unwrap());
    }
    words
}

#[test]
fn it_holds_for_a_year_half_a_year_near_the_end_and_a_quarter_after_it() {
    let today = day("2026-11-24");
    for (end, last) in [
        (None, "2027-11-24"),
        (Some("2028-11-25"), "2027-11-24"),
        (Some("2028-11-24"), "2027-05-24"),
        (Some("2026-11-25"), "2027-05-24"),
        (Some("2026-11-24"), "2027-02-24"),
        (Some("2020-01-01"), "2027-02-24"),
    ] {
        assert_eq!(last_day(end.map(day), today), day(last), "{end:?}");
    }
}

#[test]
fn a_group_is_chosen_as_a_plan_chooses() {
    let labels = |text: &str| text.parse::<Labels>().unwrap();
    let (pump, syringe): (ProductId, ProductId) = ("pump".parse().unwrap(), "syringe".parse().unwrap());
    let is_in = |group: &Group, id: &str, ward: &str, text: &str, product: &ProductId| {
        let (id, ward, labels) = (id.parse().unwrap(), ward.parse().unwrap(), labels(text));
        group.holds(&Member { id: &id, product, ward: &ward, labels: &labels })
    };
    let all = group("", &[], &[]);
    assert!(is_in(&all, "p-1", "icu", "", &pump) && !is_in(&all, "p-1", "icu", "", &syringe));
    let icu = group("", &["icu"], &["p-9"]);
    assert!(is_in(&icu, "p-1", "icu", "", &pump) && is_in(&icu, "p-9", "er", "", &pump));
    assert!(!is_in(&icu, "p-1", "er", "", &pump));
    let named = group("", &[], &["p-9"]);
    assert!(is_in(&named, "p-9", "er", "", &pump) && !is_in(&named, "p-1", "er", "", &pump));
    let labelled = Group { labels: std::iter::once("area=icu".parse().unwrap()).collect(), ..all };
    assert!(is_in(&labelled, "p-1", "er", "area=icu", &pump) && !is_in(&labelled, "p-1", "er", "area=er", &pump));
    assert_eq!(icu.to_string(), "pump in icu, and p-9");
    assert_ne!(icu.digest(), named.digest());
}

#[test]
fn only_an_acceptance_that_names_product_release_and_device_and_has_not_expired_covers_it() {
    let pump: ProductId = "pump".parse().unwrap();
    let (icu, er): (crate::id::WardId, crate::id::WardId) = ("icu".parse().unwrap(), "er".parse().unwrap());
    let ids: Vec<crate::id::DeviceId> = ["p-1", "p-2"].map(|id| id.parse().unwrap()).into();
    let none = Labels::default();
    let fleet = || ids.iter().zip([&icu, &er]).map(|(id, ward)| Member { id, product: &pump, ward, labels: &none });
    let open = |entries: &[(Group, Treatment)], release, on: &str| {
        let register = register(entries);
        let newest = newest(&register);
        let out = uncovered(newest.into_iter().map(|w| &**w), (&pump, Release(release)), fleet(), day(on));
        out.iter().map(|m| m.id.to_string()).collect::<Vec<_>>()
    };
    let icu = || group("1..3", &["icu"], &[]);
    let accepted = [(icu(), Treatment::Acceptance)];
    assert_eq!(open(&accepted, 3, "2027-05-01"), ["p-2"]);
    assert_eq!(open(&accepted, 4, "2027-05-01"), ["p-1", "p-2"], "another release");
    assert_eq!(open(&accepted, 3, "2027-05-02"), ["p-1", "p-2"], "expired");
    let both = [(icu(), Treatment::Acceptance), (group("", &["er"], &[]), Treatment::Acceptance)];
    assert!(open(&both, 3, "2027-05-01").is_empty());
    // A later word on the same group takes its place.
    let mitigated = [(icu(), Treatment::Acceptance), (icu(), Treatment::Mitigation)];
    assert_eq!(open(&mitigated, 3, "2027-05-01"), ["p-1", "p-2"]);
    assert_eq!(open(&[(icu(), Treatment::Deferral)], 3, "2027-05-01"), ["p-1", "p-2"]);
}

#[test]
fn it_is_read_as_it_was_said_by_its_key_or_by_nobody() {
    let said = assessment((1, None), group("", &["icu"], &[]), Treatment::Acceptance);
    let signed = Word::sign(&said, &key(1)).unwrap();
    assert_eq!(*Word::<Assessment>::read(signed.bytes()).unwrap(), said);
    assert!(matches!(Word::sign(&said, &key(2)), Err(WordError::Signature(_))));
    let other = String::from_utf8(signed.bytes().to_vec()).unwrap().replace("\"critical\"", "\"minor\"");
    assert!(matches!(Word::<Assessment>::read(other.as_bytes()), Err(WordError::Signature(_))));
    let unsigned = Assessment { key: None, ..said.clone() };
    let word = Word::unsigned(&unsigned).unwrap();
    assert_eq!((&*Word::<Assessment>::read(word.bytes()).unwrap(), word.key), (&unsigned, None));
    assert!(matches!(Word::unsigned(&said), Err(WordError::Unsigned)), "it names a key that has not signed it");
    assert!(Word::sign(&unsigned, &key(1)).is_err());
}

#[test]
fn an_assessment_that_breaks_a_rule_is_not_said() {
    type Bend = fn(&mut Assessment);
    let bends: [(Bend, &str); 7] = [
        (|a| a.hazard = " ".to_owned(), "not said"),
        (|a| a.reviewer = "x".repeat(1_001), "too great length"),
        (|a| a.compensating.clear(), "protects the devices"),
        (|a| a.compensating = vec!["x".to_owned(); 33], "32 compensating"),
        (|a| a.expires = day("2027-11-25"), "more than a year"),
        (|a| a.expires = day("2026-11-23"), "before it was made"),
        (|a| a.number = 2, "names none before it"),
    ];
    for (bend, why) in bends {
        let mut bent = assessment((1, None), group("", &[], &[]), Treatment::Deferral);
        bend(&mut bent);
        let refused = bent.to_bytes().unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn a_register_that_lost_changed_or_reordered_an_entry_is_noticed() {
    let entries: Vec<_> = (0..4).map(|n| (group("", &[], &[&format!("p-{n}")]), Treatment::Acceptance)).collect();
    let whole = register(&entries);
    let head = follow(&whole, None).unwrap();
    assert_eq!(head, whole.last().map(Word::head));
    assert_eq!(follow(&whole, Some(whole[1].head())).unwrap(), head);
    let dropped = [&whole[..1], &whole[2..]].concat();
    assert_eq!(follow(&dropped, None), Err(SeriesError::Gap { wanted: 2, found: 3 }));
    let swapped = [&whole[..1], &[whole[2].clone(), whole[1].clone()], &whole[3..]].concat();
    assert!(matches!(follow(&swapped, None), Err(SeriesError::Gap { .. })));
    let cut = follow(&whole[..2], head);
    assert!(matches!(cut, Err(SeriesError::Rewritten { number: 4, .. })), "the newest is kept back: {cut:?}");
    let other = register(&[(group("", &["er"], &[]), Treatment::Acceptance)]);
    assert!(matches!(follow(&other, Some(whole[0].head())), Err(SeriesError::Rewritten { number: 1, .. })));
    let forked = [&other[..], &whole[1..]].concat();
    assert_eq!(follow(&forked, None), Err(SeriesError::Chain(2)));
}
