//! `evidence verify`: a folder, without a server.

use std::path::PathBuf;

use serde::Serialize;
use suture_core::audit::LogKey;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::id::OperatorName;
use suture_core::sign::PublicKey;

use crate::cmd::audit::log_key;
use crate::context::Context;
use crate::evidence::audit::Record;
use crate::evidence::kind::Kind;
use crate::evidence::{About, Problem, Verdict, folder, verify};
use crate::failure::{Failure, Outcome};
use crate::letters;
use crate::print::{count, grouped};
use crate::trust_store::{Which, pinned_root};
use crate::witness;

/// How many problems are told in one line each.
const TOLD: usize = 20;
/// What to do about another key.
const OTHER_KEY: &str = "a key that was changed since this home connected last it learns by `suturectl audit key`; for a folder \
    of another server, or from before this home had joined, ask those who run that server for the record's key, over another \
    channel, and name it with --record-key";

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder
    directory: PathBuf,
    /// The fingerprint (SHA-256) that the catalog's pinned root must have
    #[arg(long, value_name = "SHA256")]
    catalog_root: Option<Digest>,
    /// The fingerprint (SHA-256) that the approvals' pinned root must have
    #[arg(long, value_name = "SHA256")]
    approvals_root: Option<Digest>,
    /// The key of the server's audit record, as `suturectl audit key` prints it; without it the one that this home knows counts
    #[arg(long, value_name = "KEY", value_parser = log_key)]
    record_key: Option<LogKey>,
    /// Refuse a folder that nobody has signed
    #[arg(long)]
    signed: bool,
}

#[derive(Serialize)]
struct Signed {
    /// Who vouches for the index.
    name: OperatorName,
    /// By which key of the party's.
    key: PublicKey,
    /// When, by the signer's clock.
    at: String,
}

/// What the server says and nobody has signed.
#[derive(Serialize)]
struct Served {
    files: usize,
    security_events: usize,
    /// Always false: it is the server's word, and that there is no more of it is so too.
    proven: bool,
}

/// A root that the folder rests on. Attack: a folder with the manufacturer's real catalog, and all of a hospital's made up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Rooted {
    /// `catalog`, `approvals`, or the hospital's id.
    of: String,
    sha256: Digest,
    /// Whether it is the one that was named, or else the one that this home trusts; null where there is neither.
    is_known: Option<bool>,
}

impl Rooted {
    fn new(of: impl ToString, sha256: Digest, expected: Option<Digest>) -> Self {
        Self { of: of.to_string(), sha256, is_known: expected.map(|expected| expected == sha256) }
    }

