//! SPDX 2.3 as JSON (ISO/IEC 5962 is 2.2.1; 2.3 adds to it). The rules are those of the specification's chapters 6, 7 and 11,
//! in what is read here.

mod relation;

use std::collections::HashSet;

use serde_json::Value;

use self::relation::Relations;
use super::cyclonedx::{cpe, day, hexadecimal};
use super::fields::{Fields, instant, object, parsed, text, text_or_none, word};
use super::{Component, ComponentHash, DocumentFault, Format, Purl, Sbom, Support, licence};
use crate::limits::MAX_COMPONENTS;

/// The document itself, in its own relationships.
const DOCUMENT: &str = "SPDXRef-DOCUMENT";

/// Reads a document.
pub(super) fn sbom(value: &Value) -> Result<Sbom, DocumentFault> {
    let root = object(value)?;
    root.required("spdxVersion", |v| word(v, &["SPDX-2.3"]))?;
    root.required("dataLicense", |v| word(v, &["CC0-1.0"]))?;
    root.required("SPDXID", |v| word(v, &[DOCUMENT]))?;
    root.required("name", text)?;
    let serial = root.required("documentNamespace", namespace)?;
    let (created, authors) = root.required("creationInfo", |v| {
        let info = object(v)?;
        let creators = info.some("creators", creator)?;
        Ok((info.required("created", instant)?, creators.into_iter().flatten().collect()))
    })?;
    let mut ids = HashSet::from([DOCUMENT.to_owned()]);
    let mut packages = Vec::new();
    root.list("packages", |v| {
        let package = package(v)?;
        if packages.len() >= MAX_COMPONENTS {
            return Err(DocumentFault::new(format!("there are more than {MAX_COMPONENTS} packages")));
        }
        new_id(package.reference.clone().unwrap_or_default(), &mut ids)?;
        packages.push(package);
        Ok(())
    })?;
    root.list("files", |v| {
        let file = object(v)?;
        new_id(file.required("SPDXID", id)?, &mut ids)?;
        file.required("fileName", text)?;
        file.list("checksums", checksum)
    })?;
    root.list("snippets", |v| new_id(object(v)?.required("SPDXID", id)?, &mut ids))?;
    let relations = Relations::read(&root, &ids)?;
    // What the document describes is its subject; where that is several, they are components among others.
    let subject = match relations.described.as_slice() {
        [one] => packages.iter().position(|package| package.reference.as_ref() == Some(one)),
        _ => None,
    };
    let subject = subject.map(|at| packages.remove(at));
    if subject.is_none() && packages.is_empty() {
        return Err(DocumentFault::new("lists nothing, or is missing").under("packages"));
    }
    Ok(Sbom {
        format: Format::Spdx,
        format_version: "2.3".to_owned(),
        serial: Some(serial),
        created: Some(created),
        authors,
        subject,
        components: packages,
        dependencies: relations.dependencies,
        statements: Vec::new(),
    })
}

/// "A unique absolute Uniform Resource Identifier without a fragment" (6.5).
fn namespace(value: &Value) -> Result<String, DocumentFault> {
    let uri = text(value)?;
    let scheme = uri.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let plain = is_scheme && !uri.contains(['#', ' ']);
    if plain { Ok(uri) } else { Err(DocumentFault::expected("an absolute URI without a fragment", &uri)) }
}

/// `Person: name (email)`, `Organization: name (email)` or `Tool: name-version`; a tool is nobody (6.8).
fn creator(value: &Value) -> Result<Option<String>, DocumentFault> {
    let creator = text(value)?;
    match creator.split_once(':') {
        Some(("Person" | "Organization", name)) => Ok(Some(without_email(name))),
        Some(("Tool", _)) => Ok(None),
        _ => Err(DocumentFault::expected("Person:, Organization: or Tool: and a name", &creator)),
    }
}

fn without_email(name: &str) -> String {
    let name = name.trim();
    let bare = name.strip_suffix(')').and_then(|name| name.rsplit_once('('));
    bare.map_or(name, |(name, _)| name.trim()).to_owned()
}

/// Who supplies a package; nobody where that is not asserted (7.5, 7.6).
fn supplier(value: &Value) -> Result<Option<String>, DocumentFault> {
    let supplier = text(value)?;
    match supplier.split_once(':') {
        Some(("Person" | "Organization", name)) => Ok(Some(without_email(name)).filter(|name| !name.is_empty())),
        None if supplier == "NOASSERTION" => Ok(None),
        _ => Err(DocumentFault::expected("Person: or Organization: and a name, or NOASSERTION", &supplier)),
    }
}

/// `SPDXRef-` and letters, digits, `.` and `-` (7.2).
fn id(value: &Value) -> Result<String, DocumentFault> {
    let id = text(value)?;
    let rest = id.strip_prefix("SPDXRef-").unwrap_or_default();
    let plain = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    if plain { Ok(id) } else { Err(DocumentFault::expected("SPDXRef- and letters, digits, dots and hyphens", &id)) }
}

