//! From the documents of [`crate::document`] to components and statements.

use super::{Claim, Part, Status, Subject, Versions};
use crate::clock::whole_second;
use crate::document::{self, Component, Product, Reference, Sbom, Statement, Vex};

/// What an SBOM says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// How it names what it is the bill of.
    pub itself: Option<Part>,
    /// By what other documents refer to it.
    pub serial: Option<String>,
    /// What that consists of.
    pub parts: Vec<Part>,
    /// What it says of vulnerabilities.
    pub claims: Vec<Claim>,
}

impl From<&Sbom> for Contents {
    fn from(sbom: &Sbom) -> Self {
        Self {
            itself: sbom.subject.as_ref().map(Part::from),
            serial: sbom.serial.clone(),
            parts: sbom.components.iter().map(Part::from).collect(),
            claims: claims(&sbom.statements),
        }
    }
}

impl From<&Component> for Part {
    fn from(component: &Component) -> Self {
        let version = component.version.as_deref();
        let version = version.or_else(|| component.purl.as_ref()?.version());
        Self {
            package: component.purl.as_ref().map(document::Purl::package),
            name: component.name.clone(),
            version: version.unwrap_or_default().to_owned(),
            reference: component.reference.clone(),
        }
    }
}

/// What a document of statements says.
pub fn stated(vex: &Vex) -> Vec<Claim> {
    claims(&vex.statements)
}

fn claims(statements: &[Statement]) -> Vec<Claim> {
    statements.iter().filter_map(claim).collect()
}

/// None where it names things, and nobody can tell which.
fn claim(statement: &Statement) -> Option<Claim> {
    let status = statement.status;
    let about: Vec<Subject> = statement.products.iter().flat_map(|product| subjects(product, status)).collect();
    if about.is_empty() && !statement.products.is_empty() {
        return None;
    }
    let names = std::iter::once(&statement.vulnerability).chain(&statement.aliases);
    Some(Claim {
        vulnerability: names.cloned().collect(),
        about,
        status,
        justification: statement.justification.clone(),
        impact: statement.impact.clone(),
        action: statement.action.clone(),
        at: statement.at.map(whole_second),
    })
}

/// A product that is named with parts is meant itself: what a component comes to depends on what it is built into. Parts of
/// nothing are meant themselves.
fn subjects(product: &Product, status: Status) -> Vec<Subject> {
    let named = product.purl.is_some() || product.name.is_some() || product.reference.is_some();
    if named {
        subject(product, status).into_iter().collect()
    } else {
        product.parts.iter().filter_map(|part| subject(part, status)).collect()
    }
}

/// A range in words that no program reads, such as "all before 4.2", may mean every version where something is affected, and
/// none where it is not.
fn subject(product: &Product, status: Status) -> Option<Subject> {
    let Product { purl, name, version, range, reference, parts: _ } = product;
    let version = version.as_deref().or_else(|| purl.as_ref()?.version());
    let versions = match (range, version) {
        (Some(range), _) => match range.parse() {
            Ok(range) => Versions::In(range),
            Err(_) if status >= Status::UnderInvestigation => Versions::Any,
            Err(_) => return None,
        },
        (None, Some(version)) => Versions::One(version.to_owned()),
        (None, None) => Versions::Any,
    };
    let (reference, serial) = match reference {
        // What it is known by besides is known in other documents too.
        Some(Reference { serial, id }) if purl.is_none() && name.is_none() => (Some(id.clone()), serial.clone()),
        _ => (None, None),
    };
    let package = purl.as_ref().map(document::Purl::package);
    Some(Subject { name: name.clone().filter(|_| package.is_none()), package, versions, reference, serial })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOM: &str = r#"{"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
        "metadata": {"component": {"type": "firmware", "name": "pump", "version": "1.0.0", "bom-ref": "pump"}},
        "components": [
            {"type": "library", "name": "openssl", "version": "1.1.1k-1", "purl": "pkg:deb/debian/OpenSSL@1.1.1k-1?arch=arm64",
             "bom-ref": "ssl"},
            {"type": "library", "name": "pump-core", "bom-ref": "core"}],
        "vulnerabilities": [
            {"id": "CVE-2026-0001", "ratings": [{"score": 9.8}], "analysis": {"state": "not_affected", "justification": "code_not_reachable"},
             "affects": [{"ref": "ssl"}]}]}"#;

    #[test]
    fn an_sbom_comes_to_parts_by_package_name_and_reference_and_to_its_own_statements() {
        let contents = Contents::from(&Sbom::parse(BOM.as_bytes()).unwrap());
        let ssl = Part {
            package: Some("pkg:deb/debian/openssl".to_owned()),
            name: "openssl".to_owned(),
            version: "1.1.1k-1".to_owned(),
            reference: Some("ssl".to_owned()),
        };
        assert_eq!(contents.parts[0], ssl);
        assert_eq!((contents.parts[1].package.as_ref(), contents.parts[1].version.as_str()), (None, ""));
        assert_eq!(contents.itself.unwrap().name, "pump");
        assert_eq!(contents.serial.unwrap(), "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79");
        let [claim] = &contents.claims[..] else { panic!("{:?}", contents.claims) };
        assert_eq!((claim.status, claim.justification.as_deref()), (Status::NotAffected, Some("code_not_reachable")));
        assert!(claim.about[0].means(&ssl, &[], true), "{claim:?}");
    }

    #[test]
    fn a_range_that_no_program_reads_means_all_that_may_be_affected_and_nothing_that_is_not() {
        let statement = |status, range: &str| Statement {
            vulnerability: "CVE-2026-0001".to_owned(),
            aliases: vec!["ACME-1".to_owned()],
            products: vec![Product {
                name: Some("pump".to_owned()),
                range: Some(range.to_owned()),
                ..Product::default()
            }],
            status,
            justification: None,
            impact: None,
            action: None,
            at: None,
            author: None,
        };
        let versions = |status, range| claim(&statement(status, range)).map(|c| c.about[0].versions.clone());
        assert_eq!(versions(Status::Affected, "all before 4.2"), Some(Versions::Any));
        assert_eq!(versions(Status::NotAffected, "all before 4.2"), None);
        assert_eq!(versions(Status::Fixed, "all before 4.2"), None);
        let range = "vers:semver/<4.2.0";
        assert_eq!(versions(Status::Fixed, range), Some(Versions::In(range.parse().unwrap())));
    }

    #[test]
    fn a_product_with_parts_is_meant_itself_and_parts_of_nothing_are() {
        let part = Product { purl: Some("pkg:deb/debian/openssl@1".parse().unwrap()), ..Product::default() };
        let pump = Product { name: Some("pump".to_owned()), parts: vec![part.clone()], ..Product::default() };
        let named = |product: &Product| {
            subjects(product, Status::Affected).into_iter().map(|s| s.package.or(s.name)).collect::<Vec<_>>()
        };
        assert_eq!(named(&pump), [Some("pump".to_owned())]);
        let nothing = Product { parts: vec![part], ..Product::default() };
        assert_eq!(named(&nothing), [Some("pkg:deb/debian/openssl".to_owned())]);
    }
}
