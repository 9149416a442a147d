//! What each noun's statements do.

use jiff::{SignedDuration, Timestamp};
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, HdoId};
use suture_core::label::Labels;
use suture_core::principal::Principal;
use suture_core::report::Report;
use suture_core::rollout::{State, WaveSet};
use suture_core::sign::{LocalKey, PublicKey, Signer as _};
use suture_core::token::Grant;
use zeroize::Zeroizing;

use super::super::certificates::{Certificate, Standing};
use super::super::devices::{DeviceFilter, DeviceState, Enrolment, Imported, Record};
use super::super::rollouts::Rollout;
use super::super::tokens::{TokenState, Use};
use super::super::{Store, Tx};
use super::{each, place, told};

pub(super) fn now() -> Timestamp {
    "2026-11-24T15:00:00Z".parse().unwrap()
}

pub(super) fn after(secs: i64) -> Timestamp {
    now() + SignedDuration::from_secs(secs)
}

pub(super) fn hdo() -> HdoId {
    "riverside".parse().unwrap()
}

fn id(n: u32) -> DeviceId {
    format!("pump-{n:02}").parse().unwrap()
}

fn record(n: u32, ward: &str) -> Record {
    Record {
        id: id(n),
        product: "pump".parse().unwrap(),
        hardware: "rev-a".parse().unwrap(),
        ward: ward.parse().unwrap(),
        serial: format!("SN{n}"),
        udi: String::new(),
        labels: Labels::default(),
    }
}

fn report_key(seed: u8) -> PublicKey {
    LocalKey::from_seed(&Zeroizing::new([seed; 32])).public()
}

fn certificate(serial: u8, principal: &Principal) -> Certificate {
    Certificate {
        serial: vec![0x40, serial],
        principal: principal.clone(),
        spki: Digest::of(&[serial]),
        issued: now(),
        not_after: after(60),
    }
}

pub(super) async fn hospital(store: &Store) -> Tx {
    let mut tx = store.begin().await.unwrap();
    assert!(tx.insert_hdo(&hdo(), "Riverside", now()).await.unwrap());
    tx
}

#[tokio::test]
async fn a_token_is_good_until_it_is_spent_or_over() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let grants = [
            Grant::Mdm("ada".parse().unwrap()),
            Grant::Hdo(hdo()),
            Grant::Operator(hdo(), "kim".parse().unwrap()),
            Grant::Device(hdo(), Some(id(1))),
            Grant::Device(hdo(), None),
        ];
        for (i, grant) in grants.iter().enumerate() {
            let secret = Digest::of(&[i as u8]);
            assert!(tx.insert_token(&secret, grant, &Principal::Server, now(), after(60)).await.unwrap());
            assert!(!tx.insert_token(&secret, grant, &Principal::Server, now(), after(60)).await.unwrap());
            assert_eq!(tx.token(&secret, after(59)).await.unwrap(), TokenState::Good(grant.clone()));
            assert_eq!(tx.token(&secret, after(60)).await.unwrap(), TokenState::Expired);
            assert!(!tx.spend_token(&secret, &Principal::Server, after(60)).await.unwrap());
            assert!(tx.spend_token(&secret, &Principal::Server, after(59)).await.unwrap());
            assert!(!tx.spend_token(&secret, &Principal::Server, after(59)).await.unwrap());
            let used = Use { grant: grant.clone(), by: "server".to_owned() };
            assert_eq!(tx.token(&secret, after(59)).await.unwrap(), TokenState::Spent(Some(used)));
            assert_eq!(tx.token(&secret, after(60)).await.unwrap(), TokenState::Spent(None));
        }
        assert_eq!(tx.token(&Digest::of(b"no"), now()).await.unwrap(), TokenState::Unknown);
    })
    .await;
}

