//! What stands in the way, tested one thing after another: configuration, identity, name, route, proxy, TLS, clock, disk.

mod revival;

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

/// Where Linux says its release, as `uname -r` does.
const RELEASE: &str = "/proc/sys/kernel/osrelease";
/// The first that says by `syncfs` that something could not be written (syncfs(2)), with which [`crate::install::Slots`] brings a
/// whole version to the disk.
const TELLS: (u32, u32) = (5, 8);

/// Tests everything that can be tested without changing anything.
pub async fn examine(settings: &Settings, clock: Arc<dyn Clock>, proxy: ProxyRules) -> Vec<Finding> {
    let mut findings = vec![version(settings).await, installer(settings).await];
    findings.extend(boot_count(settings));
    findings.extend(revival::findings(&settings.installer.way, Path::new("/proc"), Path::new("/sys")));
    if matches!(settings.installer.way, Way::Slots) || settings.itself.is_some() {
        findings.extend(kernel(Path::new(RELEASE)));
    }
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

/// Where versions are written as files: that Linux tells of those that did not come to the disk. Nothing where it does.
fn kernel(release: &Path) -> Option<Finding> {
    let said = durable::read(release, durable::MAX_STATE_BYTES).ok().flatten().unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let here = match linux(&said) {
        Some(numbers) if numbers >= TELLS => return None,
        Some(_) => format!("this is Linux {}", said.trim()),
        None => format!("{} does not say which Linux this is ({:?})", release.display(), said.trim()),
    };
    let text = "before 5.8 Linux does not say that something could not be written, so that a version can count as whole that is not \
                on the disk; use a newer one, or the installer `image`, which reads the medium again";
    Some(Finding::doubtful("kernel", format!("{here}; {text}")))
}

/// The first two numbers of a release of Linux: of `6.1.0-56-cloud-amd64` 6 and 1.
fn linux(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.trim().split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    // `parse` takes a sign too.
    let number = |digits: &str| digits.parse().ok().filter(|_| digits.starts_with(|c: char| c.is_ascii_digit()));
    Some((number(major)?, number(minor)?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_linux_are_read_as_far_as_they_make_sense() {
        for (release, numbers) in [
            ("5.4.0-x", (5, 4)),
            ("6.1.0-56-cloud-amd64", (6, 1)),
            ("5.8", (5, 8)),
            ("5.8-rc1\n", (5, 8)),
            ("5.10.226+", (5, 10)),
            ("4.19.0", (4, 19)),
            ("10.0.0", (10, 0)),
        ] {
            assert_eq!(linux(release), Some(numbers), "{release}");
        }
        for nonsense in ["", "linux", "5", "5.", ".8", "5.x", "v5.8", "+5.8", "5x.8", "-5.8", "99999999999.1"] {
            assert_eq!(linux(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_linux_that_tells_of_no_write_error_is_doubtful() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("osrelease");
        let said = |release: &str| {
            std::fs::write(&path, release).unwrap();
            kernel(&path)
        };
        for old in ["5.4.0-1\n", "4.19.0", "5.7.19", "nonsense"] {
            let finding = said(old).unwrap();
            assert_eq!(finding.outcome, Outcome::Doubtful);
            assert!(finding.text.contains(old.trim()) && finding.text.contains("5.8"), "{}", finding.text);
        }
        for new in ["5.8.0", "5.10.0-28-amd64", "6.1.0-56-cloud-amd64"] {
            assert!(said(new).is_none(), "{new}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(kernel(&path).unwrap().outcome, Outcome::Doubtful);
    }
}