    /// One verdict of all of them.
    fn all(roots: &[Self]) -> Option<bool> {
        match roots {
            _ if roots.iter().any(|root| root.is_known == Some(false)) => Some(false),
            _ if roots.iter().all(|root| root.is_known == Some(true)) => Some(true),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct Verified {
    about: About,
    files: usize,
    catalog_root: Digest,
    approvals_root: Option<Digest>,
    /// Whether all its roots are the ones that this home trusts, or that were named; none where one was compared with nothing.
    roots_are_known: Option<bool>,
    /// Each of them.
    roots: Vec<Rooted>,
    /// The key that has signed for the record's entries; null where the folder has none of them.
    record_key: Option<LogKey>,
    /// With what that key was compared; null where nothing was there to compare it with.
    record_key_compared_with: Option<Compared>,
    /// Who has signed the index; null where nobody has.
    signed: Option<Signed>,
    reports: usize,
    /// Reports that came under a key that no signed roster in the folder has: nobody has verified them.
    unproven_reports: u64,
    served: Served,
    facts_drawn_again: bool,
}

/// What the record's key is like. One that differs is a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Compared {
    /// The one that was named.
    Named,
    /// The one by which this home knows the record.
    Home,
    /// One by which this home knew the record, until that key itself named another.
    HomeBefore,
}

/// Compares the record's key with the one that was named, else with those of this home. Nothing where there is none.
fn compare(record: &Record, named: Option<&LogKey>, kept: Option<&witness::Kept>) -> Result<Option<Compared>, String> {
    let other =
        |whose: &str, key: &LogKey| Err(format!("the audit record's key is {}, and not {key}, {whose}", record.key));
    match (named, kept) {
        (Some(named), _) if *named == record.key => Ok(Some(Compared::Named)),
        (Some(named), _) => other("which was named", named),
        (None, None) => Ok(None),
        (None, Some(kept)) if kept.witness.key != record.key => {
            match kept.before.iter().find(|former| former.key == record.key) {
                Some(former) if record.head.size > former.most => Err(format!(
                    "the audit record has {} entries by {}, which was changed when it had {} at most: that key signs no more",
                    record.head.size, former.key, former.most
                )),
                Some(_) => Ok(Some(Compared::HomeBefore)),
                None => other("by which this home knows the record of its server", &kept.witness.key),
            }
        }
        // One key for two records: what is remembered convicts whoever has it.
        (None, Some(kept)) => match kept.witness.head {
            Some(head) if head.size == record.head.size && head != record.head => {
                Err(format!("the audit record is another than this home has seen: of {} and of {}", record.head, head))
            }
            _ => Ok(Some(Compared::Home)),
        },
    }
}

/// Runs it.
pub(super) fn run(context: &mut Context<'_>, args: Args) -> Outcome {
    let files = folder::read(&args.directory)?;
    let Verdict { index, evidence, mut problems, drawn_again, seal } = verify(&files);
    let (Some(index), Some(evidence)) = (index, evidence) else {
        return Err(refused(&args, &problems));
    };
    let own = |which| pinned_root(&context.home, which);
    let approvals_root = evidence.approvals.as_ref().map(|a| a.pinned());
    // At the manufacturer's, a hospital's root is the one that people have compared.
    let own_approvals = match (own(Which::Approvals)?, &index.about.hdo, args.approvals_root) {
        (None, Some(hdo), None) => letters::compared(&context.home, hdo)?,
        (own, ..) => own,
    };
    let rows = [
        ("catalog", args.catalog_root, own(Which::Catalog)?, Some(evidence.catalog.pinned())),
        ("approvals", args.approvals_root, own_approvals, approvals_root),
    ];
    let mut roots = Vec::new();
    for (name, named, own, found) in rows {
        match (named, found) {
            (Some(named), found) if found != Some(named) => {
                let what = format!("it does not rest on the {name} root {named}");
                problems.push(Problem { file: None, what });
            }
            (named, Some(found)) => roots.push(Rooted::new(name, found, named.or(own))),
            (_, None) => {}
        }
    }
    for (hdo, found) in evidence.partners.first() {
        roots.push(Rooted::new(hdo, found, letters::compared(&context.home, hdo)?));
    }
    // What is named counts alone, also where this home's own memory is damaged.
    let kept = if args.record_key.is_some() { None } else { witness::kept(&context.home)? };
    let compared = match (&evidence.record, &args.record_key) {
        (Some(record), named) => compare(record, named.as_ref(), kept.as_ref()),
        (None, Some(_)) => Err("no entry of an audit record is in it, and a key of one was named".to_owned()),
        (None, None) => Ok(None),
    };
    let is_other = compared.is_err();
    let compared = compared.unwrap_or_else(|what| {
        problems.push(Problem { file: None, what });
        None
    });
    if args.signed && seal.is_none() {
        problems.push(Problem { file: None, what: "nobody has signed it".to_owned() });
    }
    if !problems.is_empty() {
        let refused = refused(&args, &problems);
        return Err(if is_other { refused.next(OTHER_KEY) } else { refused });
    }
    let signed = seal.map(|seal| Signed { name: seal.name.clone(), key: seal.key, at: format_utc(seal.signed_at) });
    let verified = Verified {
        about: index.about,
        files: files.len(),
        catalog_root: evidence.catalog.pinned(),
        approvals_root,
        roots_are_known: Rooted::all(&roots),
        roots,
        record_key: evidence.record.map(|record| record.key),
        record_key_compared_with: compared,
        signed,
        reports: evidence.reports.count(),
        unproven_reports: evidence.reports.count_unproven(),
        served: Served {
            files: files.keys().filter(|path| Kind::of(path) == Some(Kind::Served)).count(),
            security_events: evidence.served.events.len(),
            proven: false,
        },
        facts_drawn_again: drawn_again,
    };
    context.print.result(&verified, text)
}

fn text(v: &Verified) -> String {
    let hospital = v.about.hdo.as_ref().map_or_else(String::new, |hdo| format!(" of {hdo}"));
    let mut text = format!(
        "evidence of {}{hospital}, made {}: {}, {} of devices; every file and every signature verifies\n",
        v.about.subject,
        format_utc(v.about.made),
        count(v.files, "file"),
        count(v.reports, "report")
    );
    if v.unproven_reports > 0 {
        text.push_str(&format!(
            "{} beside them came under a key that no signed roster in it has: nothing of those is verified\n",
            count(v.unproven_reports, "report")
        ));
    }
    text.push_str(match v.facts_drawn_again {
        true => "facts and report were drawn up again and are the same\n",
        false => "facts and report were drawn up by another version of suturectl, and are held to the index alone\n",
    });
    text.push_str(&format!(
        "what is in served/ ({}) is the server's word alone, and proven by nothing: {} too, and that there are no others\n",
        count(v.served.files, "file"),
        count(v.served.security_events, "security event")
    ));
    text.push_str(&match &v.signed {
        Some(Signed { name, key, at }) => format!("signed by {name} at {at} with the key {key}\n"),
        None => "nobody has signed the whole of it: each file stands by itself, and what the server says by nobody\n"
            .to_owned(),
    });
    text.push_str(&roots_text(&v.roots));
    text.push_str(&record_text(v));
    text
}

fn roots_text(roots: &[Rooted]) -> String {
    let mut text = String::new();
    let own = |root: &&Rooted| ["catalog", "approvals"].contains(&root.of.as_str());
    // Of the hospitals, of which there may be hundreds, those that somebody must look at.
    let (shown, more) = {
        let mut hospitals: Vec<_> = roots.iter().filter(|r| !own(r) && r.is_known != Some(true)).collect();
        let more = hospitals.len().saturating_sub(TOLD);
        hospitals.truncate(TOLD);
        (roots.iter().filter(own).chain(hospitals).collect::<Vec<_>>(), more)
    };
    for root in shown {
        let word = match root.is_known {
            Some(true) => "",
            Some(false) => "  NOT the one that this home trusts",
            None => "  compared with nothing",
        };
        text.push_str(&format!("{:<15} {}{word}\n", format!("{} root", root.of), grouped(&root.sha256.to_string())));
    }
    if more > 0 {
        text.push_str(&format!("and {more} more of hospitals, in --output json\n"));
    }
    text.push_str(match Rooted::all(roots) {
        Some(true) => "these are the roots that you trust\n",
        Some(false) => "what this home does not trust is another server's, or another hospital's evidence\n",
        None => {
            "compare over another channel the fingerprints of those that were compared with nothing: no folder can vouch for its \
             own roots\n"
        }
    });
    text
}

fn record_text(v: &Verified) -> String {
    let Some(key) = &v.record_key else { return "no entry of the server's audit record is in it\n".to_owned() };
    let compared = match v.record_key_compared_with {
        Some(Compared::Named) => "this is the key that you named",
        Some(Compared::Home) => "this is the key by which this home knows the record",
        Some(Compared::HomeBefore) => "by this key this home knew the record, until the record's key was changed",
        None => {
            "this key was compared with nothing: no folder can vouch for its own record; compare it with `suturectl audit key` of \
             a colleague, or name what they say with --record-key"
        }
    };
    format!("record key      {key}\n{compared}\n")
}

fn refused(args: &Args, problems: &[Problem]) -> Failure {
    let mut failure = Failure::untrusted(format!(
        "{} does not verify, and is no evidence: {} problems",
        args.directory.display(),
        problems.len()
    ))
    .next("ask whoever made it for the whole of it, as it was made");
    for problem in problems.iter().take(TOLD) {
        failure.causes.push(match &problem.file {
            Some(file) => format!("{file}: {}", problem.what),
            None => problem.what.clone(),
        });
    }
    if problems.len() > TOLD {
        failure.causes.push(format!("and {} more", problems.len() - TOLD));
    }
    failure
}

#[cfg(test)]
mod tests {
    use suture_core::audit::{Checkpoint, Head, LogKey, Witness};
    use suture_core::digest::Digest;
    use suture_core::sign::Signer as _;

    use crate::evidence::fixture::{about, gathered, key};
    use crate::evidence::{audit, draw_up, folder, reports, repository};
    use crate::home::Home;
    use crate::tests::ctl;
    use crate::trust_store::{TrustStore, Which};
    use crate::witness::{self, Former, Kept};

    fn named(of: u8) -> LogKey {
        LogKey { origin: "acme.example".parse().unwrap(), key: key(of).public() }
    }

    /// Found: whoever made up a whole record, under a key of their own, was believed.
    #[tokio::test]
    async fn a_record_under_another_key_than_the_home_knows_is_no_evidence() {
        let dir = tempfile::tempdir().unwrap();
        let (place, stranger) = (dir.path().join("evidence"), dir.path().join("stranger"));
        let files = draw_up(&about(), &gathered()).unwrap_or_else(|f| panic!("{}", f.to_text()));
        folder::write(&place, &files).unwrap();
        let place = place.to_str().unwrap();
        // The record in it has the key 40.
        let (right, wrong) = (named(40).to_string(), named(41).to_string());
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();

        // Nothing to compare with: said, with the key.
        let (code, out, err) = ctl(&stranger, &["evidence", "verify", place]).await;
        assert!(code == 0 && out.contains(&format!("record key      {right}\n")), "{out}{err}");
        assert!(out.contains("was compared with nothing") && out.contains("--record-key"), "{out}");
        let (_, out, _) = ctl(&stranger, &["evidence", "verify", place, "--output", "json"]).await;
        assert_eq!(
            (&json(&out)["record_key"], &json(&out)["record_key_compared_with"]),
            (&right.clone().into(), &().into())
        );

        let with = |home: &std::path::Path, key: &str| {
            let (home, key) = (home.to_owned(), key.to_owned());
            async move { ctl(&home, &["evidence", "verify", place, "--output", "json", "--record-key", &key]).await }
        };
        let (code, out, _) = with(&stranger, &right).await;
        assert_eq!((code, &json(&out)["record_key_compared_with"]), (0, &"named".into()));
        let (code, _, err) = with(&stranger, &wrong).await;
        assert!(code == 5 && err.contains(&wrong) && err.contains(&right), "{err}");

        // A home that knows the record: its key counts, what is named more.
        let keeps = |name: &str, kept: Kept| {
            let home = Home::open(&dir.path().join(name)).unwrap();
            witness::keep(&home, &kept).unwrap();
            home.directory().to_owned()
        };
        let head = |size: u64| {
            let head = Head { size, root: Digest::of(b"another record") };
            let note = Checkpoint::sign(head, &named(40).origin, &key(40)).unwrap().note().to_owned();
            Kept {
                witness: Witness { key: named(40), checkpoint: Some(note), head: Some(head) },
                ..Kept::new(named(40))
            }
        };
        let other = keeps("other", Kept::new(named(41)));
        for (home, code, says) in [
            (&keeps("same", Kept::new(named(40))), 0, "by which this home knows the record"),
            (&other, 5, "audit key"),
            (
                &keeps("before", Kept { before: vec![Former { key: named(40), most: 2 }], ..Kept::new(named(41)) }),
                0,
                "until the record's key was changed",
            ),
            // Whoever has stolen the key that was changed.
            (
                &keeps("stolen", Kept { before: vec![Former { key: named(40), most: 1 }], ..Kept::new(named(41)) }),
                5,
                "that key signs no more",
            ),
            (&keeps("longer", head(9)), 0, "by which this home knows the record"),
            (&keeps("forked", head(2)), 5, "is another than this home has seen"),
        ] {
            let (exit, out, err) = ctl(home, &["evidence", "verify", place]).await;
            assert!(exit == code && format!("{out}{err}").contains(says), "{says}: {exit}: {out}{err}");
        }
        assert_eq!(with(&other, &right).await.0, 0);

        // Without entries of a record there is nothing to compare, and nothing that a key was named for.
        let mut files = gathered();
        files.retain(|path, _| ![audit::KEY, audit::CHECKPOINT, audit::ENTRIES].contains(&path.as_str()));
        let bare = dir.path().join("bare");
        folder::write(&bare, &draw_up(&about(), &files).unwrap()).unwrap();
        let bare = bare.to_str().unwrap();
        assert_eq!(ctl(&other, &["evidence", "verify", bare]).await.0, 0);
        assert_eq!(ctl(&stranger, &["evidence", "verify", bare, "--record-key", &right]).await.0, 5);
    }

    /// Found: one root that was compared spoke for another that was compared with nothing.
    #[tokio::test]
    async fn a_root_that_was_compared_with_nothing_is_not_said_to_be_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let mut gathered = gathered();
        let lines = String::from_utf8(gathered[reports::PATH].clone()).unwrap();
        // Two reports under a key of the server's own making.
        let made_up = lines.replace(&key(32).public().to_string(), &key(99).public().to_string());
        gathered.insert(reports::PATH.to_owned(), made_up.into_bytes());
        let files = draw_up(&about(), &gathered).unwrap_or_else(|f| panic!("{}", f.to_text()));
        let place = dir.path().join("evidence");
        folder::write(&place, &files).unwrap();
        let place = place.to_str().unwrap();
        let root = |which| files[&repository::place(which, "1.root.json")].clone();
        let [catalog, approvals] = [Which::Catalog, Which::Approvals].map(|which| Digest::of(&root(which)).to_string());
        let verify = async |home: &str, more: &[&str]| {
            let home = dir.path().join(home);
            let (code, text, err) = ctl(&home, &[&["evidence", "verify", place], more].concat()).await;
            assert_eq!(code, 0, "{err}");
            let (_, json, _) = ctl(&home, &[&["evidence", "verify", place, "--output", "json"], more].concat()).await;
            (text, serde_json::from_str::<serde_json::Value>(&json).unwrap())
        };

        let manufacturer = Home::open(&dir.path().join("manufacturer")).unwrap();
        TrustStore::of(&manufacturer, Which::Catalog).pin(&root(Which::Catalog)).unwrap();
        for (home, more) in [("manufacturer", &[][..]), ("outsider", &["--catalog-root", &catalog])] {
            let (text, json) = verify(home, more).await;
            assert_eq!(json["roots_are_known"], serde_json::Value::Null, "{json}");
            assert_eq!([0, 1].map(|n| json["roots"][n]["is_known"].as_bool()), [Some(true), None], "{json}");
            let row = text.lines().find(|line| line.starts_with("approvals root")).unwrap();
            assert!(row.ends_with("compared with nothing") && !text.contains("that you trust"), "{text}");
            assert!(text.contains("2 reports beside them came under a key that no signed roster"), "{text}");
            assert_eq!(json["unproven_reports"], 2, "{json}");
        }
        let both = ["--catalog-root", &catalog, "--approvals-root", &approvals];
        let (text, json) = verify("outsider", &both).await;
        assert!(json["roots_are_known"] == true && text.contains("these are the roots that you trust"), "{text}");

        // What people have compared counts at the manufacturer's.
        for (compared, known) in [(&approvals, true), (&catalog, false)] {
            let mark = "trust/hospitals/riverside.compared";
            manufacturer.write(mark, compared.as_bytes(), crate::files::Access::Public).unwrap();
            let (text, json) = verify("manufacturer", &[]).await;
            assert_eq!(json["roots_are_known"], known, "{json}");
            assert_eq!(text.contains("NOT the one that this home trusts"), !known, "{text}");
        }
    }

    /// A reader of this command's output alone was left to take the server's word for a proof.
    #[tokio::test]
    async fn what_is_the_servers_word_is_told_to_be_that_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let (home, place) = (dir.path().join("home"), dir.path().join("evidence"));
        let files = draw_up(&about(), &gathered()).unwrap_or_else(|f| panic!("{}", f.to_text()));
        folder::write(&place, &files).unwrap();
        let verify = ["evidence", "verify", place.to_str().unwrap()];
        let (_, out, _) = ctl(&home, &verify).await;
        let (_, json, _) = ctl(&home, &[&verify[..], &["--output", "json"]].concat()).await;
        let served = files.keys().filter(|path| path.starts_with("served/")).count();
        let events: Vec<serde_json::Value> = serde_json::from_slice(&files["served/events.json"]).unwrap();
        assert!(!events.is_empty());
        let says = serde_json::json!({ "files": served, "security_events": events.len(), "proven": false });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["served"], says);
        assert!(
            out.contains("is the server's word alone, and proven by nothing") && out.contains("security event"),
            "{out}"
        );
        let readme = String::from_utf8(files["README.md"].clone()).unwrap();
        assert!(readme.contains("Security events are its word too") && readme.contains("that there are no others"));
    }
}
