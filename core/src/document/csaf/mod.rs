//! OASIS CSAF 2.0, the profiles `csaf_vex` and `csaf_security_advisory`.
//!
//! Of the mandatory tests of its section 6.1 those that bear on what is read here are held: product ids exist and are unique
//! (6.1.1, 6.1.2), relations and groups are sound (6.1.3 to 6.1.5), no product has two statuses that contradict each other
//! (6.1.6), the current version is in the history (6.1.16, 6.1.22 in part), and what a profile requires is there (6.1.27).

mod tree;
mod vulnerability;

use jiff::Timestamp;
use serde_json::Value;

use self::tree::Tree;
use super::fields::{Fields, instant, object, text, word};
use super::{DocumentFault, Format, Vex};

/// What a document of the format is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    /// Section 4.5.
    Vex,
    /// Section 4.4.
    SecurityAdvisory,
}

/// Reads a document.
pub(super) fn vex(value: &Value) -> Result<Vex, DocumentFault> {
    let root = object(value)?;
    let head = root.required("document", head)?;
    let tree = root.required("product_tree", Tree::read)?;
    let mut statements = vulnerability::statements(&root, &tree, head.profile)?;
    for statement in &mut statements {
        statement.at = statement.at.or(Some(head.at));
        statement.author = Some(head.author.clone());
    }
    if statements.is_empty() {
        return Err(DocumentFault::new("states nothing of any product").under("vulnerabilities"));
    }
    Ok(Vex {
        format: Format::Csaf,
        format_version: "2.0".to_owned(),
        id: Some(head.id),
        version: Some(head.version),
        author: Some(head.author),
        at: Some(head.at),
        statements,
    })
}

struct Head {
    profile: Profile,
    author: String,
    id: String,
    version: String,
    at: Timestamp,
}

fn head(value: &Value) -> Result<Head, DocumentFault> {
    let document = object(value)?;
    document.required("csaf_version", |v| word(v, &["2.0"]))?;
    let profile = document.required("category", |v| {
        Ok(match word(v, &["csaf_vex", "csaf_security_advisory"])? {
            "csaf_vex" => Profile::Vex,
            _ => Profile::SecurityAdvisory,
        })
    })?;
    document.required("title", text)?;
    let author = document.required("publisher", |v| {
        let publisher = object(v)?;
        publisher.required("category", |v| {
            word(v, &["coordinator", "discoverer", "other", "translator", "user", "vendor"])
        })?;
        publisher.required("namespace", text)?;
        publisher.required("name", text)
    })?;
    let (id, version, at) = document.required("tracking", |v| tracking(&object(v)?))?;
    Ok(Head { profile, author, id, version, at })
}

fn tracking(fields: &Fields<'_>) -> Result<(String, String, Timestamp), DocumentFault> {
    let id = fields.required("id", text)?;
    let version = fields.required("version", version)?;
    let status = fields.required("status", |v| word(v, &["draft", "final", "interim"]))?;
    fields.required("initial_release_date", instant)?;
    let at = fields.required("current_release_date", instant)?;
    let history = fields.some("revision_history", |v| {
        let revision = object(v)?;
        revision.required("date", instant)?;
        revision.required("summary", super::fields::prose)?;
        revision.required("number", self::version)
    })?;
    // A draft may be ahead of its history; build metadata does not count (6.1.16).
    let plain = |version: &str| version.split('+').next().unwrap_or_default().to_owned();
    if status != "draft" && !history.iter().any(|number| plain(number) == plain(&version)) {
        return Err(DocumentFault::expected("a version that is in revision_history", &version).under("version"));
    }
    Ok((id, version, at))
}

/// A whole number, or a version of Semantic Versioning (3.1.11).
fn version(value: &Value) -> Result<String, DocumentFault> {
    let version = text(value)?;
    let number = |text: &str| {
        text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty())
    };
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<_> = core.split('.').collect();
    let rest = version.get(core.len()..).unwrap_or_default();
    let plain = rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+')) && rest.len() != 1;
    let whole =
        parts.iter().all(|part| number(part)) && (parts.len() == 3 && plain || parts.len() == 1 && rest.is_empty());
    if whole {
        Ok(version)
    } else {
        Err(DocumentFault::expected("a whole number, or three of them with dots between", &version))
    }
}

#[cfg(test)]
mod tests;
