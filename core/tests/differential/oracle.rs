//! The Python process that gives its opinion: `tests/oracle/oracle.py`, one for all cases of a test.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::base::{Base, Files};
use super::case::Case;
use super::clients::Verdict;

pub(super) struct Python {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    bases: usize,
}

/// The interpreter with `tests/oracle/requirements.txt` installed: `SUTURE_ORACLE_PYTHON`, or what `tests/oracle/setup.sh`
/// makes.
fn interpreter() -> PathBuf {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/oracle/bin/python");
    let path = std::env::var_os("SUTURE_ORACLE_PYTHON").map_or(made, PathBuf::from);
    assert!(path.exists(), "{} is missing: run tests/oracle/setup.sh", path.display());
    path
}

/// Where its clients keep their stores: in memory where that can be, because they are made and thrown away by the thousand.
fn stores() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

impl Python {
    pub(super) fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle/oracle.py");
        let mut child = Command::new(interpreter())
            .args([&script, &stores()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, requests, answers, bases: 0 }
    }

    fn send(&mut self, request: &Value) {
        let mut line = serde_json::to_vec(request).unwrap();
        line.push(b'\n');
        let requests = self.requests.as_mut().unwrap();
        requests.write_all(&line).unwrap();
        requests.flush().unwrap();
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the Python oracle has ended; its error stands above");
        serde_json::from_str(&line).unwrap()
    }

    /// Has a repository written: what a server would serve after each of the shape's generations.
    pub(super) fn write(&mut self, shape: &Value) -> Vec<Files> {
        self.send(&json!({ "op": "write", "shape": shape }));
        let answer = self.answer();
        answer["generations"].as_array().unwrap().iter().map(decode).collect()
    }

    /// Makes a base known, under the number that is given back.
    pub(super) fn learn(&mut self, base: &Base) -> usize {
        let generations: Vec<Value> = base.generations.iter().map(encode).collect();
        let id = self.bases;
        self.send(&json!({ "op": "base", "id": id, "root": base64(&base.root), "generations": generations }));
        self.answer();
        self.bases += 1;
        id
    }

    /// Asks for an opinion; [`Python::verdicts`] has it later.
    pub(super) fn ask(&mut self, base: usize, case: &Case) {
        let step = |step: &super::case::Step| {
            json!({
                "now": step.now.as_second(), "generation": step.generation, "put": encode(&step.put), "remove": step.remove,
            })
        };
        let steps: Vec<Value> = case.steps.iter().map(step).collect();
        let request =
            json!({ "op": "judge", "base": base, "steps": steps, "paths": case.paths, "download": case.download });
        self.send(&request);
    }

    pub(super) fn verdicts(&mut self) -> Vec<Verdict> {
        let answer = self.answer();
        answer["steps"].as_array().unwrap().iter().map(Verdict::from_json).collect()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.requests.take();
        let _ = self.child.wait();
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn encode(files: &Files) -> Value {
    files
        .iter()
        .map(|(name, bytes)| (name.clone(), Value::from(base64(bytes))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn decode(files: &Value) -> Files {
    use base64::Engine as _;
    let decode = |text: &Value| base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap();
    files.as_object().unwrap().iter().map(|(name, text)| (name.clone(), decode(text))).collect()
}
