//! What releases have signed is read by every later one: `core/tests/field` holds, for each release, what its programs wrote in
//! a hospital's story (`tests/tests/it/field/written.rs`). It verifies, and what is read is written again as it was.
//!
//! The second half is for the programs in the field: they refuse a document that says more than they know. So a new field is
//! left out where it says nothing, and what an old program wrote comes out as it was. `core/tests/field/README.md` says what to
//! do when this fails.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests; a failure ought to stop them where it happens"
)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use suture_core::approval::{
    GateNote, Gates, Head, OperatorDocument, Register, Roster, Service, SignedDocument, SlotShard, VerifiedClearance,
    VerifiedStatement, VerifiedStop,
};
use suture_core::audit::{ExportReader, LogKey};
use suture_core::decision::VerifiedDecision;
use suture_core::id::HdoId;
use suture_core::json;
use suture_core::life::Life;
use suture_core::manifest::Manifest;
use suture_core::notice::VerifiedLetter;
use suture_core::plan::{Plan, Suggestion};
use suture_core::report::Signed;
use suture_core::responsibility::{Agreement, Consent};
use suture_core::risk::Assessment;
use suture_core::sign::{PublicKey, Signature};
use suture_core::token::Token;
use suture_core::trust::{Answer, Refresh, Repository, Request, Root, Stored, TrustError, Verified, refresh_with};
use suture_core::window::Calendar;
use suture_core::word::{Spoken, Word};

/// What every release has to have written, by `_type`.
const KINDS: [&str; 24] = [
    "suture-agreement",
    "suture-approval",
    "suture-audit-export",
    "suture-calendar",
    "suture-clearance",
    "suture-consent",
    "suture-decision",
    "suture-gate-note",
    "suture-gates",
    "suture-letter",
    "suture-life",
    "suture-manifest",
    "suture-operator-document",
    "suture-plan",
    "suture-register",
    "suture-report",
    "suture-risk",
    "suture-roster",
    "suture-service",
    "suture-slots",
    "suture-statement",
    "suture-stop",
    "suture-suggestion",
    "suture-token",
];

/// What a release has left.
struct Field {
    dir: PathBuf,
    at: Timestamp,
    hdo: HdoId,
    log: LogKey,
    /// How many documents of each kind were read.
    read: BTreeMap<String, usize>,
}

#[test]
fn what_releases_have_signed_is_read_and_written_as_it_was() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/field");
    let releases: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    assert!(!releases.is_empty());
    for release in releases {
        let mut field = Field::open(release);
        let catalog = field.repository("catalog");
        let approvals = field.repository("approvals");
        for path in catalog.targets().map(|(path, _)| path.to_owned()).collect::<Vec<_>>() {
            let bytes = field.target("catalog", &catalog.file_name(&path).unwrap());
            catalog.verify_target(&path, &bytes).unwrap();
            field.document(&path, &bytes, None);
        }
        field.approvals(&approvals);
        field.words(approvals.root());
        field.reports();
        field.record();
        let token = field.text("token");
        assert_eq!(Token::decode(&token).unwrap().encode().unwrap(), token);
        field.count("suture-token");
        let kinds: Vec<_> = field.read.keys().map(String::as_str).collect();
        assert_eq!(kinds, KINDS, "{}: what is there of {:?}", field.dir.display(), field.read);
    }
}

impl Field {
    fn open(dir: PathBuf) -> Self {
        let about: Value = serde_json::from_slice(&fs::read(dir.join("about.json")).unwrap()).unwrap();
        let text = |name: &str| about[name].as_str().unwrap();
        let (at, hdo, log) = (text("at").parse().unwrap(), text("hdo").parse().unwrap(), text("log").parse().unwrap());
        Self { dir, at, hdo, log, read: BTreeMap::new() }
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap()
    }

    fn count(&mut self, kind: &str) {
        *self.read.entry(kind.to_owned()).or_default() += 1;
    }

    fn target(&self, repository: &str, name: &str) -> Vec<u8> {
        fs::read(self.dir.join(repository).join(name)).unwrap()
    }

    /// As a device of today would come to trust it.
    fn repository(&self, name: &str) -> Repository {
        struct Line(PathBuf);
        impl suture_core::trust::Transport for Line {
            type Error = TrustError;
            fn metadata(&mut self, request: &Request) -> Result<Answer, TrustError> {
                Ok(fs::read(self.0.join(&request.name)).map_or(Answer::NotFound, Answer::Found))
            }
            fn target(&mut self, request: &Request) -> Result<Answer, TrustError> {
                self.metadata(request)
            }
        }
        let stored = Stored { root: self.target(name, "1.root.json"), ..Stored::default() };
        let refresh = Refresh::start(stored, self.at).unwrap();
        refresh_with(refresh, &mut Line(self.dir.join(name)), |_| Ok(())).unwrap().finish().unwrap()
    }

    fn approvals(&mut self, approvals: &Repository) {
        let mut pinned = Vec::new();
        for path in approvals.targets().map(|(path, _)| path.to_owned()).collect::<Vec<_>>() {
            let bytes = self.target("approvals", &approvals.file_name(&path).unwrap());
            approvals.verify_target(&path, &bytes).unwrap();
            if path.starts_with("stops/") {
                VerifiedStop::listed(approvals.targets_metadata(), &self.hdo, &bytes).unwrap();
            }
            self.document(&path, &bytes, Some(approvals.root()));
            if let Ok(register) = Register::parse(&bytes) {
                pinned.extend(register.files);
            }
            if let Ok(head) = Head::parse(&bytes) {
                pinned.extend(head.shards().map(|(_, shard)| shard));
            }
        }
        for file in pinned {
            let bytes = self.target("approvals", &file.file_name());
            file.verify(&bytes).unwrap();
            self.document(&file.path, &bytes, None);
        }
    }

