//! The tours of `deploy/tours`: their commands are run as they stand on the page, by a shell and the compiled programs, and what
//! they print is what the page says.
//!
//! A page's `sh` blocks are played in order; a `text` block right below one is what it prints. `...` within a line stands for
//! any words, and as a line of its own for any lines. Runs of spaces are one. `sh parsed` is not played: what a reader cannot try
//! on one machine, or what takes days; its commands are tried for their words alone (`examples.rs`).
//!
//! The tests play them on one machine below a directory of their own; [`place`] has what that changes, and [`manager`] stands for
//! the service manager. A tour that needs another's result begins with that one's commands.

mod agreement;
mod manager;
pub(crate) mod page;
mod place;
mod stage;

use page::Page;
use stage::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_tour() {
    let (operator, manufacturer) = (Page::open("operator.md"), Page::open("manufacturer.md"));
    let (server, rest) = operator.halves("## Run it for years");
    let (join, _) = manufacturer.halves("## Build a release");
    Stage::open().await.play(&[server, join, rest]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manufacturers_and_the_integrators_tour() {
    let (operator, manufacturer) = (Page::open("operator.md"), Page::open("manufacturer.md"));
    let (server, _) = operator.halves("## Run it for years");
    Stage::open().await.play(&[server, manufacturer.steps(), Page::open("integrator.md").steps()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hospitals_tour() {
    let (operator, manufacturer) = (Page::open("operator.md"), Page::open("manufacturer.md"));
    let (server, _) = operator.halves("## Run it for years");
    let integrator = Page::open("integrator.md");
    let (device, _) = integrator.halves("## Let it join a hospital of your own");
    Stage::open().await.play(&[server, manufacturer.steps(), device, Page::open("hospital.md").steps()]).await;
}
