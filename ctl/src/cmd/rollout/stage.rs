//! In which stage of their lives the bundle of a plan is and what its devices run, and whether it may be rolled out.
//!
//! Past the end of support nothing new is signed without an acceptance of that risk by a key of the hospital's: for the
//! product, the release and each device, and in force. The server asks the same when the approval is published; devices do
//! not. A way back, which permits a lower release, is exempt: it must always be open.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::Serialize;
use suture_core::clock::day_of;
use suture_core::id::{DeviceId, ProductId};
use suture_core::life::{Life, Stage, Standing};
use suture_core::plan::Plan;
use suture_core::risk::Member;
use suture_core::version::Release;

use crate::cmd::{life, risk};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::Desk;

/// The stages of a plan.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Stages {
    product: ProductId,
    release: Release,
    /// Of the bundle.
    target: Standing,
    /// Of what its devices run, by release.
    running: Vec<RunningStage>,
    /// Its devices for which nobody has accepted the risk of a bundle without support; none where that is not asked for.
    unaccepted: Vec<DeviceId>,
}

#[derive(Debug, Clone, Serialize)]
struct RunningStage {
    release: Release,
    devices: usize,
    standing: Standing,
}

/// The stages of a plan's bundle and devices; none where the manufacturer has said nothing of the product.
pub(super) async fn of(context: &mut Context<'_>, desk: &mut Desk, plan: &Plan) -> Outcome<Option<Stages>> {
    let step = &plan.bundle.step;
    let register = risk::register(context, &mut desk.client, &desk.hdo).await?;
    risk::remind(context, &register);
    let Some(life) = crate::life::refreshed(context, &mut desk.client, &step.product).await? else { return Ok(None) };
    let today = day_of(context.now());
    let mut stages = stages(&life, plan, today);
    // A way back is always open, to a release that has no support too: `server/src/risk.rs` says why.
    if stages.target.stage == Stage::EndOfSupport && !plan.request.permit_downgrade {
        let devices = plan.devices.iter().filter_map(|planned| desk.documents.device(&planned.id)).map(Member::from);
        let root = desk.approvals.root();
        let open = risk::uncovered(&register, root, (&step.product, step.release), devices, today);
        stages.unaccepted = open.into_iter().map(|member| member.id.clone()).collect();
    }
    Ok(Some(stages))
}

fn stages(life: &Life, plan: &Plan, today: Date) -> Stages {
    let step = &plan.bundle.step;
    let planned: BTreeSet<&DeviceId> = plan.devices.iter().map(|device| &device.id).collect();
    let mut by_release: BTreeMap<Release, usize> = BTreeMap::new();
    let known = plan.inventory.iter().filter(|known| planned.contains(&known.id));
    for running in known.filter_map(|known| known.running.as_ref()) {
        *by_release.entry(running.release).or_default() += 1;
    }
    Stages {
        product: step.product.clone(),
        release: step.release,
        target: life.standing(Some(step.release), today),
        running: by_release
            .into_iter()
            .map(|(release, devices)| RunningStage { release, devices, standing: life.standing(Some(release), today) })
            .collect(),
        unaccepted: Vec::new(),
    }
}

impl Stages {
    /// For people, one line each.
    pub(super) fn to_text(&self) -> String {
        let Self { product, release, target, running, unaccepted } = self;
        let mut text = format!("support: {product}@{release} is in {}\n", says(target));
        for line in life::uncovered(target) {
            text.push_str(&format!("         {line}\n"));
        }
        for RunningStage { release, devices, standing } in running {
            text.push_str(&format!(
                "         {devices} of the devices run {release}, which is in {}\n",
                says(standing)
            ));
        }
        if let Some(first) = unaccepted.first() {
            text.push_str(&format!(
                "         NOT TO BE APPROVED: nobody has accepted the risk for {} of its devices, {first} for one\n",
                unaccepted.len()
            ));
        }
        text
    }

    /// Refuses it where an acceptance is asked for and not there.
    pub(super) fn may_begin(&self) -> Outcome {
        let Some(first) = self.unaccepted.first() else { return Ok(()) };
        let Self { product, release, .. } = self;
        Err(Failure::new(format!(
            "support of {product}@{release} is over, and no signed acceptance of that risk in force names {} of the plan's devices, \
             {first} for one",
            self.unaccepted.len()
        ))
        .next(format!(
            "`suturectl risk list` shows what is on record; `suturectl risk assess --product {product} --releases {release} \
             --treatment acceptance ...` puts more there"
        )))
    }
}

/// A stage with the next date that matters.
fn says(standing: &Standing) -> String {
    let next = match standing.stage {
        Stage::Development => standing.dates.general_availability.map(|day| format!("available from {day}")),
        Stage::Support => standing.dates.end_of_life.map(|day| format!("limited from {day}")),
        Stage::LimitedSupport => standing.dates.end_of_support.map(|day| format!("none from {day}")),
        Stage::EndOfSupport => standing.dates.end_of_support.map(|day| format!("since {day}")),
    };
    next.map_or_else(|| standing.stage.to_string(), |next| format!("{} ({next})", standing.stage))
}

#[cfg(test)]
mod tests {
    use super::*;
    use suture_core::clock::parse_day;
    use suture_core::life::Dates;

    fn standing(stage: Stage) -> Standing {
        Standing {
            stage,
            dates: Dates {
                general_availability: parse_day("2026-01-01"),
                end_of_sales: None,
                end_of_life: parse_day("2029-01-01"),
                end_of_support: parse_day("2031-01-01"),
            },
            not_covered: vec!["Bluetooth".to_owned()],
            ended_components: Vec::new(),
        }
    }

    fn stages(unaccepted: &[&str]) -> Stages {
        Stages {
            product: "pump".parse().unwrap(),
            release: Release(7),
            target: standing(Stage::EndOfSupport),
            running: vec![RunningStage { release: Release(5), devices: 12, standing: standing(Stage::LimitedSupport) }],
            unaccepted: unaccepted.iter().map(|id| id.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_plan_says_in_which_stages_it_moves_and_what_is_missing() {
        let text = stages(&["pump-1", "pump-2"]).to_text();
        assert!(text.contains("pump@7 is in end-of-support (since 2031-01-01)"), "{text}");
        assert!(text.contains("no longer covered: Bluetooth"), "{text}");
        assert!(text.contains("12 of the devices run 5, which is in limited-support (none from 2031-01-01)"), "{text}");
        assert!(text.contains("nobody has accepted the risk for 2 of its devices, pump-1"), "{text}");
        let refused = stages(&["pump-1"]).may_begin().unwrap_err().to_text();
        assert!(refused.contains("--releases 7 --treatment acceptance"), "{refused}");
        stages(&[]).may_begin().unwrap();
    }
}
