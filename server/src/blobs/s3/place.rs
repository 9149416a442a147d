//! Where the bucket is, and by which keys it is opened.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusty_s3::{Bucket, Credentials, UrlStyle};
use suture_proto::connect::{Authority, ProxyRules};
use zeroize::Zeroizing;

use super::S3Error;

/// Longest prefix, in bytes. A key of S3 may have 1,024.
const MAX_PREFIX_BYTES: usize = 256;
/// What a secret key's file may hold.
const MAX_SECRET_BYTES: u64 = 1_024;

/// An endpoint as it was written: where an S3 service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    url: String,
    is_loopback: bool,
}

impl Endpoint {
    /// Reads `https://host[:port]` or `http://host[:port]`, with nothing behind it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let url = text.strip_suffix('/').unwrap_or(text);
        // The host is held to what every other address is held to.
        let (host, https) = match url.strip_prefix("http://") {
            Some(rest) => (rest, format!("https://{rest}")),
            None => (url.strip_prefix("https://")?, url.to_owned()),
        };
        let authority = Authority::parse(&https).ok().filter(|_| !host.contains(['/', '?', '#']))?;
        let address = authority.host.parse::<std::net::IpAddr>();
        let is_loopback = authority.host == "localhost" || address.is_ok_and(|ip| ip.is_loopback());
        Some(Self { url: url.to_owned(), is_loopback })
    }

    /// Whether nobody can listen: by TLS, or because it is this machine.
    pub(crate) fn is_private(&self) -> bool {
        self.is_loopback || self.url.starts_with("https://")
    }
}

/// Where the keys are.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Keys {
    /// The access key, and the file with the secret key.
    File(String, PathBuf),
    /// In the environment.
    Given(Credentials),
}

/// A bucket, or what is below a prefix in it, as the configuration names it.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Place {
    bucket: Bucket,
    url: String,
    is_path: bool,
    prefix: String,
    keys: Keys,
}

impl fmt::Debug for S3Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Place").field("place", &self.to_string()).finish_non_exhaustive()
    }
}

impl fmt::Display for S3Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {} at {}", self.bucket.name(), self.url)
    }
}

impl S3Place {
    /// A bucket of a region at an endpoint; none where the three make no address, as an IP address cannot have a bucket's name
    /// in front of it.
    pub(crate) fn new(
        endpoint: &Endpoint,
        (region, name): (String, String),
        is_path: bool,
        prefix: String,
        keys: Keys,
    ) -> Option<Self> {
        let style = if is_path { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket = Bucket::new(endpoint.url.parse().ok()?, style, name, region).ok()?;
        Some(Self { bucket, url: endpoint.url.clone(), is_path, prefix, keys })
    }

    /// What a configuration file says of it, for whoever writes one: nothing of keys from the environment, or of the way there.
    pub(crate) fn written(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("s3_endpoint", self.url.clone()),
            ("s3_region", self.bucket.region().to_owned()),
            ("s3_bucket", self.bucket.name().to_owned()),
        ];
        if !self.prefix.is_empty() {
            all.push(("s3_prefix", self.prefix.trim_end_matches('/').to_owned()));
        }
        if !self.is_path {
            all.push(("s3_path_style", "false".to_owned()));
        }
        if !Endpoint::parse(&self.url).is_some_and(|endpoint| endpoint.is_private()) {
            all.push(("s3_allow_plain_http", "true".to_owned()));
        }
        if let Keys::File(key, path) = &self.keys {
            all.extend([("s3_access_key", key.clone()), ("s3_secret_key_file", path.display().to_string())]);
        }
        all
    }

    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// What stands before an object's name, with its `/`.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether TLS is spoken, and with whom.
    pub(super) fn authority(&self) -> Result<(bool, Authority), S3Error> {
        let url = self.bucket.base_url();
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().ok_or_else(|| S3Error::Odd("an address without a port".to_owned()))?;
        Ok((url.scheme() == "https", Authority { host: host.to_owned(), port }))
    }

    /// Reads the secret key where it is in a file. Blocks.
    pub(super) fn credentials(&self) -> Result<Credentials, S3Error> {
        match &self.keys {
            Keys::Given(credentials) => Ok(credentials.clone()),
            Keys::File(key, path) => Ok(Credentials::new(key.clone(), read_secret(path)?.as_str())),
        }
    }
}

