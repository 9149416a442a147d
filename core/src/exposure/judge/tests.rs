use proptest::prelude::*;

use super::*;

const CVE: &str = "CVE-2026-0001";

fn bundle(release: u64, parts: &[(&str, &str)]) -> Bundle {
    let part = |(name, version): &(&str, &str)| Part {
        package: Some(format!("pkg:deb/debian/{name}")),
        name: (*name).to_owned(),
        version: (*version).to_owned(),
        reference: Some(format!("ref-{name}")),
    };
    Bundle {
        product: "pump".parse().unwrap(),
        release: Release(release),
        version: format!("{release}.0.0").parse().unwrap(),
        manifest: Digest::of(&release.to_be_bytes()),
        path: format!("bundles/pump/{release}/manifest.json"),
        installable: true,
        listed: true,
        itself: None,
        serials: vec![format!("urn:uuid:{release}")],
        parts: parts.iter().map(part).collect(),
    }
}

fn own(release: u64) -> Source {
    let path = format!("bundles/pump/{release}/manifest.json");
    Source { path, document: "vex.json".to_owned(), after: Release(release), number: 0 }
}

fn published(after: u64, number: u64) -> Source {
    let path = format!("vex/pump/{number}.json");
    Source { path, document: format!("{number}"), after: Release(after), number }
}

fn claim(status: Status, about: &[Subject]) -> Claim {
    Claim {
        vulnerability: vec![CVE.to_owned(), "GHSA-aaaa".to_owned()],
        about: about.to_vec(),
        status,
        justification: None,
        impact: None,
        action: None,
        at: None,
    }
}

fn openssl(versions: Versions) -> Subject {
    Subject { package: Some("pkg:deb/debian/openssl".to_owned()), versions, ..Subject::default() }
}

fn product(version: &str) -> Subject {
    let versions = Versions::One(version.to_owned());
    Subject { package: Some("pkg:generic/pump".to_owned()), versions, ..Subject::default() }
}

fn cve() -> Question {
    Question { vulnerability: Some(CVE.to_lowercase()), component: None }
}

fn verdicts(question: &Question, bundles: &[Bundle], claims: &[(Source, Claim)]) -> (Vec<Verdict>, Vec<u64>) {
    let claims = BTreeMap::from([("pump".parse().unwrap(), claims.to_vec())]);
    let answer = answer(question, bundles, &claims);
    let fixes = answer.fixes.into_values().flatten().map(|r| r.0).collect();
    (answer.findings.iter().map(|f| f.verdict).collect(), fixes)
}

use Verdict::{Absent, Affected, Carried, Fixed, NotAffected, UnderInvestigation, Unknown, Unstated};

#[test]
fn what_was_published_later_speaks_for_every_release_that_carries_the_component() {
    let bundles = [
        bundle(1, &[("openssl", "1.1.1k-1")]),
        bundle(2, &[("openssl", "1.1.1n-1"), ("zlib", "1")]),
        bundle(3, &[("zlib", "1")]),
        Bundle { listed: false, ..bundle(4, &[]) },
    ];
    let older = Versions::In("vers:deb/<1.1.1n".parse().unwrap());
    let claims = [(published(4, 1), claim(Status::Affected, &[openssl(older)]))];
    assert_eq!(verdicts(&cve(), &bundles, &claims), (vec![Affected, Absent, Absent, Unknown], vec![2, 3]));
    // A name that means the same.
    let alias = Question { vulnerability: Some("ghsa-AAAA".to_owned()), component: None };
    assert_eq!(verdicts(&alias, &bundles, &claims).0[0], Affected);
    let other = Question { vulnerability: Some("CVE-2026-0002".to_owned()), component: None };
    assert_eq!(verdicts(&other, &bundles, &claims), (vec![Unstated, Unstated, Unstated, Unknown], vec![]));
}

#[test]
fn a_bundles_own_word_on_a_component_is_its_own_and_makes_others_suspect() {
    let parts = [("openssl", "1.1.1k-1")];
    let bundles = [bundle(1, &parts), bundle(2, &parts), bundle(3, &[])];
    let unreachable = [(own(1), claim(Status::NotAffected, &[openssl(Versions::Any)]))];
    assert_eq!(verdicts(&cve(), &bundles, &unreachable).0, [NotAffected, Unstated, Unstated]);
    let affected = [(own(1), claim(Status::Affected, &[openssl(Versions::Any)]))];
    assert_eq!(verdicts(&cve(), &bundles, &affected), (vec![Affected, Carried, Absent], vec![3]));
    // By the reference in the bundle's SBOM; others have the same reference and are not meant.
    let by_reference = Subject { reference: Some("ref-openssl".to_owned()), ..Subject::default() };
    let affected = [(own(1), claim(Status::Affected, std::slice::from_ref(&by_reference)))];
    assert_eq!(verdicts(&cve(), &bundles, &affected).0, [Affected, Unstated, Unstated]);
    let linked = Subject { serial: Some("urn:uuid:2".to_owned()), ..by_reference };
    let affected = [(published(3, 1), claim(Status::Affected, &[linked]))];
    assert_eq!(verdicts(&cve(), &bundles, &affected).0, [Unstated, Affected, Unstated]);
    // Without a subject it is about the bundle that it came with; published so, about nothing.
    let all = |source| [(source, claim(Status::Affected, &[]))];
    assert_eq!(verdicts(&cve(), &bundles, &all(own(2))).0, [Unstated, Affected, Unstated]);
    assert_eq!(verdicts(&cve(), &bundles, &all(published(3, 1))).0, [Unstated; 3]);
}

