//! Which roster a device is on: one of sixteen, by its id's digest, so that a change touches one small file.

use suture_core::approval::{DocumentError, Pinned, Roster, RosterDevice, SignedDocument as _, path};
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, HdoId};

/// Why a device cannot be put on its roster.
#[derive(Debug, thiserror::Error)]
#[error("the roster that the device belongs on cannot take it")]
pub struct RosterFull(#[from] DocumentError);

const ROSTERS: u8 = 16;

fn number(id: &DeviceId) -> u32 {
    let [first, ..] = Digest::of(id.as_str().as_bytes()).as_bytes().to_owned();
    u32::from(first % ROSTERS)
}

/// The roster with the device on it.
pub(super) fn with(
    hdo: &HdoId,
    rosters: &[(Pinned, Roster)],
    device: RosterDevice,
) -> Result<(String, Roster), RosterFull> {
    let path = path::roster(number(&device.id));
    let before = rosters.iter().find(|(pinned, _)| pinned.path == path).map(|(_, roster)| roster.clone());
    let mut roster = before.unwrap_or_else(|| Roster {
        kind: Roster::TYPE.to_owned(),
        format: 1,
        hdo: hdo.clone(),
        devices: Vec::new(),
    });
    roster.devices.retain(|d| d.id != device.id);
    roster.devices.push(device);
    roster.devices.sort_by(|a, b| a.id.cmp(&b.id));
    roster.check()?;
    Ok((path, roster))
}

/// Every roster that lists the device, without it.
pub(super) fn without<'a>(
    rosters: &'a [(Pinned, Roster)],
    id: &'a DeviceId,
) -> impl Iterator<Item = (String, Roster)> + 'a {
    rosters.iter().filter(|(_, roster)| roster.devices.iter().any(|d| d.id == *id)).map(|(pinned, roster)| {
        let mut left = roster.clone();
        left.devices.retain(|d| d.id != *id);
        (pinned.path.clone(), left)
    })
}