fn new_id(id: String, ids: &mut HashSet<String>) -> Result<(), DocumentFault> {
    if ids.contains(&id) {
        return Err(DocumentFault::expected("an SPDXID that nothing else in the document has", &id).under("SPDXID"));
    }
    ids.insert(id);
    Ok(())
}

fn package(value: &Value) -> Result<Component, DocumentFault> {
    let fields = object(value)?;
    let reference = fields.required("SPDXID", id)?;
    let name = fields.required("name", text)?;
    fields.required("downloadLocation", text)?;
    let originator = fields.optional("originator", supplier)?.flatten();
    let supplier = fields.optional("supplier", supplier)?.flatten().or(originator);
    let (purl, cpe) = identifiers(&fields)?;
    // The declared licence is the author's own word, the concluded one that of whoever wrote the document (7.13, 7.15).
    let concluded = fields.optional("licenseConcluded", licence)?.flatten();
    let licence = fields.optional("licenseDeclared", licence)?.flatten().or(concluded);
    // "The end of the support period for a package" (7.26).
    let ends = fields.optional("validUntilDate", |v| {
        instant(v)?;
        day(v)
    })?;
    Ok(Component {
        reference: Some(reference),
        purl,
        cpe,
        name,
        version: fields.optional("versionInfo", text_or_none)?.flatten(),
        supplier,
        licence,
        hashes: fields.list("checksums", checksum)?,
        support: ends.map(|ends| Support { level: None, ends: Some(ends) }),
    })
}

/// The first package URL and the first CPE of a package's external references (7.21, annex F).
fn identifiers(fields: &Fields<'_>) -> Result<(Option<Purl>, Option<String>), DocumentFault> {
    let (mut purl, mut first_cpe) = (None, None);
    fields.list("externalRefs", |v| {
        let reference = object(v)?;
        // Tools write the second with an underscore, as the JSON schema of 2.2 did.
        const CATEGORIES: [&str; 6] =
            ["SECURITY", "PACKAGE-MANAGER", "PACKAGE_MANAGER", "PERSISTENT-ID", "PERSISTENT_ID", "OTHER"];
        reference.required("referenceCategory", |v| word(v, &CATEGORIES))?;
        let kind = reference.required("referenceType", text)?;
        match kind.as_str() {
            "purl" => {
                let found = reference.required("referenceLocator", |v| parsed(v, "a package URL"))?;
                purl.get_or_insert(found);
            }
            "cpe22Type" | "cpe23Type" => {
                let found = reference.required("referenceLocator", cpe)?;
                first_cpe.get_or_insert(found);
            }
            _ => drop(reference.required("referenceLocator", text)?),
        }
        Ok(())
    })?;
    Ok((purl, first_cpe))
}

/// A licence expression; nothing where that is not asserted, or where there is none (7.13).
fn licence(value: &Value) -> Result<Option<String>, DocumentFault> {
    let expression = value.as_str().unwrap_or_default();
    match expression {
        "NOASSERTION" | "NONE" => Ok(None),
        _ if licence::is_expression(expression) => Ok(Some(expression.to_owned())),
        _ => Err(DocumentFault::expected("an SPDX licence expression, NONE or NOASSERTION", expression)),
    }
}

/// The algorithms, and how many hexadecimal digits each makes (7.10).
const ALGORITHMS: [(&str, &[usize]); 17] = [
    ("SHA1", &[40]),
    ("SHA224", &[56]),
    ("SHA256", &[64]),
    ("SHA384", &[96]),
    ("SHA512", &[128]),
    ("SHA3-256", &[64]),
    ("SHA3-384", &[96]),
    ("SHA3-512", &[128]),
    ("BLAKE2b-256", &[64]),
    ("BLAKE2b-384", &[96]),
    ("BLAKE2b-512", &[128]),
    ("BLAKE3", &[64]),
    ("MD2", &[32]),
    ("MD4", &[32]),
    ("MD5", &[32]),
    ("MD6", &[32, 64, 96, 128]),
    ("ADLER32", &[8]),
];

fn checksum(value: &Value) -> Result<ComponentHash, DocumentFault> {
    let fields = object(value)?;
    let algorithm = fields.required("algorithm", |v| word(v, &ALGORITHMS.map(|(name, _)| name)))?;
    let digits = ALGORITHMS.iter().find(|(name, _)| *name == algorithm).map_or(&[] as &[usize], |(_, digits)| digits);
    let hex = fields.required("checksumValue", |v| hexadecimal(v, digits))?;
    Ok(ComponentHash { algorithm: algorithm.to_owned(), hex })
}

#[cfg(test)]
mod tests;
