//! `OpenVEX` 0.2.0 (openvex/spec, `OPENVEX-SPEC.md`).

use serde_json::Value;

use super::fields::{Fields, instant, number, object, prose, text, word};
use super::statement::{Room, aliases, joined, vulnerability};
use super::{DocumentFault, Format, Product, Statement, Status, Vex};

const CONTEXT: &str = "https://openvex.dev/ns/v0.2.0";
const STATUSES: [(&str, Status); 4] = [
    ("not_affected", Status::NotAffected),
    ("affected", Status::Affected),
    ("fixed", Status::Fixed),
    ("under_investigation", Status::UnderInvestigation),
];
/// "For the status labels not_affected, a justification": the same five as in CSAF.
const JUSTIFICATIONS: [&str; 5] = [
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
];

/// Reads a document.
pub(super) fn vex(value: &Value) -> Result<Vex, DocumentFault> {
    let root = object(value)?;
    root.required("@context", |v| word(v, &[CONTEXT]))?;
    let id = root.required("@id", text)?;
    let author = root.required("author", text)?;
    let at = root.required("timestamp", instant)?;
    root.optional("last_updated", instant)?;
    let version = root.required("version", number)?;
    let mut room = Room::new();
    let statements = root.some("statements", |v| {
        let mut statement = statement(v, &mut room)?;
        room.statement(&statement)?;
        // What a statement does not say, the document does: "Inheritance".
        statement.at = statement.at.or(Some(at));
        statement.author = Some(author.clone());
        Ok(statement)
    })?;
    Ok(Vex {
        format: Format::OpenVex,
        format_version: "0.2.0".to_owned(),
        id: Some(id),
        version: Some(version.to_string()),
        author: Some(author),
        at: Some(at),
        statements,
    })
}

fn statement(value: &Value, room: &mut Room) -> Result<Statement, DocumentFault> {
    let fields = object(value)?;
    let (vulnerability, aliases) = fields.required("vulnerability", |v| {
        let fields = object(v)?;
        let name = fields.required("name", vulnerability)?;
        let aliases = aliases(&name, fields.list("aliases", vulnerability)?).map_err(|fault| fault.under("aliases"))?;
        Ok((name, aliases))
    })?;
    let products = fields.list("products", |v| {
        room.product()?;
        let fields = object(v)?;
        let parts = fields.list("subcomponents", |v| {
            room.product()?;
            product(&object(v)?)
        })?;
        Ok(Product { parts, ..product(&fields)? })
    })?;
    let status = fields.required("status", |v| {
        let status = word(v, &STATUSES.map(|(name, _)| name))?;
        Ok(STATUSES.iter().find(|(name, _)| *name == status).map(|(_, status)| *status))
    })?;
    let status = status.unwrap_or(Status::UnderInvestigation);
    let justification = fields.optional("justification", |v| word(v, &JUSTIFICATIONS))?.map(str::to_owned);
    let impact = joined(fields.optional("impact_statement", prose)?);
    let action = joined(fields.optional("action_statement", prose)?);
    match status {
        Status::NotAffected if justification.is_none() && impact.is_none() => {
            return Err(DocumentFault::new("is missing: what is not affected has one, or an impact_statement")
                .under("justification"));
        }
        Status::Affected if action.is_none() => {
            return Err(DocumentFault::new("is missing: what is affected has one").under("action_statement"));
        }
        Status::Affected | Status::Fixed | Status::UnderInvestigation if justification.is_some() => {
            return Err(DocumentFault::new("only what is not affected has one").under("justification"));
        }
        _ => {}
    }
    let updated = fields.optional("last_updated", instant)?;
    let issued = fields.optional("timestamp", instant)?;
    let at = updated.or(issued);
    Ok(Statement { vulnerability, aliases, products, status, justification, impact, action, at, author: None })
}

/// A product, or a part of one: by its `@id`, its identifiers, or both. An `@id` may be a package URL.
fn product(fields: &Fields<'_>) -> Result<Product, DocumentFault> {
    let id = fields.optional("@id", text)?;
    let by_id = id.as_deref().filter(|id| id.starts_with("pkg:"));
    let by_id = by_id.map(|id| super::fields::parsed(&Value::from(id), "a package URL"));
    let by_id = by_id.transpose().map_err(|fault: DocumentFault| fault.under("@id"))?;
    let identifiers = fields.optional("identifiers", |v| {
        let identifiers = object(v)?;
        let purl = identifiers.optional("purl", |v| super::fields::parsed(v, "a package URL"))?;
        let cpe = identifiers.optional("cpe23", text)?;
        Ok((purl, cpe.or(identifiers.optional("cpe22", text)?)))
    })?;
    let (purl, cpe) = identifiers.unwrap_or_default();
    let purl = purl.or(by_id);
    let name = if purl.is_some() { None } else { id.or(cpe) };
    if purl.is_none() && name.is_none() {
        return Err(DocumentFault::new("is named by neither @id nor identifiers"));
    }
    Ok(Product { purl, name, ..Product::default() })
}
