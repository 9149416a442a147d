use serde_json::{Value, json};

use super::super::{Sbom, Status, Vex};
use crate::limits::MAX_TEXT_BYTES;

fn bill() -> Value {
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
        "metadata": {
            "timestamp": "2026-11-24T15:00:00Z", "authors": [{ "name": "ada" }],
            "component": { "type": "firmware", "bom-ref": "pump", "name": "pump", "version": "1.1.0" },
        },
        "components": [
            {
                "type": "library", "bom-ref": "a", "group": "org.acme", "name": "alarm", "version": "2",
                "supplier": { "name": "Acme" }, "licenses": [{ "license": { "id": "MIT" } }, { "license": { "name": "ours" } }],
                "hashes": [{ "alg": "SHA-1", "content": "ABCDEF0123456789abcdef0123456789abcdef01" }],
                "cpe": "cpe:2.3:a:acme:alarm:2:*:*:*:*:*:*:*",
                "properties": [
                    { "name": "cdx:fda:level-of-support", "value": "actively maintained" },
                    { "name": "cdx:lifecycle:milestone:endOfSupport", "value": "2029-01-31T22:00:00Z" },
                ],
                "components": [{ "type": "library", "name": "inner", "version": "1" }],
            },
            { "type": "library", "bom-ref": "c", "name": "curl", "version": "8.1", "purl": "pkg:deb/debian/Curl@8.1" },
        ],
        "dependencies": [{ "ref": "pump", "dependsOn": ["a", "c"] }, { "ref": "a" }],
    })
}

fn read(value: &Value) -> Result<Sbom, String> {
    Sbom::parse(value.to_string().as_bytes()).map_err(|fault| fault.to_string())
}

/// The bill with one value changed, by its JSON pointer; `null` takes it away.
fn changed(pointer: &str, value: Value) -> Value {
    let mut bill = bill();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match bill.pointer_mut(parent).unwrap() {
        Value::Object(fields) if value.is_null() => drop(fields.remove(name)),
        Value::Object(fields) => drop(fields.insert(name.to_owned(), value)),
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        _ => unreachable!("{pointer}"),
    }
    bill
}

