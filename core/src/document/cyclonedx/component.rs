//! One component of a `CycloneDX` document.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;

use super::{Spec, party, read_components};
use crate::document::fields::{Fields, object, parsed, text, text_or_none, word};
use crate::document::{Component, ComponentHash, DocumentFault, Support, licence};

const KINDS: [&str; 13] = [
    "application",
    "framework",
    "library",
    "container",
    "operating-system",
    "device",
    "firmware",
    "file",
    "platform",
    "device-driver",
    "machine-learning-model",
    "data",
    "cryptographic-asset",
];

/// What a component may be in each version.
fn kinds(spec: Spec) -> &'static [&'static str] {
    let known = match spec {
        Spec::V1_4 => 8,
        Spec::V1_5 => 12,
        Spec::V1_6 => 13,
    };
    KINDS.get(..known).unwrap_or(&KINDS)
}

/// Reads a component; what is nested in it goes to `nested`.
pub(super) fn read(value: &Value, spec: Spec, nested: &mut Vec<Component>) -> Result<Component, DocumentFault> {
    let fields = object(value)?;
    fields.required("type", |v| word(v, kinds(spec)))?;
    let name = fields.required("name", text)?;
    let purl = fields.optional("purl", |v| parsed(v, "a package URL"))?;
    let group = fields.told("group")?.filter(|_| purl.is_none());
    let supplier = match fields.optional("supplier", party)?.flatten() {
        Some(supplier) => Some(supplier),
        None => match fields.told("publisher")? {
            Some(publisher) => Some(publisher),
            None => fields.optional("manufacturer", party)?.flatten(),
        },
    };
    let component = Component {
        reference: fields.optional("bom-ref", text)?,
        cpe: fields.optional("cpe", cpe)?,
        name: group.map_or_else(|| name.clone(), |group| format!("{group}/{name}")),
        version: fields.optional("version", text_or_none)?.flatten(),
        supplier,
        licence: licences(&fields)?,
        hashes: fields.list("hashes", hash)?,
        support: support(&fields)?,
        purl,
    };
    read_components(&fields, spec, nested)?;
    Ok(component)
}

/// The shape of CPE 2.2 or 2.3; both begin with what it is about: application, operating system or hardware.
pub(in crate::document) fn cpe(value: &Value) -> Result<String, DocumentFault> {
    let cpe = text(value)?;
    let rest = cpe.strip_prefix("cpe:2.3:").or_else(|| cpe.strip_prefix("cpe:/"));
    let shaped =
        rest.is_some_and(|rest| rest.starts_with(['a', 'o', 'h', '*', '-']) && !rest.contains(char::is_whitespace));
    if shaped {
        Ok(cpe)
    } else {
        Err(DocumentFault::expected("a CPE, as in cpe:2.3:a:acme:pump:1.0:*:*:*:*:*:*:*", &cpe))
    }
}

fn hash(value: &Value) -> Result<ComponentHash, DocumentFault> {
    let fields = object(value)?;
    let algorithm = fields.required("alg", |v| word(v, &ALGORITHMS.map(|(name, _)| name)))?;
    let digits = ALGORITHMS.iter().find(|(name, _)| *name == algorithm).map_or(0, |(_, digits)| *digits);
    let hex = fields.required("content", |v| hexadecimal(v, &[digits]))?;
    Ok(ComponentHash { algorithm: algorithm.to_owned(), hex })
}

/// The algorithms, and how many hexadecimal digits each makes.
const ALGORITHMS: [(&str, usize); 12] = [
    ("MD5", 32),
    ("SHA-1", 40),
    ("SHA-256", 64),
    ("SHA-384", 96),
    ("SHA-512", 128),
    ("SHA3-256", 64),
    ("SHA3-384", 96),
    ("SHA3-512", 128),
    ("BLAKE2b-256", 64),
    ("BLAKE2b-384", 96),
    ("BLAKE2b-512", 128),
    ("BLAKE3", 64),
];

/// A digest of one of some lengths, in lower case.
pub(in crate::document) fn hexadecimal(value: &Value, digits: &[usize]) -> Result<String, DocumentFault> {
    let hex = text(value)?;
    if digits.contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(hex.to_ascii_lowercase());
    }
    let digits: Vec<_> = digits.iter().map(usize::to_string).collect();
    Err(DocumentFault::expected(&format!("{} hexadecimal digits", digits.join(" or ")), &hex))
}

/// Licences: one expression, or names. "If SPDX does not define the license used, this field may be used to provide the
/// license name."
fn licences(fields: &Fields<'_>) -> Result<Option<String>, DocumentFault> {
    let licences = fields.list("licenses", |v| {
        let choice = object(v)?;
        let expression = choice.optional("expression", |v| {
            let expression = v.as_str().unwrap_or_default();
            if licence::is_expression(expression) {
                return Ok(expression.to_owned());
            }
            Err(DocumentFault::expected("an SPDX licence expression", expression))
        })?;
        let named = choice.optional("license", |v| {
            let licence = object(v)?;
            let id = licence.optional("id", |v| {
                let id = text(v)?;
                let known = licence::is_name(&id, false);
                if known { Ok(id) } else { Err(DocumentFault::expected("the id of a licence on SPDX's list", &id)) }
            })?;
            match id {
                Some(id) => Ok(id),
                None => licence.required("name", text),
            }
        })?;
        match (expression, named) {
            (Some(expression), None) => Ok(expression),
            (None, Some(named)) => Ok(named),
            _ => Err(DocumentFault::new("has not one of license and expression")),
        }
    })?;
    Ok((!licences.is_empty()).then(|| licences.join(", ")))
}

/// The properties that FDA's guidance has got names for (`CycloneDX` property taxonomy, `cdx:fda` and `cdx:lifecycle`).
fn support(fields: &Fields<'_>) -> Result<Option<Support>, DocumentFault> {
    let mut support = Support::default();
    let mut milestone = None;
    fields.list("properties", |v| {
        let property = object(v)?;
        match property.get("name").and_then(Value::as_str) {
            Some("cdx:fda:level-of-support") => support.level = property.told("value")?,
            Some("cdx:fda:end-of-support-date") => support.ends = Some(property.required("value", day)?),
            Some("cdx:lifecycle:milestone:endOfSupport") => milestone = Some(property.required("value", day)?),
            _ => {}
        }
        Ok(())
    })?;
    support.ends = support.ends.or(milestone);
    Ok((support != Support::default()).then_some(support))
}

/// A date, or the date in UTC of an instant.
pub(in crate::document) fn day(value: &Value) -> Result<Date, DocumentFault> {
    let text = text(value)?;
    let instant = |text: &str| text.parse::<Timestamp>().ok().map(|at| jiff::tz::Offset::UTC.to_datetime(at).date());
    let plain = text.len() == 10;
    let date = if plain { text.parse().ok() } else { instant(&text) };
    date.ok_or_else(|| DocumentFault::expected("a date as in 2028-12-31", &text))
}
