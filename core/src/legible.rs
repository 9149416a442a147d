//! Text of others as a person may be shown it: what they read is what is there.
//!
//! | attack | what is done about it |
//! | --- | --- |
//! | a text that moves the cursor, or writes over what stands there | [`deceives`]: control characters (ECMA-48) |
//! | one that is read in another order than it is written ("Trojan Source", CVE-2021-42574) | the same: what turns the direction |
//! | one of which a part is not seen, so that two look alike | the same: what has neither shape nor use in writing |
//! | one that goes on in lines of its own, which look like this program's | [`line()`], and in a log [`Logged`] |
//!
//! Letters are let be, whichever way they are read. So are U+200C and U+200D, without which Persian and several languages of
//! India cannot be spelt, and variation selectors, without which Japanese names cannot.

use std::io::{self, Write};

/// Whether a character makes a person read something else than is there. The end of a line does too, where it is not the
/// writer's to make.
pub fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Marks, embeddings, overrides and isolates of direction (UAX #9), and the ends of lines and paragraphs.
            '\u{061c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // Nothing to be seen: a hyphen that is not there, separators, operators, fillers, marks of annotations.
            | '\u{00ad}' | '\u{115f}'..='\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            // Tags: letters that no terminal shows.
            | '\u{e0000}'..='\u{e007f}')
}

/// The text without what deceives; ends of lines are kept.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c != '\n' && deceives(c) { '?' } else { c }).collect()
}

/// The same on one line.
pub fn line(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' => ' ',
            c if deceives(c) => '?',
            c => c,
        })
        .collect()
}

/// The text as it is put beside a name: lines after the first stand so far in that none of them looks like another name.
pub fn indented(text: &str, columns: usize) -> String {
    text.replace('\n', &format!("\n{:columns$}", ""))
}

/// The same JSON, in which what deceives is written by its number. In JSON such a character can stand in a text only, so it
/// means what it did.
pub fn json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !deceives(c) {
            out.push(c);
            continue;
        }
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out
}

/// A line of a log, with its end. What deceives in it is written by its number, and so is an end of a line within it: no text of
/// others begins a line of its own. ESC is let be, which colours a line on a terminal: whoever writes the log escapes it in texts.
fn logged(line: &str) -> String {
    let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
    let mut out = String::with_capacity(line.len().saturating_add(end.len()));
    for c in line.chars() {
        if c != '\u{1b}' && deceives(c) {
            out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out + end
}

/// Where a log is written to: what is written at once is one line of it, whatever texts of others are in it.
#[derive(Debug)]
pub struct Logged<W>(pub W);

impl<W: Write> Write for Logged<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(logged(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_a_log_at_once_is_one_line_of_it() {
        let mut log = Logged(Vec::new());
        let forged = "\u{1b}[33mWARN\u{1b}[0m refused: bad\r\n2026-11-26T22:00:00Z INFO all is well\u{202e}\n";
        log.write_all(forged.as_bytes()).unwrap();
        log.write_all(b"next\n").unwrap();
        log.flush().unwrap();
        let want =
            "\u{1b}[33mWARN\u{1b}[0m refused: bad\\u{d}\\u{a}2026-11-26T22:00:00Z INFO all is well\\u{202e}\nnext\n";
        assert_eq!(String::from_utf8(log.0).unwrap(), want);
    }

    #[test]
    fn what_is_shown_is_what_is_there() {
        for (text, shown) in [
            ("\u{1b}[2J\u{9b}31mred\r\u{7f}", "?[2J?31mred??"),
            // Read from right to left it is `pump-2 in ward icu`, or ends in another name.
            ("approve \u{202e}2-pmup\u{202c} \u{2066}x\u{2069}", "approve ?2-pmup? ?x?"),
            ("pump\u{200b}-\u{ad}1\u{2060}\u{feff}", "pump?-?1??"),
            ("ok\u{e0068}\u{e0069}", "ok??"),
            ("a\u{2028}b\u{85}c", "a?b?c"),
            ("می\u{200c}خواهم, 葛\u{e0100}, é, ❤\u{fe0f}", "می\u{200c}خواهم, 葛\u{e0100}, é, ❤\u{fe0f}"),
        ] {
            assert_eq!(plain(text), shown);
            assert_eq!(line(text), shown);
        }
        assert_eq!((plain("a\nb"), line("a\nb")), ("a\nb".to_owned(), "a b".to_owned()));
        assert_eq!(indented("a\nb", 4), "a\n    b");
    }

    #[test]
    fn in_json_it_is_written_by_its_number_and_means_the_same() {
        let value = serde_json::json!({ "reason": "\u{202e}a\u{7f}\u{9b}\u{e0068}\n\"\\é" });
        let text = json(&value.to_string());
        assert!(text.contains("\\u202ea\\u007f\\u009b\\udb40\\udc68\\n") && !text.chars().any(deceives), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json(&pretty)).unwrap(), value);
    }
}
