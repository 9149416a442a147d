//! A measurement: what a question costs among 200 SBOMs of 1,000 components and 100,000 devices. `tests/load/exposure.sh` runs it
//! and prints what it says.

use std::time::{Duration, Instant};

use suture_core::digest::Digest;
use suture_core::exposure::{Claim, Part, Question, Status, Subject, Versions, VexEntry, VexStatus, Wanted};
use suture_core::id::HdoId;
use suture_core::limits::MAX_ROWS_PER_CALL;
use suture_core::rollout::{State, WaveSet};
use suture_core::version::Release;

use super::fleet::{NOW, at};
use super::{Asked, Course, Look, Page, count};
use crate::store::bundles::Bundle;
use crate::store::devices::Record;
use crate::store::exposure::{Read, Unread};
use crate::store::rollouts::Rollout;
use crate::store::suite::{each, place};
use crate::store::{Driver, Store};

const PRODUCTS: u32 = 20;
const RELEASES: u32 = 10;
const COMPONENTS: u32 = 1_000;
const DEVICES: u32 = 100_000;
/// How often each question is asked; the medians count.
const RUNS: usize = 9;
const COMMON: &str = "CVE-2026-0001";
const RARE: &str = "CVE-2026-0002";

fn product(n: u32) -> String {
    format!("pump-{n:02}")
}

fn manifest(product: u32, release: u32) -> Digest {
    Digest::of(format!("{product}/{release}").as_bytes())
}

fn device(n: u32) -> String {
    format!("device-{n:06}")
}

/// Those of a product lie together, and of them those of a release.
fn runs(n: u32) -> (u32, u32) {
    let each = DEVICES / (PRODUCTS * RELEASES);
    (n / each / RELEASES, n / each % RELEASES + 1)
}

/// `library-0` is in every bundle, as of the release; the others differ from bundle to bundle.
fn parts(product: u32, release: u32) -> Vec<Part> {
    let part = |n: u32| {
        let (name, version) = match n {
            0 => ("library-0".to_owned(), format!("{release}.0.0")),
            n => (format!("library-{}-{}", (product * 7 + n) % 4_999, n % 13), format!("{}.{}.0", n % 7, release / 2)),
        };
        let package = Some(format!("pkg:npm/%40acme-modules/{name}"));
        Part { package, reference: Some(format!("pkg:npm/%40acme-modules/{name}@{version}")), name, version }
    };
    (0..COMPONENTS).map(part).collect()
}

