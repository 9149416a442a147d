//! What new targets metadata list otherwise than those before them, in words.

use std::collections::{BTreeMap, BTreeSet};

use suture_core::approval::SignedDocument as _;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::document::{Product, Vex};
use suture_core::exposure::{VexEntry, VexStatus, vex_at};
use suture_core::id::ProductId;
use suture_core::life::{self, Life};
use suture_core::limits::MAX_SHOWN_COMPONENTS;
use suture_core::manifest::Manifest;
use suture_core::trust::{CatalogEntry, Target, Targets};

use super::change::{Change, differ};
use super::refused;
use crate::failure::Outcome;

/// The paths of both, ascending, each once, that are not listed alike.
fn different<'a>(before: Option<&'a Targets>, after: &'a Targets) -> BTreeSet<&'a str> {
    let paths = before.into_iter().flat_map(Targets::targets).chain(after.targets()).map(|(path, _)| path);
    paths.filter(|path| differ(before, after, path)).collect()
}

/// Every path that is listed otherwise than before, whatever it stands for.
pub fn listed(before: Option<&Targets>, after: &Targets) -> Vec<Change> {
    let describe = |t: &Target| format!("{} bytes, SHA-256 {}", t.length, t.sha256);
    let line = |path: &str| {
        let text = match (before.and_then(|t| t.target(path)), after.target(path)) {
            (None, Some(new)) => format!("{path} is added: {}", describe(new)),
            (Some(_), None) => format!("{path} is removed"),
            (old, new) if old.map(|t| t.sha256) == new.map(|t| t.sha256) => format!("{path} is described otherwise"),
            (_, Some(new)) => format!("{path} is changed: {}", describe(new)),
            (None, None) => format!("{path} is listed nowhere"),
        };
        Change::new("file", text)
    };
    different(before, after).into_iter().map(line).collect()
}

/// What becomes of the catalog's bundles. A bundle that is added is described from its manifest, which must be among `files`
/// and say the same as the catalog.
///
/// # Errors
///
/// A release is replaced or taken away, which no catalog does; something is listed that is no bundle; a manifest is missing
/// or says otherwise than the catalog.
pub fn catalog(before: Option<&Targets>, after: &Targets, files: &BTreeMap<String, Vec<u8>>) -> Outcome<Vec<Change>> {
    let mut changes = Vec::new();
    for path in different(before, after) {
        let Some(new) = after.target(path) else {
            return Err(refused(format!("it takes {path} off the catalog; a release is withdrawn, never removed")));
        };
        if let Some(product) = life::product_of(path) {
            changes.extend(lived(path, &product, files.get(path))?);
            continue;
        }
        if vex_at(path).is_some() {
            changes.push(said(path, before.and_then(|t| t.target(path)), new, files.get(path))?);
            continue;
        }
        let entry = CatalogEntry::of(new).ok_or_else(|| refused(format!("it lists {path}, which is no bundle")))?;
        match before.and_then(|t| t.target(path)) {
            None => changes.push(Change::new("bundle", added(path, new, &entry, files.get(path))?)),
            Some(old) if (old.sha256, old.length) != (new.sha256, new.length) => {
                return Err(refused(format!(
                    "it puts other bytes in the place of {path}; a release is never replaced"
                )));
            }
            Some(old) => changes.extend(changed(&entry, CatalogEntry::of(old))),
        }
    }
    Ok(changes)
}

fn added(path: &str, target: &Target, entry: &CatalogEntry, manifest: Option<&Vec<u8>>) -> Outcome<String> {
    let bytes = manifest.ok_or_else(|| refused(format!("it lists {path} and does not hold it")))?;
    let m = Manifest::parse(bytes).map_err(|e| refused(format!("{path} cannot be read")).because(&e))?;
    let equal = m.path() == path
        && m.product == entry.product
        && m.release == entry.release
        && m.version == entry.version
        && m.hardware == entry.hardware
        && m.requires.min_release == entry.min_release;
    if !equal {
        return Err(refused(format!("{path} and what the catalog says of it contradict one another")));
    }
    let hardware: Vec<&str> = m.hardware.iter().map(|h| h.as_str()).collect();
    let documents: Vec<&str> = m.documents.iter().map(|d| d.name.as_str()).collect();
    let risks: Vec<String> = m.risks.iter().map(|risk| format!("from release {}: {}", risk.from, risk.text)).collect();
    Ok(format!(
        "{} {} (release {}) is added, {}: for {}, from release {} on, security floor {}; manifest {}; documents: {}; warns of updates: {}",
        m.product,
        m.version,
        m.release,
        entry.status.as_str(),
        hardware.join(", "),
        m.requires.min_release,
        entry.floor,
        target.sha256,
        if documents.is_empty() { "none".to_owned() } else { documents.join(", ") },
        if risks.is_empty() { "none".to_owned() } else { risks.join("; ") }
    ))
}

