//! `suturectl`'s home: what it knows of its server, who it is, its keys and what it trusts.
//!
//! ```text
//! server.json             where the server is and how it is known
//! identity/tls.key        this operator's TLS key (0600)
//! identity/chain.pem      its certificate, and the CA's
//! identity/asked.pem      while this home joins: the key that its token is shown with (0600)
//! keys/<name>.pem         signing keys, encrypted; <name>.pub their public halves
//! trust/catalog/          the manufacturer's repository as last verified
//! trust/catalog/life/     what was read last of each product's life
//! trust/approvals/        the hospital's
//! trust/words/             the end of each series of words that was seen: risks, agreements
//! notices/                notices that have not gone to all yet
//! letters.json            how far letters of either side have been verified
//! trust/hospitals/<id>    a hospital's root, where this is the manufacturer's home, and its fingerprint as people compared it
//! audit.json              the server's audit record: its key, the checkpoint seen last, how far it was read
//! audit.doubt.json        what a server has signed of it that does not fit together
//! ```

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use suture_core::digest::Digest;
use suture_core::id::{HdoId, TrustDomain};
use suture_core::principal::Principal;

use crate::failure::{Exit, Failure, Outcome};
use crate::files::{self, Access, FileError, Locked};

/// Far more than any of these small files needs.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What helps where `server.json` is damaged.
const DAMAGED: &str = "bring it back from the copy of this home, or join again in a new --home";

/// The directory.
#[derive(Debug, Clone)]
pub struct Home {
    directory: PathBuf,
}

/// `server.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// `https://host:port`.
    pub address: String,
    /// The trust domain of its identities.
    pub trust_domain: TrustDomain,
    /// Certificates of the authorities that may certify it: DER in base64. The first is the one that tokens name.
    pub authorities: Vec<String>,
    /// This operator's identity.
    pub uri: String,
}

impl Server {
    /// The authorities' certificates, DER; never none.
    pub fn certificates(&self) -> Outcome<Vec<Vec<u8>>> {
        let read = self.authorities.iter().map(|text| BASE64.decode(text)).collect::<Result<Vec<_>, _>>();
        match read {
            Ok(read) if !read.is_empty() => Ok(read),
            Ok(_) => Err(Failure::new("server.json names no authority").next("`suturectl service trust FILE`")),
            Err(e) => Err(Failure::new("server.json holds an authority that is not base64").because(&e).next(DAMAGED)),
        }
    }

    /// What tokens name: SHA-256 of the first authority's certificate.
    pub fn ca_sha256(&self) -> Outcome<Digest> {
        Ok(self.certificates()?.first().map_or_else(|| Digest::of(b""), |der| Digest::of(der)))
    }

    /// This operator's identity, parsed.
    pub fn principal(&self) -> Outcome<Principal> {
        Principal::parse(&self.uri, &self.trust_domain)
            .map_err(|e| Failure::new("server.json names no identity of its trust domain").because(&e).next(DAMAGED))
    }

    /// The hospital that this operator belongs to.
    pub fn hdo(&self) -> Outcome<HdoId> {
        self.principal()?.hdo().cloned().ok_or_else(|| {
            Failure::new(format!("this is a hospital's command, and {} is no hospital's operator", self.uri))
                .next("use the --home of a hospital's operator")
        })
    }

    /// Refuses hospitals' operators, before the server does.
    pub fn manufacturer(&self) -> Outcome {
        match self.principal()? {
            Principal::Mdm(_) => Ok(()),
            _ => Err(Failure::new(format!(
                "this is a manufacturer's command, and {} is none of its operators",
                self.uri
            ))
            .next("use the --home of a manufacturer's operator")),
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let is_there = error.action == "create" && error.source.kind() == std::io::ErrorKind::AlreadyExists;
        let failure = Self::of(Exit::Failed, &error);
        match error.source.kind() {
            _ if is_there => failure.next("name another file; what is there is not written over"),
            std::io::ErrorKind::TimedOut if error.action == "write" => failure.next(
                "another suturectl with this home writes and does not end: end it (`fuser DIRECTORY` says which), and run this again",
            ),
            _ => failure,
        }
    }
}

impl Home {
    /// Opens the home, creating it (0700) where it is missing.
    pub fn open(directory: &Path) -> Outcome<Self> {
        files::create_private_directory(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// A path in it, its directory created.
    pub fn path(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.directory.join(name);
        if let Some(parent) = path.parent() {
            files::create_private_directory(parent)?;
        }
        Ok(path)
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads a file of it, if it is there.
    pub fn read(&self, name: &str) -> Outcome<Option<Vec<u8>>> {
        Ok(files::read(&self.directory.join(name), MAX_FILE_BYTES)?)
    }

    /// Replaces a file of it.
    pub fn write(&self, name: &str, bytes: &[u8], access: Access) -> Outcome {
        Ok(files::write(&self.path(name)?, bytes, access)?)
    }

    /// The directory of this home's files, while no other command writes in it; `soon` does not wait for one that does.
    pub fn lock(&self, directory: &str, soon: bool) -> Outcome<Locked> {
        let path = self.directory.join(directory);
        files::create_private_directory(&path)?;
        Ok(Locked::wait(&path, soon)?)
    }

    /// Whether this home has joined a server.
    pub fn joined(&self) -> Outcome<bool> {
        Ok(self.read("server.json")?.is_some())
    }

    /// The server that this home has joined.
    pub fn server(&self) -> Outcome<Server> {
        let bytes = self.read("server.json")?.ok_or_else(|| {
            Failure::new(format!("{} has not joined a server", self.directory.display()))
                .next("`suturectl join -` and paste the token, or name another --home")
        })?;
        serde_json::from_slice(&bytes).map_err(|e| {
            Failure::new(format!("{} cannot be read", self.directory.join("server.json").display()))
                .because(&e)
                .next(DAMAGED)
        })
    }

    /// Remembers the server; the last step of joining.
    pub fn set_server(&self, server: &Server) -> Outcome {
        let mut bytes =
            serde_json::to_vec_pretty(server).map_err(|e| Failure::new("cannot write server.json").because(&e))?;
        bytes.push(b'\n');
        self.write("server.json", &bytes, Access::Public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_home_is_private_and_says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/home");
        let home = Home::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(home.server().unwrap_err().to_text().contains("suturectl join"));
        let server = Server {
            address: "https://localhost:7443".to_owned(),
            trust_domain: "acme.example".parse().unwrap(),
            authorities: vec!["AAAA".to_owned()],
            uri: "spiffe://acme.example/hdo/riverside/operator/kim".to_owned(),
        };
        home.set_server(&server).unwrap();
        assert_eq!(home.server().unwrap(), server);
        assert_eq!(server.hdo().unwrap().as_str(), "riverside");
        assert!(server.manufacturer().is_err());
    }
}
