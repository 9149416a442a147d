//! What of a hospital a plan touches at all: memory goes by what is selected, and not by the fleet.
//!
//! Rosters and inventory are read through, and of them is kept what the selector may mean, what is named, and what approvals
//! in force name, whose slots count.

use std::collections::{BTreeMap, BTreeSet};

use super::{Facts, Known, PlanError, Request};
use crate::approval::RosterDevice;
use crate::id::{DeviceId, WardId};
use crate::label::Labels;

/// The devices that a plan has to look at.
#[derive(Debug)]
pub(super) struct Touched<'a> {
    /// On a roster.
    pub(super) roster: BTreeMap<&'a DeviceId, &'a RosterDevice>,
    /// In the inventory.
    pub(super) known: BTreeMap<&'a DeviceId, &'a Known>,
}

impl<'a> Touched<'a> {
    /// Those of a request.
    pub(super) fn new(facts: &'a Facts, request: &'a Request, inventory: &'a [Known]) -> Result<Self, PlanError> {
        let product = &facts.bundle.step.product;
        let asked =
            |k: &&Known| k.product.as_ref() == Some(product) && k.ward.as_ref().is_some_and(|w| asks(request, w));
        let mut others: BTreeSet<&DeviceId> = inventory.iter().filter(asked).map(|k| &k.id).collect();
        others.extend(&request.selector.devices);
        others.extend(facts.approvals.iter().flat_map(|a| &a.devices).map(|d| &d.id));
        let mut roster = BTreeMap::new();
        for device in facts.rosters.iter().flat_map(|(_, roster)| &roster.devices) {
            let selected = device.product == *product && asks(request, &device.ward) && has(request, &device.labels);
            if (selected || others.contains(&device.id)) && roster.insert(&device.id, device).is_some() {
                return Err(PlanError::TwiceOnRosters(device.id.clone()));
            }
        }
        let touched = |k: &&Known| roster.contains_key(&k.id) || others.contains(&k.id);
        let known = inventory.iter().filter(touched).map(|k| (&k.id, k)).collect();
        Ok(Self { roster, known })
    }
}

/// Whether the selector means devices of that ward, beside those that it names.
pub(super) fn asks(request: &Request, ward: &WardId) -> bool {
    let selector = &request.selector;
    let only_named = !selector.devices.is_empty() && selector.wards.is_empty() && selector.labels.is_empty();
    !only_named && (selector.wards.is_empty() || selector.wards.contains(ward))
}

/// Whether the selector means devices with those labels.
pub(super) fn has(request: &Request, labels: &Labels) -> bool {
    request.selector.labels.matches(labels)
}
