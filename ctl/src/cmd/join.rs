//! `suturectl join`: one pasted token is all the trust that is needed.

use std::io::{BufRead, IsTerminal as _, Read as _};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use suture_core::digest::Digest;
use suture_core::id::OperatorName;
use suture_core::principal::Principal;
use suture_core::token::{Grant, Token};
use suture_proto::connect::{Settings, Trust};
use suture_proto::v1;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Exit, Failure, OrFail as _, Outcome};
use crate::home::Server;
use crate::identity;
use crate::print::grouped;
use crate::trust_store::{TrustStore, Which};
use crate::witness;

/// Arguments of `join`.
#[derive(Debug, clap::Args)]
// `hdo join` flattens it into arguments of its own, and two groups may not have one name.
#[group(skip)]
pub struct Args {
    /// The token (`suture1.…`), which others on this machine then see in the list of processes; `-` reads it from standard
    /// input
    #[arg(required_unless_present = "token_file")]
    token: Option<String>,
    /// Read the token from a file, or with `-` from standard input: nobody else sees it there
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The name to take; needed where the token names none
    #[arg(long)]
    name: Option<OperatorName>,
}

#[derive(Serialize)]
pub(crate) struct Joined {
    pub(crate) uri: String,
    pub(crate) server: String,
    ca_sha256: Digest,
    catalog_root_sha256: Option<Digest>,
    approvals_root_sha256: Option<Digest>,
}

/// Joins and prints who this is now.
pub async fn run(context: &mut Context<'_>, args: Args) -> Outcome {
    let joined = join(context, args).await?;
    context.print.result(&joined, |j| {
        let root = |d: &Option<Digest>| d.map_or_else(|| "none yet".to_owned(), |d| grouped(&d.to_string()));
        format!(
            "joined {} as {}\nserver CA      {}\ncatalog root   {}\napprovals root {}\n",
            j.server,
            j.uri,
            grouped(&j.ca_sha256.to_string()),
            root(&j.catalog_root_sha256),
            root(&j.approvals_root_sha256)
        )
    })
}

pub(crate) async fn join(context: &mut Context<'_>, args: Args) -> Outcome<Joined> {
    let token = Token::decode(&read_token(context, &args)?).or_fail(|| "the token cannot be read".to_owned())?;
    if context.home.joined()? {
        return finish(context, &token).await;
    }
    let name = name_to_take(&token.grant, args.name)?;
    if token.expires <= context.now() {
        return Err(Failure::new(format!("the token expired at {}", suture_core::clock::format_utc(token.expires)))
            .next("ask for a new one"));
    }
    let settings = Settings {
        address: token.server.clone(),
        trust: Trust::CaSha256(token.ca_sha256),
        identity: None,
        proxy: context.proxy.clone(),
        clock: context.clock.clone(),
    };
    let mut client = Client::open(&settings).await?;
    let request = identity::Request::with(&context.home, &token.secret.sha256())?;
    let spend = v1::JoinRequest {
        secret: token.secret.as_bytes().to_vec().into(),
        csr: request.csr.clone().into(),
        name: name.to_string(),
    };
    let v1::JoinResponse { chain, uri } = client.join(spend).await?;
    let ca = chain.last().filter(|c| Digest::of(c) == token.ca_sha256).ok_or_else(|| {
        Failure::untrusted("the server's answer does not end with the CA that the token names")
            .next("do not go on; tell whoever gave the token")
    })?;
    let principal = Principal::parse(&uri, &token.trust_domain).map_err(|e| Failure::of(Exit::Untrusted, &e))?;
    let expected = match &token.grant {
        Grant::Mdm(_) => Principal::Mdm(name),
        Grant::Hdo(hdo) | Grant::Operator(hdo, _) | Grant::Device(hdo, _) => Principal::Operator(hdo.clone(), name),
    };
    if principal != expected {
        return Err(Failure::untrusted(format!(
            "the server made this operator {principal}, the token says {expected}"
        )));
    }
    let server = Server {
        address: token.server.clone(),
        trust_domain: token.trust_domain.clone(),
        authorities: vec![BASE64.encode(ca)],
        uri,
    };
    request.granted(&context.home, &chain).and_then(|()| context.home.set_server(&server)).map_err(|failure| {
        failure.next("mend that and run the same command again: until its end the token still works for this home")
    })?;
    finish(context, &token).await
}

