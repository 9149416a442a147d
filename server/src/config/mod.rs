//! Settings: what was written, and what it means.
//!
//! [`Written`] gathers text from the configuration file, the environment and the command line, each over the one before.
//! [`Settings`] is what is left once every value has been understood. All faults are found at once, before a port is
//! bound or a file touched.

mod events;
mod s3;
mod written;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use suture_core::id::TrustDomain;
use suture_proto::connect::{Authority, ProxyRules};
use tracing_subscriber::EnvFilter;

use crate::blobs::{S3Place, S3Way};

pub use crate::audit::retention::Kept;
pub use crate::notice::address::Network;
pub use events::{EventScope, EventsOut};
pub use written::{Source, Written};

/// What an environment variable of ours begins with; the rest is the setting's name in upper case.
pub const ENV_PREFIX: &str = "SUTURE_SERVER_";

/// Everything that can be set, with what is allowed.
pub const KEYS: &[(&str, &str)] = &[
    ("data_dir", "a directory, as in /var/lib/suture-server"),
    ("listen", "an IP address and port, as in 0.0.0.0:7443; 127.0.0.1 and the address's port where it is not set"),
    ("address", "the address that devices and operators use, as in https://suture.acme.example:7443"),
    ("host_names", "further host names or IP addresses for the server's certificate"),
    ("trust_domain", "1 to 64 characters of a-z, 0-9, '.', '_', '-', as in acme.example"),
    ("database", "sqlite:<path> or postgres://user@host/name"),
    ("check_in_secs", "a number of seconds from 1 to 86400"),
    ("max_connections", "a number from 1 to 1000000"),
    (
        "delta_sources",
        "a number from 0 to 16: from how many earlier releases deltas are prepared at a publication; 0: no deltas",
    ),
    (
        "delta_store_gib",
        "a number from 1 to 65536: what deltas may take of the object store, in GiB; beyond it the oldest go",
    ),
    (
        "s3_endpoint",
        "where the objects' S3 service is, as in https://s3.acme.example:9000; http:// for this machine alone, or with s3_allow_plain_http = true",
    ),
    ("s3_region", "its region, which signatures are made for, as in eu-central-1; us-east-1 where it is not set"),
    ("s3_bucket", "the bucket for the objects: 3 to 63 characters of a-z, 0-9, '-', '.'; with s3_endpoint"),
    ("s3_prefix", "what the objects' names begin with in the bucket, as in hospitals/suture"),
    (
        "s3_path_style",
        "true: the bucket is named in the path; false: in front of the endpoint's host, which must be a name",
    ),
    (
        "s3_access_key",
        "the access key, with s3_secret_key_file; or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
    ),
    ("s3_secret_key_file", "a file of the server's own (0600) with the secret key"),
    ("s3_authorities", "a PEM file: who may certify the endpoint; Debian's own where it is not set"),
    ("s3_proxy", "http://[user:password@]host[:port], through which the endpoint is reached"),
    ("s3_allow_plain_http", "true or false: whether whoever is between may read along"),
    ("events_syslog", "a syslog receiver over TLS, as in tls://siem.acme.example:6514, with events_syslog_ca"),
    ("events_syslog_ca", "a PEM file with the certificates of the receiver's authorities"),
    ("events_file", "a file that security events are appended to, one JSON object a line"),
    ("events_file_mib", "a number from 1 to 65536: when that file is turned over; 8 full ones are kept"),
    ("events_scope", "own: the server's and the manufacturer's, or all: every hospital's too"),
    (
        "audit_retention",
        "forever, or for how long the audit record's texts are kept at least, as in 3y or 800d; two years are the least",
    ),
    ("drain_secs", "a number of seconds from 0 to 3600"),
    (
        "webhook_authorities",
        "a PEM file: who may certify the receivers of webhooks and of notices by syslog; Debian's own where it is not set",
    ),
    ("webhook_networks", "private networks that webhooks and syslog contacts may lead to, as in 10.1.0.0/16,10.2.0.5"),
    ("webhook_proxy", "http://[user:password@]host[:port], through which webhooks and lines to syslog contacts go"),
    ("log", "a level (error, warn, info, debug, trace) or a list of target=level"),
    ("log_format", "text or json"),
];

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// What the server runs by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where its keys and objects are.
    pub data_dir: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// How others reach it.
    pub address: Address,
    /// Further names that its certificate holds.
    pub host_names: Vec<String>,
    /// The domain of all identities.
    pub trust_domain: TrustDomain,
    /// The database's URL.
    pub database: Database,
    /// When a device is asked to check in again.
    pub check_in: Duration,
    /// Connections at a time; more wait in the system's queue.
    pub max_connections: usize,
    /// From how many earlier releases deltas are prepared; with 0 none are made or served.
    pub delta_sources: usize,
    /// What deltas may take of the object store, in bytes.
    pub delta_store_bytes: u64,
    /// The bucket that the objects are in; none: they are in the data directory.
    pub s3: Option<(S3Place, S3Way)>,
    /// Where security events go.
    pub events: EventsOut,
    /// How long the audit record's texts are kept.
    pub audit_retention: Kept,
    /// How long calls that are under way may go on after a signal to stop.
    pub drain: Duration,
    /// PEM: who may certify the receivers of webhooks.
    pub webhook_authorities: PathBuf,
    /// Private networks that webhooks may lead to.
    pub webhook_networks: Vec<Network>,
    /// The way out for webhooks.
    pub webhook_proxy: ProxyRules,
    /// What is logged.
    pub log: String,
    /// How.
    pub log_format: LogFormat,
}

