//! `suturectl operator`: colleagues of one's own organisation.

use clap::Subcommand;
use serde_json::json;
use suture_core::clock::format_utc;
use suture_core::id::OperatorName;
use suture_core::principal::Principal;
use suture_core::token::Grant;
use suture_proto::v1;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::token::{self, Lifetime};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the token for a colleague
    #[command(after_help = "Example: suturectl operator invite lee")]
    Invite {
        /// The name that the colleague takes
        name: OperatorName,
        /// How long the token lasts.
        #[command(flatten)]
        lifetime: Lifetime,
    },
    /// Refuse a colleague's certificate from the next call on
    #[command(after_help = "Example: suturectl operator revoke lee")]
    Revoke {
        /// The colleague
        name: OperatorName,
    },
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Invite { name, lifetime } => invite(context, name, lifetime).await,
        Command::Revoke { name } => {
            let request = v1::RevokeOperatorRequest { name: name.to_string() };
            context.connect().await?.revoke_operator(request).await?;
            context.print.result(&json!({ "revoked": name }), |_| {
                format!(
                    "{name} is refused from now on; signing keys that {name} holds count until the root names others"
                )
            })
        }
    }
}

async fn invite(context: &mut Context<'_>, name: OperatorName, lifetime: Lifetime) -> Outcome {
    let grant = grant(&context.home.server()?.principal()?, name.clone())?;
    let composed = token::compose(context, grant, lifetime)?;
    let request = v1::InviteOperatorRequest {
        name: name.to_string(),
        secret_sha256: composed.secret_sha256().into(),
        expires_ms: composed.expires_ms(),
    };
    context.connect().await?.invite_operator(request).await?;
    let (token, expires) = (composed.text()?, format_utc(composed.token.expires));
    context
        .print
        .note(&format!("Hand this token to {name} over a channel that you trust; it is good once, until {expires}."));
    context.print.result(&json!({ "name": name, "token": token, "expires": expires }), |_| token.clone())
}

fn grant(own: &Principal, name: OperatorName) -> Outcome<Grant> {
    match own {
        Principal::Mdm(_) => Ok(Grant::Mdm(name)),
        Principal::Operator(hdo, _) => Ok(Grant::Operator(hdo.clone(), name)),
        Principal::Server | Principal::Device(..) => {
            Err(Failure::new(format!("{own} is no operator and has no colleagues")))
        }
    }
}
