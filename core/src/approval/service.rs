//! Where a hospital's devices find the server, and by which authorities they know it.
//!
//! The hospital signs it, so that an address or a certificate authority can be replaced without a walk to every device,
//! and so that a server can never talk a device into following another one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::document::{SignedDocument, first_broken};
use crate::id::HdoId;
use crate::limits::{
    MAX_ADDRESS_BYTES, MAX_CERTIFICATE_BYTES, MAX_SERVICE_ADDRESSES, MAX_SERVICE_AUTHORITIES, MAX_SERVICE_BYTES,
};

/// How the server is reached. It takes the place of what enrolment said; later versions take its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Always `suture-service`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The hospital.
    pub hdo: HdoId,
    /// The version of the targets metadata that listed it first: a device that has proven to have seen that version, or a
    /// later one, has it.
    pub since: u64,
    /// `https://host` or `https://host:port`, tried in this order.
    pub addresses: Vec<String>,
    /// Certificates of the authorities that may certify the server: DER in base64. The first is the one that new tokens
    /// name.
    pub authorities: Vec<String>,
}

impl SignedDocument for Service {
    const TYPE: &'static str = "suture-service";
    const MAX_BYTES: u64 = MAX_SERVICE_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let plain = |a: &String| {
            let host = a.strip_prefix("https://").unwrap_or_default();
            let visible = host.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@\\".contains(&b));
            a.len() <= MAX_ADDRESS_BYTES && !host.is_empty() && !host.starts_with(':') && visible
        };
        first_broken(&[
            ((1..=MAX_SERVICE_ADDRESSES).contains(&self.addresses.len()), "addresses lists none, or more than 4"),
            (self.addresses.iter().all(plain), "an address is not https:// with a host and perhaps a port"),
            ((1..=MAX_SERVICE_AUTHORITIES).contains(&self.authorities.len()), "authorities lists none, or more than 4"),
            (self.certificates().is_some(), "an authority is not a certificate in base64 of at most 4096 bytes"),
        ])
    }
}

impl Service {
    /// The authorities' certificates, DER; `None` where one is not base64, is empty or is too long.
    pub fn certificates(&self) -> Option<Vec<Vec<u8>>> {
        let decode = |text: &String| BASE64.decode(text).ok();
        let fits = |der: &Vec<u8>| !der.is_empty() && der.len() <= MAX_CERTIFICATE_BYTES;
        self.authorities.iter().map(|text| decode(text).filter(fits)).collect()
    }

    /// A certificate as `authorities` holds it.
    pub fn authority(der: &[u8]) -> String {
        BASE64.encode(der)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service {
            kind: Service::TYPE.to_owned(),
            format: 1,
            hdo: "riverside".parse().unwrap(),
            since: 3,
            addresses: vec!["https://updates.acme.example".to_owned(), "https://[2001:db8::1]:7443".to_owned()],
            authorities: vec![Service::authority(b"a"), Service::authority(b"b")],
        }
    }

    #[test]
    fn it_survives_its_bytes() {
        let bytes = service().to_bytes().unwrap();
        let read = Service::parse(&bytes).unwrap();
        assert_eq!(read, service());
        assert_eq!(read.certificates().unwrap(), [b"a".to_vec(), b"b".to_vec()]);
    }

    #[test]
    fn what_no_device_could_use_is_refused() {
        type Bend = fn(&mut Service);
        let rows: &[Bend] = &[
            |s| s.addresses.clear(),
            |s| s.addresses = vec!["https://a".to_owned(); MAX_SERVICE_ADDRESSES + 1],
            |s| s.addresses[0] = "http://a".to_owned(),
            |s| s.addresses[0] = "https://".to_owned(),
            |s| s.addresses[0] = "https://:443".to_owned(),
            |s| s.addresses[0] = "https://a/path".to_owned(),
            |s| s.addresses[0] = "https://user@a".to_owned(),
            |s| s.addresses[0] = "https://a b".to_owned(),
            |s| s.addresses[0] = format!("https://{}", "a".repeat(MAX_ADDRESS_BYTES)),
            |s| s.authorities.clear(),
            |s| s.authorities = vec![Service::authority(b"a"); MAX_SERVICE_AUTHORITIES + 1],
            |s| s.authorities[0] = "not base64".to_owned(),
            |s| s.authorities[0] = String::new(),
            |s| s.authorities[0] = Service::authority(&[0; MAX_CERTIFICATE_BYTES + 1]),
        ];
        for (i, bend) in rows.iter().enumerate() {
            let mut bent = service();
            bend(&mut bent);
            assert!(bent.to_bytes().is_err(), "row {i}");
        }
    }
}
