//! What every plan keeps, whatever the hospital and the request.

use super::*;

#[derive(Debug, Clone)]
struct Case {
    facts: Facts,
    request: Request,
    inventory: Vec<Known>,
}

/// Release 7, and below, or what the other approvals lead to.
const OTHER: u64 = 8;

fn running(name: &str, release: u64) -> Known {
    let mut known = runs(name, if release < OTHER { release } else { 4 });
    if let Some(running) = known.running.as_mut().filter(|_| release == OTHER) {
        running.manifest = Digest::of(b"other");
    }
    known
}

fn cases() -> impl Strategy<Value = Case> {
    let devices =
        prop::collection::vec((0usize..4, prop::sample::select(vec!["rev-a", "rev-b", "rev-z"]), 0u64..=OTHER), 1..30);
    let windows =
        prop::collection::vec(prop::collection::vec(("(daily|mon|tue,thu|fri-sun)", 0u32..24, 5u32..400), 0..3), 3);
    let others = prop::collection::vec((0usize..30, 0i64..200_000, 600i64..9_000), 0..6);
    let sizes = prop_oneof![
        Just(vec![WaveSize::Count(1), WaveSize::Rest]),
        Just(vec![WaveSize::Rest]),
        Just(vec![WaveSize::Count(2), WaveSize::Percent(30), WaveSize::Rest]),
    ];
    let knobs = (1u32..4, 0u32..3_600, 1u32..4, 0u32..7_200, any::<bool>(), 0u8..4);
    let layers = (prop::sample::select(vec!["", "daily 00:00 20h", "mon-thu 01:00 6h"]), prop::option::of(0u32..24));
    let times = (prop::option::of(0u32..4_000), prop::option::of(1i64..300), 0usize..3);
    (devices, windows, others, sizes, knobs, layers, times).prop_map(
        |(devices, windows, others, sizes, knobs, layers, times)| {
            let (cap, slack_secs, slots_per_device, soak, permit_downgrade, select) = knobs;
            // Ward w3 has no calendar.
            let name = |i: usize| format!("d{i:02}");
            let known = devices.iter().enumerate().filter(|(_, d)| d.2 > 0);
            let inventory = known.map(|(i, d)| running(&name(i), d.2)).collect();
            let roster = devices
                .iter()
                .enumerate()
                .map(|(i, (ward, hardware, _))| RosterDevice {
                    hardware: id(hardware),
                    labels: format!("kind=k{}", i % 3).parse().unwrap(),
                    ..device(&name(i), &format!("w{ward}"))
                })
                .collect();
            let calendars = windows.iter().enumerate().map(|(ward, windows)| {
                let texts: Vec<_> = windows.iter().map(|(d, h, m)| format!("{d} {h:02}:00 {m}m")).collect();
                calendar(&format!("w{ward}"), &texts.iter().map(String::as_str).collect::<Vec<_>>(), &["2026-11-26"])
            });
            let mut facts = facts(roster, calendars.collect());
            // From 1 and 2 one gets to 5 by way of 4 alone.
            facts.releases = vec![ways::release(2, 0), ways::release(3, 2), ways::release(4, 1)];
            // The hospital freezes a day at least, and one device may have a calendar of its own.
            let (hospital, own) = layers;
            let windows = [hospital];
            facts.calendars.push(layer(
                Scope::Hospital,
                if hospital.is_empty() { &[] } else { &windows },
                &["2026-11-28"],
            ));
            let own = own.map(|hour| layer(Scope::Device(id("d02")), &[&format!("daily {hour:02}:00 3h")], &[]));
            facts.calendars.extend(own);
            facts.approvals = others
                .iter()
                .enumerate()
                .map(|(n, (i, start, length))| {
                    let start = now() + SignedDuration::from_secs(*start);
                    let end = (start + SignedDuration::from_secs(*length)).to_string();
                    let mut names = [name(*i), name((*i + 7) % 30)];
                    names.sort();
                    let start = start.to_string();
                    let slots: Vec<_> =
                        names.iter().map(|name| (name.as_str(), start.as_str(), end.as_str())).collect();
                    approval(&format!("other-{n}"), b"other", &slots)
                })
                .collect();
            let wards = Selector {
                wards: [id("w1"), id("w2")].into(),
                devices: [id("d00"), id("ghost")].into(),
                ..Selector::default()
            };
            let selector = match select {
                0 => Selector::default(),
                1 => wards,
                2 => Selector { labels: ["kind=k1".parse().unwrap()].into_iter().collect(), ..wards },
                _ => Selector { running: Some("2..4".parse().unwrap()), ..wards },
            };
            let waves = sizes.into_iter().map(|size| WaveSpec { size, gate: gate(soak) }).collect();
            let (spread_secs, hours, replaced) = times;
            let deadline = hours.map(|hours| now() + SignedDuration::from_hours(hours));
            let request = Request {
                supersedes: (0..replaced.min(others.len())).map(|n| id(&format!("other-{n}"))).collect(),
                selector,
                waves,
                cap,
                slack_secs,
                slots_per_device,
                permit_downgrade,
                spread_secs,
                deadline,
                ..request()
            };
            Case { facts, request, inventory }
        },
    )
}

