//! `CycloneDX` as JSON, versions 1.4, 1.5 and 1.6 (ECMA-424 is 1.6): bills of material and VEX.
//!
//! The rules are those of the schemas `bom-1.4`, `bom-1.5` and `bom-1.6`, in what is read here.

mod component;
mod references;
mod vulnerability;

use serde_json::Value;

pub(super) use self::component::{cpe, day, hexadecimal};
use self::references::References;
use super::fields::{Fields, instant, number, object, text, text_or_none, word};
use super::{Component, Dependency, DocumentFault, Format, Sbom, Vex};
use crate::limits::{MAX_COMPONENTS, MAX_DEPENDENCIES, MAX_TEXT_BYTES};

/// A version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Spec {
    V1_4,
    V1_5,
    V1_6,
}

impl Spec {
    const fn as_str(self) -> &'static str {
        match self {
            Self::V1_4 => "1.4",
            Self::V1_5 => "1.5",
            Self::V1_6 => "1.6",
        }
    }
}

/// What every document of the format has.
struct Head<'a> {
    root: Fields<'a>,
    spec: Spec,
    serial: Option<String>,
    version: u64,
    created: Option<jiff::Timestamp>,
    authors: Vec<String>,
    subject: Option<Component>,
    components: Vec<Component>,
    references: References,
}

impl<'a> Head<'a> {
    fn read(value: &'a Value) -> Result<Self, DocumentFault> {
        let root = object(value)?;
        root.required("bomFormat", |v| word(v, &["CycloneDX"]))?;
        let spec = root.required("specVersion", |v| {
            Ok(match word(v, &["1.4", "1.5", "1.6"])? {
                "1.4" => Spec::V1_4,
                "1.5" => Spec::V1_5,
                _ => Spec::V1_6,
            })
        })?;
        let version = match spec {
            Spec::V1_4 => root.required("version", positive)?,
            _ => root.optional("version", positive)?.unwrap_or(1),
        };
        let serial = root.optional("serialNumber", serial)?;
        let references = References::collect(value)?;
        let mut components = Vec::new();
        let (mut created, mut authors, mut subject) = (None, Vec::new(), None);
        root.optional("metadata", |v| {
            let metadata = object(v)?;
            created = metadata.optional("timestamp", instant)?;
            authors = metadata.list("authors", contact)?.into_iter().flatten().collect();
            authors.extend(
                metadata.optional(if spec < Spec::V1_6 { "manufacture" } else { "manufacturer" }, party)?.flatten(),
            );
            subject = metadata.optional("component", |v| component::read(v, spec, &mut components))?;
            Ok(())
        })?;
        read_components(&root, spec, &mut components)?;
        Ok(Self { root, spec, serial, version, created, authors, subject, components, references })
    }

    /// Who made it, in one line; cut where that is a long one, since each statement repeats it.
    fn author(&self) -> Option<String> {
        let names = self.authors.join(", ");
        let end = (0..=MAX_TEXT_BYTES.min(names.len())).rev().find(|end| names.is_char_boundary(*end));
        names.get(..end.unwrap_or_default()).filter(|names| !names.is_empty()).map(str::to_owned)
    }
}

/// The components of an object, and all that is nested in them.
fn read_components(fields: &Fields<'_>, spec: Spec, out: &mut Vec<Component>) -> Result<(), DocumentFault> {
    fields.list("components", |v| {
        // A place is kept for it, for what is nested in it follows it.
        let at = out.len();
        out.push(Component::default());
        if out.len() > MAX_COMPONENTS {
            return Err(DocumentFault::new(format!("there are more than {MAX_COMPONENTS} components")));
        }
        let component = component::read(v, spec, out)?;
        if let Some(place) = out.get_mut(at) {
            *place = component;
        }
        Ok(())
    })?;
    Ok(())
}

/// Reads a bill of materials.
pub(super) fn sbom(value: &Value) -> Result<Sbom, DocumentFault> {
    let head = Head::read(value)?;
    let dependencies = dependencies(&head)?;
    let statements = vulnerability::statements(&head, vulnerability::Unstated::LeftOut)?;
    let Head { spec, serial, created, authors, subject, components, .. } = head;
    if subject.is_none() && components.is_empty() {
        return Err(DocumentFault::new("lists no component, and no metadata.component"));
    }
    let format_version = spec.as_str().to_owned();
    let format = Format::CycloneDx;
    Ok(Sbom { format, format_version, serial, created, authors, subject, components, dependencies, statements })
}

/// Reads a document of vulnerabilities, each with its analysis.
pub(super) fn vex(value: &Value) -> Result<Vex, DocumentFault> {
    let head = Head::read(value)?;
    let statements = vulnerability::statements(&head, vulnerability::Unstated::Refused)?;
    if statements.is_empty() {
        return Err(DocumentFault::new("lists nothing, or is missing").under("vulnerabilities"));
    }
    Ok(Vex {
        format: Format::CycloneDx,
        format_version: head.spec.as_str().to_owned(),
        author: head.author(),
        id: head.serial,
        version: Some(head.version.to_string()),
        at: head.created,
        statements,
    })
}

fn dependencies(head: &Head<'_>) -> Result<Vec<Dependency>, DocumentFault> {
    let (mut seen, mut edges) = (std::collections::HashSet::new(), 0_usize);
    let known = |v: &Value| {
        let reference = text(v)?;
        if head.references.has(&reference) {
            return Ok(reference);
        }
        Err(DocumentFault::expected("the bom-ref of a component or service of this document", &reference))
    };
    head.root.list("dependencies", |v| {
        let dependency = object(v)?;
        let of = dependency.required("ref", known)?;
        if !seen.insert(of.clone()) {
            return Err(DocumentFault::expected("each ref once", &of).under("ref"));
        }
        let on = dependency.list("dependsOn", known)?;
        edges = edges.saturating_add(on.len()).saturating_add(1);
        if edges > MAX_DEPENDENCIES {
            return Err(DocumentFault::new(format!("there are more than {MAX_DEPENDENCIES} dependencies")));
        }
        Ok(Dependency { of, on })
    })
}

fn positive(value: &Value) -> Result<u64, DocumentFault> {
    match number(value)? {
        0 => Err(DocumentFault::new("is 0; the first is 1")),
        n => Ok(n),
    }
}

/// `urn:uuid:` and a UUID of RFC 4122.
fn serial(value: &Value) -> Result<String, DocumentFault> {
    let serial = text(value)?;
    let uuid = serial.strip_prefix("urn:uuid:").unwrap_or_default();
    let digit = |(i, c): (usize, u8)| if matches!(i, 8 | 13 | 18 | 23) { c == b'-' } else { c.is_ascii_hexdigit() };
    if uuid.len() == 36 && uuid.bytes().enumerate().all(digit) {
        return Ok(serial.to_ascii_lowercase());
    }
    Err(DocumentFault::expected("urn:uuid: and a UUID", &serial))
}

/// The name of an organisation, or of a person there.
fn party(value: &Value) -> Result<Option<String>, DocumentFault> {
    let party = object(value)?;
    let name = party.told("name")?;
    Ok(name.or(party.list("contact", contact)?.into_iter().flatten().next()))
}

fn contact(value: &Value) -> Result<Option<String>, DocumentFault> {
    let contact = object(value)?;
    let email = contact.optional("email", text_or_none)?.flatten();
    Ok(contact.told("name")?.or(email))
}

#[cfg(test)]
mod tests;
