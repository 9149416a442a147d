//! One binary for all integration tests: linking is what they cost most.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests; a failure ought to stop them where it happens"
)]

/// One test for each database: the body is a function of the kind.
macro_rules! on_both {
    ($name:ident, $body:path) => {
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $body(suture_tests::world::Kind::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $body(suture_tests::world::Kind::Postgres).await;
            }
        }
    };
}

#[path = "../../../agent/src/cli.rs"]
mod agent_cli;
mod at_the_device;
mod boot;
mod calendars;
mod ceremony;
mod controls;
mod custody;
mod cuts;
mod data;
mod delegated;
mod deltas;
mod departure;
mod documents;
mod events;
mod evidence;
mod examples;
mod exits;
mod exposure;
mod faults;
mod field;
mod forks;
mod gates;
mod help;
mod hospital;
mod hostile;
mod inbound;
mod inbox;
mod installers;
mod integrity;
mod itself;
mod journey;
mod killed;
mod lapse;
mod leases;
mod life;
mod lifetime;
mod lists;
mod load;
mod manual;
mod notices;
mod objects;
mod obstacles;
mod people;
mod power_loss;
mod rauc;
#[path = "../../../agent/src/install/rauc/stage.rs"]
#[expect(dead_code, reason = "the installer's own tests need more of it")]
mod rauc_stage;
mod recovery;
mod refresh;
mod refusals;
mod replicas;
mod roster;
mod runbooks;
mod service;
mod service_manager;
mod shapes;
mod sizes;
mod stops;
mod took;
mod tours;
mod transfer_limits;
mod tries;
mod ward;
mod watching;
mod ways;
mod withdrawal;
mod witnesses;
