//! What installs on a device, and the data that lie there.

use super::ways::{everyone, release, world};
use super::*;
use crate::manifest::{Data, InstallKind};
use crate::phase::Code;
use crate::plan::Installs;

const SLOTS: Installs = Installs { by: InstallKind::Slots, data: 0, keeps: false };

fn data(format: u32, reads: &[u32]) -> Option<Data> {
    Some(Data { format, reads: reads.to_vec() })
}

fn with(mut inventory: Vec<Known>, installs: Option<Installs>) -> Vec<Known> {
    inventory.iter_mut().for_each(|known| known.installs = installs);
    inventory
}

/// What becomes of one device that runs release 1 and says so of itself, on the way over `releases`.
fn planned(installs: Option<Installs>, releases: Vec<Bundle>) -> Result<Plan, (Code, String)> {
    let (facts, inventory) = world(&[("a", 1)], releases);
    let out =
        plan(&facts, &Request { permit_downgrade: true, ..everyone() }, &with(inventory, installs), now()).unwrap();
    match out.blocked.first() {
        None => Ok(out),
        Some(blocked) => Err((blocked.reason.code, blocked.reason.text.clone())),
    }
}

#[test]
fn what_is_made_for_another_installer_is_not_planned() {
    assert!(planned(Some(SLOTS), vec![release(2, 0)]).is_ok());
    let image = Bundle { installer: InstallKind::Image, ..release(2, 0) };
    assert!(planned(Some(Installs { by: InstallKind::Image, ..SLOTS }), vec![image.clone()]).is_ok());
    let (code, text) = planned(Some(SLOTS), vec![image.clone()]).unwrap_err();
    assert_eq!(code, Code::WrongInstaller);
    assert!(
        text.contains("the server says that `slots` installs on it") && text.contains("made for `image`"),
        "{text}"
    );
    // Also where only a step between is.
    let (code, _) = planned(Some(SLOTS), vec![image, release(3, 2)]).unwrap_err();
    assert_eq!(code, Code::WrongInstaller);
}

#[test]
fn one_that_has_never_said_so_is_planned_and_named() {
    let image = Bundle { installer: InstallKind::Image, ..release(2, 0) };
    let out = planned(None, vec![image]).unwrap();
    assert_eq!(out.unsaid().map(ToString::to_string).collect::<Vec<_>>(), ["a"]);
    let out = planned(Some(SLOTS), vec![release(2, 0)]).unwrap();
    assert_eq!(out.unsaid().count(), 0);
    // What it was computed from says it too, so that whoever computes it again comes to the same.
    assert_eq!(out.inventory[0].installs, Some(SLOTS));
}

#[test]
fn data_that_would_be_lost_or_not_be_had_back_keep_a_device_out() {
    let on = |data, keeps| Some(Installs { data, keeps, ..SLOTS });
    let to = |n, least, data| Bundle { data, ..release(n, least) };
    for (installs, ways, code) in [
        (on(0, false), vec![to(2, 0, None)], None),
        (on(0, false), vec![to(2, 0, data(1, &[0]))], Some(Code::DataFormat)),
        (on(0, true), vec![to(2, 0, data(1, &[0]))], None),
        (on(0, true), vec![to(2, 0, data(1, &[]))], Some(Code::DataFormat)),
        // A downgrade months later: nothing reads what was written since.
        (on(3, true), vec![to(2, 0, data(2, &[1]))], Some(Code::DataFormat)),
        (on(3, true), vec![to(2, 0, None)], Some(Code::DataFormat)),
        (on(3, true), vec![to(2, 0, data(2, &[3]))], None),
        // Step by step: what the first one makes of them, the second one reads.
        (on(0, true), vec![to(2, 0, data(1, &[0])), to(3, 2, data(2, &[1]))], None),
        (on(0, true), vec![to(2, 0, data(1, &[0])), to(3, 2, data(2, &[0]))], Some(Code::DataFormat)),
    ] {
        let says = format!("{installs:?} {:?}", ways.iter().map(|b| &b.data).collect::<Vec<_>>());
        assert_eq!(planned(installs, ways).err().map(|(code, _)| code), code, "{says}");
    }
}

/// Attack: a server that says it of a device. It keeps it out, and brings none in that would be out otherwise.
#[test]
fn the_word_keeps_out_and_brings_nobody_in() {
    let (facts, inventory) = world(&[("a", 1), ("b", 2)], vec![release(2, 0)]);
    let out = plan(&facts, &everyone(), &inventory, now()).unwrap();
    let before = reasons(&out);
    let lie = with(inventory, Some(Installs { by: InstallKind::Rauc, ..SLOTS }));
    let out = plan(&facts, &everyone(), &lie, now()).unwrap();
    let after = reasons(&out);
    assert!(before.iter().all(|(id, code)| after.get(id) == Some(code)), "{before:?} {after:?}");
    assert_eq!(after.len(), 2);
}
