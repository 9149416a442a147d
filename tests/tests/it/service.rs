//! Where the server is and by whom it is certified: both are replaced, and nobody walks to a device.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use suture_core::approval::{Service, SignedDocument as _};
use suture_core::digest::Digest;
use suture_server::authorities;
use suture_tests::hostile::{Act, Hostile, Loot};
use suture_tests::world::{Operator, World};

use crate::hospital::Hospital;

/// A step of the replacement, and the server's next start.
async fn step(
    world: &mut World,
    step: impl FnOnce(&World) -> Result<authorities::Listed, authorities::AuthoritiesError>,
) -> authorities::Listed {
    world.stop_server().await;
    let listed = step(world).unwrap();
    world.start_server().await;
    listed
}

fn prepare(world: &World) -> Result<authorities::Listed, authorities::AuthoritiesError> {
    authorities::prepare(
        world.data_dir(),
        &"acme.example".parse().unwrap(),
        suture_core::clock::Clock::now(&*world.clock),
    )
}

fn switch(world: &World) -> Result<authorities::Listed, authorities::AuthoritiesError> {
    authorities::switch(world.data_dir(), &"acme.example".parse().unwrap())
}

fn retire(world: &World) -> Result<authorities::Listed, authorities::AuthoritiesError> {
    authorities::retire(world.data_dir(), &"acme.example".parse().unwrap())
}

