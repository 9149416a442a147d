//! Where a hospital's contact may lead.
//!
//! Attack: a hospital's operator, or whoever has stolen a certificate, names an address inside the network in which the server
//! stands, and has the server call it (server-side request forgery). So a contact is `https://` or `tls://` alone, its name is
//! resolved here, what it resolves to is checked, and the connection goes to that very address: a name that is resolved again
//! may lead elsewhere. Redirects are not followed. Only what the server's configuration names is exempt (`webhook_networks`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use suture_core::limits::MAX_URL_BYTES;

use crate::export::syslog;

/// Where notices go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// They are posted.
    Webhook(Webhook),
    /// They are lines to a receiver of syslog over TLS: a name or an address, without brackets, and the port.
    Syslog(String, u16),
}

/// Where a webhook goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Webhook {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) path: String,
    /// Host, and port where one was written.
    pub(crate) authority: String,
}

impl Target {
    /// Reads `https://host[:port]/path`, or `tls://host[:port]`.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        if url.len() > MAX_URL_BYTES {
            return Err("it is too long");
        }
        if url.starts_with("tls://") {
            let (host, port) = syslog::parse(url).ok_or("it is not HOST or HOST:PORT of a syslog receiver")?;
            return Ok(Self::Syslog(host, port));
        }
        Webhook::parse(url).map(Self::Webhook)
    }
}

impl Webhook {
    fn parse(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "it is not a URL")?;
        if uri.scheme_str() != Some("https") {
            return Err("it does not begin with https:// (nor with tls://, for syslog)");
        }
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it holds a user or password; deliveries are signed instead");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if rustls_pki_types::ServerName::try_from(host.as_str()).is_err() {
            return Err("its host is no name that a certificate can hold");
        }
        let port = match authority.port() {
            None => 443,
            Some(port) if port.as_u16() > 0 => port.as_u16(),
            Some(_) => return Err("its port is none"),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { host, port, path, authority: authority.to_string() })
    }
}

/// A network that contacts may lead to though it is private: `10.1.0.0/16`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u32,
}

impl Network {
    /// Reads one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().ok()?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { first, bits })
    }

    fn contains(self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let shift = width.saturating_sub(self.bits);
            a.checked_shr(shift).unwrap_or(0) == b.checked_shr(shift).unwrap_or(0)
        };
        match (self.first, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// Whether something may be sent to an address: one that everybody may reach, or one that is exempt.
pub(crate) fn allowed(address: IpAddr, exempt: &[Network]) -> bool {
    let address = address.to_canonical();
    is_public(address) || exempt.iter().any(|network| network.contains(address))
}

/// IANA's special-purpose registries (RFC 6890), as far as they are not globally reachable.
const PRIVATE_V4: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, reserved, broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !PRIVATE_V4
            .iter()
            .any(|(first, bits)| Network { first: IpAddr::V4(*first), bits: *bits }.contains(IpAddr::V4(v4))),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// Global unicast is 2000::/3. What of it stands for an IPv4 address (6to4, NAT64 beside it) is as good as that.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let [w, x] = high.to_be_bytes();
        let [y, z] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(w, x, y, z))
    };
    match (a, b) {
        // NAT64, RFC 6052; what a network chooses for itself besides (RFC 8215) is inside.
        (0x64, 0xff9b) => [c, d, e, f] == [0; 4] && is_public(v4(g, h)),
        // 6to4.
        (0x2002, _) => is_public(v4(b, c)),
        // Teredo, benchmarking, ORCHID, documentation.
        (0x2001, 0 | 2 | 0x10..=0x2f | 0xdb8) | (0x3fff, _) => false,
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nothing_inside_is_called_in_whatever_form_it_is_written() {
        for inside in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::909:909",
            "64:ff9b:1:a00:1::909:909",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "::7f00:1",
            "fec0::1",
        ] {
            assert!(!allowed(ip(inside), &[]), "{inside}");
        }
        for outside in [
            "9.9.9.9",
            "172.32.0.1",
            "172.15.255.255",
            "100.128.0.1",
            "2606:4700::1111",
            "2002:909:909::1",
            "64:ff9b::909:909",
        ] {
            assert!(allowed(ip(outside), &[]), "{outside}");
        }
    }

    #[test]
    fn what_the_configuration_names_is_exempt_and_no_more() {
        let exempt = ["10.1.0.0/16", "fd00:1::/32", "127.0.0.1"].map(|t| Network::parse(t).unwrap());
        for (address, good) in [
            ("10.1.255.1", true),
            ("10.2.0.1", false),
            ("::ffff:10.1.0.1", true),
            ("fd00:1::5", true),
            ("fd00:2::5", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
        ] {
            assert_eq!(allowed(ip(address), &exempt), good, "{address}");
        }
        assert!(allowed(ip("::1"), &[Network::parse("::/0").unwrap()]));
        for bad in ["10.0.0.0/33", "10.0.0/8", "", "x/8", "::/129", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_contact_is_https_or_syslog_over_tls_and_no_more_than_that() {
        let target = Webhook::parse("https://siem.example:8443/hook?ward=icu").unwrap();
        let wanted = ("siem.example".to_owned(), 8_443, "/hook?ward=icu".to_owned());
        assert_eq!((target.host, target.port, target.path), wanted);
        let short = Webhook::parse("https://[2606:4700::1111]").unwrap();
        assert_eq!((short.host.as_str(), short.port, short.path.as_str()), ("2606:4700::1111", 443, "/"));
        assert_eq!(Target::parse("tls://siem.example"), Ok(Target::Syslog("siem.example".to_owned(), 6514)));
        let long = format!("https://a.example/{}", "x".repeat(MAX_URL_BYTES));
        for bad in [
            "http://a.example",
            "https://u:p@a.example",
            "https://",
            "a.example",
            "ftp://a.example",
            "https://a b/",
            "https://a.example:0/",
            "https://-/",
            "tls://siem.example/path",
            "tls://siem.example:0",
            "syslog://siem.example",
            &long,
        ] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
