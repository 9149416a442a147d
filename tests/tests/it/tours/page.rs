//! A tour's page: commands, and what they are said to print.

use std::path::{Path, PathBuf};

/// The tours.
pub(crate) const PAGES: [&str; 4] = ["operator.md", "manufacturer.md", "integrator.md", "hospital.md"];

/// Where the pages are.
pub(super) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/tours")
}

/// A page.
pub(crate) struct Page {
    name: String,
    text: String,
}

/// A block of commands.
#[derive(Clone)]
pub(super) struct Step {
    /// Page and line, for people.
    pub(super) at: String,
    /// What is run.
    pub(super) commands: String,
    /// What it prints, where the page says so.
    pub(super) prints: Option<String>,
}

impl Page {
    /// Reads a page.
    pub(crate) fn open(name: &str) -> Self {
        let text = std::fs::read_to_string(directory().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        Self { name: name.to_owned(), text }
    }

    /// All that is played.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.steps_of(&self.text, 0)
    }

    /// What is played before that heading, and from it on.
    pub(super) fn halves(&self, heading: &str) -> (Vec<Step>, Vec<Step>) {
        let at = self.text.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{} has no {heading}", self.name));
        let (before, rest) = self.text.split_at(at + 1);
        (self.steps_of(before, 0), self.steps_of(rest, before.lines().count()))
    }

    /// The blocks whose commands are read and not played.
    pub(crate) fn parsed(&self) -> Vec<String> {
        blocks(&self.text).into_iter().filter(|b| b.kind == "sh parsed").map(|b| b.text).collect()
    }

    fn steps_of(&self, text: &str, lines_before: usize) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut last = None;
        for block in blocks(text) {
            match block.kind {
                "sh" => {
                    let at = format!("{}:{}", self.name, lines_before + block.begins);
                    steps.push(Step { at, commands: block.text, prints: None });
                }
                // Only right below.
                "text" if last == Some(("sh", block.begins - 1)) => {
                    steps.last_mut().unwrap().prints = Some(block.text);
                }
                "text" | "toml" | "sh parsed" => {}
                other => panic!("{}:{}: what is a block of `{other}`?", self.name, lines_before + block.begins),
            }
            last = Some((block.kind, block.ends));
        }
        steps
    }
}

/// A fenced block: its lines are counted from 1, and the fences are lines of it.
struct Block<'a> {
    kind: &'a str,
    text: String,
    begins: usize,
    ends: usize,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (line, number) in page.lines().zip(1..) {
        match (open.as_mut(), line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some(Block { kind, text: String::new(), begins: number, ends: number }),
            (Some(_), Some("")) => {
                let block = open.take().unwrap();
                blocks.push(Block { ends: number, ..block });
            }
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

#[test]
fn a_block_is_what_stands_between_its_fences_and_output_belongs_to_the_block_above() {
    let page = "# A\n```sh\nfirst\n```\n```text\nsaid\n```\n\n```text\na picture\n```\n```sh parsed\nnever\n```\n";
    let page = Page { name: "a.md".to_owned(), text: page.to_owned() };
    let steps = page.steps();
    assert_eq!(steps.len(), 1);
    assert_eq!((&*steps[0].at, &*steps[0].commands, steps[0].prints.as_deref()), ("a.md:2", "first\n", Some("said\n")));
    assert_eq!(page.parsed(), ["never\n"]);
}
