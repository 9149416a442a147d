use serde_json::{Value, json};

use super::super::{Status, Vex};
use crate::limits::MAX_STATED_PRODUCTS;

fn advisory() -> Value {
    let product = |id: &str, name: &str| json!({ "name": name, "product_id": id });
    json!({
        "document": {
            "category": "csaf_vex", "csaf_version": "2.0", "title": "A loud alarm",
            "publisher": { "category": "vendor", "name": "Acme", "namespace": "https://acme.example" },
            "tracking": {
                "id": "ACME-1", "status": "final", "version": "2",
                "initial_release_date": "2026-11-24T15:00:00Z", "current_release_date": "2026-11-25T15:00:00Z",
                "revision_history": [
                    { "date": "2026-11-24T15:00:00Z", "number": "1", "summary": "first" },
                    { "date": "2026-11-25T15:00:00Z", "number": "2", "summary": "second" },
                ],
            },
        },
        "product_tree": {
            "branches": [{ "category": "vendor", "name": "Acme", "branches": [
                { "category": "product_name", "name": "pump", "branches": [
                    { "category": "product_version", "name": "1.1.0", "product": product("P1", "Acme pump 1.1.0") },
                    { "category": "product_version_range", "name": "vers:semver/<1.1.0", "product": product("P0", "old pumps") },
                    { "category": "product_version", "name": "1.2.0", "product": product("P2", "Acme pump 1.2.0") },
                ] },
            ] }],
            "full_product_names": [{
                "name": "curl", "product_id": "C",
                "product_identification_helper": { "purl": "pkg:deb/debian/curl@8.1" },
            }],
            "relationships": [{
                "category": "default_component_of", "product_reference": "C", "relates_to_product_reference": "P2",
                "full_product_name": product("P2C", "curl in pump 1.2.0"),
            }],
            "product_groups": [{ "group_id": "G", "product_ids": ["P0", "P1"] }],
        },
        "vulnerabilities": [{
            "cve": "CVE-2026-1000", "ids": [{ "system_name": "Acme", "text": "ACME-BUG-7" }],
            "notes": [{ "category": "description", "text": "it overflows" }],
            "product_status": { "known_affected": ["P0", "P1"], "fixed": ["P2"], "known_not_affected": ["P2C"], "recommended": ["P2"] },
            "flags": [{ "label": "vulnerable_code_not_present", "product_ids": ["P2C"] }],
            "threats": [
                { "category": "impact", "details": "alarms fall silent", "group_ids": ["G"] },
                { "category": "exploit_status", "details": "none is known", "product_ids": ["P0"] },
            ],
            "remediations": [
                { "category": "vendor_fix", "details": "install 1.2.0", "group_ids": ["G"] },
                { "category": "workaround", "details": "unplug it", "product_ids": ["P0"] },
            ],
        }],
    })
}

fn read(value: &Value) -> Result<Vex, String> {
    Vex::parse(value.to_string().as_bytes()).map_err(|fault| fault.to_string())
}