    fn words(&mut self, root: &Verified<Root>) {
        for entry in fs::read_dir(self.dir.join("words")).unwrap().map(Result::unwrap) {
            self.document(&entry.path().display().to_string(), &fs::read(entry.path()).unwrap(), Some(root));
        }
    }

    fn reports(&mut self) {
        for entry in fs::read_dir(self.dir.join("reports")).unwrap().map(|entry| entry.unwrap().path()) {
            let bytes = |ending: &str| hex::decode(fs::read_to_string(entry.with_extension(ending)).unwrap()).unwrap();
            if entry.extension().is_some_and(|ending| ending == "json") {
                let signature = Signature::try_from(bytes("signature").as_slice()).unwrap();
                let signed = Signed { payload: fs::read(&entry).unwrap(), signature };
                let report = signed.verify(&PublicKey::from_bytes(&bytes("key")).unwrap()).unwrap();
                assert_eq!(json::to_canonical(&report).unwrap(), signed.payload, "{}", entry.display());
                self.count("suture-report");
            }
        }
    }

    fn record(&mut self) {
        let text = self.text("audit.jsonl");
        let mut lines = text.lines();
        let mut reader = ExportReader::open(lines.next().unwrap().as_bytes(), &self.log).unwrap();
        let mut legible = 0;
        for line in lines {
            if let Some(entry) = reader.take(line.as_bytes()).unwrap() {
                let line: Value = serde_json::from_str(line).unwrap();
                assert_eq!(String::from_utf8(entry.to_bytes().unwrap()).unwrap(), line["payload"].as_str().unwrap());
                legible += 1;
            }
        }
        reader.finish().unwrap();
        assert!(legible > 0);
        self.count("suture-audit-export");
    }

    /// One document, by what it says that it is. What a signature of its own covers is verified by it.
    fn document(&mut self, path: &str, bytes: &[u8], root: Option<&Verified<Root>>) {
        let value: Value = serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{path}: {e}"));
        let kind = value.get("signed").unwrap_or(&value)["_type"].as_str().unwrap().to_owned();
        let root = || root.unwrap_or_else(|| panic!("{path}: by whose root?"));
        match kind.as_str() {
            "suture-agreement" => word::<Agreement>(path, bytes),
            "suture-consent" => word::<Consent>(path, bytes),
            "suture-risk" => word::<Assessment>(path, bytes),
            "suture-approval" => plain::<Head>(path, bytes),
            "suture-calendar" => plain::<Calendar>(path, bytes),
            "suture-gate-note" => plain::<GateNote>(path, bytes),
            "suture-gates" => plain::<Gates>(path, bytes),
            "suture-life" => plain::<Life>(path, bytes),
            "suture-operator-document" => plain::<OperatorDocument>(path, bytes),
            "suture-plan" => plain::<Plan>(path, bytes),
            "suture-register" => plain::<Register>(path, bytes),
            "suture-roster" => plain::<Roster>(path, bytes),
            "suture-service" => plain::<Service>(path, bytes),
            "suture-slots" => plain::<SlotShard>(path, bytes),
            "suture-suggestion" => plain::<Suggestion>(path, bytes),
            "suture-clearance" => sealed(path, bytes, &*VerifiedClearance::verify(root(), &self.hdo, bytes).unwrap()),
            "suture-decision" => sealed(path, bytes, &*VerifiedDecision::verify(bytes).unwrap()),
            "suture-letter" => sealed(path, bytes, &*VerifiedLetter::verify(bytes).unwrap()),
            "suture-statement" => sealed(path, bytes, &*VerifiedStatement::verify(bytes).unwrap()),
            "suture-stop" => sealed(path, bytes, &*VerifiedStop::verify(root(), &self.hdo, bytes).unwrap()),
            "suture-manifest" => {
                let manifest = Manifest::parse(bytes).unwrap();
                assert_eq!(manifest.to_bytes().unwrap(), bytes, "{path}");
            }
            other => panic!("{path}: who reads {other:?}?"),
        }
        self.count(&kind);
    }
}

/// One that a list pins, or that nobody signs.
fn plain<D: SignedDocument + Debug>(path: &str, bytes: &[u8]) {
    let document = D::parse(bytes).unwrap_or_else(|e| panic!("{path}: {e:?}"));
    assert_eq!(document.to_bytes().unwrap(), bytes, "{path}: written as it was: {document:?}");
}

/// One with its signatures around it, which are verified.
fn sealed<D: Serialize + Debug>(path: &str, bytes: &[u8], document: &D) {
    let file: Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(
        json::to_canonical(document).unwrap(),
        json::canonical(&file["signed"]).unwrap(),
        "{path}: written as it was: {document:?}"
    );
}

fn word<D: Spoken + Debug>(path: &str, bytes: &[u8]) {
    sealed(path, bytes, &*Word::<D>::read(bytes).unwrap_or_else(|e| panic!("{path}: {e:?}")));
}
