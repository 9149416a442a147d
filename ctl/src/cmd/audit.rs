//! `suturectl audit`: the server's record, and whether it still extends what was seen before.

mod file;
mod texts;
mod views;

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use suture_core::audit::{AuditError, Entry, Head, Leaf, LogKey, Reading};
use suture_core::clock::format_utc;
use suture_core::limits::{MAX_ROWS_PER_CALL, MAX_TEXT_BYTES};
use suture_proto::v1;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::print::{Table, count, counted, grouped};
use crate::witness;

use self::texts::{Texts, Withheld};
use self::views::Views;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Entries in order
    #[command(after_help = "Example: suturectl audit list --after 100 --limit 50")]
    List {
        /// From the entry behind this one
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// At most this many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// Read the whole record and verify it, that it extends what this home saw last, and that the hospital's devices have seen
    /// the same; or verify a file without a server,
    /// as in `suturectl audit verify --file record.jsonl`
    #[command(after_help = "Examples: suturectl audit verify\n\
    \x20         suturectl audit verify --file record.jsonl")]
    Verify {
        /// A record that `audit export` has written
        #[arg(long, value_name = "FILE", conflicts_with = "proof")]
        file: Option<PathBuf>,
        /// An entry that `audit prove` has written
        #[arg(long, value_name = "FILE")]
        proof: Option<PathBuf>,
        /// The record's key, where this home does not know it
        #[arg(long, value_name = "KEY", value_parser = log_key)]
        key: Option<LogKey>,
    },
    /// The key and the checkpoint by which this home knows the record: compare them with a colleague's
    #[command(after_help = "Example: suturectl audit key")]
    Key,
    /// Write the whole record to a file that anybody can verify who has its key
    #[command(after_help = "Example: suturectl audit export -o record.jsonl")]
    Export {
        /// The file, which must not exist yet
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Prove that an entry stands in the record, as in `suturectl audit prove 17 -o entry-17.json`
    #[command(after_help = "Example: suturectl audit prove 17 -o entry-17.json")]
    Prove {
        /// Its number, from `audit list`
        entry: u64,
        /// The file, which must not exist yet
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Begin anew with a server whose record does not go on from what this home saw, once those who run it have said why
    #[command(after_help = "Example: suturectl audit restart --reason \"restored from the backup of Sunday\"")]
    Restart {
        /// What they said; it is kept with what was remembered
        #[arg(long)]
        reason: String,
    },
}

/// A record's key on a command line.
pub(super) fn log_key(text: &str) -> Result<LogKey, String> {
    text.parse().map_err(|e: suture_core::audit::CheckpointError| e.to_string())
}

#[derive(Serialize)]
struct Verified {
    entries: u64,
    withheld: u64,
    /// Of those withheld, the ones whose texts were deleted, as entries of the record say.
    withheld_deleted: u64,
    /// The others: of other organisations, by the server's word alone.
    withheld_by_the_servers_word: u64,
    head: Head,
    since: Option<Head>,
    /// How many devices have signed that they saw this very record.
    devices: usize,
}

#[derive(Serialize)]
struct Known {
    key: LogKey,
    head: Option<Head>,
    checkpoint: Option<String>,
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        Self::of(Exit::Untrusted, &error).next(
            "keep this home as it is: its audit.json is evidence; compare with a colleague's `suturectl audit verify`",
        )
    }
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::List { after, limit } => list(context, after, limit).await,
        Command::Verify { file: Some(file), proof: _, key } => file::verify(context, &file, key),
        Command::Verify { file: None, proof: Some(proof), key } => file::verify_proof(context, &proof, key),
        Command::Verify { file: None, proof: None, key: _ } => verify(context).await,
        Command::Key => show_key(context).await,
        Command::Export { out } => file::export(context, &out).await,
        Command::Prove { entry, out } => file::prove(context, entry, &out).await,
        Command::Restart { reason } => restart(context, &reason).await,
    }
}

