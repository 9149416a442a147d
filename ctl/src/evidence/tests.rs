//! A folder as it ought to be, and as somebody on the way would like it.

use suture_core::phase::Phase;

use super::facts::{Facts, What};
use super::fixture::{about, gathered, key, line};
use super::reports;
use super::{About, Evidence, Files, Index, Verdict, draw_up, index, seal, verify};
use crate::hospital::fixture::id;

fn folder() -> Files {
    draw_up(&about(), &gathered()).unwrap_or_else(|f| panic!("{}", f.to_text()))
}

/// The files that a verdict names, each once.
fn named(verdict: &Verdict) -> Vec<&str> {
    let mut names: Vec<&str> = verdict.problems.iter().filter_map(|p| p.file.as_deref()).collect();
    names.dedup();
    names
}

/// The same folder after somebody has changed what it rests on, with everything drawn up anew as far as that goes: facts and
/// pages from the honest folder, lengths and digests of the index from the new files.
fn forged(change: impl FnOnce(&mut Files)) -> Verdict {
    let mut files = folder();
    change(&mut files);
    files.remove(index::PATH);
    let index = Index::of(&about(), &files).unwrap();
    files.insert(index::PATH.to_owned(), index.to_bytes().unwrap());
    let verdict = verify(&files);
    assert!(!verdict.problems.is_empty() && verdict.evidence.is_none(), "it passes for evidence");
    verdict
}

/// The head of an approval in the folder.
fn path_of(files: &Files, end: &str) -> String {
    files.keys().find(|path| path.starts_with("approvals/approvals/") && path.ends_with(end)).unwrap().clone()
}

#[test]
fn the_same_data_give_the_same_bytes_and_they_verify() {
    let files = folder();
    assert_eq!(files, folder());
    let verdict = verify(&files);
    assert_eq!(verdict.problems, []);
    assert!(verdict.drawn_again && verdict.evidence.is_some());
    // Drawn up again from a folder that is whole, it is the same folder.
    assert_eq!(draw_up(&about(), &files).unwrap(), files);
    for path in
        ["README.md", "index.html", "index.json", "facts/outcome.csv", "served/rollouts.json", "audit/checkpoint"]
    {
        assert!(files.contains_key(path), "{path}");
    }
    assert!(files.keys().any(|path| path.ends_with(".manifest.json")));
}

#[test]
fn one_flipped_byte_is_named_by_its_file_whichever_it_is() {
    let files = folder();
    for (path, bytes) in &files {
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut bent = files.clone();
            bent.get_mut(path).unwrap()[at] ^= 1;
            let verdict = verify(&bent);
            assert_eq!(named(&verdict), [path.as_str()], "byte {at} of {path}");
            assert!(verdict.evidence.is_none());
        }
        let mut without = files.clone();
        without.remove(path);
        assert_eq!(named(&verify(&without)), [path.as_str()], "{path} is gone");
    }
    let mut more = files;
    more.insert("thesis.txt".to_owned(), b"years".to_vec());
    assert_eq!(named(&verify(&more)), ["thesis.txt"]);
}

#[test]
fn what_a_device_became_is_what_it_has_signed() {
    let files = folder();
    let evidence = Evidence::read(&about(), &files).unwrap();
    let facts = Facts::of(&evidence);
    let told: Vec<_> =
        facts.outcomes.iter().map(|o| (o.device.as_str(), o.proven, o.report, o.runs.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("pump-1", Some(Phase::Confirmed), Some(2), Some("1.1.0 (release 2)")),
            ("pump-2", Some(Phase::FellBack), Some(2), Some("1.0.0 (release 1)")),
        ]
    );
    let deviations: Vec<_> = facts.deviations.iter().map(|d| (d.device.as_ref().map(|d| d.as_str()), d.what)).collect();
    let pump = Some("pump-2");
    let grave = [(None, What::Unanswered), (None, What::Exposes), (pump, What::SecurityEvent)];
    assert_eq!(deviations, [&grave[..], &[(pump, What::FellBack), (pump, What::Forgiven)]].concat());
    let timing = &facts.timings[0];
    assert_eq!((timing.devices, timing.confirmed, timing.per_day_hundredths), (2, 1, Some(100)));
    assert_eq!(timing.within.iter().map(|w| w.share_thousandths).collect::<Vec<_>>(), [500, 500]);
    // The page says both, and nobody's text is a tag in it.
    let page = String::from_utf8(files["index.html"].clone()).unwrap();
    for words in [
        "fell back",
        "kim",
        "tested on the &lt;bench&gt;",
        "&lt;b&gt;the alarm stays silent&lt;/b&gt;",
        "1.1.0 (release 2)",
        "rollout.complete",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("<b>") && !page.contains("<bench>"));
}

