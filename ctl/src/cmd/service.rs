//! `suturectl service`: where the server is, and by which authorities it is known.
//!
//! The hospital signs it for its devices (`set`), so that an address or a certificate authority can be replaced. What this
//! home connects by is changed apart from that, by what was signed (`follow`) or by a certificate that came over another
//! channel (`trust`).

use std::path::{Path, PathBuf};

use clap::Subcommand;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use suture_core::approval::{RosterDevice, Service};
use suture_core::digest::Digest;
use suture_core::limits::{MAX_CERTIFICATE_BYTES, MAX_SERVICE_AUTHORITIES};
use suture_proto::connect::{self, Outcome as Found};

use crate::client;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::home::Server;
use crate::hospital::{Desk, inventory, refused};
use crate::print::{Table, counted, grouped};
use crate::repository::{Done, Signing};
use crate::{files, identity};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What the hospital has signed, which devices have proven to have it, and what this home connects by
    #[command(after_help = "Example: suturectl service show")]
    Show,
    /// Sign for the hospital's devices where the server is and by whom it is certified
    #[command(
        after_help = "Example: suturectl service set --address https://new.acme.example:7443 --authority ca.pem --authority ca-next.pem"
    )]
    Set {
        /// https://host:port; several are tried in this order. Unless given, the present ones stay
        #[arg(long = "address", value_name = "URL")]
        addresses: Vec<String>,
        /// A CA certificate (PEM); the first is the one that new tokens name. Unless given, the present ones stay
        #[arg(long = "authority", value_name = "FILE")]
        authorities: Vec<PathBuf>,
        /// Do not first connect to each address by each authority: for a server that is yet to come
        #[arg(long)]
        unprobed: bool,
        /// With what it is signed.
        #[command(flatten)]
        signing: Signing,
    },
    /// Connect from this home by what the hospital has signed
    #[command(after_help = "Example: suturectl service follow")]
    Follow,
    /// Connect from this home by a CA certificate that came over another channel
    #[command(after_help = "Example: suturectl service trust ca.pem --sha256 SHA256")]
    Trust {
        /// The CA certificate (PEM)
        file: PathBuf,
        /// Its fingerprint, as the server's owner read it out: SHA-256 of the certificate, 64 hexadecimal digits
        #[arg(long)]
        sha256: Digest,
        /// By this one alone, not also by those that were trusted before
        #[arg(long)]
        only: bool,
        /// The server's new address
        #[arg(long, value_name = "URL")]
        address: Option<String>,
    },
}

#[derive(Serialize)]
struct Shown {
    signed: Option<Signed>,
    home: Ways,
}

#[derive(Serialize)]
struct Signed {
    #[serde(flatten)]
    ways: Ways,
    since_version: u64,
    /// Devices whose signed reports name that version of the approvals, or a later one.
    proven: Vec<String>,
    /// The other devices of the rosters: until they have it, what they knew before must stay in service.
    unproven: Vec<String>,
}

#[derive(Serialize)]
struct Ways {
    addresses: Vec<String>,
    authorities_sha256: Vec<Digest>,
}

/// Runs one.
pub async fn run(context: &mut Context<'_>, command: Command) -> Outcome {
    match command {
        Command::Show => {
            let mut desk = Desk::open_base(context).await?;
            show(context, &mut desk).await
        }
        Command::Set { addresses, authorities, unprobed, signing } => {
            let mut desk = Desk::open_base(context).await?;
            let (addresses, authorities) = next(context, &desk, addresses, &authorities)?;
            if !unprobed {
                reachable(context, &addresses, &authorities).await?;
            }
            let done = desk.publish(context, &signing, |edit| {
                edit.set_service(addresses, authorities).map_err(refused)?;
                Ok(())
            });
            if let Done::Waiting(waiting) = done.await? {
                return waiting.print(context);
            }
            let mut desk = Desk::open_base(context).await?;
            show(context, &mut desk).await
        }
        Command::Follow => follow(context).await,
        Command::Trust { file, sha256, only, address } => trust(context, &file, &sha256, only, address).await,
    }
}

/// What is to be signed: what was given, else what was signed, else what this home joined by.
fn next(
    context: &Context<'_>,
    desk: &Desk,
    addresses: Vec<String>,
    authorities: &[PathBuf],
) -> Outcome<(Vec<String>, Vec<String>)> {
    let server = context.home.server()?;
    let signed = desk.documents.service.as_ref();
    let addresses = match addresses.is_empty() {
        false => addresses,
        true => signed.map_or_else(|| vec![server.address], |s| s.addresses.clone()),
    };
    let authorities = match authorities.is_empty() {
        false => authorities.iter().map(|f| Ok(Service::authority(&certificate(f)?))).collect::<Outcome<_>>()?,
        true => signed.map_or(server.authorities, |s| s.authorities.clone()),
    };
    for address in &addresses {
        connect::Authority::parse(address).map_err(|e| Failure::of(Exit::Failed, &e))?;
    }
    Ok((addresses, authorities))
}