fn file(world: &World, name: &str) -> String {
    world.data_dir().join(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn one_authority_takes_anothers_place_and_no_device_is_touched() {
    let Hospital { mut world, ada, kim, mut pumps, .. } = Hospital::open().await;
    let pump = &mut pumps[0];
    assert!(pump.agent().cycle().await.unwrap().confirmed);

    let next = step(&mut world, prepare).await.next.unwrap();
    let next_file = next.file.to_str().unwrap();
    // What was read out is another certificate's: refused, and nothing is changed.
    let wrong = Digest::of(b"another").to_string();
    assert_eq!(ada.run(&["service", "trust", next_file, "--sha256", &wrong]).await.unwrap_err().exit, 5);
    ada.run(&["service", "trust", next_file, "--sha256", &next.sha256.to_string()]).await.unwrap();
    let ca = file(&world, "ca.pem");
    let signed = kim.json(&["service", "set", "--authority", &ca, "--authority", next_file]).await.unwrap();
    assert_eq!(signed["signed"]["authorities_sha256"][1], next.sha256.to_string());
    kim.run(&["service", "follow"]).await.unwrap();
    assert!(pump.agent().cycle().await.unwrap().confirmed);

    step(&mut world, switch).await;
    assert!(pump.agent().cycle().await.unwrap().confirmed, "by a certificate of the former authority");
    kim.run(&["whoami"]).await.unwrap();
    ada.run(&["whoami"]).await.unwrap();
    // New tokens name the new authority.
    kim.run(&["service", "set", "--authority", &ca]).await.unwrap();
    kim.run(&["service", "follow"]).await.unwrap();
    let late = world
        .devices(
            &kim,
            &["pump-9"],
            &world.publish(&ada, suture_tests::world::Spec { release: 3, ..Default::default() }).await,
        )
        .await;
    assert_eq!(late.len(), 1);

    // Three weeks on, every certificate has been renewed; the former authority is believed no longer.
    world.idle(22).await;
    kim.run(&["approvals", "renew"]).await.unwrap();
    ada.run(&["whoami"]).await.unwrap();
    assert!(pump.agent().cycle().await.unwrap().confirmed);
    step(&mut world, retire).await;
    pump.crash();
    assert!(pump.agent().cycle().await.unwrap().confirmed, "by a certificate of the new authority");
    kim.run(&["whoami"]).await.unwrap();
    ada.run(&["whoami"]).await.unwrap();
    // The other pump was off all the while: it knows the former authority alone, and says so.
    let stranded = &mut pumps[1];
    assert!(!stranded.agent().cycle().await.unwrap().confirmed);
}

/// Signs with the hospital's real key whatever it is told to.
async fn sign(kim: &Operator, address: &str, authority: &[u8]) {
    let spoil = |bytes: Vec<u8>| {
        let mut service = Service::parse(&bytes).unwrap();
        (service.addresses, service.authorities) = (vec![address.to_owned()], vec![Service::authority(authority)]);
        service.to_bytes().unwrap()
    };
    kim.republish_file("service.json", spoil).await.unwrap();
}

#[tokio::test]
async fn a_mistake_in_what_is_signed_strands_no_device() {
    let Hospital { world, kim, mut pumps, .. } = Hospital::open().await;
    let pump = &mut pumps[0];
    assert!(pump.agent().cycle().await.unwrap().confirmed);
    // Nobody listens there: refused before it is signed.
    let nowhere = ["service", "set", "--address", "https://localhost:1"];
    assert_eq!(kim.run(&nowhere).await.unwrap_err().exit, 4);
    assert_eq!(kim.json(&["service", "show"]).await.unwrap()["signed"], serde_json::Value::Null);

    kim.run(&[&nowhere[..], &["--unprobed"]].concat()).await.unwrap();
    assert!(pump.agent().cycle().await.unwrap().confirmed);
    assert!(pump.agent().cycle().await.unwrap().confirmed, "by the way that worked before");
    pump.crash();
    assert!(pump.agent().cycle().await.unwrap().confirmed, "after a restart too");
    let right = format!("https://localhost:{}", world.line.port());
    // Nor is what is no certificate, or no host, signed unprobed.
    let junk = world.path("junk.pem");
    std::fs::write(&junk, "-----BEGIN CERTIFICATE-----\nanVuaw==\n-----END CERTIFICATE-----\n").unwrap();
    let before = kim.json(&["service", "show"]).await.unwrap()["signed"]["since_version"].clone();
    let spoilt = ["--authority", junk.to_str().unwrap()];
    for (given, why) in [(spoilt, "junk.pem is not one CA certificate"), (["--address", "https://-"], "not a name")] {
        let refused = kim.run(&[&["service", "set", "--unprobed"], &given[..]].concat()).await.unwrap_err();
        assert!(refused.exit == 1 && refused.said.contains(why), "{}", refused.said);
    }
    assert_eq!(kim.json(&["service", "show"]).await.unwrap()["signed"]["since_version"], before);
    let certificate = CertificateDer::from_pem_file(file(&world, "ca.pem")).unwrap();
    // Signed all the same by another program, neither is kept by the device: the agent could not start with it.
    for (address, authority) in [(right.as_str(), &b"junk"[..]), ("https://-", &certificate)] {
        sign(&kim, address, authority).await;
        assert!(pump.agent().cycle().await.unwrap().confirmed);
        pump.crash();
        assert!(pump.agent().cycle().await.unwrap().confirmed, "by the ways that it had");
    }
    // Mended: the device goes the signed way, and forgets the one of its enrolment.
    let ca = file(&world, "ca.pem");
    let mended =
        ["service", "set", "--address", &right, "--address", "https://localhost:1", "--unprobed", "--authority"];
    kim.run(&[&mended[..], &[&ca]].concat()).await.unwrap();
    assert!(pump.agent().cycle().await.unwrap().confirmed);
    assert!(pump.agent().cycle().await.unwrap().confirmed);
    let kept: serde_json::Value =
        serde_json::from_slice(&std::fs::read(pump.dir.join("state/identity/ways.json")).unwrap()).unwrap();
    assert_eq!((&kept["proven"], &kept["current"]["addresses"][0]), (&serde_json::Value::Null, &right.into()));
}

#[tokio::test]
async fn devices_that_a_thief_has_led_away_come_back_once_what_he_shows_has_run_out() {
    let Hospital { mut world, kim, mut pumps, first, second, .. } = Hospital::open().await;
    let pump = &mut pumps[0];
    assert!(pump.agent().cycle().await.unwrap().confirmed);
    // The thief of the approvals' keys signs a server of his own, which shows what was in force that day, under a certificate
    // of the real authority.
    let bundles = [&first, &second];
    let thief = Hostile::serve(&Loot::take(&world, &bundles).await, world.clock.clone()).await;
    let certificate = CertificateDer::from_pem_file(file(&world, "ca.pem")).unwrap();
    let address = format!("https://localhost:{}", thief.address().port());
    kim.run(&["service", "set", "--address", &address, "--unprobed"]).await.unwrap();
    thief.play(Act::honest(&Loot::take(&world, &bundles).await));
    assert!(pump.agent().cycle().await.unwrap().confirmed);
    for _ in 0..3 {
        pump.crash();
        assert!(pump.agent().cycle().await.unwrap().confirmed);
    }
    assert!(thief.said().len() >= 3, "it is led away, and stays");
    // The hospital signs what is right again. No device hears of it, while what the thief shows counts.
    let right = format!("https://localhost:{}", world.line.port());
    sign(&kim, &right, &certificate).await;
    pump.agent().cycle().await.unwrap();
    world.idle(8).await;
    // Found: what is no metadata at all is not expired either, and kept the device there.
    let mut junk = Act::honest(&Loot::take(&world, &bundles).await);
    junk.metadata = Some(Arc::new(|_| Some(Ok(b"{}".to_vec()))));
    thief.play(junk);
    pump.crash();
    pump.agent().cycle().await.unwrap();
    let before = thief.said().len();
    assert!(pump.agent().cycle().await.unwrap().confirmed, "by the way of its enrolment");
    assert!(pump.agent().cycle().await.unwrap().confirmed);
    assert_eq!(thief.said().len(), before, "and never by the thief's again");
    let kept: serde_json::Value =
        serde_json::from_slice(&std::fs::read(pump.dir.join("state/identity/ways.json")).unwrap()).unwrap();
    assert_eq!(kept["current"]["addresses"][0], right.as_str());
}
