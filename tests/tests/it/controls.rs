//! What the documents point at exists: `deploy/controls.md` and `SECURITY.md` name no test that does not exist, and leave no
//! category and no attack without one; the way of a patch in `core`'s documentation leads through files that are there; no comment
//! in the sources names a page or a rule that is not there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// FDA's eight categories, as the page's headings have them.
const CATEGORIES: [&str; 8] = [
    "A. Authentication",
    "B. Authorization",
    "C. Cryptography",
    "D. Code, data and execution integrity",
    "E. Confidentiality",
    "F. Event detection and logging",
    "G. Resiliency and recovery",
    "H. Firmware and software updates",
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The tests that a row names: `file#function` in backticks, in its last cell.
fn named(row: &str) -> Vec<(&str, &str)> {
    let cell = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
    cell.split('`').skip(1).step_by(2).map(|name| name.split_once('#').unwrap_or((name, ""))).collect()
}

/// Whether the file has a function of that name that is a test: one of the attributes right before it says so.
fn is_test(source: &str, function: &str) -> bool {
    let Some(at) = source.find(&format!("fn {function}(")) else { return false };
    // The function's own line, then what stands right above it.
    let above = source[..at].lines().rev().skip(usize::from(!source[..at].ends_with('\n')));
    let mut above = above.map(str::trim).take_while(|line| !line.is_empty() && *line != "}");
    above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

fn exists(heading: &str, file: &str, function: &str) {
    let source = std::fs::read_to_string(root().join(file));
    let source = source.unwrap_or_else(|e| panic!("{heading}: {file}: {e}"));
    assert!(is_test(&source, function), "{heading}: {file} has no test {function}");
}

#[test]
fn the_way_of_a_patch_leads_through_files_that_exist() {
    let source = std::fs::read_to_string(root().join("core/src/lib.rs")).unwrap();
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | ")).skip(2);
    let mut steps = Vec::new();
    for row in rows {
        let (step, rest) = row.split_once(" | ").unwrap();
        let files: Vec<&str> = rest.split('`').filter(|word| word.ends_with(".rs")).collect();
        assert!(!files.is_empty(), "{step}: no file");
        for file in files {
            assert!(root().join(file).is_file(), "{step}: {file} does not exist");
        }
        steps.push(step);
    }
    let all = ["publish", "sign", "store", "rollout", "offer", "fetch", "verify", "schedule", "install", "report"];
    assert_eq!(steps, all);
}

#[test]
fn every_control_has_a_test_that_exists() {
    let page = std::fs::read_to_string(root().join("deploy/controls.md")).unwrap();
    let mut covered: BTreeSet<&str> = BTreeSet::new();
    let (mut heading, mut rows) = ("", 0);
    for line in page.lines() {
        if let Some(text) = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with("##")) {
            heading = text;
        }
        let is_row = line.starts_with("| ") && !line.starts_with("| what is asked for") && !line.starts_with("| ---");
        if !is_row {
            continue;
        }
        rows += 1;
        let tests = named(line);
        assert!(!tests.is_empty(), "{heading}: no test in: {line}");
        for (file, function) in tests {
            exists(heading, file, function);
        }
        covered.insert(heading);
    }
    assert!(rows > 30, "the page was read to its end: {rows} rows");
    for category in CATEGORIES {
        assert!(covered.contains(category), "{category} has no row");
    }
}

#[test]
fn every_attack_has_a_test_that_exists() {
    let page = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (_, table) = page.split_once("| attack | what stops it | test |\n| --- | --- | --- |\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with("| ")).collect();
    assert!(rows.len() > 30, "the table was read to its end: {} rows", rows.len());
    for row in rows {
        let tests = named(row);
        assert!(!tests.is_empty(), "no test in: {row}");
        for (file, function) in tests {
            exists(row, file, function);
        }
    }
}

/// Every cell of ours in the table beside the peers.
#[test]
fn every_feature_has_a_test_that_exists() {
    let page = std::fs::read_to_string(root().join("FEATURES.md")).unwrap();
    let rows = page.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| what |") && !l.starts_with("| ---"));
    let mut seen = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 6, "what, ours, and four peers: {row}");
        let tests = named(cells[1]);
        assert!(!tests.is_empty(), "no test in: {row}");
        for (file, function) in tests {
            exists(cells[0], file, function);
        }
        // A claim about a peer leads to where it was read.
        for link in cells[2..].iter().flat_map(|cell| cell.split('[').skip(1)).filter_map(|rest| rest.split(']').next())
        {
            assert!(page.contains(&format!("\n[{link}]: https://")), "[{link}] leads nowhere: {row}");
        }
        seen += 1;
    }
    assert!(seen > 30, "the page was read to its end: {seen} rows");
}

