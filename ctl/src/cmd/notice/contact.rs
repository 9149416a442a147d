//! `notice contact`: where a hospital wants notices delivered to.

use clap::{ArgGroup, Subcommand};
use serde::Serialize;
use serde_json::json;
use suture_core::id::ContactName;
use suture_proto::v1;

use crate::context::Context;
use crate::failure::Outcome;
use crate::letters::instant;
use crate::print::Table;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Have each notice posted to a webhook, or told in a line to a receiver of syslog over TLS
    ///
    /// A post holds the letter, signed as Standard Webhooks has it with a secret that is shown this once; a line names it.
    #[command(
        group(ArgGroup::new("way").required(true).args(["webhook", "syslog"])),
        after_help = "Examples: suturectl notice contact add desk --webhook https://desk.riverside.example/suture\n\
        \x20         suturectl notice contact add siem --syslog siem.riverside.example:6514"
    )]
    Add {
        /// What the contact is called
        name: ContactName,
        /// Where to; HTTPS with TLS 1.3, and no address in the server's own networks
        #[arg(long, value_name = "URL")]
        webhook: Option<String>,
        /// Where to; RFC 5425 with TLS 1.3, port 6514 where none is named, and no address in the server's own networks
        #[arg(long, value_name = "HOST:PORT")]
        syslog: Option<String>,
        /// Only what nobody has acknowledged by its deadline, and each repetition of that
        #[arg(long)]
        further: bool,
    },
    /// The contacts, and what came of their deliveries
    #[command(after_help = "Example: suturectl notice contact list")]
    List,
    /// Deliver nothing there any more
    #[command(after_help = "Example: suturectl notice contact remove siem")]
    Remove {
        /// What the contact is called
        name: ContactName,
    },
}

/// A contact.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    url: String,
    further: bool,
    added_by: String,
    added: Option<String>,
    accepted: u64,
    waiting: u64,
    given_up: u64,
    last_outcome: String,
    last: Option<String>,
}

/// Runs one.
pub(super) async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    context.home.server()?.hdo()?;
    let mut client = context.connect().await?;
    match command {
        Command::Add { name, webhook, syslog, further } => {
            let url = webhook.or_else(|| syslog.map(|receiver| format!("tls://{receiver}"))).unwrap_or_default();
            let request = v1::AddContactRequest { name: name.to_string(), url: url.clone(), further };
            let secret = Some(client.add_contact(request).await?.secret).filter(|secret| !secret.is_empty());
            let result = json!({ "name": name, "url": url, "further": further, "secret": secret });
            context.print.result(&result, |_| match &secret {
                Some(secret) => format!("{name}: notices are posted to {url}\nsecret, shown this once: {secret}"),
                None => format!("{name}: a line for each notice goes to {url}"),
            })
        }
        Command::List => {
            let contacts = client.list_contacts(v1::ListContactsRequest {}).await?.contacts;
            let rows: Vec<Listed> = contacts.into_iter().map(listed).collect();
            context.print.result(&rows, |rows| table(rows))
        }
        Command::Remove { name } => {
            client.remove_contact(v1::RemoveContactRequest { name: name.to_string() }).await?;
            context.print.result(&json!({ "removed": name }), |_| format!("{name} is told of nothing any more"))
        }
    }
}

fn listed(contact: v1::Contact) -> Listed {
    let v1::Contact { name, url, further, added_by, added_ms, accepted, waiting, given_up, last_outcome, last_ms } =
        contact;
    let (added, last) = (instant(added_ms), instant(last_ms));
    Listed { name, url, further, added_by, added, accepted, waiting, given_up, last_outcome, last }
}

fn table(rows: &[Listed]) -> String {
    if rows.is_empty() {
        return "there are no contacts".to_owned();
    }
    let mut table = Table::new(["contact", "where", "told of", "accepted", "waiting", "given up", "last"]);
    for row in rows {
        table.row([
            row.name.clone(),
            row.url.clone(),
            if row.further { "what is overdue" } else { "all" }.to_owned(),
            row.accepted.to_string(),
            row.waiting.to_string(),
            row.given_up.to_string(),
            format!("{} {}", row.last.clone().unwrap_or_default(), row.last_outcome),
        ]);
    }
    table.to_text()
}
