//! What stands in the way, tested one thing after another: configuration, identity, name, route, proxy, TLS, clock, disk.

use std::path::Path;
use std::sync::Arc;

use suture_core::clock::{Clock, format_utc};
use suture_core::phase::{Code, Reason};
use suture_core::progress::Progress;
use suture_proto::connect::{Finding, Outcome, ProxyRules, clock_finding, probe};

use crate::agent::{self, chain};
use crate::client::{Client, Said};
use crate::config::{Settings, Way};
use crate::durable;
use crate::floor::Floors;
use crate::identity::Identity;
use crate::install::{ImageSettings, Installer, Loader, Version, nobody_blesses};
use crate::machine::State;

/// Less than this on a disk is worth a look: an update of ordinary size would not fit.
const LOW_DISK_BYTES: u64 = 1 << 30;

/// Tests everything that can be tested without changing anything.
pub async fn examine(settings: &Settings, clock: Arc<dyn Clock>, proxy: ProxyRules) -> Vec<Finding> {
    let mut findings = vec![version(settings).await, installer(settings).await];
    findings.extend(boot_count(settings));
    findings.push(disk("state-disk", &settings.state_dir));
    findings.push(disk("slots-disk", &settings.slots_dir));
    findings.push(floor(settings, clock.as_ref()));
    let identity = match Identity::open(&settings.state_dir) {
        Ok(identity) => identity,
        Err(e) => {
            findings.push(Finding::bad("identity", chain(&e)));
            return findings;
        }
    };
    findings.push(certificate(&identity, clock.as_ref()));
    let ways = match identity.ways() {
        Ok(ways) => ways,
        Err(e) => {
            findings.push(Finding::bad("identity", chain(&e)));
            return findings;
        }
    };
    for way in ways.all() {
        let connection = match identity.connection(way, clock.clone(), proxy.clone()) {
            Ok(connection) => connection,
            Err(e) => {
                findings.push(Finding::bad("identity", chain(&e)));
                return findings;
            }
        };
        let mut way = probe(&connection).await;
        if way.iter().all(|f| f.outcome != Outcome::Bad) {
            way.extend(server(settings, &connection, clock.as_ref()).await);
        }
        findings.extend(way);
    }
    findings
}

async fn version(settings: &Settings) -> Finding {
    match Installer::new(settings).running().await {
        Ok(Some(version)) => {
            let text = format!("{} runs, release {}", version.manifest.version, version.manifest.release);
            Finding::good("slots", text)
        }
        Ok(None) => Finding::bad("slots", "no version is provisioned; run `suture-agent provision`"),
        Err(e) => Finding::bad("slots", chain(&e)),
    }
}

async fn installer(settings: &Settings) -> Finding {
    match Installer::new(settings).examine().await {
        Ok(Ok(text)) => Finding::good("installer", text),
        Ok(Err(wrong)) => Finding::bad("installer", wrong),
        Err(e) => Finding::bad("installer", chain(&e)),
    }
}

/// Where systemd-boot counts a new version's starts: that nobody else ends the count.
fn boot_count(settings: &Settings) -> Option<Finding> {
    let Way::Image(ImageSettings { loader: Loader::SystemdBoot(_), .. }) = &settings.installer.way else { return None };
    Some(match nobody_blesses(Path::new("/")) {
        Ok(text) => Finding::good("boot-count", text),
        Err(wrong) => Finding::bad("boot-count", wrong),
    })
}

/// Of a directory that is not there yet, as on a device that has not begun, the disk is that of the one which it will be made in.
fn disk(test: &'static str, path: &Path) -> Finding {
    let there = path.ancestors().find(|directory| directory.is_dir()).unwrap_or(path);
    match durable::free_bytes(there) {
        Ok(free) if free < LOW_DISK_BYTES => {
            Finding::doubtful(test, format!("{} has {} MiB left", path.display(), free >> 20))
        }
        Ok(free) => Finding::good(test, format!("{} has {} MiB left", path.display(), free >> 20)),
        Err(e) => Finding::bad(test, chain(&e)),
    }
}

fn floor(settings: &Settings, clock: &dyn Clock) -> Finding {
    match Floors::open(&settings.state_dir, &settings.slots_dir) {
        Ok(floors) if clock.now() < floors.time() => Finding::bad(
            "time-floor",
            format!("the clock is before {}, which signatures prove; set it", format_utc(floors.time())),
        ),
        Ok(_) => Finding::good("time-floor", "the clock is not before what signatures prove"),
        Err(e) => Finding::bad("time-floor", chain(&e)),
    }
}

fn certificate(identity: &Identity, clock: &dyn Clock) -> Finding {
    let until = format_utc(identity.expires());
    if identity.expires() < clock.now() {
        Finding::doubtful("identity", format!("the certificate expired at {until}; it is renewed at the next contact"))
    } else {
        Finding::good("identity", format!("{}, certificate until {until}", identity.device().device))
    }
}

/// A check-in that says nothing new: whether the server knows the device, and its clock.
async fn server(settings: &Settings, connection: &suture_proto::connect::Settings, clock: &dyn Clock) -> Vec<Finding> {
    // One that cannot be read, or is gone, is no word of a device that rests.
    let state = agent::peek(settings).map_or_else(
        |e| State::Held { attempt: None, reason: Reason::new(Code::StateDamaged, chain(&e)) },
        |journal| journal.state().clone(),
    );
    let installer = Installer::new(settings);
    let running = installer.running().await.ok().flatten();
    let said = Said {
        product: settings.product.to_string(),
        hardware: settings.hardware.to_string(),
        running: running.as_ref().map(Version::running),
        installs: running.as_ref().map(|version| version.installs(settings, &installer)),
        catalog: None,
        approvals: None,
        phase: state.phase(),
        reason: state.trouble().map(|(reason, _)| reason.clone()),
        approval: state.attempt().map(|a| a.approval.clone()),
        progress: Progress::default(),
        seen_signature: None,
        witness: None,
        doubts: false,
        held: None,
        events: None,
    };
    let asked = clock.now();
    let heard = match Client::new(connection) {
        Ok(mut client) => client.check_in(said).await,
        Err(e) => Err(e),
    };
    match heard {
        Err(e) => vec![Finding::bad("server", chain(&e))],
        Ok(heard) => {
            let confirmed = match heard.confirmed {
                true => Finding::good("server", "the hospital has confirmed this device"),
                false => Finding::doubtful("server", "the hospital has not confirmed this device yet"),
            };
            vec![confirmed, clock_finding(asked, heard.server_ms, clock.now())]
        }
    }
}
