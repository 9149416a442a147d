//! Content lines: RFC 5545, section 3.1.

use super::IcsError;

/// A property: `NAME;PARAM=value:value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property {
    /// In upper case.
    pub(super) name: String,
    /// Names in upper case, values without quotes.
    params: Vec<(String, String)>,
    /// As it stands, escapes included.
    pub(super) value: String,
    /// The line that it begins on, from 1.
    pub(super) line: usize,
}

impl Property {
    /// A parameter's value.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The value of a text, unescaped (section 3.3.11), without what would spoil a terminal.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut chars = self.value.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n' | 'N') => text.push(' '),
                    other => text.extend(other.filter(|c| !c.is_control())),
                },
                c if c.is_control() => {}
                c => text.push(c),
            }
        }
        text.chars().take(100).collect()
    }
}

/// The properties of a file, in order.
pub(super) fn properties(text: &str) -> Result<Vec<Property>, IcsError> {
    let mut unfolded: Vec<(usize, String)> = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        // A line that begins with a blank goes on with the one before it.
        match (line.strip_prefix([' ', '\t']), unfolded.last_mut()) {
            (Some(more), Some((_, before))) => before.push_str(more),
            (Some(_), None) => {
                return Err(IcsError::Line { line: number, what: "it goes on with a line that is not there" });
            }
            (None, _) if line.is_empty() => {}
            (None, _) => unfolded.push((number, line.to_owned())),
        }
    }
    unfolded.into_iter().map(|(line, text)| property(line, &text)).collect()
}

fn property(line: usize, text: &str) -> Result<Property, IcsError> {
    let bad = |what| IcsError::Line { line, what };
    let end = text.find([';', ':']).ok_or_else(|| bad("it is no property like SUMMARY:Rounds"))?;
    let (name, mut rest) = text.split_at_checked(end).ok_or_else(|| bad("it is no property"))?;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(bad("it is no property like SUMMARY:Rounds"));
    }
    let mut params = Vec::new();
    while let Some(param) = rest.strip_prefix(';') {
        let (name, value) = param.split_once('=').ok_or_else(|| bad("a parameter has no value"))?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(|| bad("a quoted parameter does not end"))?,
            None => {
                let end = value.find([';', ':', ',']).ok_or_else(|| bad("it has no value"))?;
                value.split_at_checked(end).ok_or_else(|| bad("it has no value"))?
            }
        };
        params.push((name.to_ascii_uppercase(), value.to_owned()));
        // Further values of one parameter say nothing about times.
        rest = match after.starts_with(',') {
            true => after.find([';', ':']).and_then(|i| after.get(i..)).ok_or_else(|| bad("it has no value"))?,
            false => after,
        };
    }
    let value = rest.strip_prefix(':').ok_or_else(|| bad("it has no value"))?;
    Ok(Property { name: name.to_ascii_uppercase(), params, value: value.to_owned(), line })
}