/// `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// As it was written.
    pub url: String,
    /// Its host: a name or an IP address, without brackets.
    pub host: String,
    /// Its port; the server listens on the same, at this machine alone, where nothing else is said.
    pub port: u16,
}

/// A database's URL. It may hold a password, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Database(String);

impl Database {
    /// For opening it.
    pub fn url(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({}:..)", self.0.split(':').next().unwrap_or_default())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which setting.
    pub key: String,
    /// What was found, and where; none where it is missing.
    pub found: Option<(String, Source)>,
    /// What is allowed.
    pub allowed: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Some((value, source)) => write!(f, "{} = {value:?} ({source}): must be {}", self.key, self.allowed),
            None => write!(f, "{} is missing: must be {}", self.key, self.allowed),
        }
    }
}

/// Everything that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} fault(s):", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl Settings {
    /// Understands every value, or says of each why not.
    pub fn of(mut written: Written) -> Result<Self, Faults> {
        let w = &mut written;
        let data_dir = w.need("data_dir", directory);
        let address = w.need("address", Address::parse);
        let port = address.as_ref().map_or(7443, |address| address.port);
        let listen = w.or("listen", &format!("127.0.0.1:{port}"), |text| text.parse().ok());
        let host_names = w.or("host_names", "", hosts);
        let trust_domain = w.need("trust_domain", |text| text.parse().ok());
        let database = w.or("database", "sqlite:suture.db", database);
        let check_in = w.or("check_in_secs", "300", |text| secs(text, 1, 86_400));
        let max_connections = w.or("max_connections", "10000", |text| number(text, 1, 1_000_000));
        let delta_sources = w.or("delta_sources", "3", |text| number(text, 0, 16));
        let delta_store = w.or("delta_store_gib", "64", |text| number(text, 1, 65_536));
        let s3 = s3::of(w);
        let events = EventsOut::of(w);
        let audit_retention = w.or("audit_retention", "forever", Kept::parse);
        let drain = w.or("drain_secs", "20", |text| secs(text, 0, 3_600));
        let webhook_authorities = w.or("webhook_authorities", AUTHORITIES, directory);
        let webhook_networks = w.or("webhook_networks", "", networks);
        let webhook_proxy = w.or("webhook_proxy", "", proxy);
        let log = w.or("log", "info", |text| EnvFilter::try_new(text).ok().map(|_| text.to_owned()));
        let log_format = w.or("log_format", "text", |text| match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        });
        let all = (|| {
            let data_dir = data_dir?;
            Some(Self {
                listen: listen?,
                address: address?,
                host_names: host_names?,
                trust_domain: trust_domain?,
                database: database?.inside(&data_dir),
                check_in: check_in?,
                max_connections: usize::try_from(max_connections?).ok()?,
                delta_sources: usize::try_from(delta_sources?).ok()?,
                delta_store_bytes: delta_store? << 30,
                s3: s3?,
                events: events?,
                audit_retention: audit_retention?,
                drain: drain?,
                webhook_authorities: webhook_authorities?,
                webhook_networks: webhook_networks?,
                webhook_proxy: webhook_proxy?,
                log: log?,
                log_format: log_format?,
                data_dir,
            })
        })();
        match all {
            Some(settings) if written.faults.is_empty() => Ok(settings),
            _ => Err(Faults(written.faults)),
        }
    }

    /// When a device is asked to check in again, in milliseconds.
    pub fn check_in_ms(&self) -> u32 {
        u32::try_from(self.check_in.as_millis()).unwrap_or(u32::MAX)
    }
}

