//! Fleets that are made up: products with SBOMs and statements, hospitals with devices, rollouts and decisions.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use suture_core::decision::{Choice, Decision};
use suture_core::digest::Digest;
use suture_core::exposure::{
    Bundle, Claim, Part, Question, Source, Status, Subject, Versions, VexEntry, VexStatus, Wanted,
};
use suture_core::id::{DeviceId, HdoId, ProductId};
use suture_core::phase::Phase;
use suture_core::report::Signed;
use suture_core::rollout::{State, WaveSet};
use suture_core::sign::Signature;
use suture_core::version::Release;

use crate::store::Tx;
use crate::store::bundles;
use crate::store::devices::Record;
use crate::store::exposure::{Read, Unread};
use crate::store::rollouts::Rollout;
use crate::store::suite::{place, told};

/// Random numbers that a seed gives again: splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

pub(super) fn at(secs: i64) -> Timestamp {
    "2026-11-24T15:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(secs)
}

/// When every question is asked.
pub(super) const NOW: i64 = 1_000;
pub(super) const CVES: [&str; 2] = ["CVE-2026-0001", "GHSA-aaaa-0002"];
const PACKAGES: [&str; 4] = ["openssl", "zlib", "busybox", "curl"];

/// A device as it was made.
pub(super) struct Device {
    pub(super) id: DeviceId,
    pub(super) product: ProductId,
    /// By its report, and by what it said.
    pub(super) proven: Option<Digest>,
    pub(super) said: Option<Digest>,
    pub(super) revoked: bool,
}

impl Device {
    pub(super) fn runs(&self) -> Option<Digest> {
        self.proven.or(self.said)
    }
}

/// A hospital as it was made.
pub(super) struct Hospital {
    pub(super) hdo: HdoId,
    pub(super) devices: Vec<Device>,
    pub(super) rollouts: Vec<Rollout>,
    pub(super) decisions: Vec<(u64, Decision)>,
}

/// A manufacturer's products, and hospitals that have them.
pub(super) struct Fleet {
    pub(super) products: Vec<ProductId>,
    pub(super) bundles: Vec<Bundle>,
    pub(super) claims: BTreeMap<ProductId, Vec<(Source, Claim)>>,
    pub(super) hospitals: Vec<Hospital>,
}

fn package(name: &str) -> String {
    format!("pkg:deb/debian/{name}")
}

fn part(random: &mut Random) -> Part {
    let name = random.of(&PACKAGES);
    Part {
        package: random.percent(80).then(|| package(name)),
        name: if random.percent(50) { name.to_owned() } else { name.to_uppercase() },
        version: format!("{}.0", 1 + random.below(4)),
        reference: random.percent(50).then(|| format!("ref-{}", random.below(4))),
    }
}

fn versions(random: &mut Random) -> Versions {
    match random.below(3) {
        0 => Versions::Any,
        1 => Versions::One(format!("{}.0", 1 + random.below(4))),
        _ => Versions::In(format!("vers:deb/<{}.0", 2 + random.below(3)).parse().unwrap()),
    }
}

fn subject(random: &mut Random, product: &ProductId) -> Subject {
    match random.below(6) {
        0 => {
            Subject { package: Some(format!("pkg:generic/{product}")), versions: release(random), ..Subject::default() }
        }
        1 => Subject { name: Some(product.to_string()), versions: release(random), ..Subject::default() },
        2 => Subject {
            reference: Some(format!("ref-{}", random.below(4))),
            serial: random.percent(70).then(|| format!("urn:uuid:{product}-{}", 1 + random.below(5))),
            ..Subject::default()
        },
        3 => Subject { name: Some(random.of(&PACKAGES).to_owned()), versions: versions(random), ..Subject::default() },
        _ => Subject { package: Some(package(random.of(&PACKAGES))), versions: versions(random), ..Subject::default() },
    }
}

fn release(random: &mut Random) -> Versions {
    match random.below(4) {
        0 => Versions::Any,
        1 => Versions::In(format!("vers:semver/<{}.0.0", 2 + random.below(4)).parse().unwrap()),
        _ => Versions::One(format!("{}.0.0", 1 + random.below(5))),
    }
}

