//! `suturectl stick write`: what both sides have signed, as a directory for devices that no network reaches.
//!
//! It holds nothing that the server does not serve, is no secret, and is trusted with nothing: `suture-agent import`
//! verifies it as it would a server. A stick goes stale with the server's signature over freshness, within days.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;
use suture_core::approval::path::Listed;
use suture_core::approval::{Head, Pinned, SignedDocument as _};
use suture_core::clock::format_utc;
use suture_core::limits::{MAX_ROOT_BYTES, MAX_ROOT_STEPS};
use suture_core::trust::{Base, Role, Root, Targets, Verified};

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files::{self, Access};
use crate::hospital::Desk;
use crate::print::{bytes, count};
use crate::trust_store::{TrustStore, Which};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write what both sides have signed, and all stop orders, to a directory for `suture-agent import`
    #[command(after_help = "Example: suturectl stick write /media/stick")]
    Write {
        /// A new or empty directory, or an earlier stick, which is replaced
        directory: PathBuf,
    },
}

#[derive(Serialize)]
struct Written {
    directory: String,
    hdo: String,
    /// Versions of the targets metadata.
    catalog: u64,
    approvals: u64,
    stops: usize,
    files: usize,
    bytes: u64,
    /// From then on devices refuse it.
    good_until: String,
}

/// Files by their path in the stick.
type Files = BTreeMap<String, Vec<u8>>;

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    let Command::Write { directory } = command;
    let mut desk = Desk::open(context).await?;
    let store = TrustStore::of(&context.home, Which::Catalog);
    let catalog = store.refresh(&mut desk.client, context.now()).await?;
    let mut content = Files::new();
    let good_until = catalog.expires().min(desk.approvals.clone().current(context.now())?.expires());
    let versions = (catalog.targets_metadata().version(), desk.approvals.targets_metadata().version());
    let catalog: Base = catalog.into();
    metadata(context, &mut desk.client, Which::Catalog, &catalog, &mut content).await?;
    let mut delegated = store.delegated(Some(&mut desk.client), &catalog).await?.into_files();
    for (role, request) in catalog.delegated() {
        if let Some(bytes) = delegated.remove(role) {
            content.insert(format!("catalog/{}", request.name), bytes);
        }
    }
    metadata(context, &mut desk.client, Which::Approvals, &desk.approvals, &mut content).await?;
    documents(&mut desk.client, desk.approvals.targets_metadata(), &mut content).await?;
    for stop in &desk.documents.stops {
        content.insert(format!("stops/{}.json", stop.approval), stop.bytes().to_vec());
    }
    let label = json!({
        "_type": "suture-stick", "format": 1, "hdo": desk.hdo, "written": format_utc(context.now()),
        "catalog": versions.0, "approvals": versions.1, "good_until": format_utc(good_until),
    });
    let label = suture_core::json::to_bytes(&label).or_fail(|| "cannot write stick.json".to_owned())?;
    write(&directory, &content, &label)?;
    let written = Written {
        directory: directory.display().to_string(),
        hdo: desk.hdo.to_string(),
        catalog: versions.0,
        approvals: versions.1,
        stops: desk.documents.stops.len(),
        files: content.len() + 1,
        bytes: content.values().map(|b| b.len() as u64).sum::<u64>() + label.len() as u64,
        good_until: format_utc(good_until),
    };
    context.print.result(&written, |w| {
        format!(
            "{}: {}, {}, for the devices of {}\ncatalog version {}, approvals version {}; stop orders and lifts: {}\n\
             devices refuse it from {} on; at each: suture-agent import DIRECTORY",
            w.directory,
            count(w.files, "file"),
            bytes(w.bytes),
            w.hdo,
            w.catalog,
            w.approvals,
            w.stops,
            w.good_until
        )
    })
}

fn directory(which: Which) -> &'static str {
    match which {
        Which::Catalog => "catalog",
        Which::Approvals => "approvals",
    }
}

