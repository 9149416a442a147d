//! What an S3 service says when it does not do what it was asked, as an operator can use it.
//!
//! Attack: an answer that is shown to people and was written by somebody else, or that repeats what was sent to it. What is shown
//! of it is short, on one line, and without the request's signature.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use suture_core::legible;
use suture_proto::connect::ConnectError;

use crate::tls::TlsError;

/// What of a store's own words is shown.
const MAX_SHOWN_CHARS: usize = 200;

/// Why a call of the object store failed. Nothing of it holds a key or a signature.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The secret key's file cannot be read.
    #[error("cannot read the secret key in {path} (s3_secret_key_file)")]
    Secret {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("others may read the secret key in {0}: chmod 600 {0}")]
    SecretOpen(PathBuf),
    /// It holds something else.
    #[error("{0} holds no secret key: one line of printable characters without spaces is one (s3_secret_key_file)")]
    SecretBad(PathBuf),
    /// The authorities' file cannot be read.
    #[error("cannot read the authorities' certificates in {path} (s3_authorities)")]
    Authorities {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// TLS refused a setting.
    #[error("TLS cannot be spoken (s3_authorities)")]
    Tls(#[source] TlsError),
    /// The proxy is named wrongly, or lets nothing through.
    #[error("the proxy lets nothing through (s3_proxy)")]
    Proxy(#[source] Box<ConnectError>),
    /// Nobody answers there.
    #[error("no connection to {0}")]
    Connect(String, #[source] std::io::Error),
    /// Whoever answers is somebody else, or speaks another TLS.
    #[error("{0} does not prove by TLS 1.3 who it is; s3_authorities names who may certify it")]
    Stranger(String, #[source] std::io::Error),
    /// The connection broke off.
    #[error("the connection broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing moved.
    #[error("nothing moved for {} s", .0.as_secs())]
    Silent(Duration),
    /// It moved too slowly to come to an end.
    #[error("not done within {} s", .0.as_secs())]
    Slow(Duration),
    /// The store refused it.
    #[error("it answered {status}{said}{}", advice(.status, .code))]
    Refused {
        /// HTTP's status.
        status: StatusCode,
        /// S3's own code, where it sent one.
        code: String,
        /// Code and message as they are shown.
        said: String,
    },
    /// The answer is none of S3's.
    #[error("its answer is not S3's: {0}")]
    Odd(String),
    /// What was stored is not what was sent.
    #[error("it stored other bytes than were sent")]
    Altered,
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
}

impl S3Error {
    /// What a store said, in the first bytes of its body. `secret` is not shown.
    pub(super) fn refused(status: StatusCode, body: &[u8], secret: &str) -> Self {
        let text = String::from_utf8_lossy(body);
        let shown = |tag| {
            let plain = within(&text, tag).unwrap_or_default();
            let plain = if secret.is_empty() { plain } else { plain.replace(secret, "(not shown)") };
            legible::line(plain.trim()).chars().take(MAX_SHOWN_CHARS).collect::<String>()
        };
        let (code, message) = (shown("Code"), shown("Message"));
        let said = match (code.as_str(), message.as_str()) {
            ("", "") => String::new(),
            ("", message) => format!(": {message}"),
            (code, "") => format!(" {code}"),
            (code, message) => format!(" {code}: {message}"),
        };
        Self::Refused { status, code, said }
    }

    /// Whether the same call may succeed in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Refused { status, code, .. } => {
                matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
                    || matches!(code.as_str(), "RequestTimeout" | "SlowDown" | "OperationAborted")
            }
            Self::Connect(..) | Self::Proxy(_) | Self::Broken(_) | Self::Silent(_) | Self::Slow(_) => true,
            _ => false,
        }
    }

    /// Whether space must be made first. 507 is HTTP's, the others are MinIO's, Ceph's and Garage's.
    pub(super) fn is_full(&self) -> bool {
        let Self::Refused { status, code, .. } = self else { return false };
        *status == StatusCode::INSUFFICIENT_STORAGE || code.contains("StorageFull") || code.contains("QuotaExceeded")
    }

    /// Whether there is no such object, and not no such bucket.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, code, .. } if code.is_empty() || code == "NoSuchKey")
    }
}

