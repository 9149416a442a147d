//! Attacks on who is who: enrolment by a server that is another's, and renewals that would make the device somebody else.

use std::fs;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, KeyPair};
use suture_core::clock::Clock as _;
use suture_core::principal::Principal;
use suture_core::trust::Role;
use suture_server::identity::{Authority, Csr};
use suture_tests::hostile::{Act, Certify, Hostile, Loot, sign};
use suture_tests::world::{Device, HDO};

use super::metadata::take_over;
use super::stage::{Stage, real_time, report, state, touched};
use super::talk;
use crate::hospital::Hospital;

/// What the captured authority certifies, what that is, and what the device says to it.
struct Certified {
    attack: &'static str,
    server: &'static str,
    certify: fn(&Authority, &[u8]) -> Vec<Vec<u8>>,
    says: &'static str,
}

const RENEWALS: &[Certified] = &[
    Certified {
        attack: "another identity",
        server: "a certificate for another device of the hospital",
        certify: |authority, csr| issue(authority, csr, &device(HDO, "pump-2"), real_time()),
        says: "it names another identity",
    },
    Certified {
        attack: "another identity",
        server: "a certificate for the same device of another hospital",
        certify: |authority, csr| issue(authority, csr, &device("hilltop", "pump-1"), real_time()),
        says: "it names another identity",
    },
    Certified {
        attack: "another key",
        server: "a certificate over a key of its own",
        certify: |authority, _| issue(authority, &own_csr(), &device(HDO, "pump-1"), real_time()),
        says: "it is over another key",
    },
    Certified {
        attack: "a certificate of no use",
        server: "one that has expired already",
        certify: |authority, csr| {
            issue(authority, csr, &device(HDO, "pump-1"), real_time() - SignedDuration::from_hours(24 * 31))
        },
        says: "it has expired",
    },
    Certified {
        attack: "a certificate of no use",
        server: "no certificate",
        certify: |_, _| Vec::new(),
        says: "it is empty",
    },
    Certified {
        attack: "a certificate of no use",
        server: "bytes that are none",
        certify: |_, _| vec![vec![0x30; 100]],
        says: "it cannot be read",
    },
];

fn device(hdo: &str, id: &str) -> Principal {
    Principal::Device(hdo.parse().unwrap(), id.parse().unwrap())
}

fn issue(authority: &Authority, csr: &[u8], to: &Principal, now: Timestamp) -> Vec<Vec<u8>> {
    authority.issue(&Csr::read(csr).unwrap(), to, now).unwrap().chain
}

fn own_csr() -> Vec<u8> {
    request(&KeyPair::generate().unwrap())
}

