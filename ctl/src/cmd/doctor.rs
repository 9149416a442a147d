//! `suturectl doctor`: the way to the server, one step at a time, and the disk.

use std::path::Path;

use serde_json::json;
use suture_core::clock::format_utc;
use suture_proto::connect::{self, Finding, Outcome as Found};
use suture_proto::v1;

use crate::client::{self, Client};
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::identity;
use crate::print::{Table, bytes};

/// Tests everything that a command needs, and fails where one of it would.
pub async fn run(context: &mut Context<'_>) -> Outcome {
    let server = context.home.server()?;
    let identity = identity::load(&context.home)?;
    let settings = client::settings(context, &server, Some(identity))?;
    let mut findings = connect::probe(&settings).await;
    if !findings.iter().any(|f| f.outcome == Found::Bad) {
        let asked = context.clock.now();
        let answer = match Client::open(&settings).await {
            Ok(mut client) => client.who_am_i(v1::WhoAmIRequest {}).await,
            Err(failure) => Err(failure),
        };
        match answer {
            Ok(v1::WhoAmIResponse { uri, server_version, server_time_ms, certificate_expires_ms }) => {
                findings.push(connect::clock_finding(asked, server_time_ms, context.clock.now()));
                let ends = jiff::Timestamp::from_millisecond(certificate_expires_ms);
                let ends = ends.map_or_else(|_| "an unknown time".to_owned(), format_utc);
                findings
                    .push(Finding::good("identity", format!("{uri} until {ends}, by suture-server {server_version}")));
            }
            Err(failure) => findings.push(Finding::bad("identity", failure.message)),
        }
    }
    findings.push(disk(context.home.directory()));
    let rows: Vec<_> =
        findings.iter().map(|f| json!({ "test": f.test, "outcome": word(f.outcome), "text": f.text })).collect();
    context.print.result(&rows, |_| {
        let mut table = Table::new(["test", "outcome", ""]);
        for f in &findings {
            table.row([f.test.to_owned(), word(f.outcome).to_owned(), f.text.clone()]);
        }
        table.to_text()
    })?;
    match findings.iter().find(|f| f.outcome == Found::Bad) {
        None => Ok(()),
        Some(f) => Err(Failure::new(format!("the test of {} failed", f.test))
            .exit(Exit::Unreachable)
            .next("see the text beside it; the tests below it need that one")),
    }
}

/// Keys, trusted metadata and the audit head are written whole or not at all, but written they must be.
fn disk(home: &Path) -> Finding {
    const LOW_BYTES: u64 = 64 << 20;
    match rustix::fs::statvfs(home) {
        Err(e) => Finding::bad("disk", format!("cannot ask for the free space of {}: {e}", home.display())),
        Ok(v) => {
            let free = v.f_bavail.saturating_mul(v.f_frsize);
            let text = format!("{} free for {}", bytes(free), home.display());
            if free < LOW_BYTES { Finding::doubtful("disk", text) } else { Finding::good("disk", text) }
        }
    }
}

fn word(outcome: Found) -> &'static str {
    match outcome {
        Found::Good => "good",
        Found::Doubtful => "doubtful",
        Found::Bad => "BAD",
    }
}
