//! What people and programs read: text with tables, or one JSON value.
//!
//! Attack: a device's or server's text that steers the terminal, or is read as something else than it says
//! ([`suture_core::legible`]). Such characters are replaced in all that is printed as text; in JSON they are written by their
//! numbers.

use std::collections::VecDeque;
use std::io::{self, Write};

use serde::Serialize;
use suture_core::legible::{self, line, plain};

use crate::failure::{OrFail, Outcome};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON value a command (`watch`: one a line).
    Json,
}

/// A terminal that results can be drawn on again and again.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Its columns and rows now.
    pub size: fn() -> (usize, usize),
}

/// So many notes are kept beside JSON, the newest; a watch of weeks has one for each time that the line was cut.
const MAX_KEPT_NOTES: usize = 200;

/// Where results and notes go.
pub struct Printer<'a> {
    out: &'a mut (dyn Write + Send),
    err: &'a mut (dyn Write + Send),
    format: Format,
    terminal: Option<Terminal>,
    kept: VecDeque<String>,
}

impl<'a> Printer<'a> {
    /// Prints results to `out` and notes to `err`.
    pub fn new(out: &'a mut (dyn Write + Send), err: &'a mut (dyn Write + Send), format: Format) -> Self {
        Self { out, err, format, terminal: None, kept: VecDeque::new() }
    }

    /// The same, where what it prints to is a terminal.
    #[must_use]
    pub fn on(self, terminal: Option<Terminal>) -> Self {
        Self { terminal, ..self }
    }

    /// Columns and rows of the terminal that text can be drawn on; none where results go elsewhere, or are JSON.
    pub fn terminal(&self) -> Option<(usize, usize)> {
        let terminal = self.terminal.filter(|_| matches!(self.format, Format::Text))?;
        Some((terminal.size)())
    }

    /// Whether programs read what is printed.
    pub fn is_json(&self) -> bool {
        matches!(self.format, Format::Json)
    }

    /// Writes what steers the terminal. Texts of others in it must have been made [`plain`].
    pub fn draw(&mut self, text: &str) -> Outcome {
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .or_fail(|| "cannot draw on the terminal".to_owned())
    }

    /// Prints a command's result: the value as JSON, or the text that `text` makes of it.
    pub fn result<T: Serialize>(&mut self, value: &T, text: impl FnOnce(&T) -> String) -> Outcome {
        let line = match self.format {
            Format::Text => plain(text(value).trim_end()),
            Format::Json => {
                let json = serde_json::to_string(value).or_fail(|| "cannot write the result as JSON".to_owned())?;
                legible::json(&json)
            }
        };
        match writeln!(self.out, "{line}").and_then(|()| self.out.flush()) {
            // `suturectl ... | head` is no failure.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            done => done.or_fail(|| "cannot print the result".to_owned()),
        }
    }

    /// Prints lines that programs read as they are, in whichever format results are printed.
    pub fn lines(&mut self, lines: &[String]) -> Outcome {
        let text: String = lines.iter().map(|line| plain(line) + "\n").collect();
        self.raw(text.as_bytes())
    }

    /// Prints a script for a shell, which is no text of others', as it is: or the value that holds it, as JSON.
    pub fn script<T: Serialize>(&mut self, value: &T, script: &str) -> Outcome {
        match self.format {
            Format::Text => self.raw(script.as_bytes()),
            Format::Json => self.result(value, |_| String::new()),
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> Outcome {
        match self.out.write_all(bytes).and_then(|()| self.out.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            done => done.or_fail(|| "cannot print the result".to_owned()),
        }
    }

    /// Tells a person something that is not the result: at once, and beside JSON once the command has ended. A failure is one
    /// JSON object and nothing else is on standard error, so it is known only then where a note belongs.
    pub fn note(&mut self, text: &str) {
        match self.format {
            Format::Text => self.tell(text),
            Format::Json => {
                if self.kept.len() == MAX_KEPT_NOTES {
                    self.kept.pop_front();
                }
                self.kept.push_back(text.to_owned());
            }
        }
    }

    /// Tells the notes that were kept: before a person is asked something that they bear on, and where nothing failed.
    pub fn tell_kept(&mut self) {
        for text in std::mem::take(&mut self.kept) {
            self.tell(&text);
        }
    }

    /// The notes that were kept, for the failure to hold.
    pub fn take_kept(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kept).into()
    }

    fn tell(&mut self, text: &str) {
        // A note that cannot be shown changes nothing of what was done.
        let _ = writeln!(self.err, "{}", plain(text));
    }
}

/// Rows under headings, as wide as their widest cell.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        // A cell is one line, whatever somebody wrote into it.
        self.rows.push(cells.map(|c| line(&c)).to_vec());
    }

    /// The text, two spaces between columns.
    pub fn to_text(&self) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                let width = cell.chars().count();
                match widths.get_mut(column) {
                    Some(widest) => *widest = (*widest).max(width),
                    None => widths.push(width),
                }
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A cell of CSV as no spreadsheet takes it for a formula: what begins like one begins with an apostrophe.
///
/// Attack: a formula in a text of a device or of a server. Spreadsheets of many countries end a cell at a semicolon, whether
/// or not it stands in quotation marks by RFC 4180, so what follows one begins a cell too.
pub fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len() + 1);
    let mut begins = true;
    for c in line(text).chars() {
        if begins && matches!(c, '=' | '+' | '-' | '@') {
            cell.push('\'');
        }
        // Blanks before a formula are passed over.
        begins = c == ';' || (begins && c == ' ');
        cell.push(c);
    }
    cell
}

