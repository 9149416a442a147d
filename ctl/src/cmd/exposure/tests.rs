use std::collections::BTreeMap;

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::exposure::{self, Bundle, Claim, Part, Question, Source, Status, Subject, Versions};
use suture_core::version::Release;
use suture_proto::v1;

use super::answer::{Answer, Row, compare};
use super::device::Device;
use super::{csv, text, wanted};
use crate::exposure::Known;

const CVE: &str = "CVE-2026-0001";

/// A pump whose first release carries what the statement is about, and whose second does not.
fn known() -> Known {
    let bundle = |release: u64, parts| Bundle {
        product: "pump".parse().unwrap(),
        release: Release(release),
        version: format!("{release}.0.0").parse().unwrap(),
        manifest: Digest::of(&release.to_be_bytes()),
        path: format!("bundles/pump/{release}/manifest.json"),
        installable: true,
        listed: true,
        itself: None,
        serials: Vec::new(),
        parts,
    };
    let part = Part {
        package: Some("pkg:deb/debian/openssl".to_owned()),
        name: "openssl".to_owned(),
        version: "1.1.1k-1".to_owned(),
        reference: None,
    };
    let claim = Claim {
        vulnerability: vec![CVE.to_owned()],
        about: vec![Subject { package: part.package.clone(), versions: Versions::Any, ..Subject::default() }],
        status: Status::Affected,
        justification: None,
        impact: None,
        action: Some("update to 2.0.0".to_owned()),
        at: None,
    };
    let source =
        Source { path: "vex/pump/acme-1.json".to_owned(), document: "acme-1".to_owned(), after: Release(2), number: 1 };
    Known {
        bundles: vec![bundle(1, vec![part]), bundle(2, Vec::new())],
        claims: BTreeMap::from([("pump".parse().unwrap(), vec![(source, claim)])]),
        problems: BTreeMap::new(),
    }
}

fn question() -> Question {
    Question { vulnerability: Some(CVE.to_owned()), component: None }
}

fn served(release: u64, verdict: &str, fix: bool) -> v1::ExposedBundle {
    v1::ExposedBundle {
        product: "pump".to_owned(),
        release,
        manifest_sha256: Digest::of(&release.to_be_bytes()).as_bytes().to_vec().into(),
        verdict: verdict.to_owned(),
        fix,
        proven_devices: release,
        ..Default::default()
    }
}

fn answered(told: Vec<v1::ExposedBundle>) -> Answer {
    let known = known();
    let found = exposure::answer(&question(), &known.bundles, &known.claims);
    let (bundles, differs) = compare(told, &known, &found);
    Answer { question: question(), checked: true, bundles, differs, silent_days: 7, ..Answer::default() }
}

#[test]
fn what_bundles_are_is_by_the_documents_and_a_server_that_hides_it_is_caught() {
    let honest = answered(vec![served(1, "affected", false), served(2, "absent", true)]);
    assert!(honest.differs.is_empty() && honest.raise().is_ok(), "{:?}", honest.differs);
    let rows: Vec<_> =
        honest.bundles.iter().map(|r| (r.release, r.verdict.as_str(), r.fix, r.proven_devices)).collect();
    assert_eq!(rows, [(1, "affected", false, 1), (2, "absent", true, 2)]);
    assert_eq!(honest.bundles[0].components, ["pkg:deb/debian/openssl@1.1.1k-1"]);
    let mut other = served(1, "affected", false);
    other.manifest_sha256 = vec![7; 32].into();
    let lies: [(&str, Vec<v1::ExposedBundle>); 5] = [
        ("does not speak of it", vec![served(2, "absent", true)]),
        ("by the server unstated", vec![served(1, "unstated", false), served(2, "absent", true)]),
        ("by the server absent", vec![served(1, "affected", false), served(2, "absent", false)]),
        ("another manifest", vec![other, served(2, "absent", true)]),
        (
            "the catalog does not list it",
            vec![served(1, "affected", false), served(2, "absent", true), served(3, "fixed", true)],
        ),
    ];
    for (what, told) in lies {
        let mut caught = answered(told);
        assert_eq!(caught.bundles[0].verdict, "affected", "{what}");
        assert!(caught.differs.iter().any(|d| d.contains(what)), "{what}: {:?}", caught.differs);
        let failure = caught.raise().unwrap_err().to_text();
        assert!(failure.contains("not what the documents say"), "{failure}");
        assert!(text::text(&caught).contains("THE SERVER SAYS OTHERWISE"));
        // It may not know better yet, and says so.
        caught.pending = 1;
        assert!(caught.raise().is_ok());
    }
}