fn claim(random: &mut Random, product: &ProductId) -> Claim {
    let cve = random.of(&CVES);
    let mut vulnerability = vec![if random.percent(50) { cve.to_owned() } else { cve.to_lowercase() }];
    if random.percent(20) {
        vulnerability.insert(0, format!("ACME-{}", random.below(9)));
    }
    Claim {
        vulnerability,
        about: (0..random.below(3)).map(|_| subject(random, product)).collect(),
        status: random.of(&Status::ALL),
        justification: None,
        impact: random.percent(20).then(|| "an attacker may \"read\" the log".to_owned()),
        action: None,
        at: random.percent(50).then(|| at(i64::try_from(random.below(5)).unwrap())),
    }
}

impl Fleet {
    /// Makes one, under names that no other seed's has, and puts it into the database.
    pub(super) async fn make(tx: &mut Tx, seed: u64) -> Self {
        let mut random = Random(seed);
        let products: Vec<ProductId> = (0..2).map(|n| format!("pump-{seed}-{n}").parse().unwrap()).collect();
        let mut fleet = Self { products, bundles: Vec::new(), claims: BTreeMap::new(), hospitals: Vec::new() };
        for product in fleet.products.clone() {
            let releases = 1 + random.below(5);
            for n in 1..=releases {
                fleet.bundle(tx, &mut random, &product, n).await;
            }
            for number in 1..=random.below(4) {
                let entry = VexEntry {
                    product: product.clone(),
                    id: format!("acme-{number}").parse().unwrap(),
                    format: "openvex".to_owned(),
                    number,
                    after: Release(1 + random.below(releases)),
                    status: VexStatus::Current,
                    reason: None,
                };
                let claims: Vec<_> =
                    (0..random.below(4)).map(|_| (entry.source(), claim(&mut random, &product))).collect();
                tx.put_vex(&entry.path(), &entry, &Digest::of(b"vex"), &claims, at(0)).await.unwrap();
                fleet.claims.entry(product.clone()).or_default().extend(claims);
            }
        }
        for n in 0..2 {
            fleet.hospital(tx, &mut random, format!("riverside-{seed}-{n}").parse().unwrap()).await;
        }
        fleet
    }

    async fn bundle(&mut self, tx: &mut Tx, random: &mut Random, product: &ProductId, n: u64) {
        let path = format!("bundles/{product}/{n}/manifest.json");
        let manifest = Digest::of(path.as_bytes());
        let installable = random.percent(80);
        tx.put_bundle(&bundles::Bundle {
            product: product.clone(),
            release: Release(n),
            version: format!("{n}.0.0").parse().unwrap(),
            path: path.clone(),
            manifest_sha256: manifest,
            status: if installable { random.of(&["current", "superseded"]) } else { "withdrawn" }.to_owned(),
            payload_length: 1,
            published: at(0),
        })
        .await
        .unwrap();
        let source = Source { path: path.clone(), document: "vex.json".to_owned(), after: Release(n), number: 0 };
        let listed = random.percent(85);
        let read = Read {
            listed,
            itself: (listed && random.percent(30)).then(|| Part {
                package: Some(format!("pkg:oem/acme/{product}")),
                name: "Infusor".to_owned(),
                version: String::new(),
                reference: None,
            }),
            serials: if listed { vec![format!("urn:uuid:{product}-{n}")] } else { Vec::new() },
            parts: if listed { (0..random.below(6)).map(|_| part(random)).collect() } else { Vec::new() },
            claims: (0..random.below(3)).map(|_| (source.clone(), claim(random, product))).collect(),
            problem: None,
        };
        let unread = Unread { product: product.clone(), release: Release(n), path: path.clone(), manifest };
        tx.put_read_bundle(&unread, &read, at(0)).await.unwrap();
        self.claims.entry(product.clone()).or_default().extend(read.claims);
        self.bundles.push(Bundle {
            product: product.clone(),
            release: Release(n),
            version: format!("{n}.0.0").parse().unwrap(),
            manifest,
            path,
            installable,
            listed,
            itself: read.itself,
            serials: read.serials,
            parts: read.parts,
        });
    }

