//! A hospital's list of devices, from its asset management, as CSV.
//!
//! The first line names the columns, in any order: `id`, `product`, `hardware`, `ward`, and if known `serial`, `udi` and `labels`,
//! which are written in one cell with spaces between them: `area=icu kind=bedside`.

use std::collections::BTreeMap;

use suture_core::id::{DeviceId, HardwareId, ProductId, WardId};
use suture_core::label::{LabelError, Labels};
use suture_core::limits::{MAX_IMPORT_DEVICES, MAX_TEXT_BYTES};
use suture_proto::v1;

use crate::failure::{Failure, OrFail as _, Outcome};

const REQUIRED: [&str; 4] = ["id", "product", "hardware", "ward"];
const OPTIONAL: [&str; 3] = ["serial", "udi", "labels"];

/// Reads the file; every line is checked before anything is sent.
pub(in crate::cmd) fn read(bytes: &[u8]) -> Outcome<Vec<v1::DeviceRecord>> {
    // Spreadsheets write a byte order mark, and some separate by semicolons.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let first = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let delimiter = if first.contains(&b';') && !first.contains(&b',') { b';' } else { b',' };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(bytes);
    let columns = columns(reader.headers().or_fail(|| "the first line cannot be read".to_owned())?)?;
    let mut records = Vec::new();
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    for row in reader.records() {
        let row = row.or_fail(|| "the file cannot be read".to_owned())?;
        let line = row.position().map_or(0, csv::Position::line);
        let cell = |name: &str| columns.get(name).and_then(|i| row.get(*i)).unwrap_or_default();
        let record = record(cell).map_err(|problem| Failure::new(format!("line {line}: {problem}")))?;
        if let Some(before) = lines.insert(record.id.clone(), line) {
            return Err(Failure::new(format!("line {line}: device {} stands in line {before} already", record.id)));
        }
        records.push(record);
        if records.len() > MAX_IMPORT_DEVICES {
            return Err(Failure::new(format!("more than {MAX_IMPORT_DEVICES} devices; split the file")));
        }
    }
    if records.is_empty() { Err(Failure::new("the file lists no device")) } else { Ok(records) }
}

fn columns(headers: &csv::StringRecord) -> Outcome<BTreeMap<String, usize>> {
    let mut columns = BTreeMap::new();
    for (i, name) in headers.iter().enumerate() {
        let name = name.to_ascii_lowercase();
        if !REQUIRED.contains(&name.as_str()) && !OPTIONAL.contains(&name.as_str()) {
            return Err(Failure::new(format!("line 1: the column {name:?} is not known")).next(format!(
                "columns are {} and, if known, {}",
                REQUIRED.join(", "),
                OPTIONAL.join(", ")
            )));
        }
        if columns.insert(name.clone(), i).is_some() {
            return Err(Failure::new(format!("line 1: the column {name} stands twice")));
        }
    }
    match REQUIRED.iter().find(|name| !columns.contains_key(**name)) {
        Some(missing) => Err(Failure::new(format!("line 1: there is no column {missing}")).next(format!(
            "columns are {} and, if known, {}",
            REQUIRED.join(", "),
            OPTIONAL.join(", ")
        ))),
        None => Ok(columns),
    }
}

fn record<'a>(cell: impl Fn(&str) -> &'a str) -> Result<v1::DeviceRecord, String> {
    let said = |e: suture_core::id::IdError| e.to_string();
    let id: DeviceId = cell("id").parse().map_err(said)?;
    let product: ProductId = cell("product").parse().map_err(said)?;
    let hardware: HardwareId = cell("hardware").parse().map_err(said)?;
    let ward: WardId = cell("ward").parse().map_err(said)?;
    let labels: Labels = cell("labels").parse().map_err(|e: LabelError| e.to_string())?;
    for name in ["serial", "udi"] {
        let text = cell(name);
        if text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
            return Err(format!("{name} is too long, or holds control characters"));
        }
    }
    Ok(v1::DeviceRecord {
        id: id.to_string(),
        product: product.to_string(),
        hardware_id: hardware.to_string(),
        ward: ward.to_string(),
        serial: cell("serial").to_owned(),
        udi: cell("udi").to_owned(),
        labels: labels.texts().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreadsheets_are_read_as_they_come() {
        let comma = "id,ward,product,hardware,udi,serial,labels\npump-1, icu ,pump,rev-a,\"(01)0,x\",S1,kind=bedside area=icu\npump-2,er,pump,rev-b,,,\n";
        let records = read(comma.as_bytes()).unwrap();
        assert_eq!(records[0].udi, "(01)0,x");
        assert_eq!((records[0].ward.as_str(), records[1].hardware_id.as_str()), ("icu", "rev-b"));
        assert_eq!(records[0].labels, ["area=icu", "kind=bedside"]);
        assert!(records[1].labels.is_empty());
        let semicolons = "\u{feff}ID;Product;Hardware;Ward\r\npump-1;pump;rev-a;icu\r\n";
        assert_eq!(read(semicolons.as_bytes()).unwrap()[0].serial, "");
    }

    #[test]
    fn a_wrong_line_is_named_and_nothing_is_imported() {
        for (text, named) in [
            ("id,product,hardware,ward\npump-1,pump,rev-a,icu\nPump 2,pump,rev-a,icu\n", "line 3: \"Pump 2\""),
            ("id,product,hardware,ward\npump-1,pump,rev-a,icu\npump-1,pump,rev-a,er\n", "stands in line 2 already"),
            ("id,product,hardware,ward,labels\np1,pump,rev-a,icu,area=icu area=er\n", "line 2: the label area"),
            ("id,product,hardware\n", "no column ward"),
            ("id,product,hardware,ward,colour\n", "\"colour\""),
            ("id,product,hardware,ward,id\n", "stands twice"),
            ("id,product,hardware,ward\n", "no device"),
            ("id,product,hardware,ward\npump-1,pump\n", "the file cannot be read"),
        ] {
            let failure = read(text.as_bytes()).unwrap_err().to_text();
            assert!(failure.contains(named), "{failure}");
        }
    }
}
