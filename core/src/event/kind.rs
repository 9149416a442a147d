//! The one list of what counts as a security event, and how grave each is.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// How grave an event is. The numbers are OCSF's `severity_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is asked of anybody.
    Informational = 1,
    /// Look at it with the others.
    Low = 2,
    /// Look at it this week: a fault, or the beginning of something.
    Medium = 3,
    /// Look at it today: somebody tried what only an attacker, or a grave fault, tries.
    High = 4,
    /// Look at it now: something that was trusted is not as it was signed.
    Critical = 5,
}

impl Severity {
    /// All, the least first.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// OCSF's number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name in JSON and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The severity of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }

    /// The severity of syslog (RFC 5424, 6.2.1): from 6, informational, to 2, critical.
    pub const fn syslog(self) -> u8 {
        match self {
            Self::Informational => 6,
            Self::Low => 5,
            Self::Medium => 4,
            Self::High => 3,
            Self::Critical => 2,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Each kind: what it is, its name, how grave it is, its title, and why it is that grave.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $severity:ident, $title:literal, $why:literal;)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// How grave it is.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// What a person reads.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Why it is as grave as it is.
            pub const fn why(self) -> &'static str {
                match self { $(Self::$name => $why,)* }
            }
        }
    };
}

kinds! {
    /// A connection got no further than the TLS handshake. The subject is its address.
    HandshakeRefused = "handshake-refused", Low, "A connection was refused in its handshake",
        "whatever scans a network makes such connections; many from one place are worth a look";
    /// A call with a certificate that this server's database does not know.
    CertificateUnknown = "certificate-unknown", High, "A certificate of this server's authority is not on its record",
        "only the authority's key makes such a certificate: it was stolen, or the database is an old copy";
    /// A call with a certificate that was revoked, or whose holder was.
    CertificateRevoked = "certificate-revoked", High, "A revoked certificate was used",
        "whoever was shut out still has the keys and tries them";
    /// A call with a certificate that expired.
    CertificateExpired = "certificate-expired", Low, "An expired certificate was used",
        "a device that comes back from a shelf does so";
    /// A call that its caller has no right to.
    CallForbidden = "call-forbidden", Medium, "A call was made without the right to it",
        "no program of ours makes a call that its role may not make";
    /// A one-time token that is unknown, spent or expired, or that is for somebody else.
    TokenRefused = "token-refused", Medium, "An enrolment or invitation was refused",
        "a typing error looks the same as a token that somebody else has spent";
    /// A report, an order or another document whose signature is not that of whoever should have signed it.
    SignatureRefused = "signature-refused", High, "A signed document was refused",
        "a signature does not break on the way by itself";
    /// Metadata of a repository that does not verify, or does not fit together.
    MetadataRefused = "metadata-refused", High, "Repository metadata was refused",
        "whoever serves or publishes it has not the keys, or has changed what they signed";
    /// Metadata older than what was seen before.
    MetadataReplayed = "metadata-replayed", High, "Older repository metadata was offered",
        "the mark of a rollback attack, and of a server that was restored from an old copy";
    /// Metadata that has expired, and no newer to be had.
    MetadataExpired = "metadata-expired", Medium, "Repository metadata has expired",
        "the mark of a freeze attack, and of owners who forgot to sign anew";
    /// More bytes than anything honest has.
    EndlessData = "endless-data", High, "More data was sent than is allowed",
        "nothing honest exceeds these bounds";
    /// A device's clock is behind what signatures prove.
    ClockWrong = "clock-wrong", Medium, "A device's clock is behind signed time",
        "an empty battery looks the same as a clock that was set back into an old slot";
    /// Two contents were signed under one version, or a device has seen another.
    Forked = "forked", Critical, "Two different contents were signed under one version",
        "somebody has the signing keys and shows one content to some and one to others";
    /// What runs on a device is not what was signed.
    Tampered = "tampered", Critical, "Software on a device was altered where it lies",
        "the device treats patients with software that nobody signed";
    /// Reports that the server had acknowledged are not there any more.
    ReportsLost = "reports-lost", Medium, "Reports of a device were lost after they had been acknowledged",
        "the database was restored from a copy, or somebody else answered in the server's name";
    /// A device's own record on disk cannot be read, or was taken back.
    StateDamaged = "state-damaged", Medium, "A device's record on disk is damaged",
        "a failing disk looks the same as somebody who edits it";
    /// The interlock gives no answer, so that nothing is begun.
    InterlockSilent = "interlock-silent", Medium, "The clinical-use interlock does not answer",
        "it fails closed, so no patient is at risk; but whoever wants to bypass it begins here";
    /// A program was started, after it had been stopped as it should.
    Restarted = "restarted", Informational, "A program was restarted",
        "it was asked to";
    /// A program was started, and had not been asked to stop before.
    RestartedUnexpectedly = "restarted-unexpectedly", Medium, "A program was started anew without having been stopped",
        "a power cut looks the same as a crash that somebody has provoked";
    /// A program's configuration differs from that of its last start.
    ConfigurationChanged = "configuration-changed", Low, "A program's configuration has changed",
        "people do that; it should have been one of them";
    /// A device has said nothing for longer than its hospital allows.
    DeviceLost = "device-lost", Medium, "A device has fallen silent",
        "switched off, stolen, or kept from speaking";
    /// A device that had been lost speaks again.
    DeviceBack = "device-back", Informational, "A device that had fallen silent is back",
        "that it is back asks nothing of anybody";
    /// A caller has used up what it may use in a time.
    LimitReached = "limit-reached", Medium, "A caller has exceeded a limit",
        "no program of ours comes near it";
    /// Limits were changed.
    LimitsChanged = "limits-changed", Low, "Limits were changed",
        "people do that; it should have been one of them";
    /// Somebody was issued a first certificate.
    IdentityIssued = "identity-issued", Informational, "A new identity was certified",
        "a token was spent that somebody had made for it";
    /// A certificate was renewed.
    IdentityRenewed = "identity-renewed", Informational, "A certificate was renewed",
        "that happens every three weeks";
    /// Somebody is refused from now on.
    IdentityRevoked = "identity-revoked", Low, "An identity was revoked",
        "it ends a danger, and says that there was one";
    /// The server's online keys, or a repository's root, have changed.
    KeysChanged = "keys-changed", Medium, "Signing keys have changed",
        "what is trusted changes; it should have been a ceremony";
    /// A hospital has approved.
    Approved = "approved", Informational, "A rollout was approved",
        "two signatures stand behind it";
    /// A stop order or its lift was taken.
    StopOrdered = "stop-ordered", Low, "A stop order was signed or lifted",
        "somebody has found a reason to stop";
    /// A hospital has not answered a notice by its deadline, nor by the one of a repetition.
    NoticeOverdue = "notice-overdue", Medium, "A manufacturer's notice was not acknowledged in time",
        "what it warns of is known, and nobody has said that anything is done about it";
    /// The manufacturer has not answered a hospital's report by its deadline, nor by the one of a repetition.
    ReportOverdue = "report-overdue", Medium, "A hospital's report was not acknowledged in time",
        "whoever could tell what it was has not said that they look into it";
    /// An assessment of risk holds no longer, and no later one has taken its place.
    AssessmentOverdue = "assessment-overdue", Medium, "An assessment of risk holds no longer",
        "devices run on by a judgement that nobody stands behind any more";
    /// A bundle that a hospital does not install, or not yet, was to be looked at again by a day that is over.
    ReviewOverdue = "review-overdue", Medium, "A decision not to install was not looked at again",
        "devices stay as they are by a judgement that nobody stands behind any more";
    /// Events were dropped, since there were too many.
    EventsDropped = "events-dropped", Medium, "Security events were dropped",
        "somebody may have made many in order to hide one";
}