#[test]
fn a_device_is_told_with_every_reason_that_is_known() {
    let now: Timestamp = "2026-11-24T15:00:00Z".parse().unwrap();
    let mut answer = answered(vec![served(1, "affected", false), served(2, "absent", true)]);
    answer.bundles[0].past_end_of_support = true;
    let told = |change: fn(&mut v1::ExposedDevice)| {
        let mut device = v1::ExposedDevice {
            id: "pump-1".to_owned(),
            product: "pump".to_owned(),
            release: 1,
            why: "waiting".to_owned(),
            last_seen_ms: 1,
            ..Default::default()
        };
        change(&mut device);
        device
    };
    let waiting = Device::of(
        told(|d| {
            d.phase = "waiting".to_owned();
            d.reason = Some(v1::Reason { code: "before-slot".to_owned(), text: "its slot is tomorrow".to_owned() });
        }),
        &answer,
        now,
    );
    assert_eq!(
        waiting.reason,
        "a rollout is bringing the fix: waiting (before-slot: its slot is tomorrow); not seen for 20781 days; past its end \
         of support"
    );
    answer.bundles.clear();
    let deferred = Device::of(
        told(|d| {
            (d.why, d.decision, d.last_seen_ms) = ("deferred".to_owned(), 3, 1_795_000_000_000);
            (d.decision_reason, d.review) = ("the ward is rebuilt".to_owned(), "2027-01-15".to_owned());
        }),
        &answer,
        now,
    );
    let said = "the hospital has deferred the fix: the ward is rebuilt (decision 3, review 2027-01-15)";
    assert!(deferred.reason.starts_with(said), "{}", deferred.reason);
    assert!(Device::of(told(|d| d.last_seen_ms = 0), &answer, now).reason.ends_with("never seen"));
    // A word that this program does not know is told as it is.
    assert!(Device::of(told(|d| d.why = "moonlight".to_owned()), &answer, now).reason.starts_with("moonlight"));
    answer.devices = vec![deferred; 60];
    let text = text::text(&answer);
    assert!(text.contains("and 10 more: --csv"), "{text}");
}

#[test]
fn the_servers_word_is_marked_and_an_unknown_verdict_is_no_all_clear() {
    let row = Row::from(served(1, "sideways", false));
    assert!(row.exposed);
    let answer = Answer { question: question(), bundles: vec![row], ..Answer::default() };
    assert!(text::text(&answer).contains("by the server's word"));
}

#[test]
fn a_cell_is_one_cell_and_no_formula() {
    let device = Device {
        id: "pump-1".to_owned(),
        version: "1.0.0".to_owned(),
        reason: "=cmd(\"x\"), then\nmore".to_owned(),
        ..Device::default()
    };
    let lines = csv::rows(&Answer { devices: vec![device], ..Answer::default() });
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1], "pump-1,,,0,1.0.0,,false,,\"'=cmd(\"\"x\"\"), then more\",,");
}

#[test]
fn a_component_is_asked_for_by_package_or_name_and_its_versions_in_one_way() {
    let range: exposure::Range = "vers:deb/<3".parse().unwrap();
    let by_package = wanted("pkg:deb/debian/OpenSSL@1.1?arch=arm64", None).unwrap();
    assert_eq!(by_package.package.as_deref(), Some("pkg:deb/debian/openssl"));
    assert_eq!(by_package.versions, Versions::One("1.1".to_owned()));
    assert_eq!(wanted("openssl", Some(&range)).unwrap().versions, Versions::In(range.clone()));
    assert_eq!(wanted("openssl", None).unwrap().name.as_deref(), Some("openssl"));
    let failure = wanted("pkg:deb/debian/openssl@1", Some(&range)).unwrap_err().to_text();
    assert!(failure.contains("without @version"), "{failure}");
    assert!(wanted("pkg:deb", None).unwrap_err().to_text().contains("no package URL"));
}
