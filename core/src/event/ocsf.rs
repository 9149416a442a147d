//! Events as the Open Cybersecurity Schema Framework writes them, so that a hospital's SIEM reads them without a parser of
//! its own.
//!
//! The version is fixed ([`VERSION`]). Each kind is of one class: a refused identity is an Authentication, a refused call an
//! API Activity, a certificate an Entity Management, a finding a Detection Finding, a start an Application Lifecycle, changed
//! settings a Device Config State Change. `metadata.event_code` is our own kind, `metadata.tenant_uid` the hospital. An
//! event that is folded further is sent again under the same `metadata.uid`, with the greater `count`.

use serde_json::{Map, Value, json};

use super::{Event, Kind};

/// The schema's version.
pub const VERSION: &str = "1.3.0";

/// A class of the schema with its number; the category is its first digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    DetectionFinding = 2004,
    Authentication = 3002,
    EntityManagement = 3004,
    DeviceConfigStateChange = 5019,
    ApplicationLifecycle = 6002,
    ApiActivity = 6003,
}

impl Class {
    const fn uid(self) -> u32 {
        self as u32
    }
}

/// The activity within the class, and whether what was tried succeeded; none where neither is the word for it.
const fn class(kind: Kind) -> (Class, u32, Option<bool>) {
    match kind {
        Kind::HandshakeRefused
        | Kind::CertificateUnknown
        | Kind::CertificateRevoked
        | Kind::CertificateExpired
        | Kind::TokenRefused => (Class::Authentication, 1, Some(false)),
        Kind::CallForbidden | Kind::LimitReached => (Class::ApiActivity, 99, Some(false)),
        Kind::LimitsChanged => (Class::ApiActivity, 3, Some(true)),
        Kind::Approved | Kind::StopOrdered => (Class::ApiActivity, 1, Some(true)),
        Kind::IdentityIssued => (Class::EntityManagement, 1, Some(true)),
        Kind::IdentityRenewed | Kind::KeysChanged => (Class::EntityManagement, 3, Some(true)),
        Kind::IdentityRevoked => (Class::EntityManagement, 4, Some(true)),
        Kind::Restarted | Kind::RestartedUnexpectedly => (Class::ApplicationLifecycle, 3, None),
        Kind::ConfigurationChanged => (Class::DeviceConfigStateChange, 1, None),
        Kind::DeviceBack => (Class::DetectionFinding, 3, None),
        Kind::SignatureRefused
        | Kind::MetadataRefused
        | Kind::MetadataReplayed
        | Kind::MetadataExpired
        | Kind::EndlessData
        | Kind::ClockWrong
        | Kind::Forked
        | Kind::Tampered
        | Kind::ReportsLost
        | Kind::StateDamaged
        | Kind::InterlockSilent
        | Kind::DeviceLost
        | Kind::NoticeOverdue
        | Kind::ReportOverdue
        | Kind::AssessmentOverdue
        | Kind::ReviewOverdue
        | Kind::EventsDropped => (Class::DetectionFinding, 1, None),
    }
}

