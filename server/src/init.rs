//! `suture-server init`: a new server's authority, keys, configuration and first operator, in one directory.
//!
//! Nothing secret is printed. The configuration file is written last: until it is there, nothing counts, and `init` may
//! simply be run again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use suture_core::audit::{Concern, LogKey};
use suture_core::digest::Digest;
use suture_core::id::OperatorName;
use suture_core::principal::Principal;
use suture_core::token::{Grant, Token};
use zeroize::Zeroizing;

use crate::config::{LogFormat, Settings};
use crate::identity::{Authority, IdentityError};
use crate::invitation;
use crate::store::{Store, StoreError};

/// The authority's certificate, which may be given away.
pub const CA_FILE: &str = "ca.pem";
/// The authority's key.
pub const CA_KEY_FILE: &str = "ca.key";
/// What the online keys in the database are sealed under.
pub const SEAL_FILE: &str = "seal.key";
/// How long it is; the file holds it in hexadecimal digits.
pub const SEAL_BYTES: usize = 32;
/// The configuration.
pub const CONFIG_FILE: &str = "server.toml";
/// The first operator's one-time token.
pub const TOKEN_FILE: &str = "operator.token";

/// Why there is no new server.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one already.
    #[error("{0} is there already: this directory holds a server; choose another")]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of a run that was cut off.
    #[error(
        "cannot read {path}, which an `init` that was cut off has left; remove it where this directory never held a server"
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The authority cannot be made.
    #[error("the certificate authority could not be made")]
    Authority(#[from] IdentityError),
    /// The database cannot be opened or written.
    #[error("the database could not be prepared")]
    Store(#[from] StoreError),
    /// The audit trail's first entry could not be written.
    #[error("the audit trail could not be begun")]
    Audit(#[from] crate::audit::AuditError),
    /// The audit trail's key could not be made.
    #[error("the audit trail's key could not be made")]
    Key(#[from] crate::audit::key::KeyError),
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
    /// The token has no text form.
    #[error("the first operator's token could not be written")]
    Token(#[from] suture_core::token::TokenError),
}

/// What was made; nothing of it is secret but the content of the token's file.
#[derive(Debug, serde::Serialize)]
pub struct Made {
    /// Where the configuration is.
    pub config: PathBuf,
    /// Where the authority's certificate is.
    pub ca: PathBuf,
    /// SHA-256 of the authority's certificate.
    pub ca_sha256: Digest,
    /// The key by which the audit record is known.
    pub audit_key: LogKey,
    /// Where the first operator's token is.
    pub token: PathBuf,
    /// When the token ends.
    #[serde(with = "suture_core::clock::utc")]
    pub expires: Timestamp,
}

/// Makes a server.
pub async fn init(settings: &Settings, operator: &OperatorName, now: Timestamp) -> Result<Made, InitError> {
    let dir = settings.data_dir.as_path();
    let config = dir.join(CONFIG_FILE);
    if config.exists() {
        return Err(InitError::Exists(config));
    }
    let written = |path: &Path| {
        let path = path.to_owned();
        move |source| InitError::Write { path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(written(dir))?;

    let Secrets { ca_pem, ca_key, seal } = match Secrets::left_in(dir)? {
        Some(left) => left,
        None => {
            let made = Secrets::make(settings, now)?;
            let [key, seal, ca] = [CA_KEY_FILE, SEAL_FILE, CA_FILE].map(|name| dir.join(name));
            write(&key, &made.ca_key, 0o600).map_err(written(&key))?;
            write(&seal, &made.seal, 0o600).map_err(written(&seal))?;
            write(&ca, &made.ca_pem, 0o644).map_err(written(&ca))?;
            made
        }
    };
    let authority = Authority::load(&ca_pem, &ca_key, settings.trust_domain.clone())?;

    let mut token = invitation::token(settings, authority.fingerprint(), Grant::Mdm(operator.clone()), now)?;
    let audit_key = remember(settings, &token, &seal, now).await?;
    token.audit_key = Some(audit_key.clone());
    let token_path = dir.join(TOKEN_FILE);
    let text = Zeroizing::new(token.encode()? + "\n");
    write(&token_path, &text, 0o600).map_err(written(&token_path))?;
    write(&config, &configuration(settings), 0o600).map_err(written(&config))?;
    Ok(Made {
        config,
        ca: dir.join(CA_FILE),
        ca_sha256: authority.fingerprint(),
        audit_key,
        token: token_path,
        expires: token.expires,
    })
}

/// What opens everything else.
struct Secrets {
    ca_pem: String,
    ca_key: Zeroizing<String>,
    seal: Zeroizing<String>,
}

impl Secrets {
    fn make(settings: &Settings, now: Timestamp) -> Result<Self, InitError> {
        let (ca_pem, ca_key) = Authority::create(&settings.trust_domain, now)?;
        let mut seal = Zeroizing::new([0; SEAL_BYTES]);
        getrandom::fill(&mut *seal)?;
        Ok(Self { ca_pem, ca_key, seal: Zeroizing::new(hex::encode(seal.as_slice())) })
    }

    /// Those of a run that was cut off: keys in the database may be sealed by them already, and no others open those. The
    /// certificate is written last of the three.
    fn left_in(dir: &Path) -> Result<Option<Self>, InitError> {
        let read = |name: &str| {
            let path = dir.join(name);
            match fs::read_to_string(&path) {
                Ok(text) => Ok(Some(text)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(InitError::Read { path, source }),
            }
        };
        let (Some(ca_pem), Some(ca_key), Some(seal)) = (read(CA_FILE)?, read(CA_KEY_FILE)?, read(SEAL_FILE)?) else {
            return Ok(None);
        };
        Ok(Some(Self { ca_pem, ca_key: Zeroizing::new(ca_key), seal: Zeroizing::new(seal.trim().to_owned()) }))
    }
}

async fn remember(settings: &Settings, token: &Token, seal: &str, now: Timestamp) -> Result<LogKey, InitError> {
    let store = Store::open(settings.database.url()).await?;
    let mut tx = store.begin().await?;
    tx.insert_token(&token.secret.sha256(), &token.grant, &Principal::Server, now, token.expires).await?;
    let detail = serde_json::json!({ "trust_domain": settings.trust_domain, "ca_sha256": token.ca_sha256 });
    crate::audit::append(&mut tx, now, &Principal::Server, Concern::Everybody, "server.init", "server", detail).await?;
    let key = crate::audit::key::ensure(&mut tx, &settings.trust_domain, seal, now).await?;
    // A database that another data directory's server has begun is no use without that one's seal key.
    crate::audit::key::newest(&mut tx, seal).await?;
    tx.commit().await?;
    store.close().await;
    Ok(key)
}

/// The configuration file. Written by hand, because it is read by people.
fn configuration(settings: &Settings) -> String {
    let line = |key: &str, value: &str| format!("{key} = {}\n", toml::Value::from(value));
    let mut text =
        String::from("# Written by `suture-server init`. SUTURE_SERVER_* in the environment and flags go before it.\n");
    text += &line("data_dir", &settings.data_dir.display().to_string());
    text += &line("listen", &settings.listen.to_string());
    text +=
        "\n# What devices and operators connect to. The server's certificate is made for its host at every start.\n";
    text += &line("address", &settings.address.url);
    text += "\n# Part of every identity; it cannot be changed.\n";
    text += &line("trust_domain", settings.trust_domain.as_str());
    text += "\n# sqlite:<path, from data_dir> or postgres://user:password@host/name\n";
    let url = settings.database.url();
    let inside = url.strip_prefix("sqlite:").and_then(|path| Path::new(path).strip_prefix(&settings.data_dir).ok());
    text += &line("database", &inside.map_or_else(|| url.to_owned(), |path| format!("sqlite:{}", path.display())));
    let others = others(settings);
    if !others.is_empty() {
        text += "\n# As it was asked for; deploy/server.toml shows all that can be set.\n";
        others.into_iter().for_each(|(key, value)| text += &format!("{key} = {value}\n"));
    }
    text
}

/// What `init` was told besides, where it is not the default.
fn others(settings: &Settings) -> Vec<(&'static str, toml::Value)> {
    let bucket = settings.s3.iter().flat_map(|(place, _)| place.written());
    let number = |n: u64| toml::Value::from(i64::try_from(n).unwrap_or(i64::MAX));
    let all = [
        ("host_names", settings.host_names.join(",").into(), "".into()),
        ("check_in_secs", number(settings.check_in.as_secs()), number(300)),
        ("max_connections", number(settings.max_connections as u64), number(10_000)),
        ("delta_sources", number(settings.delta_sources as u64), number(3)),
        ("delta_store_gib", number(settings.delta_store_bytes >> 30), number(64)),
        ("drain_secs", number(settings.drain.as_secs()), number(20)),
        ("log", settings.log.as_str().into(), "info".into()),
        ("log_format", if settings.log_format == LogFormat::Json { "json" } else { "text" }.into(), "text".into()),
    ];
    let bucket = bucket.map(|(key, value)| (key, toml::Value::from(value)));
    all.into_iter()
        .filter(|(_, value, default)| value != default)
        .map(|(key, value, _)| (key, value))
        .chain(bucket)
        .collect()
}

/// Writes a file whole: a temporary one, synced, then renamed over it.
pub(crate) fn write(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    match fs::remove_file(&unfinished) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::retention;
    use crate::config::Written;

    const LEAST: [(&str, &str); 4] = [
        ("data_dir", "/var/lib/suture-server"),
        ("address", "https://suture.acme.example:7443"),
        ("listen", "0.0.0.0:7443"),
        ("trust_domain", "acme.example"),
    ];

    fn settings(flags: &[(&'static str, &str)]) -> Settings {
        let mut written = Written::default();
        flags.iter().for_each(|(key, value)| written.flag(key, value));
        Settings::of(written).unwrap()
    }

    #[test]
    fn what_init_was_told_stands_in_the_file_and_defaults_do_not() {
        let told = [
            ("host_names", "a.example,b.example"),
            ("check_in_secs", "1"),
            ("max_connections", "7"),
            ("delta_sources", "0"),
            ("delta_store_gib", "2"),
            ("drain_secs", "5"),
            ("log", "debug"),
            ("log_format", "json"),
        ];
        assert!(others(&settings(&LEAST)).is_empty());
        let told = settings(&[&LEAST[..], &told[..]].concat());
        assert_eq!(others(&told).len(), 8);
        let mut read = Written::default();
        read.file(Path::new("server.toml"), &configuration(&told));
        assert_eq!(format!("{:?}", Settings::of(read).unwrap()), format!("{told:?}"));
    }

    fn begun_in(dir: &Path, more: &[(&'static str, &str)]) -> Settings {
        settings(&[&[("data_dir", dir.to_str().unwrap())][..], &LEAST[1..], more].concat())
    }

    /// Found: cut off after it had written to the database, the next run put another seal key in the place of the one that
    /// the keys there are sealed with, and no server could be started any more.
    #[tokio::test]
    async fn what_was_cut_off_is_taken_up_again_with_the_keys_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, ada) = (begun_in(&dir.path().join("server"), &[]), "ada".parse().unwrap());
        let now: Timestamp = "2026-11-24T15:00:00Z".parse().unwrap();
        let first = init(&settings, &ada, now).await.unwrap();
        assert!(matches!(init(&settings, &ada, now).await, Err(InitError::Exists(_))));
        // The last two files are those that such a run has not come to.
        for cut in [&[CONFIG_FILE][..], &[CONFIG_FILE, TOKEN_FILE]] {
            cut.iter().for_each(|name| fs::remove_file(settings.data_dir.join(name)).unwrap());
            let again = init(&settings, &ada, now).await.unwrap();
            assert_eq!((again.ca_sha256, &again.audit_key), (first.ca_sha256, &first.audit_key));
            // Rotating opens the key that is there.
            let sealed = retention::key(&settings, false, now).await.unwrap();
            assert_eq!(sealed, first.audit_key);
        }
        let other = retention::key(&settings, true, now).await.unwrap();
        assert_ne!(other, first.audit_key);
        // Cut off before the database was written to, it begins anew.
        let early = begun_in(&dir.path().join("early"), &[]);
        fs::create_dir(&early.data_dir).unwrap();
        write(&early.data_dir.join(CA_KEY_FILE), "half a", 0o600).unwrap();
        init(&early, &ada, now).await.unwrap();
        // A database that another directory's server has begun is refused, not spoilt.
        let third = begun_in(&dir.path().join("third"), &[("database", settings.database.url())]);
        let refused = init(&third, &ada, now).await.unwrap_err();
        assert!(matches!(refused, InitError::Key(_)), "{refused:?}");
        assert!(!third.data_dir.join(CONFIG_FILE).exists());
    }
}