/// What becomes of statements about vulnerabilities: new ones are described from the document, which must be among the files;
/// what replaces others has a higher number.
fn said(path: &str, old: Option<&Target>, new: &Target, bytes: Option<&Vec<u8>>) -> Outcome<Change> {
    let entry = |target| VexEntry::of(path, target);
    let now = entry(new).ok_or_else(|| refused(format!("it lists {path} and does not say what document that is")))?;
    let name = format!("{} of {}, number {}", now.id, now.product, now.number);
    let was = old.and_then(entry);
    if old.is_some_and(|old| old.sha256 == new.sha256 && old.length == new.length) {
        return Ok(Change::new(
            "vex",
            match (&now.reason, now.status) {
                (Some(reason), VexStatus::Withdrawn) => format!("{name}: its statements are taken back: {reason}"),
                _ => format!(
                    "{name} is {} and was {}",
                    now.status.as_str(),
                    was.map_or("nothing", |w| w.status.as_str())
                ),
            },
        ));
    }
    if was.is_some_and(|was| was.number >= now.number) {
        return Err(refused(format!(
            "it puts other statements in the place of {path} under a number that is not higher"
        )));
    }
    let bytes = bytes.ok_or_else(|| refused(format!("it lists {path} and does not hold it")))?;
    if Digest::of(bytes) != new.sha256 {
        return Err(refused(format!("it holds another {path} than it lists")));
    }
    let vex = Vex::parse(bytes).map_err(|e| refused(format!("{path} cannot be read")).because(&e))?;
    let stated: Vec<String> = vex
        .statements
        .iter()
        .map(|s| {
            let about: Vec<String> = s.products.iter().map(Product::label).collect();
            format!("{} {} {}", s.vulnerability, s.status, about.join(", "))
        })
        .collect();
    let (shown, more) = (stated.len().min(MAX_SHOWN_COMPONENTS), stated.len().saturating_sub(MAX_SHOWN_COMPONENTS));
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let what = if old.is_some() { "is replaced" } else { "is added" };
    let stated = stated.get(..shown).unwrap_or_default().join("; ");
    Ok(Change::new("vex", format!("{name} {what}: {}, SHA-256 {}: {stated}{more}", vex.format, new.sha256)))
}

/// What the newest change of a product's life says; who reads it there was told all before it.
fn lived(path: &str, product: &ProductId, bytes: Option<&Vec<u8>>) -> Outcome<Vec<Change>> {
    let bytes = bytes.ok_or_else(|| refused(format!("it lists {path} and does not hold it")))?;
    let life = Life::parse(bytes).map_err(|e| refused(format!("{path} cannot be read")).because(&e))?;
    if life.product != *product {
        return Err(refused(format!("{path} is the life of {}", life.product)));
    }
    let newest = life.newest().into_iter().map(|change| {
        let of = change.releases.map_or_else(|| product.to_string(), |range| format!("{product}, releases {range}"));
        let date = |date: Option<jiff::civil::Date>| date.map_or_else(|| "not announced".to_owned(), |d| d.to_string());
        let reason = |what: &str, text: &Option<String>| {
            text.as_ref().map_or_else(String::new, |text| format!("; {what}: {text}"))
        };
        let dates = &change.dates;
        Change::new(
            "life",
            format!(
                "{of}: available {}, sold until before {}, limited support from {}, no support from {}; by {} at {}: {}{}{}",
                date(dates.general_availability),
                date(dates.end_of_sales),
                date(dates.end_of_life),
                date(dates.end_of_support),
                change.by,
                format_utc(change.at),
                change.why,
                reason("short notice", &change.short_notice),
                reason("earlier than announced", &change.earlier),
            ),
        )
    });
    Ok(newest.collect())
}

fn changed(new: &CatalogEntry, old: Option<CatalogEntry>) -> Vec<Change> {
    let name = format!("{} {} (release {})", new.product, new.version, new.release);
    let Some(old) = old else { return vec![Change::new("bundle", format!("{name} is described anew"))] };
    let mut changes = Vec::new();
    if old.status != new.status {
        let text = format!("{name} was {} and is {}", old.status.as_str(), new.status.as_str());
        changes.push(Change::new("status", text));
    }
    if old.floor != new.floor {
        changes
            .push(Change::new("floor", format!("{name}: the security floor was {} and is {}", old.floor, new.floor)));
    }
    if (&old.product, old.release, &old.version, &old.hardware, old.min_release)
        != (&new.product, new.release, &new.version, &new.hardware, new.min_release)
    {
        changes.push(Change::new("bundle", format!("{name} is described otherwise than before: {old:?} before")));
    }
    changes
}