/// An event that is known by `uid`, as JSON of the schema; `version` is that of this software.
pub fn event(event: &Event, uid: &str, version: &str) -> Value {
    let Event { what, first, last, count } = event;
    let (class, activity, succeeded) = class(what.kind);
    let severity = what.kind.severity();
    let hdo = what.hdo.as_ref().map_or("", |hdo| hdo.as_str());
    let message = match what.detail.as_str() {
        "" => format!("{}: {}", what.kind.title(), what.subject),
        detail => format!("{}: {}: {detail}", what.kind.title(), what.subject),
    };
    let mut metadata = json!({
        "version": VERSION,
        "uid": uid,
        "event_code": what.kind.as_str(),
        "log_name": "security",
        "product": { "name": "Suture", "vendor_name": "Suture", "version": version },
        "labels": [format!("observer:{}", what.observer)],
    });
    if let (false, Some(metadata)) = (hdo.is_empty(), metadata.as_object_mut()) {
        metadata.insert("tenant_uid".to_owned(), hdo.into());
    }
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
    put("metadata", metadata);
    put("category_uid", (class.uid() / 1_000).into());
    put("class_uid", class.uid().into());
    put("activity_id", activity.into());
    put("type_uid", (u64::from(class.uid()) * 100 + u64::from(activity)).into());
    put("severity_id", severity.number().into());
    put("severity", severity.as_str().into());
    put("time", last.as_millisecond().into());
    put("start_time", first.as_millisecond().into());
    put("end_time", last.as_millisecond().into());
    put("count", (*count).into());
    put("message", message.into());
    if let Some(succeeded) = succeeded {
        put("status_id", if succeeded { 1 } else { 2 }.into());
        put("status", if succeeded { "Success" } else { "Failure" }.into());
        put("status_detail", what.detail.as_str().into());
    }
    let subject = json!({ "name": what.subject });
    match class {
        Class::Authentication => {
            put("user", subject);
            put("service", json!({ "name": "suture-server" }));
            put("is_remote", true.into());
        }
        Class::ApiActivity => {
            put("actor", json!({ "user": subject }));
            put("api", json!({ "operation": what.kind.as_str(), "service": { "name": "suture-server" } }));
            put("src_endpoint", json!({ "name": what.subject }));
        }
        Class::EntityManagement => put("entity", subject),
        Class::ApplicationLifecycle => {
            put("app", json!({ "name": what.subject, "vendor_name": "Suture", "version": version }));
        }
        Class::DeviceConfigStateChange => {
            // 0: the schema has no type for a medical device.
            put("device", json!({ "name": what.subject, "type_id": 0 }));
        }
        Class::DetectionFinding => {
            // The end of a finding closes the one that began it.
            let of = if what.kind == Kind::DeviceBack { Kind::DeviceLost } else { what.kind };
            let finding = json!({
                "uid": format!("{of}/{hdo}/{}", what.subject),
                "title": what.kind.title(),
                "desc": what.detail,
                "first_seen_time": first.as_millisecond(),
                "last_seen_time": last.as_millisecond(),
            });
            put("finding_info", finding);
        }
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Observer, What};

    /// What version 1.3.0 requires of every class.
    const BASE: &[&str] = &[
        "activity_id",
        "category_uid",
        "class_uid",
        "metadata.product.vendor_name",
        "metadata.version",
        "severity_id",
        "time",
        "type_uid",
    ];

    /// What it requires of one class besides; an object that must have at least one of some attributes is given one here.
    fn required(class_uid: u64) -> (&'static [&'static str], &'static [u64]) {
        match class_uid {
            2004 => (&["finding_info.uid", "finding_info.title"], &[1, 2, 3, 99]),
            3002 => (&["user.name", "service.name"], &[1, 2, 3, 4, 5, 99]),
            3004 => (&["entity.name"], &[1, 2, 3, 4, 99]),
            5019 => (&["device.type_id", "device.name"], &[1, 2, 99]),
            6002 => (&["app.vendor_name", "app.name"], &[1, 2, 3, 4, 99]),
            6003 => (&["actor.user.name", "api.operation", "src_endpoint.name"], &[1, 2, 3, 4, 99]),
            other => panic!("no class {other} in the table"),
        }
    }

    #[test]
    fn each_kind_has_what_the_schema_requires_of_its_class() {
        let hdo = "riverside".parse().unwrap();
        for kind in Kind::ALL {
            for hdo in [None, Some(&hdo)] {
                let what = What::new(*kind, Observer::Server, hdo, "hdo/riverside/device/pump-1", "why");
                let at = "2026-11-24T15:00:00Z".parse().unwrap();
                let value = event(&Event { count: 3, ..Event::once(what, at) }, "17", "0.1.0");
                let (more, activities) = required(value["class_uid"].as_u64().unwrap());
                for path in BASE.iter().chain(more) {
                    let found = path.split('.').fold(&value, |value, name| &value[name]);
                    assert!(!found.is_null() && found != "", "{kind}: {path} is missing in {value}");
                }
                let of = |name: &str| value[name].as_u64().unwrap();
                assert!(activities.contains(&of("activity_id")), "{kind}");
                assert_eq!(of("type_uid"), of("class_uid") * 100 + of("activity_id"));
                assert_eq!(of("category_uid"), of("class_uid") / 1_000);
                assert_eq!(of("severity_id"), u64::from(kind.severity().number()));
                assert_eq!((of("count"), value["time"].as_i64()), (3, Some(at.as_millisecond())));
                assert_eq!(value["metadata"]["tenant_uid"].as_str(), hdo.map(|hdo: &crate::id::HdoId| hdo.as_str()));
            }
        }
    }

    #[test]
    fn that_a_device_is_back_closes_the_finding_that_it_was_lost() {
        let of = |kind| {
            let what = What::new(kind, Observer::Server, None, "pump-1", "");
            event(&Event::once(what, jiff::Timestamp::UNIX_EPOCH), "1", "0")
        };
        let (lost, back) = (of(Kind::DeviceLost), of(Kind::DeviceBack));
        assert_eq!(lost["finding_info"]["uid"], back["finding_info"]["uid"]);
        assert_ne!(lost["activity_id"], back["activity_id"]);
    }
}
