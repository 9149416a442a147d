use serde_json::{Value, json};

use super::super::{Format, Sbom};

fn bill() -> Value {
    let package = |id: &str, name: &str| json!({ "SPDXID": id, "name": name, "downloadLocation": "NOASSERTION" });
    let mut bill = json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "pump",
        "documentNamespace": "https://acme.example/spdx/pump-1",
        "creationInfo": { "created": "2026-11-24T15:00:00Z", "creators": ["Tool: t-1", "Organization: Acme (ada@acme.example)"] },
        "packages": [package("SPDXRef-pump", "pump"), package("SPDXRef-curl", "curl"), package("SPDXRef-zlib", "zlib")],
        "files": [{ "SPDXID": "SPDXRef-f", "fileName": "./f", "checksums": [] }],
        "relationships": [
            { "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-pump" },
            { "spdxElementId": "SPDXRef-pump", "relationshipType": "DEPENDS_ON", "relatedSpdxElement": "SPDXRef-curl" },
            { "spdxElementId": "SPDXRef-zlib", "relationshipType": "DEPENDENCY_OF", "relatedSpdxElement": "SPDXRef-curl" },
            { "spdxElementId": "SPDXRef-zlib", "relationshipType": "DEPENDS_ON", "relatedSpdxElement": "NONE" },
        ],
    });
    bill["packages"][1] = json!({
        "SPDXID": "SPDXRef-curl", "name": "curl", "versionInfo": "8.1", "downloadLocation": "https://curl.se",
        "supplier": "Person: Daniel ()", "licenseDeclared": "curl", "licenseConcluded": "NOASSERTION",
        "validUntilDate": "2029-01-31T00:00:00Z",
        "checksums": [{ "algorithm": "SHA1", "checksumValue": "85ED0817af83a24ad8da68c2b5094de69833983c" }],
        "externalRefs": [
            { "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:deb/debian/curl@8.1" },
            { "referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a:haxx:curl:8.1:*:*:*:*:*:*:*" },
        ],
    });
    bill
}

fn read(value: &Value) -> Result<Sbom, String> {
    Sbom::parse(value.to_string().as_bytes()).map_err(|fault| fault.to_string())
}

#[test]
fn packages_are_components_and_what_is_described_their_product() {
    let read = read(&bill()).unwrap();
    assert_eq!((read.format, read.authors.as_slice()), (Format::Spdx, ["Acme".to_owned()].as_slice()));
    assert_eq!(read.subject.as_ref().unwrap().name, "pump");
    let curl = &read.components[0];
    assert_eq!(curl.identity(), "pkg:deb/debian/curl");
    assert_eq!(curl.supplier.as_deref(), Some("Daniel"));
    assert_eq!((curl.licence.as_deref(), curl.version.as_deref()), (Some("curl"), Some("8.1")));
    assert_eq!(curl.support.as_ref().unwrap().ends.unwrap().to_string(), "2029-01-31");
    assert!(curl.cpe.is_some() && curl.hashes[0].hex.starts_with("85ed08"));
    let needs: Vec<_> = read.dependencies.iter().map(|d| (d.of.as_str(), d.on.join(" "))).collect();
    let want = [("SPDXRef-curl", "SPDXRef-zlib"), ("SPDXRef-pump", "SPDXRef-curl"), ("SPDXRef-zlib", "")];
    assert_eq!(needs, want.map(|(of, on)| (of, on.to_owned())));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (pointer, value, says) in [
        ("/spdxVersion", json!("SPDX-2.2"), "spdxVersion: expected one of SPDX-2.3, found \"SPDX-2.2\""),
        ("/dataLicense", json!("MIT"), "dataLicense: expected one of CC0-1.0"),
        ("/documentNamespace", json!("acme#1"), "documentNamespace: expected an absolute URI"),
        ("/creationInfo/created", json!("now"), "creationInfo.created: expected a time"),
        ("/creationInfo/creators", json!([]), "creationInfo.creators: lists nothing"),
        ("/creationInfo/creators/1", json!("ada"), "creationInfo.creators[1]: expected Person:"),
        ("/packages/2/SPDXID", json!("SPDXRef-curl"), "packages[2].SPDXID: expected an SPDXID that nothing else"),
        ("/packages/2/SPDXID", json!("zlib"), "packages[2].SPDXID: expected SPDXRef-"),
        ("/packages/2/downloadLocation", json!(""), "packages[2].downloadLocation: is empty"),
        ("/packages/1/supplier", json!("Daniel"), "packages[1].supplier: expected Person:"),
        ("/packages/1/licenseDeclared", json!("MIT/X11"), "packages[1].licenseDeclared: expected an SPDX licence"),
        ("/packages/1/checksums/0/checksumValue", json!("12"), "packages[1].checksums[0].checksumValue: expected 40"),
        (
            "/packages/1/externalRefs/0/referenceLocator",
            json!("curl"),
            "packages[1].externalRefs[0].referenceLocator: expected a package URL",
        ),
        ("/packages/1/validUntilDate", json!("2029-01-31"), "packages[1].validUntilDate: expected a time"),
        ("/files/0/SPDXID", json!("SPDXRef-curl"), "files[0].SPDXID: expected an SPDXID that nothing else"),
        (
            "/relationships/1/relatedSpdxElement",
            json!("SPDXRef-x"),
            "relationships[1].relatedSpdxElement: expected the SPDXID",
        ),
        ("/relationships/1/relationshipType", json!("LIKES"), "relationships[1].relationshipType: expected a type"),
    ] {
        let mut bill = bill();
        *bill.pointer_mut(pointer).unwrap() = value;
        let fault = read(&bill).unwrap_err();
        assert!(fault.starts_with(says), "{pointer}: {fault}");
    }
    let mut elsewhere = bill();
    elsewhere["relationships"][1]["relatedSpdxElement"] = json!("DocumentRef-os:SPDXRef-libc");
    assert!(read(&elsewhere).is_ok());
    let mut two = bill();
    two["documentDescribes"] = json!(["SPDXRef-curl"]);
    let two = read(&two).unwrap();
    assert_eq!((two.subject, two.components.len()), (None, 3), "what is described is one thing, or several components");
}