    async fn hospital(&mut self, tx: &mut Tx, random: &mut Random, hdo: HdoId) {
        assert!(tx.insert_hdo(&hdo, "A hospital", at(0)).await.unwrap());
        let mut devices = Vec::new();
        for n in 0..12 {
            let mut runs = |often: u64| {
                let any = random.below(self.bundles.len() as u64 + 1);
                let known = self.bundles.get(usize::try_from(any).unwrap()).map(|b| b.manifest);
                random.percent(often).then(|| known.unwrap_or_else(|| Digest::of(b"made elsewhere")))
            };
            let (proven, said) = (runs(60), runs(70));
            let product = random.of(&[0, 1]);
            devices.push(Device {
                id: format!("device-{n:02}").parse().unwrap(),
                product: self.products[product].clone(),
                proven,
                said,
                revoked: random.percent(10),
            });
        }
        let record = |d: &Device| Record {
            id: d.id.clone(),
            product: d.product.clone(),
            hardware: "rev-a".parse().unwrap(),
            ward: "icu".parse().unwrap(),
            serial: String::new(),
            udi: String::new(),
            labels: Default::default(),
        };
        tx.import_devices(&hdo, &devices.iter().map(record).collect::<Vec<_>>(), at(0)).await.unwrap();
        for device in &devices {
            let signed = Signed { payload: b"{}".to_vec(), signature: Signature([0; 64]) };
            if device.proven.is_some() {
                tx.set_proven(&hdo, &device.id, 1, &signed, device.proven.as_ref()).await.unwrap();
            }
            tx.keep_check_in(&hdo, &device.id, b"said", device.said.as_ref(), at(1)).await.unwrap();
            if device.proven.is_none() && random.percent(50) {
                // A report by a key that no roster has: what it says does not count.
                tx.set_proven(&hdo, &device.id, 1, &signed, None).await.unwrap();
            }
            if device.revoked {
                assert!(tx.revoke_device(&hdo, &device.id, at(2)).await.unwrap());
            }
        }
        let mut hospital = Hospital { hdo, devices, rollouts: Vec::new(), decisions: Vec::new() };
        for n in 0..random.below(5) {
            let to = &self.bundles[usize::try_from(random.below(self.bundles.len() as u64)).unwrap()];
            let rollout = rollout(random, &hospital.hdo, to, n);
            let members: Vec<_> =
                hospital.devices.iter().filter(|_| random.percent(60)).map(|d| (d.id.clone(), 0)).collect();
            place(tx, &rollout, &members, at(0)).await;
            for (id, _) in &members {
                if random.percent(70) {
                    told(tx, &rollout, id, random.of(&Phase::ALL), at(2)).await;
                }
            }
            hospital.rollouts.push(rollout);
        }
        for number in 1..=random.below(4) {
            let about = &self.bundles[usize::try_from(random.below(self.bundles.len() as u64)).unwrap()];
            let decision = Decision {
                product: about.product.clone(),
                release: about.release,
                plan_sha256: None,
                choice: random.of(&[Choice::Declined, Choice::Deferred]),
                reason: "the ward is rebuilt".to_owned(),
                compensating: "a network of their own".to_owned(),
                review: "2027-01-15".parse().unwrap(),
            };
            let by = "kim".parse().unwrap();
            tx.put_decision(&hospital.hdo, number, &decision, (&by, None), at(3)).await.unwrap();
            hospital.decisions.push((number, decision));
        }
        self.hospitals.push(hospital);
    }
}

fn rollout(random: &mut Random, hdo: &HdoId, to: &Bundle, n: u64) -> Rollout {
    Rollout {
        hdo: hdo.clone(),
        id: format!("approval-{n}").parse().unwrap(),
        state: random.of(&State::ALL),
        reason: None,
        product: to.product.clone(),
        version: to.version.clone(),
        release: to.release,
        manifest_sha256: to.manifest,
        approval_sha256: Digest::of(b"a"),
        wave: 0,
        waves: 1,
        unsigned: WaveSet::default(),
        attempt_timeout_secs: 600,
        max_attempts: 2,
        plan_sha256: Digest::of(b"plan"),
        ticket: String::new(),
        // Some before the decisions, some behind them, some at one time.
        created: at(i64::try_from(random.below(4) * 2).unwrap()),
        expires: at(if random.percent(70) { NOW + 1 } else { NOW }),
    }
}

/// A question that such a fleet may be asked.
pub(super) fn question(random: &mut Random) -> Question {
    let component = random.percent(60).then(|| {
        let name = random.of(&PACKAGES);
        let by_package = random.percent(70);
        Wanted {
            package: by_package.then(|| package(name)),
            name: (!by_package).then(|| name.to_owned()),
            versions: versions(random),
        }
    });
    let vulnerability = (component.is_none() || random.percent(50)).then(|| random.of(&CVES).to_owned());
    Question { vulnerability, component }
}