/// The chain of roots from the first, and what is in force, as this home has just verified it.
async fn metadata(
    context: &Context<'_>,
    client: &mut Client,
    which: Which,
    repository: &Base,
    content: &mut Files,
) -> Outcome {
    let place = |name: String| format!("{}/{name}", directory(which));
    let newest = repository.root().version();
    if newest > u64::from(MAX_ROOT_STEPS) {
        return Err(Failure::new(format!("{newest} roots are more than a device steps through at once")));
    }
    let mut before: Option<Verified<Root>> = None;
    for version in 1..=newest {
        let name = Role::Root.served_name(version);
        let root = client.metadata(which, &name, MAX_ROOT_BYTES).await?;
        let root = root.ok_or_else(|| Failure::untrusted(format!("the server has no {name}; devices need it")))?;
        let verified = match &before {
            None => Verified::pinned(&root)?,
            Some(before) => before.next(&root)?,
        };
        before = Some(verified);
        content.insert(place(name), root);
    }
    if before.map(|root| root.digest()) != Some(repository.root().digest()) {
        return Err(Failure::untrusted("the server's roots do not lead to the one that this home has verified"));
    }
    let stored = TrustStore::of(&context.home, which).stored()?;
    let files = [
        (Role::Timestamp, repository.timestamp_version(), stored.timestamp),
        (Role::Snapshot, repository.snapshot_version(), stored.snapshot),
        (Role::Targets, repository.targets_metadata().version(), stored.targets),
    ];
    for (role, version, bytes) in files {
        let bytes = bytes.ok_or_else(|| {
            Failure::new(format!("this home has no {role} metadata"))
                .next("`suturectl catalog status` and `suturectl approvals status` fetch them")
        })?;
        content.insert(place(role.served_name(version)), bytes);
    }
    Ok(())
}

/// What devices read of the approvals: heads and all their shards, orders, and where the server is.
async fn documents(client: &mut Client, targets: &Targets, content: &mut Files) -> Outcome {
    for (path, target) in targets.targets() {
        let Some(listed) = Listed::of(path).filter(Listed::is_for_devices) else { continue };
        let pinned = Pinned { path: path.to_owned(), length: target.length, sha256: target.sha256 };
        let bytes = fetch(client, &pinned, content).await?;
        if let Listed::Approval(_) = listed {
            let head = Head::parse(&bytes).or_fail(|| format!("{path} cannot be read"))?;
            for (_, shard) in head.shards() {
                fetch(client, &shard, content).await?;
            }
        }
    }
    Ok(())
}

async fn fetch(client: &mut Client, pinned: &Pinned, content: &mut Files) -> Outcome<Vec<u8>> {
    let name = pinned.file_name();
    let bytes = client.target(Which::Approvals, &name, pinned.length).await?;
    pinned.verify(&bytes).map_err(|e| Failure::of(crate::failure::Exit::Untrusted, &e))?;
    content.insert(format!("{}/{name}", directory(Which::Approvals)), bytes.clone());
    Ok(bytes)
}

/// Label last: what was cut off in the middle is no stick.
fn write(directory: &Path, content: &Files, label: &[u8]) -> Outcome {
    let failed = |what: &str| format!("cannot {what} {}", directory.display());
    fs::create_dir_all(directory).or_fail(|| failed("make"))?;
    let old = directory.join("stick.json");
    let entries: Vec<_> = fs::read_dir(directory).or_fail(|| failed("list"))?.flatten().collect();
    if !entries.is_empty() && !old.exists() && !entries.iter().all(|e| is_ours(&e.file_name())) {
        return Err(Failure::new(format!("{} is neither empty nor a stick", directory.display()))
            .next("name a new directory; nothing in this one was touched"));
    }
    files::remove(&old)?;
    for name in ["catalog", "approvals", "stops"] {
        match fs::remove_dir_all(directory.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).or_fail(|| failed("clear")),
            _ => {}
        }
    }
    for (name, bytes) in content {
        let path = directory.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).or_fail(|| failed("write to"))?;
        }
        files::write(&path, bytes, Access::Public)?;
    }
    Ok(files::write(&old, label, Access::Public)?)
}

/// What a stick that was cut off has left.
fn is_ours(name: &std::ffi::OsStr) -> bool {
    ["catalog", "approvals", "stops"].iter().any(|n| name == *n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_stick_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let content: Files = [("catalog/1.root.json".to_owned(), b"root".to_vec())].into();
        write(&dir.path().join("new"), &content, b"{}").unwrap();
        let other: Files = [("stops/a.json".to_owned(), b"{}".to_vec())].into();
        write(&dir.path().join("new"), &other, b"{}").unwrap();
        assert!(!dir.path().join("new/catalog").exists() && dir.path().join("new/stops/a.json").exists());
        // Cut off after the label went: it is taken up again.
        fs::remove_file(dir.path().join("new/stick.json")).unwrap();
        write(&dir.path().join("new"), &content, b"{}").unwrap();
        fs::write(dir.path().join("thesis.txt"), b"years").unwrap();
        assert!(write(dir.path(), &content, b"{}").is_err());
        assert_eq!(fs::read(dir.path().join("thesis.txt")).unwrap(), b"years");
    }
}
