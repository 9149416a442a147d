use zeroize::Zeroizing;

use super::*;
use crate::approval::SignedDocument as _;
use crate::clock::parse_day;
use crate::digest::Digest;
use crate::sign::{LocalKey, Signer as _};
use crate::word::Word;

fn day(text: &str) -> Date {
    parse_day(text).unwrap()
}

fn agreement(number: u64, from: &str, until: &str) -> Agreement {
    Agreement {
        kind: Agreement::TYPE.to_owned(),
        format: 1,
        hdo: "riverside".parse().unwrap(),
        product: "pump".parse().unwrap(),
        number,
        previous: (number > 1).then(|| Digest::of(b"before")),
        cells: vec![Agreed {
            task: Task::ApplyPatches,
            stage: Stage::Support,
            holder: Holder::SharedManufacturer,
            note: "contract 4711".to_owned(),
        }],
        from: day(from),
        until: (!until.is_empty()).then(|| day(until)),
        reason: "the manufacturer's engineers are on site".to_owned(),
        key: None,
        name: "ada".parse().unwrap(),
        proposed_at: "2026-11-24T18:00:00Z".parse().unwrap(),
    }
}

#[test]
fn tasks_move_from_the_manufacturer_to_the_provider_and_never_back() {
    let weight = |holder| match holder {
        Holder::Manufacturer => 0,
        Holder::SharedManufacturer => 1,
        Holder::SharedProvider => 2,
        Holder::Provider => 3,
    };
    for task in Task::ALL {
        let row: Vec<i32> = Stage::ALL.into_iter().map(|stage| weight(usual(*task, stage))).collect();
        assert!(row.is_sorted(), "{task}: {row:?}");
        assert_eq!((row[0], task.as_str().parse().as_ref()), (0, Ok(task)));
    }
    // What the sources say in so many words.
    assert_eq!(usual(Task::MonitorAccess, Stage::Support), Holder::Provider);
    assert_eq!(usual(Task::MonitorTraffic, Stage::Support), Holder::SharedManufacturer);
    assert_eq!(usual(Task::MonitorTraffic, Stage::LimitedSupport), Holder::Provider);
    assert_eq!(usual(Task::MakePatches, Stage::EndOfSupport), Holder::Provider);
    for holder in Holder::ALL {
        assert_eq!(holder.as_str().parse(), Ok(holder));
    }
}

#[test]
fn an_agreement_changes_the_cells_that_it_names_and_each_says_where_it_comes_from() {
    let agreed = agreement(3, "2027-01-01", "");
    let table = table(Some(&agreed));
    assert_eq!(table.len(), Task::ALL.len());
    let cell = &table[&Task::ApplyPatches][&Stage::Support];
    assert_eq!((cell.holder, &cell.source), (Holder::SharedManufacturer, &Source::Agreement(3)));
    assert_eq!(cell.note, "contract 4711");
    let others = table.values().flat_map(|row| row.values()).filter(|cell| cell.source == Source::Usual).count();
    assert_eq!(others, Task::ALL.len() * Stage::ALL.len() - 1);
}

#[test]
fn the_newest_that_has_begun_holds_until_it_ends() {
    let agreements = [agreement(1, "2027-01-01", ""), agreement(2, "2027-06-01", "2028-01-01")];
    let held = |on: &str| in_force(&agreements, day(on)).map(|a| a.number);
    for (on, number) in [
        ("2026-12-31", None),
        ("2027-01-01", Some(1)),
        ("2027-05-31", Some(1)),
        ("2027-06-01", Some(2)),
        ("2027-12-31", Some(2)),
        ("2028-01-01", None),
    ] {
        assert_eq!(held(on), number, "{on}");
    }
}

#[test]
fn an_agreement_says_each_thing_once_and_a_consent_is_to_one_alone() {
    let mut twice = agreement(1, "2027-01-01", "");
    twice.cells.push(Agreed { holder: Holder::Provider, ..twice.cells[0].clone() });
    assert!(twice.to_bytes().unwrap_err().to_string().contains("twice"));
    assert!(agreement(1, "2027-01-01", "2027-01-01").to_bytes().unwrap_err().to_string().contains("before it begins"));
    let key = LocalKey::from_seed(&Zeroizing::new([7; 32]));
    let signed = Agreement { key: Some(key.public()), ..agreement(1, "2027-01-01", "") };
    let signed = Word::sign(&signed, &key).unwrap();
    let consent = Consent {
        kind: Consent::TYPE.to_owned(),
        format: 1,
        hdo: "riverside".parse().unwrap(),
        product: "pump".parse().unwrap(),
        number: 1,
        agreement_sha256: signed.digest(),
        key: None,
        name: "kim".parse().unwrap(),
        consented_at: "2026-11-25T18:00:00Z".parse().unwrap(),
    };
    assert!(consent.is_to(&signed, signed.digest()) && !consent.is_to(&signed, Digest::of(b"other")));
    assert!(!consent.is_to(&agreement(2, "2027-01-01", ""), signed.digest()));
    assert_eq!(*Word::<Consent>::read(Word::unsigned(&consent).unwrap().bytes()).unwrap(), consent);
}