#[tokio::test]
async fn a_revoked_operators_tokens_end_and_nobody_elses() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let (kim, lee) = ("kim".parse().unwrap(), "lee".parse().unwrap());
        let (by_kim, by_lee) = (Principal::Operator(hdo(), kim), Principal::Operator(hdo(), lee));
        let named = |name: &str| Grant::Operator(hdo(), name.parse().unwrap());
        let made = [
            (named("eve"), &by_kim, false),
            (Grant::Device(hdo(), Some(id(1))), &by_kim, false),
            (named("kim"), &by_lee, false),
            (named("ann"), &by_lee, true),
            (Grant::Device(hdo(), None), &by_lee, true),
            (Grant::Mdm("kim".parse().unwrap()), &Principal::Server, true),
        ];
        for (i, (grant, by, _)) in made.iter().enumerate() {
            assert!(tx.insert_token(&Digest::of(&[i as u8]), grant, by, now(), after(60)).await.unwrap());
        }
        let spent = Digest::of(b"spent");
        assert!(tx.insert_token(&spent, &named("old"), &by_kim, now(), after(60)).await.unwrap());
        assert!(tx.spend_token(&spent, &by_kim, after(1)).await.unwrap());
        assert!(matches!(tx.token(&spent, after(1)).await.unwrap(), TokenState::Spent(Some(_))));
        assert_eq!(tx.end_tokens_of(Some(&hdo()), &"kim".parse().unwrap(), after(2)).await.unwrap(), 3);
        for (i, (grant, _, good)) in made.into_iter().enumerate() {
            let state = if good { TokenState::Good(grant) } else { TokenState::Expired };
            assert_eq!(tx.token(&Digest::of(&[i as u8]), after(2)).await.unwrap(), state, "{i}");
        }
        // Whoever has spent one of them is not answered again.
        assert_eq!(tx.token(&spent, after(2)).await.unwrap(), TokenState::Spent(None));
        assert_eq!(tx.end_tokens_of(None, &"kim".parse().unwrap(), after(3)).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_operator_joins_once_and_again_only_after_being_revoked() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let kim = "kim".parse().unwrap();
        for organisation in [None, Some(&hdo())] {
            assert!(tx.join_operator(organisation, &kim, now()).await.unwrap());
            assert!(!tx.join_operator(organisation, &kim, now()).await.unwrap());
            assert!(tx.revoke_operator(organisation, &kim, after(1)).await.unwrap());
            assert!(!tx.revoke_operator(organisation, &kim, after(2)).await.unwrap());
            assert_eq!(tx.operators(organisation).await.unwrap()[0].revoked, Some(after(1)));
            assert!(tx.join_operator(organisation, &kim, after(3)).await.unwrap());
            let there = tx.operators(organisation).await.unwrap();
            assert_eq!(there.len(), 1);
            assert_eq!((there[0].hdo.as_ref(), there[0].joined, there[0].revoked), (organisation, after(3), None));
        }
        assert_eq!(tx.hdos().await.unwrap()[0].operators, 1);
    })
    .await;
}

#[tokio::test]
async fn an_import_adds_and_changes_and_leaves_enrolments_alone() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let first: Vec<_> = (0..1_234).map(|n| record(n, "icu")).collect();
        let done = tx.import_devices(&hdo(), &first, now()).await.unwrap();
        assert_eq!(done, Imported { added: 1_234, changed: 0, unchanged: 0 });
        let enrolment = Enrolment { fingerprint: &Digest::of(b"f"), report_key: &report_key(1), now: now() };
        assert!(tx.enroll_device(&hdo(), &id(2), enrolment).await.unwrap());
        let second = [record(1, "icu"), record(2, "theatre"), record(5_000, "icu")];
        let done = tx.import_devices(&hdo(), &second, after(1)).await.unwrap();
        assert_eq!(done, Imported { added: 1, changed: 1, unchanged: 1 });
        // A device that is there twice is one, as the last line has it.
        let twice = [record(7_000, "icu"), record(5_000, "er"), record(7_000, "theatre"), record(5_000, "icu")];
        let done = tx.import_devices(&hdo(), &twice, after(1)).await.unwrap();
        assert_eq!(done, Imported { added: 1, changed: 0, unchanged: 1 });
        assert_eq!(tx.device(&hdo(), &id(7_000)).await.unwrap().unwrap().record, record(7_000, "theatre"));
        assert_eq!(tx.import_devices(&hdo(), &[], after(1)).await.unwrap(), Imported::default());
        assert_eq!(tx.device_count(&hdo()).await.unwrap(), 1_236);
        let device = tx.device(&hdo(), &id(2)).await.unwrap().unwrap();
        assert_eq!((device.record, device.state), (record(2, "theatre"), DeviceState::Pending));
        assert_eq!(device.enrolled, Some(now()));
    })
    .await;
}

