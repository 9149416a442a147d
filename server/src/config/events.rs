//! Where security events go.

use std::path::PathBuf;

use super::{Written, directory, number};
use crate::export::syslog;

/// Whose events leave the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventScope {
    /// The server's own and the manufacturer's: hospitals export theirs themselves.
    Own,
    /// Every hospital's too, where a hospital runs the server for itself.
    All,
}

/// Where security events go, besides the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsOut {
    /// A receiver's host and port, and the file with its authorities' certificates.
    pub syslog: Option<(String, u16, PathBuf)>,
    /// A file.
    pub file: Option<PathBuf>,
    /// When that is turned over, in bytes.
    pub file_bytes: u64,
    /// Whose.
    pub scope: EventScope,
}

impl EventsOut {
    pub(super) fn of(w: &mut Written) -> Option<Self> {
        let syslog = w.or("events_syslog", "", |text| optional(text, syslog::parse));
        let authorities = w.or("events_syslog_ca", "", |text| optional(text, directory));
        let file = w.or("events_file", "", |text| optional(text, directory));
        let file_mib = w.or("events_file_mib", "16", |text| number(text, 1, 65_536));
        let scope = w.or("events_scope", "own", |text| match text {
            "own" => Some(EventScope::Own),
            "all" => Some(EventScope::All),
            _ => None,
        });
        let syslog = match (syslog?, authorities?) {
            (Some((host, port)), Some(authorities)) => Some((host, port, authorities)),
            (Some(_), None) => {
                // Missing beside the receiver, it is a fault of its own.
                let _: Option<PathBuf> = w.need("events_syslog_ca", |text| optional(text, directory)?);
                return None;
            }
            (None, _) => None,
        };
        Some(Self { syslog, file: file?, file_bytes: file_mib? << 20, scope: scope? })
    }
}

/// Nothing, where nothing is written.
fn optional<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { read(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_needs_its_authorities() {
        let of = |pairs: &[(&'static str, &str)]| {
            let mut written = Written::default();
            for (key, value) in pairs {
                written.flag(key, value);
            }
            let out = EventsOut::of(&mut written);
            (out, written.faults.len())
        };
        let (none, faults) = of(&[]);
        assert_eq!(
            (none.map(|out| (out.syslog, out.file, out.scope)), faults),
            (Some((None, None, EventScope::Own)), 0)
        );
        let (alone, faults) = of(&[("events_syslog", "tls://siem.example")]);
        assert_eq!((alone, faults), (None, 1));
        let (both, faults) = of(&[("events_syslog", "tls://siem.example"), ("events_syslog_ca", "/etc/siem.pem")]);
        let syslog = both.and_then(|out| out.syslog);
        assert_eq!((syslog, faults), (Some(("siem.example".to_owned(), 6514, "/etc/siem.pem".into())), 0));
    }
}
