//! Who is calling: SPIFFE-style identities, as they stand in a certificate's URI SAN.
//!
//! `spiffe://<trust-domain>/mdm/<operator>`, `spiffe://<trust-domain>/hdo/<hdo>/operator/<name>`,
//! `spiffe://<trust-domain>/hdo/<hdo>/device/<id>`, and `spiffe://<trust-domain>/server` for the server itself.

use std::fmt;

use crate::id::{DeviceId, HdoId, IdError, OperatorName, TrustDomain};

/// Somebody whom the server's CA has certified.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// The server.
    Server,
    /// A manufacturer's operator.
    Mdm(OperatorName),
    /// A hospital's operator.
    Operator(HdoId, OperatorName),
    /// A hospital's device.
    Device(HdoId, DeviceId),
}

/// Why a URI is not an identity of this trust domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalError {
    /// It does not begin with `spiffe://<trust-domain>/`.
    #[error("{0:?} is not an identity of this server's trust domain")]
    Foreign(String),
    /// Its path has none of the four shapes.
    #[error("{0:?} names no server, manufacturer's operator, hospital's operator or device")]
    Shape(String),
    /// A part of it is not an id.
    #[error(transparent)]
    Id(#[from] IdError),
}

impl Principal {
    /// The identity as a URI.
    pub fn uri(&self, domain: &TrustDomain) -> String {
        format!("spiffe://{domain}/{self}")
    }

    /// Reads a URI that [`Principal::uri`] wrote.
    pub fn parse(uri: &str, domain: &TrustDomain) -> Result<Self, PrincipalError> {
        let short = || uri.chars().take(200).collect::<String>();
        let path = uri
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.strip_prefix(domain.as_str()))
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(|| PrincipalError::Foreign(short()))?;
        match *path.split('/').collect::<Vec<_>>() {
            ["server"] => Ok(Self::Server),
            ["mdm", name] => Ok(Self::Mdm(name.parse()?)),
            ["hdo", hdo, "operator", name] => Ok(Self::Operator(hdo.parse()?, name.parse()?)),
            ["hdo", hdo, "device", id] => Ok(Self::Device(hdo.parse()?, id.parse()?)),
            _ => Err(PrincipalError::Shape(short())),
        }
    }

    /// The hospital that the principal belongs to, if it belongs to one.
    pub fn hdo(&self) -> Option<&HdoId> {
        match self {
            Self::Operator(hdo, _) | Self::Device(hdo, _) => Some(hdo),
            Self::Server | Self::Mdm(_) => None,
        }
    }
}

/// The path of the URI, which is how the audit trail names people.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Mdm(name) => write!(f, "mdm/{name}"),
            Self::Operator(hdo, name) => write!(f, "hdo/{hdo}/operator/{name}"),
            Self::Device(hdo, id) => write!(f, "hdo/{hdo}/device/{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_survive_the_round_trip_and_nothing_else_parses() {
        let domain: TrustDomain = "acme.example".parse().unwrap();
        for p in [
            Principal::Server,
            Principal::Mdm("ada".parse().unwrap()),
            Principal::Operator("riverside".parse().unwrap(), "kim".parse().unwrap()),
            Principal::Device("riverside".parse().unwrap(), "pump-1".parse().unwrap()),
        ] {
            assert_eq!(Principal::parse(&p.uri(&domain), &domain).unwrap(), p);
        }
        for bad in [
            "spiffe://acme.example.evil/mdm/ada",
            "spiffe://acme.example/mdm/ada/",
            "spiffe://acme.example/mdm/",
            "spiffe://acme.example//mdm/ada",
            "spiffe://acme.example/hdo/a/device/../x",
            "https://acme.example/mdm/ada",
            "spiffe://acme.exampl/mdm/ada",
            "",
        ] {
            assert!(Principal::parse(bad, &domain).is_err(), "{bad}");
        }
    }
}
