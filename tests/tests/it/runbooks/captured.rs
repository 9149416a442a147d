//! `captured-server.md`, played.

use super::page::Page;
use crate::hospital::Hospital;

/// The words of the page that name a file in the present directory.
fn file(hospital: &Hospital, name: &str) -> String {
    hospital.world.data_dir().join(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_new_tls_authority() {
    let mut hospital = Hospital::open().await;
    let mut page = Page::open("captured-server.md").section("A new TLS authority");
    assert!(hospital.pumps[0].agent().cycle().await.unwrap().confirmed);

    page.restarted(&mut hospital.world, "ca prepare").await;
    // Handed out: on the server's machine the names of both change.
    let [ca, next] = ["ca.pem", "ca-next.pem"].map(|name| {
        let copy = hospital.world.path(name);
        std::fs::copy(file(&hospital, name), &copy).unwrap();
        copy.to_str().unwrap().to_owned()
    });
    let sha256 = {
        let der = rustls::pki_types::CertificateDer::from(pem(&next));
        suture_core::digest::Digest::of(&der).to_string()
    };
    page.run(&hospital.ada, "service trust", &[("ca-next.pem", &next), ("SHA256", &sha256)]).await;
    page.run(&hospital.kim, "service set", &[("ca-next.pem", &next), ("ca.pem", &ca)]).await;
    page.run(&hospital.kim, "service follow", &[]).await;
    let shown = page.run(&hospital.kim, "service show", &[]).await;
    assert_eq!(shown["signed"]["unproven"].as_array().unwrap().len(), 2, "{shown}");
    for pump in &mut hospital.pumps {
        assert!(pump.agent().cycle().await.unwrap().confirmed);
    }

    page.restarted(&mut hospital.world, "ca switch").await;
    for pump in &mut hospital.pumps {
        assert!(pump.agent().cycle().await.unwrap().confirmed, "by the certificate that it has");
    }
    hospital.world.idle(22).await;
    hospital.kim.run(&["approvals", "renew"]).await.unwrap();
    hospital.ada.run(&["whoami"]).await.unwrap();
    for pump in &mut hospital.pumps {
        assert!(pump.agent().cycle().await.unwrap().confirmed);
    }
    page.restarted(&mut hospital.world, "ca retire").await;
    page.run(&hospital.kim, "service set", &[("ca-next.pem", &next)]).await;
    page.run(&hospital.kim, "service follow", &[]).await;
    page.run(&hospital.ada, "service trust", &[("ca-next.pem", &next), ("SHA256", &sha256)]).await;
    page.done();
    for pump in &mut hospital.pumps {
        pump.crash();
        assert!(pump.agent().cycle().await.unwrap().confirmed, "by the new authority alone");
    }
    hospital.kim.run(&["whoami"]).await.unwrap();
    hospital.ada.run(&["whoami"]).await.unwrap();
}

/// A certificate's DER.
fn pem(path: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::from_pem_file(path).unwrap().to_vec()
}

#[tokio::test]
async fn new_online_keys() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    let before = hospital.ada.json(&["catalog", "status"]).await.unwrap();

    let mut page = Page::open("captured-server.md").section("New online keys");
    page.on_server(&hospital.world, "keys rotate", &[]);
    let listed = page.on_server(&hospital.world, "keys list", &[]);
    page.on_server(&hospital.world, "audit rotate-key", &[]);
    assert!(listed.contains("catalog") && listed.contains("approvals/riverside"), "{listed}");
    page.run(&hospital.ada, "catalog rotate", &[]).await;
    page.run(&hospital.kim, "approvals rotate", &[]).await;
    page.done();

    let after = hospital.ada.json(&["catalog", "status"]).await.unwrap();
    for role in [2, 3] {
        assert_ne!(after["roles"][role]["public_keys"], before["roles"][role]["public_keys"]);
        let old = before["roles"][role]["public_keys"][0]["public_key"].as_str().unwrap();
        assert!(listed.contains(old), "{old} signed until now: {listed}");
    }
    let draft = hospital.draft().await;
    let (rollout, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    hospital.confirms(&rollout).await;
}