/// A number of bytes for people: `1.5 MiB`.
pub fn bytes(n: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = "B";
    for next in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") }
}

/// `1 device`, `2 devices`; `1 entry`, `2 entries`.
pub fn count(n: impl std::fmt::Display, thing: &str) -> String {
    match (n.to_string().as_str(), thing.strip_suffix("ry")) {
        ("1", _) => format!("1 {thing}"),
        (n, Some(stem)) => format!("{n} {stem}ries"),
        (n, None) => format!("{n} {thing}s"),
    }
}

/// `1 device has`, `2 devices have`: with the verb for one, or the one for any other number.
pub fn counted(n: impl std::fmt::Display, thing: &str, one: &str, others: &str) -> String {
    let n = n.to_string();
    format!("{} {}", count(&n, thing), if n == "1" { one } else { others })
}

/// A digest or fingerprint for people to compare: groups of four.
pub fn grouped(hex: &str) -> String {
    let mut text = String::with_capacity(hex.len() + hex.len() / 4);
    for (i, c) in hex.chars().enumerate() {
        if i > 0 && i % 4 == 0 {
            text.push(' ');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_hostile_cells_stay_in_their_line() {
        let mut table = Table::new(["id", "state"]);
        table.row(["pump-1".to_owned(), "active".to_owned()]);
        table.row(["é".to_owned(), "evil\x1b[1m\nrow".to_owned()]);
        assert_eq!(table.to_text(), "id      state\npump-1  active\né       evil?[1m row\n");
    }

    #[test]
    fn no_cell_begins_a_formula_whichever_sign_ends_it() {
        for (text, written) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("-1", "'-1"),
            ("  +1", "  '+1"),
            ("\t=1\r\n=2", "?=1? =2"),
            ("fine;=1; @x;-y;;+z", "fine;'=1; '@x;'-y;;'+z"),
            ("a=b, c-d", "a=b, c-d"),
        ] {
            assert_eq!(cell(text), written);
        }
    }

    #[test]
    fn what_deceives_is_seen_in_text_and_written_by_its_number_in_json() {
        let value = serde_json::json!({ "reason": "\u{202e}yes\u{9b}1m" });
        for (format, want) in [(Format::Json, "{\"reason\":\"\\u202eyes\\u009b1m\"}\n"), (Format::Text, "?yes?1m\n")] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut printer = Printer::new(&mut out, &mut err, format);
            printer.result(&value, |v| v["reason"].as_str().unwrap().to_owned()).unwrap();
            printer.note("a\u{2066}note");
            printer.tell_kept();
            assert_eq!(String::from_utf8(out).unwrap(), want);
            assert_eq!(err, b"a?note\n");
        }
    }

    #[test]
    fn json_is_the_value_and_text_is_the_text() {
        for (format, want) in [(Format::Json, "{\"a\":1}\n"), (Format::Text, "a is 1\n")] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut printer = Printer::new(&mut out, &mut err, format);
            printer.result(&serde_json::json!({"a": 1}), |v| format!("a is {}\n", v["a"])).unwrap();
            printer.note("a note");
            printer.tell_kept();
            assert_eq!(String::from_utf8(out).unwrap(), want);
            assert_eq!(err, b"a note\n");
        }
    }

    #[test]
    fn beside_json_notes_wait_and_the_newest_are_kept() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut printer = Printer::new(&mut out, &mut err, Format::Json);
        (0..=MAX_KEPT_NOTES).for_each(|n| printer.note(&n.to_string()));
        let kept = printer.take_kept();
        assert_eq!((kept.len(), kept[0].as_str()), (MAX_KEPT_NOTES, "1"));
        printer.tell_kept();
        assert!(err.is_empty(), "they are taken");
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(200 << 20), "200.0 MiB");
        assert_eq!(grouped("0123456789"), "0123 4567 89");
        assert_eq!([0, 1, 2].map(|n| count(n, "device")), ["0 devices", "1 device", "2 devices"]);
        assert_eq!([1_u64, 7].map(|n| counted(n, "entry", "is", "are")), ["1 entry is", "7 entries are"]);
    }
}
