//! `suturectl events`: security events, for people and for their monitoring.

use clap::{Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::event::{Event, Kind, Observer, Severity, What, ocsf};
use suture_core::id::HdoId;
use suture_core::limits::MAX_ROWS_PER_CALL;
use suture_proto::v1;

use crate::context::Context;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::print::Table;
use crate::sheet;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What was refused, found or fell silent, the newest first: `suturectl events list --severity high`
    #[command(after_help = "Example: suturectl events list --severity medium --limit 20")]
    List {
        /// Of this severity or graver: informational, low, medium, high, critical
        #[arg(long, default_value = "informational", value_parser = severity)]
        severity: Severity,
        /// At most this many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
        /// Ask on from this place, downwards
        #[arg(long)]
        before: Option<u64>,
    },
    /// Every event since an instant or behind a place, in order, to standard output: a line each for a SIEM
    #[command(after_help = "Example: suturectl events export --format ocsf --since 24h >> events.jsonl\n\
        The place after the last line is noted; go on from it with --after: an event that has grown comes again under its uid.")]
    Export {
        /// ocsf and json: one object a line; csv: with a heading
        #[arg(long, value_enum, default_value = "ocsf")]
        format: Format,
        /// From this instant (2026-11-24T15:00:00Z), or for so long until now (24h)
        #[arg(long, value_parser = since)]
        since: Option<Since>,
        /// From behind this place
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
}

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Open Cybersecurity Schema Framework, version 1.3.0
    Ocsf,
    /// As Suture names it
    Json,
    /// For a table
    Csv,
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// An instant.
    At(Timestamp),
    /// So long before now.
    Ago(SignedDuration),
}

fn severity(text: &str) -> Result<Severity, String> {
    Severity::from_name(text).ok_or_else(|| "informational, low, medium, high or critical".to_owned())
}

fn since(text: &str) -> Result<Since, String> {
    let at = text.parse().map(Since::At);
    at.or_else(|_| text.parse().map(Since::Ago))
        .map_err(|_| "an instant (2026-11-24T15:00:00Z) or a time (24h)".to_owned())
}

/// An event as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Shown {
    number: u64,
    seq: u64,
    kind: Kind,
    severity: &'static str,
    title: &'static str,
    observer: Observer,
    hdo: Option<HdoId>,
    subject: String,
    detail: String,
    first: String,
    last: String,
    count: u64,
    #[serde(skip)]
    event: Event,
}

#[derive(Serialize)]
struct Listed {
    events: Vec<Shown>,
    dropped: u64,
    more: bool,
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::List { severity, limit, before } => list(context, severity, limit, before).await,
        Command::Export { format, since, after } => export(context, format, since, after).await,
    }
}

async fn list(context: &mut Context<'_>, severity: Severity, limit: u32, before: Option<u64>) -> Outcome {
    let request = v1::ListEventsRequest {
        newest: true,
        before: before.unwrap_or(0),
        severity: severity.number().into(),
        limit,
        ..v1::ListEventsRequest::default()
    };
    let v1::ListEventsResponse { events, more, dropped } = context.connect().await?.list_events(request).await?;
    let events = events.into_iter().map(shown).collect::<Outcome<Vec<_>>>()?;
    let last = events.last().map(|event| event.seq);
    context.print.result(&Listed { events, dropped, more }, text_of)?;
    if dropped > 0 {
        context.print.note(&format!("{dropped} events were dropped in all, since there were too many"));
    }
    if let (true, Some(last)) = (more, last) {
        context.print.note(&format!("there are more: --before {last}"));
    }
    Ok(())
}

fn text_of(listed: &Listed) -> String {
    if listed.events.is_empty() {
        return "no security events".to_owned();
    }
    let mut table = Table::new(["last", "severity", "event", "times", "whom or what", "detail"]);
    for e in &listed.events {
        let (last, kind) = (e.last.clone(), e.kind.to_string());
        table.row([last, e.severity.to_owned(), kind, e.count.to_string(), e.subject.clone(), e.detail.clone()]);
    }
    table.to_text()
}

async fn export(context: &mut Context<'_>, format: Format, since: Option<Since>, after: u64) -> Outcome {
    let since_ms = match since {
        None => 0,
        Some(Since::At(at)) => at.as_millisecond(),
        Some(Since::Ago(ago)) => {
            context.now().checked_sub(ago).or_fail(|| "--since is too long".to_owned())?.as_millisecond()
        }
    };
    let mut client = context.connect().await?;
    let mut place = after;
    if format == Format::Csv {
        context.print.lines(&[sheet::row(&HEADINGS)])?;
    }
    loop {
        let request = v1::ListEventsRequest {
            after: place,
            since_ms,
            limit: MAX_ROWS_PER_CALL,
            ..v1::ListEventsRequest::default()
        };
        let v1::ListEventsResponse { events, more, dropped: _ } = client.list_events(request).await?;
        let mut lines = Vec::with_capacity(events.len());
        for event in events {
            let event = shown(event)?;
            // Attack: a server that sends the same page for ever.
            if event.seq <= place {
                return Err(Failure::untrusted("the server's events are not in their order"));
            }
            place = event.seq;
            lines.push(written(&event, format)?);
        }
        context.print.lines(&lines)?;
        if !more {
            break;
        }
    }
    context.print.note(&format!("go on with --after {place}"));
    Ok(())
}

