//! What the manufacturer does: bundles with their papers, notices, dates, suggestions.

use std::fs;

use suture_tests::world::{HDO, text};

use super::{Shapes, string};
use crate::documents::{declared, sbom, vex};
use crate::hospital::Hospital;

/// The releases that come with papers; a device that installs the first waits for a person's check.
pub(super) const CHECKED: u64 = 3;
const LAST: u64 = 4;

/// A notice to every hospital.
pub(super) const ADVISORY: &str = "kind = \"advisory\"\nproduct = \"pump\"\nreleases = [\"1\"]\nseverity = \"high\"\n\
    cves = [\"CVE-2026-12345\"]\nsubject = \"the alarm\"\ntext = \"It can be silenced.\"\nactions = \"Install release 2.\"\n\
    compensating = \"A network of its own.\"\n";

/// The specification of a small bundle with its papers.
fn spec(h: &Hospital, release: u64) -> String {
    let (version, tree) = (format!("1.{}.0", release - 1), h.world.path(format!("small-{release}")));
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("VERSION"), format!("{version}\n")).unwrap();
    let papers = declared(&h.world, release, &sbom(release, &format!("8.{release}")), &vex("affected"));
    let toml = format!(
        "product = \"pump\"\nversion = \"{version}\"\nrelease = {release}\nhardware = [\"rev-a\"]\nclass = \"routine\"\n\
         install = {{ kind = \"slots\", budget_secs = 60, revert_budget_secs = 30, return_to_service = true }}\n\
         [[payload]]\nname = \"app\"\nformat = \"tree\"\npath = \"{}\"\n{papers}",
        tree.display()
    );
    let file = h.world.path(format!("small-{release}.toml"));
    fs::write(&file, toml).unwrap();
    text(&file).to_owned()
}

async fn bundles(h: &Hospital, s: &mut Shapes) {
    let ada = &h.ada;
    for (release, told) in [(CHECKED, &[][..]), (LAST, &["--notice", "auto"])] {
        let dir = h.world.path(format!("bundle-{release}"));
        s.play(ada, &["bundle", "build", &spec(h, release), "-o", text(&dir)]).await;
        s.play(ada, &["bundle", "inspect", text(&dir)]).await;
        s.play(ada, &["bundle", "sign", text(&dir)]).await;
        s.play(ada, &[&["bundle", "publish", text(&dir)], told].concat()).await;
    }
    let statements = h.world.path("acme-2026-001.json");
    fs::write(&statements, vex("affected").to_string()).unwrap();
    for words in [
        &["bundle", "list"][..],
        &["bundle", "inspect", text(&h.first.dir)],
        &["bundle", "diff", "pump@1", "pump@2"],
        &["bundle", "diff", "pump@3", "pump@4"],
        &["bundle", "adoption", "pump@2"],
        &["vex", "publish", text(&statements), "--product", "pump"],
        &["vex", "list"],
        &["exposure", "--component", "pkg:deb/debian/curl"],
        &["exposure", "--cve", "CVE-2026-1000"],
        &["vex", "withdraw", "pump", "acme-2026-001", "--reason", "it named the wrong version"],
    ] {
        s.play(ada, words).await;
    }
}

/// Everything before the hospital has answered.
pub(super) async fn play(h: &Hospital, s: &mut Shapes) {
    let ada = &h.ada;
    let spec = h.world.path("advisory.toml");
    fs::write(&spec, ADVISORY).unwrap();
    for words in [
        &["whoami"][..],
        &["doctor"],
        &["key", "new", "spare", "--no-passphrase"],
        &["key", "list"],
        &["key", "check", "targets"],
        &["key", "export-public", "targets"],
        &["key", "change-passphrase", "spare", "--no-passphrase"],
        &["catalog", "init"],
        &["catalog", "status"],
        &["life", "set", "pump", "--general-availability", "2020-01-01", "--eos", "2036-01-01", "--reason", "as sold"],
        &["life", "show", "pump"],
        &["life", "history", "pump"],
        &["life", "export", "pump", "--openeox"],
        &[
            "responsibilities",
            "propose",
            "pump",
            "--hdo",
            HDO,
            "--cell",
            "apply-patches@support=shared-manufacturer",
            "--reason",
            "x",
        ],
        &["responsibilities", "show", "pump", "--hdo", HDO],
        &["responsibilities", "history", "pump", "--hdo", HDO],
        &["notice", "publish", text(&spec)],
        &["notice", "clocks", "pump@2", "--learned", "2026-11-20"],
    ] {
        s.play(ada, words).await;
    }
    bundles(h, s).await;
    let notices = s.play(ada, &["notice", "list"]).await;
    s.play(ada, &["notice", "status", &string(&notices[0]["id"])]).await;
    s.play(ada, &["evidence", "product", "pump", "-o", text(&h.world.path("product"))]).await;
    let proposed = s.play(ada, &["rollout", "propose", "pump@2", "--all", "--note", "a louder alarm"]).await;
    s.play(ada, &["rollout", "proposals"]).await;
    let taken = ["rollout", "take-back", &string(&proposed["proposal"]), "--reason", "the notes are wrong"];
    s.play(ada, &taken).await;
    people(h, s).await;
}

/// Colleagues and another hospital come, and one colleague goes.
async fn people(h: &Hospital, s: &mut Shapes) {
    let (ada, eve, lee) = (&h.ada, h.world.operator("eve"), h.world.operator("lee"));
    let invited = s.play(ada, &["operator", "invite", "eve"]).await;
    let joined = s.play(&eve, &["join", &string(&invited["token"])]).await;
    s.play(&eve, &["catalog", "trust", &string(&joined["catalog_root_sha256"])]).await;
    s.play(ada, &["operator", "revoke", "eve"]).await;
    let invited = s.play(ada, &["hdo", "invite", "hilltop", "--name", "Hilltop Clinic"]).await;
    let join = ["hdo", "join", &string(&invited["token"]), "--name", "lee", "--no-passphrase"];
    let joined = s.play(&lee, &join).await;
    s.play(ada, &["hdo", "pin", "hilltop", "--root", &string(&joined["approvals"]["root_sha256"])]).await;
    s.play(ada, &["hdo", "list"]).await;
}

/// What follows upon the hospital's word.
pub(super) async fn answer(h: &Hospital, s: &mut Shapes, report: &str) {
    for words in [
        &["report", "list"][..],
        &["report", "acknowledge", report, "--hdo", HDO, "--text", "we look into it"],
        &["bundle", "withdraw", "pump@4", "--reason", "the alarm is too quiet"],
        &["catalog", "set-status", "pump", "1", "withdrawn"],
        &["catalog", "renew"],
    ] {
        s.play(&h.ada, words).await;
    }
}