#[test]
fn products_of_which_the_same_is_said_share_a_statement() {
    let read = read(&advisory()).unwrap();
    assert_eq!(
        (read.id.as_deref(), read.version.as_deref(), read.author.as_deref()),
        (Some("ACME-1"), Some("2"), Some("Acme"))
    );
    let said: Vec<_> = read
        .statements
        .iter()
        .map(|s| {
            let products: Vec<_> = s.products.iter().map(|p| p.label()).collect();
            (s.status, products.join(", "), s.action.clone().unwrap_or_default())
        })
        .collect();
    let line = |status, products: &str, action: &str| (status, products.to_owned(), action.to_owned());
    assert_eq!(
        said,
        [
            line(Status::NotAffected, "pump 1.2.0", ""),
            line(Status::Fixed, "pump 1.2.0", ""),
            line(Status::Affected, "pump 1.1.0", "install 1.2.0"),
            line(Status::Affected, "pump vers:semver/<1.1.0", "install 1.2.0\nunplug it"),
        ]
    );
    let part = &read.statements[0];
    assert_eq!(part.justification.as_deref(), Some("vulnerable_code_not_present"));
    assert_eq!(part.products[0].parts[0].label(), "pkg:deb/debian/curl@8.1");
    assert_eq!(read.statements[2].impact.as_deref(), Some("alarms fall silent"));
    assert_eq!(part.aliases, ["ACME-BUG-7"]);
    assert_eq!(part.at.unwrap().to_string(), "2026-11-25T15:00:00Z");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (pointer, value, says) in [
        ("/document/csaf_version", json!("2.1"), "document.csaf_version: expected one of 2.0"),
        ("/document/category", json!("csaf_base"), "document.category: expected one of csaf_vex"),
        ("/document/publisher/name", json!(""), "document.publisher.name: is empty"),
        ("/document/tracking/version", json!("3"), "document.tracking.version: expected a version that is in"),
        ("/document/tracking/version", json!("02"), "document.tracking.version: expected a whole number"),
        ("/document/tracking/status", json!("done"), "document.tracking.status: expected one of draft"),
        (
            "/document/tracking/current_release_date",
            json!("today"),
            "document.tracking.current_release_date: expected a time",
        ),
        (
            "/product_tree/branches/0/branches/0/category",
            json!("pump"),
            "product_tree.branches[0].branches[0].category: ",
        ),
        (
            "/product_tree/full_product_names/0/product_id",
            json!("P1"),
            "product_tree.full_product_names[0].product_id: expected",
        ),
        (
            "/product_tree/relationships/0/product_reference",
            json!("X"),
            "product_tree.relationships[0].product_reference: ",
        ),
        (
            "/product_tree/product_groups/0/product_ids/1",
            json!("X"),
            "product_tree.product_groups[0].product_ids[1]: expected",
        ),
        ("/vulnerabilities/0/cve", json!("CVE-26-1"), "vulnerabilities[0].cve: expected an id as in"),
        (
            "/vulnerabilities/0/product_status/fixed/0",
            json!("X"),
            "vulnerabilities[0].product_status.fixed[0]: expected a product_id",
        ),
        (
            "/vulnerabilities/0/product_status/fixed/0",
            json!("P1"),
            "vulnerabilities[0].product_status.fixed[0]: expected a product that is not affected",
        ),
        ("/vulnerabilities/0/product_status", json!({}), "vulnerabilities[0].product_status: has none of"),
        ("/vulnerabilities/0/flags/0/label", json!("luck"), "vulnerabilities[0].flags[0].label: expected one of"),
        (
            "/vulnerabilities/0/flags/0/product_ids/0",
            json!("P2"),
            "vulnerabilities[0].threats: expected an impact statement",
        ),
        (
            "/vulnerabilities/0/remediations/0/group_ids",
            json!([]),
            "vulnerabilities[0].remediations: expected an action",
        ),
        (
            "/vulnerabilities/0/threats/0/group_ids/0",
            json!("H"),
            "vulnerabilities[0].threats[0].group_ids[0]: expected a group_id",
        ),
        ("/vulnerabilities", json!([]), "vulnerabilities: lists nothing"),
    ] {
        let mut advisory = advisory();
        *advisory.pointer_mut(pointer).unwrap() = value;
        let fault = read(&advisory).unwrap_err();
        assert!(fault.starts_with(says), "{pointer}: {fault}");
    }
    // What the profile for VEX asks for, an advisory need not have.
    let mut advisory = advisory();
    advisory["document"]["category"] = json!("csaf_security_advisory");
    advisory["vulnerabilities"][0]["remediations"] = json!([]);
    assert!(read(&advisory).is_ok());
}

#[test]
fn a_group_that_is_named_again_and_again_is_refused() {
    let mut advisory = advisory();
    let ids: Vec<Value> = (0..1_000).map(|n| json!({ "name": "p", "product_id": n.to_string() })).collect();
    let names: Vec<Value> = ids.iter().map(|product| product["product_id"].clone()).collect();
    advisory["product_tree"]["full_product_names"].as_array_mut().unwrap().extend(ids);
    advisory["product_tree"]["product_groups"] = json!([{ "group_id": "G", "product_ids": names }]);
    let threat = json!({ "category": "impact", "details": "x", "group_ids": ["G"] });
    advisory["vulnerabilities"][0]["threats"] = Value::from(vec![threat; 200]);
    let fault = read(&advisory).unwrap_err();
    assert!(fault.contains(&format!("hold more than {MAX_STATED_PRODUCTS} products")), "{fault}");
}

#[test]
fn a_remark_that_is_made_of_thousands_of_products_is_refused() {
    let mut advisory = advisory();
    let ids: Vec<String> = (0..9_000).map(|n| format!("N{n}")).collect();
    let products = ids.iter().map(|id| json!({ "name": "p", "product_id": id }));
    advisory["product_tree"]["full_product_names"].as_array_mut().unwrap().extend(products);
    advisory["vulnerabilities"][0]["product_status"] = json!({ "known_affected": ids });
    advisory["vulnerabilities"][0]["flags"] = json!([]);
    let remark = json!({ "category": "vendor_fix", "details": "x".repeat(8_000), "product_ids": ids });
    let own = ids.iter().map(|id| json!({ "category": "workaround", "details": id, "product_ids": [id] }));
    advisory["vulnerabilities"][0]["remediations"] = [remark].into_iter().chain(own).collect();
    let fault = read(&advisory).unwrap_err();
    assert!(fault.contains("say more than"), "{fault}");
}
