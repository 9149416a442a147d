//! Names of things, parsed once.
//!
//! Every id is also used in paths and URIs, so the alphabet is closed: lower-case letters, digits, `.`, `_` and `-`,
//! beginning with a letter or digit. That leaves no `..`, no separator, no case folding and nothing to escape.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_ID_BYTES;

/// Why a string is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is not a valid {kind}: 1 to {MAX_ID_BYTES} characters of a-z, 0-9, '.', '_', '-', the first a letter or digit"
)]
pub struct IdError {
    /// What the string was meant to name.
    pub kind: &'static str,
    /// The string, shortened to [`MAX_ID_BYTES`].
    pub value: String,
}

fn check(kind: &'static str, value: &str) -> Result<(), IdError> {
    let mut bytes = value.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
    if first && rest && value.len() <= MAX_ID_BYTES {
        Ok(())
    } else {
        Err(IdError { kind, value: value.chars().take(MAX_ID_BYTES).collect() })
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(s: &str) -> Result<Self, IdError> {
                check($kind, s)?;
                Ok(Self(s.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(s: String) -> Result<Self, IdError> {
                check($kind, &s)?;
                Ok(Self(s))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id!(
    /// A healthcare delivery organisation, unique on its manufacturer's server.
    HdoId,
    "hospital id"
);
id!(
    /// A device, unique within its hospital.
    DeviceId,
    "device id"
);
id!(
    /// A person (or their automation) who works with `suturectl`, unique within their organisation.
    OperatorName,
    "operator name"
);
id!(
    /// A device model line.
    ProductId,
    "product id"
);
id!(
    /// A hardware revision of a product.
    HardwareId,
    "hardware id"
);
id!(
    /// A place in a hospital with a calendar and a cap of its own.
    WardId,
    "ward id"
);
id!(
    /// An approval, and the rollout and the attempts that it leads to.
    ApprovalId,
    "approval id"
);
id!(
    /// A document of statements about vulnerabilities, as its manufacturer calls it.
    VexId,
    "VEX document id"
);
id!(
    /// Where a hospital wants to be told of notices, as its operators call it.
    ContactName,
    "contact's name"
);
id!(
    /// A payload's name in its bundle and in the slot: a safe single component of a path.
    PayloadName,
    "payload name"
);
id!(
    /// The host-like first part of every identity that one server's CA certifies.
    TrustDomain,
    "trust domain"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_path_or_uri_could_misread_is_an_id() {
        let long = "a".repeat(MAX_ID_BYTES + 1);
        for bad in ["", ".", "..", "../x", "a/b", "A", "-a", "_a", "a b", "ä", "a\0", "a%2f", long.as_str()] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad:?}");
        }
        for good in ["a", "0", "pump-07", "a..b", "x.y_z-1"] {
            assert_eq!(good.parse::<DeviceId>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn json_is_checked_like_text() {
        assert!(serde_json::from_str::<HdoId>("\"../etc\"").is_err());
        assert_eq!(serde_json::from_str::<HdoId>("\"riverside\"").unwrap().as_str(), "riverside");
    }
}