#[test]
fn a_bill_of_materials_is_read_in_its_order() {
    let read = read(&bill()).unwrap();
    assert_eq!((read.format_version.as_str(), read.authors.as_slice()), ("1.6", ["ada".to_owned()].as_slice()));
    assert_eq!(read.subject.as_ref().unwrap().name, "pump");
    let names: Vec<_> = read.components.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["org.acme/alarm", "inner", "curl"]);
    let alarm = &read.components[0];
    assert_eq!(alarm.supplier.as_deref(), Some("Acme"));
    assert_eq!(alarm.licence.as_deref(), Some("MIT, ours"));
    assert_eq!(alarm.hashes[0].hex, "abcdef0123456789abcdef0123456789abcdef01");
    let support = alarm.support.as_ref().unwrap();
    assert_eq!(support.level.as_deref(), Some("actively maintained"));
    assert_eq!(support.ends.unwrap().to_string(), "2029-01-31");
    assert_eq!(read.components[2].identity(), "pkg:deb/debian/curl");
    assert_eq!(read.dependencies[0].on, ["a", "c"]);
    let gaps: Vec<_> = read.gaps().iter().map(ToString::to_string).collect();
    assert_eq!(
        gaps,
        ["no supplier of 3 components, pump the first", "no unique identifier of 2 components, pump the first",]
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (pointer, value, says) in [
        ("/bomFormat", json!("Cyclone"), "bomFormat: expected one of CycloneDX"),
        ("/specVersion", json!("1.3"), "specVersion: expected one of 1.4, 1.5, 1.6, found \"1.3\""),
        ("/version", json!(0), "version: is 0"),
        ("/serialNumber", json!("3e671687"), "serialNumber: expected urn:uuid: and a UUID"),
        ("/metadata/timestamp", json!("today"), "metadata.timestamp: expected a time"),
        ("/metadata/component/name", Value::Null, "metadata.component.name: is missing"),
        ("/components/0/type", json!("gadget"), "components[0].type: expected one of"),
        ("/components/1/purl", json!("deb/curl"), "components[1].purl: expected a package URL, found \"deb/curl\": "),
        ("/components/1/bom-ref", json!("a"), "components[1].bom-ref: expected a bom-ref that nothing else"),
        (
            "/components/0/components/0/name",
            json!(7),
            "components[0].components[0].name: expected text, found a number",
        ),
        ("/components/0/hashes/0/content", json!("12"), "components[0].hashes[0].content: expected 40 hexadecimal"),
        ("/components/0/hashes/0/alg", json!("CRC32"), "components[0].hashes[0].alg: expected one of MD5"),
        (
            "/components/0/licenses/0",
            json!({ "expression": "MIT/ISC" }),
            "components[0].licenses[0].expression: expected an SPDX",
        ),
        ("/components/0/licenses/0", json!({}), "components[0].licenses[0]: has not one of"),
        ("/components/0/cpe", json!("alarm"), "components[0].cpe: expected a CPE"),
        ("/components/0/properties/1/value", json!("2029"), "components[0].properties[1].value: expected a date"),
        ("/components/0/version", json!("2\u{7}"), "components[0].version: expected text without control"),
        ("/dependencies/0/ref", json!("nobody"), "dependencies[0].ref: expected the bom-ref of"),
        ("/dependencies/0/dependsOn/1", json!("nobody"), "dependencies[0].dependsOn[1]: expected the bom-ref of"),
        ("/dependencies/1/ref", json!("pump"), "dependencies[1].ref: expected each ref once"),
        ("/components", json!({}), "components: expected a list, found an object"),
    ] {
        let fault = read(&changed(pointer, value)).unwrap_err();
        assert!(fault.starts_with(says), "{pointer}: {fault}");
    }
    let empty = json!({ "bomFormat": "CycloneDX", "specVersion": "1.5" });
    assert_eq!(read(&empty).unwrap_err(), "the document: lists no component, and no metadata.component");
    assert!(read(&changed("/specVersion", json!("1.4"))).is_ok());
    let later = changed("/components/0/type", json!("cryptographic-asset"));
    assert!(read(&later).is_ok());
}

fn vex(vulnerability: &Value) -> Result<Vex, String> {
    let mut bill = bill();
    bill["vulnerabilities"] = json!([vulnerability]);
    Vex::parse(bill.to_string().as_bytes()).map_err(|fault| fault.to_string())
}

#[test]
fn each_status_of_a_vulnerability_is_a_statement() {
    let vulnerability = json!({
        "id": "CVE-2026-1", "references": [{ "id": "GHSA-1" }, { "id": "CVE-2026-1" }],
        "analysis": { "state": "resolved", "detail": "length is checked", "lastUpdated": "2026-11-25T10:00:00Z" },
        "recommendation": "update",
        "affects": [{ "ref": "c", "versions": [
            { "range": "vers:deb/<8.2", "status": "affected" }, { "version": "8.2", "status": "unaffected" },
            { "version": "8.3", "status": "unknown" }, { "version": "8.2.1" },
        ] }, { "ref": "urn:cdx:3E671687-395b-41f5-a30f-a58921a69b79/2#pkg:deb/x" }],
    });
    let read = vex(&vulnerability).unwrap();
    let all: Vec<_> =
        read.statements.iter().map(|s| (s.status, s.products.iter().map(|p| p.label()).collect())).collect();
    let label = |text: &str| text.to_owned();
    assert_eq!(
        all,
        [
            (Status::Affected, vec![label("pkg:deb/debian/curl vers:deb/<8.2")]),
            (
                Status::Fixed,
                vec![label("pkg:deb/debian/curl 8.2"), label("pkg:deb/debian/curl 8.2.1"), label("pkg:deb/x")]
            ),
            (Status::UnderInvestigation, vec![label("pkg:deb/debian/curl 8.3")]),
        ]
    );
    let statement = &read.statements[1];
    assert_eq!(statement.aliases, ["GHSA-1"]);
    assert_eq!((statement.impact.as_deref(), statement.action.as_deref()), (Some("length is checked"), Some("update")));
    assert_eq!(statement.at.unwrap().to_string(), "2026-11-25T10:00:00Z");
    let link = statement.products[2].reference.as_ref().unwrap();
    assert_eq!(link.serial.as_deref(), Some("urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79"));
}

