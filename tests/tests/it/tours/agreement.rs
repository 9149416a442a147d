//! Whether what was printed is what the page shows.

/// Says where it is not.
pub(super) fn disagreement(shown: &str, printed: &str) -> Option<String> {
    let lines = |text: &str| -> Vec<String> {
        let lines = text.trim_end().lines();
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let (shown, printed) = (lines(shown), lines(printed));
    let reached = furthest(&shown, &printed, 0);
    (reached != usize::MAX).then(|| shown.get(reached).cloned().unwrap_or_else(|| "(nothing more)".to_owned()))
}

/// The number of the first line that nothing printed agrees with, on the best way; `usize::MAX` where all agree.
fn furthest(shown: &[String], printed: &[String], from: usize) -> usize {
    match shown.get(from).map(String::as_str) {
        None if printed.is_empty() => usize::MAX,
        None => from,
        Some("...") => (0..=printed.len()).map(|skip| furthest(shown, &printed[skip..], from + 1)).max().unwrap(),
        Some(line) => match printed.split_first() {
            Some((first, rest)) if agree(line, first) => furthest(shown, rest, from + 1),
            _ => from,
        },
    }
}

fn agree(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split("...");
    let Some(mut rest) = printed.strip_prefix(parts.next().unwrap()) else { return false };
    let mut open = false;
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        open = part.is_empty() && parts.peek().is_none();
        let found = if parts.peek().is_none() { rest.rfind(part) } else { rest.find(part) };
        let Some(at) = found else { return false };
        rest = &rest[at + part.len()..];
    }
    open || rest.is_empty()
}

#[test]
fn dots_stand_for_words_and_for_lines_and_nothing_else_does() {
    let agree = |shown: &str, printed: &str| disagreement(shown, printed).is_none();
    assert!(agree("root ...\n", "root 3f0a 91c2\n"));
    assert!(agree("a ... of ... b", "a 1 of 2 of 3 b"));
    assert!(agree("id   name\n", "id name"));
    assert!(agree("first\n...\nlast\n", "first\nx\ny\nlast\n"));
    assert!(agree("...\nlast\n", "last\n"));
    assert!(!agree("root ...", "roots 3f0a"));
    assert!(!agree("... done", "done it is"));
    assert!(!agree("first\n", "first\nsecond\n"));
    assert!(!agree("first\nsecond\n", "first\n"));
    assert_eq!(disagreement("first\n...\nthird\n", "first\nsecond\n").as_deref(), Some("third"));
}
