//! A ward of pumps that run 1.0.0, and a hospital that can approve 1.1.0 for all of them at once.

use jiff::Timestamp;
use suture_tests::world::{Device, Operator, Spec, World, text};

/// The ward, its hospital and its manufacturer.
pub(crate) struct Ward {
    pub(crate) world: World,
    pub(crate) ada: Operator,
    pub(crate) kim: Operator,
    pub(crate) pumps: Vec<Device>,
}

impl Ward {
    /// Publishes releases 1 and 2 as `spec` has them; every pump runs the first.
    pub(crate) async fn open(world: World, spec: Spec<'static>, pumps: &[&str]) -> Self {
        let ada = world.manufacturer().await;
        let first = world.publish(&ada, Spec { release: 1, ..spec.clone() }).await;
        world.publish(&ada, Spec { release: 2, ..spec }).await;
        let kim = world.hospital(&ada).await;
        let always = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";
        kim.run(&["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", always]).await.unwrap();
        let pumps = world.devices(&kim, pumps, &first).await;
        Self { world, ada, kim, pumps }
    }

    /// Approves the second release for all pumps, in slots that begin now: the clock is set to it.
    pub(crate) async fn approve(&self) -> Timestamp {
        let (file, cap) = (self.world.path("plan.json"), self.pumps.len().to_string());
        let args = ["rollout", "plan", "--bundle", "pump@2", "--ward", "icu", "--wave", "rest", "--cap", &cap];
        let more = ["--slots", "1", "--slack", "60s", "--spread", "0s", "-o", text(&file)];
        let plan = self.kim.json(&[&args[..], &more].concat()).await.unwrap();
        self.kim.run(&["rollout", "approve", plan["sha256"].as_str().unwrap(), "--reason", "tested"]).await.unwrap();
        let start = plan["plan"]["devices"][0]["slots"][0]["start"].as_str().unwrap().parse().unwrap();
        self.world.clock.set(start);
        start
    }
}