async fn publish(store: &Store) {
    for p in 0..PRODUCTS {
        let mut tx = store.begin().await.unwrap();
        for release in 1..=RELEASES {
            let path = format!("bundles/{}/{release}/manifest.json", product(p));
            let bundle = Bundle {
                product: product(p).parse().unwrap(),
                release: Release(release.into()),
                version: format!("{release}.0.0").parse().unwrap(),
                path: path.clone(),
                manifest_sha256: manifest(p, release),
                status: "current".to_owned(),
                payload_length: 1,
                published: at(0),
            };
            tx.put_bundle(&bundle).await.unwrap();
            let Bundle { product, release: number, manifest_sha256: manifest, .. } = bundle;
            let unread = Unread { product, release: number, path, manifest };
            let read = Read { listed: true, parts: parts(p, release), ..Read::default() };
            tx.put_read_bundle(&unread, &read, at(0)).await.unwrap();
        }
        let about = |package: &str, versions| Subject {
            package: Some(format!("pkg:npm/%40acme-modules/{package}")),
            versions,
            ..Subject::default()
        };
        let claim = |id: &str, about| Claim {
            vulnerability: vec![id.to_owned()],
            about: vec![about],
            status: Status::Affected,
            justification: None,
            impact: None,
            action: Some("update to release 10".to_owned()),
            at: Some(at(0)),
        };
        let entry = VexEntry {
            product: product(p).parse().unwrap(),
            id: "acme-1".parse().unwrap(),
            format: "openvex".to_owned(),
            number: 1,
            after: Release(RELEASES.into()),
            status: VexStatus::Current,
            reason: None,
        };
        let all_but_the_last = Versions::In("vers:npm/<10.0.0".parse().unwrap());
        let mut claims = vec![(entry.source(), claim(COMMON, about("library-0", all_but_the_last)))];
        if p == 3 {
            claims.push((entry.source(), claim(RARE, about("library-0", Versions::One("4.0.0".to_owned())))));
        }
        tx.put_vex(&entry.path(), &entry, &Digest::of(b"vex"), &claims, at(0)).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// Runs a statement that changes rows; what it binds are two texts and two values.
async fn change(store: &Store, text: &'static str, hdo: &HdoId, from: &str, to: &str, sha256: &Digest, bytes: &[u8]) {
    let mut tx = store.begin().await.unwrap();
    macro_rules! run {
        ($c:expr) => {
            drop(
                sqlx::query(text)
                    .bind(hdo.as_str())
                    .bind(from)
                    .bind(to)
                    .bind(sha256.as_bytes().as_slice())
                    .bind(bytes)
                    .execute($c)
                    .await
                    .unwrap(),
            )
        };
    }
    match tx.driver() {
        Driver::Sqlite(c) => run!(c),
        Driver::Postgres(c) => run!(c),
    }
    tx.commit().await.unwrap();
}

async fn enroll(store: &Store, hdo: &HdoId) {
    let record = |n| Record {
        id: device(n).parse().unwrap(),
        product: product(runs(n).0).parse().unwrap(),
        hardware: "rev-a".parse().unwrap(),
        ward: format!("ward-{}", n % 40).parse().unwrap(),
        serial: format!("SN{n:08}"),
        udi: String::new(),
        labels: Default::default(),
    };
    let mut tx = store.begin().await.unwrap();
    assert!(tx.insert_hdo(hdo, "A hospital", at(0)).await.unwrap());
    for from in (0..DEVICES).step_by(10_000) {
        tx.import_devices(hdo, &(from..from + 10_000).map(record).collect::<Vec<_>>(), at(0)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let each = DEVICES / (PRODUCTS * RELEASES);
    for first in (0..DEVICES).step_by(each as usize) {
        let (p, release) = runs(first);
        let sha256 = manifest(p, release);
        // A report has about a thousand bytes, a check-in two hundred. One in five has signed nothing yet.
        let fifth = first + each / 5;
        let said = "UPDATE device SET state = 'active', last_seen_ms = 1, said_manifest = $4, runs_manifest = $4, said = $5 \
             WHERE hdo = $1 AND id >= $2 AND id < $3";
        change(store, said, hdo, &device(first), &device(first + each), &sha256, &[7; 200]).await;
        let proven =
            "UPDATE device SET proven_manifest = $4, proven_payload = $5 WHERE hdo = $1 AND id >= $2 AND id < $3";
        change(store, proven, hdo, &device(fifth), &device(first + each), &sha256, &[7; 1_000]).await;
    }
}

/// One rollout of each product's last release, to all of its devices; every other one is over.
async fn begin(store: &Store, hdo: &HdoId) {
    let each = DEVICES / PRODUCTS;
    for p in 0..PRODUCTS {
        for (n, state) in [(0, State::Complete), (1, State::Running)] {
            let rollout = Rollout {
                hdo: hdo.clone(),
                id: format!("approval-{p}-{n}").parse().unwrap(),
                state,
                reason: None,
                product: product(p).parse().unwrap(),
                version: "10.0.0".parse().unwrap(),
                release: Release(RELEASES.into()),
                manifest_sha256: manifest(p, RELEASES),
                approval_sha256: Digest::of(b"a"),
                wave: 0,
                waves: 1,
                unsigned: WaveSet::default(),
                attempt_timeout_secs: 600,
                max_attempts: 2,
                plan_sha256: Digest::of(b"plan"),
                ticket: String::new(),
                created: at(i64::from(n)),
                expires: at(NOW + 1),
            };
            let members: Vec<_> = (p * each..(p + 1) * each).map(|n| (device(n).parse().unwrap(), 0)).collect();
            let mut tx = store.begin().await.unwrap();
            place(&mut tx, &rollout, &members, at(0)).await;
            tx.commit().await.unwrap();
        }
    }
}

/// Medians of the same thing, in milliseconds.
fn median(samples: &mut [Duration]) -> f64 {
    samples.sort_unstable();
    samples[samples.len() / 2].as_secs_f64() * 1e3
}

async fn ask(store: &Store, hdo: &HdoId, question: &Question) -> String {
    let asked = Asked { question: question.clone(), product: None };
    let (mut answer, mut page, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let mut exposed = 0;
    for _ in 0..RUNS {
        let begun = Instant::now();
        let mut tx = store.read().await.unwrap();
        let look = Look::take(&mut tx, &asked).await.unwrap();
        let course = Course::of(store, &mut tx, hdo, &look, at(NOW)).await.unwrap();
        let counts = count(&mut tx, hdo, &look, &course).await.unwrap();
        let (running, _) = tx.running(hdo).await.unwrap();
        answer.push(begun.elapsed());
        assert_eq!(running.iter().map(|r| r.proven + r.believed).sum::<u64>(), u64::from(DEVICES));
        exposed = counts.values().map(|c| c.proven + c.believed).sum::<u64>();
        drop(tx);
        // As its callers page: each call looks anew.
        let (begun, mut from, mut listed) = (Instant::now(), None, 0);
        loop {
            let mut tx = store.read().await.unwrap();
            let look = Look::take(&mut tx, &asked).await.unwrap();
            let course = Course::of(store, &mut tx, hdo, &look, at(NOW)).await.unwrap();
            let found = Page::read(&mut tx, hdo, &look, &course, from, MAX_ROWS_PER_CALL).await.unwrap().unwrap();
            if listed == 0 {
                page.push(begun.elapsed());
            }
            listed += found.devices.len() as u64;
            from = found.devices.last().map(|((bundle, _), d)| (bundle.manifest, d.device.clone()));
            if !found.more {
                break;
            }
        }
        all.push(begun.elapsed());
        assert_eq!(listed, exposed);
    }
    format!("{exposed}\t{:.1}\t{:.1}\t{:.0}", median(&mut answer), median(&mut page), median(&mut all))
}

#[tokio::test]
#[ignore = "a measurement of minutes: tests/load/exposure.sh"]
async fn exposure_load() {
    println!("database\tquestion\texposed\tanswer\tfirst page\tall devices");
    each(async |store| {
        let hdo: HdoId = "riverside".parse().unwrap();
        publish(&store).await;
        enroll(&store, &hdo).await;
        begin(&store, &hdo).await;
        let name = match store.driver() {
            Driver::Sqlite(_) => "SQLite",
            Driver::Postgres(c) => {
                // What its autovacuum does by itself within minutes.
                sqlx::query("VACUUM ANALYZE").execute(c).await.unwrap();
                "PostgreSQL"
            }
        };
        let cve = |id: &str| Question { vulnerability: Some(id.to_owned()), component: None };
        let component = |versions| {
            let package = Some("pkg:npm/%40acme-modules/library-0".to_owned());
            Question { vulnerability: None, component: Some(Wanted { package, name: None, versions }) }
        };
        for (what, question) in [
            ("a CVE in nine of ten bundles", cve(COMMON)),
            ("a CVE in one bundle", cve(RARE)),
            ("a CVE that nobody knows", cve("CVE-2026-9999")),
            ("a component of all bundles", component(Versions::Any)),
            ("one version of it", component(Versions::One("4.0.0".to_owned()))),
        ] {
            println!("{name}\t{what}\t{}", ask(&store, &hdo, &question).await);
        }
    })
    .await;
}