/// What to do next, as far as the answer tells.
fn advice(status: &StatusCode, code: &str) -> &'static str {
    match code {
        "NoSuchBucket" => "; make the bucket, or name another (s3_bucket)",
        "InvalidAccessKeyId" => "; the store does not know this access key (s3_access_key, or AWS_ACCESS_KEY_ID)",
        "SignatureDoesNotMatch" => "; the secret key or s3_region is wrong",
        "RequestTimeTooSkewed" | "RequestExpired" => "; set this machine's clock, or the store's",
        "AuthorizationHeaderMalformed"
        | "AuthorizationQueryParametersError"
        | "PermanentRedirect"
        | "IllegalLocationConstraintException" => {
            "; the bucket is in another region or at another endpoint (s3_region, s3_endpoint)"
        }
        "ExpiredToken" | "InvalidToken" => "; give new keys and start the server again",
        _ if *status == StatusCode::FORBIDDEN => {
            "; let the key put, get, delete and list objects there, and see that the clock is right"
        }
        _ if status.is_redirection() => "; redirects are not followed: name the bucket's own endpoint (s3_endpoint)",
        _ => "",
    }
}

/// The text of the first element of that name. No more of XML is needed to show it, and a body may end in its middle.
fn within(xml: &str, tag: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{tag}>"))?;
    let text = rest.split('<').next()?;
    let plain = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    Some(plain.into_iter().fold(text.to_owned(), |text, (written, meant)| text.replace(written, meant)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> S3Error {
        S3Error::refused(StatusCode::from_u16(status).unwrap(), body.as_bytes(), "f00d")
    }

    fn xml(code: &str) -> String {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No &lt;such&gt; thing</Message></Error>")
    }

    #[test]
    fn what_the_store_said_is_shown_with_what_to_do_next() {
        for (status, code, parts) in [
            (404, "NoSuchBucket", ["404", "NoSuchBucket: No <such> thing", "make the bucket"]),
            (403, "SignatureDoesNotMatch", ["403", "SignatureDoesNotMatch", "secret key"]),
            (403, "RequestTimeTooSkewed", ["403", "RequestTimeTooSkewed", "clock"]),
            (403, "AccessDenied", ["403", "AccessDenied", "put, get, delete and list"]),
            (301, "PermanentRedirect", ["301", "PermanentRedirect", "s3_region"]),
        ] {
            let text = refused(status, &xml(code)).to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
        assert_eq!(refused(502, "<html>").to_string(), "it answered 502 Bad Gateway");
    }

    #[test]
    fn what_it_said_is_short_on_one_line_and_holds_no_signature() {
        let body = format!("<Code>X\u{1b}[2J</Code><Message>a\nX-Amz-Signature=f00d {}", "b".repeat(10_000));
        let text = refused(400, &body).to_string();
        assert!(text.chars().count() < 2 * MAX_SHOWN_CHARS && !text.contains("f00d"), "{text}");
        assert!(!text.contains(['\n', '\u{1b}']) && text.contains("(not shown)"), "{text}");
    }

    #[test]
    fn what_passes_is_told_from_what_stays_and_from_a_full_store() {
        assert!([429, 500, 502, 503, 504].iter().all(|status| refused(*status, "").is_passing()));
        assert!(refused(400, &xml("RequestTimeout")).is_passing());
        assert!([400, 403, 404, 409, 411, 501].iter().all(|status| !refused(*status, "").is_passing()));
        for (status, code) in [(507, ""), (507, "XMinioStorageFull"), (403, "QuotaExceeded")] {
            assert!(refused(status, &xml(code)).is_full(), "{code}");
        }
        assert!(refused(404, "").is_not_found() && refused(404, &xml("NoSuchKey")).is_not_found());
        assert!(!refused(404, &xml("NoSuchBucket")).is_not_found() && !refused(403, "").is_full());
    }
}