#[tokio::test]
async fn devices_are_listed_by_filter_page_by_page_and_by_hospital() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let other: HdoId = "lakeside".parse().unwrap();
        tx.insert_hdo(&other, "Lakeside", now()).await.unwrap();
        tx.import_devices(&other, &[record(3, "icu")], now()).await.unwrap();
        let records: Vec<_> = (1..=6).map(|n| record(n, if n % 2 == 0 { "icu" } else { "ward-7" })).collect();
        tx.import_devices(&hdo(), &records, now()).await.unwrap();
        let ids = |devices: Vec<super::super::devices::Device>| -> Vec<DeviceId> {
            devices.into_iter().map(|d| d.record.id).collect()
        };
        let (any, icu) = (DeviceFilter::default(), "icu".parse().unwrap());
        assert_eq!(ids(tx.devices(&hdo(), any, None, 2).await.unwrap()), [id(1), id(2)]);
        assert_eq!(ids(tx.devices(&hdo(), any, Some(&id(2)), 9).await.unwrap()), [id(3), id(4), id(5), id(6)]);
        let in_icu = DeviceFilter { ward: Some(&icu), ..any };
        assert_eq!(ids(tx.devices(&hdo(), in_icu, None, 9).await.unwrap()), [id(2), id(4), id(6)]);
        let revoked = DeviceFilter { state: Some(DeviceState::Revoked), ..any };
        assert!(tx.revoke_device(&hdo(), &id(4), now()).await.unwrap());
        assert!(!tx.revoke_device(&hdo(), &id(4), now()).await.unwrap());
        assert_eq!(ids(tx.devices(&hdo(), revoked, None, 9).await.unwrap()), [id(4)]);
        let product = "ventilator".parse().unwrap();
        let none = DeviceFilter { product: Some(&product), ..any };
        assert!(tx.devices(&hdo(), none, None, 9).await.unwrap().is_empty());
        let counts: Vec<_> = tx.hdos().await.unwrap().into_iter().map(|h| (h.id, h.devices)).collect();
        assert_eq!(counts, [(other, 1), (hdo(), 5)]);
    })
    .await;
}

#[tokio::test]
async fn a_device_is_confirmed_with_its_fingerprint_only_and_a_live_one_cannot_enrol_again() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let (first, second) = (Digest::of(b"first"), Digest::of(b"second"));
        let (key, other) = (report_key(1), report_key(2));
        let enrolment = Enrolment { fingerprint: &first, report_key: &key, now: now() };
        assert!(!tx.enroll_device(&hdo(), &id(1), enrolment).await.unwrap(), "not imported");
        tx.import_devices(&hdo(), &[record(1, "icu")], now()).await.unwrap();
        assert!(!tx.confirm_device(&hdo(), &id(1), &first, now()).await.unwrap(), "not enrolled");
        assert!(tx.enroll_device(&hdo(), &id(1), enrolment).await.unwrap());
        assert!(!tx.confirm_device(&hdo(), &id(1), &second, now()).await.unwrap(), "another fingerprint");
        assert!(tx.confirm_device(&hdo(), &id(1), &first, now()).await.unwrap());
        assert!(!tx.confirm_device(&hdo(), &id(1), &first, now()).await.unwrap(), "twice");
        tx.keep_check_in(&hdo(), &id(1), b"said", None, after(9)).await.unwrap();
        let again = Enrolment { fingerprint: &second, report_key: &other, now: after(10) };
        assert!(!tx.enroll_device(&hdo(), &id(1), again).await.unwrap(), "live");
        let device = tx.device(&hdo(), &id(1)).await.unwrap().unwrap();
        assert_eq!((device.state, device.report_key), (DeviceState::Active, Some(key)));
        assert_eq!((device.last_seen, device.said), (Some(after(9)), Some(b"said".to_vec())));
        assert!(tx.revoke_device(&hdo(), &id(1), after(11)).await.unwrap());
        assert!(tx.enroll_device(&hdo(), &id(1), again).await.unwrap(), "revoked, then anew");
        let device = tx.device(&hdo(), &id(1)).await.unwrap().unwrap();
        assert_eq!((device.state, device.fingerprint, device.said), (DeviceState::Pending, Some(second), None));
    })
    .await;
}

