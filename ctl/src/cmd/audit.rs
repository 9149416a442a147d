//! `suturectl audit`: the server's hash-chained record, and whether it still extends what was seen before.

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use suture_core::audit::{AuditError, Chain, Entry, Head, Link};
use suture_core::clock::format_utc;
use suture_core::limits::MAX_ROWS_PER_CALL;
use suture_proto::{parse_digest, v1};

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Exit, Failure, OrFail as _, Outcome};
use crate::files::Access;
use crate::home::Home;
use crate::print::{Table, grouped};

const FILE: &str = "audit.json";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Entries in order
    List {
        /// From the entry behind this one
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// At most this many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// Verify the whole chain, and that it extends what this home verified last
    Verify,
}

/// How far this home has verified the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    head: Head,
}

#[derive(Serialize)]
struct Verified {
    entries: u64,
    withheld: u64,
    head: Head,
    since: Head,
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        Self::of(Exit::Untrusted, &error)
            .next("keep this home as it is: its audit.json is evidence; compare heads with a colleague's `suturectl audit verify`")
    }
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::List { after, limit } => list(context, after, limit).await,
        Command::Verify => verify(context).await,
    }
}

async fn list(context: &mut Context<'_>, after: u64, limit: u32) -> Outcome {
    let (links, more) = page(&mut context.connect().await?, after, limit).await?;
    let mut shown: Vec<Entry> = Vec::new();
    let mut withheld = 0_u64;
    for link in &links {
        match &link.payload {
            Some(payload) => shown.push(Entry::parse(link.seq, payload)?),
            None => withheld += 1,
        }
    }
    context.print.result(&shown, |entries| {
        let mut table = Table::new(["entry", "at", "who", "did", "to", "with"]);
        for e in entries {
            let detail = if e.detail.is_empty() {
                String::new()
            } else {
                serde_json::Value::Object(e.detail.clone()).to_string()
            };
            let at = format_utc(e.at);
            table.row([e.seq.to_string(), at, e.actor.clone(), e.action.clone(), e.subject.clone(), detail]);
        }
        table.to_text()
    })?;
    if withheld > 0 {
        context.print.note(&format!("{withheld} entries concern others and are withheld"));
    }
    if let (true, Some(last)) = (more, links.last()) {
        context.print.note(&format!("there are more: --after {}", last.seq));
    }
    Ok(())
}

async fn verify(context: &mut Context<'_>) -> Outcome {
    let since = last_head(&context.home)?;
    let mut client = context.connect().await?;
    let mut chain = Chain::from_start(since);
    let mut withheld = 0_u64;
    loop {
        let (links, more) = page(&mut client, chain.head().seq, MAX_ROWS_PER_CALL).await?;
        let ended = links.is_empty();
        for link in &links {
            if chain.take(link)?.is_none() {
                withheld += 1;
            }
        }
        if ended || !more {
            break;
        }
    }
    let head = chain.finish()?;
    remember(&context.home, head)?;
    let verified = Verified { entries: head.seq, withheld, head, since };
    context.print.result(&verified, |v| {
        format!(
            "{} entries verified, {} of them by digest alone; the record extends what was verified before (entry {})\nhead {} {}\n",
            v.entries,
            v.withheld,
            v.since.seq,
            v.head.seq,
            grouped(&v.head.sha256.to_string())
        )
    })
}

async fn page(client: &mut Client, after: u64, limit: u32) -> Outcome<(Vec<Link>, bool)> {
    let v1::ListAuditResponse { entries, more } = client.list_audit(v1::ListAuditRequest { after, limit }).await?;
    let mut links = Vec::with_capacity(entries.len());
    for v1::AuditEntry { seq, payload, sha256, payload_sha256 } in entries {
        links.push(Link {
            seq,
            payload: if payload.is_empty() { None } else { Some(payload.to_vec()) },
            payload_sha256: parse_digest("payload_sha256", &payload_sha256)?,
            sha256: parse_digest("sha256", &sha256)?,
        });
    }
    Ok((links, more))
}

fn last_head(home: &Home) -> Outcome<Head> {
    match home.read(FILE)? {
        None => Ok(Head::START),
        Some(bytes) => {
            let seen: Seen = serde_json::from_slice(&bytes)
                .or_fail(|| format!("{} cannot be read", home.directory().join(FILE).display()))?;
            Ok(seen.head)
        }
    }
}

fn remember(home: &Home, head: Head) -> Outcome {
    let bytes = serde_json::to_vec(&Seen { head }).or_fail(|| "cannot write the audit head".to_owned())?;
    home.write(FILE, &bytes, Access::Public)
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::digest::Digest;

    #[test]
    fn the_last_head_is_kept_and_damage_is_not_taken_for_a_fresh_start() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        assert_eq!(last_head(&home).unwrap(), Head::START);
        let head = Head { seq: 7, sha256: Digest::of(b"x") };
        remember(&home, head).unwrap();
        assert_eq!(last_head(&home).unwrap(), head);
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(last_head(&home).is_err());
    }
}