#[test]
fn no_conclusion_can_be_changed_and_leave_what_it_rests_on() {
    let replaced = |path: &'static str, from: &'static str, to: &'static str| {
        move |files: &mut Files| {
            let text = String::from_utf8(files[path].clone()).unwrap();
            assert!(text.contains(from), "{from} is not in {path}");
            files.insert(path.to_owned(), text.replace(from, to).into_bytes());
        }
    };
    assert_eq!(named(&forged(replaced("facts/outcome.csv", "fell_back", "confirmed"))), ["facts/outcome.csv"]);
    assert_eq!(named(&forged(replaced("index.html", "fell back", "went well"))), ["index.html"]);
    // What the server says may be replaced by whoever holds the folder; then the conclusions no longer follow from it.
    let verdict = forged(replaced("served/rollouts.json", "\"forgiven\": true", "\"forgiven\": false"));
    assert!(named(&verdict).contains(&"facts/deviations.json"), "{:?}", verdict.problems);
}

#[test]
fn what_is_signed_cannot_be_made_up_or_swapped() {
    // A device that fell back says that it is confirmed: by another's key, or by none.
    let lines = |lines: Vec<reports::Line>| {
        move |files: &mut Files| {
            files.insert(reports::PATH.to_owned(), reports::to_bytes(lines).unwrap());
        }
    };
    let honest = line(1, 2, Phase::Confirmed, None);
    let mut claimed = line(2, 2, Phase::Confirmed, None);
    claimed.signature = honest.signature.clone();
    let told = |verdict: Verdict| verdict.problems.iter().map(|p| p.what.clone()).collect::<String>();
    assert!(told(forged(lines(vec![claimed]))).contains("not signed by the device's report key"));
    let mut swapped = honest.clone();
    swapped.number = 7;
    assert!(told(forged(lines(vec![swapped]))).contains("another device's, or another report"));
    // A statement about another approval, by another key, or in other words.
    let verdict = forged(|files| {
        let path = files.keys().find(|path| path.starts_with("statements/")).unwrap().clone();
        let text = String::from_utf8(files[&path].clone()).unwrap().replace("clinical", "critical");
        files.insert(path, text.into_bytes());
    });
    assert!(named(&verdict)[0].starts_with("statements/pump-2/"), "{:?}", verdict.problems);
    // A version of the approvals that nobody's successor names.
    let verdict = forged(|files| {
        let bytes = files["approvals/2.targets.json"].clone();
        files.insert(
            "approvals/2.targets.json".to_owned(),
            String::from_utf8(bytes).unwrap().replace("\"version\":2", "\"version\":1").into_bytes(),
        );
    });
    assert_eq!(named(&verdict), ["approvals/2.targets.json"]);
    // The approval left out: what it pins is named by nothing then.
    let verdict = forged(|files| drop(files.remove(&path_of(files, ".pump-2.json"))));
    assert!(told(verdict).contains("nothing that is signed names it"));
    // An entry that does not stand in the record.
    let verdict = forged(|files| {
        let text = String::from_utf8(files["audit/entries.jsonl"].clone()).unwrap();
        files.insert(
            "audit/entries.jsonl".to_owned(),
            text.replace("rollout.complete", "rollout.aborted.").into_bytes(),
        );
    });
    assert!(told(verdict).contains("does not stand in the record"));
    // A file that nothing signed names, in a place where such files are.
    let verdict = forged(|files| drop(files.insert("approvals/notes.json".to_owned(), b"{}".to_vec())));
    assert_eq!(named(&verdict), ["approvals/notes.json"]);
}

