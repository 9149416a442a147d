//! What one device's reports make the record grow by.

use jiff::{SignedDuration, Timestamp};
use suture_core::audit::Entry;
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, HdoId};
use suture_core::limits::{
    DEVICE_REPORT_BYTES, MAX_DEVICE_ENTRIES, MAX_DEVICE_REPORT_BYTES, MAX_HOSPITAL_REPORT_BYTES, MAX_REPORTS_PER_CALL,
    MAX_UNROSTERED_BYTES,
};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::report::{Report, Running, Seen, Signed, Took};
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::version::Release;
use zeroize::Zeroizing;

use super::submit;
use crate::store::Store;
use crate::store::devices::Enrolment;
use crate::store::suite::{each, in_intensive_care};

fn at(hours: i64) -> Timestamp {
    "2026-11-24T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
}

fn hdo() -> HdoId {
    "riverside".parse().unwrap()
}

fn pump() -> DeviceId {
    "pump-1".parse().unwrap()
}

fn key() -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([7; 32]))
}

async fn enrolled(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    assert!(tx.insert_hdo(&hdo(), "Riverside", at(0)).await.unwrap());
    let record = in_intensive_care(pump());
    tx.import_devices(&hdo(), &[record], at(0)).await.unwrap();
    let fingerprint = Digest::of(b"fingerprint");
    let enrolment = Enrolment { fingerprint: &fingerprint, report_key: &key().public(), now: at(0) };
    assert!(tx.enroll_device(&hdo(), &pump(), enrolment).await.unwrap());
    assert!(tx.confirm_device(&hdo(), &pump(), &fingerprint, at(0)).await.unwrap());
    tx.commit().await.unwrap();
}

/// A report that the record keeps something of, and that tells of a catalog that nobody has published.
fn report(number: u64, code: Code) -> Signed {
    let report = Report {
        kind: Report::TYPE.to_owned(),
        hdo: hdo(),
        device: pump(),
        number,
        at: at(0),
        product: "pump".parse().unwrap(),
        running: Running { version: "1.0.0".parse().unwrap(), release: Release(1), manifest: Digest::of(b"manifest") },
        approval: None,
        manifest: None,
        phase: Phase::Waiting,
        reason: Some(Reason::new(code, format!("for the {number}th time"))),
        stop: None,
        permanent: false,
        integrity: None,
        sources: None,
        took: Took::default(),
        catalog: Some(Seen { root: 1, targets: 1 + number % 2, targets_sha256: Digest::of(&number.to_be_bytes()) }),
        approvals: None,
        record: None,
        log: None,
    };
    report.sign(&key()).unwrap()
}

async fn actions(store: &Store) -> Vec<String> {
    let rows = store.read().await.unwrap().audit_after(0, 1_000).await.unwrap();
    rows.iter().map(|row| Entry::parse(row.seq, row.payload.as_ref().unwrap()).unwrap().action).collect()
}

#[tokio::test]
async fn a_stolen_device_that_reports_without_end_fills_no_record_and_is_heard_all_the_same() {
    each(async |store| {
        enrolled(&store).await;
        let codes = [Code::Drift, Code::Deferred, Code::HeldHere, Code::RecordRewritten, Code::Unfit];
        let most = usize::try_from(MAX_DEVICE_ENTRIES).unwrap();
        let mut number = 0;
        // Each call begins behind a gap, which the record keeps too.
        let mut told = async |now: Timestamp| {
            let reports: Vec<Signed> = (number + 2..)
                .zip(codes.iter().cycle())
                .take(MAX_REPORTS_PER_CALL)
                .map(|(n, code)| report(n, *code))
                .collect();
            number += 1 + reports.len() as u64;
            assert_eq!(submit(&store, &hdo(), &pump(), &reports, now).await.unwrap(), number, "all are taken");
        };
        for hour in 0..3 {
            told(at(hour)).await;
            let actions = actions(&store).await;
            assert_eq!(actions.len(), most, "{hour}");
            assert_eq!(actions[most - 1], "device.told-too-much");
        }
        told(at(24)).await;
        assert_eq!(actions(&store).await.len(), 2 * most, "the next day it has as many again");
        let kept = store.latest_reports(&hdo(), &pump(), 1).await.unwrap();
        assert_eq!(kept.len(), 1);
    })
    .await;
}

