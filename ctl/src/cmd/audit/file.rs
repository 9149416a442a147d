//! The record, and single entries of it, as files that are verified without a server.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use serde::Serialize;
use suture_core::audit::{
    Entry, ExportError, ExportReader, Head, Leaf, LogKey, ProvenEntry, Reading, Summary, export_head, export_line,
};
use suture_core::limits::MAX_AUDIT_ENTRY_BYTES;
use suture_proto::v1;

use crate::context::Context;
use crate::failure::{Exit, Failure, OrFail as _, Outcome};
use crate::files;
use crate::print::{count, grouped};
use crate::witness;

/// A line of an export: an entry's text, each byte of it escaped, and its digests.
const MAX_LINE_BYTES: u64 = 6 * MAX_AUDIT_ENTRY_BYTES as u64 + 1_024;

#[derive(Serialize)]
struct Written {
    file: String,
    #[serde(flatten)]
    what: Summary,
}

#[derive(Serialize)]
struct Proven {
    entry: u64,
    head: Head,
    text: Option<Entry>,
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        Self::of(Exit::Untrusted, &error)
            .next("it is not the file that was written, or of another log: is the key right?")
    }
}

/// `audit export`: verified as it is written.
pub(super) async fn export(context: &mut Context<'_>, out: &Path) -> Outcome {
    let mut client = context.connect().await?;
    let kept = witness::follow(context, &mut client).await?;
    let checkpoint = witness::checkpoint(&kept)?;
    let mut file = files::New::begin(out)?;
    let mut line = |mut bytes: Vec<u8>| {
        bytes.push(b'\n');
        file.write(&bytes)
    };
    line(export_head(&checkpoint).or_fail(|| "the checkpoint cannot be written".to_owned())?)?;
    let mut reading = Reading::from_start(kept.verified.unwrap_or_else(Head::empty));
    let mut withheld = 0_u64;
    super::each(&mut client, checkpoint.head().size, |leaf| {
        withheld += u64::from(reading.take(&leaf)?.is_none());
        Ok(line(export_line(&leaf)?)?)
    })
    .await?;
    let head = reading.finish(&checkpoint.head())?;
    file.finish()?;
    let written = Written { file: out.display().to_string(), what: Summary { head, withheld } };
    context.print.result(&written, |w| {
        format!("{} in {}, {} of them by digest alone\n", count(w.what.head.size, "entry"), w.file, w.what.withheld)
    })
}

/// `audit verify --file`.
pub(super) fn verify(context: &mut Context<'_>, path: &Path, key: Option<LogKey>) -> Outcome {
    let key = key.map_or_else(|| witness::key(&context.home), Ok)?;
    let file = File::open(path).or_fail(|| format!("cannot open {}", path.display()))?;
    let mut lines = BufReader::new(file);
    let first = line(&mut lines, path, 0)?.ok_or(ExportError::First)?;
    let mut reader = ExportReader::open(&first, &key)?;
    let mut number = 1;
    while let Some(line) = line(&mut lines, path, number)? {
        reader.take(&line)?;
        number += 1;
    }
    let summary = reader.finish()?;
    context.print.result(&summary, |s| {
        format!(
            "{} verified, {} of them by digest alone; signed as head {} {}\n",
            count(s.head.size, "entry"),
            s.withheld,
            s.head.size,
            grouped(&s.head.root.to_string())
        )
    })
}

/// The next line, without its end; a file that does not end with one was cut.
fn line(lines: &mut BufReader<File>, path: &Path, number: u64) -> Outcome<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes);
    if read.or_fail(|| format!("cannot read {}", path.display()))? == 0 {
        return Ok(None);
    }
    match bytes.pop() {
        Some(b'\n') => Ok(Some(bytes)),
        _ if number == 0 => Err(ExportError::First.into()),
        _ => Err(ExportError::Line { seq: number, what: "is cut short, or longer than a line can be" }.into()),
    }
}

/// `audit prove`.
pub(super) async fn prove(context: &mut Context<'_>, seq: u64, out: &Path) -> Outcome {
    let mut client = context.connect().await?;
    let kept = witness::follow(context, &mut client).await?;
    let checkpoint = witness::checkpoint(&kept)?;
    let request = v1::ProveAuditRequest { seq, size: checkpoint.head().size };
    let v1::ProveAuditResponse { entry, path } = client.prove_audit(request).await?;
    let entry = entry.ok_or_else(|| Failure::untrusted(format!("the server shows no entry {seq}")))?;
    let Leaf { seq: shown, payload, payload_sha256, root: _ } = Leaf::try_from(entry)?;
    let payload = payload.map(String::from_utf8).transpose();
    let proof = ProvenEntry {
        kind: ProvenEntry::TYPE.to_owned(),
        format: 1,
        checkpoint: checkpoint.note().to_owned(),
        seq,
        payload: payload.map_err(|_| ExportError::Path(seq))?,
        payload_sha256,
        path: suture_proto::hashes("path", &path)?,
    };
    if shown != seq {
        return Err(ExportError::Path(seq).into());
    }
    let (head, text) = proof.verify(&kept.witness.key)?;
    files::create(out, &proof.to_bytes()?)?;
    say(context, Proven { entry: seq, head, text })
}

/// `audit verify --proof`.
pub(super) fn verify_proof(context: &mut Context<'_>, path: &Path, key: Option<LogKey>) -> Outcome {
    let key = key.map_or_else(|| witness::key(&context.home), Ok)?;
    let bytes = files::read(path, MAX_LINE_BYTES + (64 << 10))?;
    let bytes = bytes.ok_or_else(|| Failure::new(format!("there is no {}", path.display())))?;
    let proof = ProvenEntry::parse(&bytes)?;
    let (head, text) = proof.verify(&key)?;
    say(context, Proven { entry: proof.seq, head, text })
}

fn say(context: &mut Context<'_>, proven: Proven) -> Outcome {
    context.print.result(&proven, |p| {
        let text = p.text.as_ref().map_or_else(
            || "its text is withheld".to_owned(),
            |e| format!("{}: {} {} {}", suture_core::clock::format_utc(e.at), e.actor, e.action, e.subject),
        );
        format!("entry {} stands in the record of {}; {text}\n", p.entry, count(p.head.size, "entry"))
    })
}