impl Address {
    /// Reads `https://host:port`, with nothing behind it.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let whole = text == format!("https://{authority}") && !authority.as_str().contains('@');
        let port = authority.port_u16().filter(|port| *port != 0)?;
        (whole && is_host(&host)).then(|| Self { url: text.to_owned(), host, port })
    }
}

impl Database {
    /// A relative SQLite path is meant from the data directory.
    fn inside(self, data_dir: &std::path::Path) -> Self {
        match self.0.strip_prefix("sqlite:") {
            Some(path) => Self(format!("sqlite:{}", data_dir.join(path).display())),
            None => self,
        }
    }
}

fn directory(text: &str) -> Option<PathBuf> {
    std::path::absolute(text).ok()
}

fn database(text: &str) -> Option<Database> {
    let sqlite = text.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty() && !path.starts_with("//"));
    let postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
    (sqlite || (postgres && text.parse::<http::Uri>().is_ok())).then(|| Database(text.to_owned()))
}

fn is_host(text: &str) -> bool {
    rustls_pki_types::ServerName::try_from(text).is_ok()
}

fn hosts(text: &str) -> Option<Vec<String>> {
    let hosts: Vec<String> = text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
    hosts.iter().all(|host| is_host(host)).then_some(hosts)
}

/// Where Debian keeps the authorities that the machine trusts.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

fn networks(text: &str) -> Option<Vec<Network>> {
    text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(Network::parse).collect()
}

/// The one rule: everything through that proxy. An empty text: nothing.
fn proxy(text: &str) -> Option<ProxyRules> {
    let rules = ProxyRules::from_env(|name| (name == "HTTPS_PROXY").then(|| text.to_owned()));
    let anybody = Authority { host: "receiver.example".to_owned(), port: 443 };
    rules.for_server(&anybody).is_ok().then_some(rules)
}

fn number(text: &str, least: u64, most: u64) -> Option<u64> {
    text.parse().ok().filter(|n| (least..=most).contains(n))
}