#[test]
fn a_release_speaks_of_those_before_it_where_it_names_them() {
    let bundles = [bundle(1, &[]), bundle(2, &[]), bundle(3, &[])];
    let claims = [
        (own(3), claim(Status::Affected, &[product("1.0.0"), product("2.0.0")])),
        (own(3), claim(Status::Fixed, &[product("3.0.0")])),
    ];
    assert_eq!(verdicts(&cve(), &bundles, &claims), (vec![Affected, Affected, Fixed], vec![3]));
    let by_name = |version: &str| Subject {
        name: Some("Pump".to_owned()),
        versions: Versions::One(version.to_owned()),
        ..Subject::default()
    };
    let claims = [(own(3), claim(Status::Affected, &[by_name("2.0.0")]))];
    assert_eq!(verdicts(&cve(), &bundles, &claims).0, [Unstated, Affected, Unstated]);
    // As its own SBOM names it.
    let itself =
        Part { package: Some("pkg:oem/acme/infusor".to_owned()), name: "Infusor".to_owned(), ..Part::default() };
    let named = [Bundle { itself: Some(itself), ..bundle(1, &[]) }];
    let infusor = Subject {
        package: Some("pkg:oem/acme/infusor".to_owned()),
        versions: Versions::One("1.0.0".to_owned()),
        ..Subject::default()
    };
    let claims = [(own(3), claim(Status::UnderInvestigation, &[infusor]))];
    assert_eq!(verdicts(&cve(), &named, &claims).0, [UnderInvestigation]);
}

#[test]
fn the_later_document_counts_and_what_it_overrules_is_kept() {
    let bundles = [bundle(1, &[("openssl", "1"), ("zlib", "1")])];
    let any = || openssl(Versions::Any);
    let mut claims = vec![
        (published(1, 1), claim(Status::UnderInvestigation, &[any()])),
        (published(1, 2), claim(Status::NotAffected, &[any()])),
        (own(1), claim(Status::Affected, &[any()])),
    ];
    let found = |claims: &[(Source, Claim)]| {
        let claims = BTreeMap::from([("pump".parse().unwrap(), claims.to_vec())]);
        answer(&cve(), &bundles, &claims).findings.remove(0)
    };
    let finding = found(&claims);
    assert_eq!(finding.verdict, NotAffected);
    assert_eq!(finding.by.unwrap().0, published(1, 2));
    let contradicting: Vec<_> = finding.overruled.iter().map(|o| (o.source.clone(), o.status)).collect();
    assert_eq!(contradicting, [(own(1), Status::Affected)], "an investigation that ended contradicts nothing");
    // Another component of it is its own matter: the worst counts.
    let zlib = Subject { package: Some("pkg:deb/debian/zlib".to_owned()), ..Subject::default() };
    claims.push((published(1, 3), claim(Status::Affected, &[zlib])));
    assert_eq!(found(&claims).verdict, Affected);
    // A newer word on the whole bundle is the last on all that it is made of.
    claims.push((published(1, 4), claim(Status::Fixed, &[product("1.0.0")])));
    let finding = found(&claims);
    assert_eq!((finding.verdict, finding.overruled.len()), (Fixed, 3));
    assert_eq!(finding.parts.len(), 2);
    // Of two words of one document and time the worse one.
    let both =
        [(published(1, 1), claim(Status::Affected, &[any()])), (published(1, 1), claim(Status::NotAffected, &[any()]))];
    let finding = found(&both);
    assert_eq!((finding.verdict, finding.overruled.len()), (Affected, 1));
    // Unless one of them is later by its own date.
    let at = |text: &str| Some(text.parse().unwrap());
    let mut dated = both.clone();
    dated[0].1.at = at("2026-01-01T00:00:00Z");
    dated[1].1.at = at("2026-02-01T00:00:00Z");
    assert_eq!(found(&dated).verdict, NotAffected);
}