#[test]
fn what_is_open_before_and_after_is_judged_from_the_pinned_documents() {
    let files = folder();
    let facts = Facts::of(&Evidence::read(&about(), &files).unwrap());
    let open = |release: usize| {
        let ids = facts.exposure.releases[release].open.iter();
        ids.map(|v| (v.id.as_str(), v.said_in.as_deref().unwrap())).collect::<Vec<_>>()
    };
    let own = "bundles/pump/1/manifest.json";
    assert_eq!(open(0), [("CVE-2026-0001", "vex/pump/acme-1.json"), ("CVE-2026-0002", own)]);
    assert_eq!(open(1), [("CVE-2026-0003", "bundles/pump/2/manifest.json")]);
    let [way] = facts.exposure.ways.as_slice() else { panic!("{:?}", facts.exposure.ways) };
    assert_eq!((way.from.0, way.to.0, way.devices), (1, 2, 1), "pump-2 fell back");
    // The library is another in release 2; of the second nobody says that it is gone, and so nobody may read that it is.
    assert_eq!(
        (&way.ended[..], &way.unclear[..]),
        (&["CVE-2026-0001".to_owned()][..], &["CVE-2026-0002".to_owned()][..])
    );
    assert_eq!((&way.still[..], &way.new[..]), (&[][..], &["CVE-2026-0003".to_owned()][..]));
    let counts = |n: usize| {
        let moved = &facts.exposure.devices[n];
        let open = |ran: &Option<super::facts::exposure::Ran>| ran.as_ref().map(|r| (r.release.0, r.open.unwrap()));
        (open(&moved.before), open(&moved.after))
    };
    assert_eq!((counts(0), counts(1)), ((Some((1, 2)), Some((2, 1))), (Some((1, 2)), Some((1, 2)))));
    // A statement left out is a signed file that is missing no more than any other would be: the conclusion falls with it.
    let verdict = forged(|files| {
        let vex = files.keys().find(|path| path.starts_with("catalog/vex/")).unwrap().clone();
        files.remove(&vex);
    });
    assert!(named(&verdict).contains(&"facts/exposure.json"), "{:?}", verdict.problems);
    let verdict = forged(|files| {
        let other = files["documents/pump/2/pump.cdx.json"].clone();
        files.insert("documents/pump/1/pump.cdx.json".to_owned(), other);
    });
    assert_eq!(named(&verdict), ["documents/pump/1/pump.cdx.json"]);
}

const FIRST: &str = "letters/riverside/manufacturer/1.json";

#[test]
fn no_letter_is_left_out_swapped_or_rewritten() {
    let evidence = Evidence::read(&about(), &folder()).unwrap();
    let letters: Vec<_> = evidence
        .letters
        .all
        .iter()
        .map(|kept| (kept.letter.from.as_str(), kept.letter.number, kept.is_listed))
        .collect();
    assert_eq!(letters, [("manufacturer", 1, true), ("manufacturer", 2, true), ("hospital", 1, true)]);
    let second = &evidence.letters.all[1].letter;
    assert_eq!(evidence.letters.answer(second).map(|answer| answer.from.as_str()), Some("hospital"));
    assert!(evidence.letters.answer(&evidence.letters.all[0].letter).is_none());
    let verdict = forged(|files| drop(files.remove(FIRST)));
    assert_eq!(named(&verdict), ["letters/riverside/manufacturer/2.json"], "nothing that follows it is read");
    let verdict = forged(|files| {
        let other = files["letters/riverside/hospital/1.json"].clone();
        files.insert(FIRST.to_owned(), other);
    });
    assert_eq!(named(&verdict), [FIRST]);
    let verdict = forged(|files| {
        let bent = String::from_utf8(files[FIRST].clone()).unwrap().replace("silenced", "repaired");
        files.insert(FIRST.to_owned(), bent.into_bytes());
    });
    assert_eq!(named(&verdict), [FIRST]);
}

