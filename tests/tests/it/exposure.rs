//! A vulnerability's way: what is in the bundles, what the manufacturer says of it, which devices run that, what is done about it,
//! and what a server can hide.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use suture_tests::world::{Kind, Operator, Spec, World, text};

const CVE: &str = "CVE-2026-0001";

/// An SBOM that lists OpenSSL in a version, and some that matter to nobody.
fn sbom(world: &World, release: u64, openssl: &str) -> String {
    let component = |name: &str, version: &str| {
        json!({"type": "library", "name": name, "version": version, "bom-ref": format!("{name}-ref"),
            "purl": format!("pkg:deb/debian/{name}@{version}?arch=arm64")})
    };
    let bom = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "serialNumber": format!("urn:uuid:3e671687-395b-41f5-a30f-a58921a69b{release:02}"),
        "metadata": {"component": {"type": "firmware", "name": "pump", "version": format!("1.{}.0", release - 1)}},
        "components": [component("openssl", openssl), component("zlib1g", "1:1.2.11.dfsg-2"), component("busybox", "1:1.30.1-6")],
    });
    let path = world.path(format!("sbom-{release}.json"));
    fs::write(&path, bom.to_string()).unwrap();
    format!("[[document]]\nkind = \"sbom\"\npath = \"{}\"\n", path.display())
}

/// What the manufacturer says of OpenSSL before 1.1.1n, as CycloneDX writes ranges.
fn statement(world: &World) -> String {
    let vex = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "components": [{"type": "library", "name": "openssl", "bom-ref": "ssl", "purl": "pkg:deb/debian/openssl"}],
        "vulnerabilities": [{
            "id": CVE, "analysis": {"state": "exploitable", "detail": "a long handshake stops the pump's network"},
            "recommendation": "update to 1.1.0",
            "affects": [{"ref": "ssl", "versions": [{"range": "vers:deb/<1.1.1n-0", "status": "affected"}]}],
        }],
    });
    let path = world.path("acme-2026-001.json");
    fs::write(&path, vex.to_string()).unwrap();
    text(&path).to_owned()
}

async fn exposure(by: &Operator) -> Value {
    by.json(&["exposure", "--cve", CVE]).await.unwrap()
}

/// The verdicts by bundle, and of each exposed device why.
type Found<'a> = (Vec<(u64, &'a str)>, Vec<(&'a str, &'a str)>);

