//! The file's text: one value can be written in many ways, and many texts look like a value.

use super::envelope;
use super::mutate::Draft;
use super::random::Random;

/// Writes a draft, sometimes as other writers would, sometimes as none should.
pub(super) fn write(random: &mut Random, draft: &Draft, edits: &mut Vec<&'static str>) -> Vec<u8> {
    let file = envelope::file(draft);
    let compact = serde_json::to_string(&file).unwrap();
    if !random.percent(20) {
        return compact.into_bytes();
    }
    let version = format!("\"version\":{}", draft.signed["version"]);
    let (edit, text) = match random.below(16) {
        0 => ("pretty", serde_json::to_string_pretty(&file).unwrap()),
        1 => ("escaped", compact.replace("\"signed\"", "\"\\u0073igned\"")),
        2 => ("blanks around", format!(" \n{compact}\t\r\n")),
        3 => ("byte order mark", format!("\u{feff}{compact}")),
        4 => ("something behind", format!("{compact}{{}}")),
        5 => ("comma behind the last", compact.replacen("}}", ",}}", 1)),
        6 => ("name twice", compact.replacen(&version, &format!("{version},{version}"), 1)),
        7 => ("name twice, another value", compact.replacen(&version, &format!("\"version\":1,{version}"), 1)),
        8 => ("signed twice", compact.replacen("\"signed\":", "\"signed\":{},\"signed\":", 1)),
        9 => ("number as float", compact.replacen(&version, &format!("{version}.0"), 1)),
        10 => ("number with exponent", compact.replacen(&version, &format!("{version}e0"), 1)),
        11 => ("number with a leading zero", compact.replacen("\"version\":", "\"version\":0", 1)),
        12 => ("huge number", compact.replacen("\"signed\":{", "\"signed\":{\"x\":123456789012345678901234567890,", 1)),
        13 => ("cut off", compact.chars().take(compact.chars().count() / 2).collect()),
        14 => ("NaN", compact.replacen("\"signed\":{", "\"signed\":{\"x\":NaN,", 1)),
        _ => ("lone surrogate", compact.replacen("\"signed\":{", "\"signed\":{\"x\":\"\\ud800\",", 1)),
    };
    edits.push(edit);
    let mut bytes = text.into_bytes();
    if random.percent(10) {
        edits.push("a byte flipped");
        let place = random.below(bytes.len());
        bytes[place] ^= 1 << random.below(8);
    }
    bytes
}