#[test]
fn a_vex_document_states_something_about_what_there_is() {
    let with = |name: &str, value: Value| {
        let mut vulnerability =
            json!({ "id": "CVE-2026-1", "analysis": { "state": "in_triage" }, "affects": [{ "ref": "a" }] });
        vulnerability[name] = value;
        vex(&vulnerability)
    };
    assert!(with("description", json!("any\ntext")).is_ok());
    for (name, value, says) in [
        ("analysis", json!({}), "vulnerabilities[0].analysis.state: is missing"),
        ("analysis", json!({ "state": "fine" }), "vulnerabilities[0].analysis.state: expected one of"),
        (
            "analysis",
            json!({ "state": "not_affected", "justification": "luck" }),
            "vulnerabilities[0].analysis.justification: ",
        ),
        ("affects", json!([{ "ref": "nobody" }]), "vulnerabilities[0].affects[0].ref: expected a bom-ref of this"),
        ("affects", json!([{ "ref": "urn:cdx:1/1#a" }]), "vulnerabilities[0].affects[0].ref: expected urn:cdx:"),
        (
            "affects",
            json!([{ "ref": "a", "versions": [{}] }]),
            "vulnerabilities[0].affects[0].versions[0]: has not one",
        ),
        ("id", json!("two words"), "vulnerabilities[0].id: expected a vulnerability's id"),
    ] {
        let fault = with(name, value).unwrap_err();
        assert!(fault.starts_with(says), "{name}: {fault}");
    }
    // A bill of materials may list what nobody has looked at yet, and is none the worse.
    let mut bill = bill();
    bill["vulnerabilities"] = json!([{ "id": "CVE-2026-1", "affects": [{ "ref": "a" }] }]);
    assert_eq!(read(&bill).unwrap().statements, []);
    let whole = with("affects", json!([])).unwrap();
    assert_eq!(whole.statements[0].products[0].label(), "pump 1.1.0");
    assert!(Vex::parse(self::bill().to_string().as_bytes()).is_err(), "it states nothing");
}

#[test]
fn a_document_states_no_more_than_there_is_room_for() {
    let with = |name: &str, value: Value| {
        let mut vulnerability =
            json!({ "id": "CVE-2026-1", "analysis": { "state": "in_triage" }, "affects": [{ "ref": "a" }] });
        vulnerability[name] = value;
        vex(&vulnerability).unwrap_err()
    };
    let versions: Vec<Value> = (0..30_000).map(|n| json!({ "version": n.to_string() })).collect();
    let fault = with("affects", json!([{ "ref": "a", "versions": versions }]));
    assert!(fault.contains("together name more than"), "{fault}");
    let names: Vec<Value> = (0..100).map(|n| json!({ "id": format!("X-{n}") })).collect();
    let fault = with("references", Value::from(names));
    assert!(fault.starts_with("vulnerabilities[0].references: has 100 names"), "{fault}");
    // A thousand authors are named once, and not in each statement.
    let mut bill = bill();
    bill["metadata"]["authors"] = Value::from(vec![json!({ "name": "ada" }); 1_000]);
    bill["vulnerabilities"] = json!([{ "id": "CVE-2026-1", "analysis": { "state": "in_triage" } }]);
    let read = read(&bill).unwrap();
    assert_eq!((read.authors.len(), read.statements[0].author.as_ref().unwrap().len()), (1_000, MAX_TEXT_BYTES));
}