/// Fails unless every address leads to a server that one of the authorities has certified and that knows this operator.
async fn reachable(context: &mut Context<'_>, addresses: &[String], authorities: &[String]) -> Outcome {
    for address in addresses {
        let server = Server { address: address.clone(), authorities: authorities.to_vec(), ..context.home.server()? };
        let settings = client::settings(context, &server, Some(identity::load(&context.home)?))?;
        let findings = connect::probe(&settings).await;
        if let Some(bad) = findings.iter().find(|f| f.outcome == Found::Bad) {
            return Err(Failure::new(format!("{address} cannot be reached by what would be signed: {}", bad.text))
                .exit(Exit::Unreachable)
                .next("mend that first, or --unprobed if the server is yet to come; nothing was signed"));
        }
    }
    Ok(())
}

async fn show(context: &mut Context<'_>, desk: &mut Desk) -> Outcome {
    let home = context.home.server()?;
    let signed = match desk.documents.service.clone() {
        None => None,
        Some(service) => {
            let (proven, unproven) = who_has(desk, &service).await?;
            Some(Signed { ways: ways(&service)?, since_version: service.since, proven, unproven })
        }
    };
    let authorities_sha256 = home.certificates()?.iter().map(|der| Digest::of(der)).collect();
    let shown = Shown { signed, home: Ways { addresses: vec![home.address], authorities_sha256 } };
    context.print.result(&shown, text)
}

fn ways(service: &Service) -> Outcome<Ways> {
    let certificates =
        service.certificates().ok_or_else(|| Failure::untrusted("service.json holds what is no certificate"))?;
    Ok(Ways {
        addresses: service.addresses.clone(),
        authorities_sha256: certificates.iter().map(|der| Digest::of(der)).collect(),
    })
}

/// Who of the rosters has proven to have it, and who has not.
async fn who_has(desk: &mut Desk, service: &Service) -> Outcome<(Vec<String>, Vec<String>)> {
    let devices = inventory::devices(&mut desk.client, "", "", "").await?;
    let has = |roster: &RosterDevice| {
        devices.iter().any(|d| {
            let report = inventory::proven(d.proven.as_ref(), Some(roster));
            report.and_then(|r| r.approvals).is_some_and(|seen| seen.targets >= service.since)
        })
    };
    let roster = desk.documents.rosters.iter().flat_map(|(_, r)| &r.devices);
    let (proven, unproven): (Vec<_>, Vec<_>) = roster.partition(|d| has(d));
    let ids = |list: Vec<&RosterDevice>| list.iter().map(|d| d.id.to_string()).collect();
    Ok((ids(proven), ids(unproven)))
}

fn text(shown: &Shown) -> String {
    let mut table = Table::new(["", "addresses", "authorities (SHA-256)"]);
    let mut row = |name: &str, ways: &Ways| {
        let sums: Vec<String> = ways.authorities_sha256.iter().map(|d| grouped(&d.to_string())).collect();
        table.row([name.to_owned(), ways.addresses.join(", "), sums.join(", ")]);
    };
    if let Some(signed) = &shown.signed {
        row("signed", &signed.ways);
    }
    row("this home", &shown.home);
    let mut out = table.to_text();
    match &shown.signed {
        None => out.push_str("\nthe hospital has signed nothing; devices go by what enrolment said\n"),
        Some(s) => {
            out.push_str(&format!(
                "\nsigned with version {} of the approvals; {} proven to have it, {} not yet\n",
                s.since_version,
                counted(s.proven.len(), "device", "has", "have"),
                s.unproven.len()
            ));
            for id in &s.unproven {
                out.push_str(&format!("  not yet  {id}\n"));
            }
        }
    }
    out
}

async fn follow(context: &mut Context<'_>) -> Outcome {
    let desk = Desk::open_base(context).await?;
    let signed = desk.documents.service.clone().ok_or_else(|| {
        Failure::new("the hospital has signed nothing about the server").next("`suturectl service set`")
    })?;
    let first = signed.addresses.first().cloned().unwrap_or_default();
    let server = Server { address: first, authorities: signed.authorities, ..context.home.server()? };
    take(context, server).await
}