fn request(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

/// The device's certificate as it is a few days before its end.
fn make_due(pump: &Device, authority: &Authority) -> String {
    let path = pump.dir.join("state/identity/tls.pem");
    let key = KeyPair::from_pem(&fs::read_to_string(&path).unwrap()).unwrap();
    let then = real_time() - SignedDuration::from_hours(24 * 25);
    let chain = issue(authority, &request(&key), &device(HDO, "pump-1"), then);
    let mut text = key.serialize_pem();
    for der in chain {
        let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        text.push_str(&format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"));
    }
    fs::write(&path, &text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals() {
    let mut stage = Stage::open().await;
    let hidden = talk::hidden();
    let mut came = Vec::new();
    for Certified { attack, server, certify, says } in RENEWALS {
        let device = stage.device();
        let before = make_due(&device, &stage.loot.authority);
        let mut act = Act::honest(&stage.loot);
        (hidden.play)(&mut act, &stage.keys);
        act.certify = Some(Arc::new(certify) as Certify);
        stage.hostile.play(act);
        let mut agent = device.spawn();
        let wrong = stage.comes_to(hidden.agent, &device, &mut agent).await.or_else(|| touched(&device));
        let kept = fs::read_to_string(device.dir.join("state/identity/tls.pem")).unwrap() == before;
        let wrong = wrong.or_else(|| (!kept).then(|| "it took the certificate".to_owned()));
        let wrong = wrong.or_else(|| (!device.log().contains(says)).then(|| device.log()));
        came.push((*attack, *server, format!("keeps its own: {says}"), wrong));
    }
    report("Renewals", came);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enrolments() {
    let mut hospital = Hospital::open().await;
    let csv = hospital.world.path("more.csv");
    fs::write(&csv, "id,product,hardware,ward,serial,udi\npump-3,pump,rev-a,icu,SN-3,UDI-3\n").unwrap();
    hospital.kim.run(&["device", "import", "--csv", csv.to_str().unwrap()]).await.unwrap();
    let token = hospital.kim.json(&["device", "token", "pump-3"]).await.unwrap();
    let token = token["token"].as_str().unwrap();
    hospital.world.stop_server().await;
    let loot = Loot::take(&hospital.world, &[&hospital.first, &hospital.second]).await;
    let clock = hospital.world.clock.clone();
    let mut pump = Device::new(&hospital.world, "pump-3", "rev-a");
    pump.provision(&hospital.first);
    let mut came = Vec::new();

    // An authority of its own.
    let domain: suture_core::id::TrustDomain = "acme.example".parse().unwrap();
    let (certificate, key) = Authority::create(&domain, clock.now()).unwrap();
    let own = Arc::new(Authority::load(&certificate, &key, domain).unwrap());
    let other = Hostile::serve(&Loot { authority: own.clone(), ..loot.clone() }, clock.clone()).await;
    hospital.world.line.lead_to(other.address());
    let refused = pump.enroll(token).await.unwrap_err();
    let wrong = (!refused.contains("has not issued")).then(|| refused.clone());
    came.push(("a substituted authority", "its own server certificate", "not issued by Suture's CA".to_owned(), wrong));

    let hostile = Hostile::serve(&loot, clock.clone()).await;
    hospital.world.line.lead_to(hostile.address());
    let answers: [(&str, &str, Certify); 3] = [
        (
            "it names another identity",
            "a certificate for another device",
            Arc::new(|authority: &Authority, csr: &[u8]| issue(authority, csr, &device(HDO, "pump-1"), real_time())),
        ),
        (
            "it is over another key",
            "a certificate over its own key",
            Arc::new(|authority: &Authority, _: &[u8]| {
                issue(authority, &own_csr(), &device(HDO, "pump-3"), real_time())
            }),
        ),
        (
            "it does not end in the CA that the token names",
            "a chain that ends in its own authority",
            Arc::new(move |authority: &Authority, csr: &[u8]| {
                let mut chain = issue(authority, csr, &device(HDO, "pump-3"), real_time());
                chain[1] = own.certificate().to_vec();
                chain
            }),
        ),
    ];
    for (says, server, certify) in answers {
        let mut act = Act::honest(&loot);
        act.certify = Some(certify);
        hostile.play(act);
        let refused = pump.enroll(token).await.unwrap_err();
        came.push(("a substituted identity", server, says.to_owned(), (!refused.contains(says)).then_some(refused)));
    }

    // The device joins, says its fingerprint, and is told that it is confirmed; the roots are another's.
    let mut act = Act::honest(&loot);
    let attacker = suture_core::sign::LocalKey::from_seed(&zeroize::Zeroizing::new([66; 32]));
    let attacker = Arc::new(attacker);
    for repo in [&mut act.loot.catalog, &mut act.loot.approvals] {
        let mut root = repo.signed(Role::Root);
        take_over(&mut root, &attacker);
        repo.metadata.retain(|name, _| !name.ends_with("root.json"));
        repo.put(Role::Root, sign(&root, &[&attacker]));
        (repo.snapshot_key, repo.timestamp_key) = (attacker.clone(), attacker.clone());
        repo.publish(&[&attacker], loot.now, |_| {});
    }
    hostile.play(act);
    pump.enroll(token).await.unwrap();
    assert_eq!(pump.cycle().await, "idle(bad-signature)");
    came.push(("substituted roots", "repositories of its own from the first root on", state(&pump), touched(&pump)));
    report("Enrolments", came);
}