#[tokio::test]
async fn a_certificate_stands_as_its_holder_does() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let kim = "kim".parse().unwrap();
        let (operator, device) = (Principal::Operator(hdo(), "kim".parse().unwrap()), Principal::Device(hdo(), id(1)));
        tx.join_operator(Some(&hdo()), &kim, now()).await.unwrap();
        tx.import_devices(&hdo(), &[record(1, "icu")], now()).await.unwrap();
        let enrolment = Enrolment { fingerprint: &Digest::of(b"f"), report_key: &report_key(1), now: now() };
        tx.enroll_device(&hdo(), &id(1), enrolment).await.unwrap();
        for (serial, holder) in [(1, &operator), (2, &device), (3, &device)] {
            tx.insert_certificate(&certificate(serial, holder)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let standing = async |serial: u8, holder: &Principal| store.standing(&[0x40, serial], holder).await.unwrap();
        assert_eq!(standing(1, &operator).await, Standing::Operator);
        assert_eq!(standing(2, &device).await, Standing::Device(DeviceState::Pending));
        assert_eq!(standing(1, &device).await, Standing::Unknown, "another holder's");
        assert_eq!(standing(9, &device).await, Standing::Unknown, "never issued");

        let mut tx = store.begin().await.unwrap();
        tx.confirm_device(&hdo(), &id(1), &Digest::of(b"f"), now()).await.unwrap();
        tx.revoke_operator(Some(&hdo()), &kim, now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(standing(1, &operator).await, Standing::Revoked);
        assert_eq!(standing(2, &device).await, Standing::Device(DeviceState::Active));

        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.revoke_certificates(&device, now()).await.unwrap(), 2);
        assert_eq!(tx.revoke_certificates(&device, now()).await.unwrap(), 0);
        tx.insert_certificate(&certificate(4, &device)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(standing(3, &device).await, Standing::Revoked);
        assert_eq!(standing(4, &device).await, Standing::Device(DeviceState::Active));

        let mut tx = store.begin().await.unwrap();
        tx.revoke_device(&hdo(), &id(1), now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(standing(4, &device).await, Standing::Revoked);
    })
    .await;
}

/// A rollout that was ended by a person.
pub(super) fn rollout(id: &str) -> Rollout {
    Rollout {
        hdo: hdo(),
        id: id.parse().unwrap(),
        state: State::Aborted,
        reason: None,
        product: "pump".parse().unwrap(),
        version: "2.0.0".parse().unwrap(),
        release: suture_core::version::Release(2),
        manifest_sha256: Digest::of(b"m"),
        approval_sha256: Digest::of(b"a"),
        wave: 0,
        waves: 1,
        unsigned: WaveSet::default(),
        attempt_timeout_secs: 3_600,
        max_attempts: 1,
        plan_sha256: Digest::of(b"plan"),
        ticket: String::new(),
        created: now(),
        expires: after(60),
    }
}

#[tokio::test]
async fn a_rollouts_devices_come_by_pages() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let rollout = rollout("a1");
        let devices: Vec<_> = (1..=5).map(|n| record(n, "icu")).collect();
        tx.import_devices(&hdo(), &devices, now()).await.unwrap();
        let placed: Vec<_> = (1..=4).map(|n| (id(n), n)).collect();
        place(&mut tx, &rollout, &placed, now()).await;
        place(&mut tx, &super::nouns::rollout("a2"), &[(id(5), 0)], now()).await;
        let mut page = async |after: Option<u32>| {
            let page = tx.members_after(&hdo(), &rollout.id, after.map(id).as_ref(), 3).await.unwrap();
            page.into_iter().map(|m| (m.device, m.progress.wave)).collect::<Vec<_>>()
        };
        assert_eq!(page(None).await, placed[..3]);
        assert_eq!(page(Some(3)).await, placed[3..]);
        assert_eq!(page(Some(4)).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_rollout_that_was_ended_is_told_to_a_device_that_may_try_again() {
    use suture_core::phase::Phase;
    each(async |store| {
        let mut tx = hospital(&store).await;
        let mut rollout = Rollout { unsigned: WaveSet::of([1, 31]), ..rollout("a1") };
        tx.import_devices(&hdo(), &[record(1, "icu")], now()).await.unwrap();
        place(&mut tx, &rollout, &[(id(1), 0)], now()).await;
        told(&mut tx, &rollout, &id(1), Phase::FellBack, now()).await;
        // Silence would let a wave that needs no word from the server go on.
        assert_eq!(tx.rollouts_of(&hdo(), &id(1), after(59)).await.unwrap().len(), 1);
        assert_eq!(tx.rollouts_of(&hdo(), &id(1), after(60)).await.unwrap().len(), 0);

        let unsigned = async |tx: &mut Tx| tx.rollout(&hdo(), &"a1".parse().unwrap()).await.unwrap().unwrap().unsigned;
        assert_eq!(unsigned(&mut tx).await, WaveSet::of([1, 31]), "which waves wait for a signature");
        rollout.unsigned = WaveSet::of([31]);
        tx.update_rollout(&rollout, now()).await.unwrap();
        assert_eq!(unsigned(&mut tx).await, WaveSet::of([31]));
    })
    .await;
}

#[tokio::test]
async fn devices_that_joined_later_and_that_no_approval_names_wait_for_one() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        tx.import_devices(&hdo(), &(1..=6).map(|n| record(n, "icu")).collect::<Vec<_>>(), now()).await.unwrap();
        let key = LocalKey::from_seed(&Zeroizing::new([7; 32]));
        for (n, secs) in [(1, 5), (2, 0), (3, 5), (4, 5), (5, 5)] {
            let enrolment = Enrolment { fingerprint: &Digest::of(b"f"), report_key: &key.public(), now: after(secs) };
            assert!(tx.enroll_device(&hdo(), &id(n), enrolment).await.unwrap());
        }
        let first = Rollout { state: State::Running, ..rollout("a1") };
        place(&mut tx, &first, &[(id(1), 0)], now()).await;
        // The second had joined before, the sixth has not joined yet.
        assert_eq!(tx.unapproved(&first).await.unwrap(), [3, 4, 5].map(id));
        // One that is superseded leads nowhere.
        let later = |id: &str, state| Rollout { state, ..rollout(id) };
        place(&mut tx, &later("a2", State::Running), &[(id(3), 0)], now()).await;
        place(&mut tx, &later("a3", State::Superseded), &[(id(4), 0)], now()).await;
        assert_eq!(tx.unapproved(&first).await.unwrap(), [4, 5].map(id));
        let report = |release| {
            let running = serde_json::json!({ "version": "2.0.0", "release": release, "manifest": Digest::of(b"m") });
            let report = serde_json::json!({
                "_type": "suture-report", "hdo": hdo(), "device": id(5), "number": 1, "at": "2026-11-24T15:00:00Z",
                "product": "pump", "running": running, "approval": null, "manifest": null, "phase": "idle",
                "reason": null, "stop": null, "sources": null, "catalog": null, "approvals": null,
            });
            serde_json::from_value::<Report>(report).unwrap().sign(&key).unwrap()
        };
        tx.set_proven(&hdo(), &id(5), 1, &report(1), None).await.unwrap();
        assert_eq!(tx.unapproved(&first).await.unwrap(), [4, 5].map(id));
        tx.set_proven(&hdo(), &id(5), 2, &report(2), None).await.unwrap();
        assert_eq!(tx.unapproved(&first).await.unwrap(), [id(4)], "it came with it");
        tx.revoke_device(&hdo(), &id(4), now()).await.unwrap();
        assert_eq!(tx.unapproved(&first).await.unwrap(), []);
    })
    .await;
}