#[test]
fn a_hospitals_own_word_holds_until_the_manufacturer_speaks() {
    let bundles = [bundle(1, &[("openssl", "1")]), bundle(2, &[("openssl", "2")]), bundle(3, &[("zlib", "1")])];
    let component = Wanted { package: Some("pkg:deb/debian/openssl".to_owned()), ..Wanted::default() };
    let question = Question { component: Some(component.clone()), ..cve() };
    assert_eq!(verdicts(&question, &bundles, &[]), (vec![Carried, Carried, Absent], vec![3]));
    let claims = [
        (published(3, 1), claim(Status::NotAffected, &[openssl(Versions::One("1".to_owned()))])),
        (published(3, 2), claim(Status::Fixed, &[product("2.0.0")])),
    ];
    assert_eq!(verdicts(&question, &bundles, &claims).0, [NotAffected, Fixed, Absent]);
    let narrow = Question {
        vulnerability: None,
        component: Some(Wanted { versions: Versions::One("2".to_owned()), ..component }),
    };
    assert_eq!(verdicts(&narrow, &bundles, &claims).0, [Absent, Carried, Absent]);
    let by_name = Wanted { name: Some("OpenSSL".to_owned()), ..Wanted::default() };
    assert_eq!(verdicts(&Question { vulnerability: None, component: Some(by_name) }, &bundles, &[]).0[0], Carried);
}

#[test]
fn a_fix_comes_after_what_is_exposed_and_may_be_installed() {
    let claims = [
        (published(6, 1), claim(Status::Affected, &[product("2.0.0"), product("5.0.0")])),
        (
            published(6, 2),
            claim(Status::Fixed, &[product("1.0.0"), product("3.0.0"), product("4.0.0"), product("6.0.0")]),
        ),
    ];
    let mut bundles: Vec<Bundle> = (1..=6).map(|n| bundle(n, &[])).collect();
    bundles[2].installable = false;
    let (_, fixes) = verdicts(&cve(), &bundles, &claims);
    assert_eq!(fixes, [4, 6]);
    let answer = answer(&cve(), &bundles, &BTreeMap::from([("pump".parse().unwrap(), claims.to_vec())]));
    let fixes_for = |n| answer.fixes_for(&"pump".parse().unwrap(), Release(n)).map(|r| r.0).collect::<Vec<_>>();
    assert_eq!((fixes_for(2), fixes_for(5)), (vec![4, 6], vec![6]));
    assert_eq!(answer.fixes_for(&"monitor".parse().unwrap(), Release(1)).count(), 0);
}

fn claims() -> impl Strategy<Value = Vec<(Source, Claim)>> {
    let subject = prop_oneof![
        Just(openssl(Versions::Any)),
        Just(openssl(Versions::One("1".to_owned()))),
        (1_u64..4).prop_map(|n| product(&format!("{n}.0.0"))),
        Just(Subject { reference: Some("ref-openssl".to_owned()), ..Subject::default() }),
    ];
    let status = prop::sample::select(Status::ALL.to_vec());
    let source = prop_oneof![(1_u64..4).prop_map(own), (1_u64..4, 1_u64..9).prop_map(|(a, n)| published(a, n))];
    let said = (source, status, prop::collection::vec(subject, 0..3));
    prop::collection::vec(said.prop_map(|(source, status, about)| (source, claim(status, &about))), 0..8)
}

proptest! {
    #[test]
    fn a_last_word_on_all_settles_it_whatever_was_said(claims in claims(), status in prop::sample::select(Status::ALL.to_vec())) {
        let bundles = [bundle(1, &[("openssl", "1")]), bundle(2, &[("openssl", "2")]), bundle(3, &[])];
        let mut claims = claims;
        claims.push((published(9, 99), claim(status, &[product("1.0.0"), product("2.0.0"), product("3.0.0")])));
        let (found, _) = verdicts(&cve(), &bundles, &claims);
        prop_assert_eq!(found, [Verdict::from(status); 3]);
    }

    #[test]
    fn in_which_order_statements_are_read_changes_nothing(claims in claims()) {
        let bundles = [bundle(1, &[("openssl", "1")]), bundle(2, &[("openssl", "2"), ("zlib", "1")]), bundle(3, &[])];
        let mut turned = claims.clone();
        turned.reverse();
        prop_assert_eq!(verdicts(&cve(), &bundles, &claims), verdicts(&cve(), &bundles, &turned));
    }

    #[test]
    fn no_bundle_is_both_exposed_and_a_fix(claims in claims()) {
        let bundles = [bundle(1, &[("openssl", "1")]), bundle(2, &[("openssl", "2")]), bundle(3, &[])];
        let (found, fixes) = verdicts(&cve(), &bundles, &claims);
        for (verdict, n) in found.iter().zip(1..) {
            prop_assert!(!(verdict.is_exposed() && fixes.contains(&n)));
            prop_assert!(!(verdict.is_exposed() && verdict.is_free()));
        }
    }
}
