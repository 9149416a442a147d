//! Where the documents are in the approvals repository.
//!
//! The targets metadata list heads of approvals, gates documents, stop orders, `service.json` and `register.json`, and
//! nothing else: of that much every device fetches what concerns it. The register lists what people and the server read
//! besides, and a head pins its shards of slots.

use super::part::Part;
use crate::id::ApprovalId;
use crate::sign::PublicKey;
use crate::window::Scope;

/// The register of what devices do not read.
pub const REGISTER: &str = "register.json";
/// Where the server is to be found.
pub const SERVICE: &str = "service.json";

/// The head of an approval: `approvals/<id>.json`.
pub fn approval(id: &ApprovalId) -> String {
    format!("approvals/{id}.json")
}

/// A shard of an approval's slots: `slots/<id>/<part>.json`.
pub fn slots(id: &ApprovalId, part: Part) -> String {
    format!("slots/{id}/{part}.json")
}

/// The waves of an approval that the hospital has opened by its signature: `gates/<id>.json`.
pub fn gates(id: &ApprovalId) -> String {
    format!("gates/{id}.json")
}

/// The note of who opened a wave and why: `gate-notes/<id>.<wave>.json`, the wave counted from 0.
pub fn gate_note(id: &ApprovalId, wave: u32) -> String {
    format!("gate-notes/{id}.{wave}.json")
}

/// The operators' document of an approval: `operator/<id>.json`.
pub fn operator_document(id: &ApprovalId) -> String {
    format!("operator/{id}.json")
}

/// What the holder of a key states with a signature on an approval: `statements/<id>/<key>.json`. Nothing lists it: it is
/// signed by itself, by the same key.
pub fn statement(id: &ApprovalId, key: &PublicKey) -> String {
    format!("{}{key}.json", statements(id))
}

/// The directory of all statements on an approval.
pub fn statements(id: &ApprovalId) -> String {
    format!("statements/{id}/")
}

/// The approval and the key that a statement's path names; none where it is no such path.
pub fn statement_of(path: &str) -> Option<(ApprovalId, PublicKey)> {
    let (id, file) = path.strip_prefix("statements/")?.split_once('/')?;
    let key = PublicKey::try_from(file.strip_suffix(".json")?.to_owned()).ok()?;
    Some((id.parse().ok()?, key))
}

/// A roster: `rosters/<part>.json`.
pub fn roster(part: Part) -> String {
    format!("rosters/{part}.json")
}

/// A calendar: `calendars/hospital.json`, `calendars/wards/<ward>.json` or `calendars/devices/<device>.json`.
pub fn calendar(scope: &Scope) -> String {
    match scope {
        Scope::Hospital => "calendars/hospital.json".to_owned(),
        Scope::Ward(ward) => format!("calendars/wards/{ward}.json"),
        Scope::Device(device) => format!("calendars/devices/{device}.json"),
    }
}

/// The stop order of an approval: `stops/<id>.json`.
pub fn stop(id: &ApprovalId) -> String {
    format!("stops/{id}.json")
}

/// What a path that the targets metadata list stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// The head of an approval.
    Approval(ApprovalId),
    /// The waves of an approval that are opened by signature.
    Gates(ApprovalId),
    /// The stop order of an approval.
    Stop(ApprovalId),
    /// [`SERVICE`].
    Service,
    /// [`REGISTER`].
    Register,
}

impl Listed {
    /// What a path stands for; none where it is none of these.
    pub fn of(path: &str) -> Option<Self> {
        let id = |file: &str| file.strip_suffix(".json")?.parse().ok();
        match path.split_once('/') {
            Some(("approvals", file)) => id(file).map(Self::Approval),
            Some(("gates", file)) => id(file).map(Self::Gates),
            Some(("stops", file)) => id(file).map(Self::Stop),
            None if path == SERVICE => Some(Self::Service),
            None if path == REGISTER => Some(Self::Register),
            _ => None,
        }
    }

    /// Whether devices read it. What the targets metadata list is theirs to read, but for the register.
    pub fn is_for_devices(&self) -> bool {
        !matches!(self, Self::Register)
    }
}

/// What a path that the register lists stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// A roster.
    Roster(Part),
    /// A calendar.
    Calendar(Scope),
    /// The operators' document of an approval.
    OperatorDocument(ApprovalId),
    /// The note on a wave that was opened by signature, counted from 0.
    GateNote(ApprovalId, u32),
}

impl Registered {
    /// What a path stands for; none where it is none of these.
    pub fn of(path: &str) -> Option<Self> {
        let (directory, file) = path.split_once('/')?;
        let name = file.strip_suffix(".json")?;
        match directory {
            "rosters" => name.parse().ok().map(Self::Roster),
            "calendars" => {
                let scope = match name.split_once('/') {
                    None => (name == "hospital").then_some(Scope::Hospital),
                    Some(("wards", ward)) => ward.parse().ok().map(Scope::Ward),
                    Some(("devices", device)) => device.parse().ok().map(Scope::Device),
                    Some(_) => None,
                };
                scope.map(Self::Calendar)
            }
            "operator" => name.parse().ok().map(Self::OperatorDocument),
            "gate-notes" => {
                let (id, wave) = name.rsplit_once('.')?;
                let (id, wave) = (id.parse().ok()?, wave.parse().ok()?);
                // A number has one text.
                (path == gate_note(&id, wave)).then_some(Self::GateNote(id, wave))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_for_what_it_was_made_of() {
        let id: ApprovalId = "pump-7".parse().unwrap();
        assert_eq!(Listed::of(&approval(&id)), Some(Listed::Approval(id.clone())));
        assert_eq!(Listed::of(&gates(&id)), Some(Listed::Gates(id.clone())));
        assert_eq!(Listed::of(&stop(&id)), Some(Listed::Stop(id.clone())));
        assert_eq!((Listed::of(REGISTER), Listed::of(SERVICE)), (Some(Listed::Register), Some(Listed::Service)));
        assert_eq!(Registered::of(&roster(Part::ALL)), Some(Registered::Roster(Part::ALL)));
        let (ward, device) = (Scope::Ward("icu".parse().unwrap()), Scope::Device("icu".parse().unwrap()));
        for scope in [Scope::Hospital, ward, device] {
            assert_eq!(Registered::of(&calendar(&scope)), Some(Registered::Calendar(scope)));
        }
        assert_eq!(Registered::of(&operator_document(&id)), Some(Registered::OperatorDocument(id.clone())));
        for id in [id.clone(), "a.7".parse().unwrap()] {
            assert_eq!(Registered::of(&gate_note(&id, 31)), Some(Registered::GateNote(id, 31)));
        }
        for unlisted in [
            gate_note(&id, 1),
            roster(Part::ALL),
            slots(&id, Part::ALL),
            "approvals/x/y.json".into(),
            "notes.json".into(),
        ] {
            assert_eq!(Listed::of(&unlisted), None, "{unlisted}");
        }
        let spelt = [
            "rosters/7.json",
            "rosters/all",
            "calendars/icu.json",
            "calendars/wards/a/b.json",
            "gate-notes/pump-7.json",
            "gate-notes/pump-7.07.json",
        ]
        .map(String::from);
        for unregistered in spelt.into_iter().chain([approval(&id), gates(&id), REGISTER.to_owned()]) {
            assert_eq!(Registered::of(&unregistered), None, "{unregistered}");
        }
    }
}