const HEADINGS: [&str; 10] =
    ["number", "first", "last", "severity", "kind", "count", "observer", "hospital", "subject", "detail"];

fn written(e: &Shown, format: Format) -> Outcome<String> {
    match format {
        Format::Ocsf => Ok(ocsf::event(&e.event, &e.number.to_string(), env!("CARGO_PKG_VERSION")).to_string()),
        Format::Json => serde_json::to_string(e).or_fail(|| "cannot write the event as JSON".to_owned()),
        Format::Csv => Ok(sheet::row(&[
            &e.number.to_string(),
            &e.first,
            &e.last,
            e.severity,
            e.kind.as_str(),
            &e.count.to_string(),
            e.observer.as_str(),
            e.hdo.as_ref().map_or("", HdoId::as_str),
            &e.subject,
            &e.detail,
        ])),
    }
}

fn shown(message: v1::SecurityEvent) -> Outcome<Shown> {
    let v1::SecurityEvent { number, seq, kind, observer, hdo, subject, detail, first_ms, last_ms, count } = message;
    let unknown = |what: &str, text: &str| {
        Failure::new(format!("the server tells of {what} {text:?}, which this program does not know"))
            .next("update suturectl")
    };
    let kind = Kind::from_name(&kind).ok_or_else(|| unknown("the event", &kind))?;
    let observer = Observer::from_name(&observer).ok_or_else(|| unknown("the observer", &observer))?;
    let at = |ms| Timestamp::from_millisecond(ms).or_fail(|| "the server's event has no time".to_owned());
    let (first, last) = (at(first_ms)?, at(last_ms)?);
    let hdo: Option<HdoId> = if hdo.is_empty() { None } else { Some(suture_proto::parse("hdo", &hdo)?) };
    let what = What::new(kind, observer, hdo.as_ref(), &subject, &detail);
    Ok(Shown {
        number,
        seq,
        kind,
        severity: kind.severity().as_str(),
        title: kind.title(),
        observer,
        hdo,
        subject: what.subject.clone(),
        detail: what.detail.clone(),
        first: format_utc(first),
        last: format_utc(last),
        count,
        event: Event { what, first, last, count },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(subject: &str) -> v1::SecurityEvent {
        v1::SecurityEvent {
            number: 3,
            seq: 9,
            kind: "call-forbidden".to_owned(),
            observer: "server".to_owned(),
            hdo: "riverside".to_owned(),
            subject: subject.to_owned(),
            detail: "a device may not, \"ever\"".to_owned(),
            first_ms: 1_800_000_000_000,
            last_ms: 1_800_000_060_000,
            count: 7,
        }
    }

    #[test]
    fn one_event_in_all_formats() {
        let event = shown(message("=cmd()")).unwrap();
        let csv = written(&event, Format::Csv).unwrap();
        let first = "3,2027-01-15T08:00:00Z,2027-01-15T08:01:00Z,medium,call-forbidden,7,server,riverside";
        assert_eq!(csv, format!("{first},'=cmd(),\"a device may not, \"\"ever\"\"\""));
        let json: serde_json::Value = serde_json::from_str(&written(&event, Format::Json).unwrap()).unwrap();
        assert_eq!((json["count"].as_u64(), json["kind"].as_str()), (Some(7), Some("call-forbidden")));
        let ocsf: serde_json::Value = serde_json::from_str(&written(&event, Format::Ocsf).unwrap()).unwrap();
        assert_eq!((ocsf["class_uid"].as_u64(), ocsf["count"].as_u64()), (Some(6_003), Some(7)));
        assert_eq!(ocsf["metadata"]["uid"], "3");
    }

    #[test]
    fn an_event_of_a_newer_server_is_no_panic() {
        assert!(shown(v1::SecurityEvent { kind: "new".to_owned(), ..message("a") }).is_err());
        assert!(shown(v1::SecurityEvent { first_ms: i64::MAX, ..message("a") }).is_err());
    }

    #[test]
    fn since_is_an_instant_or_a_time() {
        assert_eq!(since("24h").unwrap(), Since::Ago(SignedDuration::from_hours(24)));
        assert_eq!(since("2026-11-24T15:00:00Z").unwrap(), Since::At("2026-11-24T15:00:00Z".parse().unwrap()));
        assert!(since("yesterday").is_err());
    }
}
