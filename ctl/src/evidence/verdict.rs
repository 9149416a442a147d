//! A folder drawn up, and verified.

use serde::Serialize;
use suture_core::digest::Digest;
use suture_core::evidence::VerifiedSeal;

use super::facts::Facts;
use super::folder;
use super::index::{self, About, Index};
use super::kind::Kind;
use super::whole::Evidence;
use super::{Files, page, seal};
use crate::failure::{Failure, Outcome};

/// The whole folder from what was gathered: verified, facts and pages drawn up, and the index.
///
/// # Errors
///
/// Something does not verify; nothing is drawn up then.
pub fn draw_up(about: &About, gathered: &Files) -> Outcome<Files> {
    // The seal is over the index, and so comes after it.
    let is_left = |path: &str| {
        let is_drawn = Kind::of(path).is_some_and(|kind| kind.is_drawn());
        !is_drawn && path != index::PATH && path != seal::PATH
    };
    let mut files: Files =
        gathered.iter().filter(|(path, _)| is_left(path)).map(|(p, b)| (p.clone(), b.clone())).collect();
    let evidence = Evidence::read(about, &files)?;
    let facts = Facts::of(&evidence);
    facts.write(&mut files)?;
    files.insert("index.html".to_owned(), page::draw(&evidence, &facts).into_bytes());
    files.insert("README.md".to_owned(), page::readme(&evidence).into_bytes());
    let index = Index::of(about, &files)?;
    files.insert(index::PATH.to_owned(), index.to_bytes()?);
    folder::bounded(&files)?;
    Ok(files)
}

/// What is wrong with a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, where it is one file's.
    pub file: Option<String>,
    /// What.
    pub what: String,
}

/// A folder that was looked at.
#[derive(Debug)]
pub struct Verdict {
    /// Its index, where that can be read.
    pub index: Option<Index>,
    /// What it proves, where nothing is wrong.
    pub evidence: Option<Evidence>,
    /// What is wrong; nothing, or it is no evidence.
    pub problems: Vec<Problem>,
    /// Whether facts and pages were drawn up again: not where another version of this program drew them up.
    pub drawn_again: bool,
    /// Who vouches for the index; nobody where nobody has signed it.
    pub seal: Option<VerifiedSeal>,
}

/// Verifies a folder: every file against the index, every signature from the roots in the folder on, and every conclusion.
pub fn verify(files: &Files) -> Verdict {
    let mut verdict = Verdict { index: None, evidence: None, problems: Vec::new(), drawn_again: false, seal: None };
    let index = match files.get(index::PATH).map(|bytes| Index::parse(bytes)) {
        Some(Ok(index)) => index,
        Some(Err(failure)) => {
            verdict.problems.push(problem(files, &failure));
            return verdict;
        }
        None => {
            let what = "it is missing: this is no folder of evidence, or not the whole of one".to_owned();
            verdict.problems.push(Problem { file: Some(index::PATH.to_owned()), what });
            return verdict;
        }
    };
    verdict.problems = against(&index, files);
    if verdict.problems.is_empty() {
        match Evidence::read(&index.about, files) {
            Ok(evidence) => verdict.evidence = Some(evidence),
            Err(failure) => verdict.problems.push(problem(files, &failure)),
        }
    }
    if verdict.problems.is_empty() && index.about.program == index::program() {
        verdict.drawn_again = true;
        verdict.problems = drawn_again(&index, files);
    }
    if let Some(evidence) = &verdict.evidence {
        match seal::read(files, evidence) {
            Ok(seal) => verdict.seal = seal,
            Err(failure) => verdict.problems.push(problem(files, &failure)),
        }
    }
    if !verdict.problems.is_empty() {
        verdict.evidence = None;
        verdict.seal = None;
    }
    verdict.index = Some(index);
    verdict
}

fn against(index: &Index, files: &Files) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut say =
        |path: &str, what: &str| problems.push(Problem { file: Some(path.to_owned()), what: what.to_owned() });
    for listed in &index.files {
        match files.get(&listed.path) {
            None => say(&listed.path, "it is missing"),
            Some(bytes) if bytes.len() as u64 != listed.length => say(&listed.path, "its length is another"),
            Some(bytes) if Digest::of(bytes) != listed.sha256 => say(&listed.path, "its SHA-256 is another"),
            Some(_) => {}
        }
    }
    let known: std::collections::BTreeSet<&str> = index.files.iter().map(|f| f.path.as_str()).collect();
    let is_listed = |path: &str| path == index::PATH || path == seal::PATH || known.contains(path);
    for path in files.keys().filter(|path| !is_listed(path)) {
        say(path, "the index does not list it");
    }
    problems
}

/// What differs from what is drawn up from the same files now.
fn drawn_again(index: &Index, files: &Files) -> Vec<Problem> {
    let again = match draw_up(&index.about, files) {
        Ok(again) => again,
        Err(failure) => return vec![problem(files, &failure)],
    };
    let paths: std::collections::BTreeSet<&String> = again.keys().chain(files.keys()).collect();
    let differs = |path: &&String| *path != seal::PATH && again.get(*path) != files.get(*path);
    let what = "it is not what the other files lead to";
    let problem = |path: &String| Problem { file: Some(path.clone()), what: what.to_owned() };
    let mut problems: Vec<Problem> = paths.into_iter().filter(differs).map(problem).collect();
    // An index that lists a file as it was changed is no second problem.
    if problems.len() > 1 {
        problems.retain(|problem| problem.file.as_deref() != Some(index::PATH));
    }
    problems
}

/// A failure whose message begins with the file that it is about, or not.
fn problem(files: &Files, failure: &Failure) -> Problem {
    let because: String = failure.causes.iter().map(|cause| format!("; {cause}")).collect();
    match failure.message.split_once(": ") {
        Some((path, what)) if files.contains_key(path) || Kind::of(path).is_some() => {
            Problem { file: Some(path.to_owned()), what: format!("{what}{because}") }
        }
        _ => Problem { file: None, what: format!("{}{because}", failure.message) },
    }
}
