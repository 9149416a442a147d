//! Documents that others wrote for everybody: bills of material, statements, package URLs, and what is told by its first bytes.

use suture_core::document::{Contents, Product, Purl, Sbom, Vex, check};
use suture_core::limits::{MAX_COMPONENTS, MAX_STATED_BYTES, MAX_STATED_PRODUCTS, MAX_STATEMENTS};
use suture_core::manifest::DocumentKind;

/// The first byte says which.
pub(crate) fn hold(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    match choice % 4 {
        0 => sbom(rest),
        1 => vex(rest),
        2 => purl(rest),
        _ => told(rest),
    }
}

fn sbom(bytes: &[u8]) {
    let sbom = match Sbom::parse(bytes) {
        Ok(sbom) => sbom,
        Err(fault) => return one_line(&fault.to_string()),
    };
    assert!(sbom.components.len() <= MAX_COMPONENTS);
    assert!(sbom.subject.is_some() || !sbom.components.is_empty(), "a bill of nothing");
    let mut references: Vec<_> =
        sbom.subject.iter().chain(&sbom.components).filter_map(|c| c.reference.as_deref()).collect();
    let count = references.len();
    references.sort_unstable();
    references.dedup();
    assert_eq!(references.len(), count, "two components of one reference");
    for component in sbom.subject.iter().chain(&sbom.components) {
        component.purl.iter().for_each(canonical);
        assert!(!component.name.trim().is_empty());
        assert!(!component.identity().contains(char::is_control));
    }
    for gap in sbom.gaps() {
        assert!(gap.components.is_none_or(|n| n <= count.max(sbom.components.len() + 1)));
        one_line(&gap.to_string());
    }
    assert_eq!(Sbom::parse(bytes).as_ref(), Ok(&sbom), "read again it is the same");
}

fn vex(bytes: &[u8]) {
    let vex = match Vex::parse(bytes) {
        Ok(vex) => vex,
        Err(fault) => return one_line(&fault.to_string()),
    };
    assert!((1..=MAX_STATEMENTS).contains(&vex.statements.len()));
    assert!(vex.statements.iter().map(|s| s.products.len()).sum::<usize>() <= MAX_STATED_PRODUCTS + MAX_STATEMENTS);
    for statement in &vex.statements {
        assert!(!statement.vulnerability.contains(char::is_whitespace));
        assert!(!statement.aliases.contains(&statement.vulnerability) || vex.format.as_str() == "openvex");
        for said in [&statement.impact, &statement.action].into_iter().flatten() {
            assert!((1..=MAX_STATED_BYTES).contains(&said.len()));
        }
        statement.products.iter().for_each(product);
    }
    assert_eq!(Vex::parse(bytes).as_ref(), Ok(&vex), "read again it is the same");
}

fn product(product: &Product) {
    product.purl.iter().for_each(canonical);
    one_line(&product.label());
    for part in &product.parts {
        assert!(part.parts.is_empty(), "parts have no parts");
        self::product(part);
    }
}

fn purl(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(purl) = text.parse::<Purl>() {
        canonical(&purl);
    }
}

/// One package has one spelling.
fn canonical(purl: &Purl) {
    let text = purl.to_string();
    let again: Purl = text.parse().expect("the canonical form can be read");
    assert_eq!((&again, again.to_string()), (purl, text));
    let package: Purl = purl.package().parse().expect("a package is one without a version");
    assert_eq!((package.version(), package.package()), (None, purl.package()));
}

fn told(bytes: &[u8]) {
    for kind in [DocumentKind::ReleaseNotes, DocumentKind::Mds2, DocumentKind::TestEvidence] {
        match check(kind, bytes) {
            Ok(Contents::Text | Contents::Json) => {
                assert!(std::str::from_utf8(bytes).is_ok_and(|t| !t.contains('\u{1b}')))
            }
            Ok(Contents::Other) => assert_ne!(kind, DocumentKind::ReleaseNotes),
            Ok(contents) => one_line(&contents.format()),
            Err(fault) => one_line(&fault.to_string()),
        }
    }
}

/// What people read of it moves no cursor.
fn one_line(text: &str) {
    assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
}