fn found(answer: &Value) -> Found<'_> {
    let bundles = answer["bundles"].as_array().unwrap();
    let devices = answer["devices"].as_array().unwrap();
    (
        bundles.iter().map(|b| (b["release"].as_u64().unwrap(), b["verdict"].as_str().unwrap())).collect(),
        devices.iter().map(|d| (d["id"].as_str().unwrap(), d["why"].as_str().unwrap())).collect(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_exposed_why_and_until_when_is_known_and_a_server_that_hides_a_component_is_caught() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let more = sbom(&world, 1, "1.1.1k-1");
    let first = world.publish(&ada, Spec { release: 1, more: &more, ..Spec::default() }).await;
    let more = sbom(&world, 2, "1.1.1n-0+deb11u5");
    world.publish(&ada, Spec { release: 2, more: &more, ..Spec::default() }).await;
    let kim = world.hospital(&ada).await;
    let always = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";
    kim.run(&["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", always]).await.unwrap();
    let mut pumps = world.devices(&kim, &["pump-1", "pump-2"], &first).await;
    for pump in &mut pumps {
        pump.cycle().await;
    }
    // Who carries it is known before anybody has said anything of a vulnerability; and by the hospital's own word who is exposed.
    let component = ["exposure", "--component", "pkg:deb/debian/openssl", "--range", "vers:deb/<1.1.1n-0"];
    let carried = kim.json(&component).await.unwrap();
    assert_eq!(found(&carried).0, [(1, "carried"), (2, "absent")], "{carried}");
    assert_eq!(found(&exposure(&kim).await).1, [("", ""); 0]);

    ada.run(&["vex", "publish", &statement(&world), "--product", "pump"]).await.unwrap();
    let told = exposure(&kim).await;
    let (bundles, devices) = found(&told);
    assert_eq!(bundles, [(1, "affected"), (2, "absent")], "{told}");
    assert_eq!(devices, [("pump-1", "not_approved"), ("pump-2", "not_approved")]);
    assert_eq!(
        (&told["bundles"][1]["fix"], &told["checked"], &told["pending"]),
        (&json!(true), &json!(true), &json!(0))
    );
    assert_eq!(told["bundles"][0]["by"]["path"], "vex/pump/acme-2026-001.json");
    assert_eq!(told["bundles"][0]["components"], json!(["pkg:deb/debian/openssl@1.1.1k-1"]));
    // They have only checked in: no report has been due yet.
    assert!(told["devices"].as_array().unwrap().iter().all(|d| d["proven"] == json!(false)), "{told}");
    let counts =
        |answer: &Value, n: usize| ["proven_devices", "believed_devices"].map(|c| answer["bundles"][n][c].clone());
    assert_eq!((counts(&told, 0), counts(&told, 1)), ([json!(0), json!(2)], [json!(0), json!(0)]));
    let defer = ["rollout", "approve", "pump@2", "--defer", "--reason", "the ward is rebuilt"];
    let until = ["--compensating", "a network of their own", "--review", "2027-01-15"];
    kim.run(&[&defer[..], &until].concat()).await.unwrap();
    assert_eq!(found(&exposure(&kim).await).1, [("pump-1", "deferred"), ("pump-2", "deferred")]);

    let plan = ["--bundle", "pump@2", "--device", "pump-1", "--slots", "1", "--slack", "60s"];
    let draft = world.draft(&kim, &plan).await;
    kim.sign(&draft).await;
    let rollout = draft.0.terms.id.to_string();
    let told = exposure(&kim).await;
    assert_eq!(found(&told).1, [("pump-1", "waiting"), ("pump-2", "not_approved")], "{told}");
    assert_eq!((&told["rollouts"][0]["id"], &told["devices"][0]["rollout"]), (&json!(rollout), &json!(rollout)));
    world.clock.set(draft.0.devices[0].slots[0].start);
    assert_eq!(pumps[0].cycle().await, "idle(up-to-date)");
    let told = exposure(&kim).await;
    assert_eq!(found(&told).1, [("pump-2", "not_approved")]);
    assert_eq!((counts(&told, 0), counts(&told, 1)), ([json!(0), json!(1)], [json!(1), json!(0)]), "one has proven it");
    let open = |shown: &Value| {
        let open = shown["open"]["vulnerabilities"].as_array().unwrap().clone();
        open.into_iter().map(|v| v["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(open(&kim.json(&["device", "show", "pump-2"]).await.unwrap()), [CVE]);
    assert_eq!(open(&kim.json(&["device", "show", "pump-1"]).await.unwrap()), [""; 0]);
    let csv = kim.run(&["exposure", "--cve", CVE, "--csv"]).await.unwrap();
    let rows: Vec<&str> = csv.lines().collect();
    assert!(rows.len() == 2 && rows[1].starts_with("pump-2,icu,pump,1,1.0.0,affected,false,not_approved,"), "{csv}");

    // The manufacturer is told numbers, and no device.
    let told = exposure(&ada).await;
    let hospitals = told["hospitals"].as_array().unwrap();
    let [hospital] = &hospitals[..] else { panic!("{told}") };
    assert_eq!((&hospital["believed_devices"], &hospital["whys"]), (&json!(1), &json!({"not_approved": 1})));
    assert!(!told.to_string().contains("pump-2"), "{told}");

    // A server that leaves the component out of its index is caught by whoever reads the documents, and tells nobody else.
    let path = world.database().strip_prefix("sqlite:").unwrap().to_owned();
    let mut database = SqliteConnection::connect(&path).await.unwrap();
    let hide = "DELETE FROM bundle_component WHERE package = 'pkg:deb/debian/openssl'";
    sqlx::query(hide).execute(&mut database).await.unwrap();
    let caught = kim.run(&["exposure", "--cve", CVE]).await.unwrap_err();
    assert_eq!(caught.exit, 5, "{}", caught.said);
    assert!(caught.said.contains("pump@1: by its documents it is affected"), "{}", caught.said);
    let trusting = kim.json(&["exposure", "--cve", CVE, "--quick"]).await.unwrap();
    let exposed: BTreeSet<bool> =
        trusting["bundles"].as_array().unwrap().iter().map(|b| b["exposed"] == json!(true)).collect();
    assert!(!exposed.contains(&true), "it believes the server: {trusting}");

    ada.run(&["vex", "withdraw", "pump", "acme-2026-001", "--reason", "the range was wrong"]).await.unwrap();
    let told = exposure(&kim).await;
    assert_eq!(found(&told).1, [("", ""); 0], "{told}");
    let listed = kim.json(&["vex", "list"]).await.unwrap();
    assert_eq!((&listed[0]["status"], &listed[0]["reason"]), (&json!("withdrawn"), &json!("the range was wrong")));
}
