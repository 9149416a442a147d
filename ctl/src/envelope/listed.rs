//! What new targets metadata list otherwise than those before them, in words.

use std::collections::{BTreeMap, BTreeSet};

use suture_core::approval::SignedDocument as _;
use suture_core::clock::format_utc;
use suture_core::id::ProductId;
use suture_core::life::{self, Life};
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