async fn trust(
    context: &mut Context<'_>,
    file: &Path,
    sha256: &Digest,
    only: bool,
    address: Option<String>,
) -> Outcome {
    let der = certificate(file)?;
    // Attack: a certificate that somebody put in the place of the one that was read out.
    if Digest::of(&der) != *sha256 {
        return Err(Failure::untrusted(format!(
            "{} has the fingerprint {}, not the one that was given",
            file.display(),
            grouped(&Digest::of(&der).to_string())
        ))
        .next("do not go on; ask the server's owner for the certificate and its fingerprint over two channels"));
    }
    let mut server = context.home.server()?;
    let before = std::mem::replace(&mut server.authorities, vec![Service::authority(&der)]);
    if !only {
        let others = before.into_iter().filter(|b| *b != Service::authority(&der));
        server.authorities.extend(others.take(MAX_SERVICE_AUTHORITIES - 1));
    }
    server.address = address.unwrap_or(server.address);
    take(context, server).await
}

/// Connects by it once, and then remembers it: a mistake locks nobody out.
async fn take(context: &mut Context<'_>, server: Server) -> Outcome {
    reachable(context, std::slice::from_ref(&server.address), &server.authorities).await?;
    let authorities_sha256 = server.certificates()?.iter().map(|der| Digest::of(der)).collect();
    context.home.set_server(&server)?;
    let ways = Ways { addresses: vec![server.address], authorities_sha256 };
    context.print.result(&ways, |w| format!("this home connects to {} now\n", w.addresses.join(", ")))
}

/// The certificate of a CA out of a PEM file.
fn certificate(file: &Path) -> Outcome<Vec<u8>> {
    const MAX_PEM_BYTES: u64 = 16 << 10;
    let pem = files::need(file, MAX_PEM_BYTES)?;
    authority(&pem).map_err(|why| {
        Failure::new(format!("{} is not one CA certificate in PEM: {why}", file.display()))
            .next("`suture-server ca show` says where the server's are; give one file for each")
    })
}

/// The one certificate in a PEM text, of an authority that a device can verify a server by; or why it is none.
///
/// Mistake: what is signed here, every device of the hospital is told. One that cannot be read they pass over, and one of
/// no authority, such as the server's own, certifies nothing once the server has another.
fn authority(pem: &[u8]) -> Result<Vec<u8>, String> {
    let mut found = CertificateDer::pem_slice_iter(pem);
    let der = match (found.next(), found.next()) {
        (Some(Ok(der)), None) => der,
        (None, _) => return Err("it holds none".to_owned()),
        (Some(Err(e)), _) => return Err(e.to_string()),
        (Some(Ok(_)), Some(_)) => return Err("it holds several".to_owned()),
    };
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(format!("its {} bytes are more than {MAX_CERTIFICATE_BYTES}", der.len()));
    }
    RootCertStore::empty().add(der.clone()).map_err(|e| format!("it cannot be read: {e}"))?;
    match x509_parser::parse_x509_certificate(&der) {
        Ok((_, read)) if read.is_ca() => Ok(der.to_vec()),
        Ok(_) => Err("it certifies a server or a client, and is of no authority".to_owned()),
        Err(e) => Err(format!("it cannot be read: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn pem(is_ca: IsCa) -> String {
        let mut params = CertificateParams::new(vec!["updates.acme.example".to_owned()]).unwrap();
        params.is_ca = is_ca;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn nothing_is_signed_for_an_authority_but_the_certificate_of_one() {
        let ca = pem(IsCa::Ca(BasicConstraints::Unconstrained));
        let der = authority(ca.as_bytes()).unwrap();
        assert_eq!(Service::authority(&der), ca.lines().filter(|l| !l.starts_with('-')).collect::<String>());
        let armoured = |base64: &str| format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        let half = Service::authority(&der[..der.len() / 2]);
        let long = Service::authority(&vec![0x30; MAX_CERTIFICATE_BYTES + 1]);
        let rows = [
            (String::new(), "it holds none"),
            (KeyPair::generate().unwrap().serialize_pem(), "it holds none"),
            (format!("{ca}{ca}"), "it holds several"),
            (armoured("anVuaw=="), "it cannot be read"),
            (armoured("!"), ""),
            (armoured(&half), "it cannot be read"),
            (armoured(&long), "bytes are more than"),
            (pem(IsCa::NoCa), "is of no authority"),
            (pem(IsCa::ExplicitNoCa), "is of no authority"),
        ];
        for (text, why) in rows {
            let said = authority(text.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{why}: {said}");
        }
    }
}