proptest! {
    #[test]
    fn every_plan_keeps_the_rules(case in cases()) {
        let Case { facts, request, inventory } = &case;
        let out = match plan(facts, request, inventory, now()) {
            Err(PlanError::NoDevice(_)) => return Ok(()),
            other => other.unwrap(),
        };
        let need = SignedDuration::from_secs(900);
        let roster: BTreeMap<_, _> = facts.rosters[0].1.devices.iter().map(|d| (&d.id, d)).collect();
        let until = now() + SignedDuration::from_secs(request.horizon_secs.into());

        // Every selected device is planned or blocked, not both.
        let chosen: BTreeSet<&DeviceId> = match request.selector.devices.is_empty() {
            true => roster.keys().copied().collect(),
            false => roster.values().filter(|d| request.selector.wards.contains(&d.ward))
                .filter(|d| request.selector.labels.is_empty() || d.labels.to_string() == "kind=k1")
                .filter(|d| request.selector.running.is_none()
                    || inventory.iter().any(|k| k.id == d.id && (2..=4).contains(&k.running.as_ref().unwrap().release.0)))
                .map(|d| &d.id).chain(&request.selector.devices).collect(),
        };
        let planned: BTreeSet<_> = out.devices.iter().map(|d| &d.id).collect();
        let blocked: BTreeSet<_> = out.blocked.iter().map(|b| &b.id).collect();
        prop_assert!(planned.is_disjoint(&blocked));
        prop_assert_eq!(planned.union(&blocked).copied().collect::<BTreeSet<_>>(), chosen);

        let other = |k: &&Known| k.running.as_ref().is_some_and(|r| r.manifest == Digest::of(b"other"));
        let done: BTreeSet<_> = inventory.iter().filter(other).map(|k| &k.id).collect();

        // What is replaced unasked had nothing left to do for a device that the plan does not name.
        for approval in facts.approvals.iter().filter(|a| out.supersedes.contains(&a.terms.id)) {
            let asked = request.supersedes.contains(&approval.terms.id);
            let left = |d: &DeviceSlots| !planned.contains(&d.id) && !done.contains(&d.id);
            prop_assert!(asked || !approval.devices.iter().any(left), "{}", approval.terms.id);
        }

        // Each slot lies inside one opening of its calendars and holds the install and the way back.
        let ward_of = |id: &DeviceId| &roster[id].ward;
        let mut taken: BTreeMap<&WardId, Vec<(&DeviceId, Slot)>> = BTreeMap::new();
        let counts = |a: &Approval, d: &DeviceSlots| {
            !(out.supersedes.contains(&a.terms.id) && done.contains(&d.id))
        };
        let wards: BTreeSet<&WardId> = roster.values().map(|d| &d.ward).collect();
        for d in facts.approvals.iter().flat_map(|a| a.devices.iter().filter(move |d| counts(a, d))) {
            // One on no roster may come back, into whatever ward.
            let own = |ward: &&&WardId| roster.get(&d.id).is_none_or(|device| device.ward == ***ward);
            for ward in wards.iter().filter(own) {
                taken.entry(ward).or_default().extend(d.slots.iter().map(|s| (&d.id, *s)));
            }
        }
        for d in &out.devices {
            let binding = facts.calendars.iter().map(|(_, c)| c).filter(|c| c.scope.binds(&d.id, ward_of(&d.id)));
            let open: Vec<Opening> = openings(&binding.collect::<Vec<_>>(), now(), until, 1_000).unwrap();
            for slot in &d.slots {
                prop_assert!(open.iter().any(|o| o.start <= slot.start && slot.end <= o.end), "{slot:?}");
                prop_assert!(slot.end.duration_since(slot.start) >= need);
            }
            prop_assert!(d.slots.windows(2).all(|w| w[0].end <= w[1].start));
            prop_assert!(request.deadline.is_none_or(|deadline| d.slots.iter().all(|s| s.end <= deadline)));
            // A slot for each step in each turn, and turns are whole.
            let (steps, turns) = (out.steps_of(d), request.slots_per_device as usize);
            prop_assert!(!d.slots.is_empty() && d.slots.len() % steps == 0 && d.slots.len() <= steps * turns);
            let runs = inventory.iter().find(|k| k.id == d.id).map(|k| k.running.as_ref().unwrap().release.0);
            prop_assert_eq!(steps, if runs.is_some_and(|r| r < 3) { 2 } else { 1 });
            taken.entry(ward_of(&d.id)).or_default().extend(d.slots.iter().map(|s| (&d.id, *s)));
        }

        // Wherever a planned slot is, the ward is within its cap: earlier approvals are counted, replaced or not, but for
        // who is done with one that is replaced, those on no roster in every ward, and each device once.
        for d in &out.devices {
            let all = &taken[ward_of(&d.id)];
            for mine in &d.slots {
                for t in all.iter().map(|(_, s)| s.start).filter(|t| mine.start <= *t && *t < mine.end) {
                    let busy: BTreeSet<_> =
                        all.iter().filter(|(_, s)| s.start <= t && t < s.end).map(|(id, _)| id).collect();
                    prop_assert!(busy.len() <= request.cap as usize, "{busy:?} at {t}");
                }
            }
        }

        // A later wave begins only when all of the earlier have had their turn, and the soak is over.
        for turn in 0..request.slots_per_device as usize {
            let out = &out;
            // From the beginning of a device's first step in the turn to the end of its last.
            let turns = |wave: u32| out.devices.iter().filter(move |d| d.wave == wave).filter_map(move |d| {
                let steps = out.steps_of(d);
                let slots = d.slots.get(turn * steps..(turn + 1) * steps)?;
                Some(Slot { start: slots[0].start, end: slots[steps - 1].end })
            });
            for (wave, planned) in (0u32..).zip(&out.waves) {
                let soak = SignedDuration::from_secs(planned.gate.soak_secs.into());
                let later = (wave + 1..out.waves.len() as u32).flat_map(turns).map(|s| s.start).min();
                if let (Some(end), Some(next)) = (turns(wave).map(|s| s.end).max(), later) {
                    prop_assert!(end + soak <= next, "wave {wave}, turn {turn}: {end}, then {next}");
                }
            }
        }
        for (wave, planned) in (0u32..).zip(&out.waves) {
            prop_assert_eq!(out.devices.iter().filter(|d| d.wave == wave).count(), planned.devices as usize);
            prop_assert!(planned.devices > 0);
        }

        // It reads back, comes out again, and whatever holds the devices can be signed.
        prop_assert_eq!(&Plan::parse(&out.to_bytes().unwrap()).unwrap(), &out);
        prop_assert_eq!(&out.recompute(facts).unwrap(), &out);
        if !out.devices.is_empty() {
            let (approval, operator) = out.to_approval(&signing(), now()).unwrap();
            prop_assert_eq!(approval.terms.operator_document.sha256, Digest::of(&operator.to_bytes().unwrap()));
            prop_assert_eq!(operator.plan_sha256, out.digest().unwrap());
            prop_assert_eq!(&approval.devices, &out.devices);
        }
    }

    #[test]
    fn the_order_of_the_inputs_does_not_matter(case in cases()) {
        let Case { facts, request, inventory } = case;
        let mut turned = facts.clone();
        let devices = turned.rosters.pop().unwrap().1.devices;
        let half = |part: Part| {
            let devices = devices.iter().filter(|d| part.holds(&d.id)).cloned().collect();
            (pinned(path::roster(part)), Roster::new(id("riverside"), part, devices))
        };
        let mut split = facts.clone();
        split.rosters = Part::split(2).map(half).collect();
        turned.rosters = split.rosters.iter().rev().cloned().collect();
        turned.calendars.reverse();
        turned.approvals.reverse();
        let reversed: Vec<_> = inventory.iter().rev().cloned().collect();
        let one = plan(&split, &request, &inventory, now());
        let two = plan(&turned, &request, &reversed, now());
        prop_assert_eq!(one.ok().map(|p| p.to_bytes().unwrap()), two.ok().map(|p| p.to_bytes().unwrap()));
    }
}
