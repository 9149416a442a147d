//! What travels with a bundle: declared, refused where it is malformed, published, fetched by a hospital and compared, with a
//! server in between that is trusted with none of it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use suture_tests::world::{Kind, Spec, World, text};

/// The bill of a release of the pump: one library in one version, and another that all releases have.
pub(crate) fn sbom(release: u64, curl: &str) -> Value {
    let component = |name: &str, version: &str| {
        json!({
            "type": "library", "bom-ref": name, "name": name, "version": version, "supplier": { "name": name },
            "purl": format!("pkg:deb/debian/{name}@{version}"),
        })
    };
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {
            "timestamp": "2026-11-24T15:00:00Z", "authors": [{ "name": "ada" }],
            "component": {
                "type": "firmware", "bom-ref": "pump", "name": "pump", "version": format!("1.{}.0", release - 1),
                "supplier": { "name": "Acme" }, "purl": format!("pkg:generic/acme/pump@1.{}.0", release - 1),
            },
        },
        "components": [component("curl", curl), component("zlib", "1.3")],
        "dependencies": [{ "ref": "pump", "dependsOn": ["curl", "zlib"] }],
    })
}

pub(crate) fn vex(status: &str) -> Value {
    json!({
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://acme.example/vex/1", "author": "Acme", "version": 1,
        "timestamp": "2026-11-24T15:00:00Z",
        "statements": [{
            "vulnerability": { "name": "CVE-2026-1000" }, "status": status, "action_statement": "install 1.1.0",
            "products": [{ "@id": "pkg:generic/acme/pump" }],
        }],
    })
}

/// Writes the documents of a release and declares them.
pub(crate) fn declared(world: &World, release: u64, sbom: &Value, vex: &Value) -> String {
    let mut more = String::new();
    for (kind, name, content) in
        [("sbom", "pump.cdx.json", sbom.to_string()), ("vex", "pump.vex.json", vex.to_string())]
    {
        let path = world.path(format!("papers-{release}")).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        more.push_str(&format!("[[document]]\nkind = \"{kind}\"\npath = \"{}\"\n", path.display()));
    }
    more
}

/// Everything below a directory of that name.
fn named(directory: &Path, name: &str, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => named(&entry.path(), name, found),
            false if entry.file_name() == name => found.push(entry.path()),
            false => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_published_fetched_and_compared_and_the_server_is_trusted_with_none() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let (first, second) = (sbom(1, "8.1"), sbom(2, "8.2"));
    let more = declared(&world, 1, &first, &vex("affected"));
    world.publish(&ada, Spec { release: 1, more: &more, ..Spec::default() }).await;
    let more = declared(&world, 2, &second, &vex("fixed"));
    let bundle = world.publish(&ada, Spec { release: 2, more: &more, ..Spec::default() }).await;
    let shown = ada.json(&["bundle", "inspect", text(&bundle.dir)]).await.unwrap();
    assert_eq!(shown["documents"][0]["components"], 2, "{shown}");
    assert_eq!(shown["documents"][0]["warnings"], Value::Null, "it has all that NTIA asks for: {shown}");
    assert_eq!(shown["documents"][1]["statements"], 1, "{shown}");

    // The hospital fetches what it asks for, byte for byte.
    let kim = world.hospital(&ada).await;
    let papers = world.path("papers");
    let fetch = ["bundle", "documents", "pump@2", "--kind", "sbom", "-o", text(&papers)];
    let fetched = kim.json(&fetch).await.unwrap();
    assert_eq!(fetched["documents"].as_array().unwrap().len(), 1, "{fetched}");
    assert_eq!(fetched["documents"][0]["format"], "CycloneDX 1.6", "{fetched}");
    assert_eq!(fs::read(papers.join("pump.cdx.json")).unwrap(), second.to_string().into_bytes());
    kim.run(&fetch).await.unwrap();
    fs::write(papers.join("pump.cdx.json"), "mine").unwrap();
    let refused = kim.run(&fetch).await.unwrap_err();
    assert!(refused.exit == 1 && refused.said.contains("is something else"), "{}", refused.said);

    // What a published one differs by, and one that is not published yet.
    let change = json!([{ "component": "pkg:deb/debian/curl", "from": ["8.1"], "to": ["8.2"] }]);
    for (old, new) in [("pump@1", "pump@2"), ("pump@1", text(&bundle.dir))] {
        let compared = kim.json(&["bundle", "diff", old, new]).await.unwrap();
        assert_eq!((&compared["components"]["changed"], &compared["components"]["unchanged"]), (&change, &json!(1)));
        let was = &compared["statements"][0];
        assert_eq!((&was["from"], &was["to"]), (&json!(["affected"]), &json!(["fixed"])), "{compared}");
    }

    // A server that hands out another one, of the same length.
    let digest = fetched["documents"][0]["sha256"].as_str().unwrap();
    let mut stored = Vec::new();
    named(&world.path("."), digest, &mut stored);
    stored.retain(|path| !path.starts_with(&bundle.dir));
    let forged = second.to_string().replace("\"8.2\"", "\"8.9\"");
    assert_eq!((stored.len(), forged.len()), (1, second.to_string().len()), "{stored:?}");
    fs::write(&stored[0], forged).unwrap();
    for command in [&["bundle", "documents", "pump@2"][..], &["bundle", "diff", "pump@1", "pump@2"]] {
        let refused = kim.run(command).await.unwrap_err();
        assert!(refused.exit == 5 && refused.said.contains("pump.cdx.json"), "{}", refused.said);
    }
}
