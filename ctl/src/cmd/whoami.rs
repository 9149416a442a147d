//! `suturectl whoami`.

use jiff::Timestamp;
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_proto::v1;

use crate::context::Context;
use crate::failure::Outcome;

#[derive(Serialize)]
struct Who {
    uri: String,
    server: String,
    server_version: String,
    certificate_expires: String,
}

/// Asks the server.
pub async fn run(context: &mut Context<'_>) -> Outcome {
    let answer = context.connect().await?.who_am_i(v1::WhoAmIRequest {}).await?;
    let v1::WhoAmIResponse { uri, server_version, server_time_ms: _, certificate_expires_ms } = answer;
    let ends = Timestamp::from_millisecond(certificate_expires_ms).map_or_else(|_| "unknown".to_owned(), format_utc);
    let server = context.home.server()?.address;
    let who = Who { uri, server, server_version, certificate_expires: ends };
    context.print.result(&who, |w| {
        format!(
            "{}\nat {} (suture-server {})\ncertificate until {}, renewed by itself\n",
            w.uri, w.server, w.server_version, w.certificate_expires
        )
    })
}