fn read_secret(path: &Path) -> Result<Zeroizing<String>, S3Error> {
    let failed = |source| S3Error::Secret { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
        return Err(S3Error::SecretOpen(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_SECRET_BYTES).read_to_string(&mut text).map_err(failed)?;
    let secret = Zeroizing::new(text.trim().to_owned());
    if secret.is_empty() || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(S3Error::SecretBad(path.to_owned()));
    }
    Ok(secret)
}

/// A bucket's name, by S3's own rule.
pub(crate) fn bucket(text: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let whole = (3..=63).contains(&text.len()) && text.bytes().all(fits) && !text.contains("..");
    (whole && ends(text.bytes().next()) && ends(text.bytes().next_back())).then(|| text.to_owned())
}

/// A region: what signatures are made for.
pub(crate) fn region(text: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    ((1..=64).contains(&text.len()) && text.bytes().all(fits)).then(|| text.to_owned())
}

/// A prefix: names of folders, none of which leads elsewhere. With its `/` behind it where there is one.
pub(crate) fn prefix(text: &str) -> Option<String> {
    let text = text.trim_matches('/');
    if text.is_empty() {
        return Some(String::new());
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let folder = |part: &str| !part.is_empty() && part.bytes().all(fits) && !matches!(part, "." | "..");
    (text.len() < MAX_PREFIX_BYTES && text.split('/').all(folder)).then(|| format!("{text}/"))
}

/// An access key, which is a name and no secret.
pub(crate) fn access_key(text: &str) -> Option<String> {
    ((1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_owned())
}

/// How the bucket is reached.
#[derive(Debug, Clone)]
pub struct S3Way {
    /// PEM: who may certify the endpoint.
    pub authorities: PathBuf,
    /// The way out.
    pub proxy: ProxyRules,
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port_and_only_this_machine_may_be_spoken_to_in_the_open() {
        for (text, private) in [
            ("https://s3.eu-central-1.amazonaws.com", true),
            ("https://minio.acme.example:9000/", true),
            ("http://127.0.0.1:9000", true),
            ("http://localhost", true),
            ("http://[::1]:9000", true),
            ("http://10.0.0.1:9000", false),
        ] {
            assert_eq!(Endpoint::parse(text).map(|e| e.is_private()), Some(private), "{text}");
        }
        for bad in ["s3.example", "ftp://x", "https://u:p@x", "https://x/y", "https://x?y", "https://", "https://x:0"] {
            assert_eq!(Endpoint::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_held_to_rules_and_a_prefix_leads_nowhere_else() {
        assert!(bucket("suture-objects.acme").is_some());
        for bad in ["ab", "Suture", "a..b", "-abc", "abc-", "a/b", "a_b", &"a".repeat(64)] {
            assert_eq!(bucket(bad), None, "{bad}");
        }
        assert_eq!(prefix("").as_deref(), Some(""));
        assert_eq!(prefix("/hospitals/suture/").as_deref(), Some("hospitals/suture/"));
        for bad in ["a//b", "../a", "a/./b", "a b", &"a".repeat(256)] {
            assert_eq!(prefix(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_secret_key_is_its_owners_alone_and_is_shown_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s3.key");
        let endpoint = Endpoint::parse("https://s3.example").unwrap();
        let place = |keys| S3Place::new(&endpoint, ("r".into(), "abc".into()), true, String::new(), keys).unwrap();
        let place = place(Keys::File("AKIA".to_owned(), path.clone()));
        assert!(place.credentials().unwrap_err().to_string().contains("s3.key"));
        std::fs::write(&path, "hunter2\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let open = place.credentials().unwrap_err().to_string();
        assert!(open.contains("chmod 600") && !open.contains("hunter2"), "{open}");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let credentials = place.credentials().unwrap();
        assert_eq!((credentials.key(), credentials.secret()), ("AKIA", "hunter2"));
        assert!(!format!("{credentials:?} {place:?} {place}").contains("hunter2"));
        std::fs::write(&path, "two words").unwrap();
        assert!(matches!(place.credentials(), Err(S3Error::SecretBad(_))));
    }
}