fn secs(text: &str, least: u64, most: u64) -> Option<Duration> {
    number(text, least, most).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "data_dir = \"/srv/suture\"\naddress = \"https://suture.acme.example:7443\"\n\
        trust_domain = \"acme.example\"\n";

    fn settings(file: &str, env: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Settings, Faults> {
        let mut written = Written::default();
        written.file(std::path::Path::new("server.toml"), file);
        written.environment(env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        for (key, value) in flags {
            written.flag(key, value);
        }
        Settings::of(written)
    }

    #[test]
    fn three_lines_are_enough_and_the_rest_has_defaults() {
        let s = settings(GOOD, &[], &[]).unwrap();
        assert_eq!(s.database.url(), "sqlite:/srv/suture/suture.db");
        assert_eq!(s.listen.to_string(), "127.0.0.1:7443");
        assert_eq!(s.address.host, "suture.acme.example");
        assert_eq!((s.check_in.as_secs(), s.max_connections, s.delta_sources), (300, 10_000, 3));
    }

    #[test]
    fn it_listens_on_the_port_of_its_address_unless_told_otherwise() {
        let file = GOOD.replace(":7443", ":9000");
        assert_eq!(settings(&file, &[], &[]).unwrap().listen.to_string(), "127.0.0.1:9000");
        let listen = |text| settings(&file, &[], &[("listen", text)]).unwrap().listen.to_string();
        assert_eq!(listen("0.0.0.0:7443"), "0.0.0.0:7443");
    }

    #[test]
    fn flags_come_over_the_environment_and_the_environment_over_the_file() {
        let file = format!("{GOOD}check_in_secs = 10\nmax_connections = 10\nlog = \"warn\"\n");
        let env = [("SUTURE_SERVER_CHECK_IN_SECS", "20"), ("SUTURE_SERVER_LOG", "debug"), ("PATH", "/bin")];
        let s = settings(&file, &env, &[("log", "trace")]).unwrap();
        assert_eq!((s.max_connections, s.check_in.as_secs(), s.log.as_str()), (10, 20, "trace"));
    }

    #[test]
    fn every_fault_is_named_at_once_with_what_is_allowed() {
        let file = "listen = \"everywhere\"\naddress = \"http://x\"\ncheck_in_secs = 0\nmax_conections = 5\nlog = \"suture=loud\"\n";
        let faults = settings(file, &[("SUTURE_SERVER_DRIAN_SECS", "5")], &[("log_format", "xml")]).unwrap_err();
        let text = faults.to_string();
        for part in [
            "listen = \"everywhere\" (server.toml)",
            "address = \"http://x\"",
            "check_in_secs = \"0\"",
            "max_conections",
            "log = \"suture=loud\"",
            "drian_secs",
            "log_format = \"xml\" (command line)",
            "data_dir is missing",
            "trust_domain is missing",
            "from 1 to 86400",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(faults.0.len(), 9, "{text}");
    }

    #[test]
    fn a_file_that_is_no_toml_is_one_fault_with_its_place() {
        let faults = settings("data_dir = \"/x\"\nlisten = [\n", &[], &[]).unwrap_err();
        let text = faults.to_string();
        assert!(text.contains("server.toml") && text.contains("line 2"), "{text}");
        assert_eq!(faults.0.len(), 1, "{text}");
    }

    #[test]
    fn the_record_is_kept_for_ever_or_for_two_years_at_least() {
        let kept = |text: &str| settings(GOOD, &[], &[("audit_retention", text)]).map(|s| s.audit_retention);
        assert_eq!(settings(GOOD, &[], &[]).unwrap().audit_retention, Kept::Forever);
        for (text, want) in
            [("forever", Kept::Forever), ("2y", Kept::Years(2)), ("730d", Kept::Days(730)), ("15y", Kept::Years(15))]
        {
            assert_eq!(kept(text), Ok(want), "{text}");
        }
        for bad in ["1y", "729d", "0d", "", "y", "2", "-2y", "2.5y", "24m", "201y", "99999999999d"] {
            let text = kept(bad).unwrap_err().to_string();
            assert!(text.contains("audit_retention") && text.contains("two years are the least"), "{bad}: {text}");
        }
    }

    #[test]
    fn webhooks_lead_out_alone_unless_the_file_says_more() {
        let s = settings(GOOD, &[], &[]).unwrap();
        assert_eq!((s.webhook_networks.len(), s.webhook_authorities.to_str()), (0, Some(AUTHORITIES)));
        let file = format!(
            "{GOOD}webhook_networks = [\"10.1.0.0/16\", \"fd00::/8\"]\nwebhook_proxy = \"http://u:hunter2@p:3128\"\n"
        );
        let s = settings(&file, &[], &[]).unwrap();
        let networks: Vec<String> = s.webhook_networks.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.1.0.0/16", "fd00::/8"]);
        assert!(!format!("{s:?}").contains("hunter2"));
        for bad in ["webhook_networks = \"10.0.0.0/40\"", "webhook_proxy = \"https://u:hunter2@p\""] {
            let text = settings(&format!("{GOOD}{bad}\n"), &[], &[]).unwrap_err().to_string();
            assert!(text.contains("webhook_") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_database_password_is_never_shown() {
        let file = format!("{GOOD}database = \"mysql://suture:hunter2@db/suture\"\n");
        let faults = settings(&file, &[], &[]).unwrap_err();
        assert!(!format!("{faults} {faults:?}").contains("hunter2"));
        let file = format!("{GOOD}database = \"postgres://suture:hunter2@db/suture\"\n");
        assert!(!format!("{:?}", settings(&file, &[], &[]).unwrap()).contains("hunter2"));
    }

    #[test]
    fn an_address_is_https_with_a_port_and_nothing_else() {
        for good in ["https://localhost:7443", "https://10.0.0.1:1", "https://[::1]:7443"] {
            assert!(Address::parse(good).is_some(), "{good}");
        }
        assert_eq!(Address::parse("https://[::1]:7443").unwrap().host, "::1");
        for bad in ["https://x", "https://x:0", "http://x:1", "https://x:1/", "https://u@x:1", "https://x:99999", "x:1"]
        {
            assert!(Address::parse(bad).is_none(), "{bad}");
        }
    }
}