/// The roots that the token carries. Run again after an interruption it goes on here.
async fn finish(context: &mut Context<'_>, token: &Token) -> Outcome<Joined> {
    let server = context.home.server()?;
    let known = server.certificates()?.iter().any(|der| Digest::of(der) == token.ca_sha256);
    if server.address != token.server || !known {
        return Err(Failure::new(format!("this home has joined {} already", server.address))
            .next("use another --home for another server"));
    }
    let principal = server.principal()?;
    let same = match &token.grant {
        Grant::Mdm(name) => principal == Principal::Mdm(name.clone()),
        Grant::Operator(hdo, name) => principal == Principal::Operator(hdo.clone(), name.clone()),
        Grant::Hdo(hdo) | Grant::Device(hdo, _) => principal.hdo() == Some(hdo),
    };
    if !same {
        return Err(Failure::new(format!("this home is {principal} already, and the token is for somebody else"))
            .next("use another --home for another operator"));
    }
    if let Some(key) = &token.audit_key {
        witness::pin(&context.home, key)?;
    }
    identity::Request::done(&context.home)?;
    let roots = [
        (Which::Catalog, token.catalog_root_sha256, token.catalog_edition),
        (Which::Approvals, token.approvals_root_sha256, token.approvals_edition),
    ];
    if roots.iter().any(|(_, digest, _)| digest.is_some()) {
        let mut client = context.connect().await?;
        for (which, digest, edition) in roots {
            let store = TrustStore::of(&context.home, which);
            if let Some(digest) = digest {
                store.pin_by_digest(&mut client, &digest).await?;
            }
            // Whoever wrote the token has verified it: a server cannot show this newcomer an older state, or a fork.
            if let Some(edition) = edition.filter(|_| digest.is_some())
                && store.history()?.newest().is_none()
            {
                store.remember(edition)?;
            }
        }
    }
    Ok(Joined {
        uri: server.uri,
        server: server.address,
        ca_sha256: token.ca_sha256,
        catalog_root_sha256: token.catalog_root_sha256,
        approvals_root_sha256: token.approvals_root_sha256,
    })
}

fn read_token(context: &mut Context<'_>, args: &Args) -> Outcome<String> {
    const LIMIT: u64 = 16 << 10;
    let mut text = String::new();
    match (&args.token_file, args.token.as_deref()) {
        (Some(path), _) if path.as_os_str() != "-" => {
            let bytes = crate::files::read(path, LIMIT)?
                .ok_or_else(|| Failure::new(format!("there is no token file {}", path.display())))?;
            text = String::from_utf8(bytes).or_fail(|| format!("{} is no text", path.display()))?;
        }
        (Some(_), _) | (None, Some("-")) => {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                context.print.note("Paste the token, and press Enter:");
            }
            pasted(&mut stdin.lock().take(LIMIT), &mut text)
                .or_fail(|| "cannot read a token from standard input".to_owned())?;
        }
        (None, Some(token)) => {
            // Attack: another account on this machine, which reads the list of processes and is faster.
            context.print.note(
                "note: a token on the command line is shown to others on this machine while the command runs; \
                 `--token-file FILE`, or `-` to paste it, does not show it",
            );
            text.push_str(token);
        }
        (None, None) => {}
    }
    if text.len() as u64 >= LIMIT {
        return Err(
            Failure::new("that is no token: it is too long").next("a token is one line that begins with `suture1.`")
        );
    }
    Ok(text)
}

/// The first line that is not empty: nobody has to say where a pasted one ends.
fn pasted(from: &mut impl BufRead, text: &mut String) -> std::io::Result<()> {
    while text.trim().is_empty() && from.read_line(text)? > 0 {}
    Ok(())
}

fn name_to_take(grant: &Grant, given: Option<OperatorName>) -> Outcome<OperatorName> {
    let (named, given) = match (grant, given) {
        (Grant::Device(..), _) => {
            return Err(Failure::new("this token is for a device").next("`suture-agent enroll` at the device"));
        }
        (Grant::Hdo(_), Some(name)) => return Ok(name),
        (Grant::Hdo(_), None) => return Err(Failure::new("the token leaves the name to you").next("--name NAME")),
        (Grant::Mdm(named) | Grant::Operator(_, named), given) => (named, given),
    };
    match given {
        Some(name) if name != *named => Err(Failure::new(format!("the token is for {named}, not for {name}"))),
        _ => Ok(named.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_token_ends_with_its_line() {
        let read = |from: &str| {
            let mut text = String::new();
            pasted(&mut from.as_bytes(), &mut text).unwrap();
            text.trim().to_owned()
        };
        assert_eq!(read("\n \nsuture1.abc\nwhat comes after"), "suture1.abc");
        assert_eq!(read("suture1.abc"), "suture1.abc");
        assert_eq!(read("\n"), "");
    }

    #[test]
    fn the_name_is_the_tokens_or_ones_own_where_it_leaves_it_open() {
        let name = |n: &str| n.parse::<OperatorName>().unwrap();
        let hdo: suture_core::id::HdoId = "riverside".parse().unwrap();
        assert_eq!(name_to_take(&Grant::Mdm(name("ada")), None).unwrap(), name("ada"));
        assert!(name_to_take(&Grant::Mdm(name("ada")), Some(name("eve"))).is_err());
        assert_eq!(name_to_take(&Grant::Hdo(hdo.clone()), Some(name("kim"))).unwrap(), name("kim"));
        assert!(name_to_take(&Grant::Hdo(hdo.clone()), None).unwrap_err().to_text().contains("--name"));
        assert!(name_to_take(&Grant::Device(hdo, None), None).unwrap_err().to_text().contains("suture-agent"));
    }
}