#[test]
fn a_test_that_is_gone_is_noticed() {
    assert!(is_test("#[test]\nfn a_b() {\n}\n", "a_b"));
    assert!(is_test("#[tokio::test(flavor = \"multi_thread\")]\nasync fn a_b() {\n}\n", "a_b"));
    assert!(!is_test("#[test]\nfn a_b() {\n}\nfn c_d() {\n}\n", "c_d"), "no attribute of its own");
    assert!(!is_test("#[test]\nfn a_b_c() {}\n", "a_b"));
    assert!(is_test("proptest! {\n    #[test]\n    fn a_b(n in 0..9) {\n", "a_b"));
    assert_eq!(named("| a | b | `x.rs#f` `y.rs#g` |"), [("x.rs", "f"), ("y.rs", "g")]);
}

/// All files below that end so, but for what is built.
fn files(dir: &Path, end: &str, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&path, end, into);
            }
        } else if name.ends_with(end) {
            into.push(path);
        }
    }
}

/// What a comment names that is not there: pages by the end of their path, rules and steps by their number in `core`'s documentation.
fn missing(comment: &str, pages: &[PathBuf], (rules, steps): (usize, usize)) -> Vec<String> {
    let words = comment.split(|c: char| !(c.is_ascii_alphanumeric() || "._-/".contains(c)));
    let words = words.map(|word| word.trim_end_matches('.').trim_start_matches("../")).filter(|w| w.ends_with(".md"));
    let mut missing: Vec<String> = words.filter(|w| !pages.iter().any(|p| p.ends_with(w))).map(str::to_owned).collect();
    for (what, last) in [("Rule ", rules), ("Order on the device, ", steps)] {
        for rest in comment.split(what).skip(1) {
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            if number.parse::<usize>().is_ok_and(|n| n == 0 || n > last) {
                missing.push(format!("{what}{number}"));
            }
        }
    }
    missing
}

#[test]
fn no_comment_names_a_page_or_a_rule_that_is_not_there() {
    let (mut pages, mut sources) = (Vec::new(), Vec::new());
    files(root(), ".md", &mut pages);
    files(root(), ".rs", &mut sources);
    // Of a standard's own repository, which the comment names.
    pages.push(PathBuf::from("OPENVEX-SPEC.md"));
    let core = std::fs::read_to_string(root().join("core/src/lib.rs")).unwrap();
    let count = |heading: &str| {
        let section = core.split(heading).nth(1).unwrap_or_else(|| panic!("no {heading}"));
        let lines = section.lines().skip(1).take_while(|l| l.starts_with("//!") && !l.starts_with("//! # "));
        lines.filter(|l| l.strip_prefix("//! ").is_some_and(|l| l.starts_with(|c: char| c.is_ascii_digit()))).count()
    };
    let last = (count("//! # The rules\n"), count("//! # Order on the device\n"));
    assert_eq!(last, (9, 8));
    assert!(sources.len() > 300 && pages.len() > 20, "{} sources, {} pages", sources.len(), pages.len());
    for path in sources {
        let source = std::fs::read_to_string(&path).unwrap();
        for comment in source.lines().map(str::trim_start).filter(|line| line.starts_with("//")) {
            let missing = missing(comment, &pages, last);
            assert!(missing.is_empty(), "{}: {missing:?} in: {comment}", path.display());
        }
    }
    let none = missing("// NOWHERE.md, SECURITY.md: Rule 10, Rule 9; Order on the device, 9", &pages, last);
    assert_eq!(none, ["NOWHERE.md", "Rule 10", "Order on the device, 9"]);
}