async fn list(context: &mut Context<'_>, after: u64, limit: u32) -> Outcome {
    let (leaves, more) = page(&mut context.connect().await?, after, limit).await?;
    let mut shown: Vec<Entry> = Vec::new();
    let mut withheld = 0_u64;
    for leaf in &leaves {
        match &leaf.payload {
            Some(payload) => shown.push(Entry::parse(leaf.seq, payload)?),
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
        context.print.note(&format!(
            "{} others, or kept no longer, and withheld",
            counted(withheld, "entry", "is of", "are of")
        ));
    }
    if let (true, Some(last)) = (more, leaves.last()) {
        context.print.note(&format!("there are more: --after {}", last.seq));
    }
    Ok(())
}

async fn verify(context: &mut Context<'_>) -> Outcome {
    // What devices have seen comes first: by then the record is at least as long.
    let mut views = Box::pin(Views::gather(context)).await?;
    let mut client = context.connect().await?;
    let mut kept = witness::follow(context, &mut client).await?;
    let seen = kept.clone();
    let signed = witness::checkpoint(&kept)?.head();
    let since = kept.verified;
    let mut reading = Reading::from_start(since.unwrap_or_else(Head::empty));
    let mut texts = Texts::default();
    each(&mut client, signed.size, |leaf| {
        texts.take(leaf.seq, reading.take(&leaf)?.as_ref());
        views.compare(&reading.head());
        Ok(())
    })
    .await?;
    let head = reading.finish(&signed)?;
    let devices = views.finish(&head)?;
    let reader = context.home.server()?.principal()?;
    let Withheld { all, deleted } = texts.finish(&reader, kept.read.as_ref().zip(since))?;
    kept.verified = Some(head);
    kept.read = Some(witness::Read { by: reader.to_string(), withheld: all });
    witness::grow(&context.home, Some(&seen), &kept)?;
    let verified = Verified {
        entries: head.size,
        withheld: all,
        withheld_deleted: deleted,
        withheld_by_the_servers_word: all.saturating_sub(deleted),
        head,
        since,
        devices,
    };
    context.print.result(&verified, |v| {
        let since = v.since.map_or_else(
            || "this home had not read it before".to_owned(),
            |since| format!("the record extends what was read before (entry {})", since.size),
        );
        format!(
            "{} verified, {} of them by digest alone; {since}\n{}{} signed to have seen this record\nhead {} {}\n",
            count(v.entries, "entry"),
            v.withheld,
            of_withheld(v),
            counted(v.devices, "device", "has", "have"),
            v.head.size,
            grouped(&v.head.root.to_string())
        )
    })
}

/// What is not verified: whose the withheld entries are.
fn of_withheld(v: &Verified) -> String {
    if v.withheld == 0 {
        return String::new();
    }
    format!(
        "not verified: that the texts of {} are withheld because they are others', which is the server's word alone; {} \
         deleted, as the record itself says\n",
        count(v.withheld_by_the_servers_word, "entry"),
        counted(v.withheld_deleted, "text", "was", "were")
    )
}

async fn show_key(context: &mut Context<'_>) -> Outcome {
    let mut client = context.connect().await?;
    let kept = witness::follow(context, &mut client).await?;
    show(context, kept)
}

fn show(context: &mut Context<'_>, kept: witness::Kept) -> Outcome {
    let witness = kept.witness;
    let known = Known { key: witness.key, head: witness.head, checkpoint: witness.checkpoint };
    context.print.result(&known, |k| {
        let head = k.head.map_or_else(
            || "nothing of it seen yet".to_owned(),
            |head| format!("{}, {}", count(head.size, "entry"), grouped(&head.root.to_string())),
        );
        format!("key   {}\nseen  {head}\n", k.key)
    })
}

async fn restart(context: &mut Context<'_>, reason: &str) -> Outcome {
    if reason.trim().is_empty() || reason.len() > MAX_TEXT_BYTES {
        return Err(Failure::new("the reason is empty, or too long").next("--reason TEXT"));
    }
    let place = witness::forget(context, reason)?;
    let mut client = context.connect().await?;
    let kept = witness::follow(context, &mut client).await?;
    context.print.note(&format!("what was remembered is in {place}"));
    show(context, kept)
}

/// Hands over the first `size` entries in order.
pub(super) async fn each(client: &mut Client, size: u64, mut take: impl FnMut(Leaf) -> Outcome) -> Outcome {
    let mut at = 0_u64;
    while at < size {
        let limit = u32::try_from(size - at).unwrap_or(MAX_ROWS_PER_CALL).min(MAX_ROWS_PER_CALL);
        let (leaves, _) = page(client, at, limit).await?;
        if leaves.is_empty() {
            break;
        }
        for leaf in leaves.into_iter().take(limit as usize) {
            at += 1;
            take(leaf)?;
        }
    }
    Ok(())
}

async fn page(client: &mut Client, after: u64, limit: u32) -> Outcome<(Vec<Leaf>, bool)> {
    let v1::ListAuditResponse { entries, more } = client.list_audit(v1::ListAuditRequest { after, limit }).await?;
    let leaves = entries.into_iter().map(Leaf::try_from).collect::<Result<_, _>>()?;
    Ok((leaves, more))
}