impl Kind {
    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.as_str() == name)
    }

    /// The kind of event that an action of the audit record is besides; none for what is no matter of security.
    pub fn of_action(action: &str) -> Option<Self> {
        Some(match action {
            "fork.alarm" => Self::Forked,
            "device.drift" => Self::Tampered,
            "device.reports-lost" => Self::ReportsLost,
            "device.told-too-much" | "device.reports-not-kept" | "device.reports-put-off" => Self::LimitReached,
            "device.enrolled" | "operator.joined" => Self::IdentityIssued,
            "certificate.renewed" => Self::IdentityRenewed,
            "device.revoked" | "device.departed" | "device.decommissioned" | "operator.revoked" => {
                Self::IdentityRevoked
            }
            "repository.keys" => Self::KeysChanged,
            "transfer.limited" | "transfer.cleared" | "lost-after.set" => Self::LimitsChanged,
            "rollout.approved" => Self::Approved,
            "notice.overdue" => Self::NoticeOverdue,
            "report.overdue" => Self::ReportOverdue,
            "risk.overdue" => Self::AssessmentOverdue,
            "review.overdue" => Self::ReviewOverdue,
            "rollout.stopped" | "rollout.stopped-again" | "rollout.stop-lifted" => Self::StopOrdered,
            _ => return None,
        })
    }

    /// What a refusal by this code is on a device; none for what is no matter of security.
    pub const fn of_code(code: crate::phase::Code) -> Option<Self> {
        use crate::phase::Code;
        Some(match code {
            Code::BadSignature | Code::WrongBytes => Self::SignatureRefused,
            Code::BadMetadata | Code::MixAndMatch => Self::MetadataRefused,
            Code::Rollback => Self::MetadataReplayed,
            Code::MetadataExpired => Self::MetadataExpired,
            Code::EndlessData => Self::EndlessData,
            Code::ClockUnproven => Self::ClockWrong,
            Code::StateDamaged => Self::StateDamaged,
            Code::InterlockUnknown => Self::InterlockSilent,
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let name = String::deserialize(d)?;
        Self::from_name(&name).ok_or_else(|| D::Error::custom(format_args!("{name:?} is no kind of security event")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_that_reads_back() {
        let names: BTreeSet<_> = Kind::ALL.iter().map(|k| k.as_str()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.as_str()), Some(*kind));
            let json = serde_json::to_string(kind).unwrap();
            assert_eq!(serde_json::from_str::<Kind>(&json).unwrap(), *kind);
        }
        for severity in Severity::ALL {
            assert_eq!(Severity::from_name(severity.as_str()), Some(severity));
        }
    }

    /// The program in which each kind is raised, by the text that raises it there. A new kind breaks the build here first.
    fn raised(kind: Kind) -> (&'static str, &'static str) {
        match kind {
            Kind::HandshakeRefused => ("server/src/app.rs", "Kind::HandshakeRefused"),
            Kind::CertificateUnknown => ("server/src/rights.rs", "Kind::CertificateUnknown"),
            Kind::CertificateRevoked => ("server/src/rights.rs", "Kind::CertificateRevoked"),
            Kind::CertificateExpired => ("server/src/rights.rs", "Kind::CertificateExpired"),
            Kind::CallForbidden => ("server/src/rights.rs", "Kind::CallForbidden"),
            Kind::TokenRefused => ("server/src/grpc/token.rs", "Kind::TokenRefused"),
            Kind::SignatureRefused => ("server/src/grpc/status.rs", "Kind::SignatureRefused"),
            Kind::MetadataRefused => ("server/src/grpc/status.rs", "Kind::of_code"),
            Kind::LimitReached => ("server/src/events/refused.rs", "Kind::LimitReached"),
            Kind::MetadataReplayed
            | Kind::MetadataExpired
            | Kind::EndlessData
            | Kind::ClockWrong
            | Kind::StateDamaged
            | Kind::InterlockSilent => ("agent/src/agent/watchful.rs", "Kind::of_code"),
            Kind::Forked
            | Kind::Tampered
            | Kind::ReportsLost
            | Kind::LimitsChanged
            | Kind::IdentityIssued
            | Kind::IdentityRenewed
            | Kind::IdentityRevoked
            | Kind::KeysChanged
            | Kind::Approved
            | Kind::StopOrdered
            | Kind::NoticeOverdue
            | Kind::ReportOverdue
            | Kind::AssessmentOverdue
            | Kind::ReviewOverdue => ("server/src/audit/mod.rs", "Kind::of_action"),
            Kind::Restarted => ("core/src/event/run.rs", "Kind::Restarted"),
            Kind::RestartedUnexpectedly => ("core/src/event/run.rs", "Kind::RestartedUnexpectedly"),
            Kind::ConfigurationChanged => ("core/src/event/run.rs", "Kind::ConfigurationChanged"),
            Kind::DeviceLost => ("server/src/events/lost.rs", "Kind::DeviceLost"),
            Kind::DeviceBack => ("server/src/events/lost.rs", "Kind::DeviceBack"),
            Kind::EventsDropped => ("server/src/events/keep.rs", "Kind::EventsDropped"),
        }
    }

    #[test]
    fn each_kind_is_raised_somewhere() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for kind in Kind::ALL {
            let (file, text) = raised(*kind);
            let source = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(source.contains(text), "{kind} is not raised in {file}");
        }
    }

    #[test]
    fn each_action_that_is_an_event_is_one_that_the_server_records() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/src");
        let mut sources = String::new();
        let mut open = vec![root];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    sources.push_str(&std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let this = include_str!("kind.rs");
        let table = this.split_once("pub fn of_action").unwrap().1.split_once("_ => return None").unwrap().0;
        let actions: Vec<_> = table.split('"').skip(1).step_by(2).collect();
        assert!(actions.len() > 12, "{actions:?}");
        for action in actions {
            assert!(Kind::of_action(action).is_some());
            assert!(sources.contains(&format!("\"{action}\"")), "the server never records {action}");
        }
    }
}
