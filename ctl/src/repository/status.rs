//! What `status` tells of a repository: versions, ends, keys, and what somebody should see to before long.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::id::OperatorName;
use suture_core::sign::PublicKey;
use suture_core::trust::{Base, Edition, Role, key_id};

use crate::context::Context;
use crate::failure::Outcome;
use crate::print::{Table, count, grouped};
use crate::trust_store::{Which, pinned_root};

/// A root that ends sooner needs a ceremony, and people who hold its keys are on holiday: 90 days.
const ROOT_LEFT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How people count a month, in days.
pub const MONTH_DAYS: i64 = 30;

/// What `status` shows of either repository.
#[derive(Debug, Serialize)]
pub struct Status {
    /// SHA-256 of the root that trust began with.
    pub root_sha256: Digest,
    /// Root, targets, snapshot, timestamp: version and end.
    pub roles: Vec<RoleStatus>,
    /// SHA-256 of the targets metadata, which colleagues and devices must agree on.
    pub targets_sha256: Digest,
    /// `VERSION:SHA256` of the targets metadata, for a colleague's `status --expect`.
    pub edition: String,
    /// When the targets were signed.
    pub signed_at: String,
    /// What somebody should see to before long.
    pub warnings: Vec<String>,
}

/// One role's line.
#[derive(Debug, Serialize)]
pub struct RoleStatus {
    role: &'static str,
    version: u64,
    expires: Option<String>,
    days_left: Option<i64>,
    months_left: Option<i64>,
    keys: usize,
    threshold: usize,
    public_keys: Vec<KeyStatus>,
}

/// One key of a role.
#[derive(Debug, Serialize)]
pub struct KeyStatus {
    /// Its id in the metadata.
    id: Digest,
    public_key: PublicKey,
    /// Whose it is, as the root says.
    holder: Option<OperatorName>,
}

/// Reads a verified repository's state.
pub fn status(context: &Context<'_>, which: Which, repository: &Base) -> Outcome<Status> {
    let (root, now) = (repository.root(), context.now());
    let line = |role: Role, version, expires: Option<Timestamp>| {
        let authority = root.authority(role);
        let days_left = expires.map(|e| e.duration_since(now).as_hours() / 24);
        let key = |key: &PublicKey| {
            key_id(key).ok().map(|id| KeyStatus { id, public_key: *key, holder: root.holder(key).cloned() })
        };
        RoleStatus {
            role: role.as_str(),
            version,
            expires: expires.map(format_utc),
            days_left,
            months_left: days_left.map(|days| days / MONTH_DAYS),
            keys: authority.keys().count(),
            threshold: authority.threshold(),
            public_keys: authority.keys().filter_map(key).collect(),
        }
    };
    let targets = repository.targets_metadata();
    let signed_at = targets.signed_at().unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Status {
        root_sha256: pinned_root(&context.home, which)?.unwrap_or_else(|| root.digest()),
        roles: vec![
            line(Role::Root, root.version(), Some(root.expires())),
            line(Role::Targets, targets.version(), Some(targets.expires())),
            line(Role::Snapshot, repository.snapshot_version(), None),
            line(Role::Timestamp, repository.timestamp_version(), None),
        ],
        targets_sha256: targets.digest(),
        edition: Edition { version: targets.version(), sha256: targets.digest() }.to_string(),
        signed_at: format_utc(signed_at),
        warnings: warnings(which, root.expires(), (signed_at, targets.expires()), now),
    })
}

/// The root's end draws near where less than three months are left of it, the targets' where less than a quarter of the time
/// that they were signed for is.
fn warnings(which: Which, root: Timestamp, (signed, targets): (Timestamp, Timestamp), now: Timestamp) -> Vec<String> {
    let name = which.as_str();
    let mut warnings = Vec::new();
    let left = |end: Timestamp| end.duration_since(now);
    if left(root) < ROOT_LEFT {
        warnings.push(format!(
            "the root of the {name} ends at {}, in {}: its holders sign the next one with `suturectl {name} rotate`; after its \
             end no device and nobody else believes anything here",
            format_utc(root),
            until(left(root))
        ));
    }
    if left(targets) < targets.duration_since(signed) / 4 {
        warnings.push(format!(
            "the targets of the {name} end at {}, in {}: sign them again with `suturectl {name} renew`",
            format_utc(targets),
            until(left(targets))
        ));
    }
    warnings
}

/// How long that is, as people say it: in months from two on.
pub fn until(left: SignedDuration) -> String {
    match left.as_hours() / 24 {
        days if days < 0 || left.is_negative() => "the past".to_owned(),
        0 => count(left.as_hours(), "hour"),
        days if days < 2 * MONTH_DAYS => count(days, "day"),
        days => format!("{} months", days / MONTH_DAYS),
    }
}

impl Status {
    /// For people.
    pub fn to_text(&self) -> String {
        let mut table = Table::new(["role", "version", "ends", "days left", "keys"]);
        for r in &self.roles {
            let dash = || "the server renews it".to_owned();
            table.row([
                r.role.to_owned(),
                r.version.to_string(),
                r.expires.clone().unwrap_or_else(dash),
                r.days_left.map_or_else(String::new, |d| d.to_string()),
                format!("{} of {}", r.threshold, r.keys),
            ]);
        }
        let mut keys = Table::new(["signs", "public key", "key id", "holder"]);
        for (role, key) in self.roles.iter().flat_map(|r| r.public_keys.iter().map(move |key| (r.role, key))) {
            let holder = key.holder.as_ref().map(ToString::to_string).unwrap_or_default();
            keys.row([role.to_owned(), key.public_key.to_string(), key.id.short(), holder]);
        }
        let warnings: String = self.warnings.iter().map(|w| format!("\nwarning: {w}")).collect();
        format!(
            "root     {}\ntargets  {}\nsigned   {}\n\n{}\n{}\nfor a colleague to compare: status --expect {}{warnings}\n",
            grouped(&self.root_sha256.to_string()),
            grouped(&self.targets_sha256.to_string()),
            self.signed_at,
            table.to_text(),
            keys.to_text(),
            self.edition
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_ends_before_long_is_told_in_time_and_not_before() {
        let (root, signed, targets) =
            (at("2027-11-24T00:00:00Z"), at("2026-11-24T00:00:00Z"), at("2026-12-08T00:00:00Z"));
        let told = |now: &str| warnings(Which::Approvals, root, (signed, targets), at(now));
        assert!(told("2026-12-04T12:00:00Z").is_empty(), "3.5 of 14 days are left");
        let one = told("2026-12-04T12:00:01Z");
        assert!(one.len() == 1 && one[0].contains("in 3 days") && one[0].contains("approvals renew"), "{one:?}");
        let both = told("2027-08-27T00:00:00Z");
        assert!(both[0].contains("in 2 months") && both[0].contains("approvals rotate"), "{both:?}");
        assert!(both[1].contains("in the past"), "{both:?}");
        assert_eq!(told("2027-08-26T00:00:00Z").len(), 1, "90 days of the root are left");
    }
}