#[test]
fn how_far_a_notice_came_says_what_is_signed_and_what_the_server_says() {
    let files = folder();
    let facts = Facts::of(&Evidence::read(&about(), &files).unwrap());
    let [first, second] = facts.notices.as_slice() else { panic!("{:?}", facts.notices) };
    assert!(first.overdue && first.acknowledged.is_none() && first.read.as_ref().is_some_and(|step| step.by == "kim"));
    // The server says that nobody has answered the second. The hospital's signed letter says otherwise, and counts.
    let answer = second.acknowledged.as_ref().unwrap();
    assert!(answer.signed && answer.text == "noted" && !second.overdue);
    let page = String::from_utf8(files["index.html"].clone()).unwrap();
    for words in
        ["be &lt;u&gt;silenced&lt;/u&gt;", "webhook pager", "noted (signed)", "OVERDUE since 2026-12-01T00:00:00Z"]
    {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn risks_duties_and_events_are_told_each_with_what_it_rests_on() {
    let files = folder();
    let evidence = Evidence::read(&about(), &files).unwrap();
    let risks: Vec<_> = evidence.risks.iter().map(|said| (said.word.number, said.is_listed, said.rests_on())).collect();
    assert_eq!(risks[0], (1, false, "no: the server's word, by certificate alone"));
    assert_eq!(risks[1], (2, true, "verified"));
    let day = "2026-12-24".parse().unwrap();
    let holds = super::words::holds(&evidence.agreements, &id("riverside"), &id("pump"), day);
    assert_eq!(holds.map(|pair| pair.agreement.word.number), Some(1));
    let page = String::from_utf8(files["index.html"].clone()).unwrap();
    for words in [
        "a wrong &lt;dose&gt; over the network",
        "acceptance: no other pump until spring",
        "replaced by a later one",
        "holds until 2027-03-31",
        "shared-manufacturer *: contract &lt;4711&gt;",
        "in force",
        "&lt;i&gt;an old catalog&lt;/i&gt;",
        "metadata-refused",
    ] {
        assert!(page.contains(words), "{words}");
    }
    // An assessment of which the acceptance is made another, one left out, and a consent to what nobody proposed.
    let verdict = forged(|files| {
        let bent = String::from_utf8(files["risks/2.json"].clone()).unwrap().replace("no other pump", "every pump");
        files.insert("risks/2.json".to_owned(), bent.into_bytes());
    });
    assert_eq!(named(&verdict), ["risks/2.json"]);
    assert_eq!(named(&forged(|files| drop(files.remove("risks/1.json")))), ["risks/2.json"]);
    let consent = "agreements/riverside/pump/1.consent.json";
    let verdict = forged(|files| drop(files.remove("agreements/riverside/pump/1.json")));
    assert_eq!(named(&verdict), ["agreements/riverside/pump/1.json"]);
    let verdict = forged(|files| {
        let bytes = files[consent].clone();
        files.insert("agreements/riverside/pump/1.json".to_owned(), bytes);
    });
    assert_eq!(named(&verdict), ["agreements/riverside/pump/1.json"]);
    // Without the consent it is proposed, and nothing more.
    let mut files = gathered();
    files.remove(consent);
    let evidence = Evidence::read(&about(), &files).unwrap();
    assert!(super::words::holds(&evidence.agreements, &id("riverside"), &id("pump"), day).is_none());
}

/// The folder, signed by a key as somebody of that name.
fn signed(by: u8, name: &str) -> Files {
    let mut files = folder();
    seal::sign(&about(), &mut files, id(name), &key(by)).unwrap();
    files
}

#[test]
fn whoever_signs_vouches_for_the_whole_of_it_and_nobody_else_does() {
    assert!(verify(&folder()).seal.is_none());
    let files = signed(22, "kim");
    let verdict = verify(&files);
    assert_eq!(verdict.problems, []);
    assert_eq!(verdict.seal.map(|seal| seal.name.to_string()), Some("kim".to_owned()));
    assert_eq!(draw_up(&about(), &files).unwrap(), folder(), "it is over the index, and no part of it");
    // By a key of the manufacturer's, by anybody's, and one of another folder.
    for stranger in [12, 99] {
        let verdict = verify(&signed(stranger, "kim"));
        assert_eq!((named(&verdict), verdict.seal.is_some()), (vec![seal::PATH], false));
    }
    let other = About { made: about().made + jiff::SignedDuration::from_secs(1), ..about() };
    let mut folder = draw_up(&other, &gathered()).unwrap();
    folder.insert(seal::PATH.to_owned(), files[seal::PATH].clone());
    assert_eq!(named(&verify(&folder)), [seal::PATH]);
    // What the server says may be left out, and all drawn up anew: without a signature nobody would notice.
    let mut fewer = gathered();
    fewer.remove("served/events.json");
    let mut fewer = draw_up(&about(), &fewer).unwrap();
    assert_eq!(verify(&fewer).problems, []);
    fewer.insert(seal::PATH.to_owned(), files[seal::PATH].clone());
    assert_eq!(named(&verify(&fewer)), [seal::PATH]);
    let mut bent = files.clone();
    let at = bent[seal::PATH].len() / 2;
    bent.get_mut(seal::PATH).unwrap()[at] ^= 1;
    assert_eq!(named(&verify(&bent)), [seal::PATH]);
}

#[test]
fn nothing_is_drawn_up_where_something_does_not_verify() {
    let mut files = gathered();
    let plan = files.keys().find(|path| path.starts_with("plans/")).unwrap().clone();
    files.insert(plan.clone(), b"another plan".to_vec());
    let failure = draw_up(&about(), &files).unwrap_err();
    assert_eq!(failure.exit, crate::failure::Exit::Untrusted);
    assert!(failure.message.starts_with(&plan), "{}", failure.message);
}