/// Attack: a stolen operator's certificate, by which devices are enrolled that nobody has, to fill the server's disk.
#[tokio::test]
async fn of_devices_that_no_roster_has_so_much_is_kept_a_day_and_all_of_one_that_is_on_it() {
    each(async |store| {
        enrolled(&store).await;
        let days = at(0).as_second() / 86_400;
        let mut tx = store.begin().await.unwrap();
        tx.count_written("unrostered/riverside", days, MAX_UNROSTERED_BYTES - 3_000).await.unwrap();
        tx.commit().await.unwrap();
        let reports = |from: u64| (from..from + 10).map(|n| report(n, Code::InUse)).collect::<Vec<_>>();
        let submit =
            async |from: u64, now: Timestamp| submit(&store, &hdo(), &pump(), &reports(from), now).await.unwrap();
        let kept = async || store.latest_reports(&hdo(), &pump(), 100).await.unwrap().len();
        assert_eq!(submit(1, at(0)).await, 10, "all are taken");
        let some = kept().await;
        assert!((1..10).contains(&some), "{some}");
        assert_eq!(submit(11, at(1)).await, 20);
        assert_eq!(kept().await, some);
        assert_eq!(actions(&store).await.iter().filter(|a| *a == "device.reports-not-kept").count(), 2);
        assert_eq!((submit(21, at(24)).await, kept().await), (30, some + 10), "the next day it has as much again");
        // Once it is on a roster, it is believed.
        let mut tx = store.begin().await.unwrap();
        tx.count_written("unrostered/riverside", days + 1, MAX_UNROSTERED_BYTES).await.unwrap();
        tx.add_roster(&hdo(), "1", &[(pump(), key().public(), "icu".parse().unwrap())]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((submit(31, at(25)).await, kept().await), (40, some + 20));
    })
    .await;
}

/// Attack: stolen keys of devices that are on the roster, by which reports are sent without end, to fill the database of all
/// hospitals or to use up what their neighbours may send.
#[tokio::test]
async fn rostered_devices_fill_no_database_and_what_is_put_off_is_taken_the_next_day() {
    each(async |store| {
        enrolled(&store).await;
        let mut tx = store.begin().await.unwrap();
        tx.add_roster(&hdo(), "1", &[(pump(), key().public(), "icu".parse().unwrap())]).await.unwrap();
        tx.commit().await.unwrap();
        let send = async |from: u64, many: u64, now: Timestamp| {
            let reports: Vec<Signed> = (from..from + many).map(|n| report(n, Code::InUse)).collect();
            submit(&store, &hdo(), &pump(), &reports, now).await.unwrap()
        };
        let spend = async |writer: &str, bytes: u64, now: Timestamp| {
            let mut tx = store.begin().await.unwrap();
            tx.count_written(writer, now.as_second() / 86_400, bytes).await.unwrap();
            tx.commit().await.unwrap();
        };
        let put_off = async || actions(&store).await.iter().filter(|a| *a == "device.reports-put-off").count();
        const OWN: u64 = 64 << 10;
        let (whole, device) = ("reports/hdo/riverside", "reports/hdo/riverside/device/pump-1");
        // The neighbours have spent all of the hospital's room: what a device needs is taken all the same.
        spend(whole, MAX_HOSPITAL_REPORT_BYTES, at(0)).await;
        spend(device, DEVICE_REPORT_BYTES - OWN, at(0)).await;
        assert_eq!((send(1, 10, at(0)).await, put_off().await), (10, 0));
        let through = send(11, 200, at(1)).await;
        let bytes: usize = (1..=through).map(|n| report(n, Code::InUse).payload.len()).sum();
        let next = report(through + 1, Code::InUse).payload.len();
        assert!((11..210).contains(&through), "{through}");
        assert!(bytes as u64 <= OWN && (bytes + next) as u64 > OWN, "{bytes}");
        for hour in 2..5 {
            assert_eq!((send(through + 1, 10, at(hour)).await, put_off().await), (through, 1), "said once a day");
        }
        assert_eq!(store.latest_reports(&hdo(), &pump(), 1_000).await.unwrap().len() as u64, through);
        // The device has kept them, and the next day nobody has spent anything.
        assert_eq!(send(through + 1, 200, at(24)).await, through + 200);
        // Its own bound; what it is refused by that is not its neighbours' loss.
        spend(device, MAX_DEVICE_REPORT_BYTES, at(25)).await;
        assert_eq!((send(through + 201, 10, at(25)).await, put_off().await), (through + 200, 2));
        let mut tx = store.begin().await.unwrap();
        let spent = tx.count_written(whole, at(25).as_second() / 86_400, 0).await.unwrap();
        drop(tx);
        assert!(spent < 1 << 20, "{spent}");
        // What is sent again was counted: a line that loses answers spends nothing.
        assert_eq!(send(1, 200, at(48)).await, through + 200);
        assert_eq!((send(through + 201, 40, at(48)).await, put_off().await), (through + 240, 2));
    })
    .await;
}

/// Attack: a call that the device's thief began before its revocation, and ends after it.
#[tokio::test]
async fn what_a_revoked_device_still_says_counts_nowhere() {
    each(async |store| {
        enrolled(&store).await;
        assert_eq!(submit(&store, &hdo(), &pump(), &[report(1, Code::Deferred)], at(0)).await.unwrap(), 1);
        let mut tx = store.begin().await.unwrap();
        assert!(tx.revoke_device(&hdo(), &pump(), at(0)).await.unwrap());
        tx.commit().await.unwrap();
        let refused = submit(&store, &hdo(), &pump(), &[report(2, Code::Deferred)], at(0)).await.unwrap_err();
        let status: tonic::Status = crate::grpc::Refusal::from(refused).into();
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
        assert_eq!(store.read().await.unwrap().device(&hdo(), &pump()).await.unwrap().unwrap().reports_through, 1);
    })
    .await;
}
